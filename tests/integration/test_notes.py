"""Boards in real clusters: live to everybody, conflicts, takeovers, blocks, and what is left when Redis forgot all."""

import asyncio
import signal
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from common.ids import RoomId, UserId, inbox_of
from common.ring import shard_of
from deploy.devcluster import DevCluster
from loadtest.database import signal_tree
from tests.integration.client import WAIT_S, Client, Event, join_payload
from tests.integration.conftest import People, _people, mint, running_cluster
from tests.integration.kept import database

SHARDS = 16
ENVIRON = {"ROOMRING_SHARDS": str(SHARDS), "ROOMRING_RECONNECT_WINDOW_MS": "600"}
TAKEOVER_S = 15.0
"""Far above lease and margin."""


@pytest.fixture(scope="module")
def kept_cluster() -> Iterator[DevCluster]:
    """A cluster with a database."""
    with running_cluster(environ=ENVIRON) as running:
        yield running


@pytest.fixture
async def kept(kept_cluster: DevCluster) -> AsyncIterator[People]:
    """People of that cluster."""
    async for visitors in _people(kept_cluster):
        yield visitors


@pytest.fixture(scope="module")
def plain_cluster() -> Iterator[DevCluster]:
    """A cluster without a database: boards are in Redis alone."""
    with running_cluster(database=False, environ=ENVIRON) as running:
        yield running


@pytest.fixture
async def plain(plain_cluster: DevCluster) -> AsyncIterator[People]:
    """People of that cluster."""
    async for visitors in _people(plain_cluster):
        yield visitors


@pytest.fixture
def board() -> str:
    """A board that nobody else uses."""
    return f"notes:{uuid.uuid4().hex[:12]}"


async def put(client: Client, board: str, note_id: str, text: str, **fields: Any) -> Event:
    """Put a note, and return the answer."""
    within_s = fields.pop("within_s", WAIT_S)
    payload = {"roomId": board, "noteId": note_id, "x": 1.5, "y": -2.0, "text": text, **fields}
    return await client.ask("note_put", payload, within_s=within_s)


async def change(
    client: Client, board: str, note_id: str, revision: int, *, within_s: float = WAIT_S, **fields: Any
) -> Event:
    """Change a note, and return the answer."""
    payload = {"roomId": board, "noteId": note_id, "revision": revision, **fields}
    return await client.ask("note_change", payload, within_s=within_s)


async def delete(client: Client, board: str, note_id: str, revision: int) -> Event:
    """Take a note off, and return the answer."""
    return await client.ask("note_delete", {"roomId": board, "noteId": note_id, "revision": revision})


async def stored(client: Client, ack: Event) -> Event:
    """Wait until the sender hears that what was acknowledged is stored for good."""
    return await client.wait("persisted", seq=ack["payload"]["seq"])


async def state_of(people: People, board: str, user: str, *, edge: int = 0, within_s: float = WAIT_S) -> Event:
    """Return the payload of the `room_state` that somebody gets who comes in now."""
    client = await people.connect(edge)
    entered = await client.ask("join_room", join_payload(board, user, token=mint(user, board)), within_s=within_s)
    assert entered["t"] == "room_state", entered
    payload: Event = entered["payload"]
    return payload


def brief(notes: list[Event]) -> list[tuple[str, str, int]]:
    """Return id, text and revision of notes, in order."""
    return [(note["noteId"], note["text"], note["revision"]) for note in notes]


async def test_what_is_done_to_notes_is_seen_by_all_and_kept(kept: People, board: str) -> None:
    ann = await kept.join(board, "ann", edge=0)
    bob = await kept.join(board, "bob", edge=1)
    placed = await put(ann, board, "milk", "buy milk", colour="blue", tags=["home", "food"])
    assert placed["payload"]["revision"] == 1
    changed = await change(bob, board, "milk", 1, text="buy oat milk", x=7.0)
    assert changed["payload"]["revision"] == 2
    await put(bob, board, "old", "of last year")
    deleted = await delete(ann, board, "old", 1)
    for client in (ann, bob):
        await client.wait("note_deleted", noteId="old")
        names = [event["t"] for event in client.reliable(board)]
        assert names == ["note_placed", "note_changed", "note_placed", "note_deleted"]
    for client, ack in ((ann, placed), (bob, changed), (ann, deleted)):
        told = await stored(client, ack)
        assert told["payload"]["epoch"] == client.position(board)[0]
        assert "messageId" not in told["payload"]
    async with database(kept.cluster) as connection:
        rows = await connection.fetch(
            "SELECT note_id, text, x, tags, revision, author_id, edited_by, deleted_at IS NOT NULL AS gone"
            " FROM notes WHERE room_id = $1 ORDER BY note_id",
            board,
        )
        revisions = await connection.fetch(
            "SELECT revision, text FROM note_revisions WHERE room_id = $1 AND note_id = 'milk' ORDER BY revision", board
        )
    assert [tuple(row) for row in rows] == [
        ("milk", "buy oat milk", 7.0, ["home", "food"], 2, "ann", "bob", False),
        ("old", "of last year", 1.5, [], 2, "bob", "bob", True),
    ]
    assert [tuple(row) for row in revisions] == [(1, "buy milk"), (2, "buy oat milk")]


