"""Edges and a worker in one process, on the stores in memory and a loop whose time jumps; only sockets are feigned."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from common.bus import ClusterShape
from common.bus_memory import MemoryBus, MemoryStore
from common.commands import AnyRoomCommand, ChangeBlock, SetFriendship
from common.durable import DurableStore
from common.errors import AuthErrorCode, BusUnavailable
from common.ids import EdgeId, Partition, Shard, UserId, WorkerId, inbox_of, thread_of
from common.settings import EdgeSettings, WorkerSettings
from common.word_filter import NO_FILTER, WordFilter
from edge.gateway import Gateway
from edge.metrics import EdgeMetrics
from edge.tokens import Claims
from roomworker.metrics import WorkerMetrics
from roomworker.worker import Worker
from tests.unit.clock import LoopClock, drive
from tests.unit.edge.test_client import Transport
from tests.unit.edge.test_frames import client_frame, parsed
from tests.unit.stage import HALL, START_MS, Envelope

SHARDS = 4
FAST: dict[str, Any] = {"shards": SHARDS, "node_ttl_ms": 1_000, "node_renew_ms": 300}


class Verifier:
    """Tokens are `<user> <life in ms from the start>`; the user `root` has the role `admin`."""

    def verify(self, token: str) -> Claims | AuthErrorCode:
        user, life_ms = token.rsplit(maxsplit=1)
        roles = ("admin",) if user == "root" else ()
        return Claims(UserId(user), ("*",), START_MS + int(life_ms), "desktop", None, None, roles)


class Person:
    """A socket on an edge, and what was read from it."""

    def __init__(self, gateway: Gateway, user: str) -> None:
        self.user = user
        self.transport = Transport()
        self.heard: list[Envelope] = []
        self.close_code: int | None = None
        # What stands between aiohttp's upgrade and its socket: the only way in without a real one.
        self.transport.protocol = gateway.open(self.transport, "", None, "test")  # type: ignore[arg-type]

    def hang_up(self) -> None:
        self.transport.lose()

    def say(self, name: str, payload: dict[str, Any], **beside: Any) -> None:
        self.send(name, {"roomId": HALL, **payload}, **beside)

    def send(self, name: str, payload: dict[str, Any], **beside: Any) -> None:
        envelope = {"v": 1, "t": name, "ts": 0, **beside, "payload": payload}
        self.transport.receive(client_frame(json.dumps(envelope).encode()))

    def join(
        self, room: str = HALL, life_ms: int = 3_600_000, *, resume: tuple[int, int] | None = None, **beside: Any
    ) -> "Person":
        who = {"userId": self.user, "displayName": self.user.title(), "avatarId": "fox"}
        payload: dict[str, Any] = {"roomId": room, "user": who, "token": f"{self.user} {life_ms}"}
        if resume is not None:
            payload["resume"] = {"epoch": resume[0], "lastSeq": resume[1]}
        self.say("join_room", payload, **beside)
        return self

    def position(self, room: str) -> tuple[int, int]:
        """Read on, and return (epoch, seq) of what was seen last of a room."""
        self.read()
        states = [event["payload"] for event in self.heard if event["t"] == "room_state"]
        at = next((state["epoch"], state["seq"]) for state in states if state["roomId"] == room)
        places = [(event["epoch"], event["seq"]) for event in self.heard if "seq" in event and _room(event) == room]
        return max([at, *places])

    def chat(self, text: str, **beside: Any) -> None:
        self.say("local_chat", {"text": text, "mode": "local"}, **beside)

    def read(self) -> list[Envelope]:
        """Read what came since the last call."""
        new: list[Envelope] = []
        for frame in parsed(self.transport.read()):
            if frame.opcode == 8:
                self.close_code = int.from_bytes(frame.data[:2], "big")
            else:
                new.append(json.loads(bytes(frame.data)))
        self.heard += new
        return new

    def last(self, name: str) -> Envelope:
        """Read on, and return the newest event of a name that ever came."""
        self.read()
        return [envelope for envelope in self.heard if envelope["t"] == name][-1]

    def count(self, name: str) -> int:
        """Read on, and return how many events of a name ever came."""
        self.read()
        return [envelope["t"] for envelope in self.heard].count(name)

    def names(self) -> list[str]:
        return [envelope["t"] for envelope in self.read()]


def _room(event: Envelope) -> str | None:
    room: str | None = event["payload"].get("roomId")
    return room


class WorkerLine(MemoryBus):
    """A worker's way to the store, which may be cut, and may not reach the inputs of some partitions."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.is_cut = False
        self.unreachable: set[Partition] = set()
        self.relay_replies_lost = 0

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith("_") or not asyncio.iscoroutinefunction(found):
            return found

        async def call(*args: Any) -> Any:
            if self.is_cut:
                await asyncio.sleep(0.01)
                raise BusUnavailable("cut")
            return await found(*args)

        return call

    async def append_relayed(self, partition: Partition, appends: Sequence[tuple[Shard, bytes]]) -> None:
        if partition in self.unreachable:
            await asyncio.sleep(0.01)
            raise BusUnavailable(f"partition {partition} does not answer")
        await super().append_relayed(partition, appends)
        if self.relay_replies_lost:
            self.relay_replies_lost -= 1
            raise BusUnavailable("reply lost")


