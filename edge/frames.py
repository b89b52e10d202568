"""WebSocket frames of a server: unmasked, uncompressed, one text message each (RFC 6455 section 5.2).

The same bytes serve every socket, which is why the hot path does not go through a WebSocket library.
"""

from collections.abc import Iterable

_TEXT_FINAL = b"\x81"
_CLOSE_FINAL = b"\x88"
_PONG_FINAL = b"\x8a"


def text_frame(message: bytes) -> bytes:
    """Return the frame of one text message."""
    size = len(message)
    if size < 126:
        return _TEXT_FINAL + size.to_bytes(1, "big") + message
    if size < 65536:
        return _TEXT_FINAL + b"\x7e" + size.to_bytes(2, "big") + message
    return _TEXT_FINAL + b"\x7f" + size.to_bytes(8, "big") + message


def text_frames(messages: Iterable[bytes]) -> bytes:
    """Return the frames of several messages, joined for one write."""
    return b"".join([text_frame(message) for message in messages])


def close_frame(code: int, reason: str) -> bytes:
    """Return a close frame. The reason must have at most 123 bytes (RFC 6455 section 5.5)."""
    body = code.to_bytes(2, "big") + reason.encode()
    assert len(body) <= 125, "a control frame has at most 125 bytes"
    return _CLOSE_FINAL + len(body).to_bytes(1, "big") + body


def pong_frame(payload: bytes) -> bytes:
    """Return the answer to a ping. The payload is the ping's, and has at most 125 bytes (RFC 6455 section 5.5.3)."""
    assert len(payload) <= 125, "a control frame has at most 125 bytes"
    return _PONG_FINAL + len(payload).to_bytes(1, "big") + payload
