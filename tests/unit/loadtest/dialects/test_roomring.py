import msgspec
import pytest

from common import messages
from common.codec import BadFrame, decode, encode_event
from loadtest.dialect import Update
from loadtest.dialects import roomring


def member(user_id):
    return messages.Member(user_id, "Ann", "fox", 0.0, 0.0, 0.0, 0.0, "idle", False)


def test_everything_that_is_sent_is_a_message_of_the_contract():
    user = {"userId": "u", "displayName": "Ann", "avatarId": "bench"}
    sent = [
        roomring.join_room("room", user, "token", 5),
        roomring.leave_room("room", 5),
        roomring.heartbeat("room", 5),
        roomring.local_chat("room", 123, "id", 5),
        roomring.transform_template("room") % (5, 7, 999_999_999),
    ]
    decoded = [decode(frame) for frame in sent]
    assert not [message for message in decoded if isinstance(message, BadFrame)]
    assert decoded[-1].payload.x == 999_999_999.0
    assert decoded[-1].payload.seq == 7


@pytest.mark.parametrize("time_us", [0, 1, 1_234_567, 123_456_789, 999_999_999])
def test_the_time_in_a_transform_comes_back_exactly(time_us):
    message = decode(roomring.transform_template("room") % (5, 7, time_us))
    fields = {**msgspec.structs.asdict(message.payload), "userId": "u"}
    seen = roomring.decode(encode_event(messages.AvatarTransformBroadcast(**fields), 5))
    assert (seen.t, seen.payload.userId, seen.payload.seq) == (roomring.TRANSFORM_EVENT, "u", 7)
    assert int(seen.payload.x) == time_us


def test_the_place_of_a_reliable_event_is_read():
    seen = roomring.decode(encode_event(messages.MemberJoined("room", member("u")), 5, seq=3, epoch=9))
    assert (seen.seq, seen.epoch, seen.payload.member.userId) == (3, 9, "u")
    seen = roomring.decode(
        encode_event(messages.RoomState("room", 1, [member("u")], messages.You("u"), 9, 3, False), 5)
    )
    assert (seen.epoch, seen.payload.epoch, seen.payload.seq) == (0, 9, 3)


def test_fields_may_stand_in_any_order():
    text = b'{"payload":{"x":5.0,"new":[1],"seq":2,"userId":"u"},"ts":1,"t":"avatar_transform_broadcast","v":1}'
    seen = roomring.decode(text)
    assert (seen.t, seen.payload.userId, seen.payload.seq, seen.payload.x) == (roomring.TRANSFORM_EVENT, "u", 2, 5.0)


def test_the_time_in_a_chat_comes_back():
    chat = decode(roomring.local_chat("room", 123_456, "id", 5))
    assert roomring.chat_intended_us(chat.payload.text) == 123_456
    assert roomring.chat_intended_us("hello") is None
    assert roomring.chat_intended_us("bench soon") is None


class Learned:
    """A link that writes down what the dialect tells it."""

    room_id = "room"
    user_id = "u"

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        return lambda *args, **named: self.calls.append((name, *args, *named.values()))


@pytest.mark.parametrize(
    ("event", "position", "learned"),
    [
        (
            messages.ChatBroadcast("room", "u", "Ann", "bench 77", "m"),
            {"seq": 3, "epoch": 9},
            ("chatted", 9, 3, "m", 77),
        ),
        (messages.ChatBroadcast("room", "u", "Ann", "hi", "m"), {"seq": 3, "epoch": 9}, ("chatted", 9, 3, "m", None)),
        (messages.MemberLeft("room", "u"), {"seq": 4, "epoch": 9}, ("reliable", 9, 4, "member_left u ")),
        (messages.Ack("room", 5, "m"), {"re": "own"}, ("acknowledged", "own", "m", 5)),
        (messages.RateLimited("avatar_transform", 20.0, 5), {}, ("rate_limited", "avatar_transform", True)),
        (messages.RateLimited("local_chat", 5.0, 5), {}, ("rate_limited", "local_chat", False)),
        (messages.Resync("room", "moved"), {}, ("resynced",)),
    ],
)
def test_what_is_no_transform_is_told(event, position, learned):
    unit = encode_event(event, 5, **position)
    dialect, link = roomring.make_dialect(), Learned()
    assert dialect.read(unit) is None
    dialect.control(link, unit)
    assert link.calls == [learned]


def test_a_transform_is_read_and_nothing_else_is():
    dialect = roomring.make_dialect()
    sent = {"seq": 7, "x": 999_999_999.0, "y": 0.0, "z": 0.0, "rotY": 0.0, "anim": "walk", "speaking": False}
    unit = encode_event(messages.AvatarTransformBroadcast(roomId="room", userId="u", **sent), 5)
    assert dialect.read(unit) == (Update("u", 7, 999_999_999),)
    about_it = messages.ChatBroadcast("room", "u", "Ann", roomring.TRANSFORM_EVENT, "m")
    assert dialect.read(encode_event(about_it, 5, seq=3, epoch=9)) is None
    with pytest.raises(ValueError):
        dialect.read(b"avatar_transform_broadcast")
    with pytest.raises(ValueError):
        dialect.control(Learned(), b"nonsense")
