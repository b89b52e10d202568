"""The public messages, declared once.

From these declarations come the decoder, the encoder, the JSON Schema, the TypeScript types and the
protocol reference (`python -m deploy.generate`); tests/unit/test_generated.py compares them.

A client message is a whole envelope, tagged by `t`. A server event is declared by its payload; the envelope
around it is made by `common.codec`. Names are the contract's, so payload fields are in camelCase. Evolve by
adding fields that have defaults; never change the meaning of a field.
"""

from typing import Annotated, Any, ClassVar, Literal, get_args

from msgspec import UNSET, Meta, Struct, UnsetType

from common.errors import (
    AUTH_ERROR_MEANING,
    ERROR_MEANING,
    REJECTION_MEANING,
    AuthErrorCode,
    ErrorCode,
    RejectionCode,
)
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
ThreadIdField = Annotated[
    str, Meta(pattern=r"^dm:[A-Za-z0-9._:-]{1,125}$(?!\n)", max_length=128, description="Id of the thread's room.")
]
NoteIdField = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$(?!\n)",
        max_length=64,
        description="Id of the note on its board, chosen by who puts it there.",
    ),
]
RevisionField = Annotated[int, Meta(ge=1, le=2**31 - 1, description="How often the note was written.")]
NoteText = Annotated[
    str, Meta(pattern=r"^[^\u0000]*$(?!\n)", max_length=2_000, description="Up to 2,000 characters; no NUL.")
]
ColourField = Annotated[
    str, Meta(pattern=r"^[a-z0-9#-]{1,32}$(?!\n)", max_length=32, description="Name or `#rrggbb` of a colour.")
]
TagsField = Annotated[
    list[Annotated[str, Meta(pattern=LABEL_PATTERN, min_length=1, max_length=32)]],
    Meta(max_length=10, description="Words to find it by."),
]
PlaceField = Annotated[float, Meta(ge=-1e9, le=1e9, description="In the board's own unit.")]
ReasonField = Annotated[
    str, Meta(pattern=NO_NUL_PATTERN, min_length=1, max_length=500, description="Why, in the reporter's words.")
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


class DirectSendPayload(Struct, frozen=True):
    """Payload of `direct_send`."""

    recipientId: UserIdField
    text: LongChatText
    replyTo: MessageIdField | UnsetType = UNSET


class DirectSend(ClientMessage, tag="direct_send", frozen=True, kw_only=True):
    """Write to one person. It needs no `join_room`, only a connection that has shown a good token."""

    answer: ClassVar[str] = "`ack {roomId, seq, messageId}` with the thread's id, or `message_rejected`"
    payload: DirectSendPayload


class ReadUpToPayload(Struct, frozen=True):
    """Payload of `read_up_to`. Without `epoch` the thread's present one is meant."""

    threadId: ThreadIdField
    seq: SeqField
    epoch: EpochField | UnsetType = UNSET


class ReadUpTo(ClientMessage, tag="read_up_to", frozen=True, kw_only=True):
    """Everything of the thread up to this place was read. Never goes back."""

    answer: ClassVar[str] = "`ack {roomId, seq}`"
    payload: ReadUpToPayload


class TypingPayload(Struct, frozen=True):
    """Payload of `typing`: a room that the connection is in or a thread, or the person of a thread."""

    roomId: RoomIdField | UnsetType = UNSET
    recipientId: UserIdField | UnsetType = UNSET
    typing: Annotated[bool, Meta(description="False: no longer.")] = True


class Typing(ClientMessage, tag="typing", frozen=True, kw_only=True):
    """Writing something. Repeat it every few seconds while it is so. Ephemeral."""

    answer: ClassVar[str] = "none"
    payload: TypingPayload


UserIds = Annotated[list[UserIdField], Meta(min_length=1, max_length=100, description="Up to 100 persons.")]


class PresenceSubscribePayload(Struct, frozen=True):
    """Payload of `presence_subscribe`."""

    userIds: UserIds


class PresenceSubscribe(ClientMessage, tag="presence_subscribe", frozen=True, kw_only=True):
    """Watch these persons too: `presence` of each now, and whenever it changes, at all of the watcher's connections."""

    answer: ClassVar[str] = "`ack {roomId, seq}`, and a `presence` of each"
    payload: PresenceSubscribePayload


class PresenceUnsubscribePayload(Struct, frozen=True):
    """Payload of `presence_unsubscribe`."""

    userIds: UserIds


class PresenceUnsubscribe(ClientMessage, tag="presence_unsubscribe", frozen=True, kw_only=True):
    """Watch these persons no more."""

    answer: ClassVar[str] = "`ack {roomId, seq}`"
    payload: PresenceUnsubscribePayload


class PersonPayload(Struct, frozen=True):
    """Payload of `block_user`, `unblock_user`, `friend_add` and `friend_remove`."""

    userId: UserIdField


class BlockUser(ClientMessage, tag="block_user", frozen=True, kw_only=True):
    """See nothing any more of what a person does, anywhere."""

    answer: ClassVar[str] = "`ack {roomId, seq}`, and `block_changed` at all of one's connections"
    payload: PersonPayload


class UnblockUser(ClientMessage, tag="unblock_user", frozen=True, kw_only=True):
    """See a person again."""

    answer: ClassVar[str] = "`ack {roomId, seq}`, and `block_changed` at all of one's connections"
    payload: PersonPayload


class FriendAdd(ClientMessage, tag="friend_add", frozen=True, kw_only=True):
    """Ask a person to be a friend, or agree where that one has asked."""

    answer: ClassVar[str] = "`ack {roomId, seq}`, and `friend_changed` at both persons' connections"
    payload: PersonPayload


class FriendRemove(ClientMessage, tag="friend_remove", frozen=True, kw_only=True):
    """End a friendship, take back an asking, or refuse one."""

    answer: ClassVar[str] = "`ack {roomId, seq}`, and `friend_changed` at both persons' connections"
    payload: PersonPayload


class NotePutPayload(Struct, frozen=True):
    """Payload of `note_put`. Without `noteId` the room chooses one."""

    roomId: RoomIdField
    x: PlaceField
    y: PlaceField
    text: NoteText
    colour: ColourField = "yellow"
    tags: TagsField = []
    noteId: NoteIdField | UnsetType = UNSET


class NotePut(ClientMessage, tag="note_put", frozen=True, kw_only=True):
    """Pin a new note to a place of a board. It must not be there yet."""

    answer: ClassVar[str] = "`ack {seq, noteId, revision}`, or `note_conflict`"
    payload: NotePutPayload


class NoteChangePayload(Struct, frozen=True):
    """Payload of `note_change`: what is not named stays as it is."""

    roomId: RoomIdField
    noteId: NoteIdField
    revision: RevisionField
    x: PlaceField | UnsetType = UNSET
    y: PlaceField | UnsetType = UNSET
    text: NoteText | UnsetType = UNSET
    colour: ColourField | UnsetType = UNSET
    tags: TagsField | UnsetType = UNSET


class NoteChange(ClientMessage, tag="note_change", frozen=True, kw_only=True):
    """Write, move or colour a note that stands at `revision`."""

    answer: ClassVar[str] = "`ack {seq, revision}`, or `note_conflict` with the note as it is"
    payload: NoteChangePayload


class NoteDeletePayload(Struct, frozen=True):
    """Payload of `note_delete`."""

    roomId: RoomIdField
    noteId: NoteIdField
    revision: RevisionField


class NoteDelete(ClientMessage, tag="note_delete", frozen=True, kw_only=True):
    """Take a note off that stands at `revision`."""

    answer: ClassVar[str] = "`ack {seq}`, or `note_conflict` with the note as it is"
    payload: NoteDeletePayload


class ReportPayload(Struct, frozen=True):
    """Payload of `report`: a message, by its place in the room or thread. Without `epoch` the present one is meant."""

    roomId: RoomIdField
    seq: Annotated[int, Meta(ge=1, le=2**53 - 1, description="Place of the message.")]
    reason: ReasonField
    epoch: EpochField | UnsetType = UNSET


class Report(ClientMessage, tag="report", frozen=True, kw_only=True):
    """Tell the moderators of a message."""

    answer: ClassVar[str] = "`ack {roomId, seq}`"
    payload: ReportPayload


RoomMessage = (
    AvatarTransform
    | LocalChat
    | Emote
    | ChatSend
    | Typing
    | Report
    | NotePut
    | NoteChange
    | NoteDelete
    | DirectSend
    | ReadUpTo
    | PresenceSubscribe
    | PresenceUnsubscribe
    | BlockUser
    | UnblockUser
    | FriendAdd
    | FriendRemove
)
"""Messages that a room's rules handle; the edge passes them on without looking inside. Those without a `roomId` are for
the sender's own inbox, or the thread with the person that they name."""

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


FriendStatus = Literal["none", "asked", "asks", "friends"]
"""As one of the two sees it: `asked`: I asked; `asks`: the other one did."""

PresenceStatus = Literal["online", "away", "offline"]


class Friend(Struct, frozen=True):
    """Somebody with whom one is friends, or about to be."""

    userId: str
    status: FriendStatus
    displayName: Annotated[str, Meta(description="As last seen.")] | UnsetType = UNSET


class Inbox(Struct, frozen=True):
    """What a person's own inbox shows of itself."""

    unread: Annotated[dict[str, int], Meta(description="Unread messages of each thread that has some.")]
    friends: list[Friend]
    blocked: Annotated[list[str], Meta(description="Whom the person blocks.")]


class Note(Struct, frozen=True):
    """A note on a board, as it is now."""

    noteId: str
    x: float
    y: float
    text: str
    colour: str
    tags: list[str]
    revision: RevisionField
    userId: Annotated[str, Meta(description="Who put it there.")]
    displayName: str
    editedBy: Annotated[str, Meta(description="Who wrote this revision.")]
    createdAtMs: MillisField
    updatedAtMs: MillisField


class Movement(Struct, frozen=True):
    """How movements are shown in a room with more members than are shown at the full rate."""

    fullRateMovers: Annotated[
        int, Meta(description="Of so many members, those who have been there longest, every movement is shown.")
    ]
    reducedPerSecond: Annotated[float, Meta(description="Movements a second that are shown of each other member.")]
    reduced: Annotated[
        bool,
        Meta(description="Whether you are one of the others now. Who leaves makes way for the next, without a word."),
    ]


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
        Annotated[
            int,
            Meta(
                description="In a lobby, where `members` is empty: how many are there. With `parts`: how many members "
                "the parts name together."
            ),
        ]
        | UnsetType
    ) = UNSET
    state: Annotated[dict[str, Any], Meta(description="What the kind of room shows of itself.")] | UnsetType = UNSET
    messages: (
        Annotated[list[PastChat], Meta(description="In a lobby: the latest messages, oldest first.")] | UnsetType
    ) = UNSET
    notes: (
        Annotated[list[Note], Meta(description="On a board: the notes that were written last, oldest first.")]
        | UnsetType
    ) = UNSET
    noteCount: (
        Annotated[int, Meta(description="On a board: how many notes it has; more than `notes`: ask for pages.")]
        | UnsetType
    ) = UNSET
    inbox: Annotated[Inbox, Meta(description="In a person's own inbox.")] | UnsetType = UNSET
    parts: (
        Annotated[
            int,
            Meta(
                ge=2,
                description="In a large room: `members` are the first ones and yourself; the parts 2 to `parts` follow "
                "as `room_members`.",
            ),
        ]
        | UnsetType
    ) = UNSET
    movement: Annotated[Movement, Meta(description="In a very large room.")] | UnsetType = UNSET


