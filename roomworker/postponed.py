"""Who moved, and is stored a little later: movements come many times a second, and only the last one matters.

Each member that moves is stored once in an interval, at most, and once more after its last movement. Pure.
"""

from common.ids import UserId


class Postponed:
    """Members of one room of whom the store does not have the newest state."""

    def __init__(self, store_ms: int) -> None:
        """Make it empty.

        Args:
            store_ms: at most so old is what the store has.
        """
        self._store_ms = store_ms
        self._since_ms: dict[UserId, int] = {}
        """Since when, longest first, unless the clock was set back."""
        self._is_hurried = False

    def add(self, user_id: UserId, now_ms: int) -> None:
        """A member's state changed."""
        self._since_ms.setdefault(user_id, now_ms)

    def drop(self, user_id: UserId) -> bool:
        """A member is stored now, or gone. Tells whether anything was postponed."""
        return self._since_ms.pop(user_id, None) is not None

    def due_ms(self) -> int | None:
        """When some must be stored at the latest; None where the store has all."""
        since_ms = next(iter(self._since_ms.values()), None)
        return None if since_ms is None else since_ms + self._store_ms

    def hurry(self) -> bool:
        """Have all stored next time: the room moves. False: there are none."""
        self._is_hurried = bool(self._since_ms)
        return self._is_hurried

    def take(self, now_ms: int) -> list[UserId]:
        """Return those to store with a batch that is written now.

        Where batches are frequent they take along who would be due soon, so that nothing has to be written for that
        alone.
        """
        if self._is_hurried:
            self._is_hurried = False
            due = list(self._since_ms)
            self._since_ms.clear()
            return due
        before_ms = now_ms - self._store_ms * 3 // 4
        due = []
        for user_id, since_ms in self._since_ms.items():
            if since_ms > before_ms:
                break
            due.append(user_id)
        for user_id in due:
            del self._since_ms[user_id]
        return due
