"""WebSocket frames of a server: unmasked, uncompressed, one text message each (RFC 6455 section 5.2).

The same bytes serve every socket, which is why the hot path does not go through a WebSocket library.
"""

from collections.abc import Iterable

_TEXT_FINAL = b"\x81"


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
