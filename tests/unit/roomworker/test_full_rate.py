"""In a very large room the movements of those who came last are shown less often; the last one always is."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.stage import ADA, BEN, CY, DEE, START_MS, Heard, Stage, chat, join, leave, move

SETTINGS: dict[str, Any] = {"full_rate_movers_max": 2, "reduced_movements_per_second": 4.0}
INTERVAL_MS = 250


@pytest.fixture
def stage() -> Stage:
    """A room where Ada and Ben are shown at the full rate, Cy and Dee are not."""
    stage = Stage(**SETTINGS)
    stage.hear(join(ADA, 1), join(BEN, 2), join(CY, 3), join(DEE, 4))
    return stage


def shown(heard: Heard, listener: int = 1) -> list[tuple[str, int]]:
    events = [event["payload"] for event in heard.to(listener) if event["t"] == "avatar_transform_broadcast"]
    return [(event["userId"], event["seq"]) for event in events]


def run_timers(stage: Stage, until_ms: int) -> list[tuple[str, int]]:
    """Let all timers up to a time run; returns what was shown."""
    found: list[tuple[str, int]] = []
    while (due_ms := stage.room.next_due_ms()) is not None and due_ms <= until_ms:
        stage.now_ms = max(stage.now_ms, due_ms)
        found += shown(stage.tick().turn())
    stage.now_ms = until_ms
    return found


def test_a_small_room_says_nothing_of_it() -> None:
    heard = Stage(**SETTINGS).hear(join(ADA, 1), join(BEN, 2))
    assert "movement" not in heard.the("room_state", 2)["payload"]


def test_a_large_room_tells_each_how_the_own_movements_are_shown(stage: Stage) -> None:
    told = [stage.hear(join(user, conn)) for user, conn in ((BEN, 2), (CY, 3))]
    states = [heard.the("room_state", conn)["payload"]["movement"] for heard, conn in zip(told, (2, 3), strict=True)]
    numbers = {"fullRateMovers": 2, "reducedPerSecond": 4.0}
    assert states == [{**numbers, "reduced": False}, {**numbers, "reduced": True}]


def test_movements_of_the_first_are_all_shown(stage: Stage) -> None:
    for number in range(4):
        assert shown(stage.wait(50).hear(move(2, number))) == [(BEN, number)]


def test_movements_of_the_others_are_shown_so_often_and_the_newest_counts(stage: Stage) -> None:
    found: list[tuple[str, int]] = []
    for number in range(40):
        found += run_timers(stage, stage.now_ms + 50)
        found += shown(stage.hear(move(3, number)))
    assert 8 <= len(found) <= 9
    assert [seq for _, seq in found] == sorted(seq for _, seq in found)
    assert run_timers(stage, stage.now_ms + 1_000) in ([(CY, 39)], [])
    assert stage.room.next_due_ms() is None


def test_the_last_one_is_shown_though_nothing_follows(stage: Stage) -> None:
    assert shown(stage.hear(move(3, 1))) == [(CY, 1)]
    assert shown(stage.wait(10).hear(move(3, 2))) == []
    assert shown(stage.wait(10).hear(move(3, 3))) == []
    assert run_timers(stage, START_MS + INTERVAL_MS + 49) == [(CY, 3)]
    assert run_timers(stage, START_MS + 5_000) == []


def test_more_than_is_shown_is_no_excess(stage: Stage) -> None:
    heard = stage.hear(*(move(3, number) for number in range(10)))
    assert "rate_limited" not in heard.names(3)
    assert stage.hear(move(3, 10)).names(3)[-1] == "rate_limited"


def test_a_newcomer_sees_where_somebody_stands_before_it_is_shown(stage: Stage) -> None:
    stage.hear(move(3, 1, 5.0), move(3, 2, 6.0))
    stage.wait(10).hear(move(3, 3, 7.0))
    members = stage.look()["members"]
    assert {member["userId"]: member["x"] for member in members}[CY] == 7.0


def test_who_leaves_makes_way_for_the_next(stage: Stage) -> None:
    stage.hear(leave(1))
    for number in range(3):
        assert shown(stage.wait(10).hear(move(3, number)), listener=2) == [(CY, number)]
    stage.hear(move(4, 1))
    assert shown(stage.wait(10).hear(move(4, 2)), listener=2) == []
    assert not stage.hear(join(CY, 3)).the("room_state", 3)["payload"]["movement"]["reduced"]


def test_who_leaves_is_not_shown_any_more(stage: Stage) -> None:
    stage.hear(move(3, 1))
    stage.wait(10).hear(move(3, 2))
    stage.hear(leave(3))
    assert run_timers(stage, START_MS + 1_000) == []


@pytest.mark.parametrize("store_ms", [0, 1_000])
def test_the_last_one_is_shown_by_the_next_owner(store_ms: int) -> None:
    stage = Stage(**SETTINGS, position_store_ms=store_ms)
    stage.hear(join(ADA, 1), join(BEN, 2), join(CY, 3))
    stage.hear(move(3, 1))
    stage.wait(10).hear(move(3, 2))
    stage.hand_over()
    assert run_timers(stage, START_MS + 1_000) == [(CY, 2)]


def test_what_was_held_when_it_was_stored_and_shown_since_is_not_shown_by_the_next_owner() -> None:
    stage = Stage(**SETTINGS, position_store_ms=60_000)
    stage.hear(join(ADA, 1), join(BEN, 2), join(CY, 3), join(DEE, 4))
    stage.hear(move(3, 1))
    stage.wait(10).hear(move(3, 2), chat(3))
    assert run_timers(stage, START_MS + 300) == [(CY, 2)]
    assert shown(stage.wait(500).hear(move(3, 3))) == [(CY, 3)]
    stage.hear(move(4, 1))
    stage.wait(10).hear(move(4, 2))
    stage.take_over()
    assert (CY, 2) not in run_timers(stage, stage.now_ms + 1_000)


@given(st.lists(st.tuples(st.sampled_from([1, 3, 4]), st.sampled_from([0, 20, 60, 300, 900])), max_size=60), st.data())
def test_a_new_owner_shows_nothing_older_than_what_was_shown(course: list[tuple[int, int]], data: Any) -> None:
    """Wherever it took over, with what was stored by then."""
    stage = Stage(**SETTINGS, position_store_ms=1_000)
    stage.hear(join(ADA, 1), join(BEN, 2), join(CY, 3), join(DEE, 4))
    crash_at = data.draw(st.integers(0, len(course)))
    newest: dict[str, int] = {}
    found: list[tuple[str, int]] = []
    for number, (conn, wait_ms) in enumerate(course):
        if number == crash_at:
            stage.take_over()
        found += run_timers(stage, stage.now_ms + wait_ms)
        found += shown(stage.hear(move(conn, number)))
    found += run_timers(stage, stage.now_ms + 3_000)
    for user, seq in found:
        assert newest.get(user, -1) <= seq, "an older movement after a newer one"
        newest[user] = seq
    assert stage.room.next_due_ms() is None
