"""What clients send: the rim between a transport and `client.py`.

aiohttp's parser is fed here directly, without the queue, the future and the task that aiohttp has between its parser
and who reads: each frame is handled within the call that brings its last byte, and nothing waits. The parser refuses
what is against RFC 6455 and what is too large; messages in several frames arrive as one.
"""

import asyncio
from typing import Any, Final, Protocol, cast

from aiohttp import WSMsgType
from aiohttp._websocket.reader import WebSocketDataQueue  # The parser takes nothing else to put frames into.
from aiohttp.http import WebSocketError, WebSocketReader, WSCloseCode

from common.messages import FRAME_BYTES_MAX

NO_STATUS: Final = 1005
ABNORMAL_CLOSURE: Final = 1006
"""RFC 6455 section 7.1.5: the socket ended without a close frame."""

_PRIVATE_USE_END: Final = 5_000
"""RFC 6455 section 7.4.2: close codes end here."""

_TEXT: Final = WSMsgType.TEXT
"""By itself, since it is asked for at every message: a member of an enumeration takes longer to find."""


class Receiver(Protocol):
    """Who is told what a client sent, in order."""

    def receive(self, frame: bytes) -> None:
        """A text message; its bytes need not be UTF-8."""
        ...

    def receive_binary(self) -> None:
        """A binary message, of which the contract has none."""
        ...

    def receive_ping(self, payload: bytes) -> None:
        """A ping, to be answered with the same payload."""
        ...

    def receive_close(self, code: int) -> None:
        """The client ends the connection; `NO_STATUS` where it does not say why."""
        ...

    def refuse(self, code: int, reason: str) -> None:
        """What the client sent cannot be read on; nothing comes after it."""
        ...

    def fail(self, error: Exception) -> None:
        """A call of this receiver raised."""
        ...

    def lost(self) -> None:
        """The socket is gone. The last call."""
        ...


class SocketReader(WebSocketDataQueue, asyncio.Protocol):
    """Reads one client's socket. A `WebSocketDataQueue` in which nothing is queued."""

    __slots__ = ("_feed", "_header", "_receiver")

    # All that the parser asks a queue for. The rest would serve to wait, and takes 900 bytes of each connection.
    _size = 0
    _limit = 0

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        parser = WebSocketReader(self, FRAME_BYTES_MAX + 1, compress=False, decode_text=False)
        self._feed = parser.feed_data
        self._header: bytes | None = b""
        """The first bytes of the first frame, until it is known to be masked."""

    # --- asyncio.Protocol ---------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._header is None or self._is_masked(data):
            self._feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._receiver.lost()

    # --- WebSocketDataQueue -------------------------------------------------------------------------------

    def feed_data(self, data: Any, size: int) -> None:
        """A whole message, or a control frame, was read."""
        kind, content, _ = data
        try:
            if kind is _TEXT:
                self._receiver.receive(content)
            elif kind is WSMsgType.BINARY:
                self._receiver.receive_binary()
            elif kind is WSMsgType.PING:
                self._receiver.receive_ping(bytes(content))
            elif kind is WSMsgType.CLOSE:
                self._close(content)
        except Exception as error:
            # The parser would take it for a fault of the client.
            self._receiver.fail(error)

    def set_exception(self, exc: BaseException, *_: Any) -> None:
        """The parser reads no further."""
        if isinstance(exc, WebSocketError):
            self._receiver.refuse(exc.code, "frame refused")
        else:
            self._receiver.fail(cast(Exception, exc))

    # --- helpers ------------------------------------------------------------------------------------------

    def _close(self, code: int) -> None:
        # RFC 6455 section 7.4.1: it stands for the want of a close frame, and is in none. The parser lets it pass.
        if code == ABNORMAL_CLOSURE or code >= _PRIVATE_USE_END:
            self._receiver.refuse(WSCloseCode.PROTOCOL_ERROR, "close code refused")
        else:
            self._receiver.receive_close(code or NO_STATUS)

    def _is_masked(self, data: bytes) -> bool:
        """RFC 6455 section 5.1: who does not mask is refused. The parser would not; who masks one frame masks all."""
        header = (self._header or b"") + data[:2]
        if len(header) < 2:
            self._header = header
            return True
        self._header = None
        if not header[1] & 0x80:
            self._receiver.refuse(WSCloseCode.PROTOCOL_ERROR, "frame is not masked")
            return False
        return True
