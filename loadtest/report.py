"""A result as tables, and as text for people. No IO."""

from collections.abc import Iterable, Sequence
from typing import Final

from loadtest.histogram import Histogram
from loadtest.result import Result
from loadtest.scenario import Cell, Table
from loadtest.table import render_table
from loadtest.usage import Window, sum_over

CALLS_SHOWN_MAX: Final = 6
REMARKS_SHOWN_MAX: Final = 20

TROUBLES: Final = (
    "roomring_edge_busy_total",
    "roomring_edge_connections_refused_total",
    "roomring_edge_movements_skipped_total",
    "roomring_edge_output_gaps_total",
    "roomring_edge_room_repairs_total",
    "roomring_edge_store_errors_total",
    "roomring_edge_audit_failures_total",
    "roomring_worker_bad_entries_total",
    "roomring_worker_database_misses_total",
    "roomring_worker_database_waits_total",
    "roomring_worker_dead_letters_total",
    "roomring_worker_failures_total",
    "roomring_worker_rate_limit_notices_total",
    "roomring_worker_refused_commits_total",
    "roomring_worker_repeated_batches_total",
    "roomring_worker_store_errors_total",
    "roomring_worker_unreadable_events_total",
)
"""Counters of what should not happen under a load that the servers bear."""


def show(cell: Cell) -> str:
    """Return a cell as text: whole numbers with separators, others with three digits that count."""
    match cell:
        case None:
            return "-"
        case bool() | str():
            return str(cell)
        case int():
            return f"{cell:,}"
        case float():
            size = abs(cell)
            if size >= 100:
                return f"{cell:,.0f}"
            if size >= 10:
                return f"{cell:.1f}"
            if size >= 1 or size == 0:
                return f"{cell:.2f}"
            return f"{cell:.3g}"


def title(result: Result) -> str:
    """Return what was run, in one line."""
    workers = "" if result.workers is None else f", {_count(result.workers, 'worker')}"
    return f"Load test {result.scenario} of {result.label}: {_count(result.edges, 'edge')}{workers}"


def options_line(result: Result) -> str:
    """Return the options of the run."""
    return " ".join(f"{name}={_plain(value)}" for name, value in result.values.items())


def tables(result: Result) -> list[Table]:
    """Return all tables of a result; none of them is empty."""
    found = [
        *result.findings.tables,
        _latency(result),
        *_cpu(result),
        *_redis(result.windows),
        *_troubles(result.windows),
    ]
    return [table for table in found if table.rows]


def redis_calls(windows: Sequence[Window]) -> Table:
    """Return which commands Redis was sent, over all windows."""
    calls: dict[str, int] = {}
    spent_us: dict[str, int] = {}
    for window in windows:
        if window.redis is not None:
            for name, count in window.redis.calls.items():
                calls[name] = calls.get(name, 0) + count
                spent_us[name] = spent_us.get(name, 0) + window.redis.command_us[name]
    rows: list[tuple[Cell, ...]] = [
        (name, count, spent_us[name] / 1000, spent_us[name] / count)
        for name, count in sorted(calls.items(), key=lambda item: -item[1])
    ]
    return Table("Redis command", ("calls", "time in it, ms", "µs each"), rows)


def counters(windows: Sequence[Window]) -> Table:
    """Return the growth of all the servers' counters, over all windows and processes."""
    seconds = sum(window.seconds for window in windows)
    rows: list[tuple[Cell, ...]] = [
        (name, _whole(value), value / seconds if seconds else None) for name, value in _grown(windows).items()
    ]
    return Table("Counter, all processes", ("growth", "a second"), rows)


def render(result: Result, *, colours: bool = False) -> str:
    """Return the report as text with a line feed at its end."""
    lines = [f"{title(result)}, {result.seconds:.0f} s in all", f"  {options_line(result)}".rstrip(), ""]
    main = [(figure.name, figure.value, figure.unit) for figure in result.findings.figures if figure.main]
    first = [Table("Figures", ("value", "unit"), [*main])] if main else []
    for table in [*first, *tables(result)]:
        rows = [[table.title, *table.columns], *([show(cell) for cell in row] for row in table.rows)]
        lines += [*render_table(rows), ""]
    remarks = result.remarks()
    if remarks:
        lines += [f"  {remark}" for remark in remarks[:REMARKS_SHOWN_MAX]]
        if len(remarks) > REMARKS_SHOWN_MAX:
            lines.append(f"  and {len(remarks) - REMARKS_SHOWN_MAX:,} more remarks")
        lines.append("")
    lines.append(_coloured(result, f"  {result.verdict()}") if colours else f"  {result.verdict()}")
    return "\n".join(lines) + "\n"


def _latency(result: Result) -> Table:
    histograms = list(result.findings.histograms.items())
    lag = Histogram()
    for window in result.windows:
        # Of several windows, those in which the generator need not keep up would hide how the others were.
        if window.lag is not None and (window.judged or len(result.windows) == 1):
            lag.merge(window.lag)
    rows = [_latency_row(name, histogram) for name, histogram in [*histograms, ("generator lag", lag)]]
    return Table("Latency, ms", ("p50", "p95", "p99", "p99.9", "max", "samples"), [row for row in rows if row[-1]])


