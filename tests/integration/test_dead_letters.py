"""Poison in a real cluster: what nobody can handle is set aside, everything else goes on, and the operator sees it."""

import asyncio
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from common.commands import AnyCommand, Identity, InputBatch, Join, Moderate, encode_batch
from common.durable import ChatMessage
from common.ids import ConnNumber, EdgeId, Epoch, Partition, RoomId, Seq, UserId, inbox_of
from common.keys import Keys
from common.outbox import OutboxEntry, encode_entry
from common.ring import shard_of
from common.schema_version import SCHEMA_VERSION
from common.settings import WorkerSettings
from deploy.devcluster import DevCluster
from tests.integration.calls import call
from tests.integration.conftest import People
from tests.integration.test_cli import assert_one_line, roomring

SHARDS = WorkerSettings().shards
KEYS = Keys("rr", Partition(0))
LOBBY = RoomId("lobby:poison")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevCluster]:
    """A cluster in a folder where the commands look for one. Its processes complain about what is planted."""
    with DevCluster(edges=1, workers=1, data_dir=tmp_path_factory.mktemp("poison") / ".roomring") as running:
        yield running


@pytest.fixture(autouse=True)
def clean(cluster: DevCluster) -> Iterator[None]:
    yield
    for letter in listed(cluster):
        assert tell(cluster, "drop", letter["id"]).returncode == 0


def beside(cluster: DevCluster, *argv: str) -> Any:
    """Run a command where it finds the cluster by itself."""
    return roomring(*argv, cwd=cluster.folder.parent)


def tell(cluster: DevCluster, *argv: str) -> Any:
    return beside(cluster, "deadletter", *argv)


def listed(cluster: DevCluster) -> list[dict[str, Any]]:
    done = tell(cluster, "list", "--json")
    assert done.returncode == 0, done.stderr
    letters: list[dict[str, Any]] = json.loads(done.stdout)
    return letters


async def until_lying(cluster: DevCluster, count: int) -> None:
    """Wait until the workers' alarm shows so many."""
    async with asyncio.timeout(20):
        while await metric(cluster, "roomring_worker_dead_letters_lying") != count:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)


async def metric(cluster: DevCluster, name: str) -> float:
    total = 0.0
    for worker in cluster.workers:
        text = (await call("GET", f"{worker.internal_url}/metrics")).body.decode()
        total += sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"{name} "))
    return total


def append(cluster: DevCluster, room: str, data: bytes) -> None:
    with redis.Redis.from_url(cluster.redis_url) as store:
        store.xadd(KEYS.input(shard_of(RoomId(room), SHARDS)), {"d": data}, id="0-*")


