"""What a text says, whatever it is dressed up in: its letters in one plain form, each with its place in the text.

Folding takes away compatibility forms, case, diacritics, what has no width, and letters borrowed from another
alphabet for their looks. It keeps digits and signs that stand for letters as they are: which letter they mean,
only a word to compare with can tell. So there are two forms:

- `fold`: exact, each folded character with its span in the original text.
- `skeleton`: coarse and quick. Characters that can mean the same are one, repeats are one, separators are one
  space, joiners are nothing. What matches exactly matches in the skeleton too, and not the other way round.

Knows no words. See docs/decisions/0014-word-filter.md.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

NO_GAP: Final = 0
JOINER_GAP: Final = 1
SEPARATOR_GAP: Final = 2

SIGNS: Final = "@$"
"""No letters, but some write them for letters."""

READINGS: Final = {"0": "o", "1": "il", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s"}
"""The letters that a digit or sign may stand for, beside itself."""

_SEPARATOR: Final = " "
_JOINER: Final = "-"
_NOTHING: Final = ""

_JOINERS: Final = frozenset("-\u2010\u2011_*~")
"""People cut a word in two with them and mean one. Not the apostrophe: "he'll" is no "hell"."""

# Letters that look like Latin ones and do not decompose into them: extended Latin, small capitals, Cyrillic, Greek.
# By lower case, since both cases of a letter must stay one.
_LOOK_ALIKES: Final = {
    **dict(zip("øłđðħıŧƒɑɡ", "olddhitfag", strict=True)),
    **dict(zip("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ", "abcdefghijklmnoprstuvwyz", strict=True)),
    **dict(zip("авекмнопрстухѕіјӏԁһԛԝ", "abekmhonpctyxsijldhqw", strict=True)),
    **dict(zip("αβγεζηικμνορτυχω", "abyeznikuvoptuxw", strict=True)),
    "æ": "ae",
    "œ": "oe",
}

_ENCLOSED_CAPITALS: Final = (0x1F150, 0x1F170)
"""First of A to Z in negative circles and squares; the other enclosed letters decompose."""

_WITHOUT_WIDTH: Final = frozenset(
    map(chr, (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), *range(0xFE00, 0xFE10)))
) | frozenset(map(chr, range(0xE0100, 0xE01F0)))
"""Unicode's Default_Ignorable_Code_Point that are letters or marks by category."""

_CHARACTERS_MAX: Final = 65_536
"""Folded characters that are remembered, some 10 MB; the rare ones past it are worked out again."""

SPELLED_LETTERS_MIN: Final = 3
"""How many letters must stand alone in a row to be taken for a word that is spelled out: "a" and "I" are words."""

_SPELLED: Final = re.compile(rf"(?<![^ ])[^ ](?: [^ ]){{{SPELLED_LETTERS_MIN - 1},}}(?![^ ])", re.S)
_RUNS: Final = re.compile(r"(.)\1+", re.S)
_PAIRS: Final = tuple((character * 2, character) for character in " abcdefghijkmnopqrstuvwxyz2689")
"""All that a skeleton in ASCII consists of."""

_BREAKS: Final = re.compile(r"[-_*~0-9@$]")
"""What the skeleton of a text in ASCII hides: joiners, and what can stand beside a word or in it."""


def fold_character(character: str) -> str:
    """Fold one character, without looking at its neighbours.

    Returns: letters, digits and signs; a space for each separator, `-` for a joiner; empty for what attaches to
    its neighbour or has no width. More than one where the character stands for several: "ﬀ", "⒜".
    """
    if character in _JOINERS:
        return _JOINER
    for first in _ENCLOSED_CAPITALS:
        if first <= ord(character) < first + 26:
            return chr(ord("a") + ord(character) - first)
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    return "".join(map(_plain_character, plain))


def _plain_character(character: str) -> str:
    if character in _LOOK_ALIKES:
        return _LOOK_ALIKES[character]
    if character in SIGNS:
        return character
    if character in _WITHOUT_WIDTH:
        return _NOTHING
    category = unicodedata.category(character)
    if category[0] == "L" or category == "Mc":
        return character
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category in ("Mn", "Me"):
        return _NOTHING if _is_diacritic(character) else character
    if category == "Cf" or (category == "Cc" and not character.isspace()):
        return _NOTHING
    return _SEPARATOR


def _is_diacritic(mark: str) -> bool:
    # By combining class: overlays, Hebrew and Arabic points, and marks above and below. The others are letters of
    # their script: vowels and viramas of Indian scripts, tones of Thai, the voicing of Kana.
    place = unicodedata.combining(mark)
    return unicodedata.category(mark) == "Me" or place == 1 or 10 <= place <= 36 or place >= 200


