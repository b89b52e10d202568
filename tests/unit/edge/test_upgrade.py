"""From the request of a client to its socket, and to the end of it, on real sockets."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestServer
from websockets.frames import Opcode

from common.bus import ClusterShape
from common.bus_memory import MemoryBus, MemoryStore
from common.clock import SystemClock
from common.ids import EdgeId
from common.settings import EdgeSettings, load
from edge.connection import Connection
from edge.gateway import Gateway
from edge.http_public import public_app
from edge.metrics import EdgeMetrics
from edge.tokens import token_verifier
from tests.unit.edge.test_frames import client_frame

# The key and the answer to it are those of RFC 6455 section 1.3.
REQUEST = (
    b"GET /ws HTTP/1.1\r\nHost: edge\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def heartbeat(message_id: str) -> bytes:
    text = {"v": 1, "t": "heartbeat", "ts": 1, "id": message_id, "payload": {"clientTimeMs": 1}}
    return client_frame(json.dumps(text).encode())


class Peer:
    """A client that sends what bytes it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def head(self) -> tuple[int, dict[str, str]]:
        """Read an answer's head; returns status and headers, these in lower case."""
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), headers

    async def frame(self) -> tuple[int, bytes]:
        """Read a frame; returns opcode and payload."""
        first, size = await self.reader.readexactly(2)
        assert first & 0x80
        if size == 126:
            size = int.from_bytes(await self.reader.readexactly(2), "big")
        return first & 0x0F, await self.reader.readexactly(size)

    async def text(self) -> dict[str, Any]:
        opcode, payload = await self.frame()
        assert opcode == Opcode.TEXT, (opcode, payload)
        event: dict[str, Any] = json.loads(payload)
        return event

    async def closed(self) -> tuple[int | None, bytes]:
        """Read on to the end; returns code and reason of the close frame."""
        while True:
            opcode, payload = await self.frame()
            if opcode == Opcode.CLOSE:
                assert await self.reader.read() == b""
                return int.from_bytes(payload[:2], "big"), payload[2:]


class Edge:
    """A gateway behind a listener."""

    def __init__(self, gateway: Gateway, server: TestServer) -> None:
        self.gateway, self.server = gateway, server
        self.peers: list[Peer] = []

    async def send(self, *parts: bytes) -> Peer:
        """Open a connection and send bytes."""
        assert self.server.port is not None
        peer = Peer(*await asyncio.open_connection("127.0.0.1", self.server.port))
        self.peers.append(peer)
        peer.writer.write(b"".join(parts))
        return peer

    async def open(self) -> Peer:
        """Open a WebSocket, and read the greeting."""
        peer = await self.send(REQUEST, b"\r\n")
        assert (await peer.head())[0] == 101
        assert (await peer.text())["t"] == "welcome"
        return peer

    async def is_empty(self) -> None:
        while self.gateway.connection_count:  # noqa: ASYNC110, there is no event to wait for
            await asyncio.sleep(0)

    def closed_with(self, code: int) -> float:
        count: float = self.gateway.metrics.closed.labels(str(code))._value.get()
        return count


Open = Callable[..., Awaitable[Edge]]


@pytest.fixture
async def edge() -> AsyncIterator[Open]:
    edges: list[Edge] = []

    async def open_edge(**environ: str) -> Edge:
        settings = load(EdgeSettings, {"ROOMRING_DEV": "1", "ROOMRING_SHARDS": "4", **environ})
        bus = MemoryBus(MemoryStore(ClusterShape(4, 1), lambda: 0))
        verifier = token_verifier(settings)
        gateway = Gateway(EdgeId("e1"), settings, bus, SystemClock(), verifier, EdgeMetrics(), random.Random(1))
        await gateway.start()
        server = TestServer(public_app(gateway, None, verifier, None))
        await server.start_server()
        edges.append(Edge(gateway, server))
        return edges[-1]

    yield open_edge
    for opened in edges:
        await opened.gateway.stop()
        for peer in opened.peers:
            peer.writer.close()
        await opened.server.close()


# --- the upgrade ------------------------------------------------------------------------------------------


async def test_the_answer_to_an_upgrade(edge: Open) -> None:
    peer = await (await edge()).send(REQUEST, b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
    status, headers = await peer.head()
    assert status == 101
    assert headers["upgrade"] == "websocket"
    assert headers["connection"] == "upgrade"
    assert headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".lower()
    assert not {"sec-websocket-protocol", "sec-websocket-extensions", "content-length", "transfer-encoding"} & set(
        headers
    )
    assert (await peer.text())["t"] == "welcome"


async def test_our_subprotocol_is_chosen_and_a_token_beside_it_is_not(edge: Open) -> None:
    offered = b"Sec-WebSocket-Protocol: bearer.abc, roomring.v1.json\r\n\r\n"
    peer = await (await edge()).send(REQUEST, offered)
    _, headers = await peer.head()
    assert headers["sec-websocket-protocol"] == "roomring.v1.json"
    assert (await peer.text())["t"] == "welcome"
    assert (await peer.text())["payload"]["code"] == "token_invalid"


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        (b"Upgrade: websocket", b"Upgrade: h2c"),
        (b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Version: 12"),
        (b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"Sec-WebSocket-Key: dGhl"),
        (b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"X-None: 1"),
        (b"Connection: Upgrade", b"Connection: close"),
    ],
)
async def test_what_is_no_handshake_is_refused_and_counted_nowhere(edge: Open, line: bytes, instead: bytes) -> None:
    at = await edge(ROOMRING_CONNECTIONS_PER_ORIGIN_MAX="1")
    origin = b"Origin: https://a.example\r\n\r\n"
    peer = await at.send(REQUEST.replace(line, instead), origin)
    assert (await peer.head())[0] == 400
    assert at.gateway.connection_count == 0
    # It did not take the origin's only place.
    peer = await at.send(REQUEST, origin)
    assert (await peer.head())[0] == 101