class RoomMembers(ServerEvent, frozen=True):
    """A further part of the members of a `room_state` that has `parts`: the one at the same (`epoch`, `seq`).

    Comes after it and what is replayed with it, before anything else of the room.
    """

    t: ClassVar[str] = "room_members"
    roomId: str
    epoch: EpochField
    seq: SeqField
    part: Annotated[int, Meta(ge=2)]
    parts: Annotated[int, Meta(ge=2)]
    members: Annotated[
        list[Member], Meta(description="In the order of coming, from part to part. You may be named here once more.")
    ]


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


class DirectMessage(ServerEvent, frozen=True):
    """Somebody wrote to the receiver, or the receiver wrote from any connection. `seq` counts in the inbox."""

    t: ClassVar[str] = "direct_message"
    reliable: ClassVar[bool] = True
    roomId: Annotated[str, Meta(description="The receiver's inbox.")]
    threadId: str
    threadEpoch: EpochField
    threadSeq: Annotated[int, Meta(ge=1, description="Place in the thread, for `read_up_to` and pages.")]
    userId: Annotated[str, Meta(description="Who wrote it.")]
    displayName: str
    recipientId: str
    text: str
    messageId: str
    unread: Annotated[int, Meta(description="Unread messages of the thread, for the receiver.")]
    replyTo: Annotated[str, Meta(description="The `messageId` that it answers.")] | UnsetType = UNSET


