"""Threads, inboxes, friendships and blocks: their queries, and what is made of their rows. Pure."""

from collections.abc import Collection, Sequence
from typing import Any, Final

from common.durable import InboxSeed, MessagePlace, Thread, ThreadMember, ThreadSummary, storable
from common.ids import Epoch, RoomId, Seq, UserId, thread_of
from common.postgres_pages import MESSAGE_COLUMNS, message_of_row
from common.postgres_sql import Statement, clamped_ms, milliseconds, moment
from common.record_batch import pair_of

_MEMBERS: Final = "SELECT user_id FROM thread_members WHERE room_id = $1 ORDER BY user_id"

_THREAD: Final = """\
SELECT user_id, read_epoch, read_seq, unread, NULL AS status, NULL AS requested_by
FROM thread_members WHERE room_id = $1
UNION ALL
SELECT NULL, NULL, NULL, NULL, status, requested_by FROM friendships WHERE low_id = $2 AND high_id = $3
ORDER BY user_id"""

_INBOX: Final = """\
SELECT room_id, unread, NULL AS other_id, NULL AS status, NULL AS requested_by
FROM thread_members WHERE user_id = $1 AND unread > 0
UNION ALL
SELECT NULL, NULL, high_id, status, requested_by FROM friendships WHERE low_id = $1
UNION ALL
SELECT NULL, NULL, low_id, status, requested_by FROM friendships WHERE high_id = $1"""

_BLOCKS_OF: Final = "SELECT blocker_id, blocked_id FROM blocks WHERE blocker_id = ANY ($1::text[])"

# The page is cut before anything is looked up for its threads. Both sums are of threads that have something unread.
_THREADS: Final = f"""\
SELECT s.total, t.* FROM (
    SELECT (SELECT coalesce(sum(unread), 0) FROM thread_members WHERE user_id = $1 AND unread > 0)
         - (SELECT coalesce(sum(unread), 0) FROM thread_members
            WHERE room_id = ANY ($3::text[]) AND user_id = $1 AND unread > 0) AS total) AS s
LEFT JOIN LATERAL (
    SELECT mine.room_id AS thread_id, mine.read_epoch, mine.read_seq, mine.unread,
           {milliseconds("mine.active_at")} AS active_ms,
           other.user_id AS other_id, other.read_epoch AS other_read_epoch, other.read_seq AS other_read_seq,
           other.unread AS other_unread, coalesce(named.author_name, '') AS other_name, last.*
    FROM (SELECT * FROM thread_members
          WHERE user_id = $1 AND room_id <> ALL ($3::text[]) %s
          ORDER BY active_at DESC, room_id LIMIT $2) AS mine
    JOIN LATERAL (SELECT * FROM thread_members
                  WHERE room_id = mine.room_id AND user_id <> $1 LIMIT 1) AS other ON true
    LEFT JOIN LATERAL (SELECT {MESSAGE_COLUMNS} FROM messages
                       WHERE room_id = mine.room_id AND deleted_at IS NULL
                       ORDER BY epoch DESC, seq DESC LIMIT 1) AS last ON true
    LEFT JOIN LATERAL (SELECT author_name FROM messages
                       WHERE author_id = other.user_id AND room_id = mine.room_id
                       ORDER BY epoch DESC, seq DESC LIMIT 1) AS named ON true
) AS t ON true
ORDER BY t.active_ms DESC, t.thread_id"""

# The first comparison is where the walk along the index begins, the second passes over what is as lately active.
_BEFORE: Final = (
    f"AND active_at <= {moment('$4::bigint')} AND (active_at < {moment('$4::bigint')} OR room_id > $5::text)"
)

_THREADS_NEWEST: Final = _THREADS % ""
_THREADS_BEFORE: Final = _THREADS % _BEFORE


def members_statement(room_id: RoomId) -> Statement:
    """Return what asks for the persons of a thread."""
    return _MEMBERS, (storable(room_id),)


def members_of_rows(rows: Sequence[Any]) -> tuple[UserId, ...]:
    """Make the persons of a thread."""
    return tuple(UserId(row["user_id"]) for row in rows)


def thread_statement(room_id: RoomId, user_id: UserId, other_id: UserId) -> Statement:
    """Return what asks for a thread, and the friendship of its pair."""
    return _THREAD, (storable(room_id), *pair_of(UserId(storable(user_id)), UserId(storable(other_id))))


def thread_of_rows(room_id: RoomId, rows: Sequence[Any]) -> Thread:
    """Make the thread."""
    members = tuple(_member(row) for row in rows if row["user_id"] is not None)
    for row in rows:
        if row["user_id"] is None:
            return Thread(room_id, members, row["status"], UserId(row["requested_by"]))
    return Thread(room_id, members, "none", None)


def inbox_statement(user_id: UserId) -> Statement:
    """Return what asks for what an inbox begins with."""
    return _INBOX, (storable(user_id),)


def inbox_of_rows(rows: Sequence[Any]) -> InboxSeed:
    """Make what an inbox begins with."""
    return InboxSeed(
        unread={RoomId(row["room_id"]): row["unread"] for row in rows if row["room_id"] is not None},
        friendships={
            UserId(row["other_id"]): (row["status"], UserId(row["requested_by"]))
            for row in rows
            if row["room_id"] is None
        },
    )


def blocks_statement(user_ids: Sequence[UserId]) -> Statement:
    """Return what asks for the blocks of persons."""
    return _BLOCKS_OF, ([storable(user_id) for user_id in user_ids],)


def blocks_of_rows(user_ids: Sequence[UserId], rows: Sequence[Any]) -> dict[UserId, frozenset[UserId]]:
    """Make the blocks of persons."""
    found: dict[str, set[UserId]] = {}
    for row in rows:
        found.setdefault(row["blocker_id"], set()).add(UserId(row["blocked_id"]))
    return {user_id: frozenset(found.get(storable(user_id), ())) for user_id in user_ids}


def threads_statement(
    user_id: UserId, before: tuple[int, RoomId] | None, limit: int, hidden: Collection[UserId]
) -> Statement:
    """Return what asks for a page of a person's threads. Who is hidden is known by the room of the two."""
    person = UserId(storable(user_id))
    rooms = [thread_of(person, UserId(storable(other))) for other in hidden]
    if before is None:
        return _THREADS_NEWEST, (person, limit, rooms)
    active_at_ms, room_id = before
    return _THREADS_BEFORE, (person, limit, rooms, clamped_ms(active_at_ms), storable(room_id))


def threads_of_rows(user_id: UserId, rows: Sequence[Any]) -> tuple[list[ThreadSummary], int]:
    """Make the page of threads, and the sum."""
    return [_summary(user_id, row) for row in rows if row["thread_id"] is not None], int(rows[0]["total"])


def _summary(user_id: UserId, row: Any) -> ThreadSummary:
    other_id = UserId(row["other_id"])
    others = MessagePlace(Epoch(row["other_read_epoch"]), Seq(row["other_read_seq"]))
    return ThreadSummary(
        room_id=RoomId(row["thread_id"]),
        other_id=other_id,
        other_name=row["other_name"],
        mine=ThreadMember(user_id, MessagePlace(Epoch(row["read_epoch"]), Seq(row["read_seq"])), row["unread"]),
        others=ThreadMember(other_id, others, row["other_unread"]),
        active_at_ms=row["active_ms"],
        last_message=None if row["message_id"] is None else message_of_row(row),
    )


def _member(row: Any) -> ThreadMember:
    place = MessagePlace(Epoch(row["read_epoch"]), Seq(row["read_seq"]))
    return ThreadMember(UserId(row["user_id"]), place, row["unread"])
