"""`GET /rooms/{roomId}/messages`: kept chat, in pages, for who holds the room's token.

Without a socket and without the room's worker: the pages come from the durable store, with what the reader
blocks left out. What the store does not have yet, a client gets over its socket.
"""

from hashlib import blake2b
from typing import Final

from aiohttp import web
from msgspec import UNSET, json

from common.cursor import decode_cursor, encode_cursor
from common.durable import ChatMessage, DurableStore, MessagePlace, Page
from common.errors import AUTH_ERROR_MEANING, AuthErrorCode, BusUnavailable, StoreUnavailable
from common.ids import RoomId, UserId, is_room_id
from common.messages import MessagePage, PastChat
from common.ring import partition_of_shard, shard_of
from edge.gateway import Gateway
from edge.problems import allow_origin, bearer, problem
from edge.tokens import Claims, TokenVerifier

LIMIT_DEFAULT: Final = 50
LIMIT_MAX: Final = 200


class History:
    """The handler of the pages."""

    def __init__(self, gateway: Gateway, verifier: TokenVerifier, store: DurableStore | None) -> None:
        self._gateway = gateway
        self._verifier = verifier
        self._store = store

    async def messages(self, request: web.Request) -> web.StreamResponse:
        """Answer one page, or 304 where the client has it already."""
        response = await self._messages(request)
        allow_origin(self._gateway.settings, request, response)
        response.headers["Access-Control-Expose-Headers"] = "ETag"
        return response

    async def _messages(self, request: web.Request) -> web.Response:
        room_id = request.match_info["room_id"]
        if not is_room_id(room_id):
            return problem(400, "invalid_room_id", "the room id does not match the pattern of room ids")
        reader = self._reader(request, RoomId(room_id))
        if isinstance(reader, web.Response):
            return reader
        asked = _asked(request)
        if isinstance(asked, web.Response):
            return asked
        before, after, limit = asked
        if self._store is None:
            return problem(501, "history_off", "this cluster has no database (ROOMRING_DATABASE_URL)")
        try:
            people = await self._gateway.bus.people([reader])
            # Asked before the page is read: what waits then may be missing from it.
            settled = not await self._waiting(RoomId(room_id))
            page = await self._store.page(
                RoomId(room_id), before=before, after=after, limit=limit, hidden_authors=people[reader].blocks
            )
        except (BusUnavailable, StoreUnavailable) as error:
            return problem(503, "unavailable", f"the history cannot be read now: {error}")
        return _answer(request, RoomId(room_id), page, after, settled=settled)

    async def _waiting(self, room_id: RoomId) -> int:
        """Return how many messages of the room's shard are not in the store yet."""
        settings = self._gateway.settings
        shard = shard_of(room_id, settings.shards)
        partition = partition_of_shard(shard, settings.partitions)
        (length,) = await self._gateway.bus.outbox_lengths(partition, [shard])
        return length

    def _reader(self, request: web.Request, room_id: RoomId) -> UserId | web.Response:
        token = bearer(request)
        claims: Claims | AuthErrorCode = AuthErrorCode.TOKEN_INVALID if token is None else self._verifier.verify(token)
        if isinstance(claims, AuthErrorCode):
            return problem(401, claims, AUTH_ERROR_MEANING[claims])
        if not claims.allows(room_id):
            return problem(403, AuthErrorCode.ROOM_MISMATCH, AUTH_ERROR_MEANING[AuthErrorCode.ROOM_MISMATCH])
        return claims.user_id


def _asked(request: web.Request) -> tuple[MessagePlace | None, MessagePlace | None, int] | web.Response:
    places: dict[str, MessagePlace] = {}
    for name in ("before", "after"):
        cursor = request.query.get(name)
        if cursor is None:
            continue
        place = decode_cursor(cursor)
        if place is None:
            return problem(400, "invalid_cursor", f"`{name}` must be a cursor that an earlier answer gave")
        places[name] = place
    text = request.query.get("limit", str(LIMIT_DEFAULT))
    limit = int(text) if text.isascii() and text.isdecimal() and len(text) <= 4 else 0
    if not 1 <= limit <= LIMIT_MAX:
        return problem(400, "invalid_limit", f"`limit` must be a whole number from 1 to {LIMIT_MAX}")
    return places.get("before"), places.get("after"), limit


def _answer(
    request: web.Request, room_id: RoomId, page: Page, after: MessagePlace | None, *, settled: bool
) -> web.Response:
    messages = page.messages
    newest = MessagePlace(messages[-1].epoch, messages[-1].seq) if messages else after
    oldest = MessagePlace(messages[0].epoch, messages[0].seq) if messages else None
    body = json.encode(
        MessagePage(
            room_id,
            [_past(message) for message in messages],
            UNSET if oldest is None or not page.more_before else encode_cursor(oldest),
            UNSET if newest is None else encode_cursor(newest),
            page.more_after,
            settled,
        )
    )
    tag = f'"{blake2b(body, digest_size=16).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if tag in [given.strip().removeprefix("W/") for given in request.headers.get("If-None-Match", "").split(",")]:
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, content_type="application/json", headers=headers)


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
