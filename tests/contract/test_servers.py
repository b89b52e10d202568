"""What becomes of shards when another server process takes the place of the first, with all that it had or less."""

import asyncio
import copy
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import pytest

from common.bus import Acquired, CommitAnswer, Renewed, WorkerBus
from common.bus_memory import MemoryBus, MemoryStore
from common.bus_redis import RedisBus
from common.errors import BusUnavailable
from common.ids import WorkerId
from deploy.embedded_redis import EmbeddedRedis
from tests.contract.builders import LONG_MS, P0, S1, S2, S3, W1, W2, commit, part, take
from tests.contract.conftest import SHAPE, raw_command

SHORT_MS = 50
DONE = CommitAnswer(done=True)


class Servers(Protocol):
    """A store that can be brought back as it was."""

    def bus(self) -> WorkerBus:
        """Make one more process's bus."""
        ...

    async def restart(self) -> None:
        """Let another process go on with everything."""
        ...

    async def save(self) -> None:
        """Copy what the store holds."""
        ...

    async def fall_back(self) -> None:
        """Let another process go on with what was saved."""
        ...

    async def pass_ms(self, duration_ms: int) -> None:
        """Let time pass."""
        ...


class MemoryServers:
    def __init__(self) -> None:
        self._now_ms = 1_000_000
        self._store = MemoryStore(SHAPE, lambda: self._now_ms)
        self._saved = vars(self._store)

    def bus(self) -> WorkerBus:
        return MemoryBus(self._store)

    async def restart(self) -> None:
        self._store.change_server()

    async def save(self) -> None:
        kept = {name: value for name, value in vars(self._store).items() if name not in ("_now_ms", "server")}
        self._saved = copy.deepcopy(kept)

    async def fall_back(self) -> None:
        vars(self._store).update(self._saved)
        self._store.change_server()

    async def pass_ms(self, duration_ms: int) -> None:
        self._now_ms += duration_ms

    async def close(self) -> None:
        pass


class RedisServers:
    def __init__(self, folder: Path, binary: Path) -> None:
        self._data, self._copy = folder / "data", folder / "copy"
        self._server = EmbeddedRedis(self._data, durable=True, binary=binary, log_file=folder / "log")
        self._buses: list[RedisBus] = []
        self._server.start()

    def bus(self) -> WorkerBus:
        self._buses.append(RedisBus(self._server.url, "servers", SHAPE))
        return self._buses[-1]

    async def restart(self) -> None:
        self._server.stop()
        self._server.start()
        await self._reconnect()

    async def save(self) -> None:
        # What is answered is written to the file.
        await raw_command(self._server.port, b"CONFIG SET appendfsync always\r\n")
        shutil.copytree(self._data, self._copy)

    async def fall_back(self) -> None:
        self._server.kill()
        shutil.rmtree(self._data)
        shutil.copytree(self._copy, self._data)
        self._server.start()
        await self._reconnect()

    async def pass_ms(self, duration_ms: int) -> None:
        await asyncio.sleep((duration_ms + 2) / 1000)

    async def close(self) -> None:
        for bus in self._buses:
            await bus.close()
        self._server.stop()

    async def _reconnect(self) -> None:
        """The first call on each broken connection tells that it is."""
        for bus in self._buses:
            while True:
                try:
                    await bus.ping_ms()
                    break
                except BusUnavailable:
                    continue


@pytest.fixture(params=["memory", "redis"])
async def servers(
    request: pytest.FixtureRequest, tmp_path: Path, embedded_redis: EmbeddedRedis
) -> AsyncIterator[Servers]:
    """A fresh cluster of one partition."""
    made = MemoryServers() if request.param == "memory" else RedisServers(tmp_path, embedded_redis.binary)
    yield made
    await made.close()


