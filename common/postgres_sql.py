"""What the statements share: times, columns of records, cursors. Pure."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final

from msgspec import Struct

from common.durable import storable

Statement = tuple[str, tuple[object, ...]]
"""A statement, and its arguments."""

_BIGINT_MAX: Final = 2**63 - 1
_CURSOR_MS_MAX: Final = 253_402_300_799_999
"""The end of the year 9999, well within what a timestamp holds."""


def moment(milliseconds: str) -> str:
    """Return the expression of a time, from one of milliseconds since 1970."""
    return f"timestamptz 'epoch' + {milliseconds} * interval '1 millisecond'"


def milliseconds(moment: str) -> str:
    """Return the expression of milliseconds since 1970, from one of a time."""
    return f"(extract(epoch FROM {moment}) * 1000)::bigint"


def columns(records: Sequence[Struct], *names: str) -> tuple[list[Any], ...]:
    """Return the fields of records as an array for each, texts as a text column can hold them."""
    return tuple(_storable(list(map(attrgetter(name), records))) for name in names)


def clamped(number: int) -> int:
    """Bring a number of a cursor, which a client may have made up, into the range of the columns; order stays."""
    return max(-_BIGINT_MAX, min(_BIGINT_MAX, number))


def clamped_ms(number: int) -> int:
    """Bring a time of a cursor, which a client may have made up, into the range of a timestamp; order stays."""
    return max(-1, min(_CURSOR_MS_MAX, number))


def _storable(column: list[Any]) -> list[Any]:
    # Nearly all texts are storable: looking at all of a column at once takes a tenth of the time.
    joined = "".join(value for value in column if isinstance(value, str))
    if storable(joined) == joined:
        return column
    return [storable(value) if isinstance(value, str) else value for value in column]
