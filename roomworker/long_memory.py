"""What rooms need of the durable store when Redis does not have it: after a loss of its data, or after a long rest.

A turn waits for it, so a database that is slow or away must not hold the rooms up: a look takes at most
`LOOK_TIMEOUT_MS`, and after a failure none is tried for `REST_MS`. A room that could not be seeded is
asked for again with its next command.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Final

from structlog.typing import FilteringBoundLogger

from common.bus import Person, WorkerBus
from common.clock import Clock
from common.durable import DurableStore, Thread
from common.errors import BusUnavailable, SchemaMismatch, StoreUnavailable
from common.ids import BOARD_KIND, INBOX_KIND, THREAD_KIND, RoomId, UserId, kind_of, thread_pair
from common.people import fill_people
from roomworker.metrics import WorkerMetrics
from roomworker.rules import RoomSeed

LOOK_TIMEOUT_MS: Final = 300
REST_MS: Final = 2_000
BOARD_NOTES_MAX: Final = 5_000


class LongMemory:
    """A worker's looks into the durable store."""

    def __init__(
        self,
        bus: WorkerBus,
        store: DurableStore | None,
        clock: Clock,
        metrics: WorkerMetrics,
        log: FilteringBoundLogger,
    ) -> None:
        self._bus = bus
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._log = log
        self._rest_until_ms = 0.0

    async def seeds(self, wanted: Mapping[RoomId, tuple[UserId, ...]]) -> dict[RoomId, RoomSeed]:
        """Return what the store has of these rooms; nothing of those that it did not answer for."""
        store = self._store
        if store is None or not wanted or self._is_resting():
            return {}
        found: dict[RoomId, RoomSeed] = {}

        async def look(room_id: RoomId, persons: tuple[UserId, ...]) -> None:
            seed = await _seed(store, room_id, persons, self._clock.now_ms())
            if seed is not None:
                found[room_id] = seed

        await self._try(asyncio.gather(*(look(room_id, persons) for room_id, persons in wanted.items())))
        return found

    async def fill(self, people: dict[UserId, Person]) -> dict[UserId, Person]:
        """Return these people, with what the store has of them where Redis did not have it, and enter it there."""
        store = self._store
        missing = [user_id for user_id, person in people.items() if not person.filled]
        if store is None or not missing or self._is_resting():
            return people

        async def look() -> None:
            await fill_people(self._bus, store, missing, self._clock.now_ms())
            people.update(await self._bus.people(missing))

        await self._try(look())
        return people

    async def _try(self, look: Awaitable[object]) -> None:
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_MS / 1000.0):
                await look
        except Exception as error:
            # Operational or a bug: rooms that wait for an answer that cannot come would be worse.
            if not isinstance(error, StoreUnavailable | SchemaMismatch | BusUnavailable | TimeoutError):
                self._log.error("database refuses to tell", exc_info=error)
            self._rest_until_ms = self._clock.monotonic_ms() + REST_MS
            self._metrics.store_misses.inc()
            self._log.warning("rooms go on without the database", error=str(error) or "it did not answer in time")

    def _is_resting(self) -> bool:
        return self._clock.monotonic_ms() < self._rest_until_ms


async def _seed(store: DurableStore, room_id: RoomId, persons: tuple[UserId, ...], now_ms: int) -> RoomSeed | None:
    restrictions = await store.restrictions(room_id, now_ms)
    kind = kind_of(room_id)
    if kind == THREAD_KIND:
        thread = await _thread(store, room_id, persons)
        return None if thread is None else RoomSeed(restrictions, thread)
    if kind == INBOX_KIND:
        # Without knowing whose it is there is nothing to show yet.
        return RoomSeed(restrictions, await store.inbox(persons[0]), persons[0]) if persons else None
    if kind == BOARD_KIND:
        return RoomSeed(restrictions, await store.board(room_id, BOARD_NOTES_MAX))
    return RoomSeed(restrictions)


async def _thread(store: DurableStore, room_id: RoomId, persons: tuple[UserId, ...]) -> Thread | None:
    pair = thread_pair(room_id) or (persons if len(persons) == 2 else await store.thread_members(room_id))
    return await store.thread(room_id, *pair) if len(pair) == 2 else None
