"""A timer that can be set again and again.

Timers of event loops count in whole ms from the last look at the clock, so they ring up to one ms off. What has to
leave just before somebody reads would leave one ms too early to be on the safe side, or come too late. Linux gives
timers as files, exact to some hundredths of a ms; Python wraps them from 3.13 on (`os.timerfd_create`), before that
libc is called for them. Source: timerfd_create(2).
"""

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable
from functools import cache
from typing import Any, Final, Protocol

_CLOCK_MONOTONIC: Final = 1
"""The clock of `time.monotonic`."""

_TIMER_ABSTIME: Final = 1


class Timer(Protocol):
    """Rings once for each time that it was set."""

    def set(self, at_ms: float) -> None:
        """Ring at a monotonic time, in the place of the time set before; at once where it has passed."""
        ...

    def close(self) -> None:
        """Do not ring, and give back what it holds. It must not be set again."""
        ...


class LoopTimer:
    """A timer of the event loop, for any system and for simulated time."""

    def __init__(self, callback: Callable[[], None], monotonic_ms: Callable[[], float]) -> None:
        self._callback = callback
        self._monotonic_ms = monotonic_ms
        self._handle: asyncio.TimerHandle | None = None

    def set(self, at_ms: float) -> None:
        """See `Timer.set`."""
        self.close()
        delay_ms = max(0.0, at_ms - self._monotonic_ms())
        self._handle = asyncio.get_running_loop().call_later(delay_ms / 1000.0, self._callback)

    def close(self) -> None:
        """See `Timer.close`."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class _TimeSpec(ctypes.Structure):
    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("at_s", ctypes.c_long),
        ("at_ns", ctypes.c_long),
    )


class FileTimer:
    """A timer of the Linux kernel, whose file the loop of the caller watches."""

    def __init__(self, callback: Callable[[], None]) -> None:
        libc = _libc()
        assert libc is not None, "no such timers here"
        self._callback = callback
        self._spec = _TimeSpec()
        self._spec_pointer = ctypes.byref(self._spec)
        self._loop = asyncio.get_running_loop()
        self._settime = libc.timerfd_settime
        self._file = _open(libc)
        if self._file < 0:
            raise OSError(ctypes.get_errno(), "the kernel gives no timer")
        self._loop.add_reader(self._file, self._rang)

    @staticmethod
    def is_available() -> bool:
        """Whether this system has them."""
        return _libc() is not None

    def set(self, at_ms: float) -> None:
        """See `Timer.set`."""
        # Zero would mean never.
        at_ns = max(1, round(at_ms * 1e6))
        self._spec.at_s, self._spec.at_ns = divmod(at_ns, 1_000_000_000)
        self._settime(self._file, _TIMER_ABSTIME, self._spec_pointer, None)

    def close(self) -> None:
        """See `Timer.close`."""
        if self._file >= 0:
            self._loop.remove_reader(self._file)
            os.close(self._file)
            self._file = -1

    def _rang(self) -> None:
        try:
            os.read(self._file, 8)
        except BlockingIOError:
            # It was set anew since the loop saw it.
            return
        self._callback()


@cache
def _libc() -> Any:
    """Return libc where it and the kernel have such timers; None elsewhere. A sandbox may forbid them."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "timerfd_create"):
        return None
    file = _open(libc)
    if file < 0:
        return None
    os.close(file)
    return libc


def _open(libc: Any) -> int:
    """Return the file of a new timer; below 0 where there is none."""
    file: int = libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
    return file
