"""The public messages, declared once.

From these declarations come the decoder, the encoder, the JSON Schema, the TypeScript types and the
protocol reference (`python -m deploy.generate`); tests/unit/test_generated.py compares them.

A client message is a whole envelope, tagged by `t`. A server event is declared by its payload; the envelope
around it is made by `common.codec`. Names are the contract's, so payload fields are in camelCase. Evolve by
adding fields that have defaults; never change the meaning of a field.
"""

from typing import Annotated, Any, ClassVar, Literal, get_args

from msgspec import UNSET, Meta, Struct, UnsetType

from common.errors import AUTH_ERROR_MEANING, ERROR_MEANING, AuthErrorCode, ErrorCode
from common.ids import LABEL_PATTERN, ROOM_ID_PATTERN, USER_ID_CHARACTERS_MAX

PROTOCOL_VERSION = 1
NO_NUL_PATTERN = r"^[^\u0000]*$(?!\n)"
SUBPROTOCOL = "roomring.v1.json"
FRAME_BYTES_MAX = 16 * 1024

RoomIdField = Annotated[str, Meta(pattern=ROOM_ID_PATTERN, max_length=128, description="Id of the room.")]
UserIdField = Annotated[
    str, Meta(pattern=LABEL_PATTERN, min_length=1, max_length=USER_ID_CHARACTERS_MAX, description="Id of the person.")
]
NameField = Annotated[str, Meta(pattern=LABEL_PATTERN, min_length=1, max_length=64, description="Name to show.")]
AvatarIdField = Annotated[
    str, Meta(pattern=LABEL_PATTERN, min_length=1, max_length=64, description="Which avatar to draw.")
]
SeqField = Annotated[int, Meta(ge=0, le=2**53 - 1, description="Place in the room's order.")]
EpochField = Annotated[int, Meta(ge=0, le=2**53 - 1, description="Which order `seq` counts in.")]
MillisField = Annotated[int, Meta(ge=-(2**53), le=2**53, description="Milliseconds since 1970.")]
# Bounded, since JSON knows numbers of any size and MessagePack, which carries messages to the workers, does not.
_TIME = Meta(ge=-(2**53), le=2**53)
ClientTime = Annotated[int, _TIME] | Annotated[float, _TIME]
CoordinateField = Annotated[float, Meta(description="Finite; in the room's own unit.")]
EmoteIdField = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$(?!\n)",
        max_length=64,
        description="Name of the emote, for example `cheers`.",
    ),
]
ChatText = Annotated[str, Meta(min_length=1, max_length=240, description="1 to 240 characters (Unicode code points).")]
LongChatText = Annotated[
    str,
    Meta(
        pattern=NO_NUL_PATTERN,
        min_length=1,
        max_length=2_000,
        description="1 to 2,000 characters (Unicode code points), as the kind of room allows; no NUL.",
    ),
]
MessageIdField = Annotated[
    str, Meta(pattern=LABEL_PATTERN, min_length=1, max_length=64, description="`messageId` of a chat message.")
]
Anim = Literal["idle", "walk", "dance", "wave"]
Device = Literal["desktop", "mobile"]


class User(Struct, frozen=True):
    """Who joins. The token's subject must be `userId`; its `name` and `avatar`, where present, win."""

    userId: UserIdField
    displayName: NameField
    avatarId: AvatarIdField


class Position(Struct, frozen=True):
    """A place in a room's order: what the client saw last."""

    epoch: EpochField
    lastSeq: SeqField


# --- client to server -----------------------------------------------------------------------------------


class ClientMessage(Struct, frozen=True, kw_only=True, tag_field="t"):
    """Envelope of every client message."""

    answer: ClassVar[str] = ""
    """The event that answers, for the reference page."""

    v: Annotated[Literal[1], Meta(description="Version of the protocol.")]
    ts: Annotated[ClientTime, Meta(description="Client's time, milliseconds since 1970. Not used to order.")]
    id: Annotated[str, Meta(min_length=1, max_length=64, description="Makes the message idempotent.")] | UnsetType = (
        UNSET
    )


class JoinRoomPayload(Struct, frozen=True):
    """Payload of `join_room`."""

    roomId: RoomIdField
    user: User
    token: (
        Annotated[
            str,
            Meta(max_length=8192, description="The room's token; not needed where it came with the upgrade."),
        ]
        | UnsetType
    ) = UNSET
    resume: Position | UnsetType = UNSET


