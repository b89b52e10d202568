"""Whom an edge lets in: how many a second, and how many from the pages of one origin. No IO.

After a fault a crowd comes back at once. Each upgrade and its joins cost time that those who are there would
wait for, so what is above the rate is refused, and told when to try again: each at a time of its own, spread over
as long as it takes to let in all that were refused.
"""

from collections.abc import Callable
from typing import Final

from common.token_bucket import Rate, TokenBucket

RETRY_AFTER_MS_MAX: Final = 60_000
"""Nobody is sent away for longer, however many there are: some of them do not come back at all."""


class Admission:
    """The rate of one edge's connections. Times are in ms and may be of any clock."""

    def __init__(self, per_second: float, burst: int, uniform: Callable[[float, float], float]) -> None:
        """Prepare; `uniform` draws a number between two."""
        self._rate = Rate(per_second, burst)
        self._bucket = TokenBucket()
        self._uniform = uniform
        self._waiting = 0.0
        self._counted_at_ms = 0

    def admit(self, now_ms: int) -> int:
        """Ask for one connection.

        Returns: 0 where it may come in, otherwise in how many milliseconds it should try again, at most
        `RETRY_AFTER_MS_MAX`.
        """
        wait_ms = self._bucket.take(self._rate, now_ms)
        # Who was refused comes back and is let in, or is counted again.
        gone = max(0, now_ms - self._counted_at_ms) * self._rate.per_second / 1000.0
        self._waiting = max(0.0, self._waiting - gone)
        self._counted_at_ms = now_ms
        if not wait_ms:
            return 0
        self._waiting += 1.0
        # Around its turn, and not anywhere up to it: of a growing crowd most would come early then.
        turn_ms = self._waiting * 1000.0 / self._rate.per_second
        return max(1, min(RETRY_AFTER_MS_MAX, round(turn_ms * self._uniform(0.5, 1.5))))


class Origins:
    """How many connections there are of each origin."""

    def __init__(self, connections_max: int) -> None:
        """Prepare; with `connections_max` 0 nobody is refused."""
        self._connections_max = connections_max
        self._counts: dict[str, int] = {}

    def is_full(self, origin: str) -> bool:
        """Tell whether an origin has all it may have. Programs name none, and are not counted."""
        return bool(origin) and 0 < self._connections_max <= self._counts.get(origin, 0)

    def opened(self, origin: str) -> None:
        """Count a connection."""
        if origin:
            self._counts[origin] = self._counts.get(origin, 0) + 1

    def closed(self, origin: str) -> None:
        """Count it no more."""
        if not origin:
            return
        self._counts[origin] -= 1
        if self._counts[origin] == 0:
            del self._counts[origin]
