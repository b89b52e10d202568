"""A timer rings once for each time that it was set, and not before."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from common.clock import SystemClock
from common.timer import FileTimer, LoopTimer, Timer

CLOCK = SystemClock()
Make = Callable[[Callable[[], None]], Timer]
Drive = Callable[[Coroutine[Any, Any, None]], None]


def _loop_timer(callback: Callable[[], None]) -> Timer:
    return LoopTimer(callback, CLOCK.monotonic_ms)


@pytest.fixture(
    params=[
        _loop_timer,
        pytest.param(FileTimer, marks=pytest.mark.skipif(not FileTimer.is_available(), reason="Linux has them")),
    ]
)
def make(request: pytest.FixtureRequest) -> Make:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(params=[asyncio.run, uvloop.run])
def drive(request: pytest.FixtureRequest) -> Drive:
    return request.param  # type: ignore[no-any-return]


class Rings:
    """When a timer rang."""

    def __init__(self, make: Make) -> None:
        self.at_ms: list[float] = []
        self.rang = asyncio.Event()
        self.timer = make(self._ring)

    def _ring(self) -> None:
        self.at_ms.append(CLOCK.monotonic_ms())
        self.rang.set()

    async def next(self) -> float:
        await asyncio.wait_for(self.rang.wait(), 5.0)
        self.rang.clear()
        return self.at_ms[-1]


def _open_files() -> int:
    """Return how many files this process has open; 0 where the system does not tell."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def test_it_rings_once_and_not_before_its_time(make: Make, drive: Drive) -> None:
    async def course() -> None:
        rings = Rings(make)
        for _ in range(3):
            at_ms = CLOCK.monotonic_ms() + 5.0
            rings.timer.set(at_ms)
            # Timers of uvloop are of whole ms, from the last look at the clock.
            assert await rings.next() >= at_ms - 2.0
        await asyncio.sleep(0.03)
        assert len(rings.at_ms) == 3
        rings.timer.close()

    drive(course())


def test_a_time_that_has_passed_rings_at_once(make: Make, drive: Drive) -> None:
    async def course() -> None:
        rings = Rings(make)
        for at_ms in (CLOCK.monotonic_ms() - 5.0, 0.0, -1.0):
            rings.timer.set(at_ms)
            await rings.next()
        rings.timer.close()

    drive(course())


def test_setting_it_again_takes_the_place(make: Make, drive: Drive) -> None:
    async def course() -> None:
        rings = Rings(make)
        now_ms = CLOCK.monotonic_ms()
        rings.timer.set(now_ms + 60_000.0)
        rings.timer.set(now_ms + 3.0)
        await rings.next()
        rings.timer.set(CLOCK.monotonic_ms() + 3.0)
        rings.timer.set(CLOCK.monotonic_ms() + 60_000.0)
        await asyncio.sleep(0.03)
        assert len(rings.at_ms) == 1
        rings.timer.close()

    drive(course())


def test_set_anew_after_its_time_but_before_the_loop_saw_it_it_rings_at_the_new_one(make: Make, drive: Drive) -> None:
    async def course() -> None:
        rings = Rings(make)
        rings.timer.set(0.0)
        rings.timer.set(CLOCK.monotonic_ms() + 60_000.0)
        await asyncio.sleep(0.03)
        assert rings.at_ms == []
        rings.timer.set(CLOCK.monotonic_ms() + 1.0)
        await rings.next()
        rings.timer.close()

    drive(course())


def test_closed_it_holds_no_file(make: Make, drive: Drive) -> None:
    async def course() -> None:
        before = _open_files()
        rings = Rings(make)
        rings.timer.set(CLOCK.monotonic_ms() + 3.0)
        rings.timer.close()
        rings.timer.close()
        await asyncio.sleep(0.03)
        assert rings.at_ms == []
        assert _open_files() == before

    drive(course())


@pytest.mark.skipif(not FileTimer.is_available(), reason="Linux has them")
def test_the_system_clock_gives_the_exact_one() -> None:
    async def course() -> None:
        timer = CLOCK.timer(lambda: None)
        assert isinstance(timer, FileTimer)
        timer.close()

    asyncio.run(course())
