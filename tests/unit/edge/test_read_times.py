"""When a worker reads next, told in its own time and heard of sooner or later."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.ids import WorkerId
from edge.read_times import DRIFT, FORGET_MS, JUMP_MS, ReadTimes

W1, W2 = WorkerId("w1"), WorkerId("w2")


def test_news_that_come_at_once_tell_the_time() -> None:
    assert ReadTimes().heard(W1, 1_000.0, 20.0, 500_000.0) == 500_020.0


def test_late_news_tell_the_same_time_as_quick_ones() -> None:
    times = ReadTimes()
    times.heard(W1, 1_000.0, 20.0, 500_000.3)
    assert times.heard(W1, 1_020.0, 20.0, 500_025.0) == pytest.approx(500_040.3, abs=0.01)


def test_quicker_news_are_believed_at_once() -> None:
    times = ReadTimes()
    times.heard(W1, 1_000.0, 20.0, 500_004.0)
    assert times.heard(W1, 1_020.0, 20.0, 500_020.2) == pytest.approx(500_040.2)


def test_clocks_of_workers_have_nothing_to_do_with_each_other() -> None:
    times = ReadTimes()
    times.heard(W1, 1_000.0, 20.0, 500_000.0)
    assert times.heard(W2, 9_000_000.0, 10.0, 500_001.0) == 500_011.0
    assert times.heard(W1, 1_002.0, 20.0, 500_005.0) == pytest.approx(500_022.0, abs=0.01)


def test_a_clock_that_runs_slow_is_followed() -> None:
    times = ReadTimes()
    for step in range(1_000):
        now_ms = 500_000.0 + 100.0 * step
        told_at_ms = (1.0 - DRIFT / 2) * 100.0 * step
        assert times.heard(W1, told_at_ms, 20.0, now_ms) == pytest.approx(now_ms + 20.0, abs=0.1)


def test_a_clock_that_stood_still_is_believed_again_at_once() -> None:
    times = ReadTimes()
    times.heard(W1, 1_000.0, 20.0, 500_000.0)
    assert times.heard(W1, 1_020.0, 20.0, 500_020.0 + 3_600_000.0) == pytest.approx(4_100_040.0)
    assert times.heard(W1, 1_040.0, 20.0, 500_041.0 + 3_600_000.0) == pytest.approx(4_100_060.0, abs=0.01)


def test_news_that_were_held_up_for_long_do_harm_once_only() -> None:
    times = ReadTimes()
    times.heard(W1, 1_000.0, 20.0, 500_000.0)
    late_ms = 2 * JUMP_MS
    assert times.heard(W1, 1_020.0, 20.0, 500_020.0 + late_ms) == pytest.approx(500_040.0 + late_ms)
    assert times.heard(W1, 1_240.0, 20.0, 500_240.2) == pytest.approx(500_260.2)


def test_workers_that_are_gone_are_forgotten() -> None:
    times = ReadTimes()
    for number in range(1_000):
        times.heard(WorkerId(f"w{number}"), 0.0, 20.0, number * FORGET_MS / 10)
    assert len(times._differences) <= 12


@given(st.floats(-1e9, 1e9), st.lists(st.floats(0.2, 50.0), min_size=1, max_size=40))
def test_the_time_is_late_by_the_quickest_way_and_never_early(ahead_ms: float, ways_ms: list[float]) -> None:
    times, quickest_ms = ReadTimes(), 50.0
    for number, way_ms in enumerate(ways_ms):
        told_at_ms = 60.0 * number
        quickest_ms = min(quickest_ms, way_ms)
        heard_ms = times.heard(W1, told_at_ms + ahead_ms, 20.0, told_at_ms + way_ms)
        assert -0.01 <= heard_ms - (told_at_ms + 20.0 + quickest_ms) <= DRIFT * 60.0 * len(ways_ms) + 0.01
