"""The update that peers carry: the fields and the size of Roomring's `avatar_transform_broadcast`. No IO.

Peers send on what they are given, so the member's own id is in it from the start.
"""

import time
from typing import Final

from msgspec import Struct

from loadtest.dialect import Update

EVENT: Final = "avatar_transform"
BROADCAST_EVENT: Final = "avatar_transform_broadcast"


class Transform(Struct, gc=False):
    """The fields of the payload that the generator looks at."""

    userId: str  # noqa: N815
    seq: int
    x: float

    def update(self) -> Update:
        """Return it as the generator knows it."""
        return Update(self.userId, self.seq, int(self.x))


class Body(Struct, gc=False):
    """The envelope, without the name of the event where the server has a place of its own for that."""

    payload: Transform


def json_template(room_id: str, user_id: str, *, named: bool) -> bytes:
    """Return the body as JSON, to be filled with `%`: ts in ms, seq, intended time in microseconds.

    The half in `x` stays in the text when a server on Node reads and writes the number anew; a zero there would not.

    Args:
        room_id, user_id: letters, digits and `-`.
        named: with the name of the event.
    """
    name = f'"t":"{BROADCAST_EVENT}",' if named else ""
    return (
        f'{{"v":1,{name}"ts":%d,"payload":{{"roomId":"{room_id}","userId":"{user_id}","seq":%d,"x":%d.5,'
        '"y":1.25,"z":-17.375,"rotY":1.5707,"anim":"walk","speaking":false}}'
    ).encode()


def fields(room_id: str, user_id: str, seq: int, intended_us: int) -> dict[str, object]:
    """Return the body as values, for a server with a binary encoding."""
    payload = {
        "roomId": room_id,
        "userId": user_id,
        "seq": seq,
        "x": intended_us + 0.5,
        "y": 1.25,
        "z": -17.375,
        "rotY": 1.5707,
        "anim": "walk",
        "speaking": False,
    }
    return {"v": 1, "ts": now_ms(), "payload": payload}


def now_ms() -> int:
    """Return the time of the wall clock."""
    return time.time_ns() // 1_000_000