async def test_of_many_who_change_a_note_at_once_one_does_and_the_others_are_shown_how_it_is(
    plain: People, board: str
) -> None:
    ann = await plain.join(board, "ann", edge=0)
    others = [await plain.join(board, f"guest {number}", edge=number % 2) for number in range(6)]
    await put(ann, board, "n", "begun")
    answers = await asyncio.gather(*(change(client, board, "n", 1, text=client.user_id) for client in others))
    acks = [answer for answer in answers if answer["t"] == "ack"]
    conflicts = [answer for answer in answers if answer["t"] == "note_conflict"]
    assert (len(acks), len(conflicts)) == (1, 5)
    (winner,) = [client.user_id for client, answer in zip(others, answers, strict=True) if answer["t"] == "ack"]
    for conflict in conflicts:
        assert brief([conflict["payload"]["note"]]) == [("n", winner, 2)]
    for client in (ann, *others):
        event = await client.wait("note_changed")
        assert (event["payload"]["note"]["text"], event["seq"]) == (winner, acks[0]["payload"]["seq"])
    assert brief((await state_of(plain, board, "late"))["notes"]) == [("n", winner, 2)]


async def test_a_board_outlives_its_worker_and_the_people_who_were_there(plain: People, board: str) -> None:
    ann = await plain.join(board, "ann", edge=0)
    for note_id in ("a", "b", "c"):
        await put(ann, board, note_id, f"text of {note_id}")
    await change(ann, board, "a", 1, text="newer")
    await delete(ann, board, "b", 1)
    plain.cluster.kill(await owner_of(plain, board))
    again = await put(ann, board, "b", "back", within_s=TAKEOVER_S)
    assert again["payload"]["revision"] == 3
    expected = [("c", "text of c", 1), ("a", "newer", 2), ("b", "back", 3)]
    assert brief((await state_of(plain, board, "late", edge=1))["notes"]) == expected
    epoch = ann.position(board)[0]
    await ann.leave(board)
    found = await state_of(plain, board, "ann")
    assert (found["epoch"], found["noteCount"], brief(found["notes"])) == (epoch, 3, expected)


async def owner_of(people: People, room: str) -> str:
    """Return the name of the process that owns a room."""
    seen = (await people.admin("GET", "cluster")).json
    owner = seen["shards"][shard_of(RoomId(room), SHARDS)]["owner"]
    (port,) = [worker["internalPort"] for worker in seen["workers"] if worker["id"] == owner]
    (name,) = [worker.name for worker in people.cluster.workers if worker.internal_port == port]
    return name


async def test_who_was_away_sees_the_board_as_it_is_and_hears_what_was_missed(plain: People, board: str) -> None:
    ann = await plain.join(board, "ann", edge=0)
    bob = await plain.join(board, "bob", edge=1)
    await put(ann, board, "n", "one")
    await bob.wait("note_placed")
    at = bob.position(board)
    await bob.drop()
    await change(ann, board, "n", 1, text="two")
    back, entered = await plain.try_join(board, "bob", edge=0, resume=at)
    assert entered["payload"]["recovered"] is True
    assert brief(entered["payload"]["notes"]) == [("n", "two", 2)]
    missed = await back.wait("note_changed")
    assert (missed["replay"], brief([missed["payload"]["note"]])) == (True, [("n", "two", 2)])
    # What was written offline is based on what was seen then.
    assert (await change(back, board, "n", 1, text="mine"))["t"] == "note_conflict"


