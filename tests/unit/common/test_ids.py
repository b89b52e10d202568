"""Room ids and the kinds that they name."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.ids import (
    ROOM_ID_PATTERN,
    RoomId,
    UserId,
    inbox_of,
    is_label,
    is_room_id,
    kind_of,
    thread_of,
    thread_pair,
)

# Written without the pattern, so that the two can disagree.
FIRST = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
LATER = FIRST | frozenset("._:-")


def is_allowed(text: str) -> bool:
    return 1 <= len(text) <= 128 and text[0] in FIRST and all(character in LATER for character in text)


@pytest.mark.parametrize("text", ["a", "7", "lobby:main", "A.b_c-d:e", "a" * 128, "x:", "dm:a:b"])
def test_good_ids(text: str) -> None:
    assert is_room_id(text)


@pytest.mark.parametrize("text", ["", ":a", ".a", "-a", "_a", "a b", "a/b", "é", "aé", "a" * 129, "a\0", "{p0}", "a\n"])
def test_bad_ids(text: str) -> None:
    assert not is_room_id(text)


def test_a_line_feed_at_the_end_is_refused() -> None:
    # `$` matches before a last line feed in Python: with it alone "room\n" was a room of its own, which looked
    # like "room" in every log.
    assert not is_room_id("room\n")
    assert re.search(ROOM_ID_PATTERN, "room\n") is None


@given(st.one_of(st.text(max_size=140), st.text(alphabet=[*sorted(LATER), "\n", "é"], max_size=140)))
def test_the_pattern_says_what_the_contract_says(text: str) -> None:
    assert is_room_id(text) == is_allowed(text)


@pytest.mark.parametrize(
    ("room_id", "kind"),
    [("hall", "space"), ("lobby:x", "lobby"), ("dm:a:b", "dm"), ("space:x", "space"), ("game:", "game")],
)
def test_kind_is_what_stands_before_the_first_colon(room_id: str, kind: str) -> None:
    assert kind_of(RoomId(room_id)) == kind


@pytest.mark.parametrize("text", ["a", " ", "Zo\u00eb", "\u05e9\u200f", "\U0001f468\u200d\U0001f680", "x" * 128])
def test_good_labels(text: str) -> None:
    assert is_label(text)


@pytest.mark.parametrize("text", ["", "a\n", "\na", "a\0b", "\x7f", "\x1f", "x" * 129, "\ud800", "a\udfff"])
def test_bad_labels(text: str) -> None:
    assert not is_label(text)


@given(st.text(max_size=140))
def test_every_label_can_be_written_as_one_line_of_utf_8(text: str) -> None:
    if is_label(text):
        assert text.encode()
        assert not set(text) & {"\n", "\r", "\0", "\x1b"}


odd_ids = st.one_of(st.text(min_size=1, max_size=128), st.text(alphabet="ab:._-|\u00e9", min_size=1, max_size=70))


@given(odd_ids, odd_ids)
def test_an_inbox_and_a_thread_are_rooms_of_their_own(one: str, other: str) -> None:
    one_id, other_id = UserId(one), UserId(other)
    thread = thread_of(one_id, other_id)
    for room_id in (inbox_of(one_id), thread):
        assert is_room_id(room_id)
    assert thread == thread_of(other_id, one_id)
    assert (inbox_of(one_id) == inbox_of(other_id)) == (one == other)
    assert thread_pair(thread) in (None, tuple(sorted((one, other))))


@given(odd_ids, odd_ids, odd_ids, odd_ids)
def test_no_two_pairs_share_a_thread(one: str, other: str, third: str, fourth: str) -> None:
    first = thread_of(UserId(one), UserId(other))
    assert (first == thread_of(UserId(third), UserId(fourth))) == (sorted((one, other)) == sorted((third, fourth)))


def test_the_rooms_of_plain_ids_can_be_read() -> None:
    assert inbox_of(UserId("ann")) == "user:ann"
    assert thread_of(UserId("bob"), UserId("ann")) == "dm:ann:bob"
    assert thread_pair(RoomId("dm:ann:bob")) == ("ann", "bob")
    assert inbox_of(UserId("github:7")).startswith("user::")


@pytest.mark.parametrize(
    "name", ["dm:bob:ann", "dm:ann", "dm:ann:bob:cy", "dm::" + "0" * 40, "user:ann:bob", "dm:a b:c"]
)
def test_other_names_are_no_pair(name: str) -> None:
    assert thread_pair(RoomId(name)) is None
