"""Rules of a `space`: avatars that move, local chat, emotes."""

from typing import Any, ClassVar, Final

from msgspec import Struct, msgpack

from common.errors import ErrorCode
from common.ids import ConnNumber, EdgeId, UserId
from common.messages import (
    Ack,
    Anim,
    AvatarTransform,
    AvatarTransformBroadcast,
    ChatBroadcast,
    ChatSend,
    Emote,
    EmoteBroadcast,
    ErrorEvent,
    LocalChat,
    MemberJoined,
    MemberLeft,
    Report,
    RoomState,
    ServerEvent,
    Typing,
    You,
    refusal,
)
from common.messages import Member as MemberView
from common.settings import WorkerSettings
from common.token_bucket import Rate
from roomworker.chat import send_chat
from roomworker.member import ConnRef, Member
from roomworker.reports import file_report, queue_filtered
from roomworker.rules import Incoming, PlainRules, RoomServices
from roomworker.typing_marks import TypingMarks


class Pose(Struct, array_like=True):
    """Where an avatar stands, and the last transform that put it there: (`edge_id`, `conn`, `join_number`, `seq`)."""

    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    rot_y: float = 0.0
    anim: Anim = "idle"
    speaking: bool = False
    edge_id: EdgeId = EdgeId("")
    conn: ConnNumber = ConnNumber(0)
    join_number: int = 0
    seq: int = -1


_encoder: Final = msgpack.Encoder()
_decoder: Final = msgpack.Decoder(Pose)


class SpaceRules(PlainRules):
    """An avatar room, as docs/protocol.md describes it."""

    takes_calls = True
    lists_members = True

    kind: ClassVar[str] = "space"

    def __init__(self, settings: WorkerSettings) -> None:
        self.reconnect_window_ms = settings.reconnect_window_ms
        # Half a second's worth may come at once: enough for the jitter of a network, too little to teleport.
        self._transform_rates = {
            "desktop": _half_second(settings.transforms_per_second_desktop),
            "mobile": _half_second(settings.transforms_per_second_mobile),
        }
        self._characters_max = settings.space_chat_characters_max
        self._typing = TypingMarks(settings)
        self._chat_rate = Rate(settings.chat_per_second, settings.chat_burst)

    def new_state(self) -> Pose:
        """See `RoomRules.new_state`."""
        return Pose()

    def encode_state(self, state: Any) -> bytes:
        """See `RoomRules.encode_state`."""
        return _encoder.encode(state)

    def decode_state(self, data: bytes) -> Pose:
        """See `RoomRules.decode_state`."""
        return _decoder.decode(data)

    def entered(self, room: RoomServices, member: Member) -> None:
        """See `RoomRules.entered`."""
        room.sequence(MemberJoined(room.room_id, self.view(member)), member.user_id)

    def renamed(self, room: RoomServices, member: Member) -> None:
        """See `RoomRules.renamed`. Told like a joining, since the new name takes the old one's place."""
        self.entered(room, member)

    def left(self, room: RoomServices, member: Member) -> None:
        """See `RoomRules.left`."""
        self._typing.sent(room, member)
        room.sequence(MemberLeft(room.room_id, member.user_id), member.user_id)

    def alarm(self, room: RoomServices, name: str) -> None:
        """See `RoomRules.alarm`."""
        self._typing.expire(room)

    def snapshot(self, room: RoomServices, reader: Member, *, recovered: bool) -> RoomState:
        """See `RoomRules.snapshot`."""
        return RoomState(room.room_id, room.now_ms, [], You(reader.user_id), room.epoch, room.seq, recovered)

    def view(self, member: Member) -> MemberView:
        """See `RoomRules.view`."""
        pose = _pose(member)
        return MemberView(
            member.user_id,
            member.display_name,
            member.avatar_id,
            pose.x,
            pose.y,
            pose.z,
            pose.rot_y,
            pose.anim,
            pose.speaking,
        )

    def handle(self, room: RoomServices, incoming: Incoming) -> ServerEvent | None:
        """See `RoomRules.handle`."""
        message = incoming.message
        match message:
            case AvatarTransform():
                self._move(room, incoming, message)
                return None
            case LocalChat():
                return self._chat(room, incoming, message)
            case Emote():
                return self._emote(room, incoming, message)
            case Typing():
                self._typing.typed(room, incoming, message)
                return None
            case Report():
                return file_report(room, incoming, message)
            case ChatSend():
                self._typing.sent(room, incoming.member)
                return send_chat(room, incoming, message, rate=self._chat_rate, characters_max=self._characters_max)
            case _:
                return refusal(ErrorCode.NOT_ALLOWED, room.room_id)

    def _move(self, room: RoomServices, incoming: Incoming, message: AvatarTransform) -> None:
        member, connection = incoming.member, incoming.connection
        newest = member.newest()
        if newest is None or newest.ref != connection.ref:
            return
        pose, to = _pose(member), message.payload
        same_join = pose.join_number == connection.join_number and (ConnRef(pose.edge_id, pose.conn) == connection.ref)
        if same_join and to.seq <= pose.seq:
            return
        if not room.admit(incoming, "avatar_transform", self._transform_rates[connection.device], later=True):
            return
        pose.x, pose.y, pose.z, pose.rot_y = to.x, to.y, to.z, to.rotY
        pose.anim, pose.speaking = to.anim, to.speaking
        pose.edge_id, pose.conn, pose.join_number, pose.seq = (
            connection.edge_id,
            connection.number,
            connection.join_number,
            to.seq,
        )
        room.touch_later(member)
        room.show(
            AvatarTransformBroadcast(
                room.room_id, member.user_id, to.seq, to.x, to.y, to.z, to.rotY, to.anim, to.speaking
            ),
            member.user_id,
        )

    def _chat(self, room: RoomServices, incoming: Incoming, message: LocalChat) -> Ack | ErrorEvent:
        member = incoming.member
        if room.is_muted(member.user_id, incoming.now_ms):
            return refusal(ErrorCode.MUTED, room.room_id)
        verdict = room.screen(message.payload.text)
        if verdict.action == "reject":
            return refusal(ErrorCode.FILTERED, room.room_id)
        if not room.admit(incoming, "local_chat", self._chat_rate):
            return refusal(ErrorCode.RATE_LIMITED, room.room_id)
        self._typing.sent(room, member)
        message_id = room.message_id(room.next_seq())
        seq = room.sequence(
            ChatBroadcast(room.room_id, member.user_id, member.display_name, verdict.text, message_id),
            member.user_id,
        )
        queue_filtered(room, member.user_id, seq, message_id, message.payload.text, verdict)
        return Ack(room.room_id, seq, message_id)

    def _emote(self, room: RoomServices, incoming: Incoming, message: Emote) -> Ack | ErrorEvent:
        user_id: UserId = incoming.member.user_id
        if not room.admit(incoming, "emote", self._chat_rate):
            return refusal(ErrorCode.RATE_LIMITED, room.room_id)
        seq = room.sequence(EmoteBroadcast(room.room_id, user_id, message.payload.emoteId), user_id)
        return Ack(room.room_id, seq)


def _half_second(per_second: float) -> Rate:
    return Rate(per_second, max(1.0, per_second / 2))


def _pose(member: Member) -> Pose:
    assert isinstance(member.state, Pose)
    return member.state
