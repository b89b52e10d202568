"""What kinds have in common whose rooms may hold a crowd: a count in place of a list, and who is typing. Pure."""

from typing import Any, Final

from msgspec import Struct, msgpack

from common.ids import UserId
from common.messages import MemberCount
from common.settings import WorkerSettings
from roomworker.member import Member
from roomworker.rules import PlainRules, RoomServices
from roomworker.typing_marks import TypingMarks

COUNT_INTERVAL_MS: Final = 1_000
"""How often a room tells its count at most: in a crowd somebody comes or goes all the time."""

COUNT_ALARM: Final = "count"

NOBODY: Final = UserId("")
"""Stands for the room itself as the cause of an event: nobody can block it."""


class CrowdState(Struct, array_like=True):
    """When the count was told last."""

    told_at_ms: int = 0


_encoder: Final = msgpack.Encoder()
_decoder: Final = msgpack.Decoder(CrowdState)


class CrowdRules(PlainRules):
    """For kinds to start from that tell `member_count`, and `typing_broadcast`."""

    def __init__(self, settings: WorkerSettings) -> None:
        self.reconnect_window_ms = settings.reconnect_window_ms
        self._typing = TypingMarks(settings)

    def new_room_state(self) -> CrowdState:
        """See `RoomRules.new_room_state`."""
        return CrowdState()

    def encode_room_state(self, state: Any) -> bytes:
        """See `RoomRules.encode_room_state`."""
        return _encoder.encode(state)

    def decode_room_state(self, data: bytes) -> CrowdState:
        """See `RoomRules.decode_room_state`."""
        return _decoder.decode(data)

    def entered(self, room: RoomServices, member: Member) -> None:
        """See `RoomRules.entered`."""
        self._count_changed(room, room.member_count)

    def left(self, room: RoomServices, member: Member) -> None:
        """See `RoomRules.left`."""
        self._typing.sent(room, member)
        self._count_changed(room, room.member_count - 1)

    def alarm(self, room: RoomServices, name: str) -> None:
        """See `RoomRules.alarm`."""
        if name == COUNT_ALARM:
            self._tell_count(room, room.member_count)
        else:
            self._typing.expire(room)

    def _count_changed(self, room: RoomServices, count: int) -> None:
        due_ms = room.state.told_at_ms + COUNT_INTERVAL_MS
        if room.now_ms >= due_ms:
            self._tell_count(room, count)
        else:
            room.set_alarm(COUNT_ALARM, due_ms)

    def _tell_count(self, room: RoomServices, count: int) -> None:
        room.state.told_at_ms = room.now_ms
        room.touch_room()
        room.show(MemberCount(room.room_id, count), NOBODY)
