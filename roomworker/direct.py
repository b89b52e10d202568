"""Rules of a `dm:` room: the thread of two persons.

Nobody is in it: both send calls to it, and it writes to the inboxes of both. It owns the order of the thread, whether
the two are friends, how far each has read, and so what is unread.
"""

from collections.abc import Iterable
from typing import Any, ClassVar, Final

from msgspec import UNSET, Struct, field, msgpack

from common.commands import SetFriendship
from common.durable import FriendshipSet, FriendshipStatus, ReadMark, Thread
from common.errors import ERROR_MEANING, ErrorCode, RejectionCode
from common.ids import THREAD_KIND, Epoch, Seq, UserId, inbox_of, thread_of, thread_pair
from common.letters import (
    FriendshipMoved,
    MessageArrived,
    MessageGone,
    ThreadWasRead,
    TypingSeen,
)
from common.messages import (
    Ack,
    ChatSend,
    ClientMessage,
    DirectSend,
    ErrorEvent,
    FriendAdd,
    FriendRemove,
    ReadUpTo,
    Report,
    RoomState,
    ServerEvent,
    Typing,
    You,
    refusal,
    rejection,
)
from common.settings import WorkerSettings
from common.token_bucket import Rate
from roomworker.chat import refuse_length, say
from roomworker.member import Member
from roomworker.reports import file_report
from roomworker.rules import Incoming, Operation, PlainRules, RoomSeed, RoomServices
from roomworker.typing_marks import TypingMarks

ADMIN_ROLE: Final = "admin"
"""May write to anybody."""

UNREAD_SEQS_MAX: Final = 1_000
"""Unread messages whose places are known; older ones are only counted."""

FRIEND_RATE: Final = Rate(0.5, 10.0)
READ_RATE: Final = Rate(10.0, 30.0)


class Reader(Struct, array_like=True):
    """One of the two: the name as last seen, how far this one has read, and what is unread.

    `unread_seqs` are places of this epoch, in order; `unread_older` counts what stands before them.
    """

    name: str = ""
    read_epoch: Epoch = Epoch(0)
    read_seq: Seq = Seq(0)
    unread_seqs: list[Seq] = field(default_factory=list)
    unread_older: int = 0

    @property
    def unread(self) -> int:
        """How many messages of the other one are unread."""
        return len(self.unread_seqs) + self.unread_older


class ThreadState(Struct, array_like=True):
    """The thread's two persons (none: not known yet), and where they stand."""

    readers: dict[UserId, Reader] = field(default_factory=dict)
    friendship: FriendshipStatus = "none"
    requested_by: UserId = UserId("")


_encoder: Final = msgpack.Encoder()
_decoder: Final = msgpack.Decoder(ThreadState)


