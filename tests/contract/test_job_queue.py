"""The queue: what is taken up, tried again and kept apart, over the job library on a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from procrastinate import App
from procrastinate import exceptions as library_errors
from procrastinate.jobs import Job, Status

from common.erasure_request import request_erasure
from common.errors import SchemaMismatch, SettingsError
from common.job_schema import JOBS_SCHEMA
from common.settings import JobsSettings
from deploy.jobs import main, queue
from deploy.jobs.work import Connection, open_connection

TIMEOUT_MS = 2_000
_DONE = f"SELECT count(*) = $1 FROM {JOBS_SCHEMA}.procrastinate_jobs WHERE status = 'succeeded'"


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    async with open_connection(database_url) as connection:
        yield connection


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[App]:
    async with queue.open_queue(database_url, TIMEOUT_MS) as app:
        yield app


async def fetch(app: App) -> Job | None:
    """Take a job as a worker does that then dies."""
    worker = await app.job_manager.register_worker()
    job = await app.job_manager.fetch_job(queues=[queue.QUEUE], worker_id=worker)
    await app.job_manager.unregister_worker(worker)
    return job


async def test_one_of_a_name_waits_one_job_runs_and_erasures_come_first(app: App) -> None:
    trim = await queue.put(app, queue.TRIM_MESSAGES)
    assert await queue.put(app, queue.TRIM_MESSAGES) is None
    erase = await queue.put_erasure(app, 7)
    job = await fetch(app)
    assert job is not None
    assert (job.id, job.task_kwargs) == (erase, {"erasure_id": 7})
    assert await fetch(app) is None
    await app.job_manager.finish_job(job, Status.SUCCEEDED, delete_job=False)
    job = await fetch(app)
    assert job is not None
    assert job.id == trim
    # While one runs another may wait, and the first may come back nevertheless.
    assert await queue.put(app, queue.TRIM_MESSAGES) is not None
    assert [taken.id for taken in await queue.take_up(app, 0)] == [trim]
    assert await queue.status_of(app, job.id or 0) is Status.TODO


async def test_a_job_that_is_taken_up_again_and_again_has_failed(app: App) -> None:
    number = await queue.put(app, queue.TRIM_RECORDS)
    assert number is not None
    for _ in range(queue.ATTEMPTS_MAX):
        assert await fetch(app) is not None
        await queue.take_up(app, 0)
    assert await fetch(app) is None
    assert await queue.status_of(app, number) is Status.FAILED
    await queue.retry(app, number)
    assert await queue.status_of(app, number) is Status.TODO
    await queue.cancel(app, number)
    assert await queue.status_of(app, number) is Status.CANCELLED
    for wrong in (queue.retry(app, number), queue.cancel(app, number), queue.status_of(app, 999)):
        with pytest.raises(SettingsError):
            await wrong


async def test_erasures_that_nobody_queued_are_found_but_not_those_that_failed(
    app: App, connection: Connection
) -> None:
    first, _, _ = await request_erasure(connection.fetch, "eve", "office")
    second, _, _ = await request_erasure(connection.fetch, "mallory", "office")
    assert await queue.waiting_erasures(connection) == [first, second]
    number = await queue.put_erasure(app, first)
    assert await queue.waiting_erasures(connection) == [second]
    job = await fetch(app)
    assert job is not None
    await app.job_manager.finish_job(job, Status.FAILED, delete_job=False)
    assert await queue.waiting_erasures(connection) == [second]
    assert await queue.waiting_erasures(connection, also_failed=True) == [first, second]
    await queue.retry(app, number)
    assert await queue.waiting_erasures(connection, also_failed=True) == [second]
    # The pass was done, and the next one is due.
    job = await fetch(app)
    assert job is not None
    await app.job_manager.finish_job(job, Status.SUCCEEDED, delete_job=False)
    assert await queue.waiting_erasures(connection) == [first, second]
    await connection.execute("UPDATE erasures SET due_at = now() + interval '1 hour' WHERE erasure_id = $1", first)
    assert await queue.waiting_erasures(connection) == [second]


async def test_tables_of_another_release_of_the_library_are_told(connection: Connection) -> None:
    await queue.check_library(connection)
    await connection.execute(f"COMMENT ON SCHEMA {JOBS_SCHEMA} IS 'procrastinate 01.00'")
    with pytest.raises(SchemaMismatch, match=r"is of procrastinate 01\.00, and the installed job library needs"):
        await queue.check_library(connection)


async def test_a_job_whose_end_could_not_be_written_down_does_not_keep_others_out(
    database_url: str, tmp_path: Path, app: App, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stayed `running` for ever, as its worker lived, and no job ran any more."""
    made = queue.make_app
    failures: list[int] = []

    def forgetful(url: str, timeout_ms: int) -> App:
        app = made(url, timeout_ms)
        finish = app.job_manager.finish_job

        async def fail_once(job: Job, status: Status, delete_job: bool) -> None:
            if not failures:
                failures.append(job.id or 0)
                raise library_errors.ConnectorException
            await finish(job, status, delete_job)

        monkeypatch.setattr(app.job_manager, "finish_job", fail_once)
        return app

    monkeypatch.setattr(queue, "make_app", forgetful)
    # Logging is the whole process's, and stays as the tests have it.
    monkeypatch.setattr(main, "configure", lambda *_, **__: None)
    settings = JobsSettings(database_url=database_url, archive_dir=str(tmp_path), jobs_heartbeat_ms=100)
    assert await queue.put(app, queue.TRIM_RECORDS) is not None
    stop = asyncio.Event()
    serving = asyncio.create_task(main._serve(settings, stop))
    async with asyncio.timeout(20):
        # The nightly two, and ours.
        while not await connection.fetchval(_DONE, 3):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    stop.set()
    assert await serving == 0
    assert failures


