"""Which shard a room belongs to, and which worker should own each shard.

The proposal is rendezvous hashing with a capacity: every worker gets floor or ceil of the mean, and few
shards move when workers come or go. It only proposes; the lease in Redis decides (see common/bus.py).
Source: docs/decisions/0002-shards-and-ownership.md, with the measured shares of the alternatives.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b

from common.ids import Partition, RoomId, Shard, UserId, WorkerId, inbox_of


# Asked for each room in each batch; the hash costs ten times the look-up.
@lru_cache(maxsize=1 << 16)
def shard_of(room_id: RoomId, shard_count: int) -> Shard:
    """Return the shard of a room, from 0 to `shard_count` - 1. The same in every process and release."""
    return Shard(_hash64(room_id.encode()) % shard_count)


def partition_of_shard(shard: Shard, partition_count: int) -> Partition:
    """Return the partition whose Redis slot holds all keys of a shard."""
    return Partition(shard % partition_count)


def partition_of_person(user_id: UserId, shard_count: int, partition_count: int) -> Partition:
    """Return the partition of a person's inbox, which holds what belongs to the person and to no other room."""
    return partition_of_shard(shard_of(inbox_of(user_id), shard_count), partition_count)


def propose_owners(shard_count: int, workers: Iterable[WorkerId]) -> dict[Shard, WorkerId]:
    """Give every shard an owner among the live workers; empty without workers.

    Each worker gets either floor or ceil of `shard_count / workers` shards. Depends on the set of workers
    only, so every process that sees the same workers proposes the same.
    """
    return dict(_owners(shard_count, tuple(sorted(set(workers)))))


# Asked for ten times a second; it takes 20 ms for 1,000 shards and 20 workers.
@lru_cache(maxsize=8)
def _owners(shard_count: int, ids: tuple[WorkerId, ...]) -> Mapping[Shard, WorkerId]:
    if not ids:
        return {}
    floor, extra = divmod(shard_count, len(ids))
    ranked = sorted(
        ((_hash64(f"{worker}\n{shard}".encode()), shard, worker) for worker in ids for shard in range(shard_count)),
        reverse=True,
    )
    owners: dict[Shard, WorkerId] = {}
    load = dict.fromkeys(ids, 0)
    for _, number, worker in ranked:
        shard = Shard(number)
        if shard in owners or load[worker] > floor or (load[worker] == floor and extra == 0):
            continue
        owners[shard] = worker
        load[worker] += 1
        if load[worker] > floor:
            extra -= 1
    assert len(owners) == shard_count
    return owners


def _hash64(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")
