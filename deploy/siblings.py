"""Several processes of one kind under one parent that starts them, passes SIGTERM and SIGINT on, and ends after them.

Owns no socket and no loop. Who dies is started again at once, alone, and the others notice nothing. Where several
deaths follow each other another start would not help: all are told to end, and the parent's supervisor decides.
"""

import gc
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from common.log import get_logger
from deploy.child import end_with

DEATHS_MAX: Final = 2
DEATHS_WITHIN_S: Final = 10.0
"""More deaths within so long have one cause, which the next start would meet too."""

_TOLD_TO_END: Final = frozenset({signal.SIGTERM, signal.SIGINT})
_SIGNALS: Final = _TOLD_TO_END | {signal.SIGCHLD}


class Siblings:
    """The processes `0` to `count - 1`. Call `run` once, from a process with one thread."""

    def __init__(
        self, count: int, main: Callable[[int], int], *, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        """Prepare.

        Args:
            main: what the process with that number does; returns its exit status, at which the process ends on the
                spot. It runs within the call of `run`: what it raises goes on from there, in that process.
        """
        self._count = count
        self._main = main
        self._clock_s = clock_s
        self._log = get_logger("siblings")
        self._running: dict[int, int] = {}
        """Number of each process, by its id."""
        self._deaths_s: deque[float] = deque(maxlen=DEATHS_MAX + 1)
        self._is_ending = False
        self._status = 0

    def run(self) -> int:
        """Start all, and wait until they have ended: they were told to, or they die too fast.

        Returns: 0 where all were told to end and did so in order; else the status of the first that did not, or whose
        death was one too many; 1 for one that was killed.
        """
        # What is there now is no garbage. A collector that looked at it would copy it into each process.
        gc.collect()
        gc.freeze()
        # They wait for `sigwait`, so that none is missed between two looks.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            for number in range(self._count):
                self._start(number, before)
            while self._running:
                received = signal.sigwait(_SIGNALS)
                if received in _TOLD_TO_END:
                    self._end()
                for number in self._reap():
                    self._start(number, before)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return self._status

    def _start(self, number: int, mask: set[int | signal.Signals]) -> None:
        # What is not written yet, both would write.
        sys.stdout.flush()
        parent = os.getpid()
        pid = os.fork()
        if pid:
            self._running[pid] = number
            self._log.info("process started", number=number, pid=pid)
            return
        end_with(parent, signal.SIGTERM)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        status = self._main(number)
        # An orderly end of the interpreter touches each page that it has in common with the others, and so copies it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

    def _end(self) -> None:
        self._is_ending = True
        for pid in self._running:
            os.kill(pid, signal.SIGTERM)

    def _reap(self) -> list[int]:
        """Take note of who died. Returns: the numbers to start again."""
        again: list[int] = []
        while self._running:
            pid, code = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid not in self._running:
                # As the first process of a container it inherits strangers.
                continue
            number, status = self._running.pop(pid), os.waitstatus_to_exitcode(code)
            if self._is_ending:
                # Before it listens to signals, one ends a process without more.
                if status not in (0, -signal.SIGTERM):
                    self._failed(number, pid, status)
            elif self._is_one_too_many(status):
                self._failed(number, pid, status)
                self._end()
            else:
                self._log.warning("process died and is started again", number=number, pid=pid, status=status)
                again.append(number)
        return [] if self._is_ending else again

    def _is_one_too_many(self, status: int) -> bool:
        # Who was told to end, alone, did as it was told.
        if status == 0:
            return False
        self._deaths_s.append(self._clock_s())
        return len(self._deaths_s) > DEATHS_MAX and self._deaths_s[-1] - self._deaths_s[0] < DEATHS_WITHIN_S

    def _failed(self, number: int, pid: int, status: int) -> None:
        self._log.error("process failed", number=number, pid=pid, status=status)
        self._status = self._status or (status if status > 0 else 1)
