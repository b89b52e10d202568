"""What stands in the places of deleted events, for as long as a room's history reaches. Stored fields: `x:<seq>`."""

from collections.abc import Mapping
from typing import Final

from common.ids import Seq
from roomworker.field_changes import FieldChanges
from roomworker.history import PastEvent, decode_past, encode_past

NOWHERE: Final = Seq(2**62)
"""After every place."""


class Redactions:
    """The deleted events of one room in its present epoch."""

    def __init__(self, changes: FieldChanges) -> None:
        self._changes = changes
        self._instead: dict[Seq, PastEvent] = {}

    @property
    def events(self) -> Mapping[Seq, PastEvent]:
        """What stands in which place."""
        return self._instead

    def put(self, seq: Seq, instead: PastEvent) -> None:
        """Put an event in the place of a deleted one."""
        self._instead[seq] = instead
        self._changes.put(f"x:{seq}", encode_past(instead))

    def forget(self, upto: Seq) -> None:
        """Let go of those that the history no longer reaches."""
        for seq in [seq for seq in self._instead if seq <= upto]:
            del self._instead[seq]
            self._changes.drop(f"x:{seq}")

    def restore(self, seq: str, data: bytes) -> None:
        """Take a stored field; `seq` is its name without the prefix."""
        self._instead[Seq(int(seq))] = decode_past(data)
