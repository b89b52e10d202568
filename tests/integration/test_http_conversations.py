"""Conversations over HTTP in a real cluster: sending without a socket, threads, the moderation queue."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

from common.ids import UserId, thread_of
from deploy.devcluster import DevCluster
from tests.integration.calls import Answer, call
from tests.integration.conftest import People, _people, mint, running_cluster
from tests.integration.kept import until

Person = Callable[[str], str]


@pytest.fixture(scope="module")
def talking_cluster() -> Iterator[DevCluster]:
    """A cluster with a database."""
    with running_cluster() as running:
        yield running


@pytest.fixture
async def talkers(talking_cluster: DevCluster) -> AsyncIterator[People]:
    """People of that cluster."""
    async for visitors in _people(talking_cluster):
        yield visitors


def url_of(people: People, edge: int, *parts: str) -> str:
    return "/".join([people.cluster.edges[edge].url, *(quote(part, safe=":") for part in parts)])


async def post(
    people: People, room: str, user: str, body: Any, *, edge: int = 0, headers: dict[str, str] | None = None
) -> Answer:
    return await call(
        "POST", url_of(people, edge, "rooms", room, "messages"), body, key=mint(user, room, name=user), headers=headers
    )


async def good(people: People, user: str, *parts: str) -> Any:
    answer = await call("GET", url_of(people, 0, *parts), key=mint(user, "*"))
    assert answer.status == 200, answer
    return answer.json


async def test_who_sends_over_http_is_heard_once_by_who_is_connected(
    talkers: People, room: str, person: Person
) -> None:
    lobby, ann, bob = f"lobby:{room}", person("ann"), person("bob")
    listener = await talkers.join(lobby, bob, edge=1)
    first = await post(talkers, lobby, ann, {"text": "Hello", "id": "c1"})
    assert first.status == 201
    again = await post(talkers, lobby, ann, {"text": "Hello"}, edge=1, headers={"Idempotency-Key": "c1"})
    assert again.json == first.json
    behind = await post(talkers, lobby, ann, {"text": "Behind it"})
    heard = await listener.wait("chat_broadcast", text="Hello")
    assert (heard["seq"], heard["payload"]["messageId"]) == (first.json["seq"], first.json["messageId"])
    assert (heard["payload"]["userId"], heard["payload"]["displayName"]) == (ann, ann)
    assert (await listener.wait("chat_broadcast", text="Behind it"))["seq"] == behind.json["seq"]
    assert behind.json["seq"] == first.json["seq"] + 1

    async def both() -> Any:
        page = await good(talkers, bob, "rooms", lobby, "messages")
        return page["messages"] if len(page["messages"]) == 2 else None

    assert [one["text"] for one in await until(both)] == ["Hello", "Behind it"]


async def test_a_space_hears_what_comes_from_outside_and_its_limits_hold(
    talkers: People, room: str, person: Person
) -> None:
    bob = await talkers.join(room, person("bob"))
    assert (await post(talkers, room, person("ann"), {"text": "Hello"})).status == 201
    await bob.wait("chat_broadcast", text="Hello")
    refused = await post(talkers, room, person("ann"), {"text": "x" * 241})
    assert (refused.status, refused.code) == (400, "invalid_payload")
    refused = await post(talkers, f"cave:{room}", person("ann"), {"text": "Hello"})
    assert (refused.status, refused.code) == (404, "unsupported_kind")


async def test_friends_write_to_each_other_and_nobody_else_sees_it(talkers: People, room: str, person: Person) -> None:
    ann, bob, eve = person("ann"), person("bob"), person("eve")
    thread = thread_of(UserId(ann), UserId(bob))
    listener = await talkers.join(room, bob, edge=1)
    refused = await post(talkers, thread, ann, {"text": "Hello"})
    assert (refused.status, refused.code) == (403, "not_friends")
    assert (await talkers.admin("PUT", f"users/{ann}/friends/{bob}")).json["friends"] is True

    sent = await post(talkers, thread, ann, {"text": "Hello"})
    assert sent.status == 201
    told = (await listener.wait("direct_message", text="Hello"))["payload"]
    assert (told["threadId"], told["threadSeq"], told["unread"]) == (thread, sent.json["seq"], 1)

    async def listed() -> Any:
        return (await good(talkers, bob, "threads"))["threads"]

    (seen,) = await until(listed)
    assert (seen["threadId"], seen["userId"], seen["unread"]) == (thread, ann, 1)
    assert seen["lastMessage"]["text"] == "Hello"
    page = await good(talkers, bob, "threads", thread, "messages")
    assert [one["text"] for one in page["messages"]] == ["Hello"]
    for path in (("threads", thread, "messages"), ("rooms", thread, "messages")):
        answer = await call("GET", url_of(talkers, 0, *path), key=mint(eve, "*"))
        assert answer.status == 404
    assert (await post(talkers, thread, eve, {"text": "Hello"})).status == 404

    await talkers.admin("PUT", f"users/{bob}/blocks/{ann}")
    assert await good(talkers, bob, "threads") == {"inboxId": f"user:{bob}", "unread": 0, "threads": []}
    assert (await good(talkers, bob, "threads", thread, "messages"))["messages"] == []
    refused = await post(talkers, thread, ann, {"text": "Still there?"})
    assert (refused.status, refused.code) == (403, "blocked")


async def test_a_reported_message_is_deleted_by_a_moderator_everywhere(
    talkers: People, room: str, person: Person
) -> None:
    lobby, ann, bob, mia = f"lobby:{room}", person("ann"), person("bob"), person("mia")
    listener = await talkers.join(lobby, bob)
    sent = (await post(talkers, lobby, ann, {"text": "Rude"})).json
    await listener.wait("chat_broadcast", text="Rude")
    await listener.ask("report", {"roomId": lobby, "seq": sent["seq"], "reason": "insults"})

    async def opened() -> Any:
        items = (await talkers.admin("GET", "moderation/queue?limit=200")).json["items"]
        return [item for item in items if item["roomId"] == lobby]

    (item,) = await until(opened)
    assert (item["targetId"], item["userId"], item["excerpt"]) == (sent["messageId"], ann, "Rude")
    path = f"moderation/queue/{item['itemId']}"
    assert (await talkers.admin("POST", f"{path}/claim", {"moderator": mia})).json["claimedBy"] == mia
    other = {"moderator": person("max"), "resolution": "dismissed"}
    assert (await talkers.admin("POST", f"{path}/resolve", other)).code == "claimed"
    resolved = await talkers.admin("POST", f"{path}/resolve", {"moderator": mia, "resolution": "deleted"})
    assert (resolved.status, resolved.json["resolution"]) == (200, "deleted")
    gone = (await listener.wait("message_deleted"))["payload"]
    assert (gone["messageId"], gone["targetSeq"]) == (sent["messageId"], sent["seq"])

    async def without() -> Any:
        return not (await good(talkers, bob, "rooms", lobby, "messages"))["messages"]

    await until(without)
    trail = (await talkers.admin("GET", f"moderation/audit?userId={ann}")).json["entries"]
    assert {entry["actor"] for entry in trail} == {mia}
    assert trail


async def test_who_acted_directly_is_in_the_audit_log(talkers: People, room: str, person: Person) -> None:
    ann = person("ann")
    order = {"userId": ann, "type": "mutedByMod", "reason": "rude", "seconds": 60}
    url = f"{talkers.cluster.edges[0].internal_url}/admin/rooms/{room}/moderation"
    headers = {"X-Moderator": "mia@example.com"}
    assert (await call("POST", url, order, key=talkers.cluster.admin_key, headers=headers)).status == 200
    (entry,) = (await talkers.admin("GET", f"moderation/audit?userId={ann}")).json["entries"]
    assert (entry["actor"], entry["action"], entry["roomId"]) == ("mia@example.com", "mute", room)
    assert entry["details"] == {"reason": "rude", "seconds": 60}
