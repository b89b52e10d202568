import json

import pytest

from edge.metrics import EdgeMetrics
from loadtest.histogram import Histogram
from loadtest.report import TROUBLES, counters, redis_calls, render, show
from loadtest.table import render_table
from loadtest.usage import KindUsage
from roomworker.metrics import WorkerMetrics
from tests.unit.loadtest.results import findings_of, histogram_of, result_of, window_of


def line_of(text: str, beginning: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.strip().startswith(beginning)]
    return line.split()


def test_columns_are_aligned_and_lines_end_clean() -> None:
    lines = render_table([["Name", "one", "two"], ["a", "1", "22,000"], ["long name", "12"]])
    assert lines == [
        "  Name       one     two",
        "  a            1  22,000",
        "  long name   12",
    ]
    assert render_table([]) == []


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, "-"),
        ("a", "a"),
        (0, "0"),
        (12_000, "12,000"),
        (0.0, "0.00"),
        (0.01234, "0.0123"),
        (1.234, "1.23"),
        (12.34, "12.3"),
        (1234.5, "1,234"),
        (-12.34, "-12.3"),
    ],
)
def test_a_cell_shows_the_digits_that_count(cell: object, text: str) -> None:
    assert show(cell) == text  # type: ignore[arg-type]


def test_a_clean_run_passes() -> None:
    result = result_of()
    assert result.passed
    text = render(result)
    assert "PASSED" in text
    assert "\x1b" not in text
    assert not [line for line in text.splitlines() if line != line.rstrip()]


def test_figures_that_a_table_shows_are_not_shown_twice() -> None:
    text = render(result_of())
    assert "latency p50" in text
    assert "hidden" not in text


def test_a_failure_is_named() -> None:
    result = result_of(findings=findings_of(failures=["4 transforms lost"]))
    assert not result.passed
    assert "FAILED: 4 transforms lost." in render(result)


def test_colours_only_when_asked_for() -> None:
    assert "\x1b[32m" in render(result_of(), colours=True)
    assert "\x1b[31m" in render(result_of(findings=findings_of(failures=["x"])), colours=True)
    assert "\x1b[33m" in render(result_of(interrupted=True), colours=True)


# --- what makes a run invalid ---------------------------------------------------------------------------


def test_a_late_generator_makes_the_run_invalid() -> None:
    result = result_of(windows=[window_of(lag=histogram_of(100, 30_000))])
    assert not result.passed
    assert result.failures() == []
    assert "INVALID: the generator was 30.0 ms late (p99, at most 10)." in render(result)


def test_a_busy_generator_makes_the_run_invalid_also_as_one_of_several() -> None:
    result = result_of(windows=[window_of(generator_cpu_s=[2.0, 9.5])])
    assert not result.passed
    assert "0.95 of a core" in result.verdict()


def test_a_generator_at_the_limit_is_still_valid() -> None:
    assert result_of(windows=[window_of(generator_cpu_s=[9.0], lag=histogram_of(10_000))]).passed


def test_a_window_that_a_scenario_judges_itself_is_not_judged() -> None:
    late = window_of(name="500 members", lag=histogram_of(30_000), judged=False)
    assert result_of(windows=[window_of(), late]).passed
    late.judged = True
    assert "(500 members)" in result_of(windows=[window_of(), late]).verdict()


def test_an_interrupted_run_is_invalid_and_says_so() -> None:
    result = result_of(interrupted=True, findings=findings_of(invalid=["nothing was measured"]))
    assert result.invalid() == ["interrupted", "nothing was measured"]
    assert "INVALID: interrupted; nothing was measured." in render(result)


def test_a_run_without_windows_can_be_told() -> None:
    text = render(result_of(windows=[], traces=[], findings=findings_of(histograms={"transforms": Histogram()})))
    assert "Updates" in text
    assert "Latency" not in text


# --- what servers used ----------------------------------------------------------------------------------


