"""The word filter: what is found in which disguise, what is not, and what becomes of the text."""

# ruff: noqa: RUF001 - look-alikes are what this is about
from collections.abc import Mapping

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from common.word_filter import NO_FILTER, BadEntry, Entry, ListName, WordFilter
from tests.unit.common.test_folding import TEXTS


def word_filter(**lists: list[str]) -> WordFilter:
    names: Mapping[str, ListName] = {"reject": "reject", "queue": "queue", "mask": "mask", "allow": "allow"}
    return WordFilter(Entry.parse(listed, names[name]) for name, entries in lists.items() for listed in entries)


FILTER = word_filter(mask=["bad", "ass", "slit", "kill", "two words", "420", "ok"])


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("bad", "***"),
        ("so BAD!", "so ***!"),
        ("baaaad", "******"),
        ("bbaadd", "******"),
        ("b4d b@d", "*** ***"),
        ("ba$$ a$$", "ba$$ ***"),
        ("4ss a55 @$$", "*** *** ***"),
        ("sl1t k1ll ki11", "**** **** ****"),
        ("b.a.d", "*****"),
        ("a b, a, d c", "a *, *, * c".replace(",", "*")),
        ("b a d", "* * *"),
        ("b  a\nd", "*  *\n*"),
        ("a s s", "* * *"),
        ("bb aa dd", "** ** **"),
        ("ba-d b_a_d b*ad", "**** ***** ****"),
        ("two words", "*** *****"),
        ("two... words", "****** *****"),
        ("#twowords two-words", "#******** *********"),
        ("bad-tempered", "***-tempered"),
        ("me@bad.com", "me@***.com"),
        ("bad1 2bad", "***1 2***"),
        ("bad's", "***'s"),
        ("420!", "***!"),
        ("b\u0430d", "***"),
        ("ｂａｄ", "***"),
        ("🅱🅰🅳", "***"),
        ("⒝⒜⒟", "***"),
    ],
)
def test_found(text: str, masked: str) -> None:
    verdict = FILTER.check(text)
    assert (verdict.action, verdict.text) == ("mask", masked)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "badge abad",
        "grab ad",
        "grab a date",
        "b ad",
        "ba d",
        "ba.d",
        "a BA d",
        "as",
        "class glass",
        "gra55",
        "a$$ume",
        "silt",
        "kil",
        "455",
        "45$",
        "1420 4200",
        "42o",
        "two. or words",
        "two\u00e9words",
        "a o k",
        "I s l",
        "b\u00e9d",
    ],
)
def test_not_found(text: str) -> None:
    verdict = FILTER.check(text)
    assert (verdict.action, verdict.words) == ("pass", ())
    assert verdict.text is text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("b\u0301a\u0308d\u20e3 c\u0301", "*** c\u0301"),
        ("e\u0301bad", "e\u0301bad"),
        ("e\u0301 bad\u0301\u0302!", "e\u0301 ***!"),
        ("\u200bb\u200ba\u200bd\u200b", "\u200b***\u200b"),
        ("👨\u200d👩\u200d👧bad👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧***👨\u200d👩\u200d👧"),
        ("👨\u200dbad", "👨\u200d***"),
        ("𝕓𝕒𝕕 𝕔", "*** 𝕔"),
        ("\ud800bad\udc00", "\ud800***\udc00"),
    ],
)
def test_a_mask_leaves_other_characters_whole(text: str, masked: str) -> None:
    assert FILTER.check(text).text == masked


def test_stars_at_the_ends_of_an_entry() -> None:
    both = word_filter(mask=["cat*", "*dog", "*cow*"])
    assert both.check("cats concat cat").text == "**** concat ***"
    assert both.check("hotdog dogs dog").text == "****** dogs ***"
    assert both.check("scowl cow-boy").text == "***** ***-boy"
    assert both.check("c a t hotd0g cccattt").text == "* * * ****** *******"
    assert both.check("c.o.w.s").text == "*****.s"


def test_words_in_which_a_hit_does_not_count() -> None:
    careful = word_filter(reject=["*unt*", "god"], allow=["Scunthorpe", "hunt*", "good"])
    for text in ("scunthorpe", "SCÚNTHORPE!", "a hunter hunts", "good"):
        assert careful.check(text).action == "pass", text
    for text in ("scunthorpes", "Scunthorpe is a stunt", "sscunthorpe", "gooood", "g00d"):
        assert careful.check(text).action == "reject", text


def test_the_strongest_action_wins_and_masks_stay() -> None:
    strict = word_filter(mask=["one"], queue=["two"], reject=["three"])
    assert strict.check("one").action == "mask"
    verdict = strict.check("two, one")
    assert (verdict.action, verdict.text, verdict.words) == ("queue", "two, ***", ("two", "one"))
    verdict = strict.check("one two three one")
    assert (verdict.action, verdict.text, verdict.words) == ("reject", "*** two three ***", ("one", "two", "three"))


def test_hits_that_overlap_are_masked_together() -> None:
    verdict = word_filter(mask=["one two", "two three", "two"]).check("one two three four")
    assert verdict.text == "*** *** ***** four"
    assert set(verdict.words) == {"one two", "two three", "two"}


def test_words_of_other_scripts() -> None:
    assert word_filter(mask=["плохо", "がき"]).check("ПЛОХО плохой がき").text == "***** плохой **"


def test_without_entries_everything_passes() -> None:
    assert NO_FILTER.check("bad").action == "pass"
    assert word_filter(allow=["bad"]).check("bad").action == "pass"
    assert len(NO_FILTER) == 0


