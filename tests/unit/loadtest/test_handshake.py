import pytest

from loadtest.handshake import ANSWER_BYTES_MAX, HandshakeError, accept_of, request, split_answer

KEY = b"the sample nonce"
"""Of RFC 6455, section 1.3, with the answer there."""

ANSWER = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n"
GOOD = ANSWER % b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_the_request_names_the_host_the_target_and_what_was_added():
    lines = request("ws://host:81/ws?a=b", KEY, {"Sec-WebSocket-Protocol": "p"}).decode().split("\r\n")
    assert lines[0] == "GET /ws?a=b HTTP/1.1"
    assert "Host: host:81" in lines
    assert "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==" in lines
    assert lines[-3:] == ["Sec-WebSocket-Protocol: p", "", ""]
    assert request("ws://host", KEY, {}).startswith(b"GET / HTTP/1.1\r\n")


def test_the_answer_to_a_key_is_that_of_the_standard():
    assert accept_of(KEY) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_what_comes_with_the_answer_is_kept():
    assert split_answer(GOOD + b"\x81\x02hi", KEY) == b"\x81\x02hi"
    assert split_answer(GOOD, KEY) == b""


def test_an_answer_may_come_in_parts():
    assert {split_answer(GOOD[:size], KEY) for size in range(len(GOOD))} == {None}


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
        b"nonsense\r\n\r\n",
        ANSWER % accept_of(b"another").encode(),
        GOOD.replace(b"Upgrade: websocket", b"Sec-WebSocket-Extensions: permessage-deflate"),
        b"x" * (ANSWER_BYTES_MAX + 1),
    ],
)
def test_a_refusal_is_told(answer):
    with pytest.raises(HandshakeError):
        split_answer(answer, KEY)