class DirectRules(PlainRules):
    """A thread, as docs/protocol.md describes it."""

    kind: ClassVar[str] = THREAD_KIND
    joinable = False
    takes_calls = True
    writes_letters = True

    def __init__(self, settings: WorkerSettings) -> None:
        self.idle_ttl_ms = settings.kept_idle_ttl_ms if settings.database_url else 0
        self._rate = Rate(settings.chat_per_second, settings.chat_burst)
        self._characters_max = settings.direct_characters_max
        self._typing = TypingMarks(settings)

    def new_room_state(self) -> ThreadState:
        """See `RoomRules.new_room_state`."""
        return ThreadState()

    def encode_room_state(self, state: Any) -> bytes:
        """See `RoomRules.encode_room_state`."""
        return _encoder.encode(state)

    def decode_room_state(self, data: bytes) -> ThreadState:
        """See `RoomRules.decode_room_state`."""
        return _decoder.decode(data)

    def seed(self, room: RoomServices, seed: RoomSeed) -> None:
        """See `RoomRules.seed`."""
        thread, state = seed.content, _state(room)
        if not isinstance(thread, Thread):
            return
        state.friendship, state.requested_by = thread.friendship, thread.requested_by or UserId("")
        for member in thread.members:
            reader = state.readers.setdefault(member.user_id, Reader())
            reader.read_epoch, reader.read_seq = member.read
            reader.unread_older = member.unread

    def snapshot(self, room: RoomServices, reader: Member, *, recovered: bool) -> RoomState:
        """See `RoomRules.snapshot`. Nobody is in a thread, so nobody is shown it."""
        return RoomState(room.room_id, room.now_ms, [], You(reader.user_id), room.epoch, room.seq, recovered)

    def people_needed(self, room: RoomServices, sender: UserId, message: ClientMessage) -> Iterable[UserId]:
        """See `RoomRules.people_needed`."""
        pair = _pair_of(room, sender, message)
        return () if pair is None else pair

    def handle(self, room: RoomServices, incoming: Incoming) -> ServerEvent | None:
        """See `RoomRules.handle`."""
        message, sender = incoming.message, incoming.member
        pair = _pair_of(room, sender.user_id, message)
        if pair is None:
            return refusal(ErrorCode.NOT_FOUND, room.room_id)
        other_id = pair[1]
        if not room.is_seeded:
            return refusal(ErrorCode.BUSY, room.room_id)
        if not isinstance(message, DirectSend | FriendAdd) and not _is_known(room):
            return refusal(ErrorCode.NOT_FOUND, room.room_id)
        match message:
            case DirectSend() | ChatSend():
                return self._send(room, incoming, message, other_id)
            case ReadUpTo():
                return self._read(room, incoming, message, other_id)
            case Typing():
                self._type(room, incoming, message, other_id)
                return None
            case FriendAdd() | FriendRemove():
                return self._befriend(room, incoming, message, other_id)
            case Report():
                return file_report(room, incoming, message)
            case _:
                return refusal(ErrorCode.NOT_ALLOWED, room.room_id)

    # --- messages -----------------------------------------------------------------------------------------

    def _send(
        self, room: RoomServices, incoming: Incoming, message: DirectSend | ChatSend, other_id: UserId
    ) -> ServerEvent:
        payload, sender = message.payload, incoming.member
        if other_id == sender.user_id:
            return ErrorEvent(ErrorCode.INVALID_PAYLOAD, "Nobody can write to themselves.", room.room_id)
        too_long = refuse_length(room, payload.text, self._characters_max)
        if too_long is not None:
            return too_long
        if _is_blocked(room, sender.user_id, other_id):
            return rejection(RejectionCode.BLOCKED, other_id)
        if _state(room).friendship != "accepted" and ADMIN_ROLE not in sender.roles:
            return rejection(RejectionCode.NOT_FRIENDS, other_id)
        is_muted = room.person(sender.user_id).muted_until_ms > incoming.now_ms
        if is_muted or room.is_muted(sender.user_id, incoming.now_ms):
            return rejection(RejectionCode.MUTED, other_id)
        verdict = room.screen(payload.text)
        if verdict.action == "reject":
            return rejection(RejectionCode.FILTERED, other_id)
        if not room.can_keep():
            return refusal(ErrorCode.BUSY, room.room_id)
        if not room.admit(incoming, "direct_send", self._rate):
            return refusal(ErrorCode.RATE_LIMITED, room.room_id)
        self._typing.sent(room, sender)
        said = say(room, incoming, payload, verdict, other_id)
        mine, others = _reader(room, sender.user_id), _reader(room, other_id)
        mine.name = sender.display_name
        others.unread_seqs.append(said.seq)
        if len(others.unread_seqs) > UNREAD_SEQS_MAX:
            del others.unread_seqs[0]
            others.unread_older += 1
        room.touch_room()
        for owner_id, reader in ((sender.user_id, mine), (other_id, others)):
            room.tell(
                inbox_of(owner_id),
                MessageArrived(
                    owner_id,
                    room.room_id,
                    said.epoch,
                    said.seq,
                    said.message_id,
                    said.author_id,
                    said.author_name,
                    other_id,
                    said.text,
                    said.reply_to,
                    reader.unread,
                ),
            )
        return Ack(room.room_id, said.seq, said.message_id)

    def message_deleted(self, room: RoomServices, author_id: UserId, message_id: str, epoch: Epoch, seq: Seq) -> None:
        """See `RoomRules.message_deleted`."""
        state = _state(room)
        for owner_id, reader in state.readers.items():
            if epoch == room.epoch and seq in reader.unread_seqs:
                reader.unread_seqs.remove(seq)
                room.touch_room()
            other_id = next((user_id for user_id in state.readers if user_id != owner_id), UserId(""))
            gone = MessageGone(owner_id, room.room_id, epoch, seq, message_id, author_id, other_id, reader.unread)
            room.tell(inbox_of(owner_id), gone)

    def epoch_began(self, room: RoomServices) -> None:
        """See `RoomRules.epoch_began`."""
        for reader in _state(room).readers.values():
            reader.unread_older, reader.unread_seqs = reader.unread, []

    # --- reading and typing -------------------------------------------------------------------------------

    def _read(self, room: RoomServices, incoming: Incoming, message: ReadUpTo, other_id: UserId) -> ServerEvent:
        user_id, payload = incoming.member.user_id, message.payload
        epoch = room.epoch if payload.epoch is UNSET else Epoch(payload.epoch)
        seq = Seq(payload.seq)
        if epoch > room.epoch or (epoch == room.epoch and seq > room.seq):
            return refusal(ErrorCode.NOT_FOUND, room.room_id)
        reader = _reader(room, user_id)
        if (epoch, seq) <= (reader.read_epoch, reader.read_seq):
            return Ack(room.room_id, reader.read_seq)
        if not room.admit(incoming, "read_up_to", READ_RATE):
            return refusal(ErrorCode.RATE_LIMITED, room.room_id)
        reader.read_epoch, reader.read_seq = epoch, seq
        # What came before this epoch is only counted here: who reads in it is taken to have read all of it.
        reader.unread_older = 0
        if epoch == room.epoch:
            reader.unread_seqs = [place for place in reader.unread_seqs if place > seq]
        room.touch_room()
        room.keep(ReadMark(room.room_id, user_id, epoch, seq))
        hidden = _is_blocked(room, user_id, other_id)
        for owner_id, to_id in ((user_id, other_id), (other_id, user_id)):
            if owner_id == other_id and hidden:
                continue
            unread = _reader(room, owner_id).unread
            letter = ThreadWasRead(owner_id, room.room_id, epoch, seq, user_id, to_id, unread)
            room.tell(inbox_of(owner_id), letter)
        return Ack(room.room_id, seq)

    def _type(self, room: RoomServices, incoming: Incoming, message: Typing, other_id: UserId) -> None:
        sender_id = incoming.member.user_id
        may_write = _state(room).friendship == "accepted" or ADMIN_ROLE in incoming.member.roles
        if not may_write or _is_blocked(room, sender_id, other_id):
            return
        event = self._typing.mark(room, incoming, message, room.room_id)
        if event is not None:
            self._tell_typing(room, other_id, sender_id, event.displayName, event.expiresInMs, typing=event.typing)

    def alarm(self, room: RoomServices, name: str) -> None:
        """See `RoomRules.alarm`."""
        for user_id, display_name in self._typing.take_expired(room):
            for other_id in _state(room).readers:
                if other_id != user_id:
                    self._tell_typing(room, other_id, user_id, display_name, 0, typing=False)

    def _tell_typing(
        self, room: RoomServices, owner_id: UserId, user_id: UserId, name: str, expires_in_ms: int, *, typing: bool
    ) -> None:
        room.tell(inbox_of(owner_id), TypingSeen(owner_id, room.room_id, user_id, name, typing, expires_in_ms))

    # --- friendship ---------------------------------------------------------------------------------------

    def _befriend(
        self, room: RoomServices, incoming: Incoming, message: FriendAdd | FriendRemove, other_id: UserId
    ) -> ServerEvent:
        state, user_id = _state(room), incoming.member.user_id
        if other_id == user_id:
            return ErrorEvent(ErrorCode.INVALID_PAYLOAD, "Nobody is their own friend.", room.room_id)
        if isinstance(message, FriendAdd) and _is_blocked(room, user_id, other_id):
            return rejection(RejectionCode.BLOCKED, other_id)
        if not room.admit(incoming, "friend_add", FRIEND_RATE):
            return refusal(ErrorCode.RATE_LIMITED, room.room_id)
        _reader(room, user_id).name = incoming.member.display_name
        _reader(room, other_id)
        if isinstance(message, FriendRemove):
            if state.friendship != "none":
                self._set_friendship(room, "none", user_id)
        elif state.friendship == "none":
            self._set_friendship(room, "pending", user_id)
        elif state.friendship == "pending" and state.requested_by == other_id:
            self._set_friendship(room, "accepted", state.requested_by)
        return Ack(room.room_id, room.seq)

    def operate(self, room: RoomServices, operation: Operation) -> dict[str, Any]:
        """See `RoomRules.operate`."""
        if not isinstance(operation, SetFriendship):
            return super().operate(room, operation)
        user_id, other_id = operation.user_id, operation.other_id
        if user_id == other_id or thread_of(user_id, other_id) != room.room_id:
            return {"error": {"code": ErrorCode.NOT_FOUND, "message": ERROR_MEANING[ErrorCode.NOT_FOUND]}}
        status: FriendshipStatus = "accepted" if operation.friends else "none"
        _reader(room, user_id)
        _reader(room, other_id)
        changed = _state(room).friendship != status
        if changed:
            self._set_friendship(room, status, user_id)
        return {"userId": user_id, "friendId": other_id, "friends": operation.friends, "changed": changed}

    def _set_friendship(self, room: RoomServices, status: FriendshipStatus, requested_by: UserId) -> None:
        state = _state(room)
        state.friendship, state.requested_by = status, requested_by
        room.touch_room()
        low_id, high_id = sorted(state.readers)
        room.keep(FriendshipSet(low_id, high_id, status, requested_by, room.now_ms))
        for owner_id, other_id in ((low_id, high_id), (high_id, low_id)):
            name = state.readers[other_id].name
            room.tell(inbox_of(owner_id), FriendshipMoved(owner_id, other_id, name, status, requested_by))


