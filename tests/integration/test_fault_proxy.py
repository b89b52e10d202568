"""The proxy that breaks connections: what it lets through, holds back and cuts."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

import pytest

from loadtest.chaos.proxy import Command, FaultProxy, ports_of

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Ends:
    """A server behind a proxy, and a client before it."""

    def __init__(self, proxy: FaultProxy, client: Streams, server: Streams) -> None:
        self.proxy = proxy
        self.client_reader, self.client_writer = client
        self.server_reader, self.server_writer = server


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    accepted: asyncio.Queue[Streams] = asyncio.Queue()
    server = await asyncio.start_server(lambda *streams: accepted.put_nowait(streams), "127.0.0.1", 0)
    proxy = FaultProxy("127.0.0.1", server.sockets[0].getsockname()[1])
    client = await asyncio.open_connection("127.0.0.1", await proxy.start())
    made = Ends(proxy, client, await accepted.get())
    yield made
    for writer in (made.client_writer, made.server_writer):
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    await proxy.close()
    server.close()


async def test_bytes_pass_both_ways(ends: Ends) -> None:
    ends.client_writer.write(b"PING")
    assert await ends.server_reader.readexactly(4) == b"PING"
    ends.server_writer.write(b"PONG")
    assert await ends.client_reader.readexactly(4) == b"PONG"


async def test_a_stalled_direction_holds_all_back_in_order_and_the_other_flows(ends: Ends) -> None:
    assert ends.proxy.do(Command("shape", stall="replies")) == 1
    ends.server_writer.write(b"one ")
    ends.client_writer.write(b"still here")
    assert await ends.server_reader.readexactly(10) == b"still here"
    ends.server_writer.write(b"two")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await ends.client_reader.read(1)
    ends.proxy.do(Command("shape"))
    assert await ends.client_reader.readexactly(7) == b"one two"


async def test_delayed_bytes_keep_their_order_when_the_delay_ends(ends: Ends) -> None:
    ends.proxy.do(Command("shape", delay_ms=30))
    ends.client_writer.write(b"slow ")
    await ends.client_writer.drain()
    while not next(iter(ends.proxy.clients)).holds:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0)
    ends.proxy.do(Command("shape"))
    ends.client_writer.write(b"quick")
    assert await ends.server_reader.readexactly(10) == b"slow quick"


async def test_a_cut_ends_both_sides(ends: Ends) -> None:
    assert ends.proxy.do(Command("cut")) == 1
    for reader in (ends.client_reader, ends.server_reader):
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""


async def test_only_the_connections_of_the_named_process_are_concerned(ends: Ends) -> None:
    own = ends.client_writer.get_extra_info("sockname")[1]
    assert own in ports_of(os.getpid())
    assert ends.proxy.do(Command("cut", pid=1)) == 0
    assert ends.proxy.do(Command("cut", pid=os.getpid())) == 1
