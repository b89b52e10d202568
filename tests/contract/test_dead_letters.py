"""Dead letters: written by the commit alone, bounded, and taken off one at a time."""

from common.bus import CommitAnswer, ShardEntry
from tests.contract.builders import P0, S1, S2, S3, W1, W2, commit, part, take
from tests.contract.conftest import DEAD_LETTERS_MAX, Bus, World


async def test_they_are_listed_by_shard_in_order(bus: Bus) -> None:
    lease, other = await take(bus, S1), await take(bus, S2)
    await bus.commit(P0, commit(part(S1, lease, dead=[b"a", b"b"]), part(S2, other, dead=[b"x"])))
    assert await bus.dead_letters([S2, S1, S3], 10) == [
        ShardEntry(S2, 1, b"x"),
        ShardEntry(S1, 1, b"a"),
        ShardEntry(S1, 2, b"b"),
    ]
    assert await bus.dead_letters([S1], 1) == [ShardEntry(S1, 1, b"a")]
    assert await bus.dead_letters([], 1) == []
    assert await bus.dead_letter_counts([S2, S1, S3]) == [1, 2, 0]
    assert await bus.dead_letter_counts([]) == []
    assert [await bus.dead_letter(S1, position) for position in (1, 2, 3)] == [b"a", b"b", None]
    assert await bus.dead_letter(S3, 1) is None


async def test_one_that_is_dropped_is_gone_and_its_place_is_not_used_again(bus: Bus) -> None:
    lease = await take(bus, S1)
    await bus.commit(P0, commit(part(S1, lease, dead=[b"a", b"b"])))
    assert await bus.drop_dead_letter(S1, 2)
    assert not await bus.drop_dead_letter(S1, 2)
    assert not await bus.drop_dead_letter(S2, 1)
    assert await bus.drop_dead_letter(S1, 1)
    await bus.commit(P0, commit(part(S1, lease, 1, dead=[b"c"])))
    assert await bus.dead_letters([S1], 10) == [ShardEntry(S1, 3, b"c")]
    assert await bus.input_lengths([S1]) == [0]


async def test_one_that_is_retried_goes_to_the_input_once(bus: Bus) -> None:
    lease = await take(bus, S1)
    await bus.append_inputs([(S1, b"earlier")])
    await bus.commit(P0, commit(part(S1, lease, dead=[b"a"])))
    assert await bus.retry_dead_letter(S1, 1, b"again")
    assert not await bus.retry_dead_letter(S1, 1, b"again")
    assert not await bus.retry_dead_letter(S2, 1, b"again")
    assert [entry.data for entry in await bus.read_inputs(P0, W1, {S1: 0, S2: 0}, 10, 0)] == [b"earlier", b"again"]
    assert await bus.dead_letter_counts([S1]) == [0]


async def test_past_the_bound_the_oldest_go(bus: Bus) -> None:
    lease = await take(bus, S1)
    letters = [b"%d" % number for number in range(DEAD_LETTERS_MAX + 2)]
    await bus.commit(P0, commit(part(S1, lease, dead=letters)))
    assert [entry.data for entry in await bus.dead_letters([S1], 100)] == letters[2:]
    await bus.drop_dead_letter(S1, 4)
    await bus.commit(P0, commit(part(S1, lease, 1, dead=[b"new"])))
    assert [entry.data for entry in await bus.dead_letters([S1], 100)] == [letters[2], letters[4], b"new"]


async def test_a_repeated_or_a_refused_commit_adds_none(bus: Bus, world: World) -> None:
    lease = await take(bus, S1, W1, 20)
    batch = commit(part(S1, lease, dead=[b"a"]))
    assert await bus.commit(P0, batch) == CommitAnswer(done=True)
    assert await bus.commit(P0, batch) == CommitAnswer(done=True, already=True)
    await world.pass_ms(20)
    await take(bus, S1, W2)
    assert await bus.commit(P0, commit(part(S1, lease, 1, dead=[b"b"]))) == CommitAnswer(done=False, fenced=(S1,))
    assert await bus.dead_letters([S1], 10) == [ShardEntry(S1, 1, b"a")]
