"""What a measured window cost, as values: CPU and memory by kind of process, Redis, the servers' own numbers. No IO.

`processes.py`, `redis_usage.py` and `server_metrics.py` read what is compared here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loadtest.histogram import Histogram


@dataclass(frozen=True)
class Usage:
    """What one process has used, from its start to now."""

    user_s: float
    """CPU time in its own code, seconds."""
    system_s: float
    """CPU time in the kernel, seconds."""
    rss_bytes: int
    """Memory that is resident now; what it shares with its children counts once."""
    private_bytes: int = 0
    """Of that, what belongs to no file and is not shared (RssAnon): what a leak makes grow."""

    @property
    def cpu_s(self) -> float:
        """User and system time, seconds."""
        return self.user_s + self.system_s


@dataclass(frozen=True)
class KindUsage:
    """What all processes of one kind (edge, worker, Valkey) used over a window."""

    processes: int
    user_s: float
    system_s: float
    rss_bytes: int
    """At the end of the window, summed over the processes; what several of a kind share counts more than once."""
    vanished: tuple[int, ...] = ()
    """Process ids that could not be read at both ends; their CPU time is missing above."""

    @property
    def cpu_s(self) -> float:
        """User and system time, seconds."""
        return self.user_s + self.system_s


Snapshot = Mapping[str, Mapping[int, Usage | None]]
"""Kind of process -> process id -> usage; None: it could not be read."""


def usage_between(begin: Snapshot, end: Snapshot) -> dict[str, KindUsage]:
    """Return what each kind of process used between two snapshots.

    A process that began in between counts from its start; one that ended is named in `vanished`.
    """
    result: dict[str, KindUsage] = {}
    for kind in [*begin, *(kind for kind in end if kind not in begin)]:
        before_of, after_of = begin.get(kind, {}), end.get(kind, {})
        user_s, system_s, rss_bytes = 0.0, 0.0, 0
        vanished: list[int] = []
        for pid in [*before_of, *(pid for pid in after_of if pid not in before_of)]:
            before, after = before_of.get(pid, Usage(0.0, 0.0, 0)), after_of.get(pid)
            if before is None or after is None:
                vanished.append(pid)
            else:
                user_s += after.user_s - before.user_s
                system_s += after.system_s - before.system_s
                rss_bytes += after.rss_bytes
        result[kind] = KindUsage(len(after_of), user_s, system_s, rss_bytes, tuple(vanished))
    return result


@dataclass
class Trace:
    """One process over the whole run, sampled once a second."""

    name: str
    """ "edge-1" """
    kind: str
    at_s: list[float] = field(default_factory=list)
    """In `time.monotonic()`."""
    usage: list[Usage] = field(default_factory=list)
    """At each of these times."""

    def cores(self) -> list[tuple[float, float]]:
        """Return (end of an interval, cores used in it) for each interval between two samples."""
        return [(self.at_s[number], self.cores_before(number)) for number in range(1, len(self.at_s))]

    def cores_before(self, number: int) -> float:
        """Return the cores used between the sample before this one and this one; `number` is 1 or more, or -1."""
        elapsed_s = self.at_s[number] - self.at_s[number - 1]
        # A process that was started again has used less than the one before it.
        used_s = max(0.0, self.usage[number].cpu_s - self.usage[number - 1].cpu_s)
        return used_s / elapsed_s if elapsed_s > 0 else 0.0


@dataclass(frozen=True)
class RedisUsage:
    """What Redis did over a window, by its own account (INFO stats and commandstats)."""

    commands: int
    """Those in scripts count each."""
    bytes_in: int
    bytes_out: int
    calls: Mapping[str, int]
    """Command, in lower case -> calls, the most called first."""
    command_us: Mapping[str, int]
    """Command -> microseconds in it, by Redis's own clock."""
    restarted: bool = False
    """It was another process at the end: everything counts from its start."""


@dataclass
class Window:
    """One measured stretch of a run. Complete when the `async with stage.window(...)` has ended."""

    name: str
    """Empty where a run has only one."""
    begin_s: float = 0.0
    """In `time.monotonic()`."""
    end_s: float = 0.0
    """In `time.monotonic()`; equal to `begin_s` while it lasts."""
    usage: Mapping[str, KindUsage] = field(default_factory=dict)
    """Kind of server process -> what it used; empty where the processes are not known."""
    machine_cpu_s: float | None = None
    """Busy time of all cores, whoever used them; None where it is not known."""
    generator_cpu_s: list[float] = field(default_factory=list)
    """CPU time of each process that makes load. Filled with that of this process; the scenario replaces it where
    others of its own made the load."""
    lag: "Histogram | None" = None
    """How late the generator did what it was to do, in microseconds. Filled with how late timers of this process woke;
    the scenario replaces it where it knows how late each message was sent."""
    judged: bool = True
    """Whether the run is invalid where the generator did not keep up in this window. False where a scenario looks for
    the end of what can be borne, and judges itself."""
    redis: RedisUsage | None = None
    """None where Redis is not known."""
    counters: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Server process ("edge-1") -> its counters, as Prometheus names them -> how much they grew; those that did not
    are left out. Empty where the servers' metrics are not known."""
    silent: tuple[str, ...] = ()
    """Server processes whose counters could not be read at both ends."""
    work: int = 0
    """What was done in it, to divide the CPU by; the scenario sets it."""
    work_unit: str = "update"
    """What one of it is called."""

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end_s - self.begin_s

    def server_cpu_s(self, *kinds: str) -> float:
        """CPU time of all server processes, or of those of the named kinds."""
        return sum(usage.cpu_s for kind, usage in self.usage.items() if not kinds or kind in kinds)

    def cpu_us_each(self) -> float | None:
        """Microseconds of CPU of all server processes for each unit of work; None where one of both is not known."""
        return self.server_cpu_s() * 1e6 / self.work if self.usage and self.work else None


def grown(
    before: Mapping[str, Mapping[str, float]], after: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, float]]:
    """Return by how much each counter of each process grew.

    One that is lower than before belongs to a process that was started again, and counts from zero. Processes that
    could not be read at both ends are left out.
    """
    result: dict[str, dict[str, float]] = {}
    for process in before.keys() & after.keys():
        old, new = before[process], after[process]
        growth = {name: _growth(old.get(name, 0.0), value) for name, value in new.items()}
        result[process] = {name: value for name, value in sorted(growth.items()) if value}
    return dict(sorted(result.items()))


def _growth(before: float, after: float) -> float:
    return after - before if after >= before else after


def sum_over(counters: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return the growth of each counter, summed over all processes and labels, in the order of names."""
    found: dict[str, float] = {}
    for values in counters.values():
        for full_name, value in values.items():
            name = full_name.partition("{")[0]
            found[name] = found.get(name, 0.0) + value
    return dict(sorted(found.items()))
