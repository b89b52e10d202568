"""From a report to what comes of it, in a real cluster: each resolution on every path, the filter, the audit log."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from redis.asyncio import Redis

from common.ids import UserId, thread_of
from deploy.devcluster import DevCluster
from tests.integration.calls import Answer, call
from tests.integration.client import Client, Event, join_payload
from tests.integration.conftest import People, _people, mint, running_cluster
from tests.integration.kept import database, good_page, rows_of, say, stored, texts_of, until

Person = Callable[[str], str]
MIA, MAX = "mia@example.com", "max@example.com"
TAKEOVER_S = 20.0
WORDS = """
reject = ["grobble"]
queue = ["snark"]
mask = ["fizz"]
"""


@pytest.fixture(scope="module")
def judging_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevCluster]:
    """A cluster with a database and a list of words."""
    words: Path = tmp_path_factory.mktemp("words") / "words.toml"
    words.write_text(WORDS)
    with running_cluster(environ={"ROOMRING_WORD_LIST_FILE": str(words)}) as running:
        yield running


@pytest.fixture
async def talkers(judging_cluster: DevCluster) -> AsyncIterator[People]:
    """People of that cluster."""
    async for visitors in _people(judging_cluster):
        yield visitors


async def item_of(people: People, message_id: str, *, reports: int = 0) -> dict[str, Any]:
    """Return the open item of a message, once it has so many reports."""

    async def found() -> Any:
        items = (await people.admin("GET", "moderation/queue?limit=200")).json["items"]
        return [one for one in items if one["targetId"] == message_id and one["reportCount"] >= reports]

    (item,) = await until(found)
    return dict(item)


async def resolve(people: People, item: dict[str, Any], moderator: str, resolution: str, **more: Any) -> Answer:
    body = {"moderator": moderator, "resolution": resolution, **more}
    return await people.admin("POST", f"moderation/queue/{item['itemId']}/resolve", body, edge=1)


async def report(reporter: Client, room: str, ack: Event, reason: str) -> None:
    """Report a message by the place that its author was told."""
    place = {"roomId": room, "seq": ack["payload"]["seq"], "reason": reason}
    answer = await reporter.ask("report", place)
    assert answer["t"] == "ack", answer


async def trail(people: People, user: str) -> list[tuple[str, str]]:
    """Return who did what to a person, the first thing first."""
    entries = (await people.admin("GET", f"moderation/audit?limit=200&userId={quote(user)}")).json["entries"]
    return [(entry["actor"], entry["action"]) for entry in reversed(entries)]


async def is_refused(people: People, room: str, user: str) -> bool:
    """Whether a person who is banned cannot come in."""
    _, answer = await people.try_join(room, user)
    return (answer["t"], answer["payload"].get("code")) == ("auth_error", "banned")


async def lose_redis(people: People, room: str, *clients: Client) -> None:
    """Have Redis forget all, and wait until the clients are told."""
    marks = [client.mark() for client in clients]
    async with Redis.from_url(people.cluster.redis_url) as redis:
        await redis.flushall()
    for client, mark in zip(clients, marks, strict=True):
        await client.wait("resync", since=mark, within_s=TAKEOVER_S, roomId=room)
        await client.wait("room_state", since=mark, within_s=TAKEOVER_S, roomId=room)


async def test_a_deleted_message_is_gone_on_every_path(talkers: People, room: str, person: Person) -> None:
    lobby, ann, bob, away = f"lobby:{room}", person("ann"), person("bob"), person("away")
    author, listener = await talkers.join(lobby, ann), await talkers.join(lobby, bob, edge=1)
    dropped = await talkers.join(lobby, away, edge=1)
    before = dropped.position(lobby)
    await dropped.drop()
    rude = await say(author, lobby, "A rude word")
    kept = await say(author, lobby, "A kind word")
    await listener.wait("chat_broadcast", text="A kind word")
    await stored(author, kept)
    await report(listener, lobby, rude, "Insults")
    item = await item_of(talkers, rude["payload"]["messageId"], reports=1)
    assert (item["source"], item["roomId"], item["userId"]) == ("report", lobby, ann)
    assert (item["excerpt"], item["epoch"], item["seq"]) == ("A rude word", before[0], rude["payload"]["seq"])
    assert [(one["userId"], one["reason"]) for one in item["reports"]] == [(bob, "Insults")]

    claim = f"moderation/queue/{item['itemId']}/claim"
    assert (await talkers.admin("POST", claim, {"moderator": MIA})).json["claimedBy"] == MIA
    refused = await talkers.admin("POST", claim, {"moderator": MAX})
    assert (refused.status, refused.code) == (409, "claimed")
    refused = await resolve(talkers, item, MAX, "dismissed")
    assert (refused.status, refused.code) == (409, "claimed")
    assert (await resolve(talkers, item, MIA, "deleted")).json["resolution"] == "deleted"
    assert (await resolve(talkers, item, MIA, "deleted")).status == 200
    assert (await resolve(talkers, item, MAX, "deleted")).code == "not_open"

    message_id, place = rude["payload"]["messageId"], rude["payload"]["seq"]
    for client in (author, listener):
        gone = await client.wait("message_deleted", messageId=message_id)
        assert gone["payload"]["targetSeq"] == place
    back, state = await talkers.try_join(lobby, away, edge=0, resume=before)
    assert state["payload"]["recovered"] is True
    fence = await say(author, lobby, "fence")
    await back.wait("chat_broadcast", text="fence")
    replay = [event for event in back.received if event.get("replay")]
    assert [event["t"] for event in replay if event["seq"] == place] == ["message_deleted"]
    assert "A kind word" in str(replay)
    assert "A rude word" not in str(back.received)
    _, fresh = await talkers.try_join(lobby, person("new"), edge=1)
    assert [one["text"] for one in fresh["payload"]["messages"]] == ["A kind word", "fence"]
    await stored(author, fence)

    async def without() -> Any:
        return texts_of((await good_page(talkers.cluster, lobby))["messages"]) == ["A kind word", "fence"]

    await until(without)
    assert [text for _, _, found, text in await rows_of(talkers.cluster, lobby) if found == message_id] == [""]
    assert await trail(talkers, ann) == [(MIA, "moderation.claimed"), (MIA, "moderation.deleted")]


async def test_mutes_and_bans_hold_also_after_redis_lost_all(talkers: People, room: str, person: Person) -> None:
    lobby, loud, mean, bob = f"lobby:{room}", person("loud"), person("mean"), person("bob")
    watcher = await talkers.join(lobby, bob)
    shouting, cursing = await talkers.join(lobby, loud, edge=1), await talkers.join(lobby, mean, edge=1)
    for author, text in ((shouting, "LOUD"), (cursing, "MEAN")):
        await report(watcher, lobby, await say(author, lobby, text), text.lower())
    items = [
        await item_of(talkers, (await watcher.wait("chat_broadcast", text=text))["payload"]["messageId"])
        for text in ("LOUD", "MEAN")
    ]
    muted = await resolve(talkers, items[0], MIA, "muted", seconds=60, note="Too loud")
    assert (muted.status, muted.json["resolvedBy"], muted.json["note"]) == (200, MIA, "Too loud")
    action = await shouting.wait("moderation_action")
    assert (action["payload"]["type"], action["payload"]["reason"]) == ("mutedByMod", "Too loud")
    assert (await say(shouting, lobby, "no"))["payload"]["code"] == "muted"

    assert (await resolve(talkers, items[1], MAX, "banned", note="Enough")).status == 200
    assert (await cursing.wait("moderation_action"))["payload"]["type"] == "banned"
    assert await cursing.wait_closed() == 4403
    assert await is_refused(talkers, lobby, mean)
    assert await trail(talkers, mean) == [(MAX, "moderation.claimed"), (MAX, "moderation.banned")]
    assert await trail(talkers, loud) == [(MIA, "moderation.claimed"), (MIA, "moderation.muted")]

    # Stored after what was imposed, in the same order.
    await stored(watcher, await say(watcher, lobby, "fence"))
    await lose_redis(talkers, lobby, watcher, shouting)
    assert await is_refused(talkers, lobby, mean)
    assert (await say(shouting, lobby, "still no", within_s=TAKEOVER_S))["payload"]["code"] == "muted"
    assert (await say(watcher, lobby, "quiet"))["t"] == "ack"
    lifted = await talkers.admin("DELETE", f"rooms/{lobby}/moderation/{mean}")
    assert lifted.json["lifted"] is True
    await talkers.join(lobby, mean)


async def test_a_direct_message_is_deleted_in_both_inboxes(talkers: People, room: str, person: Person) -> None:
    ann, bob = person("ann"), person("bob")
    thread = thread_of(UserId(ann), UserId(bob))
    assert (await talkers.admin("PUT", f"users/{ann}/friends/{bob}")).status == 200
    author, reader = await talkers.join(room, ann), await talkers.join(room, bob, edge=1)
    for client, user in ((author, ann), (reader, bob)):
        state = await client.join(f"user:{user}", user, token=mint(user, room))
        assert state["t"] == "room_state", state
    sent = [await author.ask("direct_send", {"recipientId": bob, "text": text}) for text in ("Hello", "Rude")]
    told = await reader.wait("direct_message", text="Rude")
    assert told["payload"]["unread"] == 2
    await stored(author, sent[1])
    await report(reader, thread, sent[1], "Insults")
    item = await item_of(talkers, sent[1]["payload"]["messageId"], reports=1)
    assert (item["roomId"], item["userId"], item["excerpt"]) == (thread, ann, "Rude")
    assert (await resolve(talkers, item, MIA, "deleted")).status == 200
    for client in (author, reader):
        gone = await client.wait("message_deleted", messageId=sent[1]["payload"]["messageId"])
        assert (gone["payload"]["threadId"], gone["payload"]["targetSeq"]) == (thread, sent[1]["payload"]["seq"])

    async def listed(user: str) -> Any:
        url = talkers.cluster.edges[0].url
        return (await call("GET", f"{url}/threads", key=mint(user, "*"))).json

    async def fewer() -> Any:
        return (await listed(bob))["unread"] == 1

    await until(fewer)
    (seen,) = (await listed(bob))["threads"]
    assert (seen["unread"], seen["lastMessage"]["text"]) == (1, "Hello")
    fresh = await talkers.join(room, bob)
    inbox = await fresh.join(f"user:{bob}", bob, token=mint(bob, room))
    assert inbox["payload"]["inbox"]["unread"] == {thread: 1}
    for user in (ann, bob):
        url = f"{talkers.cluster.edges[1].url}/threads/{quote(thread, safe=':')}/messages"
        page = (await call("GET", url, key=mint(user, "*"))).json
        assert texts_of(page["messages"]) == ["Hello"]

    names = [("admin-key", "friend"), (MIA, "moderation.claimed"), (MIA, "moderation.deleted")]
    assert await trail(talkers, ann) == names


async def send_and_be_reported(people: People, room: str, ann: str, bob: str) -> tuple[Client, Client, dict[str, Any]]:
    """Have one write to the other, who reports it; return both and the item of the queue."""
    assert (await people.admin("PUT", f"users/{ann}/friends/{bob}")).status == 200
    author, reader = await people.join(room, ann), await people.join(room, bob, edge=1)
    sent = await author.ask("direct_send", {"recipientId": bob, "text": "Rude"})
    await stored(author, sent)
    await report(reader, thread_of(UserId(ann), UserId(bob)), sent, "Insults")
    return author, reader, await item_of(people, sent["payload"]["messageId"], reports=1)


async def test_a_mute_for_a_thread_holds_in_all_threads_also_after_redis_lost_all(
    talkers: People, room: str, person: Person
) -> None:
    ann, bob, cyd = person("ann"), person("bob"), person("cyd")
    author, reader, item = await send_and_be_reported(talkers, room, ann, bob)
    assert (await talkers.admin("PUT", f"users/{ann}/friends/{cyd}")).status == 200
    assert (await resolve(talkers, item, MIA, "muted", seconds=60)).status == 200
    for other in (bob, cyd):
        answer = await author.ask("direct_send", {"recipientId": other, "text": "No"})
        assert (answer["t"], answer["payload"]["code"]) == ("message_rejected", "muted")
    inbox = f"user:{ann}"

    async def kept() -> Any:
        async with database(talkers.cluster) as connection:
            return await connection.fetchval("SELECT count(*) FROM restrictions WHERE room_id = $1", inbox)

    await until(kept)
    await lose_redis(talkers, room, author, reader)
    for other in (bob, cyd):
        answer = await author.ask("direct_send", {"recipientId": other, "text": "No"}, within_s=TAKEOVER_S)
        assert (answer["t"], answer["payload"]["code"]) == ("message_rejected", "muted")


async def test_a_ban_for_a_thread_holds_everywhere_also_after_redis_lost_all(
    talkers: People, room: str, person: Person
) -> None:
    ann, bob = person("ann"), person("bob")
    author, reader, item = await send_and_be_reported(talkers, room, ann, bob)
    assert (await resolve(talkers, item, MAX, "banned")).status == 200
    assert await author.wait_closed() == 4403

    async def check() -> None:
        # The inbox says so, wherever the person wanted to go; before or after that answer.
        back = await talkers.connect(1)
        await back.send("join_room", join_payload(f"{room}-2", ann, token=mint(ann, f"{room}-2")))
        assert await back.wait_closed(within_s=TAKEOVER_S) == 4403
        assert back.all("auth_error", code="banned", roomId=f"user:{ann}")
        for place in (f"lobby:{room}", thread_of(UserId(ann), UserId(bob))):
            url = f"{talkers.cluster.edges[0].url}/rooms/{quote(place, safe=':')}/messages"
            answer = await call("POST", url, {"text": "Hi"}, key=mint(ann, place))
            assert (answer.status, answer.code) == (403, "banned")

    await check()
    await stored(reader, await reader.ask("direct_send", {"recipientId": ann, "text": "fence"}))
    await lose_redis(talkers, room, reader)
    await check()
    assert (await talkers.admin("DELETE", f"rooms/user:{ann}/moderation/{ann}")).json["lifted"] is True
    await talkers.join(room, ann)


async def test_the_word_filter_rejects_masks_and_queues(talkers: People, room: str, person: Person) -> None:
    lobby, ann, bob = f"lobby:{room}", person("ann"), person("bob")
    assert (await talkers.admin("PUT", f"users/{ann}/friends/{bob}")).status == 200
    author, listener = await talkers.join(lobby, ann), await talkers.join(lobby, bob, edge=1)
    refused = await say(author, lobby, "You GROBBLE!")
    assert (refused["t"], refused["payload"]["code"]) == ("error", "filtered")
    refused = await author.ask("direct_send", {"recipientId": bob, "text": "grobble"})
    assert (refused["t"], refused["payload"]["code"]) == ("message_rejected", "filtered")

    masked = await say(author, lobby, "Some fizz here")
    assert (await listener.wait("chat_broadcast", messageId=masked["payload"]["messageId"]))["payload"]["text"] == (
        "Some **** here"
    )
    direct = await author.ask("direct_send", {"recipientId": bob, "text": "fizz"})
    assert (await listener.wait("direct_message"))["payload"]["text"] == "****"
    queued = await say(author, lobby, "What a snark")
    await listener.wait("chat_broadcast", text="What a snark")
    await stored(author, queued)
    await stored(author, direct)
    assert texts_of((await good_page(talkers.cluster, lobby))["messages"]) == ["Some **** here", "What a snark"]
    item = await item_of(talkers, queued["payload"]["messageId"])
    assert (item["source"], item["excerpt"], item["userId"], item["reports"]) == ("filter", "What a snark", ann, [])
    # A person may report the same message as well, and the item stays one.
    await report(listener, lobby, queued, "Me too")
    item = await item_of(talkers, queued["payload"]["messageId"], reports=1)
    assert (item["source"], item["reports"][0]["userId"]) == ("filter", bob)
    assert (await resolve(talkers, item, MIA, "dismissed", note="Harmless")).json["resolution"] == "dismissed"
    assert (await trail(talkers, ann))[1:] == [(MIA, "moderation.claimed"), (MIA, "moderation.dismissed")]
