"""Connections a second, delays that spread, and connections of one origin."""

import random

from hypothesis import given
from hypothesis import strategies as st

from edge.admission import RETRY_AFTER_MS_MAX, Admission, Origins


def admission(per_second: float = 10.0, burst: int = 5) -> Admission:
    return Admission(per_second, burst, random.Random(1).uniform)


def test_a_burst_comes_in_and_then_so_many_a_second() -> None:
    door = admission()
    assert [door.admit(0) == 0 for _ in range(7)] == [True] * 5 + [False] * 2
    # A tenth of a second brings one token, whoever takes it.
    assert [door.admit(100) == 0 for _ in range(2)] == [True, False]
    assert sum(door.admit(now_ms) == 0 for now_ms in range(100, 10_101)) == 100


def test_the_delays_of_a_crowd_are_spread_over_the_time_that_it_needs() -> None:
    door = admission(per_second=100.0, burst=10)
    told = [door.admit(0) for _ in range(1_010)]
    delays = sorted(told[10:])
    assert told[:10] == [0] * 10
    assert 0 < delays[0] < 500
    assert 10_000 < delays[-1] <= 15_000
    # They do not come in heaps: in no second are many more than a second can take.
    assert max(sum(at <= delay < at + 1_000 for delay in delays) for at in range(0, 15_000, 250)) < 150


def test_who_obeys_gets_in_before_long() -> None:
    door = admission(per_second=100.0, burst=10)
    calls = [(0, 0)] * 500
    tries: list[int] = []
    while calls:
        calls.sort()
        now_ms, before = calls.pop(0)
        wait_ms = door.admit(now_ms)
        if wait_ms:
            calls.append((now_ms + wait_ms, before + 1))
        else:
            tries.append(before + 1)
            last_ms = now_ms
    assert len(tries) == 500
    # 490 of them need 4.9 s at the least.
    assert 4_800 <= last_ms < 15_000
    assert sum(tries) / 500 < 4


@given(st.lists(st.integers(0, 10_000), max_size=200), st.floats(0.1, 1_000), st.integers(1, 100))
def test_every_delay_is_bounded_and_a_clock_that_goes_back_does_no_harm(
    times: list[int], per_second: float, burst: int
) -> None:
    door = admission(per_second, burst)
    assert all(0 <= door.admit(now_ms) <= RETRY_AFTER_MS_MAX for now_ms in times)


def test_an_origin_has_so_many_connections_and_no_more() -> None:
    origins = Origins(2)
    for _ in range(2):
        assert not origins.is_full("https://a")
        origins.opened("https://a")
    assert origins.is_full("https://a")
    assert not origins.is_full("https://b")
    origins.closed("https://a")
    assert not origins.is_full("https://a")


def test_programs_without_an_origin_are_not_counted_and_without_a_bound_nobody_is() -> None:
    origins = Origins(1)
    for _ in range(3):
        assert not origins.is_full("")
        origins.opened("")
    origins.closed("")
    unbounded = Origins(0)
    for _ in range(3):
        unbounded.opened("https://a")
    assert not unbounded.is_full("https://a")
    for _ in range(3):
        unbounded.closed("https://a")
    assert unbounded._counts == {}
