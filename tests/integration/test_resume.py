"""Short drops, long drops, holes, and people with two connections."""

import asyncio
import time

from tests.integration.client import Client, Event
from tests.integration.conftest import WINDOW_MS, People, mint


def without_replay(event: Event) -> Event:
    return {name: value for name, value in event.items() if name != "replay"}


async def come_back(people: People, room: str, user: str, resume: tuple[int, int], *, edge: int) -> Client:
    """Join with `resume`. What is replayed is behind the `room_state`, and in front of the next live event."""
    return await people.join(room, user, edge=edge, resume=resume)


async def test_a_short_drop_is_seen_by_nobody_and_what_was_missed_is_replayed(people: People, room: str) -> None:
    ann = await people.join(room, "ann", edge=0)
    bob = await people.join(room, "bob", edge=1)
    await bob.chat(room, "before")
    await ann.wait("chat_broadcast", text="before")
    at = ann.position(room)
    await ann.drop()
    for number in range(3):
        await bob.chat(room, f"missed {number}")
    await bob.ask("emote", {"roomId": room, "emoteId": "laugh"})

    back = await come_back(people, room, "ann", at, edge=1)
    state = back.all("room_state")[0]["payload"]
    assert state["recovered"] is True
    assert (state["epoch"], state["seq"]) == bob.position(room)
    await bob.chat(room, "after")
    await back.wait("chat_broadcast", text="after")

    replayed = [event for event in back.received if event.get("replay")]
    originals = [event for event in bob.reliable(room) if event["seq"] > at[1]][:-1]
    assert [without_replay(event) for event in replayed] == originals
    assert [event["payload"].get("text") for event in replayed] == ["missed 0", "missed 1", "missed 2", None]
    assert not bob.all("member_left")
    assert not bob.all("member_joined", since=bob.received.index(bob.all("chat_broadcast", text="before")[0]))


async def test_resume_with_nothing_missed_is_recovered_and_replays_nothing(people: People, room: str) -> None:
    ann = await people.join(room, "ann")
    at = ann.position(room)
    await ann.drop()
    back = await come_back(people, room, "ann", at, edge=0)
    assert back.all("room_state")[0]["payload"]["recovered"] is True
    await back.chat(room, "next")
    assert not [event for event in back.received if event.get("replay")]


async def test_resume_from_an_unknown_epoch_or_place_replays_nothing(people: People, room: str) -> None:
    ann = await people.join(room, "ann")
    await ann.chat(room, "one")
    epoch, seq = ann.position(room)
    for resume in ((epoch - 1, seq), (epoch + 1, 1), (0, 0), (epoch, seq + 100)):
        other = await people.join(room, "ann", edge=1, resume=resume)
        assert other.all("room_state")[0]["payload"]["recovered"] is False, resume
        await other.chat(room, f"after {resume}")
        await other.wait("chat_broadcast", text=f"after {resume}")
        assert not [event for event in other.received if event.get("replay")]
        seq += 1


async def test_a_stranger_may_resume_from_the_start(people: People, room: str) -> None:
    """A place is of the room, not of the person: who comes first time with a place gets what followed."""
    ann = await people.join(room, "ann")
    await ann.chat(room, "one")
    epoch, _ = ann.position(room)
    bob = await people.join(room, "bob", edge=1, resume=(epoch, 0))
    state = bob.all("room_state")[0]["payload"]
    assert state["recovered"] is True
    await bob.chat(room, "two")
    replayed = [event["seq"] for event in bob.received if event.get("replay")]
    assert replayed == [*range(1, state["seq"] + 1)]


async def test_a_heartbeat_behind_the_room_gets_what_is_missing(people: People, room: str) -> None:
    ann = await people.join(room, "ann", edge=0)
    bob = await people.join(room, "bob", edge=1)
    for number in range(4):
        await bob.chat(room, f"text {number}")
    await ann.wait("chat_broadcast", text="text 3")
    seq = ann.position(room)[1]
    ack = await ann.heartbeat(room, seq - 2)
    assert ack["t"] == "heartbeat_ack"
    assert ack["payload"]["seq"] == seq
    assert abs(ack["payload"]["serverTimeMs"] - time.time() * 1000) < 60_000
    await ann.wait(lambda event: event.get("replay") and event["seq"] == seq)
    replayed = [event for event in ann.received if event.get("replay")]
    assert [event["seq"] for event in replayed] == [seq - 1, seq]
    assert [without_replay(event) for event in replayed] == ann.reliable(room)[-2:]

    mark = ann.mark()
    assert (await ann.heartbeat(room, seq))["payload"]["seq"] == seq
    assert (await ann.heartbeat())["payload"].keys() == {"clientTimeMs", "serverTimeMs"}
    await ann.chat(room, "end")
    assert not [event for event in ann.received[mark:] if event.get("replay")]


