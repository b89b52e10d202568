"""Plots of a result, each as the text of an SVG element. No IO.

matplotlib draws them, without its state of open windows (`Figure` is used alone). Text stays text, so it can be read
by machines and searched; no plot refers to anything outside of itself.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from io import StringIO
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from loadtest.histogram import Histogram
from loadtest.result import Result
from loadtest.scenario import Seconds, Series
from loadtest.trend import Point
from loadtest.usage import Trace, Usage

SIZE_IN: Final = (7.0, 3.1)

COLOURS: Final = {
    "edge": "#1f6fb4",
    "worker": "#d9710f",
    "valkey": "#b3282d",
    "postgres": "#3d8a4b",
    "generator": "#777777",
}
"""By kind of process, in all plots; servers of other kinds take the next of `OTHER_COLOURS`."""

OTHER_COLOURS: Final = ("#6a4ca3", "#8c564b", "#c2489b", "#1b9aaa", "#9a8c1f")
PERCENT_COLOURS: Final = {50.0: "#7fb3d9", 95.0: "#1f6fb4", 99.0: "#0b2f52"}
LINE_STYLES: Final = ("-", "--", ":", "-.")
SHADE: Final = "#eef2f6"
PROCESSES_MAX: Final = 16
"""Lines in a plot by process; of more processes those that used the most are drawn."""

_STYLE: Final = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a94a0",
    "axes.labelcolor": "#333c46",
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "grid.color": "#e3e8ee",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "xtick.color": "#56606b",
    "ytick.color": "#56606b",
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "lines.linewidth": 1.5,
}
_ID: Final = re.compile(r'(\bid="|url\(#|href="#)')


def plots_of(result: Result) -> list[str]:
    """Return all plots that the result has something for, in the order of the report."""
    findings = result.findings
    drawn: list[tuple[str, Callable[[Axes], None]]] = []
    if any(one.histograms for one in findings.seconds):
        drawn += [
            ("Latency over time", lambda axes: _latency_over_time(axes, result)),
            ("Throughput over time", lambda axes: _throughput(axes, result)),
        ]
    if any(histogram.total for histogram in findings.histograms.values()):
        drawn.append(("Latency by percentile", lambda axes: _by_percentile(axes, findings.histograms)))
    if any(len(trace.at_s) > 1 for trace in result.traces):
        drawn += [
            ("CPU by process", lambda axes: _cpu(axes, result)),
            ("Memory by process", lambda axes: _memory(axes, result)),
        ]
    units = dict.fromkeys(series.unit for series in findings.series if series.points)
    for unit in units:
        same = [series for series in findings.series if series.unit == unit and series.points]
        drawn.append((_listed(series.name for series in same), _drawer_of_series(result, same)))
    return [_svg(number, title, draw) for number, (title, draw) in enumerate(drawn, 1)]


def plot_trend(points: Sequence[Point], by: str, title: str) -> str:
    """Return a plot of CPU and one of latency over an option, side by side."""

    def cost(axes: Axes) -> None:
        for kind in points[0].cpu_us:
            _line(axes, [(point.x, point.cpu_us[kind]) for point in points], kind, COLOURS.get(kind, OTHER_COLOURS[0]))
        _line(axes, [(point.x, point.sum_us) for point in points], "sum", "#333c46", "--")
        axes.set_ylabel("CPU for each update, µs")
        if max(point.sum_us for point in points) > 10 * min(point.sum_us for point in points):
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        else:
            axes.set_ylim(bottom=0)

    def latency(axes: Axes) -> None:
        for name, values in (("p50", [point.p50_ms for point in points]), ("p99", [point.p99_ms for point in points])):
            colour = PERCENT_COLOURS[float(name[1:])]
            _line(axes, [(point.x, ms) for point, ms in zip(points, values, strict=True)], name, colour)
        axes.set_ylabel("latency, ms")
        axes.set_ylim(bottom=0)

    def over(axes: Axes) -> None:
        axes.set_xlabel(by)
        axes.set_xlim(left=0)
        for line in axes.get_lines():
            line.set_marker(".")
        axes.legend()

    return _svg(0, title, cost, latency, finish=over)


# --- each plot ----------------------------------------------------------------------------------------------


def _latency_over_time(axes: Axes, result: Result) -> None:
    several = len({one.name for one in result.findings.seconds}) > 1
    for index, name in enumerate(_names(result.findings.seconds)):
        for percent, colour in PERCENT_COLOURS.items():
            parts = [one for one in result.findings.seconds if one.name == name]
            label = f"{name} p{percent:g}" if several else f"p{percent:g}"
            for number, part in enumerate(parts):
                points = [
                    (part.begin_s - result.begin_s + second + 0.5, histogram.percentile(percent) / 1000)
                    for second, histogram in enumerate(part.histograms)
                    if histogram.total
                ]
                _line(axes, points, label if number == 0 else None, colour, LINE_STYLES[index % len(LINE_STYLES)])
    _over_time(axes, result, "latency, ms")


def _throughput(axes: Axes, result: Result) -> None:
    for index, name in enumerate(_names(result.findings.seconds)):
        parts = [one for one in result.findings.seconds if one.name == name]
        for number, part in enumerate(parts):
            points = [
                (part.begin_s - result.begin_s + second + 0.5, float(histogram.total))
                for second, histogram in enumerate(part.histograms)
            ]
            colour = PERCENT_COLOURS[95.0] if index == 0 else OTHER_COLOURS[index % len(OTHER_COLOURS)]
            _line(axes, points, f"{name} a second" if number == 0 else None, colour)
    _over_time(axes, result, "updates, 1/s")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def _by_percentile(axes: Axes, histograms: dict[str, Histogram]) -> None:
    """As HdrHistogram plots it: each further nine of the percentile takes the same width."""
    reach = 1
    for index, (name, histogram) in enumerate(histograms.items()):
        total = histogram.total
        if not total:
            continue
        # What fewer than one value in the rest tells would be the maximum over and over.
        nines = max(1, min(6, len(str(total)) - 1))
        reach = max(reach, nines)
        points = []
        for step in range(nines * 20 + 1):
            rest = 10 ** (-step / 20)
            points.append((1 / rest, histogram.percentile(100 * (1 - rest)) / 1000))
        colour = PERCENT_COLOURS[95.0] if index == 0 else OTHER_COLOURS[index % len(OTHER_COLOURS)]
        _line(axes, points, f"{name} ({total:,})", colour)
    axes.set_xscale("log")
    axes.set_xlim(1, 10**reach)
    places = [1.0, 2.0, *(10.0**nines for nines in range(1, reach + 1))]
    axes.set_xticks(places, [f"{100 * (1 - 1 / place):.10g}" for place in places])
    axes.minorticks_off()
    axes.set_xlabel("percentile")
    axes.set_ylabel("latency, ms")
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left")


def _cpu(axes: Axes, result: Result) -> None:
    def cores(trace: Trace) -> list[tuple[float, float]]:
        return [(at_s - result.begin_s, value) for at_s, value in trace.cores()]

    _by_process(axes, result, cores, lambda usage: usage.cpu_s)
    _over_time(axes, result, "cores", outside=True)


def _memory(axes: Axes, result: Result) -> None:
    def mib(trace: Trace) -> list[tuple[float, float]]:
        return [
            (at_s - result.begin_s, usage.rss_bytes / 2**20)
            for at_s, usage in zip(trace.at_s, trace.usage, strict=True)
        ]

    _by_process(axes, result, mib, lambda usage: usage.rss_bytes)
    _over_time(axes, result, "resident memory, MiB", outside=True)


def _by_process(
    axes: Axes,
    result: Result,
    points_of: Callable[[Trace], list[tuple[float, float]]],
    size_of: Callable[[Usage], float],
) -> None:
    largest = sorted(result.traces, key=lambda trace: size_of(trace.usage[-1]), reverse=True)[:PROCESSES_MAX]
    colours = dict(COLOURS)
    for trace in result.traces:
        colours.setdefault(trace.kind, OTHER_COLOURS[(len(colours) - len(COLOURS)) % len(OTHER_COLOURS)])
    numbers: dict[str, int] = {}
    for trace in result.traces:
        number = numbers[trace.kind] = numbers.get(trace.kind, -1) + 1
        if trace in largest:
            _line(axes, points_of(trace), trace.name, colours[trace.kind], LINE_STYLES[number % len(LINE_STYLES)])


def _drawer_of_series(result: Result, same: Sequence[Series]) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        for index, series in enumerate(same):
            colour = PERCENT_COLOURS[95.0] if index == 0 else OTHER_COLOURS[index % len(OTHER_COLOURS)]
            _line(axes, [(at_s - result.begin_s, value) for at_s, value in series.points], series.name, colour)
        _over_time(axes, result, same[0].unit)

    return draw


# --- helpers ------------------------------------------------------------------------------------------------


def _line(axes: Axes, points: Sequence[tuple[float, float]], label: str | None, colour: str, style: str = "-") -> None:
    marker = "." if len(points) < 3 else ""
    # A label that begins with an underscore is none to matplotlib.
    text = None if label is None else label.lstrip("_")
    axes.plot([x for x, _ in points], [y for _, y in points], style, label=text, color=colour, marker=marker)


def _over_time(axes: Axes, result: Result, unit: str, *, outside: bool = False) -> None:
    for window in result.windows:
        axes.axvspan(window.begin_s - result.begin_s, window.end_s - result.begin_s, color=SHADE, zorder=0, lw=0)
    axes.set_xlim(0, max(result.seconds, 1e-3))
    # Room for the legend above the lines.
    axes.set_ylim(0, max(axes.get_ylim()[1], 1e-9) * (1.0 if outside else 1.15))
    axes.set_xlabel("seconds of the run (measured where shaded)")
    axes.set_ylabel(unit)
    if outside:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    else:
        axes.legend(loc="upper right", ncols=3)


def _names(seconds: Iterable[Seconds]) -> list[str]:
    return list(dict.fromkeys(one.name for one in seconds))


def _listed(names: Iterable[str]) -> str:
    text = ", ".join(dict.fromkeys(names))
    return text[:1].upper() + text[1:]


def _svg(
    number: int, title: str, *draws: Callable[[Axes], None], finish: Callable[[Axes], None] = lambda _: None
) -> str:
    # Two plots on one page must not name their parts alike.
    style: Any = {**_STYLE, "svg.hashsalt": f"roomring-{number}"}
    with mpl.rc_context(style):
        figure = Figure(figsize=SIZE_IN, layout="constrained")
        for place, draw in enumerate(draws, 1):
            axes = figure.add_subplot(1, len(draws), place)
            draw(axes)
            finish(axes)
        if len(draws) == 1:
            axes.set_title(title)
        out = StringIO()
        # Without what tells the time and names the library, by a link.
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = out.getvalue()
    svg = text[text.index("<svg") :].strip()
    svg = _ID.sub(lambda match: f"{match[1]}p{number}-", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{_attribute(title)}" ', 1)


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
