"""The pause between batches: none while there is time to spare."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomworker.gather import FULL_DELIVERIES_PER_S, SPARE_DELIVERIES_PER_S, Gather


def steady(per_second: float, *, gather_ms_max: float = 8.0) -> Gather:
    """Return what a steady load of some seconds leads to."""
    gather = Gather(gather_ms_max)
    for step in range(500):
        gather.observe(round(per_second / 100), step * 10.0)
    return gather


def test_no_load_no_pause() -> None:
    assert Gather(8.0).pause_ms(0.0) == 0.0
    assert steady(SPARE_DELIVERIES_PER_S).pause_ms(0.0) == pytest.approx(0.0, abs=0.01)


def test_the_pause_grows_with_the_load_up_to_the_longest() -> None:
    half = (SPARE_DELIVERIES_PER_S + FULL_DELIVERIES_PER_S) / 2
    assert steady(half).pause_ms(0.0) == pytest.approx(4.0, abs=0.1)
    assert steady(FULL_DELIVERIES_PER_S * 50).pause_ms(0.0) == 8.0


def test_time_that_the_batch_took_counts() -> None:
    gather = steady(FULL_DELIVERIES_PER_S * 2)
    assert gather.pause_ms(3.0) == 5.0
    assert gather.pause_ms(9.0) == 0.0


def test_a_single_burst_is_not_a_load() -> None:
    gather = Gather(8.0)
    gather.observe(0, 0.0)
    gather.observe(500, 250.0)
    assert gather.pause_ms(0.0) == 0.0


def test_when_the_load_is_over_so_is_the_pause() -> None:
    gather = steady(FULL_DELIVERIES_PER_S * 2)
    for step in range(200):
        gather.observe(0, 5_000.0 + step * 10.0)
    assert gather.pause_ms(0.0) == 0.0


def test_a_longest_pause_of_zero_means_none() -> None:
    assert steady(FULL_DELIVERIES_PER_S * 50, gather_ms_max=0.0).pause_ms(0.0) == 0.0


@given(
    st.lists(st.tuples(st.integers(0, 100_000), st.floats(0, 10_000)), max_size=40), st.floats(0, 100), st.floats(0, 50)
)
def test_the_pause_stays_within_its_bounds(
    course: list[tuple[int, float]], gather_ms_max: float, batch_ms: float
) -> None:
    gather, now_ms = Gather(gather_ms_max), 0.0
    for deliveries, passed_ms in course:
        now_ms += passed_ms
        gather.observe(deliveries, now_ms)
        assert 0.0 <= gather.pause_ms(batch_ms) <= gather_ms_max
