"""What members say and how they move: order, answers, rates, and which connection counts."""

import itertools
import json

import pytest

from common.deliveries import Stranger
from tests.unit.stage import ADA, BEN, E1, E2, START_MS, Stage, chat, emote, join, leave, lose, move


@pytest.fixture
def stage() -> Stage:
    stage = Stage(chat_burst=3, chat_per_second=5.0)
    stage.hear(join(ADA, 1), join(BEN, 2))
    return stage


def xs(stage: Stage) -> dict[str, float]:
    return {member["userId"]: member["x"] for member in stage.look()["members"]}


# --- chat and emotes --------------------------------------------------------------------------------------


def test_chat_goes_to_all_and_the_sender_hears_the_event_before_the_ack(stage: Stage) -> None:
    heard = stage.hear(chat(1, "hello", id="m1"))
    event, ack = heard.to(1)
    assert (event["t"], event["seq"], event["epoch"], event["ts"]) == ("chat_broadcast", 3, START_MS, START_MS)
    assert (ack["t"], ack["re"]) == ("ack", "m1")
    assert ack["payload"] == {"roomId": "hall", "seq": 3, "messageId": event["payload"]["messageId"]}
    assert heard.to(2) == [event]
    assert {key: event["payload"][key] for key in ("roomId", "userId", "displayName", "text")} == {
        "roomId": "hall",
        "userId": ADA,
        "displayName": "Ada",
        "text": "hello",
    }


def test_an_emote_is_acknowledged_with_its_place(stage: Stage) -> None:
    heard = stage.hear(emote(1, "cheers", id="m1"))
    assert heard.names(2) == ["emote_broadcast"]
    assert heard.the("ack", 1)["payload"] == {"roomId": "hall", "seq": 3}


def test_without_an_id_the_ack_answers_nothing_in_particular(stage: Stage) -> None:
    assert "re" not in stage.hear(chat(1)).the("ack", 1)


def test_message_ids_differ(stage: Stage) -> None:
    heard = stage.hear(chat(1), chat(2), chat(1))
    assert len({event["payload"]["messageId"] for event in heard.to(1) if event["t"] == "chat_broadcast"}) == 3


def test_strangers_are_told_so(stage: Stage) -> None:
    error = stage.hear(chat(99, id="m1")).the("error", 99)
    assert (error["re"], error["payload"]["code"], error["payload"]["roomId"]) == ("m1", "not_joined", "hall")
    stage.hear(leave(1))
    assert stage.hear(chat(1)).the("error", 1)["payload"]["code"] == "not_joined"
    # An edge that knows better has `busy` for who wants an answer.
    asked, unasked = stage.hear(chat(1, id="m2"), chat(1)).deliveries[E1]
    assert isinstance(asked, Stranger)
    assert isinstance(unasked, Stranger)
    (later,) = map(json.loads, asked.again)
    assert (later["re"], later["payload"]["code"], unasked.again) == ("m2", "busy", [])
    assert stage.room.seq == 3


# --- ids --------------------------------------------------------------------------------------------------


def test_a_repeated_id_takes_effect_once_and_gets_the_same_answer(stage: Stage) -> None:
    first = stage.hear(chat(1, id="m1")).the("ack", 1)
    stage.wait(1_000)
    heard = stage.hear(chat(1, "another text", id="m1"))
    assert heard.to(1) == [first]
    assert heard.to(2) == []
    assert stage.room.seq == 3


def test_a_repeated_id_in_the_same_turn(stage: Stage) -> None:
    heard = stage.hear(chat(1, id="m1"), chat(1, id="m1"))
    assert heard.names(1) == ["chat_broadcast", "ack", "ack"]
    assert heard.to(1)[1] == heard.to(1)[2]


def test_an_id_is_known_over_another_edge_after_a_reconnect_and_after_a_takeover(stage: Stage) -> None:
    first = stage.hear(chat(1, id="m1")).the("ack", 1)
    stage.hear(lose(1))
    stage.take_over()
    stage.hear(join(ADA, 1), edge=E2)
    heard = stage.hear(chat(1, id="m1"), edge=E2)
    assert heard.to(1, E2) == [first]
    assert heard.names(2) == []


def test_ids_of_different_persons_do_not_meet(stage: Stage) -> None:
    stage.hear(chat(1, id="m1"))
    assert stage.hear(chat(2, id="m1")).names(1) == ["chat_broadcast"]


