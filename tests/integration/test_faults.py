"""Processes that die, stop or forget while people talk: what was acknowledged stays, the order goes on."""

import asyncio
import contextlib
import itertools
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from common.ids import RoomId
from common.ring import shard_of
from deploy.devcluster import DevCluster
from tests.integration.calls import call
from tests.integration.client import Client, Event, new_id
from tests.integration.conftest import People, _people, mint, running_cluster

SHARDS = 16
WINDOW_MS = 600
NODE_TTL_MS = 2_000
PAUSE_MAX_S = 10.0
"""Far above lease and margin; the figure itself is printed."""

ENVIRON = {"ROOMRING_SHARDS": str(SHARDS), "ROOMRING_RECONNECT_WINDOW_MS": str(WINDOW_MS)}


@pytest.fixture(scope="module")
def mortal_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevCluster]:
    """A durable cluster whose processes start again when they die."""
    with running_cluster(environ=ENVIRON, data_dir=tmp_path_factory.mktemp("mortal")) as running:
        yield running


@pytest.fixture
async def mortals(mortal_cluster: DevCluster) -> AsyncIterator[People]:
    """People of that cluster, when it is whole again."""
    await asyncio.to_thread(mortal_cluster.await_ready)
    await whole(mortal_cluster)
    async for visitors in _people(mortal_cluster):
        yield visitors


