"""Opening a WebSocket as a client (RFC 6455 section 4.1), as bytes in and bytes out. No IO.

Written here because a library that opens a socket also reads from it, while the generator reads by itself, beginning
with the bytes that come together with the answer.
"""

import base64
import hashlib
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

KEY_BYTES: Final = 16
ANSWER_BYTES_MAX: Final = 16_384
"""An answer that has not ended by then is none."""

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_END: Final = b"\r\n\r\n"


class HandshakeError(Exception):
    """The server did not take the WebSocket. The text says what it answered."""


def request(url: str, key: bytes, headers: Mapping[str, str]) -> bytes:
    """Return the request that opens `url`.

    Args:
        url: `ws://` or `wss://`.
        key: `KEY_BYTES` random bytes.
        headers: further ones.
    """
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [
        f"GET {target} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {base64.b64encode(key).decode()}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join(lines).encode() + _END


def split_answer(data: bytes, key: bytes) -> bytes | None:
    """Return what follows the answer in what was received until now; None while the answer has not ended.

    Raises:
        HandshakeError: the answer is a refusal, or not one to this request.
    """
    head, end, rest = data.partition(_END)
    if not end:
        if len(data) > ANSWER_BYTES_MAX:
            raise HandshakeError(f"no answer in {ANSWER_BYTES_MAX} bytes")
        return None
    status, *lines = head.decode("latin-1").split("\r\n")
    if status.split(" ")[1:2] != ["101"]:
        raise HandshakeError(f"it answered {status!r}")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if fields.get("sec-websocket-accept") != accept_of(key):
        raise HandshakeError("its answer is not one to this request")
    if "sec-websocket-extensions" in fields:
        raise HandshakeError("it wants an extension that was not offered")
    return rest


def accept_of(key: bytes) -> str:
    """Return the `Sec-WebSocket-Accept` of a key."""
    # SHA-1 is what the RFC says; it protects nothing.
    digest = hashlib.sha1(base64.b64encode(key) + _GUID, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()