async def test_a_gap_longer_than_the_history_is_told_and_not_half_replayed(hasty: People, room: str) -> None:
    bob = await hasty.join(room, "bob", edge=1)
    epoch, seq = bob.position(room)
    for number in range(30):
        await bob.chat(room, f"text {number}")
    ann = await hasty.join(room, "ann", resume=(epoch, seq))
    assert ann.all("room_state")[0]["payload"]["recovered"] is False
    await ann.chat(room, "next")
    assert not [event for event in ann.received if event.get("replay")]

    await bob.wait("chat_broadcast", text="next")
    mark = ann.mark()
    await ann.heartbeat(room, seq)
    resync = await ann.wait("resync", since=mark)
    assert resync["payload"] == {"roomId": room, "reason": "history_too_short"}
    state = await ann.wait("room_state", since=mark)
    assert state["payload"]["seq"] == bob.position(room)[1]
    assert ann.received.index(resync) < ann.received.index(state)
    assert not [event for event in ann.received if event.get("replay")]

    last = bob.position(room)
    inside = await hasty.join(room, "cat", resume=(last[0], last[1] - 5))
    assert inside.all("room_state")[0]["payload"]["recovered"] is True


async def test_who_does_not_come_back_leaves_once_after_the_window(people: People, room: str) -> None:
    ann = await people.join(room, "ann", edge=0)
    bob = await people.join(room, "bob", edge=1)
    await ann.drop()
    dropped_s = time.monotonic()
    await bob.wait("member_left", userId="ann", within_s=WINDOW_MS / 1000 + 5)
    assert time.monotonic() - dropped_s > WINDOW_MS / 1000 - 0.3
    await bob.chat(room, "alone")
    assert len(bob.all("member_left")) == 1
    again = await people.join(room, "ann", edge=1)
    await bob.wait("member_joined", since=bob.received.index(bob.all("member_left")[0]))
    assert {m["userId"] for m in again.all("room_state")[0]["payload"]["members"]} == {"ann", "bob"}


async def test_a_close_frame_without_leave_room_keeps_the_place_too(people: People, room: str) -> None:
    bob = await people.join(room, "bob", edge=1)
    ann = await people.join(room, "ann")
    await ann.close()
    again = await people.join(room, "ann", edge=1)
    await again.chat(room, "back")
    await bob.wait("chat_broadcast", text="back")
    assert not bob.all("member_left")
    assert len(bob.all("member_joined")) == 1


async def test_leaving_is_immediate(people: People, room: str) -> None:
    ann = await people.join(room, "ann", edge=0)
    bob = await people.join(room, "bob", edge=1)
    began_s = time.monotonic()
    await ann.leave(room)
    await bob.wait("member_left", userId="ann")
    assert time.monotonic() - began_s < WINDOW_MS / 1000 * 0.8
    assert ann.is_open


async def test_two_connections_are_one_member_and_the_newest_moves(people: People, room: str) -> None:
    bob = await people.join(room, "bob", edge=1)
    first = await people.join(room, "ann", edge=0)
    second = await people.join(room, "ann", edge=1)
    assert [m["userId"] for m in second.all("room_state")[0]["payload"]["members"]] == ["bob", "ann"]
    await second.move(room, 1, 1.0)
    await first.wait("avatar_transform_broadcast", x=1.0)
    await first.move(room, 99, 2.0)
    await first.chat(room, "from the first")
    await second.chat(room, "from the second")
    await bob.wait("chat_broadcast", text="from the first")
    await bob.wait("chat_broadcast", text="from the second")
    await second.move(room, 2, 3.0)
    await bob.wait("avatar_transform_broadcast", x=3.0)
    assert not bob.all("avatar_transform_broadcast", x=2.0)
    assert len(bob.all("member_joined")) == 1

    await second.leave(room)
    await first.chat(room, "still here")
    await bob.wait("chat_broadcast", text="still here")
    assert not second.all("chat_broadcast", text="still here")
    await first.move(room, 100, 4.0)
    await bob.wait("avatar_transform_broadcast", x=4.0)

    third = await people.join(room, "ann", edge=1)
    await first.drop()
    await asyncio.sleep(WINDOW_MS / 1000 + 0.5)
    await third.chat(room, "and still")
    await bob.wait("chat_broadcast", text="and still")
    assert not bob.all("member_left")


async def test_joining_again_on_one_socket_keeps_the_place(people: People, room: str) -> None:
    bob = await people.join(room, "bob", edge=1)
    ann = await people.join(room, "ann")
    await ann.move(room, 50, 5.0)
    await bob.wait("avatar_transform_broadcast", x=5.0)
    state = await ann.join(room, "ann", token=mint("ann", room))
    assert state["t"] == "room_state"
    assert {m["userId"]: m["x"] for m in state["payload"]["members"]}["ann"] == 5.0
    await ann.chat(room, "same place")
    await bob.wait("chat_broadcast", text="same place")
    assert len(bob.all("member_joined")) == 1
    assert not bob.all("member_left")


async def test_a_new_name_is_shown_to_the_others(people: People, room: str) -> None:
    bob = await people.join(room, "bob", edge=1)
    ann = await people.join(room, "ann", name="Ann")
    await bob.wait("member_joined")
    mark = bob.mark()
    await ann.join(room, "ann", token=mint("ann", room), name="Anna")
    seen = await bob.wait("member_joined", since=mark)
    assert seen["payload"]["member"]["displayName"] == "Anna"
    state = await bob.join(room, "bob", token=mint("bob", room))
    assert sorted(m["displayName"] for m in state["payload"]["members"]) == ["Anna", "Bob"]