class MessageRejected(ServerEvent, frozen=True):
    """A direct message was not delivered."""

    t: ClassVar[str] = "message_rejected"
    code: RejectionCode
    recipientId: str
    message: str


def rejection(code: RejectionCode, recipient_id: str) -> MessageRejected:
    """Return the `message_rejected` of a code, with the text of the table of codes."""
    return MessageRejected(code, recipient_id, REJECTION_MEANING[code])


class ReadReceipt(ServerEvent, frozen=True):
    """One of the two has read a thread up to a place; told to both, so that badges of other devices follow."""

    t: ClassVar[str] = "read_receipt"
    reliable: ClassVar[bool] = True
    roomId: Annotated[str, Meta(description="The receiver's inbox.")]
    threadId: str
    threadEpoch: EpochField
    threadSeq: SeqField
    userId: Annotated[str, Meta(description="Who has read.")]
    unread: Annotated[int, Meta(description="Unread messages of the thread, for the receiver.")]


class TypingBroadcast(ServerEvent, frozen=True):
    """Somebody is writing, or no longer. Ephemeral; the server says when it ends, also when nobody did."""

    t: ClassVar[str] = "typing_broadcast"
    roomId: Annotated[str, Meta(description="The room or thread.")]
    userId: str
    displayName: str
    typing: bool
    expiresInMs: Annotated[int, Meta(description="Forget it after so long without another; 0 with `typing` false.")]


