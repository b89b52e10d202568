"""Folding: the plain form of a text, with the way back to the original."""

# ruff: noqa: RUF001 - look-alikes are what this is about
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.folding import JOINER_GAP, NO_GAP, SEPARATOR_GAP, fold, is_visible, skeleton, words_of

# Among any characters, those that have a rule of their own; lone surrogates included.
TEXTS = st.text(
    st.one_of(
        st.characters(codec=None, exclude_categories=()),
        st.sampled_from("abil10$@-_* .\n\t\0\u0301\u200b\u200d\ufe0f\u20e3\u0430ßﬀ⒜\U0001f171\U0001f468\ud800"),
    ),
    max_size=60,
)


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("BaD", "bad"),
        ("ｂａｄ", "bad"),
        ("𝔟𝕒𝓭", "bad"),
        ("bäd́", "bad"),
        ("ba\u0335d", "bad"),
        ("bad\ufe0f\u20e3", "bad"),
        ("b\u200ba\u00add\u2060", "bad"),
        ("\u0432\u0430d", "bad"),
        ("\u03b2\u03b1d", "bad"),
        ("🅱🅐d", "bad"),
        ("ᴀꜱ", "as"),
        ("Straße", "strasse"),
        ("ŒUVRE", "oeuvre"),
        ("b4d $1", "b4d$1"),
        ("٣²", "32"),
        ("Ёлка", "eлka"),
    ],
)
def test_the_plain_form(text: str, folded: str) -> None:
    assert fold(text).characters == folded


def test_letters_of_other_scripts_stay_apart() -> None:
    # Vowels and the voicing are marks to Unicode, and letters to their readers.
    assert fold("\u0915\u093f").characters != fold("\u0915\u0941").characters
    assert fold("が").characters != fold("か").characters
    assert fold("がき") == fold("がき")


def test_marks_belong_to_the_letter_before_them() -> None:
    folded = fold("a\u0301\u200d\u0302b\u200b.\u0301c")
    assert folded.characters == "abc"
    assert list(zip(folded.starts, folded.ends, strict=True)) == [(0, 4), (4, 5), (8, 9)]


def test_gaps() -> None:
    assert fold("ab-c d - e").gaps == [NO_GAP, NO_GAP, JOINER_GAP, SEPARATOR_GAP, SEPARATOR_GAP]


@given(TEXTS)
def test_spans_are_in_order_and_hold_what_is_seen(text: str) -> None:
    folded = fold(text)
    assert folded.starts == sorted(folded.starts)
    assert folded.ends == sorted(folded.ends)
    for start, end in zip(folded.starts, folded.ends, strict=True):
        assert 0 <= start < end <= len(text)
        assert is_visible(text[start])
        assert not any(map(is_visible, text[start + 1 : end]))


@given(TEXTS)
def test_both_ways_to_the_skeleton_agree(text: str) -> None:
    assert words_of(fold(text)).text == skeleton(text).strip(" ")


@given(st.text(st.sampled_from("aAçÉñŞőЁйΐ\u0301\u0327 "), max_size=20))
def test_case_and_composition_make_no_difference(text: str) -> None:
    plain = fold(text).characters
    for form in ("NFC", "NFD", "NFKC"):
        assert fold(unicodedata.normalize(form, text)).characters == plain
    assert fold(text.lower()).characters == plain
    assert fold(plain).characters == plain
