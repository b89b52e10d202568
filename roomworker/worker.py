"""The shell of a room worker: reads batches, lets the engine decide, commits, and keeps its leases.

For each partition there is one loop that reads, runs and commits, and one lock around a turn, so that a
shard is given away only between commits. One loop more keeps the worker's place in the registry, renews the
leases, and takes and gives shards. A worker that is told to stop goes on working while it hands its shards over.

The only place where operational errors of the store end is here: a call that Redis did not answer is
repeated until it is answered or the worker stops.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, ParamSpec, TypeVar

from msgspec import DecodeError, json

from common.bus import Acquired, ClusterShape, Held, InputEntries, Person, WorkerBus
from common.clock import Clock
from common.dead_letters import DeadLetter, dead_outbox_entry, dead_record
from common.durable import DurableStore, Record
from common.errors import BusUnavailable, RecordRefused, SchemaMismatch, StoreUnavailable
from common.ids import EdgeId, LeaseToken, Partition, RoomId, Shard, UserId, WorkerId
from common.log import get_logger
from common.outbox import OutboxEntry, decode_entry
from common.ring import partition_of_shard
from common.settings import WorkerSettings
from common.word_filter import NO_FILTER, WordFilter
from roomworker.engine import Engine, Kept, Plan, Relayed, RoomPlan, ShardTurn, Task
from roomworker.gather import Gather, load_of
from roomworker.long_memory import LongMemory
from roomworker.membership import Membership
from roomworker.metrics import WorkerMetrics
from roomworker.ownership import Asking, plan_leaving, plan_ownership
from roomworker.relay import Relay

CONTROL_INTERVAL_MS: Final = 100
"""How often the registry is read. A dead worker's shards are taken at most so much after its lease ran out."""

HAND_OFF_SHARDS_MAX: Final = 4
"""Shards that are on the way to a worker at a time. Each stands still until all of them are loaded."""

SETTLE_MS: Final = 300
SETTLE_MS_MAX: Final = 1_500
"""How long a new worker waits for its share, so that several that start together move each shard once."""

LEAVE_MS_MAX: Final = 3_000
"""How long a worker that was told to stop hands over; what nobody asked for by then it lets go. Below the time that
supervisors give (deploy/systemd, deploy/devcluster.py)."""

READ_BLOCK_MS: Final = 1_000
IDLE_ROOM_MS: Final = 60_000
"""How long a room without members stays in memory."""

TIDY_INTERVAL_MS: Final = 1_000
"""Looking at every room costs; gauges and idle rooms can wait so long."""

OUTBOX_ENTRIES_AT_ONCE: Final = 500
"""From each shard."""

APPEND_RECORDS_AT_ONCE: Final = 1_000
"""In one call of the store, from all shards. After an outage every shard has a backlog, and a call that takes
longer than its deadline would be repeated for ever: so many of the longest messages, 8 MB, took 0.15 s."""

STORE_TRIES_MAX: Final = 3
"""How often a record is given alone to a store that refuses it, before it is set aside."""

OUTBOX_LOOK_MS: Final = 1_000
"""How often to look without news, for entries that were left by another owner."""

