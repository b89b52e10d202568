"""What test clients write down: everything that they sent, were answered, and received. Read by `checker.py`.

One list for each client, in the order in which it happened there; a client that comes back goes on with its list.
`at_ms` is the time of one clock for all clients of a run. Chat texts of a run are unique: a text names one message
for the checker.
"""

from pathlib import Path
from typing import Final

from msgspec import Struct, json


class Observation(Struct, frozen=True, tag=True):
    """Base. `client` names the client, `user` its person; `room` is empty where none is concerned."""

    client: str
    user: str
    at_ms: float
    room: str


class Opened(Observation, frozen=True):
    """The connection was opened, or opened anew after `Closed`."""


class Closed(Observation, frozen=True):
    """It ended; `code` as the client saw it."""

    code: int


class Sent(Observation, frozen=True):
    """A message left the client. Sent again, it is written down again.

    `text` is that of chat; of a `heartbeat` with `lastSeq` it is that number, since events after it may come again.
    """

    id: str
    name: str
    text: str = ""


class Acked(Observation, frozen=True):
    """`ack`: the message of `id` took effect at `seq`, in the epoch of the newest `State` of the room here."""

    id: str
    seq: int


class Refused(Observation, frozen=True):
    """`error` or `rate_limited` for the message of `id`: it had no effect."""

    id: str
    code: str


class State(Observation, frozen=True):
    """`room_state`: later events start from (`epoch`, `seq`), or, with `recovered`, missed ones follow up to it."""

    epoch: int
    seq: int
    recovered: bool
    members: list[str]
    resumed_from: tuple[int, int] | None = None
    """What the client asked to resume from, where it did."""


class Received(Observation, frozen=True):
    """A reliable event. `actor` is the person who caused it; `text` of chat, of a direct message, of a note."""

    name: str
    epoch: int
    seq: int
    actor: str
    text: str
    replay: bool
    revision: int = 0
    """Of a note."""


class Moved(Observation, frozen=True):
    """A movement of somebody: `number` is the mover's own count within one join, `step` grows over the whole run.

    `join` counts the mover's joins, where the mover tells it (in a coordinate); 0 stands for one join all along.
    """

    actor: str
    number: int
    step: int
    join: int = 0


class Resynced(Observation, frozen=True):
    """`resync`: what was known no longer holds; a `State` follows."""

    reason: str


AnyObservation = Opened | Closed | Sent | Acked | Refused | State | Received | Moved | Resynced

_encoder: Final = json.Encoder()
_decoder: Final = json.Decoder(AnyObservation)


def write_log(path: Path, observations: list[AnyObservation]) -> None:
    """Write a connection's observations, one JSON object to a line."""
    path.write_bytes(b"".join(_encoder.encode(each) + b"\n" for each in observations))


def read_log(path: Path) -> list[AnyObservation]:
    """Read them."""
    return [_decoder.decode(line) for line in path.read_bytes().splitlines()]
