"""Colyseus: matchmaking by HTTP, then binary WebSocket messages: a code, and for room data a type and MessagePack.

Source: `Protocol` in @colyseus/shared-types and @colyseus/core.
"""

from collections.abc import Callable, Sequence
from typing import Final

import aiohttp
from msgspec import msgpack

from loadtest.dialect import Dialect, JoinError, Link, PlainDialect, Update
from loadtest.dialects.transform_body import BROADCAST_EVENT, EVENT, Body, fields
from loadtest.frames import binary_frame

_JOIN_ROOM: Final = 10
_ERROR: Final = 11
_LEAVE_ROOM: Final = 12
_ROOM_DATA: Final = 13


def _type(name: str) -> bytes:
    """Return the type of room data: a short MessagePack string."""
    encoded = msgpack.encode(name)
    assert encoded[0] == 0xA0 | len(name), "a type has at most 31 characters"
    return encoded


_SENT: Final = bytes((_ROOM_DATA,)) + _type(EVENT)
_RECEIVED: Final = bytes((_ROOM_DATA,)) + _type(BROADCAST_EVENT)
_decode_body: Final[Callable[[bytes], Body]] = msgpack.Decoder(Body).decode
_encode: Final = msgpack.Encoder().encode


class Colyseus(PlainDialect):
    """See `Dialect`."""

    name = "colyseus"
    has_one_order = True

    def __init__(self) -> None:
        self._rooms: dict[str, str] = {}
        """Our room -> the id that Colyseus gave it."""

    async def enter(self, http: aiohttp.ClientSession, base_url: str, link: Link) -> None:
        """Reserve a seat in the room, take it, and say that it is taken."""
        seat = await _reserve(http, base_url, link)
        if self._rooms.setdefault(link.room_id, seat["roomId"]) != seat["roomId"]:
            raise JoinError(f"{base_url} made two rooms of {link.room_id}")
        path = f"{seat['processId']}/{seat['roomId']}?sessionId={seat['sessionId']}"
        await link.open(f"ws{base_url.removeprefix('http')}/{path}")
        answer = await link.receive()
        if not answer or answer[0] != _JOIN_ROOM:
            raise JoinError(f"{link.user_id} may not join {link.room_id}: {answer[:200]!r}")
        # Until then the server keeps back what the others send.
        link.send(binary_frame(bytes((_JOIN_ROOM,))))

    def transforms(self, link: Link) -> Callable[[int, int], bytes]:
        """Return what makes the frames of the member's transforms."""
        room_id, user_id = link.room_id, link.user_id

        def transform(seq: int, intended_us: int) -> bytes:
            return binary_frame(_SENT + _encode(fields(room_id, user_id, seq, intended_us)))

        return transform

    def read(self, unit: bytes) -> Sequence[Update] | None:
        """Return the transform of room data."""
        if not unit.startswith(_RECEIVED):
            return None
        return (_decode_body(unit[len(_RECEIVED) :]).payload.update(),)

    def control(self, link: Link, unit: bytes) -> None:
        """Take an error; nothing else is expected."""
        if unit and unit[0] == _ERROR:
            link.refused("", unit[1:200].decode(errors="replace"))
        else:
            raise ValueError(f"the server sent {unit[:80]!r}")

    def leave(self, _link: Link) -> bytes:
        """Return the message of who leaves on purpose."""
        return binary_frame(bytes((_LEAVE_ROOM,)))


def make_dialect() -> Dialect:
    """Return the dialect."""
    return Colyseus()


async def _reserve(http: aiohttp.ClientSession, base_url: str, link: Link) -> dict[str, str]:
    """Return `processId`, `roomId` and `sessionId` of a seat."""
    url = f"{base_url}/matchmake/joinOrCreate/space"
    try:
        async with http.post(url, json={"room": link.room_id}) as response:
            if response.status != 200:
                raise JoinError(f"{url} refused {link.user_id}: {response.status} {(await response.text())[:300]}")
            answer = await response.json()
            return {name: str(answer[name]) for name in ("processId", "roomId", "sessionId")}
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise JoinError(f"{base_url} is not reachable: {error or type(error).__name__}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise JoinError(f"{url} answered without a seat") from error
