"""What every room must know of persons, brought from the durable store into Redis where that does not have it.

Redis is new, or lost its data: then blocks, mutes in direct messages and bans from the cluster are in the store alone.
"""

from collections.abc import Iterable, Sequence

from common.bus import People, Person
from common.durable import NO_END_MS, DurableStore, Restriction
from common.ids import UserId


async def fill_people(bus: People, store: DurableStore, user_ids: Sequence[UserId], now_ms: int) -> None:
    """Enter what the store has of these persons. May be repeated; what Redis was told since holds.

    Raises:
        BusUnavailable, StoreUnavailable: some may be entered.
    """
    blocks = await store.blocks_of(user_ids)
    restrictions = await store.restricted_everywhere(user_ids, now_ms)
    stored: dict[UserId, Person] = {}
    for user_id in user_ids:
        running = restrictions.get(user_id, ())
        stored[user_id] = Person(blocks[user_id], _end(running, "mute"), _end(running, "ban"))
    await bus.fill_in(stored)


def _end(restrictions: Iterable[Restriction], kind: str) -> int:
    return max(
        (NO_END_MS if one.ends_at_ms is None else one.ends_at_ms for one in restrictions if one.kind == kind), default=0
    )
