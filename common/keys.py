"""Every Redis key of a cluster, one function each. Nobody else writes a key.

All keys of a partition carry its hash tag `{p<n>}`, so that they share one slot on Redis Cluster and the
commit script is single-slot. `namespace` lets several clusters share one Redis.
"""

from common.ids import EdgeId, Partition, RoomId, Shard, UserId, WorkerId


class Keys:
    """The keys of one cluster in one partition."""

    def __init__(self, namespace: str, partition: Partition) -> None:
        self._prefix = f"{namespace}:{{p{partition}}}:"

    def cluster(self) -> str:
        """Hash: `shards`, `partitions`, `format`. Set once when the cluster is created. In partition 0. No expiry."""
        return self._prefix + "cluster"

    def nodes(self, role: str) -> str:
        """Sorted set of the live nodes of a role (`edge`, `worker`): id -> Redis time in ms until which it lives.

        In partition 0. No expiry.
        """
        return f"{self._prefix}nodes:{role}"

    def node_info(self, role: str) -> str:
        """Hash of what the nodes of a role say of themselves: id -> JSON.

        In partition 0. No expiry; fields leave with their node.
        """
        return f"{self._prefix}info:{role}"

    def input(self, shard: Shard) -> str:
        """Stream of `InputBatch` in field `d`, ids `0-<n>` without holes.

        Trimmed only by the owner's commit. No expiry.
        """
        return f"{self._prefix}in:{shard}"

    def outbox(self, shard: Shard) -> str:
        """Stream of `OutboxEntry` in field `d`, ids `0-<n>` without holes: what waits for the durable store.

        Written and trimmed only by the owner's commit. No expiry.
        """
        return f"{self._prefix}outbox:{shard}"

    def relay(self, shard: Shard, to: Partition) -> str:
        """Stream of `RelayEntry` in field `d`, ids `0-<n>` without holes: what waits to be moved to a partition.

        Written and trimmed only by the owner's commit. No expiry.
        """
        return f"{self._prefix}relay:{shard}:{to}"

    def dead(self, shard: Shard) -> str:
        """Stream of `DeadLetter` in field `d`, ids `0-<n>`: what a room or the database fails at each time.

        Written by the owner's commit and bounded by it to `dead_letters_max`; entries leave when an operator
        retries or drops them. No expiry.
        """
        return f"{self._prefix}dead:{shard}"

    def output(self, edge_id: EdgeId) -> str:
        """Stream of `OutputBatch` in field `d`, ids `0-<n>` without holes.

        Created by its edge, trimmed by it and bounded; expires `output_ttl_ms` after the edge's last sign of life.
        """
        return f"{self._prefix}out:{edge_id}"

    def wake(self, worker_id: WorkerId) -> str:
        """Stream of at most a few empty entries, which wake the worker from its blocking read.

        Expires ten seconds after the last wake.
        """
        return f"{self._prefix}wake:{worker_id}"

    def shard(self, shard: Shard) -> str:
        """Hash of a shard's lease and of how far its input was taken.

        `owner`, `token`, `until_ms` (Redis time), `want`, `want_until_ms`, `version` (number of commits),
        `cursor` (last input taken), `server` (run id of the Redis at which it was last known to have all its
        commits), `generation` (ms since 1970 when it was last taken without that being known), and `e:<edge>` (mark of
        the last batch taken from each edge; from the relay of another shard `e:relay:<shard>`). No expiry.
        """
        return f"{self._prefix}shard:{shard}"

    def active_rooms(self, shard: Shard) -> str:
        """Set of the shard's rooms that have members, so that a new owner can resume their timers. No expiry."""
        return f"{self._prefix}rooms:{shard}"

    def room(self, room_id: RoomId) -> str:
        """Hash of a room's state; the fields belong to roomworker/room.py.

        Expires `room_idle_ttl_ms` after the last member left, unless somebody is banned or muted.
        """
        return f"{self._prefix}room:{room_id}"

    def history(self, room_id: RoomId) -> str:
        """Stream of the room's recent reliable events in field `d`, ids `<epoch>-<seq>`.

        Bounded by `history_events_max`; expires with the room.
        """
        return f"{self._prefix}log:{room_id}"

    def person(self, user_id: UserId) -> str:
        """Hash of what every room must know of a person; in the partition of the person's inbox. No expiry.

        `b:<user>`: `1` where the person blocks that one, `0` where that was ended. `m`: muted in direct messages until,
        in ms since 1970. `out`: barred from the cluster until. `filled`: what the durable store has is in it.
        """
        return f"{self._prefix}person:{user_id}"
