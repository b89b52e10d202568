"""The seam to the durable store on a real PostgreSQL 14+. common/durable.py is the specification.

Owns the statements. Connections are common/postgres_link.py, tables common/migrations. Every call is one
statement, and so one transaction and one round trip.
"""

import time
from collections.abc import Collection, Sequence
from typing import Any, Final, Self

from common.durable import PAGE_MESSAGES_MAX, ChatMessage, MessagePlace, Page, storable
from common.errors import SchemaMismatch, StoreUnavailable
from common.ids import Epoch, RoomId, Seq, UserId
from common.postgres_link import PostgresLinks, explain_refusal
from common.schema_version import VERSION_QUERY, check_schema_version

_BIGINT_MAX: Final = 2**63 - 1

# Sorted, so that two that append the same messages take their locks in the same order.
_APPEND: Final = """\
INSERT INTO messages (room_id, epoch, seq, message_id, author_id, author_name, text, reply_to, sent_at)
SELECT m.room_id, m.epoch, m.seq, m.message_id, m.author_id, m.author_name, m.text, m.reply_to,
       timestamptz 'epoch' + m.at_ms * interval '1 millisecond'
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
            $9::bigint[])
     AS m (room_id, epoch, seq, message_id, author_id, author_name, text, reply_to, at_ms)
ON CONFLICT DO NOTHING"""

_SHOWN: Final = "room_id = $1 AND deleted_at IS NULL AND author_id <> ALL ($3::text[])"
_COLUMNS: Final = (
    "room_id, epoch, seq, message_id, author_id, author_name, text, reply_to, "
    "(extract(epoch FROM sent_at) * 1000)::bigint AS at_ms"
)
_ASCENDING: Final = "ORDER BY epoch, seq"
_DESCENDING: Final = "ORDER BY epoch DESC, seq DESC"

_BESIDE_MESSAGES: Final = 2
"""Looked at on a side of the page: what stands at the asked place itself does not count for an empty page."""


def _select(side: str, where: str, order: str, limit: str) -> str:
    return f"(SELECT '{side}' AS side, {_COLUMNS} FROM messages WHERE {_SHOWN}{where} {order} LIMIT {limit})"  # noqa: S608


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

PAGE_STATEMENTS: Final = {"newest": _NEWEST, "before": _BEFORE, "after": _AFTER, "between": _BETWEEN}
"""For the tests of their plans, and the bench."""


class PostgresStore:
    """`DurableStore` on PostgreSQL. One object for each process; connects when needed and again after a failure."""

    def __init__(self, url: str, *, connections_max: int = 4, call_timeout_ms: int = 5_000) -> None:
        """Prepare; nothing is sent yet. The first call looks at the database's version, see `SchemaMismatch` there.

        Args:
            call_timeout_ms: how long a call may take, the wait for a connection included.

        Raises:
            SettingsError: the URL is wrong. One line that says what to do.
        """
        self._url = url
        self._links = PostgresLinks(url, connections_max, call_timeout_ms)
        self._version_checked = False

    @classmethod
    async def connect(cls, url: str, *, connections_max: int = 4, call_timeout_ms: int = 5_000) -> Self:
        """Make a store, and see that PostgreSQL answers and has the tables of this release.

        Raises:
            SettingsError: the URL is wrong, there is no such database, or user or password are refused.
            StoreUnavailable: PostgreSQL does not answer.
            SchemaMismatch: the database is of another version.
        """
        store = cls(url, connections_max=connections_max, call_timeout_ms=call_timeout_ms)
        try:
            await store.check_version()
        except StoreUnavailable as error:
            await store.close()
            cause = error.__cause__
            raise (error if cause is None else explain_refusal(url, cause)) from error
        except BaseException:
            await store.close()
            raise
        return store

    async def check_version(self) -> None:
        """See that the database is of this release's version.

        Only a process that starts looks: one that runs may go on while an operator takes the next steps.

        Raises:
            SchemaMismatch: it is not. One line that says what to do.
            StoreUnavailable: PostgreSQL does not answer.
        """
        try:
            rows = await self._links.fetch(VERSION_QUERY)
        except SchemaMismatch:
            rows = []
        check_schema_version(str(rows[0]["version_num"]) if rows else None)
        self._version_checked = True

    async def append(self, messages: Sequence[ChatMessage]) -> None:
        """See `DurableStore.append`."""
        if not messages:
            return
        ordered = sorted(messages, key=lambda message: (message.room_id, message.epoch, message.seq))
        await self._fetch(
            _APPEND,
            [storable(message.room_id) for message in ordered],
            [message.epoch for message in ordered],
            [message.seq for message in ordered],
            [storable(message.message_id) for message in ordered],
            [storable(message.author_id) for message in ordered],
            [storable(message.author_name) for message in ordered],
            [storable(message.text) for message in ordered],
            [None if message.reply_to is None else storable(message.reply_to) for message in ordered],
            [message.at_ms for message in ordered],
        )

    async def page(
        self,
        room_id: RoomId,
        *,
        before: MessagePlace | None = None,
        after: MessagePlace | None = None,
        limit: int,
        hidden_authors: Collection[UserId] = (),
    ) -> Page:
        """See `DurableStore.page`. Reads at most `limit` + 5 rows where nobody is hidden and nothing is deleted."""
        assert 1 <= limit <= PAGE_MESSAGES_MAX
        arguments: list[object] = [storable(room_id), limit + 1, [storable(author) for author in hidden_authors]]
        if after is None:
            statement = _NEWEST if before is None else _BEFORE
        else:
            statement = _AFTER if before is None else _BETWEEN
        for place in (after, before):
            if place is not None:
                arguments += [_clamped(place.epoch), _clamped(place.seq)]
        rows = await self._fetch(statement, *arguments)
        found = [_message(row) for row in rows if row["side"] == "page"]
        beside = [(row["side"], MessagePlace(row["epoch"], row["seq"])) for row in rows if row["side"] != "page"]
        return _page(found, beside, before, after, limit)

    async def ping_ms(self) -> float:
        """See `DurableStore.ping_ms`."""
        began = time.perf_counter()
        await self._links.fetch("SELECT 1")
        return (time.perf_counter() - began) * 1000.0

    async def close(self) -> None:
        """See `DurableStore.close`."""
        await self._links.close()

    async def _fetch(self, statement: str, *arguments: object) -> Sequence[Any]:
        if not self._version_checked:
            await self.check_version()
        return await self._links.fetch(statement, *arguments)


def _page(
    found: list[ChatMessage],
    beside: list[tuple[str, MessagePlace]],
    before: MessagePlace | None,
    after: MessagePlace | None,
    limit: int,
) -> Page:
    """Make the page of what was found: its messages and one more, in the order of the walk, and what stands beside."""
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


def _message(row: Any) -> ChatMessage:
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
    )


def _clamped(number: int) -> int:
    """Bring a number of a cursor, which a client may have made up, into the range of the columns; order stays."""
    return max(-_BIGINT_MAX, min(_BIGINT_MAX, number))
