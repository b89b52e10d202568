"""Roomring's own wire contract, as far as the generator needs it.

One decoder reads the few fields that are needed of every server event, wherever they stand; unknown fields are skipped.
It does not use the structs of common/messages.py, which decode and check every field: a generator must cost less than
what it measures. The coordinate x of a transform carries the intended time.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final

import aiohttp
from msgspec import Struct, json

from common.messages import SUBPROTOCOL
from loadtest.dialect import Chat, Dialect, JoinError, Link, PlainDialect, Update
from loadtest.frames import text_frame
from loadtest.plan import WRAP_US

TRANSFORM_EVENT: Final = "avatar_transform_broadcast"
_TRANSFORM_NAME: Final = TRANSFORM_EVENT.encode()


class Who(Struct, gc=False):
    """The member of a `member_joined`."""

    userId: str = ""  # noqa: N815


class Payload(Struct, gc=False):
    """The fields of any payload that a load test looks at."""

    userId: str = ""  # noqa: N815
    seq: int = 0
    x: float = 0.0
    epoch: int = 0
    recovered: bool = False
    messageId: str = ""  # noqa: N815
    text: str = ""
    code: str = ""
    message: str = ""
    event: str = ""
    emoteId: str = ""  # noqa: N815
    member: Who | None = None
    heartbeatIntervalMs: int = 0  # noqa: N815
    reason: str | None = ""
    clientTimeMs: int = 0  # noqa: N815


class ServerFrame(Struct, gc=False):
    """The fields of any envelope that a load test looks at. A reliable event has an `epoch` above 0."""

    t: str
    payload: Payload
    seq: int = 0
    epoch: int = 0
    re: str = ""
    replay: bool = False


decode: Final[Callable[[bytes | memoryview], ServerFrame]] = json.Decoder(ServerFrame).decode
"""Raises `msgspec.DecodeError` (a ValueError) for what is no server event."""

_encode: Final = json.Encoder().encode


class Roomring(PlainDialect):
    """See `Dialect`."""

    name = "roomring"
    has_one_order = True
    has_chat = True

    async def enter(self, http: aiohttp.ClientSession, base_url: str, link: Link) -> None:
        """Get the member's token and join its room.

        It connects to the edge that was asked, not to the `wsUrl` of the answer: that may be one address for all edges.
        """
        token = await fetch_token(http, base_url, link.room_id, user_of(link))
        # http:// becomes ws://, and https:// becomes wss://.
        await link.open(f"ws{base_url.removeprefix('http')}/ws", {"Sec-WebSocket-Protocol": SUBPROTOCOL})
        welcome = decode(await link.receive())
        if welcome.t != "welcome":
            raise JoinError(f"{base_url} began with {welcome.t} instead of welcome")
        if welcome.payload.heartbeatIntervalMs > 0:
            link.heartbeat_s = welcome.payload.heartbeatIntervalMs / 1000
        link.send(text_frame(join_room(link.room_id, user_of(link), token, _now_ms())))
        while True:
            answer = decode(await link.receive())
            match answer.t:
                case "room_state":
                    link.order_starts(answer.payload.epoch, answer.payload.seq)
                    return
                case "error" | "auth_error":
                    text = f"{answer.payload.code} ({answer.payload.message})"
                    raise JoinError(f"{link.user_id} may not join {link.room_id}: {text}")

    def transforms(self, link: Link) -> Callable[[int, int], bytes]:
        """Return what makes the frames of the member's transforms."""
        template = transform_template(link.room_id)

        def transform(seq: int, intended_us: int) -> bytes:
            return text_frame(template % (_now_ms(), seq, intended_us))

        return transform

    def read(self, unit: bytes) -> Sequence[Update] | None:
        """Return the transform of an event."""
        # Most of what is read before a room is full are events of who comes; they are decoded once, in `control`.
        if _TRANSFORM_NAME not in unit:
            return None
        event = decode(unit)
        if event.t != TRANSFORM_EVENT:
            return None
        payload = event.payload
        return (Update(payload.userId, payload.seq, int(payload.x)),)

    def control(self, link: Link, unit: bytes) -> None:
        """Take any other event."""
        event = decode(unit)
        payload = event.payload
        match event.t:
            case "room_state":
                # After a repair by the edge the missed events still follow.
                if not payload.recovered:
                    link.order_starts(payload.epoch, payload.seq)
            case "ack":
                link.acknowledged(event.re, payload.messageId or event.re, payload.seq)
            case "error" | "auth_error":
                link.refused(event.re, payload.code)
            case "rate_limited":
                link.rate_limited(payload.event, is_transform=payload.event == "avatar_transform")
            case "resync":
                link.resynced()
            case "chat_broadcast":
                link.chatted(event.epoch, event.seq, payload.messageId, chat_intended_us(payload.text))
            case _ if event.epoch > 0:
                who = payload.userId or (payload.member.userId if payload.member else "")
                link.reliable(event.epoch, event.seq, f"{event.t} {who} {payload.emoteId}")

    def heartbeat(self, link: Link) -> bytes:
        """Return a `heartbeat`."""
        return text_frame(heartbeat(link.room_id, _now_ms()))

    def chat(self, link: Link, number: int, intended_us: int) -> Chat:
        """Return a `local_chat`."""
        message_id = f"{link.room_id}-{number}"
        return Chat(message_id, text_frame(local_chat(link.room_id, intended_us, message_id, _now_ms())))

    def leave(self, link: Link) -> bytes:
        """Return a `leave_room`."""
        return text_frame(leave_room(link.room_id, _now_ms()))


