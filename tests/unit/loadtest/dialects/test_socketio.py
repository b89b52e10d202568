import json

import pytest

from loadtest.dialect import JoinError, Update, load_dialect
from loadtest.frames import TEXT
from loadtest.plan import WRAP_US
from tests.unit.loadtest.dialects.fake_link import FakeLink, payload_of

OPEN = b'0{"sid":"XHaYsHhCQL0cr9FsAAAA","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}'
CONNECTED = b'40{"sid":"3RL9lwNbGDgnwSyAAAAA"}'
BROADCAST = (
    b'42["avatar_transform_broadcast",{"v":1,"ts":1795219201234,"payload":{"roomId":"r","userId":"u-7","seq":12,'
    b'"x":345.5,"y":1.25,"z":-17.375,"rotY":1.5707,"anim":"walk","speaking":false}}]'
)


async def test_a_member_names_its_room_and_waits_for_the_answer():
    link = FakeLink(OPEN, b"2", CONNECTED)
    await load_dialect("socketio").enter(None, "http://127.0.0.1:4000", link)
    assert link.opened == ["ws://127.0.0.1:4000/socket.io/?EIO=4&transport=websocket"]
    assert link.sent == [b'40{"room":"bench-1a2b3c4d-0"}', b"3"]


@pytest.mark.parametrize("units", [(b"6",), (OPEN, b'44{"message":"no"}'), (OPEN,)])
async def test_a_member_that_is_not_let_in_says_so(units):
    with pytest.raises(JoinError):
        await load_dialect("socketio").enter(None, "http://127.0.0.1:4000", FakeLink(*units))


@pytest.mark.parametrize("intended_us", [0, 7, WRAP_US - 1])
def test_what_is_sent_comes_back_from_a_server_that_sends_it_on(intended_us):
    dialect, link = load_dialect("socketio"), FakeLink()
    frame = dialect.transforms(link)(9, intended_us)
    assert frame[0] & 0x0F == TEXT
    name, body = json.loads(payload_of(frame).removeprefix(b"42"))
    assert name == "avatar_transform"
    # As Node and as Python write it.
    for separators in ((",", ":"), (", ", ": ")):
        unit = b"42" + json.dumps(["avatar_transform_broadcast", body], separators=separators).encode()
        assert dialect.read(unit) == (Update(link.user_id, 9, intended_us),)


def test_a_recorded_broadcast_is_read():
    assert load_dialect("socketio").read(BROADCAST) == (Update("u-7", 12, 345),)


def test_a_ping_is_answered():
    dialect, link = load_dialect("socketio"), FakeLink()
    assert dialect.read(b"2") is None
    dialect.control(link, b"2")
    dialect.control(link, b"6")
    assert link.sent == [b"3"]


@pytest.mark.parametrize("unit", [b"42[", b'42["other",{}]', b'42["avatar_transform_broadcast",{"v":1}]'])
def test_an_event_that_is_none_of_ours_is_bad(unit):
    with pytest.raises(ValueError):
        load_dialect("socketio").read(unit)


def test_the_end_of_the_session_is_bad():
    with pytest.raises(ValueError):
        load_dialect("socketio").control(FakeLink(), b"41")


def test_who_leaves_says_so():
    assert payload_of(load_dialect("socketio").leave(FakeLink())) == b"41"
