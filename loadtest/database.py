"""A PostgreSQL for drills, which can be taken away. Linux only: it looks for processes in /proc."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from deploy.embedded_postgres import EmbeddedPostgres
from loadtest.processes import PROC

Outage = Literal["stop", "kill"]
"""`stop`: all its processes stand still and go on later. `kill`: they are killed, and started later."""


class Database:
    """A PostgreSQL that can be taken away. It lives in a thread of its own, since it dies with its thread."""

    def __init__(self, folder: Path) -> None:
        self._server = EmbeddedPostgres(folder)
        self._thread = ThreadPoolExecutor(1, "database")

    @property
    def url(self) -> str:
        """URL of its database."""
        return self._server.url

    async def start(self) -> None:
        """Start it."""
        await self._in_thread(self._server.start)

    async def take_away(self, outage: Outage) -> None:
        """Stop or kill all its processes, the ones that serve a connection too."""
        await self._in_thread(self._signal_all, signal.SIGSTOP if outage == "stop" else signal.SIGKILL)
        if outage == "kill":
            await self._in_thread(self._server.kill)

    async def bring_back(self, outage: Outage) -> None:
        """Let it go on, or start it."""
        if outage == "stop":
            await self._in_thread(self._signal_all, signal.SIGCONT)
        else:
            await self._in_thread(self._server.start)

    async def stop(self) -> None:
        """Stop it."""
        if self._server.pid is not None:
            await self._in_thread(self._signal_all, signal.SIGCONT)
        await self._in_thread(self._server.stop)
        self._thread.shutdown()

    def _signal_all(self, number: signal.Signals) -> None:
        assert self._server.pid is not None
        signal_tree(self._server.pid, number)

    async def _in_thread(self, call: Callable[..., object], *arguments: object) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)


def signal_tree(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process and then to its children.

    PostgreSQL's processes are sessions of their own each: a signal to the group would reach only the first.
    """
    for one in (pid, *_children(pid)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, number)


def _children(pid: int) -> list[int]:
    found = []
    for folder in PROC.glob("[0-9]*"):
        # It may have ended meanwhile.
        with contextlib.suppress(OSError, IndexError):
            # Behind the name, which may hold anything: the state, then the parent. Source: proc_pid_stat(5).
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            if int(parent) == pid:
                found.append(int(folder.name))
    return found