@pytest.mark.parametrize(
    ("listed", "part"),
    [("", "fewer than 2"), ("*", "fewer"), ("a", "fewer than 2"), ("!!", "fewer"), ("ab*", "fewer than 3"),
     ("b*d", "not at its beginning"), ("**bad", "not at its beginning"), ("x" * 65, "more than 64")],
)  # fmt: skip
def test_entries_that_cannot_be_looked_for(listed: str, part: str) -> None:
    with pytest.raises(BadEntry, match=part):
        Entry.parse(listed, "mask")


# --- laws -------------------------------------------------------------------------------------------------

WORDS = st.text(st.sampled_from("abcdeilost"), min_size=2, max_size=8)
ENTRIES = st.builds(
    lambda left, words, right: left + " ".join(words) + right,
    st.sampled_from(["", "", "*"]),
    st.lists(st.text(st.sampled_from("abil1s$d"), min_size=3, max_size=4), min_size=1, max_size=2),
    st.sampled_from(["", "", "*"]),
)
PLAIN = st.text(st.sampled_from("abilsdAB .'\x00"), max_size=40)
NEAR = st.text(st.sampled_from("abilsdABIS1405$@ .-_'\u0301\u200b\u0430é👨"), max_size=40)
LEET = {"o": "0", "i": "1", "l": "1", "e": "3", "a": "4@", "s": "5$", "t": "7"}
FULL_WIDTH = ord("ａ") - ord("a")
LOOK_ALIKES = {"a": "\u0430", "c": "\u0441", "e": "\u0435", "o": "\u043e", "i": "\u0456", "s": "\u0455"}


@st.composite
def disguises(draw: st.DrawFn) -> tuple[str, str]:
    """A word, and one of the disguises that the rules promise to see through."""
    word = draw(WORDS)
    parts = []
    for letter in word:
        written = draw(
            st.sampled_from(
                [
                    letter,
                    letter.upper(),
                    chr(ord(letter) + FULL_WIDTH),
                    letter + "\u0301",
                    letter + "\u200b",
                    *LOOK_ALIKES.get(letter, ""),
                    *LEET.get(letter, ""),
                ]
            )
        )
        parts.append(written * draw(st.sampled_from([1, 1, 2, 5])))
    assume(any(part[0] not in "01345$7" for part in parts))
    joiners = ["", "-", "_", "~"]
    between = draw(st.sampled_from([*joiners, " ", ".", ", ", " - ", "👨"] if len(word) > 2 else joiners))
    return word, between.join(parts)


@given(disguises())
@example(("ill", "1 l l"))
def test_a_word_alone_is_found_in_every_disguise(made: tuple[str, str]) -> None:
    word, disguised = made
    plain = word_filter(mask=[word])
    for text in (disguised, f"no {disguised}, no", f"\u00bf{disguised}?"):
        assert plain.check(text).words == (word,), ascii(text)


@given(st.lists(ENTRIES, max_size=4), st.one_of(TEXTS, NEAR))
def test_a_check_never_raises_and_never_touches_what_passes(entries: list[str], text: str) -> None:
    verdict = word_filter(mask=entries[:2], queue=entries[2:]).check(text)
    assert (verdict.action == "pass") == (not verdict.words)
    if verdict.action in ("pass", "queue") and not set(verdict.words) & set(entries[:2]):
        assert verdict.text is text


@given(st.lists(ENTRIES, min_size=1, max_size=4), NEAR)
def test_masking_changes_nothing_outside_of_hits(entries: list[str], text: str) -> None:
    masked = word_filter(mask=entries).check(text).text
    # Read side by side: each character is as it was, or a star, or was a mark or without width.
    at = 0
    for character in text:
        if at < len(masked) and masked[at] == character:
            at += 1
        elif character in "\u0301\u200b":
            continue
        else:
            assert masked[at] == "*"
            assert not character.isspace()
            at += 1
    assert at == len(masked)


@given(st.lists(st.text(st.sampled_from("xyz .,\u0301👨\U00010400\ud800"), max_size=6), min_size=2, max_size=6))
def test_around_each_hit_the_text_stays(around: list[str]) -> None:
    # With a comma on both sides the hit stands alone, whatever surrounds it.
    plain = word_filter(mask=["bad"])
    assert plain.check(",ba\u0308d,".join(around)).text == ",***,".join(around)


@given(st.lists(ENTRIES, min_size=1, max_size=4), PLAIN)
def test_the_quick_way_out_misses_nothing(entries: list[str], text: str) -> None:
    # The quick way is open to texts in ASCII without joiners and digits; the tail closes it.
    some = word_filter(mask=entries)
    tail = ". \u00bf-\u00bf"
    assert some.check(text + tail).text == some.check(text).text + tail


@given(st.lists(ENTRIES, min_size=2, max_size=4))
def test_entries_do_not_hide_each_other(entries: list[str]) -> None:
    text = ", ".join(entry.strip("*") for entry in entries)
    together = set(word_filter(mask=entries).check(text).words)
    assert together == {word for entry in entries for word in word_filter(mask=[entry]).check(text).words}


@pytest.mark.parametrize("unit", ["a", "1", "ab", "ba", "a ", "a.", "bad ", "b a d ", "-", " ", "il1", "a\u0301", "4a"])
@pytest.mark.parametrize("entry", ["bad", "ab*", "*aba*", "ilil", "aaaa", "two words"])
def test_the_work_grows_with_the_length_and_no_faster(unit: str, entry: str) -> None:
    entry = entry if len(entry.strip("*")) > 2 else entry.replace("ab", "aba")
    some = word_filter(mask=[entry], allow=["ababab"])
    characters_read = 0
    reads = Entry.reads

    def counted(self: Entry, characters: str) -> bool:
        nonlocal characters_read
        characters_read += len(characters)
        return reads(self, characters)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Entry, "reads", counted)
        some.check((unit * 2_000)[:2_000])
    assert characters_read <= 2_000 * 8
