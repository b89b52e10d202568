"""Appending records: the statements that a batch becomes, in one fixed order. Pure.

Two that append at once may have the same records, or overlapping stretches of them. So each statement takes its
locks in the order of keys, and all take the tables in one order. Where a table is written in two
statements, or a row may be gone, a statement before locks what is there. Statements of one transaction each see what
was committed before them (READ COMMITTED): what a statement counts, it counts after the lock was got.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from common.durable import BoardNote, Record
from common.ids import RoomId
from common.postgres_sql import Statement, columns, moment
from common.record_batch import RecordBatch

# --- messages -------------------------------------------------------------------------------------------

_MESSAGES: Final = f"""\
INSERT INTO messages (room_id, epoch, seq, message_id, author_id, author_name, text, reply_to, sent_at)
SELECT m.room_id, m.epoch, m.seq, m.message_id, m.author_id, m.author_name, m.text, m.reply_to, {moment("m.at_ms")}
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
            $9::bigint[])
     AS m (room_id, epoch, seq, message_id, author_id, author_name, text, reply_to, at_ms)
ON CONFLICT DO NOTHING"""

_MESSAGE_FIELDS: Final = ("room_id", "epoch", "seq", "message_id", "author_id", "author_name", "text", "reply_to")

# Makes and locks the threads of direct messages, and locks the others where they are stored: a thread's row is the
# lock of its members. One without a creator is never made: it is there already.
_THREADS: Final = f"""\
INSERT INTO threads AS stored (room_id, created_by, created_at, last_epoch, last_seq, last_message_at)
SELECT t.room_id, coalesce(t.created_by, ''), coalesce({moment("t.begun_ms")}, now()), t.epoch, t.seq,
       {moment("t.at_ms")}
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
     AS t (room_id, created_by, begun_ms, epoch, seq, at_ms)
