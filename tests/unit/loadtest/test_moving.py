from dataclasses import replace

import pytest

from loadtest.generator import GeneratorResult
from loadtest.moving import Moved, complete, findings_of
from tests.unit.loadtest.moves import FULL, PLAN, generator_result, moved
from tests.unit.loadtest.results import window_of


def figure(findings, name):
    return next(figure.value for figure in findings.figures if figure.name == name)


def test_a_clean_run_has_figures_and_no_failures():
    findings = findings_of([moved(FULL, FULL)])
    assert (findings.failures, findings.invalid) == ([], [])
    assert findings.details["transforms"]["delivered"] == 40
    assert figure(findings, "latency p99") == 1.5
    assert figure(findings, "lost") == 0
    # Ten seconds, 0.5 s of CPU and 40 updates.
    assert figure(findings, "updates received") == 4.0
    assert figure(findings, "server CPU per update") == pytest.approx(12_500.0)
    assert figure(findings, "edge CPU per update") == pytest.approx(10_000.0)


def test_a_loss_is_told():
    findings = findings_of([moved(FULL, range(1, 9))])
    assert findings.failures == ["4 transforms lost"]
    assert figure(findings, "lost") == 10.0


def test_what_the_sockets_brought_is_told_by_message_and_read():
    (received,) = [table for table in findings_of([moved(FULL, FULL)]).tables if table.title == "Received"]
    assert received.rows[0][-2:] == (2.0, 4.0)


def test_closed_sockets_are_told_with_their_codes():
    findings = findings_of([moved(FULL, FULL, closed=7)])
    assert "socket of u0 closed: 4403 banned" in findings.remarks
    assert "and 2 more sockets closed" in findings.remarks
    assert findings.failures == ["7 closed sockets"]


def test_a_run_that_ended_before_its_window_is_invalid():
    findings = findings_of([Moved.of(PLAN, GeneratorResult(), 0.0, None)])
    assert findings.invalid == ["nothing was measured"]
    assert figure(findings, "latency p99") is None


def test_a_window_much_shorter_than_the_load_is_invalid():
    run = moved(FULL, FULL, window=window_of(name="round 1", begin_s=100.0, end_s=100.5))
    assert findings_of([run]).invalid == ["the servers were measured for 0.5 of 1.0 s (round 1)"]


def test_several_runs_are_summed():
    findings = findings_of([moved(FULL, range(1, 9)), moved(FULL, range(1, 8), closed=1)])
    assert findings.failures == ["10 transforms lost", "1 closed sockets"]
    assert findings.details["transforms"]["expected"] == 80
    assert findings.histograms["transforms"].total == 2 * (20 + 16) - 2
    assert figure(findings, "updates received") == 4.0
    assert len(findings.seconds) == 2


def test_seconds_without_an_update_are_empty_and_the_last_is_full():
    run = moved(FULL, FULL)
    long_enough = replace(run, result=replace(run.result, window_s=3.0))
    assert [one.total for one in long_enough.seconds().histograms] == [1, 0, 2]
    assert [one.total for one in replace(run, result=replace(run.result, window_s=2.4)).seconds().histograms] == [1, 0]


def test_a_window_takes_the_rates_of_the_generators():
    window, result = window_of(), generator_result(FULL, FULL)
    # The generators' window was twice as long.
    result.window_s, result.cpu_s = 20.0, [4.0, 6.0]
    complete(window, result, generators=2)
    assert (window.work, window.generator_cpu_s, window.lag) == (20, [2.0, 3.0], result.lag)
    complete(alone := window_of(), result, generators=1)
    # That of this process was measured with the window.
    assert alone.generator_cpu_s == [1.0]
    complete(stuck := window_of(), GeneratorResult(), generators=1)
    assert stuck.work == 0


def test_merged_results_of_generators_equal_the_whole():
    parts = [generator_result(FULL), generator_result(range(1, 9))]
    second = parts[1]
    # The second generator plays the second member.
    second.senders = {PLAN.user_id(PLAN.own_members()[1]): next(iter(second.senders.values()))}
    second.member_of = {PLAN.user_id(PLAN.own_members()[1]): PLAN.own_members()[1]}
    merged = GeneratorResult()
    for part in parts:
        merged.merge(replace(part, window_received=20))
    whole = moved(FULL, range(1, 9))
    assert Moved.of(PLAN, merged, 100.0, window_of()).transforms == whole.transforms
    assert merged.window_received == 40
    assert merged.transform_latency.counts == whole.result.transform_latency.counts
