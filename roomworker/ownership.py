"""Which shards a worker should take and which it should give. Pure; the leases decide (common/bus.py).

Shards that another worker holds move a few at a time: each worker asks for so many, and asks for the next when it works
with the ones that it got.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct

from common.ids import Shard, WorkerId
from common.ring import propose_owners


class OwnershipPlan(Struct, frozen=True):
    """What to ask the lease store for now."""

    acquire: list[Shard]
    release: list[Shard]


def plan_ownership(
    worker_id: WorkerId,
    shard_count: int,
    workers: Iterable[WorkerId],
    owned: Collection[Shard],
    wanted: Mapping[Shard, WorkerId],
    given_at_once_max: int,
) -> OwnershipPlan:
    """Compare what is owned with what hashing proposes among the live workers.

    A shard is given away only to the worker that should have it and has asked for it, so that it is never
    without an owner for longer than a hand-off.

    Args:
        workers: the live workers; this one is counted among them even if the registry lost it.
        wanted: who asked for which of the owned shards.
        given_at_once_max: to each worker.
    """
    proposal = propose_owners(shard_count, {*workers, worker_id})
    acquire = [shard for shard, owner in proposal.items() if owner == worker_id and shard not in owned]
    wishes = {
        shard: proposal[shard]
        for shard in owned
        if proposal[shard] != worker_id and wanted.get(shard) == proposal[shard]
    }
    return OwnershipPlan(sorted(acquire), _few(wishes, given_at_once_max))


def plan_leaving(
    others: Collection[WorkerId],
    owned: Collection[Shard],
    wanted: Mapping[Shard, WorkerId],
    given_at_once_max: int,
) -> list[Shard]:
    """Return what a worker that leaves should give now: some of what others ask for; all, where there are no others.

    Args:
        others: the live workers without this one. A wish of who is not among them is of one that has died.
    """
    if not others:
        return sorted(owned)
    return _few({shard: wanted[shard] for shard in owned if wanted.get(shard) in others}, given_at_once_max)


class Asking:
    """Which of the shards that a worker lacks it asks for: few that others hold, and all that nobody holds.

    A round is: ask for what `begin` returns, tell `heard` the answer, ask for what that returns, until it is nothing.
    """

    def __init__(self, held_max: int) -> None:
        """Prepare.

        Args:
            held_max: so many shards that others hold are asked for at a time.
        """
        self._held_max = held_max
        self._held: set[Shard] = set()
        self._unasked: list[Shard] = []
        self._at_once = held_max

    def begin(self, lacking: Sequence[Shard]) -> list[Shard]:
        """Begin a round; wishes that are still open are told again."""
        self._held.intersection_update(lacking)
        self._unasked = [shard for shard in lacking if shard not in self._held]
        self._at_once = self._held_max
        return sorted(self._held)[: self._held_max] + self._next()

    def heard(self, held: Collection[Shard], taken: Collection[Shard]) -> list[Shard]:
        """Take the answer to what was asked last; return what to ask now.

        Args:
            held: what others hold.
            taken: what is the caller's now.
        """
        if not (held or self._held):
            # What nobody holds is to be working again soon; the first ones soonest.
            self._at_once *= 2
        self._held.difference_update(taken)
        self._held.update(held)
        return self._next() if taken else []

    def _next(self) -> list[Shard]:
        count = max(0, self._held_max - len(self._held)) if self._held else self._at_once
        chosen, self._unasked = self._unasked[:count], self._unasked[count:]
        return chosen


def _few(wishes: Mapping[Shard, WorkerId], at_once_max: int) -> list[Shard]:
    """Return the first shards, not more than so many for each worker."""
    given: dict[WorkerId, int] = {}
    chosen: list[Shard] = []
    for shard in sorted(wishes):
        wisher = wishes[shard]
        if given.get(wisher, 0) < at_once_max:
            given[wisher] = given.get(wisher, 0) + 1
            chosen.append(shard)
    return chosen
