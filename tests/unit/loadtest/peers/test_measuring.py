"""What is taken from a result of the scenario `space`."""

import pytest

from loadtest.histogram import Histogram
from loadtest.peers.batching import Batching, WriteCount
from loadtest.peers.measuring import measured_of, sustained_of
from loadtest.result import Result
from loadtest.scenario import Figure, Findings, Table
from loadtest.usage import KindUsage, Window

COUNTS = {"expected": 1000, "delivered": 990, "superseded": 7, "lost": 3, "out_of_order": 2, "duplicates": 1}


def result_of(*, counters=None):
    latency = Histogram()
    for value_us in range(1000, 101_000, 1000):
        latency.record(value_us)
    window = Window("", begin_s=10.0, end_s=18.0, work=980, generator_cpu_s=[0.8, 4.0])
    window.usage = {"edge": KindUsage(2, 0.3, 0.1, 0), "valkey": KindUsage(1, 0.0, 0.09, 0)}
    window.counters = counters or {}
    findings = Findings(
        histograms={"transforms": latency},
        details={"transforms": {**COUNTS, "sent": 25, "refused": 0, "strange": 0}},
        failures=["3 transforms lost"],
    )
    return Result(
        *("space", "", "Roomring", "roomring", {}, (), 2, 2, {}, "", 0.0, 12.0),
        findings=findings,
        windows=[window],
        traces=[],
        interrupted=False,
    )


def test_the_figures_are_those_of_the_window():
    found = measured_of("nats", 5, result_of(), WriteCount())
    assert {name: getattr(found, name) for name in COUNTS} == COUNTS
    assert (found.updates, found.window_s, found.members) == (980, 8.0, 5)
    assert found.cpu_s == pytest.approx({"edge": 0.4, "valkey": 0.09})
    assert found.cpu_us == pytest.approx(500.0)
    assert found.p50_ms == pytest.approx(50.0, rel=0.01)
    assert found.p99_ms == pytest.approx(99.0, rel=0.01)
    assert found.generator_cores == pytest.approx(0.5)
    assert found.failures == ("3 transforms lost",)
    assert found.batching is None


def test_a_machine_that_others_use_is_told():
    result = result_of()
    # Servers 0.49 s and generators 4.8 s in 8 s.
    result.windows[0].machine_cpu_s = 0.49 + 4.8 + 1.6
    found = measured_of("nats", 5, result, WriteCount())
    assert found.others_cores == pytest.approx(0.2)
    assert found.invalid == ()
    result.windows[0].machine_cpu_s += 0.8
    found = measured_of("nats", 5, result, WriteCount())
    assert found.invalid == ("other programs used 0.30 cores of the machine (at most 0.25)",)


def test_where_nothing_of_the_window_arrived_there_is_no_latency():
    result = result_of()
    result.findings.histograms["transforms"] = Histogram()
    found = measured_of("nats", 5, result, WriteCount())
    assert (found.p50_ms, found.p99_ms) == (None, None)


def test_batching_is_of_what_edges_wrote_to_sockets():
    writes = WriteCount()
    writes.add(9.0, 1000)
    writes.add(19.0, 1600)
    counters = {
        "edge-1": {"roomring_edge_input_batches_total": 50.0},
        "edge-2": {"roomring_edge_input_batches_total": 30.0, "roomring_edge_batches_total": 9.0},
    }
    found = measured_of("roomring", 5, result_of(counters=counters), writes)
    assert found.batching == Batching(980 / 400, 400 / 5 / 8.0)


STEPS = [("50 members", "good"), ("100 members", "good"), ("150 members", "p99 120 ms"), ("125 members", "good")]


def largest_of(*, figures, first_bad, steps, invalid=()):
    findings = Findings(figures=figures, tables=[Table("Steps", ("verdict",), steps)], details={"firstBad": first_bad})
    findings.invalid += invalid
    about = ("large-room", "", "NATS", "nats", {}, (), 1, None, {}, "", 0.0, 90.0)
    return sustained_of("nats", Result(*about, findings, windows=[], traces=[], interrupted=False))


def test_the_largest_room_is_the_last_good_one():
    figures = [
        Figure("last good size", 125, "members"),
        Figure("updates received at it", 312_000.0, "1/s"),
        Figure("latency at it p99", 40.5, "ms"),
        Figure("server CPU per update at it", None, "µs"),
    ]
    again = ("150 members, again", "p99 130 ms")
    found = largest_of(figures=figures, first_bad=150, steps=[*STEPS, again], invalid=["it was late"])
    assert (found.members, found.updates_per_second, found.p99_ms, found.cpu_us) == (125, 312_000.0, 40.5, 0.0)
    assert (found.broken_members, found.broken_by) == (150, "p99 130 ms")
    assert found.invalid == ("it was late",)


def test_a_search_without_an_end_broke_by_nothing():
    found = largest_of(figures=[Figure("last good size", 100, "members")], first_bad=None, steps=STEPS[:2])
    assert (found.members, found.broken_members, found.broken_by) == (100, None, "")