async def proven(bus: WorkerBus, worker: WorkerId, lease: Acquired) -> bool:
    """Renew the lease of the first shard, which must not be lost."""
    renewed = (await bus.renew(P0, worker, LONG_MS, {S1: lease.token}))[S1]
    assert isinstance(renewed, Renewed)
    return renewed.is_proven


async def test_a_restart_keeps_the_generation_where_the_owner_commits(servers: Servers) -> None:
    bus = servers.bus()
    lease = await take(bus, S1)
    await bus.append_inputs([(S1, b"a"), (S1, b"b")])
    assert await bus.commit(P0, commit(part(S1, lease, 0, 1))) == DONE
    assert await proven(bus, W1, lease)
    await servers.restart()
    assert not await proven(bus, W1, lease)
    assert await bus.commit(P0, commit(part(S1, lease, 1, 1))) == DONE
    assert await proven(bus, W1, lease)
    await bus.release(P0, W1, {S1: lease.token}, {})
    after = await take(servers.bus(), S1, W2)
    assert (after.version, after.cursor, after.generation) == (2, 1, lease.generation)


async def test_input_that_was_read_before_a_restart_is_read_again(servers: Servers) -> None:
    bus = servers.bus()
    one, two = await take(bus, S1), await take(bus, S2)
    await bus.append_inputs([(S1, b"a"), (S2, b"b")])
    await servers.restart()
    answer = await bus.commit(P0, commit(part(S1, one, 0, 1), part(S2, two, 0, 0)))
    assert answer == CommitAnswer(done=False, unread=(S1,))
    # Of the other nothing depends on what was read, and this server is known now.
    assert await bus.commit(P0, commit(part(S2, two, 0, 0))) == DONE
    again = await take(bus, S1)
    assert (again.version, again.cursor, again.generation) == (0, 0, one.generation)
    assert await bus.commit(P0, commit(part(S1, again, 0, 1))) == DONE


async def test_a_commit_that_was_written_before_a_restart_is_not_written_again(servers: Servers) -> None:
    bus = servers.bus()
    lease = await take(bus, S1)
    await bus.append_inputs([(S1, b"a")])
    batch = commit(part(S1, lease, 0, 1))
    assert await bus.commit(P0, batch) == DONE
    await servers.restart()
    assert await bus.commit(P0, batch) == CommitAnswer(done=True, already=True)
    assert await proven(bus, W1, lease)


async def test_a_version_proves_as_much_at_a_release(servers: Servers) -> None:
    bus = servers.bus()
    one, two = await take(bus, S1), await take(bus, S2)
    await servers.restart()
    await bus.release(P0, W1, {S1: one.token, S2: two.token}, {S1: 0, S2: 1})
    assert (await take(bus, S1, W2)).generation == one.generation
    assert (await take(bus, S2, W2)).generation > two.generation


async def test_a_free_shard_that_nobody_can_vouch_for_begins_a_generation(servers: Servers) -> None:
    bus = servers.bus()
    first = await take(bus, S1)
    await bus.release(P0, W1, {S1: first.token}, {S1: 0})
    second = await take(bus, S1)
    assert second.generation == first.generation
    await bus.release(P0, W1, {S1: second.token}, {S1: 0})
    await servers.restart()
    third = await take(bus, S1)
    assert third.generation > first.generation
    assert await proven(bus, W1, third)


async def test_an_owner_whose_lease_ran_out_meanwhile_proves_nothing(servers: Servers) -> None:
    """Somebody else may have had the shard, which got lost."""
    bus = servers.bus()
    leases = {shard: await take(bus, shard, W1, SHORT_MS) for shard in (S1, S2, S3)}
    await servers.restart()
    await servers.pass_ms(SHORT_MS)
    assert await bus.renew(P0, W1, LONG_MS, {S1: leases[S1].token}) == {S1: None}
    assert await bus.commit(P0, commit(part(S2, leases[S2], 0, 0))) == CommitAnswer(done=False, stale=(S2,))
    await bus.release(P0, W1, {S3: leases[S3].token}, {S3: 0})
    for shard, lease in leases.items():
        assert (await take(bus, shard)).generation > lease.generation


