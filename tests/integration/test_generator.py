"""The generator against a small server of another kind, which does what the test wants it to do wrong."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import websockets
from websockets.asyncio.server import ServerConnection, broadcast, serve

from loadtest.accounting import TransformTotals, settle_order, settle_transforms
from loadtest.dialect import Chat, JoinError, Link, Units, Update
from loadtest.frames import text_frame
from loadtest.generator import Generator, GeneratorResult
from loadtest.plan import US, Plan

MEMBERS = 5
RATE = 20.0
SECONDS = 0.5
SENT = MEMBERS * round(RATE * SECONDS)


class Words:
    """Messages are words: `move USER SEQ TIME` and `say USER TEXT` come back to all, `say` with its place."""

    name = "words"
    units = Units.MESSAGES
    has_one_order = False
    has_chat = True

    async def enter(self, http: aiohttp.ClientSession, base_url: str, link: Link) -> None:
        await link.open(base_url.replace("http", "ws"), {"X-Asked-By": link.user_id})
        link.send(text_frame(f"join {link.user_id}".encode()))
        answer = await link.receive()
        if answer.strip() != b"joined":
            raise JoinError(f"it answered {answer.decode()}")
        link.order_starts(1, 0)

    def transforms(self, link: Link) -> Callable[[int, int], bytes]:
        return lambda seq, intended_us: text_frame(f"move {link.user_id} {seq} {intended_us}".encode())

    def read(self, unit: bytes) -> Sequence[Update] | None:
        word, *rest = unit.decode().split()
        if word != "move":
            return None
        return [Update(rest[0], int(rest[1]), int(rest[2]))]

    def control(self, link: Link, unit: bytes) -> None:
        word, *rest = unit.decode().split()
        match word:
            case "said":
                link.chatted(1, int(rest[0]), rest[1], int(rest[2]))
            case "done":
                link.acknowledged(rest[1], rest[1], int(rest[0]))
            case _:
                raise ValueError(word)

    def unit_end(self, stream: bytes, start: int) -> int:
        return stream.find(b"\n", start) + 1 or -1

    def heartbeat(self, link: Link) -> bytes:
        return b""

    def chat(self, link: Link, number: int, intended_us: int) -> Chat:
        return Chat(f"m{number}", text_frame(f"say m{number} {intended_us}".encode()))

    def leave(self, link: Link) -> bytes:
        return text_frame(b"leave")


class Lines(Words):
    """The same as one stream of lines."""

    units = Units.STREAM


class Server:
    """Relays words. `relay` says what each member is sent of a move: usually it alone."""

    def __init__(self, end: str = "") -> None:
        self.end = end
        self.relay: Callable[[str, int, str], list[str]] = lambda _user, _seq, text: [text]
        self.close_after: Mapping[str, int] = {}
        self._members: dict[str, ServerConnection] = {}
        self._said = 0

    async def handle(self, socket: ServerConnection) -> None:
        async for message in socket:
            assert isinstance(message, str)
            match message.split():
                case ["join", user]:
                    if len(self._members) == MEMBERS:
                        await socket.send("full" + self.end)
                    else:
                        self._members[user] = socket
                        await socket.send("joined" + self.end)
                case ["move", sender, seq, _]:
                    for user, member in self._members.items():
                        for text in self.relay(user, int(seq), message):
                            broadcast([member], text + self.end)
                    if self.close_after.get(sender) == int(seq):
                        await socket.close(4321, "enough")
                case ["say", message_id, text]:
                    self._said += 1
                    await socket.send(f"done {self._said} {message_id}" + self.end)
                    broadcast(self._members.values(), f"said {self._said} {message_id} {text}" + self.end)


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[str]:
    async with serve(server.handle, "127.0.0.1", 0, compression=None) as listening:
        yield f"http://127.0.0.1:{next(iter(listening.sockets)).getsockname()[1]}"


def plan_of(url: str) -> Plan:
    return Plan("r", (url,), 1, MEMBERS, RATE, seconds=SECONDS, warmup_s=0.0, drain_s=0.3, chats_per_second=10.0)


async def run(server: Server, dialect: Any) -> tuple[GeneratorResult, TransformTotals]:
    async with running(server) as url:
        generator = Generator(plan_of(url), dialect)
        try:
            await generator.join()
            await generator.run(time.monotonic())
            result = generator.result()
        finally:
            await generator.close()
    plan = plan_of(url)
    return result, settle_transforms(
        result.senders, result.transforms, lambda user_id, seq: plan.transform_us(result.member_of[user_id], seq)
    )


@pytest.mark.parametrize(("dialect", "end"), [(Words(), ""), (Lines(), "\n")], ids=["messages", "stream"])
async def test_a_server_that_writes_once_for_each_message_is_measured(dialect: Words, end: str) -> None:
    result, totals = await run(Server(end), dialect)
    assert totals == TransformTotals(sent=SENT, expected=SENT * MEMBERS, delivered=SENT * MEMBERS)
    order = settle_order(result.order)
    assert (order.chats_sent, order.chats_acked, order.received, order.errors) == (5, 5, 25, 0)
    assert result.transform_latency.total == SENT * MEMBERS
    assert sum(second.total for second in result.second_latency.values()) == SENT * MEMBERS
    assert (result.bad_frames, result.closed) == (0, [])
    assert result.lag.total == SENT
    assert result.window_frames >= result.window_received > 0
    assert result.window_bytes > 20 * result.window_received


async def test_what_the_garbage_collector_takes_is_before_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "collect", lambda: time.sleep(SECONDS + 0.1))
    result, _ = await run(Server(), Words())
    assert result.window_received > SENT
    assert result.lag.percentile(50) < SECONDS * US / 2


async def test_what_goes_wrong_for_one_member_is_found() -> None:
    server = Server()

    def relay(user: str, seq: int, text: str) -> list[str]:
        match user, seq:
            case "bench-r-u1", 4:
                return []
            case "bench-r-u2", 5:
                return [text, text]
            case "bench-r-u3", 6:
                return ["nonsense", text]
            case "bench-r-u4", 10:
                return []
        return [text]

    server.relay = relay
    result, totals = await run(server, Words())
    assert totals == TransformTotals(
        sent=SENT,
        expected=SENT * MEMBERS,
        delivered=SENT * MEMBERS - 2 * MEMBERS,
        superseded=MEMBERS,
        lost=MEMBERS,
        duplicates=MEMBERS,
    )
    assert result.bad_frames == MEMBERS


async def test_a_socket_that_the_server_closes_is_told_with_its_code() -> None:
    server = Server()
    server.close_after = {"bench-r-u2": 3}
    result, totals = await run(server, Words())
    assert [(one.user_id, one.code, one.reason) for one in result.closed] == [("bench-r-u2", 4321, "enough")]
    # It sent no more, and missed what the others sent.
    last_sent = {user_id: sender.last_sent for user_id, sender in result.senders.items()}
    assert 3 <= last_sent.pop("bench-r-u2") < 10
    assert set(last_sent.values()) == {10}
    assert totals.lost > 0


async def test_who_may_not_come_in_ends_the_run() -> None:
    server = Server()
    async with running(server) as url:
        first, second = Generator(plan_of(url), Words()), Generator(plan_of(url), Words())
        try:
            await first.join()
            with pytest.raises(JoinError, match="it answered full"):
                await second.join()
        finally:
            await first.close()
            await second.close()


async def test_a_server_that_takes_no_websocket_ends_the_run() -> None:
    def refuse(connection: ServerConnection, _request: object) -> websockets.Response:
        return connection.respond(503, "not now")

    async with serve(Server().handle, "127.0.0.1", 0, process_request=refuse) as listening:
        port = next(iter(listening.sockets)).getsockname()[1]
        generator = Generator(plan_of(f"http://127.0.0.1:{port}"), Words())
        with pytest.raises(JoinError, match="503"):
            await generator.join()
        await generator.close()
    with pytest.raises(JoinError, match="does not take a WebSocket"):
        generator = Generator(plan_of(f"http://127.0.0.1:{port}"), Words())
        await asyncio.wait_for(generator.join(), 5)
