"""Two people, each on another edge, do all that one does in a room; and messages with an `id` sent again."""

import asyncio

from tests.integration.client import Event, new_id
from tests.integration.conftest import People, mint


def place(event: Event) -> tuple[int, int]:
    return event["epoch"], event["seq"]


async def test_everything_that_two_people_do_is_seen_by_both_in_one_order(people: People, room: str) -> None:
    ann = await people.join(room, "ann", edge=0)
    state = ann.all("room_state")[0]
    assert state["re"]
    assert state["payload"]["you"] == {"userId": "ann"}
    assert state["payload"]["recovered"] is False
    (alone,) = state["payload"]["members"]
    assert alone == {
        "userId": "ann",
        "displayName": "Ann",
        "avatarId": "fox",
        "x": 0.0,
        "y": 0.0,
        "z": 0.0,
        "rotY": 0.0,
        "anim": "idle",
        "speaking": False,
    }
    assert (state["payload"]["epoch"], state["payload"]["seq"]) == ann.position(room)

    bob = await people.join(room, "bob", edge=1)
    seen = await ann.wait("member_joined")
    assert seen["payload"]["member"]["userId"] == "bob"
    assert [m["userId"] for m in bob.all("room_state")[0]["payload"]["members"]] == ["ann", "bob"]

    for number in range(8):
        speaker, other = (ann, bob) if number % 2 else (bob, ann)
        ack = await speaker.chat(room, f"text {number}")
        assert ack["t"] == "ack"
        assert set(ack["payload"]) == {"roomId", "seq", "messageId"}
        heard = await other.wait("chat_broadcast", text=f"text {number}")
        own = await speaker.wait("chat_broadcast", text=f"text {number}")
        assert heard == own
        assert heard["payload"]["messageId"] == ack["payload"]["messageId"]
        assert heard["seq"] == ack["payload"]["seq"]
        assert heard["payload"]["userId"] == speaker.user_id
        assert heard["payload"]["displayName"] == speaker.user_id.title()

    ack = await ann.ask("emote", {"roomId": room, "emoteId": "cheers"})
    assert ack["t"] == "ack"
    assert set(ack["payload"]) == {"roomId", "seq"}
    emote = await bob.wait("emote_broadcast", userId="ann", emoteId="cheers")
    assert emote["seq"] == ack["payload"]["seq"]

    left = await ann.leave(room)
    assert left["t"] == "left_room"
    assert left["payload"] == {"roomId": room}
    gone = await bob.wait("member_left", userId="ann")
    assert gone["payload"] == {"roomId": room, "userId": "ann"}

    at_ann, at_bob = ann.reliable(room), bob.reliable(room)
    shared = [event for event in at_bob if place(event) <= place(at_ann[-1])]
    assert [event for event in at_ann if place(event) >= place(shared[0])] == shared
    assert [event["seq"] for event in at_bob] == [*range(at_bob[0]["seq"], at_bob[-1]["seq"] + 1)]


async def test_everybody_sees_the_same_time_and_the_same_order_of_what_is_said_at_once(
    people: People, room: str
) -> None:
    crowd = [await people.join(room, f"u{number}", edge=number % 2) for number in range(6)]
    await asyncio.gather(*(c.chat(room, f"{c.user_id} {n}") for c in crowd for n in range(6)))
    logs = []
    for client in crowd:
        for number in range(6):
            for other in range(6):
                await client.wait("chat_broadcast", text=f"u{other} {number}")
        logs.append([(place(e), e["ts"], e["payload"]["text"]) for e in client.all("chat_broadcast")])
    assert all(log == logs[0] for log in logs)
    assert len(logs[0]) == 36
    assert [ts for _, ts, _ in logs[0]] == sorted(ts for _, ts, _ in logs[0])


