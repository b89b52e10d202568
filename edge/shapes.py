"""Shapes of HTTP answers that are no messages of the protocol: health, and what operators see.

They describe only, but for erasures. What makes the others is in edge/http_public.py, edge/http_internal.py and the
rooms' workers; tests/integration/test_openapi.py compares.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from common.messages import NO_NUL_PATTERN, EpochField, ModerationType, SeqField


class Health(Struct, frozen=True):
    """The process is alive."""

    status: Literal["ok"]
    edge: str


class Readiness(Struct, frozen=True):
    """Whether the edge can serve, and why not."""

    ready: bool
    problems: list[str]
    edge: str


class Numbers(Struct, frozen=True):
    """The numbers of Prometheus as JSON."""

    edge: str
    timeMs: int
    metrics: dict[str, float]


class EdgeView(Struct, frozen=True):
    """An edge of the cluster."""

    id: str
    port: int
    internalPort: int
    startedAtMs: int


class WorkerView(Struct, frozen=True):
    """A room worker of the cluster."""

    id: str
    shards: Annotated[int, Meta(description="How many it owns.")]
    share: Annotated[float, Meta(description="Of all shards, 0 to 1.")]


class ShardView(Struct, frozen=True):
    """A shard, and who owns it."""

    shard: int
    owner: str | None
    epoch: Annotated[int, Meta(description="Fencing token of its lease.")]
    commits: int
    backlog: Annotated[int, Meta(description="Batches that wait.")]


class ClusterView(Struct, frozen=True):
    """The cluster as it is now."""

    edges: list[EdgeView]
    workers: list[WorkerView]
    shards: list[ShardView]
    backlog: int
    problems: list[str]


class ConnectionView(Struct, frozen=True):
    """A connection of a member."""

    edge: str
    number: int
    device: Literal["desktop", "mobile"]


class MemberView(Struct, frozen=True):
    """A person in a room, as operators see it."""

    userId: str
    displayName: str
    avatarId: str
    awayUntilMs: int | None
    connections: list[ConnectionView]


class RestrictionView(Struct, frozen=True):
    """What holds against a person in a room."""

    barredUntilMs: int | None
    mutedUntilMs: int | None
    reason: str


class RoomView(Struct, frozen=True):
    """A room as operators see it."""

    roomId: str
    kind: str
    epoch: EpochField
    seq: SeqField
    members: list[MemberView]
    restrictions: dict[str, RestrictionView]
    counters: dict[str, int]


class Moderated(Struct, frozen=True):
    """A person was kicked, banned or muted."""

    roomId: str
    userId: str
    type: ModerationType
    member: Annotated[bool, Meta(description="Whether the person was in the room.")]
    connectionsClosed: int
    epoch: EpochField
    seq: SeqField


class Lifted(Struct, frozen=True):
    """What held against a person was lifted; `lifted` is false where nothing did."""

    roomId: str
    userId: str
    lifted: bool


class BlockSet(Struct, frozen=True):
    """Whether a person blocks another now."""

    userId: str
    blockedUserId: str
    blocked: bool
    changed: bool


class FriendshipSet(Struct, frozen=True):
    """Whether two persons are friends now."""

    userId: str
    friendId: str
    friends: bool
    changed: bool


class ErasureOrder(Struct, frozen=True):
    """Body of `POST /admin/users/{userId}/erasure`. `requestedBy` stays on record; do not write the person's id."""

    requestedBy: Annotated[str, Meta(pattern=NO_NUL_PATTERN, min_length=1, max_length=500)]


class ErasureAsked(Struct, frozen=True):
    """An erasure was asked for."""

    erasureId: int
    new: Annotated[bool, Meta(description="False where one of the same person was under way: it goes on at once.")]
    passes: Annotated[int, Meta(description="How many were done before.")]


class ErasureView(Struct, frozen=True):
    """How far an erasure is."""

    erasureId: int
    requestedBy: str
    requestedAtMs: int
    passes: Annotated[int, Meta(description="How often everything was gone through.")]
    counts: Annotated[dict[str, int], Meta(description="Rows that were changed, by what was done.")]
    dueAtMs: Annotated[int, Meta(description="When the next pass is due.")] | UnsetType = UNSET
    finishedAtMs: int | UnsetType = UNSET
