"""`roomring jobs`, `roomring archive` and `roomring erase`: what operators see of jobs, and do about them."""

import argparse
import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import asyncpg

from common.durable_postgres import PostgresStore
from common.erasure_request import request_erasure
from common.errors import RoomringError, SettingsError, StoreUnavailable
from common.ids import is_label
from common.job_schema import JOBS_SCHEMA
from common.postgres_link import describe
from common.settings import JobsSettings, load
from deploy.jobs import archive_file, queue
from deploy.jobs.archives import Archive, Archiver, find_all, in_thread
from deploy.jobs.work import Connection, Work, open_connection
from deploy.running import DATA_DIR, with_database
from deploy.table import table

_Result = TypeVar("_Result")

_WAIT_POLL_S: Final = 0.2
_LIVE_HEARTBEATS: Final = 3

_JOBS: Final = f"""\
SELECT j.id, j.task_name AS name, j.status::text AS state, j.attempts, j.scheduled_at,
    (j.args ->> 'erasure_id')::bigint AS erasure_id, p.step, coalesce(p.rows_done, 0) AS rows, p.error, e.queued_at,
    e.started_at, CASE WHEN j.status NOT IN ('todo', 'doing') THEN e.last_at END AS ended_at
FROM {JOBS_SCHEMA}.procrastinate_jobs j
LEFT JOIN job_progress p ON p.job_id = j.id
LEFT JOIN LATERAL (
    SELECT min(at) AS queued_at, max(at) FILTER (WHERE type = 'started') AS started_at, max(at) AS last_at
    FROM {JOBS_SCHEMA}.procrastinate_events WHERE job_id = j.id AND type <> 'scheduled'
) e ON true
WHERE ($1::bigint IS NULL OR j.id = $1)
ORDER BY (j.status IN ('todo', 'doing')) DESC, j.id DESC LIMIT $2"""  # noqa: S608 - a constant

_STATES: Final = {"todo": "queued", "doing": "running", "succeeded": "done"}
"""Ours for the library's; the others are the same."""

_LIVE: Final = f"""\
SELECT EXISTS (SELECT FROM {JOBS_SCHEMA}.procrastinate_workers
               WHERE last_heartbeat > now() - $1 * interval '1 millisecond')"""  # noqa: S608 - a constant

_NOBODY: Final = "no job process runs; start one with `roomring jobs run`, or beside `roomring up`"


def run_jobs(args: argparse.Namespace) -> int:
    """Run the job process, or tell about the queue. See `roomring jobs --help`."""
    settings = _settings()
    action = args.action or "list"
    if action == "run":
        from deploy.jobs.main import run

        return run(settings)
    if action == "list":
        return _run(settings, lambda work: _list_jobs(work, settings, args.limit, as_json=args.json))
    if action == "show":
        return _run(settings, lambda work: _show_job(work, args.job, as_json=args.json))
    if action == "run-now":
        return _run(settings, lambda work: _run_now(work, settings, args.name))
    return _run(settings, lambda _: _change_job(settings, action, args.job))


def run_archive(args: argparse.Namespace) -> int:
    """List, check or restore archives. See `roomring archive --help`."""
    settings = _settings()
    if not settings.archive_dir:
        raise SettingsError("set ROOMRING_ARCHIVE_DIR to the folder of the archives")
    folder = Path(settings.archive_dir)
    if not folder.is_dir():
        raise SettingsError(f"ROOMRING_ARCHIVE_DIR={settings.archive_dir!r}: there is no such folder")
    if args.action == "list":
        return _run(settings, lambda work: _list_archives(work, as_json=args.json))
    if args.action == "verify":
        return _run(settings, lambda work: _verify(Archiver(work, folder)))
    if args.action == "forget":
        return _run(settings, lambda work: _forget(Archiver(work, folder), args.file))
    if (args.file is None) == (args.first is None and args.last is None):
        raise SettingsError("name one file, or a time with --from and --to; `roomring archive list` shows them")
    return _run(settings, lambda work: _restore(Archiver(work, folder), args))


def run_erase(args: argparse.Namespace) -> int:
    """Ask for the erasure of a person's data. See `roomring erase --help`."""
    if not is_label(args.user):
        raise SettingsError(f"{args.user!r} cannot be the id of a person: 1 to 128 characters, no control characters")
    settings = _settings()
    return _run(settings, lambda work: _erase(work, settings, args))


# --- jobs -----------------------------------------------------------------------------------------------


