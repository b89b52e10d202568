"""What people send to a board, and what they see of it, for the tests of `notes:` rooms."""

from typing import Any

from msgspec import UNSET, UnsetType

from common.commands import Post
from common.durable import BoardNote, NoteRemoved
from common.ids import ConnNumber, RoomId
from common.messages import (
    NoteChange,
    NoteChangePayload,
    NoteDelete,
    NoteDeletePayload,
    NotePut,
    NotePutPayload,
)
from common.outbox import decode_entry
from tests.unit.stage import Envelope, Stage

BOARD = RoomId("notes:wall")
DATABASE = "postgresql://nobody@localhost/none"


def put(conn: int, note_id: str | UnsetType, text: str = "hello", *, id: str | None = None, **fields: Any) -> Post:  # noqa: A002
    """Put a note, at (1, 2) and without tags unless told otherwise."""
    payload = NotePutPayload(BOARD, **{"x": 1.0, "y": 2.0, "text": text, "noteId": note_id, **fields})
    return Post(BOARD, ConnNumber(conn), NotePut(v=1, ts=0, id=UNSET if id is None else id, payload=payload))


def change(conn: int, note_id: str, revision: int, *, id: str | None = None, **fields: Any) -> Post:  # noqa: A002
    """Change what is named of a note."""
    payload = NoteChangePayload(BOARD, note_id, revision, **fields)
    return Post(BOARD, ConnNumber(conn), NoteChange(v=1, ts=0, id=UNSET if id is None else id, payload=payload))


def delete(conn: int, note_id: str, revision: int, *, id: str | None = None) -> Post:  # noqa: A002
    """Take a note off."""
    payload = NoteDeletePayload(BOARD, note_id, revision)
    return Post(BOARD, ConnNumber(conn), NoteDelete(v=1, ts=0, id=UNSET if id is None else id, payload=payload))


def kept(stage: Stage) -> list[BoardNote | NoteRemoved]:
    """Return what the last turn handed to the durable store."""
    assert stage.last_turn is not None
    records = [decode_entry(entry).record for entry in stage.last_turn.outbox]
    return [record for record in records if isinstance(record, BoardNote | NoteRemoved)]


def texts(state: Envelope) -> list[str]:
    """Return the texts of the notes of a `room_state`, in order."""
    return [note["text"] for note in state["notes"]]
