"""Redis changes its shape under an open bus: the primary fails over, slots move. Nothing of ours is made anew."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from common.bus import ShardEntry
from common.bus_redis import RedisBus
from common.errors import BusUnavailable, SettingsError
from common.ids import Partition
from deploy.embedded_redis import EmbeddedRedis
from loadtest.redis_groups import ClusterGroup, RedisGroup, SentinelGroup, command, replica_of
from tests.contract.builders import E1, LONG_MS, P0, S0, S1, SHAPE, W1, commit, part, take

_Result = TypeVar("_Result")


@pytest.fixture(scope="module", params=["sentinel", "cluster"])
def group(
    request: pytest.FixtureRequest, redis_server: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisGroup]:
    """Servers with replicas, which the tests may harm one after another."""
    folder = tmp_path_factory.mktemp(request.param)
    made = (
        SentinelGroup(folder, redis_server)
        if request.param == "sentinel"
        else ClusterGroup(folder, redis_server, replicas=1)
    )
    try:
        yield made.start()
    finally:
        made.stop()


@pytest.fixture
async def bus(group: RedisGroup, request: pytest.FixtureRequest) -> AsyncIterator[RedisBus]:
    bus = await RedisBus.connect(group.url, request.node.name.partition("[")[0], SHAPE, call_timeout_ms=500)
    yield bus
    await bus.close()


async def insist(call: Callable[[], Awaitable[_Result]]) -> _Result:
    """Repeat a call until it is answered, as everybody does."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await call()
            except BusUnavailable:
                await asyncio.sleep(0.05)


async def another_has_the_place(group: RedisGroup, old: EmbeddedRedis) -> None:
    """Wait until all know it: who is asked for the primary here may hear of it later than the bus."""
    async with asyncio.timeout(20):
        while await asyncio.to_thread(group.primary, P0) is old:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.05)


def is_replicated(primary: EmbeddedRedis) -> bool:
    """Tell whether all replicas of a server have acknowledged all that it wrote."""
    lines = command(primary, "INFO", "replication").decode().splitlines()
    written = next(line.partition(":")[2] for line in lines if line.startswith("master_repl_offset:"))
    replicas = [line for line in lines if line.startswith("slave0:") or line.startswith("slave1:")]
    return bool(replicas) and all(f",offset={written}," in line for line in replicas)


async def test_a_primary_that_is_told_to_step_down_is_left_by_those_who_wait_there(
    group: RedisGroup, bus: RedisBus
) -> None:
    """A replica answers blocking reads, and has nothing to tell. Readers waited there until their time was over."""
    await insist(lambda: bus.append_inputs([(S1, b"a")]))
    reading = asyncio.create_task(bus.read_inputs(P0, W1, {S1: 1}, 10, 60_000))
    await asyncio.sleep(0.02)
    old = group.primary(P0)
    if isinstance(group, SentinelGroup):
        command(group.sentinels[0], "SENTINEL", "FAILOVER", "rooms")
    else:
        command(replica_of(group.servers, old.port), "CLUSTER", "FAILOVER")
    # Sentinels let the old one be for some seconds. What is asked meanwhile finds the new one all the same.
    async with asyncio.timeout(20):
        while not reading.done():
            await insist(lambda: bus.input_lengths([S1]))
            await asyncio.sleep(0.05)
    with pytest.raises(BusUnavailable):
        await reading
    await insist(lambda: bus.append_inputs([(S1, b"b")]))
    assert (await insist(lambda: bus.read_inputs(P0, W1, {S1: 1}, 10, 5_000)))[0].data == b"b"
    await another_has_the_place(group, old)


