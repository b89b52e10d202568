"""Erasure of one person's data on request, in the tables and in the archives.

Owns what is erased and how. In place of the person's id stands a pseudonym that is made by chance and forgotten
at the end, so that what has to stay (places in a room's order, decisions of moderators) belongs to nobody. There
are two passes: the second catches what was still on its way into the database. docs/operations.md says for operators
what goes and what stays; keep both alike.

Invariant: after the last pass nothing in tables and archives has the person's id, or is the person's, but for mutes
and bans that still run; those keep the id until they end.
"""

import secrets
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

from common.errors import SettingsError
from deploy.jobs import archive_file
from deploy.jobs.archives import Archive, Archiver, find_next
from deploy.jobs.work import Work, changed

ACTOR: Final = "jobs"
"""Who the audit log says has done it."""

_PASSES: Final = 2

STATEMENTS: Final[dict[str, str]] = {
    # $1 the person, $2 rows at most, $3 the pseudonym. Each is repeated until it changes less than that, and so
    # must not find again what it has changed.
    "messages emptied": """\
UPDATE messages SET author_id = $3, author_name = '', text = '', deleted_at = coalesce(deleted_at, now())
WHERE (room_id, epoch, seq) IN (SELECT room_id, epoch, seq FROM messages WHERE author_id = $1 LIMIT $2)""",
    "deletions renamed": """\
UPDATE messages SET deleted_by = $3
WHERE (room_id, epoch, seq) IN (SELECT room_id, epoch, seq FROM messages WHERE deleted_by = $1 LIMIT $2)""",
    "threads renamed": """\
UPDATE threads SET created_by = $3
WHERE room_id IN (SELECT room_id FROM threads WHERE created_by = $1 LIMIT $2)""",
    "memberships deleted": """\
DELETE FROM thread_members
WHERE (room_id, user_id) IN (SELECT room_id, user_id FROM thread_members WHERE user_id = $1 LIMIT $2)""",
    "friendships deleted": """\
DELETE FROM friendships WHERE (low_id, high_id) IN
    (SELECT low_id, high_id FROM friendships WHERE $1 IN (low_id, high_id) LIMIT $2)""",
    "blocks deleted": """\
DELETE FROM blocks WHERE (blocker_id, blocked_id) IN
    (SELECT blocker_id, blocked_id FROM blocks WHERE $1 IN (blocker_id, blocked_id) LIMIT $2)""",
    # A note of somebody else whose words now are the person's falls back to the newest that are not.
    "notes reverted": """\
UPDATE notes n SET x = r.x, y = r.y, text = r.text, colour = r.colour, tags = r.tags, revision = n.revision + 1,
    updated_at = now()
FROM note_revisions r
WHERE (r.room_id, r.note_id) = (n.room_id, n.note_id)
    AND r.revision = (SELECT max(o.revision) FROM note_revisions o
                      WHERE (o.room_id, o.note_id) = (n.room_id, n.note_id) AND o.author_id <> $1)
    AND (n.room_id, n.note_id) IN (
        SELECT w.room_id, w.note_id FROM note_revisions w JOIN notes b USING (room_id, note_id)
        WHERE w.author_id = $1 AND w.revision = b.revision AND b.author_id <> $1
            AND EXISTS (SELECT FROM note_revisions o
                        WHERE (o.room_id, o.note_id) = (b.room_id, b.note_id) AND o.author_id <> $1)
        LIMIT $2)""",
    # Of those that have no other words nothing stays but that there was one, for who catches up.
    "notes emptied": """\
UPDATE notes SET text = '', tags = '{}', author_name = CASE author_id WHEN $1 THEN '' ELSE author_name END,
    author_id = CASE author_id WHEN $1 THEN $3 ELSE author_id END,
    revision = revision + 1, updated_at = now(), deleted_at = coalesce(deleted_at, now())
WHERE (room_id, note_id) IN (
    SELECT room_id, note_id FROM notes WHERE author_id = $1
    UNION
    SELECT w.room_id, w.note_id FROM note_revisions w JOIN notes b USING (room_id, note_id)
    WHERE w.author_id = $1 AND w.revision = b.revision
    LIMIT $2)""",
    "note deletions renamed": """\
UPDATE notes SET deleted_by = $3
WHERE (room_id, note_id) IN (SELECT room_id, note_id FROM notes WHERE deleted_by = $1 LIMIT $2)""",
    "note revisions deleted": """\
DELETE FROM note_revisions WHERE (room_id, note_id, revision) IN (
    SELECT room_id, note_id, revision FROM note_revisions WHERE author_id = $1
    UNION
    SELECT r.room_id, r.note_id, r.revision FROM note_revisions r JOIN notes n USING (room_id, note_id)
    WHERE n.author_id = $3
    LIMIT $2)""",
    "reports renamed": """\
UPDATE reports SET reporter_id = $3, details = ''
WHERE report_id IN (SELECT report_id FROM reports WHERE reporter_id = $1 LIMIT $2)""",
    "reports emptied": """\
UPDATE reports SET details = '' WHERE report_id IN (
    SELECT report_id FROM reports JOIN moderation_queue USING (item_id)
    WHERE subject_id = $1 AND details <> '' LIMIT $2)""",
    "moderation items emptied": """\
UPDATE moderation_queue SET excerpt = '', resolution_note = NULL, subject_id = $3,
    target_id = CASE target_id WHEN $1 THEN $3 ELSE target_id END,
    resolution = coalesce(resolution, CASE target WHEN 'person' THEN 'dismissed' ELSE 'deleted' END),
    resolved_at = coalesce(resolved_at, now())
WHERE item_id IN (SELECT item_id FROM moderation_queue WHERE subject_id = $1 LIMIT $2)""",
    "moderator renamed": """\
UPDATE moderation_queue SET claimed_by = CASE claimed_by WHEN $1 THEN $3 ELSE claimed_by END,
    resolved_by = CASE resolved_by WHEN $1 THEN $3 ELSE resolved_by END
WHERE item_id IN (SELECT item_id FROM moderation_queue WHERE $1 IN (claimed_by, resolved_by) LIMIT $2)""",
    "restrictions renamed": """\
UPDATE restrictions SET user_id = $3, reason = '' WHERE restriction_id IN (
    SELECT restriction_id FROM restrictions
    WHERE user_id = $1 AND (lifted_at IS NOT NULL OR ends_at <= now()) LIMIT $2)""",
    "restrictions emptied": """\
UPDATE restrictions SET reason = ''
WHERE restriction_id IN (SELECT restriction_id FROM restrictions WHERE user_id = $1 AND reason <> '' LIMIT $2)""",
    "imposer renamed": """\
UPDATE restrictions SET imposed_by = CASE imposed_by WHEN $1 THEN $3 ELSE imposed_by END,
    lifted_by = CASE lifted_by WHEN $1 THEN $3 ELSE lifted_by END
WHERE restriction_id IN (SELECT restriction_id FROM restrictions WHERE $1 IN (imposed_by, lifted_by) LIMIT $2)""",
    # What was noted about the person's doings may quote the person: only the fact stays.
    "audit entries emptied": """\
UPDATE audit_log SET details = '{}', subject_id = CASE subject_id WHEN $1 THEN $3 ELSE subject_id END,
    actor_id = CASE actor_id WHEN $1 THEN $3 ELSE actor_id END
WHERE entry_id IN (SELECT entry_id FROM audit_log WHERE $1 IN (actor_id, subject_id) LIMIT $2)""",
}

