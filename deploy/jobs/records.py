"""Retention of what is deleted without an archive: the audit log, resolved moderation, old revisions of notes."""

from typing import Any, Final

from deploy.jobs.work import Work, changed

_AUDIT: Final = """\
DELETE FROM audit_log WHERE entry_id IN (
    SELECT entry_id FROM audit_log WHERE happened_at < now() - $1 * interval '1 day'
    ORDER BY happened_at, entry_id LIMIT $2)"""

_MODERATION: Final = """\
DELETE FROM moderation_queue WHERE item_id IN (
    SELECT item_id FROM moderation_queue WHERE resolved_at < now() - $1 * interval '1 day' ORDER BY item_id LIMIT $2)"""

_NOTE_REVISIONS: Final = """\
DELETE FROM note_revisions WHERE (room_id, note_id, revision) IN (
    SELECT r.room_id, r.note_id, r.revision FROM note_revisions r JOIN notes n USING (room_id, note_id)
    WHERE r.revision <= n.revision - $1 LIMIT $2)"""

_PROGRESS: Final = "DELETE FROM job_progress WHERE updated_at < now() - $1 * interval '1 day'"


async def trim_audit_log(work: Work, days: int) -> int:
    """Delete entries older than some days; 0 days: none. Returns how many."""
    return await _repeat(work, "deleted audit entries", _AUDIT, days) if days else 0


async def trim_moderation(work: Work, days: int) -> int:
    """Delete items that were resolved more than some days ago, with their reports; 0 days: none. Returns how many."""
    return await _repeat(work, "deleted moderation items", _MODERATION, days) if days else 0


async def trim_note_revisions(work: Work, revisions_max: int) -> int:
    """Delete all but the newest revisions of each note; 0: none. Returns how many."""
    return await _repeat(work, "deleted note revisions", _NOTE_REVISIONS, revisions_max) if revisions_max else 0


async def trim_progress(work: Work, days: int) -> int:
    """Delete the progress of jobs that are no longer listed. Returns how many."""
    async with work.chunk():
        return changed(await work.connection.execute(_PROGRESS, days))


async def _repeat(work: Work, step: str, statement: str, *arguments: Any) -> int:
    total = 0
    while True:
        async with work.chunk():
            count = changed(await work.connection.execute(statement, *arguments, work.rows_max))
            await work.done(step, count)
            work.on_step(step)
        total += count
        if count < work.rows_max:
            return total
