"""Kept messages in pages, of rooms and of threads, and a person's list of threads.

Without a socket and without the room's worker: the pages come from the durable store, with what the reader
blocks left out. What the store does not have yet, a client gets over its socket.
"""

from aiohttp import web
from msgspec import UNSET

from common.cursor import decode_cursor, decode_thread_cursor, encode_cursor, encode_thread_cursor
from common.durable import PAGE_MESSAGES_MAX, ChatMessage, DurableStore, MessagePlace, Page, ThreadMember, ThreadSummary
from common.ids import INBOX_KIND, THREAD_KIND, RoomId, UserId, inbox_of, is_room_id, kind_of
from common.messages import MessagePage, PastChat, Position, ThreadPage, ThreadView
from common.ring import partition_of_shard, shard_of
from edge.gateway import Gateway
from edge.openapi import LIMIT_DEFAULT, THREADS_MAX
from edge.problems import cursor_of, limit_of, problem, room_id_of, tagged_answer
from edge.readers import Readers, not_there, other_of_thread
from edge.tokens import TokenVerifier


class History:
    """The handlers of the pages."""

    def __init__(self, gateway: Gateway, verifier: TokenVerifier, store: DurableStore | None) -> None:
        self._gateway = gateway
        self._readers = Readers(gateway, verifier)
        self._store = store

    async def messages(self, request: web.Request) -> web.StreamResponse:
        """`GET /rooms/{roomId}/messages`: a page, or 304 where the client has it already."""
        room_id = room_id_of(request)
        if isinstance(room_id, web.Response):
            return room_id
        reader = self._readers.of_room(request, room_id)
        if isinstance(reader, web.Response):
            return reader
        if kind_of(room_id) == INBOX_KIND:
            return not_there("room with messages")
        return await self._page(request, room_id, reader.user_id)

    async def thread_messages(self, request: web.Request) -> web.StreamResponse:
        """`GET /threads/{threadId}/messages`: the same of a thread, for its two persons."""
        reader = self._readers.person(request)
        if isinstance(reader, web.Response):
            return reader
        thread_id = request.match_info["thread_id"]
        if not is_room_id(thread_id) or kind_of(RoomId(thread_id)) != THREAD_KIND:
            return not_there("thread")
        return await self._page(request, RoomId(thread_id), reader.user_id)

    async def threads(self, request: web.Request) -> web.StreamResponse:
        """`GET /threads`: the reader's threads, the most lately active first."""
        reader = self._readers.person(request)
        if isinstance(reader, web.Response):
            return reader
        before = cursor_of(request, "before", decode_thread_cursor)
        if isinstance(before, web.Response):
            return before
        limit = limit_of(request, LIMIT_DEFAULT, THREADS_MAX)
        if isinstance(limit, web.Response):
            return limit
        if self._store is None:
            return history_off()
        user_id = reader.user_id
        hidden = await self._readers.hidden_from(self._store, user_id)
        if isinstance(hidden, web.Response):
            return hidden
        threads, unread = await self._store.threads(user_id, before=before, limit=limit, hidden=hidden)
        last = threads[-1] if len(threads) == limit else None
        after = UNSET if last is None else encode_thread_cursor(last.active_at_ms, last.room_id)
        return tagged_answer(request, ThreadPage(inbox_of(user_id), unread, [_view(one) for one in threads], after))

    async def _page(self, request: web.Request, room_id: RoomId, reader: UserId) -> web.Response:
        before = cursor_of(request, "before", decode_cursor)
        if isinstance(before, web.Response):
            return before
        after = cursor_of(request, "after", decode_cursor)
        if isinstance(after, web.Response):
            return after
        limit = limit_of(request, LIMIT_DEFAULT, PAGE_MESSAGES_MAX)
        if isinstance(limit, web.Response):
            return limit
        if self._store is None:
            return history_off()
        if kind_of(room_id) == THREAD_KIND and await other_of_thread(self._store, room_id, reader) is None:
            return not_there("thread")
        hidden = await self._readers.hidden_from(self._store, reader, room_id)
        if isinstance(hidden, web.Response):
            return hidden
        # Asked before the page is read: what waits then may be missing from it.
        settled = not await self._waiting(room_id)
        page = await self._store.page(room_id, before=before, after=after, limit=limit, hidden_authors=hidden)
        return tagged_answer(request, _message_page(room_id, page, after, settled=settled))

    async def _waiting(self, room_id: RoomId) -> int:
        """Return how many messages of the room's shard are not in the store yet."""
        settings = self._gateway.settings
        shard = shard_of(room_id, settings.shards)
        partition = partition_of_shard(shard, settings.partitions)
        (length,) = await self._gateway.bus.outbox_lengths(partition, [shard])
        return length


def history_off() -> web.Response:
    """Return the answer of a cluster without a database."""
    return problem(501, "history_off", "this cluster has no database (ROOMRING_DATABASE_URL)")


def _message_page(room_id: RoomId, page: Page, after: MessagePlace | None, *, settled: bool) -> MessagePage:
    messages = page.messages
    newest = MessagePlace(messages[-1].epoch, messages[-1].seq) if messages else after
    oldest = MessagePlace(messages[0].epoch, messages[0].seq) if messages else None
    return MessagePage(
        room_id,
        [_past(message) for message in messages],
        page.more_after,
        settled,
        UNSET if oldest is None or not page.more_before else encode_cursor(oldest),
        UNSET if newest is None else encode_cursor(newest),
    )


def _past(message: ChatMessage) -> PastChat:
    return PastChat(
        message.epoch,
        message.seq,
        message.at_ms,
        message.author_id,
        message.author_name,
        message.text,
        message.message_id,
        UNSET if message.reply_to is None else message.reply_to,
    )


def _view(thread: ThreadSummary) -> ThreadView:
    return ThreadView(
        thread.room_id,
        thread.other_id,
        thread.other_name,
        thread.mine.unread,
        thread.active_at_ms,
        _read(thread.mine),
        _read(thread.others),
        UNSET if thread.last_message is None else _past(thread.last_message),
    )


def _read(member: ThreadMember) -> Position:
    return Position(member.read.epoch, member.read.seq)
