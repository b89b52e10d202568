"""The seam to time. Logic gets numbers passed in; only the shells at the rim hold a clock."""

import time
from typing import Protocol


class Clock(Protocol):
    """Wall time for stamps that leave the process, monotonic time for durations and deadlines."""

    def now_ms(self) -> int:
        """Milliseconds since 1970, UTC. May jump when the host's clock is set."""
        ...

    def monotonic_ms(self) -> float:
        """Milliseconds since an arbitrary point. Never goes back."""
        ...


class SystemClock:
    """The host's clocks."""

    def now_ms(self) -> int:
        """See `Clock.now_ms`."""
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> float:
        """See `Clock.monotonic_ms`."""
        return time.monotonic() * 1000.0
