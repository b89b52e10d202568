import pytest
from msgspec import msgpack

from loadtest.dialect import JoinError, Update, load_dialect
from loadtest.frames import BINARY
from loadtest.plan import WRAP_US
from tests.unit.loadtest.dialects.fake_link import FakeHttp, FakeLink, payload_of

SEAT = {"name": "space", "sessionId": "fSQKONyJ_", "roomId": "DD72N7xzN", "processId": "iSbQ1DXAS"}
JOINED = b"\n\toBxSpoC4b\x04none\x00"
BROADCAST_HEAD = b"\r\xbaavatar_transform_broadcast"
# As msgpackr packs it: maps of 16 bits, the time of the wall clock as a double.
BROADCAST = (
    BROADCAST_HEAD + b"\xde\x00\x03\xa1v\x01\xa2ts\xcb\x42\x7a\x1f\xc6\x84\x00\x10\x00\xa7payload"
    b"\xde\x00\x03\xa6userId\xa3u-7\xa3seq\x0c\xa1x\xcb\x40\x75\x98\x00\x00\x00\x00\x00"
)


async def enter(*units, dialect=None, http=None):
    link = FakeLink(*units)
    await (dialect or load_dialect("colyseus")).enter(http or FakeHttp(answer=SEAT), "http://127.0.0.1:4000", link)
    return link


async def test_a_member_takes_the_seat_that_was_reserved():
    http = FakeHttp(answer=SEAT)
    link = await enter(JOINED, http=http)
    assert http.asked == [("http://127.0.0.1:4000/matchmake/joinOrCreate/space", {"room": "bench-1a2b3c4d-0"})]
    assert link.opened == ["ws://127.0.0.1:4000/iSbQ1DXAS/DD72N7xzN?sessionId=fSQKONyJ_"]
    assert link.sent == [b"\x0a"]


@pytest.mark.parametrize(
    ("http", "units"),
    [
        (FakeHttp(status=500, answer="no"), ()),
        (FakeHttp(answer={"name": "space"}), ()),
        (FakeHttp(answer=SEAT), (b"\x0b\x00",)),
        (FakeHttp(answer=SEAT), ()),
    ],
)
async def test_a_member_that_is_not_let_in_says_so(http, units):
    with pytest.raises(JoinError):
        await enter(*units, http=http)


async def test_a_room_that_was_made_twice_is_found():
    dialect = load_dialect("colyseus")
    await enter(JOINED, dialect=dialect)
    with pytest.raises(JoinError, match="two rooms"):
        await enter(JOINED, dialect=dialect, http=FakeHttp(answer={**SEAT, "roomId": "other"}))


@pytest.mark.parametrize("intended_us", [0, 7, WRAP_US - 1])
def test_what_is_sent_comes_back_from_a_server_that_sends_it_on(intended_us):
    dialect, link = load_dialect("colyseus"), FakeLink()
    frame = dialect.transforms(link)(9, intended_us)
    assert frame[0] & 0x0F == BINARY
    payload = payload_of(frame)
    assert payload.startswith(b"\r\xb0avatar_transform")
    body = msgpack.decode(payload[18:])
    assert dialect.read(BROADCAST_HEAD + msgpack.encode(body)) == (Update(link.user_id, 9, intended_us),)


def test_a_recorded_broadcast_is_read():
    assert load_dialect("colyseus").read(BROADCAST) == (Update("u-7", 12, 345),)


@pytest.mark.parametrize("unit", [BROADCAST_HEAD, BROADCAST[:-1]])
def test_a_broadcast_that_is_cut_off_is_bad(unit):
    with pytest.raises(ValueError):
        load_dialect("colyseus").read(unit)


def test_an_error_is_told_and_anything_else_is_bad():
    dialect, link = load_dialect("colyseus"), FakeLink()
    assert dialect.read(b"\x0bno") is None
    dialect.control(link, b"\x0bno")
    assert link.refusals == [("", "no")]
    with pytest.raises(ValueError):
        dialect.control(link, b"\x0estate")
