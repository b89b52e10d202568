"""Moves what waits in the relays of one partition's shards to the inputs of another partition.

What another owner moved before, or this one before a lost reply, is known to who receives it (common/relay.py).
"""

import asyncio
from collections.abc import Mapping
from typing import Final

from msgspec import DecodeError

from common.bus import WorkerBus
from common.clock import Clock
from common.dead_letters import DeadLetter, dead_entry
from common.ids import LeaseToken, Partition, Shard
from common.relay import batch_of
from roomworker.engine import Relayed

ENTRIES_AT_ONCE: Final = 100
"""From each shard."""

BATCHES_AT_ONCE: Final = 200
"""In one script, which Redis answers nobody beside. A batch of one letter has some 300 bytes, the largest some KB."""


class Relay:
    """The way from one partition to another. One caller."""

    def __init__(self, bus: WorkerBus, clock: Clock, source: Partition, to: Partition) -> None:
        self.source, self.to = source, to
        self.news = asyncio.Event()
        """Set it when there may be something to move."""
        self._bus = bus
        self._clock = clock
        self._moved: dict[tuple[Shard, LeaseToken], int] = {}

    async def move(self, tokens: Mapping[Shard, LeaseToken]) -> list[Relayed]:
        """Move some of what waits in these shards; empty where nothing does.

        Raises:
            BusUnavailable: some of it may have been moved; call again.
        """
        self._moved = {owned: upto for owned, upto in self._moved.items() if tokens.get(owned[0]) == owned[1]}
        after = {shard: self._moved.get((shard, token), 0) for shard, token in tokens.items()}
        entries = await self._bus.read_relays(self.source, self.to, after, ENTRIES_AT_ONCE)
        batches: list[tuple[Shard, bytes]] = []
        dead: dict[Shard, list[DeadLetter]] = {}
        for entry in entries:
            try:
                batches.append(batch_of(entry.shard, entry.position, entry.data))
            except DecodeError as error:
                letter = dead_entry(entry.data, self._clock.now_ms(), error, "RelayEntry")
                dead.setdefault(entry.shard, []).append(letter)
        for start in range(0, len(batches), BATCHES_AT_ONCE):
            await self._bus.append_relayed(self.to, batches[start : start + BATCHES_AT_ONCE])
        counts: dict[Shard, int] = {}
        for entry in entries:
            counts[entry.shard] = counts.get(entry.shard, 0) + 1
            self._moved[entry.shard, tokens[entry.shard]] = entry.position
        return [
            Relayed(shard, tokens[shard], self.to, self._moved[shard, tokens[shard]], count, tuple(dead.get(shard, ())))
            for shard, count in counts.items()
        ]
