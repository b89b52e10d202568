"""Which stored fields of a room a turn sets and deletes."""


class FieldChanges:
    """Gathered by the parts of a room; the last word on a field holds."""

    def __init__(self) -> None:
        self._set: dict[str, bytes] = {}
        self._deleted: dict[str, None] = {}

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._set or self._deleted)

    def put(self, name: str, data: bytes) -> None:
        """Set a field."""
        self._deleted.pop(name, None)
        self._set[name] = data

    def drop(self, name: str) -> None:
        """Delete a field."""
        self._set.pop(name, None)
        self._deleted[name] = None

    def take(self) -> tuple[dict[str, bytes], list[str]]:
        """Return the fields to set and to delete since the last call."""
        changed = self._set, list(self._deleted)
        self._set, self._deleted = {}, {}
        return changed
