"""Restrictions, the moderation queue and the audit log: their statements, and what is made of their rows. Pure."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from common.audit import CLAIMED, QUEUE_REPORTS_MAX, RELEASED, RESOLVED, storable_details
from common.durable import Audited, QueueEntry, QueueReport, Restriction, storable
from common.ids import Epoch, RoomId, Seq, UserId, inbox_of
from common.postgres_sql import Statement, clamped, clamped_ms, milliseconds, moment

# Two walks along one index: what ends later than now, and what has no end.
_RUNS: Final = "SELECT room_id, user_id, kind, reason, ends_at, imposed_at, record_id FROM restrictions"
_RUNNING: Final = f"""\
SELECT DISTINCT ON (room_id, user_id, kind) room_id, user_id, kind, reason, {milliseconds("ends_at")} AS ends_at_ms
FROM ({_RUNS} WHERE %s AND lifted_at IS NULL AND ends_at > {moment("$2::bigint")}
      UNION ALL
      {_RUNS} WHERE %s AND lifted_at IS NULL AND ends_at IS NULL) AS running
ORDER BY room_id, user_id, kind, ends_at DESC NULLS FIRST, imposed_at DESC, record_id DESC"""
_RESTRICTIONS: Final = _RUNNING.replace("%s", "room_id = $1")
_EVERYWHERE: Final = _RUNNING.replace("%s", "room_id = ANY ($1::text[])")

_ENTRIES: Final = f"""\
SELECT item.*, told.reports, told.report_count FROM (
    SELECT item_id, source, target, room_id, target_id, subject_id, excerpt, epoch, seq, claimed_by, resolution,
           resolved_by, resolution_note, {milliseconds("opened_at")} AS opened_at_ms,
           {milliseconds("claimed_at")} AS claimed_at_ms, {milliseconds("resolved_at")} AS resolved_at_ms
    FROM moderation_queue WHERE %s ORDER BY item_id LIMIT $1) AS item
CROSS JOIN LATERAL (
    SELECT count(*) AS report_count,
           coalesce(json_agg(json_build_array(reporter_id, reason, {milliseconds("reported_at")})
                             ORDER BY reported_at, reporter_id) FILTER (WHERE place <= {QUEUE_REPORTS_MAX}), '[]')
               AS reports
    FROM (SELECT *, row_number() OVER (ORDER BY reported_at, reporter_id) AS place
          FROM reports WHERE item_id = item.item_id AND reporter_id <> '') AS of_item) AS told
