"""The job process: settings in, exit status out. It works the queue, and sees to what nobody works on.

With PostgreSQL away it waits and connects again; nothing is lost by its absence, only later.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import asyncpg
from procrastinate import App, JobContext

from common.durable_postgres import PostgresStore
from common.errors import RoomringError, SettingsError, StoreUnavailable
from common.log import configure, get_logger
from common.postgres_link import describe, one_line, telling_outages
from common.process import new_node_id, run_until_stopped
from common.settings import JobsSettings
from deploy.jobs import erasure, queue, records
from deploy.jobs.archives import Archiver
from deploy.jobs.work import Interrupted, Work, open_connection

_SILENT_HEARTBEATS: Final = 3
_AGAIN_S: Final = 2.0
"""Between two tries to reach PostgreSQL."""
_LOOK_S: Final = 30.0
"""How long one look at what is to be taken up may take."""
_HOURS_PER_DAY: Final = 24
_ERROR_CHARACTERS_MAX: Final = 500

_BEGIN: Final = """\
INSERT INTO job_progress (job_id) VALUES ($1) ON CONFLICT (job_id) DO UPDATE SET error = NULL, updated_at = now()"""
_ERROR: Final = "UPDATE job_progress SET error = $2, updated_at = now() WHERE job_id = $1"

_Do = Callable[[JobsSettings, App, Work, dict[str, Any]], Awaitable[int]]


def run(settings: JobsSettings) -> int:
    """Work the queue until SIGTERM or SIGINT; the chunk at hand is finished first.

    Returns: exit status.

    Raises:
        SettingsError, SchemaMismatch: it could not start.
    """
    check_folder(settings)
    return run_until_stopped(lambda stop: _serve(settings, stop))


def check_folder(settings: JobsSettings) -> None:
    """See that the folder of archives is there, and make it if not.

    Raises:
        SettingsError: it cannot be made.
    """
    if not settings.archive_dir:
        return
    try:
        Path(settings.archive_dir).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"ROOMRING_ARCHIVE_DIR={settings.archive_dir!r}: {error.strerror}; name a folder that can be written"
        ) from error


def archiver_of(settings: JobsSettings, work: Work) -> Archiver | None:
    """Return what moves archives; None where the settings name no folder."""
    return Archiver(work, Path(settings.archive_dir)) if settings.archive_dir else None


async def _serve(settings: JobsSettings, stop: asyncio.Event) -> int:
    node = new_node_id("jobs")
    configure(settings.log_format, settings.log_level, role="jobs", node=node)
    log = get_logger("jobs")
    broken = asyncio.Event()
    asyncio.get_running_loop().set_exception_handler(partial(_notice_outage, broken))
    away = False
    while not stop.is_set():
        try:
            await _check_versions(settings)
            async with queue.make_app(settings.database_url, settings.database_timeout_ms).open_async() as app:
                log.info("database answers again" if away else "jobs started")
                away = False
                broken.clear()
                await _work_queue(settings, app, stop, broken)
        except (*queue.UNAVAILABLE, StoreUnavailable) as error:
            if not away:
                log.warning("database does not answer", error=one_line(error))
            away = True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _AGAIN_S)
    log.info("jobs stopped")
    return 0


async def _check_versions(settings: JobsSettings) -> None:
    store = await PostgresStore.connect(settings.database_url)
    await store.close()
    async with open_connection(settings.database_url) as connection:
        await queue.check_library(connection)


async def _work_queue(settings: JobsSettings, app: App, stop: asyncio.Event, broken: asyncio.Event) -> None:
    """Work until told to stop, or until PostgreSQL does not answer.

    Args:
        broken: set where the library could not write down how a job ended. The job would stay `running` as long as
            its worker lives, and keep others out; so the worker must end, and another take the job up.
    """
    _register(settings, app, stop)
    heartbeat_s = settings.jobs_heartbeat_ms / 1000
    silent_s = heartbeat_s * _SILENT_HEARTBEATS
    worker = asyncio.create_task(
        app.run_worker_async(
            queues=[queue.QUEUE],
            concurrency=1,
            # What is new is notified; this is for what was taken up, or whose pause is over.
            fetch_job_polling_interval=heartbeat_s,
            update_heartbeat_interval=heartbeat_s,
            stalled_worker_timeout=silent_s,
            install_signal_handlers=False,
        )
    )
    others = [
        asyncio.create_task(_watch(settings, app, heartbeat_s, silent_s)),
        asyncio.create_task(stop.wait()),
        asyncio.create_task(broken.wait()),
    ]
    try:
        await asyncio.wait([worker, *others], return_when=asyncio.FIRST_COMPLETED)
    finally:
        # To the worker that is a wish to stop: it waits for its job, which ends after its chunk.
        worker.cancel()
        for task in others:
            task.cancel()
        ended = await asyncio.gather(worker, *others, return_exceptions=True)
    for result in ended:
        if isinstance(result, Exception):
            raise result


async def _watch(settings: JobsSettings, app: App, pause_s: float, silent_s: float) -> None:
    """Take up again, for ever, what a process that died was at, and what nobody has queued."""
    log = get_logger("jobs")
    async with open_connection(settings.database_url) as connection:
        while True:
            # A server that hangs is one that is away.
            with telling_outages():
                async with asyncio.timeout(_LOOK_S):
                    for job in await queue.take_up(app, silent_s):
                        log.warning("job taken up", job=job.id, name=job.task_name, attempts=job.attempts)
                    for erasure_id in await queue.waiting_erasures(connection):
                        await queue.put_erasure(app, erasure_id)
            await asyncio.sleep(pause_s)


# --- the jobs -------------------------------------------------------------------------------------------


async def _trim_messages(settings: JobsSettings, _app: App, work: Work, _arguments: dict[str, Any]) -> int:
    archiver = archiver_of(settings, work)
    return 0 if archiver is None else await archiver.trim(settings.retention_days_of)


async def _trim_records(settings: JobsSettings, app: App, work: Work, _arguments: dict[str, Any]) -> int:
    count = await records.trim_audit_log(work, settings.audit_retention_days)
    count += await records.trim_moderation(work, settings.moderation_retention_days)
    count += await records.trim_note_revisions(work, settings.note_revisions_max)
    count += await erasure.forget_ended_restrictions(work)
    await app.job_manager.delete_old_jobs(
        settings.jobs_kept_days * _HOURS_PER_DAY, include_failed=True, include_cancelled=True, include_aborted=True
    )
    await records.trim_progress(work, settings.jobs_kept_days)
    return count


async def _erase_person(settings: JobsSettings, _app: App, work: Work, arguments: dict[str, Any]) -> int:
    archiver = archiver_of(settings, work)
    await erasure.run(work, archiver, int(arguments["erasure_id"]), settings.erasure_second_pass_ms)
    return 0


_JOBS: Final[dict[str, _Do]] = {
    queue.TRIM_MESSAGES: _trim_messages,
    queue.TRIM_RECORDS: _trim_records,
    queue.ERASE_PERSON: _erase_person,
}


def _register(settings: JobsSettings, app: App, stop: asyncio.Event) -> None:
    for name, do in _JOBS.items():
        task = app.task(name=name, pass_context=True, retry=queue.Repeat())(_body(name, do, settings, stop))
        if name in queue.BY_NAME:
            app.periodic(cron=f"17 {settings.jobs_hour} * * *", **queue.options_of(name))(task)


def _body(name: str, do: _Do, settings: JobsSettings, stop: asyncio.Event) -> Callable[..., Awaitable[None]]:
    """Return what the library calls for a job: a connection, progress and log lines around it."""
    log = get_logger("jobs")

    async def body(context: JobContext, **arguments: Any) -> None:
        job_id = context.job.id
        assert job_id is not None
        begun_s = time.monotonic()
        async with open_connection(settings.database_url) as connection:
            await connection.execute(_BEGIN, job_id)
            work = Work(connection, settings.jobs_rows_max, job_id, stop.is_set)
            try:
                rows = await do(settings, context.app, work, arguments)
            except Interrupted:
                log.info("job interrupted", job=job_id, name=name)
                raise
            except Exception as error:
                await _note(settings, job_id, error)
                # What is tried again need not be looked at yet.
                say = log.error if queue.is_last_attempt(context.job) else log.warning
                known = isinstance(error, RoomringError | OSError | asyncpg.PostgresError | asyncpg.InterfaceError)
                say("job failed", job=job_id, name=name, error=describe_failure(error), exc_info=not known)
                raise
        log.info("job done", job=job_id, name=name, rows=rows, duration_ms=round((time.monotonic() - begun_s) * 1000))

    return body


async def _note(settings: JobsSettings, job_id: int, error: Exception) -> None:
    """Write down what a job failed of, over a connection of its own: that of the job may be broken."""
    with contextlib.suppress(RoomringError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        async with open_connection(settings.database_url) as connection:
            await connection.execute(_ERROR, job_id, describe_failure(error)[:_ERROR_CHARACTERS_MAX])


def describe_failure(error: Exception) -> str:
    """Say in one line what a job failed of."""
    if isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError):
        return describe(error)
    return f"{type(error).__name__}: {one_line(error)}"


def _notice_outage(broken: asyncio.Event, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Take what the library's tasks die of when PostgreSQL goes away under them; `_serve` tells of it once."""
    if isinstance(context.get("exception"), queue.UNAVAILABLE):
        broken.set()
    else:
        loop.default_exception_handler(context)
