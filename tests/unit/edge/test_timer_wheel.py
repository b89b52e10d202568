"""The one timer for the deadlines of all connections."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.timer_wheel import TimerWheel

TICK_MS = 100


class Timers:
    """A wheel, and when each item was looked at."""

    def __init__(self, now_ms: float = 0.0) -> None:
        self.wheel: TimerWheel[str] = TimerWheel(TICK_MS, now_ms)
        self.seen: list[tuple[str, float]] = []

    def advance(self, now_ms: float) -> list[str]:
        found: list[str] = []
        self.wheel.advance(now_ms, found.append)
        self.seen += [(item, now_ms) for item in found]
        return found


@pytest.fixture
def timers() -> Timers:
    return Timers(1_000.0)


def test_an_item_is_looked_at_when_due_and_once(timers: Timers) -> None:
    timers.wheel.schedule("a", 1_250.0)
    assert timers.advance(1_250.0) == []
    assert timers.advance(1_299.0) == []
    assert timers.advance(1_300.0) == ["a"]
    assert timers.advance(9_999.0) == []
    assert len(timers.wheel) == 0


def test_a_time_that_is_past_comes_with_the_next_tick(timers: Timers) -> None:
    timers.wheel.schedule("a", 0.0)
    assert timers.advance(1_099.0) == []
    assert timers.advance(1_100.0) == ["a"]


def test_a_new_time_replaces_the_old_one(timers: Timers) -> None:
    timers.wheel.schedule("a", 1_200.0)
    timers.wheel.schedule("a", 2_000.0)
    assert len(timers.wheel) == 1
    assert timers.advance(1_900.0) == []
    timers.wheel.schedule("a", 1_950.0)
    assert timers.advance(2_000.0) == ["a"]
    assert timers.advance(3_000.0) == []


def test_a_cancelled_item_is_not_looked_at(timers: Timers) -> None:
    timers.wheel.schedule("a", 1_200.0)
    timers.wheel.cancel("a")
    timers.wheel.cancel("a")
    timers.wheel.cancel("never")
    assert timers.advance(5_000.0) == []


def test_an_item_may_be_scheduled_again_while_it_is_looked_at(timers: Timers) -> None:
    seen: list[float] = []

    def again(item: str) -> None:
        seen.append(now_ms)
        timers.wheel.schedule(item, now_ms + 500)

    timers.wheel.schedule("a", 1_100.0)
    for now_ms in range(1_000, 4_000, 50):
        timers.wheel.advance(now_ms, again)
    assert seen == [1_200, 1_800, 2_400, 3_000, 3_600]


@pytest.mark.parametrize("how", ["cancel", "schedule"])
def test_one_item_may_stop_or_move_another_of_its_slot(timers: Timers, how: str) -> None:
    # The slot under look was gone from the wheel: cancelling another item of it raised KeyError, and that one was
    # looked at all the same.
    seen: list[str] = []

    def expired(item: str) -> None:
        seen.append(item)
        other = "b" if item == "a" else "a"
        if how == "cancel":
            timers.wheel.cancel(other)
        elif len(seen) == 1:
            timers.wheel.schedule(other, 2_000.0)

    timers.wheel.schedule("a", 1_150.0)
    timers.wheel.schedule("b", 1_150.0)
    timers.wheel.advance(1_500.0, expired)
    assert len(seen) == 1
    timers.wheel.advance(3_000.0, expired)
    assert len(seen) == (1 if how == "cancel" else 2)


def test_a_clock_that_goes_back_moves_nothing(timers: Timers) -> None:
    timers.wheel.schedule("a", 1_150.0)
    assert timers.advance(0.0) == []
    timers.wheel.schedule("b", 100.0)
    assert timers.advance(1_000.0) == []
    assert sorted(timers.advance(1_200.0)) == ["a", "b"]


actions = st.one_of(
    st.tuples(st.just("schedule"), st.sampled_from("abcdef"), st.floats(-500, 5_000)),
    st.tuples(st.just("cancel"), st.sampled_from("abcdef"), st.just(0.0)),
    st.tuples(st.just("pass"), st.just(""), st.floats(0, 99)),
    st.tuples(st.just("jump"), st.just(""), st.floats(0, 3_000)),
)


@given(st.lists(actions, min_size=10, max_size=60), st.floats(0, 1e12))
def test_nothing_is_early_and_nothing_is_late_by_two_ticks(
    course: list[tuple[str, str, float]], start_ms: float
) -> None:
    timers = Timers(start_ms)
    now_ms = start_ms
    due: dict[str, float] = {}
    for action, item, number in course:
        match action:
            case "schedule":
                timers.wheel.schedule(item, now_ms + number)
                due[item] = max(now_ms, now_ms + number)
            case "cancel":
                due.pop(item, None)
                timers.wheel.cancel(item)
            case _:
                now_ms += number
                for found in timers.advance(now_ms):
                    assert due.pop(found) <= now_ms
        # A jump looks at everything that it passed; otherwise steps are shorter than a tick.
        assert all(now_ms < due_ms + 2 * TICK_MS for due_ms in due.values())
        assert len(timers.wheel) == len(due)
