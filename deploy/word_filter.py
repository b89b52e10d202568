"""`roomring word-filter`: tries a word list before workers read it. The rules are in common/word_filter.py."""

import argparse

from common.word_list import LISTS, load_word_filter


def run(args: argparse.Namespace) -> int:
    """Check a word list, and print the verdict on each text. See `roomring word-filter --help`.

    Raises:
        SettingsError: the list is wrong. One line that says what to write.
    """
    word_filter = load_word_filter(args.file)
    lines = [", ".join(f"{name} {word_filter.count(name)}" for name in LISTS)]
    for text in args.text:
        verdict = word_filter.check(text)
        line = f"{verdict.action:<7} {verdict.text}"
        lines.append(f"{line}   ({', '.join(verdict.words)})" if verdict.words else line)
    for line in lines:
        # What the shell passed need not be UTF-8; it comes as lone surrogates, which cannot be printed.
        print(line.encode("utf-8", "backslashreplace").decode())  # noqa: T201 - the command's own output
    return 0
