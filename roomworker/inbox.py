"""Rules of a `user:` room: a person's own inbox.

One member, the person, with all of the person's connections; edges bring them in at sign-in. It owns whom the
person blocks, knows how many messages of each thread are unread and who the friends are, and is where others
learn whether the person is there.

Records: `t:<thread>` unread messages and the other person; `f:<user>` a friend (status, who asked, name);
`w:<user>` who watches this person; `s:<user>` whom this person watches.
"""

from collections.abc import Iterable
from typing import Any, ClassVar, Final

from msgspec import UNSET, Struct, msgpack

from common.commands import ChangeBlock
from common.durable import InboxSeed
from common.errors import ERROR_MEANING, ErrorCode
from common.ids import INBOX_KIND, Seq, UserId, inbox_of, thread_of, thread_pair
from common.letters import (
    AnyLetter,
    FriendshipMoved,
    MessageArrived,
    MessageGone,
    PresenceSeen,
    ThreadWasRead,
    TypingSeen,
    Unwatch,
    Watch,
)
from common.messages import (
    Ack,
    BlockChanged,
    BlockUser,
    ClientMessage,
    DirectMessage,
    ErrorEvent,
    Friend,
    FriendChanged,
    FriendStatus,
    Inbox,
    MessageDeleted,
    Presence,
    PresenceStatus,
    PresenceSubscribe,
    PresenceUnsubscribe,
    ReadReceipt,
    RoomState,
    ServerEvent,
    TypingBroadcast,
    UnblockUser,
    You,
    refusal,
)
from common.settings import WorkerSettings
from common.token_bucket import Rate
from roomworker.member import Member
from roomworker.rules import Incoming, Operation, PlainRules, RoomSeed, RoomServices

AWAY_ALARM: Final = "away"
SUBSCRIBE_RATE: Final = Rate(5.0, 20.0)
BLOCK_RATE: Final = Rate(2.0, 20.0)
BLOCKS_MAX: Final = 5_000
"""Whom one person may block: every room that the person is in holds the list."""


class InboxState(Struct, array_like=True):
    """Whose inbox it is (empty: not known yet), and whether the person is there."""

    owner_id: UserId = UserId("")
    status: PresenceStatus = "offline"
    active_at_ms: int = 0
    last_seen_ms: int = 0


_encoder: Final = msgpack.Encoder()
_decoder: Final = msgpack.Decoder(InboxState)


