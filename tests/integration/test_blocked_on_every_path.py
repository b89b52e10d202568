"""A person who is blocked reaches the blocker on no path: live, replay, state, pages, threads, notes, presence.

Everything that the blocked person does carries a mark, and everything that the blocker's connections and
requests bring is searched for it. A third person, who blocks nobody, gets all of it: so it was sent.
"""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from tests.integration.calls import Answer, call
from tests.integration.client import Client, Event, transform
from tests.integration.conftest import People, mint
from tests.integration.kept import say, stored

Person = Callable[[str], str]
SIGHTS = (
    "member_joined",
    "avatar_transform_broadcast",
    "chat_broadcast",
    "emote_broadcast",
    "typing_broadcast",
    "member_left",
    "note_placed",
    "note_changed",
    "note_deleted",
    "direct_message",
    "read_receipt",
    "presence",
    "friend_changed",
)


class Scene:
    """Who is there, and in which rooms."""

    def __init__(self, people: People, person: Person, tag: str) -> None:
        self.people = people
        self.blocked, self.blocker, self.witness = person("mallory"), person("bea"), person("wil")
        self.space, self.lobby, self.board = tag, f"lobby:{tag}", f"notes:{tag}"
        self.rooms = (self.space, self.lobby, self.board)

    def inbox(self, user: str) -> str:
        return f"user:{user}"

    async def befriend(self, user: str, other: str) -> None:
        answer = await self.people.admin("PUT", f"users/{user}/friends/{other}")
        assert answer.status == 200, answer

    async def enter(self, user: str, *, edge: int, inbox: bool = True, resume: Any = None) -> Client:
        """Open a connection and join all rooms, the own inbox too."""
        client = await self.people.connect(edge)
        rooms = [*self.rooms, *([self.inbox(user)] if inbox else [])]
        client.hides.update(rooms)
        for room in rooms:
            token = mint(user, self.space if room.startswith("user:") else room)
            place = (resume or {}).get(room)
            answer = await client.join(room, user, token=token, resume=place, name=user)
            assert answer["t"] == "room_state", answer
        return client

    async def read(self, user: str, path: str) -> Any:
        cluster = self.people.cluster
        answer: Answer = await call("GET", f"{cluster.edges[0].url}{path}", key=mint(user, "*"))
        assert answer.status == 200, (path, answer)
        return answer.json

    async def pages(self, user: str, threads: list[str]) -> dict[str, Any]:
        """Read everything that can be read without a socket."""
        paths = [f"/rooms/{quote(room, safe=':')}/messages" for room in (self.space, self.lobby)]
        paths += ["/threads", f"/rooms/{quote(self.board, safe=':')}/notes"]
        paths += [f"/rooms/{quote(self.board, safe=':')}/notes?rect=-100,-100,100,100"]
        paths += [f"/threads/{quote(thread, safe=':')}/messages" for thread in threads]
        return {path: await self.read(user, path) for path in paths}

    async def act(self, actor: Client, number: int) -> None:
        """Do one of everything that others could notice, and wait until it is done and stored."""
        space, lobby, board = self.rooms
        await actor.send("avatar_transform", {"roomId": space, **transform(number, 1.0)})
        await actor.ask("emote", {"roomId": space, "emoteId": "cheers"})
        assert (await actor.chat(space, f"{self.blocked} {number}"))["t"] == "ack"
        for room in self.rooms:
            await actor.send("typing", {"roomId": room})
        for room in (space, lobby):
            ack = await say(actor, room, f"{self.blocked} kept {number}")
            assert ack["t"] == "ack", ack
            await stored(actor, ack)
        note = {"roomId": board, "noteId": f"note-{number}", "x": 1, "y": 2, "text": f"{self.blocked} {number}"}
        assert (await actor.ask("note_put", note))["t"] == "ack"
        change = {"roomId": board, "noteId": f"note-{number}", "revision": 1, "text": f"{self.blocked} again"}
        answer = await actor.ask("note_change", change)
        assert answer["t"] == "ack", answer
        await actor.wait("persisted", roomId=board, seq=answer["payload"]["seq"])
        doomed = {**note, "noteId": f"doomed-{number}"}
        assert (await actor.ask("note_put", doomed))["t"] == "ack"
        gone = {"roomId": board, "noteId": f"doomed-{number}", "revision": 1}
        assert (await actor.ask("note_delete", gone))["t"] == "ack"
        for user in (self.witness, self.blocker):
            await actor.ask("friend_add", {"userId": user})
            await actor.send("typing", {"recipientId": user})
            await actor.ask("direct_send", {"recipientId": user, "text": f"{self.blocked} {number}"})

    def thread(self, user: str, other: str) -> str:
        return "dm:" + ":".join(sorted((user, other)))


