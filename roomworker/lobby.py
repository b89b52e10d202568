"""Rules of a `lobby:` room: chat among many thousands, who see how many there are, but no list of them."""

from typing import Any, ClassVar, Final

from msgspec import UNSET, Struct, msgpack

from common.errors import ErrorCode
from common.ids import UserId
from common.messages import (
    ChatSend,
    MemberCount,
    Report,
    RoomState,
    ServerEvent,
    Typing,
    You,
    refusal,
)
from common.settings import WorkerSettings
from common.token_bucket import Rate
from roomworker.chat import past_chats, send_chat
from roomworker.member import Member
from roomworker.reports import file_report
from roomworker.rules import Incoming, PlainRules, RoomServices
from roomworker.typing_marks import TypingMarks

COUNT_INTERVAL_MS: Final = 1_000
"""How often a lobby tells its count at most: in a crowd somebody comes or goes all the time."""

COUNT_ALARM: Final = "count"

NOBODY: Final = UserId("")
"""Stands for the room itself as the cause of an event: nobody can block it."""


class LobbyState(Struct, array_like=True):
    """When the count was told last."""

    told_at_ms: int = 0


_encoder: Final = msgpack.Encoder()
_decoder: Final = msgpack.Decoder(LobbyState)


class LobbyRules(PlainRules):
    """A lobby, as docs/protocol.md describes it."""

    takes_calls = True

    kind: ClassVar[str] = "lobby"

    def __init__(self, settings: WorkerSettings) -> None:
        self.reconnect_window_ms = settings.reconnect_window_ms
        self.latest_count = settings.lobby_latest_messages
        self._rate = Rate(settings.chat_per_second, settings.chat_burst)
        self._characters_max = settings.lobby_chat_characters_max
        self._typing = TypingMarks(settings)

    def new_room_state(self) -> LobbyState:
        """See `RoomRules.new_room_state`."""
        return LobbyState()

    def encode_room_state(self, state: Any) -> bytes:
        """See `RoomRules.encode_room_state`."""
        return _encoder.encode(state)

    def decode_room_state(self, data: bytes) -> LobbyState:
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
            self._tell(room, room.member_count)
        else:
            self._typing.expire(room)

    def snapshot(self, room: RoomServices, reader: Member, *, recovered: bool) -> RoomState:
        """See `RoomRules.snapshot`."""
        return RoomState(
            room.room_id,
            room.now_ms,
            [],
            You(reader.user_id),
            room.epoch,
            room.seq,
            recovered,
            memberCount=room.member_count,
            messages=past_chats(room.latest_events(reader, self.latest_count)) if self.latest_count else UNSET,
        )

    def handle(self, room: RoomServices, incoming: Incoming) -> ServerEvent | None:
        """See `RoomRules.handle`."""
        message = incoming.message
        match message:
            case ChatSend():
                self._typing.sent(room, incoming.member)
                return send_chat(room, incoming, message, rate=self._rate, characters_max=self._characters_max)
            case Typing():
                self._typing.typed(room, incoming, message)
                return None
            case Report():
                return file_report(room, incoming, message)
            case _:
                return refusal(ErrorCode.NOT_ALLOWED, room.room_id)

    def _count_changed(self, room: RoomServices, count: int) -> None:
        due_ms = room.state.told_at_ms + COUNT_INTERVAL_MS
        if room.now_ms >= due_ms:
            self._tell(room, count)
        else:
            room.set_alarm(COUNT_ALARM, due_ms)

    def _tell(self, room: RoomServices, count: int) -> None:
        room.state.told_at_ms = room.now_ms
        room.touch_room()
        room.show(MemberCount(room.room_id, count), NOBODY)