def plant(cluster: DevCluster, room: str, *commands: AnyCommand, edge_id: str = "") -> None:
    append(cluster, room, encode_batch(InputBatch(EdgeId(edge_id), 0, time.time_ns() // 1_000_000, list(commands))))


async def test_an_unreadable_entry_is_set_aside_and_the_room_goes_on(
    cluster: DevCluster, people: People, room: str
) -> None:
    ada = await people.join(room, "ada")
    append(cluster, room, b"\xc1 no batch")
    await ada.chat(room, "still here")
    await until_lying(cluster, 1)
    (letter,) = listed(cluster)
    assert (letter["kind"], letter["id"].split("-")[0]) == ("entry", str(shard_of(RoomId(room), SHARDS)))
    shown = tell(cluster, "show", letter["id"])
    assert b"\xc1 no batch".hex() in shown.stdout
    assert re.search(r"\nwarn  dead letters +1 lies there", beside(cluster, "doctor").stdout)
    assert_one_line(tell(cluster, "retry", letter["id"]), 1, "cannot be retried")
    assert tell(cluster, "drop", letter["id"]).stdout == f"{letter['id']}: dropped\n"
    assert listed(cluster) == []
    assert tell(cluster, "list").stdout == "there are no dead letters\n"
    assert re.search(r"\nok    dead letters +none", beside(cluster, "doctor").stdout)
    assert_one_line(tell(cluster, "show", letter["id"]), 2, "there is no dead letter")
    await until_lying(cluster, 0)


async def test_migrate_finds_the_database_of_the_cluster_that_runs_here(cluster: DevCluster) -> None:
    status = json.loads(beside(cluster, "migrate", "status", "--json").stdout)
    assert (status["current"], status["pending"]) == (SCHEMA_VERSION, [])


async def test_a_command_at_which_a_room_fails_is_set_aside_with_its_reason_and_its_sender_is_told(
    cluster: DevCluster, people: People, room: str
) -> None:
    ada, ben = await people.join(room, "ada"), await people.join(room, "ben")
    before = await metric(cluster, "roomring_worker_dead_letters_total")
    connection_id = (await ada.wait("welcome"))["payload"]["connectionId"]
    edge_id, _, number = connection_id.rpartition("-")
    # The same connection as somebody else: no edge says so, and the room takes it for a bug.
    eve = Identity(UserId("eve"), "Eve", "fox")
    plant(cluster, room, Join(RoomId(room), ConnNumber(int(number)), eve, "desktop", re="bad"), edge_id=edge_id)
    error = await ada.wait("error")
    assert (error["re"], error["payload"]["code"]) == ("bad", "internal")
    await ben.chat(room, "still here")
    await ada.wait("chat_broadcast")
    await until_lying(cluster, 1)
    (letter,) = listed(cluster)
    assert (letter["kind"], letter["what"], letter["room"]) == ("command", "Join", room)
    assert "one person only" in letter["error"]
    shown = json.loads(tell(cluster, "show", letter["id"], "--json").stdout)
    assert "_connect" in shown["traceback"]
    assert shown["content"]["commands"][0]["identity"]["user_id"] == "eve"
    assert await metric(cluster, "roomring_worker_dead_letters_total") == before + 1


async def test_what_is_retried_in_vain_comes_back(cluster: DevCluster, people: People) -> None:
    inbox = inbox_of(UserId("nobody-here"))
    # No edge asks for so long: the end of the mute does not fit into what is stored.
    plant(cluster, inbox, Moderate(inbox, 0, UserId("nobody-here"), "mutedByMod", "too long", 2**64 - 1))
    await until_lying(cluster, 1)
    (first,) = listed(cluster)
    assert first["what"] == "Moderate"
    assert "given to its room" in tell(cluster, "retry", first["id"]).stdout
    async with asyncio.timeout(20):
        while not (second := listed(cluster)):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)
    assert second[0]["what"] == "Moderate"
    assert second[0]["id"] != first["id"]


async def test_a_record_that_the_database_refuses_does_not_hold_up_the_others(
    cluster: DevCluster, people: People
) -> None:
    ada = await people.join(LOBBY, "ada")
    # Places begin at 1: no room gives this one, and the table does not take it.
    record = ChatMessage(LOBBY, Epoch(1), Seq(0), "poison", UserId("ada"), "Ada", "hello", 1_700_000_000_000)
    with redis.Redis.from_url(cluster.redis_url) as store:
        entry = encode_entry(OutboxEntry(record, EdgeId(""), ConnNumber(0)))
        store.xadd(KEYS.outbox(shard_of(LOBBY, SHARDS)), {"d": entry}, id="0-*")
    await ada.send("chat_send", {"roomId": LOBBY, "text": "kept"}, id="good")
    await ada.wait("persisted")
    await until_lying(cluster, 1)
    (letter,) = listed(cluster)
    assert (letter["kind"], letter["what"], letter["room"]) == ("record", "ChatMessage", LOBBY)
    assert "CheckViolation" in letter["error"]
    assert_one_line(tell(cluster, "retry", letter["id"]), 1, "CheckViolation")
    assert [again["id"] for again in listed(cluster)] == [letter["id"]]
