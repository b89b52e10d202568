"""Kept chat in real clusters: lobbies, pages over HTTP, what happens without a database and while it is away."""

import asyncio
import contextlib
import itertools
import json
import signal
import uuid
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from common.ids import RoomId
from common.ring import shard_of
from common.settings import DEV_TOKEN_SECRET
from deploy.devcluster import DevCluster
from loadtest.database import Outage, signal_tree
from loadtest.kept_chat_drill import DrillPlan, run_drill
from tests.integration.calls import call
from tests.integration.client import Client, Event, join_payload, transform
from tests.integration.conftest import People, _people, extra_edge, mint, running_cluster
from tests.integration.kept import (
    database,
    good_page,
    page,
    places_of,
    rest_after,
    rows_of,
    say,
    say_all,
    stored,
    texts_of,
)

SHARDS = 16
HISTORY_EVENTS = 20
ENVIRON = {
    "ROOMRING_SHARDS": str(SHARDS),
    "ROOMRING_RECONNECT_WINDOW_MS": "600",
    "ROOMRING_CHAT_PER_SECOND": "1000",
    "ROOMRING_CHAT_BURST": "1000",
}
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
def forgetful_cluster() -> Iterator[DevCluster]:
    """A cluster whose rooms remember few events, and whose database the rest is in."""
    with running_cluster(environ={**ENVIRON, "ROOMRING_HISTORY_EVENTS_MAX": str(HISTORY_EVENTS)}) as running:
        yield running


@pytest.fixture
async def forgetful(forgetful_cluster: DevCluster) -> AsyncIterator[People]:
    """People of that cluster."""
    async for visitors in _people(forgetful_cluster):
        yield visitors


@pytest.fixture
def lobby() -> str:
    """A lobby that nobody else uses."""
    return f"lobby:{uuid.uuid4().hex[:12]}"


# --- lobbies --------------------------------------------------------------------------------------------


async def test_everybody_hears_one_order_and_the_sender_hears_that_it_is_stored(kept: People, lobby: str) -> None:
    ann = await kept.join(lobby, "ann", edge=0)
    bob = await kept.join(lobby, "bob", edge=1)
    eve = await kept.join(lobby, "eve", edge=1)
    said = [(client, f"{client.user_id} {number}") for number in range(20) for client in (ann, bob)]
    acks = await asyncio.gather(*(say(client, lobby, text) for client, text in said))

    assert {ack["t"] for ack in acks} == {"ack"}
    for (client, _), ack in zip(said, acks, strict=True):
        told = await stored(client, ack)
        assert told["payload"] == {**ack["payload"], "epoch": client.position(lobby)[0]}
    last = max(ack["payload"]["seq"] for ack in acks)
    for client in (ann, bob, eve):
        await client.wait(lambda event: event["t"] == "chat_broadcast" and event["seq"] == last)
    heard = [
        [(event["epoch"], event["seq"], event["payload"]) for event in client.all("chat_broadcast")]
        for client in (ann, bob, eve)
    ]
    assert heard[0] == heard[1] == heard[2]
    assert sorted(payload["text"] for _, _, payload in heard[0]) == sorted(text for _, text in said)
    assert await rows_of(kept.cluster, lobby) == [
        (epoch, seq, payload["messageId"], payload["text"]) for epoch, seq, payload in heard[0]
    ]
    assert len(ann.all("persisted")) == len(bob.all("persisted")) == 20
    assert not eve.all("persisted")


async def test_an_id_that_comes_twice_is_kept_once(kept: People, lobby: str) -> None:
    ann = await kept.join(lobby, "ann", edge=0)
    first = await say(ann, lobby, "hello", id="same")
    await stored(ann, first)
    second = await say(ann, lobby, "hello", id="same")
    assert second["payload"] == first["payload"]
    await stored(ann, await say(ann, lobby, "behind it"))
    assert [row[3] for row in await rows_of(kept.cluster, lobby)] == ["hello", "behind it"]


