"""One run of a scenario on one server, as the figures that servers are compared by."""

import asyncio
import time
from collections.abc import Mapping
from math import ceil, log2
from pathlib import Path
from typing import Final

import uvloop

from loadtest.peers.batching import Batching, WriteCount, read_writes
from loadtest.peers.comparison import Measured, Sustained
from loadtest.peers.serving import serving
from loadtest.play import DRAIN_S, START_DELAY_S, WARMUP_S
from loadtest.result import Result
from loadtest.run import measure
from loadtest.scenario import CannotRun, Scenario, Target, Values
from loadtest.scenarios import large_room, space
from loadtest.usage import Window, sum_over

RUN_BEYOND_S: Final = 60.0
"""Beyond its plan: joining, and reading what is left. A server that hangs longer is given up."""

FIRST_MEMBERS: Final = 20
"""Where the search for the largest room begins: some servers do not bear what it usually begins with."""

OTHERS_CORES_MAX: Final = 0.25
"""More of the machine's cores for other programs shows in the latencies. The kernel's own work counts as theirs too."""

_STEP_BEYOND_S: Final = 1.5
"""Of each step of a search, beside what the plan says: joining and leaving."""

EDGE: Final = "edge"
_SAMPLE_S: Final = 0.1
_INPUT_BATCHES: Final = "roomring_edge_input_batches_total"


def measure_space(
    server: str, members: int, *, cache: Path, rate: float, seconds: float, generators: int, movers: int = 0
) -> Measured:
    """Start a server, let members move in one room of it, and stop it. Call it in the main thread.

    Args:
        server: a name in the catalogue.
        cache: where peers are installed.
        rate: transforms a second of each mover.
        generators: processes that make the load.
        movers: members who move, while the others watch; 0: all.

    Raises:
        RoomringError: it could not be installed or started, or nobody could come in, or it did not end in time.
        KeyboardInterrupt: the user has interrupted it.
    """
    given = {"members": members, "movers": movers, "rate": rate, "seconds": seconds, "generators": generators}
    result, writes = _run(server, space.SCENARIO, given, cache, RUN_BEYOND_S + seconds)
    return measured_of(server, members, result, writes)


def find_largest_room(
    server: str, *, cache: Path, rate: float, members_max: int, p99_max_ms: float, generators: int, seconds_max: float
) -> Sustained:
    """Start a server, let one room of it grow until it breaks, and stop it. Otherwise as `measure_space`.

    Args:
        members_max: no larger room is tried.
        p99_max_ms: latency up to which a room holds.
        seconds_max: it is given up after that.
    """
    given = {"from": FIRST_MEMBERS, "to": members_max, "rate": rate, "p99": p99_max_ms, "generators": generators}
    result, _ = _run(server, large_room.SCENARIO, given, cache, RUN_BEYOND_S + seconds_max)
    return sustained_of(server, result)


def search_s(members_max: int) -> float:
    """Return how long `find_largest_room` takes at most, about."""
    step, precision = large_room.STEP.default, large_room.PRECISION.default
    halvings = ceil(log2(step / precision))
    # A size that holds needs one try; the first that does not, and each halving, may need all of them.
    tries = 1 + max(0, ceil((members_max - FIRST_MEMBERS) / step)) + large_room.TRIES.default * (1 + halvings)
    return tries * (_STEP_BEYOND_S + START_DELAY_S + WARMUP_S + large_room.SECONDS.default + DRAIN_S)


def _run(
    server: str, scenario: Scenario, given: Mapping[str, object], cache: Path, seconds_max: float
) -> tuple[Result, WriteCount]:
    values = Values(scenario.options, given)
    with serving(server, cache, environ=scenario.settings(values)) as target:
        result, writes = uvloop.run(_measure(scenario, values, target, seconds_max))
    if result.interrupted:
        raise KeyboardInterrupt
    return result, writes


async def _measure(scenario: Scenario, values: Values, target: Target, seconds_max: float) -> tuple[Result, WriteCount]:
    writes = WriteCount()
    sampler = asyncio.create_task(_sample_writes(target, writes))
    try:
        async with asyncio.timeout(seconds_max):
            return await measure(scenario, values, target), writes
    except TimeoutError as error:
        raise CannotRun(f"it did not end within {seconds_max:.0f} s") from error
    finally:
        sampler.cancel()
        await asyncio.gather(sampler, return_exceptions=True)


async def _sample_writes(target: Target, writes: WriteCount) -> None:
    while True:
        count = read_writes(target.pids().get(EDGE, ()))
        if count is not None:
            writes.add(time.monotonic(), count)
        await asyncio.sleep(_SAMPLE_S)


def measured_of(server: str, members: int, result: Result, writes: WriteCount) -> Measured:
    """Return a result of the scenario as what is compared.

    Args:
        writes: of the server's edges, where it has some.
    """
    window = result.windows[0]
    latency = result.findings.histograms["transforms"]
    transforms = result.findings.details["transforms"]
    # Each entry of an input stream is one write of an edge too.
    to_redis = sum_over(window.counters).get(_INPUT_BATCHES, 0.0)
    to_sockets = writes.between(window.begin_s, window.end_s) - round(to_redis)
    others_cores = _others_cores(window)
    invalid = result.invalid()
    if others_cores > OTHERS_CORES_MAX:
        invalid.append(f"other programs used {others_cores:.2f} cores of the machine (at most {OTHERS_CORES_MAX:g})")
    return Measured(
        server=server,
        members=members,
        window_s=window.seconds,
        updates=window.work,
        **{name: transforms[name] for name in _COUNTS},
        p50_ms=latency.percentile(50) / 1000 if latency.total else None,
        p99_ms=latency.percentile(99) / 1000 if latency.total else None,
        cpu_s={kind: usage.cpu_s for kind, usage in window.usage.items()},
        generator_cores=max(window.generator_cpu_s, default=0.0) / window.seconds if window.seconds else 0.0,
        others_cores=others_cores,
        invalid=tuple(invalid),
        failures=tuple(result.failures()),
        batching=Batching.of(window.work, max(0, to_sockets), members, window.seconds),
    )


def _others_cores(window: Window) -> float:
    """Return how many cores were busy with neither servers nor generator; 0 where it is not known."""
    if window.machine_cpu_s is None or not window.seconds:
        return 0.0
    ours_s = window.server_cpu_s() + sum(window.generator_cpu_s)
    return max(0.0, window.machine_cpu_s - ours_s) / window.seconds


def sustained_of(server: str, result: Result) -> Sustained:
    """Return a result of the scenario `large-room` as what is compared."""
    figures = {figure.name: figure.value or 0.0 for figure in result.findings.figures}
    broken_members = result.findings.details["firstBad"]
    broken_by = ""
    for row in result.findings.tables[0].rows:
        # The last try at a size is what counts; its row begins with the size.
        if broken_members is not None and str(row[0]).startswith(f"{broken_members} members"):
            broken_by = str(row[-1])
    return Sustained(
        server=server,
        members=int(figures["last good size"]),
        updates_per_second=figures.get("updates received at it", 0.0),
        p99_ms=figures.get("latency at it p99", 0.0),
        cpu_us=figures.get("server CPU per update at it", 0.0),
        broken_members=broken_members,
        broken_by=broken_by,
        invalid=tuple(result.invalid()),
    )


_COUNTS: Final = ("expected", "delivered", "superseded", "lost", "out_of_order", "duplicates")
