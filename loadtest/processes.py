"""CPU time and memory of processes, read from Linux's /proc.

Source: proc_pid_stat(5), proc_pid_status(5). A process counts with all its threads and with its children, those that
have ended too: PostgreSQL serves each connection in a process of its own. On a system without /proc nothing is known,
and is said to be so.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadtest.usage import Snapshot, Usage

PROC: Final = Path("/proc")


@dataclass(frozen=True)
class Stat:
    """What /proc/<pid>/stat says of a process, in seconds."""

    parent: int
    user_s: float
    """Of the process, and of its children that have ended."""
    system_s: float
    """The same in the kernel."""


def parse_stat(text: str, ticks_per_s: int) -> Stat:
    """Read the text of /proc/<pid>/stat.

    Raises:
        ValueError: the text is not of that form.
    """
    # The name of the program, in parentheses, may itself hold spaces and parentheses: the last one ends it.
    _, parenthesis, rest = text.rpartition(")")
    fields = rest.split()
    if not parenthesis or len(fields) < 15:
        raise ValueError("not the text of /proc/<pid>/stat")
    # Fields 14 to 17 of the page, which counts from 1; `fields` begins with field 3.
    user, system, childrens_user, childrens_system = (int(field) for field in fields[11:15])
    return Stat(int(fields[1]), (user + childrens_user) / ticks_per_s, (system + childrens_system) / ticks_per_s)


@dataclass(frozen=True)
class Memory:
    """What /proc/<pid>/status says of a process's resident memory, in bytes."""

    private: int
    """Of no file, and not shared (RssAnon)."""
    shared: int
    """Pages of files, and shared ones: other processes may have the same."""


def parse_status(text: str) -> Memory:
    """Read the text of /proc/<pid>/status; 0 where it names no memory (a zombie)."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name in ("RssAnon", "RssFile", "RssShmem"):
            found[name] = int(value.split()[0]) * 1024
    return Memory(found.get("RssAnon", 0), found.get("RssFile", 0) + found.get("RssShmem", 0))


def read_usage(pids: Iterable[int], proc: Path = PROC) -> Usage | None:
    """Return what processes have used together, or None where the first cannot be read.

    Args:
        pids: a process, and its children as `children_of` found them; one of these that has ended is left out, since
            its time is its parent's then.
    """
    user_s, system_s, private, shared = 0.0, 0.0, 0, 0
    for number, pid in enumerate(pids):
        folder = proc / str(pid)
        try:
            stat = parse_stat((folder / "stat").read_text(), os.sysconf("SC_CLK_TCK"))
            memory = parse_status((folder / "status").read_text())
        except (OSError, ValueError):
            if number == 0:
                return None
            continue
        user_s += stat.user_s
        system_s += stat.system_s
        private += memory.private
        # A child has, as a rule, what its parent has too.
        shared = max(shared, memory.shared)
    return Usage(user_s, system_s, private + shared, private)


def children_of(pids: Iterable[int], proc: Path = PROC) -> dict[int, list[int]]:
    """Return the children, grandchildren and so on of each process that live now. Reads all processes: milliseconds."""
    children: dict[int, list[int]] = {}
    for folder in proc.glob("[0-9]*"):
        try:
            parent = parse_stat((folder / "stat").read_text(), 1).parent
        except (OSError, ValueError):
            continue  # It has ended meanwhile.
        children.setdefault(parent, []).append(int(folder.name))
    found: dict[int, list[int]] = {}
    for pid in pids:
        found[pid] = list(children.get(pid, ()))
        for descendant in found[pid]:
            found[pid] += children.get(descendant, ())
    return found


def snapshot(pids: Mapping[str, Sequence[int]], proc: Path = PROC) -> Snapshot:
    """Read all the processes, with their children, now.

    Args:
        pids: kind of process -> process ids.
    """
    children = children_of([pid for of_kind in pids.values() for pid in of_kind], proc)
    return {kind: {pid: read_usage((pid, *children[pid]), proc) for pid in of_kind} for kind, of_kind in pids.items()}


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
