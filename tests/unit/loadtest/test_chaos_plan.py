"""The order of faults, and the pauses that are read from what clients saw."""

import random

import pytest

from loadtest.chaos.journal import Pace
from loadtest.chaos.plan import (
    FAILS_OVER,
    LOSES_DATA,
    OF_THE_DATABASE,
    RESTARTS_STORE,
    Fault,
    StoreKind,
    default_times,
    order_faults,
)


def test_the_same_seed_gives_the_same_faults_and_all_of_them() -> None:
    times = default_times(10, 5, 3, 2)
    first, second = (order_faults(times, random.Random(7)) for _ in range(2))
    assert first == second
    assert {fault: first.count(fault) for fault in times} == times
    assert order_faults(times, random.Random(8)) != first


def test_a_failover_takes_the_place_of_restarts_where_there_is_a_replica() -> None:
    for store in StoreKind:
        times = default_times(1, 1, 1, 1, store)
        assert (Fault.FAILOVER in times) == (store in (StoreKind.SENTINEL, StoreKind.CLUSTER))
        assert (Fault.STORE_KILL in times) != (Fault.FAILOVER in times)
        assert set(Fault) - set(times) <= FAILS_OVER | RESTARTS_STORE


def test_data_is_lost_once_in_each_manner_and_late() -> None:
    order = order_faults(default_times(20, 0, 0, 3), random.Random(1))
    losses = LOSES_DATA - FAILS_OVER
    assert [order.count(fault) for fault in losses] == [1] * len(losses)
    assert order.index(Fault.FLUSH) == (len(order) - len(losses)) * 3 // 4


def test_the_database_fails_only_where_there_is_one() -> None:
    assert not OF_THE_DATABASE & {*order_faults(default_times(1, 1, 1, 1), random.Random(1))}
    assert {*order_faults(default_times(1, 1, 1, 1, database=True), random.Random(1))} == {*Fault} - FAILS_OVER


def test_without_other_faults_nothing_is_flushed() -> None:
    assert not LOSES_DATA & {*order_faults(default_times(3, 3, 3, 0), random.Random(1))}


def test_a_pause_ends_with_the_first_event_sequenced_after_the_fault() -> None:
    pace = Pace()
    pace.event("r", (1, 1), 90.0, 95.0)
    assert pace.pause_ms("r", 100.0) is None
    # Sequenced before the fault, and seen after it.
    pace.event("r", (1, 2), 99.0, 140.0)
    assert pace.pause_ms("r", 100.0) is None
    pace.event("r", (1, 3), 130.0, 150.0)
    pace.event("r", (1, 4), 160.0, 170.0)
    assert pace.pause_ms("r", 100.0) == pytest.approx(50.0)


def test_a_place_counts_when_it_is_first_seen() -> None:
    pace = Pace()
    pace.event("r", (1, 1), 110.0, 120.0)
    pace.event("r", (1, 1), 110.0, 500.0)
    assert pace.pause_ms("r", 100.0) == pytest.approx(20.0)


def test_a_room_without_events_has_no_pause_yet() -> None:
    assert Pace().pause_ms("r", 1.0) is None


def test_the_longest_wait_is_that_of_what_was_sent_within_the_window() -> None:
    pace = Pace()
    for sent_ms, back_ms in ((10, 500), (100, 130), (150, 240), (300, 900)):
        pace.wait("r", sent_ms, back_ms)
    assert pace.longest_wait_ms("r", 50, 200) == pytest.approx(90.0)
    assert pace.longest_wait_ms("r", 400, 500) is None
