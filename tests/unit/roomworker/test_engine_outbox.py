"""The engine and the durable store: into the outbox with the commit, out of it when stored, and its bound."""

from common.ids import RoomId
from common.ring import shard_of
from tests.unit.bench import P0, W2, Bench, messages_of
from tests.unit.stage import ADA, BEN, E2, join, say

LOBBY = RoomId("lobby:main")
DATABASE = "postgresql://nobody@localhost/none"


def bench(**settings: object) -> Bench:
    made = Bench(database_url=DATABASE, chat_burst=100, **settings).take()
    made.told(join(ADA, 1, room=LOBBY))
    made.told(join(BEN, 1, room=LOBBY), edge=E2)
    return made


def waiting(of: Bench) -> int:
    return of.store.outbox_length(shard_of(LOBBY, of.settings.shards))


def test_a_message_waits_in_the_outbox_until_it_is_stored_and_its_sender_is_told() -> None:
    b = bench()
    told = messages_of(b.told(say(1, "a", id="x", room=LOBBY), say(1, "b", room=LOBBY)), 1)
    assert [event["t"] for event in told] == ["ack", "ack"]
    assert waiting(b) == 2
    kept = b.store_kept()
    assert [entry.record.text for entry in kept[0].entries] == ["a", "b"]
    answer = b.turn(kept=kept)
    assert answer is not None
    assert answer.done
    assert waiting(b) == 0
    told = messages_of(b.output(), 1)
    assert [(event["t"], event["payload"]["seq"]) for event in told] == [("persisted", 1), ("persisted", 2)]
    assert "persisted" not in [event["t"] for event in messages_of(b.output(E2), 1)]
    assert b.turn() is None


def test_the_next_owner_finds_what_waits_and_the_old_ones_word_no_longer_counts() -> None:
    b = bench()
    b.told(say(1, "a", room=LOBBY))
    old = b.store_kept()
    b.take_over()
    assert b.turn(kept=old) is None
    assert waiting(b) == 1
    b.turn(kept=b.store_kept())
    assert waiting(b) == 0
    assert "persisted" in [event["t"] for event in messages_of(b.output(), 1)]


def test_a_worker_that_lost_its_lease_trims_nothing() -> None:
    b = bench()
    b.told(say(1, "a", room=LOBBY))
    kept = b.store_kept()
    b.store.release(P0, b.worker, b.engine.tokens(P0))
    Bench(store=b.store, worker=W2, database_url=DATABASE).take()
    answer = b.turn(kept=kept)
    assert answer is not None
    assert answer.fenced
    assert waiting(b) == 1


def test_past_its_bound_chat_is_refused_until_there_is_room_again() -> None:
    b = bench(outbox_entries_max=2)
    for number in range(2):
        b.told(say(1, f"m{number}", room=LOBBY))
    (refused,) = messages_of(b.told(say(1, "late", id="late", room=LOBBY)), 1)
    assert (refused["t"], refused["payload"]["code"]) == ("error", "busy")
    b.take_over()
    (refused,) = messages_of(b.told(say(1, "late", id="late", room=LOBBY)), 1)
    assert refused["payload"]["code"] == "busy"
    b.turn(kept=b.store_kept())
    b.output()
    assert [event["t"] for event in messages_of(b.told(say(1, "late", id="late", room=LOBBY)), 1)] == ["ack"]
    assert waiting(b) == 1
