"""Which workers count when shards are shared out. Pure; the registry tells who is there, the caller the time.

Who leaves the registry counts no more at once, so that a dead worker's shards wait for nothing but its lease. Who
comes counts a little later, when nobody else has come for a while, so that several that start together move
each shard once. Who is missing right after this worker was out of touch with the registry may just not have been able
to announce itself, and counts for a while yet.
"""

from collections.abc import Collection

from common.ids import WorkerId


class Membership:
    """The workers that count, as one worker sees it. It counts itself, and believes what it sees first."""

    def __init__(
        self, worker_id: WorkerId, *, settle_ms: float, settle_ms_max: float, silence_ms: float, grace_ms: float
    ) -> None:
        """Prepare.

        Args:
            settle_ms: who came counts when nobody else came or went back for so long,
            settle_ms_max: and at the latest after so long.
            silence_ms: a registry not seen for longer may have lost workers that are alive;
            grace_ms: they have so long to announce themselves.
        """
        self._worker_id = worker_id
        self._settle_ms = settle_ms
        self._settle_ms_max = settle_ms_max
        self._silence_ms = silence_ms
        self._grace_ms = grace_ms
        self._counted: frozenset[WorkerId] = frozenset()
        self._coming: frozenset[WorkerId] = frozenset()
        self._coming_since_ms = 0.0
        self._coming_changed_ms = 0.0
        self._seen_at_ms: float | None = None
        self._distrusts_until_ms = float("-inf")

    def observe(self, seen: Collection[WorkerId], now_ms: float) -> frozenset[WorkerId]:
        """Take who is in the registry now, and return who counts."""
        present = frozenset(seen) | {self._worker_id}
        last_ms, self._seen_at_ms = self._seen_at_ms, now_ms
        if last_ms is None:
            self._counted = present
            return present
        if now_ms - last_ms > self._silence_ms or self._worker_id not in seen:
            self._distrusts_until_ms = now_ms + self._grace_ms
        gone = frozenset() if now_ms < self._distrusts_until_ms else self._counted - present
        self._counted -= gone
        coming = present - self._counted
        if coming != self._coming:
            self._coming_changed_ms = now_ms
            if not self._coming:
                self._coming_since_ms = now_ms
            self._coming = coming
        # Where somebody went, shards move anyway; then everybody is reckoned with, or some would move twice.
        is_settled = (
            now_ms - self._coming_changed_ms >= self._settle_ms or now_ms - self._coming_since_ms >= self._settle_ms_max
        )
        if gone or is_settled:
            self._counted |= coming
            self._coming = frozenset()
        return self._counted

    def forgotten(self, now_ms: float) -> None:
        """The registry had forgotten this worker, so it may have forgotten others too."""
        self._distrusts_until_ms = now_ms + self._grace_ms
