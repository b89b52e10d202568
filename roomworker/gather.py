"""How often a worker reads its input: as soon as there is some while there is time to spare, less often under load.

A write to a socket costs the same for one message as for ten, and so do a read and a commit. So under load fewer,
fuller batches save the most work; when idle, a pause would only be latency. See docs/performance.md for the figures
behind it.
"""

from typing import Final

SPARE_DELIVERIES_PER_S: Final = 4_000.0
"""Up to so many messages to sockets a second (some percent of a core) there is no pause."""

BUSY_DELIVERIES_PER_S: Final = 32_000.0
"""From here on the period is `BUSY_PERIOD_MS`, and grows with the load to the power of `GROWTH`."""

BUSY_PERIOD_MS: Final = 6.2
"""A room of 40 whose members move 20 times a second is at this point, and stays quick."""

GROWTH: Final = 0.6
"""Shares what more load costs between CPU time and latency: four times the messages come in batches of 2.3 times the
time, so of nine times the size."""

_SMOOTHING_MS: Final = 250.0


class Gather:
    """Smoothed load, the period that it asks for, and when the next batch is read. All times are monotonic."""

    def __init__(self, gather_ms_max: float) -> None:
        """Prepare.

        Args:
            gather_ms_max: the longest period; 0 is none at all.
        """
        self._gather_ms_max = gather_ms_max
        self._per_second = 0.0
        self._observed_at_ms: float | None = None
        self.read_again_ms = 0.0
        """When the next batch is read; passed where it is read as soon as there is something."""

    def begin(self, now_ms: float) -> None:
        """A batch was read: plan the next read."""
        self.read_again_ms = now_ms + self.period_ms()

    def rest_ms(self, now_ms: float) -> float:
        """Return how long it is to the next read."""
        return max(0.0, self.read_again_ms - now_ms)

    def observe(self, deliveries: int, now_ms: float) -> None:
        """Count the messages that one batch sent to sockets."""
        if self._observed_at_ms is not None:
            passed_ms = max(0.1, now_ms - self._observed_at_ms)
            weight = min(1.0, passed_ms / _SMOOTHING_MS)
            self._per_second += weight * (deliveries * 1000.0 / passed_ms - self._per_second)
        self._observed_at_ms = now_ms

    def period_ms(self) -> float:
        """Return how long after one read the next one should be."""
        if self._per_second <= BUSY_DELIVERIES_PER_S:
            share = (self._per_second - SPARE_DELIVERIES_PER_S) / (BUSY_DELIVERIES_PER_S - SPARE_DELIVERIES_PER_S)
            period_ms = max(0.0, share) * BUSY_PERIOD_MS
        else:
            period_ms = BUSY_PERIOD_MS * (self._per_second / BUSY_DELIVERIES_PER_S) ** GROWTH
        return min(period_ms, self._gather_ms_max)
