"""Finds listed words in what people write, in plain sight and in disguise, and says what to do about the text.

One search over the skeleton of the text (common/folding.py) brings candidates for all entries at once; each is
then compared exactly with the folded characters at its place. Most texts have no candidate and cost only the
search. The rules for operators are in docs/operations.md ("The word filter"), the reasons in
docs/decisions/0014-word-filter.md.

Invariants: a check raises on no text; its time is linear in the length of the text; characters outside of a
masked hit come back as they were.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, Literal

from ahocorasick_rs import AhoCorasick

from common.folding import (
    NO_GAP,
    READINGS,
    SPELLED_LETTERS_MIN,
    Folded,
    View,
    class_of,
    collapse,
    fold,
    is_letter,
    is_visible,
    may_be_spelled,
    shows_all_breaks,
    skeleton,
    spelled_of,
    words_of,
)

Action = Literal["pass", "mask", "queue", "reject"]
ListName = Literal["reject", "queue", "mask", "allow"]

ENTRY_CHARACTERS_MAX: Final = 64
CHARACTERS_MIN: Final = 2
OPEN_CHARACTERS_MIN: Final = 3
"""For an entry with `*`: a shorter one hits words by the thousand."""

MASK: Final = "*"
OPEN: Final = "*"

_STRENGTH: Final[tuple[Action, ...]] = ("pass", "mask", "queue", "reject")


class BadEntry(ValueError):
    """An entry that cannot be looked for. The text says why and what to write, to go on after the entry."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with a text.

    `action` is the strongest of all hits: `reject` over `queue` over `mask`. `text` is what to deliver, masked
    where entries of the list `mask` hit, whatever the action is; the very same text where none did. `words` are
    the entries that hit, as they are listed, in the order of the text.
    """

    action: Action
    text: str
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One listed word or phrase.

    `characters` are the folded characters without what is between them. `bits_of` has for each character of a
    text the places in `characters` that it can be read as, one bit for each place; `repeats` has the places that
    may come more than once.
    """

    listed: str
    list_name: ListName
    characters: str
    open_left: bool
    open_right: bool
    patterns: frozenset[str]
    bits_of: dict[str, int]
    repeats: int
    needs_letter: bool

    @classmethod
    def parse(cls, listed: str, list_name: ListName) -> "Entry":
        """Make an entry from what an operator wrote.

        Raises:
            BadEntry: it is too short, too long, or has a `*` in the middle.
        """
        text = listed.strip()
        open_left, open_right = text.startswith(OPEN), text.endswith(OPEN)
        text = text.removeprefix(OPEN).removesuffix(OPEN)
        if OPEN in text:
            raise BadEntry("has a `*` that is not at its beginning or end; write one there, or none")
        folded = fold(text)
        size = len(folded.characters)
        if size < CHARACTERS_MIN:
            raise BadEntry(f"has fewer than {CHARACTERS_MIN} letters or digits; write a longer one, or take it out")
        if (open_left or open_right) and size < OPEN_CHARACTERS_MIN:
            raise BadEntry(
                f"has a `*` and fewer than {OPEN_CHARACTERS_MIN} letters; write a longer one, or leave out the `*`"
            )
        if size > ENTRY_CHARACTERS_MAX:
            raise BadEntry(f"has more than {ENTRY_CHARACTERS_MAX} letters; write the part that matters")
        bits_of: dict[str, int] = {}
        for place, character in enumerate(folded.characters):
            for written in (character, *(sign for sign, letters in READINGS.items() if character in letters)):
                bits_of[written] = bits_of.get(written, 0) | 1 << place
        # A phrase is found with its words apart and run together.
        patterns = frozenset((words_of(folded).text, collapse("".join(map(class_of, folded.characters)))))
        # 4200 is another number than 420.
        repeats = sum(1 << place for place, character in enumerate(folded.characters) if is_letter(character))
        return cls(
            listed, list_name, folded.characters, open_left, open_right, patterns, bits_of, repeats, repeats != 0
        )

    @property
    def is_spelled(self) -> bool:
        """Whether to look for the entry in what is spelled out letter by letter."""
        return self.list_name != "allow" and len(self.characters) >= SPELLED_LETTERS_MIN

    @property
    def form(self) -> tuple[str, bool, bool]:
        """What two entries share that stand for the same words."""
        return self.characters, self.open_left, self.open_right

    def reads(self, characters: str) -> bool:
        """Whether folded characters can be read as this entry, each letter once or more often.

        At an open end there may be more of them.
        """
        if self.needs_letter and not any(is_letter(character) or character == "@" for character in characters):
            # A number is a number: 455, or the price 45$.
            return False
        # One bit for each place in the entry that can have been reached; it stays while its letter repeats.
        last = 1 << len(self.characters) - 1
        reached = 0
        begin = 1
        for character in characters:
            reached = (reached & self.repeats | reached << 1 | begin) & self.bits_of.get(character, 0)
            if self.open_right and reached & last:
                return True
            if not self.open_left:
                begin = 0
        return bool(reached & last)

    def is_exactly(self, characters: str) -> bool:
        """Whether folded characters are this entry, with no reading and no repeat."""
        if self.open_left and self.open_right:
            return self.characters in characters
        if self.open_left:
            return characters.endswith(self.characters)
        if self.open_right:
            return characters.startswith(self.characters)
        return characters == self.characters


