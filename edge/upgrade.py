"""From a request to a socket: aiohttp reads, routes and answers the upgrade; then the socket is no longer aiohttp's.

What aiohttp has for a connection (its protocol, task, request and response) can go after that.
"""

import asyncio
import base64
import hashlib
from typing import cast

from aiohttp import hdrs, web
from aiohttp.http import WS_KEY, WebSocketReader
from multidict import CIMultiDict

from common.messages import SUBPROTOCOL


class _Switched(web.StreamResponse):
    """An answer with status 101: what is sent after it is not the end of a response."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing: the socket goes on."""


class _Early:
    """In the place of aiohttp's parser: takes what the client sent behind its request, before it was answered."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """See `WebSocketReader.feed_data`."""
        self._protocol.data_received(data)
        return False, b""

    def feed_eof(self) -> None:
        """Nothing: the socket goes on without aiohttp."""


async def accept_upgrade(request: web.Request) -> web.StreamResponse:
    """Answer an upgrade (RFC 6455 section 4.2.2): our subprotocol where it is offered, no extensions.

    Raises:
        HTTPBadRequest: it is not the handshake of a WebSocket.
        ConnectionError: the client has gone.
    """
    handshake = web.WebSocketResponse(protocols=(SUBPROTOCOL,), compress=False)
    checked = handshake.can_prepare(request)
    if not checked.ok:
        # It raises what is wrong.
        await handshake.prepare(request)
    accepted = hashlib.sha1(request.headers[hdrs.SEC_WEBSOCKET_KEY].encode() + WS_KEY, usedforsecurity=False)
    headers = CIMultiDict(
        {
            hdrs.UPGRADE: "websocket",
            hdrs.CONNECTION: "upgrade",
            hdrs.SEC_WEBSOCKET_ACCEPT: base64.b64encode(accepted.digest()).decode(),
        }
    )
    if checked.protocol:
        headers[hdrs.SEC_WEBSOCKET_PROTOCOL] = checked.protocol
    response = _Switched(status=101, headers=headers)
    response.force_close()
    await response.prepare(request)
    return response


def hand_over(request: web.Request, transport: asyncio.Transport, protocol: asyncio.Protocol) -> None:
    """Give the socket of an answered upgrade to `protocol`, and what has arrived on it.

    The handler of the request must return the answer after it.
    """
    handler = request.protocol
    transport.set_protocol(protocol)
    handler.set_parser(cast(WebSocketReader, _Early(protocol)))
    # It lets go of the request, and does not close the socket, which it does not know any more.
    handler.transport = None
    handler.connection_lost(None)
