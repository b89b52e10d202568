"""The seam to the durable store on a real PostgreSQL 14+. common/durable.py is the specification.

Owns the calls; the statements are in the modules `postgres_*` beside it, each with what it makes of rows. Connections
are common/postgres_link.py, tables common/migrations. Every query is one statement, and so one round trip. An
`append` of plain chat is too; of other records it is one transaction.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Self

from asyncpg import exceptions

from common.durable import (
    PAGE_MESSAGES_MAX,
    Audited,
    BoardNote,
    Erasure,
    ErasureRequest,
    InboxSeed,
    MessagePlace,
    Page,
    QueueEntry,
    Record,
    Rectangle,
    Restriction,
    Thread,
    ThreadSummary,
    storable,
)
from common.erasure_request import erasure_of_rows, erasure_statement, request_erasure
from common.errors import RecordRefused, SchemaMismatch, StoreUnavailable
from common.ids import RoomId, UserId
from common.postgres_append import append_statements
from common.postgres_link import PostgresLinks, explain_refusal
from common.postgres_moderation import (
    audit_statement,
    audited_of_rows,
    audited_statement,
    claim_statement,
    everywhere_of_rows,
    everywhere_statement,
    queue_of_rows,
    queue_statement,
    resolve_statement,
    restrictions_of_rows,
    restrictions_statement,
)
from common.postgres_notes import (
    board_of_rows,
    board_statement,
    notes_of_rows,
    notes_statement,
    removed_of_rows,
    removed_statement,
)
from common.postgres_pages import page_of_rows, page_statement
from common.postgres_sql import Statement
from common.postgres_threads import (
    blocks_of_rows,
    blocks_statement,
    inbox_of_rows,
    inbox_statement,
    members_of_rows,
    members_statement,
    thread_of_rows,
    thread_statement,
    threads_of_rows,
    threads_statement,
)
from common.schema_version import VERSION_QUERY, check_schema_version

THREADS_MAX: Final = 100
ROWS_MAX: Final = 200
"""Of notes, items of the queue and entries of the audit log in one answer."""


_REFUSALS: Final = (
    exceptions.DataError,
    exceptions.IntegrityConstraintViolationError,
    exceptions.ProgramLimitExceededError,
    UnicodeEncodeError,
    OverflowError,
)
"""What says something of a value. Anything else that is no outage is of the statement, and so of our release: waiting
for the next one keeps what was acknowledged, and setting it aside would not."""


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

    async def append(self, records: Sequence[Record]) -> None:
        """See `DurableStore.append`."""
        try:
            statements = append_statements(records)
            if statements:
                await self._check_once()
                await self._links.run(statements)
        except _REFUSALS as error:
            # The first argument alone: the whole text quotes the row.
            raise RecordRefused(f"{type(error).__name__}: {error.args[0]}") from error

    # --- what a room begins with --------------------------------------------------------------------------

    async def thread(self, room_id: RoomId, user_id: UserId, other_id: UserId) -> Thread:
        """See `DurableStore.thread`."""
        return thread_of_rows(room_id, await self._fetch(thread_statement(room_id, user_id, other_id)))

    async def thread_members(self, room_id: RoomId) -> tuple[UserId, ...]:
        """See `DurableStore.thread_members`."""
        return members_of_rows(await self._fetch(members_statement(room_id)))

    async def inbox(self, user_id: UserId) -> InboxSeed:
        """See `DurableStore.inbox`."""
        return inbox_of_rows(await self._fetch(inbox_statement(user_id)))

    async def board(self, room_id: RoomId, limit: int) -> list[BoardNote]:
        """See `DurableStore.board`."""
        return board_of_rows(await self._fetch(board_statement(room_id, limit)))

    async def removed_notes(self, room_id: RoomId, note_ids: Sequence[str]) -> dict[str, int]:
        """See `DurableStore.removed_notes`."""
        return removed_of_rows(await self._fetch(removed_statement(room_id, note_ids)))

    async def restrictions(self, room_id: RoomId, now_ms: int) -> list[Restriction]:
        """See `DurableStore.restrictions`."""
        return restrictions_of_rows(await self._fetch(restrictions_statement(room_id, now_ms)))

    async def restricted_everywhere(self, user_ids: Sequence[UserId], now_ms: int) -> dict[UserId, list[Restriction]]:
        """See `DurableStore.restricted_everywhere`."""
        return everywhere_of_rows(user_ids, await self._fetch(everywhere_statement(user_ids, now_ms)))

    async def blocks_of(self, user_ids: Sequence[UserId]) -> dict[UserId, frozenset[UserId]]:
        """See `DurableStore.blocks_of`."""
        return blocks_of_rows(user_ids, await self._fetch(blocks_statement(user_ids)))

    # --- pages --------------------------------------------------------------------------------------------

    async def page(
        self,
        room_id: RoomId,
        *,
        before: MessagePlace | None = None,
        after: MessagePlace | None = None,
        limit: int,
        hidden_authors: Collection[UserId] = (),
    ) -> Page:
        """See `DurableStore.page`."""
        assert 1 <= limit <= PAGE_MESSAGES_MAX
        rows = await self._fetch(page_statement(room_id, before, after, limit, hidden_authors))
        return page_of_rows(rows, before, after, limit)

    async def threads(
        self,
        user_id: UserId,
        *,
        before: tuple[int, RoomId] | None = None,
        limit: int,
        hidden: Collection[UserId] = (),
    ) -> tuple[list[ThreadSummary], int]:
        """See `DurableStore.threads`."""
        assert 1 <= limit <= THREADS_MAX
        return threads_of_rows(user_id, await self._fetch(threads_statement(user_id, before, limit, hidden)))

    async def notes(
        self,
        room_id: RoomId,
        *,
        rectangle: Rectangle | None = None,
        after: tuple[int, str] | None = None,
        limit: int,
        hidden: Collection[UserId] = (),
    ) -> list[BoardNote]:
        """See `DurableStore.notes`."""
        assert 1 <= limit <= ROWS_MAX
        return notes_of_rows(await self._fetch(notes_statement(room_id, rectangle, after, limit, hidden)))

    # --- moderation ---------------------------------------------------------------------------------------

    async def queue(
        self, *, open_only: bool = True, after: int | None = None, limit: int, item_id: int | None = None
    ) -> list[QueueEntry]:
        """See `DurableStore.queue`."""
        assert 1 <= limit <= ROWS_MAX
        asked = queue_statement(open_only=open_only, after=after, limit=limit, item_id=item_id)
        return queue_of_rows(await self._fetch(asked))

    async def claim(self, item_id: int, moderator: str, *, claimed: bool) -> bool:
        """See `DurableStore.claim`."""
        return bool(await self._fetch(claim_statement(item_id, moderator, claimed=claimed)))

    async def resolve(
        self, item_id: int, moderator: str, resolution: str, note: str, details: Mapping[str, Any]
    ) -> bool:
        """See `DurableStore.resolve`."""
        return bool(await self._fetch(resolve_statement(item_id, moderator, resolution, note, details)))

    async def audit(
        self,
        actor: str,
        action: str,
        room_id: RoomId | None,
        subject_id: UserId | None,
        details: Mapping[str, Any],
    ) -> None:
        """See `DurableStore.audit`."""
        await self._fetch(audit_statement(actor, action, room_id, subject_id, details))

    async def audit_page(
        self, *, before: int | None = None, limit: int, subject_id: UserId | None = None
    ) -> list[Audited]:
        """See `DurableStore.audit_page`."""
        assert 1 <= limit <= ROWS_MAX
        return audited_of_rows(await self._fetch(audited_statement(before, limit, subject_id)))

    # --- erasure ------------------------------------------------------------------------------------------

    async def request_erasure(self, user_id: UserId, requested_by: str) -> ErasureRequest:
        """See `DurableStore.request_erasure`."""
        await self._check_once()
        return await request_erasure(self._links.fetch, storable(user_id), storable(requested_by))

    async def erasure(self, erasure_id: int) -> Erasure | None:
        """See `DurableStore.erasure`."""
        return erasure_of_rows(await self._fetch(erasure_statement(erasure_id)))

    # --- the store itself ---------------------------------------------------------------------------------

    async def ping_ms(self) -> float:
        """See `DurableStore.ping_ms`."""
        began = time.perf_counter()
        await self._links.fetch("SELECT 1")
        return (time.perf_counter() - began) * 1000.0

    async def close(self) -> None:
        """See `DurableStore.close`."""
        await self._links.close()

    async def _fetch(self, statement: Statement) -> Sequence[Any]:
        await self._check_once()
        text, arguments = statement
        return await self._links.fetch(text, *arguments)

    async def _check_once(self) -> None:
        if not self._version_checked:
            await self.check_version()
