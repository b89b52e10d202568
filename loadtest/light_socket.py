"""A WebSocket of a client that costs little: no task, no queue, a few hundred bytes while nothing comes.

What many receive alike need not be read by each: every read is offered to its owner as it is, before it is cut into
frames, and each frame with its head.
"""

import asyncio
import os
from collections.abc import Mapping
from typing import Final, Protocol, cast
from urllib.parse import urlsplit

from loadtest import frames
from loadtest.handshake import ANSWER_BYTES_MAX, KEY_BYTES, HandshakeError, request, split_answer

NORMAL_CLOSURE: Final = 1000
NO_STATUS: Final = 1005
ABNORMAL_CLOSURE: Final = 1006

_END: Final = b"\r\n\r\n"


class Refused(Exception):
    """The upgrade was answered by something else than a WebSocket."""

    def __init__(self, status: int, retry_after_s: float | None) -> None:
        super().__init__(status, retry_after_s)
        self.status = status
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"refused with {self.status}"


class Unreachable(Exception):
    """No connection, or no answer in time, or it was lost meanwhile. The text says which."""


class Owner(Protocol):
    """Who hears what comes. Nothing is called any more after `cut` or `close`."""

    def take_read(self, data: bytes) -> bool:
        """Take whole frames as they were read. Returns: whether it knew them; else they follow one by one."""
        ...

    def take_frames(self, messages: list[bytes], data: bytes) -> None:
        """Take the messages of a read, each as the frame that it came in.

        Args:
            data: the read, where it was just these frames and nothing else, for `take_read` to know another time;
                else empty.
        """
        ...

    def take_end(self, code: int) -> None:
        """The connection ended, with this close code, and it was not us who ended it."""
        ...


class LightSocket(asyncio.Protocol):
    """One connection. Make it with `connect`."""

    __slots__ = ("_answer", "_key", "_opened", "_owner", "_transport")

    def __init__(self, url: str, headers: Mapping[str, str], owner: Owner) -> None:
        """Prepare; see `connect`."""
        self._key = os.urandom(KEY_BYTES)
        self._owner: Owner | None = owner
        self._opened: asyncio.Future[None] | None = asyncio.get_running_loop().create_future()
        self._answer = request(url, self._key, headers)
        """The request, until it is sent; then what was received and is not a whole answer, or frame, yet."""
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def connect(cls, url: str, headers: Mapping[str, str], timeout_s: float, owner: Owner) -> "LightSocket":
        """Open a `ws://` or `wss://` URL. The owner may be called before this returns.

        Raises:
            Refused: the server answered, but not with a WebSocket.
            Unreachable: it did not, in time.
        """
        parts = urlsplit(url)
        is_secure = parts.scheme == "wss"
        socket = cls(url, headers, owner)
        opened = socket._opened
        assert opened is not None
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.get_running_loop().create_connection(
                    lambda: socket,
                    parts.hostname or "",
                    parts.port or (443 if is_secure else 80),
                    ssl=is_secure or None,
                )
                await opened
        except (OSError, HandshakeError, TimeoutError) as error:
            socket.cut()
            raise Unreachable(f"{url} does not answer: {str(error) or type(error).__name__}") from error
        except Refused:
            socket.cut()
            raise
        return socket

    @property
    def is_open(self) -> bool:
        """Whether neither side has ended it."""
        return self._transport is not None

    def send(self, payload: bytes) -> None:
        """Send a text message; nothing where the connection has ended."""
        if self._transport is not None:
            self._transport.write(frames.text_frame(payload))

    def cut(self) -> None:
        """End the connection without a word, as a network does."""
        self._owner = None
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def close(self) -> None:
        """End the connection in order."""
        self._owner = None
        self._close(NORMAL_CLOSURE)

    # --- of the event loop --------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the WebSocket."""
        # That of uvloop is no subclass.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._answer)
        self._answer = b""

    def data_received(self, data: bytes) -> None:
        """Take what was read, however it is cut."""
        owner = self._owner
        is_whole = self._opened is None and not self._answer
        if is_whole and owner is not None and owner.take_read(data):
            return
        if self._answer:
            data = self._answer + data
            self._answer = b""
        if self._opened is not None:
            rest = self._take_answer(data)
            if rest is None:
                return
            data = rest
        messages: list[bytes] = []
        controls: list[bytes] = []
        at = 0
        while (end := frames.frame_end(data, at)) > 0:
            frame = data[at:end]
            at = end
            (messages if frames.is_message(frame) else controls).append(frame)
        if at < len(data):
            self._answer = data[at:]
        if messages and owner is not None:
            owner.take_frames(messages, data if is_whole and not controls and not self._answer else b"")
        for frame in controls:
            self._control(frame)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note of the end of the connection."""
        self._transport = None
        if self._opened is not None and not self._opened.done():
            self._opened.set_exception(HandshakeError("it closed the connection"))
        self._ended(ABNORMAL_CLOSURE)

    # --- helpers ------------------------------------------------------------------------------------------

    def _take_answer(self, data: bytes) -> bytes | None:
        """Read the answer to the upgrade. Returns: what follows it; None where it is none, or not all there."""
        opened = self._opened
        assert opened is not None
        if opened.done():
            return None
        try:
            rest = split_answer(data, self._key)
        except HandshakeError as error:
            refusal = refusal_of(data)
            # With a refusal the connection ends; that is no loss of one.
            self._owner = None
            opened.set_exception(error if refusal is None else refusal)
            return None
        if rest is None:
            self._answer = data
            return None
        self._opened = None
        opened.set_result(None)
        return rest

    def _control(self, frame: bytes) -> None:
        payload = frames.payload_of(frame)
        match frames.opcode_of(frame):
            case frames.PING:
                if self._transport is not None:
                    self._transport.write(frames.masked_frame(frames.PONG, payload))
            case frames.CLOSE:
                code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else NO_STATUS
                self._close(code)
                self._ended(code)
            case _:
                pass

    def _close(self, code: int) -> None:
        if self._transport is not None:
            self._transport.write(frames.masked_frame(frames.CLOSE, code.to_bytes(2, "big")))
            self._transport.close()
            self._transport = None

    def _ended(self, code: int) -> None:
        owner, self._owner = self._owner, None
        if owner is not None and self._opened is None:
            owner.take_end(code)


def refusal_of(data: bytes) -> Refused | None:
    """Return what an HTTP answer says that is no upgrade; None where it is no such answer."""
    head, end, _ = data[:ANSWER_BYTES_MAX].partition(_END)
    status, *lines = head.decode("latin-1").split("\r\n")
    words = status.split(" ")
    if not end or len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdecimal() or words[1] == "101":
        return None
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip().lower() == "retry-after" and value.strip().isdecimal():
            return Refused(int(words[1]), float(value))
    return Refused(int(words[1]), None)