ORDER BY item_id"""

_QUEUE_OPEN: Final = _ENTRIES % "resolved_at IS NULL AND item_id > $2"
_QUEUE_ALL: Final = _ENTRIES % "item_id > $2"
_QUEUE_ONE: Final = _ENTRIES % "item_id = $2"

# An item that is as it is to be is answered alike and logged once.
_CLAIM: Final = """\
WITH item AS MATERIALIZED (
    SELECT item_id, room_id, subject_id, claimed_by FROM moderation_queue
    WHERE item_id = $1 AND resolved_at IS NULL AND coalesce(claimed_by, $2) = $2 FOR UPDATE
), changed AS (
    UPDATE moderation_queue q
    SET claimed_by = CASE WHEN $3 THEN $2 END, claimed_at = CASE WHEN $3 THEN now() END
    FROM item WHERE q.item_id = item.item_id AND (item.claimed_by IS NOT NULL) <> $3
    RETURNING q.item_id, q.room_id, q.subject_id
), logged AS (
    INSERT INTO audit_log (actor_id, action, room_id, subject_id, details)
    SELECT $2, $4::text, room_id, subject_id, jsonb_build_object('itemId', item_id) FROM changed
)
SELECT FROM item"""

_RESOLVE: Final = """\
WITH closed AS (
    UPDATE moderation_queue
    SET resolution = $3, resolved_by = $2, resolved_at = now(), resolution_note = $4
    WHERE item_id = $1 AND resolved_at IS NULL AND coalesce(claimed_by, $2) = $2
    RETURNING item_id, room_id, subject_id
), logged AS (
    INSERT INTO audit_log (actor_id, action, room_id, subject_id, details)
    SELECT $2, $5::text, room_id, subject_id, jsonb_build_object('itemId', item_id) || $6::jsonb FROM closed
)
SELECT FROM closed
UNION ALL
SELECT FROM moderation_queue WHERE item_id = $1 AND resolved_by = $2 AND resolution = $3"""

_AUDIT: Final = """\
INSERT INTO audit_log (actor_id, action, room_id, subject_id, details) VALUES ($1, $2, $3, $4, $5::jsonb)"""

_AUDITED: Final = f"""\
SELECT entry_id, {milliseconds("happened_at")} AS at_ms, actor_id, action, room_id, subject_id, details
FROM audit_log WHERE """
_AUDITED_ALL: Final = f"{_AUDITED} entry_id < $2 ORDER BY entry_id DESC LIMIT $1"
# The subject's own entries, said so that only the index of subjects has their order: with `subject_id = $3` the
# planner may walk all entries instead, as they lie beside each other.
_AUDITED_SUBJECT: Final = f"""\
{_AUDITED} subject_id >= $3 AND (subject_id, entry_id) < ($3, $2) ORDER BY subject_id DESC, entry_id DESC LIMIT $1"""


def restrictions_statement(room_id: RoomId, now_ms: int) -> Statement:
    """Return what asks for the mutes and bans that run in a room."""
    return _RESTRICTIONS, (storable(room_id), clamped_ms(now_ms))


def restrictions_of_rows(rows: Sequence[Any]) -> list[Restriction]:
    """Make the mutes and bans that run."""
    return [Restriction(UserId(row["user_id"]), row["kind"], row["reason"], row["ends_at_ms"]) for row in rows]


def everywhere_statement(user_ids: Sequence[UserId], now_ms: int) -> Statement:
    """Return what asks for the mutes and bans that run in the inboxes of persons."""
    return _EVERYWHERE, ([storable(inbox_of(user_id)) for user_id in user_ids], clamped_ms(now_ms))


def everywhere_of_rows(user_ids: Sequence[UserId], rows: Sequence[Any]) -> dict[UserId, list[Restriction]]:
    """Make the mutes and bans that run, of each person. Those of others in the same inbox mean nothing."""
    found = {user_id: (storable(user_id), storable(inbox_of(user_id))) for user_id in user_ids}
    running = {
        user_id: restrictions_of_rows([row for row in rows if (row["user_id"], row["room_id"]) == place])
        for user_id, place in found.items()
    }
    return {user_id: restrictions for user_id, restrictions in running.items() if restrictions}


def queue_statement(*, open_only: bool, after: int | None, limit: int, item_id: int | None) -> Statement:
    """Return what asks for items of the queue."""
    if item_id is not None:
        return _QUEUE_ONE, (1, clamped(item_id))
    return _QUEUE_OPEN if open_only else _QUEUE_ALL, (limit, clamped(after or 0))


def queue_of_rows(rows: Sequence[Any]) -> list[QueueEntry]:
    """Make the items of the queue."""
    return [_entry(row) for row in rows]


def claim_statement(item_id: int, moderator: str, *, claimed: bool) -> Statement:
    """Return what gives an item to a moderator, or back; it returns a row where that is so now."""
    return _CLAIM, (clamped(item_id), storable(moderator), claimed, CLAIMED if claimed else RELEASED)


def resolve_statement(
    item_id: int, moderator: str, resolution: str, note: str, details: Mapping[str, Any]
) -> Statement:
    """Return what closes an item; it returns a row where that is so now."""
    action = RESOLVED + storable(resolution)
    told = (storable(moderator), storable(resolution), storable(note))
    return _RESOLVE, (clamped(item_id), *told, action, _json(details))


def audit_statement(
    actor: str, action: str, room_id: RoomId | None, subject_id: UserId | None, details: Mapping[str, Any]
) -> Statement:
    """Return what adds an entry to the audit log."""
    place = (None if room_id is None else storable(room_id), None if subject_id is None else storable(subject_id))
    return _AUDIT, (storable(actor), storable(action), *place, _json(details))


def audited_statement(before: int | None, limit: int, subject_id: UserId | None) -> Statement:
    """Return what asks for a page of the audit log."""
    first = clamped(2**63 if before is None else before)
    if subject_id is None:
        return _AUDITED_ALL, (limit, first)
    return _AUDITED_SUBJECT, (limit, first, storable(subject_id))


def audited_of_rows(rows: Sequence[Any]) -> list[Audited]:
    """Make the page of the audit log."""
    return [
        Audited(
            row["entry_id"],
            row["at_ms"],
            row["actor_id"],
            row["action"],
            row["room_id"],
            row["subject_id"],
            json.loads(row["details"]),
        )
        for row in rows
    ]


def _json(details: Mapping[str, Any]) -> str:
    return json.dumps(storable_details(details), allow_nan=False)


def _entry(row: Any) -> QueueEntry:
    return QueueEntry(
        item_id=row["item_id"],
        source=row["source"],
        target=row["target"],
        room_id=RoomId(row["room_id"]),
        target_id=row["target_id"],
        subject_id=UserId(row["subject_id"]),
        excerpt=row["excerpt"],
        opened_at_ms=row["opened_at_ms"],
        reports=[
            QueueReport(UserId(reporter), reason, at_ms) for reporter, reason, at_ms in json.loads(row["reports"])
        ],
        report_count=row["report_count"],
        epoch=None if row["epoch"] is None else Epoch(row["epoch"]),
        seq=None if row["seq"] is None else Seq(row["seq"]),
        claimed_by=row["claimed_by"],
        claimed_at_ms=row["claimed_at_ms"],
        resolution=row["resolution"],
        resolved_by=row["resolved_by"],
        resolved_at_ms=row["resolved_at_ms"],
        resolution_note=row["resolution_note"],
    )
