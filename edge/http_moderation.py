"""The moderation queue and the audit log, for moderators' tools: `/admin/moderation/...`.

An item is open, then claimed by one moderator, then resolved. To resolve claims it first, then has the room's
worker carry out what was decided, and closes the item last: what fails on the way can be done again, and two
moderators never act on one item.
"""

from typing import Any, Final, cast

from aiohttp import web
from msgspec import UNSET, json

from common.commands import AnyRoomCommand, DeleteMessage, Moderate
from common.cursor import decode_entry_cursor, encode_entry_cursor
from common.durable import PAGE_MESSAGES_MAX, Audited, DurableStore, QueueEntry
from common.ids import THREAD_KIND, RoomId, UserId, inbox_of, is_label, kind_of
from common.messages import (
    AuditEntry,
    AuditPage,
    ClaimRequest,
    ModerationType,
    QueueItem,
    QueuePage,
    ReportView,
    Resolution,
    ResolveRequest,
)
from edge.gateway import Gateway
from edge.http_history import history_off
from edge.openapi import ITEM_NUMBER_MAX, LIMIT_DEFAULT
from edge.problems import body_of, cursor_of, json_answer, limit_of, number_of, operator_answer, problem

_PUNISHMENTS: Final[dict[str, ModerationType]] = {"muted": "mutedByMod", "banned": "banned"}
_claim_decoder: Final = json.Decoder(ClaimRequest)
_resolve_decoder: Final = json.Decoder(ResolveRequest)


class ModerationDesk:
    """The handlers."""

    def __init__(self, gateway: Gateway, store: DurableStore | None) -> None:
        self._gateway = gateway
        self._store = store

    async def queue(self, request: web.Request) -> web.Response:
        """`GET /admin/moderation/queue`: items, the longest open first."""
        status = request.query.get("status", "open")
        if status not in ("open", "all"):
            return problem(400, "invalid_status", "`status` must be `open` or `all`")
        after = cursor_of(request, "after", decode_entry_cursor)
        if isinstance(after, web.Response):
            return after
        limit = limit_of(request, LIMIT_DEFAULT, PAGE_MESSAGES_MAX)
        if isinstance(limit, web.Response):
            return limit
        if self._store is None:
            return history_off()
        entries = await self._store.queue(open_only=status == "open", after=after, limit=limit)
        following = encode_entry_cursor(entries[-1].item_id) if len(entries) == limit else UNSET
        return json_answer(QueuePage([_item(entry) for entry in entries], following))

    async def item(self, request: web.Request) -> web.Response:
        """`GET /admin/moderation/queue/{itemId}`."""
        if self._store is None:
            return history_off()
        entry = await self._entry(self._store, request)
        return entry if isinstance(entry, web.Response) else json_answer(_item(entry))

    async def claim(self, request: web.Request) -> web.Response:
        """`POST /admin/moderation/queue/{itemId}/claim`: nobody else works on it."""
        return await self._set_claim(request, claimed=True)

    async def release(self, request: web.Request) -> web.Response:
        """`POST /admin/moderation/queue/{itemId}/release`: anybody may work on it again."""
        return await self._set_claim(request, claimed=False)

    async def resolve(self, request: web.Request) -> web.Response:
        """`POST /admin/moderation/queue/{itemId}/resolve`: do what was decided, and close the item."""
        body = await body_of(request, _resolve_decoder)
        if isinstance(body, web.Response):
            return body
        if self._store is None:
            return history_off()
        entry = await self._entry(self._store, request)
        if isinstance(entry, web.Response):
            return entry
        if entry.resolution is not None:
            return _resolved_before(entry, body)
        if body.resolution == "deleted" and (entry.epoch is None or entry.seq is None):
            return problem(409, "no_message", f"a {entry.target} cannot be deleted from here; resolve it otherwise")
        if not await self._store.claim(entry.item_id, body.moderator, claimed=True):
            return await self._conflict(self._store, entry.item_id)
        details: dict[str, Any] = {} if body.seconds is UNSET else {"seconds": body.seconds}
        room_id = _place_of_order(entry, body.resolution)
        if room_id is not None:
            done = await self._gateway.operations.ask(lambda number: _order(entry, body, room_id, number))
            answer = operator_answer(done)
            if answer.status != 200:
                return answer
            details["appliedTo"] = room_id
        if not await self._store.resolve(entry.item_id, body.moderator, body.resolution, body.note, details):
            closed = await self._reread(self._store, entry.item_id)
            return _conflicting(closed) if closed.resolution is None else _resolved_before(closed, body)
        return json_answer(_item(await self._reread(self._store, entry.item_id)))

    async def audit(self, request: web.Request) -> web.Response:
        """`GET /admin/moderation/audit`: what was done, the newest first."""
        before = cursor_of(request, "before", decode_entry_cursor)
        if isinstance(before, web.Response):
            return before
        limit = limit_of(request, LIMIT_DEFAULT, PAGE_MESSAGES_MAX)
        if isinstance(limit, web.Response):
            return limit
        user_id = request.query.get("userId")
        if user_id is not None and not is_label(user_id):
            return problem(
                400, "invalid_user_id", "a user id has 1 to 128 characters, none of them a control character"
            )
        if self._store is None:
            return history_off()
        subject_id = None if user_id is None else UserId(user_id)
        entries = await self._store.audit_page(before=before, limit=limit, subject_id=subject_id)
        following = encode_entry_cursor(entries[-1].entry_id) if len(entries) == limit else UNSET
        return json_answer(AuditPage([_audited(entry) for entry in entries], following))

    async def _set_claim(self, request: web.Request, *, claimed: bool) -> web.Response:
        body = await body_of(request, _claim_decoder)
        if isinstance(body, web.Response):
            return body
        if self._store is None:
            return history_off()
        entry = await self._entry(self._store, request)
        if isinstance(entry, web.Response):
            return entry
        if not await self._store.claim(entry.item_id, body.moderator, claimed=claimed):
            return await self._conflict(self._store, entry.item_id)
        return json_answer(_item(await self._reread(self._store, entry.item_id)))

    async def _entry(self, store: DurableStore, request: web.Request) -> QueueEntry | web.Response:
        number = number_of(request, "item_id", ITEM_NUMBER_MAX)
        if number is None:
            return problem(400, "invalid_item_id", "the number of an item is a whole number from 1")
        found = await store.queue(open_only=False, limit=1, item_id=number)
        return found[0] if found else problem(404, "not_found", "the queue has no item of this number")

    async def _reread(self, store: DurableStore, item_id: int) -> QueueEntry:
        (entry,) = await store.queue(open_only=False, limit=1, item_id=item_id)
        return entry

    async def _conflict(self, store: DurableStore, item_id: int) -> web.Response:
        return _conflicting(await self._reread(store, item_id))


