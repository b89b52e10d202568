"""Who is typing in a room: told to the others, and ended when nobody says so any more. Pure.

Each typist is a record of the room, so that the end comes also from the next owner of the room.
"""

from typing import Final

from common.ids import RoomId, UserId
from common.messages import Typing, TypingBroadcast
from common.settings import WorkerSettings
from common.token_bucket import Rate
from roomworker.member import Member
from roomworker.rules import Incoming, RoomServices

TYPING_RATE: Final = Rate(1.0, 3.0)
"""More often is passed over without a word: clients say it with every key."""

TYPING_ALARM: Final = "typing"
_PREFIX: Final = "y:"


class TypingMarks:
    """The typists of rooms of one kind. Keeps nothing itself."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._ttl_ms = settings.typing_ttl_ms
        self._members_max = settings.typing_members_max

    def typed(self, room: RoomServices, incoming: Incoming, message: Typing) -> None:
        """A member types, or has stopped. Answers nothing."""
        if room.member_count > self._members_max or room.is_muted(incoming.member.user_id, incoming.now_ms):
            return
        event = self.mark(room, incoming, message, room.room_id)
        if event is not None:
            room.show(event, incoming.member.user_id)

    def mark(self, room: RoomServices, incoming: Incoming, message: Typing, shown_as: RoomId) -> TypingBroadcast | None:
        """Note it, and return what to tell; None where there is nothing to."""
        member = incoming.member
        key = _PREFIX + member.user_id
        if not message.payload.typing:
            if key not in room.records:
                return None
            room.drop_record(key)
            return TypingBroadcast(shown_as, member.user_id, member.display_name, typing=False, expiresInMs=0)
        if not room.admit(incoming, "typing", TYPING_RATE, tell=False):
            return None
        until_ms = incoming.now_ms + self._ttl_ms
        room.put_record(key, [until_ms, member.display_name])
        room.set_alarm(TYPING_ALARM, min(until for until, _ in _typists(room).values()))
        return TypingBroadcast(shown_as, member.user_id, member.display_name, typing=True, expiresInMs=self._ttl_ms)

    def sent(self, room: RoomServices, member: Member) -> None:
        """A member sent what was typed, or left: whoever shows it as typing stops by that."""
        room.drop_record(_PREFIX + member.user_id)

    def expire(self, room: RoomServices) -> None:
        """End those that are due, and tell the room."""
        for user_id, name in self.take_expired(room):
            room.show(TypingBroadcast(room.room_id, user_id, name, typing=False, expiresInMs=0), user_id)

    def take_expired(self, room: RoomServices) -> list[tuple[UserId, str]]:
        """End those that are due, and return who they are, with their names."""
        ended: list[tuple[UserId, str]] = []
        for user_id, (until_ms, name) in _typists(room).items():
            if until_ms <= room.now_ms:
                room.drop_record(_PREFIX + user_id)
                ended.append((user_id, name))
        room.set_alarm(TYPING_ALARM, min((until for until, _ in _typists(room).values()), default=0))
        return ended


def _typists(room: RoomServices) -> dict[UserId, tuple[int, str]]:
    return {
        UserId(key.removeprefix(_PREFIX)): (value[0], value[1])
        for key, value in room.records.items()
        if key.startswith(_PREFIX)
    }
