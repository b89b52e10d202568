"""The versions of the seam behind one face, so that each contract test runs on all: in memory, and on several Redis."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import pytest

from common.bus import ClusterShape
from common.bus_memory import MemoryBus, MemoryStore
from common.bus_redis import RedisBus
from common.durable import DurableStore
from common.durable_memory import MemoryDurableStore
from common.durable_postgres import PostgresStore
from loadtest.redis_groups import RedisGroup, commands
from tests.contract.builders import SHAPE

HISTORY_EVENTS_MAX = 20
OUTPUT_ENTRIES_MAX = 50
DEAD_LETTERS_MAX = 3

Bus = MemoryBus | RedisBus

_namespaces = itertools.count(1)


class World(Protocol):
    """A fresh, empty cluster."""

    output_ttl_ms: int

    def bus(self) -> Bus:
        """Make one more process's bus on the same cluster."""
        ...

    async def pass_ms(self, duration_ms: int) -> None:
        """Let time pass."""
        ...

    async def flush(self) -> None:
        """Let the store lose everything."""
        ...


class MemoryWorld:
    """The version in memory, with a clock that moves when told."""

    def __init__(self, shape: ClusterShape, output_ttl_ms: int) -> None:
        self.output_ttl_ms = output_ttl_ms
        self._now_ms = 1_000_000
        self.store = MemoryStore(
            shape,
            lambda: self._now_ms,
            history_events_max=HISTORY_EVENTS_MAX,
            output_entries_max=OUTPUT_ENTRIES_MAX,
            output_ttl_ms=output_ttl_ms,
            dead_letters_max=DEAD_LETTERS_MAX,
        )

    def bus(self) -> MemoryBus:
        return MemoryBus(self.store)

    async def pass_ms(self, duration_ms: int) -> None:
        self._now_ms += duration_ms

    async def flush(self) -> None:
        self.store.flush()
        self._now_ms += 1

    async def close(self) -> None:
        pass


class RedisWorld:
    """The version on Redis, whose clock is the real one."""

    def __init__(self, shape: ClusterShape, output_ttl_ms: int, group: RedisGroup) -> None:
        self.output_ttl_ms = output_ttl_ms
        self._shape = shape
        self._group = group
        self._namespace = f"test{next(_namespaces)}"
        self._buses: list[RedisBus] = []

    def bus(self) -> RedisBus:
        bus = RedisBus(
            self._group.url,
            self._namespace,
            self._shape,
            history_events_max=HISTORY_EVENTS_MAX,
            output_entries_max=OUTPUT_ENTRIES_MAX,
            output_ttl_ms=self.output_ttl_ms,
            dead_letters_max=DEAD_LETTERS_MAX,
        )
        self._buses.append(bus)
        return bus

    async def pass_ms(self, duration_ms: int) -> None:
        await asyncio.sleep((duration_ms + 2) / 1000)

    async def flush(self) -> None:
        commands(self._group.servers, "FLUSHALL")

    async def close(self) -> None:
        for bus in self._buses:
            await bus.close()


async def raw_command(port: int, line: bytes) -> bytes:
    """Send one inline command to the server and return the first line of its reply."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(line)
        return await reader.readline()
    finally:
        writer.close()


MakeWorld = Callable[..., Awaitable[World]]


@pytest.fixture(params=["memory", "valkey", "redis", "redis_cluster"])
async def make_world(request: pytest.FixtureRequest) -> AsyncIterator[MakeWorld]:
    """Make clusters with a chosen shape and life of output streams."""
    worlds: list[MemoryWorld | RedisWorld] = []

    async def make(shape: ClusterShape = SHAPE, output_ttl_ms: int = 60_000) -> World:
        world: MemoryWorld | RedisWorld
        if request.param == "memory":
            world = MemoryWorld(shape, output_ttl_ms)
        else:
            world = RedisWorld(shape, output_ttl_ms, request.getfixturevalue(request.param))
        worlds.append(world)
        return world

    yield make
    for world in worlds:
        await world.close()


@pytest.fixture
async def world(make_world: MakeWorld) -> World:
    """A fresh cluster of three partitions."""
    return await make_world()


@pytest.fixture
def bus(world: World) -> Bus:
    """A process's bus on the fresh cluster."""
    return world.bus()


@pytest.fixture(params=["memory", "postgres"])
async def durable(request: pytest.FixtureRequest) -> AsyncIterator[DurableStore]:
    """An empty durable store."""
    if request.param == "memory":
        yield MemoryDurableStore()
        return
    async with request.getfixturevalue("databases").migrated() as url:
        store = await PostgresStore.connect(url)
        yield store
        await store.close()