class JoinRoom(ClientMessage, tag="join_room", frozen=True, kw_only=True):
    """Enter a room, or renew the token of a room that this connection is in."""

    answer: ClassVar[str] = "`room_state`, or `auth_error`"
    payload: JoinRoomPayload


class LeaveRoomPayload(Struct, frozen=True):
    """Payload of `leave_room`."""

    roomId: RoomIdField


class LeaveRoom(ClientMessage, tag="leave_room", frozen=True, kw_only=True):
    """Leave a room at once, without the reconnection window."""

    answer: ClassVar[str] = "`left_room`"
    payload: LeaveRoomPayload


class HeartbeatPayload(Struct, frozen=True):
    """Payload of `heartbeat`."""

    clientTimeMs: Annotated[ClientTime, Meta(description="Comes back as it was.")]
    roomId: RoomIdField | UnsetType = UNSET
    lastSeq: SeqField | UnsetType = UNSET


class Heartbeat(ClientMessage, tag="heartbeat", frozen=True, kw_only=True):
    """Sign of life. With `roomId` and `lastSeq`, reliable events after `lastSeq` are replayed."""

    answer: ClassVar[str] = "`heartbeat_ack`"
    payload: HeartbeatPayload


class AvatarTransformPayload(Struct, frozen=True):
    """Payload of `avatar_transform`."""

    roomId: RoomIdField
    seq: Annotated[
        int,
        Meta(ge=0, le=2**53 - 1, description="Counts within this connection's join; stale numbers are dropped."),
    ]
    x: CoordinateField
    y: CoordinateField
    z: CoordinateField
    rotY: Annotated[float, Meta(description="Finite; rotation about the vertical axis, radians.")]
    anim: Anim
    speaking: bool


class AvatarTransform(ClientMessage, tag="avatar_transform", frozen=True, kw_only=True):
    """Move one's avatar. Ephemeral: the newest wins."""

    answer: ClassVar[str] = "none"
    payload: AvatarTransformPayload


class LocalChatPayload(Struct, frozen=True):
    """Payload of `local_chat`."""

    roomId: RoomIdField
    text: ChatText
    mode: Literal["local"]


class LocalChat(ClientMessage, tag="local_chat", frozen=True, kw_only=True):
    """Say something to the room."""

    answer: ClassVar[str] = "`ack {seq, messageId}`"
    payload: LocalChatPayload


class EmotePayload(Struct, frozen=True):
    """Payload of `emote`."""

    roomId: RoomIdField
    emoteId: EmoteIdField


class Emote(ClientMessage, tag="emote", frozen=True, kw_only=True):
    """Show an emotion."""

    answer: ClassVar[str] = "`ack {seq}`"
    payload: EmotePayload


class ChatSendPayload(Struct, frozen=True):
    """Payload of `chat_send`."""

    roomId: RoomIdField
    text: LongChatText
    replyTo: MessageIdField | UnsetType = UNSET


class ChatSend(ClientMessage, tag="chat_send", frozen=True, kw_only=True):
    """Say something that is kept: in a lobby, or in a space (where it may have 240 characters)."""

    answer: ClassVar[str] = "`ack {seq, messageId}`, and `persisted` once it is stored for good"
    payload: ChatSendPayload


RoomMessage = AvatarTransform | LocalChat | Emote | ChatSend
"""Messages that a room's rules handle; the edge passes them on without looking inside."""

AnyClientMessage = JoinRoom | LeaveRoom | Heartbeat | RoomMessage
CLIENT_MESSAGES: tuple[type[ClientMessage], ...] = get_args(AnyClientMessage)


# --- server to client -----------------------------------------------------------------------------------


class ServerEvent(Struct, frozen=True):
    """Payload of a server event. `t` is its name; a reliable event carries `seq` and `epoch` in its envelope."""

    t: ClassVar[str]
    reliable: ClassVar[bool] = False


class Limits(Struct, frozen=True):
    """What this edge allows to one connection."""

    frameBytes: int
    roomsPerConnection: int
    chatCharacters: int
    transformsPerSecondDesktop: float
    transformsPerSecondMobile: float
    chatPerSecond: float
    chatBurst: int
    authTimeoutMs: int


class Welcome(ServerEvent, frozen=True):
    """The first frame on every socket."""

    t: ClassVar[str] = "welcome"
    connectionId: str
    serverTimeMs: MillisField
    heartbeatIntervalMs: int
    heartbeatTimeoutMs: int
    limits: Limits


