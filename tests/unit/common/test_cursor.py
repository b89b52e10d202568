"""Cursors: they come back as the place they were made of, and anything else is none."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.cursor import (
    decode_cursor,
    decode_entry_cursor,
    decode_note_cursor,
    decode_thread_cursor,
    encode_cursor,
    encode_entry_cursor,
    encode_note_cursor,
    encode_thread_cursor,
)
from common.durable import MessagePlace
from common.ids import Epoch, Seq

numbers = st.integers(0, 2**63 - 1)
room_ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", fullmatch=True)
note_ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
places = st.builds(MessagePlace, numbers.map(Epoch), numbers.map(Seq))

Encode = Callable[[Any], str]
Decode = Callable[[str], Any]
LISTS: dict[str, tuple[st.SearchStrategy[Any], Encode, Decode]] = {
    "messages": (places, encode_cursor, decode_cursor),
    "threads": (st.tuples(numbers, room_ids), lambda place: encode_thread_cursor(*place), decode_thread_cursor),
    "notes": (st.tuples(numbers, note_ids), lambda place: encode_note_cursor(*place), decode_note_cursor),
    "entries": (numbers, encode_entry_cursor, decode_entry_cursor),
}
each_list = pytest.mark.parametrize("name", LISTS)


@each_list
@given(st.data())
def test_a_cursor_comes_back_as_its_place(name: str, data: st.DataObject) -> None:
    values, encode, decode = LISTS[name]
    place = data.draw(values)
    text = encode(place)
    assert decode(text) == place
    assert text.isascii()
    assert all(character.isalnum() or character in "-_" for character in text)


@each_list
@given(st.data())
def test_a_cursor_of_one_list_is_none_of_another(name: str, data: st.DataObject) -> None:
    values, encode, _ = LISTS[name]
    text = encode(data.draw(values))
    assert all(decode(text) is None for other, (_, _, decode) in LISTS.items() if other != name)


@each_list
@given(text=st.text(max_size=40))
def test_anything_else_is_no_cursor(name: str, text: str) -> None:
    _, encode, decode = LISTS[name]
    place = decode(text)
    assert place is None or encode(place) == text


@each_list
@given(st.data(), st.integers(0, 30), st.sampled_from("Az09-_=! "))
def test_a_changed_cursor_is_another_or_none(name: str, data: st.DataObject, at: int, character: str) -> None:
    values, encode, decode = LISTS[name]
    place = data.draw(values)
    text = encode(place)
    changed = text[:at] + character + text[at + 1 :]
    assert (decode(changed) == place) == (changed == text)


def test_what_the_store_cannot_be_asked_for_is_no_cursor() -> None:
    assert decode_cursor(encode_cursor(MessagePlace(Epoch(2**63), Seq(1)))) is None
    assert decode_cursor(encode_cursor(MessagePlace(Epoch(1), Seq(2**63)))) is None
    assert decode_entry_cursor(encode_entry_cursor(2**63)) is None
    assert decode_note_cursor(encode_note_cursor(1, "a\0b")) is None
    assert decode_note_cursor(encode_note_cursor(1, "é")) is None
