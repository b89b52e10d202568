"""Cursors: they come back as the place they were made of, and anything else is none."""

from hypothesis import given
from hypothesis import strategies as st

from common.cursor import decode_cursor, encode_cursor
from common.durable import MessagePlace
from common.ids import Epoch, Seq

places = st.builds(MessagePlace, st.integers(0, 2**53).map(Epoch), st.integers(0, 2**53).map(Seq))


@given(places)
def test_a_cursor_comes_back_as_its_place(place: MessagePlace) -> None:
    text = encode_cursor(place)
    assert decode_cursor(text) == place
    assert text.isascii()
    assert all(character.isalnum() or character in "-_" for character in text)


@given(st.text(max_size=40))
def test_anything_else_is_no_cursor(text: str) -> None:
    place = decode_cursor(text)
    assert place is None or encode_cursor(place) == text


@given(places, st.integers(0, 22), st.sampled_from("Az09-_=! "))
def test_a_changed_cursor_is_another_or_none(place: MessagePlace, at: int, character: str) -> None:
    text = encode_cursor(place)
    changed = text[:at] + character + text[at + 1 :]
    assert (decode_cursor(changed) == place) == (changed == text)
