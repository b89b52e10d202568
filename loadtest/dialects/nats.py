"""NATS over WebSocket: its text protocol as one stream inside of binary frames, several messages to a frame.

A member subscribes to its room's subject and publishes to it; the server echoes to the sender. All subscriptions have
the same number, so all members receive equal bytes. Source: the client protocol in the documentation of NATS.
"""

from collections.abc import Callable, Sequence
from typing import Final

import aiohttp
from msgspec import json

from loadtest.dialect import Dialect, JoinError, Link, PlainDialect, Units, Update
from loadtest.dialects.transform_body import Body, json_template, now_ms
from loadtest.frames import binary_frame

_LINE_BYTES_MAX: Final = 4096
"""INFO is the longest line, of some 500 bytes; more without a line end is not this protocol."""

_LINES_MAX: Final = 10_000
"""A generator has some rooms, and updates some sizes."""

_decode_body: Final[Callable[[bytes], Body]] = json.Decoder(Body).decode


class Nats(PlainDialect):
    """See `Dialect`."""

    name = "nats"
    units = Units.STREAM
    has_one_order = False

    def __init__(self) -> None:
        self._payload_bytes: dict[bytes, int] = {}
        """Line of a MSG -> what follows it. They differ by their sizes alone."""

    async def enter(self, _http: aiohttp.ClientSession, base_url: str, link: Link) -> None:
        """Connect and subscribe; the answer to a ping says that both are done."""
        await link.open(f"ws{base_url.removeprefix('http')}/")
        greeting = await link.receive()
        if not greeting.startswith(b"INFO "):
            raise JoinError(f"{base_url} began with {greeting[:80]!r} instead of INFO")
        options = json.encode({"verbose": False, "pedantic": False, "echo": True, "name": link.user_id})
        link.send(binary_frame(b"CONNECT %s\r\nSUB %s 1\r\nPING\r\n" % (options, _subject(link))))
        while not (answer := await link.receive()).startswith(b"PONG"):
            if answer.startswith(b"-ERR"):
                raise JoinError(f"{link.user_id} may not subscribe: {answer.decode(errors='replace').strip()}")
            self.control(link, answer)

    def transforms(self, link: Link) -> Callable[[int, int], bytes]:
        """Return what makes the frames of the member's transforms."""
        template = json_template(link.room_id, link.user_id, named=True)
        subject = _subject(link)

        def transform(seq: int, intended_us: int) -> bytes:
            body = template % (now_ms(), seq, intended_us)
            return binary_frame(b"PUB %s %d\r\n%s\r\n" % (subject, len(body), body))

        return transform

    def read(self, unit: bytes) -> Sequence[Update] | None:
        """Return the transform of a MSG."""
        if not unit.startswith(b"MSG "):
            return None
        return (_decode_body(unit[unit.index(b"\r\n") + 2 : -2]).payload.update(),)

    def control(self, link: Link, unit: bytes) -> None:
        """Answer a ping; take an error."""
        if unit.startswith(b"PING"):
            link.send(binary_frame(b"PONG\r\n"))
        elif unit.startswith(b"-ERR"):
            link.refused("", unit[5:].decode(errors="replace").strip())
        elif not unit.startswith((b"PONG", b"INFO ", b"+OK")):
            raise ValueError(f"the server sent {unit[:80]!r}")

    def unit_end(self, stream: bytes, start: int) -> int:
        """Return where a line, with MSG also its payload, ends.

        This runs for every message, since NATS has no one order; so the size in a MSG's line is read once.
        """
        line_end = stream.find(b"\n", start) + 1
        if not line_end:
            if len(stream) - start > _LINE_BYTES_MAX:
                raise ValueError("a line without end")
            return -1
        line = stream[start:line_end]
        payload_bytes = self._payload_bytes.get(line)
        if payload_bytes is None:
            payload_bytes = self._read_line(line)
        end = line_end + payload_bytes
        if end > len(stream):
            return -1
        if payload_bytes and stream[end - 2 : end] != b"\r\n":
            raise ValueError("a MSG that does not end with its size")
        return end

    def _read_line(self, line: bytes) -> int:
        """Return how many bytes belong to a line beside itself."""
        if not line.startswith(b"MSG "):
            return 0
        # MSG <subject> <subscription> [reply-to] <size>
        payload_bytes = int(line[line.rindex(b" ") :]) + 2
        if len(self._payload_bytes) < _LINES_MAX:
            self._payload_bytes[line] = payload_bytes
        return payload_bytes


def make_dialect() -> Dialect:
    """Return the dialect."""
    return Nats()


def _subject(link: Link) -> bytes:
    return f"room.{link.room_id}".encode()
