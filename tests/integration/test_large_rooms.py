"""Rooms that count as large: states in parts, movements that are shown less often, over a change of the worker too."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from deploy.devcluster import DevCluster
from tests.integration.client import Client
from tests.integration.conftest import People, mint, running_cluster

CROWD = 40
FULL_RATE = 5
ENVIRON = {
    "ROOMRING_ROOM_STATE_BYTES_MAX": "4096",
    "ROOMRING_FULL_RATE_MOVERS_MAX": str(FULL_RATE),
    "ROOMRING_REDUCED_MOVEMENTS_PER_SECOND": "2",
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[DevCluster]:
    with running_cluster(database=False, environ=ENVIRON) as running:
        yield running


@pytest.fixture
async def people(cluster: DevCluster) -> AsyncIterator[People]:
    visitors = People(cluster)
    try:
        yield visitors
    finally:
        await visitors.end()


def present(client: Client, room: str) -> set[str]:
    """Put together what a client was told of who is there."""
    members: set[str] = set()
    for event in client.received:
        payload = event["payload"]
        if payload.get("roomId") != room:
            continue
        match event["t"]:
            case "room_state":
                members = {member["userId"] for member in payload["members"]}
            case "room_members":
                members |= {member["userId"] for member in payload["members"]}
            case "member_joined":
                members.add(payload["member"]["userId"])
            case "member_left":
                members.discard(payload["userId"])
    return members


async def settled(clients: list[Client], room: str) -> None:
    """Wait until everybody has seen the same last word."""
    await clients[0].chat(room, "that is all")
    for client in clients:
        await client.wait("chat_broadcast", text="that is all")


async def test_a_crowd_that_comes_at_once_and_goes_again_is_seen_by_all(people: People, room: str) -> None:
    first = await people.join(room, "first", edge=1)
    crowd = [await people.connect(number % 2) for number in range(CROWD)]
    names = [f"user-{number}" for number in range(CROWD)]
    answers = await asyncio.gather(
        *(client.join(room, name, token=mint(name, room)) for client, name in zip(crowd, names, strict=True))
    )
    assert any("parts" in answer["payload"] for answer in answers)
    everybody = [first, *crowd]
    await settled(everybody, room)
    assert [present(client, room) for client in everybody] == [{"first", *names}] * (CROWD + 1)

    late = await people.join(room, "late")
    await late.wait("room_members", part=late.all("room_state")[0]["payload"]["parts"])
    assert present(late, room) == {"first", "late", *names}
    assert late.all("room_state")[0]["payload"]["memberCount"] == CROWD + 2

    await asyncio.gather(*(client.leave(room) for client in crowd))
    await late.chat(room, "how quiet")
    await first.wait("chat_broadcast", text="how quiet")
    assert present(first, room) == present(late, room) == {"first", "late"}


async def test_the_last_movement_of_everybody_is_shown(people: People, room: str) -> None:
    crowd = [await people.join(room, f"user-{number}", edge=number % 2) for number in range(FULL_RATE + 3)]
    told = [client.all("room_state")[0]["payload"].get("movement") for client in crowd]
    assert told[FULL_RATE - 1] is None
    assert told[-1] == {"fullRateMovers": FULL_RATE, "reducedPerSecond": 2.0, "reduced": True}
    watcher = crowd[0]
    for number in range(1, 9):
        for client in crowd:
            await client.move(room, number, float(number))
    for client in crowd:
        await watcher.wait("avatar_transform_broadcast", userId=client.user_id, x=8.0)
    of_last = watcher.all("avatar_transform_broadcast", userId=crowd[-1].user_id)
    assert len(of_last) < 8
    assert not crowd[-1].all("rate_limited")
