"""Erasure of one person's data on request, in the tables and in the archives.

Owns what is erased and how, but for threads, which deploy/jobs/erased_rooms.py moves. In place of the person's id
stands a pseudonym that is made by chance and forgotten at the end, so that what has to stay (places in a room's
order, decisions of moderators) belongs to nobody. There are two passes: the second catches what was still on its way
into the database. docs/operations.md says for operators what goes and what stays; keep both alike.

Invariant: after the last pass nothing in tables and archives has the person's id, or is the person's, but for mutes
and bans that still run; those keep the id until they end.
"""

import secrets
from datetime import datetime
from typing import Final

from common.errors import SettingsError
from common.ids import THREAD_KIND, RoomId, UserId, inbox_of, kind_of
from deploy.jobs import archive_file, erased_rooms
from deploy.jobs.archives import Archive, Archiver, find_next
from deploy.jobs.erased_rooms import Erased
from deploy.jobs.work import Work, changed

ACTOR: Final = "jobs"
"""Who the audit log says has done it."""

_PASSES: Final = 2

PLACES: Final[dict[str, str]] = {
    # $1 rooms that are the person's, $2 their new ids, $3 rows at most, $4 the person. Threads are moved before.
    "restrictions moved": """\
UPDATE restrictions r SET room_id = place.new_id FROM unnest($1::text[], $2::text[]) AS place (old_id, new_id)
WHERE r.room_id = place.old_id AND r.restriction_id IN (
    SELECT restriction_id FROM restrictions
    WHERE room_id = ANY ($1::text[]) AND (user_id <> $4 OR lifted_at IS NOT NULL OR ends_at <= now()) LIMIT $3)""",
    "moderation items moved": """\
UPDATE moderation_queue q SET room_id = place.new_id FROM unnest($1::text[], $2::text[]) AS place (old_id, new_id)
WHERE q.room_id = place.old_id AND q.item_id IN (
    SELECT item_id FROM moderation_queue
    WHERE room_id = ANY ($1::text[]) AND room_id >= 'user:' AND room_id < 'user;' LIMIT $3)""",
    "audit entries moved": """\
UPDATE audit_log a SET room_id = place.new_id, details = CASE a.details ->> 'appliedTo'
    WHEN place.old_id THEN a.details || jsonb_build_object('appliedTo', place.new_id) ELSE a.details END
FROM unnest($1::text[], $2::text[]) AS place (old_id, new_id)
WHERE a.room_id = place.old_id
    AND a.entry_id IN (SELECT entry_id FROM audit_log WHERE room_id = ANY ($1::text[]) LIMIT $3)""",
}