class InboxRules(PlainRules):
    """An inbox, as docs/protocol.md describes it."""

    kind: ClassVar[str] = INBOX_KIND
    writes_letters = True

    def __init__(self, settings: WorkerSettings) -> None:
        self.reconnect_window_ms = settings.reconnect_window_ms
        self.connections_max = settings.inbox_connections_max
        self.idle_ttl_ms = settings.kept_idle_ttl_ms if settings.database_url else 0
        self._away_ms = settings.presence_away_ms
        self._subscriptions_max = settings.presence_subscriptions_max

    def new_room_state(self) -> InboxState:
        """See `RoomRules.new_room_state`."""
        return InboxState()

    def encode_room_state(self, state: Any) -> bytes:
        """See `RoomRules.encode_room_state`."""
        return _encoder.encode(state)

    def decode_room_state(self, data: bytes) -> InboxState:
        """See `RoomRules.decode_room_state`."""
        return _decoder.decode(data)

    def seed(self, room: RoomServices, seed: RoomSeed) -> None:
        """See `RoomRules.seed`."""
        if not isinstance(seed.content, InboxSeed):
            return
        for other_id, (status, requested_by) in seed.content.friendships.items():
            _put_if_new(room, "f:" + other_id, [status, requested_by, ""])
        self._own(room, seed.owner_id)
        known = {thread_of(seed.owner_id, other_id): other_id for other_id in seed.content.friendships}
        for thread_id, unread in seed.content.unread.items():
            pair = thread_pair(thread_id) or ()
            other_id = known.get(thread_id) or next((each for each in pair if each != seed.owner_id), UserId(""))
            _put_if_new(room, "t:" + thread_id, [unread, other_id])

    # --- who is there -------------------------------------------------------------------------------------

    def entered(self, room: RoomServices, member: Member) -> None:
        """See `RoomRules.entered`."""
        self._own(room, member.user_id)
        room.state.active_at_ms = room.now_ms
        self._show_as(room, "online")
        room.set_alarm(AWAY_ALARM, room.now_ms + self._away_ms)

    def left(self, room: RoomServices, member: Member) -> None:
        """See `RoomRules.left`."""
        room.state.last_seen_ms = max(room.state.active_at_ms, room.now_ms - self.reconnect_window_ms)
        room.set_alarm(AWAY_ALARM, 0)
        self._show_as(room, "offline")
        for subject_id in _users(room, "s:"):
            room.drop_record("s:" + subject_id)
            room.tell(inbox_of(subject_id), Unwatch(subject_id, member.user_id))

    def active(self, room: RoomServices, member: Member) -> None:
        """See `RoomRules.active`."""
        room.state.active_at_ms = room.now_ms
        room.touch_room()
        self._show_as(room, "online")
        room.set_alarm(AWAY_ALARM, room.now_ms + self._away_ms)

    def alarm(self, room: RoomServices, name: str) -> None:
        """See `RoomRules.alarm`."""
        room.state.last_seen_ms = room.state.active_at_ms
        self._show_as(room, "away")

    def _show_as(self, room: RoomServices, status: PresenceStatus) -> None:
        if status == room.state.status:
            return
        room.state.status = status
        room.touch_room()
        for watcher_id in _users(room, "w:"):
            self._tell_presence(room, watcher_id, hidden=watcher_id in room.blocks_of(room.state.owner_id))

    def _tell_presence(self, room: RoomServices, watcher_id: UserId, *, hidden: bool) -> None:
        """Tell a watcher; one whom the person blocks sees the person as gone."""
        state = room.state
        status: PresenceStatus = "offline" if hidden else state.status
        last_seen_ms = 0 if hidden or status == "online" else state.last_seen_ms
        room.tell(inbox_of(watcher_id), PresenceSeen(watcher_id, state.owner_id, status, last_seen_ms))

    # --- what is shown ------------------------------------------------------------------------------------

    def snapshot(self, room: RoomServices, reader: Member, *, recovered: bool) -> RoomState:
        """See `RoomRules.snapshot`."""
        blocked = room.blocks_of(reader.user_id)
        unread = {
            key[2:]: value[0] for key, value in room.records.items() if key.startswith("t:") and value[1] not in blocked
        }
        friends = [
            Friend(user_id, _status(record, user_id), record[2] or UNSET)
            for user_id, record in sorted((key[2:], value) for key, value in room.records.items() if key[:2] == "f:")
            if user_id not in blocked
        ]
        return RoomState(
            room.room_id,
            room.now_ms,
            [],
            You(reader.user_id),
            room.epoch,
            room.seq,
            recovered,
            inbox=Inbox(unread, friends, sorted(blocked)),
        )

    # --- messages of the person ---------------------------------------------------------------------------

    def handle(self, room: RoomServices, incoming: Incoming) -> ServerEvent | None:
        """See `RoomRules.handle`."""
        message = incoming.message
        match message:
            case PresenceSubscribe():
                return self._subscribe(room, incoming, message)
            case PresenceUnsubscribe():
                for user_id in message.payload.userIds:
                    if "s:" + user_id in room.records:
                        room.drop_record("s:" + user_id)
                        room.tell(inbox_of(UserId(user_id)), Unwatch(UserId(user_id), incoming.member.user_id))
                return Ack(room.room_id, room.seq)
            case BlockUser() | UnblockUser():
                return self._block(room, incoming, message)
            case _:
                return refusal(ErrorCode.NOT_ALLOWED, room.room_id)

    def _subscribe(self, room: RoomServices, incoming: Incoming, message: PresenceSubscribe) -> ServerEvent:
        owner_id = incoming.member.user_id
        wanted = [UserId(user_id) for user_id in dict.fromkeys(message.payload.userIds)]
        watched = sum(key.startswith("s:") for key in room.records)
        if watched + sum("s:" + user_id not in room.records for user_id in wanted) > self._subscriptions_max:
            text = f"One person may watch {self._subscriptions_max} others. Send `presence_unsubscribe` first."
            return ErrorEvent(ErrorCode.LIMIT_REACHED, text, room.room_id)
        if not room.admit(incoming, "presence_subscribe", SUBSCRIBE_RATE):
            return refusal(ErrorCode.RATE_LIMITED, room.room_id)
        for user_id in wanted:
            if "s:" + user_id not in room.records:
                room.put_record("s:" + user_id, True)
            room.tell(inbox_of(user_id), Watch(user_id, owner_id))
        return Ack(room.room_id, room.seq)

    def _block(self, room: RoomServices, incoming: Incoming, message: BlockUser | UnblockUser) -> ServerEvent:
        owner_id, other_id = incoming.member.user_id, UserId(message.payload.userId)
        blocked = isinstance(message, BlockUser)
        if other_id == owner_id:
            return ErrorEvent(ErrorCode.INVALID_PAYLOAD, "Nobody can block themselves.", room.room_id)
        before = room.blocks_of(owner_id)
        if blocked and other_id not in before and len(before) >= BLOCKS_MAX:
            text = f"One person may block {BLOCKS_MAX} others. Send `unblock_user` first."
            return ErrorEvent(ErrorCode.LIMIT_REACHED, text, room.room_id)
        if not room.admit(incoming, "block_user", BLOCK_RATE):
            return refusal(ErrorCode.RATE_LIMITED, room.room_id)
        if (other_id in before) != blocked:
            room.set_block(owner_id, other_id, blocked=blocked)
        return Ack(room.room_id, room.seq)

    def blocks_changed(self, room: RoomServices, member: Member, other_id: UserId, *, blocked: bool) -> bool:
        """See `RoomRules.blocks_changed`."""
        room.sequence(BlockChanged(room.room_id, other_id, blocked), member.user_id)
        if "w:" + other_id in room.records:
            self._tell_presence(room, other_id, hidden=blocked)
        if not blocked and "s:" + other_id in room.records:
            room.tell(inbox_of(other_id), Watch(other_id, member.user_id))
        return False

    # --- orders of the application ------------------------------------------------------------------------

    def operate(self, room: RoomServices, operation: Operation) -> dict[str, Any]:
        """See `RoomRules.operate`."""
        if not isinstance(operation, ChangeBlock):
            return super().operate(room, operation)
        owner_id, other_id = operation.user_id, operation.other_id
        if inbox_of(owner_id) != room.room_id or owner_id == other_id:
            return {"error": {"code": ErrorCode.NOT_FOUND, "message": ERROR_MEANING[ErrorCode.NOT_FOUND]}}
        self._own(room, owner_id)
        changed = (other_id in room.person(owner_id).blocks) != operation.blocked
        # Entered also where it seems so already: what is known of a person who is not here may be old.
        room.set_block(owner_id, other_id, blocked=operation.blocked)
        return {"userId": owner_id, "blockedUserId": other_id, "blocked": operation.blocked, "changed": changed}

    def restricted(self, room: RoomServices, user_id: UserId, muted_until_ms: int, barred_until_ms: int) -> None:
        """See `RoomRules.restricted`. Threads and edges are told by what is known of the person."""
        if inbox_of(user_id) == room.room_id:
            room.set_restricted(user_id, muted_until_ms, barred_until_ms)

    # --- letters ------------------------------------------------------------------------------------------

    def letter_people(self, letter: AnyLetter) -> Iterable[UserId]:
        """See `RoomRules.letter_people`. The person may not be here, and still be hidden from who wants to watch."""
        return (letter.owner_id,) if isinstance(letter, Watch) else ()

    def history_needed(self, message: ClientMessage | AnyLetter) -> Seq | None:
        """See `RoomRules.history_needed`. A deleted message may be anywhere."""
        return Seq(0) if isinstance(message, MessageGone) else None

    def receive(self, room: RoomServices, letter: AnyLetter) -> None:
        """See `RoomRules.receive`."""
        if inbox_of(letter.owner_id) != room.room_id:
            return
        self._own(room, letter.owner_id)
        match letter:
            case MessageArrived():
                self._message(room, letter)
            case ThreadWasRead():
                self._set_unread(room, letter.thread_id, letter.unread, letter.other_id)
                receipt = ReadReceipt(
                    room.room_id, letter.thread_id, letter.epoch, letter.seq, letter.reader_id, letter.unread
                )
                room.sequence(receipt, letter.reader_id)
            case MessageGone():
                self._gone(room, letter)
            case TypingSeen():
                typing = TypingBroadcast(
                    letter.thread_id, letter.user_id, letter.display_name, letter.typing, letter.expires_in_ms
                )
                room.show(typing, letter.user_id)
            case FriendshipMoved():
                self._friendship(room, letter)
            case Watch():
                if "w:" + letter.watcher_id not in room.records:
                    room.put_record("w:" + letter.watcher_id, True)
                hidden = letter.watcher_id in room.person(letter.owner_id).blocks
                self._tell_presence(room, letter.watcher_id, hidden=hidden)
            case Unwatch():
                room.drop_record("w:" + letter.watcher_id)
            case PresenceSeen():
                self._presence(room, letter)

    def _message(self, room: RoomServices, letter: MessageArrived) -> None:
        other_id = letter.recipient_id if letter.author_id == letter.owner_id else letter.author_id
        self._set_unread(room, letter.thread_id, letter.unread, other_id)
        friend = room.records.get("f:" + letter.author_id)
        if friend is not None and friend[2] != letter.author_name:
            room.put_record("f:" + letter.author_id, [friend[0], friend[1], letter.author_name])
        event = DirectMessage(
            room.room_id,
            letter.thread_id,
            letter.epoch,
            letter.seq,
            letter.author_id,
            letter.author_name,
            letter.recipient_id,
            letter.text,
            letter.message_id,
            letter.unread,
            UNSET if letter.reply_to is None else letter.reply_to,
        )
        room.sequence(event, letter.author_id)

    def _gone(self, room: RoomServices, letter: MessageGone) -> None:
        self._set_unread(room, letter.thread_id, letter.unread, letter.other_id)
        event = MessageDeleted(room.room_id, letter.message_id, letter.epoch, letter.seq, letter.thread_id)
        mark = f'"messageId":"{letter.message_id}"'.encode()
        for seq, past in room.past_events():
            if mark in past.event and b'"t":"direct_message"' in past.event[:64]:
                room.redact(seq, event)
                break
        room.sequence(event, letter.author_id)

    def _friendship(self, room: RoomServices, letter: FriendshipMoved) -> None:
        key, record = "f:" + letter.other_id, [letter.status, letter.requested_by, letter.other_name]
        if letter.status == "none":
            room.drop_record(key)
        else:
            room.put_record(key, record)
        event = FriendChanged(
            room.room_id, letter.other_id, _status(record, letter.other_id), letter.other_name or UNSET
        )
        room.sequence(event, letter.other_id)

    def _presence(self, room: RoomServices, letter: PresenceSeen) -> None:
        if "s:" + letter.user_id not in room.records:
            # Nobody here wants to know (any more): the other inbox may have missed that.
            room.tell(inbox_of(letter.user_id), Unwatch(letter.user_id, letter.owner_id))
            return
        seen = letter.last_seen_ms or UNSET
        room.show(Presence(letter.user_id, letter.status, seen), letter.user_id)

    def _set_unread(self, room: RoomServices, thread_id: str, unread: int, other_id: UserId) -> None:
        if unread:
            room.put_record("t:" + thread_id, [unread, other_id])
        else:
            room.drop_record("t:" + thread_id)

    def _own(self, room: RoomServices, owner_id: UserId) -> None:
        if room.state.owner_id != owner_id:
            room.state.owner_id = owner_id
            room.touch_room()


def _put_if_new(room: RoomServices, key: str, value: Any) -> None:
    """Enter what the durable store has, unless the room has heard of it since: a seed may come late."""
    if key not in room.records:
        room.put_record(key, value)


def _users(room: RoomServices, prefix: str) -> list[UserId]:
    return [UserId(key[len(prefix) :]) for key in room.records if key.startswith(prefix)]


def _status(record: list[str], other_id: str) -> FriendStatus:
    status, requested_by, _ = record
    if status == "accepted":
        return "friends"
    if status == "none":
        return "none"
    return "asks" if requested_by == other_id else "asked"