class Member(Struct, frozen=True):
    """A person in a room, and where the avatar stands."""

    userId: str
    displayName: str
    avatarId: str
    x: float
    y: float
    z: float
    rotY: float
    anim: Anim
    speaking: bool


class You(Struct, frozen=True):
    """The receiver of a `room_state`."""

    userId: str


class PastChat(Struct, frozen=True):
    """A chat message of a room's recent past."""

    epoch: EpochField
    seq: SeqField
    ts: MillisField
    userId: str
    displayName: str
    text: str
    messageId: str
    replyTo: Annotated[str, Meta(description="The `messageId` that it answers.")] | UnsetType = UNSET


class RoomState(ServerEvent, frozen=True):
    """The room as it is at (`epoch`, `seq`); later events start from there."""

    t: ClassVar[str] = "room_state"
    roomId: str
    serverTimeMs: MillisField
    members: list[Member]
    you: You
    epoch: EpochField
    seq: SeqField
    recovered: Annotated[bool, Meta(description="True: the missed reliable events follow, each with `replay`.")]
    cursor: (
        Annotated[
            str, Meta(description="With `recovered` false after a `resume`: the place of the client's last event.")
        ]
        | UnsetType
    ) = UNSET
    until: (
        Annotated[str, Meta(description="Beside `cursor`: the place from which live events go on. See kept chat.")]
        | UnsetType
    ) = UNSET
    memberCount: (
        Annotated[int, Meta(description="In a lobby, where `members` is empty: how many are there.")] | UnsetType
    ) = UNSET
    state: Annotated[dict[str, Any], Meta(description="What the kind of room shows of itself.")] | UnsetType = UNSET
    messages: (
        Annotated[list[PastChat], Meta(description="In a lobby: the latest messages, oldest first.")] | UnsetType
    ) = UNSET


class MemberJoined(ServerEvent, frozen=True):
    """Somebody came in, or changed the name or avatar to show."""

    t: ClassVar[str] = "member_joined"
    reliable: ClassVar[bool] = True
    roomId: str
    member: Member


class MemberLeft(ServerEvent, frozen=True):
    """Somebody left, was removed, or did not come back within the reconnection window."""

    t: ClassVar[str] = "member_left"
    reliable: ClassVar[bool] = True
    roomId: str
    userId: str


class AvatarTransformBroadcast(ServerEvent, frozen=True):
    """Newest movement of an avatar; the mover receives it too."""

    t: ClassVar[str] = "avatar_transform_broadcast"
    roomId: str
    userId: str
    seq: int
    x: float
    y: float
    z: float
    rotY: float
    anim: Anim
    speaking: bool


class MemberCount(ServerEvent, frozen=True):
    """How many are in a lobby now. Ephemeral, at most one a second."""

    t: ClassVar[str] = "member_count"
    roomId: str
    count: int


class ChatBroadcast(ServerEvent, frozen=True):
    """Somebody said something."""

    t: ClassVar[str] = "chat_broadcast"
    reliable: ClassVar[bool] = True
    roomId: str
    userId: str
    displayName: str
    text: str
    messageId: str
    replyTo: Annotated[str, Meta(description="The `messageId` that it answers.")] | UnsetType = UNSET


class EmoteBroadcast(ServerEvent, frozen=True):
    """Somebody showed an emotion."""

    t: ClassVar[str] = "emote_broadcast"
    reliable: ClassVar[bool] = True
    roomId: str
    userId: str
    emoteId: str


ModerationType = Literal["kicked", "banned", "mutedByMod"]


class ModerationAction(ServerEvent, frozen=True):
    """A moderator acted on the receiver. After `kicked` and `banned` the socket closes with 4403."""

    t: ClassVar[str] = "moderation_action"
    roomId: str
    type: ModerationType
    reason: str


class LeftRoom(ServerEvent, frozen=True):
    """Answer to `leave_room`."""

    t: ClassVar[str] = "left_room"
    roomId: str


class HeartbeatAck(ServerEvent, frozen=True):
    """Answer to `heartbeat`; `seq` is the room's, where the heartbeat named one."""

    t: ClassVar[str] = "heartbeat_ack"
    clientTimeMs: int | float
    serverTimeMs: MillisField
    seq: SeqField | UnsetType = UNSET


