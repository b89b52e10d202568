"""Finds the greatest size that is borne: grows step by step until one is not, then halves the gap. No IO."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass
class Growth:
    """A search in progress: try `next_size`, say with `tell` how it went, until there is none."""

    first: int
    step: int
    most: int
    """No greater size is tried."""
    precision: int
    """The search ends when the least bad size is at most so much above the greatest good one; at least 1."""
    last_good: int = 0
    """The greatest size that was good; 0 where none was."""
    first_bad: int | None = None
    """The least size that was bad."""

    @property
    def next_size(self) -> int | None:
        """The size to try now; None where the search is over."""
        if self.first_bad is not None:
            gap = self.first_bad - self.last_good
            # Below the first size nothing is looked for: a scenario that begins too high says so.
            return self.last_good + gap // 2 if self.last_good and gap > self.precision else None
        if not self.last_good:
            return self.first
        return min(self.last_good + self.step, self.most) if self.last_good < self.most else None

    def tell(self, size: int, *, good: bool) -> None:
        """Say how `size` went."""
        if good:
            self.last_good = max(self.last_good, size)
        else:
            self.first_bad = size if self.first_bad is None else min(self.first_bad, size)

    def __iter__(self) -> Iterator[int]:
        """Yield the sizes to try, each once; `tell` of each before the next is asked for."""
        while (size := self.next_size) is not None:
            yield size