@pytest.mark.parametrize("statement", ["fetchval", "fetch"])
async def test_a_connection_that_breaks_in_the_middle_of_a_statement_does_not_end_the_process(
    statement: str, database_url: str, tmp_path: Path, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL went away right after the process had connected: `fetchval` as it starts, `fetch` as it looks on."""
    right = getattr(asyncpg.Connection, statement)
    failures: list[str] = []

    async def break_once(used: Connection, *arguments: object) -> object:
        if used is not connection and not failures:
            failures.append(statement)
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
        return await right(used, *arguments)

    monkeypatch.setattr(asyncpg.Connection, statement, break_once)
    monkeypatch.setattr(main, "configure", lambda *_, **__: None)
    monkeypatch.setattr(main, "_AGAIN_S", 0.01)
    settings = JobsSettings(database_url=database_url, archive_dir=str(tmp_path), jobs_heartbeat_ms=100)
    stop = asyncio.Event()
    serving = asyncio.create_task(main._serve(settings, stop))
    async with asyncio.timeout(20):
        while not serving.done() and not (failures and await connection.fetchval(_DONE, 2)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    stop.set()
    assert await serving == 0
    assert failures == [statement]


async def test_a_database_that_hangs_is_taken_for_away(
    database_url: str, tmp_path: Path, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = queue.waiting_erasures
    hung: list[bool] = []

    async def hang_once(used: Connection) -> list[int]:
        if not hung:
            hung.append(True)
            await asyncio.Event().wait()
        return await right(used)

    monkeypatch.setattr(queue, "waiting_erasures", hang_once)
    monkeypatch.setattr(main, "configure", lambda *_, **__: None)
    monkeypatch.setattr(main, "_AGAIN_S", 0.01)
    monkeypatch.setattr(main, "_LOOK_S", 0.5)
    settings = JobsSettings(database_url=database_url, archive_dir=str(tmp_path), jobs_heartbeat_ms=100)
    erasure_id, _, _ = await request_erasure(connection.fetch, "eve", "office")
    stop = asyncio.Event()
    serving = asyncio.create_task(main._serve(settings, stop))
    done = "SELECT finished_at IS NOT NULL OR passes > 0 FROM erasures WHERE erasure_id = $1"
    async with asyncio.timeout(20):
        while not serving.done() and not await connection.fetchval(done, erasure_id):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    stop.set()
    assert await serving == 0
    assert hung == [True]
