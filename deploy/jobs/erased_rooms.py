"""The rooms whose ids tell of a person who is erased: the threads that the person has, and the inbox.

Owns their new ids, and the move of a thread to its new id. A new id is made of the old one with a key of chance that
is forgotten at the end of the erasure: until then what comes late under the old id finds the same new one, and
afterwards nobody can tell one from the other.

Invariant: each message of a thread stands in exactly one of its two rooms, and whoever else is in the thread is in
each room that has messages. So a thread that is moved in many chunks is for that time two threads in the other
person's list, and no message is missing from both.
"""

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from common.ids import INBOX_KIND, THREAD_KIND, RoomId, UserId, inbox_of, kind_of, thread_pair
from deploy.jobs.work import Work, changed

_DIGITS: Final = {THREAD_KIND: 40, INBOX_KIND: 32}
"""As many as such ids have that are made of a hash, see common/ids.py."""

Count = Callable[[str, int], Awaitable[None]]
"""Adds to the numbers of the erasure, inside a chunk."""


class Erased(NamedTuple):
    """Who is erased, and what with."""

    user_id: UserId
    pseudonym: str
    room_key: bytes

    def new_id(self, room_id: RoomId) -> RoomId:
        """Return the id that stands in place of a thread's or an inbox's."""
        kind = kind_of(room_id)
        digest = hmac.new(self.room_key, room_id.encode(), hashlib.sha256).hexdigest()
        return RoomId(f"{kind}::{digest[: _DIGITS[kind]]}")


# By the id alone: `thread_pair` in SQL, a little too wide.
_NAMED: Final = (
    "(room_id >= 'dm:' AND room_id < 'dm;' AND $1 IN (split_part(room_id, ':', 2), split_part(room_id, ':', 3)))"
)
# `thread_of` in SQL, for ids that are a hash.
_HASHED: Final = """\
room_id = 'dm::' || left(encode(sha256(convert_to(
    least($1 COLLATE "C", {other}) || E'\\n' || greatest($1 COLLATE "C", {other}), 'UTF8')), 'hex'), 40)"""


def _told_by(other: str) -> str:
    """Where a row names a room and a person: whether it is a thread of the one who is erased."""
    hashed = _HASHED.format(other=other)
    return f"{_NAMED} OR room_id >= 'dm::' AND room_id < 'dm:;' AND ({other} = $1 OR {hashed})"


# What has been moved has the pseudonym in it, and so is not found again.
_FIND: Final = f"""\
SELECT room_id FROM thread_members WHERE user_id = $1
UNION SELECT room_id FROM threads WHERE created_by = $1 OR {_NAMED}
UNION SELECT room_id FROM messages WHERE author_id = $1 AND room_id >= 'dm:' AND room_id < 'dm;'
UNION SELECT room_id FROM messages WHERE recipient_id = $1
UNION SELECT room_id FROM moderation_queue WHERE {_told_by("subject_id")}
UNION SELECT room_id FROM restrictions WHERE {_told_by("user_id")}
UNION SELECT room_id FROM audit_log WHERE {_told_by("subject_id")}
ORDER BY room_id"""  # noqa: S608 - constants

# Whoever appends messages of the thread waits for this, or makes the old one anew after it is gone.
_LOCK: Final = "SELECT FROM threads WHERE room_id = $1 FOR UPDATE"

_THREAD: Final = """\
INSERT INTO threads AS stored (room_id, created_by, created_at, last_epoch, last_seq, last_message_at)
SELECT $2, CASE created_by WHEN $3 THEN $4 ELSE created_by END, created_at, last_epoch, last_seq, last_message_at
FROM threads WHERE room_id = $1
ON CONFLICT (room_id) DO UPDATE
SET last_epoch = excluded.last_epoch, last_seq = excluded.last_seq, last_message_at = excluded.last_message_at
WHERE (excluded.last_epoch, excluded.last_seq) > (coalesce(stored.last_epoch, -1), coalesce(stored.last_seq, -1))"""

_MEMBERS: Final = """\
INSERT INTO thread_members AS member (room_id, user_id, joined_at, active_at, read_epoch, read_seq)
SELECT $2, CASE user_id WHEN $3 THEN $4 ELSE user_id END, joined_at, active_at, read_epoch, read_seq
FROM thread_members WHERE room_id = $1
ON CONFLICT (room_id, user_id) DO UPDATE
SET joined_at = least(member.joined_at, excluded.joined_at), active_at = greatest(member.active_at, excluded.active_at),
    (read_epoch, read_seq) = (
        SELECT r.epoch, r.seq
        FROM (VALUES (member.read_epoch, member.read_seq), (excluded.read_epoch, excluded.read_seq)) AS r (epoch, seq)
        ORDER BY r.epoch DESC, r.seq DESC LIMIT 1)"""