def test_cpu_is_told_by_kind_and_divided_by_the_work() -> None:
    text = render(result_of())
    assert line_of(text, "edge ") == ["edge", "2", "0.04", "0.03", "0.01", "400", "1.00"]
    assert line_of(text, "sum ") == ["sum", "3", "0.05", "0.035", "0.015", "500", "3.00"]
    assert line_of(text, "generator  ")[:3] == ["generator", "1", "0.1"]
    assert line_of(text, "machine ") == ["machine", "of", "2", "cores", "-", "0.5"]


def test_of_several_windows_each_is_a_row() -> None:
    windows = [window_of(name="5 members"), window_of(name="10 members", begin_s=112.0, end_s=122.0, work=2_000)]
    text = render(result_of(windows=windows))
    # Seconds, cores of edge, worker and generator, its lag, cores of the machine, CPU for each update, memory.
    cpu, redis = [line.split()[2:] for line in text.splitlines() if line.strip().startswith("10 members")]
    assert cpu == ["10.0", "0.04", "0.01", "0.1", "0.2", "0.5", "250", "3.00"]
    assert redis[0] == "500"


def test_processes_that_could_not_be_read_are_told() -> None:
    usage = {"worker": KindUsage(1, 0.0, 0.0, 0, vanished=(9,))}
    assert "worker process 9 could not be read" in render(result_of(windows=[window_of(usage=usage)]))


def test_processes_that_did_not_show_their_counters_are_told() -> None:
    assert "metrics of edge-2 could not be read" in render(result_of(windows=[window_of(silent=("edge-2",))]))


def test_redis_is_told_a_second_and_by_command() -> None:
    assert line_of(render(result_of()), "in the window")[3:] == ["500", "1.00", "2.00", "5.00", "xadd,", "evalsha"]
    assert redis_calls([window_of(), window_of()]).rows == [("xadd", 80, 0.8, 10.0), ("evalsha", 20, 4.0, 200.0)]


def test_counters_are_summed_over_processes_labels_and_windows() -> None:
    window = window_of(counters={"edge-1": {'a_total{x="1"}': 1.0, 'a_total{x="2"}': 2.0}, "edge-2": {"a_total": 7.0}})
    assert counters([window, window]).rows == [("a_total", 20, 1.0)]


def test_troubles_are_shown_where_there_are_some() -> None:
    assert "Troubles" not in render(result_of())
    window = window_of(counters={"edge-1": {"roomring_edge_output_gaps_total": 3.0}})
    assert line_of(render(result_of(windows=[window])), "roomring_edge_output_gaps_total")[1] == "3"


def test_troubles_are_counters_that_exist() -> None:
    families = [family for metrics in (EdgeMetrics(), WorkerMetrics()) for family in metrics.registry.collect()]
    assert set(TROUBLES) <= {f"{family.name}_total" for family in families if family.type == "counter"}


# --- values ---------------------------------------------------------------------------------------------


def test_everything_is_json_and_times_count_from_the_begin() -> None:
    values = json.loads(json.dumps(result_of().to_json()))
    assert values["passed"] is True
    assert values["values"] == {"members": 2, "rate": 20.0}
    assert values["figures"][0] == {"name": "latency p50", "value": 1.5, "unit": "ms", "better": "lower", "main": True}
    (window,) = values["windows"]
    assert (window["beginSeconds"], window["seconds"]) == (2.0, 10.0)
    assert window["cpu"]["edge"]["usEach"] == pytest.approx(400.0)
    assert window["cpuUsEach"] == pytest.approx(500.0)
    assert window["redis"]["calls"] == {"xadd": 40, "evalsha": 10}
    assert window["counters"] == {"edge-1": {"roomring_edge_messages_in_total": 7.0}}
    assert values["latencyOverTime"][0]["beginSeconds"] == 1.0
    assert [second["count"] for second in values["latencyOverTime"][0]["seconds"]] == [1, 0, 2]
    assert values["series"][0]["points"] == [[1.0, 1.0], [3.0, 5.0]]
    assert values["processes"][0]["atSeconds"] == [0.0, 1.0, 2.0, 3.0]


def test_a_histogram_comes_back_from_json() -> None:
    latency = result_of().to_json()["latencyUs"]["transforms"]
    again = Histogram.from_sparse(latency["buckets"], latency["max"])
    assert again.percentile(99) == latency["p99"]
