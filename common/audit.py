"""What stores write into the audit log by themselves, and what they let be written. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from common.durable import storable

CLAIMED: Final = "moderation.claimed"
RELEASED: Final = "moderation.released"
RESOLVED: Final = "moderation."
"""Before the resolution: `moderation.dismissed`. The details of all three have `itemId`, the item's number."""

QUEUE_REPORTS_MAX: Final = 20
"""Reports that are shown of an item; more tell a moderator nothing new."""


def storable_details(details: Mapping[str, Any]) -> dict[str, Any]:
    """Return details as every store can hold them: JSON, with its texts as `storable` has them."""
    return {storable(name): _storable(value) for name, value in details.items()}


def _storable(value: Any) -> Any:
    match value:
        case str():
            return storable(value)
        case Mapping():
            return storable_details(value)
        case list() | tuple():
            return [_storable(inner) for inner in value]
    return value