# From the oldest on: what is unread stays longest where it was, and what comes meanwhile is moved last.
_MESSAGES: Final = """\
UPDATE messages SET room_id = $2, recipient_id = CASE recipient_id WHEN $3 THEN $4 ELSE recipient_id END,
    author_id = CASE author_id WHEN $3 THEN $4 ELSE author_id END,
    author_name = CASE author_id WHEN $3 THEN '' ELSE author_name END,
    text = CASE author_id WHEN $3 THEN '' ELSE text END,
    deleted_at = CASE author_id WHEN $3 THEN coalesce(deleted_at, now()) ELSE deleted_at END,
    deleted_by = CASE deleted_by WHEN $3 THEN $4 ELSE deleted_by END
WHERE room_id = $1 AND (epoch, seq) IN (
    SELECT epoch, seq FROM messages WHERE room_id = $1 ORDER BY epoch, seq LIMIT $5)"""

# What is about the person is closed. Of the others one may have been opened again under the old id.
_ITEMS: Final = """\
UPDATE moderation_queue q SET room_id = $2,
    excerpt = CASE subject_id WHEN $3 THEN '' ELSE excerpt END,
    resolution_note = CASE subject_id WHEN $3 THEN NULL ELSE resolution_note END,
    subject_id = CASE subject_id WHEN $3 THEN $4 ELSE subject_id END,
    target_id = CASE target_id WHEN $3 THEN $4 ELSE target_id END,
    resolution = coalesce(resolution, CASE
        WHEN is_twice THEN 'dismissed' WHEN subject_id <> $3 THEN NULL
        WHEN target = 'person' THEN 'dismissed' ELSE 'deleted' END),
    resolved_at = coalesce(resolved_at, CASE WHEN is_twice OR subject_id = $3 THEN now() END)
FROM (SELECT item_id AS number, EXISTS (
          SELECT FROM moderation_queue other WHERE other.room_id = $2 AND other.target = item.target
              AND other.target_id = item.target_id AND other.resolved_at IS NULL) AS is_twice
      FROM moderation_queue item WHERE room_id = $1) AS found
WHERE item_id = number"""

_LEAVE: Final = "DELETE FROM threads WHERE room_id = $1"

_COUNT_UNREAD: Final = """\
UPDATE thread_members m SET unread = (
    SELECT count(*) FROM messages left_over
    WHERE left_over.room_id = m.room_id AND (left_over.epoch, left_over.seq) > (m.read_epoch, m.read_seq)
        AND left_over.deleted_at IS NULL AND left_over.author_id <> m.user_id)
WHERE m.room_id = $1"""


async def find_rooms(work: Work, erased: Erased) -> dict[RoomId, RoomId]:
    """Return the rooms that the person is to be erased from the ids of, with their new ids. The inbox is the last.

    One walk through the tables that have no index for it.
    """
    found = [RoomId(row["room_id"]) for row in await work.connection.fetch(_FIND, erased.user_id)]
    rooms = [*(room_id for room_id in found if _is_of(room_id, erased.user_id)), inbox_of(erased.user_id)]
    return {room_id: erased.new_id(room_id) for room_id in rooms}


async def move_threads(work: Work, erased: Erased, rooms: dict[RoomId, RoomId], count: Count) -> None:
    """Move what is stored of threads to their new ids, and empty in it what is the person's.

    A thread of at most `Work.rows_max` messages is one transaction. May be repeated; a thread that somebody wrote in
    since is moved again, to the same place.
    """
    for old_id, new_id in rooms.items():
        if kind_of(old_id) == THREAD_KIND:
            while not await _move_chunk(work, erased, old_id, new_id, count):
                pass


async def _move_chunk(work: Work, erased: Erased, old_id: RoomId, new_id: RoomId, count: Count) -> bool:
    """Move some messages of a thread; with the last of them the thread itself. Returns whether that was so."""
    connection = work.connection
    both, persons = (old_id, new_id), (erased.user_id, erased.pseudonym)
    async with work.chunk():
        await connection.execute(_LOCK, old_id)
        await connection.execute(_THREAD, *both, *persons)
        await connection.execute(_MEMBERS, *both, *persons)
        moved = changed(await connection.execute(_MESSAGES, *both, *persons, work.rows_max))
        is_last = moved < work.rows_max
        if is_last:
            await connection.execute(_ITEMS, *both, *persons)
            await connection.execute(_LEAVE, old_id)
            await connection.execute(_COUNT_UNREAD, new_id)
            await count("threads moved", 1)
        if moved:
            await count("thread messages moved", moved)
        await work.done("moved thread" if is_last else "moved messages of a thread", moved)
        work.on_step("moved thread" if is_last else "moved messages of a thread")
    return is_last


def new_room_id(message_room: RoomId, persons: Sequence[str | None], erased: Erased) -> RoomId | None:
    """Return the new id of the room of an archived message, by its author and recipient; None: it keeps its own."""
    if kind_of(message_room) != THREAD_KIND:
        return None
    is_theirs = erased.user_id in persons or erased.user_id in (thread_pair(message_room) or ())
    return erased.new_id(message_room) if is_theirs else None


def _is_of(room_id: RoomId, user_id: UserId) -> bool:
    """Pass over what only looks like a thread of the person's."""
    pair = thread_pair(room_id)
    return kind_of(room_id) == THREAD_KIND and (pair is None or user_id in pair)