WHERE t.created_by IS NOT NULL OR EXISTS (SELECT FROM threads there WHERE there.room_id = t.room_id)
ORDER BY t.room_id COLLATE "C"
ON CONFLICT (room_id) DO UPDATE
SET last_epoch = excluded.last_epoch, last_seq = excluded.last_seq, last_message_at = excluded.last_message_at
WHERE (excluded.last_epoch, excluded.last_seq) > (coalesce(stored.last_epoch, -1), coalesce(stored.last_seq, -1))"""

_DIRECT: Final = f"""\
WITH sent AS MATERIALIZED (
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[],
                         $8::text[], $9::text[], $10::bigint[])
        AS m (room_id, epoch, seq, message_id, author_id, author_name, text, reply_to, recipient_id, at_ms)
), stored AS (
    INSERT INTO messages
        (room_id, epoch, seq, message_id, author_id, author_name, text, reply_to, recipient_id, sent_at)
    SELECT room_id, epoch, seq, message_id, author_id, author_name, text, reply_to, recipient_id, {moment("at_ms")}
    FROM sent
    ON CONFLICT DO NOTHING
    RETURNING room_id, epoch, seq, recipient_id
), fresh AS (
    SELECT s.room_id, s.recipient_id AS user_id, count(*) AS unread
    FROM stored s LEFT JOIN thread_members m ON m.room_id = s.room_id AND m.user_id = s.recipient_id
    WHERE m.user_id IS NULL OR (s.epoch, s.seq) > (m.read_epoch, m.read_seq)
    GROUP BY 1, 2
), persons AS (
    SELECT room_id, user_id, min(at_ms) AS first_ms, max(at_ms) AS last_ms
    FROM sent CROSS JOIN LATERAL (VALUES (author_id), (recipient_id)) AS person (user_id)
    GROUP BY 1, 2
)
INSERT INTO thread_members AS member (room_id, user_id, joined_at, active_at, unread)
SELECT p.room_id, p.user_id, {moment("p.first_ms")}, {moment("p.last_ms")}, coalesce(f.unread, 0)
FROM persons p LEFT JOIN fresh f ON f.room_id = p.room_id AND f.user_id = p.user_id
ON CONFLICT (room_id, user_id) DO UPDATE
SET active_at = greatest(member.active_at, excluded.active_at), unread = member.unread + excluded.unread"""

_REMOVED: Final = f"""\
WITH target AS MATERIALIZED (
    SELECT m.room_id, m.epoch, m.seq, r.by, r.at_ms
    FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[]) AS r (room_id, epoch, seq, by, at_ms)
    JOIN messages m ON m.room_id = r.room_id AND m.epoch = r.epoch AND m.seq = r.seq
    WHERE m.deleted_at IS NULL
    ORDER BY m.room_id, m.epoch, m.seq
    FOR UPDATE OF m
), removed AS (
    UPDATE messages m SET text = '', deleted_at = {moment("t.at_ms")}, deleted_by = t.by
    FROM target t WHERE m.room_id = t.room_id AND m.epoch = t.epoch AND m.seq = t.seq
    RETURNING m.room_id, m.epoch, m.seq, m.author_id
), fewer AS (
    SELECT m.room_id, m.user_id, count(*) AS unread
    FROM removed r JOIN thread_members m ON m.room_id = r.room_id AND m.user_id <> r.author_id
    WHERE (r.epoch, r.seq) > (m.read_epoch, m.read_seq)
    GROUP BY 1, 2
)
UPDATE thread_members m SET unread = greatest(m.unread - f.unread, 0)
FROM fewer f WHERE m.room_id = f.room_id AND m.user_id = f.user_id"""

# What is left is counted anew: most read to the end, so it is little.
_MARKS: Final = """\
UPDATE thread_members m SET read_epoch = r.epoch, read_seq = r.seq, unread = (
    SELECT count(*) FROM messages left_over
    WHERE left_over.room_id = r.room_id AND (left_over.epoch, left_over.seq) > (r.epoch, r.seq)
      AND left_over.deleted_at IS NULL AND left_over.author_id <> r.user_id)
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) AS r (room_id, user_id, epoch, seq)
WHERE m.room_id = r.room_id AND m.user_id = r.user_id AND (r.epoch, r.seq) > (m.read_epoch, m.read_seq)"""

# --- reports --------------------------------------------------------------------------------------------

# A report is known when the same person's last one of the same message is as late, whatever became of its item. The
# update that changes nothing locks the open item, so that nobody closes it before the report is in, and returns it.
_REPORTS: Final = f"""\
WITH filled AS (
    SELECT r.n, r.room_id, r.epoch, r.seq, coalesce(nullif(r.message_id, ''), m.message_id) AS message_id,
           coalesce(nullif(r.subject_id, ''), m.author_id) AS subject_id,
           coalesce(nullif(r.excerpt, ''), CASE WHEN r.emptied THEN '' ELSE m.text END, '') AS excerpt,
           r.reporter_id, r.reason, r.source, {moment("r.at_ms")} AS at
    FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                $9::text[], $10::bigint[], $11::boolean[]) WITH ORDINALITY
        AS r (room_id, epoch, seq, message_id, subject_id, excerpt, reporter_id, reason, source, at_ms, emptied, n)
    LEFT JOIN messages m ON m.room_id = r.room_id AND m.epoch = r.epoch AND m.seq = r.seq
), unknown AS MATERIALIZED (
    SELECT * FROM filled f
    WHERE f.message_id IS NOT NULL AND f.subject_id IS NOT NULL AND NOT EXISTS (
        SELECT FROM moderation_queue q JOIN reports r ON r.item_id = q.item_id
        WHERE q.room_id = f.room_id AND q.epoch = f.epoch AND q.seq = f.seq
          AND r.reporter_id = f.reporter_id AND r.latest_at >= f.at)
), opened AS (
    INSERT INTO moderation_queue AS item
        (source, target, room_id, target_id, subject_id, excerpt, opened_at, epoch, seq)
    SELECT source, 'message', room_id, message_id, subject_id, excerpt, at, epoch, seq
    FROM (SELECT DISTINCT ON (room_id COLLATE "C", message_id COLLATE "C") * FROM unknown
          ORDER BY room_id COLLATE "C", message_id COLLATE "C", n) AS firsts
    ORDER BY room_id COLLATE "C", message_id COLLATE "C"
    ON CONFLICT (room_id, target, target_id) WHERE resolved_at IS NULL DO UPDATE SET opened_at = item.opened_at
    RETURNING item_id, room_id, target_id
)
INSERT INTO reports AS stored (item_id, reporter_id, reason, reported_at, latest_at)
SELECT DISTINCT ON (o.item_id, u.reporter_id COLLATE "C") o.item_id, u.reporter_id, u.reason, u.at,
       max(u.at) OVER (PARTITION BY o.item_id, u.reporter_id)
