"""The seam to the durable store: what must outlive Redis. The comments here are the specification.

Two versions keep it: `common.durable_memory` (complete, for tests and simulation) and
`common.durable_postgres`. tests/contract runs one suite on both.

What holds for every call: it may raise `StoreUnavailable`, after which the call may or may not have taken
effect, and repeating it is safe. Cancelling a call is the same. Any number of callers may run at once.
`SchemaMismatch` says that the database is of another release: the process should end.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, Protocol

from msgspec import Struct

from common.ids import Epoch, RoomId, Seq, UserId

PAGE_MESSAGES_MAX: Final = 200
"""Messages of one page; the frames of so many still fit into one answer of a few hundred KiB."""

FriendshipStatus = Literal["none", "pending", "accepted"]

NO_END_MS: Final = 2**53
"""A mute or ban until then has no end."""

_NOT_STORABLE: Final = re.compile("[\x00\ud800-\udfff]")


class MessagePlace(NamedTuple):
    """Where a message stands in its room: places order as tuples do. Epochs order since a later one is greater."""

    epoch: Epoch
    seq: Seq


class ChatMessage(Struct, frozen=True, array_like=True, tag=True):
    """A chat message as it was sequenced; identified by (`room_id`, `epoch`, `seq`), and by `message_id` as well.

    `reply_to` is the `message_id` that it answers. `at_ms` is the worker's time when it was sequenced. With
    `recipient_id` it is a direct message, and the room is the thread of the two.
    """

    room_id: RoomId
    epoch: Epoch
    seq: Seq
    message_id: str
    author_id: UserId
    author_name: str
    text: str
    at_ms: int
    reply_to: str | None = None
    recipient_id: UserId | None = None


class ReadMark(Struct, frozen=True, array_like=True, tag=True):
    """A person has read a thread up to a place. Never goes back."""

    room_id: RoomId
    user_id: UserId
    epoch: Epoch
    seq: Seq


class FriendshipSet(Struct, frozen=True, array_like=True, tag=True):
    """Where two persons stand; `none` removes the pair. The later of two records of a pair holds."""

    user_id: UserId
    other_id: UserId
    status: FriendshipStatus
    requested_by: UserId
    at_ms: int


class BlockSet(Struct, frozen=True, array_like=True, tag=True):
    """A person blocked another, or ended it. The later of two records of a pair holds."""

    user_id: UserId
    other_id: UserId
    blocked: bool
    at_ms: int


class BoardNote(Struct, frozen=True, array_like=True, tag=True):
    """A note as it was written: at place (`epoch`, `seq`) of its board, as revision `revision`.

    Of a note's records the one with the greatest (`epoch`, `seq`) says how it is now; each is kept as a revision. A
    note that was deleted may be put again under its id; revisions go on counting.
    """

    room_id: RoomId
    epoch: Epoch
    seq: Seq
    note_id: str
    revision: int
    x: float
    y: float
    text: str
    colour: str
    tags: tuple[str, ...]
    author_id: UserId
    author_name: str
    edited_by: UserId
    created_at_ms: int
    updated_at_ms: int


class NoteRemoved(Struct, frozen=True, array_like=True, tag=True):
    """A note was taken off at place (`epoch`, `seq`) of its board; `revision` is one after its last."""

    room_id: RoomId
    epoch: Epoch
    seq: Seq
    note_id: str
    revision: int
    by: UserId
    at_ms: int


class MessageRemoved(Struct, frozen=True, array_like=True, tag=True):
    """A message is not shown any more; its text is emptied. No effect where it is not stored."""

    room_id: RoomId
    epoch: Epoch
    seq: Seq
    by: str
    at_ms: int


class Reported(Struct, frozen=True, array_like=True, tag=True):
    """A person reported a message, or (`source` is `filter`, `reporter_id` empty) the word filter found it.

    Opens an item of the moderation queue, or joins the open one of the same message; a second report of the
    same person changes nothing. `message_id`, `subject_id` and `excerpt` are empty where the room no longer knew
    the message: the store fills them in from the stored message, and drops the report where there is none.
    """

    room_id: RoomId
    epoch: Epoch
    seq: Seq
    message_id: str
    subject_id: UserId
    excerpt: str
    reporter_id: UserId
    reason: str
    source: Literal["report", "filter"]
    at_ms: int


class Restricted(Struct, frozen=True, array_like=True, tag=True):
    """A moderator muted or banned a person in a room (of an inbox: everywhere). `ends_at_ms` None: without end."""

    record_id: str
    """Unique; a repeated record changes nothing."""
    room_id: RoomId
    user_id: UserId
    kind: Literal["mute", "ban"]
    reason: str
    by: str
    at_ms: int
    ends_at_ms: int | None


class RestrictionsLifted(Struct, frozen=True, array_like=True, tag=True):
    """All of a person's mutes and bans in a room that run at `at_ms` are lifted."""

    room_id: RoomId
    user_id: UserId
    by: str
    at_ms: int


