"""`POST /rooms/{roomId}/messages`: sending without a socket, by the same rules.

The room's worker decides, as it does for sockets: its order, rates, mutes and remembered answers are the same.
"""

import re
from typing import Final

from aiohttp import web
from msgspec import UNSET, Raw, Struct, UnsetType, json

from common.commands import Call, Identity
from common.durable import DurableStore
from common.errors import AUTH_ERROR_MEANING, AuthErrorCode
from common.ids import INBOX_KIND, THREAD_KIND, ConnNumber, kind_of
from common.messages import (
    ChatSend,
    ChatSendPayload,
    DirectSend,
    DirectSendPayload,
    PostMessageRequest,
    PostMessageResponse,
    RoomMessage,
)
from edge.connection import DEFAULT_AVATAR_ID, NAME_CHARACTERS_MAX
from edge.gateway import Gateway
from edge.http_history import history_off
from edge.openapi import MESSAGE_KEY_PATTERN
from edge.problems import body_of, json_answer, problem, refused, room_id_of
from edge.readers import Readers, not_there, other_of_thread
from edge.tokens import Claims, TokenVerifier

NO_CONNECTION: Final = ConnNumber(0)


class _Told(Struct, frozen=True):
    """The event that the worker answered."""

    t: str
    payload: Raw


class _Refusal(Struct, frozen=True):
    """What `error`, `auth_error` and `message_rejected` have in common."""

    code: str
    message: str


_message_key: Final = re.compile(MESSAGE_KEY_PATTERN)
_body_decoder: Final = json.Decoder(PostMessageRequest)
_told_decoder: Final = json.Decoder(_Told)
_ack_decoder: Final = json.Decoder(PostMessageResponse)
_refusal_decoder: Final = json.Decoder(_Refusal)


class Posting:
    """The handler."""

    def __init__(self, gateway: Gateway, verifier: TokenVerifier, store: DurableStore | None) -> None:
        self._gateway = gateway
        self._readers = Readers(gateway, verifier)
        self._store = store

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Send one message, and answer with its place."""
        room_id = room_id_of(request)
        if isinstance(room_id, web.Response):
            return room_id
        sender = self._readers.of_room(request, room_id)
        if isinstance(sender, web.Response):
            return sender
        kind = kind_of(room_id)
        if kind == INBOX_KIND:
            return not_there("room with messages")
        body = await body_of(request, _body_decoder)
        if isinstance(body, web.Response):
            return body
        message_id = _message_id(request, body)
        if isinstance(message_id, web.Response):
            return message_id
        if await self._readers.is_barred(self._store, sender.user_id):
            return refused(AuthErrorCode.BANNED, AUTH_ERROR_MEANING[AuthErrorCode.BANNED])
        now_ms = self._gateway.clock.now_ms()
        message: RoomMessage
        if kind == THREAD_KIND:
            if self._store is None:
                return history_off()
            other_id = await other_of_thread(self._store, room_id, sender.user_id)
            if other_id is None:
                return not_there("thread")
            direct = DirectSendPayload(other_id, body.text, body.replyTo)
            message = DirectSend(v=1, ts=now_ms, id=message_id, payload=direct)
        else:
            chat = ChatSendPayload(room_id, body.text, body.replyTo)
            message = ChatSend(v=1, ts=now_ms, id=message_id, payload=chat)
        identity = _identity(sender)
        told = await self._gateway.operations.ask(
            lambda number: Call(room_id, NO_CONNECTION, identity, sender.device, message, number), must=False
        )
        return _answer(told)


def _message_id(request: web.Request, body: PostMessageRequest) -> str | UnsetType | web.Response:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _message_key.fullmatch(key):
        return problem(400, "invalid_id", "`Idempotency-Key` has 1 to 64 characters of printable ASCII without spaces")
    if body.id is not UNSET or key is None:
        return body.id
    return key


def _identity(claims: Claims) -> Identity:
    """The person as the token says, as at a sign-in by the upgrade request."""
    name = claims.display_name or claims.user_id[:NAME_CHARACTERS_MAX]
    return Identity(claims.user_id, name, claims.avatar_id or DEFAULT_AVATAR_ID, claims.roles)


def _answer(told: bytes) -> web.Response:
    event = _told_decoder.decode(told)
    match event.t:
        case "ack":
            return json_answer(_ack_decoder.decode(event.payload), 201)
        case "error" | "auth_error" | "message_rejected":
            refusal = _refusal_decoder.decode(event.payload)
            return refused(refusal.code, refusal.message)
        case _:
            raise AssertionError(f"a worker answered a message with {event.t}")
