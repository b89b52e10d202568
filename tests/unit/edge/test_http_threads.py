"""Threads over HTTP: the list, and who may read what was written in one."""

from typing import Any

import pytest

from common.bus import Person
from common.durable import ChatMessage, MessagePlace, ThreadMember, ThreadSummary
from common.ids import Epoch, RoomId, Seq, UserId, thread_of
from tests.unit.edge.http_stage import Pages, Stage, bearer, token

ANN, BOB, CARL, EVE = (UserId(name) for name in ("ann", "bob", "carl", "eve"))
ODD = UserId("Zoë Ünal")
"""Does not stand in a room id as it is."""


def message(thread: RoomId, seq: int, author: UserId, recipient: UserId) -> ChatMessage:
    return ChatMessage(
        thread, Epoch(5), Seq(seq), f"{thread}-{seq}", author, author.title(), f"word {seq}", seq, None, recipient
    )


def summary(other: UserId, active_at_ms: int, unread: int = 0, last: bool = True) -> ThreadSummary:
    thread = thread_of(ANN, other)
    return ThreadSummary(
        thread,
        other,
        other.title(),
        ThreadMember(ANN, MessagePlace(Epoch(5), Seq(1)), unread),
        ThreadMember(other, MessagePlace(Epoch(5), Seq(2)), 0),
        active_at_ms,
        message(thread, 3, other, ANN) if last else None,
    )


async def get(pages: Pages, path: str, *, user: str = "ann", status: int = 200, **query: str) -> Any:
    answer = await pages.get(path, params=query, headers=bearer(token(user)))
    assert answer.status == status, await answer.text()
    return await answer.json()


async def test_a_thread_in_the_list_says_who_and_how_far_both_are(stage: Stage) -> None:
    stage.store.summaries = [summary(BOB, 30, unread=2), summary(CARL, 20, last=False)]
    page = await get(await stage.public(), "/threads")
    assert (page["inboxId"], page["unread"]) == ("user:ann", 2)
    first, second = page["threads"]
    assert first == {
        "threadId": "dm:ann:bob",
        "userId": "bob",
        "displayName": "Bob",
        "unread": 2,
        "activeAtMs": 30,
        "readUpTo": {"epoch": 5, "lastSeq": 1},
        "otherReadUpTo": {"epoch": 5, "lastSeq": 2},
        "lastMessage": {
            "epoch": 5,
            "seq": 3,
            "ts": 3,
            "userId": "bob",
            "displayName": "Bob",
            "text": "word 3",
            "messageId": "dm:ann:bob-3",
        },
    }
    assert "lastMessage" not in second
    assert "next" not in page


async def test_pages_of_threads_go_on_from_their_cursor_and_end(stage: Stage) -> None:
    stage.store.summaries = [summary(UserId(f"u{number}"), 100 - number) for number in range(5)]
    pages = await stage.public()
    seen: list[str] = []
    query: dict[str, str] = {}
    while True:
        page = await get(pages, "/threads", limit="2", **query)
        seen += [one["userId"] for one in page["threads"]]
        if "next" not in page:
            break
        query = {"before": page["next"]}
    assert seen == ["u0", "u1", "u2", "u3", "u4"]


async def test_threads_with_a_blocked_person_do_not_appear_and_do_not_count(stage: Stage) -> None:
    stage.store.summaries = [summary(BOB, 30, unread=2), summary(CARL, 20, unread=1)]
    stage.store.blocks = {ANN: frozenset([BOB])}
    page = await get(await stage.public(), "/threads")
    assert [one["userId"] for one in page["threads"]] == ["carl"]
    assert page["unread"] == 1


async def test_blocks_that_redis_knows_hold_also_where_the_store_lags(stage: Stage) -> None:
    stage.store.summaries = [summary(BOB, 30), summary(CARL, 20)]
    await stage.bus.fill_in({ANN: Person(frozenset({CARL}))})
    stage.store.blocks = {ANN: frozenset([BOB])}
    page = await get(await stage.public(), "/threads")
    assert [one["userId"] for one in page["threads"]] == ["bob"]