STATEMENTS: Final[dict[str, str]] = {
    # $1 the person, $2 rows at most, $3 the pseudonym. Each is repeated until it changes less than that, and so
    # must not find again what it has changed.
    "messages emptied": """\
UPDATE messages SET author_id = $3, author_name = '', text = '', deleted_at = coalesce(deleted_at, now())
WHERE (room_id, epoch, seq) IN (SELECT room_id, epoch, seq FROM messages WHERE author_id = $1
    AND NOT (room_id >= 'dm:' AND room_id < 'dm;') LIMIT $2)""",
    "deletions renamed": """\
UPDATE messages SET deleted_by = $3
WHERE (room_id, epoch, seq) IN (SELECT room_id, epoch, seq FROM messages WHERE deleted_by = $1 LIMIT $2)""",
    "friendships deleted": """\
DELETE FROM friendships WHERE (low_id, high_id) IN
    (SELECT low_id, high_id FROM friendships WHERE $1 IN (low_id, high_id) LIMIT $2)""",
    "blocks deleted": """\
DELETE FROM blocks WHERE (blocker_id, blocked_id) IN
    (SELECT blocker_id, blocked_id FROM blocks WHERE $1 IN (blocker_id, blocked_id) LIMIT $2)""",
    # A note of somebody else whose words now are the person's falls back to the newest that are not.
    "notes reverted": """\
UPDATE notes n SET x = r.x, y = r.y, text = r.text, colour = r.colour, tags = r.tags, revision = n.revision + 1,
    edited_by = r.author_id, updated_at = now()
FROM note_revisions r
WHERE (r.room_id, r.note_id) = (n.room_id, n.note_id)
    AND r.revision = (SELECT max(o.revision) FROM note_revisions o
                      WHERE (o.room_id, o.note_id) = (n.room_id, n.note_id) AND o.author_id <> $1)
    AND (n.room_id, n.note_id) IN (
        SELECT b.room_id, b.note_id FROM notes b
        WHERE b.edited_by = $1 AND b.author_id <> $1
            AND EXISTS (SELECT FROM note_revisions o
                        WHERE (o.room_id, o.note_id) = (b.room_id, b.note_id) AND o.author_id <> $1)
        LIMIT $2)""",
    # Of those that have no other words nothing stays but that there was one, for who catches up.
    "notes emptied": """\
UPDATE notes SET text = '', tags = '{}', author_name = CASE author_id WHEN $1 THEN '' ELSE author_name END,
    author_id = CASE author_id WHEN $1 THEN $3 ELSE author_id END,
    edited_by = CASE edited_by WHEN $1 THEN $3 ELSE edited_by END,
    revision = revision + 1, updated_at = now(), deleted_at = coalesce(deleted_at, now())
WHERE (room_id, note_id) IN (
    SELECT room_id, note_id FROM notes WHERE author_id = $1
    UNION
    SELECT room_id, note_id FROM notes WHERE edited_by = $1
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
    WHERE subject_id IN ($1, $3) AND details <> '' LIMIT $2)""",
    "moderation items emptied": """\
UPDATE moderation_queue SET excerpt = '', resolution_note = NULL, subject_id = $3,
    target_id = CASE target_id WHEN $1 THEN $3 ELSE target_id END,
    resolution = coalesce(resolution, CASE target WHEN 'person' THEN 'dismissed' ELSE 'deleted' END),
    resolved_at = coalesce(resolved_at, now())
WHERE item_id IN (SELECT item_id FROM moderation_queue WHERE subject_id = $1
    AND NOT (room_id >= 'dm:' AND room_id < 'dm;') LIMIT $2)""",
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
    # Who is blocked or befriended by an operator stands in the details of the other one's entry.
    "audit details emptied": """\
UPDATE audit_log SET details = '{}' WHERE entry_id IN (
    SELECT entry_id FROM audit_log WHERE strpos(details::text, to_jsonb($1::text)::text) > 0 LIMIT $2)""",
}

_COUNT: Final = """\
UPDATE erasures SET counts = counts || jsonb_build_object($2::text, coalesce((counts ->> $2)::bigint, 0) + $3::bigint)
WHERE erasure_id = $1"""

_FINISH: Final = """\
UPDATE erasures SET passes = passes + 1, finished_at = now(), pseudonym = NULL, room_key = NULL, due_at = NULL,
    user_id = NULL, requested_by = CASE requested_by WHEN user_id THEN 'the person' ELSE requested_by END,
    kept_restrictions = ARRAY(SELECT restriction_id FROM restrictions r WHERE r.user_id = erasures.user_id)
WHERE erasure_id = $1"""

_AUDIT: Final = """\
INSERT INTO audit_log (actor_id, action, details)
SELECT $2, 'person.erased', jsonb_build_object('erasureId', erasure_id, 'requestedBy', requested_by, 'counts', counts)
FROM erasures WHERE erasure_id = $1"""

_ENDED: Final = """\
SELECT r.restriction_id, r.user_id, r.room_id
FROM restrictions r JOIN erasures ON restriction_id = ANY (kept_restrictions)
WHERE erasure_id = $1 AND (r.lifted_at IS NOT NULL OR r.ends_at <= now()) FOR UPDATE OF r"""

_FORGET: Final = "UPDATE restrictions SET user_id = $2, room_id = $3 WHERE restriction_id = $1"