@dataclass(frozen=True, slots=True)
class _Hit:
    entry: Entry
    start: int
    end: int


class WordFilter:
    """A set of entries, ready to check texts. Immutable; may be shared."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        """Prepare the search, in time linear in the length of all entries."""
        self._entries = tuple(entries)
        by_pattern: dict[str, list[Entry]] = {}
        for entry in self._entries:
            for pattern in sorted(entry.patterns):
                by_pattern.setdefault(pattern, []).append(entry)
        self._by_pattern = list(by_pattern.values())
        self._open_ends = [
            (any(entry.open_left for entry in entries), any(entry.open_right for entry in entries))
            for entries in self._by_pattern
        ]
        self._automaton = AhoCorasick(by_pattern)
        self._empty = all(entry.list_name == "allow" for entry in self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def count(self, list_name: ListName) -> int:
        """Return how many entries a list has."""
        return sum(entry.list_name == list_name for entry in self._entries)

    def check(self, text: str) -> Verdict:
        """Judge a text of any content, lone surrogates included."""
        if self._empty:
            return Verdict("pass", text)
        coarse = skeleton(text)
        if not self._may_hit(text, coarse):
            return Verdict("pass", text)
        hits = self._hits(fold(text))
        if not hits:
            return Verdict("pass", text)
        hits.sort(key=lambda hit: (hit.start, hit.end))
        actions: set[Action] = {hit.entry.list_name for hit in hits if hit.entry.list_name != "allow"}
        words = tuple(dict.fromkeys(hit.entry.listed for hit in hits))
        masked = [(hit.start, hit.end) for hit in hits if hit.entry.list_name == "mask"]
        return Verdict(max(actions, key=_STRENGTH.index), _mask(text, masked) if masked else text, words)

    def _may_hit(self, text: str, coarse: str) -> bool:
        """Whether to look closer. Most texts have parts of words that are listed, and few have the words."""
        if may_be_spelled(coarse):
            return True
        matches = self._automaton.find_matches_as_indexes(coarse, overlapping=True)
        if not shows_all_breaks(text):
            return bool(matches)
        for pattern, start, end in matches:
            open_left, open_right = self._open_ends[pattern]
            if (open_left or start == 0 or coarse[start - 1] == " ") and (
                open_right or end == len(coarse) or coarse[end] == " "
            ):
                return True
        return False

    def _hits(self, folded: Folded) -> list[_Hit]:
        """Return the hits that count."""
        hits: list[_Hit] = []
        allowed: list[_Hit] = []
        word_firsts, word_lasts = _word_ends(folded)
        words = words_of(folded)
        for entry, first, last in self._candidates(words):
            if not _is_whole(folded, entry, first, last):
                continue
            characters = folded.characters[first : last + 1]
            is_allowed = entry.list_name == "allow"
            if entry.is_exactly(characters) if is_allowed else entry.reads(characters):
                # A hit goes to the end of the word where the entry is open.
                start = folded.starts[word_firsts[first] if entry.open_left else first]
                end = folded.ends[word_lasts[last] if entry.open_right else last]
                (allowed if is_allowed else hits).append(_Hit(entry, start, end))
        for entry, first, last in self._candidates(spelled_of(words)):
            if entry.is_spelled and entry.reads(folded.characters[first : last + 1]):
                hits.append(_Hit(entry, folded.starts[first], folded.ends[last]))
        return _outside(hits, allowed)

    def _candidates(self, view: View) -> Iterator[tuple[Entry, int, int]]:
        """Return entries with the first and last folded character where they may be."""
        for pattern, start, end in self._automaton.find_matches_as_indexes(view.text, overlapping=True):
            for entry in self._by_pattern[pattern]:
                yield entry, view.firsts[start], view.lasts[end - 1]


NO_FILTER: Final = WordFilter()
"""Passes everything."""


def _is_whole(folded: Folded, entry: Entry, first: int, last: int) -> bool:
    """Whether words begin and end where the entry's closed ends are."""
    return (entry.open_left or first == 0 or folded.gaps[first] != NO_GAP or _parts(folded, first - 1, first)) and (
        entry.open_right
        or last + 1 == len(folded.characters)
        or folded.gaps[last + 1] != NO_GAP
        or _parts(folded, last + 1, last)
    )


