"""Shells on a loop whose time jumps: what would sleep for a second takes no time, and always the same course."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from common.timer import LoopTimer, Timer
from tests.unit.stage import START_MS

Result = TypeVar("Result")


class _Jump(selectors.DefaultSelector):
    """Does not wait: the time that the loop would have waited has passed."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "nothing can happen any more"
            self.now_s += max(0.0, timeout)
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now_s


class LoopClock:
    """The clock of the running loop."""

    def now_ms(self) -> int:
        return START_MS + round(self.monotonic_ms())

    def monotonic_ms(self) -> float:
        return asyncio.get_running_loop().time() * 1000.0

    def timer(self, callback: Callable[[], None]) -> Timer:
        return LoopTimer(callback, self.monotonic_ms)


def drive(course: Coroutine[Any, Any, Result]) -> Result:
    """Run a course of events to its end."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(course)


async def turns(count: int = 20) -> None:
    """Let everything run that can, without time passing."""
    for _ in range(count):
        await asyncio.sleep(0)
