"""Who is alive, the shape of the cluster, the shards as an operator sees them."""

import pytest

from common.bus import ClusterShape, Node
from common.errors import ClusterMismatch
from tests.contract.builders import E1, LONG_MS, P0, S1, S2, S3, SHAPE, W1, commit, part, take
from tests.contract.conftest import Bus, MakeWorld, World


async def test_the_cluster_is_created_once_and_checked_by_everybody(bus: Bus) -> None:
    await bus.open_cluster(SHAPE)
    await bus.open_cluster(SHAPE)
    with pytest.raises(ClusterMismatch, match=r"12 shards in 3 partitions.*16 shards in 2 partitions"):
        await bus.open_cluster(ClusterShape(16, 2))


async def test_a_node_is_unknown_at_first_and_known_while_it_lives(bus: Bus, world: World) -> None:
    assert not await bus.announce("worker", "b", b"1", LONG_MS)
    assert await bus.announce("worker", "b", b"2", LONG_MS)
    assert not await bus.announce("worker", "a", b"3", LONG_MS)
    assert await bus.nodes("worker") == [Node("a", b"3"), Node("b", b"2")]
    assert await world.bus().nodes("worker") == [Node("a", b"3"), Node("b", b"2")]
    assert await bus.nodes("edge") == []


async def test_a_node_whose_time_is_over_is_gone_and_unknown_when_it_returns(bus: Bus, world: World) -> None:
    await bus.announce("worker", "short", b"", 20)
    await bus.announce("worker", "long", b"", LONG_MS)
    await world.pass_ms(20)
    assert [node.node_id for node in await bus.nodes("worker")] == ["long"]
    assert not await bus.announce("worker", "short", b"", LONG_MS)


async def test_an_announcement_prunes_the_dead(bus: Bus, world: World) -> None:
    await bus.announce("worker", "short", b"", 20)
    await world.pass_ms(20)
    await bus.announce("worker", "other", b"", LONG_MS)
    assert [node.node_id for node in await bus.nodes("worker")] == ["other"]


async def test_withdrawing_forgets_the_node_and_its_streams(bus: Bus) -> None:
    await bus.announce("edge", E1, b"", LONG_MS)
    await bus.announce("worker", W1, b"", LONG_MS)
    lease = await take(bus, S1)
    for role, node_id in (("edge", E1), ("worker", W1)):
        await bus.withdraw(role, node_id)  # type: ignore[arg-type]
        await bus.withdraw(role, node_id)  # type: ignore[arg-type]
        assert await bus.nodes(role) == []  # type: ignore[arg-type]
    await bus.commit(P0, commit(part(S1, lease), outputs={E1: b"lost"}))
    assert not await bus.announce("edge", E1, b"", LONG_MS)
    assert await bus.read_output(P0, E1, 0, 0) == []


async def test_an_edge_learns_that_its_stream_was_made_anew(make_world: MakeWorld) -> None:
    world = await make_world(output_ttl_ms=30)
    bus = world.bus()
    lease = await take(bus, S1)
    assert not await bus.announce("edge", E1, b"", LONG_MS)
    for version in range(3):
        await bus.commit(P0, commit(part(S1, lease, version), outputs={E1: b"old"}))
    assert [entry.position for entry in await bus.read_output(P0, E1, 0, 0)] == [1, 2, 3]
    await world.pass_ms(30)
    assert not await bus.announce("edge", E1, b"", LONG_MS)
    # The edge goes on from where it was: what comes does not follow, which says that it missed something.
    assert await bus.read_output(P0, E1, 3, 0) == []
    await bus.commit(P0, commit(part(S1, lease, 3), outputs={E1: b"new"}))
    assert [(entry.position, entry.data) for entry in await bus.read_output(P0, E1, 3, 0)] == [(1, b"new")]


async def test_announcing_keeps_the_stream(make_world: MakeWorld) -> None:
    world = await make_world(output_ttl_ms=90)
    bus = world.bus()
    await bus.announce("edge", E1, b"", LONG_MS)
    for _ in range(3):
        await world.pass_ms(40)
        assert await bus.announce("edge", E1, b"", LONG_MS)


async def test_shard_status_names_owner_version_and_backlog(bus: Bus, world: World) -> None:
    lease = await take(bus, S1)
    await take(bus, S2, ttl_ms=20)
    await bus.commit(P0, commit(part(S1, lease)))
    await bus.append_inputs([(S1, b"a"), (S1, b"b"), (S3, b"c")])
    await world.pass_ms(20)
    found = await bus.shard_status()
    assert [status.shard for status in found] == list(range(SHAPE.shards))
    assert (found[S1].owner, found[S1].token, found[S1].version, found[S1].backlog) == (W1, lease.token, 1, 2)
    assert found[S2].owner is None
    assert found[S2].token > 0
    assert (found[S3].owner, found[S3].token, found[S3].version, found[S3].backlog) == (None, 0, 0, 1)


async def test_ping_takes_no_negative_time(bus: Bus) -> None:
    assert await bus.ping_ms() >= 0
