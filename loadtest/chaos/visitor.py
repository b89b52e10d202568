"""A connection that is made anew whenever it is lost, by the contract: with a backoff, and as `server_draining` says.

What is said over it, and what is made of what comes, is a subclass's.
"""

import asyncio
import random
import time
from abc import ABC, abstractmethod
from typing import Any, Final

from msgspec import json
from picows import WSCloseCode, WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from common.messages import SUBPROTOCOL
from loadtest.chaos.journal import Log
from loadtest.observations import Closed, Opened

CONNECT_TIMEOUT_S: Final = 3.0
BACKOFF_S: Final = (0.1, 0.2, 0.4, 0.8, 1.5)
ABNORMAL_CLOSURE: Final = 1006

_encode: Final = json.Encoder().encode


def now_ms() -> float:
    """Return the clock of all observations, milliseconds."""
    return time.time() * 1000


class Visitor(ABC):
    """One person, on one connection at a time. `run` lives until `stop`."""

    def __init__(self, user: str, urls: list[str], log: Log, dice: random.Random) -> None:
        self.user = user
        self.log = log
        self.edge = dice.randrange(len(urls))
        """Which of the URLs it is connected to, or tries next."""
        self.joined = False
        self.joined_ms: list[float] = []
        """When it was let in, each time."""
        self.lost_ms: list[float] = []
        """When its connection ended, each time."""
        self.resynced_ms: list[float] = []
        """When it had to start from a new state, after `resync` or a resume that was not recovered."""
        self.refusals = 0
        self.resent = 0
        self.failures: list[str] = []
        """What no fault excuses: frames that are none, refused tokens, errors that blame the client."""
        self._urls = urls
        self._dice = dice
        self._socket: _Socket | None = None
        self._stopping = False
        self._come_back_s = 0.0
        self._leave_timer: asyncio.TimerHandle | None = None

    @abstractmethod
    def take(self, data: bytes) -> None:
        """Take one frame."""

    @abstractmethod
    def left(self) -> None:
        """Take note that the connection is gone."""

    async def run(self) -> None:
        """Be connected, and connect again, until `stop`."""
        attempt = 0
        while not self.is_stopping():
            await asyncio.sleep(max(0.0, self._come_back_s - time.monotonic()))
            socket = _Socket(self)
            try:
                await ws_connect(
                    lambda socket=socket: socket,
                    self._urls[self.edge],
                    websocket_handshake_timeout=CONNECT_TIMEOUT_S,
                    extra_headers={"Sec-WebSocket-Protocol": SUBPROTOCOL},
                )
            except (OSError, WSError, TimeoutError):
                self.edge = (self.edge + 1) % len(self._urls)
                self._come_back_s = time.monotonic() + self._backoff_s(attempt)
                attempt += 1
                continue
            if self.is_stopping():
                socket.close()
            await socket.closed.wait()
            attempt = 0 if self.joined else attempt + 1
            self._ended(socket.close_code or ABNORMAL_CLOSURE)
            self._come_back_s = max(self._come_back_s, time.monotonic() + self._backoff_s(attempt))

    def opened(self, socket: "_Socket") -> None:
        """Take note that a connection is open."""
        self._socket = socket
        self.log.add(Opened(self.user, self.user, now_ms(), ""))

    def is_stopping(self) -> bool:
        """Whether it was told to leave for good."""
        return self._stopping

    def stop(self) -> None:
        """Leave for good."""
        self._stopping = True
        if self._socket is not None:
            self._socket.close()

    def _backoff_s(self, attempt: int) -> float:
        return BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)] * self._dice.uniform(0.5, 1.0)

    def _ended(self, code: int) -> None:
        at_ms = now_ms()
        self.log.add(Closed(self.user, self.user, at_ms, "", code))
        self.lost_ms.append(at_ms)
        self._socket = None
        self.joined = False
        self.left()
        if self._leave_timer is not None:
            self._leave_timer.cancel()
            self._leave_timer = None
        # As a load balancer would: any other than the one that went.
        others = [number for number in range(len(self._urls)) if number != self.edge] or [self.edge]
        self.edge = self._dice.choice(others)

    def _draining(self, wait_s: float) -> None:
        self._come_back_s = time.monotonic() + wait_s
        socket = self._socket
        if socket is not None:
            self._leave_timer = asyncio.get_running_loop().call_later(wait_s, socket.close)

    def _send(self, t: str, payload: dict[str, Any], **envelope: str) -> None:
        if self._socket is not None:
            self._socket.send(_encode({"v": 1, "t": t, "ts": int(time.time() * 1000), "payload": payload, **envelope}))


class _Socket(WSListener):
    """One WebSocket of a visitor."""

    def __init__(self, visitor: Visitor) -> None:
        self.closed = asyncio.Event()
        self.close_code = 0
        self.is_welcome = False
        self._visitor = visitor
        self._transport: WSTransport | None = None

    def send(self, data: bytes) -> None:
        """Send a text frame, unless the socket is closed."""
        if self._transport is not None and not self.closed.is_set():
            self._transport.send(WSMsgType.TEXT, data)

    def close(self) -> None:
        """Close from this side."""
        if self._transport is not None and not self.closed.is_set():
            self.close_code = self.close_code or 1000
            self._transport.send_close(WSCloseCode.OK)
            self._transport.disconnect()

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        # `welcome`, and all that follows from it, may come before `ws_connect` has returned.
        self._visitor.opened(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            self._visitor.take(frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            payload = frame.get_payload_as_bytes()
            self.close_code = self.close_code or (int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005)
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.closed.set()
