"""Opaque cursors: what a client passes back to go on from a place, and may not look into.

The first byte says of what list a cursor is, so that one is never taken for another's. What decodes is something
that the durable store can be asked for: no number beyond 64 bits, no text that is no id.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from typing import Final

from common.durable import MessagePlace
from common.ids import Epoch, RoomId, Seq, is_room_id

_MESSAGE: Final = 1
_THREAD: Final = 2
_NOTE: Final = 3
_ENTRY: Final = 4

_NUMBER_BYTES: Final = 8
_NUMBER_MAX: Final = 2**63 - 1
"""PostgreSQL's largest bigint."""

_note_id = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def encode_cursor(place: MessagePlace) -> str:
    """Return the cursor of a place among a room's messages."""
    return _encode(_MESSAGE, _number(place.epoch) + _number(place.seq))


def decode_cursor(text: str) -> MessagePlace | None:
    """Return the place of a message's cursor; None where it is none of ours."""
    data = _decode(_MESSAGE, text)
    if data is None or len(data) != 2 * _NUMBER_BYTES:
        return None
    epoch, seq = (int.from_bytes(part, "big") for part in (data[:_NUMBER_BYTES], data[_NUMBER_BYTES:]))
    return MessagePlace(Epoch(epoch), Seq(seq)) if max(epoch, seq) <= _NUMBER_MAX else None


def encode_thread_cursor(active_at_ms: int, room_id: RoomId) -> str:
    """Return the cursor of a place in a person's list of threads."""
    return _encode(_THREAD, _number(active_at_ms) + room_id.encode())


def decode_thread_cursor(text: str) -> tuple[int, RoomId] | None:
    """Return when the thread of a cursor was active, in ms, and its room; None where it is none of ours."""
    found = _numbered(_THREAD, text)
    return (found[0], RoomId(found[1])) if found is not None and is_room_id(found[1]) else None


def encode_note_cursor(created_at_ms: int, note_id: str) -> str:
    """Return the cursor of a place among a board's notes."""
    return _encode(_NOTE, _number(created_at_ms) + note_id.encode())


def decode_note_cursor(text: str) -> tuple[int, str] | None:
    """Return when the note of a cursor was put up, in ms, and its id; None where it is none of ours."""
    found = _numbered(_NOTE, text)
    return found if found is not None and _note_id.fullmatch(found[1]) else None


def encode_entry_cursor(number: int) -> str:
    """Return the cursor of a numbered entry: of the moderation queue, or the audit log."""
    return _encode(_ENTRY, _number(number))


def decode_entry_cursor(text: str) -> int | None:
    """Return the number of an entry's cursor; None where it is none of ours."""
    found = _numbered(_ENTRY, text)
    return found[0] if found is not None and not found[1] else None


def _numbered(kind: int, text: str) -> tuple[int, str] | None:
    data = _decode(kind, text)
    if data is None or len(data) < _NUMBER_BYTES:
        return None
    number, rest = int.from_bytes(data[:_NUMBER_BYTES], "big"), data[_NUMBER_BYTES:]
    return (number, rest.decode("ascii")) if number <= _NUMBER_MAX and rest.isascii() else None


def _number(value: int) -> bytes:
    return value.to_bytes(_NUMBER_BYTES, "big")


def _encode(kind: int, data: bytes) -> str:
    return urlsafe_b64encode(bytes([kind]) + data).rstrip(b"=").decode()


def _decode(kind: int, text: str) -> bytes | None:
    try:
        data = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except (Error, ValueError):
        return None
    # The decoder passes over characters that are none of its alphabet, and over bits behind the last byte.
    if data[:1] != bytes([kind]) or _encode(kind, data[1:]) != text:
        return None
    return data[1:]
