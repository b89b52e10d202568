"""The engine and what cannot be done: tried three times, set aside with its reason, and the rest goes on."""

from collections.abc import Callable, Iterator

import pytest

from common.bus import CommitAnswer
from common.commands import AnyRoomCommand, BlockChanged, InputBatch, Tell, decode_batch, encode_batch
from common.dead_letters import (
    ERROR_CHARACTERS_MAX,
    TRACEBACK_CHARACTERS_MAX,
    content_of,
    dead_command,
    dead_record,
    decode_dead_letter,
    encode_dead_letter,
    retry_batch,
)
from common.ids import EdgeId, RoomId, inbox_of
from common.letters import Unwatch
from common.outbox import OutboxEntry
from common.ring import shard_of
from roomworker.engine import FAILED_TIMER_REST_MS, TRIES_MAX, Kept
from roomworker.room import Room
from tests.unit.bench import P0, W2, Bench, messages_of, names_of
from tests.unit.stage import ADA, BEN, CY, E1, HALL, START_MS, chat, join, lose, say

LOBBY = RoomId("lobby:main")
DATABASE = "postgresql://nobody@localhost/none"
Fail = Callable[[str, int], list[str]]


@pytest.fixture
def bench() -> Bench:
    return Bench(chat_burst=1_000).take()


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fail]:
    """Let a method of rooms fail so many times; returns what it was called for."""

    def plant(name: str, times: int) -> list[str]:
        calls: list[str] = []
        whole = getattr(Room, name)

        def failing(room: Room, *args: object, **kwargs: object) -> object:
            calls.append(room.room_id)
            if len(calls) <= times:
                raise RuntimeError(f"planted {len(calls)}")
            return whole(room, *args, **kwargs)

        monkeypatch.setattr(Room, name, failing)
        return calls

    yield plant
    monkeypatch.undo()


def test_a_task_is_tried_three_times_and_then_set_aside_with_its_reason(bench: Bench) -> None:
    bench.told(join(ADA, 1), join(BEN, 2))
    bench.now_ms += 5
    # The same connection as somebody else: no edge does this, and the room takes it for a bug.
    bench.send(chat(2, "before"), join(CY, 1, re="bad"), chat(2, "after"))
    bench.turn()
    assert bench.tries == TRIES_MAX == 3
    assert [message["payload"]["text"] for message in messages_of(bench.output())] == ["before", "after"]
    (letter,) = bench.dead_letters()
    assert (letter.kind, letter.what, letter.room_id, letter.edge_id) == ("command", "Join", HALL, E1)
    assert (letter.at_ms, letter.worker_id) == (START_MS + 5, bench.worker)
    assert letter.error == "AssertionError: a connection joins a room as one person only"
    assert "_connect" in letter.traceback
    assert content_of(letter) == InputBatch(E1, 0, START_MS + 5, [join(CY, 1, re="bad")])


@pytest.mark.parametrize("times", [1, 2])
def test_a_room_that_does_not_fail_every_time_does_all_of_it_once(bench: Bench, fail: Fail, times: int) -> None:
    bench.told(join(ADA, 1))
    fail("take", times)
    told = bench.told(chat(1, "a", id="a"), chat(1, "b"))
    assert [message["payload"]["text"] for message in messages_of(told)] == ["a", "b"]
    assert messages_of(told, 1)[0]["re"] == "a"
    assert bench.dead_letters() == []
    assert bench.failures == []


def test_a_failure_that_shows_at_the_end_of_a_turn_costs_the_last_task(bench: Bench, fail: Fail) -> None:
    bench.told(join(ADA, 1), join(BEN, 2))
    fail("take", TRIES_MAX)
    told = bench.told(chat(1, "a"), chat(2, "b"))
    assert [message["payload"]["text"] for message in messages_of(told)] == ["a"]
    assert [letter.what for letter in bench.dead_letters()] == ["Post"]


def test_an_unreadable_entry_is_set_aside_as_it_is(bench: Bench) -> None:
    bench.told(join(ADA, 1))
    bench.store.append_input(shard_of(HALL, bench.settings.shards), b"\xc1no batch")
    told = bench.told(chat(1))
    assert names_of(told) == ["chat_broadcast"]
    (letter,) = bench.dead_letters()
    assert (letter.kind, letter.content, letter.room_id) == ("entry", b"\xc1no batch", "")
    assert "DecodeError" in letter.error
    assert content_of(letter) is None
    assert retry_batch(letter) is None


def test_a_letter_that_is_not_known_is_set_aside_with_its_batch(bench: Bench) -> None:
    # The persons of an unseeded inbox are read from the letter before any room is asked: an unreadable one ended the
    # worker, and the next one, and so on.
    inbox = inbox_of(ADA)
    good = encode_batch(InputBatch(EdgeId(""), 0, START_MS, [Tell(inbox, Unwatch(ADA, BEN))]))
    assert good.count(b"Unwatch") == 1
    unknown = good.replace(b"Unwatch", b"Unwish!")
    with_database = Bench(database_url=DATABASE).take()
    for b in (bench, with_database):
        for data in (unknown, good):
            b.store.append_input(shard_of(inbox, b.settings.shards), data)
        assert b.turn() == CommitAnswer(done=True)
        (letter,) = b.dead_letters()
        assert (letter.kind, letter.content) == ("entry", unknown)
        assert b.plan.commands == 1


