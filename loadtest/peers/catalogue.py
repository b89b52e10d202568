"""Who is measured, Roomring and others: how each is arranged, and what it does less. No IO.

Each is set up as its own documentation has it, for the same work: what a member sends goes to all members of the room,
the sender too. What it leaves undone is told beside its figures, and not held against it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

ROOMRING: Final = "roomring"
ROOMRING_ALONE: Final = "roomring-alone"


@dataclass(frozen=True)
class Own:
    """Roomring, with so many processes of each kind."""

    name: str
    title: str
    arrangement: str
    edges: int
    workers: int


OWN: Final = {
    own.name: own
    for own in (
        Own(ROOMRING, "Roomring", "two edges, two workers, one Valkey", edges=2, workers=2),
        Own(
            ROOMRING_ALONE,
            "Roomring, one edge",
            "one edge and one worker, one Valkey: members on one process, as of the peers that have one",
            edges=1,
            workers=1,
        ),
    )
}
"""What is compared is the first."""


@dataclass(frozen=True)
class Peer:
    """One server that is measured."""

    name: str
    """Its name on the command line and in results."""
    title: str
    dialect: str
    """Name of the dialect of the generator that speaks to it."""
    arrangement: str
    """Which processes do the work."""
    does_less: tuple[str, ...]
    """What Roomring does for each message, and this one does not; short nouns."""
    remark: str = ""


_NO_RULES: Final = ("rate limits", "blocks", "token check", "replay after a reconnect")

PEERS: Final = {
    peer.name: peer
    for peer in (
        Peer(
            name="socketio",
            title="Socket.IO",
            dialect="socketio",
            arrangement="two Node processes with the Redis streams adapter, one Valkey",
            does_less=("one order for all receivers", *_NO_RULES),
        ),
        Peer(
            name="colyseus",
            title="Colyseus",
            dialect="colyseus",
            arrangement="one Node process with ws-transport: Colyseus hosts a room in one process",
            does_less=("survival of the process that has the room", *_NO_RULES),
            remark="By messages, as the others. It also offers state synchronisation: a patch each 50 ms, newest wins.",
        ),
        Peer(
            name="python-socketio",
            title="python-socketio",
            dialect="socketio",
            arrangement="two uvicorn processes with uvloop and the Redis manager, one Valkey",
            does_less=("one order for all receivers", *_NO_RULES),
        ),
        Peer(
            name="nats",
            title="NATS over WebSocket",
            dialect="nats",
            arrangement="one nats-server; members subscribe to the room's subject and publish to it",
            does_less=("a second server", "one order for all receivers", "any look into a message", *_NO_RULES),
        ),
    )
}

SERVERS: Final[Mapping[str, Own | Peer]] = {**OWN, **PEERS}
"""All that can be measured, by name."""