async def _list_jobs(work: Work, settings: JobsSettings, limit: int, *, as_json: bool) -> int:
    jobs = [_job(row) for row in await work.connection.fetch(_JOBS, None, limit)]
    if as_json:
        _say(json.dumps(jobs, indent=2))
        return 0
    columns = ("id", "name", "state", "attempts", "rows", "started", "ended", "at")
    _say(table(columns, [[job[column] for column in columns] for job in jobs]))
    if not await _is_live(work.connection, settings):
        _say(_NOBODY)
    return 0


async def _show_job(work: Work, job_id: int, *, as_json: bool) -> int:
    row = await work.connection.fetchrow(_JOBS, job_id, 1)
    if row is None:
        raise SettingsError(f"there is no job {job_id}; `roomring jobs` lists them")
    job = _job(row)
    if as_json:
        _say(json.dumps(job, indent=2))
        return 0
    for name, value in job.items():
        if value not in ("", None):
            _say(f"{name:<9} {value}")
    if job["erasure"] is not None:
        found = await work.connection.fetchrow(
            "SELECT passes, due_at, counts::text FROM erasures WHERE erasure_id = $1", job["erasure"]
        )
        if found is not None:
            _say(
                f"{'passes':<9} {found['passes']}" + (f", next due {_time(found['due_at'])}" if found["due_at"] else "")
            )
            for name, count in json.loads(found["counts"]).items():
                _say(f"{'':<9} {count:>9}  {name}")
    return 0


async def _run_now(work: Work, settings: JobsSettings, name: str) -> int:
    async with queue.open_queue(settings.database_url, settings.database_timeout_ms) as app:
        job_id = await queue.put(app, name)
    _say(f"{name} is queued already" if job_id is None else f"{name} is queued as job {job_id}")
    if not await _is_live(work.connection, settings):
        _say(_NOBODY)
    return 0


async def _change_job(settings: JobsSettings, action: str, job_id: int) -> int:
    async with queue.open_queue(settings.database_url, settings.database_timeout_ms) as app:
        if action == "retry":
            await queue.retry(app, job_id)
            _say(f"job {job_id} is queued again")
        else:
            await queue.cancel(app, job_id)
            _say(f"job {job_id} is cancelled")
    return 0


def _job(row: Any) -> dict[str, Any]:
    return {
        "id": row["id"],
        "name": row["name"],
        "state": _STATES.get(row["state"], row["state"]),
        "attempts": row["attempts"],
        "rows": row["rows"],
        "queued": _time(row["queued_at"]),
        "due": _time(row["scheduled_at"]) if row["state"] == "todo" else "",
        "started": _time(row["started_at"]),
        "ended": _time(row["ended_at"]),
        "at": row["error"] or row["step"] or "",
        "erasure": row["erasure_id"],
    }


async def _is_live(connection: Connection, settings: JobsSettings) -> bool:
    return bool(await connection.fetchval(_LIVE, settings.jobs_heartbeat_ms * _LIVE_HEARTBEATS))


# --- archives -------------------------------------------------------------------------------------------


async def _list_archives(work: Work, *, as_json: bool) -> int:
    archives = await find_all(work.connection)
    if as_json:
        _say(json.dumps([_archive(archive) for archive in archives], indent=2))
        return 0
    columns = ("file", "kind", "first", "last", "messages", "bytes", "held")
    _say(table(columns, [[_archive(archive)[column] for column in columns] for archive in archives]))
    return 0


async def _verify(archiver: Archiver) -> int:
    archives = await find_all(archiver.work.connection)
    damaged = 0
    for archive in archives:
        try:
            await archiver.verify(archive)
        except archive_file.ArchiveDamaged as error:
            damaged += 1
            _say(f"FAIL  {error}")
    writing = await archiver.work.connection.fetch(
        "SELECT unnest(ARRAY[writing_file, writing_file || '.part', leaving_file]) AS name FROM archives"
    )
    known = [*(archive.file for archive in archives), *(row["name"] for row in writing if row["name"])]
    for name in await in_thread(archive_file.unknown_files, archiver.folder, known):
        _say(f"note  {name}: this database knows nothing of it")
    _say(f"{len(archives) - damaged} of {len(archives)} archives are as they were written")
    return 1 if damaged else 0


async def _forget(archiver: Archiver, file: str) -> int:
    for archive in await _named(archiver, file):
        await archiver.forget(archive)
        _say(f"{archive.file}: forgotten, with its {archive.messages} messages")
    return 0