Record = (
    ChatMessage
    | ReadMark
    | FriendshipSet
    | BlockSet
    | BoardNote
    | NoteRemoved
    | MessageRemoved
    | Reported
    | Restricted
    | RestrictionsLifted
)
"""What a room's commit hands to the durable store, through the outbox. Each may be appended again without effect, also
after later records of the same thing."""


class Page(Struct, frozen=True):
    """A piece of a room's history, oldest first, and whether there is more on each side of it."""

    messages: list[ChatMessage]
    more_before: bool
    more_after: bool


class ThreadMember(Struct, frozen=True):
    """How far one of the two has read, and how many messages of the other stand after it."""

    user_id: UserId
    read: MessagePlace
    unread: int


class Thread(Struct, frozen=True):
    """What is stored of a thread: its two persons (none yet where nobody wrote), and where they stand."""

    room_id: RoomId
    members: tuple[ThreadMember, ...]
    friendship: FriendshipStatus
    requested_by: UserId | None


class ThreadSummary(Struct, frozen=True):
    """A thread in a person's list. `other_name` is the other one's name in that one's newest message, or empty."""

    room_id: RoomId
    other_id: UserId
    other_name: str
    mine: ThreadMember
    others: ThreadMember
    active_at_ms: int
    last_message: ChatMessage | None


class InboxSeed(Struct, frozen=True):
    """What a person's inbox knows at its beginning."""

    unread: dict[RoomId, int]
    """Of threads that have some."""
    friendships: dict[UserId, tuple[FriendshipStatus, UserId]]
    """Of each other person: status, and who asked."""


class Rectangle(NamedTuple):
    """A part of a board, its borders included."""

    x_min: float
    y_min: float
    x_max: float
    y_max: float


class Restriction(Struct, frozen=True):
    """A mute or ban that runs."""

    user_id: UserId
    kind: Literal["mute", "ban"]
    reason: str
    ends_at_ms: int | None


class ErasureRequest(NamedTuple):
    """An erasure that was asked for.

    Attributes:
        is_new: False where one for the same person was under way already.
        passes: how many were done when it was asked for.
    """

    erasure_id: int
    is_new: bool
    passes: int


class Erasure(Struct, frozen=True):
    """How far the erasure of a person's data is. `due_at_ms` None: it is finished. `counts`: rows, by what was done."""

    erasure_id: int
    requested_by: str
    requested_at_ms: int
    passes: int
    due_at_ms: int | None
    finished_at_ms: int | None
    counts: dict[str, int]


class QueueReport(Struct, frozen=True):
    """One person's report."""

    reporter_id: UserId
    reason: str
    at_ms: int


class QueueEntry(Struct, frozen=True):
    """An item of the moderation queue; of its reports the first 20. Without (`epoch`, `seq`) it is no message."""

    item_id: int
    source: Literal["report", "filter"]
    target: Literal["message", "note", "person"]
    room_id: RoomId
    target_id: str
    subject_id: UserId
    excerpt: str
    opened_at_ms: int
    reports: list[QueueReport]
    report_count: int
    epoch: Epoch | None
    seq: Seq | None
    claimed_by: str | None
    claimed_at_ms: int | None
    resolution: str | None
    resolved_by: str | None
    resolved_at_ms: int | None
    resolution_note: str | None


class Audited(Struct, frozen=True):
    """An entry of the audit log; `entry_id` and `at_ms` are the store's."""

    entry_id: int
    at_ms: int
    actor: str
    action: str
    room_id: RoomId | None
    subject_id: UserId | None
    details: dict[str, Any]