async def test_what_comes_behind_the_request_is_read(edge: Open) -> None:
    # A client should wait for the answer, and not all do. What was cut in the middle belongs together too.
    beat = heartbeat("early")
    peer = await (await edge()).send(REQUEST, b"\r\n", heartbeat("first"), beat[:9])
    assert (await peer.head())[0] == 101
    assert (await peer.text())["t"] == "welcome"
    assert (await peer.text())["re"] == "first"
    peer.writer.write(beat[9:])
    assert (await peer.text())["re"] == "early"


async def test_much_behind_the_request_is_read(edge: Open) -> None:
    # Past 64 KiB aiohttp stops to read the socket until the upgrade is answered.
    count = 1_000
    peer = await (await edge()).send(REQUEST, b"\r\n", *(heartbeat(f"beat-{number}") for number in range(count)))
    assert (await peer.head())[0] == 101
    await peer.text()
    for number in range(count):
        assert (await peer.text())["re"] == f"beat-{number}"


async def test_nothing_of_http_is_left_of_an_open_socket(edge: Open) -> None:
    at = await edge()
    before = asyncio.all_tasks()
    peer = await at.open()
    # The handler's last steps come after the greeting.
    await asyncio.gather(*(asyncio.all_tasks() - before))
    assert at.server.runner.server is not None
    assert at.server.runner.server.connections == []
    peer.writer.write(heartbeat("x"))
    assert (await peer.text())["re"] == "x"


# --- the end ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001, 4999])
async def test_a_close_is_answered_with_its_code(edge: Open, code: int) -> None:
    at = await edge()
    peer = await at.open()
    peer.writer.write(client_frame(code.to_bytes(2, "big") + b"bye", Opcode.CLOSE))
    assert await peer.closed() == (code, b"")
    peer.writer.close()
    await at.is_empty()
    assert at.closed_with(code) == 1


async def test_a_close_without_a_code_is_answered(edge: Open) -> None:
    at = await edge()
    peer = await at.open()
    peer.writer.write(client_frame(b"", Opcode.CLOSE))
    assert await peer.closed() == (1000, b"")
    peer.writer.close()
    await at.is_empty()
    assert at.closed_with(1005) == 1


async def test_nothing_is_read_behind_a_close(edge: Open) -> None:
    at = await edge()
    peer = await at.open()
    peer.writer.write(client_frame(b"\x03\xe8", Opcode.CLOSE) + heartbeat("x") + client_frame(b"p", Opcode.PING))
    assert await peer.frame() == (Opcode.CLOSE, b"\x03\xe8")
    assert await peer.reader.read() == b""


async def test_what_is_against_the_rules_is_closed_for_it(edge: Open) -> None:
    at = await edge()
    peer = await at.open()
    peer.writer.write(heartbeat("before") + b"\xc1\x80" + bytes(4))
    assert (await peer.text())["re"] == "before"
    assert await peer.closed() == (1002, b"frame refused")
    peer.writer.close()
    await at.is_empty()
    assert at.closed_with(1002) == 1


async def test_a_client_that_ends_its_side_is_gone(edge: Open) -> None:
    at = await edge()
    peer = await at.open()
    peer.writer.write_eof()
    assert await peer.reader.read() == b""
    await at.is_empty()
    assert at.closed_with(1006) == 1


async def test_a_client_that_is_cut_off_is_gone(edge: Open) -> None:
    at = await edge()
    peer = await at.open()
    peer.writer.transport.abort()
    await at.is_empty()
    assert at.closed_with(1006) == 1


async def test_a_bug_ends_one_connection_and_tells_it(edge: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    at = await edge()
    neighbour, peer = await at.open(), await at.open()

    def broken(*_: Any) -> None:
        raise ValueError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "receive", broken)
        peer.writer.write(heartbeat("x"))
        assert await peer.closed() == (1011, b"internal error")
    neighbour.writer.write(heartbeat("y"))
    assert (await neighbour.text())["re"] == "y"


async def test_an_edge_that_stops_cuts_who_is_left(edge: Open) -> None:
    at = await edge()
    peer = await at.open()
    await at.gateway.stop()
    assert await peer.reader.read() == b""
    await at.is_empty()


# --- pings ------------------------------------------------------------------------------------------------


async def test_each_ping_is_answered_with_its_payload(edge: Open) -> None:
    peer = await (await edge()).open()
    for payload in (b"", b"x" * 125):
        peer.writer.write(client_frame(payload, Opcode.PING) * 2)
        assert [await peer.frame(), await peer.frame()] == [(Opcode.PONG, payload)] * 2


async def test_too_many_pings_are_a_flood(edge: Open) -> None:
    at = await edge(ROOMRING_MESSAGES_BURST="10", ROOMRING_MESSAGES_PER_SECOND_MAX="1")
    peer = await at.open()
    peer.writer.write(client_frame(b"", Opcode.PING) * 12)
    assert await peer.closed() == (4429, b"too many pings")
