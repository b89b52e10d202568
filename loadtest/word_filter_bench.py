"""Measures what one check of the word filter costs: `python -m loadtest.word_filter_bench`.

Words are made up of syllables, by a seed; texts that should pass have other words than the list, and often parts
of listed ones.
"""

import random
import sys
from collections.abc import Iterator
from time import perf_counter
from typing import Final

from common.word_filter import Entry, ListName, WordFilter

ENTRIES: Final = 5_000
TEXTS: Final = 200
ROUNDS: Final = 7

_LISTS: Final[tuple[ListName, ...]] = ("reject", "queue", "mask")


def main() -> int:
    """Print a line for each kind of text: the microseconds of one check, in the best of some rounds."""
    draw = random.Random(1)  # noqa: S311 - no secret is made
    words = list(dict.fromkeys(_word(draw) for _ in range(4 * ENTRIES)))
    listed, others = words[:ENTRIES], words[ENTRIES:]
    began = perf_counter()
    word_filter = WordFilter(Entry.parse(word, draw.choice(_LISTS)) for word in listed)
    _print(f"{ENTRIES} entries loaded in", (perf_counter() - began) * 1e3, "ms")
    for size in (60, 2_000):
        for kind, pool, gap in (
            ("letters only", others, " "),
            ("with hyphens and digits", [*others, "24-7"], " "),
            ("every word listed", listed, " "),
            ("spelled out", list("abcdefgh"), "."),
        ):
            texts = [gap.join(_endless(draw, pool, size))[:size] for _ in range(TEXTS)]
            if "24-7" in pool:
                texts = [f"24-7 {text}"[:size] for text in texts]
            passed = sum(word_filter.check(text).action == "pass" for text in texts)
            took_s = min(_round(word_filter, texts) for _ in range(ROUNDS))
            _print(f"{size} characters, {kind}, {passed / TEXTS:.0%} pass", took_s / TEXTS * 1e6, "µs")
    rare = ["".join(map(chr, range(first, first + 2_000))) for first in range(0x20000, 0x20000 + 40_000, 2_000)]
    _print("2000 characters never met before", _round(word_filter, rare) / len(rare) * 1e6, "µs")
    return 0


def _word(draw: random.Random) -> str:
    syllables = draw.choices((2, 3, 4), (4, 3, 1))[0]
    return "".join(draw.choice("bcdfghjklmnprstvw") + draw.choice("aeiou") for _ in range(syllables)) + draw.choice(
        ("", "n", "r", "s", "t")
    )


def _endless(draw: random.Random, pool: list[str], size: int) -> Iterator[str]:
    """Return enough words for a text."""
    return (draw.choice(pool) for _ in range(size))


def _round(word_filter: WordFilter, texts: list[str]) -> float:
    began = perf_counter()
    for text in texts:
        word_filter.check(text)
    return perf_counter() - began


def _print(what: str, number: float, unit: str) -> None:
    print(f"{what:<60} {number:8.1f} {unit}")  # noqa: T201 - the command's own output


if __name__ == "__main__":
    sys.exit(main())
