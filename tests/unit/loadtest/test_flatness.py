import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.flatness import trend_of


def samples(per_hour: float, *, seconds: int = 600, noise: float = 0.0) -> list[tuple[float, float]]:
    return [(float(at_s), 100 + per_hour * at_s / 3600 + noise * math.sin(at_s * 1.7)) for at_s in range(seconds)]


def test_memory_that_stands_is_flat() -> None:
    trend = trend_of(samples(0.0), 20.0)
    assert (trend.state, trend.per_hour, trend.noise) == ("flat", 0.0, 0.0)


def test_memory_that_falls_is_flat() -> None:
    assert trend_of(samples(-300.0), 20.0).state == "flat"


def test_a_growth_above_the_limit_is_found_below_it_not() -> None:
    assert trend_of(samples(21.0), 20.0).state == "grows"
    assert trend_of(samples(19.0), 20.0).state == "flat"


def test_a_growth_that_is_seen_through_noise() -> None:
    trend = trend_of(samples(60.0, noise=2.0), 20.0)
    assert trend.state == "grows"
    assert trend.per_hour == pytest.approx(60.0, rel=0.1)


def test_a_few_odd_samples_are_no_growth() -> None:
    values = samples(0.0)
    for number in range(550, 600):
        values[number] = (values[number][0], 180.0)
    assert trend_of(values, 20.0).state == "flat"


def test_a_run_too_short_to_see_the_limit_through_the_noise_is_unclear() -> None:
    values = [(float(at_s), 100.0 + at_s // 7 % 2) for at_s in range(60)]
    assert trend_of(values, 20.0).state == "unclear"


@pytest.mark.parametrize("count", [0, 1, 3])
def test_of_too_few_samples_nothing_can_be_said(count: int) -> None:
    assert trend_of(samples(1000.0, seconds=count), 20.0).state == "unclear"


@given(st.floats(-1_000, 1_000), st.floats(0, 1e6), st.floats(0, 1e6))
def test_neither_the_begin_of_time_nor_the_level_matters(per_hour: float, begin_s: float, level: float) -> None:
    moved = [(at_s + begin_s, value + level) for at_s, value in samples(per_hour, seconds=120)]
    assert trend_of(moved, 20.0).per_hour == pytest.approx(per_hour, abs=1e-2)
