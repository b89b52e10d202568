"""What a chaos run does: how much load, which faults, in which order. No IO: the dice are given."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol, TypeVar

_Item = TypeVar("_Item")


class Fault(StrEnum):
    """What is done to the cluster."""

    WORKER_KILL = "worker SIGKILL"
    EDGE_KILL = "edge SIGKILL"
    WORKER_PAUSE = "worker SIGSTOP for 3 leases"
    EDGE_PAUSE = "edge SIGSTOP for 3 leases"
    WORKER_DRAIN = "worker SIGTERM"
    EDGE_DRAIN = "edge SIGTERM"
    STORE_KILL = "Valkey SIGKILL, restart"
    STORE_RESTART = "Valkey SIGTERM, restart"
    FAILOVER = "primary SIGKILL, failover"
    FAILOVER_BEHIND = "the same, replica 0.5 s behind"
    CUT = "all connections to Valkey cut"
    CUT_ONE = "connections of one process cut"
    DELAY = "Valkey 50 ms farther away"
    STALL_REQUESTS = "requests of one worker stall, cut"
    STALL_REPLIES = "replies to one worker stall, cut"
    SCRIPT_FLUSH = "SCRIPT FLUSH"
    MEMORY = "Valkey at maxmemory"
    FLUSH = "FLUSHALL"
    EDGE_AND_WORKER_KILL = "edge and worker SIGKILL"
    STORE_AND_EDGE_KILL = "Valkey SIGKILL, then edge SIGKILL"
    FLUSH_AND_EDGE_KILL = "edge SIGKILL, then FLUSHALL"
    DATABASE_KILL = "PostgreSQL SIGKILL, restart"
    DATABASE_AWAY = "PostgreSQL away for 5 s"


class StoreKind(StrEnum):
    """What the cluster keeps its rooms in."""

    VALKEY = "valkey"
    REDIS = "redis"
    """The distribution's."""
    SENTINEL = "sentinel"
    """A Valkey with a replica, and three Sentinels."""
    CLUSTER = "cluster"
    """Three Valkeys, each with a replica, that share three partitions."""

    @property
    def partitions(self) -> int:
        """How many partitions the cluster has on it."""
        return 3 if self is StoreKind.CLUSTER else 1

    def suits(self, fault: Fault) -> bool:
        """Whether a fault can be done to it. A primary with a replica does not come back as one when it was killed."""
        has_replicas = self in (StoreKind.SENTINEL, StoreKind.CLUSTER)
        if fault in RESTARTS_STORE:
            return not has_replicas
        return fault not in FAILS_OVER or has_replicas


RESTARTS_STORE: Final = frozenset({Fault.STORE_KILL, Fault.STORE_RESTART, Fault.STORE_AND_EDGE_KILL})

FAILS_OVER: Final = frozenset({Fault.FAILOVER, Fault.FAILOVER_BEHIND})

LOSES_DATA: Final = frozenset({Fault.FLUSH, Fault.FLUSH_AND_EDGE_KILL, Fault.FAILOVER_BEHIND})
"""After it acknowledged events may be missing: what was lost is Valkey's, and a new epoch says so."""

OF_THE_DATABASE: Final = frozenset({Fault.DATABASE_KILL, Fault.DATABASE_AWAY})
"""Only where the cluster has one."""

TALKERS_OF_LOBBY: Final = 10


@dataclass(frozen=True)
class Load:
    """What the clients do. Each is in one room."""

    rooms: int
    clients: int
    chats_per_second: float
    """Of each client."""
    moves_per_second: float
    """Of each client."""
    talkers: int = 0
    """Persons beside them who talk where it is kept, as often as the others chat; only with a database. Even."""

    def room_of(self, number: int) -> str:
        """Return the room of a client."""
        return f"chaos-{number % self.rooms}"

    def hall_of(self, talker: int) -> str:
        """Return what the lobby and the board of a talker are called, behind their kinds."""
        return f"chaos-{talker // TALKERS_OF_LOBBY}"


class Dice(Protocol):
    """The part of `random.Random` that a plan needs."""

    def shuffle(self, x: list[Fault], /) -> None:
        """Put into another order, in place."""
        ...


def order_faults(times: dict[Fault, int], dice: Dice) -> list[Fault]:
    """Return each fault as often as it is wanted, in an order that the dice decide.

    What loses data, which ends the epochs of rooms, stands behind three quarters of the others, so that epochs get old.
    """
    losses = [fault for fault in Fault if fault in LOSES_DATA for _ in range(times.get(fault, 0))]
    order = [fault for fault, number in times.items() if fault not in LOSES_DATA for _ in range(number)]
    dice.shuffle(order)
    late = len(order) * 3 // 4
    return [*order[:late], *losses, *order[late:]]


def default_times(
    worker_kills: int,
    edge_kills: int,
    drains: int,
    others: int,
    store: StoreKind = StoreKind.VALKEY,
    *,
    database: bool = False,
) -> dict[Fault, int]:
    """Return how often each fault that suits the store is tried: `drains` is of workers, `others` of all the rest."""
    told = {Fault.WORKER_KILL: worker_kills, Fault.EDGE_KILL: edge_kills, Fault.WORKER_DRAIN: drains}
    rare = {fault: others for fault in Fault if fault not in {*told, *LOSES_DATA}}
    if not database:
        rare |= dict.fromkeys(OF_THE_DATABASE, 0)
    once = {fault: min(1, others) for fault in LOSES_DATA}
    return {fault: times for fault, times in (told | rare | once).items() if store.suits(fault)}


def percentile(values: Sequence[float], percent: float) -> float | None:
    """Return the value that so many percent do not exceed; None for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else None
