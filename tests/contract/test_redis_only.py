"""What only a real server can do to us: lose its scripts, stop, hang, be full, refuse us."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from common.bus import ClusterShape, ShardEntry
from common.bus_redis import WAKE_ENTRIES_MAX, RedisBus
from common.errors import BusUnavailable, SettingsError
from common.ids import Epoch, Seq
from common.keys import Keys
from deploy.embedded_redis import EmbeddedRedis
from tests.contract.builders import E1, LONG_MS, P0, ROOM, S1, S2, W1, W2, commit, part, patch, take
from tests.contract.conftest import raw_command

SHAPE = ClusterShape(12, 1)


@pytest.fixture(params=["valkey", "redis"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A server of the test's own, that it may harm. It keeps its data over a restart."""
    (other,) = request.getfixturevalue(request.param).servers
    with EmbeddedRedis(tmp_path / "own", durable=True, binary=other.binary) as own:
        yield own
        if own.pid is not None:
            os.kill(own.pid, signal.SIGCONT)


@pytest.fixture
async def bus(server: EmbeddedRedis) -> AsyncIterator[RedisBus]:
    bus = await RedisBus.connect(server.url, "own", SHAPE, call_timeout_ms=500)
    yield bus
    await bus.close()


async def test_lost_scripts_are_loaded_again(bus: RedisBus, server: EmbeddedRedis) -> None:
    lease = await take(bus, S1)
    assert await raw_command(server.port, b"SCRIPT FLUSH\r\n") == b"+OK\r\n"
    assert (await bus.commit(P0, commit(part(S1, lease)))).done
    await raw_command(server.port, b"SCRIPT FLUSH\r\n")
    assert not await bus.announce("edge", E1, b"", LONG_MS)
    assert await bus.announce("edge", E1, b"", LONG_MS)


async def test_a_stopped_server_is_told_and_its_return_needs_no_restart_of_ours(
    bus: RedisBus, server: EmbeddedRedis
) -> None:
    lease = await take(bus, S1)
    await bus.append_inputs([(S1, b"a")])
    await bus.announce("edge", E1, b"", LONG_MS)
    reading = asyncio.create_task(bus.read_inputs(P0, W1, {S1: 1}, 10, 5_000))
    listening = asyncio.create_task(bus.read_output(P0, E1, 0, 5_000))
    await asyncio.sleep(0.02)
    server.stop()
    for call in (reading, listening, bus.ping_ms(), bus.commit(P0, commit(part(S1, lease))), bus.nodes("edge")):
        with pytest.raises(BusUnavailable) as raised:
            await call
        assert raised.value.__cause__ is not None
    server.start()
    assert await bus.read_inputs(P0, W1, {S1: 0}, 10, 500) == [ShardEntry(S1, 1, b"a")]
    assert (await bus.commit(P0, commit(part(S1, lease), outputs={E1: b"o"}))).done
    assert len(await bus.read_output(P0, E1, 0, 500)) == 1


async def test_a_server_that_hangs_is_told_in_time(bus: RedisBus, server: EmbeddedRedis) -> None:
    pid = server.pid
    assert pid is not None
    await bus.read_inputs(P0, W1, {S1: 0}, 10, 1)
    os.kill(pid, signal.SIGSTOP)
    async with asyncio.timeout(3):
        with pytest.raises(BusUnavailable):
            await bus.append_inputs([(S1, b"a")])
        with pytest.raises(BusUnavailable):
            await bus.read_inputs(P0, W1, {S1: 0}, 10, 50)
    os.kill(pid, signal.SIGCONT)
    # The append may or may not have taken effect, and may be repeated.
    await bus.append_inputs([(S1, b"b")])
    assert (await bus.read_inputs(P0, W1, {S1: 0}, 10, 500))[-1].data == b"b"


