import asyncio
from types import SimpleNamespace
from typing import Any

from loadtest.following import Verdict
from loadtest.gathering import BUSY_MAX, conclude, histogram_of, order_table, times, too_busy
from loadtest.scenario import Findings
from tests.unit.loadtest.test_follower import chat, company_of, frame, take


def stage(*, interrupted: bool = False) -> Any:
    """Return as much of a stage as a verdict needs."""
    found = SimpleNamespace(interrupted=asyncio.Event())
    if interrupted:
        found.interrupted.set()
    return found


def test_times_to_come_back_are_told_in_milliseconds() -> None:
    figures = times("back", histogram_of(range(1_000, 101_000, 1_000)), (50, 95))
    assert [figure.name for figure in figures] == ["back p50", "back p95", "back max"]
    for figure, expected in zip(figures, (50.0, 95.0, 100.0), strict=True):
        assert figure.value is not None
        assert expected <= figure.value <= expected * 1.01
        assert (figure.unit, figure.better) == ("ms", "lower")


def test_of_nobody_there_is_no_time() -> None:
    assert [figure.value for figure in times("back", histogram_of([]), (50,))] == [None, None]


def test_a_process_that_was_busy_nearly_all_the_time_measured_itself() -> None:
    assert too_busy(BUSY_MAX, 1.0, "of it") == []
    (reason,) = too_busy(0.9, 1.0, "of the storm")
    assert "90% of the time of the storm" in reason
    assert too_busy(1.0, 0.0, "of nothing") == []


def test_the_table_has_every_count_of_the_verdict() -> None:
    numbers = range(1, len(Verdict.__dataclass_fields__) + 1)
    verdict = Verdict(*numbers)
    assert sorted(row[1] for row in order_table(verdict).rows) == list(numbers)


def test_whoever_is_not_back_is_a_failure() -> None:
    company, (first, second) = company_of(2)
    second.is_joined = False
    first.say(1)
    take(first, frame("error", {"code": "muted"}, re="x"))
    company.closed[1012] = 1
    findings = Findings()
    conclude(stage(), findings, company)
    assert findings.failures == [
        "1 clients are not in their room at the end",
        "1 messages have no answer",
        "1 times refused with muted",
        "1 connections closed with 1012",
    ]


def test_what_the_scenario_broke_itself_is_no_failure() -> None:
    company, _ = company_of(1)
    company.closed[1006] = 1
    company.errors["busy"] = 3
    findings = Findings()
    conclude(stage(), findings, company, may_break=True)
    assert findings.failures == []
    assert findings.details["errors"] == {"busy": 3}


def test_what_is_under_way_when_a_run_is_interrupted_is_no_failure() -> None:
    company, (first, second) = company_of(2)
    take(first, chat(1, 10))
    second.say(1)
    findings = Findings()
    conclude(stage(interrupted=True), findings, company)
    assert findings.failures == []
    conclude(stage(), findings, company)
    assert len(findings.failures) == 2
