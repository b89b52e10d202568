"""What a person has outlives Redis: friends, blocks, unread messages and read positions come back from PostgreSQL."""

from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from deploy.devcluster import DevCluster
from tests.integration.calls import call
from tests.integration.client import Client
from tests.integration.conftest import People, _people, mint, running_cluster
from tests.integration.kept import stored, until


@pytest.fixture(scope="module")
def forgetful_cluster() -> Iterator[DevCluster]:
    """A cluster whose Redis loses everything."""
    with running_cluster(environ={"ROOMRING_RECONNECT_WINDOW_MS": "300"}) as running:
        yield running


@pytest.fixture
async def forgetful(forgetful_cluster: DevCluster) -> AsyncIterator[People]:
    async for visitors in _people(forgetful_cluster):
        yield visitors


async def forget(people: People) -> None:
    async with Redis.from_url(people.cluster.redis_url) as redis:
        await redis.flushall()


async def open_inbox(people: People, user: str, *, edge: int = 0) -> Client:
    client = await people.connect(edge)
    client.hides.add(f"user:{user}")
    answer = await client.join(f"user:{user}", user, token=mint(user, "anything"))
    assert answer["t"] == "room_state", answer
    return client


async def write(client: Client, to: str, text: str) -> None:
    answer = await client.ask("direct_send", {"recipientId": to, "text": text}, within_s=10)
    assert answer["t"] == "ack", answer
    await stored(client, answer)


async def test_friends_blocks_and_unread_messages_come_back(forgetful: People) -> None:
    people = forgetful
    for other in ("ben", "eve"):
        assert (await people.admin("PUT", f"users/ada/friends/{other}")).status == 200
    ada, ben = await open_inbox(people, "ada"), await open_inbox(people, "ben", edge=1)
    eve = await open_inbox(people, "eve")
    for number in range(3):
        await write(ben, "ada", f"before {number}")
    await write(eve, "ada", "from eve")
    assert (await ada.ask("read_up_to", {"threadId": "dm:ada:ben", "seq": 1}))["t"] == "ack"
    assert (await ada.ask("block_user", {"userId": "eve"}))["t"] == "ack"
    # The records go one after the other; this message is behind them all.
    await write(ada, "ben", "fence")
    await settled(people)
    for client in (ada, ben, eve):
        await client.close()

    await forget(people)

    back = await open_inbox(people, "ada", edge=1)
    state = back.all("room_state")[-1]["payload"]["inbox"]
    assert state["unread"] == {"dm:ada:ben": 2}
    assert {friend["userId"] for friend in state["friends"]} == {"ben"}
    assert state["blocked"] == ["eve"]
    ben, eve = await open_inbox(people, "ben"), await open_inbox(people, "eve")
    refused = await eve.ask("direct_send", {"recipientId": "ada", "text": "hidden"}, within_s=10)
    assert (refused["t"], refused["payload"]["code"]) == ("message_rejected", "blocked")
    await write(ben, "ada", "after")
    heard = await back.wait("direct_message", text="after")
    assert heard["payload"]["unread"] == 3
    assert heard["payload"]["threadEpoch"] > 0
    threads = await call("GET", f"{people.cluster.edges[0].url}/threads", key=mint("ada", "anything"))
    assert [(thread["userId"], thread["unread"]) for thread in threads.json["threads"]] == [("ben", 3)]
    page = await call("GET", f"{people.cluster.edges[0].url}/threads/dm:ada:ben/messages", key=mint("ada", "x"))
    assert [message["text"] for message in page.json["messages"]] == [
        "before 0",
        "before 1",
        "before 2",
        "fence",
        "after",
    ]
    read = await back.ask("read_up_to", {"threadId": "dm:ada:ben", "seq": heard["payload"]["threadSeq"]})
    assert read["t"] == "ack"
    assert (await back.wait("read_receipt", threadId="dm:ada:ben"))["payload"]["unread"] == 0


async def settled(people: People) -> None:
    """Wait until nothing waits for the database any more."""

    async def is_settled() -> bool:
        edge = people.cluster.edges[0].url
        page = await call("GET", f"{edge}/threads/dm:ada:ben/messages", key=mint("ada", "x"))
        threads = await call("GET", f"{edge}/threads", key=mint("ada", "x"))
        shown = [(thread["userId"], thread["unread"]) for thread in threads.json["threads"]]
        return bool(page.json["settled"]) and shown == [("ben", 2)]

    await until(is_settled)
