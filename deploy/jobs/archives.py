"""Archives: messages that leave the database for files, and come back.

Owns the statements and the order of the steps; files are deploy/jobs/archive_file.py. Invariants, at whatever
point the process is killed:

- a message is in `messages`, or in a file that a row of `archives` names as finished, or in both;
- a file in the folder that was not finished, or was replaced, is named in a row, so that `tidy` removes it;
- a file that no row names is never touched: it may be of another database.
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from common.errors import SettingsError
from deploy.jobs import archive_file
from deploy.jobs.time_ranges import TimeRange, open_ranges
from deploy.jobs.work import Connection, Interrupted, Work, changed

_Result = TypeVar("_Result")

_KIND: Final = "(CASE WHEN strpos(room_id, ':') > 0 THEN split_part(room_id, ':', 1) ELSE 'space' END)"
"""`common.ids.kind_of`, in the very words of the index messages_by_kind_and_time."""

_KINDS: Final = f"""\
WITH RECURSIVE found AS (
    SELECT min({_KIND}) AS kind FROM messages
    UNION ALL
    SELECT (SELECT min({_KIND}) FROM messages WHERE {_KIND} > found.kind) FROM found WHERE found.kind IS NOT NULL
)
SELECT kind FROM found WHERE kind IS NOT NULL"""  # noqa: S608 - constants
"""Steps from one kind to the next in the index; there are few kinds and many messages."""

_OLD: Final = f"""\
FROM messages m WHERE {_KIND} = $1 AND ($2::timestamptz IS NULL OR sent_at > $2) AND sent_at < $3
ORDER BY {_KIND}, sent_at LIMIT $4"""

OLD_MESSAGES: Final = f"SELECT room_id, epoch, seq, to_jsonb(m)::text AS line {_OLD} FOR UPDATE"
"""Locked, so that what is deleted or erased meanwhile is archived as it is afterwards. For the test of its plan too."""

_OLDEST: Final = f"SELECT sent_at {_OLD}"

_DELETE: Final = """\
DELETE FROM messages m USING unnest($1::text[], $2::bigint[], $3::bigint[]) AS gone (room_id, epoch, seq)
WHERE (m.room_id, m.epoch, m.seq) = (gone.room_id, gone.epoch, gone.seq)"""

_FINISH: Final = """\
UPDATE archives SET file = writing_file, writing_file = NULL, first_at = $2, last_at = $3, messages = $4, bytes = $5,
    sha256 = $6 WHERE archive_id = $1"""

_REPLACE: Final = """\
UPDATE archives SET leaving_file = file, file = writing_file, writing_file = NULL, bytes = $2, sha256 = $3
WHERE archive_id = $1"""

_STORED: Final = """\
SELECT count(*) FROM unnest($1::text[]) AS line,
    jsonb_to_record(line::jsonb) AS gone (room_id text COLLATE "C", epoch bigint, seq bigint)
    JOIN messages m USING (room_id, epoch, seq)"""


@dataclass(frozen=True)
class Archive:
    """A finished archive, as its row says."""

    archive_id: int
    kind: str
    file: str
    first_at: datetime
    last_at: datetime
    messages: int
    size: int
    sha256: str
    restored_at: datetime | None
    held_until: datetime | None


@dataclass(frozen=True)
class Archiver:
    """Moves messages between the database and one folder. One job at a time, see `Work.chunk`."""

    work: Work
    folder: Path

    async def tidy(self) -> None:
        """Remove what a job that was killed left behind."""
        connection = self.work.connection
        async with self.work.chunk():
            rows = await connection.fetch(
                "SELECT archive_id, file, writing_file, leaving_file FROM archives"
                " WHERE writing_file IS NOT NULL OR leaving_file IS NOT NULL FOR UPDATE"
            )
            for row in rows:
                for name in filter(None, (row["writing_file"], row["leaving_file"])):
                    await in_thread(archive_file.remove, self.folder, name)
            self.work.on_step("tidied files")
            await connection.execute("DELETE FROM archives WHERE file IS NULL")
            await connection.execute(
                "UPDATE archives SET writing_file = NULL, leaving_file = NULL"
                " WHERE writing_file IS NOT NULL OR leaving_file IS NOT NULL"
            )

    async def trim(self, days_of: Callable[[str], int]) -> int:
        """Archive and delete all messages that are too old. Returns how many.

        Args:
            days_of: days that messages of a kind of room stay; 0: for ever.

        Raises:
            Interrupted: see there.
            OSError: the folder cannot be written. No message is lost.
        """
        connection = self.work.connection
        await self.tidy()
        now: datetime = await connection.fetchval("SELECT now()")
        count = 0
        for row in await connection.fetch(_KINDS):
            kind = str(row["kind"])
            days = days_of(kind)
            if not days:
                continue
            held = await connection.fetch(
                "SELECT first_at, last_at FROM archives WHERE kind = $1 AND held_until > $2", kind, now
            )
            for times in open_ranges(now - timedelta(days=days), [(row["first_at"], row["last_at"]) for row in held]):
                while moved := await self._archive_chunk(kind, times):
                    count += moved
        return count

    async def _archive_chunk(self, kind: str, times: TimeRange) -> int:
        """Move the oldest messages of a time into a new archive. Returns how many; 0: there are none."""
        connection, rows_max = self.work.connection, self.work.rows_max
        first_at = await connection.fetchval(_OLDEST, kind, times.after, times.before, 1)
        if first_at is None:
            return 0
        name = archive_file.new_name(kind, first_at, secrets.token_hex(4))
        async with self.work.chunk():
            archive_id = await connection.fetchval(
                "INSERT INTO archives (kind, writing_file) VALUES ($1, $2) RETURNING archive_id", kind, name
            )
        self.work.on_step("named archive")
        async with self.work.chunk():
            # Who took this process for dead has removed the row, and would not know of the file.
            if not await connection.fetchval("SELECT true FROM archives WHERE archive_id = $1", archive_id):
                raise Interrupted("another process has taken the job up")
            rows = await connection.fetch(OLD_MESSAGES, kind, times.after, times.before, rows_max)
            if not rows:
                await connection.execute("DELETE FROM archives WHERE archive_id = $1", archive_id)
                return 0
            lines = [row["line"] for row in rows]
            written = await in_thread(archive_file.write, self.folder, name, lines)
            self.work.on_step("wrote archive")
            first_at, last_at = archive_file.times(lines)
            await connection.execute(_FINISH, archive_id, first_at, last_at, len(lines), written.size, written.sha256)
            self.work.on_step("finished archive")
            places = zip(*((row["room_id"], row["epoch"], row["seq"]) for row in rows), strict=True)
            gone = changed(await connection.execute(_DELETE, *(list(column) for column in places)))
            assert gone == len(lines), "messages that were locked are gone"
            await self.work.done(f"archived {kind}", gone)
            self.work.on_step("deleted messages")
        self.work.on_step("committed archive")
        return len(rows)

    async def restore(self, archive: Archive, hold_days: int) -> int:
        """Bring an archive's messages back into the database; those that are there stay as they are.

        May be repeated, also after a crash half-way. The archive stays. For `hold_days` retention leaves its
        time alone.

        Returns: how many were missing.

        Raises:
            ArchiveDamaged: the file is not what was written; nothing was changed.
        """
        connection = self.work.connection
        count = 0
        # Alone all the way: an erasure in between would be undone by what was read before it.
        async with self.work.alone():
            current = await find(connection, archive.archive_id)
            lines = await in_thread(archive_file.read, self.folder, current.file, current.sha256)
            async with self.work.chunk():
                # First, so that retention does not take what comes back at once.
                await connection.execute(
                    "UPDATE archives SET held_until = greatest(held_until, now() + $2 * interval '1 day')"
                    " WHERE archive_id = $1",
                    archive.archive_id,
                    hold_days,
                )
            self.work.on_step("held archive")
            for begin in range(0, len(lines), self.work.rows_max):
                some = lines[begin : begin + self.work.rows_max]
                async with self.work.chunk():
                    count += await _insert(connection, some)
                    await self.work.done(f"restored {current.file}", len(some))
                self.work.on_step("restored messages")
            await connection.execute(
                "UPDATE archives SET restored_at = now() WHERE archive_id = $1", archive.archive_id
            )
        return count

    async def missing(self, archive: Archive) -> int:
        """Return how many messages of an archive are not in the database.

        Raises:
            ArchiveDamaged: the file is not what was written.
        """
        lines = await in_thread(archive_file.read, self.folder, archive.file, archive.sha256)
        stored = 0
        for begin in range(0, len(lines), self.work.rows_max):
            stored += await self.work.connection.fetchval(_STORED, lines[begin : begin + self.work.rows_max])
        return len(lines) - stored

    async def verify(self, archive: Archive) -> None:
        """Compare a file with its row.

        Raises:
            ArchiveDamaged: it is missing, or another one.
        """
        lines = await in_thread(archive_file.read, self.folder, archive.file, archive.sha256)
        if len(lines) != archive.messages:
            raise archive_file.ArchiveDamaged(f"{archive.file}: {len(lines)} messages in place of {archive.messages}")
        if archive_file.times(lines) != (archive.first_at, archive.last_at):
            raise archive_file.ArchiveDamaged(f"{archive.file}: its messages are of another time")

    async def forget(self, archive: Archive) -> None:
        """Take an archive that is lost out of the table, so that no job stumbles over it. Its file is not touched.

        Raises:
            SettingsError: it is as it was written.
        """
        try:
            await self.verify(archive)
        except archive_file.ArchiveDamaged:
            async with self.work.chunk():
                await self.work.connection.execute("DELETE FROM archives WHERE archive_id = $1", archive.archive_id)
        else:
            raise SettingsError(f"{archive.file} is as it was written; only what is lost can be forgotten")

    async def rewrite(self, archive: Archive, change: Callable[[list[str]], tuple[list[str], int]]) -> int:
        """Put a changed file in the place of an archive's, and remove the old one.

        Args:
            change: returns the lines as they should be, and how many are changed; 0: nothing is written.

        Returns: how many were changed.

        Raises:
            ArchiveDamaged: the file is not what was written.
        """
        connection = self.work.connection
        lines = await in_thread(archive_file.read, self.folder, archive.file, archive.sha256)
        lines, count = await in_thread(change, lines)
        if not count:
            return 0
        name = archive_file.new_name(archive.kind, archive.first_at, secrets.token_hex(4))
        async with self.work.chunk():
            await connection.execute(
                "UPDATE archives SET writing_file = $2 WHERE archive_id = $1", archive.archive_id, name
            )
        self.work.on_step("named rewritten archive")
        async with self.work.chunk():
            row = await connection.fetchrow(
                "SELECT file, writing_file FROM archives WHERE archive_id = $1", archive.archive_id
            )
            if row is None or (row["file"], row["writing_file"]) != (archive.file, name):
                raise Interrupted("another process has taken the job up")
            written = await in_thread(archive_file.write, self.folder, name, lines)
            self.work.on_step("rewrote archive")
            await connection.execute(_REPLACE, archive.archive_id, written.size, written.sha256)
        self.work.on_step("replaced archive")
        await in_thread(archive_file.remove, self.folder, archive.file)
        self.work.on_step("removed old archive")
        async with self.work.chunk():
            await connection.execute(
                "UPDATE archives SET leaving_file = NULL WHERE archive_id = $1", archive.archive_id
            )
        return count


# --- the table ------------------------------------------------------------------------------------------

_SELECT: Final = """\
SELECT archive_id, kind, file, first_at, last_at, messages, bytes AS size, sha256, restored_at, held_until
FROM archives WHERE file IS NOT NULL"""


async def find(connection: Connection, archive_id: int) -> Archive:
    """Return an archive by its number.

    Raises:
        Interrupted: it is there no more.
    """
    row = await connection.fetchrow(f"{_SELECT} AND archive_id = $1", archive_id)
    if row is None:
        raise Interrupted("the archive was forgotten meanwhile")
    return Archive(**row)


async def find_next(connection: Connection, after_id: int) -> Archive | None:
    """Return the archive with the next number; None: there is none."""
    row = await connection.fetchrow(f"{_SELECT} AND archive_id > $1 ORDER BY archive_id LIMIT 1", after_id)
    return None if row is None else Archive(**row)


async def find_all(
    connection: Connection,
    *,
    file: str | None = None,
    first: datetime | None = None,
    last: datetime | None = None,
) -> list[Archive]:
    """Return archives, oldest first: that of a name, those with messages in a time (both ends counted), or all."""
    rows = await connection.fetch(
        f"{_SELECT} AND ($1::text IS NULL OR file = $1) AND ($2::timestamptz IS NULL OR last_at >= $2)"
        " AND ($3::timestamptz IS NULL OR first_at <= $3) ORDER BY first_at, archive_id",
        file,
        first,
        last,
    )
    return [Archive(**row) for row in rows]


async def _insert(connection: Connection, lines: Sequence[str]) -> int:
    # By the names that the file has: columns that a later version of the table added take their defaults.
    names = [f'"{name}"' for name in msgspec.json.decode(lines[0], type=dict[str, Any]) if name.isidentifier()]
    columns = ", ".join(names)
    status = await connection.execute(
        f"INSERT INTO messages ({columns})"  # noqa: S608 - identifiers, quoted
        f" SELECT {columns} FROM unnest($1::text[]) AS line, jsonb_populate_record(NULL::messages, line::jsonb)"
        " ON CONFLICT DO NOTHING",
        lines,
    )
    return changed(status)


async def in_thread(function: Callable[..., _Result], *arguments: object) -> _Result:
    """Run blocking work in a thread. Cancelling waits for its end: nobody may write a file that nobody waits for."""
    task = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
