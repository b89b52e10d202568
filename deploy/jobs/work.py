"""What all jobs have in common: chunks, progress, and the end of a job that was asked to stop.

A job is a row of chunks. Each chunk is one transaction of bounded size, which also writes the progress, and after
which the job could be killed: whoever begins it again finds what is left by looking at the tables.

Invariant: of all who work on the same database (job processes, one that was taken for dead and is not, commands
in a terminal) one at a time is in a chunk.
"""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import asyncpg

from common.errors import RoomringError
from common.postgres_link import connect

CONNECT_TIMEOUT_MS: Final = 10_000

_LOCK_KEY: Final = int.from_bytes(b"roomjobs", "big") % 2**63
"""Advisory locks are numbers that all who use a database share."""

_PROGRESS: Final = """\
INSERT INTO job_progress (job_id, step, rows_done) VALUES ($1, $2, $3)
ON CONFLICT (job_id) DO UPDATE SET step = excluded.step, rows_done = job_progress.rows_done + excluded.rows_done,
    error = NULL, updated_at = now()"""

Connection: TypeAlias = "asyncpg.Connection[Any]"


class Interrupted(RoomringError):
    """The job is to stop between two chunks, or another process is at it. It goes back into the queue."""


def _never() -> bool:
    return False


def _ignore(_step: str) -> None:
    pass


@dataclass(frozen=True)
class Work:
    """What a job works with.

    Attributes:
        connection: for its statements; nobody else uses it.
        rows_max: rows that one chunk may change.
        job_id: number in the queue, under which progress is kept; None: it is not.
        stopping: asked between two chunks.
        on_step: told before each step at which a crash would matter, by a name. Tests crash in it.
    """

    connection: Connection
    rows_max: int
    job_id: int | None = None
    stopping: Callable[[], bool] = _never
    on_step: Callable[[str], None] = field(default=_ignore, repr=False)

    @contextlib.asynccontextmanager
    async def chunk(self) -> AsyncIterator[None]:
        """Run what is inside as one transaction, while nobody else is in one.

        Raises:
            Interrupted: before anything was done.
        """
        if self.stopping():
            raise Interrupted("the job was asked to stop")
        async with self.connection.transaction():
            await self.connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK_KEY)
            yield

    async def done(self, step: str, rows: int) -> None:
        """Add to the progress; inside a chunk, so that it tells the truth after a crash."""
        if self.job_id is not None:
            await self.connection.execute(_PROGRESS, self.job_id, step, rows)

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Keep everybody else out of chunks over several of one's own."""
        await self.connection.execute("SELECT pg_advisory_lock($1)", _LOCK_KEY)
        try:
            yield
        finally:
            # Where the connection broke, the lock went with it.
            if not self.connection.is_closed():
                await self.connection.execute("SELECT pg_advisory_unlock($1)", _LOCK_KEY)


@contextlib.asynccontextmanager
async def open_connection(url: str) -> AsyncIterator[Connection]:
    """Connect for the time of a job.

    Raises:
        SettingsError, StoreUnavailable: see `common.postgres_link.connect`.
    """
    # Times in archives are written in it.
    connection = await connect(url, CONNECT_TIMEOUT_MS, timezone="UTC")
    try:
        yield connection
    finally:
        # At once: a call that was cancelled half-way would hold up an orderly end.
        connection.terminate()


def changed(status: str) -> int:
    """Return how many rows a statement changed, from what PostgreSQL said of it: `UPDATE 5`."""
    return int(status.rpartition(" ")[2])
