"""One run of the scenario `space` on one server, as the figures that servers are compared by."""

import asyncio
import time
from pathlib import Path
from typing import Final

import uvloop

from loadtest.peers.batching import Batching, WriteCount, read_writes
from loadtest.peers.comparison import Measured
from loadtest.peers.serving import serving
from loadtest.result import Result
from loadtest.run import measure
from loadtest.scenario import CannotRun, Target, Values
from loadtest.scenarios import space
from loadtest.usage import sum_over

RUN_BEYOND_S: Final = 60.0
"""Beyond its plan: joining, and reading what is left. A server that hangs longer is given up."""

EDGE: Final = "edge"
_SAMPLE_S: Final = 0.1
_INPUT_BATCHES: Final = "roomring_edge_input_batches_total"


def measure_space(server: str, members: int, *, cache: Path, rate: float, seconds: float, generators: int) -> Measured:
    """Start a server, let members move in one room of it, and stop it. Call it in the main thread.

    Args:
        server: a name in the catalogue, or `ROOMRING`.
        cache: where peers are installed.
        rate: transforms a second of each member.
        generators: processes that make the load.

    Raises:
        RoomringError: it could not be installed or started, or nobody could come in, or it did not end in time.
        KeyboardInterrupt: the user has interrupted it.
    """
    given = {"members": members, "rate": rate, "seconds": seconds, "generators": generators}
    values = Values(space.SCENARIO.options, given)
    with serving(server, cache) as target:
        result, writes = uvloop.run(_measure(values, target, RUN_BEYOND_S + seconds))
    if result.interrupted:
        raise KeyboardInterrupt
    return measured_of(server, members, result, writes)


async def _measure(values: Values, target: Target, seconds_max: float) -> tuple[Result, WriteCount]:
    writes = WriteCount()
    sampler = asyncio.create_task(_sample_writes(target, writes))
    try:
        async with asyncio.timeout(seconds_max):
            return await measure(space.SCENARIO, values, target), writes
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
    return Measured(
        server=server,
        members=members,
        window_s=window.seconds,
        updates=window.work,
        **{name: transforms[name] for name in _COUNTS},
        p50_ms=latency.percentile(50) / 1000,
        p99_ms=latency.percentile(99) / 1000,
        cpu_s={kind: usage.cpu_s for kind, usage in window.usage.items()},
        generator_cores=max(window.generator_cpu_s, default=0.0) / window.seconds if window.seconds else 0.0,
        invalid=tuple(result.invalid()),
        failures=tuple(result.failures()),
        batching=Batching.of(window.work, max(0, to_sockets), members, window.seconds),
    )


_COUNTS: Final = ("expected", "delivered", "superseded", "lost", "out_of_order", "duplicates")
