"""Rules of a `notes:` room: a board with notes pinned to places, which every member may put, change and take off.

A change names the revision that it is based on, so nobody writes over what they have not seen. Revisions of an id only
grow, also when a note is taken off and put again: the board remembers the last `REMOVED_MAX` that were taken off. Of
one whose removal it no longer knows, revisions begin at 1 again. That is harmless to what is shown: of a note's
records in the durable store the one with the greatest place counts, not the one with the greatest revision.

Texts go through the word filter: it refuses and masks. Moderators have no queue for notes, so words that they should
look at pass.

A reader sees a note if the reader blocks neither who put it there nor who wrote it last.

Records: `n:<note>` a note, as the durable store has it; `g:<note>` one that was taken off.
"""

from collections.abc import Collection
from typing import Any, ClassVar, Final

from msgspec import UNSET, Struct, UnsetType, msgpack, structs

from common.durable import BoardNote, MessagePlace, NoteRemoved
from common.errors import ErrorCode
from common.ids import BOARD_KIND, Epoch, Seq, UserId
from common.letters import AnyLetter
from common.messages import (
    Ack,
    ClientMessage,
    ErrorEvent,
    Note,
    NoteChange,
    NoteChanged,
    NoteChangePayload,
    NoteConflict,
    NoteDelete,
    NoteDeleted,
    NoteDeletePayload,
    NotePlaced,
    NotePut,
    NotePutPayload,
    RoomState,
    ServerEvent,
    Typing,
    You,
    refusal,
)
from common.settings import WorkerSettings
from common.token_bucket import Rate
from roomworker.crowd import CrowdRules
from roomworker.member import Member
from roomworker.rules import Incoming, RoomSeed, RoomServices

NOTE_RATE: Final = Rate(10.0, 20.0)
"""Of each of the three messages. Enough for a note that is dragged; clients send where it is while it moves."""

REMOVED_MAX: Final = 1_000
"""Notes that were taken off and are remembered; the earliest go first."""

_NOTE: Final = "n:"
_GONE: Final = "g:"


class GoneNote(Struct, array_like=True, frozen=True):
    """A note that was taken off: as what revision, where in the order, by whom, and who had put it there."""

    epoch: Epoch
    seq: Seq
    revision: int
    removed_by: UserId
    author_id: UserId


_note_decoder: Final = msgpack.Decoder(BoardNote)
_gone_decoder: Final = msgpack.Decoder(GoneNote)


