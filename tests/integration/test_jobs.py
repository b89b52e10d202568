"""The job process and its commands, as an operator meets them; it is killed in the middle of its work."""

import asyncio
import contextlib
import json
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from deploy import cli
from deploy.embedded_postgres import EmbeddedPostgres
from deploy.jobs.work import Connection, open_connection
from deploy.migrate import upgrade
from tests.contract.jobs import EVE, add_messages, dump, traces
from tests.integration.background import Background, background
from tests.integration.test_cli import assert_one_line, roomring

MESSAGES = 2_000
WAIT_S = 30.0


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> dict[str, str]:
    return {
        "ROOMRING_DATABASE_URL": database_url,
        "ROOMRING_ARCHIVE_DIR": str(tmp_path / "archives"),
        "ROOMRING_RETENTION_DAYS_BY_KIND": "lobby=90",
        "ROOMRING_JOBS_ROWS_MAX": "20",
        "ROOMRING_JOBS_HEARTBEAT_MS": "200",
        "ROOMRING_DATABASE_TIMEOUT_MS": "1000",
        "ROOMRING_ERASURE_SECOND_PASS_MS": "0",
        "ROOMRING_LOG_FORMAT": "json",
    }


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    async with open_connection(database_url) as connection:
        yield connection


def job_process(settings: dict[str, str]) -> contextlib.AbstractContextManager[Background]:
    return background("jobs", "run", **settings)


async def until(condition: Callable[[], Awaitable[Any]]) -> Any:
    deadline_s = time.monotonic() + WAIT_S
    while not (found := await condition()):
        assert time.monotonic() < deadline_s, "it does not come to that"
        await asyncio.sleep(0.01)
    return found


async def archives(connection: Connection) -> int:
    return int(await connection.fetchval("SELECT count(*) FROM archives WHERE file IS NOT NULL"))


async def texts(connection: Connection) -> list[str]:
    return [row[0] for row in await connection.fetch("SELECT m::text FROM messages m ORDER BY message_id")]


