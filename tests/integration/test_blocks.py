"""Where B has blocked A, nothing that A causes reaches B; A notices nothing."""

from collections.abc import Callable

import pytest

from tests.integration.client import Client, Event
from tests.integration.conftest import WINDOW_MS, People, mint

Person = Callable[[str], str]


def caused_by(events: list[Event], user: str) -> list[Event]:
    """Return the events in which a person appears, beside what tells a blocker of the block itself."""
    found = []
    for event in events:
        if event["t"] == "block_changed":
            continue
        payload = event["payload"]
        names = {payload.get("userId"), payload.get("member", {}).get("userId")}
        names |= {member["userId"] for member in payload.get("members", ())}
        if user in names:
            found.append(event)
    return found


async def set_block(people: People, method: str, user: str, other: str, *, edge: int = 0) -> None:
    answer = await people.admin(method, f"users/{user}/blocks/{other}", edge=edge)
    assert answer.status == 200, answer
    assert answer.json["blocked"] is (method == "PUT")


async def act(actor: Client, room: str, tag: str, seq: int) -> None:
    """Do one of each thing in a room, and wait until it is done."""
    await actor.move(room, seq, float(seq))
    await actor.ask("emote", {"roomId": room, "emoteId": "cheers"})
    assert (await actor.chat(room, tag))["t"] == "ack"


@pytest.mark.parametrize("edge_of_order", [0, 1])
async def test_a_block_hides_all_from_then_on_and_its_end_shows_all_again(
    people: People, room: str, person: Person, edge_of_order: int
) -> None:
    a, b, c = person("a"), person("b"), person("c")
    watcher = await people.join(room, c, edge=0)
    blocker = await people.join(room, b, edge=1)
    blocked = await people.join(room, a, edge=0)
    await act(blocked, room, "before", 1)
    await blocker.wait("chat_broadcast", text="before")

    blocker.hides.add(room)
    mark = blocker.mark()
    await set_block(people, "PUT", b, a, edge=edge_of_order)
    await act(blocked, room, "hidden", 2)
    state = await blocker.wait("room_state", since=mark)
    assert (await blocker.wait("resync", since=mark))["payload"]["reason"] == "blocks_changed"
    assert sorted(m["userId"] for m in state["payload"]["members"]) == sorted((b, c))
    await blocked.leave(room)
    rejoined = await blocked.join(room, a, token=mint(a, room))
    assert rejoined["t"] == "room_state"
    await act(blocked, room, "hidden too", 3)
    await watcher.chat(room, "fence")
    await blocker.wait("chat_broadcast", text="fence")
    assert not caused_by(blocker.received[mark:], a)
    for text in ("hidden", "hidden too"):
        await watcher.wait("chat_broadcast", text=text)
    await watcher.wait("member_left", userId=a)

    # A notices nothing, and sees B.
    await blocker.move(room, 1, 9.0)
    await blocker.chat(room, "from b")
    await blocked.wait("chat_broadcast", text="from b")
    await blocked.wait("avatar_transform_broadcast", userId=b, x=9.0)
    assert b in {m["userId"] for m in rejoined["payload"]["members"]}

    mark = blocker.mark()
    await set_block(people, "DELETE", b, a, edge=edge_of_order)
    await act(blocked, room, "seen again", 4)
    await blocker.wait("chat_broadcast", text="seen again", since=mark)
    state = await blocker.wait("room_state", since=mark)
    assert a in {m["userId"] for m in state["payload"]["members"]}
    await blocker.wait("avatar_transform_broadcast", userId=a, x=4.0)
    assert not blocker.all("chat_broadcast", since=mark, text="hidden")