def test_an_id_is_forgotten_after_the_window_and_not_before() -> None:
    stage = Stage(idempotency_window_ms=1_000)
    stage.hear(join(ADA, 1))
    stage.hear(chat(1, id="m1"))
    assert stage.wait(1_000).hear(chat(1, id="m1")).names(1) == ["ack"]
    assert stage.wait(1).hear(chat(1, id="m1")).names(1) == ["chat_broadcast", "ack"]


def test_past_the_bound_the_oldest_ids_are_forgotten() -> None:
    stage = Stage(idempotency_ids_max=2, chat_burst=1_000)
    stage.hear(join(ADA, 1))
    for name in ("a", "b", "c"):
        stage.hear(chat(1, id=name))
    assert sum(field.startswith("d:") for field in stage.store.fields) == 2
    assert stage.hear(chat(1, id="b")).names(1) == ["ack"]
    assert stage.hear(chat(1, id="c")).names(1) == ["ack"]
    assert stage.hear(chat(1, id="a")).names(1) == ["chat_broadcast", "ack"]


def test_a_refused_message_may_be_sent_again_with_its_id(stage: Stage) -> None:
    stage.hear(chat(1), chat(1), chat(1))
    assert stage.hear(chat(1, id="m1")).the("error", 1)["payload"]["code"] == "rate_limited"
    assert stage.wait(200).hear(chat(1, id="m1")).names(1) == ["chat_broadcast", "ack"]


# --- rates ------------------------------------------------------------------------------------------------


def test_what_comes_too_fast_is_dropped_and_told(stage: Stage) -> None:
    heard = stage.hear(*[chat(1, id=f"m{number}") for number in range(5)])
    assert heard.names(2) == ["chat_broadcast"] * 3
    notice = heard.the("rate_limited", 1)["payload"]
    assert notice == {"event": "local_chat", "limit": 5.0, "retryAfterMs": 200, "roomId": "hall"}
    errors = [event for event in heard.to(1) if event["t"] == "error"]
    assert [(error["re"], error["payload"]["code"]) for error in errors] == [
        ("m3", "rate_limited"),
        ("m4", "rate_limited"),
    ]


def test_a_flood_without_ids_draws_one_notice_and_nothing_else(stage: Stage) -> None:
    heard = stage.hear(*[chat(1) for _ in range(50)])
    assert heard.names(1) == ["chat_broadcast"] * 3 + ["ack"] * 3 + ["rate_limited"]


def test_notices_come_at_most_once_a_second_for_each_event(stage: Stage) -> None:
    told: list[tuple[int, str]] = []
    for _ in range(300):
        stage.wait(10)
        heard = stage.hear(chat(1), emote(1), move(1, stage.now_ms), move(1, stage.now_ms + 1))
        told += [(event["ts"], event["payload"]["event"]) for event in heard.to(1) if event["t"] == "rate_limited"]
    for name in ("local_chat", "emote", "avatar_transform"):
        times = [ts for ts, event in told if event == name]
        assert len(times) in (2, 3)
        assert all(later - earlier >= 1_000 for earlier, later in itertools.pairwise(times))


def test_the_told_wait_is_enough(stage: Stage) -> None:
    heard = stage.hear(*[chat(1) for _ in range(4)])
    wait_ms = heard.the("rate_limited", 1)["payload"]["retryAfterMs"]
    assert stage.wait(wait_ms - 1).hear(chat(1)).names(2) == []
    assert stage.wait(1).hear(chat(1)).names(2) == ["chat_broadcast"]


def test_rates_count_when_the_edge_received_it_not_when_the_worker_got_to_it(stage: Stage) -> None:
    # A worker that stood still for a second must not take a second of steady chatting for a flood.
    stage.wait(2_000)
    for late_ms in range(2_000, 0, -200):
        stage.do(chat(1), arrived_ms=stage.now_ms - late_ms)
    assert stage.turn().names(2) == ["chat_broadcast"] * 10


def test_rates_are_of_the_person_not_of_the_connection(stage: Stage) -> None:
    stage.hear(join(ADA, 5), edge=E2)
    stage.hear(chat(1), chat(1))
    assert stage.hear(chat(5), chat(5), edge=E2).names(2) == ["chat_broadcast"]
    assert stage.hear(chat(2)).names(2) == ["chat_broadcast", "ack"]


def test_rates_survive_a_takeover(stage: Stage) -> None:
    stage.hear(chat(1), chat(1), chat(1))
    stage.take_over()
    assert stage.hear(chat(1)).names(2) == []


