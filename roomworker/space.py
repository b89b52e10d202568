"""Rules of a `space`: avatars that move, local chat, emotes."""

from typing import Any, ClassVar, Final

from msgspec import UNSET, Struct, UnsetType, msgpack

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
    Movement,
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
from roomworker.member import Member
from roomworker.reports import file_report, queue_filtered
from roomworker.rules import Incoming, PlainRules, RoomServices
from roomworker.typing_marks import TypingMarks


class Pose(Struct, array_like=True):
    """Where an avatar stands, and the last transform that put it there: (`edge_id`, `conn`, `join_number`, `seq`).

    Of one whose movements are shown less often, `shown_at_ms` is when the last one was; `is_held`: there is a newer
    one, which is to be shown. `is_stored_held`: the store says so too.
    """

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
    shown_at_ms: int = 0
    is_held: bool = False
    is_stored_held: bool = False


MOVEMENT_ALARM: Final = "movement"

ALARM_STEP_MS: Final = 50
"""Held movements are shown in rounds, at most so often: each looks at all members."""

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
        self._full_rate_max = settings.full_rate_movers_max
        self._reduced_per_second = settings.reduced_movements_per_second
        self._reduced_ms = int(1_000 / settings.reduced_movements_per_second)
        self._characters_max = settings.space_chat_characters_max
        self._typing = TypingMarks(settings)
        self._chat_rate = Rate(settings.chat_per_second, settings.chat_burst)

    def new_state(self) -> Pose:
        """See `RoomRules.new_state`."""
        return Pose()

    def encode_state(self, state: Any) -> bytes:
        """See `RoomRules.encode_state`."""
        state.is_stored_held = state.is_held
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
        if name == MOVEMENT_ALARM:
            self._show_held(room)
        else:
            self._typing.expire(room)

    def snapshot(self, room: RoomServices, reader: Member, *, recovered: bool) -> RoomState:
        """See `RoomRules.snapshot`."""
        movement: Movement | UnsetType = UNSET
        if room.member_count > self._full_rate_max:
            movement = Movement(self._full_rate_max, self._reduced_per_second, not self._is_full_rate(room, reader))
        you = You(reader.user_id)
        return RoomState(room.room_id, room.now_ms, [], you, room.epoch, room.seq, recovered, movement=movement)

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
        if member.newest() is not connection:
            return
        pose, to = _pose(member), message.payload
        if (
            to.seq <= pose.seq
            and pose.join_number == connection.join_number
            and pose.conn == connection.number
            and pose.edge_id == connection.edge_id
        ):
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
        if self._is_full_rate(room, member):
            self._show(room, member)
        else:
            self._show_reduced(room, member)

    def _is_full_rate(self, room: RoomServices, member: Member) -> bool:
        return room.is_among_first(member, self._full_rate_max)

    def _show(self, room: RoomServices, member: Member) -> None:
        pose = _pose(member)
        pose.is_held = False
        if pose.is_stored_held:
            # A new owner must not show again what may be older by then than what was shown.
            room.touch(member)
        room.show(
            AvatarTransformBroadcast(
                room.room_id,
                member.user_id,
                pose.seq,
                pose.x,
                pose.y,
                pose.z,
                pose.rot_y,
                pose.anim,
                pose.speaking,
            ),
            member.user_id,
        )

    def _show_reduced(self, room: RoomServices, member: Member) -> None:
        """Show a movement if the last one is long enough ago; else hold it until then, or until there is a newer."""
        pose = _pose(member)
        if not 0 <= room.now_ms - pose.shown_at_ms < self._reduced_ms:
            pose.shown_at_ms = room.now_ms
            self._show(room, member)
            return
        pose.is_held = True
        due_ms = _round_up(pose.shown_at_ms + self._reduced_ms)
        alarm_ms = room.alarm_at_ms(MOVEMENT_ALARM)
        if not alarm_ms or due_ms < alarm_ms:
            room.set_alarm(MOVEMENT_ALARM, due_ms)

    def _show_held(self, room: RoomServices) -> None:
        """Show the movements that were held for long enough, so that the last one of who stops is seen as well."""
        due_ms: list[int] = []
        for member in room.members():
            pose = _pose(member)
            if not pose.is_held:
                continue
            if 0 <= room.now_ms - pose.shown_at_ms < self._reduced_ms:
                due_ms.append(_round_up(pose.shown_at_ms + self._reduced_ms))
                continue
            pose.shown_at_ms = room.now_ms
            room.touch_later(member)
            self._show(room, member)
        room.set_alarm(MOVEMENT_ALARM, min(due_ms, default=0))

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


def _round_up(at_ms: int) -> int:
    return -(-at_ms // ALARM_STEP_MS) * ALARM_STEP_MS


def _pose(member: Member) -> Pose:
    assert isinstance(member.state, Pose)
    return member.state