class Presence(ServerEvent, frozen=True):
    """Whether a person is there. Ephemeral."""

    t: ClassVar[str] = "presence"
    userId: str
    status: Annotated[
        PresenceStatus,
        Meta(description="`online`: a sign of life in the last 45 s on any edge. `away`: that, but idle."),
    ]
    lastSeenMs: Annotated[int, Meta(description="Of who is not online: when last.")] | UnsetType = UNSET


class BlockChanged(ServerEvent, frozen=True):
    """The receiver blocked a person, or sees that one again; from whichever connection that was asked."""

    t: ClassVar[str] = "block_changed"
    reliable: ClassVar[bool] = True
    roomId: str
    userId: str
    blocked: bool


class FriendChanged(ServerEvent, frozen=True):
    """The receiver's friendship with a person is another now."""

    t: ClassVar[str] = "friend_changed"
    reliable: ClassVar[bool] = True
    roomId: str
    userId: str
    status: FriendStatus
    displayName: Annotated[str, Meta(description="As last seen.")] | UnsetType = UNSET


class NotePlaced(ServerEvent, frozen=True):
    """A new note hangs on the board."""

    t: ClassVar[str] = "note_placed"
    reliable: ClassVar[bool] = True
    roomId: str
    note: Note


class NoteChanged(ServerEvent, frozen=True):
    """A note was written, moved or coloured."""

    t: ClassVar[str] = "note_changed"
    reliable: ClassVar[bool] = True
    roomId: str
    note: Note