async def test_whoever_takes_a_shard_whose_lease_ran_out_meanwhile_begins_a_generation(servers: Servers) -> None:
    bus = servers.bus()
    lease = await take(bus, S1, W1, SHORT_MS)
    await servers.restart()
    await servers.pass_ms(SHORT_MS)
    assert (await take(servers.bus(), S1, W2)).generation > lease.generation


async def test_an_owner_that_was_forgotten_and_is_named_again_proves_nothing(servers: Servers) -> None:
    """It slept, another one took its shard, and the store lost that: the version fits, and is of no worth."""
    bus, other = servers.bus(), servers.bus()
    lease = await take(bus, S1, W1, SHORT_MS)
    await servers.save()
    await servers.pass_ms(SHORT_MS)
    second = await take(other, S1, W2)
    assert await other.commit(P0, commit(part(S1, second, 0, 0))) == DONE
    await servers.fall_back()
    assert await bus.commit(P0, commit(part(S1, lease, 0, 0))) == CommitAnswer(done=False, stale=(S1,))
    assert (await take(bus, S1)).generation > second.generation


async def test_an_owner_that_takes_its_own_shard_again_has_forgotten_what_it_knew(servers: Servers) -> None:
    bus = servers.bus()
    lease = await take(bus, S1)
    await servers.restart()
    assert (await take(bus, S1)).generation > lease.generation


async def test_lost_commits_are_found_by_who_made_them(servers: Servers) -> None:
    bus = servers.bus()
    lease = await take(bus, S1)
    await servers.save()
    assert await bus.commit(P0, commit(part(S1, lease, 0, 0))) == DONE
    await servers.fall_back()
    assert not await proven(bus, W1, lease)
    assert await bus.commit(P0, commit(part(S1, lease, 1, 0))) == CommitAnswer(done=False, stale=(S1,))
    # It need not be the same that takes the shard then.
    await bus.release(P0, W1, {S1: lease.token}, {})
    after = await take(servers.bus(), S1, W2)
    assert (after.version, after.generation > lease.generation) == (0, True)


async def test_commits_that_were_lost_with_their_owner_are_suspected(servers: Servers) -> None:
    bus = servers.bus()
    lease = await take(bus, S1, W1, SHORT_MS)
    await servers.save()
    assert await bus.commit(P0, commit(part(S1, lease, 0, 0))) == DONE
    await servers.fall_back()
    await servers.pass_ms(SHORT_MS)
    answer = await take(servers.bus(), S1, W2)
    assert (answer.version, answer.generation > lease.generation) == (0, True)


async def test_acquisitions_that_were_lost_are_suspected(servers: Servers) -> None:
    """The store names the owner from before; the lost one, and whoever comes, must not go on with its numbers."""
    bus, other = servers.bus(), servers.bus()
    first = await take(bus, S1, W1, SHORT_MS)
    await servers.save()
    await bus.release(P0, W1, {S1: first.token}, {S1: 0})
    second = await take(other, S1, W2, SHORT_MS)
    assert await other.commit(P0, commit(part(S1, second, 0, 0))) == DONE
    await servers.fall_back()
    assert await other.commit(P0, commit(part(S1, second, 1, 0))) == CommitAnswer(done=False, fenced=(S1,))
    await servers.pass_ms(SHORT_MS)
    answer = await take(other, S1, W2)
    assert answer.generation > second.generation


async def test_a_commit_that_comes_late_makes_nobody_suspicious(servers: Servers) -> None:
    bus = servers.bus()
    lease = await take(bus, S1)
    late = commit(part(S1, lease, 0, 0))
    for version in range(3):
        assert await bus.commit(P0, commit(part(S1, lease, version, 0))) == DONE
    assert await bus.commit(P0, late) == CommitAnswer(done=False, stale=(S1,))
    assert await proven(bus, W1, lease)