def make_dialect() -> Dialect:
    """Return the dialect."""
    return Roomring()


async def fetch_token(http: aiohttp.ClientSession, base_url: str, room_id: str, user: dict[str, str]) -> str:
    """Return a guest's token for a room.

    Raises:
        JoinError: the edge gives none.
    """
    body = {"roomId": room_id, "user": user, "device": "desktop"}
    try:
        async with http.post(f"{base_url}/rooms/join", json=body) as response:
            if response.status != 200:
                text = (await response.text())[:300].strip()
                raise JoinError(f"{base_url}/rooms/join refused {user['userId']}: {response.status} {text}")
            return str((await response.json())["realtimeToken"])
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise JoinError(f"{base_url} is not reachable: {str(error) or type(error).__name__}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise JoinError(f"{base_url}/rooms/join answered without a realtimeToken") from error


# --- what is sent -------------------------------------------------------------------------------------------------


def user_of(link: Link) -> dict[str, str]:
    """Return a member's user as the contract writes it."""
    return {"userId": link.user_id, "displayName": f"Member {link.number}", "avatarId": "bench"}


def join_room(room_id: str, user: dict[str, str], token: str, ts_ms: int) -> bytes:
    """Return a `join_room` event."""
    payload = {"roomId": room_id, "user": user, "token": token}
    return _encode({"v": 1, "t": "join_room", "ts": ts_ms, "payload": payload})


def leave_room(room_id: str, ts_ms: int) -> bytes:
    """Return a `leave_room` event."""
    return _encode({"v": 1, "t": "leave_room", "ts": ts_ms, "payload": {"roomId": room_id}})


def heartbeat(room_id: str, ts_ms: int) -> bytes:
    """Return a `heartbeat` event.

    It leaves out `lastSeq`: a replay would fill, and so hide, the very gaps that the run looks for.
    """
    return _encode({"v": 1, "t": "heartbeat", "ts": ts_ms, "payload": {"roomId": room_id, "clientTimeMs": ts_ms}})


def local_chat(room_id: str, intended_us: int, message_id: str, ts_ms: int) -> bytes:
    """Return a `local_chat` event whose text carries the intended time of sending."""
    payload = {"roomId": room_id, "text": f"{_CHAT_TEXT}{intended_us}", "mode": "local"}
    return _encode({"v": 1, "t": "local_chat", "ts": ts_ms, "id": message_id, "payload": payload})


_CHAT_TEXT: Final = "bench "


def chat_intended_us(text: str) -> int | None:
    """Return the intended time of sending that a chat text carries, or None when it is not one of ours."""
    number = text.removeprefix(_CHAT_TEXT)
    return int(number) if number != text and number.isdecimal() else None


def transform_template(room_id: str) -> bytes:
    """Return the text of a member's transforms, to be filled with `%`: ts in ms, seq, intended time modulo `WRAP_US`.

    The other numbers are there to give the frame the size that a walking avatar's has.
    """
    room = _encode(room_id).replace(b"%", b"%%")
    return (
        b'{"v":1,"t":"avatar_transform","ts":%d,"payload":{"roomId":'
        + room
        + b',"seq":%d,"x":%d.0,"y":1.25,"z":-17.375,'
        b'"rotY":1.5707,"anim":"walk","speaking":false}}'
    )


assert WRAP_US <= 1_000_000_000, "a coordinate is at most 1e9"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
