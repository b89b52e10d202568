"""Which shards a worker should take and which it should give. Pure; the leases decide (common/bus.py)."""

from collections.abc import Collection, Iterable, Mapping

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
) -> OwnershipPlan:
    """Compare what is owned with what hashing proposes among the live workers.

    A shard is given away only to the worker that should have it and has asked for it, so that it is never
    without an owner for longer than a hand-off.

    Args:
        workers: the live workers; this one is counted among them even if the registry lost it.
        wanted: who asked for which of the owned shards.
    """
    proposal = propose_owners(shard_count, {*workers, worker_id})
    acquire = [shard for shard, owner in proposal.items() if owner == worker_id and shard not in owned]
    release = [shard for shard in owned if proposal[shard] != worker_id and wanted.get(shard) == proposal[shard]]
    return OwnershipPlan(sorted(acquire), sorted(release))