def class_of(character: str) -> str:
    """Return what stands in a skeleton for a folded character and all that it can be mistaken for."""
    reading = READINGS.get(character, character)[0]
    return "i" if reading == "l" else reading


class _Table(dict[int, str]):
    """By code point, as `str.translate` wants it; filled as characters are met."""

    def __init__(self, work_out: Callable[[str], str]) -> None:
        super().__init__()
        self._work_out = work_out

    def __missing__(self, code_point: int) -> str:
        if len(self) >= _CHARACTERS_MAX:
            self.clear()
        value = self[code_point] = self._work_out(chr(code_point))
        return value


_FOLDED: Final = _Table(fold_character)
_SKELETONS: Final = _Table(lambda character: "".join(map(class_of, _FOLDED[ord(character)].replace(_JOINER, _NOTHING))))


def collapse(coarse: str) -> str:
    """Make each run of one character of a skeleton a single one."""
    if not coarse.isascii():
        return _RUNS.sub(r"\1", coarse)
    # Five times as quick as the expression, which looks at each character by itself.
    for pair, single in _PAIRS:
        while pair in coarse:
            coarse = coarse.replace(pair, single)
    return coarse


def skeleton(text: str) -> str:
    """Return the skeleton of a text, in time linear in its length."""
    return collapse(text.translate(_SKELETONS))


def shows_all_breaks(text: str) -> bool:
    """Whether words begin and end where the skeleton shows it. False where that would take longer to find out."""
    return text.isascii() and _BREAKS.search(text) is None


def may_be_spelled(coarse: str) -> bool:
    """Whether something in a skeleton is spelled out letter by letter."""
    return _SPELLED.search(coarse) is not None


def is_visible(character: str) -> bool:
    """Whether a character shows as something of its own: no space, no mark, nothing without width."""
    return not character.isspace() and bool(_FOLDED[ord(character)])


def is_letter(folded: str) -> bool:
    """Whether a folded character is a letter, neither digit nor sign."""
    return folded not in SIGNS and not folded.isdecimal()


@dataclass(frozen=True, slots=True)
class Folded:
    """A folded text. The lists and `characters` run in parallel, one place for each folded character.

    `starts` and `ends` are its span in the original text; marks that follow belong to it. `gaps` is what stood
    before it: NO_GAP, JOINER_GAP or SEPARATOR_GAP.
    """

    characters: str
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    gaps: list[int] = field(default_factory=list)


def fold(text: str) -> Folded:
    """Fold a text, in time linear in its length."""
    characters: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    gaps: list[int] = []
    gap = NO_GAP
    for index, character in enumerate(text):
        folded = _FOLDED[ord(character)]
        if not folded and gap == NO_GAP and ends and unicodedata.category(character)[0] == "M":
            ends[-1] = index + 1
        for plain in folded:
            if plain == _SEPARATOR:
                gap = SEPARATOR_GAP
            elif plain == _JOINER:
                gap = max(gap, JOINER_GAP)
            else:
                characters.append(plain)
                starts.append(index)
                ends.append(index + 1)
                gaps.append(gap)
                gap = NO_GAP
    return Folded("".join(characters), starts, ends, gaps)


@dataclass(frozen=True, slots=True)
class View:
    """A skeleton to search. For each character of `text`: the first and the last folded character behind it."""

    text: str
    firsts: list[int]
    lasts: list[int]


def words_of(folded: Folded) -> View:
    """Return the skeleton of a folded text, word by word: that of `skeleton`, without a space at the ends."""
    text: list[str] = []
    firsts: list[int] = []
    lasts: list[int] = []
    for place, (character, gap) in enumerate(zip(folded.characters, folded.gaps, strict=True)):
        kind = class_of(character)
        if gap == SEPARATOR_GAP and text:
            text.append(" ")
            firsts.append(place)
            lasts.append(place - 1)
        if text and text[-1] == kind:
            lasts[-1] = place
        else:
            text.append(kind)
            firsts.append(place)
            lasts.append(place)
    return View("".join(text), firsts, lasts)


def spelled_of(words: View) -> View:
    """Return what is spelled out in single letters there, run together; a space after each stretch."""
    text: list[str] = []
    firsts: list[int] = []
    lasts: list[int] = []
    for stretch in _SPELLED.finditer(words.text):
        # Every second character is the space between two.
        for index in range(stretch.start(), stretch.end(), 2):
            if text and text[-1] == words.text[index]:
                lasts[-1] = words.lasts[index]
            else:
                text.append(words.text[index])
                firsts.append(words.firsts[index])
                lasts.append(words.lasts[index])
        text.append(" ")
        firsts.append(0)
        lasts.append(0)
    return View("".join(text), firsts, lasts)
