"""How one kind of server is spoken to: the seam between the generator and the servers that it compares.

A dialect is pure but for `enter`: it makes bytes and reads bytes. Sockets, times, counting and judging are the
generator's, so every server is measured by the same means. One dialect object serves all the members of a generator;
what belongs to one member stands in `Link.state`.

**What has to travel.** A server must carry back to every member of the room, the sender among them and unchanged: who
sent an update (`Link.user_id`), its number (`seq`, from 1, without holes) and its intended time (`intended_us`). They
may stand in any field and form; `Dialect.read` finds them again. The rest of an update should be as large as that of
Roomring's `avatar_transform`, so that every server moves the same bytes.

**Open loop.** The generator calls what `transforms` returned at the planned times, whatever the server does.

**Receiving.** The generator reads raw bytes from the socket, however they are cut. The stream is a row of *units*:
with `Units.MESSAGES` each WebSocket message is one; with `Units.STREAM` the contents of all messages together are one
stream of bytes that the dialect cuts (a text protocol, say, of which several messages come in one frame).
A message must come in one frame, and without compression (the generator does not offer it).

Bytes that another member of the same room received before are only compared, not read again; so `read` must depend on
nothing but the unit. It pays to let a server send equal bytes to all the members (one subscription number, say).
Units that are no updates (answers, pings, states) are the member's own: they are given to `control` each time.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from importlib import import_module
from typing import Any, NamedTuple, Protocol

import aiohttp


class JoinError(Exception):
    """A member could not come in, so the run cannot begin. The text says who, where and why."""


def first_of(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return one failure of a group: where many could not come in, all failed for the same reason as a rule."""
    error: BaseException = failures
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class Update(NamedTuple):
    """One transform as a server sent it."""

    sender: str
    """`Link.user_id` of who sent it."""
    seq: int
    intended_us: int
    """0 to `plan.WRAP_US` - 1, as it was given to the function that `Dialect.transforms` returned."""


class Units(Enum):
    """What the generator cuts the received bytes into."""

    MESSAGES = "messages"
    """Each WebSocket message is one unit."""
    STREAM = "stream"
    """The contents of the WebSocket messages, joined, are cut by `Dialect.unit_end`."""


@dataclass(frozen=True)
class Chat:
    """A reliable message that is to be acknowledged, ready to be sent."""

    message_id: str
    """What `Link.acknowledged` or `Link.refused` will name."""
    frame: bytes


class Link(Protocol):
    """One member and its connection, as a dialect needs it. Made and owned by the generator."""

    state: Any
    """The dialect's own, None at first."""
    heartbeat_s: float
    """How often `Dialect.heartbeat` is sent; 15 at first. A dialect may set it in `enter` or `control`."""

    @property
    def number(self) -> int:
        """Place of the member in the whole run, from 0."""
        ...

    @property
    def user_id(self) -> str:
        """Unique in the run; letters, digits and `-`."""
        ...

    @property
    def room_id(self) -> str:
        """Of the room that it is to join; letters, digits and `-`."""
        ...

    @property
    def now_us(self) -> int:
        """Time since the start of the run; of no meaning before it."""
        ...

    async def open(self, ws_url: str, headers: Mapping[str, str] | None = None) -> None:
        """Open a WebSocket to a `ws://` or `wss://` URL. For `enter`, once.

        Raises:
            JoinError: the server did not take it within ten seconds.
        """
        ...

    async def receive(self) -> bytes:
        """Return the next unit that is no update. For `enter`, which says by that what it waits for.

        What `enter` has not received when it returns goes to `control`, in order.

        Raises:
            JoinError: nothing came within ten seconds, or the socket closed.
        """
        ...

    def send(self, frame: bytes) -> None:
        """Write bytes to the socket as they are: see `loadtest/frames.py` for masked frames."""
        ...

    # --- what `control` learned ---------------------------------------------------------------------------------

    def rate_limited(self, event: str, *, is_transform: bool) -> None:
        """The server said that it dropped what was sent, of this kind."""
        ...

    def acknowledged(self, message_id: str, shown_id: str, seq: int) -> None:
        """A chat has a place in the reliable order.

        Args:
            message_id: as in `Chat`.
            shown_id: what receivers see as the id of the message.
            seq: its place.
        """
        ...

    def refused(self, message_id: str, code: str) -> None:
        """The server answered with an error; `message_id` is empty where it names no message."""
        ...

    def order_starts(self, epoch: int, seq: int) -> None:
        """The next reliable event is `seq` + 1 of `epoch`."""
        ...

    def reliable(self, epoch: int, seq: int, what: str) -> None:
        """A reliable event came that is no chat; `what` describes it, equal for all receivers."""
        ...

    def chatted(self, epoch: int, seq: int, shown_id: str, intended_us: int | None) -> None:
        """A chat came; `intended_us` as it was given to `Dialect.chat`, None where it carries none."""
        ...

    def resynced(self) -> None:
        """The server told that it lost the thread, and begins anew."""
        ...

    def bad_unit(self) -> None:
        """What came is nothing that the server should send."""
        ...