class NoteDeleted(ServerEvent, frozen=True):
    """A note was taken off."""

    t: ClassVar[str] = "note_deleted"
    reliable: ClassVar[bool] = True
    roomId: str
    noteId: str
    revision: Annotated[int, Meta(description="One after the last that it had.")]
    userId: Annotated[str, Meta(description="Who took it off.")]


class NoteConflict(ServerEvent, frozen=True):
    """The note stands at another revision than the message named; nothing changed."""

    t: ClassVar[str] = "note_conflict"
    roomId: str
    noteId: str
    note: Annotated[Note, Meta(description="As it is now; missing where it was taken off.")] | UnsetType = UNSET


class MessageDeleted(ServerEvent, frozen=True):
    """A message is no more. In a replay it stands at the place of the message itself."""

    t: ClassVar[str] = "message_deleted"
    reliable: ClassVar[bool] = True
    roomId: str
    messageId: str
    targetEpoch: EpochField
    targetSeq: Annotated[int, Meta(ge=1, description="Place of the message in its room or thread.")]
    threadId: Annotated[str, Meta(description="In an inbox: the thread that it was in.")] | UnsetType = UNSET


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
    revision: Annotated[int, Meta(description="Of a note.")] | UnsetType = UNSET
    noteId: Annotated[str, Meta(description="Of a new note.")] | UnsetType = UNSET


class Persisted(ServerEvent, frozen=True):
    """The message at `seq` is stored for good: it outlives a loss of Redis's data as well."""

    t: ClassVar[str] = "persisted"
    roomId: str
    epoch: EpochField
    seq: SeqField
    messageId: Annotated[str, Meta(description="Of a chat or direct message.")] | UnsetType = UNSET


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


ResyncReason = Literal["history_too_short", "new_epoch", "blocks_changed", "slow_reader", "restored"]


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
    RoomMembers,
    MemberJoined,
    MemberLeft,
    MemberCount,
    AvatarTransformBroadcast,
    ChatBroadcast,
    MessageDeleted,
    DirectMessage,
    MessageRejected,
    ReadReceipt,
    TypingBroadcast,
    Presence,
    BlockChanged,
    FriendChanged,
    NotePlaced,
    NoteChanged,
    NoteDeleted,
    NoteConflict,
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
    """Answer of `GET /rooms/{roomId}/messages` and `GET /threads/{threadId}/messages`."""

    roomId: str
    messages: Annotated[list[PastChat], Meta(description="Oldest first.")]
    moreAfter: Annotated[bool, Meta(description="Whether messages after this page are stored already.")]
    settled: Annotated[
        bool,
        Meta(description="False: messages that were sequenced before this answer may not be stored yet; ask again."),
    ]
    before: (
        Annotated[
            str, Meta(description="Cursor for the page before; missing where nothing stands before, or nothing here.")
        ]
        | UnsetType
    ) = UNSET
    after: (
        Annotated[str, Meta(description="Cursor for what comes after; missing where the room has no message yet.")]
        | UnsetType
    ) = UNSET


class PostMessageRequest(Struct, frozen=True):
    """Body of `POST /rooms/{roomId}/messages`. With `id` it takes effect once, however often it is sent."""

    text: LongChatText
    id: Annotated[str, Meta(min_length=1, max_length=64, description="Makes the message idempotent.")] | UnsetType = (
        UNSET
    )
    replyTo: MessageIdField | UnsetType = UNSET


class PostMessageResponse(Struct, frozen=True):
    """Answer of `POST /rooms/{roomId}/messages`: the message took effect, at `seq`."""

    roomId: str
    seq: SeqField
    messageId: str