@pytest.mark.parametrize(("device", "burst", "per_second"), [("desktop", 10, 20), ("mobile", 7, 15)])
def test_movements_follow_the_device(device: str, burst: int, per_second: int) -> None:
    stage = Stage()
    stage.hear(join(ADA, 1, device=device))  # type: ignore[arg-type]
    at_once = sum("avatar_transform_broadcast" in stage.hear(move(1, seq)).names(1) for seq in range(30))
    assert at_once == burst
    passed = 0
    for step in range(400):
        stage.wait(5)
        passed += "avatar_transform_broadcast" in stage.hear(move(1, 100 + step)).names(1)
    assert abs(passed - 2 * per_second) <= 1


# --- movements --------------------------------------------------------------------------------------------


def test_a_movement_goes_to_all_with_the_senders_number_and_no_place(stage: Stage) -> None:
    heard = stage.hear(move(1, 7, 4.5))
    (event,) = heard.to(2)
    assert heard.to(1) == [event]
    assert event == {
        "v": 1,
        "t": "avatar_transform_broadcast",
        "ts": START_MS,
        "payload": {
            "roomId": "hall",
            "userId": ADA,
            "seq": 7,
            "x": 4.5,
            "y": 0.0,
            "z": 2.0,
            "rotY": 0.5,
            "anim": "walk",
            "speaking": False,
        },
    }
    assert xs(stage) == {ADA: 4.5, BEN: 0.0}


@pytest.mark.parametrize("late", [7, 6, 0])
def test_repeated_and_older_movements_are_dropped(stage: Stage, late: int) -> None:
    stage.hear(move(1, 7, 4.0))
    assert stage.hear(move(1, late, 9.0)).is_silent()
    assert xs(stage)[ADA] == 4.0


def test_within_a_turn_only_the_newest_movement_is_sent(stage: Stage) -> None:
    heard = stage.hear(move(1, 1, 1.0), move(2, 1, 5.0), move(1, 2, 2.0), move(1, 3, 3.0))
    assert [(e["payload"]["userId"], e["payload"]["x"]) for e in heard.to(2)] == [(ADA, 3.0), (BEN, 5.0)]


def test_numbers_start_anew_with_each_join(stage: Stage) -> None:
    # A page that was loaded again counts from 0; its movements must not be taken for old ones.
    stage.hear(move(1, 1_000, 4.0))
    stage.hear(join(ADA, 1))
    assert stage.hear(move(1, 0, 5.0)).names(2) == ["avatar_transform_broadcast"]
    stage.hear(lose(1))
    stage.hear(join(ADA, 3))
    assert stage.hear(move(3, 0, 6.0)).names(2) == ["avatar_transform_broadcast"]


def test_the_same_connection_number_on_another_edge_is_another_connection(stage: Stage) -> None:
    stage.hear(move(1, 50, 1.0))
    stage.hear(join(ADA, 1), edge=E2)
    assert stage.hear(move(1, 0, 2.0), edge=E2).names(2) == ["avatar_transform_broadcast"]


def test_the_newest_connection_moves_the_avatar(stage: Stage) -> None:
    stage.hear(join(ADA, 5), edge=E2)
    assert stage.hear(move(1, 1, 9.0)).is_silent()
    assert stage.hear(move(5, 1, 3.0), edge=E2).names(2) == ["avatar_transform_broadcast"]
    stage.hear(lose(5), edge=E2)
    assert stage.hear(move(1, 2, 4.0)).names(2) == ["avatar_transform_broadcast"]
    assert xs(stage)[ADA] == 4.0


def test_stale_numbers_are_known_after_a_takeover(stage: Stage) -> None:
    stage.hear(move(1, 7, 4.0))
    stage.take_over()
    assert stage.hear(move(1, 7, 9.0)).is_silent()
    assert stage.hear(move(1, 8, 9.0)).names(2) == ["avatar_transform_broadcast"]


def test_a_movement_of_who_leaves_in_the_same_turn_is_not_sent(stage: Stage) -> None:
    # It would arrive after `member_left` and put the avatar back on the floor.
    assert stage.hear(move(1, 1), leave(1)).names(2) == ["member_left"]


def test_movements_come_after_the_events_of_the_turn(stage: Stage) -> None:
    assert stage.hear(move(1, 1), chat(2)).names(1) == ["chat_broadcast", "avatar_transform_broadcast"]


def test_a_movement_before_a_join_is_in_the_joiners_state(stage: Stage) -> None:
    heard = stage.hear(move(1, 1, 6.0), join(BEN, 9))
    assert {m["userId"]: m["x"] for m in heard.the("room_state", 9)["payload"]["members"]}[ADA] == 6.0
    assert stage.room.edges == {E1: 3}
