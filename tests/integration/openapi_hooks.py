"""Loaded by schemathesis (SCHEMATHESIS_HOOKS): values that a document can name, but not describe."""

from typing import Any

import schemathesis
from hypothesis import strategies as st

from common.cursor import encode_cursor, encode_entry_cursor, encode_note_cursor, encode_thread_cursor
from common.durable import MessagePlace
from common.ids import THREAD_KIND, Epoch, RoomId, Seq, UserId, is_label, is_room_id, kind_of, thread_of
from edge.openapi import ENTRY_CURSOR, MESSAGE_CURSOR, NOTE_CURSOR, THREAD_CURSOR

numbers = st.integers(0, 2**63 - 1)

CURSORS = {
    MESSAGE_CURSOR: st.builds(MessagePlace, numbers.map(Epoch), numbers.map(Seq)).map(encode_cursor),
    THREAD_CURSOR: st.builds(encode_thread_cursor, numbers, st.sampled_from([RoomId("dm:a:b"), RoomId("dm::00")])),
    NOTE_CURSOR: st.builds(encode_note_cursor, numbers, st.sampled_from(["a", "n-1"])),
    ENTRY_CURSOR: numbers.map(encode_entry_cursor),
}
for name, strategy in CURSORS.items():
    schemathesis.openapi.format(name, strategy)


READER = "reader"
"""Whose token is shown."""

FRIENDS = [UserId(f"friend-{number}") for number in range(5)]
"""With whom the reader has threads."""

ROOMS = {
    "listMessages": "lobby",
    "postMessage": "lobby",
    "listNotes": "notes",
    "inspectRoom": "lobby",
    "moderate": "lobby",
    "lift": "lobby",
}
"""Operation -> the kind of room that it is about. Other kinds are asked for as well, by ids with a colon."""


@schemathesis.hook
def before_call(_context: schemathesis.HookContext, case: schemathesis.Case, _kwargs: dict[str, Any]) -> None:
    """Have good ids name what is there: rooms of a kind that the operation knows, threads of the reader.

    And never the same person twice, which no document can ask for. Ids that are no good stay as they are.
    """
    named = case.path_parameters or {}
    room_id, thread_id = named.get("roomId"), named.get("threadId")
    kind = ROOMS.get(case.operation.definition.raw["operationId"])
    if isinstance(room_id, str) and is_room_id(room_id) and ":" not in room_id and kind is not None:
        named["roomId"] = f"{kind}:{room_id[:100]}"
    if isinstance(thread_id, str) and is_room_id(thread_id) and kind_of(RoomId(thread_id)) == THREAD_KIND:
        named["threadId"] = thread_of(UserId(READER), FRIENDS[len(thread_id) % len(FRIENDS)])
    for other in ("blockedUserId", "friendId"):
        if isinstance(named.get(other), str) and is_label(named[other]) and named[other] == named.get("userId"):
            named[other] = f"{named[other][:100]} too"
