"""`roomring up`: the development cluster in a terminal.

What the terminal shows is decided here; what runs is `deploy.devcluster`.
"""

import argparse
import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Final, TextIO

from common.postgres_link import without_password
from common.settings import EdgeSettings, JobsSettings, WorkerSettings, load
from deploy.devcluster import AlreadyRunning, DevCluster, EdgeProcess, StartFailed, WorkerProcess

__all__ = ["AlreadyRunning", "DevCluster", "EdgeProcess", "StartFailed", "WorkerProcess", "run"]

_NAME_COLOURS: Final = ("36", "32", "35", "34", "33", "96", "92", "95")
_LEVEL_COLOURS: Final = {"warning": "33", "error": "31", "critical": "31"}
_QUIET_LEVELS: Final = frozenset({"debug", "info"})


def run(args: argparse.Namespace) -> int:
    """Run the cluster until Ctrl-C or SIGTERM. See `roomring up --help`.

    Raises:
        SettingsError: a setting is wrong; nothing was started.
        RoomringError: the cluster did not come up; nothing is left running.
    """
    # Wrong settings are told here, once, and not by each child.
    settings = load(EdgeSettings, dev=True)
    load(WorkerSettings, dev=True)
    data_dir = Path(args.data)
    load(JobsSettings, dev=True, archive_dir=os.environ.get("ROOMRING_ARCHIVE_DIR", "").strip() or data_dir)
    terminal = Terminal(sys.stdout, verbose=args.verbose)
    cluster = DevCluster(
        edges=args.edges,
        workers=args.workers,
        port=settings.port,
        data_dir=data_dir,
        redis_url=os.environ.get("ROOMRING_REDIS_URL", "").strip() or None,
        database_url=settings.database_url or None,
        jobs=True,
        environ={name: value for name, value in os.environ.items() if name.startswith("ROOMRING_")},
        reporter=terminal,
    )
    begun_s = time.monotonic()
    with _signals(cluster.kill_all) as asked_to_stop:
        try:
            cluster.start(cancelled=asked_to_stop)
            terminal.show(banner(cluster, time.monotonic() - begun_s, terminal.paint))
            while not asked_to_stop.wait(3600):
                pass
            terminal.show(
                "\nstopping: edges and jobs, then workers, then Valkey and PostgreSQL (Ctrl-C again kills them)"
            )
        except StartFailed:
            if asked_to_stop.is_set():
                return 0
            raise
        finally:
            cluster.stop()
    terminal.show("stopped")
    return 0


def banner(cluster: DevCluster, took_s: float, paint: "Callable[[str, str], str]") -> str:
    """Say where everything is."""
    edges, workers = cluster.edges, cluster.workers
    store = f"process {cluster.redis_pid}, data in {cluster.folder}/valkey" if cluster.redis_pid else "yours"
    database = f"process {cluster.database_pid}, data in {cluster.folder}/postgres" if cluster.database_pid else "yours"
    blocks: list[tuple[str, list[str]]] = [
        ("Demo page", [f"{paint(f'http://localhost:{edge.port}/', '4')}  ({edge.name})" for edge in edges]),
        ("WebSocket", [f"ws://localhost:{edge.port}/ws" for edge in edges]),
        ("Internal", [f"{edge.internal_url}/metrics  ({edge.name})" for edge in edges]),
        ("", [f"{worker.internal_url}/metrics  ({worker.name})" for worker in workers]),
        ("Admin key", [cluster.admin_key]),
        ("Redis", [f"{cluster.redis_url}  ({store})"]),
        ("PostgreSQL", [f"{without_password(cluster.database_url)}  ({database})"]),
        ("Jobs", [f"roomring jobs  (archives in {cluster.archive_folder})"]),
        ("Logs", [f"{cluster.log_folder}/<name>.log"]),
    ]
    lines = ["", f"  {paint('Roomring is ready', '1')}  {paint(f'after {took_s:.1f} s', '2')}", ""]
    for title, values in blocks:
        for number, value in enumerate(values):
            label = title if number == 0 else ""
            lines.append(f"  {paint(f'{label:<11}', '2')}{value}")
    lines += ["", f"  {paint('Ctrl-C stops all of it.', '2')}", ""]
    return "\n".join(lines)


class Terminal:
    """Shows what the children say, a name before each line. May be called from several threads."""

    def __init__(self, out: TextIO, *, verbose: bool) -> None:
        self._out = out
        self._verbose = verbose
        self._coloured = out.isatty() and not os.environ.get("NO_COLOR")
        self._colours: dict[str, str] = {}
        self._lock = threading.Lock()
        self._gone = False

    def paint(self, text: str, colour: str) -> str:
        """Colour a text (an SGR parameter), on a terminal only."""
        return f"\x1b[{colour}m{text}\x1b[0m" if self._coloured else text

    def show(self, text: str) -> None:
        """Print whole lines."""
        with self._lock:
            if self._gone:
                return
            try:
                self._out.write(text + "\n")
                self._out.flush()
            except OSError:
                # Nobody reads any more; the log files have it.
                self._gone = True

    def line(self, name: str, line: bytes) -> None:
        """Show a line of a child's log; below WARNING only where verbose."""
        text = render(line, verbose=self._verbose, paint=self.paint)
        if text is None:
            return
        colour = self._colours.setdefault(name, _NAME_COLOURS[len(self._colours) % len(_NAME_COLOURS)])
        prefix = self.paint(f"{name:<9}|", colour)
        self.show("\n".join(f"{prefix} {part}" for part in text.split("\n")))

    def notice(self, text: str) -> None:
        """Show a line of the cluster itself."""
        prefix = self.paint(f"{'roomring':<9}|", "1")
        self.show(f"{prefix} {text}")


def render(line: bytes, *, verbose: bool, paint: "Callable[[str, str], str]") -> str | None:
    """Turn one JSON line of a log into text for a terminal; None: not to be shown.

    A line that is no JSON (a traceback of the interpreter) is shown as it is.
    """
    try:
        entry: Any = json.loads(line)
    except ValueError:
        entry = None
    if not isinstance(entry, dict) or "event" not in entry:
        return _printable(line.decode(errors="replace"))
    level = str(entry.pop("level", "info"))
    if level in _QUIET_LEVELS and not verbose:
        return None
    clock = str(entry.pop("time", ""))[11:19]
    event = str(entry.pop("event"))
    traceback = str(entry.pop("exception", ""))
    for known in ("logger", "role", "node"):
        entry.pop(known, None)
    details = " ".join(
        f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in entry.items()
    )
    text = " ".join(part for part in (clock, paint(level, _LEVEL_COLOURS.get(level, "2")), event, details) if part)
    return "\n".join([text, *traceback.splitlines()])


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() or character == "\t" else "?" for character in text)


@contextlib.contextmanager
def _signals(kill: "Callable[[], None]") -> "Iterator[threading.Event]":
    """Set the event at the first Ctrl-C, SIGTERM or SIGHUP; at the second call `kill`."""
    asked = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        if asked.is_set():
            kill()
        asked.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
