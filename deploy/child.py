"""One child process of a development cluster: its start, its output, its log file and its restarts.

Owns no thread: `DevCluster` reads the pipes and decides when to start and stop.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final

PARENT_ENV: Final = "ROOMRING_PARENT_PID"
"""Set for child processes of a development cluster: the process to die with. Not a setting of users."""

_PR_SET_PDEATHSIG: Final = 1
_LINE_BYTES_MAX: Final = 64 * 1024
"""A longer line is cut into pieces; no line of ours comes near."""
_TAIL_LINES: Final = 20
_DELAY_FIRST_S: Final = 0.25
_DELAY_MAX_S: Final = 10.0
_STEADY_S: Final = 20.0
"""A process that lived for so long is taken for healthy: its next restart is quick again."""


def die_with_parent(environ: Mapping[str, str]) -> None:
    """In a child of a development cluster: ask the kernel to kill this process when its parent ends.

    Does nothing elsewhere, and nothing on systems other than Linux, where an orderly stop must do.

    "Parent" is the thread that started the child, so the cluster starts its children from a thread that lives as
    long as they do.
    """
    parent = environ.get(PARENT_ENV, "")
    if parent.isdigit():
        end_with(int(parent), signal.SIGKILL)


def end_with(parent: int, death_signal: signal.Signals) -> None:
    """Ask the kernel to send this process a signal when its parent ends, whatever ended that; on Linux only.

    Source: prctl(2), PR_SET_PDEATHSIG.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:
        # It ended before the call above took hold.
        os._exit(1)


class BoundedLog:
    """A log file that starts empty and never grows over `bytes_max`; one older part is kept as `<name>.1`."""

    def __init__(self, path: Path, bytes_max: int = 16 * 1024 * 1024) -> None:
        self._path = path
        self._older = path.with_name(path.name + ".1")
        self._bytes_max = bytes_max // 2
        path.parent.mkdir(parents=True, exist_ok=True)
        self._older.unlink(missing_ok=True)
        self._file = path.open("wb", buffering=0)
        self._size = 0

    def write(self, line: bytes) -> None:
        """Append one line, without its line feed. A line that the disk has no room for is dropped."""
        # ValueError: the file could not be opened anew when it was full, and is closed.
        with contextlib.suppress(OSError, ValueError):
            self._write(line)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, line: bytes) -> None:
        if self._size and self._size + len(line) + 1 > self._bytes_max:
            self._file.close()
            self._path.replace(self._older)
            self._file = self._path.open("wb", buffering=0)
            self._size = 0
        self._file.write(line + b"\n")
        self._size += len(line) + 1


class Child:
    """A process that may be started more than once.

    `tail` keeps its last lines, for the message about a start that failed. `restart_at_s` is the monotonic
    time of the next start, or None. `running` is True from a start until its end was dealt with.
    """

    def __init__(self, name: str, role: str, argv: Sequence[str], environ: Mapping[str, str], log: BoundedLog) -> None:
        self.name = name
        self.role = role
        self.tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self.restart_at_s: float | None = None
        self.running = False
        self._argv = list(argv)
        self._environ = dict(environ)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._started_s = 0.0
        self._delay_s = 0.0
        self._rest = b""

    @property
    def pid(self) -> int | None:
        """Process id while it runs, else None."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    @property
    def output(self) -> IO[bytes] | None:
        """The pipe with standard output and standard error."""
        return None if self._process is None else self._process.stdout

    def start(self, now_s: float, environ: Mapping[str, str]) -> None:
        """Start the process, in a session of its own, so that Ctrl-C in the terminal does not reach it.

        Args:
            environ: settings that were not known earlier; they win.
        """
        assert self.pid is None
        self.restart_at_s = None
        self.running = True
        self._started_s = now_s
        self._rest = b""
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            self._argv,
            env={**self._environ, **environ, PARENT_ENV: str(os.getpid())},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)

    def poll(self) -> int | None:
        """Exit status of the last start, negative for a signal; None while it runs."""
        return None if self._process is None else self._process.poll()

    def send(self, number: int) -> None:
        """Send a signal; nothing if the process has ended."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def read(self) -> tuple[list[bytes], bool]:
        """Read what the pipe has, without waiting.

        Returns: whole lines, also written to the log file, and whether the pipe has ended.
        """
        assert self.output is not None
        try:
            data = os.read(self.output.fileno(), 256 * 1024)
        except BlockingIOError:
            return [], False
        ended = not data
        pieces = (self._rest + data).split(b"\n")
        self._rest = b"" if ended else pieces.pop()
        if len(self._rest) > _LINE_BYTES_MAX:
            pieces.append(self._rest)
            self._rest = b""
        lines = [line.rstrip(b"\r") for line in pieces if line.strip()]
        for line in lines:
            self._log.write(line)
            self.tail.append(line.decode(errors="replace"))
        return lines, ended

    def close_output(self) -> None:
        """Close our end of the pipe."""
        if self.output is not None:
            self.output.close()

    def close(self) -> None:
        """Close the pipe and the log file, for good."""
        self.close_output()
        self._log.close()

    def plan_restart(self, now_s: float) -> float:
        """Choose when to start it again, later each time it dies young. Returns the delay in seconds."""
        if now_s - self._started_s >= _STEADY_S:
            self._delay_s = 0.0
        self._delay_s = min(_DELAY_MAX_S, self._delay_s * 2 if self._delay_s else _DELAY_FIRST_S)
        self.restart_at_s = now_s + self._delay_s
        return self._delay_s


def describe_exit(status: int) -> str:
    """Say how a process ended, from the status of `Popen.poll`."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