async def test_a_movement_comes_to_all_and_back_to_the_mover(people: People, room: str) -> None:
    ann = await people.join(room, "ann", edge=0)
    bob = await people.join(room, "bob", edge=1)
    await ann.move(room, 7, 3.25, anim="dance", speaking=True)
    echo = await ann.wait("avatar_transform_broadcast", seq=7)
    seen = await bob.wait("avatar_transform_broadcast", seq=7)
    assert seen == echo
    assert "seq" not in seen
    assert "epoch" not in seen
    assert seen["payload"] == {
        "roomId": room,
        "userId": "ann",
        "seq": 7,
        "x": 3.25,
        "y": 0.0,
        "z": -3.25,
        "rotY": 0.5,
        "anim": "dance",
        "speaking": True,
    }
    late = await people.join(room, "cat", edge=1)
    members = {m["userId"]: m for m in late.all("room_state")[0]["payload"]["members"]}
    assert (members["ann"]["x"], members["ann"]["anim"], members["ann"]["speaking"]) == (3.25, "dance", True)


async def test_stale_and_repeated_numbers_of_movements_are_dropped(people: People, room: str) -> None:
    ann = await people.join(room, "ann")
    bob = await people.join(room, "bob", edge=1)
    for seq, x in ((5, 1.0), (5, 2.0), (4, 3.0), (6, 4.0)):
        await ann.move(room, seq, x)
        await asyncio.sleep(0.03)
    await bob.wait("avatar_transform_broadcast", seq=6)
    assert [e["payload"]["x"] for e in bob.all("avatar_transform_broadcast")] == [1.0, 4.0]


async def test_numbers_of_movements_start_anew_with_each_join(people: People, room: str) -> None:
    bob = await people.join(room, "bob", edge=1)
    first = await people.join(room, "ann")
    await first.move(room, 1_000, 1.0)
    await bob.wait("avatar_transform_broadcast", userId="ann", x=1.0)
    await first.drop()
    again = await people.join(room, "ann", edge=1)
    await again.move(room, 1, 2.0)
    await bob.wait("avatar_transform_broadcast", userId="ann", x=2.0)


async def test_one_socket_may_be_in_several_rooms(people: People, room: str) -> None:
    rooms = [f"{room}-{number}" for number in range(3)]
    bob = await people.join(rooms[1], "bob", edge=1)
    ann = await people.join(rooms[0], "ann")
    for name in rooms[1:]:
        assert (await ann.join(name, "ann", token=mint("ann", name)))["t"] == "room_state"
    await ann.chat(rooms[1], "here")
    await bob.wait("chat_broadcast", text="here")
    await ann.leave(rooms[1])
    await bob.wait("member_left", userId="ann")
    assert (await ann.chat(rooms[2], "still there"))["t"] == "ack"
    assert (await ann.chat(rooms[1], "not there"))["payload"]["code"] == "not_joined"


async def test_a_message_sent_twice_takes_effect_once_and_gets_the_same_answer(people: People, room: str) -> None:
    bob = await people.join(room, "bob", edge=1)
    ann = await people.join(room, "ann", edge=0)
    same = new_id()
    first = await ann.chat(room, "once", id=same)
    on_same_socket = await ann.chat(room, "once", id=same)
    assert on_same_socket == first

    other = await people.join(room, "ann", edge=1)
    assert await other.chat(room, "once", id=same) == first

    await ann.drop()
    await other.drop()
    back = await people.join(room, "ann", edge=0)
    assert await back.chat(room, "once", id=same) == first

    assert (await back.chat(room, "last"))["t"] == "ack"
    await bob.wait("chat_broadcast", text="last")
    assert len(bob.all("chat_broadcast", text="once")) == 1

    emoted = new_id()
    answers = [await back.ask("emote", {"roomId": room, "emoteId": "wave"}, id=emoted) for _ in range(2)]
    assert answers[0] == answers[1]
    await back.chat(room, "very last")
    await bob.wait("chat_broadcast", text="very last")
    assert len(bob.all("emote_broadcast")) == 1


async def test_the_same_id_of_two_people_is_two_messages(people: People, room: str) -> None:
    ann = await people.join(room, "ann")
    bob = await people.join(room, "bob", edge=1)
    same = new_id()
    one, two = await ann.chat(room, "from ann", id=same), await bob.chat(room, "from bob", id=same)
    assert one["payload"]["messageId"] != two["payload"]["messageId"]
    await ann.wait("chat_broadcast", text="from bob")
