"""Measures what it costs to read a WebSocket in each of several ways: `python -m loadtest.reading_bench`.

Each way is a server in a process of its own, which counts text messages. All run at once and are measured by turns,
so that whatever else the machine does meets them alike. What an idle connection takes is the server's alone: what an
edge keeps of a client is not in it.
"""

import asyncio
import gc
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import uvloop
from aiohttp import WSMsgType, web
from picows import WSFrame, WSListener, WSTransport, ws_create_server
from picows import WSMsgType as PicowsType

from common.messages import FRAME_BYTES_MAX
from edge.socket_reader import SocketReader
from edge.upgrade import accept_upgrade, hand_over
from loadtest.processes import parse_status

SOCKETS: Final = 40
RATE: Final = 800.0
ALONE_S: Final = 0.4
BURSTS: Final = 6
BURST_FRAMES: Final = 20
ROUNDS: Final = 14
IDLE: Final = 1_000

_PAYLOAD: Final = (
    b'{"v":1,"t":"avatar_transform","ts":1760000000000,"payload":{"roomId":"hall","seq":1234,"x":1.25,"y":0,"z":-3.5,'
    b'"rotY":1.57,"anim":"walk","speaking":false}}'
)
_MASK: Final = b"\x11\x22\x33\x44"
_FRAME: Final = (
    b"\x81\xfe"
    + len(_PAYLOAD).to_bytes(2, "big")
    + _MASK
    + bytes(byte ^ _MASK[at % 4] for at, byte in enumerate(_PAYLOAD))
)
_REQUEST: Final = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Counter:
    """Counts what is read; `Receiver`."""

    count = 0

    def receive(self, frame: bytes) -> None:
        """See `Receiver.receive`."""
        Counter.count += 1
        # Every way would have to ask for it.
        time.time_ns()

    def receive_binary(self) -> None:
        """See `Receiver.receive_binary`."""

    def receive_ping(self, payload: bytes) -> None:
        """See `Receiver.receive_ping`."""

    def receive_close(self, code: int) -> None:
        """See `Receiver.receive_close`."""

    def refuse(self, code: int, reason: str) -> None:
        """See `Receiver.refuse`."""

    def fail(self, error: Exception) -> None:
        """See `Receiver.fail`."""

    def lost(self) -> None:
        """See `Receiver.lost`."""


# --- the ways ---------------------------------------------------------------------------------------------


async def _aiohttp(request: web.Request) -> web.StreamResponse:
    websocket = web.WebSocketResponse(compress=False, max_msg_size=FRAME_BYTES_MAX + 1, decode_text=False)
    await websocket.prepare(request)
    counter = Counter()
    while True:
        message = await websocket.receive()
        if message.type is not WSMsgType.TEXT:
            return websocket
        counter.receive(message.data)


def _after_upgrade(make: Callable[[], asyncio.Protocol]) -> Callable[[web.Request], Any]:
    async def serve(request: web.Request) -> web.StreamResponse:
        answer = await accept_upgrade(request)
        assert request.transport is not None
        hand_over(request, request.transport, make())
        return answer

    return serve


class _Listener(WSListener):
    def __init__(self) -> None:
        self._counter = Counter()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == PicowsType.TEXT and frame.fin:
            self._counter.receive(frame.get_payload_as_bytes())


class _Floor(asyncio.Protocol):
    def data_received(self, data: bytes) -> None:
        Counter.count += len(data) // len(_FRAME)


_HANDLERS: Final[dict[str, Callable[[web.Request], Any]]] = {
    "aiohttp": _aiohttp,
    "aiohttp's parser alone": _after_upgrade(lambda: SocketReader(Counter())),
    "floor: bytes, unread": _after_upgrade(_Floor),
}
_PICOWS: Final = "picows, its own listener"
WAYS: Final = (*_HANDLERS, _PICOWS)


