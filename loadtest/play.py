"""Lets members move and talk by a plan, in one generator or several, and measures the servers meanwhile."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from loadtest.dialect import JoinError
from loadtest.generator import Generator, GeneratorResult
from loadtest.generator_process import GeneratorProcess
from loadtest.moving import Moved, complete
from loadtest.plan import Plan
from loadtest.scenario import CannotRun, Stage
from loadtest.usage import Window

WARMUP_S: Final = 2.0
"""For the first flushes, allocations and TCP windows; they are no part of a steady load."""

DRAIN_S: Final = 2.0
"""What has not arrived so long after the last send is lost: about a thousand times the usual latency."""

START_DELAY_S: Final = 0.3
"""From the last join to the start: time to tell all generators."""

_READING_S: Final = 1.0
"""What a window may take to read the servers' numbers before it begins; some milliseconds on a machine with time."""

_PROGRESS_S: Final = 0.5

Generators = Sequence[Generator] | Sequence[GeneratorProcess]


def plan_of(
    stage: Stage,
    *,
    rooms: int,
    members: int,
    rate: float,
    seconds: float,
    chats: float,
    movers: int = 0,
    generators: int = 1,
    warmup_s: float = WARMUP_S,
) -> Plan:
    """Return a plan for rooms that nobody has used before.

    Args:
        members: of each room.
        movers: of each room; 0: all its members.
        rate: transforms a second for each mover.
        seconds: measured time.
        chats: chat messages a second in each room.
        generators: processes that make the load, at most one for each member.
    """
    return Plan(
        run_id=secrets.token_hex(4),
        urls=stage.target.urls,
        rooms=rooms,
        members_per_room=members,
        rate=rate,
        seconds=seconds,
        warmup_s=warmup_s,
        drain_s=DRAIN_S,
        chats_per_second=chats,
        movers_per_room=movers,
        generators=min(generators, rooms * members),
        dialect=stage.target.dialect,
    )


async def play(stage: Stage, plan: Plan, name: str = "") -> Moved:
    """Bring the members in, let them move to the end of the plan, and settle what became of it.

    An interruption ends it in order; what was measured until then counts.

    Args:
        name: of the window, and of the step in the progress; empty where there is only one.

    Raises:
        CannotRun: a member could not come in.
    """
    generators: Generators = (
        [Generator(plan)]
        if plan.generators == 1
        else [GeneratorProcess(replace(plan, generator=index)) for index in range(plan.generators)]
    )
    progress = asyncio.create_task(_show_joining(stage, plan, generators, name))
    result, window, start_s = GeneratorResult(), None, 0.0
    try:
        if await _join(stage, generators):
            start_s = time.monotonic() + START_DELAY_S
            progress.cancel()
            progress = asyncio.create_task(_show_moving(stage, plan, generators, start_s, name))
            window = await _move(stage, plan, generators, start_s, name)
            for generator in generators:
                result.merge(generator.result())
    except JoinError as error:
        raise CannotRun(str(error)) from error
    finally:
        progress.cancel()
        await asyncio.gather(progress, *(one.close() for one in generators), return_exceptions=True)
    if window is not None:
        complete(window, result, plan.generators)
    return Moved.of(plan, result, start_s, window)


async def _join(stage: Stage, generators: Generators) -> bool:
    """Bring all members in. Returns: False when it was interrupted."""
    joining = asyncio.gather(*(generator.join() for generator in generators))
    stopping = asyncio.create_task(stage.interrupted.wait())
    try:
        await asyncio.wait((joining, stopping), return_when=asyncio.FIRST_COMPLETED)
        if joining.done():
            joining.result()
            return True
        return False
    finally:
        for task in (joining, stopping):
            task.cancel()
        # What it raised, if anything, was raised above.
        with contextlib.suppress(asyncio.CancelledError, JoinError):
            await joining


async def _move(stage: Stage, plan: Plan, generators: Generators, start_s: float, name: str) -> Window | None:
    async def stop_when_interrupted() -> None:
        await stage.interrupted.wait()
        for generator in generators:
            generator.stop()

    async def measure() -> Window | None:
        begin_s = start_s + plan.warmup_s
        if not await stage.sleep_until(begin_s - _READING_S):
            return None
        async with stage.window(name, begin_s=begin_s) as window:
            await stage.sleep_until(begin_s + plan.seconds)
        return window

    stopper = asyncio.create_task(stop_when_interrupted())
    measuring = asyncio.create_task(measure())
    try:
        await asyncio.gather(*(generator.run(start_s) for generator in generators))
        return await measuring
    finally:
        stopper.cancel()
        measuring.cancel()
        await asyncio.gather(measuring, return_exceptions=True)


async def _show_joining(stage: Stage, plan: Plan, generators: Generators, name: str) -> None:
    while True:
        stage.progress(_words(name, f"joining: {_sockets(plan, generators)}"))
        await asyncio.sleep(_PROGRESS_S)


async def _show_moving(stage: Stage, plan: Plan, generators: Generators, start_s: float, name: str) -> None:
    received_before, at_before = 0, time.monotonic()
    while True:
        await asyncio.sleep(_PROGRESS_S)
        now_s = time.monotonic()
        received = sum(generator.received for generator in generators)
        rate = (received - received_before) / (now_s - at_before)
        received_before, at_before = received, now_s
        match now_s - start_s - plan.warmup_s:
            case before if before < 0:
                phase = "warming up"
            case measured if measured < plan.seconds and not stage.interrupted.is_set():
                phase = f"measuring {measured:.0f} of {plan.seconds:g} s"
            case _:
                phase = "waiting for the last"
        p99_ms = max(generator.latency.percentile(99) for generator in generators) / 1000
        latency = f", p99 {p99_ms:.1f} ms" if p99_ms else ""
        stage.progress(_words(name, f"{phase}: {_sockets(plan, generators)}, {rate:,.0f} updates/s{latency}"))


def _sockets(plan: Plan, generators: Generators) -> str:
    return f"{sum(generator.open_sockets for generator in generators):,} of {plan.members:,} sockets"


def _words(name: str, text: str) -> str:
    return f"{name}: {text}" if name else text