def _latency_row(name: str, histogram: Histogram) -> tuple[Cell, ...]:
    values = [*(histogram.percentile(percent) for percent in (50, 95, 99, 99.9)), histogram.max_us]
    return (name, *(value / 1000 for value in values), histogram.total)


def _cpu(result: Result) -> list[Table]:
    if len(result.windows) == 1:
        return [_cpu_of(result.windows[0], result)]
    return [_cpu_by_window(result.windows)] if result.windows else []


def _cpu_of(window: Window, result: Result) -> Table:
    def row(name: str, processes: int, user_s: float, system_s: float, rss_bytes: int | None) -> tuple[Cell, ...]:
        each_us = (user_s + system_s) * 1e6 / window.work if window.work else None
        rss = None if rss_bytes is None else rss_bytes / 2**20
        return (name, processes, *(_cores(s, window) for s in (user_s + system_s, user_s, system_s)), each_us, rss)

    rows = [
        row(kind, usage.processes, usage.user_s, usage.system_s, usage.rss_bytes)
        for kind, usage in window.usage.items()
    ]
    if window.usage:
        all_of = window.usage.values()
        rows.append(
            row(
                "sum",
                sum(usage.processes for usage in all_of),
                sum(usage.user_s for usage in all_of),
                sum(usage.system_s for usage in all_of),
                sum(usage.rss_bytes for usage in all_of),
            )
        )
    own_s = sum(window.generator_cpu_s)
    each_us = own_s * 1e6 / window.work if window.work else None
    rows.append(("generator", len(window.generator_cpu_s), _cores(own_s, window), None, None, each_us))
    if window.machine_cpu_s is not None:
        # Far above the sum, it shows that others use the machine, and why a generator was late.
        rows.append((f"machine of {result.host.get('cores', '?')} cores", None, _cores(window.machine_cpu_s, window)))
    columns = ("processes", "cores", "user", "system", f"µs per {window.work_unit}", "RSS, MiB")
    return Table("CPU", columns, rows)


def _cpu_by_window(windows: Sequence[Window]) -> Table:
    kinds = list(dict.fromkeys(kind for window in windows for kind in window.usage))
    rows: list[tuple[Cell, ...]] = []
    for number, window in enumerate(windows, 1):
        by_kind = [_cores(window.usage[kind].cpu_s, window) if kind in window.usage else None for kind in kinds]
        machine = None if window.machine_cpu_s is None else _cores(window.machine_cpu_s, window)
        rss_mib = sum(usage.rss_bytes for usage in window.usage.values()) / 2**20 if window.usage else None
        rows.append(
            (
                window.name or str(number),
                window.seconds,
                *by_kind,
                _cores(sum(window.generator_cpu_s), window),
                window.lag.percentile(99) / 1000 if window.lag is not None and window.lag.total else None,
                machine,
                window.cpu_us_each(),
                rss_mib,
            )
        )
    each = f"servers, µs per {_unit(windows)}"
    columns = ("s", *kinds, "generator", "its lag p99, ms", "machine", each, "servers' RSS, MiB")
    return Table("CPU, cores", columns, rows)


def _redis(windows: Sequence[Window]) -> list[Table]:
    rows: list[tuple[Cell, ...]] = []
    for number, window in enumerate(windows, 1):
        redis = window.redis
        if redis is None or not window.seconds:
            continue
        most = ", ".join(name for name in list(redis.calls)[:CALLS_SHOWN_MAX])
        rows.append(
            (
                window.name or ("in the window" if len(windows) == 1 else str(number)),
                redis.commands / window.seconds,
                redis.bytes_in / window.seconds / 1024,
                redis.bytes_out / window.seconds / 1024,
                redis.commands / window.work if window.work else None,
                most,
            )
        )
    each = f"commands per {_unit(windows)}"
    return [Table("Redis", ("commands/s", "in, KiB/s", "out, KiB/s", each, "most called"), rows)]


def _troubles(windows: Sequence[Window]) -> list[Table]:
    grown = _grown(windows)
    rows: list[tuple[Cell, ...]] = [(name, _whole(grown[name])) for name in TROUBLES if name in grown]
    return [Table("Troubles that servers counted", ("times",), rows)]


def _unit(windows: Sequence[Window]) -> str:
    units = {window.work_unit for window in windows}
    return units.pop() if len(units) == 1 else "unit of work"


def _grown(windows: Iterable[Window]) -> dict[str, float]:
    return sum_over({str(number): sum_over(window.counters) for number, window in enumerate(windows)})


def _whole(value: float) -> Cell:
    return int(value) if value == int(value) else value


def _cores(cpu_s: float, window: Window) -> float | None:
    return cpu_s / window.seconds if window.seconds else None


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _coloured(result: Result, text: str) -> str:
    colour = 31 if result.failures() else 33 if result.invalid() else 32
    return f"\x1b[{colour}m{text}\x1b[0m"
