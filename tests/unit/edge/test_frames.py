"""Frames as another library reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from edge.frames import pong_frame, text_frame, text_frames


def parsed(data: bytes) -> list[Frame]:
    """Read frames as a client does: unmasked, nothing left over."""
    stream = StreamReader()
    stream.feed_data(data)
    stream.feed_eof()
    frames: list[Frame] = []
    while True:
        try:
            ended = yield_of(stream.at_eof())
        except EOFError:
            break
        if ended:
            return frames
        frames.append(yield_of(Frame.parse(stream.read_exact, mask=False)))
    return frames


def client_frame(payload: bytes, opcode: Opcode = Opcode.TEXT, *, fin: bool = True) -> bytes:
    """Return a frame as a client sends it."""
    return Frame(opcode, payload, fin).serialize(mask=True)


def yield_of(generator: object) -> object:
    """Run a parser that has all its data."""
    try:
        next(generator)  # type: ignore[call-overload]
    except StopIteration as end:
        return end.value
    raise AssertionError("the frame is not complete")


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 70_000])
def test_every_form_of_length(size: int) -> None:
    message = b"x" * size
    (frame,) = parsed(text_frame(message))
    assert (frame.opcode, frame.fin, frame.rsv1, frame.data) == (Opcode.TEXT, True, False, message)


@pytest.mark.parametrize(("size", "overhead"), [(125, 2), (126, 4), (65_535, 4), (65_536, 10)])
def test_the_shortest_form_is_used(size: int, overhead: int) -> None:
    # RFC 6455 section 5.2: "the minimal number of bytes MUST be used to encode the length".
    assert len(text_frame(b"x" * size)) == size + overhead


@given(st.lists(st.one_of(st.binary(max_size=300), st.integers(0, 66_000).map(bytes)), max_size=5))
def test_joined_frames_are_the_frames_one_after_the_other(messages: list[bytes]) -> None:
    data = text_frames(messages)
    assert data == b"".join(text_frame(message) for message in messages)
    assert [frame.data for frame in parsed(data)] == messages


def test_no_messages_no_bytes() -> None:
    assert text_frames([]) == b""


def test_a_pong_carries_what_the_ping_did() -> None:
    for payload in (b"", b"x" * 125):
        (frame,) = parsed(pong_frame(payload))
        assert (frame.opcode, frame.fin, frame.data) == (Opcode.PONG, True, payload)