class Town:
    """Edges and a worker, with a durable store where one is given."""

    def __init__(
        self,
        *,
        durable: DurableStore | None = None,
        word_filter: WordFilter = NO_FILTER,
        edge: dict[str, Any] | None = None,
        partitions: int = 1,
        **settings: Any,
    ) -> None:
        clock = self.clock = LoopClock()
        fast = {**FAST, "partitions": partitions}
        self.store = MemoryStore(ClusterShape(SHARDS, partitions), clock.now_ms, output_entries_max=50)
        self.durable = durable
        self._word_filter = word_filter
        url = "" if durable is None else "postgresql://nobody@localhost/none"
        self._settings = WorkerSettings(**{**fast, "chat_burst": 1_000, "database_url": url, **settings})
        self._workers = 0
        self.worker = self.new_worker()
        self._working: asyncio.Task[None] | None = None
        self.edges = [
            Gateway(
                EdgeId(f"e{number}"),
                EdgeSettings(**{**fast, "token_secret": "x" * 32, "drain_ms": 1_000, **(edge or {})}),
                MemoryBus(self.store),
                clock,
                Verifier(),  # type: ignore[arg-type]
                EdgeMetrics(),
                random.Random(7),
            )
            for number in (1, 2)
        ]

    def new_worker(self) -> Worker:
        self._workers += 1
        worker_id = WorkerId(f"w{self._workers}")
        self.line = WorkerLine(self.store)
        return Worker(
            worker_id, self._settings, self.line, self.clock, WorkerMetrics(), self.durable, self._word_filter
        )

    def person(self, user: str, edge: int = 0) -> Person:
        return Person(self.edges[edge], user)

    async def ask(self, make: Callable[[int], AnyRoomCommand]) -> dict[str, Any]:
        """Give an operator's order over the second edge, and return its answer."""
        answer: dict[str, Any] = json.loads(await self.edges[1].operations.ask(make))
        return answer

    async def befriend(self, user: UserId, other: UserId) -> None:
        await self.ask(lambda request: SetFriendship(thread_of(user, other), request, user, other, friends=True))

    async def block(self, user: UserId, other: UserId, *, blocked: bool = True) -> dict[str, Any]:
        return await self.ask(lambda request: ChangeBlock(inbox_of(user), request, user, other, blocked))

    async def open(self) -> None:
        self._working = asyncio.create_task(self.worker.run())
        for edge in self.edges:
            await edge.start()
        await asyncio.sleep(0.1)

    async def change_worker(self) -> None:
        """Another worker takes over; it has nothing but what is stored."""
        self.worker.stop()
        if self._working is not None:
            await self._working
        self.worker = self.new_worker()
        self._working = asyncio.create_task(self.worker.run())
        await asyncio.sleep(0.5)

    async def lose_worker(self) -> None:
        """The worker is gone from one moment to the next; another takes over when the lease has run out."""
        assert self._working is not None
        self.line.is_cut = True
        self._working.cancel()
        await asyncio.gather(self._working, return_exceptions=True)
        self.worker = self.new_worker()
        self._working = asyncio.create_task(self.worker.run())
        await asyncio.sleep(2.0)

    async def close(self) -> None:
        for edge in self.edges:
            await edge.stop()
        self.worker.stop()
        if self._working is not None:
            await self._working

    def check(self) -> None:
        """See that everything still runs."""
        assert self._working is not None
        assert not self._working.done()
        assert [edge.failed() for edge in self.edges] == [None, None]


def run(course: Callable[[Town], Awaitable[None]], **options: Any) -> None:
    """Take a course in a town of its own."""

    async def inside() -> None:
        town = Town(**options)
        await town.open()
        try:
            await course(town)
            town.check()
        finally:
            await town.close()

    drive(inside())


async def settle() -> None:
    await asyncio.sleep(0.05)
