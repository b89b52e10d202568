"""The result of a run: everything that was measured, and the verdict. No IO."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from loadtest.histogram import Histogram
from loadtest.scenario import Findings, Seconds
from loadtest.usage import KindUsage, RedisUsage, Trace, Window

FORMAT: Final = "roomring loadtest 1"
"""First field of each JSON file; the number changes when older readers would misunderstand."""

LAG_P99_MAX_US: Final = 10_000
"""A generator that sends later than this measures itself: a room of 40 is to stay below it altogether."""

GENERATOR_CORES_MAX: Final = 0.9
"""A generator near one core reads late, and its own queueing would count as the server's latency."""

PERCENTILES: Final = (50.0, 90.0, 95.0, 99.0, 99.9)


def generator_faults(window: Window) -> list[str]:
    """Return why the load of this window was not the planned one; empty where the generator kept up.

    The rule: its lag is at most 10 ms (p99), and each of its processes used at most 0.9 of a core.
    """
    faults = []
    place = f" ({window.name})" if window.name else ""
    if window.lag is not None and window.lag.total:
        lag_us = window.lag.percentile(99)
        if lag_us > LAG_P99_MAX_US:
            limit = LAG_P99_MAX_US // 1000
            faults.append(f"the generator was {lag_us / 1000:.1f} ms late (p99, at most {limit}){place}")
    cores = max(window.generator_cpu_s, default=0.0) / window.seconds if window.seconds else 0.0
    if cores > GENERATOR_CORES_MAX:
        advice = "use more generators, or a machine with more cores"
        faults.append(f"a generator used {cores:.2f} of a core (at most {GENERATOR_CORES_MAX}; {advice}){place}")
    return faults


