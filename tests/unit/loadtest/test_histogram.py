import random

import pytest

from loadtest.histogram import BUCKETS, VALUE_MAX_US, Histogram, bucket_of, highest_in


def histogram_of(values):
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


def test_small_values_are_exact():
    assert [bucket_of(value) for value in range(256)] == list(range(256))


def test_buckets_follow_one_another_without_holes_and_overlaps():
    for bucket in range(BUCKETS - 1):
        top = highest_in(bucket)
        assert bucket_of(top) == bucket
        assert bucket_of(top + 1) == bucket + 1


def test_values_out_of_bounds_count_at_the_ends():
    assert bucket_of(-5) == 0
    assert bucket_of(VALUE_MAX_US) == bucket_of(VALUE_MAX_US * 10) == BUCKETS - 1


@pytest.mark.parametrize("percent", [0.1, 50, 95, 99, 99.9, 100])
def test_a_percentile_is_never_too_small_and_less_than_a_hundredth_too_great(percent):
    rng = random.Random(5)
    values = sorted(int(rng.lognormvariate(7, 2)) for _ in range(10_000))
    exact = values[max(0, round(len(values) * percent / 100) - 1)]
    assert exact <= histogram_of(values).percentile(percent) <= exact * 1.008 + 1


def test_percentiles_of_few_values():
    histogram = histogram_of([10, 20, 30, 40])
    assert [histogram.percentile(percent) for percent in (25, 50, 75, 99, 100)] == [10, 20, 30, 40, 40]
    assert Histogram().percentile(99) == 0


def test_merged_parts_equal_the_whole():
    rng = random.Random(6)
    values = [rng.randrange(10**7) for _ in range(5_000)]
    merged = histogram_of(values[::3])
    merged.merge(histogram_of(values[1::3]))
    merged.merge(histogram_of(values[2::3]))
    whole = histogram_of(values)
    assert (merged.counts, merged.max_us, merged.total) == (whole.counts, whole.max_us, 5_000)


def test_the_sparse_form_gives_the_histogram_back():
    histogram = histogram_of([1, 1, 500, 123_456])
    again = Histogram.from_sparse(histogram.sparse(), histogram.max_us)
    assert (again.counts, again.max_us) == (histogram.counts, histogram.max_us)
