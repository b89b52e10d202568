"""Processes of peers: their start, their end, and their end with us. No peer is needed for it."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.ports import free_ports
from loadtest.peers.serving import NotStarted, process

ROOT = Path(__file__).parents[2]
SERVE = """
import os, socket, threading
server = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
threading.Event().wait()
"""
PARENT = """
import sys
from pathlib import Path
from loadtest.peers.serving import process
command, port, log = [sys.executable, "-c", sys.argv[1]], int(sys.argv[2]), Path(sys.argv[3])
with process(command, port, log, {}) as pid:
    print(pid, flush=True)
    sys.stdin.read()
"""


def ended(pid_fd, within_s=20.0):
    """Wait until a process has ended."""
    return bool(select.select([pid_fd], [], [], within_s)[0])


def test_it_is_up_when_it_listens_and_is_gone_afterwards(tmp_path):
    (port,) = free_ports(1)
    with process([sys.executable, "-c", SERVE], port, tmp_path / "log", {}) as pid:
        pid_fd = os.pidfd_open(pid)
    assert ended(pid_fd)
    os.close(pid_fd)


def test_it_is_told_what_it_must_know_and_no_setting_of_ours(tmp_path, monkeypatch):
    monkeypatch.setenv("ROOMRING_REDIS_URL", "redis://elsewhere")
    (port,) = free_ports(1)
    tell = "import os; print(sorted(os.environ), flush=True)" + SERVE
    with process([sys.executable, "-c", tell], port, tmp_path / "log", {"REDIS_URL": "redis://here"}):
        told = (tmp_path / "log").read_text()
    assert "'PORT'" in told
    assert "'REDIS_URL'" in told
    assert "ROOMRING" not in told


def test_one_that_ends_at_once_is_told_with_its_reason(tmp_path):
    (port,) = free_ports(1)
    with (
        pytest.raises(NotStarted, match="ended with status 1: ModuleNotFoundError: No module named 'nowhere'"),
        process([sys.executable, "-c", "import nowhere"], port, tmp_path / "log", {}),
    ):
        raise AssertionError("it did not start")


def test_it_dies_with_us_however_we_die(tmp_path):
    (port,) = free_ports(1)
    command = [sys.executable, "-c", PARENT, SERVE, str(port), str(tmp_path / "log")]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        pid_fd = os.pidfd_open(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
    assert ended(pid_fd)
    os.close(pid_fd)