def traces(found: Any, mark: str) -> list[str]:
    """Return the parts of an answer in which a mark appears."""
    parts = found if isinstance(found, list) else [found]
    return [text for text in map(json.dumps, parts) if mark in text]


def own_doing(event: Event) -> bool:
    """The blocker's own blocking, and what answers it, name the blocked person."""
    return bool(event["t"] == "block_changed")


@pytest.mark.parametrize("by_application", [False, True])
async def test_nothing_of_a_blocked_person_reaches_the_blocker(
    people: People, room: str, person: Person, by_application: bool
) -> None:
    scene = Scene(people, person, room)
    a, b, w = scene.blocked, scene.blocker, scene.witness
    await scene.befriend(a, w)
    await scene.befriend(a, b)
    await scene.befriend(b, w)
    blocker = await scene.enter(b, edge=1)
    witness = await scene.enter(w, edge=0)
    actor = await scene.enter(a, edge=0)
    for client in (blocker, witness):
        await client.ask("presence_subscribe", {"userIds": [a]})
    # Before the block: messages from both sides, one of them unread by the blocker.
    await scene.act(actor, 1)
    for client, user in ((blocker, b), (witness, w)):
        answer = await client.ask("direct_send", {"recipientId": a, "text": f"from {user}"})
        assert answer["t"] == "ack", answer
    await blocker.wait("direct_message", userId=a)
    await actor.wait("direct_message", userId=b)

    places = {each: blocker.position(each) for each in (*scene.rooms, scene.inbox(b))}
    if by_application:
        assert (await people.admin("PUT", f"users/{b}/blocks/{a}")).status == 200
    else:
        assert (await blocker.ask("block_user", {"userId": a}))["t"] == "ack"
    await blocker.wait("block_changed", userId=a, blocked=True)
    mark = blocker.mark()
    witness_mark = witness.mark()

    # Everything, while the blocker is there.
    await scene.act(actor, 2)
    for user in (b, w):
        await actor.ask("read_up_to", {"threadId": scene.thread(a, user), "seq": 2})
    await actor.ask("friend_remove", {"userId": b})
    for each in scene.rooms:
        await actor.leave(each)
    await actor.drop()
    await witness.wait("presence", userId=a, status="offline", since=witness_mark)
    back = await scene.enter(a, edge=0)
    await scene.act(back, 3)
    await witness.wait("direct_message", userId=a, text=f"{a} 3")
    fence = await witness.chat(scene.space, "fence")
    await blocker.wait("chat_broadcast", text="fence")
    assert fence["t"] == "ack"

    leaked = [event for event in blocker.received[mark:] if not own_doing(event) and traces(event, a)]
    assert leaked == []
    missing = set(SIGHTS) - {event["t"] for event in witness.received[witness_mark:] if traces(event, a)}
    assert missing == {"friend_changed"}, "the third person saw too little for this test to mean anything"

    # What the blocker's own actions are answered.
    for name, payload in (
        ("direct_send", {"recipientId": a, "text": "hello"}),
        ("read_up_to", {"threadId": scene.thread(a, b), "seq": 1}),
        ("note_change", {"roomId": scene.board, "noteId": "note-2", "revision": 1, "text": "mine"}),
    ):
        answer = await blocker.ask(name, payload)
        text = json.dumps(answer).replace(f'"recipientId": "{a}"', "").replace(f'"{scene.thread(a, b)}"', "")
        assert a not in text, answer
    presence = blocker.mark()
    await blocker.ask("presence_subscribe", {"userIds": [a]})
    await witness.chat(scene.space, "second fence")
    await blocker.wait("chat_broadcast", text="second fence")
    assert not blocker.all("presence", since=presence)

    # A new connection, which resumes from before all of it; and one that starts anew.
    for resume in (places, None):
        again = await scene.enter(b, edge=0, resume=resume)
        await again.settle()
        for event in again.received:
            inbox = event["payload"].get("inbox")
            if inbox is not None:
                assert inbox["blocked"] == [a]
                assert a not in json.dumps({**inbox, "blocked": []})
                event["payload"]["inbox"] = None
        assert [event for event in again.received if not own_doing(event) and traces(event, a)] == []
        await again.close()

    # Without a socket.
    seen = await scene.pages(b, [scene.thread(b, w)])
    assert {path: traces(found, a) for path, found in seen.items()} == {path: [] for path in seen}
    threads = [scene.thread(a, w), scene.thread(b, w)]
    shown = await scene.pages(w, threads[:1])
    assert [path for path, found in shown.items() if not traces(found, a)] == []
    thread = await scene.read(b, f"/threads/{quote(scene.thread(a, b), safe=':')}/messages")
    assert [message["userId"] for message in thread["messages"]] == [b]
