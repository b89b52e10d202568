"""A light WebSocket: the upgrade, frames however they are cut, and the end."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest import frames
from loadtest.handshake import accept_of
from loadtest.light_socket import ABNORMAL_CLOSURE, NO_STATUS, LightSocket, Refused, refusal_of


class Transport:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.ended = ""

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "aborted"


class Owner:
    """Keeps what comes, and knows what it was given before."""

    def __init__(self) -> None:
        self.known: set[bytes] = set()
        self.messages: list[bytes] = []
        self.looked_up: list[bytes] = []
        self.codes: list[int] = []

    def take_read(self, data: bytes) -> bool:
        if data not in self.known:
            return False
        self.looked_up.append(data)
        while data:
            end = frames.frame_end(data, 0)
            self.messages.append(frames.payload_of(data[:end]))
            data = data[end:]
        return True

    def take_frames(self, messages: list[bytes], data: bytes) -> None:
        self.messages += [frames.payload_of(message) for message in messages]
        if data:
            assert b"".join(messages) == data
            self.known.add(data)

    def take_end(self, code: int) -> None:
        self.codes.append(code)


def server_frame(opcode: int, payload: bytes) -> bytes:
    size = len(payload)
    head = bytes((0x80 | opcode, size)) if size < 126 else bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big")
    return head + payload


def asked() -> tuple[LightSocket, Owner, Transport]:
    """Return a socket that has asked for the upgrade."""
    owner, transport = Owner(), Transport()
    socket = LightSocket("ws://host/ws", {"A": "b"}, owner)
    channel: Any = transport
    socket.connection_made(channel)
    return socket, owner, transport


def answer(socket: LightSocket) -> bytes:
    return b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: %s\r\n\r\n" % accept_of(socket._key).encode()


def opened() -> tuple[LightSocket, Owner, Transport]:
    socket, owner, transport = asked()
    socket.data_received(answer(socket))
    transport.written = b""
    return socket, owner, transport


async def test_it_asks_for_a_websocket() -> None:
    _, _, transport = asked()
    assert transport.written.startswith(b"GET /ws HTTP/1.1\r\n")
    assert b"\r\nA: b\r\n" in transport.written


async def test_what_comes_with_the_answer_is_taken() -> None:
    socket, owner, _ = asked()
    data = answer(socket) + server_frame(frames.TEXT, b"welcome")
    socket.data_received(data[:20])
    socket.data_received(data[20:])
    assert owner.messages == [b"welcome"]
    assert socket.is_open


@given(st.lists(st.binary(max_size=300), max_size=8), st.lists(st.integers(0, 2_500), max_size=8))
async def test_messages_come_whole_however_the_bytes_are_cut(payloads: list[bytes], cuts: list[int]) -> None:
    socket, owner, _ = opened()
    data = b"".join(server_frame(frames.TEXT, payload) for payload in payloads)
    ends = [*sorted(cut for cut in cuts if cut < len(data)), len(data)]
    for begin, end in zip([0, *ends], ends, strict=False):
        if begin < end:
            socket.data_received(data[begin:end])
    assert owner.messages == payloads


async def test_what_the_owner_knows_is_not_cut_again() -> None:
    socket, owner, _ = opened()
    read = server_frame(frames.TEXT, b"a") + server_frame(frames.TEXT, b"b")
    socket.data_received(read)
    socket.data_received(read)
    assert (owner.messages, owner.looked_up) == ([b"a", b"b"] * 2, [read])


async def test_half_a_frame_before_keeps_a_read_from_being_looked_up() -> None:
    socket, owner, _ = opened()
    read = server_frame(frames.TEXT, b"ab")
    owner.known.add(read[1:] + read[:1])
    socket.data_received(read[:1])
    socket.data_received(read[1:] + read[:1])
    assert (owner.messages, owner.looked_up) == ([b"ab"], [])


async def test_a_read_with_more_than_messages_is_not_for_looking_up() -> None:
    socket, owner, transport = opened()
    socket.data_received(server_frame(frames.TEXT, b"a") + server_frame(frames.PING, b"?"))
    assert (owner.messages, owner.known) == ([b"a"], set())
    assert transport.written == frames.masked_frame(frames.PONG, b"?")


async def test_a_close_is_answered_and_told_once() -> None:
    socket, owner, transport = opened()
    socket.data_received(server_frame(frames.CLOSE, (1012).to_bytes(2, "big") + b"restarting"))
    socket.connection_lost(None)
    assert owner.codes == [1012]
    assert (transport.written, transport.ended) == (frames.masked_frame(frames.CLOSE, b"\x03\xf4"), "closed")
    assert not socket.is_open


async def test_an_end_without_a_code() -> None:
    socket, owner, _ = opened()
    socket.connection_lost(None)
    assert owner.codes == [ABNORMAL_CLOSURE]
    socket, owner, _ = opened()
    socket.data_received(server_frame(frames.CLOSE, b""))
    assert owner.codes == [NO_STATUS]


@pytest.mark.parametrize("how", ["cut", "close"])
async def test_who_ends_it_hears_nothing_more(how: str) -> None:
    socket, owner, transport = opened()
    getattr(socket, how)()
    assert transport.ended == ("aborted" if how == "cut" else "closed")
    socket.data_received(server_frame(frames.TEXT, b"late"))
    socket.connection_lost(None)
    socket.send(b"nothing")
    assert (owner.messages, owner.codes) == ([], [])


async def test_a_refusal_tells_when_to_come_again() -> None:
    socket, owner, _ = asked()
    waiting = socket._opened
    assert waiting is not None
    socket.data_received(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\n\r\n{}")
    socket.connection_lost(None)
    with pytest.raises(Refused) as refused:
        await waiting
    assert (refused.value.status, refused.value.retry_after_s) == (503, 7.0)
    assert owner.codes == []


@pytest.mark.parametrize(
    ("data", "status", "retry_after_s"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", 403, None),
        (b"HTTP/1.1 503 x\r\nretry-after:  2 \r\nX: y\r\n\r\n", 503, 2.0),
        (b"HTTP/1.1 503 x\r\nRetry-After: Wed, 21 Oct 2026 07:28:00 GMT\r\n\r\n", 503, None),
    ],
)
def test_what_a_refusal_says(data: bytes, status: int, retry_after_s: float | None) -> None:
    refusal = refusal_of(data)
    assert refusal is not None
    assert (refusal.status, refusal.retry_after_s) == (status, retry_after_s)


@given(st.binary(max_size=100))
def test_other_bytes_are_no_refusal(data: bytes) -> None:
    assert refusal_of(data) is None or data.startswith(b"HTTP/")
    assert refusal_of(b"HTTP/1.1 101 Switching Protocols\r\n\r\n") is None