def _parts(folded: Folded, outside: int, inside: int) -> bool:
    """Whether a character that touches a word is no part of it.

    Inside a word a digit or sign can be a letter; beside a word it is none. Within a number no word begins.
    """
    beside = folded.characters[outside]
    return not is_letter(beside) and not (beside.isdecimal() and folded.characters[inside].isdecimal())


def _word_ends(folded: Folded) -> tuple[list[int], list[int]]:
    """Return for each folded character the first and the last one of its word."""
    firsts: list[int] = []
    for place, gap in enumerate(folded.gaps):
        firsts.append(firsts[-1] if place and gap == NO_GAP else place)
    lasts = list(range(len(firsts)))
    for place in range(len(firsts) - 2, -1, -1):
        if folded.gaps[place + 1] == NO_GAP:
            lasts[place] = lasts[place + 1]
    return firsts, lasts


def _outside(hits: list[_Hit], allowed: list[_Hit]) -> list[_Hit]:
    """Leave out the hits that lie within an allowed word."""
    if not allowed:
        return hits
    allowed.sort(key=lambda word: word.start)
    starts = [word.start for word in allowed]
    furthest = list(accumulate((word.end for word in allowed), max))
    kept = []
    for hit in hits:
        begun = bisect_right(starts, hit.start)
        if not begun or furthest[begun - 1] < hit.end:
            kept.append(hit)
    return kept


def _mask(text: str, spans: list[tuple[int, int]]) -> str:
    """Write a star for each visible character in spans, which are sorted by start and may overlap."""
    parts: list[str] = []
    done = 0
    for start, end in spans:
        if end <= done:
            continue
        begin = max(start, done)
        parts.append(text[done:begin])
        parts.extend(_masked(character) for character in text[begin:end])
        done = end
    parts.append(text[done:])
    return "".join(parts)


def _masked(character: str) -> str:
    if is_visible(character):
        return MASK
    # Marks and what has no width belonged to the letters that are gone.
    return character if character.isspace() else ""