async def run(work: Work, archiver: Archiver | None, erasure_id: int, second_pass_ms: int) -> None:
    """Do the next pass of an erasure, as far as it was not done; nothing where none is due.

    Args:
        archiver: None where the cluster has no archives.
        second_pass_ms: how long after the first pass the second is due.

    Raises:
        Interrupted, ArchiveDamaged: what is done stays, and the next call goes on.
        SettingsError: there are archives, and `archiver` is None; nothing was done.
    """
    connection = work.connection
    row = await connection.fetchrow(
        "SELECT user_id, pseudonym, room_key, passes, archive_cursor FROM erasures"
        " WHERE erasure_id = $1 AND due_at <= now()",
        erasure_id,
    )
    if row is None:
        return
    erased = Erased(UserId(row["user_id"]), row["pseudonym"], row["room_key"])
    if archiver is not None:
        await archiver.tidy()
    elif await find_next(connection, 0) is not None:
        raise SettingsError("there are archives, and the person may be in them: set ROOMRING_ARCHIVE_DIR")
    await _erase_places(work, erasure_id, erased)
    for name, statement in STATEMENTS.items():
        arguments = (erased.user_id, work.rows_max, erased.pseudonym)
        await _repeat(work, erasure_id, name, statement, arguments)
    if archiver is not None:
        await _erase_archives(work, archiver, erasure_id, erased, row["archive_cursor"])
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
            # A name and a key for this once: those of the erasure are forgotten.
            pseudonym, room_key = f"erased-{secrets.token_hex(12)}", secrets.token_bytes(32)
            ended = await connection.fetch(_ENDED, row["erasure_id"])
            for found in ended:
                erased = Erased(UserId(found["user_id"]), pseudonym, room_key)
                place = _place_forgotten(erased, found["room_id"])
                await connection.execute(_FORGET, found["restriction_id"], pseudonym, place)
            await connection.execute(
                "UPDATE erasures SET kept_restrictions ="
                " ARRAY(SELECT kept FROM unnest(kept_restrictions) AS kept WHERE kept <> ALL ($2::bigint[]))"
                " WHERE erasure_id = $1",
                row["erasure_id"],
                [found["restriction_id"] for found in ended],
            )
            await work.done("forgot ended restrictions", len(ended))
            count += len(ended)
    return count


def _place_forgotten(erased: Erased, place: str | None) -> str | None:
    """Return where a restriction of the person was, without the person's id."""
    if place is not None and (kind_of(RoomId(place)) == THREAD_KIND or place == inbox_of(erased.user_id)):
        return erased.new_id(RoomId(place))
    return place


async def _erase_places(work: Work, erasure_id: int, erased: Erased) -> None:
    """Give the rooms whose ids tell of the person other ids."""

    async def count(name: str, number: int) -> None:
        await work.connection.execute(_COUNT, erasure_id, name, number)

    rooms = await erased_rooms.find_rooms(work, erased)
    await erased_rooms.move_threads(work, erased, rooms, count)
    for name, statement in PLACES.items():
        arguments = (list(rooms), list(rooms.values()), work.rows_max, erased.user_id)
        await _repeat(work, erasure_id, name, statement, arguments)


async def _repeat(work: Work, erasure_id: int, name: str, statement: str, arguments: tuple[object, ...]) -> None:
    """Run a statement in chunks until nothing is left. Arguments that it does not name are the last ones."""
    named = [value for number, value in enumerate(arguments, 1) if f"${number}" in statement]
    while True:
        async with work.chunk():
            count = changed(await work.connection.execute(statement, *named))
            if count:
                await work.connection.execute(_COUNT, erasure_id, name, count)
            await work.done(name, count)
            work.on_step(name)
        if count < work.rows_max:
            return


async def _erase_archives(work: Work, archiver: Archiver, erasure_id: int, erased: Erased, cursor: int) -> None:
    now: datetime = await work.connection.fetchval("SELECT now()")

    def change(lines: list[str]) -> tuple[list[str], int]:
        return archive_file.erase(lines, erased, now)

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