def _place_of_order(entry: QueueEntry, resolution: Resolution) -> RoomId | None:
    """Return the room whose worker acts; None where nothing is to be done.

    Who misbehaved in a thread is muted in all threads or banned everywhere, by the inbox: of that room there is no
    other part to keep them from.
    """
    if resolution == "dismissed":
        return None
    if resolution != "deleted" and kind_of(entry.room_id) == THREAD_KIND:
        return inbox_of(entry.subject_id)
    return entry.room_id


def _order(entry: QueueEntry, body: ResolveRequest, room_id: RoomId, number: int) -> AnyRoomCommand:
    if body.resolution == "deleted":
        assert entry.epoch is not None
        assert entry.seq is not None
        return DeleteMessage(room_id, number, entry.epoch, entry.seq, entry.target_id, body.moderator)
    duration_ms = None if body.seconds is UNSET else int(body.seconds * 1000)
    action = _PUNISHMENTS[body.resolution]
    return Moderate(room_id, number, entry.subject_id, action, body.note, duration_ms, body.moderator)


def _resolved_before(entry: QueueEntry, body: ResolveRequest) -> web.Response:
    """The same decision of the same moderator is the same request again."""
    if (entry.resolved_by, entry.resolution) == (body.moderator, body.resolution):
        return json_answer(_item(entry))
    return _conflicting(entry)


def _conflicting(entry: QueueEntry) -> web.Response:
    if entry.resolution is not None:
        return problem(409, "not_open", f"{entry.resolved_by} has resolved the item already: {entry.resolution}")
    if entry.claimed_by is None:
        return problem(409, "not_claimed", "nobody has claimed the item")
    return problem(409, "claimed", f"{entry.claimed_by} has claimed the item")


def _item(entry: QueueEntry) -> QueueItem:
    return QueueItem(
        entry.item_id,
        entry.source,
        entry.target,
        entry.room_id,
        entry.target_id,
        entry.subject_id,
        entry.excerpt,
        entry.opened_at_ms,
        [ReportView(report.reporter_id, report.reason, report.at_ms) for report in entry.reports],
        entry.report_count,
        UNSET if entry.epoch is None else entry.epoch,
        UNSET if entry.seq is None else entry.seq,
        UNSET if entry.claimed_by is None else entry.claimed_by,
        UNSET if entry.claimed_at_ms is None else entry.claimed_at_ms,
        UNSET if entry.resolution is None else cast(Resolution, entry.resolution),
        UNSET if entry.resolved_by is None else entry.resolved_by,
        UNSET if entry.resolved_at_ms is None else entry.resolved_at_ms,
        UNSET if entry.resolution_note is None else entry.resolution_note,
    )


def _audited(entry: Audited) -> AuditEntry:
    return AuditEntry(
        entry.entry_id,
        entry.at_ms,
        entry.actor,
        entry.action,
        entry.details,
        UNSET if entry.room_id is None else entry.room_id,
        UNSET if entry.subject_id is None else entry.subject_id,
    )
