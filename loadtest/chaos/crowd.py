"""All clients of a chaos run: lets them speak at the planned rate, and watches itself.

Its own CPU time and the lag of its loop are part of the result: a crowd that is late measures itself.
"""

import asyncio
import itertools
import random
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Generic, TypeVar

from loadtest.chaos.client import ChaosClient
from loadtest.chaos.journal import Log, Pace
from loadtest.chaos.plan import Load
from loadtest.chaos.talker import Talker

TICK_S: Final = 0.02
LOOK_S: Final = 0.1
FLUSH_S: Final = 3.0
JOINS_AT_ONCE_S: Final = 0.005
"""Between two first connections."""

_Speaker = TypeVar("_Speaker")


class Crowd:
    """The clients of one run."""

    def __init__(self, load: Load, urls: list[str], folder: Path, dice: random.Random) -> None:
        self.pace = Pace()
        self.lags_ms: list[float] = []
        """How late the ticks of the loop were."""
        self.cpu_share = 0.0
        """CPU time of this process over the time of the run; 1 is a whole core. With the faults' own work in it."""
        self.clients = [
            ChaosClient(
                f"c{number}",
                load.room_of(number),
                urls,
                Log(folder / f"c{number}.jsonl"),
                self.pace,
                random.Random(dice.random()),  # noqa: S311 - for a test
            )
            for number in range(load.clients)
        ]
        self.talkers = [
            Talker(
                f"t{number}",
                f"t{number ^ 1}",
                f"lobby:{load.hall_of(number)}",
                f"notes:{load.hall_of(number)}",
                urls,
                Log(folder / f"t{number}.jsonl"),
                self.pace,
                random.Random(dice.random()),  # noqa: S311 - for a test
            )
            for number in range(load.talkers)
        ]
        self._all: list[ChaosClient | Talker] = [*self.clients, *self.talkers]
        self._visitors: list[ChaosClient] = []
        self._urls = urls
        self._folder = folder
        self._load = load
        self._speaking = False
        self._tasks: list[asyncio.Task[None]] = []
        self._ticking: asyncio.Task[None] | None = None

    async def enter(self, within_s: float) -> None:
        """Connect all, and wait until they are in their rooms.

        Raises:
            TimeoutError: some are not.
        """
        self._ticking = asyncio.create_task(self._tick())
        for client in self._all:
            self._tasks.append(asyncio.create_task(client.run()))
            await asyncio.sleep(JOINS_AT_ONCE_S)
        async with asyncio.timeout(within_s):
            await self.all_joined()

    async def all_joined(self) -> None:
        """Wait until every client is in its room."""
        while not all(client.joined for client in self._all):
            self._raise_failure()
            await asyncio.sleep(LOOK_S)

    def speak(self, *, speaking: bool) -> None:
        """Let them speak and move, or be silent."""
        self._speaking = speaking

    async def all_answered(self) -> None:
        """Wait until every client is in its room, and all that was said is acknowledged."""
        while not all(client.joined and not client.pending for client in self._all):
            self._raise_failure()
            await asyncio.sleep(LOOK_S)

    async def say_once(self) -> None:
        """Have each say one thing."""
        for client in self._all:
            client.say()

    def places(self, room: str) -> set[tuple[int, int] | None]:
        """Return the positions at which the clients of a room stand who are still there."""
        return {client.position for client in self.clients if client.room == room and not client.is_stopping()}

    def send_half_away(self) -> None:
        """Have every second client leave for good, and one of every second pair of talkers."""
        for client in [*self.clients[1::2], *self.talkers[1::4]]:
            client.stop()

    async def visit(self, room: str, within_s: float) -> set[str]:
        """Let somebody new come into a room, and leave again. Returns whom the room showed.

        Raises:
            TimeoutError: the room did not let anybody in.
        """
        dice = random.Random(len(self._visitors))  # noqa: S311 - for a test
        name = f"visitor{len(self._visitors)}"
        visitor = ChaosClient(name, room, self._urls, Log(self._folder / f"{name}.jsonl"), self.pace, dice)
        self._visitors.append(visitor)
        task = asyncio.create_task(visitor.run())
        self._tasks.append(task)
        try:
            async with asyncio.timeout(within_s):
                while not visitor.joined:
                    visitor.look_after(time.monotonic())
                    await asyncio.sleep(LOOK_S)
            return visitor.members - {name}
        finally:
            visitor.stop()

    async def close(self) -> None:
        """Send all away, and put what they saw on disk."""
        for client in self._all:
            client.stop()
        _, waiting = await asyncio.wait(self._tasks, timeout=5) if self._tasks else (set(), set())
        for task in waiting:
            task.cancel()
        if self._ticking is not None:
            self._ticking.cancel()
        await asyncio.gather(*self._tasks, *([self._ticking] if self._ticking else []), return_exceptions=True)
        for client in self._all:
            client.log.flush()

    async def _tick(self) -> None:
        load = self._load
        chats = _Turns(self._all, load.chats_per_second)
        moves = _Turns(self.clients, load.moves_per_second)
        began_s, began_cpu_s = time.monotonic(), _cpu_s()
        due_s = look_s = flush_s = began_s
        to_flush = itertools.cycle(self._all)
        while True:
            due_s += TICK_S
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            now_s = time.monotonic()
            self.lags_ms.append(1000 * (now_s - due_s))
            if self._speaking:
                for mover in moves.take(now_s):
                    mover.move()
                for speaker in chats.take(now_s):
                    speaker.say()
            else:
                chats.skip_to(now_s)
                moves.skip_to(now_s)
            if now_s >= look_s:
                look_s = now_s + LOOK_S
                for each in self._all:
                    each.look_after(now_s)
                self.cpu_share = (_cpu_s() - began_cpu_s) / (now_s - began_s)
            if now_s >= flush_s:
                flush_s = now_s + FLUSH_S / len(self._all)
                next(to_flush).log.flush()
            due_s = max(due_s, now_s - TICK_S)

    def _raise_failure(self) -> None:
        for task in [*self._tasks, *([self._ticking] if self._ticking else [])]:
            if task.done():
                task.result()


class _Turns(Generic[_Speaker]):
    """Whose turn it is, so that all together keep the rate and come one after the other, evenly."""

    def __init__(self, clients: Sequence[_Speaker], per_second: float) -> None:
        self._clients = clients
        self._every_s = 1 / (per_second * len(clients)) if per_second else float("inf")
        self._next_s = 0.0
        self._at = 0

    def take(self, now_s: float) -> list[_Speaker]:
        """Return those whose turn has come."""
        taken: list[_Speaker] = []
        while self._next_s <= now_s and len(taken) < len(self._clients):
            taken.append(self._clients[self._at % len(self._clients)])
            self._at += 1
            self._next_s += self._every_s
        return taken

    def skip_to(self, now_s: float) -> None:
        """Let pass what was due until now."""
        self._next_s = max(self._next_s, now_s)


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
