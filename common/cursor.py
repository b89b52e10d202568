"""Opaque cursors into a room's kept messages: what a client passes back, and may not look into."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from typing import Final

from common.durable import MessagePlace
from common.ids import Epoch, Seq

_VERSION: Final = b"\x01"
_SIZE: Final = 17


def encode_cursor(place: MessagePlace) -> str:
    """Return the cursor of a place."""
    data = _VERSION + place.epoch.to_bytes(8, "big") + place.seq.to_bytes(8, "big")
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def decode_cursor(text: str) -> MessagePlace | None:
    """Return the place of a cursor; None where it is none of ours."""
    try:
        data = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except (Error, ValueError):
        return None
    if len(data) != _SIZE or data[:1] != _VERSION or encode_cursor(_place(data)) != text:
        return None
    return _place(data)


def _place(data: bytes) -> MessagePlace:
    return MessagePlace(Epoch(int.from_bytes(data[1:9], "big")), Seq(int.from_bytes(data[9:17], "big")))