async def test_a_lobby_names_nobody_and_tells_its_count_at_most_once_a_second(kept: People, lobby: str) -> None:
    ann, entered = await kept.try_join(lobby, "ann")
    assert entered["payload"]["members"] == []
    assert entered["payload"]["memberCount"] == 1
    assert entered["payload"]["messages"] == []
    others = await asyncio.gather(*(kept.join(lobby, f"guest {n}", edge=n % 2) for n in range(12)))
    await ann.wait("member_count", count=13)
    newcomer, entered = await kept.try_join(lobby, "bob", edge=1)
    assert entered["payload"]["members"] == []
    assert entered["payload"]["memberCount"] == 14
    mark = ann.mark()
    for other in others[:8]:
        await other.leave(lobby)
    await ann.wait("member_count", count=6, since=mark)
    await newcomer.wait("member_count", count=6)

    told_ms = [event["ts"] for event in ann.all("member_count")]
    assert all(later - earlier >= 1_000 for earlier, later in itertools.pairwise(told_ms)), told_ms
    assert not ann.all("member_joined")
    assert not ann.all("member_left")
    assert all("seq" not in event for event in ann.all("member_count"))


async def test_a_newcomer_is_shown_the_latest_fifty_also_by_a_new_owner(kept: People, lobby: str) -> None:
    ann = await kept.join(lobby, "ann", edge=0)
    acks = await say_all(ann, lobby, [f"word {number}" for number in range(60)])
    answered = acks[-1]["payload"]["messageId"]
    reply = await say(ann, lobby, "indeed", replyTo=answered)
    heard = await ann.wait("chat_broadcast", text="indeed")
    assert heard["payload"]["replyTo"] == answered

    _, entered = await kept.try_join(lobby, "bob", edge=1)
    shown = entered["payload"]["messages"]
    assert texts_of(shown) == [*(f"word {number}" for number in range(11, 60)), "indeed"]
    assert shown[-1] == {
        "epoch": heard["epoch"],
        "seq": reply["payload"]["seq"],
        "ts": heard["ts"],
        "userId": "ann",
        "displayName": "Ann",
        "text": "indeed",
        "messageId": reply["payload"]["messageId"],
        "replyTo": answered,
    }

    kept.cluster.kill(await owner_of(kept, lobby))
    eve = await kept.connect(1)
    payload = join_payload(lobby, "eve", token=mint("eve", lobby))
    entered = await eve.ask("join_room", payload, within_s=TAKEOVER_S)
    assert entered["payload"]["messages"] == shown
    assert entered["payload"]["memberCount"] == 3
    after = await say(ann, lobby, "still here", within_s=TAKEOVER_S)
    assert after["payload"]["seq"] == reply["payload"]["seq"] + 1
    await eve.wait("chat_broadcast", text="still here")
    await stored(ann, after)
    assert (await rows_of(kept.cluster, lobby))[-1][3] == "still here"


async def owner_of(people: People, room: str) -> str:
    """Return the name of the process that owns a room."""
    seen = (await people.admin("GET", "cluster")).json
    owner = seen["shards"][shard_of(RoomId(room), SHARDS)]["owner"]
    (port,) = [worker["internalPort"] for worker in seen["workers"] if worker["id"] == owner]
    (name,) = [worker.name for worker in people.cluster.workers if worker.internal_port == port]
    return name


@pytest.mark.parametrize("character", ["x", "ä", "🦊"])
async def test_a_message_has_at_most_2000_characters(kept: People, lobby: str, character: str) -> None:
    ann = await kept.join(lobby, "ann")
    for count, t in ((2_000, "ack"), (2_001, "error")):
        payload = {"roomId": lobby, "text": character * count}
        message = {"v": 1, "t": "chat_send", "ts": 0, "id": f"of {count}", "payload": payload}
        # Not escaped: so many foxes as pairs of escapes would be a larger frame than a socket may send.
        await ann.socket.send(json.dumps(message, ensure_ascii=False))
        answer = await ann.wait(lambda event, count=count: event.get("re") == f"of {count}")
        assert answer["t"] == t, answer
    assert answer["payload"]["code"] == "invalid_payload"
    await stored(ann, ann.all("ack")[0])
    assert [row[3] for row in await rows_of(kept.cluster, lobby)] == [character * 2_000]
    assert texts_of((await good_page(kept.cluster, lobby))["messages"]) == [character * 2_000]


