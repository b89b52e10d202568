"""Who did what through the administration API, written to the audit log."""

from collections.abc import Mapping
from typing import Any

from common.durable import DurableStore
from common.errors import StoreUnavailable
from common.ids import RoomId, UserId
from common.log import get_logger
from edge.metrics import EdgeMetrics


class AuditLog:
    """Writes entries as well as can be: what was done is done, also while the database is away.

    An entry that could not be written is a line of the log instead, with all that it would have said. A cluster
    without a database has no audit log.
    """

    def __init__(self, store: DurableStore | None, metrics: EdgeMetrics) -> None:
        self._store = store
        self._metrics = metrics
        self._log = get_logger("edge")

    async def write(
        self, actor: str, action: str, room_id: RoomId | None, subject_id: UserId | None, details: Mapping[str, Any]
    ) -> None:
        """Add an entry. Never raises for a database that is away."""
        if self._store is None:
            return
        try:
            await self._store.audit(actor, action, room_id, subject_id, details)
        except StoreUnavailable as error:
            self._metrics.audit_failures.inc()
            self._log.warning(
                "audit entry not written",
                error=str(error),
                actor=actor,
                action=action,
                room=room_id,
                subject=subject_id,
                details=dict(details),
            )
