"""The frames of the load generator: what it reads of server events, and the text of what it sends.

One decoder reads the few fields that are needed of every server event, wherever they stand; unknown fields are skipped.
Measured on a 215-byte transform: this decoder 0.29 µs, slicing the bytes 0.46 to 0.60 µs. It does not use the structs
of common/messages.py, which decode and check every field: a generator must cost less than what it measures.
"""

from collections.abc import Callable
from typing import Final

from msgspec import Struct, json

from loadtest.plan import WRAP_US

TRANSFORM_EVENT: Final = "avatar_transform_broadcast"


class Who(Struct, gc=False):
    """The member of a `member_joined`."""

    userId: str = ""  # noqa: N815


class Payload(Struct, gc=False):
    """The fields of any payload that the generator looks at."""

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


class ServerFrame(Struct, gc=False):
    """The fields of any envelope that the generator looks at. A reliable event has an `epoch` above 0."""

    t: str
    payload: Payload
    seq: int = 0
    epoch: int = 0
    re: str = ""


decode: Final[Callable[[bytes | memoryview], ServerFrame]] = json.Decoder(ServerFrame).decode
"""Raises `msgspec.DecodeError` (or its `ValidationError`) for what is no server event."""

_encode: Final = json.Encoder().encode


def join_room(room_id: str, user: dict[str, str], token: str, ts_ms: int) -> bytes:
    """Return a `join_room` frame."""
    payload = {"roomId": room_id, "user": user, "token": token}
    return _encode({"v": 1, "t": "join_room", "ts": ts_ms, "payload": payload})


def leave_room(room_id: str, ts_ms: int) -> bytes:
    """Return a `leave_room` frame."""
    return _encode({"v": 1, "t": "leave_room", "ts": ts_ms, "payload": {"roomId": room_id}})


def heartbeat(room_id: str, ts_ms: int) -> bytes:
    """Return a `heartbeat` frame.

    It leaves out `lastSeq`: a replay would fill, and so hide, the very gaps that the run looks for.
    """
    return _encode({"v": 1, "t": "heartbeat", "ts": ts_ms, "payload": {"roomId": room_id, "clientTimeMs": ts_ms}})


def chat(room_id: str, intended_us: int, message_id: str, ts_ms: int) -> bytes:
    """Return a `local_chat` frame whose text carries the intended time of sending."""
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
