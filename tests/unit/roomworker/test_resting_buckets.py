"""Rates of who leaves, comes back, or was never there, over any number of owners of the room."""

import importlib
import pkgutil
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, UnsetType

import roomworker
from common.commands import Call, Identity
from common.ids import ConnNumber, RoomId, UserId
from common.messages import ChatSend, ChatSendPayload, Report, ReportPayload
from common.token_bucket import Rate, TokenBucket
from roomworker.field_changes import FieldChanges
from roomworker.resting_buckets import FILL_MS, REST_MS_MAX, SWEPT_AT_ONCE, RestingBuckets
from tests.unit.stage import ADA, BEN, E2, HALL, START_MS, Heard, Stage, chat, join, leave, lose, moderate, move, say

LOBBY = RoomId("lobby:main")
SLOW: dict[str, Any] = {"chat_burst": 3, "chat_per_second": 0.1}
"""Three at once, then one in ten seconds."""


def call(user: str, conn: int, room: RoomId, text: str = "hello", request: int = 0) -> Call:
    message = ChatSend(v=1, ts=0, id=f"c{request}", payload=ChatSendPayload(room, text))
    identity = Identity(UserId(user), user.title(), "fox")
    return Call(room, ConnNumber(conn), identity, "desktop", message, request)


def acks(heard: Heard, conn: int = 1) -> int:
    return sum(name in ("ack", "chat_broadcast") for name in heard.names(conn)) // 2


def spent() -> Stage:
    """A room in which Ada has said all that she may, and Ben listens."""
    stage = Stage(**SLOW)
    stage.hear(join(BEN, 2), join(ADA, 1))
    assert acks(stage.hear(*(chat(1, id=f"m{number}") for number in range(4)))) == 3
    return stage


def test_who_leaves_and_comes_back_finds_the_rate_as_it_was() -> None:
    stage = spent()
    stage.hear(leave(1))
    stage.hear(join(ADA, 1))
    assert acks(stage.hear(chat(1))) == 0
    stage.wait(10_000)
    assert acks(stage.hear(chat(1), chat(1))) == 1


def test_also_in_one_turn_over_another_edge_or_after_being_thrown_out() -> None:
    stage = spent()
    stage.hear(leave(1), join(ADA, 3))
    assert acks(stage.hear(chat(3)), 3) == 0
    stage.hear(moderate(ADA, "kicked"))
    stage.hear(join(ADA, 5), edge=E2)
    assert stage.hear(chat(5), edge=E2).names(5, E2) == ["rate_limited"]


def test_also_over_a_new_owner_and_when_everybody_had_left() -> None:
    stage = spent()
    stage.hear(leave(1), leave(2))
    assert stage.last_turn is not None
    assert stage.last_turn.patch.ttl_ms == stage.settings.room_idle_ttl_ms
    stage.take_over()
    stage.hear(join(ADA, 1))
    stage.take_over()
    assert acks(stage.hear(chat(1))) == 0


def test_also_when_the_reconnection_window_ended() -> None:
    stage = spent()
    stage.hear(lose(1))
    stage.wait(stage.settings.reconnect_window_ms).tick().turn()
    stage.take_over()
    stage.hear(join(ADA, 1))
    assert acks(stage.hear(chat(1))) == 0
    stage.wait(5_000)
    assert acks(stage.hear(chat(1), chat(1))) == 1


def test_who_is_here_again_has_one_set_of_buckets_stored() -> None:
    stage = spent()
    stage.hear(leave(1))
    assert "t:ada" in stage.store.fields
    assert "s:ada" not in stage.store.fields
    stage.hear(join(ADA, 1))
    assert "t:ada" not in stage.store.fields
    assert "s:ada" in stage.store.fields


def test_who_never_did_anything_leaves_nothing_behind() -> None:
    stage = Stage()
    stage.hear(join(ADA, 1), join(BEN, 2))
    stage.hear(leave(1), leave(2))
    assert set(stage.store.fields) == {"meta"}


def test_what_is_full_again_by_time_is_not_kept() -> None:
    stage = Stage(reconnect_window_ms=40_000)
    stage.hear(join(ADA, 1), join(BEN, 2), move(1, 1))
    stage.hear(lose(1))
    stage.wait(40_000).tick().turn()
    assert "t:ada" not in stage.store.fields


def test_the_rate_of_who_sends_from_outside_is_that_of_who_comes_in_and_survives_a_takeover() -> None:
    lobby = Stage(room_id=LOBBY, **SLOW)
    lobby.hear(join(BEN, 2, room=LOBBY))
    for number in range(3):
        assert lobby.hear(call(ADA, 1, LOBBY, request=number + 1)).answers[number + 1]["t"] == "ack"
        lobby.take_over()
    refused = lobby.hear(call(ADA, 1, LOBBY, request=9)).answers[9]["payload"]["code"]
    assert refused == "rate_limited"
    lobby.hear(join(ADA, 1, room=LOBBY))
    assert acks(lobby.hear(say(1, room=LOBBY))) == 0
    lobby.hear(leave(1, room=LOBBY))
    lobby.take_over()
    assert lobby.hear(call(ADA, 1, LOBBY, request=9)).answers[9]["payload"]["code"] == refused