@pytest.mark.parametrize("text", ["\0", "be\0hind", "", None, 7])
async def test_a_text_that_cannot_be_kept_is_refused(kept: People, lobby: str, text: object) -> None:
    ann = await kept.join(lobby, "ann")
    answer = await ann.ask("chat_send", {"roomId": lobby, "text": text})
    assert (answer["t"], answer["payload"]["code"]) == ("error", "invalid_payload")
    await stored(ann, await say(ann, lobby, "well"))
    assert [row[3] for row in await rows_of(kept.cluster, lobby)] == ["well"]


async def test_a_space_keeps_a_chat_send_of_at_most_240_characters(kept: People, room: str) -> None:
    ann = await kept.join(room, "ann", edge=0)
    bob = await kept.join(room, "bob", edge=1)
    ack = await say(ann, room, "ö" * 240)
    await bob.wait("chat_broadcast", text="ö" * 240)
    await stored(ann, ack)
    answer = await say(ann, room, "ö" * 241)
    assert (answer["t"], answer["payload"]["code"]) == ("error", "invalid_payload")
    local = await ann.chat(room, "not kept")
    await bob.wait("chat_broadcast", text="not kept")
    assert local["payload"]["seq"] == ack["payload"]["seq"] + 1
    await stored(ann, await say(ann, room, "kept"))
    assert texts_of((await good_page(kept.cluster, room))["messages"]) == ["ö" * 240, "kept"]
    assert not ann.all("persisted", messageId=local["payload"]["messageId"])


async def test_in_a_lobby_nobody_moves(kept: People, lobby: str) -> None:
    ann = await kept.join(lobby, "ann")
    for t, payload in (
        ("avatar_transform", {"roomId": lobby, **transform(1)}),
        ("local_chat", {"roomId": lobby, "text": "psst", "mode": "local"}),
        ("emote", {"roomId": lobby, "emoteId": "cheers"}),
    ):
        answer = await ann.ask(t, payload)
        assert (answer["t"], answer["payload"]["code"]) == ("error", "not_allowed"), t
    assert not ann.all("avatar_transform_broadcast")


# --- pages ----------------------------------------------------------------------------------------------


async def test_walks_in_both_directions_give_each_message_once_and_in_order(kept: People, lobby: str) -> None:
    cluster = kept.cluster
    ann = await kept.join(lobby, "ann")
    said = [f"number {number}" for number in range(150)]
    await say_all(ann, lobby, said)

    newest = await good_page(cluster, lobby, limit=20)
    assert texts_of(newest["messages"]) == said[-20:]
    assert newest["moreAfter"] is False
    assert texts_of((await good_page(cluster, lobby))["messages"]) == said[-50:]

    backwards, sizes, at = [*newest["messages"]], [20], newest
    while "before" in at:
        at = await good_page(cluster, lobby, edge=1, limit=20, before=at["before"])
        assert at["moreAfter"] is True
        backwards[:0] = at["messages"]
        sizes.append(len(at["messages"]))
    assert texts_of(backwards) == said
    assert sizes == [20] * 7 + [10]
    assert places_of(backwards) == sorted(set(places_of(backwards)))

    forwards, backwards_cursor = [*at["messages"]], at["after"]
    sizes = []
    while at["moreAfter"]:
        at = await good_page(cluster, lobby, limit=20, after=at["after"])
        assert "before" in at
        forwards += at["messages"]
        sizes.append(len(at["messages"]))
    assert forwards == backwards
    assert sizes == [20] * 7

    between = await good_page(cluster, lobby, before=newest["before"], after=backwards_cursor, limit=200)
    assert texts_of(between["messages"]) == said[10:130]

    end = await good_page(cluster, lobby, after=at["after"])
    assert (end["messages"], end["after"], end["moreAfter"]) == ([], at["after"], False)
    await say_all(ann, lobby, ["one more"])
    more = await good_page(cluster, lobby, after=end["after"])
    assert texts_of(more["messages"]) == ["one more"]


