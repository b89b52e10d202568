"""Relays: written and trimmed by the commit alone, read in order by partition, moved into inputs all or none."""

import pytest

from common.bus import ClusterShape, CommitAnswer, ShardEntry
from common.ids import EdgeId, Partition, Shard
from tests.contract.builders import P0, W1, W2, commit, part, take
from tests.contract.conftest import Bus, MakeWorld, World

P1, P2 = Partition(1), Partition(2)
S0, S1, S3, S4 = Shard(0), Shard(1), Shard(3), Shard(4)
SHAPE = ClusterShape(shards=6, partitions=3)


@pytest.fixture
async def world(make_world: MakeWorld) -> World:
    """A fresh cluster of three partitions; shards 0 and 3 are in the first."""
    return await make_world(SHAPE)


async def test_entries_are_read_in_order_by_shard_and_partition(bus: Bus) -> None:
    lease, other = await take(bus, S0), await take(bus, 3)
    both = part(S0, lease, relays={P1: [b"a", b"b"], P2: [b"x"]}), part(3, other, relays={P1: [b"c"]})
    await bus.commit(P0, commit(*both))
    await bus.commit(P0, commit(part(S0, lease, 1, relays={P1: [b"d"]})))
    found = await bus.read_relays(P0, P1, {S0: 0, S3: 0}, 10)
    assert sorted((entry.shard, entry.position, entry.data) for entry in found) == [
        (S0, 1, b"a"),
        (S0, 2, b"b"),
        (S0, 3, b"d"),
        (S3, 1, b"c"),
    ]
    assert await bus.read_relays(P0, P1, {S0: 2}, 10) == [ShardEntry(S0, 3, b"d")]
    assert [entry.data for entry in await bus.read_relays(P0, P1, {S0: 0}, 2)] == [b"a", b"b"]
    assert await bus.read_relays(P0, P2, {S0: 0, S3: 0}, 10) == [ShardEntry(S0, 1, b"x")]
    assert await bus.read_relays(P0, P1, {S0: 3}, 10) == []
    assert await bus.read_relays(P0, P1, {}, 10) == []
    assert await bus.relay_lengths(S0) == {P1: 3, P2: 1}
    assert await bus.relay_lengths(S3) == {P1: 1, P2: 0}
    assert await bus.relay_lengths(S1) == {P0: 0, P2: 0}


async def test_each_relay_is_trimmed_by_itself_and_positions_go_on(bus: Bus) -> None:
    lease = await take(bus, S0)
    await bus.commit(P0, commit(part(S0, lease, relays={P1: [b"a", b"b"], P2: [b"x"]})))
    await bus.commit(P0, commit(part(S0, lease, 1, relays={P1: [b"c"]}, relays_upto={P1: 2})))
    assert await bus.relay_lengths(S0) == {P1: 1, P2: 1}
    await bus.commit(P0, commit(part(S0, lease, 2, relays_upto={P1: 3, P2: 1})))
    assert await bus.relay_lengths(S0) == {P1: 0, P2: 0}
    await bus.commit(P0, commit(part(S0, lease, 3, relays={P1: [b"d"]})))
    assert await bus.read_relays(P0, P1, {S0: 0}, 10) == [ShardEntry(S0, 4, b"d")]


async def test_a_repeated_commit_adds_nothing(bus: Bus) -> None:
    batch = commit(part(S0, await take(bus, S0), relays={P1: [b"a"]}))
    assert await bus.commit(P0, batch) == CommitAnswer(done=True)
    assert await bus.commit(P0, batch) == CommitAnswer(done=True, already=True)
    assert await bus.relay_lengths(S0) == {P1: 1, P2: 0}


async def test_a_fenced_owner_adds_and_trims_nothing_and_the_next_finds_all(bus: Bus, world: World) -> None:
    lease = await take(bus, S0, W1, 20)
    await bus.commit(P0, commit(part(S0, lease, relays={P1: [b"a"]})))
    await world.pass_ms(20)
    await take(bus, S0, W2)
    refused = await bus.commit(P0, commit(part(S0, lease, 1, relays={P1: [b"b"]}, relays_upto={P1: 1})))
    assert refused == CommitAnswer(done=False, fenced=(S0,))
    assert await bus.read_relays(P0, P1, {S0: 0}, 10) == [ShardEntry(S0, 1, b"a")]


async def test_what_is_moved_stands_in_the_inputs_in_order(bus: Bus) -> None:
    await bus.append_inputs([(S1, b"before")])
    await bus.append_relayed(P1, [(S1, b"a"), (S4, b"x"), (S1, b"b")])
    await bus.append_relayed(P1, [])
    found = await bus.read_inputs(P1, W1, {S1: 0, S4: 0}, 10, 0)
    assert sorted((entry.shard, entry.position, entry.data) for entry in found) == [
        (S1, 1, b"before"),
        (S1, 2, b"a"),
        (S1, 3, b"b"),
        (S4, 1, b"x"),
    ]


async def test_who_waits_for_input_hears_of_what_is_moved(bus: Bus, world: World) -> None:
    await world.bus().append_relayed(P1, [(S1, b"a")])
    assert await bus.read_inputs(P1, W1, {S1: 0}, 10, 1_000) == [ShardEntry(S1, 1, b"a")]


async def test_a_mark_of_a_relay_is_kept_whole(bus: Bus) -> None:
    # A generation is a token of 41 bits, and a position has up to 64: more than a number in Lua holds.
    mark = 1_763_700_000_123 << 64 | (1 << 64) - 1
    lease = await take(bus, S0)
    await bus.commit(P0, commit(part(S0, lease, marks={EdgeId("relay:1"): mark})))
    assert (await take(bus, S0)).marks == {EdgeId("relay:1"): mark}
