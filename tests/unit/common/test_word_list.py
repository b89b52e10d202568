"""The file with the words: the format, and one line for each mistake."""

from pathlib import Path

import pytest

from common.errors import SettingsError
from common.word_filter import NO_FILTER
from common.word_list import BYTES_MAX, ENTRIES_MAX, load_word_filter, parse_word_list

ROOT = Path(__file__).parents[3]


def test_all_lists() -> None:
    some = parse_word_list('reject = ["one"]\nqueue = ["two"]\nmask = ["three", "*four"]\nallow = ["petitfour"]')
    assert [some.count(name) for name in ("reject", "queue", "mask", "allow")] == [1, 1, 2, 1]
    assert [some.check(text).action for text in ("one", "two", "three", "petitfour")] == [
        "reject",
        "queue",
        "mask",
        "pass",
    ]


def test_an_empty_file_filters_nothing() -> None:
    assert parse_word_list("").check("one").action == "pass"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('mask = ["a\n]\n', ["line 1, column 11"]),
        ('\nmask = ["one"]\nmask = ["two"]\n', ["line 3"]),
        ('words = ["one"]', ["'words'", "reject, queue, mask, allow"]),
        ('mask = "one"', ["mask is no list", 'mask = ["word", "two words"]']),
        ('[mask]\nwords = ["one"]', ["mask is no list"]),
        ('mask = ["one", 2]', ["entry 2 of mask", "quotation marks"]),
        ('mask = ["one", "t*o"]', ["entry 2 of mask, 't*o', has a `*`"]),
        ('queue = ["a"]', ["entry 1 of queue, 'a'", "fewer than 2"]),
        ('mask = ["one"]\nallow = ["ONE"]', ["'one' in mask is 'ONE' in allow too"]),
        ("mask = [" + '"aa",' * (ENTRIES_MAX + 1) + "]", [f"{ENTRIES_MAX + 1} entries", f"at most {ENTRIES_MAX}"]),
        ("mask = " + "[" * 5_000, ["mask"]),
    ],
)
def test_a_mistake_is_one_line_that_names_the_place(text: str, parts: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_word_list(text)
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


def test_no_file_is_no_filter() -> None:
    assert load_word_filter("") is NO_FILTER


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "words.toml"
    path.write_bytes(b'\xef\xbb\xbfmask = ["sch\xc3\xb6n"]\r\n')
    assert load_word_filter(str(path)).check("Schon").action == "mask"


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (None, "ROOMRING_WORD_LIST_FILE"),
        (b'mask = ["\xff"]', "not UTF-8 (byte 9)"),
        (b"mask = 1", "mask is no list"),
        (b"#" * (BYTES_MAX + 1), "shorter"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, content: bytes | None, part: str) -> None:
    path = tmp_path / "words.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        load_word_filter(str(path))
    assert str(path) in str(caught.value)
    assert part in str(caught.value)


def test_the_example_is_good() -> None:
    example = load_word_filter(str(ROOT / "deploy" / "word_list.example.toml"))
    assert example.check("Turnip greens and turnips").text == "Turnip greens and *******"
