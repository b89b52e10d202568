"""Notes of boards: their queries, and what is made of their rows. Pure."""

from collections.abc import Collection, Sequence
from typing import Any, Final

from common.durable import BoardNote, Rectangle, storable
from common.ids import Epoch, RoomId, Seq, UserId
from common.postgres_sql import Statement, clamped_ms, milliseconds, moment

NEAR_NOTES_MAX: Final = 2_000
"""Up to so many notes of a rectangle are found by their place and sorted; where there are more, the board is walked in
the order of the page, and what lies outside is passed over: of a board of 100,000 at most 49 of 50."""

_COLUMNS: Final = (
    "room_id, epoch, seq, note_id, revision, x, y, text, colour, tags, author_id, author_name, edited_by, "
    f"{milliseconds('created_at')} AS created_at_ms, {milliseconds('updated_at')} AS updated_at_ms"
)
_SHOWN: Final = "room_id = $1 AND deleted_at IS NULL"
_VISIBLE: Final = f"{_SHOWN} AND author_id <> ALL ($3::text[]) AND edited_by <> ALL ($3::text[])"
_AFTER: Final = f" AND (created_at, note_id) > ({moment('$4::bigint')}, $5::text)"
_ORDER: Final = "ORDER BY created_at, note_id"
_INSIDE: Final = " AND x BETWEEN $6::float8 AND $7::float8 AND y BETWEEN $8::float8 AND $9::float8"
_INSIDE_BY_WALK: Final = (
    " AND x + 0 >= $6::float8 AND x - 0 <= $7::float8 AND y + 0 >= $8::float8 AND y - 0 <= $9::float8"
)

_BOARD: Final = f"SELECT {_COLUMNS} FROM notes WHERE {_SHOWN} ORDER BY epoch DESC, seq DESC, note_id DESC LIMIT $2"
_REMOVED: Final = """\
SELECT note_id, revision FROM notes WHERE room_id = $1 AND note_id = ANY ($2::text[]) AND deleted_at IS NOT NULL"""
_PAGE: Final = f"SELECT {_COLUMNS} FROM notes WHERE {_VISIBLE}{_AFTER} {_ORDER} LIMIT $2"

# Which of the two ways is taken is decided by counting in the index, before a note is read; the other one is not begun.
# The walk asks for sums and differences: no index of places has them, and the planner does not see two bounds of one
# value, of which it would expect so few rows that it sorts instead of walking.
_INSIDE_RECTANGLE: Final = f"""\
WITH near AS MATERIALIZED (
    SELECT count(*) <= {NEAR_NOTES_MAX} AS few FROM (
        SELECT FROM notes WHERE {_SHOWN}{_INSIDE} LIMIT {NEAR_NOTES_MAX + 1}) AS counted
), found AS MATERIALIZED (
    SELECT * FROM notes WHERE (SELECT few FROM near) AND {_VISIBLE}{_AFTER}{_INSIDE}
)
(SELECT {_COLUMNS} FROM found {_ORDER} LIMIT $2)
UNION ALL
(SELECT {_COLUMNS} FROM notes
 WHERE NOT (SELECT few FROM near) AND {_VISIBLE}{_AFTER}{_INSIDE_BY_WALK} {_ORDER} LIMIT $2)"""

_BEFORE_ALL: Final = (-1, "")


def board_statement(room_id: RoomId, limit: int) -> Statement:
    """Return what asks for the notes of a board that were written last."""
    return _BOARD, (storable(room_id), limit)


def board_of_rows(rows: Sequence[Any]) -> list[BoardNote]:
    """Make the notes of a board, oldest first."""
    return [_note(row) for row in reversed(rows)]


def removed_statement(room_id: RoomId, note_ids: Sequence[str]) -> Statement:
    """Return what asks which of some notes were taken off."""
    return _REMOVED, (storable(room_id), [storable(note_id) for note_id in note_ids])


def removed_of_rows(rows: Sequence[Any]) -> dict[str, int]:
    """Make the last revision of each note that was taken off."""
    return {row["note_id"]: row["revision"] for row in rows}


def notes_statement(
    room_id: RoomId, rectangle: Rectangle | None, after: tuple[int, str] | None, limit: int, hidden: Collection[UserId]
) -> Statement:
    """Return what asks for a page of notes."""
    created_at_ms, note_id = after or _BEFORE_ALL
    asked = (
        storable(room_id),
        limit,
        [storable(person) for person in hidden],
        clamped_ms(created_at_ms),
        storable(note_id),
    )
    if rectangle is None:
        return _PAGE, asked
    return _INSIDE_RECTANGLE, (*asked, rectangle.x_min, rectangle.x_max, rectangle.y_min, rectangle.y_max)


def notes_of_rows(rows: Sequence[Any]) -> list[BoardNote]:
    """Make the page of notes."""
    return [_note(row) for row in rows]


def _note(row: Any) -> BoardNote:
    return BoardNote(
        RoomId(row["room_id"]),
        Epoch(row["epoch"]),
        Seq(row["seq"]),
        row["note_id"],
        row["revision"],
        row["x"],
        row["y"],
        row["text"],
        row["colour"],
        tuple(row["tags"]),
        UserId(row["author_id"]),
        row["author_name"],
        UserId(row["edited_by"]),
        row["created_at_ms"],
        row["updated_at_ms"],
    )
