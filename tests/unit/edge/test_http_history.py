"""The handler of the pages, on the seams in memory: failures of the stores, blocks, epochs, cursors."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from pytest_aiohttp.plugin import AiohttpClient

from common.bus import ClusterShape, Person
from common.bus_memory import MemoryBus, MemoryStore
from common.durable import ChatMessage, Restricted, RestrictionsLifted
from common.durable_memory import MemoryDurableStore
from common.errors import BusUnavailable
from common.ids import Epoch, RoomId, Seq, UserId
from common.settings import DEV_TOKEN_SECRET, EdgeSettings, load
from edge.gateway import Gateway
from edge.http_history import History
from edge.problems import json_problems
from edge.tokens import mint, token_verifier

ROOM = RoomId("lobby:main")
NOW_S = 4_000_000_000
"""Far ahead: tokens do not expire while tests run."""

Pages = TestClient[web.Request, web.Application]


def message(seq: int, author: str = "ann", epoch: int = 5) -> ChatMessage:
    name = f"{epoch}.{seq}"
    return ChatMessage(ROOM, Epoch(epoch), Seq(seq), f"m{name}", UserId(author), author.title(), f"word {name}", seq)


def token(user: str = "ann", room: str = ROOM) -> str:
    claims = {"sub": user, "room": room, "iat": 1, "exp": NOW_S, "iss": "roomring", "aud": "roomring"}
    return mint(DEV_TOKEN_SECRET, algorithm="HS256", claims=claims)


@pytest.fixture
def store() -> MemoryDurableStore:
    return MemoryDurableStore()


@pytest.fixture
async def bus() -> MemoryBus:
    bus = MemoryBus(MemoryStore(ClusterShape(4, 1), lambda: 0))
    await bus.fill_in({UserId("ann"): Person()})
    return bus


@pytest.fixture
async def pages(aiohttp_client: AiohttpClient, bus: MemoryBus, store: MemoryDurableStore) -> Pages:
    return await client_of(aiohttp_client, bus, store)


async def client_of(aiohttp_client: AiohttpClient, bus: MemoryBus, store: MemoryDurableStore | None) -> Pages:
    settings = load(EdgeSettings, {"ROOMRING_DEV": "1"})
    # Of the gateway the handler uses these two only.
    gateway = cast(Gateway, SimpleNamespace(bus=bus, settings=settings, clock=SimpleNamespace(now_ms=lambda: 1_000)))
    app = web.Application(middlewares=[json_problems])
    app.router.add_get("/rooms/{room_id}/messages", History(gateway, token_verifier(settings), store).messages)
    return await aiohttp_client(app)


async def get(pages: Pages, *, user: str = "ann", status: int = 200, room: str = ROOM, **query: str) -> Any:
    headers = {"Authorization": f"Bearer {token(user)}"}
    answer = await pages.get(f"/rooms/{room}/messages", params=query, headers=headers)
    assert answer.status == status, await answer.text()
    return await answer.json()


async def test_an_empty_room_has_no_cursors(pages: Pages) -> None:
    assert await get(pages) == {"roomId": ROOM, "messages": [], "moreAfter": False, "settled": True}


async def test_a_page_is_what_clients_get_of_a_message_elsewhere(pages: Pages, store: MemoryDurableStore) -> None:
    await store.append([message(1)])
    page = await get(pages)
    assert page["messages"] == [
        {
            "epoch": 5,
            "seq": 1,
            "ts": 1,
            "userId": "ann",
            "displayName": "Ann",
            "text": "word 5.1",
            "messageId": "m5.1",
        }
    ]
    assert "before" not in page
    assert await get(pages, after=page["after"]) == {**page, "messages": []}


async def test_a_later_epoch_stands_behind_an_earlier_one(pages: Pages, store: MemoryDurableStore) -> None:
    await store.append([message(1, epoch=6), message(9), message(2, epoch=6), message(10)])
    seen: list[str] = []
    page = await get(pages, limit="1")
    while True:
        seen[:0] = [one["messageId"] for one in page["messages"]]
        if "before" not in page:
            break
        page = await get(pages, limit="1", before=page["before"])
        assert page["moreAfter"] is True
    assert seen == ["m5.9", "m5.10", "m6.1", "m6.2"]


async def test_blocked_authors_are_left_out_and_do_not_count(
    pages: Pages, store: MemoryDurableStore, bus: MemoryBus
) -> None:
    await store.append([message(seq, "ann" if seq % 2 else "bob") for seq in range(1, 11)])
    await bus.fill_in({UserId("eve"): Person(frozenset({UserId("bob")}))})
    page = await get(pages, user="eve", limit="3")
    assert [one["seq"] for one in page["messages"]] == [5, 7, 9]
    assert page["moreAfter"] is False
    page = await get(pages, user="eve", limit="3", before=page["before"])
    assert [one["seq"] for one in page["messages"]] == [1, 3]
    assert "before" not in page
    assert len((await get(pages, user="ann"))["messages"]) == 10


async def test_a_room_of_blocked_authors_only_is_empty(pages: Pages, store: MemoryDurableStore, bus: MemoryBus) -> None:
    await store.append([message(1, "bob"), message(2, "bob")])
    await bus.fill_in({UserId("eve"): Person(frozenset({UserId("bob")}))})
    assert await get(pages, user="eve") == {"roomId": ROOM, "messages": [], "moreAfter": False, "settled": True}


async def test_a_store_that_is_away_is_told_as_unavailable(pages: Pages, store: MemoryDurableStore) -> None:
    store.down = True
    assert (await get(pages, status=503))["error"]["code"] == "unavailable"


async def test_without_knowing_the_blocks_nothing_is_shown(
    pages: Pages, store: MemoryDurableStore, bus: MemoryBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_: object) -> None:
        raise BusUnavailable("Redis does not answer")

    await store.append([message(1, "bob")])
    monkeypatch.setattr(bus, "people", away)
    assert (await get(pages, status=503))["error"]["code"] == "unavailable"


async def test_without_a_store_pages_are_off_but_tokens_are_checked_first(
    aiohttp_client: AiohttpClient, bus: MemoryBus
) -> None:
    pages = await client_of(aiohttp_client, bus, None)
    assert (await get(pages, status=501))["error"]["code"] == "history_off"
    assert (await pages.get(f"/rooms/{ROOM}/messages")).status == 401
    assert (await get(pages, room="lobby:other", status=403))["error"]["code"] == "room_mismatch"
    assert (await get(pages, room="..%2F", status=400))["error"]["code"] == "invalid_room_id"


async def test_who_is_banned_from_the_room_reads_nothing_of_it(pages: Pages, store: MemoryDurableStore) -> None:
    kept_out = Restricted("r1", ROOM, UserId("ann"), "ban", "rude", "mod", 1, None)
    mute = Restricted("r2", ROOM, UserId("eve"), "mute", "rude", "mod", 1, None)
    await store.append([message(1), kept_out, mute])
    assert (await get(pages, user="ann", status=403))["error"]["code"] == "banned"
    assert len((await get(pages, user="eve"))["messages"]) == 1
    await store.append([RestrictionsLifted(ROOM, UserId("ann"), "mod", 2)])
    assert len((await get(pages, user="ann"))["messages"]) == 1


async def test_who_is_banned_from_the_cluster_reads_nothing(pages: Pages, bus: MemoryBus) -> None:
    await bus.fill_in({UserId("mal"): Person(barred_until_ms=2**53)})
    assert (await get(pages, user="mal", status=403))["error"]["code"] == "banned"