FROM unknown u JOIN opened o ON o.room_id = u.room_id AND o.target_id = u.message_id
ORDER BY o.item_id, u.reporter_id COLLATE "C", u.n
ON CONFLICT (item_id, reporter_id) DO UPDATE SET latest_at = greatest(stored.latest_at, excluded.latest_at)"""

# --- friendships and blocks -----------------------------------------------------------------------------

_FRIENDSHIPS_LOCK: Final = """\
SELECT FROM friendships f JOIN unnest($1::text[], $2::text[]) AS p (low_id, high_id)
    ON f.low_id = p.low_id AND f.high_id = p.high_id
ORDER BY f.low_id, f.high_id FOR UPDATE OF f"""

_FRIENDSHIPS: Final = f"""\
INSERT INTO friendships AS stored (low_id, high_id, status, requested_by, requested_at, accepted_at)
SELECT f.low_id, f.high_id, f.status, f.requested_by, {moment("f.at_ms")},
       CASE WHEN f.status = 'accepted' THEN {moment("f.at_ms")} END
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[])
    AS f (low_id, high_id, status, requested_by, at_ms)
ORDER BY f.low_id COLLATE "C", f.high_id COLLATE "C"
ON CONFLICT (low_id, high_id) DO UPDATE
SET status = excluded.status, requested_by = excluded.requested_by, accepted_at = excluded.accepted_at,
    requested_at = CASE WHEN excluded.status = 'accepted' THEN stored.requested_at ELSE excluded.requested_at END
WHERE coalesce(stored.accepted_at, stored.requested_at) <= excluded.requested_at"""

_FRIENDSHIPS_END: Final = f"""\
DELETE FROM friendships f USING unnest($1::text[], $2::text[], $3::bigint[]) AS e (low_id, high_id, at_ms)
WHERE f.low_id = e.low_id AND f.high_id = e.high_id
  AND coalesce(f.accepted_at, f.requested_at) <= {moment("e.at_ms")}"""

_BLOCKS_LOCK: Final = """\
SELECT FROM blocks b JOIN unnest($1::text[], $2::text[]) AS p (blocker_id, blocked_id)
    ON b.blocker_id = p.blocker_id AND b.blocked_id = p.blocked_id
ORDER BY b.blocker_id, b.blocked_id FOR UPDATE OF b"""

_BLOCKS: Final = f"""\
INSERT INTO blocks AS stored (blocker_id, blocked_id, created_at)
SELECT b.blocker_id, b.blocked_id, {moment("b.at_ms")}
FROM unnest($1::text[], $2::text[], $3::bigint[]) AS b (blocker_id, blocked_id, at_ms)
ORDER BY b.blocker_id COLLATE "C", b.blocked_id COLLATE "C"
ON CONFLICT (blocker_id, blocked_id) DO UPDATE SET created_at = greatest(stored.created_at, excluded.created_at)"""

_BLOCKS_END: Final = f"""\
DELETE FROM blocks b USING unnest($1::text[], $2::text[], $3::bigint[]) AS e (blocker_id, blocked_id, at_ms)
WHERE b.blocker_id = e.blocker_id AND b.blocked_id = e.blocked_id AND b.created_at <= {moment("e.at_ms")}"""

# --- notes ----------------------------------------------------------------------------------------------

_NOTES_LOCK: Final = """\
SELECT FROM notes n JOIN unnest($1::text[], $2::text[]) AS p (room_id, note_id)
    ON n.room_id = p.room_id AND n.note_id = p.note_id
ORDER BY n.room_id, n.note_id FOR UPDATE OF n"""

_NOTE_ROWS: Final = """\
unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::integer[], $6::float8[], $7::float8[], $8::text[],
       $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::bigint[], $15::bigint[])
    AS n (room_id, epoch, seq, note_id, revision, x, y, text, colour, tags, author_id, author_name, edited_by,
          created_at_ms, updated_at_ms)"""
"""Tags are lists in JSON: an array of arrays of different lengths cannot be passed."""

_TAGS: Final = "ARRAY(SELECT json_array_elements_text(n.tags::json))"

_NOTES: Final = f"""\
INSERT INTO notes AS stored (room_id, epoch, seq, note_id, revision, x, y, text, colour, tags, author_id, author_name,
                             edited_by, created_at, updated_at)
SELECT n.room_id, n.epoch, n.seq, n.note_id, n.revision, n.x, n.y, n.text, n.colour, {_TAGS}, n.author_id,
       n.author_name, n.edited_by, {moment("n.created_at_ms")}, {moment("n.updated_at_ms")}