def _state(room: RoomServices) -> ThreadState:
    assert isinstance(room.state, ThreadState)
    return room.state


def _reader(room: RoomServices, user_id: UserId) -> Reader:
    return _state(room).readers.setdefault(user_id, Reader())


def _is_known(room: RoomServices) -> bool:
    """Tell whether anything ever happened between the two."""
    state = _state(room)
    return bool(state.readers) or state.friendship != "none"


def _pair_of(room: RoomServices, sender: UserId, message: ClientMessage) -> tuple[UserId, UserId] | None:
    """Return the sender and the other one; None where the sender is not one of this thread's two."""
    payload = getattr(message, "payload", None)
    named = getattr(payload, "recipientId", UNSET)
    if named is UNSET:
        named = getattr(payload, "userId", UNSET)
    if named is not UNSET:
        return (sender, UserId(named)) if thread_of(sender, UserId(named)) == room.room_id else None
    pair = thread_pair(room.room_id) or tuple(_state(room).readers)
    if len(pair) != 2 or sender not in pair:
        return None
    return sender, pair[0] if pair[1] == sender else pair[1]


def _is_blocked(room: RoomServices, user_id: UserId, other_id: UserId) -> bool:
    return other_id in room.person(user_id).blocks or user_id in room.person(other_id).blocks