class NotesRules(CrowdRules):
    """A board, as docs/protocol.md describes it."""

    kind: ClassVar[str] = BOARD_KIND

    def __init__(self, settings: WorkerSettings) -> None:
        super().__init__(settings)
        self.idle_ttl_ms = settings.kept_idle_ttl_ms if settings.database_url else 0
        self._notes_max = settings.board_notes_max
        self._latest_notes = settings.board_latest_notes

    def decode_record(self, key: str, data: bytes) -> Any:
        """See `RoomRules.decode_record`."""
        if key.startswith(_NOTE):
            return _note_decoder.decode(data)
        if key.startswith(_GONE):
            return _gone_decoder.decode(data)
        return super().decode_record(key, data)

    def seed(self, room: RoomServices, seed: RoomSeed) -> None:
        """See `RoomRules.seed`. What is here already and was written later stays."""
        if not isinstance(seed.content, list):
            return
        for stored in seed.content:
            known = _note(room, stored.note_id) or _gone(room, stored.note_id)
            if known is None or _place(known) < _place(stored):
                room.drop_record(_GONE + stored.note_id)
                room.put_record(_NOTE + stored.note_id, stored)

    def epoch_began(self, room: RoomServices) -> None:
        """See `RoomRules.epoch_began`. What Redis lost of the board may be in the database already."""
        room.forget_seed()

    def snapshot(self, room: RoomServices, reader: Member, *, recovered: bool) -> RoomState:
        """See `RoomRules.snapshot`."""
        blocked = room.blocks_of(reader.user_id)
        seen = sorted((note for note in _notes(room) if _is_seen(note, blocked)), key=_place)
        return RoomState(
            room.room_id,
            room.now_ms,
            [],
            You(reader.user_id),
            room.epoch,
            room.seq,
            recovered,
            memberCount=room.member_count,
            notes=[_view(note) for note in seen[-self._latest_notes :]],
            noteCount=len(seen),
        )

    def history_needed(self, message: ClientMessage | AnyLetter) -> Seq | None:
        """See `RoomRules.history_needed`."""
        return None

    def handle(self, room: RoomServices, incoming: Incoming) -> ServerEvent | None:
        """See `RoomRules.handle`."""
        message = incoming.message
        match message:
            case NotePut() | NoteChange() | NoteDelete():
                return self._write(room, incoming, message)
            case Typing():
                self._typing.typed(room, incoming, message)
                return None
            case _:
                return refusal(ErrorCode.NOT_ALLOWED, room.room_id)

    # --- notes --------------------------------------------------------------------------------------------

    def _write(self, room: RoomServices, incoming: Incoming, message: NotePut | NoteChange | NoteDelete) -> ServerEvent:
        if room.is_muted(incoming.member.user_id, incoming.now_ms):
            return refusal(ErrorCode.MUTED, room.room_id)
        if not room.can_keep() or not room.is_seeded:
            return refusal(ErrorCode.BUSY, room.room_id)
        if not room.admit(incoming, str(message.__struct_config__.tag), NOTE_RATE):
            return refusal(ErrorCode.RATE_LIMITED, room.room_id)
        if isinstance(message, NoteDelete):
            return self._delete(room, incoming, message.payload)
        text = message.payload.text
        if text is not UNSET:
            verdict = room.screen(text)
            if verdict.action == "reject":
                return refusal(ErrorCode.FILTERED, room.room_id)
            text = verdict.text
        if isinstance(message, NotePut):
            return self._put(room, incoming, structs.replace(message.payload, text=text))
        return self._change(room, incoming, structs.replace(message.payload, text=text))

    def _put(self, room: RoomServices, incoming: Incoming, payload: NotePutPayload) -> ServerEvent:
        member, now_ms = incoming.member, incoming.now_ms
        note_id = room.message_id(room.next_seq()) if payload.noteId is UNSET else payload.noteId
        there = _note(room, note_id)
        if there is not None:
            if not _is_seen(there, room.blocks_of(member.user_id)):
                # That the id is taken cannot be hidden; all else is.
                return NoteConflict(room.room_id, note_id)
            if there.author_id == member.user_id and not _differs(there, payload):
                # Sent again after a lost answer, later than an `id` is remembered.
                return Ack(room.room_id, room.seq, revision=there.revision, noteId=note_id)
            return NoteConflict(room.room_id, note_id, _view(there))
        if len(_notes(room)) >= self._notes_max:
            text = f"A board may have {self._notes_max} notes. Delete one first."
            return ErrorEvent(ErrorCode.LIMIT_REACHED, text, room.room_id)
        gone = _gone(room, note_id)
        note = BoardNote(
            room.room_id,
            room.epoch,
            room.next_seq(),
            note_id,
            1 if gone is None else gone.revision + 1,
            payload.x,
            payload.y,
            payload.text,
            payload.colour,
            tuple(payload.tags),
            member.user_id,
            member.display_name,
            member.user_id,
            now_ms,
            now_ms,
        )
        room.drop_record(_GONE + note_id)
        self._typing.sent(room, member)
        _enter(room, incoming, note, NotePlaced(room.room_id, _view(note)))
        return Ack(room.room_id, note.seq, revision=note.revision, noteId=note_id)

    def _change(self, room: RoomServices, incoming: Incoming, payload: NoteChangePayload) -> ServerEvent:
        member = incoming.member
        there = _note(room, payload.noteId)
        if there is None or not _is_seen(there, room.blocks_of(member.user_id)):
            return _missing(room, member, payload.noteId)
        changes = {
            name: value
            for name, value in (
                ("x", payload.x),
                ("y", payload.y),
                ("text", payload.text),
                ("colour", payload.colour),
                ("tags", payload.tags if payload.tags is UNSET else tuple(payload.tags)),
            )
            if not isinstance(value, UnsetType) and value != getattr(there, name)
        }
        # The same once more: the answer to the first was lost, later than an `id` is remembered.
        is_repeated = payload.revision + 1 == there.revision and there.edited_by == member.user_id
        if not changes and (payload.revision == there.revision or is_repeated):
            return Ack(room.room_id, room.seq, revision=there.revision)
        if payload.revision != there.revision:
            return NoteConflict(room.room_id, payload.noteId, _view(there))
        note: BoardNote = structs.replace(
            there,
            epoch=room.epoch,
            seq=room.next_seq(),
            revision=there.revision + 1,
            edited_by=member.user_id,
            updated_at_ms=max(incoming.now_ms, there.updated_at_ms),
            **changes,
        )
        if "text" in changes:
            self._typing.sent(room, member)
        _enter(room, incoming, note, NoteChanged(room.room_id, _view(note)))
        return Ack(room.room_id, note.seq, revision=note.revision)

    def _delete(self, room: RoomServices, incoming: Incoming, payload: NoteDeletePayload) -> ServerEvent:
        member = incoming.member
        there, gone = _note(room, payload.noteId), _gone(room, payload.noteId)
        if gone is not None and gone.removed_by == member.user_id and gone.revision == payload.revision + 1:
            return Ack(room.room_id, room.seq)
        if there is None or not _is_seen(there, room.blocks_of(member.user_id)):
            return _missing(room, member, payload.noteId)
        if payload.revision != there.revision:
            return NoteConflict(room.room_id, payload.noteId, _view(there))
        revision = there.revision + 1
        event = NoteDeleted(room.room_id, payload.noteId, revision, member.user_id)
        seq = room.sequence(event, member.user_id, there.author_id)
        room.drop_record(_NOTE + payload.noteId)
        _remember_gone(room, payload.noteId, GoneNote(room.epoch, seq, revision, member.user_id, there.author_id))
        room.keep(
            NoteRemoved(room.room_id, room.epoch, seq, payload.noteId, revision, member.user_id, incoming.now_ms),
            incoming.connection,
        )
        return Ack(room.room_id, seq)