async def test_a_block_hides_from_who_joins_later_and_from_replay(people: People, room: str, person: Person) -> None:
    a, b, c = person("a"), person("b"), person("c")
    await set_block(people, "PUT", b, a, edge=1)
    watcher = await people.join(room, c)
    blocked = await people.join(room, a)
    start = (watcher.position(room)[0], 0)
    await act(blocked, room, "hidden", 1)
    blocker, state = await people.try_join(room, b, edge=1, resume=start)
    blocker.hides.add(room)
    assert state["payload"]["recovered"] is True
    assert sorted(m["userId"] for m in state["payload"]["members"]) == sorted((b, c))
    await watcher.chat(room, "shown")
    await blocker.wait("chat_broadcast", text="shown")
    replayed = [event for event in blocker.received if event.get("replay")]
    assert {event["payload"]["member"]["userId"] for event in replayed} == {b, c}

    mark = blocker.mark()
    await act(blocked, room, "hidden still", 2)
    await blocker.heartbeat(room, 0)
    await watcher.chat(room, "fence")
    await blocker.wait("chat_broadcast", text="fence", since=mark)
    assert not caused_by(blocker.received, a)
    await watcher.wait("chat_broadcast", text="hidden still")


async def test_a_block_that_is_set_while_away_holds_after_the_return(people: People, room: str, person: Person) -> None:
    a, b = person("a"), person("b")
    blocked = await people.join(room, a)
    blocker = await people.join(room, b, edge=1)
    at = blocker.position(room)
    await blocker.drop()
    await set_block(people, "PUT", b, a)
    await act(blocked, room, "hidden", 1)
    back, state = await people.try_join(room, b, edge=0, resume=at)
    back.hides.add(room)
    assert [m["userId"] for m in state["payload"]["members"]] == [b]
    await act(blocked, room, "hidden too", 2)
    await back.chat(room, "fence")
    assert not caused_by(back.received, a)
    await blocked.wait("chat_broadcast", text="fence")


async def test_a_block_holds_in_every_room(people: People, room: str, person: Person) -> None:
    a, b = person("a"), person("b")
    rooms = [f"{room}-{number}" for number in range(6)]
    blocker = await people.join(rooms[0], b, edge=0)
    blocked = await people.join(rooms[0], a, edge=1)
    for name in rooms[1:]:
        await blocker.join(name, b, token=mint(b, name))
        await blocked.join(name, a, token=mint(a, name))
    blocker.hides.update(rooms)
    await set_block(people, "PUT", b, a)
    mark = blocker.mark()
    for number, name in enumerate(rooms):
        await act(blocked, name, "hidden", number)
        await blocker.chat(name, f"fence {name}")
        await blocker.wait("chat_broadcast", text=f"fence {name}")
    assert not caused_by([e for e in blocker.received[mark:] if e["t"] != "room_state"], a)


async def test_a_blocked_person_who_drops_is_not_seen_to_leave(people: People, room: str, person: Person) -> None:
    a, b, c = person("a"), person("b"), person("c")
    watcher = await people.join(room, c)
    blocker = await people.join(room, b, edge=1)
    blocker.hides.add(room)
    await set_block(people, "PUT", b, a)
    blocked = await people.join(room, a)
    await blocked.drop()
    await watcher.wait("member_left", userId=a, within_s=WINDOW_MS / 1000 + 5)
    await watcher.chat(room, "fence")
    await blocker.wait("chat_broadcast", text="fence")
    assert not caused_by(blocker.received, a)


async def test_wrong_orders_are_refused(people: People, person: Person) -> None:
    a = person("a")
    assert (await people.admin("PUT", f"users/{a}/blocks/{a}")).status == 400
    assert (await people.admin("PUT", f"users/{a}/blocks/{'x' * 129}")).status == 400
    assert (await people.admin("POST", f"users/{a}/blocks/b")).status == 405
    assert (await people.admin("PUT", f"users/{a}/blocks")).status == 404
    first = await people.admin("PUT", f"users/{a}/blocks/b")
    again = await people.admin("PUT", f"users/{a}/blocks/b", edge=1)
    assert (first.json["changed"], again.json["changed"]) == (True, False)