async def test_an_unchanged_list_is_not_sent_again(stage: Stage) -> None:
    stage.store.summaries = [summary(BOB, 30)]
    pages = await stage.public()
    first = await pages.get("/threads", headers=bearer(token()))
    again = await pages.get("/threads", headers={**bearer(token()), "If-None-Match": first.headers["ETag"]})
    assert (first.status, again.status) == (200, 304)
    assert await again.read() == b""


@pytest.mark.parametrize("path", ["/threads/dm:ann:bob/messages", "/rooms/dm:ann:bob/messages"])
async def test_only_the_two_persons_read_a_thread_whatever_their_token_allows(stage: Stage, path: str) -> None:
    thread = thread_of(ANN, BOB)
    stage.store.pages = {thread: [message(thread, 1, ANN, BOB), message(thread, 2, BOB, ANN)]}
    pages = await stage.public()
    for user in ("ann", "bob"):
        page = await get(pages, path, user=user)
        assert [one["seq"] for one in page["messages"]] == [1, 2]
        assert page["roomId"] == thread
    answer = await pages.get(path, headers=bearer(token("eve", ["dm:*", "*"])))
    assert answer.status == 404
    assert "word" not in await answer.text()


async def test_of_a_thread_whose_id_says_not_whose_it_is_the_store_says(stage: Stage) -> None:
    thread = thread_of(ANN, ODD)
    pages = await stage.public()
    path = f"/threads/{thread}/messages"
    assert (await get(pages, path, status=404))["error"]["code"] == "not_found"
    stage.store.members[thread] = (ANN, ODD)
    stage.store.pages[thread] = [message(thread, 1, ODD, ANN)]
    assert len((await get(pages, path))["messages"]) == 1
    assert (await get(pages, path, user="eve", status=404))["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    "thread", ["dm:ann:ann", "dm:ann", "dm:bob:ann", "dm:ann:bob:carl", "lobby:main", "user:ann", "dm", "d%0Am:x"]
)
async def test_what_is_no_thread_of_the_reader_is_not_there(stage: Stage, thread: str) -> None:
    stage.store.pages = {RoomId(thread): [message(RoomId(thread), 1, BOB, ANN)]}
    await get(await stage.public(), f"/threads/{thread}/messages", status=404)


async def test_what_a_blocked_person_wrote_in_a_thread_is_hidden(stage: Stage) -> None:
    thread = thread_of(ANN, BOB)
    stage.store.pages = {thread: [message(thread, 1, ANN, BOB), message(thread, 2, BOB, ANN)]}
    stage.store.blocks = {ANN: frozenset([BOB])}
    pages = await stage.public()
    assert [one["seq"] for one in (await get(pages, f"/threads/{thread}/messages"))["messages"]] == [1]


async def test_an_inbox_has_no_pages(stage: Stage) -> None:
    pages = await stage.public()
    answer = await pages.get("/rooms/user:ann/messages", headers=bearer(token("ann", ["*"])))
    assert answer.status == 404


async def test_bad_questions(stage: Stage) -> None:
    pages = await stage.public()
    assert (await get(pages, "/threads", status=400, before="x"))["error"]["code"] == "invalid_cursor"
    assert (await get(pages, "/threads", status=400, limit="101"))["error"]["code"] == "invalid_limit"
    assert (await pages.get("/threads")).status == 401
    assert (await pages.get("/threads/dm:ann:bob/messages")).status == 401


async def test_a_store_that_is_away_or_none(stage: Stage) -> None:
    stage.store.down = True
    pages = await stage.public()
    for path in ("/threads", "/threads/dm:ann:bob/messages"):
        assert (await get(pages, path, status=503))["error"]["code"] == "unavailable"
    without = await stage.public(database=False)
    for path in ("/threads", "/threads/dm:ann:bob/messages"):
        assert (await get(without, path, status=501))["error"]["code"] == "history_off"
