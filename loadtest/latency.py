"""Latencies in bulk: histograms of the whole window and of each second of the run, counted with numpy. No IO.

A histogram of a second holds the updates that were to be sent in that second: a stall shows where it hit, not where
the queue behind it had emptied. The warm-up has its seconds too; it is no part of the whole.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadtest.histogram import BUCKETS, BUCKETS_PER_OCTAVE, SUB_BITS, VALUE_MAX_US, Histogram
from loadtest.plan import US

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_MANTISSA_BITS: Final = 52
_EXPONENT_BIAS: Final = 1023
_FIRST_BITS: Final = ((_EXPONENT_BIAS + SUB_BITS) << SUB_BITS) - BUCKETS_PER_OCTAVE
"""What the leading bits of a float64 (IEEE 754) are above the number of its bucket, from `BUCKETS_PER_OCTAVE` on."""


def buckets_of(values_us: Floats) -> Integers:
    """Return `histogram.bucket_of` of every value, parts of a microsecond cut off.

    Exponent and first bits of the mantissa of a float are just what the number of a bucket is made of.
    """
    values = np.minimum(np.maximum(values_us, 0.0), float(VALUE_MAX_US))
    leading = (values.view(np.int64) >> (_MANTISSA_BITS - SUB_BITS)) - _FIRST_BITS
    return np.where(values < BUCKETS_PER_OCTAVE, values.astype(np.int64), leading)


class LatencyCounts:
    """Counts of latencies. What is added up may come in any order and in any parts."""

    def __init__(self, warmup_us: int) -> None:
        self._warmup_us = float(warmup_us)
        self._whole: Integers = np.zeros(BUCKETS, np.int64)
        self._max_us = 0.0
        self._seconds: dict[int, Integers] = {}
        self._second_max_us: dict[int, float] = {}

    def record(self, latencies_us: Floats, intended_us: Floats) -> None:
        """Count latencies.

        Args:
            latencies_us: from the intended time of sending to the arrival.
            intended_us: that time, since the start of the run; as many.
        """
        if not len(latencies_us):
            return
        first, last = int(intended_us.min() // US), int(intended_us.max() // US)
        if first == last and not first * US < self._warmup_us < (first + 1) * US:
            self._record_second(first, latencies_us, is_measured=first * US >= self._warmup_us)
            return
        second_of, is_measured = intended_us // US, intended_us >= self._warmup_us
        for second in range(first, last + 1):
            chosen = second_of == second
            self._record_second(second, latencies_us[chosen & ~is_measured], is_measured=False)
            self._record_second(second, latencies_us[chosen & is_measured], is_measured=True)

    def _record_second(self, second: int, latencies_us: Floats, *, is_measured: bool) -> None:
        if not len(latencies_us):
            return
        counts = np.bincount(buckets_of(latencies_us), minlength=BUCKETS)
        peak_us = float(latencies_us.max())
        if is_measured:
            self._whole += counts
            self._max_us = max(self._max_us, peak_us)
        before = self._seconds.get(second)
        self._seconds[second] = counts if before is None else before + counts
        self._second_max_us[second] = max(self._second_max_us.get(second, 0.0), peak_us)

    def whole(self) -> Histogram:
        """Return the histogram of what was to be sent after the warm-up."""
        return Histogram.from_counts(self._whole.tolist(), int(self._max_us))

    def seconds(self) -> dict[int, Histogram]:
        """Return second of the run, from 0 -> histogram of what was to be sent in it; only those with any."""
        return {
            second: Histogram.from_counts(self._seconds[second].tolist(), int(self._second_max_us[second]))
            for second in sorted(self._seconds)
        }
