import re
from html.parser import HTMLParser

from loadtest.histogram import Histogram
from loadtest.html_report import render_html
from loadtest.scenario import Figure, Series, Table
from tests.unit.loadtest.results import findings_of, histogram_of, result_of, trace_of, window_of

EVIL = '<script>alert("1")</script>&'


class Reader(HTMLParser):
    """Collects what a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_has_verdict_figures_tables_and_plots() -> None:
    page = Reader(render_html(result_of()))
    for part in (
        "PASSED",
        "latency p50",
        "1.50",
        "Updates",
        "12,000",
        "members=2 rate=20",
        "roomring_edge_messages_in",
    ):
        assert part in page.text, part
    for title in (
        "Latency over time",
        "Throughput over time",
        "Latency by percentile",
        "CPU by process",
        "Memory by process",
        "Sockets",
    ):
        assert ("aria-label", title) in page.attributes, title
    assert page.tags.count("svg") == 6


def test_axes_name_their_units_and_lines_their_processes() -> None:
    page = Reader(render_html(result_of()))
    for part in ("latency, ms", "updates, 1/s", "percentile", "99.9", "cores", "resident memory, MiB", "edge-1", "p95"):
        assert part in page.text, part


def test_what_others_named_cannot_become_markup() -> None:
    result = result_of(
        label=EVIL,
        urls=(f"http://{EVIL}",),
        workers=None,
        values={"room": EVIL},
        host={"cores": EVIL},
        findings=findings_of(
            figures=[Figure(EVIL, 1.0, EVIL)],
            tables=[Table(EVIL, (EVIL,), [(EVIL, EVIL)])],
            histograms={EVIL: histogram_of(1)},
            series=[Series(EVIL, EVIL, [(101.0, 1.0), (102.0, 1.0)])],
            remarks=[EVIL],
            failures=[EVIL],
            invalid=[EVIL],
        ),
        windows=[window_of(name=EVIL, counters={EVIL: {EVIL: 1.0}})],
        traces=[trace_of(EVIL, EVIL, 0.5)],
    )
    page = Reader(render_html(result))
    assert "script" not in page.tags
    assert page.text.count(EVIL) > 10


def test_a_label_with_dollars_is_no_formula() -> None:
    findings = findings_of(series=[Series("$x^2$ and $", "$", [(101.0, 1.0), (102.0, 1.0)])])
    assert "$x^2$ and $" in Reader(render_html(result_of(findings=findings))).text


def test_the_page_asks_for_nothing_from_elsewhere() -> None:
    text = render_html(result_of())
    page = Reader(text)
    fetching = [
        value or "" for name, value in page.attributes if name in ("src", "href", "xlink:href", "srcset", "data")
    ]
    assert all(value.startswith("#") for value in fetching), fetching
    assert not {"script", "link", "img", "iframe", "object", "image"} & set(page.tags)
    assert all(place.startswith("#") for place in re.findall(r"url\(([^)]*)", text))
    assert "@import" not in text
    assert "<!DOCTYPE svg" not in text


def test_no_two_parts_of_the_page_have_one_id() -> None:
    ids = [value for name, value in Reader(render_html(result_of())).attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_the_page_is_small_also_after_a_long_run_of_many_processes() -> None:
    traces = [trace_of(f"edge-{number}", "edge", 0.1) for number in range(32)]
    for trace in traces:
        trace.at_s = [100.0 + second for second in range(600)]
        trace.usage = [trace.usage[second % 4] for second in range(600)]
    assert len(render_html(result_of(traces=traces, seconds=600.0))) < 1_000_000


def test_a_run_that_measured_nothing_has_a_page_too() -> None:
    findings = findings_of(figures=[], tables=[], histograms={"transforms": Histogram()}, seconds=[], series=[])
    page = Reader(render_html(result_of(findings=findings, windows=[], traces=[], interrupted=True)))
    assert "INVALID: interrupted" in page.text
    assert "svg" not in page.tags
