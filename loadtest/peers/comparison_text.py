"""A comparison as text. No IO."""

from collections.abc import Sequence
from statistics import median

from loadtest.peers.catalogue import ROOMRING, SERVERS, Peer
from loadtest.peers.comparison import (
    Comparison,
    Round,
    Spread,
    floor_ratios,
    ratios_of,
    spread,
    values_of,
)
from loadtest.table import render_table

FLOOR_LIMIT = 2.0
"""How many times the floor's CPU Roomring's edges may take at the same batching."""


def render(comparison: Comparison) -> str:
    """Return a comparison as text with a line feed at its end."""
    blocks = [_head(comparison)]
    for members in comparison.sizes:
        rounds = comparison.of_size(members)
        blocks.append(_figures(comparison, rounds, members))
        blocks.append(_processes(comparison, rounds))
        blocks.append(_floor(rounds))
    blocks.append(_fan_out(comparison))
    blocks.append(_sustained(comparison))
    blocks.append(_arrangements(comparison))
    blocks.append(_left_out(comparison))
    return "\n\n".join("\n".join(lines) for lines in blocks if lines) + "\n"


def title_of(server: str) -> str:
    """Return a server's name as people write it."""
    return SERVERS[server].title


def _head(comparison: Comparison) -> list[str]:
    return [
        f"Roomring and others: rooms whose members each send {comparison.rate:g} transforms/s, "
        f"{comparison.seconds:g} s a run",
        "Medians over the rounds, their range in brackets; `times` is the median of the rounds' ratios to Roomring.",
        "CPU is that of all server processes, Redis included, for each update that arrived. Superseded: it did not",
        "arrive, but a newer one of the same sender did, whether the server meant that or not.",
    ]


def _figures(comparison: Comparison, rounds: Sequence[Round], members: int) -> list[str]:
    head = [f"{members} members", "CPU, µs", "times", "p50, ms", "times", "p99, ms", "times"]
    rows = [[*head, "updates/s", "superseded", "lost", "out of order", "sound"]]
    for server in comparison.servers:
        found = [one.measured[server] for one in rounds if server in one.measured]
        if not found:
            continue
        cells = [title_of(server)]
        for figure, digits in (("cpu_us", 2), ("p50_ms", 1), ("p99_ms", 1)):
            cells.append(_range(spread(values_of(rounds, server, figure)), digits))
            cells.append(_range(spread(ratios_of(rounds, server, ROOMRING, figure)), 1) if server != ROOMRING else "")
        expected, superseded, lost = (
            sum(parts) for parts in zip(*((one.expected, one.superseded, one.lost) for one in found), strict=True)
        )
        cells += [
            f"{median(one.updates / one.window_s for one in found):,.0f}",
            *(f"{100 * part / expected:.2f} %" if expected else "-" for part in (superseded, lost)),
            f"{sum(one.out_of_order for one in found):,}",
            f"{sum(not one.invalid and not one.failures for one in found)} of {len(found)}",
        ]
        rows.append(cells)
    return render_table(rows)


def _processes(comparison: Comparison, rounds: Sequence[Round]) -> list[str]:
    rows = [["CPU by process, µs"]]
    for server in comparison.servers:
        found = [one.measured[server] for one in rounds if server in one.measured and one.measured[server].updates]
        kinds = dict.fromkeys(kind for one in found for kind in one.cpu_s)
        if found:
            each = (f"{kind} {median(one.cpu_us_of(kind) for one in found):.2f}" for kind in kinds)
            generator = (
                f"(generator {median(one.generator_cores * one.window_s / one.updates for one in found) * 1e6:.2f})"
            )
            rows.append([title_of(server), "  ".join([*each, generator])])
    return _left_table(rows)


def _floor(rounds: Sequence[Round]) -> list[str]:
    floors = [one.floor for one in rounds if one.floor is not None]
    found = spread(floor_ratios(rounds, ROOMRING, "edge"))
    if not floors or found is None:
        return []
    updates_per_write = median(floor.asked.updates_per_write for floor in floors)
    asked = median(floor.asked.writes_per_second for floor in floors)
    got = median(floor.got.writes_per_second for floor in floors)
    cost = _range(spread([floor.cpu_us for floor in floors]), 2)
    return [
        f"  Floor, {updates_per_write:.1f} updates to a write, {got:.0f} writes/s to each socket "
        f"(Roomring {asked:.0f}): {cost} µs;",
        f"  Roomring's edges, which also read, take {_range(found, 2)} times that.",
    ]


def _fan_out(comparison: Comparison) -> list[str]:
    rounds = comparison.fan_out
    found = spread(floor_ratios(rounds, ROOMRING, "edge"))
    if found is None:
        return []
    edges = spread([one.measured[ROOMRING].cpu_us_of("edge") for one in rounds])
    verdict = "within" if found.median <= FLOOR_LIMIT else "beyond"
    return [
        f"Fan-out: {rounds[0].members} members, most of whom only watch",
        *_floor(rounds),
        f"  The edges: {_range(edges, 2)} µs for each update, {verdict} {FLOOR_LIMIT:g} times the floor.",
    ]


def _sustained(comparison: Comparison) -> list[str]:
    if not comparison.sustained:
        return []
    rows = [["Largest room sustained", "members", "updates/s", "p99, ms", "CPU, µs", "too many", "since"]]
    for one in comparison.sustained:
        cells = [f"{one.members:,}", f"{one.updates_per_second:,.0f}", f"{one.p99_ms:.1f}", f"{one.cpu_us:.2f}"]
        broken = [f"{one.broken_members:,}", one.broken_by] if one.broken_members is not None else ["-", "-"]
        rows.append([title_of(one.server), *cells, *broken])
    return render_table(rows)


def _arrangements(comparison: Comparison) -> list[str]:
    lines = ["What each is, and what it does less than Roomring:"]
    for server in comparison.servers:
        one = SERVERS[server]
        versions = comparison.versions.get(server, "")
        lines.append(f"  {one.title}: {one.arrangement}{f' ({versions})' if versions else ''}.")
        if isinstance(one, Peer):
            lines.append(f"    Without {', '.join(one.does_less)}.{' ' + one.remark if one.remark else ''}")
    return lines


def _left_out(comparison: Comparison) -> list[str]:
    lines = [f"Not measured: {title_of(server)}: {reason}" for server, reason in comparison.missing.items()]
    lines += [f"Came to nothing: {what}" for what in comparison.failed]
    for kind, rounds in (("", comparison.rounds), (", fan-out", comparison.fan_out)):
        for one in rounds:
            for server, measured in one.measured.items():
                where = f"{title_of(server)}{kind}, {one.members} members, round {one.number + 1}"
                lines += [f"Not sound: {where}: {reason}" for reason in (*measured.invalid, *measured.failures)]
    for found in comparison.sustained:
        lines += [f"Not sound: {title_of(found.server)}, largest room: {reason}" for reason in found.invalid]
    if comparison.interrupted:
        lines.append("Interrupted: this is what there was.")
    return lines


def _range(found: Spread | None, digits: int) -> str:
    if found is None:
        return "-"
    if found.count == 1:
        return f"{found.median:.{digits}f}"
    return f"{found.median:.{digits}f} ({found.low:.{digits}f}-{found.high:.{digits}f})"


def _left_table(rows: Sequence[Sequence[str]]) -> list[str]:
    if len(rows) < 2:
        return []
    width = max(len(row[0]) for row in rows)
    return [f"  {row[0]:<{width}}  {'  '.join(row[1:])}".rstrip() for row in rows]
