"""What a client is told whose upgrade an edge refuses, on real sockets."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import WSServerHandshakeError, web
from aiohttp.test_utils import TestClient
from pytest_aiohttp.plugin import AiohttpClient

from common.bus import ClusterShape
from common.bus_memory import MemoryBus, MemoryStore
from common.clock import SystemClock
from common.ids import EdgeId
from common.settings import EdgeSettings, load
from edge.gateway import Gateway
from edge.http_public import public_app
from edge.metrics import EdgeMetrics
from edge.tokens import token_verifier

Pages = TestClient[web.Request, web.Application]
Open = Callable[..., Awaitable[tuple[Gateway, Pages]]]


@pytest.fixture
async def edge(aiohttp_client: AiohttpClient) -> AsyncIterator[Open]:
    gateways: list[Gateway] = []

    async def open_edge(*, start: bool = True, **environ: str) -> tuple[Gateway, Pages]:
        settings = load(EdgeSettings, {"ROOMRING_DEV": "1", "ROOMRING_SHARDS": "4", **environ})
        bus = MemoryBus(MemoryStore(ClusterShape(4, 1), lambda: 0))
        verifier = token_verifier(settings)
        gateway = Gateway(EdgeId("e1"), settings, bus, SystemClock(), verifier, EdgeMetrics(), random.Random(1))
        if start:
            await gateway.start()
        gateways.append(gateway)
        return gateway, await aiohttp_client(public_app(gateway, None, verifier, None))

    yield open_edge
    for gateway in gateways:
        await gateway.stop()


async def refused(pages: Pages, **headers: str) -> tuple[int, str, str | None]:
    """Ask for an upgrade that is refused; returns status, code and `Retry-After`."""
    with pytest.raises(WSServerHandshakeError) as raised:
        await pages.ws_connect("/ws", headers=headers)
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
    }
    async with pages.get("/ws", headers={**upgrade, **headers}) as answer:
        body: dict[str, Any] = await answer.json()
        assert body["error"]["message"]
        assert raised.value.status == answer.status
        return answer.status, body["error"]["code"], answer.headers.get("Retry-After")


async def test_connections_above_the_rate_are_told_when_to_come_back(edge: Open) -> None:
    gateway, pages = await edge(ROOMRING_CONNECTS_BURST="2", ROOMRING_CONNECTS_PER_SECOND_MAX="0.1")
    for _ in range(2):
        assert (await (await pages.ws_connect("/ws")).receive_json())["t"] == "welcome"
    status, code, retry_after = await refused(pages)
    assert (status, code) == (503, "overloaded")
    # A token takes ten seconds; this was the second that was refused.
    assert retry_after is not None
    assert 10 <= int(retry_after) <= 30
    assert gateway.metrics.refused.labels("overloaded")._value.get() == 2
    assert gateway.connection_count == 2


async def test_pages_of_one_origin_have_so_many_connections_and_get_them_back(edge: Open) -> None:
    gateway, pages = await edge(ROOMRING_CONNECTIONS_PER_ORIGIN_MAX="1")
    first = await pages.ws_connect("/ws", headers={"Origin": "https://A.example/"})
    await first.receive_json()
    assert await refused(pages, Origin="https://a.example") == (503, "origin_full", "1")
    for others in ({"Origin": "https://b.example"}, {}):
        await (await pages.ws_connect("/ws", headers=others)).receive_json()
    await first.close()
    # The close frame is answered before the edge has forgotten the connection.
    while gateway.connection_count > 2:
        await (await pages.get("/healthz")).read()
    again = await pages.ws_connect("/ws", headers={"Origin": "https://a.example"})
    assert (await again.receive_json())["t"] == "welcome"


async def test_a_refused_origin_takes_nobodys_turn(edge: Open) -> None:
    _, pages = await edge(ROOMRING_CONNECTS_BURST="1", ROOMRING_ALLOWED_ORIGINS="https://a.example")
    assert await refused(pages, Origin="https://evil.example") == (403, "origin", None)
    assert (await (await pages.ws_connect("/ws")).receive_json())["t"] == "welcome"


async def test_an_edge_that_waits_for_redis_takes_nobody(edge: Open) -> None:
    gateway, pages = await edge(start=False)
    assert await refused(pages) == (503, "starting", "1")
    # Redis may answer by now, a moment before the edge has entered the cluster.
    ready = await pages.get("/readyz")
    assert ready.status == 503
    assert (await ready.json())["problems"] == ["this edge is starting"]
    await gateway.start()
    assert (await (await pages.ws_connect("/ws")).receive_json())["t"] == "welcome"


async def test_a_draining_edge_takes_nobody_and_is_not_ready(edge: Open) -> None:
    gateway, pages = await edge()
    socket = await pages.ws_connect("/ws")
    assert (await socket.receive_json())["t"] == "welcome"
    _, told = await asyncio.gather(gateway.drain(), told_to_go(socket))
    assert told == ("server_draining", 1012)
    assert await refused(pages) == (503, "draining", "1")
    ready = await pages.get("/readyz")
    assert ready.status == 503
    assert (await ready.json())["problems"] == ["this edge is draining"]
    assert (await pages.get("/healthz")).status == 200


async def told_to_go(socket: Any) -> tuple[str, int]:
    told = await socket.receive_json()
    await socket.receive()
    return told["t"], socket.close_code
