"""Coming back to a place in the order: everything that was missed, or a word that it is not known any more."""

from typing import Any

import pytest

from common.ids import Epoch, Seq
from tests.unit.stage import ADA, BEN, CY, E2, START_MS, Stage, catch_up, chat, emote, join, leave, lose, move


@pytest.fixture
def stage() -> Stage:
    """Ada left the socket at 2; since then Ben said three things."""
    stage = Stage(history_events_max=4, chat_burst=1_000)
    stage.hear(join(ADA, 1), join(BEN, 2))
    stage.hear(lose(1))
    stage.hear(chat(2, "one"), chat(2, "two"), emote(2))
    return stage


def places(envelopes: list[dict[str, Any]]) -> list[tuple[int, bool]]:
    return [(envelope["seq"], envelope.get("replay", False)) for envelope in envelopes]


def test_what_was_missed_is_replayed_after_the_state(stage: Stage) -> None:
    heard = stage.hear(join(ADA, 3, resume=(START_MS, 2)))
    state, *missed = heard.to(3)
    assert (state["payload"]["recovered"], state["payload"]["seq"]) == (True, 5)
    assert places(missed) == [(3, True), (4, True), (5, True)]
    assert [event["t"] for event in missed] == ["chat_broadcast", "chat_broadcast", "emote_broadcast"]
    assert {event["epoch"] for event in missed} == {START_MS}


def test_replayed_events_are_what_the_others_saw(stage: Stage) -> None:
    live = stage.hear(chat(2, "three")).the("chat_broadcast", 2)
    (replayed,) = stage.hear(join(ADA, 3, resume=(START_MS, 5))).to(3)[1:]
    assert replayed == {**live, "replay": True}


def test_who_missed_nothing_gets_nothing(stage: Stage) -> None:
    heard = stage.hear(join(ADA, 3, resume=(START_MS, 5)))
    assert heard.names(3) == ["room_state"]
    assert heard.to(3)[0]["payload"]["recovered"] is True


@pytest.mark.parametrize(
    ("resume", "recovered"),
    [
        ((START_MS, 1), True),
        ((START_MS, 0), False),
        ((START_MS, 6), False),
        ((START_MS, 2**53 - 1), False),
        ((START_MS - 1, 2), False),
        ((START_MS + 1, 2), False),
        ((0, 0), False),
    ],
)
def test_a_place_is_known_exactly_or_not_at_all(stage: Stage, resume: tuple[int, int], recovered: bool) -> None:
    state, *missed = stage.hear(join(ADA, 3, resume=resume)).to(3)
    assert state["payload"]["recovered"] is recovered
    assert [event["seq"] for event in missed] == (list(range(resume[1] + 1, 6)) if recovered else [])


def test_ones_own_return_is_part_of_what_was_missed() -> None:
    stage = Stage()
    stage.hear(join(ADA, 1), join(BEN, 2))
    stage.hear(leave(1))
    state, *missed = stage.hear(join(ADA, 3, resume=(START_MS, 2))).to(3)
    assert state["payload"]["recovered"] is True
    assert [(event["seq"], event["t"]) for event in missed] == [(3, "member_left"), (4, "member_joined")]


def test_the_whole_history_is_there_after_a_takeover(stage: Stage) -> None:
    stage.take_over()
    state, *missed = stage.hear(join(ADA, 3, resume=(START_MS, 1))).to(3)
    assert state["payload"]["recovered"] is True
    assert places(missed) == [(2, True), (3, True), (4, True), (5, True)]


def test_after_a_takeover_the_second_to_return_may_have_missed_more_than_the_first(stage: Stage) -> None:
    # The room asked the store once, for what the first one needed, and never again: whoever came later from
    # an older place was told `recovered: false` although the store had it all.
    stage.take_over()
    assert stage.hear(join(ADA, 3, resume=(START_MS, 4))).to(3)[0]["payload"]["recovered"] is True
    state, *missed = stage.hear(join(CY, 4, resume=(START_MS, 2))).to(4)
    assert state["payload"]["recovered"] is True
    assert [event["seq"] for event in missed] == [3, 4, 5, 6]


def test_the_store_is_asked_for_no_more_than_is_needed_and_only_once(stage: Stage) -> None:
    room = stage.take_over().room
    assert room.wants_history(join(ADA, 3, resume=(START_MS, 3))) == 3
    assert room.wants_history(join(ADA, 3, resume=(START_MS, 5))) is None
    assert room.wants_history(join(ADA, 3, resume=(START_MS + 1, 3))) is None
    assert room.wants_history(join(ADA, 3)) is None
    assert room.wants_history(chat(2)) is None
    room.add_history(Seq(0), stage.store.history(Epoch(START_MS), Seq(0)))
    assert room.wants_history(join(ADA, 3, resume=(START_MS, 0))) is None
    assert room.wants_history(catch_up(3, START_MS, 0)) is None


def test_a_new_room_asks_nothing() -> None:
    stage = Stage()
    stage.hear(join(ADA, 1), chat(1))
    assert stage.room.wants_history(join(BEN, 2, resume=(START_MS, 0))) is None


# --- heartbeats -------------------------------------------------------------------------------------------


def test_a_gap_told_by_a_heartbeat_is_filled(stage: Stage) -> None:
    heard = stage.hear(catch_up(2, START_MS, 3))
    assert places(heard.to(2)) == [(4, True), (5, True)]


