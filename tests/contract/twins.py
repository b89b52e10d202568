"""One cluster kept twice, in memory and on a real server, with a time that passes only when it is told to.

The scripts take the time from the server, whose clock cannot be set. So the stored times are moved instead: before each
step they are set forward by what went by really, and back by what is to have passed.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, Final

from hypothesis import reject
from msgspec import Struct, structs
from redis.asyncio import Redis

from common.bus import ClusterShape
from common.bus_memory import MemoryBus, MemoryStore
from common.bus_redis import RedisBus
from common.ids import EdgeId, Partition, RoomId, Shard, WorkerId
from common.keys import Keys
from common.ring import partition_of_shard

OF_THE_CLOCK: Final = frozenset({"token", "remaining_ms", "generation", "now_ms"})
"""Fields of answers that each of the two has for itself."""

STALLED_S: Final = 2.0
"""A step that took longer may have come too late for something that lives for 3 s, and says nothing."""

_HOLD: Final = """
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local delta_ms = now_ms - tonumber(ARGV[1]) - tonumber(ARGV[2])
for _, key in ipairs(KEYS) do
  local kind = redis.call('TYPE', key).ok
  local left_ms = redis.call('PTTL', key)
  if left_ms >= 0 then
    redis.call('PEXPIRE', key, left_ms + delta_ms)
  elseif kind == 'zset' then
    for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do
      redis.call('ZINCRBY', key, string.format('%.0f', delta_ms), member)
    end
  elseif kind == 'hash' then
    for _, field in ipairs({'until_ms', 'want_until_ms'}) do
      local until_ms = redis.call('HGET', key, field)
      if until_ms then
        redis.call('HSET', key, field, string.format('%.0f', tonumber(until_ms) + delta_ms))
      end
    end
  end
end
return now_ms
"""

_namespaces = itertools.count(1)
_servers = itertools.count(1)


class Names(Struct, frozen=True):
    """Who and what there is in the cluster: all keys whose time must be moved belong to one of these."""

    workers: list[WorkerId]
    edges: list[EdgeId]
    rooms: list[RoomId]


class Twins:
    """Two buses that should be the same. Every call of the seam goes to both."""

    def __init__(self, url: str, shape: ClusterShape, names: Names, **options: int) -> None:
        namespace = f"twin{next(_namespaces)}"
        self._now_ms = 1_000_000
        self.memory = MemoryBus(MemoryStore(shape, lambda: self._now_ms, **options))
        self.redis = RedisBus(url, namespace, shape, **options)
        self.both: tuple[MemoryBus, RedisBus] = (self.memory, self.redis)
        self._direct = Redis.from_url(url)
        self._keys = list(_keys_with_time(namespace, shape, names))
        self._shard_keys = list(_shard_keys(namespace, shape))
        self._held_at_ms = 0
        self._runner = asyncio.Runner()

    def run(self, course: Coroutine[Any, Any, Any], passed_ms: int = 0, *, may_take_long: bool = False) -> Any:
        """Run one step, at a time that is later by so much than that of the step before.

        Args:
            may_take_long: nothing in it depends on how long it takes.
        """
        began_s = time.monotonic()
        try:
            return self._runner.run(self._step(course, passed_ms))
        finally:
            if not may_take_long and time.monotonic() - began_s > STALLED_S:
                reject()

    def close(self, waiting: Sequence[asyncio.Task[Any]]) -> None:
        """Close both, with the reads that still wait."""
        self._runner.run(self._close(waiting))
        self._runner.close()

    async def ask(self, name: str, *arguments: Any) -> tuple[Any, Any]:
        """Make one call of the seam on both; return both answers, or the errors that they raised."""
        return await self.ask_each(name, lambda _: arguments)

    async def ask_each(self, name: str, arguments: Callable[[int], tuple[Any, ...]]) -> tuple[Any, Any]:
        """Likewise, with arguments of its own for each: 0 is the one in memory."""
        self._now_ms += 1
        first, second = [await _answer(getattr(bus, name), arguments(index)) for index, bus in enumerate(self.both)]
        return first, second

    async def flush(self, token_max: int) -> None:
        """Lose everything; so late that a token made from the time is above this one."""
        while await self._hold(0) <= token_max:
            pass
        self.memory.store.flush()
        await self._direct.flushall()

    async def change_server(self) -> None:
        """Let it seem that all was done at another server so far, of which this one has everything."""
        self.memory.store.change_server()
        for partition, known in self.redis._servers.items():
            self.redis._servers[partition] = type(known)(f"before{next(_servers)}")
        for key in self._shard_keys:
            if await self._direct.hexists(key, "server"):
                await self._direct.hset(key, "server", "before")

    async def forget_scripts(self) -> None:
        """Let the server lose its scripts."""
        await self._direct.script_flush()

    async def _step(self, course: Coroutine[Any, Any, Any], passed_ms: int) -> Any:
        self._now_ms += passed_ms
        await self._hold(passed_ms)
        return await course

    async def _hold(self, passed_ms: int) -> int:
        held_at_ms = self._held_at_ms or await self._direct.eval(_HOLD, 0, 0, 0)
        self._held_at_ms = await self._direct.eval(_HOLD, len(self._keys), *self._keys, held_at_ms, passed_ms)
        return self._held_at_ms

    async def _close(self, waiting: Sequence[asyncio.Task[Any]]) -> None:
        await cancel(waiting)
        await self.redis.close()
        await self._direct.aclose()


async def cancel(waiting: Sequence[asyncio.Task[Any]]) -> None:
    """End reads that wait."""
    for read in waiting:
        read.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


def same(first: Any, second: Any) -> bool:
    """Whether two answers are the same but for what each clock made of them."""
    return bool(_without_clock(first) == _without_clock(second))


def _without_clock(answer: Any) -> Any:
    match answer:
        case Struct():
            fields = structs.asdict(answer)
            return type(answer), {name: value for name, value in fields.items() if name not in OF_THE_CLOCK}
        case dict():
            return {key: _without_clock(value) for key, value in answer.items()}
        case list():
            return [_without_clock(value) for value in answer]
        case Exception():
            return type(answer)
    return answer


async def _answer(call: Callable[..., Coroutine[Any, Any, Any]], arguments: tuple[Any, ...]) -> Any:
    try:
        return await call(*arguments)
    except Exception as error:
        return error


def _keys_with_time(namespace: str, shape: ClusterShape, names: Names) -> Iterator[str]:
    for number in range(shape.partitions):
        keys = Keys(namespace, Partition(number))
        yield from map(keys.wake, names.workers)
        yield from map(keys.output, names.edges)
        for room_id in names.rooms:
            yield from (keys.room(room_id), keys.history(room_id))
    yield from map(Keys(namespace, Partition(0)).nodes, ("edge", "worker"))
    yield from _shard_keys(namespace, shape)


def _shard_keys(namespace: str, shape: ClusterShape) -> Iterator[str]:
    for number in range(shape.shards):
        shard = Shard(number)
        yield Keys(namespace, partition_of_shard(shard, shape.partitions)).shard(shard)
