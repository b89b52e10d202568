"""WebSocket frames of a client, and where the frames of a server end (RFC 6455 section 5.2). No IO.

Frames go out with the mask 0, so that the payload stands in them as it is: servers unmask it like any other, and
masking costs the generator nothing. (A mask protects proxies from scripts in browsers, section 10.3: none are here.)
"""

from typing import Final

TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

CONTROL_PAYLOAD_MAX: Final = 125

TRANSFORM_FRAME_BYTES: Final = 224
"""A transform as Roomring sends it to a member of a load test: 220 bytes, and 4 of the WebSocket frame's head."""

_FINAL: Final = 0x80
_MASKED: Final = 0x80
_NO_MASK: Final = b"\0\0\0\0"


def masked_frame(opcode: int, payload: bytes) -> bytes:
    """Return the frame of one whole message of a client."""
    size = len(payload)
    if size < 126:
        head = bytes((_FINAL | opcode, _MASKED | size))
    elif size < 65536:
        head = bytes((_FINAL | opcode, _MASKED | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((_FINAL | opcode, _MASKED | 127)) + size.to_bytes(8, "big")
    return head + _NO_MASK + payload


def text_frame(payload: bytes) -> bytes:
    """Return the frame of one text message of a client."""
    return masked_frame(TEXT, payload)


def binary_frame(payload: bytes) -> bytes:
    """Return the frame of one binary message of a client."""
    return masked_frame(BINARY, payload)


def frame_end(data: bytes, start: int) -> int:
    """Return where the server's frame that begins at `start` ends, or -1 where it is not all there."""
    have = len(data) - start
    if have < 2:
        return -1
    size = data[start + 1] & 0x7F
    if size < 126:
        size += 2
    elif size == 126:
        if have < 4:
            return -1
        size = (data[start + 2] << 8) + data[start + 3] + 4
    else:
        if have < 10:
            return -1
        size = int.from_bytes(data[start + 2 : start + 10], "big") + 10
    return start + size if size <= have else -1


def payload_of(frame: bytes) -> bytes:
    """Return the payload of one whole frame of a server."""
    size = frame[1] & 0x7F
    return frame[2 if size < 126 else 4 if size == 126 else 10 :]


def is_message(frame: bytes) -> bool:
    """Whether a whole frame of a server is a whole message: text or binary, neither in parts nor compressed."""
    return frame[0] in _WHOLE_MESSAGES


_WHOLE_MESSAGES: Final = (_FINAL | TEXT, _FINAL | BINARY)


def opcode_of(frame: bytes) -> int:
    """Return what kind of frame it is."""
    return frame[0] & 0x0F
