"""The seam to the durable store: what must outlive Redis. The comments here are the specification.

Two versions keep it: `common.durable_memory` (complete, for tests and simulation) and
`common.durable_postgres`. tests/contract runs one suite on both.

What holds for every call: it may raise `StoreUnavailable`, after which the call may or may not have taken
effect, and repeating it is safe. Cancelling a call is the same. Any number of callers may run at once.
`SchemaMismatch` says that the database is of another release: the process should end.
"""

import re
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple, Protocol

from msgspec import Struct

from common.ids import Epoch, RoomId, Seq, UserId

PAGE_MESSAGES_MAX: Final = 200
"""Messages of one page; the frames of so many still fit into one answer of a few hundred KiB."""

_NOT_STORABLE: Final = re.compile("[\x00\ud800-\udfff]")


class MessagePlace(NamedTuple):
    """Where a message stands in its room: places order as tuples do. Epochs order since a later one is greater."""

    epoch: Epoch
    seq: Seq


class ChatMessage(Struct, frozen=True, array_like=True):
    """A chat message as it was sequenced; identified by (`room_id`, `epoch`, `seq`), and by `message_id` as well.

    `reply_to` is the `message_id` that it answers. `at_ms` is the worker's time when it was sequenced.
    """

    room_id: RoomId
    epoch: Epoch
    seq: Seq
    message_id: str
    author_id: UserId
    author_name: str
    text: str
    at_ms: int
    reply_to: str | None = None


class Page(Struct, frozen=True):
    """A piece of a room's history, oldest first, and whether there is more on each side of it."""

    messages: list[ChatMessage]
    more_before: bool
    more_after: bool


class DurableStore(Protocol):
    """Messages, so far."""

    async def append_messages(self, messages: Sequence[ChatMessage]) -> None:
        """Store messages, all or none.

        Those that are stored already (same room, epoch and seq, or same `message_id`) change nothing. Of two
        such within `messages`, the one that stands first by room and place is stored.

        What PostgreSQL cannot hold in a text, NUL and lone surrogates, is stored as U+FFFD (see `storable`). The
        edge refuses it, so it should not occur; but a message that can never be stored would hold up
        all that wait behind it.
        """
        ...

    async def page(
        self,
        room_id: RoomId,
        *,
        before: MessagePlace | None = None,
        after: MessagePlace | None = None,
        limit: int,
        hidden_authors: Collection[UserId] = (),
    ) -> Page:
        """Return up to `limit` (1 to 200) messages of a room, oldest first.

        With `before`, the newest that stand before it; with `after`, the oldest that stand after it; with
        neither, the newest of all; with both, the oldest between them. Messages of `hidden_authors` are left
        out and do not count. `more_before` and `more_after` tell whether others (visible ones) stand on that
        side of the page; of an empty page both are about the asked place: whether something stands before
        `after`, and after `before`, these places themselves not counted.
        """
        ...

    async def ping_ms(self) -> float:
        """Return how long an empty round trip took."""
        ...

    async def close(self) -> None:
        """Close the connections. Nothing may be called after it."""
        ...


def storable(text: str) -> str:
    """Return a text as every store can hold it: U+FFFD in place of NUL and of lone surrogates."""
    return _NOT_STORABLE.sub("\ufffd", text)
