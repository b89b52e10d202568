"""Pages of messages: their statements, and what is made of their rows. Pure."""

from collections.abc import Collection, Sequence
from typing import Any, Final

from common.durable import ChatMessage, MessagePlace, Page, storable
from common.ids import Epoch, RoomId, Seq, UserId
from common.postgres_sql import Statement, clamped, milliseconds

MESSAGE_COLUMNS: Final = (
    "room_id, epoch, seq, message_id, author_id, author_name, text, reply_to, recipient_id, "
    f"{milliseconds('sent_at')} AS at_ms"
)

_SHOWN: Final = "room_id = $1 AND deleted_at IS NULL AND author_id <> ALL ($3::text[])"
_ASCENDING: Final = "ORDER BY epoch, seq"
_DESCENDING: Final = "ORDER BY epoch DESC, seq DESC"

_BESIDE_MESSAGES: Final = 2
"""Looked at on a side of the page: what stands at the asked place itself does not count for an empty page."""


def _select(side: str, where: str, order: str, limit: str) -> str:
    return f"(SELECT '{side}' AS side, {MESSAGE_COLUMNS} FROM messages WHERE {_SHOWN}{where} {order} LIMIT {limit})"


def _beside(side: str, where: str, order: str) -> str:
    return _select(side, where, order, str(_BESIDE_MESSAGES))


# $1 room, $2 rows of the page and one more, $3 hidden authors, then one or two places. All are walks along the
# primary key; row comparison is what lets them begin in its middle.
_NEWEST: Final = _select("page", "", _DESCENDING, "$2")
_BEFORE: Final = " UNION ALL ".join(
    (
        _select("page", " AND (epoch, seq) < ($4::bigint, $5::bigint)", _DESCENDING, "$2"),
        _beside("after", " AND (epoch, seq) >= ($4::bigint, $5::bigint)", _ASCENDING),
    )
)
_AFTER: Final = " UNION ALL ".join(
    (
        _select("page", " AND (epoch, seq) > ($4::bigint, $5::bigint)", _ASCENDING, "$2"),
        _beside("before", " AND (epoch, seq) <= ($4::bigint, $5::bigint)", _DESCENDING),
    )
)
_BETWEEN: Final = " UNION ALL ".join(
    (
        _select(
            "page",
            " AND (epoch, seq) > ($4::bigint, $5::bigint) AND (epoch, seq) < ($6::bigint, $7::bigint)",
            _ASCENDING,
            "$2",
        ),
        _beside("before", " AND (epoch, seq) <= ($4::bigint, $5::bigint)", _DESCENDING),
        _beside("after", " AND (epoch, seq) >= ($6::bigint, $7::bigint)", _ASCENDING),
    )
)

_STATEMENTS: Final = {
    (False, False): _NEWEST,
    (True, False): _BEFORE,
    (False, True): _AFTER,
    (True, True): _BETWEEN,
}
"""By whether there is a place before which, and one after which."""

PAGE_STATEMENTS: Final = {"newest": _NEWEST, "before": _BEFORE, "after": _AFTER, "between": _BETWEEN}
"""For the tests of their plans, and the bench."""


def page_statement(
    room_id: RoomId,
    before: MessagePlace | None,
    after: MessagePlace | None,
    limit: int,
    hidden_authors: Collection[UserId],
) -> Statement:
    """Return what asks for a page. It reads at most `limit` + 5 rows where nobody is hidden and nothing is deleted."""
    arguments: list[object] = [storable(room_id), limit + 1, [storable(author) for author in hidden_authors]]
    statement = _STATEMENTS[before is not None, after is not None]
    for place in (after, before):
        if place is not None:
            arguments += [clamped(place.epoch), clamped(place.seq)]
    return statement, tuple(arguments)


def page_of_rows(rows: Sequence[Any], before: MessagePlace | None, after: MessagePlace | None, limit: int) -> Page:
    """Make the page of what was found: its messages and one more, in the order of the walk, and what stands beside."""
    found = [message_of_row(row) for row in rows if row["side"] == "page"]
    beside = [(row["side"], MessagePlace(row["epoch"], row["seq"])) for row in rows if row["side"] != "page"]
    backwards = after is None
    cut = len(found) > limit
    messages = found[:limit]
    if backwards:
        messages.reverse()
    if messages:
        more_before = any(side == "before" for side, _ in beside)
        more_after = any(side == "after" for side, _ in beside)
    else:
        more_before = after is not None and any(side == "before" and place < after for side, place in beside)
        more_after = before is not None and any(side == "after" and place > before for side, place in beside)
    return Page(messages, more_before or (cut and backwards), more_after or (cut and not backwards))


def message_of_row(row: Any) -> ChatMessage:
    """Make the message of a row of `MESSAGE_COLUMNS`."""
    return ChatMessage(
        RoomId(row["room_id"]),
        Epoch(row["epoch"]),
        Seq(row["seq"]),
        row["message_id"],
        UserId(row["author_id"]),
        row["author_name"],
        row["text"],
        row["at_ms"],
        row["reply_to"],
        row["recipient_id"],
    )
