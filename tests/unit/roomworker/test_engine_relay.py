"""The engine and what waits for another partition: into the relay with the commit, out of it when moved, its bounds."""

from collections.abc import Mapping

from common.bus import Acquired, Commit, ShardEntry
from common.commands import Call, Identity, InputBatch, decode_batch, encode_batch
from common.ids import ConnNumber, EdgeId, LeaseToken, Partition, Shard, inbox_of, thread_of
from common.messages import DirectSend, DirectSendPayload
from common.relay import batch_of
from common.ring import partition_of_shard, shard_of
from common.settings import WorkerSettings
from roomworker.engine import Engine, Relayed
from tests.unit.bench import W1
from tests.unit.stage import ADA, CY, E1, START_MS

SETTINGS = WorkerSettings(shards=4, partitions=3, relay_entries_max=2)
THREAD = thread_of(ADA, CY)
HERE = shard_of(THREAD, SETTINGS.shards)
P0 = partition_of_shard(HERE, SETTINGS.partitions)
TO_ADA, TO_CY = (shard_of(inbox_of(user), SETTINGS.shards) for user in (ADA, CY))
OF_ADA, OF_CY = (partition_of_shard(shard, SETTINGS.partitions) for shard in (TO_ADA, TO_CY))
TOKEN = LeaseToken(77)


def owner(relays: Mapping[Partition, int] | None = None) -> Engine:
    engine = Engine(SETTINGS, lambda *_, **__: None)
    engine.add_shard(HERE, Acquired(TOKEN, 0, 0, {}, 1, 0), relay_lengths=relays or {})
    engine.add_room(THREAD, {}, START_MS, START_MS)
    return engine


def write(engine: Engine, relayed: list[Relayed] | None = None, *, silent: bool = False) -> Commit:
    """Do a turn with one direct message of an administrator (or none), and settle it."""
    message = DirectSend(v=1, ts=0, payload=DirectSendPayload(CY, "psst"))
    call = Call(THREAD, ConnNumber(1), Identity(ADA, "Ada", "fox", ("admin",)), "desktop", message)
    cursor = engine.cursors(P0).get(HERE, 0)
    data = encode_batch(InputBatch(E1, cursor + 1, START_MS, [] if silent else [call]))
    plan = engine.plan(P0, [ShardEntry(HERE, cursor + 1, data)], START_MS, relayed=relayed or ())
    turns, broken = engine.run(plan, START_MS, {})
    assert not broken
    commit = engine.commit_of(P0, turns, W1, START_MS)
    engine.settle(turns)
    return commit


def test_a_letter_is_in_the_commit_with_its_generation() -> None:
    engine = owner()
    commit = write(engine)
    assert not commit.inputs
    (part,) = commit.shards
    assert part.relays.keys() == {OF_ADA, OF_CY}
    to, data = batch_of(HERE, 9, part.relays[OF_CY][0])
    batch = decode_batch(data)
    assert to == TO_CY
    assert (batch.edge_id, batch.number, batch.generation) == (EdgeId(f"relay:{HERE}"), 9, TOKEN)
    assert [command.room_id for command in batch.commands] == [inbox_of(CY)]  # type: ignore[union-attr]
    assert engine.relay_length() == 2


def test_what_was_moved_is_trimmed_and_what_another_owner_moved_is_not() -> None:
    engine = owner({OF_ADA: 3})
    old = Relayed(HERE, LeaseToken(5), OF_ADA, 9, 3)
    assert engine.plan(P0, [], START_MS, relayed=[old]).is_empty()
    moved = [Relayed(HERE, TOKEN, OF_ADA, 2, 2), Relayed(HERE, TOKEN, OF_ADA, 3, 1)]
    (part,) = write(engine, moved, silent=True).shards
    assert part.relays_upto == {OF_ADA: 3}
    assert engine.relay_length() == 0


def test_at_its_bound_a_relay_refuses_and_at_twice_as_much_it_stops_the_input() -> None:
    assert write(owner({OF_CY: 1})).shards[0].relays
    assert not write(owner({OF_CY: 2})).shards[0].relays
    assert HERE in owner({OF_CY: 3}).cursors(P0)
    full = owner({OF_CY: 4})
    assert HERE not in full.cursors(P0)
    # Moving goes on, and opens it again.
    plan = full.plan(P0, [], START_MS, relayed=[Relayed(HERE, TOKEN, OF_CY, 1, 1)])
    full.settle(full.run(plan, START_MS, {})[0])
    assert HERE in full.cursors(P0)


def test_the_mark_of_a_relay_is_no_edge_that_could_be_gone() -> None:
    engine = Engine(SETTINGS, lambda *_, **__: None)
    marks = {EdgeId("relay:1"): 5, E1: 3}
    engine.add_shard(HERE, Acquired(TOKEN, 0, 0, marks, 1, 0))
    assert engine.known_edges() == {E1}


def test_shards_of_the_test_are_apart() -> None:
    assert len({P0, OF_ADA, OF_CY}) == 3
    assert Shard(HERE) not in {TO_ADA, TO_CY}
