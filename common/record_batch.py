"""A batch of records sorted by kinds, each thing at most once, in the order in which a database should take them.

Pure. What the order of the batch decides is decided here, so that a database may take each kind as a whole: the
newest of two places, the later of two settings, whether a restriction was lifted after it was imposed.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeVar, assert_never

from msgspec import Struct, structs

from common.durable import (
    BlockSet,
    BoardNote,
    ChatMessage,
    FriendshipSet,
    MessagePlace,
    MessageRemoved,
    NoteRemoved,
    ReadMark,
    Record,
    Reported,
    Restricted,
    RestrictionsLifted,
    storable,
)
from common.ids import RoomId, UserId

AnyRecord = TypeVar("AnyRecord", bound=Struct)

_NO_ONE: Final = ("", None)


class Report(NamedTuple):
    """A report, and whether the batch removed its message before it."""

    reported: Reported
    emptied: bool


class Imposed(NamedTuple):
    """A restriction, and who lifted it within the batch, and when."""

    restricted: Restricted
    lifted_by: str
    lifted_at_ms: int | None


class RecordBatch:
    """Records of all kinds. Texts are storable, but for those of plain messages."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.messages: list[ChatMessage] = []
        """Without a recipient, in order of room and place; the first of two with the same place is the one."""
        self.direct: list[ChatMessage] = []
        """With a recipient; likewise."""
        self.marks: dict[tuple[RoomId, UserId], ReadMark] = {}
        self.friendships: dict[tuple[UserId, UserId], FriendshipSet] = {}
        """By pair, the lesser id first."""
        self.blocks: dict[tuple[UserId, UserId], BlockSet] = {}
        self.notes: list[BoardNote] = []
        """All, in order of board, note and place."""
        self.newest: dict[tuple[RoomId, str], BoardNote] = {}
        """Of each note the one with the greatest place."""
        self.removed_notes: dict[tuple[RoomId, str], NoteRemoved] = {}
        self.removed: dict[tuple[RoomId, MessagePlace], MessageRemoved] = {}
        self.reports: list[Report] = []
        """In the order of the batch."""
        self.restricted: dict[str, Imposed] = {}
        self.lifted: list[RestrictionsLifted] = []
        """In the order of the batch."""
        for record in records:
            if type(record) is ChatMessage and record.recipient_id is None:
                self.messages.append(record)
            else:
                self._take(storable_record(record))
        self.messages.sort(key=_place_of_message)
        self.direct.sort(key=_place_of_message)
        self.notes.sort(key=lambda note: (note.room_id, note.note_id, note.epoch, note.seq))

    def _take(self, record: Record) -> None:  # noqa: PLR0912 - one branch for each kind
        match record:
            case ChatMessage():
                self.direct.append(record)
            case ReadMark():
                mark = self.marks.setdefault((record.room_id, record.user_id), record)
                if (mark.epoch, mark.seq) < (record.epoch, record.seq):
                    self.marks[record.room_id, record.user_id] = record
            case FriendshipSet():
                pair = pair_of(record.user_id, record.other_id)
                if self.friendships.setdefault(pair, record).at_ms <= record.at_ms:
                    self.friendships[pair] = record
            case BlockSet():
                if self.blocks.setdefault((record.user_id, record.other_id), record).at_ms <= record.at_ms:
                    self.blocks[record.user_id, record.other_id] = record
            case BoardNote():
                self.notes.append(record)
                newest = self.newest.setdefault((record.room_id, record.note_id), record)
                if (newest.epoch, newest.seq) < (record.epoch, record.seq):
                    self.newest[record.room_id, record.note_id] = record
            case NoteRemoved():
                removed = self.removed_notes.setdefault((record.room_id, record.note_id), record)
                if (removed.epoch, removed.seq) < (record.epoch, record.seq):
                    self.removed_notes[record.room_id, record.note_id] = record
            case MessageRemoved():
                self.removed.setdefault((record.room_id, MessagePlace(record.epoch, record.seq)), record)
            case Reported():
                place = MessagePlace(record.epoch, record.seq)
                self.reports.append(Report(record, (record.room_id, place) in self.removed))
            case Restricted():
                # One that ends when it begins never runs; no database need hold it.
                if record.ends_at_ms is None or record.ends_at_ms > record.at_ms:
                    self.restricted.setdefault(record.record_id, Imposed(record, *_NO_ONE))
            case RestrictionsLifted():
                self.lifted.append(record)
                for imposed in self.restricted.values():
                    if imposed.lifted_at_ms is None and runs_at(imposed.restricted, record):
                        lifted = imposed._replace(lifted_by=record.by, lifted_at_ms=record.at_ms)
                        self.restricted[imposed.restricted.record_id] = lifted
            case _:
                assert_never(record)


def runs_at(restricted: Restricted, lifted: RestrictionsLifted) -> bool:
    """Tell whether a restriction that was imposed before is among those that are lifted."""
    return (
        (restricted.room_id, restricted.user_id) == (lifted.room_id, lifted.user_id)
        and restricted.at_ms <= lifted.at_ms
        and (restricted.ends_at_ms is None or restricted.ends_at_ms > lifted.at_ms)
    )


def pair_of(user_id: UserId, other_id: UserId) -> tuple[UserId, UserId]:
    """Return two persons, the lesser id first, as every store orders them: by code points."""
    return (user_id, other_id) if user_id < other_id else (other_id, user_id)


def storable_record(record: AnyRecord) -> AnyRecord:
    """Return a record with its texts as every store can hold them, see `storable`."""
    changed: dict[str, object] = {}
    for name in record.__struct_fields__:
        value = getattr(record, name)
        if isinstance(value, str):
            clean: object = storable(value)
        elif isinstance(value, tuple):
            clean = tuple(storable(text) for text in value)
        else:
            continue
        if clean != value:
            changed[name] = clean
    return structs.replace(record, **changed) if changed else record


def _place_of_message(message: ChatMessage) -> tuple[RoomId, int, int]:
    return (message.room_id, message.epoch, message.seq)
