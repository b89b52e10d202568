import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from loadtest.histogram import VALUE_MAX_US, Histogram, bucket_of
from loadtest.latency import LatencyCounts, buckets_of


@given(st.lists(st.integers(-10, VALUE_MAX_US * 2), min_size=1))
def test_buckets_in_bulk_are_those_of_one_by_one(values):
    assert buckets_of(np.array(values, np.float64)).tolist() == [bucket_of(value) for value in values]


def test_buckets_meet_at_every_power_of_two():
    values = [near for power in range(33) for near in (2**power - 1, 2**power, 2**power + 1)]
    assert buckets_of(np.array(values, np.float64)).tolist() == [bucket_of(value) for value in values]


def test_parts_of_a_microsecond_are_cut_off():
    assert buckets_of(np.array([0.9, 127.9, 128.9, 255.9])).tolist() == [0, 127, 128, 255]


def test_each_second_and_the_whole_count_what_was_to_be_sent_in_them():
    rng = random.Random(3)
    pairs = [(rng.randrange(5_000_000), rng.randrange(100_000)) for _ in range(2_000)]
    counts, whole = LatencyCounts(warmup_us=1_500_000), Histogram()
    seconds = {second: Histogram() for second in range(5)}
    for intended_us, latency_us in pairs:
        seconds[intended_us // 1_000_000].record(latency_us)
        if intended_us >= 1_500_000:
            whole.record(latency_us)
    for at in range(0, len(pairs), 300):
        intended_us, latencies_us = np.array(pairs[at : at + 300], np.float64).T
        counts.record(latencies_us.copy(), intended_us.copy())
    assert (counts.whole().counts, counts.whole().max_us) == (whole.counts, whole.max_us)
    assert list(counts.seconds()) == list(range(5))
    for second, histogram in counts.seconds().items():
        assert (histogram.counts, histogram.max_us) == (seconds[second].counts, seconds[second].max_us)


def test_nothing_recorded_is_nothing_counted():
    counts = LatencyCounts(0)
    counts.record(np.array([]), np.array([]))
    assert counts.whole().total == 0
    assert counts.seconds() == {}
