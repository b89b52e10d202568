"""The queue of jobs in PostgreSQL: which jobs there are, how they are repeated, and how one is put there.

The job library (procrastinate) keeps the queue; this module is the only one that knows it, with deploy/jobs/main.py.
Source: docs/decisions/0015-jobs.md; https://procrastinate.readthedocs.io.
"""

import contextlib
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Final

import psycopg_pool
from procrastinate import App, BaseRetryStrategy, PsycopgConnector, RetryDecision
from procrastinate import exceptions as library_errors
from procrastinate.jobs import Job, Status

from common.errors import SchemaMismatch, SettingsError, StoreUnavailable
from common.job_schema import JOBS_SCHEMA, library_version
from common.postgres_link import APPLICATION_NAME, one_line, telling_outages
from deploy.jobs.work import Connection, Interrupted

QUEUE: Final = "roomring"
TRIM_MESSAGES: Final = "trim_messages"
TRIM_RECORDS: Final = "trim_records"
ERASE_PERSON: Final = "erase_person"
BY_NAME: Final = (TRIM_MESSAGES, TRIM_RECORDS)
"""Jobs that need no arguments: those that run each day, and that `roomring jobs run-now` takes."""

ATTEMPTS_MAX: Final = 10
"""After so many, with the pauses below within three quarters of an hour, a job has failed, and somebody must look."""

_LOCK: Final = "data"
"""One job at a time in the whole cluster: they work on the same rows, and none is in a hurry."""
_ERASURE_PRIORITY: Final = 10
_PAUSE_FIRST_S: Final = 5
_CONNECTIONS_MAX: Final = 3
_SILENT_HOST: Final = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""After how long a connection to a host that is gone without a word fails; else calls of the library wait for many
minutes, and the stop of a worker with them. Source: https://www.postgresql.org/docs/current/libpq-connect.html."""
_MISSED_S: Final = 26 * 3_600
"""A job of the day that was missed, since no process ran, is made up for within this time."""

_NOT_DONE: Final = [status.value for status in Status if status is not Status.SUCCEEDED]
_WAITING_ERASURES: Final = f"""\
SELECT erasure_id FROM erasures WHERE due_at <= now() AND coalesce(
    (SELECT status::text <> ALL ($2::text[]) FROM {JOBS_SCHEMA}.procrastinate_jobs
     WHERE task_name = $1 AND (args ->> 'erasure_id')::bigint = erasure_id ORDER BY id DESC LIMIT 1), true)
ORDER BY due_at"""  # noqa: S608 - a constant

UNAVAILABLE: Final = (library_errors.ConnectorException, psycopg_pool.PoolTimeout, OSError)
"""What the library raises where PostgreSQL does not answer."""


