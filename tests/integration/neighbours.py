"""Two healthy people in a room where somebody misbehaves: they move and chat all the time and must feel nothing."""

import asyncio
import contextlib
import statistics
import time
from types import TracebackType
from typing import Self

from tests.integration.client import Client
from tests.integration.conftest import People

MOVE_EVERY_S = 0.1
CHAT_EVERY_MOVES = 4

LATENCY_MEDIAN_S = 0.5
LATENCY_MAX_S = 3.0
"""Far above what is usual (some milliseconds); a stalled edge or worker is above it."""


class Neighbours:
    """A talker on the edge where the trouble is, and a listener on the other one."""

    def __init__(self, people: People, room: str, *, edge: int = 0) -> None:
        self._people = people
        self._room = room
        self._edge = edge
        self.talker: Client
        self.listener: Client
        self._said_s: dict[str, float] = {}
        self._moves = 0
        self._task: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        self.talker = await self._people.join(self._room, "talker", edge=self._edge)
        self.listener = await self._people.join(self._room, "listener", edge=1 - self._edge)
        self._task = asyncio.create_task(self._live())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._task.cancel()
            return
        # At least some of what is counted comes after the trouble.
        mark = len(self._said_s)
        while len(self._said_s) < mark + 2:
            await asyncio.sleep(MOVE_EVERY_S)
            if self._task.done():
                break
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self._account()

    async def _live(self) -> None:
        while True:
            self._moves += 1
            await self.talker.move(self._room, self._moves, float(self._moves))
            if self._moves % CHAT_EVERY_MOVES == 0:
                text = f"healthy {self._moves}"
                self._said_s[text] = time.monotonic()
                answer = await self.talker.chat(self._room, text)
                assert answer["t"] == "ack", answer
            await asyncio.sleep(MOVE_EVERY_S)

    async def _account(self) -> None:
        took_s = []
        for text, said_s in self._said_s.items():
            heard = await self.listener.wait("chat_broadcast", text=text)
            took_s.append(self.listener.arrived_s[self.listener.received.index(heard)] - said_s)
        assert statistics.median(took_s) < LATENCY_MEDIAN_S, took_s
        assert max(took_s) < LATENCY_MAX_S, took_s
        moved = self.listener.all("avatar_transform_broadcast", userId="talker")
        assert len(moved) >= 0.8 * self._moves, (len(moved), self._moves)
        for client in (self.talker, self.listener):
            assert client.is_open
            assert not client.all("resync"), client.all("resync")
            assert not client.all("error")
            assert not client.all("rate_limited")