def shown(number: str, settings: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(roomring("jobs", "show", number, "--json", **settings).stdout)
    return found


def run_now(settings: dict[str, str]) -> str:
    """Queue a trim; return the job's number."""
    match = re.search(
        r"trim_messages is queued as job (\d+)", roomring("jobs", "run-now", "trim_messages", **settings).stdout
    )
    assert match is not None
    return match[1]


async def test_a_trim_that_is_killed_and_stopped_is_finished_by_others_and_all_comes_back(
    settings: dict[str, str], connection: Connection
) -> None:
    await add_messages(connection, MESSAGES, days_old=100)
    before = await texts(connection)
    number = run_now(settings)
    again = roomring("jobs", "run-now", "trim_messages", **settings).stdout
    assert "queued already" in again
    assert "no job process runs" in again

    async def some_more(than: int) -> bool:
        return await archives(connection) >= than + 3

    with job_process(settings) as running:
        await until(lambda: some_more(0))
        running.end(signal.SIGKILL)
        assert not [line for line in running.lines if line["level"] == "error"]
    done = await archives(connection)
    left = await connection.fetchval("SELECT count(*) FROM messages")
    assert 0 < left == MESSAGES - 20 * done
    assert shown(number, settings)["state"] == "running"

    with job_process(settings) as running:
        await until(lambda: some_more(done))
        assert running.end(signal.SIGTERM) == 0
        assert "job taken up" in running.events()
        assert running.events()[-2:] == ["job interrupted", "jobs stopped"]
    found = shown(number, settings)
    assert (found["state"], found["attempts"] >= 2, found["rows"] % 20) == ("queued", True, 0)
    assert 0 < await connection.fetchval("SELECT count(*) FROM messages") < left

    with job_process(settings) as running:

        async def is_done() -> bool:
            return any(line["event"] == "job done" and line["name"] == "trim_messages" for line in list(running.lines))

        await until(is_done)
        assert running.end() == 0
    assert shown(number, settings)["rows"] == MESSAGES
    assert await texts(connection) == []
    verified = roomring("archive", "verify", **settings)
    assert (verified.returncode, verified.stdout) == (
        0,
        f"{MESSAGES // 20} of {MESSAGES // 20} archives are as they were written\n",
    )
    dry = roomring("archive", "restore", "--from", "2000-01-01", "--dry-run", **settings)
    assert dry.stdout.splitlines()[-1] == f"{MESSAGES} messages would come back"
    restored = roomring("archive", "restore", "--from", "2000-01-01", "--to", "2999-01-01", **settings)
    assert restored.stdout.splitlines()[-1] == f"{MESSAGES} messages came back, for 30 days or more"
    assert await texts(connection) == before


async def test_an_erasure_is_asked_for_waited_for_and_leaves_no_trace(
    settings: dict[str, str], connection: Connection
) -> None:
    await add_messages(connection, 30, days_old=1, author=EVE)
    waiting = roomring("erase", EVE, "--requested-by", "office", **settings)
    assert (waiting.returncode, "no job process runs" in waiting.stdout) == (0, True)
    with job_process(settings) as running:

        async def finished() -> bool:
            return bool(await connection.fetchval("SELECT count(*) FROM erasures WHERE finished_at IS NOT NULL"))

        await until(finished)
        assert traces(await dump(connection), EVE) == []
        await add_messages(connection, 30, days_old=1, author=EVE, first_seq=100)
        done = roomring("erase", EVE, "--requested-by", "office", "--wait", **settings)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[0] == "erasure 2 asked for"
        assert "what was stored is erased" in done.stdout
        await until(lambda: connection.fetchval("SELECT bool_and(finished_at IS NOT NULL) FROM erasures"))
        assert running.end() == 0
        assert EVE not in json.dumps(running.lines)
    assert traces(await dump(connection), EVE) == []
    listed = json.loads(roomring("jobs", "list", "--json", **settings).stdout)
    number = next(str(one["id"]) for one in listed if one["name"] == "erase_person")
    told = roomring("jobs", "show", number, **settings).stdout
    assert "passes    2" in told
    assert "messages emptied" in told


async def test_with_the_database_away_the_process_waits(settings: dict[str, str], tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "own") as server:
        await upgrade(server.url)
        settings |= {"ROOMRING_DATABASE_URL": server.url}
        with job_process(settings) as running:

            async def said(event: str) -> bool:
                return event in running.events()

            await until(lambda: said("jobs started"))
            await asyncio.to_thread(server.kill)
            await until(lambda: said("database does not answer"))
            await asyncio.to_thread(server.start)
            await until(lambda: said("database answers again"))
            async with open_connection(server.url) as connection:
                await add_messages(connection, 20, days_old=100)
                run_now(settings)
                await until(lambda: archives(connection))
            assert running.end() == 0
            assert not [line for line in running.lines if line["level"] == "error"]


async def test_a_job_that_fails_says_why_and_can_be_cancelled(
    settings: dict[str, str], connection: Connection, tmp_path: Path
) -> None:
    with job_process(settings) as running:

        async def failed() -> bool:
            return "job failed" in running.events()

        async def settled() -> bool:
            # The trim of last night, which nobody did, has been made up for.
            return "job done" in running.events()

        await until(settled)
        await add_messages(connection, 20, days_old=100)
        (tmp_path / "archives").rename(tmp_path / "elsewhere")
        number = run_now(settings)
        await until(failed)
        assert running.end() == 0
        assert not [line for line in running.lines if line["level"] == "error"]
    assert await connection.fetchval("SELECT count(*) FROM messages") == 20
    found = shown(number, settings)
    assert (found["state"], found["attempts"]) == ("queued", 1)
    assert found["at"].startswith("FileNotFoundError")
    assert_one_line(roomring("jobs", "retry", number, **settings), 2, f"job {number} has not failed")
    assert roomring("jobs", "cancel", number, **settings).stdout == f"job {number} is cancelled\n"
    assert shown(number, settings)["state"] == "cancelled"
    assert_one_line(roomring("jobs", "cancel", number, **settings), 2, "has ended already")
    assert "trim_messages  cancelled" in roomring("jobs", **settings).stdout


def test_mistakes_are_one_line_each(
    database_url: str, empty_database_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("ROOMRING_")]:
        monkeypatch.delenv(name)

    def complaint(status: int, *argv: str) -> str:
        """Run a command in this process, which is quicker, and return its one line."""
        try:
            assert cli.main(argv) == status
        except SystemExit as ended:
            assert ended.code == status
        said = capsys.readouterr().err
        assert said.startswith("roomring: ")
        assert said.count("\n") == 1, said
        return said

    assert "set ROOMRING_DATABASE_URL" in complaint(2, "jobs", "list")
    monkeypatch.setenv("ROOMRING_DATABASE_URL", database_url)
    assert "there is no job 99" in complaint(2, "jobs", "show", "99")
    assert "there is no job 99" in complaint(2, "jobs", "retry", "99")
    assert "trim_messages" in complaint(2, "jobs", "run-now", "nothing")
    assert "set ROOMRING_ARCHIVE_DIR" in complaint(2, "archive", "list")
    assert "--requested-by" in complaint(2, "erase", "eve")
    assert "cannot be the id of a person" in complaint(2, "erase", "a\nb", "--requested-by", "me")
    monkeypatch.setenv("ROOMRING_RETENTION_DAYS", "30")
    assert "set ROOMRING_ARCHIVE_DIR" in complaint(2, "jobs", "run")
    monkeypatch.setenv("ROOMRING_ARCHIVE_DIR", "nowhere")
    assert "there is no such folder" in complaint(2, "archive", "list")
    monkeypatch.setenv("ROOMRING_ARCHIVE_DIR", "docs")
    assert "--from" in complaint(2, "archive", "restore")
    assert "there is no archive 'x'" in complaint(2, "archive", "restore", "x")
    assert "2026-03-31" in complaint(2, "archive", "restore", "--from", "soon")
    done = roomring("jobs", "run", ROOMRING_DATABASE_URL=empty_database_url)
    assert_one_line(done, 1, "run: roomring migrate up")
