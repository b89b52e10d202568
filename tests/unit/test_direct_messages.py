"""Direct messages, friendships, receipts and inboxes, over edges and a worker in one process."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from common.commands import LiftRestrictions, Moderate, SetFriendship
from common.ids import UserId, inbox_of, thread_of
from common.word_list import parse_word_list
from tests.unit import town as towns
from tests.unit.stage import ADA, BEN, CY
from tests.unit.town import Person, Town, settle

THREAD = thread_of(ADA, BEN)


def run(course: Callable[[Town], Awaitable[None]], **options: Any) -> None:
    """Take a course where letters are part of the commit, and where most of them go to another partition."""
    for partitions in (1, 3):
        towns.run(course, partitions=partitions, **options)


async def pair(town: Town, *, friends: bool = True) -> tuple[Person, Person]:
    ada, ben = town.person(ADA).join(), town.person(BEN, 1).join("elsewhere")
    if friends:
        await town.befriend(ADA, BEN)
    await settle()
    ada.read(), ben.read()
    return ada, ben


def write(person: Person, to: str, text: str = "psst", **beside: Any) -> None:
    person.send("direct_send", {"recipientId": to, "text": text}, **beside)


def texts(person: Person) -> list[str]:
    person.read()
    return [event["payload"]["text"] for event in person.heard if event["t"] == "direct_message"]


def test_a_message_reaches_every_connection_of_both_whichever_rooms_they_are_in() -> None:
    async def course(town: Town) -> None:
        ada, ben = await pair(town)
        other = town.person(BEN).join("attic")
        await settle()
        write(ada, BEN, "hello", id="m1")
        await settle()
        ack = ada.last("ack")
        assert ack["re"] == "m1"
        assert ack["payload"] == {"roomId": THREAD, "seq": 1, "messageId": ack["payload"]["messageId"]}
        for person, owner, unread in ((ada, ADA, 0), (ben, BEN, 1), (other, BEN, 1)):
            event = person.last("direct_message")
            assert person.count("direct_message") == 1
            assert event["payload"]["roomId"] == inbox_of(owner)
            assert event["payload"]["messageId"] == ack["payload"]["messageId"]
            assert (event["payload"]["threadId"], event["payload"]["threadSeq"]) == (THREAD, 1)
            assert (event["payload"]["userId"], event["payload"]["recipientId"]) == (ADA, BEN)
            assert event["payload"]["unread"] == unread
            assert event["seq"] >= 1

    run(course)


def test_signing_in_tells_the_client_nothing() -> None:
    async def course(town: Town) -> None:
        ada = town.person(ADA).join()
        await settle()
        assert ada.names() == ["welcome", "room_state"]
        await asyncio.sleep(10)
        assert ada.names() == []

    run(course)


def test_who_has_shown_no_token_cannot_write() -> None:
    async def course(town: Town) -> None:
        ada = town.person(ADA)
        write(ada, BEN, id="m")
        ada.send("presence_subscribe", {"userIds": [BEN]}, id="p")
        ada.send("typing", {"recipientId": BEN}, id="t")
        await settle()
        assert [event["payload"]["code"] for event in ada.read()[1:]] == ["not_signed_in"] * 3

    run(course)


def test_only_friends_and_administrators_write() -> None:
    async def course(town: Town) -> None:
        ada, ben = await pair(town, friends=False)
        root = town.person("root").join()
        await settle()
        write(ada, BEN, id="m")
        write(root, BEN, "from above")
        await settle()
        rejected = ada.last("message_rejected")
        assert rejected["re"] == "m"
        assert (rejected["payload"]["code"], rejected["payload"]["recipientId"]) == ("not_friends", BEN)
        assert texts(ben) == ["from above"]
        # An administrator is answered by a friend only, as everybody is.
        write(ben, "root")
        await settle()
        assert ben.last("message_rejected")["payload"]["code"] == "not_friends"

    run(course)


def test_friendship_changes_at_once() -> None:
    async def course(town: Town) -> None:
        ada, ben = await pair(town)
        answer = await town.ask(lambda request: SetFriendship(THREAD, request, ADA, BEN, friends=False))
        assert answer == {"userId": ADA, "friendId": BEN, "friends": False, "changed": True}
        write(ada, BEN, id="m")
        await settle()
        assert ada.last("message_rejected")["payload"]["code"] == "not_friends"
        assert ben.last("friend_changed")["payload"]["status"] == "none"

    run(course)


def test_asking_and_agreeing_makes_friends() -> None:
    async def course(town: Town) -> None:
        ada, ben = await pair(town, friends=False)
        ada.send("friend_add", {"userId": BEN}, id="f")
        await settle()
        assert ada.last("friend_changed")["payload"]["status"] == "asked"
        assert ben.last("friend_changed")["payload"]["status"] == "asks"
        assert ben.last("friend_changed")["payload"]["displayName"] == "Ada"
        ada.send("friend_add", {"userId": BEN})
        await settle()
        assert ben.count("friend_changed") == 1
        write(ada, BEN)
        ben.send("friend_add", {"userId": ADA})
        await settle()
        assert ada.last("message_rejected")["payload"]["code"] == "not_friends"
        assert {person.last("friend_changed")["payload"]["status"] for person in (ada, ben)} == {"friends"}
        write(ada, BEN, "now")
        await settle()
        assert texts(ben) == ["now"]
        ben.send("friend_remove", {"userId": ADA})
        await settle()
        assert ada.last("friend_changed")["payload"]["status"] == "none"

    run(course)


@pytest.mark.parametrize("blocker", [ADA, BEN])
def test_a_block_stops_messages_typing_and_receipts_in_both_directions(blocker: UserId) -> None:
    async def course(town: Town) -> None:
        ada, ben = await pair(town)
        write(ben, ADA, "before")
        await settle()
        other = BEN if blocker == ADA else ADA
        who = ada if blocker == ADA else ben
        who.send("block_user", {"userId": other}, id="b")
        await settle()
        assert who.last("ack")["re"] == "b"
        assert who.last("block_changed")["payload"] == {
            "roomId": inbox_of(blocker),
            "userId": other,
            "blocked": True,
        }
        ada.read(), ben.read()
        for one, another in ((ada, BEN), (ben, ADA)):
            write(one, another, id="m")
            one.send("typing", {"recipientId": another})
        ada.send("read_up_to", {"threadId": THREAD, "seq": 1})
        ada.send("friend_add", {"userId": BEN})
        await settle()
        for person in (ada, ben):
            assert person.last("message_rejected")["payload"]["code"] == "blocked"
            assert person.count("typing_broadcast") == 0
        assert ben.count("read_receipt") == 0
        who.send("unblock_user", {"userId": other})
        await settle()
        write(ada, BEN, "after")
        await settle()
        assert texts(ben)[-1] == "after"

    run(course)


def test_a_block_by_the_application_is_answered_when_it_holds() -> None:
    async def course(town: Town) -> None:
        ada, ben = await pair(town)
        assert (await town.block(BEN, ADA))["changed"] is True
        assert (await town.block(BEN, ADA))["changed"] is False
        write(ada, BEN, id="m")
        await settle()
        assert ada.last("message_rejected")["payload"]["code"] == "blocked"
        assert ben.count("direct_message") == 0
        # Somebody who is not there, and is not heard of in any room.
        assert (await town.block(CY, ADA))["changed"] is True
        cy = town.person(CY).join()
        await settle()
        ada.chat("can you hear me")
        await settle()
        assert cy.count("chat_broadcast") == 0

    run(course)


def test_unread_messages_are_counted_until_they_are_read_on_any_device() -> None:
    async def course(town: Town) -> None:
        ada, ben = await pair(town)
        phone = town.person(BEN).join("tram")
        for text in "abc":
            write(ada, BEN, text)
        write(ben, ADA, "d")
        await settle()
        assert ben.last("direct_message")["payload"]["unread"] == 3
        phone.send("read_up_to", {"threadId": THREAD, "seq": 2}, id="r")
        await settle()
        assert phone.last("ack")["payload"]["seq"] == 2
        assert {device.last("read_receipt")["payload"]["unread"] for device in (ben, phone)} == {1}
        receipt = ada.last("read_receipt")["payload"]
        assert (receipt["userId"], receipt["threadSeq"], receipt["unread"]) == (BEN, 2, 1)
        # Never back, and again without effect.
        before = ada.count("read_receipt")
        for seq in (1, 2):
            ben.send("read_up_to", {"threadId": THREAD, "seq": seq}, id=f"again-{seq}")
        await settle()
        assert ada.count("read_receipt") == before
        assert ben.last("ack")["payload"]["seq"] == 2
        ben.send("read_up_to", {"threadId": THREAD, "seq": 99}, id="beyond")
        await settle()
        assert ben.last("error")["payload"]["code"] == "not_found"

    run(course)


def test_the_inbox_shows_what_is_unread_friends_and_blocks_to_who_joins_it() -> None:
    async def course(town: Town) -> None:
        ada, ben = await pair(town)
        await town.befriend(BEN, CY)
        await town.block(BEN, UserId("eve"))
        write(ada, BEN, "one")
        await settle()
        ben.join(inbox_of(BEN))
        await settle()
        state = ben.last("room_state")["payload"]
        assert state["roomId"] == inbox_of(BEN)
        assert state["inbox"] == {
            "unread": {THREAD: 1},
            "friends": [
                {"userId": ADA, "status": "friends", "displayName": "Ada"},
                {"userId": CY, "status": "friends"},
            ],
            "blocked": ["eve"],
        }
        await town.block(BEN, ADA)
        ben.join(inbox_of(BEN))
        await settle()
        shown = ben.last("room_state")["payload"]["inbox"]
        assert shown["unread"] == {}
        assert [friend["userId"] for friend in shown["friends"]] == [CY]

    run(course)


def test_nobody_joins_the_inbox_of_another_or_a_thread() -> None:
    async def course(town: Town) -> None:
        ada, _ = await pair(town)
        ada.join(inbox_of(BEN), id="i")
        ada.join(THREAD, id="t")
        await settle()
        answers = {event["re"]: event for event in ada.read() if "re" in event}
        assert answers["i"]["payload"]["code"] == "room_mismatch"
        assert answers["t"]["payload"]["code"] == "not_allowed"
        assert ada.count("room_state") == 1

    run(course)


def test_a_person_who_was_away_gets_what_was_missed_in_order() -> None:
    async def course(town: Town) -> None:
        ada, ben = await pair(town)
        ben.join(inbox_of(BEN))
        await settle()
        state = ben.last("room_state")
        place = {"epoch": state["payload"]["epoch"], "lastSeq": state["payload"]["seq"]}
        ben.hang_up()
        await asyncio.sleep(30)
        for text in "abc":
            write(ada, BEN, text)
        await settle()
        back = town.person(BEN)
        who = {"userId": BEN, "displayName": "Ben", "avatarId": "fox"}
        back.send("join_room", {"roomId": inbox_of(BEN), "user": who, "token": f"{BEN} 3600000", "resume": place})
        await settle()
        heard = back.read()
        state = next(event for event in heard if event["t"] == "room_state")
        assert state["payload"]["recovered"] is True
        replayed = [event for event in heard if event.get("replay")]
        assert [event["payload"]["text"] for event in replayed] == ["a", "b", "c"]
        assert state["payload"]["inbox"]["unread"] == {THREAD: 3}

    run(course)


def test_a_repeated_id_is_answered_alike_and_delivered_once_also_by_the_next_owner() -> None:
    async def course(town: Town) -> None:
        ada, ben = await pair(town)
        write(ada, BEN, "once", id="m")
        await settle()
        first = ada.last("ack")
        await town.change_worker()
        write(ada, BEN, "once", id="m")
        await settle()
        assert ada.last("ack") == first
        assert texts(ben) == ["once"]
        write(ada, BEN, "next")
        await settle()
        assert ben.last("direct_message")["payload"]["unread"] == 2
        assert texts(ben) == ["once", "next"]

    run(course)


def test_typing_is_shown_and_ends_by_itself() -> None:
    async def course(town: Town) -> None:
        ada, ben = await pair(town)
        for _ in range(10):
            ada.send("typing", {"recipientId": BEN})
        await settle()
        shown = ben.last("typing_broadcast")["payload"]
        assert (shown["roomId"], shown["userId"], shown["typing"]) == (THREAD, ADA, True)
        assert ben.count("typing_broadcast") <= 3
        await asyncio.sleep(7)
        assert ben.last("typing_broadcast")["payload"]["typing"] is False
        assert ada.count("typing_broadcast") == 0

    run(course)


@pytest.mark.parametrize("takeover", [False, True])
def test_typing_in_a_room_ends_by_itself_also_with_the_next_owner(takeover: bool) -> None:
    async def course(town: Town) -> None:
        ada, ben = town.person(ADA).join(), town.person(BEN, 1).join()
        cy = town.person(CY).join()
        await town.block(CY, ADA)
        await settle()
        ada.say("typing", {})
        await settle()
        assert ben.last("typing_broadcast")["payload"]["expiresInMs"] == 6_000
        if takeover:
            await town.change_worker()
        await asyncio.sleep(7)
        assert ben.last("typing_broadcast")["payload"]["typing"] is False
        assert cy.count("typing_broadcast") == 0

    run(course)


def test_presence_is_told_to_who_watches_and_hidden_where_one_blocks_the_other() -> None:
    async def course(town: Town) -> None:
        ada, ben = await pair(town)
        ada.send("presence_subscribe", {"userIds": [BEN, CY]}, id="p")
        await settle()
        shown = {event["payload"]["userId"]: event["payload"] for event in ada.read() if event["t"] == "presence"}
        assert ada.last("ack")["re"] == "p"
        assert shown == {BEN: {"userId": BEN, "status": "online"}, CY: {"userId": CY, "status": "offline"}}
        cy = town.person(CY).join()
        await settle()
        assert ada.last("presence")["payload"] == {"userId": CY, "status": "online"}
        cy.hang_up()
        await asyncio.sleep(6)
        gone = ada.last("presence")["payload"]
        assert (gone["userId"], gone["status"]) == (CY, "offline")
        assert gone["lastSeenMs"] > 0
        # Who is blocked sees the person leave, and nothing after it.
        ben.send("block_user", {"userId": ADA})
        await settle()
        assert ada.last("presence")["payload"] == {"userId": BEN, "status": "offline"}
        ben.hang_up()
        await asyncio.sleep(6)
        town.person(BEN).join()
        await settle()
        assert ada.last("presence")["payload"] == {"userId": BEN, "status": "offline"}
        await town.block(BEN, ADA, blocked=False)
        await settle()
        assert ada.last("presence")["payload"] == {"userId": BEN, "status": "online"}
        before = ada.count("presence")
        ada.send("block_user", {"userId": BEN})
        ada.send("presence_unsubscribe", {"userIds": [CY]})
        await settle()
        town.person(CY).join()
        await settle()
        assert ada.count("presence") == before

    run(course)


def test_who_does_nothing_is_away_and_comes_back_by_doing_something() -> None:
    async def course(town: Town) -> None:
        ada, ben = await pair(town)
        ada.send("presence_subscribe", {"userIds": [BEN]})
        for _ in range(12):
            await asyncio.sleep(30)
            for person in (ada, ben):
                person.send("heartbeat", {"clientTimeMs": 1})
        assert ada.last("presence")["payload"]["status"] == "away"
        ben.send("emote", {"roomId": "elsewhere", "emoteId": "wave"})
        await settle()
        assert ada.last("presence")["payload"] == {"userId": BEN, "status": "online"}

    run(course)


def test_a_moderator_mutes_somebody_in_all_direct_messages() -> None:
    async def course(town: Town) -> None:
        ada, ben = await pair(town)
        inbox = inbox_of(ADA)
        await town.ask(lambda request: Moderate(inbox, request, ADA, "mutedByMod", "spam", None))
        write(ada, BEN, id="m")
        await settle()
        assert ada.last("message_rejected")["payload"]["code"] == "muted"
        await town.ask(lambda request: LiftRestrictions(inbox, request, ADA))
        write(ada, BEN, "again")
        await settle()
        assert texts(ben) == ["again"]
        await town.ask(lambda request: Moderate(inbox, request, ADA, "banned", "spam", None))
        await settle()
        ada.read()
        assert ada.close_code == 4403
        back = town.person(ADA).join()
        await settle()
        assert back.last("auth_error")["payload"]["code"] == "banned"
        assert back.close_code == 4403

    run(course)


def test_words_are_masked_or_refused() -> None:
    async def course(town: Town) -> None:
        ada, ben = await pair(town)
        write(ada, BEN, "you badword", id="a")
        write(ada, BEN, "you awfulword", id="b")
        await settle()
        assert texts(ben) == ["you *******"]
        rejected = ada.last("message_rejected")
        assert (rejected["re"], rejected["payload"]["code"]) == ("b", "filtered")

    words = parse_word_list('mask = ["badword"]\nreject = ["awfulword"]')
    run(course, word_filter=words)