class Repeat(BaseRetryStrategy):
    """At once where a job was interrupted, else after pauses that double, until `ATTEMPTS_MAX`."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        """See the library. `job.attempts` counts those before this one."""
        if isinstance(exception, Interrupted):
            return RetryDecision(retry_in={"seconds": 0})
        if is_last_attempt(job) or not isinstance(exception, Exception):
            return None
        return RetryDecision(retry_in={"seconds": _PAUSE_FIRST_S * 2**job.attempts})


def is_last_attempt(job: Job) -> bool:
    """Tell whether a job that runs is not tried again where it fails."""
    return job.attempts + 1 >= ATTEMPTS_MAX


def make_app(url: str, timeout_ms: int) -> App:
    """Return the library's application for a database; it is not open yet.

    Args:
        timeout_ms: how long a call waits for a connection.
    """
    # The library says what we say ourselves, with every outage as an error.
    for name in ("procrastinate", "psycopg"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    connector = PsycopgConnector(
        conninfo=url,
        kwargs={"options": f"-c search_path={JOBS_SCHEMA},public", "application_name": APPLICATION_NAME} | _SILENT_HOST,
        min_size=1,
        max_size=_CONNECTIONS_MAX,
        timeout=timeout_ms / 1000,
    )
    return App(connector=connector, periodic_defaults={"max_delay": _MISSED_S})


@contextlib.asynccontextmanager
async def open_queue(url: str, timeout_ms: int) -> AsyncIterator[App]:
    """Open the queue, for a command.

    Raises:
        StoreUnavailable: PostgreSQL does not answer.
    """
    try:
        async with make_app(url, timeout_ms).open_async() as app:
            yield app
    except UNAVAILABLE as error:
        raise StoreUnavailable(f"PostgreSQL: {one_line(error)}") from error


async def check_library(connection: Connection) -> None:
    """See that the library's tables are those that the installed library needs.

    Raises:
        SchemaMismatch: they are not. One line that says what to do.
        StoreUnavailable: PostgreSQL does not answer.
    """
    with telling_outages():
        found = await connection.fetchval(
            "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = $1", JOBS_SCHEMA
        )
    if found != library_version():
        raise SchemaMismatch(
            f"the queue in the database is of {found}, and the installed job library needs {library_version()}; "
            "install the release of procrastinate that the database was made with"
        )


async def put(app: App, name: str) -> int | None:
    """Queue a job of `BY_NAME`. Returns its number; None: one is waiting already."""
    if list(await app.job_manager.list_jobs_async(task=name, status=Status.TODO.value)):
        return None
    return await app.configure_task(name, **options_of(name)).defer_async()


async def put_erasure(app: App, erasure_id: int) -> int:
    """Queue the next pass of an erasure. Returns the job's number. A job too many finds nothing to do."""
    return await app.configure_task(ERASE_PERSON, **options_of(ERASE_PERSON)).defer_async(erasure_id=erasure_id)


def options_of(name: str) -> dict[str, Any]:
    """Return how the jobs of a name are queued.

    Without the library's queueing lock, which lets one job of a name wait: a job that runs could not go back into the
    queue while another waits.
    """
    return {"queue": QUEUE, "lock": _LOCK, "priority": _ERASURE_PRIORITY if name == ERASE_PERSON else 0}


async def waiting_erasures(connection: Connection, *, also_failed: bool = False) -> list[int]:
    """Return the erasures whose next pass is due and that no job is about.

    Args:
        also_failed: those as well whose last job failed or was cancelled, so that somebody has to look.

    Raises:
        StoreUnavailable: PostgreSQL does not answer.
    """
    states = ["todo", "doing"] if also_failed else _NOT_DONE
    with telling_outages():
        rows = await connection.fetch(_WAITING_ERASURES, ERASE_PERSON, states)
    return [row["erasure_id"] for row in rows]


async def take_up(app: App, silent_s: float) -> list[Job]:
    """Put back into the queue what processes were at that have been silent for some seconds. Returns these jobs.

    One that was taken up too often has failed: it may be what kills the processes.
    """
    found = list(await app.job_manager.get_stalled_jobs(queue=QUEUE, seconds_since_heartbeat=silent_s))
    for job in found:
        # Who was taken for dead may have finished the job by now.
        with contextlib.suppress(library_errors.ConnectorException):
            if is_last_attempt(job):
                await app.job_manager.finish_job(job, Status.FAILED, delete_job=False)
            else:
                await app.job_manager.retry_job(job)
    return found


async def retry(app: App, job_id: int) -> None:
    """Queue a job again that has failed.

    Raises:
        SettingsError: it has not.
    """
    if await status_of(app, job_id) is not Status.FAILED:
        raise SettingsError(f"job {job_id} has not failed; `roomring jobs show {job_id}` tells about it")
    await app.job_manager.retry_job_by_id_async(job_id, datetime.now(UTC))


async def cancel(app: App, job_id: int) -> None:
    """Take a job out of the queue; one that runs is stopped, what it has done stays.

    Raises:
        SettingsError: it has ended already.
    """
    await status_of(app, job_id)
    if not await app.job_manager.cancel_job_by_id_async(job_id, abort=True):
        raise SettingsError(f"job {job_id} has ended already")


async def status_of(app: App, job_id: int) -> Status:
    """Return how a job stands.

    Raises:
        SettingsError: there is none of that number.
    """
    try:
        return await app.job_manager.get_job_status_async(job_id)
    except library_errors.NoResult as error:
        raise SettingsError(f"there is no job {job_id}; `roomring jobs` lists them") from error