_COUNT: Final = """\
UPDATE erasures SET counts = counts || jsonb_build_object($2::text, coalesce((counts ->> $2)::bigint, 0) + $3::bigint)
WHERE erasure_id = $1"""

_FINISH: Final = """\
UPDATE erasures SET passes = passes + 1, finished_at = now(), pseudonym = NULL, due_at = NULL, user_id = NULL,
    requested_by = CASE requested_by WHEN user_id THEN 'the person' ELSE requested_by END,
    kept_restrictions = ARRAY(SELECT restriction_id FROM restrictions r WHERE r.user_id = erasures.user_id)
WHERE erasure_id = $1"""

_AUDIT: Final = """\
INSERT INTO audit_log (actor_id, action, details)
SELECT $2, 'person.erased', jsonb_build_object('erasureId', erasure_id, 'requestedBy', requested_by, 'counts', counts)
FROM erasures WHERE erasure_id = $1"""

_ENDED: Final = """\
UPDATE restrictions SET user_id = $2 WHERE restriction_id IN (
    SELECT restriction_id FROM restrictions JOIN erasures ON restriction_id = ANY (kept_restrictions)
    WHERE erasure_id = $1 AND (lifted_at IS NOT NULL OR ends_at <= now()))
RETURNING restriction_id"""


