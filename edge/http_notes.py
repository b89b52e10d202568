"""`GET /rooms/{roomId}/notes`: the notes of a board in pages, all of it or what hangs in a rectangle."""

import re
from typing import Final

from aiohttp import web
from msgspec import UNSET

from common.cursor import decode_note_cursor, encode_note_cursor
from common.durable import PAGE_MESSAGES_MAX, BoardNote, DurableStore, Rectangle
from common.ids import BOARD_KIND, kind_of
from common.messages import Note, NotePage
from edge.gateway import Gateway
from edge.http_history import history_off
from edge.openapi import LIMIT_DEFAULT
from edge.problems import cursor_of, limit_of, problem, room_id_of, tagged_answer
from edge.readers import Readers, not_there
from edge.tokens import TokenVerifier

PLACE_MAX: Final = 1e9
"""As of a note's own place (common/messages.py)."""

_NUMBER: Final = re.compile(r"-?[0-9]{1,32}(\.[0-9]{1,32})?([eE][+-]?[0-9]{1,4})?")


class NotePages:
    """The handler of the pages."""

    def __init__(self, gateway: Gateway, verifier: TokenVerifier, store: DurableStore | None) -> None:
        self._readers = Readers(gateway, verifier)
        self._store = store

    async def notes(self, request: web.Request) -> web.StreamResponse:
        """Answer one page, or 304 where the client has it already."""
        room_id = room_id_of(request)
        if isinstance(room_id, web.Response):
            return room_id
        reader = self._readers.of_room(request, room_id)
        if isinstance(reader, web.Response):
            return reader
        if kind_of(room_id) != BOARD_KIND:
            return not_there("board of notes")
        rectangle = _rectangle(request)
        if isinstance(rectangle, web.Response):
            return rectangle
        after = cursor_of(request, "after", decode_note_cursor)
        if isinstance(after, web.Response):
            return after
        limit = limit_of(request, LIMIT_DEFAULT, PAGE_MESSAGES_MAX)
        if isinstance(limit, web.Response):
            return limit
        if self._store is None:
            return history_off()
        hidden = await self._readers.hidden_from(self._store, reader.user_id, room_id)
        if isinstance(hidden, web.Response):
            return hidden
        notes = await self._store.notes(room_id, rectangle=rectangle, after=after, limit=limit, hidden=hidden)
        last = notes[-1] if len(notes) == limit else None
        following = UNSET if last is None else encode_note_cursor(last.created_at_ms, last.note_id)
        return tagged_answer(request, NotePage(room_id, [_shown(note) for note in notes], following))


def _rectangle(request: web.Request) -> Rectangle | web.Response | None:
    text = request.query.get("rect")
    if text is None:
        return None
    parts = text.split(",")
    places = [float(part) for part in parts if _NUMBER.fullmatch(part)]
    if len(parts) != 4 or len(places) != 4 or any(abs(place) > PLACE_MAX for place in places):
        return problem(400, "invalid_rectangle", "`rect` must be four numbers with commas: x, y of two corners")
    x, y, other_x, other_y = places
    return Rectangle(min(x, other_x), min(y, other_y), max(x, other_x), max(y, other_y))


def _shown(note: BoardNote) -> Note:
    return Note(
        note.note_id,
        note.x,
        note.y,
        note.text,
        note.colour,
        list(note.tags),
        note.revision,
        note.author_id,
        note.author_name,
        note.edited_by,
        note.created_at_ms,
        note.updated_at_ms,
    )
