"""When workers read their input next, by this process's clock.

A worker tells of a rest in its own monotonic time. Where one clock stands when the other shows a time is not known, but
news cannot arrive before they are sent: the least difference seen between arrival and telling is that of the clocks
and of the quickest way here. So news that come late, since this process or its processor was busy, tell the same
time as those that come quickly.
"""

from typing import Final

from common.ids import WorkerId

DRIFT: Final = 0.000_2
"""By so much of the time that passed a difference may have grown: clocks go wrong by less, and processes move."""

JUMP_MS: Final = 100.0
"""News that are later than this count from their arrival: one of the clocks stood still, as that of a host that was
paused. Where they were but held up, the next ones mend it."""

FORGET_MS: Final = 60_000.0


class ReadTimes:
    """Differences of clocks, by worker."""

    def __init__(self) -> None:
        self._differences: dict[WorkerId, tuple[float, float]] = {}
        """The difference, and when it was looked at."""

    def heard(self, worker_id: WorkerId, told_at_ms: float, pause_ms: float, now_ms: float) -> float:
        """Return when the worker reads next.

        Args:
            told_at_ms: when it told of the rest, in its monotonic time.
            now_ms: this process's monotonic time.
        """
        known = self._differences.get(worker_id)
        if known is None:
            self._forget(now_ms)
            difference_ms = now_ms - told_at_ms
        else:
            before_ms, looked_at_ms = known
            difference_ms = now_ms - told_at_ms
            if difference_ms - before_ms < JUMP_MS:
                difference_ms = min(difference_ms, before_ms + DRIFT * (now_ms - looked_at_ms))
        self._differences[worker_id] = (difference_ms, now_ms)
        return told_at_ms + pause_ms + difference_ms

    def _forget(self, now_ms: float) -> None:
        """Forget workers that are gone."""
        for worker_id, (_, looked_at_ms) in list(self._differences.items()):
            if now_ms - looked_at_ms > FORGET_MS:
                del self._differences[worker_id]