async def test_a_full_server_refuses_a_commit_as_a_whole(bus: RedisBus, server: EmbeddedRedis) -> None:
    lease = await take(bus, S1)
    await raw_command(server.port, b"CONFIG SET maxmemory 1\r\n")
    batch = commit(part(S1, lease, rooms=[patch(fields={"a": b"1"}, seqs=range(1, 3), active=True)]))
    with pytest.raises(BusUnavailable):
        await bus.commit(P0, batch)
    with pytest.raises(BusUnavailable):
        await bus.append_inputs([(S1, b"a")])
    assert (await bus.shard_status())[S1].version == 0
    assert await bus.load_rooms(P0, [ROOM]) == {ROOM: {}}
    await raw_command(server.port, b"CONFIG SET maxmemory 0\r\n")
    assert (await bus.commit(P0, batch)).done
    assert await bus.input_lengths([S1]) == [0]


async def test_a_server_that_became_a_replica_is_unavailable(bus: RedisBus, server: EmbeddedRedis) -> None:
    lease = await take(bus, S1)
    await raw_command(server.port, b"REPLICAOF 127.0.0.1 1\r\n")
    with pytest.raises(BusUnavailable):
        await bus.commit(P0, commit(part(S1, lease)))
    with pytest.raises(BusUnavailable):
        await bus.append_inputs([(S1, b"a")])
    await raw_command(server.port, b"REPLICAOF NO ONE\r\n")
    assert (await bus.commit(P0, commit(part(S1, lease)))).done


async def test_calls_cancelled_at_any_moment_leave_no_half_read_reply(bus: RedisBus) -> None:
    """A connection given back with a reply unread would answer the next call with that reply."""
    lease = await take(bus, S1)
    await bus.commit(P0, commit(part(S1, lease, rooms=[patch(fields={"a": b"x" * 100_000})])))
    for turns in range(30):
        calls = [
            asyncio.create_task(bus.load_rooms(P0, [ROOM])),
            asyncio.create_task(bus.append_inputs([(S1, b"a")])),
            asyncio.create_task(bus.read_inputs(P0, W2, {S1: 10_000}, 10, 1_000)),
        ]
        for _ in range(turns):
            await asyncio.sleep(0)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert await bus.input_lengths([S2]) == [0]
        assert len((await bus.load_rooms(P0, [ROOM]))[ROOM]["a"]) == 100_000
        assert await bus.read_inputs(P0, W2, {S2: 0}, 10, 0) == []


async def test_more_calls_than_connections_wait_for_each_other(bus: RedisBus) -> None:
    lengths = await asyncio.gather(*(bus.append_inputs([(S1, b"a")]) for _ in range(50)))
    assert sorted(lengths) == [[number] for number in range(1, 51)]


async def test_closing_ends_a_waiting_read(server: EmbeddedRedis) -> None:
    bus = await RedisBus.connect(server.url, "own", SHAPE)
    waiting = asyncio.create_task(bus.read_inputs(P0, W1, {S1: 0}, 10, 5_000))
    await asyncio.sleep(0.01)
    await bus.close()
    with pytest.raises(BusUnavailable):
        await asyncio.wait_for(waiting, 1)
    with pytest.raises(BusUnavailable):
        await bus.ping_ms()


async def test_wakes_of_workers_that_are_gone_do_not_pile_up(bus: RedisBus, server: EmbeddedRedis) -> None:
    for _ in range(20):
        await bus.wake(P0, W1)
    key = Keys("own", P0).wake(W1).encode()
    assert await raw_command(server.port, b"XLEN " + key + b"\r\n") == b":%d\r\n" % WAKE_ENTRIES_MAX
    assert int((await raw_command(server.port, b"PTTL " + key + b"\r\n"))[1:]) > 0


