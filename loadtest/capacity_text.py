"""The answers of `roomring loadtest capacity` as text. No IO."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from loadtest.capacity import (
    BUSY_MAX,
    Costs,
    Load,
    cluster_for,
    cores_of,
    load_in,
    measured_of,
    traffic_of,
)
from loadtest.frames import TRANSFORM_FRAME_BYTES
from loadtest.table import render_table

TERM_NAMES: Final[Mapping[str, str]] = {
    "commands": "a frame from a client",
    "inputs": "an entry from an edge to a worker",
    "outputs": "an entry from a worker to an edge",
    "writes": "a write to a socket",
    "deliveries": "a movement in it",
    "turns": "a batch of a worker",
    "room_turns": "a room in it",
    "edges": "an edge, every second",
    "workers": "a worker, every second",
}
"""What each name in `Traffic` is called."""


def render_answer(load: Load, costs: Costs) -> str:
    """Return what a load takes, with a line feed at its end.

    Args:
        load: edges and workers in it are the fewest that there shall be.
    """
    given, load = load, cluster_for(load, costs)
    traffic, cores = traffic_of(load), cores_of(load, costs)
    rows = [
        [f"{load.rooms:,} rooms of {load.members:,} at {load.rate:g} Hz", "a second"],
        ["movements from members", f"{traffic.commands:,.0f}"],
        ["movements to members", f"{traffic.deliveries:,.0f}"],
        ["writes to sockets", f"{traffic.writes:,.0f}"],
        ["movements in a write", f"{traffic.deliveries / traffic.writes:.1f}"],
        ["entries in Redis", f"{traffic.inputs + traffic.outputs:,.0f}"],
        ["MB to members", f"{traffic.deliveries * TRANSFORM_FRAME_BYTES / 1e6:,.1f}"],
    ]
    processes = {"edge": load.edges, "worker": load.workers, "valkey": 1}
    table = [["takes", "processes", "cores", "of each"]]
    for kind, of_kind in cores.items():
        table.append([kind, f"{processes[kind]:,}", f"{of_kind:.2f}", f"{of_kind / processes[kind]:.2f}"])
    table.append(["sum", f"{sum(processes.values()):,}", f"{sum(cores.values()):.2f}", ""])
    lines = [*render_table(rows), "", *render_table(table), ""]
    lines.append(
        f"  A worker reads every {traffic.period_ms:.1f} ms; a movement waits half of that in the middle, and is some "
        "ms on the way."
    )
    lines += [f"  {remark}" for remark in _remarks(given, load, cores)]
    return "\n".join(lines) + "\n"


def render_fit(results: Sequence[Mapping[str, Any]], costs: Costs) -> str:
    """Return the costs that were found and how well they explain each run, with a line feed at its end."""
    rows = [["CPU time, µs", *costs]]
    for term, name in TERM_NAMES.items():
        row = [f"{of[term]:.2f}" if term in of else "" for of in costs.values()]
        rows.append([name, *row])
    runs = [["run", "edges", "workers", *(f"{kind}, cores" for kind in costs), "sum", "explained"]]
    for result in results:
        load, measured = load_in(result), measured_of(result)
        explained = cores_of(load, costs)
        cells = [f"{measured[kind]:.2f} ({explained[kind]:.2f})" for kind in costs]
        ratio = sum(explained.values()) / sum(measured.values())
        name = f"{load.rooms:,} x {load.members:,} at {load.rate:g} Hz"
        runs.append([name, f"{load.edges}", f"{load.workers}", *cells, f"{sum(measured.values()):.2f}", f"{ratio:.0%}"])
    return "\n".join([*render_table(rows), "", *render_table(runs), ""]) + "\n"


def _remarks(given: Load, load: Load, cores: Mapping[str, float]) -> list[str]:
    remarks = []
    if (load.edges, load.workers) != (given.edges, given.workers):
        remarks.append(f"So many that each process is busy for {BUSY_MAX:.0%} of a core at most.")
    if cores["worker"] / load.workers > BUSY_MAX:
        remarks.append("A room is on one worker. These are too much for one; make them smaller, or let fewer move.")
    if cores["valkey"] > BUSY_MAX:
        remarks.append(
            f"One Redis would be busy for {cores['valkey']:.0%} of a core; use several, with ROOMRING_PARTITIONS."
        )
    return remarks
