"""How a server gathers updates into writes: measured on Roomring's edges, and given to the floor program.

The number of writes is the kernel's count of a process's write calls, without those that are known to go to Redis.
Source: proc_pid_io(5), `syscw`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

PROC: Final = Path("/proc")


@dataclass(frozen=True)
class Batching:
    """How many updates go into one write, and how often each socket is written to."""

    updates_per_write: float
    writes_per_second: float
    """To each socket."""

    @classmethod
    def of(cls, updates: int, writes: int, sockets: int, seconds: float) -> "Batching | None":
        """Return the batching of what was delivered to all sockets together; None where nothing was.

        Of more writes than updates some carried something else; they are left out.
        """
        if not updates or not writes or not sockets or seconds <= 0:
            return None
        writes = min(writes, updates)
        return cls(updates / writes, writes / sockets / seconds)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Batching":
        """Return what a result says.

        Raises:
            ValueError: it says none.
        """
        try:
            return cls(float(value["updates_per_write"]), float(value["writes_per_second"]))
        except (KeyError, TypeError) as error:
            raise ValueError("there is no batching in this result") from error


def parse_writes(text: str) -> int:
    """Return the number of write calls from the text of /proc/<pid>/io.

    Raises:
        ValueError: the text is not of that form.
    """
    for line in text.splitlines():
        if line.startswith("syscw:"):
            return int(line.split()[1])
    raise ValueError("not the text of /proc/<pid>/io")


def read_writes(pids: Sequence[int], proc: Path = PROC) -> int | None:
    """Return how often these processes have written until now; None where it cannot be read for each of them."""
    try:
        return sum(parse_writes((proc / str(pid) / "io").read_text()) for pid in pids)
    except (OSError, ValueError):
        return None


class WriteCount:
    """How often processes had written at some times, to be asked for what lies between two other times."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, int]] = []

    def add(self, at_s: float, writes: int) -> None:
        """Take note of a count; times only grow."""
        self._samples.append((at_s, writes))

    def between(self, begin_s: float, end_s: float) -> int:
        """Return the writes of a stretch of time, as if those between two samples had come evenly."""
        return max(0, round(self._at(end_s) - self._at(begin_s)))

    def _at(self, at_s: float) -> float:
        before = next((sample for sample in reversed(self._samples) if sample[0] <= at_s), None)
        after = next((sample for sample in self._samples if sample[0] >= at_s), None)
        if before is None or after is None:
            nearest = before or after
            return nearest[1] if nearest else 0
        elapsed_s = after[0] - before[0]
        share = (at_s - before[0]) / elapsed_s if elapsed_s else 0.0
        return before[1] + share * (after[1] - before[1])
