"""Time that jumps, wall clocks that each process has for itself, and what happened when."""

import asyncio
import hashlib
import selectors
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from common.timer import LoopTimer, Timer

START_MS: Final = 1_700_000_000_000
FAULTS_SHOWN: Final = 40

Result = TypeVar("Result")


class _Jump(selectors.SelectSelector):
    """Never waits and never looks at a file: the time that the loop would have waited has passed."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "nothing can happen any more"
        if timeout > 0:
            self.now_s += timeout
        return []


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now_s


def drive(course: Coroutine[Any, Any, Result]) -> Result:
    """Run a course of events to its end."""
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(course)


def now_ms() -> float:
    """Milliseconds since the beginning, the same for all."""
    return asyncio.get_running_loop().time() * 1000.0


class ProcessClock:
    """The clock of one process; its wall time may be set."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def now_ms(self) -> int:
        return START_MS + int(now_ms()) + self.ahead_ms

    def monotonic_ms(self) -> float:
        return now_ms()

    def timer(self, callback: Callable[[], None]) -> Timer:
        return LoopTimer(callback, self.monotonic_ms)


class Trace:
    """Everything that happened, as one number to compare, and the newest faults as lines to read."""

    def __init__(self) -> None:
        self.lines = 0
        self._hash = hashlib.blake2b(digest_size=16)
        self._faults: deque[str] = deque(maxlen=FAULTS_SHOWN)

    def add(self, *what: object) -> None:
        self.lines += 1
        self._hash.update(repr((round(now_ms(), 3), what)).encode())

    def fault(self, *what: object) -> None:
        self.add("fault", *what)
        self._faults.append(f"{now_ms():9.0f} ms  {' '.join(map(str, what))}")

    def digest(self) -> str:
        return self._hash.hexdigest()

    def timeline(self) -> str:
        return "\n".join(self._faults)
