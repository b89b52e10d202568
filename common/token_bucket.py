"""A token bucket: how a rate with a burst is decided. No clock of its own."""

from typing import Final

from msgspec import Struct

SET_BACK_MS: Final = 10_000
"""Further apart than the clocks of a cluster's hosts may be (see `CLOCK_SLACK_MS` in roomworker/engine.py)."""


class Rate(Struct, frozen=True):
    """So many events a second in the long run, and `burst` of them at once."""

    per_second: float
    burst: float


class TokenBucket(Struct, array_like=True):
    """Tokens left, and when they were counted. Starts full: the first `take` fills it to the burst."""

    tokens: float = -1.0
    counted_at_ms: int = 0

    def take(self, rate: Rate, now_ms: int) -> int:
        """Take one token.

        Returns: 0 when there was one, otherwise in how many milliseconds there will be one. A time before the
        last one gives nothing and takes nothing, since times come from several clocks; one that lies far before
        it means that a clock was set back, and counting goes on from there.
        """
        if self.tokens < 0:
            self.tokens = rate.burst
        elif now_ms > self.counted_at_ms:
            self.tokens = min(rate.burst, self.tokens + (now_ms - self.counted_at_ms) * rate.per_second / 1000.0)
        if now_ms > self.counted_at_ms or self.counted_at_ms - now_ms > SET_BACK_MS:
            self.counted_at_ms = now_ms
        # The slack is for rounding: who comes back after exactly the told wait must find the token.
        if self.tokens >= 1.0 - 1e-9:
            self.tokens = max(0.0, self.tokens - 1.0)
            return 0
        return max(1, int((1.0 - self.tokens) * 1000.0 / rate.per_second + 0.999))
