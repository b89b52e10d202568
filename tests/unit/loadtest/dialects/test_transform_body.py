"""Peers move the same fields, and as many bytes, as Roomring."""

import json

from common.codec import encode_event
from common.messages import AvatarTransformBroadcast
from loadtest.dialects import transform_body

ROOM, USER = "bench-1a2b3c4d-0", "bench-1a2b3c4d-u12"
POSE = {"y": 1.25, "z": -17.375, "rotY": 1.5707, "anim": "walk", "speaking": False}
OURS = encode_event(
    AvatarTransformBroadcast(roomId=ROOM, userId=USER, seq=123, x=12_345_678.5, **POSE), 1_795_219_201_234
)


def filled(*, named):
    return transform_body.json_template(ROOM, USER, named=named) % (1_795_219_201_234, 123, 12_345_678)


def test_the_body_with_its_name_is_that_of_roomring():
    assert filled(named=True) == OURS


def test_without_its_name_it_lacks_nothing_else():
    assert json.loads(filled(named=False)) | {"t": "avatar_transform_broadcast"} == json.loads(OURS)


def test_as_values_it_has_the_same_fields():
    values = transform_body.fields(ROOM, USER, 123, 12_345_678)
    assert values["payload"] == json.loads(OURS)["payload"]
    assert values.keys() == json.loads(filled(named=False)).keys()
