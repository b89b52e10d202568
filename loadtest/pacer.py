"""One alarm with a resolution far below a millisecond.

Event loops count timers in whole milliseconds (libuv, and epoll_wait below asyncio), so a message would go out up to
1 ms after its intended time: as much as the server's own latency. Linux's timerfd has no such grain and wakes the loop
as a readable file. Elsewhere the alarm falls back on the loop's timers, and the reported lag shows the difference.
"""

import asyncio
import ctypes
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

_TFD_NONBLOCK_CLOEXEC: Final = os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0)
_TFD_TIMER_ABSTIME: Final = 1


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("value", _TimeSpec))


class Pacer:
    """Calls back once for each `wake_at`. Not for two callers at once; a new `wake_at` replaces the one before."""

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._callback = callback
        self._timer: asyncio.TimerHandle | None = None
        self._libc = ctypes.CDLL(None)
        self._fd = -1
        if hasattr(self._libc, "timerfd_create"):
            self._fd = self._libc.timerfd_create(time.CLOCK_MONOTONIC, _TFD_NONBLOCK_CLOEXEC)
        if self._fd >= 0:
            loop.add_reader(self._fd, self._on_readable)

    def wake_at(self, monotonic_s: float) -> None:
        """Call back at this time of `time.monotonic()`, at once if it is past."""
        if self._fd < 0:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_later(max(0.0, monotonic_s - time.monotonic()), self._callback)
            return
        # A value of zero would disarm the timer.
        nanoseconds = max(1, int(monotonic_s * 1e9))
        spec = _TimerSpec(_TimeSpec(0, 0), _TimeSpec(*divmod(nanoseconds, 1_000_000_000)))
        self._libc.timerfd_settime(self._fd, _TFD_TIMER_ABSTIME, ctypes.byref(spec), None)

    def close(self) -> None:
        """Call back no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _on_readable(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._fd, 8)
        self._callback()
