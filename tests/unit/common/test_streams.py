"""Entries of the streams between edges and workers: what goes in comes out, and nothing else is taken."""

import json
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.codec import BadFrame, decode
from common.commands import (
    Active,
    AnyCommand,
    BlockChanged,
    Call,
    CatchUp,
    ChangeBlock,
    DeleteMessage,
    Disconnect,
    EdgeClosed,
    Identity,
    InputBatch,
    Inspect,
    Join,
    Leave,
    LiftRestrictions,
    Moderate,
    Post,
    SetFriendship,
    Tell,
    decode_batch,
    encode_batch,
)
from common.deliveries import (
    Answer,
    AnyDelivery,
    Attach,
    Detach,
    Direct,
    OutputBatch,
    RoomFrames,
    Segment,
    Shared,
    Stranger,
    decode_output,
    encode_output,
)
from common.letters import AnyLetter
from common.messages import (
    AnyClientMessage,
    AvatarTransform,
    AvatarTransformPayload,
    ChatSend,
    ChatSendPayload,
    Emote,
    EmotePayload,
    Heartbeat,
    JoinRoom,
    LeaveRoom,
    LocalChat,
    LocalChatPayload,
    RoomMessage,
)
from tests.unit.common.test_codec import PAYLOADS


def decoded(name: str) -> AnyClientMessage:
    """Return the message of a name, as test_codec.py has it."""
    message = decode(json.dumps({"v": 1, "t": name, "ts": 1, "payload": PAYLOADS[name]}))
    assert not isinstance(message, BadFrame)
    return message


texts = st.text(max_size=20, alphabet=st.characters(exclude_categories=["Cs"]))
rooms = st.sampled_from(["hall", "lobby:a", "x" * 128])
users = texts.filter(bool)
conns = st.integers(1, 2**40)
places = st.integers(0, 2**53 - 1)
times = st.integers(-(2**53), 2**53)
numbers = st.floats(-1e9, 1e9)
ids = st.one_of(st.none(), users)
envelope: dict[str, Any] = {
    "v": st.just(1),
    "ts": st.one_of(times, st.floats(0, 1e15)),
    "id": st.one_of(st.just(msgspec.UNSET), st.text("ab", min_size=1)),
}
chats = st.builds(LocalChatPayload, rooms, st.text("aé\U0001f600", min_size=1, max_size=240), st.just("local"))
moves = st.builds(
    AvatarTransformPayload,
    rooms,
    places,
    numbers,
    numbers,
    numbers,
    numbers,
    st.sampled_from(["idle", "walk", "dance", "wave"]),
    st.booleans(),
)
room_messages = st.one_of(
    st.builds(LocalChat, **envelope, payload=chats),
    st.builds(AvatarTransform, **envelope, payload=moves),
    st.builds(Emote, **envelope, payload=st.builds(EmotePayload, rooms, st.just("cheers"))),
    st.builds(ChatSend, **envelope, payload=st.builds(ChatSendPayload, rooms, users, st.just("m-1"))),
    st.sampled_from([message for message in map(decoded, PAYLOADS) if isinstance(message, RoomMessage)]),
)


def letters_of(kind: type) -> st.SearchStrategy[Any]:
    """Return letters of a kind, with numbers as they are in practice."""
    hints = get_type_hints(kind).items()
    return st.builds(
        kind,
        **{name: places if getattr(hint, "__supertype__", hint) is int else st.from_type(hint) for name, hint in hints},
    )


