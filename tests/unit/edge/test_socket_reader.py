"""The bytes of a client, as they may come: whole, cut anywhere, in fragments, and against the rules."""

from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from common.messages import FRAME_BYTES_MAX
from edge.socket_reader import NO_STATUS, SocketReader
from tests.unit.edge.test_frames import client_frame

Event = tuple[Any, ...]

TEXT, BINARY, CONT = Opcode.TEXT, Opcode.BINARY, Opcode.CONT
PING, PONG, CLOSE = Opcode.PING, Opcode.PONG, Opcode.CLOSE


class Notes:
    """Writes down what is read, up to what cannot be read on; `Receiver`."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.is_over = False

    def _note(self, *event: Any) -> None:
        assert not self.is_over, event
        self.events.append(event)

    def receive(self, frame: bytes) -> None:
        assert type(frame) is bytes
        self._note("text", frame)

    def receive_binary(self) -> None:
        self._note("binary")

    def receive_ping(self, payload: bytes) -> None:
        assert type(payload) is bytes
        self._note("ping", payload)

    def receive_close(self, code: int) -> None:
        self._note("close", code)

    def refuse(self, code: int, reason: str) -> None:
        assert reason
        self._note("refused", int(code))
        self.is_over = True

    def fail(self, error: Exception) -> None:
        self._note("failed", error)

    def lost(self) -> None:
        self._note("lost")


def read(*chunks: bytes) -> list[Event]:
    notes = Notes()
    reader = SocketReader(notes)
    for chunk in chunks:
        if notes.is_over:
            break
        reader.data_received(chunk)
    return notes.events


def byte_by_byte(data: bytes) -> list[Event]:
    return read(*(data[at : at + 1] for at in range(len(data))))


def close(code: int, reason: bytes = b"") -> bytes:
    return client_frame(code.to_bytes(2, "big") + reason, CLOSE)


def raw(first: int, payload: bytes = b"x") -> bytes:
    """Return a frame with any first byte, under a mask of zeros."""
    return bytes([first, 0x80 | len(payload)]) + bytes(4) + payload


HELLO: Final = client_frame(b"hello")
READ: Final[Event] = ("text", b"hello")
REFUSED: Final[Event] = ("refused", 1002)

CASES: dict[str, tuple[bytes, list[Event]]] = {
    "a text": (HELLO, [READ]),
    "an empty text": (client_frame(b""), [("text", b"")]),
    "two texts": (HELLO + HELLO, [READ, READ]),
    "a length in two bytes": (client_frame(b"x" * 126), [("text", b"x" * 126)]),
    "not UTF-8": (client_frame(b"\xff\xfe"), [("text", b"\xff\xfe")]),
    "a binary": (client_frame(b"\x00", BINARY) + HELLO, [("binary",), READ]),
    "a ping": (client_frame(b"p", PING) + HELLO, [("ping", b"p"), READ]),
    "a ping of the greatest size": (client_frame(b"p" * 125, PING), [("ping", b"p" * 125)]),
    "a pong that nobody asked for": (client_frame(b"p", PONG) + HELLO, [READ]),
    "fragments": (client_frame(b"hel", fin=False) + client_frame(b"lo", CONT), [READ]),
    "empty fragments": (
        client_frame(b"hello", fin=False) + client_frame(b"", CONT, fin=False) + client_frame(b"", CONT),
        [READ],
    ),
    "a ping between fragments": (
        client_frame(b"hel", fin=False) + client_frame(b"p", PING) + client_frame(b"lo", CONT),
        [("ping", b"p"), READ],
    ),
    "a character cut by fragments": (
        client_frame(b"\xc3", fin=False) + client_frame(b"\xa9", CONT),
        [("text", b"\xc3\xa9")],
    ),
    "a close between fragments": (client_frame(b"hel", fin=False) + close(1001), [("close", 1001)]),
    "reserved bit 1": (raw(0xC1), [REFUSED]),
    "reserved bit 2": (raw(0xA1), [REFUSED]),
    "reserved bit 3": (raw(0x91), [REFUSED]),
    "a reserved opcode": (HELLO + raw(0x83), [READ, REFUSED]),
    "a reserved opcode of control frames": (raw(0x8B), [REFUSED]),
    "a ping in fragments": (raw(0x09), [REFUSED]),
    "a ping that is too large": (
        Frame(BINARY, b"p" * 126).serialize(mask=True).replace(b"\x82", b"\x89", 1),
        [REFUSED],
    ),
    "a continuation of nothing": (client_frame(b"x", CONT), [REFUSED]),
    "a continuation of what has ended": (HELLO + client_frame(b"x", CONT), [READ, REFUSED]),
    "a text within fragments": (client_frame(b"x", fin=False) + HELLO, [REFUSED]),
    "fragments within fragments": (client_frame(b"x", fin=False) + client_frame(b"x", fin=False), [REFUSED]),
    "a close without a code": (client_frame(b"", CLOSE), [("close", NO_STATUS)]),
    "a close with half a code": (client_frame(b"x", CLOSE), [REFUSED]),
    "a close with a reason": (close(1000, b"r" * 123), [("close", 1000)]),
    "a close with a reason that is not UTF-8": (close(1000, b"\xff"), [("refused", 1007)]),
    "not masked": (Frame(TEXT, b"hello").serialize(mask=False), [REFUSED]),
    "no WebSocket": (b"GET / HTTP/1.1\r\n\r\n", [REFUSED]),
    "the greatest size": (client_frame(b"x" * FRAME_BYTES_MAX), [("text", b"x" * FRAME_BYTES_MAX)]),
    "one more": (client_frame(b"x" * (FRAME_BYTES_MAX + 1)), [("refused", 1009)]),
    "too much in fragments": (
        client_frame(b"x" * FRAME_BYTES_MAX, fin=False) + client_frame(b"x", CONT),
        [("refused", 1009)],
    ),
    "the greatest size in fragments": (
        client_frame(b"x" * (FRAME_BYTES_MAX - 1), fin=False) + client_frame(b"x", CONT),
        [("text", b"x" * FRAME_BYTES_MAX)],
    ),
    "a length beyond all memory": (b"\x81\xff" + b"\xff" * 8 + bytes(4), [("refused", 1009)]),
}
CASES |= {f"a close with {code}": (close(code), [("close", code)]) for code in (1000, 1001, 1011, 3000, 4403, 4999)}
CASES |= {
    f"a close with {code}": (close(code), [REFUSED]) for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000)
}


@pytest.mark.parametrize("how", [read, byte_by_byte])
@pytest.mark.parametrize("what", CASES)
def test_what_is_read(what: str, how: Callable[[bytes], list[Event]]) -> None:
    data, expected = CASES[what]
    assert how(data) == expected


def test_what_is_too_large_is_refused_by_its_header() -> None:
    assert read(client_frame(b"x" * (FRAME_BYTES_MAX + 1))[:8]) == [("refused", 1009)]


def test_the_end_of_the_socket_is_told() -> None:
    notes = Notes()
    reader = SocketReader(notes)
    reader.data_received(HELLO)
    reader.connection_lost(None)
    assert notes.events == [READ, ("lost",)]


def test_a_bug_of_the_receiver_is_no_fault_of_the_client() -> None:
    class Broken(Notes):
        def receive(self, frame: bytes) -> None:
            raise error

    error = ValueError("a bug")
    notes = Broken()
    SocketReader(notes).data_received(HELLO + client_frame(b"p", PING))
    assert notes.events == [("failed", error), ("ping", b"p")]


payloads = st.binary(max_size=200)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[bytes, list[Event]]:
    """Draw what a client sends by the rules, whole or in fragments with pings between, and what it means."""
    data, meaning = b"", list[Event]()

    def ping() -> bytes:
        payload = draw(st.binary(max_size=125))
        meaning.append(("ping", payload))
        return client_frame(payload, PING)

    for _ in range(draw(st.integers(0, 5))):
        if draw(st.booleans()):
            data += ping()
        opcode = draw(st.sampled_from([TEXT, BINARY]))
        # An empty first fragment is left out: nobody sends one.
        parts = [draw(st.binary(min_size=1, max_size=200)), *draw(st.lists(payloads, max_size=3))]
        for number, part in enumerate(parts):
            data += client_frame(part, CONT if number else opcode, fin=number == len(parts) - 1)
            if number < len(parts) - 1 and draw(st.booleans()):
                data += ping()
        meaning.append(("text", b"".join(parts)) if opcode is TEXT else ("binary",))
    return data, meaning


@given(conversations(), st.data())
def test_it_does_not_matter_where_the_stream_is_cut(
    conversation: tuple[bytes, list[Event]], data: st.DataObject
) -> None:
    sent, meaning = conversation
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=20)))
    chunks = [sent[start:end] for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    assert read(*chunks) == meaning


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_any_bytes_are_read_or_refused(chunks: list[bytes]) -> None:
    for event in read(*chunks):
        assert event[0] in ("text", "binary", "ping", "close", "refused")


@given(conversations(), st.binary(max_size=60))
def test_what_came_before_rubbish_was_received(conversation: tuple[bytes, list[Event]], rubbish: bytes) -> None:
    sent, meaning = conversation
    assert read(sent + rubbish)[: len(meaning)] == meaning