async def test_only_named_keys_exist_and_those_of_a_room_or_edge_expire(bus: RedisBus, server: EmbeddedRedis) -> None:
    await bus.open_cluster(SHAPE)
    await bus.announce("edge", E1, b"", LONG_MS)
    lease = await take(bus, S1)
    await bus.append_inputs([(S1, b"a")])
    rooms = [patch(fields={"a": b"1"}, seqs=range(1, 3), active=True, ttl_ms=LONG_MS)]
    await bus.commit(P0, commit(part(S1, lease, rooms=rooms), outputs={E1: b"o"}))
    keys = Keys("own", P0)
    lasting = [keys.cluster(), keys.nodes("edge"), keys.node_info("edge"), keys.shard(S1), keys.input(S1)]
    lasting.append(keys.active_rooms(S1))
    passing = [keys.output(E1), keys.room(ROOM), keys.history(ROOM)]
    for key in lasting:
        assert await raw_command(server.port, f"PTTL {key}\r\n".encode()) == b":-1\r\n", key
    for key in passing:
        assert int((await raw_command(server.port, f"PTTL {key}\r\n".encode()))[1:]) > 0, key
    assert await raw_command(server.port, b"DBSIZE\r\n") == b":%d\r\n" % len(lasting + passing)


async def test_dead_nodes_leave_the_store(bus: RedisBus, server: EmbeddedRedis) -> None:
    for number in range(5):
        await bus.announce("worker", f"short{number}", b"i", 10)
    await asyncio.sleep(0.02)
    await bus.announce("worker", W1, b"i", LONG_MS)
    keys = Keys("own", P0)
    assert await raw_command(server.port, f"ZCARD {keys.nodes('worker')}\r\n".encode()) == b":1\r\n"
    assert await raw_command(server.port, f"HLEN {keys.node_info('worker')}\r\n".encode()) == b":1\r\n"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:6379",
        "127.0.0.1:6379",
        "",
        "redis://127.0.0.1:port/0",
        "redis://127.0.0.1:6379/0?no_such_option=1",
        "redis://127.0.0.1:6379/0?max_connections=many",
        "unix://",
    ],
)
def test_a_wrong_url_is_one_line_that_says_what_to_do(url: str) -> None:
    with pytest.raises(SettingsError, match=r"ROOMRING_REDIS_URL.*write for example") as raised:
        RedisBus(url, "own", SHAPE)
    assert "\n" not in str(raised.value)


async def test_a_refused_password_is_a_wrong_setting(server: EmbeddedRedis) -> None:
    await raw_command(server.port, b"CONFIG SET requirepass right\r\n")
    for url in (server.url, server.url.replace("//", "//:wrong@")):
        with pytest.raises(SettingsError, match="refused the user or password"):
            await RedisBus.connect(url, "own", SHAPE)
    bus = await RedisBus.connect(server.url.replace("//", "//:right@"), "own", SHAPE)
    await bus.close()


async def test_no_server_at_all_is_unavailable_and_the_text_shows_no_password() -> None:
    with pytest.raises(BusUnavailable) as raised:
        await RedisBus.connect("redis://user:hidden@127.0.0.1:1/0", "own", SHAPE)
    assert "127.0.0.1:1" in str(raised.value)
    assert "hidden" not in str(raised.value)


async def test_what_was_committed_outlives_a_restart_of_a_durable_server(bus: RedisBus, server: EmbeddedRedis) -> None:
    lease = await take(bus, S1)
    await bus.commit(P0, commit(part(S1, lease, 0, 3, rooms=[patch(fields={"a": b"1"}, seqs=range(1, 3))])))
    server.stop()
    server.start()
    with pytest.raises(BusUnavailable):
        await bus.ping_ms()
    assert (await bus.commit(P0, commit(part(S1, lease, 1, 3)))).done
    assert [seq for seq, _ in await bus.load_history(P0, ROOM, Epoch(1), Seq(0))] == [1, 2]


async def test_who_stopped_a_server_in_order_can_vouch_for_the_next_one(bus: RedisBus, server: EmbeddedRedis) -> None:
    lease = await take(bus, S1)
    await bus.release(P0, W1, {S1: lease.token})
    server.stop()
    server.start()
    with pytest.raises(BusUnavailable):
        await bus.ping_ms()
    assert await bus.vouch("0" * 40) == 0
    assert await bus.vouch(server.replaces) == 1
    assert (await take(bus, S1)).generation == lease.generation
