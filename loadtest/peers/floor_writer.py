"""The floor: writes the same bytes to a number of sockets, at a given batching, and does nothing else.

What any server on asyncio and uvloop spends at least, since it must hand its bytes to the kernel for each socket.
Started by `floor.py`. Environment: PORT.
"""

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from typing import Final

import uvloop

from loadtest.pacer import Pacer

LATE_MAX_S: Final = 1.0
"""A writer that is further behind leaves out what it missed: the floor has no load above what the machine can do."""


class Listener(asyncio.Protocol):
    """One socket; counted among `listeners` as long as it is open."""

    def __init__(self, listeners: "dict[Listener, asyncio.Transport]") -> None:
        self._listeners = listeners

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to write to it."""
        assert isinstance(transport, asyncio.Transport)
        self._listeners[self] = transport

    def connection_lost(self, _error: Exception | None) -> None:
        """Write to it no more."""
        self._listeners.pop(self, None)


class Writer:
    """Writes to all listeners at once, as an edge does when a room's events are due."""

    def __init__(self, frame: bytes, sockets: int, updates_per_write: float, writes_per_second: float) -> None:
        self.listeners: dict[Listener, asyncio.Transport] = {}
        self._sockets = sockets
        self._updates_per_write = updates_per_write
        self._period_s = 1 / writes_per_second
        # Whole numbers of frames whose mean is what was asked for.
        self._chunks = {
            count: frame * count for count in range(max(1, int(updates_per_write)), int(updates_per_write) + 2)
        }
        self._owed = 0.0
        self._due_s = 0.0

    async def run(self, port: int) -> None:
        """Serve until the process is ended."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Listener(self.listeners), "127.0.0.1", port, backlog=1024)
        pacer = Pacer(loop, lambda: self._write_due(pacer))
        while len(self.listeners) < self._sockets:
            await asyncio.sleep(0.05)
        self._due_s = time.monotonic()
        self._write_due(pacer)
        await server.serve_forever()

    def _write_due(self, pacer: Pacer) -> None:
        now_s = time.monotonic()
        if now_s - self._due_s > LATE_MAX_S:
            self._due_s = now_s
        if self._due_s <= now_s:
            self._owed += self._updates_per_write
            count = min(max(int(self._owed), min(self._chunks)), max(self._chunks))
            self._owed -= count
            chunk = self._chunks[count]
            for transport in self.listeners.values():
                transport.write(chunk)
            self._due_s += self._period_s
        pacer.wake_at(self._due_s)


def main(argv: Sequence[str]) -> None:
    """Run it: sockets, frame in bytes, updates per write, writes per second of each socket."""
    sockets, frame_bytes, updates_per_write, writes_per_second = argv
    writer = Writer(bytes(int(frame_bytes)), int(sockets), float(updates_per_write), float(writes_per_second))
    uvloop.run(writer.run(int(os.environ["PORT"])))


if __name__ == "__main__":
    main(sys.argv[1:])
