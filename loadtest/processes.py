"""CPU time and memory of processes, read from Linux's /proc.

Source: proc_pid_stat(5), proc_pid_status(5). The CPU time is that of the process with all its threads, in ticks of
usually 10 ms, without its children. On a system without /proc nothing is known, and is said to be so.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")


@dataclass(frozen=True)
class Usage:
    """What one process has used, from its start to now."""

    cpu_s: float
    """User and system time, seconds."""
    rss_bytes: int
    """Memory that is resident now."""


@dataclass(frozen=True)
class KindUsage:
    """What all processes of one kind (edge, worker, Valkey) used over the measured window."""

    processes: int
    cpu_s: float
    rss_bytes: int
    """At the end of the window, summed over the processes; shared pages count more than once."""
    vanished: tuple[int, ...]
    """Process ids that could not be read at both ends; their CPU time is missing above."""


def parse_stat(text: str, ticks_per_s: int) -> float:
    """Return user and system time in seconds from the text of /proc/<pid>/stat.

    Raises:
        ValueError: the text is not of that form.
    """
    # The name of the program, in parentheses, may itself hold spaces and parentheses: the last one ends it.
    _, parenthesis, rest = text.rpartition(")")
    fields = rest.split()
    if not parenthesis or len(fields) < 13:
        raise ValueError("not the text of /proc/<pid>/stat")
    # Fields 14 and 15 of the page, which counts from 1; `rest` begins with field 3.
    return (int(fields[11]) + int(fields[12])) / ticks_per_s


def parse_status_rss(text: str) -> int:
    """Return the resident memory in bytes from the text of /proc/<pid>/status; 0 where it names none (a zombie)."""
    for line in text.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def read_usage(pid: int, proc: Path = PROC) -> Usage | None:
    """Return what a process has used, or None when there is no such process (or no /proc)."""
    folder = proc / str(pid)
    try:
        cpu_s = parse_stat((folder / "stat").read_text(), os.sysconf("SC_CLK_TCK"))
        return Usage(cpu_s, parse_status_rss((folder / "status").read_text()))
    except (OSError, ValueError):
        return None


def parse_machine(text: str, ticks_per_s: int) -> float:
    """Return how long the machine's cores together were busy, in seconds, from the text of /proc/stat.

    Raises:
        ValueError: the text is not of that form.
    """
    name, *fields = text.partition("\n")[0].split()
    if name != "cpu" or len(fields) < 8:
        raise ValueError("not the text of /proc/stat")
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(field) for field in fields[:8])
    return (user + nice + system + irq + softirq + steal) / ticks_per_s


def read_machine(proc: Path = PROC) -> float | None:
    """Return how long the machine's cores together were busy, in seconds since its start; None without /proc."""
    try:
        return parse_machine((proc / "stat").read_text(), os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError):
        return None


Snapshot = Mapping[str, Mapping[int, Usage | None]]
"""Kind of process -> process id -> usage."""


def snapshot(pids: Mapping[str, Sequence[int]], proc: Path = PROC) -> Snapshot:
    """Read all the processes now. Takes about 30 microseconds for each."""
    return {kind: {pid: read_usage(pid, proc) for pid in of_kind} for kind, of_kind in pids.items()}


def difference(begin: Snapshot, end: Snapshot) -> dict[str, KindUsage]:
    """Return what each kind of process used between two snapshots of the same processes."""
    result: dict[str, KindUsage] = {}
    for kind, before_of in begin.items():
        cpu_s, rss_bytes = 0.0, 0
        vanished: list[int] = []
        for pid, before in before_of.items():
            after = end[kind].get(pid)
            if before is None or after is None:
                vanished.append(pid)
            else:
                cpu_s += after.cpu_s - before.cpu_s
                rss_bytes += after.rss_bytes
        result[kind] = KindUsage(len(before_of), cpu_s, rss_bytes, tuple(vanished))
    return result
