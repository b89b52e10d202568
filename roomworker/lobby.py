"""Rules of a `lobby:` room: chat among many thousands, who see how many there are, but no list of them."""

from typing import ClassVar

from msgspec import UNSET

from common.errors import ErrorCode
from common.messages import ChatSend, Report, RoomState, ServerEvent, Typing, You, refusal
from common.settings import WorkerSettings
from common.token_bucket import Rate
from roomworker.chat import past_chats, send_chat
from roomworker.crowd import CrowdRules
from roomworker.member import Member
from roomworker.reports import file_report
from roomworker.rules import Incoming, RoomServices


class LobbyRules(CrowdRules):
    """A lobby, as docs/protocol.md describes it."""

    takes_calls = True

    kind: ClassVar[str] = "lobby"

    def __init__(self, settings: WorkerSettings) -> None:
        super().__init__(settings)
        self.latest_count = settings.lobby_latest_messages
        self._rate = Rate(settings.chat_per_second, settings.chat_burst)
        self._characters_max = settings.lobby_chat_characters_max

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
