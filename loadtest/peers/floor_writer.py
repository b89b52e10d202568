"""The floor: writes the same bytes to a number of sockets, at a given batching, and does nothing else.

What any server on asyncio and uvloop spends at least, since it must hand its bytes to the kernel for each socket.
Started by `floor.py`. Environment: PORT.
"""

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from typing import Final, cast

import uvloop

from common.clock import SystemClock
from common.timer import Timer

LATE_MAX_S: Final = 1.0
"""A writer that is further behind leaves out what it missed: the floor has no load above what the machine can do."""


class Listener(asyncio.Protocol):
    """One socket, known to its writer as long as it is open."""

    def __init__(self, writer: "Writer") -> None:
        self._writer = writer
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to be written to."""
        # uvloop's transports are not of asyncio's class.
        self._transport = cast("asyncio.Transport", transport)
        self._writer.add(self._transport)

    def connection_lost(self, _error: Exception | None) -> None:
        """Be written to no more."""
        assert self._transport is not None
        self._writer.remove(self._transport)


class Writer:
    """Writes to all sockets at once, as an edge does when a room's events are due."""

    def __init__(self, frame: bytes, sockets: int, updates_per_write: float, writes_per_second: float) -> None:
        """Prepare; it begins when there are so many sockets."""
        self._sockets = sockets
        self._transports: set[asyncio.Transport] = set()
        self._is_complete = asyncio.Event()
        self._period_s = 1 / writes_per_second
        # Whole numbers of frames whose mean is what was asked for.
        few = max(1, int(updates_per_write))
        self._chunks = {count: frame * count for count in (few, few + 1)}
        self._updates_per_write = max(1.0, updates_per_write)
        self._owed = 0.0
        self._due_s = 0.0

    def add(self, transport: asyncio.Transport) -> None:
        """Write to a socket from now on."""
        self._transports.add(transport)
        if len(self._transports) == self._sockets:
            self._is_complete.set()

    def remove(self, transport: asyncio.Transport) -> None:
        """Write to a socket no more."""
        self._transports.discard(transport)

    async def run(self, port: int) -> None:
        """Serve until the process is ended."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Listener(self), "127.0.0.1", port, backlog=1024)
        await self._is_complete.wait()
        timer = SystemClock().timer(lambda: self._write_due(timer))
        self._due_s = time.monotonic()
        self._write_due(timer)
        await server.serve_forever()

    def _write_due(self, timer: Timer) -> None:
        now_s = time.monotonic()
        if now_s - self._due_s > LATE_MAX_S:
            self._due_s = now_s
        if self._due_s <= now_s:
            self._owed += self._updates_per_write
            count = int(self._owed)
            self._owed -= count
            chunk = self._chunks[count]
            for transport in self._transports:
                transport.write(chunk)
            self._due_s += self._period_s
        timer.set(self._due_s * 1000.0)


def main(argv: Sequence[str]) -> None:
    """Run it: sockets, frame in bytes, updates per write, writes per second of each socket."""
    sockets, frame_bytes, updates_per_write, writes_per_second = argv

    async def serve() -> None:
        writer = Writer(bytes(int(frame_bytes)), int(sockets), float(updates_per_write), float(writes_per_second))
        await writer.run(int(os.environ["PORT"]))

    uvloop.run(serve())


if __name__ == "__main__":
    main(sys.argv[1:])
