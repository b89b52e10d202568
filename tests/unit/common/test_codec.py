"""Frames of clients to messages, and events to frames."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import UNSET

from common.codec import BadFrame, as_replay, decode, encode_event, encode_payload
from common.commands import InputBatch, Post, decode_batch, encode_batch
from common.errors import ERROR_MEANING, AuthErrorCode, ErrorCode, RejectionCode
from common.ids import ConnNumber, EdgeId, Epoch, RoomId, Seq
from common.messages import (
    CLIENT_MESSAGES,
    SERVER_EVENTS,
    Ack,
    AvatarTransform,
    AvatarTransformBroadcast,
    BlockChanged,
    BlockUser,
    ChatBroadcast,
    ChatSend,
    ClientMessage,
    DirectMessage,
    DirectSend,
    Emote,
    EmoteBroadcast,
    ErrorEvent,
    FriendAdd,
    FriendChanged,
    FriendRemove,
    Heartbeat,
    HeartbeatAck,
    JoinRoom,
    LeaveRoom,
    LeftRoom,
    Limits,
    LocalChat,
    Member,
    MemberCount,
    MemberJoined,
    MemberLeft,
    MessageDeleted,
    ModerationAction,
    Movement,
    Note,
    NoteChange,
    NoteChanged,
    NoteConflict,
    NoteDelete,
    NoteDeleted,
    NotePlaced,
    NotePut,
    Persisted,
    Presence,
    PresenceSubscribe,
    PresenceUnsubscribe,
    RateLimited,
    ReadReceipt,
    ReadUpTo,
    Report,
    Resync,
    RoomMembers,
    RoomState,
    ServerDraining,
    ServerEvent,
    Typing,
    TypingBroadcast,
    UnblockUser,
    Welcome,
    You,
    auth_refusal,
    refusal,
    rejection,
)

USER = {"userId": "u1", "displayName": "Ada", "avatarId": "fox"}
PAYLOADS: dict[str, dict[str, Any]] = {
    "join_room": {"roomId": "hall", "user": USER, "token": "t", "resume": {"epoch": 5, "lastSeq": 7}},
    "leave_room": {"roomId": "hall"},
    "heartbeat": {"clientTimeMs": 12.5, "roomId": "hall", "lastSeq": 3},
    "avatar_transform": {
        "roomId": "hall",
        "seq": 1,
        "x": 1,
        "y": 2.5,
        "z": -3,
        "rotY": 0.25,
        "anim": "walk",
        "speaking": True,
    },
    "local_chat": {"roomId": "hall", "text": "hello", "mode": "local"},
    "emote": {"roomId": "hall", "emoteId": "cheers"},
    "chat_send": {"roomId": "lobby:hall", "text": "hi\n", "replyTo": "m-0"},
    "direct_send": {"recipientId": "u2", "text": "psst", "replyTo": "m-0"},
    "read_up_to": {"threadId": "dm:u1:u2", "seq": 3, "epoch": 5},
    "typing": {"roomId": "hall", "recipientId": "u2", "typing": False},
    "presence_subscribe": {"userIds": ["u2", "u3"]},
    "presence_unsubscribe": {"userIds": ["u2"]},
    "block_user": {"userId": "u2"},
    "unblock_user": {"userId": "u2"},
    "friend_add": {"userId": "u2"},
    "friend_remove": {"userId": "u2"},
    "note_put": {
        "roomId": "notes:a",
        "noteId": "n1",
        "x": 1.5,
        "y": -2,
        "text": "",
        "colour": "#aabbcc",
        "tags": ["x"],
    },
    "note_change": {
        "roomId": "notes:a",
        "noteId": "n1",
        "revision": 2,
        "x": 1,
        "y": 2,
        "text": "b",
        "colour": "red",
        "tags": [],
    },
    "note_delete": {"roomId": "notes:a", "noteId": "n1", "revision": 3},
    "report": {"roomId": "lobby:hall", "seq": 7, "reason": "rude", "epoch": 5},
}
CLASSES: dict[str, type[ClientMessage]] = {
    "join_room": JoinRoom,
    "leave_room": LeaveRoom,
    "heartbeat": Heartbeat,
    "avatar_transform": AvatarTransform,
    "local_chat": LocalChat,
    "emote": Emote,
    "chat_send": ChatSend,
    "direct_send": DirectSend,
    "read_up_to": ReadUpTo,
    "typing": Typing,
    "presence_subscribe": PresenceSubscribe,
    "presence_unsubscribe": PresenceUnsubscribe,
    "block_user": BlockUser,
    "unblock_user": UnblockUser,
    "friend_add": FriendAdd,
    "friend_remove": FriendRemove,
    "note_put": NotePut,
    "note_change": NoteChange,
    "note_delete": NoteDelete,
    "report": Report,
}
NOTE = Note("n1", 1.5, -2.0, "hi", "yellow", ["x"], 2, "u1", "Ada", "u2", 5, 6)
MEMBER = Member("u1", "Ada", "fox", 1.0, 2.0, 3.0, 0.5, "idle", speaking=False)
EVENTS: list[ServerEvent] = [
    Welcome("e-1", 5, 15_000, 45_000, Limits(16_384, 20, 240, 20.0, 15.0, 5.0, 10, 10_000)),
    RoomState("hall", 5, [MEMBER], You("u1"), 7, 9, recovered=False),
    RoomState("hall", 5, [MEMBER], You("u1"), 7, 9, recovered=False, memberCount=2, parts=2),
    RoomState("hall", 5, [], You("u1"), 7, 9, recovered=False, movement=Movement(500, 4.0, reduced=True)),
    RoomMembers("hall", 7, 9, 2, 2, [MEMBER]),
    MemberJoined("hall", MEMBER),
    MemberLeft("hall", "u1"),
    AvatarTransformBroadcast("hall", "u1", 3, 1.0, 2.0, 3.0, 0.5, "dance", speaking=True),
    ChatBroadcast("hall", "u1", "Ada", 'say "hi"\n\u2028 é', "m-1"),
    EmoteBroadcast("hall", "u1", "cheers"),
    MemberCount("lobby:hall", 3),
    Persisted("lobby:hall", 5, 7, "m-1"),
    DirectMessage("user:u2", "dm:u1:u2", 7, 3, "u1", "Ada", "u2", "psst", "m-1", 2),
    rejection(RejectionCode.NOT_FRIENDS, "u2"),
    ReadReceipt("user:u2", "dm:u1:u2", 7, 3, "u1", 0),
    TypingBroadcast("hall", "u1", "Ada", typing=True, expiresInMs=6_000),
    Presence("u1", "away", 5),
    BlockChanged("user:u2", "u1", blocked=True),
    FriendChanged("user:u2", "u1", "asks", "Ada"),
    NotePlaced("notes:a", NOTE),
    NoteChanged("notes:a", NOTE),
    NoteDeleted("notes:a", "n1", 3, "u1"),
    NoteConflict("notes:a", "n1", NOTE),
    MessageDeleted("hall", "m-1", 7, 3),
    ModerationAction("hall", "kicked", "rude"),
    LeftRoom("hall"),
    HeartbeatAck(12.5, 6),
    Ack("hall", 9, "m-1"),
    refusal(ErrorCode.NOT_JOINED, "hall"),
    auth_refusal(AuthErrorCode.BANNED),
    RateLimited("local_chat", 5.0, 200),
    Resync("hall", "new_epoch"),
    ServerDraining(100),
]


def frame(name: str = "emote", **changes: Any) -> str:
    """Make a frame; `payload` is merged into the good one, other changes replace fields of the envelope."""
    payload = {**PAYLOADS.get(name, {}), **changes.pop("payload", {})}
    return json.dumps({"v": 1, "t": name, "ts": 1, "payload": payload, **changes})


def bad(text: str | bytes) -> BadFrame:
    found = decode(text)
    assert isinstance(found, BadFrame), found
    return found


# --- decoding ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_message_is_decoded(name: str) -> None:
    message = decode(frame(name, id="m1"))
    assert type(message) is CLASSES[name]
    assert message.id == "m1"
    assert json.loads(encode_payload(message.payload)) == PAYLOADS[name]


def test_the_messages_of_this_test_are_all_there_are() -> None:
    assert set(CLASSES.values()) == set(CLIENT_MESSAGES)
    assert {type(event) for event in EVENTS} == set(SERVER_EVENTS)


def is_required(name: str, field: str) -> bool:
    (of_payload,) = [each.type for each in msgspec.structs.fields(CLASSES[name]) if each.name == "payload"]
    (found,) = [each for each in msgspec.structs.fields(of_payload) if each.name == field]
    return found.required


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_unknown_fields_are_ignored(name: str) -> None:
    assert not isinstance(decode(frame(name, payload={"later": [1, {"a": None}]}, newer="x")), BadFrame)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_without_an_id_there_is_none(name: str) -> None:
    message = decode(frame(name))
    assert not isinstance(message, BadFrame)
    assert message.id is UNSET


@pytest.mark.parametrize(
    ("name", "field"), [(name, field) for name, payload in PAYLOADS.items() for field in payload if field != "token"]
)
def test_every_wrong_type_is_told_with_its_path(name: str, field: str) -> None:
    found = bad(frame(name, id="m1", payload={field: [[]]}))
    expected = ErrorCode.INVALID_ROOM_ID if field == "roomId" else ErrorCode.INVALID_PAYLOAD
    assert (found.code, found.re) == (expected, "m1")
    assert f"`$.payload.{field}" in found.message


@pytest.mark.parametrize(
    ("name", "field"),
    [(name, field) for name, payload in PAYLOADS.items() for field in payload if is_required(name, field)],
)
def test_every_missing_field_is_told(name: str, field: str) -> None:
    payload = {key: value for key, value in PAYLOADS[name].items() if key != field}
    found = bad(json.dumps({"v": 1, "t": name, "ts": 1, "id": "m1", "payload": payload}))
    assert (found.code, found.re) == (ErrorCode.INVALID_PAYLOAD, "m1")
    assert field in found.message


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", ErrorCode.MALFORMED),
        ("{", ErrorCode.MALFORMED),
        ("[]", ErrorCode.MALFORMED),
        ("null", ErrorCode.MALFORMED),
        ('"emote"', ErrorCode.MALFORMED),
        ("NaN", ErrorCode.MALFORMED),
        (b"\xff\xfe", ErrorCode.MALFORMED),
        (b'{"v":1,"t":"\xff"}', ErrorCode.MALFORMED),
        ("{}", ErrorCode.INVALID_PAYLOAD),
        ('{"t":null}', ErrorCode.INVALID_PAYLOAD),
        ('{"t":7}', ErrorCode.INVALID_PAYLOAD),
        (frame("fly"), ErrorCode.UNKNOWN_EVENT),
        (frame("welcome"), ErrorCode.UNKNOWN_EVENT),
        (frame("emote", v=2), ErrorCode.INVALID_PAYLOAD),
        (frame("emote", ts="now"), ErrorCode.INVALID_PAYLOAD),
        (frame("emote", payload={"roomId": "no room"}), ErrorCode.INVALID_ROOM_ID),
        (frame("emote", payload={"roomId": "room\n"}), ErrorCode.INVALID_ROOM_ID),
        (frame("emote", payload={"roomId": "a" * 129}), ErrorCode.INVALID_ROOM_ID),
        (frame("emote", payload={"emoteId": "a\n"}), ErrorCode.INVALID_PAYLOAD),
        (frame("local_chat", payload={"text": ""}), ErrorCode.INVALID_PAYLOAD),
        (frame("local_chat", payload={"text": "x" * 241}), ErrorCode.INVALID_PAYLOAD),
        (frame("local_chat", payload={"mode": "global"}), ErrorCode.INVALID_PAYLOAD),
        (frame("avatar_transform", payload={"x": float("inf")}), ErrorCode.MALFORMED),
        (frame("avatar_transform", payload={"rotY": float("nan")}), ErrorCode.MALFORMED),
        (frame("avatar_transform").replace("2.5", "1e999"), ErrorCode.INVALID_PAYLOAD),
        (frame("avatar_transform", payload={"anim": "fly"}), ErrorCode.INVALID_PAYLOAD),
        (frame("avatar_transform", payload={"seq": -1}), ErrorCode.INVALID_PAYLOAD),
        (frame("avatar_transform", payload={"seq": 2**53}), ErrorCode.INVALID_PAYLOAD),
        (frame("join_room", payload={"user": {**USER, "displayName": "a\n"}}), ErrorCode.INVALID_PAYLOAD),
        (frame("join_room", payload={"user": {**USER, "userId": ""}}), ErrorCode.INVALID_PAYLOAD),
        (frame("join_room", payload={"token": "x" * 8193}), ErrorCode.INVALID_PAYLOAD),
        (frame("join_room", payload={"resume": {"epoch": 1}}), ErrorCode.INVALID_PAYLOAD),
    ],
)
def test_bad_frames_have_a_code(text: str | bytes, code: ErrorCode) -> None:
    assert bad(text).code is code


@pytest.mark.parametrize("good", ["x" * 240, "\U0001f600" * 240])
def test_chat_is_counted_in_characters(good: str) -> None:
    assert isinstance(decode(frame("local_chat", payload={"text": good})), LocalChat)
    assert bad(frame("local_chat", payload={"text": good + "x"})).code is ErrorCode.INVALID_PAYLOAD


@pytest.mark.parametrize("name", ["emote", "fly"])
@pytest.mark.parametrize(
    ("given_id", "re"), [("m1", "m1"), ("x" * 64, "x" * 64), ("x" * 65, UNSET), ("", UNSET), (7, UNSET), (None, UNSET)]
)
def test_a_bad_frame_is_answered_under_the_id_that_it_carried(name: str, given_id: object, re: object) -> None:
    assert bad(frame(name, id=given_id, payload={"emoteId": 7})).re == re


def test_the_name_of_an_unknown_event_is_not_echoed_without_end() -> None:
    assert len(bad(frame("x" * 10_000)).message) < 100


@pytest.mark.parametrize("number", [10**25, -(10**25), 2**53 + 1, -(2**53) - 1, 1e300])
@pytest.mark.parametrize("field", ["ts", "clientTimeMs"])
def test_a_time_beyond_all_bounds_is_refused(field: str, number: float) -> None:
    # JSON knows numbers of any size, MessagePack does not: `"ts":1` with 25 zeros passed here, and then ended
    # the edge's uplink with an OverflowError when the message was packed for its worker. One frame of one
    # client took the whole edge down.
    changes: dict[str, Any] = {"ts": number} if field == "ts" else {"payload": {"clientTimeMs": number}}
    assert bad(frame("heartbeat", **changes)).code is ErrorCode.INVALID_PAYLOAD


json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=True),
        st.text(max_size=20),
        st.sampled_from([2**64]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=12,
)
# Frames that are nearly right reach deeper than arbitrary ones.
nearly_right = st.builds(
    lambda name, envelope, payload: json.dumps(
        {"v": 1, "t": name, "ts": 1, **envelope, "payload": {**PAYLOADS[name], **payload}}
    ),
    st.sampled_from(sorted(PAYLOADS)),
    st.dictionaries(st.sampled_from(["v", "ts", "id", "t"]), json_values, max_size=2),
    st.dictionaries(
        st.sampled_from(sorted({field for payload in PAYLOADS.values() for field in payload})), json_values, max_size=3
    ),
)


@given(st.one_of(st.text(), st.binary(), json_values.map(json.dumps), nearly_right))
@example("[" * 100_000)
@example('{"a":' * 50_000)
@example('{"t":"emote","payload":' + "[" * 50_000)
@example('{"v":1,"t":"emote","ts":1,"id":"' + "\\ud800" + '","payload":{}}')
@example(frame("local_chat", payload={"text": "\ud800"}))
def test_whatever_comes_there_is_an_answer(text: str | bytes) -> None:
    """And what passes can be told on, and what does not can be answered."""
    found = decode(text)
    if isinstance(found, BadFrame):
        assert found.message
        json.loads(encode_event(ErrorEvent(found.code, found.message), 1, re=found.re))
    elif isinstance(found, AvatarTransform | LocalChat | Emote):
        batch = InputBatch(EdgeId("e"), 1, 1, [Post(RoomId(found.payload.roomId), ConnNumber(1), found)])
        assert decode_batch(encode_batch(batch)) == batch
    elif isinstance(found, Heartbeat):
        encode_event(HeartbeatAck(found.payload.clientTimeMs, 1), 1)


# --- encoding ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.t)
def test_every_event_is_an_envelope_with_its_payload(event: ServerEvent) -> None:
    assert json.loads(encode_event(event, 1234)) == {
        "v": 1,
        "t": event.t,
        "ts": 1234,
        "payload": json.loads(encode_payload(event)),
    }


@given(
    st.sampled_from(EVENTS),
    st.integers(0, 2**53),
    st.integers(1, 2**53 - 1),
    st.integers(0, 2**53 - 1),
    st.one_of(st.just(UNSET), st.text(min_size=1, max_size=64, alphabet=st.characters(exclude_categories=["Cs"]))),
)
def test_place_and_answer_stand_beside_the_payload(
    event: ServerEvent, ts_ms: int, seq: int, epoch: int, re: Any
) -> None:
    encoded = encode_event(event, ts_ms, seq=Seq(seq), epoch=Epoch(epoch), re=re)
    expected = {**json.loads(encode_event(event, ts_ms)), "seq": seq, "epoch": epoch}
    if re is not UNSET:
        expected["re"] = re
    assert json.loads(encoded) == expected
    assert json.loads(as_replay(encoded)) == {**expected, "replay": True}


def test_a_place_is_whole_or_absent() -> None:
    assert json.loads(encode_event(LeftRoom("a"), 1, seq=Seq(3))).keys() == {"v", "t", "ts", "payload"}


def test_every_error_code_has_a_text_and_every_refusal_carries_it() -> None:
    assert set(ERROR_MEANING) == set(ErrorCode)
    assert refusal(ErrorCode.BUSY, "hall") == ErrorEvent(ErrorCode.BUSY, ERROR_MEANING[ErrorCode.BUSY], "hall")
