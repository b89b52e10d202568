"""The command `roomring` as a process that goes on until it is told to end."""

import contextlib
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any, Final

from tests.integration.test_cli import ROOT, environment

END_S: Final = 30.0


class Background:
    """A process, with what it said; settings must make it log JSON."""

    def __init__(self, argv: tuple[str, ...], settings: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "deploy.cli", *argv],
            cwd=ROOT,
            env=environment(**settings),
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(json.loads(line) if line.startswith("{") else {"event": line, "level": "error"})

    def events(self) -> list[str]:
        return [line["event"] for line in self.lines]

    def ended(self) -> int:
        """Wait for the end, and return the exit status."""
        status = self.process.wait(END_S)
        self._reader.join()
        return status

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.ended()


@contextlib.contextmanager
def background(*argv: str, **settings: str) -> Iterator[Background]:
    running = Background(argv, settings)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.end(signal.SIGKILL)