class DurableStore(Protocol):
    """What outlives Redis."""

    # --- written by workers -------------------------------------------------------------------------------

    async def append(self, records: Sequence[Record]) -> None:
        """Store records, all or none, as if one after the other; what is stored already changes nothing.

        A message: identified by (room, epoch, seq), and by `message_id` as well; of two such within `records`, the one
        that stands first by room and place is stored. One with a recipient makes the thread and its members where they
        are missing, moves its activity, and counts as unread for the recipient unless that one has read further.

        Within one call messages are stored first, then reports, removals of messages and read marks; notes before
        removals of notes. A restriction that ends when it begins is passed over. Of friendships and blocks a record
        with an earlier `at_ms` than the stored one's changes nothing; what ended leaves nothing to compare with, so a
        writer that is late with an older record brings it back, until the newer one is appended again.

        What PostgreSQL cannot hold in a text, NUL and lone surrogates, is stored as U+FFFD (see `storable`). The
        edge refuses it, so it should not occur; but a record that can never be stored would hold up
        all that wait behind it.

        Raises:
            RecordRefused: the store answered, and will never take one of the records. Nothing was stored.
        """
        ...

    # --- what a room begins with --------------------------------------------------------------------------

    async def thread(self, room_id: RoomId, user_id: UserId, other_id: UserId) -> Thread:
        """Return what is stored of the thread of two persons, and their friendship."""
        ...

    async def thread_members(self, room_id: RoomId) -> tuple[UserId, ...]:
        """Return the persons of a thread; empty where it is not stored."""
        ...

    async def inbox(self, user_id: UserId) -> InboxSeed:
        """Return what a person's inbox begins with."""
        ...

    async def board(self, room_id: RoomId, limit: int) -> list[BoardNote]:
        """Return the notes of a board that are shown, those that were written last, oldest first."""
        ...

    async def removed_notes(self, room_id: RoomId, note_ids: Sequence[str]) -> dict[str, int]:
        """Return, of these notes, those that were taken off, with their last revision."""
        ...

    async def restrictions(self, room_id: RoomId, now_ms: int) -> list[Restriction]:
        """Return the mutes and bans that run in a room; of several of a person and kind the one that ends last."""
        ...

    async def restricted_everywhere(self, user_ids: Sequence[UserId], now_ms: int) -> dict[UserId, list[Restriction]]:
        """Return the mutes and bans of persons that run in their own inboxes, and so everywhere; of who has some."""
        ...

    async def blocks_of(self, user_ids: Sequence[UserId]) -> dict[UserId, frozenset[UserId]]:
        """Return the blocks of these persons; an empty set for who has none."""
        ...

    # --- pages --------------------------------------------------------------------------------------------

    async def page(
        self,
        room_id: RoomId,
        *,
        before: MessagePlace | None = None,
        after: MessagePlace | None = None,
        limit: int,
        hidden_authors: Collection[UserId] = (),
    ) -> Page:
        """Return up to `limit` (1 to 200) messages of a room, oldest first.

        With `before`, the newest that stand before it; with `after`, the oldest that stand after it; with
        neither, the newest of all; with both, the oldest between them. Messages of `hidden_authors` are left
        out and do not count. `more_before` and `more_after` tell whether others (visible ones) stand on that
        side of the page; of an empty page both are about the asked place: whether something stands before
        `after`, and after `before`, these places themselves not counted.
        """
        ...

    async def threads(
        self,
        user_id: UserId,
        *,
        before: tuple[int, RoomId] | None = None,
        limit: int,
        hidden: Collection[UserId] = (),
    ) -> tuple[list[ThreadSummary], int]:
        """Return up to `limit` (1 to 100) threads of a person, the most lately active first, and all unread messages.

        `before` is (`active_at_ms`, `room_id`) of the last thread of the page before. Threads with a person in
        `hidden` are left out, also of the sum. `last_message` is the newest that is shown.
        """
        ...

    async def notes(
        self,
        room_id: RoomId,
        *,
        rectangle: Rectangle | None = None,
        after: tuple[int, str] | None = None,
        limit: int,
        hidden: Collection[UserId] = (),
    ) -> list[BoardNote]:
        """Return up to `limit` (1 to 200) notes that are shown, in order of (`created_at_ms`, `note_id`).

        They stand after the place `after`, and within the rectangle. Left out are notes whose author or last editor is
        in `hidden`.
        """
        ...

    # --- moderation ---------------------------------------------------------------------------------------

    async def queue(
        self, *, open_only: bool = True, after: int | None = None, limit: int, item_id: int | None = None
    ) -> list[QueueEntry]:
        """Return up to `limit` (1 to 200) items in order of their numbers, after a number; or the one of `item_id`."""
        ...

    async def claim(self, item_id: int, moderator: str, *, claimed: bool) -> bool:
        """Give an open item to a moderator, or give it back. Writes the audit log, see common/audit.py.

        False: it is not open, is not there, or another moderator has it. Done before by the same one: True.
        """
        ...

    async def resolve(
        self, item_id: int, moderator: str, resolution: str, note: str, details: Mapping[str, Any]
    ) -> bool:
        """Close an open item. Writes the audit log, with these details, in the same step. False as with `claim`.

        Of a closed item True where the same moderator closed it with the same resolution.
        """
        ...

    async def audit(
        self,
        actor: str,
        action: str,
        room_id: RoomId | None,
        subject_id: UserId | None,
        details: Mapping[str, Any],
    ) -> None:
        """Add an entry to the audit log."""
        ...

    async def audit_page(
        self, *, before: int | None = None, limit: int, subject_id: UserId | None = None
    ) -> list[Audited]:
        """Return up to `limit` (1 to 200) entries of the audit log, newest first, before an entry."""
        ...

    # --- erasure ------------------------------------------------------------------------------------------

    async def request_erasure(self, user_id: UserId, requested_by: str) -> ErasureRequest:
        """Ask for the erasure of a person's data; the job process does it. `requested_by` is not empty.

        Asked again while it is under way, the same one goes through everything again at once.
        """
        ...

    async def erasure(self, erasure_id: int) -> Erasure | None:
        """Return how far an erasure is; None: there is none of this number."""
        ...

    # --- the store itself ---------------------------------------------------------------------------------

    async def ping_ms(self) -> float:
        """Return how long an empty round trip took."""
        ...

    async def close(self) -> None:
        """Close the connections. Nothing may be called after it."""
        ...


def storable(text: str) -> str:
    """Return a text as every store can hold it: U+FFFD in place of NUL and of lone surrogates."""
    return _NOT_STORABLE.sub("\ufffd", text)
