import json
from dataclasses import replace

import pytest

from loadtest.accounting import OrderReceipts, SenderRecord, TransformReceipts
from loadtest.generator import ClosedSocket, GeneratorResult
from loadtest.plan import Plan
from loadtest.processes import KindUsage
from loadtest.report import Report
from loadtest.table import render_table

PLAN = Plan(
    run_id="r",
    urls=("http://a",),
    rooms=1,
    members_per_room=2,
    rate=10.0,
    seconds=1.0,
    warmup_s=0.0,
    drain_s=0.0,
    chats_per_second=1.0,
)


def result_of(*receivers):
    """The result of two members; each receiver is the list of numbers that it got of both."""
    result = GeneratorResult(window_received=40, window_s=1.0, cpu_s=[0.1])
    for number, seqs in enumerate(receivers):
        user_id = PLAN.user_id(number)
        result.member_of[user_id] = number
        result.senders[user_id] = SenderRecord(1, 10, 2)
        receipts = TransformReceipts(PLAN.user_id(n) for n in range(2))
        for seq in seqs:
            for sender in range(2):
                receipts.receive(PLAN.user_id(sender), seq)
                result.transform_latency.record(1500)
        result.transforms.add(receipts)
        result.order.add(0, OrderReceipts(), is_open=True)
        result.lag.record(300)
    return result


def report_of(result, *, interrupted=False, usage=None):
    return Report.of(PLAN, {"cores": 2}, result, usage or {}, 1.9, interrupted=interrupted)


FULL = range(1, 11)


def test_columns_are_aligned_and_lines_end_clean():
    lines = render_table([["Name", "one", "two"], ["a", "1", "22,000"], ["long name", "12"]])
    assert lines == [
        "  Name       one     two",
        "  a            1  22,000",
        "  long name   12",
    ]
    assert render_table([]) == []


def test_a_clean_run_passes():
    report = report_of(result_of(FULL, FULL))
    assert report.exit_status == 0
    text = report.render()
    assert "PASSED" in text
    assert "\x1b" not in text
    assert not [line for line in text.splitlines() if line != line.rstrip()]


def test_a_loss_fails_and_is_named():
    report = report_of(result_of(FULL, range(1, 9)))
    assert report.exit_status == 1
    assert "FAILED: 4 transforms lost." in report.render()


def test_colours_only_when_asked_for():
    assert "\x1b[32m" in report_of(result_of(FULL, FULL)).render(colours=True)
    assert "\x1b[31m" in report_of(result_of(FULL, [])).render(colours=True)


def test_a_late_generator_makes_the_run_invalid():
    result = result_of(FULL, FULL)
    result.lag.record(30_000)
    report = report_of(result)
    assert report.exit_status == 1
    assert report.failures() == []
    assert "INVALID: the generator sent 30.0 ms late (p99, at most 10)." in report.render()


def test_a_busy_generator_makes_the_run_invalid_also_as_one_of_several():
    result = result_of(FULL, FULL)
    result.cpu_s = [0.2, 0.95]
    assert report_of(result).exit_status == 1
    assert "0.95 of a core" in report_of(result).render()


def test_an_interrupted_or_empty_run_is_invalid():
    assert "interrupted after 1.0 of 1 measured seconds" in report_of(result_of(FULL, FULL), interrupted=True).render()
    empty = report_of(GeneratorResult())
    assert empty.invalid() == ["nothing was measured"]
    assert "INVALID" in empty.render()


def test_closed_sockets_are_told_with_their_codes():
    result = result_of(FULL, FULL)
    result.closed = [ClosedSocket(f"u{n}", 4403, "banned") for n in range(7)]
    text = report_of(result).render()
    assert "socket of u0 closed: 4403 banned" in text
    assert "and 2 more sockets closed" in text
    assert "7 closed sockets" in text


def test_cpu_is_divided_by_the_updates_of_the_window():
    usage = {
        "edge": KindUsage(processes=2, cpu_s=0.0001, rss_bytes=2**20, vanished=()),
        "worker": KindUsage(processes=1, cpu_s=0.0003, rss_bytes=2**21, vanished=(9,)),
    }
    report = report_of(result_of(FULL, FULL), usage=usage)
    values = report.to_json()
    assert values["cpu"]["kinds"]["edge"]["usPerUpdate"] == 2.5
    assert values["cpu"]["sumUsPerUpdate"] == pytest.approx(10.0)
    assert "worker process 9 could not be read" in report.render()


def test_everything_is_json_without_the_name_of_the_host():
    values = json.loads(json.dumps(report_of(result_of(FULL, FULL)).to_json()))
    assert values["parameters"]["members_per_room"] == 2
    assert values["transforms"]["delivered"] == 40
    assert values["latencyUs"]["transforms"]["p99"] == 1500
    assert values["cpu"]["machineCores"] == 1.9
    assert values["passed"] is True


def test_merged_results_of_generators_equal_the_whole():
    parts = [result_of(FULL), result_of(range(1, 9))]
    second = parts[1]
    # The second generator plays the second member.
    second.senders = {PLAN.user_id(1): next(iter(second.senders.values()))}
    second.member_of = {PLAN.user_id(1): 1}
    merged = GeneratorResult()
    for part in parts:
        merged.merge(replace(part, window_received=20))
    whole = report_of(result_of(FULL, range(1, 9)))
    report = report_of(merged)
    assert report.transforms == whole.transforms
    assert report.order == whole.order
    assert merged.window_received == 40
    assert merged.transform_latency.counts == whole.result.transform_latency.counts
