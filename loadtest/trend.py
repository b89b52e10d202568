"""How CPU and latency change over an option, from several results: `roomring loadtest compare --by NAME`. No IO."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Final

from loadtest.compare import BadResult
from loadtest.table import render_table

NODES: Final = ("edges", "workers")
"""Not options of a scenario, but numbers of a run as well."""

_WANTED: Final = (
    "no CPU or no latency of movements; give runs of space or many-rooms on clusters of their own, without --against"
)


@dataclass(frozen=True)
class Point:
    """All runs with one value of the option; medians of them."""

    x: float
    runs: int
    cpu_us: Mapping[str, float]
    """Kind of process -> µs for each update. Without kinds that took nothing worth telling in any run."""
    p50_ms: float
    p99_ms: float

    @property
    def sum_us(self) -> float:
        """CPU of all processes."""
        return sum(self.cpu_us.values())


def points_of(results: Sequence[Mapping[str, Any]], by: str) -> list[Point]:
    """Group runs by an option.

    Args:
        results: as `roomring loadtest run --json` writes them.
        by: an option of the scenario whose values are numbers, or one of `NODES`.

    Raises:
        BadResult: a run has no such number, or measured no CPU or latency; or all have the same value.
    """
    groups: dict[float, list[Mapping[str, Any]]] = {}
    for result in results:
        value = result[by] if by in NODES else result["values"].get(by)
        if isinstance(value, bool) or not isinstance(value, int | float):
            names = [*(name for name, known in result["values"].items() if isinstance(known, int | float)), *NODES]
            raise BadResult(f"a result has no number for {by}; it has {', '.join(names)}")
        groups.setdefault(float(value), []).append(result)
    if len(groups) < 2:
        raise BadResult(f"all results have the same {by}; give runs with several values of it")
    points = [_point(x, groups[x]) for x in sorted(groups)]
    known = dict.fromkeys(kind for point in points for kind in point.cpu_us)
    kinds = [kind for kind in known if any(point.cpu_us.get(kind, 0.0) >= 0.01 * point.sum_us for point in points)]
    return [replace(point, cpu_us={kind: point.cpu_us.get(kind, 0.0) for kind in kinds}) for point in points]


def render_trend(points: Sequence[Point], by: str) -> str:
    """Return the points as text with a line feed at its end."""
    kinds = list(points[0].cpu_us)
    rows = [[by, "runs", *(f"{kind}, µs" for kind in kinds), "sum, µs", "times the first", "p50, ms", "p99, ms"]]
    for point in points:
        costs = [f"{us:.2f}" for us in (*point.cpu_us.values(), point.sum_us)]
        ratio = f"{point.sum_us / points[0].sum_us:.2f}"
        rows.append([f"{point.x:g}", f"{point.runs}", *costs, ratio, f"{point.p50_ms:.1f}", f"{point.p99_ms:.1f}"])
    return "\n".join(render_table(rows)) + "\n"


def _point(x: float, runs: Sequence[Mapping[str, Any]]) -> Point:
    try:
        windows = [run["windows"][0]["cpu"] for run in runs]
        cpu_us = {kind: median(window[kind]["usEach"] for window in windows) for kind in windows[0]}
        latencies = [run["latencyUs"]["transforms"] for run in runs]
        p50_ms, p99_ms = (median(latency[name] / 1000 for latency in latencies) for name in ("p50", "p99"))
    except (IndexError, KeyError, TypeError) as error:
        raise BadResult(f"a result has {_WANTED}") from error
    if not sum(cpu_us.values()):
        raise BadResult(f"a result has {_WANTED}")
    return Point(x, len(runs), cpu_us, p50_ms, p99_ms)
