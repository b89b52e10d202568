"""The seam to time. Logic gets numbers passed in; only the shells at the rim hold a clock."""

import time
from collections.abc import Callable
from typing import Protocol

from common.timer import FileTimer, LoopTimer, Timer


class Clock(Protocol):
    """Wall time for stamps that leave the process, monotonic time for durations and deadlines."""

    def now_ms(self) -> int:
        """Milliseconds since 1970, UTC. May jump when the host's clock is set."""
        ...

    def monotonic_ms(self) -> float:
        """Milliseconds since an arbitrary point. Never goes back."""
        ...

    def timer(self, callback: Callable[[], None]) -> Timer:
        """Return a timer of the running loop that follows the monotonic time."""
        ...


class SystemClock:
    """The host's clocks."""

    def now_ms(self) -> int:
        """See `Clock.now_ms`."""
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> float:
        """See `Clock.monotonic_ms`."""
        return time.monotonic() * 1000.0

    def timer(self, callback: Callable[[], None]) -> Timer:
        """See `Clock.timer`. Exact to some hundredths of a ms where the system can."""
        return FileTimer(callback) if FileTimer.is_available() else LoopTimer(callback, self.monotonic_ms)