FROM {_NOTE_ROWS}
ORDER BY n.room_id COLLATE "C", n.note_id COLLATE "C"
ON CONFLICT (room_id, note_id) DO UPDATE
SET epoch = excluded.epoch, seq = excluded.seq, revision = excluded.revision, x = excluded.x, y = excluded.y,
    text = excluded.text, colour = excluded.colour, tags = excluded.tags, author_id = excluded.author_id,
    author_name = excluded.author_name, edited_by = excluded.edited_by, created_at = excluded.created_at,
    updated_at = excluded.updated_at, deleted_at = NULL, deleted_by = NULL
WHERE (excluded.epoch, excluded.seq) > (stored.epoch, stored.seq)"""

_NOTE_REVISIONS: Final = f"""\
INSERT INTO note_revisions (room_id, note_id, revision, x, y, text, colour, tags, author_id, written_at)
SELECT n.room_id, n.note_id, n.revision, n.x, n.y, n.text, n.colour, {_TAGS}, n.edited_by, {moment("n.updated_at_ms")}
FROM {_NOTE_ROWS}
ON CONFLICT DO NOTHING"""

_NOTE_FIELDS: Final = (
    ("room_id", "epoch", "seq", "note_id", "revision", "x", "y", "text", "colour"),
    ("author_id", "author_name", "edited_by", "created_at_ms", "updated_at_ms"),
)

_NOTES_REMOVED: Final = f"""\
UPDATE notes n SET epoch = r.epoch, seq = r.seq, revision = r.revision, updated_at = {moment("r.at_ms")},
    deleted_at = {moment("r.at_ms")}, deleted_by = r.by
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::integer[], $6::text[], $7::bigint[])
    AS r (room_id, note_id, epoch, seq, revision, by, at_ms)
WHERE n.room_id = r.room_id AND n.note_id = r.note_id AND (r.epoch, r.seq) > (n.epoch, n.seq)"""

# --- restrictions ---------------------------------------------------------------------------------------

# Of what was imposed in the same millisecond only the batch itself tells which was first.
_LIFTED: Final = f"""\
WITH lift AS MATERIALIZED (
    SELECT n, room_id, user_id, by, {moment("at_ms")} AS at
    FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) WITH ORDINALITY AS l (room_id, user_id, by, at_ms, n)
), target AS MATERIALIZED (
    SELECT r.restriction_id, first.by, first.at
    FROM restrictions r CROSS JOIN LATERAL (
        SELECT by, at FROM lift l
        WHERE l.room_id = r.room_id AND l.user_id = r.user_id AND r.imposed_at < l.at
          AND (r.ends_at IS NULL OR r.ends_at > l.at)
        ORDER BY n LIMIT 1) AS first
    WHERE r.user_id = ANY ($2::text[]) AND r.lifted_at IS NULL
    ORDER BY r.restriction_id
    FOR UPDATE OF r
)
UPDATE restrictions r SET lifted_at = t.at, lifted_by = t.by FROM target t WHERE r.restriction_id = t.restriction_id"""

_RESTRICTED: Final = f"""\
INSERT INTO restrictions AS stored
    (record_id, room_id, user_id, kind, reason, imposed_by, imposed_at, ends_at, lifted_by, lifted_at)
SELECT r.record_id, r.room_id, r.user_id, r.kind, r.reason, r.by, {moment("r.at_ms")}, {moment("r.ends_at_ms")},
       CASE WHEN r.lifted_at_ms IS NOT NULL THEN r.lifted_by END, {moment("r.lifted_at_ms")}
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::bigint[],
            $9::text[], $10::bigint[])
    AS r (record_id, room_id, user_id, kind, reason, by, at_ms, ends_at_ms, lifted_by, lifted_at_ms)
