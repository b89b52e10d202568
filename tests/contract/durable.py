"""What the tests of the durable store share: messages, and databases made quickly."""

import itertools

from common.durable import ChatMessage, DurableStore, MessagePlace, Page
from common.durable_postgres import PostgresStore
from common.ids import Epoch, RoomId, Seq, UserId

ROOM = RoomId("lobby:one")
OTHER_ROOM = RoomId("lobby:other")
ADA, BEN, EVE = UserId("ada"), UserId("ben"), UserId("eve")


def message(
    seq: int,
    *,
    room: RoomId = ROOM,
    epoch: int = 1_700_000_000_000,
    author: UserId = ADA,
    text: str = "hello",
    message_id: str | None = None,
    at_ms: int = 1_700_000_000_123,
    reply_to: str | None = None,
    recipient: UserId | None = None,
) -> ChatMessage:
    return ChatMessage(
        room,
        Epoch(epoch),
        Seq(seq),
        f"{room}-{epoch}-{seq}" if message_id is None else message_id,
        author,
        author.title(),
        text,
        at_ms,
        reply_to,
        recipient,
    )


def place(of: ChatMessage) -> MessagePlace:
    return MessagePlace(of.epoch, of.seq)


def seqs(page: Page) -> list[int]:
    return [found.seq for found in page.messages]


async def walk(
    store: DurableStore, room: RoomId, limit: int, hidden: set[UserId] | None = None, *, backwards: bool
) -> list[ChatMessage]:
    """Follow the cursors from one end to the other, and check what each page says of the rest."""
    hidden = hidden or set()
    found: list[ChatMessage] = []
    cursor: MessagePlace | None = None if backwards else MessagePlace(Epoch(0), Seq(0))
    for _ in itertools.count():
        if backwards:
            page = await store.page(room, before=cursor, limit=limit, hidden_authors=hidden)
            found[:0] = page.messages
            assert page.more_after == (len(found) > len(page.messages))
        else:
            page = await store.page(room, after=cursor, limit=limit, hidden_authors=hidden)
            assert page.more_before == bool(found)
            found += page.messages
        assert len(page.messages) <= limit
        if not (page.more_before if backwards else page.more_after):
            return found
        assert len(page.messages) == limit
        cursor = place(page.messages[0 if backwards else -1])
    raise AssertionError


async def clear(store: PostgresStore) -> None:
    """Empty all tables, and begin the numbers of the audit log anew: quicker than a new database, or than TRUNCATE."""
    tables = ("messages", "threads", "friendships", "blocks", "notes", "moderation_queue", "restrictions", "audit_log")
    emptied = ", ".join(f"{table}_emptied AS (DELETE FROM {table})" for table in tables)
    await store._links.fetch(f"WITH {emptied} SELECT setval(pg_get_serial_sequence('audit_log', 'entry_id'), 1, false)")