async def test_nothing_of_a_blocked_person_is_on_the_board(
    plain: People, board: str, person: Callable[[str], str]
) -> None:
    ann, bob, eve = person("ann"), person("bob"), person("eve")
    author = await plain.join(board, ann, edge=0)
    blocker = await plain.join(board, bob, edge=1)
    other = await plain.join(board, eve, edge=0)
    await put(author, board, "secret", "of ann")
    await put(other, board, "touched", "of eve")
    await put(other, board, "open", "of eve")
    await blocker.wait(lambda event: event["t"] == "note_placed" and event["payload"]["note"]["noteId"] == "open")
    blocker.hides.add(board)
    inbox = inbox_of(UserId(bob))
    assert (await blocker.join(inbox, bob, token=mint(bob, inbox)))["t"] == "room_state"
    mark = blocker.mark()
    assert (await blocker.ask("block_user", {"userId": ann}))["t"] == "ack"
    state = await blocker.wait("room_state", since=mark, roomId=board)
    assert [note["noteId"] for note in state["payload"]["notes"]] == ["touched", "open"]
    mark = blocker.mark()
    assert (await change(author, board, "touched", 1, text="by ann"))["t"] == "ack"
    assert (await put(author, board, "more", "of ann"))["t"] == "ack"
    for note_id, revision in (("secret", 1), ("touched", 1), ("touched", 2), ("more", 1), ("never", 1)):
        answer = await change(blocker, board, note_id, revision, text="mine")
        assert (answer["t"], answer["payload"]["code"]) == ("error", "not_found")
    await change(other, board, "open", 1, text="the end")
    await blocker.wait("note_changed", since=mark)
    heard = [event for event in blocker.received[mark:] if event["t"].startswith("note_")]
    assert [event["payload"]["note"]["noteId"] for event in heard] == ["open"]
    found = await state_of(plain, board, bob, edge=0)
    assert (brief(found["notes"]), found["noteCount"]) == ([("open", "the end", 2)], 1)


async def test_a_board_that_the_database_could_not_be_asked_of_is_shown_late(kept: People, board: str) -> None:
    assert kept.cluster.database_pid is not None
    signal_tree(kept.cluster.database_pid, signal.SIGSTOP)
    try:
        ann = await kept.join(board, "ann", edge=0)
        mark = ann.mark()
        refused = await put(ann, board, "n", "text")
        assert (refused["t"], refused["payload"]["code"]) == ("error", "busy")
        assert not ann.all("resync")
    finally:
        signal_tree(kept.cluster.database_pid, signal.SIGCONT)
    async with asyncio.timeout(TAKEOVER_S):
        # Each message has the worker ask again.
        while (answer := await put(ann, board, "n", "text"))["t"] != "ack":
            assert answer["payload"]["code"] == "busy"
            await asyncio.sleep(0.1)
    await ann.wait("resync", since=mark, reason="restored")
    await stored(ann, answer)


async def test_a_board_comes_back_from_the_database_when_redis_forgot_all(kept: People, board: str) -> None:
    ann = await kept.join(board, "ann", edge=0)
    bob = await kept.join(board, "bob", edge=1)
    for note_id in ("a", "b", "c"):
        await put(ann, board, note_id, f"text of {note_id}")
    await change(bob, board, "a", 1, text="newer", tags=["x"])
    last = await delete(ann, board, "b", 1)
    await stored(ann, last)
    before = await state_of(kept, board, "eve")
    marks = [client.mark() for client in (ann, bob)]
    async with Redis.from_url(kept.cluster.redis_url) as redis:
        await redis.flushall()
    for client, mark in zip((ann, bob), marks, strict=True):
        await client.wait("resync", since=mark, within_s=TAKEOVER_S, roomId=board)
    # The database may have been slow: then the board is shown in a second state.
    for client, mark in zip((ann, bob), marks, strict=True):
        state = await client.wait(
            lambda event: event["t"] == "room_state" and event["payload"].get("noteCount") == 2,
            since=mark,
            within_s=TAKEOVER_S,
        )
        assert state["payload"]["notes"] == before["notes"]
        assert state["payload"]["epoch"] > before["epoch"]
    assert brief(before["notes"]) == [("c", "text of c", 1), ("a", "newer", 2)]
    ack = await change(bob, board, "a", 2, text="newest", within_s=TAKEOVER_S)
    assert ack["payload"]["revision"] == 3
    await stored(bob, ack)
    async with database(kept.cluster) as connection:
        rows = await connection.fetch(
            "SELECT note_id, text, revision FROM notes WHERE room_id = $1 AND deleted_at IS NULL ORDER BY note_id",
            board,
        )
    assert [tuple(row) for row in rows] == [("a", "newest", 3), ("c", "text of c", 1)]