LOAD_ROOMS_AT_ONCE: Final = 256
RETRY_MS: Final = (20, 50, 100, 200, 500, 1_000)

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class Worker:
    """One room worker. Call `run` once; `stop` from anywhere in the same loop ends it in order."""

    def __init__(
        self,
        worker_id: WorkerId,
        settings: WorkerSettings,
        bus: WorkerBus,
        clock: Clock,
        metrics: WorkerMetrics,
        store: DurableStore | None = None,
        word_filter: WordFilter = NO_FILTER,
    ) -> None:
        """Prepare.

        Args:
            store: where messages are kept for good; None where the cluster has no database.
        """
        self.worker_id = worker_id
        self.metrics = metrics
        self._settings = settings
        self._bus = bus
        self._store = store
        self._clock = clock
        self._log = get_logger("roomworker").bind(worker=worker_id)
        self._engine = Engine(settings, self._failed, word_filter)
        self._memory = LongMemory(bus, store, clock, metrics, self._log)
        self._partitions = [Partition(n) for n in range(settings.partitions)]
        self._locks = {partition: asyncio.Lock() for partition in self._partitions}
        self._gathers = {partition: Gather(settings.gather_ms_max) for partition in self._partitions}
        self._gone_edges: dict[Partition, dict[EdgeId, dict[Shard, int]]] = {p: {} for p in self._partitions}
        self._kept: dict[Partition, list[Kept]] = {partition: [] for partition in self._partitions}
        self._relays = [
            Relay(bus, clock, source, to) for source in self._partitions for to in self._partitions if to != source
        ]
        self._relayed: dict[Partition, list[Relayed]] = {partition: [] for partition in self._partitions}
        self._outbox_news = {partition: asyncio.Event() for partition in self._partitions}
        self._store_ahead_ms = dict.fromkeys(self._partitions, 0.0)
        """How far Redis's clock is ahead of this process's monotonic one."""
        self._wanted: dict[Shard, WorkerId] = {}
        self._dropped: set[Shard] = set()
        """Leased, but out of memory: to be taken again before anything else."""
        self._workers: Collection[WorkerId] = ()
        self._workers_read_at_ms = float("-inf")
        self._membership = Membership(
            worker_id,
            settle_ms=SETTLE_MS,
            settle_ms_max=SETTLE_MS_MAX,
            # By then the ones that could not announce themselves for as long may be missing.
            silence_ms=max(settings.node_ttl_ms - 2 * settings.node_renew_ms, settings.node_renew_ms),
            grace_ms=settings.node_renew_ms,
        )
        self._asking = Asking(HAND_OFF_SHARDS_MAX)
        self._taker_id = WorkerId(f"{worker_id}-takes")
        """Reads the first input of shards just acquired, beside the loop that reads the others."""
        self._look = asyncio.Event()
        self._lease_news = False
        self._renew_at_ms = 0.0
        self._leaving = self._withdrawn = False
        self._stopping = asyncio.Event()
        self._store_ok = False

    async def run(self) -> None:
        """Work until `stop`; then hand the shards over to the others, and end.

        Raises:
            ClusterMismatch: this process's shape is not the cluster's.
        """
        loops = [asyncio.create_task(self._control(), name="control")]
        loops += [asyncio.create_task(self._work(p), name=f"work-{p}") for p in self._partitions]
        loops += [asyncio.create_task(self._pass_on(relay), name="relay") for relay in self._relays]
        if self._store is not None:
            loops += [asyncio.create_task(self._keep(p, self._store), name=f"keep-{p}") for p in self._partitions]
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            done, _ = await asyncio.wait([*loops, stopped], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                await task
        finally:
            self._end()
            stopped.cancel()
            for relay in self._relays:
                relay.news.set()
            for partition in self._partitions:
                with contextlib.suppress(BusUnavailable):
                    await self._bus.wake(partition, self.worker_id)
            await asyncio.wait(loops, timeout=2.0)
            for task in loops:
                task.cancel()
            await asyncio.gather(*loops, return_exceptions=True)
            await self._leave()

    def stop(self) -> None:
        """Ask `run` to end: hand over first, at most for `LEAVE_MS_MAX`. Asking again changes nothing."""
        if not self._leaving:
            self._leaving = True
            asyncio.get_running_loop().call_later(LEAVE_MS_MAX / 1000.0, self._end)
            self._look.set()

    def not_ready(self) -> str | None:
        """Say why this worker is of no use now; None when it is ready."""
        if self._leaving:
            return "it is stopping"
        return None if self._store_ok else "Redis does not answer"

    # --- the working loop ---------------------------------------------------------------------------------

    async def _work(self, partition: Partition) -> None:
        gather = self._gathers[partition]
        rested = asyncio.Event()
        # Edges send just before it reads again, so it reads neither sooner nor much later.
        with contextlib.closing(self._clock.timer(rested.set)) as timer:
            while not self._stopping.is_set():
                entries = await self._read(partition)
                if entries.lease_news:
                    self._lease_news = True
                    self._look.set()
                if entries:
                    gather.begin(self._clock.monotonic_ms())
                async with self._locks[partition]:
                    load = await self._turn(partition, entries)
                now_ms = self._clock.monotonic_ms()
                gather.observe(load, now_ms)
                if gather.rest_ms(now_ms):
                    rested.clear()
                    timer.set(gather.read_again_ms)
                    await rested.wait()

    async def _read(self, partition: Partition) -> InputEntries:
        block_ms = READ_BLOCK_MS
        due_ms = self._engine.next_due_ms(partition)
        if due_ms is not None:
            block_ms = max(0, min(block_ms, due_ms - self._clock.now_ms()))
        if self._gone_edges[partition] or self._kept[partition]:
            block_ms = 0
        try:
            return await self._bus.read_inputs(
                partition,
                self.worker_id,
                self._engine.cursors(partition),
                self._settings.batch_entries_max,
                max(1, block_ms),
            )
        except BusUnavailable as error:
            self._trouble("read_inputs", error)
            await self._pause(100)
            return InputEntries()

    async def _turn(self, partition: Partition, entries: InputEntries) -> float:
        """One batch, from plan to commit. Returns the load that it was, see `load_of`."""
        began_ms = self._clock.monotonic_ms()
        gone, self._gone_edges[partition] = self._gone_edges[partition], {}
        kept, self._kept[partition] = self._kept[partition], []
        relayed, self._relayed[partition] = self._relayed[partition], []
        plan = self._engine.plan(partition, entries, self._clock.now_ms(), gone, kept, relayed)
        if plan.is_empty():
            return 0.0
        await self._load(partition, plan.rooms_to_load)
        people = await self._fetch_needs(partition, plan.rooms.values())
        now_ms = self._clock.now_ms()
        turns, broken = self._engine.run(plan, now_ms, people)
        while broken:
            await self._load(partition, [room_plan.room_id for room_plan in broken])
            await self._fetch_needs(partition, broken)
            broken = self._engine.rerun(broken, turns, now_ms, people)
        turns = [
            turn for turn in turns if not turn.is_empty() or turn.shard in plan.cursors or turn.shard in plan.proofs
        ]
        written = await self._commit(partition, turns, entries.server)
        if any(turn.outbox() for turn in written):
            self._outbox_news[partition].set()
        self._wake_relays(partition, {to for turn in written for to in turn.relays})
        deliveries = sum(_deliveries(turn) for turn in written)
        self._count(plan, written, deliveries, self._clock.monotonic_ms() - began_ms)
        return load_of(deliveries, plan.commands)

    async def _load(self, partition: Partition, room_ids: list[RoomId]) -> None:
        self._add_rooms(partition, await self._stored(partition, room_ids))

    def _add_rooms(self, partition: Partition, stored: Mapping[RoomId, Mapping[str, bytes]]) -> None:
        store_now_ms = int(self._clock.monotonic_ms() + self._store_ahead_ms[partition])
        for room_id, fields in stored.items():
            self._engine.add_room(room_id, fields, self._clock.now_ms(), store_now_ms)

    async def _stored(self, partition: Partition, room_ids: list[RoomId]) -> dict[RoomId, dict[str, bytes]]:
        found: dict[RoomId, dict[str, bytes]] = {}
        for start in range(0, len(room_ids), LOAD_ROOMS_AT_ONCE):
            chunk = room_ids[start : start + LOAD_ROOMS_AT_ONCE]
            stored = await self._insist(self._bus.load_rooms, partition, chunk)
            found.update((room_id, stored.get(room_id, {})) for room_id in chunk)
        return found

    async def _fetch_needs(self, partition: Partition, rooms: Iterable[RoomPlan]) -> dict[UserId, Person]:
        needs = self._engine.needs(rooms)
        for room_id, epoch, after in needs.history:
            stored = await self._insist(self._bus.load_history, partition, room_id, epoch, after)
            room = self._engine.room(room_id)
            if room is not None:
                try:
                    room.add_history(after, stored)
                except DecodeError as error:
                    # The newer ones were taken; the room's past begins after the one that cannot be read.
                    self.metrics.unreadable_events.inc()
                    self._log.error("unreadable history passed over", room=room_id, error=str(error))
        for room_id, seed in (await self._memory.seeds(needs.seeds)).items():
            room = self._engine.room(room_id)
            if room is not None:
                room.seed(seed, self._clock.now_ms())
        if not needs.people:
            return {}
        people = await self._insist(self._bus.people, needs.people)
        return await self._memory.fill(people)

    async def _commit(self, partition: Partition, turns: list[ShardTurn], server: str) -> list[ShardTurn]:
        """Write the turns, without those of shards that turn out not to be this worker's. Returns what was written.

        Edges are told when the next batch will be read.
        """
        gather = self._gathers[partition]
        while turns:
            told_at_ms = self._clock.monotonic_ms()
            commit = self._engine.commit_of(
                partition, turns, self.worker_id, self._clock.now_ms(), told_at_ms, gather.rest_ms(told_at_ms)
            )
            commit.server = server
            answer = await self._insist(self._bus.commit, partition, commit)
            if answer.done:
                self._engine.settle(turns)
                return turns
            refused = {"fenced": answer.fenced, "stale": answer.stale, "unread": answer.unread}
            assert any(refused.values())
            for reason, shards in refused.items():
                self.metrics.refused_commits.labels(reason).inc(len(shards))
                for shard in shards:
                    self._engine.drop_shard(shard)
            # These stay leased, and nobody else can have them soon.
            self._dropped.update(answer.stale, answer.unread)
            self._look.set()
            self._log.warning("commit refused", **refused)
            turns = [turn for turn in turns if self._engine.owns(turn.shard)]
        return []

    # --- letters to other partitions ----------------------------------------------------------------------

    async def _pass_on(self, relay: Relay) -> None:
        """Move what waits in a relay, until the worker stops; what then still waits is its next owner's.

        The trim comes with a later commit, at the latest after the next read: a commit of its own would cost more
        than to move something again after a takeover.
        """
        while True:
            await relay.news.wait()
            if self._stopping.is_set():
                return
            relay.news.clear()
            try:
                relayed = await relay.move(self._engine.tokens(relay.source))
            except BusUnavailable as error:
                self._trouble("relay", error)
                await self._pause(100)
                relay.news.set()
                continue
            if any(moved.dead for moved in relayed):
                self._log.error("unreadable letter set aside")
            if relayed:
                self._relayed[relay.source] += relayed
                # There may be more.
                relay.news.set()

    def _wake_relays(self, source: Partition, to: Collection[Partition]) -> None:
        for relay in self._relays:
            if relay.source == source and relay.to in to:
                relay.news.set()

    # --- the durable store --------------------------------------------------------------------------------

    async def _keep(self, partition: Partition, store: DurableStore) -> None:
        """Move the outboxes of the owned shards into the durable store, and have their senders told.

        What another owner moved before, or this one before a lost reply, changes nothing there.
        """
        seen: dict[tuple[Shard, LeaseToken], int] = {}
        news = self._outbox_news[partition]
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(OUTBOX_LOOK_MS / 1000.0):
                    await news.wait()
            news.clear()
            tokens = self._engine.tokens(partition)
            seen = {owned: position for owned, position in seen.items() if tokens.get(owned[0]) == owned[1]}
            after = {shard: seen.get((shard, token), 0) for shard, token in tokens.items()}
            try:
                entries = await self._bus.read_outbox(partition, after, OUTBOX_ENTRIES_AT_ONCE)
            except BusUnavailable as error:
                self._trouble("read_outbox", error)
                await self._pause(100)
                continue
            if not entries:
                continue
            waiting: dict[Shard, list[OutboxEntry]] = {}
            positions: dict[Shard, int] = {}
            dead: dict[Shard, list[DeadLetter]] = {}
            for entry in entries:
                positions[entry.shard] = entry.position
                try:
                    waiting.setdefault(entry.shard, []).append(decode_entry(entry.data))
                except DecodeError as error:
                    self._log.error("unreadable record set aside")
                    letter = dead_outbox_entry(entry.data, self._clock.now_ms(), error)
                    dead.setdefault(entry.shard, []).append(letter)
            refused = await self._append(store, waiting)
            if refused is None:
                return
            for shard, position in positions.items():
                seen[shard, tokens[shard]] = position
                stored = [kept for kept in waiting[shard] if id(kept) not in refused]
                letters = dead.get(shard, [])
                for kept in waiting[shard]:
                    if id(kept) in refused:
                        letters.append(dead_record(kept, self._clock.now_ms(), refused[id(kept)]))
                self._kept[partition].append(Kept(shard, tokens[shard], position, stored, letters))
                self.metrics.kept.inc(len(stored))
            # There may be more, and the next turn has senders to tell.
            news.set()
            with contextlib.suppress(BusUnavailable):
                await self._bus.wake(partition, self.worker_id)

    async def _append(
        self, store: DurableStore, waiting: Mapping[Shard, list[OutboxEntry]]
    ) -> dict[int, RecordRefused] | None:
        """Append until the store has all that it takes.

        Returns: by the `id` of its entry, why the store refuses a record; None when the worker stops before.
        """
        refused: dict[int, RecordRefused] = {}
        shards = {id(entry): shard for shard, of_shard in waiting.items() for entry in of_shard}
        entries = [entry for of_shard in waiting.values() for entry in of_shard]
        # The last one is next. A part that is refused comes back as its two halves.
        parts = [
            entries[start : start + APPEND_RECORDS_AT_ONCE]
            for start in reversed(range(0, len(entries), APPEND_RECORDS_AT_ONCE))
        ]
        tries = 0
        while parts:
            part = parts[-1]
            try:
                if not await self._append_part(store, [entry.record for entry in part]):
                    return None
            except RecordRefused as error:
                if len(part) > 1:
                    middle = len(part) // 2
                    parts[-1:] = [part[middle:], part[:middle]]
                    continue
                tries += 1
                if tries < STORE_TRIES_MAX:
                    continue
                (entry,) = part
                # What the database says of a value may quote it, and what people say is not for the log.
                name, reason = type(entry.record).__name__, type(error.__cause__ or error).__name__
                if not await self._may_set_aside(shards[id(entry)], [shards[refused_id] for refused_id in refused]):
                    self._log.error("database refuses records", record=name, error=reason)
                    self.metrics.store_waits.inc()
                    await self._pause(RETRY_MS[-1])
                    if self._stopping.is_set():
                        return None
                    continue
                self._log.error("record set aside", record=name, error=reason)
                refused[id(entry)] = error
            parts.pop()
            tries = 0
        return refused

    async def _may_set_aside(self, shard: Shard, just_refused: Sequence[Shard]) -> bool:
        """Tell whether a shard's dead letters have room for one more record.

        What was acknowledged must not push out what was acknowledged: where that many are refused, it is not the
        records that are wrong, and they wait as they do when the database is away.
        """
        (lying,) = await self._insist(self._bus.dead_letter_counts, [shard])
        on_the_way = sum(len(kept.refused) for of in self._kept.values() for kept in of if kept.shard == shard)
        return lying + on_the_way + just_refused.count(shard) < self._settings.dead_letters_max

    async def _append_part(self, store: DurableStore, records: list[Record]) -> bool:
        """Append until the store has them; False when the worker stops before.

        Raises:
            RecordRefused: the store answered, and will never take one of them.
        """
        attempt = 0
        while True:
            try:
                await store.append(records)
            except RecordRefused:
                raise
            except Exception as error:
                # Operational or a bug: what was accepted stays in the outbox, and the bound of that shows it.
                if isinstance(error, StoreUnavailable | SchemaMismatch):
                    if attempt == 0:
                        self._log.warning("database does not answer", waiting=len(records), error=str(error))
                elif attempt % len(RETRY_MS) == 0:
                    self._log.error("database refuses messages", waiting=len(records), exc_info=error)
                self.metrics.store_waits.inc()
                await self._pause(RETRY_MS[min(attempt, len(RETRY_MS) - 1)])
                attempt += 1
                if self._stopping.is_set():
                    return False
            else:
                if attempt:
                    self._log.info("database answers again", kept=len(records))
                return True

    # --- the control loop ---------------------------------------------------------------------------------

    async def _control(self) -> None:
        info = json.encode({"name": self.worker_id, "internalPort": self._settings.internal_port})
        tidy_at_ms = 0.0
        opened = announced = False
        while not self._stopping.is_set():
            self._look.clear()
            lease_news, self._lease_news = self._lease_news, False
            wait_ms: float = CONTROL_INTERVAL_MS
            try:
                if not opened:
                    await self._bus.open_cluster(self._shape())
                    await self._warm_up()
                    opened = True
                now_ms = self._clock.monotonic_ms()
                if now_ms >= self._renew_at_ms:
                    self._renew_at_ms = now_ms + self._settings.node_renew_ms
                    if not self._leaving:
                        known = await self._bus.announce("worker", self.worker_id, info, self._settings.node_ttl_ms)
                        # A store that forgot this worker may have forgotten the cluster's shape as well.
                        opened = opened and known
                        if announced and not known:
                            self._membership.forgotten(self._clock.monotonic_ms())
                        announced = True
                    await self._renew()
                    await self._find_gone_edges()
                elif lease_news:
                    await self._renew()
                if self._leaving:
                    await self._hand_over()
                else:
                    wait_ms = await self._balance()
                self._store_ok = True
            except BusUnavailable as error:
                self._trouble("control", error)
                self._renew_at_ms = 0.0
            now_ms = self._clock.monotonic_ms()
            if now_ms >= tidy_at_ms:
                tidy_at_ms = now_ms + TIDY_INTERVAL_MS
                self._show_gauges()
                await self._count_dead_letters()
                await self._unload_idle()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_ms / 1000.0):
                    await self._look.wait()

    async def _warm_up(self) -> None:
        """Open the connections that taking shards needs: a room that moves should not wait for them."""
        await asyncio.gather(
            *(self._bus.ping_ms() for _ in range(HAND_OFF_SHARDS_MAX + 1)),
            *(self._bus.read_inputs(partition, self._taker_id, {}, 1, 0) for partition in self._partitions),
        )

    def _end(self) -> None:
        """Let all loops end."""
        self._stopping.set()
        self._look.set()

    async def _count_dead_letters(self) -> None:
        shards = [shard for partition in self._partitions for shard in self._engine.tokens(partition)]
        # The number may wait for the next look.
        with contextlib.suppress(BusUnavailable):
            self.metrics.dead_letters_lying.set(sum(await self._bus.dead_letter_counts(shards)))

    async def _renew(self) -> None:
        failure: BusUnavailable | None = None
        for partition in self._partitions:
            try:
                await self._renew_in(partition)
            except BusUnavailable as error:
                # The leases of the others must not run out with it.
                failure = error
        if failure is not None:
            raise failure

    async def _renew_in(self, partition: Partition) -> None:
        tokens = self._engine.tokens(partition)
        if not tokens:
            return
        answers = await self._bus.renew(partition, self.worker_id, self._settings.node_ttl_ms, tokens)
        heard_ms = self._clock.monotonic_ms()
        await self._lose(partition, [shard for shard, renewed in answers.items() if renewed is None])
        is_in_doubt = False
        for shard, renewed in answers.items():
            if renewed is None or renewed.wanted_by is None:
                self._wanted.pop(shard, None)
            else:
                self._wanted[shard] = renewed.wanted_by
            if renewed is not None:
                self._store_ahead_ms[partition] = renewed.now_ms - heard_ms
                if not renewed.is_proven:
                    self._engine.doubt(shard)
                    is_in_doubt = True
        if is_in_doubt:
            await self._bus.wake(partition, self.worker_id)

    async def _unload_idle(self) -> None:
        for partition in self._partitions:
            # A turn may be loading what it needs; it counts on the rooms that it found in memory.
            async with self._locks[partition]:
                self._engine.unload_idle(partition, self._clock.now_ms(), IDLE_ROOM_MS)

    async def _lose(self, partition: Partition, shards: Collection[Shard]) -> None:
        if not shards:
            return
        async with self._locks[partition]:
            for shard in shards:
                self._engine.drop_shard(shard)
        self._log.warning("shards lost", shards=list(shards))

    async def _find_gone_edges(self) -> None:
        """Edges that rooms know and the registry does not.

        The rooms are asked first: an edge is in the registry before its first command, so one that comes
        between the two steps is not taken for gone. One that the registry had forgotten may come back right after
        it was asked; then its rooms have a later batch of it than the marks say that are noted here.
        """
        known = {edge_id: self._engine.marks_of(edge_id) for edge_id in sorted(self._engine.known_edges())}
        if not known:
            return
        alive = {EdgeId(node.node_id) for node in await self._bus.nodes("edge")}
        gone = {edge_id: marks for edge_id, marks in known.items() if edge_id not in alive}
        # One that closed in order has left nothing behind but its marks, and is not missed.
        for edge_id in gone.keys() & self._engine.attached_edges():
            self._log.warning("edge gone", edge=edge_id)
        for partition in self._partitions:
            self._gone_edges[partition].update(gone)
            if gone:
                await self._bus.wake(partition, self.worker_id)

    async def _balance(self) -> float:
        """Take and give shards. Returns in how many ms to look again."""
        now_ms = self._clock.monotonic_ms()
        # What another worker does with a lease wakes this one more often than the registry changes.
        if now_ms - self._workers_read_at_ms >= CONTROL_INTERVAL_MS / 2:
            seen = {WorkerId(node.node_id) for node in await self._bus.nodes("worker")}
            self._workers_read_at_ms = now_ms
            self._workers = self._membership.observe(seen, now_ms)
            if self.worker_id not in seen:
                self._renew_at_ms = 0.0
        plan = plan_ownership(
            self.worker_id, self._settings.shards, self._workers, self._owned(), self._wanted, HAND_OFF_SHARDS_MAX
        )
        await self._give(plan.release)
        return await self._take([*sorted(self._dropped), *(s for s in plan.acquire if s not in self._dropped)])

    async def _hand_over(self) -> None:
        """Give shards to who asks for them, and end when nothing is left."""
        if not self._withdrawn:
            # Out of the registry first: without this worker in it, the others see that the shards are theirs.
            await self._bus.withdraw("worker", self.worker_id)
            self._withdrawn = True
            self._log.info("handing over", shards=len(self._owned()))
        others = {WorkerId(node.node_id) for node in await self._bus.nodes("worker")} - {self.worker_id}
        # Nobody else can have these before they are taken and given.
        await self._take(sorted(self._dropped))
        await self._give(plan_leaving(others, self._owned(), self._wanted, HAND_OFF_SHARDS_MAX))
        if not (self._owned() or self._dropped):
            self._end()

    def _owned(self) -> set[Shard]:
        return {shard for partition in self._partitions for shard in self._engine.tokens(partition)}

    async def _give(self, shards: Collection[Shard]) -> None:
        for partition in self._partitions:
            giving = [shard for shard in shards if partition_of_shard(shard, self._settings.partitions) == partition]
            if not giving:
                continue
            async with self._locks[partition]:
                if self._engine.hurry(giving, self._clock.now_ms()):
                    await self._turn(partition, InputEntries())
                tokens = {shard: token for shard, token in self._engine.tokens(partition).items() if shard in giving}
                versions = self._engine.versions(partition)
                for shard in giving:
                    self._engine.drop_shard(shard)
                    self._wanted.pop(shard, None)
            # Nobody renews them any more, and until they are free nobody can take them.
            await self._insist(self._bus.release, partition, self.worker_id, tokens, versions)
            self._log.info("shards given", shards=giving)
            self.metrics.shards.set(len(self._owned()))

    async def _take(self, lacking: Sequence[Shard]) -> float:
        """Ask for shards, and take those that are free. Returns in how many ms to look again."""
        wait_ms: float = CONTROL_INTERVAL_MS
        count = 0
        asked = self._asking.begin(lacking)
        while asked:
            answers = await self._acquire(asked)
            held = {shard: answer for shard, answer in answers.items() if isinstance(answer, Held)}
            wait_ms = min([wait_ms, *(answer.remaining_ms + 1.0 for answer in held.values())])
            count += len(answers) - len(held)
            asked = self._asking.heard(held, answers.keys() - held.keys())
            if asked and self._clock.monotonic_ms() >= self._renew_at_ms:
                # A long round must not make it late with renewing; the next look goes on.
                wait_ms = 0.0
                break
        if count:
            self._log.info("shards taken", count=count, owned=len(self._owned()))
        return max(5.0, wait_ms)

    async def _acquire(self, asked: Sequence[Shard]) -> dict[Shard, Acquired | Held]:
        """Ask for shards, and begin to work with those that are this worker's now."""
        partitions: dict[Partition, list[Shard]] = {}
        for shard in asked:
            partitions.setdefault(partition_of_shard(shard, self._settings.partitions), []).append(shard)
        found: dict[Shard, Acquired | Held] = {}
        failure: BaseException | None = None
        # None may go on behind the back of the next look.
        for answers in await asyncio.gather(*(self._enter(*of) for of in partitions.items()), return_exceptions=True):
            if isinstance(answers, BaseException):
                failure = answers
            else:
                found |= answers
        if failure is not None:
            raise failure
        return found

    async def _enter(self, partition: Partition, asked: list[Shard]) -> dict[Shard, Acquired | Held]:
        """Acquire shards of one partition, read what is stored of them, and begin to work with them.

        Their input waits meanwhile; the turns of other shards go on. Read before the lease was held, it could be
        older than the last commit of the owner before.
        """
        answers = await self._bus.acquire(partition, self.worker_id, self._settings.node_ttl_ms, asked)
        taken = {shard: answer for shard, answer in answers.items() if isinstance(answer, Acquired)}
        self._dropped.difference_update(answers.keys() - taken.keys())
        if not taken:
            return answers
        began_ms = self._clock.monotonic_ms()
        self._store_ahead_ms[partition] = next(iter(taken.values())).now_ms - began_ms
        shards = list(taken)
        cursors = {shard: acquired.cursor for shard, acquired in taken.items()}
        outboxes, relays, active, entries = await asyncio.gather(
            self._insist(self._bus.outbox_lengths, partition, shards),
            asyncio.gather(*(self._insist(self._bus.relay_lengths, shard) for shard in shards)),
            asyncio.gather(*(self._insist(self._bus.active_rooms, shard) for shard in shards)),
            # The loop that reads is waiting for other shards.
            self._insist(
                self._bus.read_inputs, partition, self._taker_id, cursors, self._settings.batch_entries_max, 0
            ),
        )
        stored = await self._stored(partition, list(itertools.chain.from_iterable(active)))
        async with self._locks[partition]:
            for shard, outbox_length, relay_lengths in zip(shards, outboxes, relays, strict=True):
                self._engine.add_shard(shard, taken[shard], outbox_length=outbox_length, relay_lengths=relay_lengths)
                self._dropped.discard(shard)
            self._add_rooms(partition, stored)
            # What the loop reads from now on may be of this turn; by then it is taken.
            await asyncio.gather(
                self._insist(self._bus.wake, partition, self.worker_id), self._turn(partition, entries)
            )
        self._outbox_news[partition].set()
        self._wake_relays(partition, self._partitions)
        for _ in shards:
            self.metrics.take_seconds.observe((self._clock.monotonic_ms() - began_ms) / 1000.0)
        return answers

    async def _leave(self) -> None:
        with contextlib.suppress(BusUnavailable, TimeoutError):
            async with asyncio.timeout(2.0):
                # Out of the registry first, so that the others count without this worker when shards get free.
                await self._bus.withdraw("worker", self.worker_id)
                for partition in self._partitions:
                    tokens, versions = self._engine.tokens(partition), self._engine.versions(partition)
                    await self._bus.release(partition, self.worker_id, tokens, versions)
        self._log.info("worker stopped")

    # --- helpers ------------------------------------------------------------------------------------------

    def _shape(self) -> ClusterShape:
        return ClusterShape(self._settings.shards, self._settings.partitions)

    async def _insist(
        self, call: Callable[_Arguments, Awaitable[_Result]], *args: _Arguments.args, **kwargs: _Arguments.kwargs
    ) -> _Result:
        """Repeat a call until Redis answers. Every call of the bus may be repeated."""
        attempt = 0
        while True:
            try:
                return await call(*args, **kwargs)
            except BusUnavailable as error:
                self._trouble(getattr(call, "__name__", "call"), error)
                if self._stopping.is_set() and attempt >= len(RETRY_MS):
                    raise
                await asyncio.sleep(RETRY_MS[min(attempt, len(RETRY_MS) - 1)] / 1000.0)
                attempt += 1

    async def _pause(self, wait_ms: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_ms / 1000.0):
                await self._stopping.wait()

    def _trouble(self, what: str, error: BusUnavailable) -> None:
        if self._store_ok:
            self._log.warning("redis does not answer", call=what, error=str(error))
        self._store_ok = False
        self.metrics.store_errors.inc()

    def _failed(self, room_id: RoomId, task: Task | None, error: Exception, *, gives_up: bool) -> None:
        if task is None:
            self.metrics.failures.inc()
            self._log.error("room cannot be read", room=room_id, exc_info=error)
            return
        command = type(task.work).__name__
        if gives_up:
            self.metrics.failures.inc()
            self._log.error("room failed", room=room_id, command=command, exc_info=error)
        else:
            self._log.warning("room failed, trying again", room=room_id, command=command, error=str(error))

    def _count(self, plan: Plan, written: list[ShardTurn], deliveries: int, took_ms: float) -> None:
        metrics = self.metrics
        metrics.commands.inc(plan.commands)
        metrics.batches.inc()
        metrics.batch_seconds.observe(took_ms / 1000.0)
        metrics.sequenced.inc(sum(len(room.patch.history) for turn in written for room in turn.rooms))
        metrics.dead_letters.inc(sum(len(turn.dead) for turn in written))
        metrics.deliveries.inc(deliveries)
        for turn in written:
            for room in turn.rooms:
                for user_id, event_name in room.rate_notices:
                    metrics.rate_limited.labels(event_name).inc()
                    self._log.info("rate limited", room=room.room_id, user=user_id, message=event_name)
        if plan.repeated_batches:
            metrics.repeated_batches.inc(plan.repeated_batches)
        if plan.bad_entries:
            metrics.bad_entries.inc(plan.bad_entries)
            self._log.error("unreadable input set aside", count=plan.bad_entries)

    def _show_gauges(self) -> None:
        rooms = list(self._engine.rooms())
        self.metrics.relay_waiting.set(self._engine.relay_length())
        self.metrics.rooms.set(len(rooms))
        self.metrics.unreadable_rooms.set(self._engine.unreadable_count())
        self.metrics.members.set(sum(room.member_count for room in rooms))
        self.metrics.shards.set(sum(len(self._engine.tokens(partition)) for partition in self._partitions))


def _deliveries(turn: ShardTurn) -> int:
    """Messages times receivers, roughly: who may not see something is counted."""
    total = 0
    for room in turn.rooms:
        messages = len(room.patch.history) + sum(len(group.messages) for group in room.ephemeral)
        total += messages * sum(room.edges_before.values())
    return total
