"""How cost and latency change over an option."""

import xml.etree.ElementTree as ET
from typing import Any

import pytest

from loadtest.compare import BadResult
from loadtest.plots import plot_trend
from loadtest.trend import points_of, render_trend
from loadtest.usage import KindUsage
from tests.unit.loadtest.results import findings_of, histogram_of, result_of, window_of


def run(members: int, *, updates: int = 1_000, latency_ms: int = 2, **changes: Any) -> dict[str, Any]:
    findings = findings_of(histograms={"transforms": histogram_of(*[latency_ms * 1_000] * 100)})
    window = window_of(work=updates)
    return result_of(
        **{"values": {"members": members, "cause": "cut"}, "findings": findings, "windows": [window], **changes}
    ).to_json()


def test_there_is_a_point_for_each_value_with_the_median_of_its_runs() -> None:
    runs = [run(100, updates=4_000), run(40, latency_ms=3), run(40, latency_ms=9), run(40, latency_ms=4)]
    first, second = points_of(runs, "members")
    assert (first.x, first.runs, second.x, second.runs) == (40.0, 3, 100.0, 1)
    assert first.cpu_us == pytest.approx({"edge": 400.0, "worker": 100.0})
    assert second.sum_us == pytest.approx(first.sum_us / 4)
    assert first.p50_ms == pytest.approx(4.0, rel=0.05)
    assert render_trend([first, second], "members").splitlines()[2].split()[:6] == [
        "100",
        "1",
        "100.00",
        "25.00",
        "125.00",
        "0.25",
    ]


def test_edges_and_workers_are_numbers_of_a_run_as_well() -> None:
    assert [point.x for point in points_of([run(40, edges=4), run(40, edges=1)], "edges")] == [1.0, 4.0]


def test_what_cannot_be_told_is_said() -> None:
    with pytest.raises(BadResult, match=r"no number for cause; it has members, edges, workers"):
        points_of([run(40), run(50)], "cause")
    with pytest.raises(BadResult, match="the same members"):
        points_of([run(40), run(40)], "members")
    silent = run(50, findings=findings_of(histograms={}))
    with pytest.raises(BadResult, match="space or many-rooms"):
        points_of([run(40), silent], "members")
    with pytest.raises(BadResult, match="space or many-rooms"):
        points_of([run(40), run(50, windows=[])], "members")

    against = run(50, windows=[window_of(usage={})])
    with pytest.raises(BadResult, match="without --against"):
        points_of([run(40), against], "members")


def test_servers_of_other_kinds_stand_beside_each_other() -> None:
    other = window_of(usage={"node": KindUsage(2, 0.3, 0.1, 2**20)})
    first, second = points_of([run(40), run(50, windows=[other])], "members")
    assert (first.cpu_us["node"], second.cpu_us["edge"], second.cpu_us["node"]) == (0.0, 0.0, pytest.approx(400.0))
    assert "node" in render_trend([first, second], "members")


@pytest.mark.parametrize("many", [2_000, 200_000])
def test_the_plot_is_one_image_of_its_own(many: int) -> None:
    svg = plot_trend(points_of([run(40), run(100, updates=many)], "members"), "members", "CPU & latency")
    assert ET.fromstring(svg).get("aria-label") == "CPU & latency"
    assert "µs" in svg
    assert "latency, ms" in svg
    assert "http" not in svg.replace("http://www.w3.org/", "")
