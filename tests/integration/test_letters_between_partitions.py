"""Direct messages over three partitions, on processes: a thread in one, the inboxes of its persons in the others."""

import asyncio
import itertools
import signal
from collections import Counter
from collections.abc import Iterator

import pytest
from redis.asyncio import Redis

from common.ids import RoomId, UserId, inbox_of, thread_of
from common.ring import partition_of_shard, shard_of
from deploy.devcluster import DevCluster
from tests.integration.client import Client
from tests.integration.conftest import People, _people, running_cluster

SHARDS, PARTITIONS = 12, 3
WRITERS = 4
"""At once from each of the two: something is always on its way."""

KILLS = 4
PAUSE_MAX_S = 20.0
ENVIRON = {
    "ROOMRING_SHARDS": str(SHARDS),
    "ROOMRING_PARTITIONS": str(PARTITIONS),
    "ROOMRING_CHAT_PER_SECOND": "1000",
    "ROOMRING_CHAT_BURST": "1000",
}


@pytest.fixture(scope="module")
def parted_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevCluster]:
    """A cluster of three partitions on one Valkey, whose processes start again when they die."""
    with running_cluster(environ=ENVIRON, data_dir=tmp_path_factory.mktemp("parted")) as running:
        yield running


def partition(room: RoomId) -> int:
    return partition_of_shard(shard_of(room, SHARDS), PARTITIONS)


def apart() -> tuple[UserId, UserId]:
    """Return two persons whose inboxes and thread are in three partitions."""
    for one, other in itertools.combinations([UserId(f"person{number}") for number in range(20)], 2):
        if len({partition(room) for room in (inbox_of(one), inbox_of(other), thread_of(one, other))}) == PARTITIONS:
            return one, other
    raise AssertionError("no such two")


async def owner_of(people: People, room: RoomId) -> str:
    """Wait until a room has a living owner, and return the name of its process."""
    async with asyncio.timeout(PAUSE_MAX_S):
        while True:
            seen = (await people.admin("GET", "cluster")).json
            owner = seen["shards"][shard_of(room, SHARDS)]["owner"]
            ports = [worker["internalPort"] for worker in seen["workers"] if worker["id"] == owner]
            names = [worker.name for worker in people.cluster.workers if worker.internal_port in ports]
            if names:
                return names[0]
            await asyncio.sleep(0.05)


class Correspondence:
    """Two who write to each other all the time."""

    def __init__(self, *clients: Client) -> None:
        self.clients = clients
        self.acked: list[str] = []
        one, other = clients
        self._tasks = [
            asyncio.create_task(self._write(author, reader.user_id or "", number))
            for author, reader in ((one, other), (other, one))
            for number in range(WRITERS)
        ]

    async def _write(self, author: Client, to: str, writer: int) -> None:
        for number in itertools.count():
            payload = {"recipientId": to, "text": f"{author.user_id}/{writer}/{number}"}
            answer = await author.ask("direct_send", payload, within_s=PAUSE_MAX_S)
            assert answer["t"] == "ack", answer
            self.acked.append(answer["payload"]["messageId"])

    async def go_on(self, count: int) -> None:
        """Wait for so many more acknowledgements."""
        wanted = len(self.acked) + count
        async with asyncio.timeout(PAUSE_MAX_S):
            while len(self.acked) < wanted:
                for task in self._tasks:
                    if task.done():
                        task.result()
                await asyncio.sleep(0.02)

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def test_each_direct_message_reaches_both_once_though_workers_are_killed(parted_cluster: DevCluster) -> None:
    ann, bob = apart()
    async for people in _people(parted_cluster):
        assert (await people.admin("PUT", f"users/{ann}/friends/{bob}")).status == 200
        clients = [await people.join("here", ann, edge=0), await people.join("there", bob, edge=1)]
        letters = Correspondence(*clients)
        await letters.go_on(50)
        for room in itertools.islice(itertools.cycle([thread_of(ann, bob), inbox_of(bob)]), KILLS):
            people.cluster.kill(await owner_of(people, room), signal.SIGKILL)
            await letters.go_on(50)
        await letters.end()
        acked = {*letters.acked}
        for client in clients:
            # What was under way when the writers stopped has no acknowledgement that was seen, and may come as well.
            for message_id in acked:
                await client.wait("direct_message", messageId=message_id)
            times = Counter(event["payload"]["messageId"] for event in client.all("direct_message"))
            assert max(times.values()) == 1, [each for each, count in times.items() if count > 1]
            places = [event["payload"]["threadSeq"] for event in client.all("direct_message")]
            assert places == sorted(places)
            assert not client.all("resync")
        print(f"\n{len(acked)} direct messages over {KILLS} kills of workers")


async def test_relays_are_empty_again_when_all_was_moved(parted_cluster: DevCluster) -> None:
    ann, bob = apart()
    async for people in _people(parted_cluster):
        assert (await people.admin("PUT", f"users/{ann}/friends/{bob}")).status == 200
        author, reader = await people.join("here", ann), await people.join("there", bob)
        answer = await author.ask("direct_send", {"recipientId": bob, "text": "psst"})
        await reader.wait("direct_message", messageId=answer["payload"]["messageId"])
        async with Redis.from_url(parted_cluster.redis_url) as redis, asyncio.timeout(PAUSE_MAX_S):
            relays = await redis.keys("*:relay:*")
            assert relays
            while any([await redis.xlen(relay) for relay in relays]):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
