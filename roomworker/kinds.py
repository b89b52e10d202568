"""The table of the kinds of room that this release knows."""

from collections.abc import Callable
from typing import Final

from common.ids import SPACE_KIND
from common.settings import WorkerSettings
from roomworker.direct import DirectRules
from roomworker.inbox import InboxRules
from roomworker.lobby import LobbyRules
from roomworker.notes import NotesRules
from roomworker.rules import RoomRules
from roomworker.space import SpaceRules

KINDS: Final[dict[str, Callable[[WorkerSettings], RoomRules]]] = {
    SPACE_KIND: SpaceRules,
    LobbyRules.kind: LobbyRules,
    InboxRules.kind: InboxRules,
    DirectRules.kind: DirectRules,
    NotesRules.kind: NotesRules,
}
"""Rules of each kind, by the part of the room id before the first `:` (`space` for ids without one)."""