async def whole(cluster: DevCluster) -> None:
    """Wait until the shards are shared out evenly, and nobody is listed who is dead."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(OSError):
                edge = cluster.edges[0]
                answer = await call("GET", f"{edge.internal_url}/admin/cluster", key=cluster.admin_key)
                if answer.status == 200 and [w["shards"] for w in answer.json["workers"]] == [SHARDS // 2] * 2:
                    return
            await asyncio.sleep(0.05)


async def owner_of(people: People, room: str) -> str:
    """Return the name of the process that owns a room."""
    seen = (await people.admin("GET", "cluster", edge=1)).json
    owner = seen["shards"][shard_of(RoomId(room), SHARDS)]["owner"]
    (port,) = [worker["internalPort"] for worker in seen["workers"] if worker["id"] == owner]
    (name,) = [worker.name for worker in people.cluster.workers if worker.internal_port == port]
    return name


class Talk:
    """Two people who talk all the time. What was acknowledged must have been heard by both, in one order."""

    def __init__(self, room: str, *clients: Client) -> None:
        self.room = room
        self.clients = clients
        self.acks: list[tuple[float, Event]] = []
        self._tasks = [asyncio.create_task(self._talk(client)) for client in clients]

    async def _talk(self, client: Client) -> None:
        number = 0
        while client.is_open:
            number += 1
            answer = await client.chat(self.room, f"{client.user_id} says {number}", within_s=PAUSE_MAX_S + 5)
            assert answer["t"] == "ack", answer
            self.acks.append((time.monotonic(), answer))
            await asyncio.sleep(0.22)

    async def go_on(self, count: int = 4) -> None:
        """Wait for so many more acknowledgements."""
        wanted = len(self.acks) + count
        async with asyncio.timeout(PAUSE_MAX_S + 5):
            while len(self.acks) < wanted:
                for task in self._tasks:
                    if task.done():
                        task.result()
                await asyncio.sleep(0.02)

    async def end(self) -> None:
        """Stop talking, and compare."""
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                raise result
        last = max(ack["payload"]["seq"] for _, ack in self.acks)
        for client in self.clients:
            await client.wait(lambda event: event.get("seq", 0) >= last and event["payload"].get("roomId") == self.room)
            heard = [event["payload"]["messageId"] for event in client.all("chat_broadcast")]
            lost = {ack["payload"]["messageId"] for _, ack in self.acks} - {*heard}
            assert not lost, f"{client.user_id} did not hear {len(lost)} acknowledged messages"
            assert len(heard) == len({*heard}), "heard twice"
        assert len({event["epoch"] for client in self.clients for event in client.reliable(self.room)}) == 1

    def pause_s(self, since_s: float) -> float:
        """Return the longest time without an acknowledgement, from a moment on."""
        times = [since_s, *(at for at, _ in self.acks if at >= since_s)]
        return max(later - earlier for earlier, later in itertools.pairwise(times))


async def test_a_killed_worker_loses_nothing_and_its_rooms_go_on_soon(mortals: People, room: str) -> None:
    ann = await mortals.join(room, "ann", edge=0)
    bob = await mortals.join(room, "bob", edge=1)
    talk = Talk(room, ann, bob)
    await talk.go_on()
    owner = await owner_of(mortals, room)
    killed_s = time.monotonic()
    mortals.cluster.kill(owner, signal.SIGKILL)
    await talk.go_on(8)
    await talk.end()
    pause_s = talk.pause_s(killed_s)
    print(f"\nrooms stood still for {pause_s:.2f} s after SIGKILL of their worker (lease {NODE_TTL_MS} ms)")
    assert pause_s < PAUSE_MAX_S
    assert not ann.all("member_left")
    assert not ann.all("resync")


async def test_a_worker_that_is_told_to_end_hands_its_rooms_over(mortals: People, room: str) -> None:
    ann = await mortals.join(room, "ann", edge=0)
    bob = await mortals.join(room, "bob", edge=1)
    talk = Talk(room, ann, bob)
    await talk.go_on()
    owner = await owner_of(mortals, room)
    told_s = time.monotonic()
    mortals.cluster.kill(owner, signal.SIGTERM)
    # Through the end, the new start, and the balancing that gives rooms back to the new one.
    await talk.go_on(16)
    await talk.end()
    pause_s = talk.pause_s(told_s)
    print(f"\nrooms stood still for {pause_s:.2f} s after SIGTERM of their worker")
    assert pause_s < NODE_TTL_MS / 1000, "the lease had to run out: it was not given up"
    assert not bob.all("member_left")
    assert not bob.all("resync")


async def test_a_worker_that_was_stopped_and_wakes_up_says_nothing_more(mortals: People, room: str) -> None:
    ann = await mortals.join(room, "ann", edge=0)
    bob = await mortals.join(room, "bob", edge=1)
    talk = Talk(room, ann, bob)
    await talk.go_on()
    owner = await owner_of(mortals, room)
    mortals.cluster.kill(owner, signal.SIGSTOP)
    try:
        await talk.go_on(6)
    finally:
        mortals.cluster.kill(owner, signal.SIGCONT)
    await talk.go_on(6)
    await talk.end()


async def test_a_killed_edge_loses_its_people_and_nobody_else(mortals: People, room: str) -> None:
    ann = await mortals.join(room, "ann", edge=0)
    cat = await mortals.join(room, "cat", edge=0)
    bob = await mortals.join(room, "bob", edge=1)
    await bob.wait("chat_broadcast", text="x") if (await ann.chat(room, "x"))["t"] == "ack" else None
    at, same = ann.position(room), new_id()
    mortals.cluster.kill("edge-1", signal.SIGKILL)
    killed_s = time.monotonic()
    await ann.wait_closed()
    await cat.wait_closed()
    assert (await bob.chat(room, "still here"))["t"] == "ack"

    # Who comes back over the other edge before the window has ended was never away.
    back = await mortals.join(room, "ann", edge=1, resume=at)
    assert back.all("room_state")[0]["payload"]["recovered"] is True
    await back.wait("chat_broadcast", text="still here")
    await bob.wait("member_left", userId="cat", within_s=10)
    print(f"\nthe person of a killed edge left after {time.monotonic() - killed_s:.2f} s")
    assert (await back.chat(room, "end", id=same))["t"] == "ack"
    await bob.wait("chat_broadcast", text="end")
    assert not bob.all("member_left", userId="ann")
    assert len(bob.all("member_left")) == 1


async def test_an_edge_that_lost_what_was_sent_to_it_repairs_its_rooms(mortals: People, room: str) -> None:
    """Its stream is trimmed while it does not read, as the bound of a stream does."""
    ann = await mortals.join(room, "ann", edge=0)
    bob = await mortals.join(room, "bob", edge=1)
    await bob.chat(room, "before")
    await ann.wait("chat_broadcast", text="before")
    edge_id = (await call("GET", f"{mortals.cluster.edges[0].url}/healthz")).json["edge"]
    mark = ann.mark()
    mortals.cluster.kill("edge-1", signal.SIGSTOP)
    try:
        for number in range(3):
            await bob.chat(room, f"lost {number}")
        async with Redis.from_url(mortals.cluster.redis_url) as redis:
            (stream,) = [key async for key in redis.scan_iter(f"*out:{edge_id}")]
            assert await redis.xlen(stream) >= 1
            await redis.xtrim(stream, maxlen=0, approximate=False)
    finally:
        mortals.cluster.kill("edge-1", signal.SIGCONT)
    await bob.chat(room, "after")
    await ann.wait(lambda event: event["payload"].get("text") == "after", since=mark)
    assert (await ann.chat(room, "end"))["t"] == "ack"
    await bob.wait("chat_broadcast", text="end")
    assert ann.position(room) == bob.position(room)
    seen = [event["seq"] for event in ann.received[mark:] if "seq" in event]
    at = ann.all("chat_broadcast", text="before")[0]["seq"]
    assert seen == [*range(at + 1, bob.position(room)[1] + 1)], "each once, in order, replayed or live"
    assert not bob.all("member_left")


async def test_an_edge_that_slept_too_long_joins_its_rooms_again(mortals: People, room: str) -> None:
    """The others saw its people leave; when it wakes up, they are back, and know what they missed."""
    ann = await mortals.join(room, "ann", edge=0)
    bob = await mortals.join(room, "bob", edge=1)
    mark, bobs_mark = ann.mark(), bob.mark()
    mortals.cluster.kill("edge-1", signal.SIGSTOP)
    try:
        await bob.wait("member_left", userId="ann", within_s=10)
        await bob.chat(room, "without ann")
    finally:
        mortals.cluster.kill("edge-1", signal.SIGCONT)
    await bob.wait("member_joined", since=bobs_mark, within_s=10)
    await ann.wait("room_state", since=mark)
    assert (await ann.chat(room, "here again"))["t"] == "ack"
    await bob.wait("chat_broadcast", text="here again")
    await ann.wait("chat_broadcast", text="here again")
    await bob.chat(room, "welcome back")
    await ann.wait("chat_broadcast", text="welcome back")
    assert ann.position(room) == bob.position(room)
    assert ann.is_open


async def test_an_edge_that_is_told_to_end_sends_its_people_away_gently(mortals: People, room: str) -> None:
    people = [await mortals.join(room, f"p{number}", edge=0) for number in range(12)]
    bob = await mortals.join(room, "bob", edge=1)
    at = people[0].position(room)
    mortals.cluster.kill("edge-1", signal.SIGTERM)
    delays = []
    for client in people:
        told = await client.wait("server_draining")
        delays.append(told["payload"]["reconnectAfterMs"])
        assert await client.wait_closed() == 1012
    # DevCluster drains over half a second.
    assert all(0 <= delay <= 500 for delay in delays)
    assert len({*delays}) > 3, "all would come back at once"
    back = [await mortals.join(room, f"p{number}", edge=1, resume=at) for number in range(12)]
    assert all(client.all("room_state")[0]["payload"]["recovered"] for client in back)
    await bob.chat(room, "all here")
    await back[-1].wait("chat_broadcast", text="all here")
    assert not bob.all("member_left")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_restart_of_valkey_is_survived_with_its_data(
    mortals: People, room: str, number: signal.Signals
) -> None:
    ann = await mortals.join(room, "ann", edge=0)
    bob = await mortals.join(room, "bob", edge=1)
    talk = Talk(room, ann, bob)
    await talk.go_on()
    killed_s = time.monotonic()
    mortals.cluster.kill("valkey", number)
    await talk.go_on(8)
    await talk.end()
    print(f"\nrooms stood still for {talk.pause_s(killed_s):.2f} s after {number.name} of Valkey")
    assert talk.pause_s(killed_s) < PAUSE_MAX_S
    assert ann.is_open
    assert bob.is_open
    assert not ann.all("member_left")


async def test_a_store_that_forgot_all_begins_a_new_epoch_for_all(mortals: People, room: str) -> None:
    ann = await mortals.join(room, "ann", edge=0)
    bob = await mortals.join(room, "bob", edge=1)
    for number in range(3):
        await ann.chat(room, f"before {number}")
    await bob.wait("chat_broadcast", text="before 2")
    epoch, seq = bob.position(room)
    marks = [client.mark() for client in (ann, bob)]
    async with Redis.from_url(mortals.cluster.redis_url) as redis:
        await redis.flushall()
    for client, mark in zip((ann, bob), marks, strict=True):
        resync = await client.wait("resync", since=mark, within_s=10)
        assert resync["payload"]["roomId"] == room
        assert resync["payload"]["reason"] == "new_epoch"
        state = await client.wait("room_state", since=mark)
        assert state["payload"]["epoch"] > epoch
        assert state["payload"]["recovered"] is False
    assert (await ann.chat(room, "after", within_s=10))["t"] == "ack"
    await bob.wait("chat_broadcast", text="after")
    await bob.chat(room, "after too")
    await ann.wait("chat_broadcast", text="after too")
    for client in (ann, bob):
        members = client.all("room_state")[-1]["payload"]["members"]
        joined = {event["payload"]["member"]["userId"] for event in client.all("member_joined", since=marks[0])}
        assert {m["userId"] for m in members} | joined == {"ann", "bob"}
    assert ann.position(room)[0] == bob.position(room)[0] > epoch
    late = await mortals.join(room, "late", edge=1, resume=(epoch, seq))
    assert late.all("room_state")[0]["payload"]["recovered"] is False


async def test_a_store_that_forgot_all_is_told_once_in_every_room_also_while_people_talk(
    mortals: People, room: str, person: Callable[[str], str]
) -> None:
    # Twice in rooms whose shards came back late. And not at all where what was said at once in the new epoch filled
    # the edge's new stream up to its old position before it looked: its clients heard nothing any more.
    name, rooms = person("ann"), [room, *(f"{room}-{number}" for number in range(12))]
    ann = await mortals.join(room, name)
    for other in rooms[1:]:
        assert (await ann.join(other, name, token=mint(name, f"{room}*")))["t"] == "room_state"

    async def talk() -> None:
        for other in itertools.cycle(rooms):
            await ann.send("local_chat", {"roomId": other, "text": "on and on", "mode": "local"}, id=new_id())
            await asyncio.sleep(0.01)

    talking = asyncio.create_task(talk())
    mark = ann.mark()
    async with Redis.from_url(mortals.cluster.redis_url) as redis:
        await redis.flushall()
    for other in rooms:
        await ann.wait("resync", since=mark, within_s=10, roomId=other)
    later = ann.mark()
    for other in rooms:
        await ann.wait("chat_broadcast", since=later, within_s=10, roomId=other)
    talking.cancel()
    assert sorted(event["payload"]["roomId"] for event in ann.all("resync", since=mark)) == sorted(rooms)
    codes = {event["payload"]["code"] for event in ann.all("error", since=mark)}
    assert codes <= {"busy"}


async def test_a_second_start_goes_on_from_what_is_stored(
    tmp_path: Path, room: str, person: Callable[[str], str]
) -> None:
    ann = person("ann")
    with running_cluster(edges=1, workers=1, environ=ENVIRON, data_dir=tmp_path) as cluster:
        async for people in _people(cluster):
            client = await people.join(room, ann)
            same = new_id()
            answer = await client.chat(room, "remember me", id=same)
            await people.admin("POST", f"rooms/{room}/moderation", {"userId": "bad", "type": "banned", "reason": "x"})
            await people.admin("PUT", f"users/{ann}/blocks/nobody")
            at = client.position(room)
    with running_cluster(edges=1, workers=1, environ=ENVIRON, data_dir=tmp_path) as cluster:
        async for people in _people(cluster):
            back = await people.join(room, ann, resume=(at[0], 0))
            state = back.all("room_state")[0]["payload"]
            assert state["epoch"] == at[0]
            assert state["seq"] >= at[1]
            assert state["recovered"] is True
            await back.wait("chat_broadcast", text="remember me")
            assert await back.chat(room, "remember me", id=same) == answer
            _, refused = await people.try_join(room, "bad")
            assert refused["payload"]["code"] == "banned"
            assert (await people.admin("PUT", f"users/{ann}/blocks/nobody")).json["changed"] is False