async def test_a_page_that_the_client_has_is_not_sent_again(kept: People, lobby: str) -> None:
    cluster = kept.cluster
    ann = await kept.join(lobby, "ann")
    await say_all(ann, lobby, ["one", "two"])
    first = await page(cluster, lobby)
    assert first.status == 200
    assert first.headers["content-type"].startswith("application/json")
    tag = first.headers["etag"]
    for given in (tag, f"W/{tag}", f'"other", {tag}'):
        again = await page(cluster, lobby, edge=1, headers={"If-None-Match": given})
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag), given
    assert (await page(cluster, lobby, headers={"If-None-Match": '"other"'})).status == 200
    await say_all(ann, lobby, ["three"])
    changed = await page(cluster, lobby, headers={"If-None-Match": tag})
    assert changed.status == 200
    assert changed.headers["etag"] != tag


async def test_wrong_limits_and_cursors_are_named(kept: People, lobby: str) -> None:
    cluster = kept.cluster
    ann = await kept.join(lobby, "ann")
    await say_all(ann, lobby, [f"word {number}" for number in range(5)])
    for limit in ("0", "201", "-1", "1.5", "many", "", "\uff11", "99999999999999999999"):
        answer = await page(cluster, lobby, limit=limit)
        assert (answer.status, answer.code) == (400, "invalid_limit"), limit
    cursor = (await good_page(cluster, lobby, limit=2))["before"]
    for wrong in ("", "x", "!!!", cursor[:-1], cursor + "A", "é", "A" * 5_000):
        for name in ("before", "after"):
            answer = await page(cluster, lobby, **{name: wrong})
            assert (answer.status, answer.code) == (400, "invalid_cursor"), (name, wrong)
    assert len((await good_page(cluster, lobby, limit=1))["messages"]) == 1
    assert len((await good_page(cluster, lobby, limit=200))["messages"]) == 5
    answer = await page(cluster, "%2e%2e")
    assert answer.status in (400, 404), answer


async def test_only_who_may_enter_may_read(kept: People, lobby: str) -> None:
    cluster = kept.cluster
    ann = await kept.join(lobby, "ann")
    await say_all(ann, lobby, ["secret"])
    url = f"{cluster.edges[0].url}/rooms/{lobby}/messages"
    wrong_key = mint("ann", lobby, key="another secret that is as long as it must be")
    for token, status, code in (
        (None, 401, "token_invalid"),
        ("nonsense", 401, "token_invalid"),
        (wrong_key, 401, "token_invalid"),
        (mint("ann", lobby, iat=1_000, exp=2_000), 401, "token_expired"),
        (mint("ann", "lobby:other"), 403, "room_mismatch"),
    ):
        answer = await call("GET", url, key=token)
        assert (answer.status, answer.code) == (status, code), token
    for rooms in (lobby, [lobby, "plaza"], ["lobby:*"]):
        answer = await call("GET", url, key=mint("ann", rooms))
        assert texts_of(answer.json["messages"]) == ["secret"], rooms


