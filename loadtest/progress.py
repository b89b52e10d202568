"""The line on a terminal that tells how a run goes. Nothing is written where the stream is no terminal."""

import shutil
import time
from collections.abc import Mapping
from typing import Final, TextIO

_ELLIPSIS: Final = "..."


class Progress:
    """One line, written over again."""

    def __init__(self, stream: TextIO, title: str) -> None:
        """Take the terminal.

        Args:
            title: what runs; it begins the line.
        """
        self._stream = stream
        self._shows = stream.isatty()
        self._title = title
        self._text = ""
        self._cores: Mapping[str, float] = {}
        self._begin_s = time.monotonic()

    def show(self, text: str) -> None:
        """Say what goes on now."""
        self._text = text
        self._write()

    def processes(self, cores: Mapping[str, float]) -> None:
        """Say how many cores each kind of process uses now."""
        self._cores = cores
        self._write()

    def clear(self) -> None:
        """Take the line away. The next `show` brings it back."""
        if self._shows:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def line(self, elapsed_s: float, columns: int) -> str:
        """Return the line as it would be written: shorter than `columns`, without control characters."""
        minutes, seconds = divmod(int(elapsed_s), 60)
        parts = [f"{self._title} {minutes}:{seconds:02}", self._text]
        if self._cores:
            parts.append("cores: " + " ".join(f"{kind} {cores:.2f}" for kind, cores in self._cores.items()))
        line = "".join(character for character in " | ".join(part for part in parts if part) if character.isprintable())
        return line if len(line) < columns else line[: max(0, columns - 1 - len(_ELLIPSIS))] + _ELLIPSIS

    def _write(self) -> None:
        if self._shows:
            columns = shutil.get_terminal_size().columns
            self._stream.write(f"\r\x1b[K{self.line(time.monotonic() - self._begin_s, columns)}")
            self._stream.flush()