def _enter(room: RoomServices, incoming: Incoming, note: BoardNote, event: NotePlaced | NoteChanged) -> None:
    seq = room.sequence(event, note.edited_by, note.author_id)
    assert seq == note.seq
    room.put_record(_NOTE + note.note_id, note)
    room.keep(note, incoming.connection)


def _missing(room: RoomServices, member: Member, note_id: str) -> ServerEvent:
    """Answer about a note that is not there, or that this member may not see: both look the same."""
    gone, blocked = _gone(room, note_id), room.blocks_of(member.user_id)
    if gone is None or not blocked.isdisjoint((gone.removed_by, gone.author_id)):
        return refusal(ErrorCode.NOT_FOUND, room.room_id)
    return NoteConflict(room.room_id, note_id)


def _remember_gone(room: RoomServices, note_id: str, gone: GoneNote) -> None:
    room.put_record(_GONE + note_id, gone)
    known = {key: value for key, value in room.records.items() if key.startswith(_GONE)}
    if len(known) > REMOVED_MAX:
        room.drop_record(min(known, key=lambda key: _place(known[key])))


def _differs(note: BoardNote, payload: NotePutPayload) -> bool:
    wanted = (payload.x, payload.y, payload.text, payload.colour, tuple(payload.tags))
    return wanted != (note.x, note.y, note.text, note.colour, note.tags)


def _is_seen(note: BoardNote, blocked: Collection[UserId]) -> bool:
    return note.author_id not in blocked and note.edited_by not in blocked


def _place(record: BoardNote | GoneNote) -> MessagePlace:
    return MessagePlace(record.epoch, record.seq)


def _note(room: RoomServices, note_id: str) -> BoardNote | None:
    note: BoardNote | None = room.records.get(_NOTE + note_id)
    return note


def _gone(room: RoomServices, note_id: str) -> GoneNote | None:
    gone: GoneNote | None = room.records.get(_GONE + note_id)
    return gone


def _notes(room: RoomServices) -> list[BoardNote]:
    return [value for key, value in room.records.items() if key.startswith(_NOTE)]


def _view(note: BoardNote) -> Note:
    return Note(
        note.note_id,
        note.x,
        note.y,
        note.text,
        note.colour,
        [*note.tags],
        note.revision,
        note.author_id,
        note.author_name,
        note.edited_by,
        note.created_at_ms,
        note.updated_at_ms,
    )
