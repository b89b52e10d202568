"""The engine and a room that cannot be made from what is stored of it: refused, left as it is, and alone in that."""

import json
from typing import Any

import pytest
from msgspec import structs

from common.commands import Tell
from common.deliveries import Answer, AnyDelivery, Detach
from common.ids import EdgeId, RoomId, inbox_of
from common.letters import Unwatch
from common.ring import shard_of
from roomworker.engine import TRIES_MAX
from roomworker.room import Room
from tests.unit.bench import Bench, messages_of, names_of
from tests.unit.stage import ADA, BEN, E1, HALL, chat, inspect, join, leave, lose, moderate, move

SPOILT = b"\xc1"
SHARDS = 4
NEIGHBOUR = next(
    RoomId(f"hall-{number}")
    for number in range(100)
    if shard_of(RoomId(f"hall-{number}"), SHARDS) == shard_of(HALL, SHARDS)
)


@pytest.fixture
def bench() -> Bench:
    """Two people and a past in a room, one person in another of the same shard."""
    bench = Bench(chat_burst=1_000, shards=SHARDS).take()
    bench.told(join(ADA, 1), join(BEN, 2), chat(1, "a", id="a"), moderate("cy", "banned"))
    bench.told(join(ADA, 9, room=NEIGHBOUR))
    return bench


def fields(bench: Bench, room_id: RoomId = HALL) -> dict[str, bytes]:
    """Return what is stored of a room; what is put into it is stored."""
    return bench.store._rooms[room_id]


def codes(told: list[AnyDelivery], conn: int) -> list[tuple[Any, Any]]:
    return [(message.get("re"), message["payload"].get("code")) for message in messages_of(told, conn)]


def test_a_room_that_cannot_be_read_is_refused_and_its_shard_goes_on(bench: Bench) -> None:
    fields(bench)["meta"] = SPOILT
    before = dict(fields(bench))
    # Its shard's next owner could not take it, nor the one after.
    bench.take_over()
    assert [(room, work) for room, work, _ in bench.failures] == [(HALL, "")]
    assert bench.engine.unreadable_count() == 1
    bench.send(chat(1, "b", id="b"), move(1, 1), join(BEN, 3, re="j"), leave(2, re="l"), lose(1), inspect(7))
    bench.send(chat(9, "there", room=NEIGHBOUR))
    bench.turn()
    told = bench.output()
    assert codes(told, 1) == [("b", "internal"), (None, "internal")]
    assert codes(told, 3) == [("j", "internal")]
    assert codes(told, 2) == [("l", "internal")]
    assert [(delivery.conn, delivery.refused) for delivery in told if isinstance(delivery, Detach)] == [
        (3, True),
        (2, True),
    ]
    (answer,) = [json.loads(delivery.body) for delivery in told if isinstance(delivery, Answer)]
    assert answer["error"]["code"] == "internal"
    assert [message["payload"]["text"] for message in messages_of(told)] == ["there"]
    # Told of once, and nothing of it is overwritten.
    assert len(bench.failures) == 1
    assert fields(bench) == before
    assert bench.dead_letters() == []


def test_a_quiet_join_to_an_unreadable_inbox_is_refused_quietly(bench: Bench) -> None:
    inbox = inbox_of(ADA)
    bench.told(join(ADA, 1, room=inbox))
    fields(bench, inbox)["meta"] = SPOILT
    bench.take_over()
    (refused,) = bench.told(structs.replace(join(ADA, 5, room=inbox), quiet=True))
    assert isinstance(refused, Detach)
    assert (refused.messages, refused.refused) == ([], True)


def test_what_other_rooms_told_it_is_set_aside(bench: Bench) -> None:
    inbox = inbox_of(ADA)
    bench.told(join(ADA, 1, room=inbox))
    fields(bench, inbox)["meta"] = SPOILT
    bench.take_over()
    letter = Tell(inbox, Unwatch(ADA, BEN))
    bench.send(letter, edge=EdgeId(""))
    bench.turn()
    (dead,) = bench.dead_letters()
    assert (dead.kind, dead.what, dead.room_id) == ("command", "Tell", inbox)
    assert dead.error.startswith("RoomUnreadable")


def test_a_room_that_was_removed_begins_anew_without_a_restart(bench: Bench) -> None:
    epoch = messages_of(bench.told(join(ADA, 1)), 1)[0]["payload"]["epoch"]
    fields(bench)["meta"] = SPOILT
    bench.take_over()
    assert codes(bench.told(join(ADA, 1, re="j")), 1) == [("j", "internal")]
    del bench.store._rooms[HALL]
    bench.now_ms += 1
    (state,) = messages_of(bench.told(join(ADA, 1)), 1)
    assert (state["t"], state["payload"]["epoch"] > epoch) == ("room_state", True)
    assert bench.engine.unreadable_count() == 0


def test_whichever_field_is_spoilt_the_engine_goes_on_and_writes_nothing_over_it(bench: Bench) -> None:
    whole = dict(fields(bench))
    refused: set[str] = set()
    for name in whole:
        bench.store._rooms[HALL] = {**whole, name: SPOILT}
        bench.take_over()
        told = bench.told(chat(9, "there", room=NEIGHBOUR))
        assert names_of(told) == ["chat_broadcast"], name
        if codes(bench.told(chat(1, id=f"b {name}")), 1) == [(f"b {name}", "internal")]:
            refused.add(name)
            assert fields(bench) == {**whole, name: SPOILT}
    assert refused == set(whole)
    for name in ("meta", f"m:{ADA}"):
        bench.store._rooms[HALL] = {key: value for key, value in whole.items() if key != name}
        bench.take_over()
        assert names_of(bench.told(chat(9, "there", room=NEIGHBOUR))) == ["chat_broadcast"]


def test_a_room_that_fails_without_a_task_is_refused_and_does_not_end_the_worker(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Room.take

    def take(room: Room) -> Any:
        if room.room_id == HALL:
            raise RuntimeError("planted")
        return whole(room)

    monkeypatch.setattr(Room, "take", take)
    before = dict(fields(bench))
    bench.send(chat(1, "b", id="b"))
    bench.send(chat(9, "there", room=NEIGHBOUR))
    bench.turn()
    told = bench.output()
    assert codes(told, 1) == [("b", "internal")]
    assert [message["payload"]["text"] for message in messages_of(told)] == ["there"]
    assert bench.tries == TRIES_MAX + 1
    assert [letter.what for letter in bench.dead_letters()] == ["Post"]
    assert fields(bench) == before
    monkeypatch.undo()
    assert names_of(bench.told(chat(1, "c"))) == ["chat_broadcast"]


def test_an_order_at_which_a_room_fails_is_answered_as_an_error(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    # The operator got 200, with an event in the body.
    def moderate_badly(*_: object) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr(Room, "_moderate", moderate_badly)
    (answer,) = bench.told(moderate("ben", "kicked", request=8), edge=E1)
    assert isinstance(answer, Answer)
    assert (answer.request, json.loads(answer.body)["error"]["code"]) == (8, "internal")
