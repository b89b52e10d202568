"""A connection with its socket: the rim between the logic (`connection.py`, `hub.py`) and the transport.

What comes in is read by `socket_reader.py`. Writes go to the transport directly, whole frames at a time, gated by how
much is unsent there. Nobody waits for a slow reader: movements are left out for it, and past the hard mark it is
closed and may resume later.
"""

import asyncio
from collections.abc import Iterable
from typing import Final, Protocol

from common.commands import AnyRoomCommand
from common.errors import CloseCode
from common.ids import ConnNumber, Epoch, RoomId, Seq, UserId
from edge.connection import Connection
from edge.frames import close_frame, pong_frame, text_frame
from edge.hub import Hub
from edge.socket_reader import NO_STATUS
from edge.uplink import Uplink

CLOSE_TIMEOUT_S: Final = 3.0
"""How long a client may take to read the last frames and to close its side, before its socket is cut."""

NORMAL_CLOSURE: Final = 1000
INTERNAL_ERROR: Final = 1011


class _Lingering(asyncio.Protocol):
    """Has the socket after our close frame: drops what the client still sends, until its side is closed too.

    A socket that is closed while something is unread, or that receives more after it, answers with a reset;
    and a reset makes the client's kernel throw away what the client has not read yet: the close code, and the
    reason before it (RFC 1122 section 4.2.2.13).
    """

    def __init__(self, before: asyncio.BaseProtocol) -> None:
        self.ended = asyncio.get_running_loop().create_future()
        self._before = before

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed on both sides, or was cut."""
        if not self.ended.done():
            self.ended.set_result(None)
        self._before.connection_lost(exc)


class Observer(Protocol):
    """Who hears what happens to a client, for logs and numbers."""

    def noted(self, client: "Client", event: str, room_id: RoomId | None, detail: str) -> None:
        """See `ConnectionPort.note`."""
        ...

    def heard(self, client: "Client", frame: bytes) -> None:
        """A text message."""
        ...

    def heard_binary(self, client: "Client") -> None:
        """A binary message."""
        ...

    def heard_ping(self, client: "Client") -> None:
        """A ping. It is answered after this, where the client was not closed for it."""
        ...

    def handling_failed(self, client: "Client", error: Exception) -> None:
        """A bug: what the client sent was not handled."""
        ...

    def lost(self, client: "Client") -> None:
        """The socket is gone."""
        ...


class Client:
    """`ConnectionPort`, `Listener` and `Receiver` of one socket."""

    __slots__ = (
        "_ending",
        "_hard_bytes",
        "_hub",
        "_observer",
        "_queued",
        "_soft_bytes",
        "_transport",
        "_uplink",
        "close_code",
        "close_reason",
        "connection",
        "number",
        "opened_at_ms",
        "origin",
    )

    def __init__(
        self,
        number: ConnNumber,
        transport: asyncio.Transport,
        hub: Hub,
        uplink: Uplink,
        observer: Observer,
        *,
        soft_bytes: int,
        hard_bytes: int,
    ) -> None:
        self.connection: Connection
        self.close_code: int | None = None
        self.close_reason = ""
        self.opened_at_ms = 0
        self.origin = ""
        """Of the page that opened it; empty for a program."""
        self.number = number
        self._transport = transport
        self._hub = hub
        self._uplink = uplink
        self._observer = observer
        self._soft_bytes = soft_bytes
        self._hard_bytes = hard_bytes
        self._queued: list[bytes] = []
        self._ending: asyncio.Task[None] | None = None

    # --- ConnectionPort -----------------------------------------------------------------------------------

    def send(self, message: bytes) -> None:
        """See `ConnectionPort.send`. Written at once: such messages are few."""
        self._queued.append(text_frame(message))
        self._hub.delivered += 1
        self.flush()

    def forward(self, command: AnyRoomCommand, *, must: bool) -> bool:
        """See `ConnectionPort.forward`."""
        taken = self._uplink.offer(command.room_id, command, must=must)
        if not taken:
            self._observer.noted(self, "busy", command.room_id, type(command).__name__)
        return taken

    def close(self, code: int, reason: str) -> None:
        """See `ConnectionPort.close`. The rooms are left at once, however long the client takes to go."""
        if self._ending is None:
            # This may find the reader past the hard mark, and close it.
            self.flush()
        if self._ending is None:
            self.close_code, self.close_reason = int(code), reason
            self._end(close_frame(int(code), reason))

    def unsubscribe(self, room_id: RoomId) -> None:
        """See `ConnectionPort.unsubscribe`."""
        self._hub.unsubscribe(self.number, room_id)

    def position(self, room_id: RoomId) -> tuple[Epoch, Seq] | None:
        """See `ConnectionPort.position`."""
        return self._hub.position(room_id)

    def note(self, event: str, room_id: RoomId | None, detail: str) -> None:
        """See `ConnectionPort.note`."""
        self._observer.noted(self, event, room_id, detail)

    # --- Listener -----------------------------------------------------------------------------------------

    @property
    def user_id(self) -> UserId | None:
        """See `Listener.user_id`."""
        return self.connection.user_id

    def push(self, reliable: bytes, everything: bytes) -> bool:
        """See `Listener.push`."""
        if self._ending is not None:
            return True
        if self._transport.get_write_buffer_size() <= self._soft_bytes:
            self._queued.append(everything)
            return True
        if reliable:
            self._queued.append(reliable)
        return reliable is everything

    def is_slow(self) -> bool:
        """See `Listener.is_slow`."""
        return self._transport.get_write_buffer_size() > self._soft_bytes // 2

    def flush(self) -> None:
        """See `Listener.flush`."""
        if not self._queued:
            return
        data = self._queued[0] if len(self._queued) == 1 else b"".join(self._queued)
        self._queued.clear()
        if self._transport.is_closing() or self._ending is not None:
            return
        self._transport.write(data)
        if self._ending is None and self._transport.get_write_buffer_size() > self._hard_bytes:
            self.close(CloseCode.OVERLOADED, "reads too slowly")

    def attached(self, room_id: RoomId, attempt: int) -> bool:
        """See `Listener.attached`."""
        return self.connection.attached(room_id, attempt)

    def detached(self, room_id: RoomId, *, refused: bool) -> None:
        """See `Listener.detached`."""
        self.connection.detached(room_id, refused=refused)

    def is_joined(self, room_id: RoomId) -> bool:
        """See `Listener.is_joined`."""
        return self.connection.is_joined(room_id)

    def rejoin(self, room_id: RoomId, position: tuple[Epoch, Seq] | None) -> AnyRoomCommand | None:
        """See `Listener.rejoin`."""
        return self.connection.rejoin(room_id, position)

    def rooms_wanted(self) -> Iterable[RoomId]:
        """See `Listener.rooms_wanted`."""
        return self.connection.rooms_wanted()

    # --- Receiver -----------------------------------------------------------------------------------------

    def receive(self, frame: bytes) -> None:
        """See `Receiver.receive`."""
        if self._ending is None:
            self._observer.heard(self, frame)

    def receive_binary(self) -> None:
        """See `Receiver.receive_binary`."""
        if self._ending is None:
            self._observer.heard_binary(self)

    def receive_ping(self, payload: bytes) -> None:
        """See `Receiver.receive_ping`. Who does not read gets no pongs: it would not miss them."""
        if self._ending is not None:
            return
        self._observer.heard_ping(self)
        transport = self._transport
        is_going = self._ending is not None or transport.is_closing()
        if not is_going and transport.get_write_buffer_size() <= self._soft_bytes:
            transport.write(pong_frame(payload))

    def receive_close(self, code: int) -> None:
        """See `Receiver.receive_close`. It is answered with the same code (RFC 6455 section 5.5.1)."""
        if self._ending is None:
            self.close_code = code
            self._end(close_frame(NORMAL_CLOSURE if code == NO_STATUS else code, ""))

    def refuse(self, code: int, reason: str) -> None:
        """See `Receiver.refuse`."""
        self.close(code, reason)

    def fail(self, error: Exception) -> None:
        """See `Receiver.fail`."""
        self._observer.handling_failed(self, error)
        self.close(INTERNAL_ERROR, "internal error")

    def lost(self) -> None:
        """See `Receiver.lost`."""
        self._observer.lost(self)

    # --- ending -------------------------------------------------------------------------------------------

    @property
    def is_ending(self) -> bool:
        """Whether the socket is being closed."""
        return self._ending is not None

    async def ended(self) -> None:
        """Wait until a close that is under way is over."""
        if self._ending is not None:
            await self._ending

    def cut(self) -> None:
        """End the socket without a word."""
        self._transport.abort()

    def _end(self, last_frame: bytes) -> None:
        self._ending = asyncio.create_task(self._close(last_frame))
        self.connection.end()

    async def _close(self, last_frame: bytes) -> None:
        transport = self._transport
        if transport.is_closing():
            return
        lingering = _Lingering(transport.get_protocol())
        transport.set_protocol(lingering)
        transport.write(last_frame)
        transport.write_eof()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await lingering.ended
        except TimeoutError:
            # A reader that took nothing for so long will not take the rest.
            transport.abort()