def test_a_gap_is_filled_before_what_follows_in_the_same_turn(stage: Stage) -> None:
    heard = stage.hear(chat(2, "before"), catch_up(2, START_MS, 4), chat(2, "after"))
    # The event before was sent already when the gap is filled; it comes twice, and the client passes one over.
    assert places([event for event in heard.to(2) if "seq" in event]) == [
        (6, False),
        (5, True),
        (6, True),
        (7, False),
    ]


def test_no_gap_no_answer(stage: Stage) -> None:
    assert stage.hear(catch_up(2, START_MS, 5)).is_silent()
    assert stage.hear(catch_up(99, START_MS, 1)).is_silent()


@pytest.mark.parametrize(
    ("epoch", "seq", "reason"),
    [(START_MS, 0, "history_too_short"), (START_MS - 5, 3, "new_epoch"), (START_MS, 9, None)],
)
def test_a_gap_that_cannot_be_filled_is_told(stage: Stage, epoch: int, seq: int, reason: str | None) -> None:
    heard = stage.hear(catch_up(2, epoch, seq))
    assert heard.names(2) == ["resync", "room_state"]
    assert heard.to(2)[0]["payload"]["reason"] == (reason or "history_too_short")
    assert heard.to(2)[1]["payload"]["recovered"] is False


def test_a_reader_that_was_slow_gets_the_whole_state(stage: Stage) -> None:
    stage.hear(move(2, 1, 4.0))
    heard = stage.hear(catch_up(2, START_MS, 5, skipped=True))
    assert heard.names(2) == ["resync", "room_state"]
    assert heard.to(2)[0]["payload"]["reason"] == "slow_reader"
    assert {member["userId"]: member["x"] for member in heard.to(2)[1]["payload"]["members"]}[BEN] == 4.0


# --- repairs, asked for by the edge -----------------------------------------------------------------------


def test_a_repair_of_a_known_connection_is_no_new_join(stage: Stage) -> None:
    stage.hear(join(BEN, 7), edge=E2)
    stage.hear(move(7, 1, 3.0), edge=E2)
    stage.hear(join(BEN, 2, resume=(START_MS, 3), repair=True))
    # The connection that joined last still moves the avatar, and its numbers go on.
    assert stage.hear(move(2, 9, 8.0)).is_silent()
    assert stage.hear(move(7, 1, 8.0), edge=E2).is_silent()
    assert stage.hear(move(7, 2, 8.0), edge=E2).names(7, E2) == ["avatar_transform_broadcast"]


def test_a_repair_replays_what_was_missed(stage: Stage) -> None:
    heard = stage.hear(join(BEN, 2, resume=(START_MS, 3), repair=True))
    replayed = [event for event in heard.to(2) if event.get("replay")]
    assert places(replayed) == [(4, True), (5, True)]
    assert "resync" not in heard.names(2)


def test_a_repair_brings_movements_that_were_lost_on_the_way(stage: Stage) -> None:
    # Only reliable events were made up for: an avatar whose last movement was in the lost entry stood in the
    # wrong place for everybody on that edge until it moved again.
    stage.hear(join(CY, 7), edge=E2)
    stage.hear(move(7, 1, 42.0), edge=E2)
    heard = stage.hear(join(BEN, 2, resume=(START_MS, 6), repair=True))
    state = heard.the("room_state", 2)
    assert state["payload"]["recovered"] is True
    assert {member["userId"]: member["x"] for member in state["payload"]["members"]}[CY] == 42.0


@pytest.mark.parametrize(
    ("resume", "reason"), [((START_MS, 0), "history_too_short"), ((0, 0), "new_epoch"), (None, "new_epoch")]
)
def test_a_repair_from_an_unknown_place_is_told(stage: Stage, resume: tuple[int, int] | None, reason: str) -> None:
    heard = stage.hear(join(BEN, 2, resume=resume, repair=True))
    assert heard.names(2) == ["resync", "room_state"]
    assert heard.to(2)[0]["payload"]["reason"] == reason


def test_a_repair_of_a_connection_that_the_room_lost_lets_it_in_again(stage: Stage) -> None:
    stage.hear(lose(2))
    heard = stage.hear(join(BEN, 2, resume=(START_MS, 5), repair=True))
    assert "resync" not in heard.names(2)
    assert stage.hear(chat(2)).names(2) == ["chat_broadcast", "ack"]


# --- a new order ------------------------------------------------------------------------------------------


def test_a_new_epoch_is_told_to_all_who_are_there(stage: Stage) -> None:
    stage.hear(join(CY, 1), edge=E2)
    heard = stage.wait(50).begin_epoch().turn()
    for conn, edge in ((2, None), (1, E2)):
        resync, state = heard.to(conn) if edge is None else heard.to(conn, edge)
        assert resync["payload"] == {"roomId": "hall", "reason": "new_epoch"}
        assert (state["payload"]["epoch"], state["payload"]["seq"]) == (stage.now_ms, 0)
        assert state["payload"]["recovered"] is False
    joined = stage.hear(join(ADA, 3)).to(3)[0]["payload"]
    assert (joined["epoch"], joined["seq"]) == (stage.now_ms, 0)
    assert stage.hear(chat(2)).the("chat_broadcast", 2)["seq"] == 1


def test_a_later_epoch_is_greater_even_if_the_clock_went_back(stage: Stage) -> None:
    stage.wait(-10_000).begin_epoch().turn()
    assert stage.room.epoch == START_MS + 1


def test_nothing_of_the_old_order_is_resumed_in_the_new_one(stage: Stage) -> None:
    stage.begin_epoch().turn()
    stage.hear(chat(2), chat(2), chat(2))
    state, *missed = stage.hear(join(ADA, 3, resume=(START_MS, 2))).to(3)
    assert state["payload"]["recovered"] is False
    assert missed == []