@dataclass(frozen=True)
class Result:
    """One run of one scenario, judged."""

    scenario: str
    summary: str
    """What the scenario measures, in one line."""
    label: str
    """What the servers are called."""
    dialect: str
    values: Mapping[str, Any]
    """Options by name."""
    urls: tuple[str, ...]
    edges: int
    workers: int | None
    """None with servers that the harness did not start."""
    host: Mapping[str, object]
    """Facts of the machine that bear on the numbers; not its name."""
    started_at: str
    """UTC, ISO 8601."""
    begin_s: float
    """When it began, in `time.monotonic()`: what all other times are told from."""
    seconds: float
    """How long it took in all."""
    findings: Findings
    windows: list[Window]
    traces: list[Trace]
    interrupted: bool

    def failures(self) -> list[str]:
        """Return what the servers did wrong; empty when nothing."""
        return list(self.findings.failures)

    def invalid(self) -> list[str]:
        """Return why the numbers do not hold; empty when they do."""
        reasons = ["interrupted"] if self.interrupted else []
        reasons += self.findings.invalid
        for window in self.windows:
            if window.judged:
                reasons += generator_faults(window)
        return reasons

    @property
    def passed(self) -> bool:
        """Whether the numbers hold, and nothing went wrong."""
        return not self.failures() and not self.invalid()

    def verdict(self) -> str:
        """Return the verdict with its reasons, in one paragraph."""
        failures, invalid = self.failures(), self.invalid()
        words = []
        if failures:
            words.append("FAILED: " + "; ".join(failures) + ".")
        if invalid:
            words.append("INVALID: " + "; ".join(invalid) + ".")
        return " ".join(words) or "PASSED: nothing went wrong, and the generator kept up."

    def remarks(self) -> list[str]:
        """Return lines that help to read the numbers."""
        found = list(self.findings.remarks)
        for window in self.windows:
            for kind, usage in window.usage.items():
                found += [f"{kind} process {pid} could not be read; its CPU is missing" for pid in usage.vanished]
            if window.silent:
                found.append(f"metrics of {', '.join(window.silent)} could not be read; their counters are missing")
            if window.redis is not None and window.redis.restarted:
                found.append("Redis was started again; its numbers count from then")
        return list(dict.fromkeys(found))

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values. Times count in seconds from the begin of the run; `Us` is microseconds."""
        findings = self.findings
        return {
            "format": FORMAT,
            "scenario": self.scenario,
            "label": self.label,
            "dialect": self.dialect,
            "values": dict(self.values),
            "edges": self.edges,
            "workers": self.workers,
            "host": dict(self.host),
            "startedAt": self.started_at,
            "seconds": self.seconds,
            "passed": self.passed,
            "interrupted": self.interrupted,
            "failures": self.failures(),
            "invalid": self.invalid(),
            "remarks": self.remarks(),
            "figures": [asdict(figure) for figure in findings.figures],
            "tables": [asdict(table) for table in findings.tables],
            "latencyUs": {name: histogram_json(histogram) for name, histogram in findings.histograms.items()},
            "latencyOverTime": [self._seconds_json(seconds) for seconds in findings.seconds],
            "series": [
                {
                    "name": series.name,
                    "unit": series.unit,
                    "points": [[at_s - self.begin_s, value] for at_s, value in series.points],
                }
                for series in findings.series
            ],
            "windows": [self._window_json(window) for window in self.windows],
            "processes": [self._trace_json(trace) for trace in self.traces],
            "details": findings.details,
        }

    def _seconds_json(self, seconds: Seconds) -> dict[str, Any]:
        return {
            "name": seconds.name,
            "beginSeconds": seconds.begin_s - self.begin_s,
            "seconds": [
                {"count": one.total, **{f"p{percent:g}": one.percentile(percent) for percent in (50.0, 95.0, 99.0)}}
                for one in seconds.histograms
            ],
        }

    def _window_json(self, window: Window) -> dict[str, Any]:
        return {
            "name": window.name,
            "beginSeconds": window.begin_s - self.begin_s,
            "seconds": window.seconds,
            "work": window.work,
            "workUnit": window.work_unit,
            "cpu": {kind: _kind_json(usage, window) for kind, usage in window.usage.items()},
            "cpuUsEach": window.cpu_us_each(),
            "machineCpuSeconds": window.machine_cpu_s,
            "generator": {
                "cpuSeconds": window.generator_cpu_s,
                "lagUs": None if window.lag is None else histogram_json(window.lag),
                "judged": window.judged,
            },
            "redis": None if window.redis is None else _redis_json(window.redis),
            "counters": {process: dict(counters) for process, counters in window.counters.items()},
        }

    def _trace_json(self, trace: Trace) -> dict[str, Any]:
        return {
            "name": trace.name,
            "kind": trace.kind,
            "atSeconds": [round(at_s - self.begin_s, 3) for at_s in trace.at_s],
            "userSeconds": [usage.user_s for usage in trace.usage],
            "systemSeconds": [usage.system_s for usage in trace.usage],
            "rssBytes": [usage.rss_bytes for usage in trace.usage],
            "privateBytes": [usage.private_bytes for usage in trace.usage],
        }


def histogram_json(histogram: Histogram) -> dict[str, Any]:
    """Return a histogram as JSON values; `buckets` is what `Histogram.from_sparse` takes."""
    return {
        **{f"p{percent:g}": histogram.percentile(percent) for percent in PERCENTILES},
        "max": histogram.max_us,
        "samples": histogram.total,
        "buckets": histogram.sparse(),
    }


def _kind_json(usage: KindUsage, window: Window) -> dict[str, Any]:
    return {
        "processes": usage.processes,
        "userSeconds": usage.user_s,
        "systemSeconds": usage.system_s,
        "cores": usage.cpu_s / window.seconds if window.seconds else None,
        "usEach": usage.cpu_s * 1e6 / window.work if window.work else None,
        "rssBytes": usage.rss_bytes,
        "vanished": list(usage.vanished),
    }


def _redis_json(redis: RedisUsage) -> dict[str, Any]:
    return {
        "commands": redis.commands,
        "bytesIn": redis.bytes_in,
        "bytesOut": redis.bytes_out,
        "restarted": redis.restarted,
        "calls": dict(redis.calls),
        "commandUs": dict(redis.command_us),
    }