async def _restore(archiver: Archiver, args: argparse.Namespace) -> int:
    if args.file is not None:
        archives = await _named(archiver, args.file)
    else:
        archives = await find_all(archiver.work.connection, first=args.first, last=args.last)
    total = 0
    for archive in archives:
        if args.dry_run:
            count = await archiver.missing(archive)
            _say(f"{archive.file}: {count} of {archive.messages} messages would come back")
        else:
            count = await archiver.restore(archive, args.hold_days)
            _say(f"{archive.file}: {count} of {archive.messages} messages came back")
        total += count
    _say(
        f"{total} messages " + ("would come back" if args.dry_run else f"came back, for {args.hold_days} days or more")
    )
    return 0


async def _named(archiver: Archiver, file: str) -> list[Archive]:
    found = await find_all(archiver.work.connection, file=Path(file).name)
    if not found:
        raise SettingsError(f"there is no archive {file!r} in this database; `roomring archive list` shows them")
    return found


def _archive(archive: Archive) -> dict[str, Any]:
    return {
        "file": archive.file,
        "kind": archive.kind,
        "first": _time(archive.first_at),
        "last": _time(archive.last_at),
        "messages": archive.messages,
        "bytes": archive.size,
        "sha256": archive.sha256,
        "restored": _time(archive.restored_at),
        "held": _time(archive.held_until),
    }


# --- erasures -------------------------------------------------------------------------------------------


async def _erase(work: Work, settings: JobsSettings, args: argparse.Namespace) -> int:
    request = await request_erasure(work.connection.fetch, args.user, args.requested_by)
    # Between the two a crash does no harm: the job process finds what nobody queued.
    if request.erasure_id in await queue.waiting_erasures(work.connection, also_failed=True):
        async with queue.open_queue(settings.database_url, settings.database_timeout_ms) as app:
            await queue.put_erasure(app, request.erasure_id)
    verb = "asked for" if request.is_new else "under way already; asked to go through everything again now"
    _say(f"erasure {request.erasure_id} {verb}")
    if not await _is_live(work.connection, settings):
        _say(_NOBODY)
        return 1 if args.wait else 0
    if not args.wait:
        return 0
    while await _passes(work.connection, request.erasure_id) == request.passes:
        await asyncio.sleep(_WAIT_POLL_S)
        state = await _last_state(work.connection, request.erasure_id)
        if state in ("failed", "cancelled", "aborted"):
            raise RoomringError(f"the job of erasure {request.erasure_id} has {state}; `roomring jobs` tells why")
    row = await work.connection.fetchrow("SELECT due_at FROM erasures WHERE erasure_id = $1", request.erasure_id)
    later = f"; the last pass is due {_time(row['due_at'])}" if row is not None and row["due_at"] else ""
    _say(f"what was stored is erased{later}")
    return 0


async def _passes(connection: Connection, erasure_id: int) -> int:
    return int(await connection.fetchval("SELECT passes FROM erasures WHERE erasure_id = $1", erasure_id))


async def _last_state(connection: Connection, erasure_id: int) -> str:
    state = await connection.fetchval(
        f"SELECT status::text FROM {JOBS_SCHEMA}.procrastinate_jobs"  # noqa: S608 - a constant
        " WHERE (args ->> 'erasure_id')::bigint = $1 ORDER BY id DESC LIMIT 1",
        erasure_id,
    )
    return str(state)


# --- all ------------------------------------------------------------------------------------------------


def _settings() -> JobsSettings:
    settings = load(JobsSettings, with_database(os.environ, Path(DATA_DIR)))
    if not settings.database_url:
        raise SettingsError(
            "set ROOMRING_DATABASE_URL to the database of the cluster, for example "
            "postgresql://user:password@127.0.0.1:5432/roomring"
        )
    return settings


def _run(settings: JobsSettings, command: Callable[[Work], Awaitable[int]]) -> int:
    async def main() -> int:
        store = await PostgresStore.connect(settings.database_url)
        await store.close()
        try:
            async with open_connection(settings.database_url) as connection:
                return await command(Work(connection, settings.jobs_rows_max))
        except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError) as error:
            raise StoreUnavailable(describe(error)) from error

    return asyncio.run(main())


def _time(at: datetime | None) -> str:
    return "" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _say(text: str) -> None:
    print(text)  # noqa: T201 - the command's own output
