"""What every room must know of a person: written by commits, filled from the durable store, read together."""

from common.bus import Person, PersonPatch
from common.ids import UserId
from tests.contract.builders import P0, S0, S1, W1, commit, part, take
from tests.contract.conftest import Bus

BOB = UserId("ben")
ANN, CYD, DEE = UserId("ali"), UserId("cal"), UserId("a}{p1 :\u00e9f")
"""Their inboxes, and so what is known of them, are in partition 0; Bob's is not."""


async def test_of_strangers_nothing_is_known(bus: Bus) -> None:
    assert await bus.people([ANN, BOB]) == {ANN: Person(), BOB: Person()}
    assert await bus.people([]) == {}


async def test_blocks_mutes_and_bans_are_written_by_commits(bus: Bus) -> None:
    lease = await take(bus, S0)
    first = part(S0, lease, people=[PersonPatch(ANN, {BOB: True, DEE: True}), PersonPatch(DEE, {}, 77, 88)])
    assert (await bus.commit(P0, commit(first))).done
    assert await bus.people([ANN, DEE]) == {ANN: Person(frozenset({BOB, DEE})), DEE: Person(frozenset(), 77, 88)}
    second = part(S0, lease, 1, people=[PersonPatch(ANN, {BOB: False, CYD: True}), PersonPatch(DEE, {}, 0, 0)])
    assert (await bus.commit(P0, commit(second))).done
    assert await bus.people([ANN, DEE]) == {ANN: Person(frozenset({CYD, DEE})), DEE: Person()}


async def test_a_refused_commit_changes_nobody(bus: Bus) -> None:
    lease = await take(bus, S0)
    refused = await bus.commit(P0, commit(part(S0, lease.token - 1, people=[PersonPatch(ANN, {BOB: True})])))
    assert not refused.done
    assert await bus.people([ANN]) == {ANN: Person()}


async def test_what_a_commit_said_holds_over_what_is_filled_in(bus: Bus) -> None:
    lease = await take(bus, S0)
    said = part(S0, lease, people=[PersonPatch(ANN, {BOB: False, DEE: True})])
    assert (await bus.commit(P0, commit(said))).done
    for _ in range(2):
        await bus.fill_in({ANN: Person(frozenset({BOB, CYD}))})
        assert await bus.people([ANN]) == {ANN: Person(frozenset({CYD, DEE}), filled=True)}
    await bus.fill_in({BOB: Person(muted_until_ms=7, barred_until_ms=2**53)})
    assert await bus.people([BOB]) == {BOB: Person(frozenset(), 7, 2**53, filled=True)}
    lifted = part(S0, lease, 1, people=[PersonPatch(CYD, {}, 0, 0)])
    assert (await bus.commit(P0, commit(lifted))).done
    await bus.fill_in({CYD: Person(muted_until_ms=7, barred_until_ms=7)})
    assert await bus.people([CYD]) == {CYD: Person(filled=True)}


async def test_a_commit_writes_to_the_inputs_of_other_shards(bus: Bus) -> None:
    lease = await take(bus, S0)
    other = await take(bus, S1)
    assert (await bus.append_inputs([(S1, b"before")])) == [1]
    telling = commit(part(S0, lease), inputs={S0: b"to itself", S1: b"to another"})
    assert (await bus.commit(P0, telling)).done
    assert (await bus.commit(P0, telling)).already
    found = await bus.read_inputs(P0, W1, {S0: 0, S1: other.cursor}, 10, 1)
    assert sorted((entry.shard, entry.position, entry.data) for entry in found) == [
        (S0, 1, b"to itself"),
        (S1, 1, b"before"),
        (S1, 2, b"to another"),
    ]
