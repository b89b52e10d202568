"""The outbox: written and trimmed by the commit alone, read in order, kept over owners."""

from common.bus import CommitAnswer, ShardEntry
from tests.contract.builders import P0, S1, S2, S3, W1, W2, commit, part, take
from tests.contract.conftest import Bus, World


async def test_entries_are_read_in_order_after_a_position(bus: Bus) -> None:
    lease, other = await take(bus, S1), await take(bus, S2)
    await bus.commit(P0, commit(part(S1, lease, outbox=[b"a", b"b"]), part(S2, other, outbox=[b"x"])))
    await bus.commit(P0, commit(part(S1, lease, 1, outbox=[b"c"])))
    assert await bus.read_outbox(P0, {S1: 0}, 10) == [
        ShardEntry(S1, 1, b"a"),
        ShardEntry(S1, 2, b"b"),
        ShardEntry(S1, 3, b"c"),
    ]
    found = await bus.read_outbox(P0, {S1: 2, S2: 0}, 10)
    assert sorted((entry.shard, entry.position, entry.data) for entry in found) == [(S1, 3, b"c"), (S2, 1, b"x")]
    assert [entry.data for entry in await bus.read_outbox(P0, {S1: 0}, 2)] == [b"a", b"b"]
    assert await bus.read_outbox(P0, {S1: 3}, 10) == []
    assert await bus.read_outbox(P0, {}, 10) == []
    assert await bus.outbox_lengths(P0, [S2, S1, S3]) == [1, 3, 0]
    assert await bus.outbox_lengths(P0, []) == []


async def test_what_is_stored_is_trimmed_and_positions_go_on(bus: Bus) -> None:
    lease = await take(bus, S1)
    await bus.commit(P0, commit(part(S1, lease, outbox=[b"a", b"b", b"c"])))
    await bus.commit(P0, commit(part(S1, lease, 1, outbox=[b"d"], outbox_upto=2)))
    assert await bus.read_outbox(P0, {S1: 0}, 10) == [ShardEntry(S1, 3, b"c"), ShardEntry(S1, 4, b"d")]
    await bus.commit(P0, commit(part(S1, lease, 2, outbox_upto=4)))
    assert await bus.outbox_lengths(P0, [S1]) == [0]
    await bus.commit(P0, commit(part(S1, lease, 3, outbox=[b"e"])))
    assert await bus.read_outbox(P0, {S1: 0}, 10) == [ShardEntry(S1, 5, b"e")]


async def test_a_repeated_commit_adds_nothing(bus: Bus) -> None:
    lease = await take(bus, S1)
    batch = commit(part(S1, lease, outbox=[b"a"]))
    assert await bus.commit(P0, batch) == CommitAnswer(done=True)
    assert await bus.commit(P0, batch) == CommitAnswer(done=True, already=True)
    assert await bus.outbox_lengths(P0, [S1]) == [1]


async def test_a_fenced_owner_adds_and_trims_nothing_and_the_next_finds_all(bus: Bus, world: World) -> None:
    lease = await take(bus, S1, W1, 20)
    await bus.commit(P0, commit(part(S1, lease, outbox=[b"a"])))
    await world.pass_ms(20)
    successor = await take(bus, S1, W2)
    refused = await bus.commit(P0, commit(part(S1, lease, 1, outbox=[b"b"], outbox_upto=1)))
    assert refused == CommitAnswer(done=False, fenced=(S1,))
    assert [entry.data for entry in await bus.read_outbox(P0, {S1: 0}, 10)] == [b"a"]
    await bus.commit(P0, commit(part(S1, successor, successor.version, outbox=[b"b"], outbox_upto=1)))
    assert await bus.read_outbox(P0, {S1: 0}, 10) == [ShardEntry(S1, 2, b"b")]
