import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.dialect import JoinError, Update, load_dialect
from loadtest.frames import BINARY
from loadtest.plan import WRAP_US
from tests.unit.loadtest.dialects.fake_link import FakeLink, payload_of

INFO = b'INFO {"server_id":"NBC2","version":"2.9.10","proto":1,"headers":true,"max_payload":1048576} \r\n'
BODY = (
    b'{"v":1,"t":"avatar_transform_broadcast","ts":1795219201234,"payload":{"roomId":"r","userId":"u-7","seq":12,'
    b'"x":345.5,"y":1.25,"z":-17.375,"rotY":1.5707,"anim":"walk","speaking":false}}'
)
MSG = b"MSG room.r 1 %d\r\n%s\r\n" % (len(BODY), BODY)
MSG_WITH_REPLY = b"MSG room.r 1 inbox.5 %d\r\n%s\r\n" % (len(BODY), BODY)


def cut(stream):
    """Cut a stream into its units, as the generator does; returns them and what is left."""
    dialect = load_dialect("nats")
    units, start = [], 0
    while start < len(stream):
        end = dialect.unit_end(stream, start)
        if end < 0:
            break
        units.append(stream[start:end])
        start = end
    return units, stream[start:]


async def test_a_member_subscribes_and_waits_until_it_is_done():
    link = FakeLink(INFO, b"PING\r\n", b"PONG\r\n")
    await load_dialect("nats").enter(None, "http://127.0.0.1:4000", link)
    assert link.opened == ["ws://127.0.0.1:4000/"]
    connect, pong = link.sent
    assert connect.startswith(b"CONNECT {")
    assert connect.endswith(b"}\r\nSUB room.bench-1a2b3c4d-0 1\r\nPING\r\n")
    assert pong == b"PONG\r\n"


@pytest.mark.parametrize("units", [(b"+OK\r\n",), (INFO, b"-ERR 'Authorization Violation'\r\n"), (INFO,)])
async def test_a_member_that_is_not_let_in_says_so(units):
    with pytest.raises(JoinError):
        await load_dialect("nats").enter(None, "http://127.0.0.1:4000", FakeLink(*units))


@pytest.mark.parametrize("intended_us", [0, 7, WRAP_US - 1])
def test_what_is_published_comes_back_as_it_is(intended_us):
    dialect, link = load_dialect("nats"), FakeLink()
    frame = dialect.transforms(link)(9, intended_us)
    assert frame[0] & 0x0F == BINARY
    head, _, rest = payload_of(frame).partition(b"\r\n")
    command, subject, size = head.split(b" ")
    assert (command, subject, int(size)) == (b"PUB", b"room.bench-1a2b3c4d-0", len(rest) - 2)
    unit = b"MSG %s 1 %s\r\n%s" % (subject, size, rest)
    assert cut(unit) == ([unit], b"")
    assert dialect.read(unit) == (Update(link.user_id, 9, intended_us),)


def test_recorded_messages_are_read():
    for unit in (MSG, MSG_WITH_REPLY):
        assert load_dialect("nats").read(unit) == (Update("u-7", 12, 345),)


@given(st.lists(st.sampled_from([MSG, MSG_WITH_REPLY, b"PING\r\n", b"+OK\r\n", INFO])), st.integers(0, 2000))
def test_a_stream_is_cut_where_its_messages_end(units, taken):
    stream = b"".join(units)
    assert cut(stream) == (units, b"")
    found, rest = cut(stream[:taken])
    assert found == units[: len(found)]
    assert b"".join(found) + rest == stream[:taken]
    assert len(rest) < max(map(len, units), default=1)


@pytest.mark.parametrize("stream", [MSG[:-2] + b"xx", b"MSG room.r 1 many\r\n", b"x" * 5000])
def test_what_is_no_message_is_bad(stream):
    with pytest.raises(ValueError):
        cut(stream)


def test_a_ping_is_answered_and_an_error_is_told():
    dialect, link = load_dialect("nats"), FakeLink()
    for unit in (b"PING\r\n", INFO, b"-ERR 'Slow Consumer'\r\n"):
        assert dialect.read(unit) is None
        dialect.control(link, unit)
    assert link.sent == [b"PONG\r\n"]
    assert link.refusals == [("", "'Slow Consumer'")]
    with pytest.raises(ValueError):
        dialect.control(link, b"HMSG room.r 1 12 12\r\n")