class ThreadView(Struct, frozen=True):
    """A thread, as one of the two sees it."""

    threadId: str
    userId: Annotated[str, Meta(description="The other person.")]
    displayName: Annotated[str, Meta(description="Name of the other person, as last seen; may be empty.")]
    unread: int
    activeAtMs: Annotated[int, Meta(description="When something was last written.")]
    readUpTo: Annotated[Position, Meta(description="How far the reader has read.")]
    otherReadUpTo: Annotated[Position, Meta(description="How far the other one has.")]
    lastMessage: PastChat | UnsetType = UNSET


class ThreadPage(Struct, frozen=True):
    """Answer of `GET /threads`: the reader's threads, the most lately active first."""

    inboxId: Annotated[str, Meta(description="Room id of the reader's inbox.")]
    unread: Annotated[int, Meta(description="Unread messages of all threads.")]
    threads: list[ThreadView]
    next: Annotated[str, Meta(description="Cursor of the page that follows; missing at the end.")] | UnsetType = UNSET


class NotePage(Struct, frozen=True):
    """Answer of `GET /rooms/{roomId}/notes`."""

    roomId: str
    notes: list[Note]
    next: Annotated[str, Meta(description="Cursor of the page that follows; missing at the end.")] | UnsetType = UNSET


QueueTarget = Literal["message", "note", "person"]
Resolution = Literal["dismissed", "deleted", "muted", "banned"]


class QueueItem(Struct, frozen=True):
    """Something that moderators are to look at."""

    itemId: int
    source: Literal["report", "filter"]
    target: QueueTarget
    roomId: str
    targetId: Annotated[str, Meta(description="`messageId`, `noteId` or user id.")]
    userId: Annotated[str, Meta(description="Whose doing it is.")]
    excerpt: str
    openedAtMs: int
    reports: Annotated[list["ReportView"], Meta(description="Who reported it, and why; at most 20.")]
    reportCount: int
    epoch: EpochField | UnsetType = UNSET
    seq: SeqField | UnsetType = UNSET
    claimedBy: str | UnsetType = UNSET
    claimedAtMs: int | UnsetType = UNSET
    resolution: Resolution | UnsetType = UNSET
    resolvedBy: str | UnsetType = UNSET
    resolvedAtMs: int | UnsetType = UNSET
    note: str | UnsetType = UNSET


class ReportView(Struct, frozen=True):
    """One person's report."""

    userId: str
    reason: str
    atMs: int


class QueuePage(Struct, frozen=True):
    """Answer of `GET /admin/moderation/queue`, the longest open first."""

    items: list[QueueItem]
    next: str | UnsetType = UNSET


class ClaimRequest(Struct, frozen=True):
    """Body of `POST /admin/moderation/queue/{itemId}/claim` and `.../release`."""

    moderator: UserIdField


class ResolveRequest(Struct, frozen=True):
    """Body of `POST /admin/moderation/queue/{itemId}/resolve`. `seconds`: of a mute or ban; without it: no end."""

    moderator: UserIdField
    resolution: Resolution
    note: Annotated[str, Meta(pattern=NO_NUL_PATTERN, max_length=500)] = ""
    seconds: Annotated[float, Meta(gt=0, le=10 * 365 * 86400)] | UnsetType = UNSET


class AuditEntry(Struct, frozen=True):
    """Something that was done, and by whom."""

    entryId: int
    atMs: int
    actor: str
    action: str
    details: dict[str, Any]
    roomId: str | UnsetType = UNSET
    userId: Annotated[str, Meta(description="To whom.")] | UnsetType = UNSET


class AuditPage(Struct, frozen=True):
    """Answer of `GET /admin/moderation/audit`, the newest first."""

    entries: list[AuditEntry]
    next: str | UnsetType = UNSET


class ModerationRequest(Struct, frozen=True):
    """Body of `POST /admin/rooms/{roomId}/moderation`.

    Without `seconds`: a ban or mute without end, a kick for the moment.
    """

    userId: UserIdField
    type: ModerationType
    reason: Annotated[str, Meta(max_length=500)]
    seconds: Annotated[float, Meta(gt=0, le=10 * 365 * 86400)] | UnsetType = UNSET
