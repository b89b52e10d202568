"""A histogram of times in microseconds, with buckets that grow with the value. No IO.

Invariant: two histograms over any split of the same values, merged, equal the histogram of all the values. So
several generators may measure one run. The idea of the buckets is that of HdrHistogram: each power of two is cut into
`BUCKETS_PER_OCTAVE` equal parts, which bounds the relative error instead of the absolute one.
"""

from collections.abc import Iterable
from typing import Final

SUB_BITS: Final = 7
"""A bucket is at most 2**-7 = 0.8 % of its value wide: finer than what two runs of a load test differ by."""

BUCKETS_PER_OCTAVE: Final = 1 << SUB_BITS
VALUE_MAX_US: Final = (1 << 32) - 1
"""71 minutes. A greater value counts in the last bucket."""

BUCKETS: Final = (32 - SUB_BITS + 1) * BUCKETS_PER_OCTAVE


def bucket_of(value_us: int) -> int:
    """Return the bucket that counts `value_us`; a negative value counts as 0."""
    if value_us < BUCKETS_PER_OCTAVE:
        return max(value_us, 0)
    shift = min(value_us, VALUE_MAX_US).bit_length() - SUB_BITS - 1
    return (shift << SUB_BITS) + (min(value_us, VALUE_MAX_US) >> shift)


def highest_in(bucket: int) -> int:
    """Return the greatest value, in microseconds, that `bucket` counts."""
    if bucket < 2 * BUCKETS_PER_OCTAVE:
        return bucket
    shift = (bucket >> SUB_BITS) - 1
    return ((bucket - (shift << SUB_BITS) + 1) << shift) - 1


class Histogram:
    """Counts of times.

    `counts` and `max_us` are public so that a hot path can do `counts[bucket_of(value)] += 1` without a call;
    whoever does that keeps `max_us` too.
    """

    __slots__ = ("counts", "max_us")

    def __init__(self) -> None:
        self.counts = [0] * BUCKETS
        self.max_us = 0

    def record(self, value_us: int) -> None:
        """Count one value."""
        self.counts[bucket_of(value_us)] += 1
        self.max_us = max(self.max_us, value_us)

    def merge(self, other: "Histogram") -> None:
        """Add the counts of another histogram to this one."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.max_us = max(self.max_us, other.max_us)

    @property
    def total(self) -> int:
        """How many values were counted."""
        return sum(self.counts)

    def percentile(self, percent: float) -> int:
        """Return a value, in microseconds, that `percent` of the counted values do not exceed; 0 when there are none.

        It is the upper end of its bucket, so never too small, and at most 0.8 % too great; never above the maximum.
        """
        total = self.total
        if total == 0:
            return 0
        # The nearest-rank definition. The small term takes back what floating point adds to exact products.
        rank = max(1, -int(-(total * percent / 100 - 1e-9) // 1))
        seen = 0
        for bucket, count in enumerate(self.counts):
            seen += count
            if seen >= rank:
                return min(highest_in(bucket), self.max_us)
        return self.max_us

    def sparse(self) -> list[tuple[int, int]]:
        """Return (bucket, count) of the buckets that are not empty, to write down or to send to another process."""
        return [(bucket, count) for bucket, count in enumerate(self.counts) if count]

    @classmethod
    def from_counts(cls, counts: list[int], max_us: int) -> "Histogram":
        """Make a histogram of the counts of all `BUCKETS`; the list becomes its own."""
        histogram = cls()
        histogram.counts = counts
        histogram.max_us = max_us
        return histogram

    @classmethod
    def from_sparse(cls, pairs: Iterable[tuple[int, int]], max_us: int) -> "Histogram":
        """Make the histogram whose `sparse()` and `max_us` these are."""
        histogram = cls()
        for bucket, count in pairs:
            histogram.counts[bucket] += count
        histogram.max_us = max_us
        return histogram
