"""One timer wheel for the deadlines of all connections, so that a socket needs no timer of its own. No clock.

A deadline that moves later costs nothing: the item stays where it is, is looked at when its slot comes, and
is put back. Source: Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", 1987, scheme 6.
"""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)


class TimerWheel(Generic[Item]):
    """Items by the time at which to look at them, in slots of `tick_ms`."""

    def __init__(self, tick_ms: int, now_ms: float) -> None:
        self._tick_ms = tick_ms
        self._slots: dict[int, set[Item]] = {}
        self._slot_of: dict[Item, int] = {}
        self._at = self._slot(now_ms)

    def __len__(self) -> int:
        return len(self._slot_of)

    def schedule(self, item: Item, due_ms: float) -> None:
        """Look at an item no earlier than `due_ms`, and less than a tick and a turn of `expired` later.

        Replaces its earlier time.
        """
        self.cancel(item)
        slot = max(self._slot(due_ms) + 1, self._at + 1)
        self._slots.setdefault(slot, set()).add(item)
        self._slot_of[item] = slot

    def cancel(self, item: Item) -> None:
        """Forget an item; idempotent."""
        slot = self._slot_of.pop(item, None)
        # The slot that is being looked at is no longer among them.
        if slot in self._slots:
            self._slots[slot].discard(item)

    def advance(self, now_ms: float, expired: Callable[[Item], None]) -> None:
        """Call `expired` for every item whose time has come; it may schedule and cancel any."""
        target = self._slot(now_ms)
        while self._at < target:
            if not self._slots:
                self._at = target
                return
            self._at += 1
            for item in self._slots.pop(self._at, ()):
                if self._slot_of.get(item) == self._at:
                    del self._slot_of[item]
                    expired(item)

    def _slot(self, now_ms: float) -> int:
        return int(now_ms // self._tick_ms)