ORDER BY r.record_id COLLATE "C"
ON CONFLICT (record_id) DO UPDATE SET lifted_by = excluded.lifted_by, lifted_at = excluded.lifted_at
WHERE stored.lifted_at IS NULL AND excluded.lifted_at IS NOT NULL"""


def append_statements(records: Sequence[Record]) -> list[Statement]:
    """Return what stores records, to be run in this order in one transaction. For plain chat it is one statement."""
    batch = RecordBatch(records)
    return [
        *_threads(batch),
        *_messages(batch),
        *_reports(batch),
        *_removals(batch),
        *_marks(batch),
        *_friendships(batch),
        *_blocks(batch),
        *_notes(batch),
        *_restrictions(batch),
    ]


def _threads(batch: RecordBatch) -> Iterator[Statement]:
    rows: dict[RoomId, tuple[object, ...]] = {}
    for room_id in [room_id for room_id, _ in (*batch.removed, *batch.marks)]:
        rows[room_id] = (room_id, None, None, None, None, None)
    begun: dict[RoomId, tuple[object, ...]] = {}
    for message in batch.direct:
        first = begun.setdefault(message.room_id, (message.author_id, message.at_ms))
        rows[message.room_id] = (message.room_id, *first, message.epoch, message.seq, message.at_ms)
    if rows:
        yield _THREADS, _transposed(rows.values())


def _messages(batch: RecordBatch) -> Iterator[Statement]:
    if batch.messages:
        yield _MESSAGES, columns(batch.messages, *_MESSAGE_FIELDS, "at_ms")
    if batch.direct:
        yield _DIRECT, columns(batch.direct, *_MESSAGE_FIELDS, "recipient_id", "at_ms")


def _reports(batch: RecordBatch) -> Iterator[Statement]:
    if batch.reports:
        reported = [report.reported for report in batch.reports]
        places = columns(reported, "room_id", "epoch", "seq", "message_id", "subject_id", "excerpt")
        told = columns(reported, "reporter_id", "reason", "source", "at_ms")
        yield _REPORTS, (*places, *told, [report.emptied for report in batch.reports])


def _removals(batch: RecordBatch) -> Iterator[Statement]:
    if batch.removed:
        yield _REMOVED, columns(list(batch.removed.values()), "room_id", "epoch", "seq", "by", "at_ms")


def _marks(batch: RecordBatch) -> Iterator[Statement]:
    if batch.marks:
        yield _MARKS, columns(list(batch.marks.values()), "room_id", "user_id", "epoch", "seq")


def _friendships(batch: RecordBatch) -> Iterator[Statement]:
    ended = [(*pair, record.at_ms) for pair, record in batch.friendships.items() if record.status == "none"]
    held = [
        (*pair, record.status, record.requested_by, record.at_ms)
        for pair, record in batch.friendships.items()
        if record.status != "none"
    ]
    if ended:
        yield _FRIENDSHIPS_LOCK, _transposed(batch.friendships)
    if held:
        yield _FRIENDSHIPS, _transposed(held)
    if ended:
        yield _FRIENDSHIPS_END, _transposed(ended)


def _blocks(batch: RecordBatch) -> Iterator[Statement]:
    ended = [(*pair, record.at_ms) for pair, record in batch.blocks.items() if not record.blocked]
    held = [(*pair, record.at_ms) for pair, record in batch.blocks.items() if record.blocked]
    if ended:
        yield _BLOCKS_LOCK, _transposed(batch.blocks)
    if held:
        yield _BLOCKS, _transposed(held)
    if ended:
        yield _BLOCKS_END, _transposed(ended)


def _notes(batch: RecordBatch) -> Iterator[Statement]:
    if batch.removed_notes:
        yield _NOTES_LOCK, _transposed({**batch.newest, **batch.removed_notes}.keys())
    if batch.notes:
        yield _NOTES, _note_columns(list(batch.newest.values()))
        yield _NOTE_REVISIONS, _note_columns(batch.notes)
    if batch.removed_notes:
        removed = list(batch.removed_notes.values())
        yield _NOTES_REMOVED, columns(removed, "room_id", "note_id", "epoch", "seq", "revision", "by", "at_ms")


def _restrictions(batch: RecordBatch) -> Iterator[Statement]:
    if batch.lifted:
        yield _LIFTED, columns(batch.lifted, "room_id", "user_id", "by", "at_ms")
    if batch.restricted:
        imposed = list(batch.restricted.values())
        restricted = [each.restricted for each in imposed]
        fields = ("record_id", "room_id", "user_id", "kind", "reason", "by", "at_ms", "ends_at_ms")
        ends = ([each.lifted_by for each in imposed], [each.lifted_at_ms for each in imposed])
        yield _RESTRICTED, (*columns(restricted, *fields), *ends)


def _note_columns(notes: Sequence[BoardNote]) -> tuple[list[Any], ...]:
    before, after = _NOTE_FIELDS
    return (*columns(notes, *before), [json.dumps(note.tags) for note in notes], *columns(notes, *after))


def _transposed(rows: Iterable[tuple[object, ...]]) -> tuple[list[Any], ...]:
    return tuple(list(column) for column in zip(*rows, strict=True))