def test_what_fails_for_all_rooms_of_a_shard_is_set_aside_for_each(bench: Bench, fail: Fail) -> None:
    bench.told(join(ADA, 1))
    fail("change_block", TRIES_MAX)
    bench.send(BlockChanged(ADA, BEN, blocked=True), shard=shard_of(HALL, bench.settings.shards))
    bench.turn()
    assert [(letter.what, letter.room_id) for letter in bench.dead_letters()] == [("BlockChanged", HALL)]


def test_timers_that_fail_rest_and_leave_no_letter(bench: Bench, fail: Fail) -> None:
    # They were due again at once, in a loop without a pause.
    bench.told(join(ADA, 1), join(BEN, 2))
    bench.told(lose(2))
    bench.now_ms += bench.settings.reconnect_window_ms
    ticks = fail("tick", TRIES_MAX)
    bench.turn()
    assert bench.failures == [(HALL, "RunTimers", "planted 3")]
    bench.turn()
    assert len(ticks) == TRIES_MAX
    # Also a message does not wake them.
    assert names_of(bench.told(chat(1))) == ["chat_broadcast"]
    assert len(ticks) == TRIES_MAX
    bench.now_ms += FAILED_TIMER_REST_MS
    bench.turn()
    assert names_of(bench.output()) == ["member_left"]
    assert bench.dead_letters() == []


def test_a_refused_commit_sets_nothing_aside_and_the_next_owner_does(bench: Bench) -> None:
    bench.told(join(ADA, 1))
    bench.store.release(P0, bench.worker, bench.engine.tokens(P0))
    successor = Bench(store=bench.store, worker=W2).take()
    bench.send(join(CY, 1))
    answer = bench.turn()
    assert answer is not None
    assert answer.fenced
    assert bench.dead_letters() == []
    successor.turn()
    assert [letter.worker_id for letter in successor.dead_letters()] == [W2]


def test_a_retried_command_takes_effect_once_the_room_can(bench: Bench, fail: Fail) -> None:
    bench.told(join(ADA, 1))
    fail("take", TRIES_MAX)
    told = bench.told(chat(1, "late", id="m"))
    assert names_of(told, 1) == ["error"]
    (letter,) = bench.dead_letters()
    batch = retry_batch(letter)
    assert batch is not None
    shard = shard_of(HALL, bench.settings.shards)
    assert bench.store.take_dead_letter(shard, 1, batch)
    # The edge has sent other batches since: the retried one is not taken for one that was seen.
    told = bench.told(chat(1, "now"))
    assert [message["payload"]["text"] for message in messages_of(told)] == ["late", "now"]
    assert messages_of(told, 1)[0]["re"] == "m"
    assert decode_batch(batch).number == 0


def test_a_command_of_a_connection_that_ended_can_be_shown_but_not_retried() -> None:
    retryable: dict[str, bool] = {}
    commands: list[AnyRoomCommand] = [join(ADA, 1), lose(1), chat(1), say(1)]
    for command in commands:
        letter = dead_command(command, HALL, E1, 1, 2, RuntimeError("x"), "")
        retryable[type(command).__name__] = retry_batch(letter) is not None
    assert retryable == {"Join": False, "Disconnect": False, "Post": True}


def test_what_a_letter_says_is_bounded_and_can_be_stored() -> None:
    error = RuntimeError("\ud800" + "x" * 10_000)
    letter = dead_command(chat(1), HALL, E1, 1, 2, error, "start " + "y" * 100_000 + " end")
    again = decode_dead_letter(encode_dead_letter(letter))
    assert again == letter
    assert len(again.error) < ERROR_CHARACTERS_MAX + 10
    assert again.error.startswith("RuntimeError: \\ud800x")
    assert len(again.traceback) <= TRACEBACK_CHARACTERS_MAX
    assert again.traceback.endswith(" end")


def test_a_record_that_the_database_refuses_leaves_the_outbox_for_the_dead_letters() -> None:
    b = Bench(database_url=DATABASE, chat_burst=100, outbox_entries_max=2).take()
    b.told(join(ADA, 1, room=LOBBY))
    b.told(say(1, "good", room=LOBBY), say(1, "bad", room=LOBBY))
    (kept,) = b.store_kept()
    good, bad = kept.entries
    b.turn(kept=[Kept(kept.shard, kept.token, kept.upto, [good], [dead_record(bad, b.now_ms, ValueError("no"))])])
    assert [event["t"] for event in messages_of(b.output(), 1)] == ["persisted"]
    assert b.store.outbox_length(kept.shard) == 0
    (letter,) = b.dead_letters()
    assert (letter.kind, letter.what, letter.room_id, letter.error) == (
        "record",
        "ChatMessage",
        LOBBY,
        "ValueError: no",
    )
    assert content_of(letter) == bad
    assert isinstance(bad, OutboxEntry)
    # The count of what waits is right again: chat is not refused for what is no longer there.
    assert names_of(b.told(say(1, id="next", room=LOBBY)), 1) == ["ack"]
