"""Types of the ids and positions that cross module borders, and the rule for room ids.

A position in a room is always the pair (epoch, seq). The contract is "Room ids and kinds" in
docs/protocol.md.
"""

import re
from hashlib import sha256
from typing import Final, NewType

RoomId = NewType("RoomId", str)
UserId = NewType("UserId", str)

EdgeId = NewType("EdgeId", str)
"""A new one for each start of an edge process, so that a restarted edge is never taken for the old one."""

WorkerId = NewType("WorkerId", str)
"""A new one for each start of a worker process."""

ConnNumber = NewType("ConnNumber", int)
"""Number of a connection on its edge, from 1. The pair (edge, number) is unique in the cluster."""

Shard = NewType("Shard", int)
Partition = NewType("Partition", int)

Epoch = NewType("Epoch", int)
"""Milliseconds since 1970 when the room's present order began. A later epoch is greater, also after a data loss."""

Seq = NewType("Seq", int)
"""Place of a reliable event in its room and epoch, contiguous from 1; 0 stands before the first."""

LeaseToken = NewType("LeaseToken", int)
"""Fencing token of a shard's lease. A later owner has a greater one, also after a data loss."""

# `$` alone would accept a line feed at the end in Python; the look-ahead refuses it, and is also valid in
# the regular expressions of JSON Schema (ECMA 262), where this pattern is published.
ROOM_ID_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$(?!\n)"
SPACE_KIND: Final = "space"
INBOX_KIND: Final = "user"
THREAD_KIND: Final = "dm"
BOARD_KIND: Final = "notes"

LABEL_PATTERN: Final = r"^[^\u0000-\u001f\u007f]+$(?!\n)"
"""Names and ids of persons: no control characters, so that they cannot break lines of logs and lists. Joiners and
direction marks stay allowed: names in many scripts, and many emoji, need them."""

USER_ID_CHARACTERS_MAX: Final = 128

_PLAIN_USER_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,60}")
"""Ids of persons that stand in a room id as they are; two of them fit."""

_room_id = re.compile(ROOM_ID_PATTERN)
_label = re.compile(LABEL_PATTERN)

# The JSON of a token can write half a pair, which UTF-8, and so every stream, cannot carry.
_surrogate = re.compile("[\ud800-\udfff]")


def is_room_id(text: str) -> bool:
    """Tell whether `text` may name a room."""
    return _room_id.search(text) is not None


def is_label(text: str) -> bool:
    """Tell whether `text` may be shown as a name, and, with at most `USER_ID_CHARACTERS_MAX`, be a person's id."""
    return len(text) <= USER_ID_CHARACTERS_MAX and _label.search(text) is not None and not _surrogate.search(text)


def kind_of(room_id: RoomId) -> str:
    """Return the kind that a room id names: the part before the first `:`, or `space` without one."""
    head, colon, _ = room_id.partition(":")
    return head if colon else SPACE_KIND


def inbox_of(user_id: UserId) -> RoomId:
    """Return the room that is a person's own inbox.

    `user:<id>` for ids of up to 60 letters, digits and `._-`; for others `user::` and 32 hexadecimal digits of the
    id's SHA-256. A person's id may hold what a room id may not.
    """
    if _PLAIN_USER_ID.fullmatch(user_id):
        return RoomId(f"{INBOX_KIND}:{user_id}")
    return RoomId(f"{INBOX_KIND}::{sha256(user_id.encode()).hexdigest()[:32]}")


def thread_of(user_id: UserId, other_id: UserId) -> RoomId:
    """Return the room that is the thread of two persons, whichever is named first.

    `dm:<id>:<id>` in the order of code points; where one of them is not plain (see `inbox_of`), `dm::` and 40 digits of
    the SHA-256 of both, with a line feed (which no id has) between them.
    """
    pair = sorted((user_id, other_id))
    if all(_PLAIN_USER_ID.fullmatch(each) for each in pair):
        return RoomId(f"{THREAD_KIND}:{pair[0]}:{pair[1]}")
    digest = sha256("\n".join(pair).encode()).hexdigest()
    return RoomId(f"{THREAD_KIND}::{digest[:40]}")


def thread_pair(room_id: RoomId) -> tuple[UserId, UserId] | None:
    """Return the two persons of a thread, in order; None where its id does not tell."""
    kind, _, rest = room_id.partition(":")
    low, colon, high = rest.partition(":")
    pair = UserId(low), UserId(high)
    # Only the one id that two persons have: another order of them would be a second thread.
    return pair if kind == THREAD_KIND and colon and thread_of(*pair) == room_id else None
