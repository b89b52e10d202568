"""The period of batches: none while there is time to spare, longer as load grows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomworker.gather import (
    BUSY_LOAD_PER_S,
    BUSY_PERIOD_MS,
    GROWTH_ABOVE,
    GROWTH_BELOW,
    SPARE_LOAD_PER_S,
    Gather,
    load_of,
    period_ms_at,
)


def steady(per_second: float, *, gather_ms_max: float = 20.0) -> Gather:
    """Return what a steady load of some seconds leads to."""
    gather = Gather(gather_ms_max)
    for step in range(500):
        gather.observe(round(per_second / 100), step * 10.0)
    return gather


def test_no_load_no_pause() -> None:
    assert Gather(8.0).period_ms() == 0.0
    assert steady(SPARE_LOAD_PER_S).period_ms() == pytest.approx(0.0, abs=0.01)


def test_the_period_grows_with_the_load_quickly_at_first() -> None:
    half = (SPARE_LOAD_PER_S + BUSY_LOAD_PER_S) / 2
    assert steady(half).period_ms() == pytest.approx(BUSY_PERIOD_MS * 0.5**GROWTH_BELOW, abs=0.1)
    assert steady(BUSY_LOAD_PER_S).period_ms() == pytest.approx(BUSY_PERIOD_MS, abs=0.1)


def test_then_more_slowly_up_to_the_longest() -> None:
    assert steady(BUSY_LOAD_PER_S * 4).period_ms() == pytest.approx(BUSY_PERIOD_MS * 4**GROWTH_ABOVE, abs=0.1)
    assert steady(BUSY_LOAD_PER_S * 400).period_ms() == 20.0
    assert steady(BUSY_LOAD_PER_S * 4, gather_ms_max=5.0).period_ms() == 5.0


def test_a_single_burst_is_not_a_load() -> None:
    gather = Gather(8.0)
    gather.observe(0, 0.0)
    gather.observe(500, 250.0)
    assert gather.period_ms() == 0.0


def test_when_the_load_is_over_so_is_the_pause() -> None:
    gather = steady(BUSY_LOAD_PER_S * 2)
    for step in range(200):
        gather.observe(0, 5_000.0 + step * 10.0)
    assert gather.period_ms() == 0.0


def test_the_next_read_is_a_period_after_the_last() -> None:
    gather = steady(BUSY_LOAD_PER_S)
    assert gather.rest_ms(6_000.0) == 0.0
    gather.begin(6_000.0)
    assert gather.read_again_ms == pytest.approx(6_000.0 + BUSY_PERIOD_MS, abs=0.1)
    assert gather.rest_ms(6_002.0) == pytest.approx(BUSY_PERIOD_MS - 2.0, abs=0.1)
    assert gather.rest_ms(6_010.0) == 0.0


def test_a_longest_period_of_zero_means_none() -> None:
    assert steady(BUSY_LOAD_PER_S * 50, gather_ms_max=0.0).period_ms() == 0.0


def test_many_commands_with_few_receivers_are_a_load_as_well() -> None:
    """A room of 20 must not cost more than one of 40 since it is not gathered for."""
    room_of_5, room_of_20, room_of_40 = (period_ms_at(load_of(20 * n * n, 20 * n)) for n in (5, 20, 40))
    assert room_of_5 == 0.0
    assert BUSY_PERIOD_MS / 2 < room_of_20 < room_of_40 == pytest.approx(BUSY_PERIOD_MS)
    assert period_ms_at(load_of(2_500, 500)) > 2.0


@given(st.lists(st.tuples(st.integers(0, 100_000), st.floats(0, 10_000)), max_size=40), st.floats(0, 100))
def test_the_period_stays_within_its_bounds(course: list[tuple[int, float]], gather_ms_max: float) -> None:
    gather, now_ms = Gather(gather_ms_max), 0.0
    for deliveries, passed_ms in course:
        now_ms += passed_ms
        gather.observe(deliveries, now_ms)
        assert 0.0 <= gather.period_ms() <= gather_ms_max