async def test_after_a_failover_the_same_bus_goes_on_with_the_new_primary(group: RedisGroup, bus: RedisBus) -> None:
    await asyncio.to_thread(group.wait_until_safe)
    lease = await insist(lambda: take(bus, S1))
    await bus.announce("edge", E1, b"", LONG_MS)
    assert (await bus.commit(P0, commit(part(S1, lease), outputs={E1: b"before"}))).done
    # What the replica does not have yet would go with the primary, the lease too.
    async with asyncio.timeout(20):
        while not is_replicated(group.primary(P0)):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.05)
    inputs = asyncio.create_task(bus.read_inputs(P0, W1, {S1: 0}, 10, 60_000))
    outputs = asyncio.create_task(bus.read_output(P0, E1, 1, 60_000))
    await asyncio.sleep(0.02)
    old = group.primary(P0)
    old.kill()
    for reading in (inputs, outputs):
        with pytest.raises(BusUnavailable):
            await asyncio.wait_for(reading, 5)
    await insist(lambda: bus.append_inputs([(S1, b"after")]))
    assert await insist(lambda: bus.read_inputs(P0, W1, {S1: 0}, 10, 1_000)) == [ShardEntry(S1, 1, b"after")]
    assert (await insist(lambda: bus.commit(P0, commit(part(S1, lease, 1), outputs={E1: b"then"})))).done
    assert [entry.data for entry in await insist(lambda: bus.read_output(P0, E1, 1, 1_000))] == [b"then"]
    # The one that comes back takes itself for a primary for some seconds. Nobody listens to it.
    old.start()
    for number in range(2, 6):
        assert (await bus.append_inputs([(S1, b"more")])) == [number]
    await another_has_the_place(group, old)


async def test_a_partition_that_moves_to_another_node_is_followed(tmp_path: Path, redis_cluster: ClusterGroup) -> None:
    """With its keys, as `redis-cli --cluster reshard` does it: key by key."""
    bus = await RedisBus.connect(redis_cluster.url, "moves", SHAPE, call_timeout_ms=500)
    await bus.append_inputs([(S0, b"a"), (S1, b"b")])
    reading = asyncio.create_task(bus.read_inputs(P0, W1, {S0: 1}, 10, 60_000))
    await asyncio.sleep(0.02)
    source, target = redis_cluster.primary(P0), redis_cluster.primary(Partition(1))
    try:
        await asyncio.to_thread(redis_cluster.move, P0, source, target)
        with pytest.raises(BusUnavailable):
            await asyncio.wait_for(reading, 5)
        assert await insist(lambda: bus.append_inputs([(S0, b"c"), (S1, b"d")])) == [2, 2]
        found = await insist(lambda: bus.read_inputs(P0, W1, {S0: 0, S1: 0}, 10, 1_000))
        assert sorted(entry.data for entry in found) == [b"a", b"b", b"c", b"d"]
    finally:
        await asyncio.to_thread(redis_cluster.move, P0, target, source)
        await bus.close()


async def test_sentinels_that_know_no_such_primary_are_told_in_one_line(group: RedisGroup) -> None:
    url = group.url.replace("/rooms", "/others").replace("//", "//user:hidden@")
    with pytest.raises((BusUnavailable, SettingsError)) as raised:
        await RedisBus.connect(url, "other", SHAPE)
    assert "\n" not in str(raised.value)
    assert "hidden" not in str(raised.value)


async def test_a_server_that_is_in_no_cluster_is_told_in_one_line(redis: RedisGroup) -> None:
    with pytest.raises(BusUnavailable, match="cluster support disabled"):
        await RedisBus.connect(redis.url.replace("redis://", "redis+cluster://"), "other", SHAPE)


async def test_where_nobody_answers_it_is_told_who_was_asked() -> None:
    for url in ("redis+cluster://u:hidden@127.0.0.1:1", "redis+sentinel://u:hidden@127.0.0.1:1/rooms"):
        with pytest.raises(BusUnavailable, match=r"127\.0\.0\.1:1.*ConnectionError") as raised:
            await RedisBus.connect(url, "other", SHAPE)
        assert "hidden" not in str(raised.value)


async def test_a_closed_bus_looks_for_nobody(group: RedisGroup) -> None:
    bus = RedisBus(group.url, "closed", SHAPE)
    await bus.close()
    with pytest.raises(BusUnavailable):
        await bus.ping_ms()
