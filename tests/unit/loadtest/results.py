"""Results of load tests that were never run, small enough to compute by hand."""

from typing import Any

from loadtest.histogram import Histogram
from loadtest.result import Result
from loadtest.scenario import Figure, Findings, Seconds, Series, Table
from loadtest.usage import KindUsage, RedisUsage, Trace, Usage, Window


def histogram_of(*values_us: int) -> Histogram:
    histogram = Histogram()
    for value_us in values_us:
        histogram.record(value_us)
    return histogram


def window_of(**changes: Any) -> Window:
    """Ten seconds: two edges and a worker, a generator that kept up, 1,000 updates."""
    window = Window(
        name="",
        begin_s=102.0,
        end_s=112.0,
        usage={"edge": KindUsage(2, 0.3, 0.1, 2**20), "worker": KindUsage(1, 0.05, 0.05, 2**21, vanished=())},
        machine_cpu_s=5.0,
        generator_cpu_s=[1.0],
        lag=histogram_of(100, 200),
        redis=RedisUsage(5_000, 10 * 1024, 20 * 1024, {"xadd": 40, "evalsha": 10}, {"xadd": 400, "evalsha": 2_000}),
        counters={"edge-1": {"roomring_edge_messages_in_total": 7.0}},
        work=1_000,
    )
    for name, value in changes.items():
        setattr(window, name, value)
    return window


def findings_of(**changes: Any) -> Findings:
    findings = Findings(
        figures=[Figure("latency p50", 1.5, "ms", "lower"), Figure("hidden", 2.0, "ms", main=False)],
        tables=[Table("Updates", ("expected", "share"), [("number", 12_000, None), ("part",)])],
        histograms={"transforms": histogram_of(*range(1_000, 3_000, 10))},
        seconds=[Seconds("transforms", 101.0, [histogram_of(1_500), Histogram(), histogram_of(2_500, 2_600)])],
        series=[Series("sockets", "sockets", [(101.0, 1.0), (103.0, 5.0)])],
    )
    for name, value in changes.items():
        setattr(findings, name, value)
    return findings


def trace_of(name: str, kind: str, cores: float) -> Trace:
    trace = Trace(name, kind)
    for second in range(4):
        trace.at_s.append(100.0 + second)
        trace.usage.append(Usage(cores * second, 0.0, (50 + second) * 2**20, 40 * 2**20))
    return trace


def result_of(**changes: Any) -> Result:
    values: dict[str, Any] = {
        "scenario": "space",
        "summary": "people move",
        "label": "roomring",
        "dialect": "roomring",
        "values": {"members": 2, "rate": 20.0},
        "urls": ("http://127.0.0.1:1", "http://127.0.0.1:2"),
        "edges": 2,
        "workers": 1,
        "host": {"cores": 2},
        "started_at": "2026-03-01T12:00:00+00:00",
        "begin_s": 100.0,
        "seconds": 14.0,
        "findings": findings_of(),
        "windows": [window_of()],
        "traces": [trace_of("edge-1", "edge", 0.4), trace_of("generator", "generator", 0.1)],
        "interrupted": False,
    }
    return Result(**values | changes)