identities = st.builds(Identity, users, texts, texts, st.lists(texts, max_size=3).map(tuple))
commands: dict[type, st.SearchStrategy[Any]] = {
    Join: st.builds(
        Join,
        rooms,
        conns,
        identities,
        st.sampled_from(["desktop", "mobile"]),
        st.one_of(st.none(), places),
        places,
        ids,
        st.booleans(),
        st.booleans(),
    ),
    Leave: st.builds(Leave, rooms, conns, ids),
    Disconnect: st.builds(Disconnect, rooms, conns),
    Post: st.builds(Post, rooms, conns, room_messages),
    Call: st.builds(Call, rooms, conns, identities, st.sampled_from(["desktop", "mobile"]), room_messages, conns),
    Active: st.builds(Active, rooms, conns),
    Tell: st.builds(Tell, rooms, st.one_of(*map(letters_of, get_args(AnyLetter)))),
    ChangeBlock: st.builds(ChangeBlock, rooms, conns, users, users, st.booleans()),
    SetFriendship: st.builds(SetFriendship, rooms, conns, users, users, st.booleans()),
    DeleteMessage: st.builds(DeleteMessage, rooms, conns, places, places, users, texts),
    CatchUp: st.builds(CatchUp, rooms, conns, places, places, st.booleans()),
    Moderate: st.builds(
        Moderate,
        rooms,
        conns,
        users,
        st.sampled_from(["kicked", "banned", "mutedByMod"]),
        texts,
        st.one_of(st.none(), places),
        users,
    ),
    LiftRestrictions: st.builds(LiftRestrictions, rooms, conns, users, users),
    Inspect: st.builds(Inspect, rooms, conns),
    BlockChanged: st.builds(BlockChanged, users, users, st.booleans()),
    EdgeClosed: st.builds(EdgeClosed),
}
messages = st.lists(st.binary(max_size=30), max_size=3)
segments = st.builds(Segment, st.booleans(), messages, st.lists(users, max_size=3))
deliveries: dict[type, st.SearchStrategy[Any]] = {
    RoomFrames: st.builds(RoomFrames, rooms, places, places, places, st.lists(segments, max_size=3)),
    Attach: st.builds(Attach, rooms, conns, places, places, messages),
    Detach: st.builds(Detach, rooms, conns, messages, st.one_of(st.none(), st.just(4403)), st.booleans()),
    Direct: st.builds(Direct, conns, messages),
    Shared: st.builds(Shared, rooms, st.lists(conns), messages),
    Stranger: st.builds(Stranger, rooms, conns, messages, messages),
    Answer: st.builds(Answer, conns, st.binary(max_size=30)),
}


def members_of(union: Any) -> set[type]:
    return {each for part in get_args(union) for each in (get_args(part) or (part,))}


def test_every_command_and_delivery_is_drawn_here() -> None:
    assert set(commands) == members_of(AnyCommand)
    assert set(deliveries) == members_of(AnyDelivery)
    assert members_of(RoomMessage) == {type(decoded(name)) for name in PAYLOADS} - {JoinRoom, LeaveRoom, Heartbeat}


@given(users, st.integers(1, 2**53), times, st.lists(st.one_of(*commands.values()), max_size=6))
def test_input_batches_come_back_as_they_were(edge_id: Any, number: int, at_ms: int, content: list[Any]) -> None:
    batch = InputBatch(edge_id, number, at_ms, content)
    assert decode_batch(encode_batch(batch)) == batch


@given(users, st.lists(st.one_of(*deliveries.values()), max_size=6))
def test_output_batches_come_back_as_they_were(worker_id: Any, content: list[Any]) -> None:
    batch = OutputBatch(worker_id, content)
    assert decode_output(encode_output(batch)) == batch


@given(st.binary(max_size=60))
def test_other_bytes_are_refused_in_one_documented_way(data: bytes) -> None:
    for decoder in (decode_batch, decode_output):
        try:
            decoder(data)
        except msgspec.DecodeError:
            continue


@given(st.lists(st.one_of(*commands.values()), min_size=1, max_size=3), st.data())
def test_a_cut_entry_is_refused(content: list[Any], data: st.DataObject) -> None:
    whole = encode_batch(InputBatch("e", 1, 1, content))  # type: ignore[arg-type]
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(msgspec.DecodeError):
        decode_batch(whole[:cut])


def test_a_field_that_an_older_release_does_not_send_has_its_default() -> None:
    # Fields are added at the end and with a default: an entry of the release before must still be read.
    older = msgspec.msgpack.encode(["e", 1, 5, [["CatchUp", "hall", 3, 7, 2]]])
    assert decode_batch(older).commands == [CatchUp("hall", 3, 7, 2, skipped=False)]  # type: ignore[arg-type]
    newer = msgspec.msgpack.encode(["e", 1, 5, [["Disconnect", "hall", 3, 9, "later"]], 0, "later"])
    assert decode_batch(newer).commands == [Disconnect("hall", 3, 9)]  # type: ignore[arg-type]
