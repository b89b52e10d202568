"""How often a worker reads its input: as soon as there is some while there is time to spare, less often under load.

A write to a socket costs the same for one message as for ten, and so do a read and a commit. So under load fewer,
fuller batches save the most work; when idle, a pause would only be latency. See docs/performance.md for the figures
behind it.
"""

import math
from typing import Final

COMMAND_LOAD: Final = 40
"""What a command costs that has a batch for itself, counted in messages to sockets: the calls to Redis, and waking each
process on the way, cost as much as writing to so many sockets."""

SPARE_LOAD_PER_S: Final = 10_000.0
"""Up to so much there is no pause: some tenths of a core, in all processes. A room of ten that moves 20 times a second
is at this point."""

BUSY_LOAD_PER_S: Final = 64_000.0
"""Here the period is `BUSY_PERIOD_MS`. A room of 40 is at this point, and stays quick."""

BUSY_PERIOD_MS: Final = 6.2

GROWTH_BELOW: Final = 0.4
"""Power of the load, below. It rises quickly at first: the second command in a batch saves the most."""

GROWTH_ABOVE: Final = 0.75
"""And above: four times the messages come in batches of three times the time, so of eleven times the size."""

_SMOOTHING_MS: Final = 250.0


def load_of(deliveries: float, commands: float) -> float:
    """Return the load of so many messages to sockets that follow from so many commands."""
    return deliveries + COMMAND_LOAD * commands


def period_ms_at(load_per_s: float) -> float:
    """Return the period for a steady load, before it is limited."""
    if load_per_s > BUSY_LOAD_PER_S:
        return BUSY_PERIOD_MS * math.pow(load_per_s / BUSY_LOAD_PER_S, GROWTH_ABOVE)
    share = (load_per_s - SPARE_LOAD_PER_S) / (BUSY_LOAD_PER_S - SPARE_LOAD_PER_S)
    return BUSY_PERIOD_MS * math.pow(max(0.0, share), GROWTH_BELOW)


class Gather:
    """Smoothed load, the period that it asks for, and when the next batch is read. All times are monotonic."""

    def __init__(self, gather_ms_max: float) -> None:
        """Prepare.

        Args:
            gather_ms_max: the longest period; 0 is none at all.
        """
        self._gather_ms_max = gather_ms_max
        self._load_per_s = 0.0
        self._observed_at_ms: float | None = None
        self.read_again_ms = 0.0
        """When the next batch is read; passed where it is read as soon as there is something."""

    def begin(self, now_ms: float) -> None:
        """A batch was read: plan the next read."""
        self.read_again_ms = now_ms + self.period_ms()

    def rest_ms(self, now_ms: float) -> float:
        """Return how long it is to the next read."""
        return max(0.0, self.read_again_ms - now_ms)

    def observe(self, load: float, now_ms: float) -> None:
        """Count the load of one batch, see `load_of`."""
        if self._observed_at_ms is not None:
            passed_ms = max(0.1, now_ms - self._observed_at_ms)
            weight = min(1.0, passed_ms / _SMOOTHING_MS)
            self._load_per_s += weight * (load * 1000.0 / passed_ms - self._load_per_s)
        self._observed_at_ms = now_ms

    def period_ms(self) -> float:
        """Return how long after one read the next one should be."""
        return min(period_ms_at(self._load_per_s), self._gather_ms_max)