async def test_pages_of_the_web_may_read_where_they_are_allowed(kept: People, lobby: str) -> None:
    cluster = kept.cluster
    origin = {"Origin": "https://app.example"}
    await kept.join(lobby, "ann")
    answer = await page(cluster, lobby, headers=origin)
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert "ETag" in answer.headers["access-control-expose-headers"]
    refused = await page(cluster, lobby, headers=origin, token="nonsense")
    assert refused.status == 401
    assert refused.headers["access-control-allow-origin"] == "https://app.example"
    asked = {**origin, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    answer = await call("OPTIONS", f"{cluster.edges[0].url}/rooms/{lobby}/messages", headers=asked)
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert "GET" in answer.headers["access-control-allow-methods"]
    for name in ("Authorization", "If-None-Match"):
        assert name in answer.headers["access-control-allow-headers"]


async def test_pages_of_other_origins_may_not(kept: People, lobby: str) -> None:
    environ = {
        "ROOMRING_DATABASE_URL": kept.cluster.database_url,
        "ROOMRING_SHARDS": str(SHARDS),
        "ROOMRING_TOKEN_SECRET": DEV_TOKEN_SECRET,
        "ROOMRING_ALLOWED_ORIGINS": "https://app.example",
    }
    with extra_edge(kept.cluster, **environ) as (url, _):
        for origin, allowed in (("https://app.example", "https://app.example"), ("https://evil.example", None)):
            asked = {"Origin": origin}
            answer = await call("GET", f"{url}/rooms/{lobby}/messages", headers=asked, key=mint("ann", lobby))
            assert answer.status == 200
            assert answer.headers.get("access-control-allow-origin") == allowed


async def test_a_reader_sees_nothing_of_whom_the_reader_blocks(
    kept: People, lobby: str, person: Callable[[str], str]
) -> None:
    cluster = kept.cluster
    ann, bob, eve = person("ann"), person("bob"), person("eve")
    talkers = {name: await kept.join(lobby, name) for name in (ann, bob)}
    for number in range(10):
        for name, client in talkers.items():
            await say_all(client, lobby, [f"{name} {number}"])
    path = f"users/{eve}/blocks/{bob}"
    assert (await kept.admin("PUT", path)).status < 300
    seen = await good_page(cluster, lobby, user=eve, limit=4)
    assert texts_of(seen["messages"]) == [f"{ann} {number}" for number in range(6, 10)]
    before = await good_page(cluster, lobby, user=eve, limit=4, before=seen["before"])
    assert texts_of(before["messages"]) == [f"{ann} {number}" for number in range(2, 6)]
    assert len((await good_page(cluster, lobby, user=ann))["messages"]) == 20
    assert (await kept.admin("DELETE", path)).status < 300
    assert len((await good_page(cluster, lobby, user=eve))["messages"]) == 20


async def test_a_room_without_messages_has_an_empty_page(kept: People, lobby: str) -> None:
    expected = {"roomId": lobby, "messages": [], "moreAfter": False, "settled": True}
    assert await good_page(kept.cluster, lobby) == expected
    await kept.join(lobby, "ann")
    assert await good_page(kept.cluster, lobby) == expected


async def test_a_page_has_what_is_stored_and_the_socket_tells_when_more_is(kept: People, lobby: str) -> None:
    """A page may lag behind the room: what is acknowledged but not `persisted` is not in it yet."""
    ann = await kept.join(lobby, "ann")
    bob = await kept.join(lobby, "bob", edge=1)
    await say_all(ann, lobby, ["early"])
    async with database(kept.cluster) as connection:
        async with connection.transaction():
            # Reading goes on under this lock, writing waits.
            await connection.execute("LOCK TABLE messages IN EXCLUSIVE MODE")
            ack = await say(ann, lobby, "late")
            await bob.wait("chat_broadcast", text="late")
            seen = await good_page(kept.cluster, lobby)
            assert (texts_of(seen["messages"]), seen["moreAfter"]) == (["early"], False)
            assert not ann.all("persisted", messageId=ack["payload"]["messageId"])
    await stored(ann, ack)
    assert texts_of((await good_page(kept.cluster, lobby, after=seen["after"]))["messages"]) == ["late"]


async def test_who_was_away_for_longer_than_the_history_reads_the_rest_in_pages(forgetful: People, lobby: str) -> None:
    """Pages up to the place of the state, live events from there: nothing is missing, nothing comes twice."""
    cluster = forgetful.cluster
    ann = await forgetful.join(lobby, "ann", edge=0)
    bob = await forgetful.join(lobby, "bob", edge=1)
    await say_all(bob, lobby, ["heard"])
    await ann.wait("chat_broadcast", text="heard")
    left_at = ann.position(lobby)
    await ann.drop()
    await say_all(bob, lobby, [f"missed {number}" for number in range(3 * HISTORY_EVENTS)])

    talking = asyncio.create_task(_talk(bob, lobby))
    try:
        back, entered = await forgetful.try_join(lobby, "ann", edge=1, resume=left_at)
        state = entered["payload"]
        assert state["recovered"] is False
        place = (state["epoch"], state["seq"])
        read = await rest_after(cluster, lobby, state["cursor"], user="ann", limit=7)
        async with asyncio.timeout(5):
            # In a lobby each place is a message, so the client knows how far the pages must come.
            while places_of(read)[-1] < place:
                read = await rest_after(cluster, lobby, state["cursor"], user="ann", limit=7)
    finally:
        talking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await talking
    mark = await say(bob, lobby, "the end")
    await back.wait("chat_broadcast", text="the end")
    past = [at for at in places_of(read) if at <= place]
    live = [(event["epoch"], event["seq"]) for event in back.all("chat_broadcast")]
    epoch, last = place[0], mark["payload"]["seq"]
    assert past + live == [(epoch, seq) for seq in range(left_at[1] + 1, last + 1)]
    assert not [event for event in back.received if event.get("replay")]


async def _talk(client: Client, room: str) -> None:
    for number in itertools.count():
        await say(client, room, f"meanwhile {number}")


async def test_a_place_within_the_history_needs_no_pages(forgetful: People, lobby: str) -> None:
    ann = await forgetful.join(lobby, "ann", edge=0)
    at = ann.position(lobby)
    await say_all(ann, lobby, [f"word {number}" for number in range(HISTORY_EVENTS)])
    bob, entered = await forgetful.try_join(lobby, "bob", edge=1, resume=at)
    assert entered["payload"]["recovered"] is True
    assert "cursor" not in entered["payload"]
    await bob.wait("chat_broadcast", text=f"word {HISTORY_EVENTS - 1}")


async def test_a_place_of_another_epoch_gives_a_cursor_too(forgetful: People, lobby: str) -> None:
    ann = await forgetful.join(lobby, "ann")
    await say_all(ann, lobby, ["one", "two"])
    epoch, _ = ann.position(lobby)
    for resume, expected in (((1, 7), ["one", "two"]), ((epoch + 1, 0), [])):
        _, entered = await forgetful.try_join(lobby, "bob", edge=1, resume=resume)
        assert entered["payload"]["recovered"] is False
        found = await rest_after(forgetful.cluster, lobby, entered["payload"]["cursor"], limit=1)
        assert texts_of(found) == expected, resume


# --- without a database ---------------------------------------------------------------------------------


async def test_without_a_database_chat_works_and_pages_are_off(lobby: str, room: str) -> None:
    with running_cluster(database=False, environ=ENVIRON) as cluster:
        async for people in _people(cluster):
            ann = await people.join(lobby, "ann", edge=0)
            bob = await people.join(lobby, "bob", edge=1)
            for number in range(30):
                assert (await say(ann, lobby, f"word {number}"))["t"] == "ack"
            await bob.wait("chat_broadcast", text="word 29")
            _, entered = await people.try_join(lobby, "eve", edge=1)
            assert texts_of(entered["payload"]["messages"]) == [f"word {number}" for number in range(30)]
            await ann.join(room, "ann", token=mint("ann", room))
            assert (await say(ann, room, "in a space"))["t"] == "ack"
            answer = await page(cluster, lobby)
            assert (answer.status, answer.code) == (501, "history_off")
            assert (await page(cluster, lobby, token="nonsense")).status == 401
            assert not [event for client in (ann, bob) for event in client.all("persisted")]


# --- while the database is away -------------------------------------------------------------------------


@pytest.mark.parametrize("outage", ["stop", "kill"])
async def test_nothing_is_lost_or_doubled_while_the_database_is_away_and_a_worker_dies(
    outage: Outage,
) -> None:
    plan = DrillPlan(messages=600, senders=10, rooms=4, outage_s=3.0, outage=outage)
    figures = await run_drill(plan)
    print("\n".join(figures.table()))
    assert not figures.violations, figures.violations[:10]
    assert figures.in_database == figures.acknowledged == figures.told_stored == 600
    assert figures.acknowledged_while_away > 0
    assert figures.late_max_ms > 1_000, "nothing waited: the database was not away"


OUTBOX_ENTRIES = 20


async def test_when_too_much_waits_chat_is_refused_and_the_rest_goes_on(room: str) -> None:
    environ = {**ENVIRON, "ROOMRING_OUTBOX_ENTRIES_MAX": str(OUTBOX_ENTRIES), "ROOMRING_SHARDS": "1"}
    with running_cluster(environ=environ) as cluster:
        async for people in _people(cluster):
            ann = await people.join(room, "ann", edge=0)
            bob = await people.join(room, "bob", edge=1)
            # More than the bound in all, but never at once: each part is stored before the next one.
            for part in range(3):
                await say_all(ann, room, [f"before {part}.{number}" for number in range(OUTBOX_ENTRIES // 2)])
            before = await rows_of(cluster, room)
            assert cluster.database_pid is not None
            signal_tree(cluster.database_pid, signal.SIGSTOP)
            try:
                # One at a time: a batch is let in or not as a whole, so that a crowd may go past the bound.
                answers = {}
                for number in range(OUTBOX_ENTRIES + 10):
                    answers[f"k{number}"] = await say(ann, room, f"k{number}", id=f"k{number}")
                accepted = [key for key, answer in answers.items() if answer["t"] == "ack"]
                refused = [key for key, answer in answers.items() if answer["t"] == "error"]
                assert accepted == [f"k{number}" for number in range(OUTBOX_ENTRIES)]
                assert {answers[key]["payload"]["code"] for key in refused} == {"busy"}
                assert (await say(bob, room, "of another"))["payload"]["code"] == "busy"

                await ann.move(room, 1, x=4.5)
                await bob.wait("avatar_transform_broadcast", x=4.5)
                assert (await ann.chat(room, "not kept"))["t"] == "ack"
                await bob.wait("chat_broadcast", text="not kept")
                assert (await page(cluster, room)).status == 503
                assert not ann.all("persisted", messageId=answers["k0"]["payload"]["messageId"])
            finally:
                signal_tree(cluster.database_pid, signal.SIGCONT)

            for key in refused:
                answers[key] = await _accepted(ann, room, key)
            for key, answer in answers.items():
                await stored(ann, answer)
                # The answer to an id stays what it was.
                assert (await say(ann, room, key, id=key))["payload"] == answer["payload"]
            rows = await rows_of(cluster, room)
            assert rows[: len(before)] == before
            assert [(row[2], row[3]) for row in rows[len(before) :]] == [
                (answer["payload"]["messageId"], key) for key, answer in answers.items()
            ]
            assert [row[1] for row in rows] == sorted({row[1] for row in rows})


async def _accepted(client: Client, room: str, key: str) -> Event:
    """Send a message, with the same id, until it is taken."""
    async with asyncio.timeout(TAKEOVER_S):
        while True:
            answer = await say(client, room, key, id=key)
            if answer["t"] == "ack":
                return answer
            assert answer["payload"]["code"] == "busy", answer
            await asyncio.sleep(0.05)


async def test_pages_and_live_events_meet_while_the_database_lags(forgetful: People, room: str) -> None:
    """What was sequenced before the state and stored after the first page was read was in neither the pages nor the
    live events; and what came live came again in a page that was read late."""
    cluster = forgetful.cluster
    ann = await forgetful.join(room, "ann", edge=0)
    bob = await forgetful.join(room, "bob", edge=1)
    at = ann.position(room)
    async with database(cluster) as connection:
        async with connection.transaction():
            await connection.execute("LOCK TABLE messages IN EXCLUSIVE MODE")
            said = [f"word {number}" for number in range(HISTORY_EVENTS + 1)]
            for text in said:
                await say(bob, room, text)
            back, entered = await forgetful.try_join(room, "ann", edge=1, resume=at)
            state = entered["payload"]
            assert state["recovered"] is False
            early = await good_page(cluster, room, after=state["cursor"], before=state["until"], user="ann")
            assert early["settled"] is False
            live = await say(bob, room, "live")
            await back.wait("chat_broadcast", text="live")
        read = await rest_after(cluster, room, state["cursor"], before=state["until"], user="ann")
    await stored(bob, live)
    heard = [event["payload"]["text"] for event in back.all("chat_broadcast")]
    assert texts_of(read) + heard == [*said, "live"]
