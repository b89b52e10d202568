"""Kick, ban and mute: what the person sees, what the others see, and when it ends."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.integration.calls import call
from tests.integration.client import Client
from tests.integration.conftest import People, mint

Person = Callable[[str], str]


async def moderate(people: People, room: str, user: str, kind: str, *, edge: int = 0, **more: Any) -> dict[str, Any]:
    body = {"userId": user, "type": kind, "reason": "be nice", **more}
    answer = await people.admin("POST", f"rooms/{room}/moderation", body, edge=edge)
    assert answer.status == 200, answer
    return dict(answer.json)


async def lift(people: People, room: str, user: str) -> bool:
    answer = await people.admin("DELETE", f"rooms/{room}/moderation/{user}", edge=1)
    assert answer.status == 200, answer
    return bool(answer.json["lifted"])


async def assert_thrown_out(victim: Client, watcher: Client, room: str, kind: str) -> None:
    """The person's action and the others' `member_left` are one place in the order."""
    action = await victim.wait("moderation_action")
    assert action["payload"] == {"roomId": room, "type": kind, "reason": "be nice"}
    assert await victim.wait_closed() == 4403
    left = await watcher.wait("member_left", userId=victim.user_id)
    assert (action["epoch"], action["seq"]) == (left["epoch"], left["seq"])
    assert not watcher.all("moderation_action")
    assert victim.received[-1] is action


@pytest.mark.parametrize("edge", [0, 1])
async def test_a_kick_ends_the_visit_but_not_the_next(people: People, room: str, edge: int) -> None:
    watcher = await people.join(room, "watcher", edge=0)
    victim = await people.join(room, "victim", edge=1)
    told = await moderate(people, room, "victim", "kicked", edge=edge)
    assert told["type"] == "kicked"
    await assert_thrown_out(victim, watcher, room, "kicked")
    back = await people.join(room, "victim", edge=0)
    assert (await back.chat(room, "again"))["t"] == "ack"
    await watcher.wait("chat_broadcast", text="again")


async def test_a_kick_reaches_all_connections_of_the_person(people: People, room: str) -> None:
    watcher = await people.join(room, "watcher")
    victims = [await people.join(room, "victim", edge=edge) for edge in (0, 1)]
    told = await moderate(people, room, "victim", "kicked")
    assert told["connectionsClosed"] == 2
    for victim in victims:
        await assert_thrown_out(victim, watcher, room, "kicked")
    assert len(watcher.all("member_left")) == 1


async def test_the_close_code_reaches_who_is_busy_sending(people: People, room: str) -> None:
    """A socket closed with something unread is reset, and the reset took the close code with it.

    The client then saw 1006, for which it comes back, in place of 4403, for which it must not.
    """
    watcher = await people.join(room, "watcher", edge=1)
    victim = await people.join(room, "victim")
    # Busy, so that what comes waits in its kernel; but it goes on sending.
    victim.socket.transport.pause_reading()
    await moderate(people, room, "victim", "kicked")
    await watcher.wait("member_left", userId="victim")
    with contextlib.suppress(ConnectionClosed):
        for seq in range(1, 20):
            await victim.move(room, seq)
            await asyncio.sleep(0.02)
    victim.socket.transport.resume_reading()
    await assert_thrown_out(victim, watcher, room, "kicked")


async def test_a_kick_with_seconds_bars_for_so_long(people: People, room: str) -> None:
    await people.join(room, "watcher")
    victim = await people.join(room, "victim")
    await moderate(people, room, "victim", "kicked", seconds=0.8)
    assert await victim.wait_closed() == 4403
    early, answer = await people.try_join(room, "victim", edge=1)
    assert (answer["t"], answer["payload"]["code"]) == ("auth_error", "banned")
    await asyncio.sleep(0.9)
    assert (await early.join(room, "victim", token=mint("victim", room)))["t"] == "room_state"


async def test_a_ban_holds_and_leaves_the_socket_open(people: People, room: str) -> None:
    watcher = await people.join(room, "watcher", edge=1)
    victim = await people.join(room, "victim", edge=0)
    at = victim.position(room)
    await moderate(people, room, "victim", "banned", edge=1)
    await assert_thrown_out(victim, watcher, room, "banned")
    for edge in (0, 1):
        refused, answer = await people.try_join(room, "victim", edge=edge, resume=at)
        assert answer["t"] == "auth_error"
        assert answer["payload"]["code"] == "banned"
        assert answer["payload"]["roomId"] == room
        assert (await refused.chat(room, "no"))["payload"]["code"] == "not_joined"
        other = f"{room}-other-{edge}"
        assert (await refused.join(other, "victim", token=mint("victim", other)))["t"] == "room_state"
        assert (await refused.chat(other, "here"))["t"] == "ack"
    await watcher.chat(room, "fence")
    assert len(watcher.all("member_joined")) == 1
    assert len(watcher.all("member_left")) == 1
    assert not [e for c in (watcher,) for e in c.all("chat_broadcast") if e["payload"]["userId"] == "victim"]

    assert await lift(people, room, "victim") is True
    assert await lift(people, room, "victim") is False
    assert (await refused.join(room, "victim", token=mint("victim", room)))["t"] == "room_state"


async def test_a_ban_with_seconds_ends(people: People, room: str) -> None:
    victim = await people.join(room, "victim")
    await moderate(people, room, "victim", "banned", seconds=0.8)
    assert await victim.wait_closed() == 4403
    _, answer = await people.try_join(room, "victim")
    assert answer["payload"]["code"] == "banned"
    await asyncio.sleep(0.9)
    await people.join(room, "victim")


async def test_a_ban_may_come_before_the_person(people: People, room: str) -> None:
    told = await moderate(people, room, "victim", "banned")
    assert told["member"] is False
    _, answer = await people.try_join(room, "victim", edge=1)
    assert answer["payload"]["code"] == "banned"


async def test_a_ban_reaches_who_is_away(people: People, room: str) -> None:
    watcher = await people.join(room, "watcher")
    victim = await people.join(room, "victim", edge=1)
    at = victim.position(room)
    await victim.drop()
    await moderate(people, room, "victim", "banned")
    await watcher.wait("member_left", userId="victim")
    _, answer = await people.try_join(room, "victim", resume=at)
    assert answer["payload"]["code"] == "banned"


async def test_a_mute_stops_chat_and_nothing_else(people: People, room: str) -> None:
    watcher = await people.join(room, "watcher", edge=1)
    victim = await people.join(room, "victim", edge=0)
    await moderate(people, room, "victim", "mutedByMod", edge=1)
    action = await victim.wait("moderation_action")
    assert action["payload"] == {"roomId": room, "type": "mutedByMod", "reason": "be nice"}
    answer = await victim.chat(room, "unheard")
    assert (answer["t"], answer["payload"]["code"]) == ("error", "muted")
    await victim.move(room, 1, 1.0)
    await watcher.wait("avatar_transform_broadcast", userId="victim")
    assert (await victim.ask("emote", {"roomId": room, "emoteId": "wave"}))["t"] == "ack"
    assert victim.is_open

    await victim.drop()
    back = await people.join(room, "victim", edge=1)
    assert (await back.chat(room, "unheard too"))["payload"]["code"] == "muted"
    assert await lift(people, room, "victim") is True
    assert (await back.chat(room, "heard"))["t"] == "ack"
    await watcher.wait("chat_broadcast", text="heard")
    assert [event["payload"]["text"] for event in watcher.all("chat_broadcast")] == ["heard"]


async def test_a_mute_with_seconds_ends(people: People, room: str) -> None:
    victim = await people.join(room, "victim")
    await moderate(people, room, "victim", "mutedByMod", seconds=0.6)
    assert (await victim.chat(room, "early"))["payload"]["code"] == "muted"
    await asyncio.sleep(0.7)
    assert (await victim.chat(room, "late"))["t"] == "ack"


async def test_restrictions_are_of_one_room(people: People, room: str) -> None:
    await moderate(people, room, "victim", "banned")
    await people.join(f"{room}-other", "victim")


async def test_wrong_orders_are_refused(people: People, room: str) -> None:
    url = f"{people.cluster.edges[0].internal_url}/admin/rooms/{room}/moderation"
    good = {"userId": "victim", "type": "kicked", "reason": ""}
    for key in (None, "wrong", ""):
        answer = await call("POST", url, good, key=key)
        assert (answer.status, answer.code) == (401, "wrong_key")
    bad: list[Any] = [
        b"no json",
        b"\xff\xfe",
        b"[" * 5000,
        [],
        {**good, "type": "slapped"},
        {**good, "reason": "x" * 501},
        {**good, "seconds": 0},
        {**good, "seconds": -1},
        {**good, "seconds": "60"},
        {**good, "userId": ""},
        {"type": "kicked", "reason": ""},
    ]
    for body in bad:
        answer = await people.admin("POST", f"rooms/{room}/moderation", body)
        assert answer.status == 400, (body, answer)
    assert (await people.admin("POST", "rooms/a%20b/moderation", good)).status == 400
    assert (await people.admin("POST", f"rooms/hologram:{room}/moderation", good)).status == 404
    assert (await people.admin("DELETE", f"rooms/hologram:{room}/moderation/victim")).status == 404
    assert (await people.admin("GET", f"rooms/hologram:{room}")).status == 404
    # The public listener has none of this.
    public = url.replace(people.cluster.edges[0].internal_url, people.cluster.edges[0].url)
    assert (await call("POST", public, good, key=people.cluster.admin_key)).status == 404


async def test_an_operator_sees_the_room(people: People, room: str) -> None:
    await people.join(room, "ann", edge=0)
    bob = await people.join(room, "bob", edge=1, device="mobile")
    await bob.chat(room, "hello")
    await moderate(people, room, "cat", "banned")
    answer = await people.admin("GET", f"rooms/{room}", edge=1)
    assert answer.status == 200
    seen = answer.json
    assert (seen["epoch"], seen["seq"]) == bob.position(room)
    assert [m["userId"] for m in seen["members"]] == ["ann", "bob"]
    assert [m["connections"][0]["device"] for m in seen["members"]] == ["desktop", "mobile"]
    assert seen["restrictions"]["cat"]["barredUntilMs"]
    assert seen["counters"]["sequenced"] == 3
