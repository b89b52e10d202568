"""Which times retention may touch: what is older than a limit, without what is held. Pure."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple


class TimeRange(NamedTuple):
    """Times from `after` up to `before`, both not counted. None: without end on that side."""

    after: datetime | None
    before: datetime


def open_ranges(before: datetime, held: Iterable[tuple[datetime, datetime]]) -> list[TimeRange]:
    """Return the times before `before` that are in none of the held ranges, oldest first.

    Args:
        held: first and last time of each, both counted; in any order, they may overlap.
    """
    ranges: list[TimeRange] = []
    after: datetime | None = None
    for first, last in sorted(held):
        if after is not None and last <= after:
            continue
        if first >= before:
            break
        if after is None or first > after:
            ranges.append(TimeRange(after, first))
        after = last
    if after is None or after < before:
        ranges.append(TimeRange(after, before))
    return ranges