async def run(
    work: Work,
    archiver: Archiver | None,
    erasure_id: int,
    second_pass_ms: int,
    *,
    tell_rooms: Callable[[str, str], Awaitable[None]] | None = None,
) -> None:
    """Do the next pass of an erasure, as far as it was not done; nothing where none is due.

    Args:
        archiver: None where the cluster has no archives.
        second_pass_ms: how long after the first pass the second is due.
        tell_rooms: called in each pass, with the person's id and the pseudonym, before anything is changed, for what
            is in memory and in Redis. May be called again after a crash.

    Raises:
        Interrupted, ArchiveDamaged: what is done stays, and the next call goes on.
        SettingsError: there are archives, and `archiver` is None; nothing was done.
    """
    connection = work.connection
    row = await connection.fetchrow(
        "SELECT user_id, pseudonym, passes, archive_cursor FROM erasures WHERE erasure_id = $1 AND due_at <= now()",
        erasure_id,
    )
    if row is None:
        return
    user_id, pseudonym = str(row["user_id"]), str(row["pseudonym"])
    if tell_rooms is not None:
        await tell_rooms(user_id, pseudonym)
    if archiver is not None:
        await archiver.tidy()
    elif await find_next(connection, 0) is not None:
        raise SettingsError("there are archives, and the person may be in them: set ROOMRING_ARCHIVE_DIR")
    for name, statement in STATEMENTS.items():
        await _repeat(work, erasure_id, name, statement, user_id, pseudonym)
    if archiver is not None:
        await _erase_archives(work, archiver, erasure_id, user_id, pseudonym, row["archive_cursor"])
    work.on_step("erased everything")
    async with work.chunk():
        if row["passes"] + 1 < _PASSES:
            await connection.execute(
                "UPDATE erasures SET passes = passes + 1, archive_cursor = 0,"
                " due_at = now() + $2 * interval '1 millisecond' WHERE erasure_id = $1",
                erasure_id,
                second_pass_ms,
            )
        else:
            await connection.execute(_FINISH, erasure_id)
            await connection.execute(_AUDIT, erasure_id, ACTOR)
    work.on_step("noted pass")


async def forget_ended_restrictions(work: Work) -> int:
    """Take the person's id from mutes and bans that an erasure had left since they ran. Returns how many."""
    connection = work.connection
    count = 0
    for row in await connection.fetch("SELECT erasure_id FROM erasures WHERE kept_restrictions <> '{}'"):
        async with work.chunk():
            pseudonym = f"erased-{secrets.token_hex(12)}"
            ended = [found[0] for found in await connection.fetch(_ENDED, row["erasure_id"], pseudonym)]
            await connection.execute(
                "UPDATE erasures SET kept_restrictions ="
                " ARRAY(SELECT kept FROM unnest(kept_restrictions) AS kept WHERE kept <> ALL ($2::bigint[]))"
                " WHERE erasure_id = $1",
                row["erasure_id"],
                ended,
            )
            await work.done("forgot ended restrictions", len(ended))
            count += len(ended)
    return count


async def _repeat(work: Work, erasure_id: int, name: str, statement: str, user_id: str, pseudonym: str) -> None:
    arguments = [user_id, work.rows_max, *([pseudonym] if "$3" in statement else [])]
    while True:
        async with work.chunk():
            count = changed(await work.connection.execute(statement, *arguments))
            if count:
                await work.connection.execute(_COUNT, erasure_id, name, count)
            await work.done(name, count)
            work.on_step(name)
        if count < work.rows_max:
            return


async def _erase_archives(
    work: Work, archiver: Archiver, erasure_id: int, user_id: str, pseudonym: str, cursor: int
) -> None:
    now: datetime = await work.connection.fetchval("SELECT now()")

    def change(lines: list[str]) -> tuple[list[str], int]:
        return archive_file.erase(lines, user_id, pseudonym, now)

    archive: Archive | None
    while (archive := await find_next(work.connection, cursor)) is not None:
        count = await archiver.rewrite(archive, change)
        cursor = archive.archive_id
        async with work.chunk():
            if count:
                await work.connection.execute(_COUNT, erasure_id, "archived messages emptied", count)
            await work.connection.execute(
                "UPDATE erasures SET archive_cursor = $2 WHERE erasure_id = $1", erasure_id, cursor
            )
            await work.done("archived messages emptied", count)
        work.on_step("passed archive")