async def _serve(way: str) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    if way == _PICOWS:
        # Its smallest buffer; 16 KiB otherwise.
        buffer_bytes = 2048
        await ws_create_server(
            lambda _: _Listener(), sock=listener, max_frame_size=FRAME_BYTES_MAX, read_buffer_init_size=buffer_bytes
        )
    else:
        app = web.Application()
        app.router.add_get("/ws", _HANDLERS[way])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.SockSite(runner, listener, backlog=1024).start()
    ended = asyncio.Event()

    def answer() -> None:
        match sys.stdin.readline():
            case "cpu\n":
                _tell(time.process_time())
            case "memory\n":
                gc.collect()
                _tell(parse_status(Path("/proc/self/status").read_text(encoding="utf-8")).private)
            case "count\n":
                _tell(Counter.count)
            case _:
                ended.set()

    asyncio.get_running_loop().add_reader(sys.stdin, answer)
    _tell(listener.getsockname()[1])
    await ended.wait()


def _tell(number: float) -> None:
    print(number, flush=True)  # noqa: T201 - what the parent reads


# --- the measurement --------------------------------------------------------------------------------------


class _Server:
    """One way in its process, with open connections."""

    def __init__(self, way: str) -> None:
        self.alone_us: list[float] = []
        self.bursts_us: list[float] = []
        self._process = subprocess.Popen(  # noqa: S603 - this program
            [sys.executable, "-m", "loadtest.reading_bench", way],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._port = int(self._answer())
        self._sockets = [self._connect() for _ in range(SOCKETS)]

    def send_alone(self) -> None:
        """Send frames one by one, evenly in time."""
        began = time.perf_counter()
        count = int(ALONE_S * RATE)
        self.alone_us.append(self._cost(count, lambda number: self._send_at(number, began + number / RATE)))

    def send_bursts(self) -> None:
        """Send many frames at a time."""
        count = BURSTS * SOCKETS

        def send(number: int) -> None:
            self._sockets[number % SOCKETS].send(_FRAME * BURST_FRAMES)
            if number % SOCKETS == SOCKETS - 1:
                time.sleep(0.02)

        self.bursts_us.append(self._cost(count, send) / BURST_FRAMES)

    def idle_kib(self) -> float:
        """Return what a connection takes that says nothing."""
        before = self._ask("memory")
        self._sockets += [self._connect() for _ in range(IDLE)]
        return (self._ask("memory") - before) / IDLE / 1024

    def end(self) -> None:
        """End the process, and see that it read everything."""
        sent = len(self.alone_us) * int(ALONE_S * RATE) + len(self.bursts_us) * BURSTS * SOCKETS * BURST_FRAMES
        assert self._ask("count") == sent
        self._process.communicate()

    def _connect(self) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self._port))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(_REQUEST)
        assert client.recv(4096).startswith(b"HTTP/1.1 101")
        return client

    def _send_at(self, number: int, at: float) -> None:
        while (left := at - time.perf_counter()) > 0:
            time.sleep(left)
        self._sockets[number % SOCKETS].send(_FRAME)

    def _cost(self, count: int, send: Callable[[int], None]) -> float:
        """Return microseconds of CPU for each of so many calls of `send`."""
        before_s = self._ask("cpu")
        for number in range(count):
            send(number)
        time.sleep(0.05)
        return (self._ask("cpu") - before_s) / count * 1e6

    def _ask(self, what: str) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> float:
        assert self._process.stdout is not None
        return float(self._process.stdout.readline())


def main() -> int:
    """Print a line for each way: microseconds of CPU for a message that comes alone, and in a burst; memory."""
    if len(sys.argv) > 1:
        uvloop.run(_serve(sys.argv[1]))
        return 0
    servers = {way: _Server(way) for way in WAYS}
    for _ in range(ROUNDS):
        for server in servers.values():
            server.send_alone()
            server.send_bursts()
    print(f"{'':<26} {'alone, µs':>18} {'in bursts, µs':>18} {'idle, KiB':>10}")  # noqa: T201
    for way, server in servers.items():
        alone, bursts = (f"{min(of):.1f}, {statistics.median(of):.1f}" for of in (server.alone_us, server.bursts_us))
        print(f"{way:<26} {alone:>18} {bursts:>18} {server.idle_kib():>10.1f}")  # noqa: T201
        server.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
