"""A connection with its socket: the rim between the logic (`connection.py`, `hub.py`) and aiohttp.

Writes go to the transport directly, whole frames at a time, gated by how much is unsent there. Nobody waits
for a slow reader: movements are left out for it, and past the hard mark it is closed and may resume later.
"""

import asyncio
from collections.abc import Iterable
from typing import Final, Protocol

from aiohttp import web

from common.commands import AnyRoomCommand
from common.errors import CloseCode
from common.ids import ConnNumber, Epoch, RoomId, Seq, UserId
from edge.connection import Connection
from edge.frames import text_frame
from edge.hub import Hub
from edge.uplink import Uplink

CLOSE_TIMEOUT_S: Final = 3.0
"""How long a client may take to answer a close, before its socket is cut."""


class Observer(Protocol):
    """Who hears what happens to a client, for logs and numbers."""

    def noted(self, client: "Client", event: str, room_id: RoomId | None, detail: str) -> None:
        """See `ConnectionPort.note`."""
        ...


class Client:
    """`ConnectionPort` and `Listener` of one socket."""

    def __init__(
        self,
        number: ConnNumber,
        websocket: web.WebSocketResponse[bool],
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
        self.number = number
        self._websocket = websocket
        self._transport = transport
        self._hub = hub
        self._uplink = uplink
        self._observer = observer
        self._soft_bytes = soft_bytes
        self._hard_bytes = hard_bytes
        self._queued: list[bytes] = []
        self._ending: asyncio.Task[None] | None = None
        # uvloop's default low mark is 16 bytes; ours only matter to aiohttp's own control frames.
        transport.set_write_buffer_limits(high=hard_bytes, low=soft_bytes)

    # --- ConnectionPort -----------------------------------------------------------------------------------

    def send(self, message: bytes) -> None:
        """See `ConnectionPort.send`. Written at once: such messages are few."""
        self._queued.append(text_frame(message))
        self.flush()

    def forward(self, command: AnyRoomCommand, *, must: bool) -> bool:
        """See `ConnectionPort.forward`."""
        taken = self._uplink.offer(command.room_id, command, must=must)
        if not taken:
            self._observer.noted(self, "busy", command.room_id, type(command).__name__)
        return taken

    def close(self, code: CloseCode, reason: str) -> None:
        """See `ConnectionPort.close`."""
        if self._ending is None:
            self.close_code, self.close_reason = int(code), reason
            self.flush()
            self._ending = asyncio.create_task(self._close(code, reason))

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
        if self._transport.is_closing():
            return
        self._transport.write(data)
        if self._ending is None and self._transport.get_write_buffer_size() > self._hard_bytes:
            self.close(CloseCode.OVERLOADED, "reads too slowly")

    def attached(self, room_id: RoomId) -> bool:
        """See `Listener.attached`."""
        return self.connection.attached(room_id)

    def detached(self, room_id: RoomId, *, refused: bool) -> None:
        """See `Listener.detached`."""
        self.connection.detached(room_id, refused=refused)

    def rejoin(self, room_id: RoomId, position: tuple[Epoch, Seq] | None) -> AnyRoomCommand | None:
        """See `Listener.rejoin`."""
        return self.connection.rejoin(room_id, position)

    def rooms_wanted(self) -> Iterable[RoomId]:
        """See `Listener.rooms_wanted`."""
        return self.connection.rooms_wanted()

    # --- ending -------------------------------------------------------------------------------------------

    async def ended(self) -> None:
        """Wait until a close that is under way is over."""
        if self._ending is not None:
            await self._ending

    async def _close(self, code: CloseCode, reason: str) -> None:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._websocket.close(code=code, message=reason.encode())
        except (TimeoutError, ConnectionError, RuntimeError):
            pass
        finally:
            # A reader that took nothing for so long will not take the rest.
            self._transport.abort()
