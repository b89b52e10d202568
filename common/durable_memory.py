"""The seam to the durable store in memory: complete, for tests and simulation. common/durable.py is the specification.

Nothing is kept beyond the object. `down` makes it unavailable, as a database that is away.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Sequence

from msgspec import structs

from common.durable import PAGE_MESSAGES_MAX, ChatMessage, MessagePlace, Page, storable
from common.errors import StoreUnavailable
from common.ids import RoomId, UserId


class MemoryDurableStore:
    """`DurableStore` in memory."""

    def __init__(self) -> None:
        self.down = False
        self._places: dict[RoomId, list[MessagePlace]] = {}
        self._messages: dict[tuple[RoomId, MessagePlace], ChatMessage] = {}
        self._message_ids: set[str] = set()

    async def append(self, messages: Sequence[ChatMessage]) -> None:
        """See `DurableStore.append`."""
        self._check_up()
        for message in sorted(messages, key=lambda message: (message.room_id, message.epoch, message.seq)):
            stored = _stored(message)
            place = MessagePlace(stored.epoch, stored.seq)
            if (stored.room_id, place) in self._messages or stored.message_id in self._message_ids:
                continue
            insort(self._places.setdefault(stored.room_id, []), place)
            self._messages[stored.room_id, place] = stored
            self._message_ids.add(stored.message_id)

    async def page(
        self,
        room_id: RoomId,
        *,
        before: MessagePlace | None = None,
        after: MessagePlace | None = None,
        limit: int,
        hidden_authors: Collection[UserId] = (),
    ) -> Page:
        """See `DurableStore.page`."""
        assert 1 <= limit <= PAGE_MESSAGES_MAX
        self._check_up()
        room_id = RoomId(storable(room_id))
        hidden = {storable(author) for author in hidden_authors}
        everywhere = self._places.get(room_id, [])
        shown = [place for place in everywhere if self._messages[room_id, place].author_id not in hidden]
        low = 0 if after is None else bisect_right(shown, after)
        high = len(shown) if before is None else bisect_left(shown, before)
        places = shown[low:high] if low < high else []
        places = places[-limit:] if after is None else places[:limit]
        if places:
            more_before, more_after = shown[0] < places[0], shown[-1] > places[-1]
        else:
            more_before = bool(shown) and after is not None and shown[0] < after
            more_after = bool(shown) and before is not None and shown[-1] > before
        return Page([self._messages[room_id, place] for place in places], more_before, more_after)

    async def ping_ms(self) -> float:
        """See `DurableStore.ping_ms`."""
        self._check_up()
        return 0.0

    async def close(self) -> None:
        """See `DurableStore.close`."""

    def _check_up(self) -> None:
        if self.down:
            raise StoreUnavailable("the store in memory is down")


def _stored(message: ChatMessage) -> ChatMessage:
    return structs.replace(
        message,
        room_id=RoomId(storable(message.room_id)),
        message_id=storable(message.message_id),
        author_id=UserId(storable(message.author_id)),
        author_name=storable(message.author_name),
        text=storable(message.text),
        reply_to=None if message.reply_to is None else storable(message.reply_to),
    )