class Ack(ServerEvent, frozen=True):
    """The message took effect, at `seq`."""

    t: ClassVar[str] = "ack"
    roomId: str
    seq: SeqField
    messageId: str | UnsetType = UNSET


class Persisted(ServerEvent, frozen=True):
    """The message at `seq` is stored for good: it outlives a loss of Redis's data as well."""

    t: ClassVar[str] = "persisted"
    roomId: str
    epoch: EpochField
    seq: SeqField
    messageId: str


class ErrorEvent(ServerEvent, frozen=True):
    """The message had no effect."""

    t: ClassVar[str] = "error"
    code: ErrorCode
    message: str
    roomId: str | UnsetType = UNSET


class AuthError(ServerEvent, frozen=True):
    """The join was refused, or the token of a room that this connection is in has expired."""

    t: ClassVar[str] = "auth_error"
    code: AuthErrorCode
    message: str
    roomId: str | UnsetType = UNSET


def refusal(code: ErrorCode, room_id: str | UnsetType = UNSET) -> ErrorEvent:
    """Return the `error` of a code, with the text of the table of codes."""
    return ErrorEvent(code, ERROR_MEANING[code], room_id)


def auth_refusal(code: AuthErrorCode, room_id: str | UnsetType = UNSET) -> AuthError:
    """Return the `auth_error` of a code, with the text of the table of codes."""
    return AuthError(code, AUTH_ERROR_MEANING[code], room_id)


class RateLimited(ServerEvent, frozen=True):
    """Events of this name came faster than `limit` a second and were dropped.

    At most one of these a second for each name.
    """

    t: ClassVar[str] = "rate_limited"
    event: str
    limit: Annotated[float, Meta(description="Allowed events a second.")]
    retryAfterMs: int
    roomId: str | UnsetType = UNSET


ResyncReason = Literal["history_too_short", "new_epoch", "blocks_changed", "slow_reader"]


class Resync(ServerEvent, frozen=True):
    """What was known of the room no longer holds; a new `room_state` follows."""

    t: ClassVar[str] = "resync"
    roomId: str
    reason: ResyncReason


class ServerDraining(ServerEvent, frozen=True):
    """This edge is about to close with 1012. Come back after `reconnectAfterMs`, which differs for each client."""

    t: ClassVar[str] = "server_draining"
    reconnectAfterMs: int


SERVER_EVENTS: tuple[type[ServerEvent], ...] = (
    Welcome,
    RoomState,
    MemberJoined,
    MemberLeft,
    MemberCount,
    AvatarTransformBroadcast,
    ChatBroadcast,
    EmoteBroadcast,
    ModerationAction,
    LeftRoom,
    HeartbeatAck,
    Ack,
    Persisted,
    ErrorEvent,
    AuthError,
    RateLimited,
    Resync,
    ServerDraining,
)


# --- HTTP -----------------------------------------------------------------------------------------------


class JoinRequest(Struct, frozen=True):
    """Body of `POST /rooms/join`."""

    roomId: RoomIdField
    user: User
    device: Device


class JoinResponse(Struct, frozen=True):
    """Answer of `POST /rooms/join`."""

    roomId: str
    wsUrl: str
    realtimeToken: str
    expiresAt: Annotated[int, Meta(description="Milliseconds since 1970.")]


class MessagePage(Struct, frozen=True):
    """Answer of `GET /rooms/{roomId}/messages`."""

    roomId: str
    messages: Annotated[list[PastChat], Meta(description="Oldest first.")]
    before: (
        Annotated[
            str, Meta(description="Cursor for the page before; missing where nothing stands before, or nothing here.")
        ]
        | UnsetType
    )
    after: (
        Annotated[str, Meta(description="Cursor for what comes after; missing where the room has no message yet.")]
        | UnsetType
    )
    moreAfter: Annotated[bool, Meta(description="Whether messages after this page are stored already.")]
    settled: Annotated[
        bool,
        Meta(description="False: messages that were sequenced before this answer may not be stored yet; ask again."),
    ]


class ModerationRequest(Struct, frozen=True):
    """Body of `POST /admin/rooms/{roomId}/moderation`.

    Without `seconds`: a ban or mute without end, a kick for the moment.
    """

    userId: UserIdField
    type: ModerationType
    reason: Annotated[str, Meta(max_length=500)]
    seconds: Annotated[float, Meta(gt=0, le=10 * 365 * 86400)] | UnsetType = UNSET