def report(user: str, message_id: str | UnsetType) -> Call:
    """Something that takes a token, and changes nothing of a room without a database."""
    message = Report(v=1, ts=0, id=message_id, payload=ReportPayload(HALL, 3, "rude", epoch=5))
    return Call(HALL, ConnNumber(1), Identity(UserId(user), user.title(), "fox"), "desktop", message, 1)


def test_nobody_makes_a_room_stored_by_knocking() -> None:
    stage = Stage()
    assert stage.hear(report(ADA, UNSET)).answers[1]["t"] == "ack"
    assert stage.store.fields == {}


def test_a_room_of_which_only_an_answer_is_stored_can_be_loaded() -> None:
    # The answer was stored without the room it belongs to, and the worker that loaded it next ended.
    stage = Stage()
    answer = stage.hear(report(ADA, "r1")).answers
    assert stage.last_turn is not None
    assert stage.last_turn.patch.ttl_ms == stage.settings.room_idle_ttl_ms
    assert stage.take_over().hear(report(ADA, "r1")).answers == answer


def test_a_room_that_rests_lives_on_as_long_as_what_is_written_of_it() -> None:
    lobby = Stage(room_id=LOBBY, **SLOW)
    lobby.hear(call(ADA, 1, LOBBY))
    assert set(lobby.store.fields) >= {"meta", "t:ada"}
    for number in range(5):
        lobby.hear(call(ADA, 1, LOBBY, request=number + 1))
        assert lobby.last_turn is not None
        patch = lobby.last_turn.patch
        assert patch.ttl_ms is not None or not patch.set_fields


@given(
    st.lists(st.tuples(st.sampled_from(["out", "in", "kick", "takeover", "wait", "say", "say"]), st.integers(0, 4_000)))
)
def test_nothing_gets_more_through_than_the_rate_allows(course: list[tuple[str, int]]) -> None:
    stage = Stage(chat_burst=2, chat_per_second=0.5)
    stage.hear(join(BEN, 2), join(ADA, 1))
    said_ms: list[int] = []
    for what, ms in course:
        match what:
            case "out":
                stage.hear(leave(1))
            case "in":
                stage.hear(join(ADA, 1))
            case "kick":
                stage.hear(moderate(ADA, "kicked"))
            case "takeover":
                stage.take_over()
            case "wait":
                stage.wait(ms)
            case _:
                heard = stage.hear(chat(1))
                said_ms += [stage.now_ms] * heard.names(2).count("chat_broadcast")
    for first, start_ms in enumerate(said_ms):
        for last in range(first, len(said_ms)):
            assert last - first + 1 <= 2 + (said_ms[last] - start_ms) * 0.5 / 1000 + 1e-6


# --- the store of them ------------------------------------------------------------------------------------


def drawn(at_ms: int) -> dict[str, TokenBucket]:
    return {"chat": TokenBucket(1.5, at_ms)}


def user(number: int) -> UserId:
    return UserId(f"u{number:04}")


def test_those_that_are_full_again_go_when_others_come() -> None:
    changes = FieldChanges()
    resting = RestingBuckets(changes, rest_ms=1_000, persons_max=100)
    for number in range(SWEPT_AT_ONCE):
        resting.put(user(number), drawn(number), number)
    changes.take()
    resting.put(user(99), drawn(1_003), 1_003)
    _, dropped = changes.take()
    assert dropped == ["t:u0000", "t:u0001", "t:u0002", "t:u0003"]
    assert resting.of(user(3)) is None
    assert resting.of(user(4)) == drawn(4)


def test_of_too_many_those_go_that_were_drawn_from_longest_ago() -> None:
    resting = RestingBuckets(FieldChanges(), rest_ms=10**6, persons_max=40)
    for number in range(200):
        resting.put(user(number), drawn(number), number)
        there = [n for n in range(number + 1) if resting.of(user(n)) is not None]
        assert len(there) <= 40
        assert there == list(range(number + 1 - len(there), number + 1))


def test_what_is_restored_is_what_was_stored() -> None:
    changes = FieldChanges()
    RestingBuckets(changes, rest_ms=1_000, persons_max=9).put(user(1), drawn(500), 600)
    ((name, data),) = changes.take()[0].items()
    resting = RestingBuckets(changes, rest_ms=1_000, persons_max=9)
    resting.restore(name.removeprefix("t:"), data)
    assert resting.take(user(1)) == drawn(500)
    assert resting.take(user(1)) is None
    assert changes.take() == ({}, ["t:u0001"])


def test_the_time_has_a_bound_whatever_the_rate() -> None:
    resting = RestingBuckets(FieldChanges(), rest_ms=10**9, persons_max=9)
    resting.put(user(1), drawn(START_MS), START_MS + REST_MS_MAX)
    assert resting.of(user(1)) is None


def test_every_rate_of_the_rooms_fills_its_bucket_in_time() -> None:
    rates: dict[str, Rate] = {}
    for module in pkgutil.iter_modules(roomworker.__path__):
        for name, value in vars(importlib.import_module(f"roomworker.{module.name}")).items():
            if isinstance(value, Rate):
                rates[name] = value
    assert len(rates) >= 6
    assert all(rate.burst / rate.per_second * 1_000 <= FILL_MS for rate in rates.values())
