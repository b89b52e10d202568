"""The file with the words of the filter: a TOML document with up to four lists. docs/operations.md describes it.

reject = ["a word", "a phrase"]
queue = []
mask = ["beginning*", "*ending", "*anywhere*"]
allow = ["a word in which a hit does not count"]
"""

import tomllib
from pathlib import Path
from typing import Final

from common.errors import SettingsError
from common.word_filter import NO_FILTER, BadEntry, Entry, ListName, WordFilter

LISTS: Final[tuple[ListName, ...]] = ("reject", "queue", "mask", "allow")
ENTRIES_MAX: Final = 50_000
"""Of all lists together. So many take a second to load, and some 100 MB."""

BYTES_MAX: Final = 8 * 1024 * 1024


def load_word_filter(path: str) -> WordFilter:
    """Read the file with the words.

    Args:
        path: of the file; empty for a filter that passes everything.

    Raises:
        SettingsError: the file cannot be read or is wrong. One line that says where and what to write.
    """
    if not path:
        return NO_FILTER
    try:
        with Path(path).open("rb") as file:
            content = file.read(BYTES_MAX + 1)
    except OSError as error:
        raise SettingsError(
            f"word list {path!r} cannot be read ({error.strerror}); "
            "mend the path in ROOMRING_WORD_LIST_FILE, or leave it empty for no filter"
        ) from error
    if len(content) > BYTES_MAX:
        raise SettingsError(f"word list {path!r} has more than {BYTES_MAX} bytes; make it shorter")
    try:
        return parse_word_list(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise SettingsError(f"word list {path!r} is not UTF-8 (byte {error.start}); save it as UTF-8") from error
    except SettingsError as error:
        raise SettingsError(f"word list {path!r}: {error}") from error


def parse_word_list(text: str) -> WordFilter:
    """Make a filter from the text of a file.

    Raises:
        SettingsError: it is wrong. One line that names the place and says what to write.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f'{error}; write for example mask = ["word", "two words"]') from error
    except RecursionError as error:
        raise SettingsError('lists within lists; write for example mask = ["word", "two words"]') from error
    lists: dict[ListName, list[Entry]] = {}
    for name, listed in document.items():
        known = next((each for each in LISTS if each == name), None)
        if known is None:
            raise SettingsError(f"{name!r} is no list; the lists are {', '.join(LISTS)}")
        lists[known] = _entries(known, listed)
    entries = [entry for name in LISTS for entry in lists.get(name, [])]
    if len(entries) > ENTRIES_MAX:
        raise SettingsError(f"has {len(entries)} entries; at most {ENTRIES_MAX} are allowed, so take some out")
    allowed = {entry.form: entry for entry in lists.get("allow", [])}
    for entry in entries:
        if entry.list_name != "allow" and entry.form in allowed:
            raise SettingsError(
                f"{entry.listed!r} in {entry.list_name} is {allowed[entry.form].listed!r} in allow too; take one out"
            )
    return WordFilter(entries)


def _entries(name: ListName, listed: object) -> list[Entry]:
    if not isinstance(listed, list):
        raise SettingsError(f'{name} is no list; write {name} = ["word", "two words"]')
    entries = []
    for number, text in enumerate(listed, 1):
        if not isinstance(text, str):
            raise SettingsError(f"entry {number} of {name} is no text; put it in quotation marks")
        try:
            entries.append(Entry.parse(text, name))
        except BadEntry as error:
            raise SettingsError(f"entry {number} of {name}, {text[:80]!r}, {error}") from error
    return entries