class Dialect(Protocol):
    """One kind of server."""

    name: str
    """Name of its module in `loadtest/dialects/`."""
    units: Units
    has_one_order: bool
    """Whether members on different nodes of the server receive a room's updates in one order, byte for byte.
    False costs only time; the members of one URL are compared with each other then."""
    has_chat: bool
    """Whether `chat` may be called: the server has a reliable order and acknowledges."""

    async def enter(self, http: aiohttp.ClientSession, base_url: str, link: Link) -> None:
        """Bring a member into its room: token or matchmaking by HTTP, `link.open`, handshake and join.

        When it returns, the member receives what others send, and may send.

        Raises:
            JoinError: it could not.
        """
        ...

    def transforms(self, link: Link) -> Callable[[int, int], bytes]:
        """Return a function that makes the ready frame of an update from `seq` and `intended_us` (below
        `plan.WRAP_US`).

        It is called once for each member, after `enter`; what it returns is called for every update that is sent.
        """
        ...

    def read(self, unit: bytes) -> Sequence[Update] | None:
        """Return the updates of a unit (payload of a message, or what `unit_end` cut), in their order.

        Returns: None where it is no update but for `control`. An empty sequence is ignored.

        Raises:
            ValueError: the unit is nothing that the server should send. It is counted as a bad frame.
        """
        ...

    def control(self, link: Link, unit: bytes) -> None:
        """Take a unit that is no update: answer pings, tell `link` what was learned.

        Raises:
            ValueError: as in `read`.
        """
        ...

    def unit_end(self, stream: bytes, start: int) -> int:
        """Return where the unit that begins at `start` ends, or -1 where it is not all there. For `Units.STREAM`.

        Raises:
            ValueError: no unit begins so. The connection is closed.
        """
        ...

    def heartbeat(self, link: Link) -> bytes:
        """Return the frame of a sign of life; empty where the server needs none."""
        ...

    def chat(self, link: Link, number: int, intended_us: int) -> Chat:
        """Return the reliable message `number` of the room, counted from 0. Only where `has_chat`."""
        ...

    def leave(self, link: Link) -> bytes:
        """Return what is to be sent before the socket is closed; empty where there is nothing."""
        ...


class PlainDialect:
    """For dialects to start from: each message is a unit, the server asks for signs of life, and nothing is said."""

    units = Units.MESSAGES
    has_chat = False

    def unit_end(self, _stream: bytes, _start: int) -> int:
        """Is not asked: each message is a unit."""
        raise NotImplementedError

    def heartbeat(self, _link: Link) -> bytes:
        """Return nothing: the server asks for signs of life."""
        return b""

    def chat(self, _link: Link, _number: int, _intended_us: int) -> Chat:
        """Is not asked: nothing is acknowledged."""
        raise NotImplementedError

    def leave(self, _link: Link) -> bytes:
        """Return nothing: the end of the socket is enough."""
        return b""


def load_dialect(name: str) -> Dialect:
    """Make the dialect of a module in `loadtest/dialects/`: its `make_dialect()`. Also called in generator processes.

    Raises:
        ModuleNotFoundError: there is none of this name.
    """
    dialect: Dialect = import_module(f"loadtest.dialects.{name}").make_dialect()
    return dialect
