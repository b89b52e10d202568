"""What the report lays at which fault's door, and when it is a failure."""

from loadtest.chaos.losses import Finding
from loadtest.chaos.plan import Fault
from loadtest.chaos.report import Report, Trial


def test_what_is_found_counts_for_the_fault_before_it() -> None:
    report = Report(1, trials=[Trial(Fault.WORKER_KILL, "w", 100.0), Trial(Fault.CUT, "", 200.0)])
    report.losses.gaps.append(Finding(150.0, "gap"))
    report.resynced += [(210.0, "a"), (220.0, "a"), (230.0, "b")]
    faults = report.as_json()["faults"]
    assert (faults[Fault.WORKER_KILL]["gaps"], faults[Fault.WORKER_KILL]["resynced"]) == (1, 0)
    assert (faults[Fault.CUT]["gaps"], faults[Fault.CUT]["resynced"]) == (0, 2)


def test_any_finding_fails_the_run_and_is_shown() -> None:
    report = Report(5)
    assert report.ok
    assert any("no violation" in line for line in report.lines())
    report.findings.append(Finding(1.0, "a-1 was lost"))
    assert not report.ok
    assert any("a-1 was lost" in line for line in report.lines())
    assert report.as_json()["ok"] is False


def test_a_figure_over_its_limit_is_marked() -> None:
    slow = Report(1, trials=[Trial(Fault.WORKER_KILL, "w", 1.0, 1, [3_500.0])])
    assert any("OVER 3,000 ms" in line for line in slow.lines())
    quick = Report(1, trials=[Trial(Fault.WORKER_KILL, "w", 1.0, 1, [1_500.0])])
    assert not any("OVER" in line for line in quick.lines())


def test_a_flush_is_explained() -> None:
    report = Report(1, trials=[Trial(Fault.FLUSH, "", 1.0)])
    report.losses.lost_with_the_store = 3
    assert any("3 acknowledged events" in line for line in report.lines())
