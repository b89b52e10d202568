"""Socket.IO, as Node's and Python's servers speak it: protocol 5 on Engine.IO 4, by WebSocket alone.

Each message is one WebSocket message: a digit of Engine.IO, for messages a digit of Socket.IO, then JSON.
Source: the protocol documents of socket.io-protocol and engine.io-protocol, in the repositories of the project.
"""

from collections.abc import Callable, Sequence
from typing import Final

import aiohttp
from msgspec import Struct, json

from loadtest.dialect import Dialect, JoinError, Link, PlainDialect, Update
from loadtest.dialects.transform_body import BROADCAST_EVENT, EVENT, Body, json_template, now_ms
from loadtest.frames import text_frame

_OPEN: Final = b"0"
_PING: Final = b"2"
_PONG: Final = b"3"
_NOOP: Final = b"6"
_CONNECT: Final = b"40"
_DISCONNECT: Final = b"41"
_EVENT: Final = b"42"
_CONNECT_ERROR: Final = b"44"


class _Event(Struct, array_like=True, gc=False):
    name: str
    body: Body


_decode_event: Final[Callable[[bytes], _Event]] = json.Decoder(_Event).decode


class SocketIO(PlainDialect):
    """See `Dialect`."""

    name = "socketio"
    has_one_order = False

    async def enter(self, _http: aiohttp.ClientSession, base_url: str, link: Link) -> None:
        """Connect, naming the room; the server has put the member there when it answers."""
        await link.open(f"ws{base_url.removeprefix('http')}/socket.io/?EIO=4&transport=websocket")
        greeting = await link.receive()
        if not greeting.startswith(_OPEN):
            raise JoinError(f"{base_url} began with {greeting[:80]!r} instead of an open packet")
        link.send(text_frame(_CONNECT + json.encode({"room": link.room_id})))
        while True:
            answer = await link.receive()
            if answer.startswith(_CONNECT_ERROR):
                raise JoinError(f"{link.user_id} may not connect: {answer[2:200].decode(errors='replace')}")
            if answer.startswith(_CONNECT):
                return
            self.control(link, answer)

    def transforms(self, link: Link) -> Callable[[int, int], bytes]:
        """Return what makes the frames of the member's transforms."""
        template = b'42["%s",' % EVENT.encode() + json_template(link.room_id, link.user_id, named=False) + b"]"

        def transform(seq: int, intended_us: int) -> bytes:
            return text_frame(template % (now_ms(), seq, intended_us))

        return transform

    def read(self, unit: bytes) -> Sequence[Update] | None:
        """Return the transform of an event."""
        if not unit.startswith(_EVENT):
            return None
        event = _decode_event(unit[2:])
        if event.name != BROADCAST_EVENT:
            raise ValueError(f"the server sent an event {event.name!r}")
        return (event.body.payload.update(),)

    def control(self, link: Link, unit: bytes) -> None:
        """Answer a ping."""
        if unit == _PING:
            link.send(text_frame(_PONG))
        elif unit != _NOOP:
            raise ValueError(f"the server sent {unit[:80]!r}")

    def leave(self, _link: Link) -> bytes:
        """Return a disconnect packet."""
        return text_frame(_DISCONNECT)


def make_dialect() -> Dialect:
    """Return the dialect."""
    return SocketIO()
