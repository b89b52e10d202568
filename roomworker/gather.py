"""How long to gather input before the next batch: not at all while there is time to spare, longer as load grows.

A write to a socket costs the same for one message as for ten, so under load fewer, fuller batches save the
most work; when idle, a pause would only be latency. See docs/performance.md for the figures behind it.
"""

from typing import Final

SPARE_DELIVERIES_PER_S: Final = 4_000.0
"""Up to so many messages to sockets a second (some percent of a core) there is no pause."""

FULL_DELIVERIES_PER_S: Final = 24_000.0
"""From here on the pause is the longest allowed."""

_SMOOTHING_MS: Final = 250.0


class Gather:
    """Smoothed load, and the pause that it asks for."""

    def __init__(self, gather_ms_max: float) -> None:
        self._gather_ms_max = gather_ms_max
        self._per_second = 0.0
        self._observed_at_ms: float | None = None

    def observe(self, deliveries: int, now_ms: float) -> None:
        """Count the messages that one batch sent to sockets."""
        if self._observed_at_ms is not None:
            passed_ms = max(0.1, now_ms - self._observed_at_ms)
            weight = min(1.0, passed_ms / _SMOOTHING_MS)
            self._per_second += weight * (deliveries * 1000.0 / passed_ms - self._per_second)
        self._observed_at_ms = now_ms

    def pause_ms(self, batch_ms: float) -> float:
        """Return how long to wait after a batch that began `batch_ms` ago."""
        share = (self._per_second - SPARE_DELIVERIES_PER_S) / (FULL_DELIVERIES_PER_S - SPARE_DELIVERIES_PER_S)
        return max(0.0, min(1.0, share) * self._gather_ms_max - batch_ms)
