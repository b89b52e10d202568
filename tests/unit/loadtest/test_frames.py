import pytest

from edge.frames import close_frame
from edge.frames import text_frame as server_text_frame
from loadtest.frames import (
    BINARY,
    CLOSE,
    TEXT,
    binary_frame,
    frame_end,
    is_message,
    masked_frame,
    opcode_of,
    payload_of,
    text_frame,
)

SIZES = [0, 1, 125, 126, 127, 65_535, 65_536, 70_000]


@pytest.mark.parametrize("size", SIZES)
def test_a_frame_of_a_server_is_found_and_its_payload_read(size):
    payload = b"x" * size
    frame = server_text_frame(payload)
    data = b"before" + frame + b"after"
    assert frame_end(data, 6) == 6 + len(frame)
    assert payload_of(frame) == payload
    assert {frame_end(frame[:part], 0) for part in [*range(12), len(frame) - 1] if part < len(frame)} == {-1}


@pytest.mark.parametrize("size", SIZES)
def test_a_frame_of_a_client_has_the_mask_that_changes_nothing(size):
    payload = b"x" * size
    frame = text_frame(payload)
    assert frame[0] == 0x80 | TEXT
    assert frame[1] & 0x80
    assert frame[-size - 4 :] == b"\0\0\0\0" + payload
    # But for the bit of the mask, and the mask, it is what a server sends.
    assert bytes([frame[0], frame[1] & 0x7F]) + frame[2 : len(frame) - size - 4] + payload == server_text_frame(payload)


def test_only_whole_messages_are_messages():
    assert is_message(server_text_frame(b"hi"))
    assert is_message(bytes([0x80 | BINARY, 0]))
    assert not is_message(bytes([TEXT, 0])), "the first part of one"
    assert not is_message(bytes([0x80, 0])), "the last part of one"
    assert not is_message(bytes([0x80 | 0x40 | TEXT, 0])), "a compressed one"
    assert not is_message(close_frame(1000, ""))
    assert opcode_of(close_frame(1000, "")) == CLOSE
    assert binary_frame(b"hi") == masked_frame(BINARY, b"hi")
