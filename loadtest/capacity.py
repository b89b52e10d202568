"""What a cluster takes: from rooms, members and rate to entries, writes and cores. No IO.

Work is counted first (`traffic_of`), from how workers gather and edges write: what no machine changes. What a piece of
it costs (`Costs`) is fitted to runs of `space` on one machine (`fit`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from common.errors import SettingsError
from roomworker.gather import load_of, period_ms_at

TURN_MS: Final = 1.0
"""From the read of a batch to the news of it at the edges, and the next read: what a period is longer by, about."""

BUSY_MAX: Final = 0.6
"""Up to so much of a core a process is planned for: the rest is for storms and for the failure of another one."""

PROCESSES_MAX: Final = 1_000

Costs = Mapping[str, Mapping[str, float]]
"""Kind of process -> name in `Traffic` -> µs of CPU time for each."""

TERMS: Final[Mapping[str, tuple[str, ...]]] = {
    "edge": ("commands", "inputs", "outputs", "writes", "deliveries", "edges"),
    "worker": ("commands", "turns", "room_turns", "workers"),
    "valkey": ("inputs", "turns", "outputs", "workers"),
}
"""What the CPU time of a kind is made of."""


MEASURED: Final[Costs] = {
    "edge": {"commands": 0.0, "inputs": 42.0, "outputs": 210.0, "writes": 16.3, "deliveries": 0.08, "edges": 36_000.0},
    "worker": {"commands": 12.2, "turns": 626.0, "room_turns": 117.0, "workers": 9_700.0},
    "valkey": {"inputs": 36.4, "turns": 236.0, "outputs": 40.5, "workers": 8_700.0},
}
"""On the machine of docs/performance.md, from the 24 runs that it tells of. What frames of clients cost cannot be told
from the entries that carry them."""


class BadRuns(SettingsError):
    """Results from which no costs can be found. One line."""


@dataclass(frozen=True)
class Load:
    """Rooms of the same size whose members all move at the same rate, evenly spread over edges and workers."""

    rooms: int
    members: int
    rate: float
    """Transforms a second of each member."""
    edges: int = 1
    workers: int = 1
    gather_ms_max: float = 20.0


@dataclass(frozen=True)
class Traffic:
    """What happens in a second, in the whole cluster."""

    commands: float
    """Frames from clients."""
    deliveries: float
    """Movements to members."""
    turns: float
    """Batches of workers, each one commit."""
    room_turns: float
    """Rooms in them."""
    inputs: float
    """Entries from edges to workers."""
    outputs: float
    """Entries from workers to edges."""
    writes: float
    """Writes to sockets."""
    edges: float
    """Edges, each for a second."""
    workers: float
    """Workers, also those without a room."""
    period_ms: float
    """From one batch of a worker to the next."""


def traffic_of(load: Load) -> Traffic:
    """Return what a load makes the cluster do."""
    commands = load.rooms * load.members * load.rate
    deliveries = commands * load.members
    # A worker without a room does nothing.
    workers = min(load.workers, load.rooms)
    of_worker, rooms = commands / workers, load.rooms / workers
    pause_ms = min(period_ms_at(load_of(deliveries, commands) / workers), load.gather_ms_max)
    # After the pause it reads as soon as there is something.
    cycle_s = (pause_ms + TURN_MS) / 1000.0 if pause_ms else 0.0
    turns = 1.0 / max(cycle_s, 1.0 / of_worker)
    touched = _touched(rooms, of_worker / turns)
    edges = min(load.edges, load.members)
    # An edge sends an entry for each room that its own members have moved in.
    inputs = edges * _touched(rooms, of_worker / turns / edges)
    return Traffic(
        commands=commands,
        deliveries=deliveries,
        turns=workers * turns,
        room_turns=workers * turns * touched,
        inputs=workers * turns * inputs,
        outputs=workers * turns * edges,
        writes=workers * turns * touched * load.members,
        edges=load.edges,
        workers=load.workers,
        period_ms=1000.0 / turns,
    )


def cores_of(load: Load, costs: Costs) -> dict[str, float]:
    """Return the cores that each kind of process takes."""
    traffic = traffic_of(load)
    return {kind: sum(getattr(traffic, term) * us for term, us in of.items()) / 1e6 for kind, of in costs.items()}


def cluster_for(load: Load, costs: Costs) -> Load:
    """Return the load on as few edges and workers as bear it.

    A room is on one worker, so a room that is too much for one of them is left so: see `cores_of`.
    """
    while True:
        cores = cores_of(load, costs)
        edges = _processes(cores["edge"], load.edges, PROCESSES_MAX)
        workers = _processes(cores["worker"], load.workers, min(PROCESSES_MAX, load.rooms))
        if (edges, workers) == (load.edges, load.workers):
            return load
        # More of them have more entries between them, which may ask for still more.
        load = replace(load, edges=edges, workers=workers)


def load_in(result: Mapping[str, Any]) -> Load:
    """Return the load of a run of `space` or `many-rooms`.

    Raises:
        BadRuns: it is a run of something else.
    """
    if result["scenario"] not in ("space", "many-rooms") or result["values"].get("movers"):
        raise BadRuns("costs are found from runs of space and many-rooms in which all members move")
    if result["workers"] is None:
        raise BadRuns("a run with --against does not say what the servers used; take runs on clusters of their own")
    values = result["values"]
    return Load(values["rooms"], values["members"], values["rate"], result["edges"], result["workers"])


def measured_of(result: Mapping[str, Any]) -> dict[str, float]:
    """Return the cores that each kind of process took in a run."""
    # One that was interrupted early has no window.
    cpu = result["windows"][0]["cpu"] if result["windows"] else {}
    return {kind: cpu[kind]["cores"] for kind in TERMS if kind in cpu}


def fit(results: Sequence[Mapping[str, Any]]) -> Costs:
    """Find the costs that explain runs best, each run by its share of error.

    Raises:
        BadRuns: they are too few, or of something else.
    """
    if len(results) <= max(map(len, TERMS.values())):
        raise BadRuns(
            f"{len(results)} runs are too few; take at least {max(map(len, TERMS.values())) + 1}, of several sizes"
        )
    traffics = [traffic_of(load_in(result)) for result in results]
    costs: dict[str, dict[str, float]] = {}
    for kind, terms in TERMS.items():
        measured = np.array([measured_of(result).get(kind, 0.0) for result in results])
        if not measured.all():
            raise BadRuns(f"a run does not say what its processes of the kind {kind} used")
        work = np.array([[getattr(traffic, term) / 1e6 for term in terms] for traffic in traffics])
        costs[kind] = dict(zip(terms, _least_squares(work / measured[:, None]), strict=True))
    return costs


def _least_squares(shares: npt.NDArray[np.float64]) -> list[float]:
    """Return the factors, none below 0, by which columns sum up to about 1 in each row."""
    used = list(range(shares.shape[1]))
    while True:
        found, *_ = np.linalg.lstsq(shares[:, used], np.ones(len(shares)), rcond=None)
        if (found >= 0).all():
            break
        # What would cost less than nothing cannot be told from the others.
        used.pop(int(found.argmin()))
    factors = dict(zip(used, found.tolist(), strict=True))
    return [factors.get(column, 0.0) for column in range(shares.shape[1])]


def _touched(rooms: float, commands: float) -> float:
    """Return in how many of `rooms` at least one of so many commands is, if each may be in any."""
    if commands <= 1.0 or rooms <= 1.0:
        return min(1.0, commands)
    return 1.0 + (rooms - 1.0) * -math.expm1(-(commands - 1.0) / rooms)


def _processes(cores: float, least: int, most: int) -> int:
    return max(least, min(most, math.ceil(cores / BUSY_MAX)))
