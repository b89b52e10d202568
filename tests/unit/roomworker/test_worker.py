"""The shell of a worker, on the store in memory and a loop whose time jumps."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from common.bus import ClusterShape, Commit, CommitAnswer
from common.bus_memory import MemoryBus, MemoryStore
from common.commands import AnyCommand, EdgeClosed, InputBatch, encode_batch
from common.dead_letters import decode_dead_letter
from common.deliveries import AnyDelivery, decode_output
from common.durable import ChatMessage, Record
from common.durable_memory import MemoryDurableStore
from common.errors import BusUnavailable, ClusterMismatch, RecordRefused, SchemaMismatch, StoreUnavailable
from common.ids import EdgeId, Partition, RoomId, Shard, WorkerId
from common.ring import shard_of
from common.settings import WorkerSettings
from roomworker.metrics import WorkerMetrics
from roomworker.worker import Worker
from tests.unit.bench import messages_of, names_of
from tests.unit.clock import LoopClock, drive
from tests.unit.stage import ADA, BEN, CY, E1, E2, HALL, START_MS, chat, join, leave, lose, say

P0 = Partition(0)
SHARDS = 8
TTL_MS, RENEW_MS = 1_000, 300
HERE = shard_of(HALL, SHARDS)


class Bus(MemoryBus):
    """A worker's way to the store, which may be cut, and may lose the replies to commits."""

    is_cut = False
    deaf_partition: Partition | None = None
    """Renews no leases there."""
    lose_replies = 0

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if not asyncio.iscoroutinefunction(found) or name.startswith("_"):
            return found

        async def call(*args: Any, **kwargs: Any) -> Any:
            if self.is_cut or (name == "renew" and args[0] == self.deaf_partition):
                await asyncio.sleep(0.01)
                raise BusUnavailable("cut")
            return await found(*args, **kwargs)

        return call

    async def commit(self, partition: Partition, commit: Commit) -> CommitAnswer:
        answer = await super().commit(partition, commit)
        if self.lose_replies:
            self.lose_replies -= 1
            raise BusUnavailable("reply lost")
        return answer


class Site:
    """A cluster with workers that run, and edges that are written by hand."""

    def __init__(self, **settings: Any) -> None:
        given: dict[str, Any] = {
            "shards": SHARDS,
            "node_ttl_ms": TTL_MS,
            "node_renew_ms": RENEW_MS,
            "chat_burst": 1_000,
        }
        self.settings = WorkerSettings(**{**given, **settings})
        self.clock = LoopClock()
        shape = ClusterShape(SHARDS, self.settings.partitions)
        self.store = MemoryStore(shape, self.clock.now_ms, output_ttl_ms=10**9)
        self.workers: dict[str, Worker] = {}
        self.buses: dict[str, Bus] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._numbers: dict[tuple[EdgeId, Shard], int] = {}
        self._read: dict[EdgeId, int] = {}
        for edge in (E1, E2):
            self.store.announce("edge", edge, b"", 10**9)

    async def start(self, name: str = "w1", durable: MemoryDurableStore | None = None) -> Worker:
        bus = self.buses[name] = Bus(self.store)
        worker = self.workers[name] = Worker(WorkerId(name), self.settings, bus, self.clock, WorkerMetrics(), durable)
        self.tasks[name] = asyncio.create_task(worker.run())
        await asyncio.sleep(0.05)
        return worker

    def send(self, *commands: AnyCommand, edge: EdgeId = E1, room: RoomId = HALL) -> bytes:
        shard = shard_of(room, SHARDS)
        number = self._numbers[edge, shard] = self._numbers.get((edge, shard), 0) + 1
        data = encode_batch(InputBatch(edge, number, self.clock.now_ms(), list(commands)))
        self.store.append_input(shard, data)
        return data

    def heard(self, edge: EdgeId = E1) -> list[AnyDelivery]:
        entries = self.store.output_after(P0, edge, self._read.get(edge, 0))
        if entries:
            self._read[edge] = entries[-1].position
        return [delivery for entry in entries for delivery in decode_output(entry.data).deliveries]

    async def told(self, *commands: AnyCommand, edge: EdgeId = E1, after_s: float = 0.02) -> list[AnyDelivery]:
        self.send(*commands, edge=edge)
        await asyncio.sleep(after_s)
        return self.heard(edge)

    def owners(self) -> dict[str, int]:
        """Return how many shards each worker has a running lease of."""
        found: dict[str, int] = {}
        for status in self.store.shard_status():
            if status.owner is not None:
                found[status.owner] = found.get(status.owner, 0) + 1
        return found


def run(course: Callable[[Site], Awaitable[None]], **settings: Any) -> None:
    """Run a course; no worker may die of it."""

    async def inside() -> None:
        site = Site(**settings)
        try:
            await course(site)
            assert not [task for task in site.tasks.values() if task.done() and task.exception()]
        finally:
            for task in site.tasks.values():
                task.cancel()
            await asyncio.gather(*site.tasks.values(), return_exceptions=True)

    drive(inside())


def value(worker: Worker, name: str, **labels: str) -> float:
    return worker.metrics.registry.get_sample_value(name, labels or None) or 0.0


def test_a_worker_alone_takes_all_and_answers() -> None:
    async def course(site: Site) -> None:
        worker = await site.start()
        assert worker.not_ready() is None
        assert site.owners() == {"w1": SHARDS}
        assert names_of(await site.told(join(ADA, 1), chat(1)), 1) == ["room_state", "ack"]
        assert value(worker, "roomring_worker_commands_total") == 2

    run(course)


def test_an_idle_worker_answers_at_once() -> None:
    async def course(site: Site) -> None:
        await site.start()
        await asyncio.sleep(10)
        assert names_of(await site.told(join(ADA, 1), after_s=0.001), 1) == ["room_state"]

    run(course)


def test_timers_run_without_input() -> None:
    async def course(site: Site) -> None:
        await site.start()
        await site.told(join(ADA, 1), join(BEN, 2))
        await site.told(lose(1))
        await asyncio.sleep(4.9)
        assert site.heard() == []
        await asyncio.sleep(0.15)
        (left,) = messages_of(site.heard())
        assert left["t"] == "member_left"
        assert START_MS + 5_000 <= left["ts"] <= START_MS + 5_100

    run(course)


def test_a_worker_that_stops_gives_everything_back() -> None:
    async def course(site: Site) -> None:
        worker = await site.start()
        await site.told(join(ADA, 1))
        worker.stop()
        await site.tasks["w1"]
        assert site.owners() == {}
        assert site.store.nodes("worker") == []
        site.send(chat(1))
        await site.start("w2")
        assert names_of(site.heard()) == ["chat_broadcast"]

    run(course)


async def talk(site: Site, rooms: Sequence[RoomId], times: int, every_s: float = 0.02) -> None:
    """Say something in each room, again and again; it must all be heard, in order and at once."""
    for number in range(times):
        for room in rooms:
            site.send(chat(1, str(number), room=room), room=room)
        await asyncio.sleep(every_s)
    told = messages_of(site.heard())
    for room in rooms:
        events = [event for event in told if event["payload"]["roomId"] == room]
        assert [event["payload"]["text"] for event in events] == [str(number) for number in range(times)]
        assert len({event["epoch"] for event in events}) == 1
        # A pause would make several share a time.
        assert len({event["ts"] for event in events}) == times


async def joined_rooms(site: Site) -> list[RoomId]:
    rooms = [RoomId(f"room{number}") for number in range(20)]
    for room in rooms:
        site.send(join(ADA, 1, room=room), room=room)
    await asyncio.sleep(0.02)
    site.heard()
    return rooms


PHASES_S = (0.0, 0.02, 0.04, 0.06, 0.08)
"""Where all look at the registry each 100 ms anyway, it must not need the luck of looking at the right moment."""


@pytest.mark.parametrize("phase_s", PHASES_S)
def test_while_a_worker_leaves_the_others_take_over_and_nobody_waits(phase_s: float) -> None:
    async def course(site: Site) -> None:
        first = await site.start()
        for name in ("w2", "w3"):
            await site.start(name)
        rooms = await joined_rooms(site)
        await asyncio.sleep(1 + phase_s)
        assert len(site.owners()) == 3
        first.stop()
        assert first.not_ready() == "it is stopping"
        await talk(site, rooms, 40)
        assert site.tasks["w1"].done()
        assert site.owners() == {"w2": SHARDS // 2, "w3": SHARDS // 2}
        assert value(first, "roomring_worker_refused_commits_total", reason="fenced") == 0

    run(course)


@pytest.mark.parametrize("phase_s", PHASES_S)
def test_while_a_worker_joins_nobody_waits(phase_s: float) -> None:
    async def course(site: Site) -> None:
        first = await site.start()
        rooms = await joined_rooms(site)
        await asyncio.sleep(phase_s)
        second = await site.start("w2")
        await talk(site, rooms, 40)
        assert site.owners() == {"w1": SHARDS // 2, "w2": SHARDS // 2}
        assert value(second, "roomring_worker_take_seconds_count") == SHARDS // 2
        assert value(first, "roomring_worker_take_seconds_count") == SHARDS

    run(course)


def test_a_hand_off_refills_no_rate_of_who_is_here_or_has_left() -> None:
    async def course(site: Site) -> None:
        first, _ = await site.start("w1"), await site.start("w2")
        told = await site.told(join(ADA, 1), join(BEN, 2), *(chat(number) for number in (1, 1, 1, 2, 2, 2)))
        assert names_of(told).count("chat_broadcast") == 4
        await site.told(leave(2))
        first.stop()
        await site.tasks["w1"]
        told = await site.told(join(BEN, 2), chat(1), chat(2))
        assert names_of(told) == ["member_joined"]
        assert names_of(told, 2) == ["room_state", "rate_limited"]

    run(course, chat_burst=2, chat_per_second=0.1)


def test_two_that_leave_together_give_to_who_stays() -> None:
    async def course(site: Site) -> None:
        workers = [await site.start(name) for name in ("w1", "w2", "w3")]
        rooms = await joined_rooms(site)
        await asyncio.sleep(1)
        for worker in workers[:2]:
            worker.stop()
            worker.stop()
        await talk(site, rooms, 40)
        assert site.tasks["w1"].done()
        assert site.tasks["w2"].done()
        assert site.owners() == {"w3": SHARDS}

    run(course)


def test_the_last_one_waits_for_nobody_also_where_all_leave_together() -> None:
    async def course(site: Site) -> None:
        for worker in [await site.start(name) for name in ("w1", "w2")]:
            worker.stop()
        await asyncio.sleep(0.3)
        assert all(task.done() for task in site.tasks.values())
        assert site.owners() == {}

    run(course)


def test_a_worker_that_nobody_takes_over_from_ends_all_the_same() -> None:
    async def course(site: Site) -> None:
        first, _ = await site.start("w1"), await site.start("w2")
        await asyncio.sleep(1)
        # It has asked, perhaps, and is gone; the registry does not know it yet.
        site.buses["w2"].is_cut = True
        site.store.announce("worker", "w2", b"", 10**6)
        first.stop()
        await asyncio.wait_for(site.tasks["w1"], 4)
        assert "w1" not in site.owners()

    run(course)


def test_a_worker_that_is_told_to_stop_while_redis_is_away_ends() -> None:
    async def course(site: Site) -> None:
        worker = await site.start()
        site.buses["w1"].is_cut = True
        await asyncio.sleep(0.2)
        worker.stop()
        await asyncio.wait_for(site.tasks["w1"], 8)

    run(course)


def test_an_outage_moves_nothing_though_one_comes_back_before_the_other() -> None:
    # The first that saw Redis again saw itself alone, and took everything.
    async def course(site: Site) -> None:
        for name in ("w1", "w2"):
            await site.start(name)
        await asyncio.sleep(1)
        tokens = {status.shard: status.token for status in site.store.shard_status()}
        for bus in site.buses.values():
            bus.is_cut = True
        await asyncio.sleep(2 * TTL_MS / 1000)
        site.buses["w1"].is_cut = False
        await asyncio.sleep(0.15)
        site.buses["w2"].is_cut = False
        await asyncio.sleep(2)
        assert {status.shard: status.token for status in site.store.shard_status()} == tokens

    run(course)


def test_after_a_loss_of_all_data_each_takes_its_own_again() -> None:
    async def course(site: Site) -> None:
        for name in ("w1", "w2"):
            await site.start(name)
        await asyncio.sleep(1)
        owners = {status.shard: status.owner for status in site.store.shard_status()}
        site.store.flush()
        await asyncio.sleep(1)
        assert {status.shard: status.owner for status in site.store.shard_status()} == owners
        versions = [worker.metrics for worker in site.workers.values()]
        taken = sum(m.registry.get_sample_value("roomring_worker_take_seconds_count") or 0 for m in versions)
        # At the start w1 took all and gave half; then each took its half once more.
        assert taken == SHARDS + SHARDS // 2 + SHARDS

    run(course)


def test_a_second_worker_gets_its_share_and_rooms_keep_flowing() -> None:
    async def course(site: Site) -> None:
        await site.start()
        rooms = [RoomId(f"room{number}") for number in range(20)]
        for room in rooms:
            site.send(join(ADA, 1, room=room), room=room)
        await site.start("w2")
        for _ in range(60):
            for room in rooms:
                site.send(chat(1, room=room), room=room)
            await asyncio.sleep(0.02)
        assert site.owners() == {"w1": SHARDS // 2, "w2": SHARDS // 2}
        told = messages_of(site.heard())
        for room in rooms:
            events = [event for event in told if event["payload"]["roomId"] == room]
            assert [event["seq"] for event in events] == list(range(2, 62))
            assert len({event["epoch"] for event in events}) == 1

    run(course)


def test_after_a_crash_another_worker_goes_on_within_the_lease() -> None:
    async def course(site: Site) -> None:
        await site.start()
        await site.told(join(ADA, 1), join(BEN, 2), chat(2))
        site.buses["w1"].is_cut = True
        await site.start("w2")
        began_ms = site.clock.now_ms()
        site.send(chat(1, "after"))
        told: list[Any] = []
        for _ in range(200):
            if not told:
                await asyncio.sleep(0.01)
                told = messages_of(site.heard())
        assert told[0]["ts"] - began_ms < TTL_MS + 300
        assert [(event["seq"], event["payload"]["text"]) for event in told] == [(4, "after")]

    run(course)


def test_a_worker_that_was_away_too_long_writes_nothing_and_comes_back() -> None:
    async def course(site: Site) -> None:
        first = await site.start()
        await site.told(join(ADA, 1), chat(1))
        site.buses["w1"].is_cut = True
        await site.start("w2")
        await asyncio.sleep(3 * TTL_MS / 1000)
        assert first.not_ready() is not None
        assert site.owners() == {"w2": SHARDS}
        await site.told(chat(1))
        site.buses["w1"].is_cut = False
        for number in range(50):
            site.send(chat(1, str(number)))
            await asyncio.sleep(0.02)
        texts = [event["payload"]["text"] for event in messages_of(site.heard())]
        assert texts == [str(number) for number in range(50)]
        assert site.owners() == {"w1": SHARDS // 2, "w2": SHARDS // 2}
        assert first.not_ready() is None

    run(course)


def test_a_commit_of_a_worker_that_lost_its_lease_is_refused_and_its_memory_dropped() -> None:
    async def course(site: Site) -> None:
        first = await site.start()
        await site.told(join(ADA, 1))
        # Behind its back, between two renewals, the lease goes to somebody else.
        tokens = first._engine.tokens(P0)
        site.store.release(P0, WorkerId("w1"), tokens)
        site.store.acquire(P0, WorkerId("other"), TTL_MS, [HERE])
        told = await site.told(chat(1), after_s=0.02)
        assert told == []
        assert value(first, "roomring_worker_refused_commits_total", reason="fenced") == 1
        assert site.store.input_length(HERE) == 1
        # The other one never renews; then the message is taken after all.
        await asyncio.sleep(2 * TTL_MS / 1000)
        assert names_of(site.heard()) == ["chat_broadcast"]

    run(course)


@pytest.mark.parametrize("lost", [1, 3])
def test_a_commit_whose_reply_was_lost_takes_effect_once(lost: int) -> None:
    async def course(site: Site) -> None:
        worker = await site.start()
        await site.told(join(ADA, 1))
        site.buses["w1"].lose_replies = lost
        told = await site.told(chat(1, id="m"), chat(1), after_s=0.5)
        assert names_of(told) == ["chat_broadcast"] * 2
        assert names_of(await site.told(chat(1))) == ["chat_broadcast"]
        assert value(worker, "roomring_worker_store_errors_total") == lost
        assert value(worker, "roomring_worker_refused_commits_total", reason="stale") == 0

    run(course)


def test_a_partition_that_does_not_answer_costs_the_others_no_lease() -> None:
    async def course(site: Site) -> None:
        await site.start()
        site.buses["w1"].deaf_partition = P0
        await asyncio.sleep(3 * TTL_MS / 1000)
        leased = {status.shard for status in site.store.shard_status() if status.owner is not None}
        assert leased == {shard for shard in range(SHARDS) if shard % 2 == 1}

    run(course, partitions=2)


def test_another_server_with_everything_is_proven_and_rooms_go_on() -> None:
    async def course(site: Site) -> None:
        worker = await site.start()
        (state,) = messages_of(await site.told(join(ADA, 1)), 1)
        # Nobody says anything: it is the renewal that notices, and an empty commit that proves.
        site.store.change_server()
        await asyncio.sleep(2 * RENEW_MS / 1000)
        assert [lease.server for lease in site.store._shards.values()] == [site.store.server] * SHARDS
        # What was read from the server before is read again.
        site.store.change_server()
        (said,) = messages_of(await site.told(chat(1), after_s=0.3))
        assert value(worker, "roomring_worker_refused_commits_total", reason="unread") == 1
        assert (said["t"], said["epoch"]) == ("chat_broadcast", state["payload"]["epoch"])
        assert said["seq"] == state["payload"]["seq"] + 1

    run(course)


def test_shards_that_are_given_away_right_after_a_restart_keep_their_epoch() -> None:
    async def course(site: Site) -> None:
        first = await site.start()
        (state,) = messages_of(await site.told(join(ADA, 1)), 1)
        site.store.change_server()
        first.stop()
        await site.start("w2")
        await asyncio.sleep(0.3)
        (said,) = messages_of(await site.told(chat(1), after_s=0.3))
        assert (said["t"], said["epoch"]) == ("chat_broadcast", state["payload"]["epoch"])

    run(course)


def test_an_owner_that_dies_with_its_server_leaves_a_doubt() -> None:
    async def course(site: Site) -> None:
        await site.start()
        (state,) = messages_of(await site.told(join(ADA, 1)), 1)
        site.buses["w1"].is_cut = True
        site.store.change_server()
        await site.start("w2")
        await asyncio.sleep(2 * TTL_MS / 1000)
        told = messages_of(site.heard(), 1)
        assert [event["t"] for event in told] == ["resync", "room_state"]
        assert told[1]["payload"]["epoch"] > state["payload"]["epoch"]

    run(course)


def test_a_store_that_fell_back_makes_a_new_order_and_says_so() -> None:
    async def course(site: Site) -> None:
        worker = await site.start()
        await site.told(join(ADA, 1), chat(1))
        await site.told(chat(1))
        # An older copy of the shard: the store forgot its last commit, but not who owns it.
        lease = site.store._shards[HERE]
        lease.version -= 1
        lease.cursor -= 1
        told = await site.told(chat(1), after_s=0.5)
        assert value(worker, "roomring_worker_refused_commits_total", reason="stale") == 1
        assert names_of(told, 1)[:2] == ["resync", "room_state"]
        resync, state = messages_of(told, 1)[:2]
        assert resync["payload"]["reason"] == "new_epoch"
        assert state["payload"]["epoch"] > START_MS
        events = messages_of(told)
        assert {event["epoch"] for event in events} == {state["payload"]["epoch"]}

    run(course)


def test_a_store_that_lost_everything_is_set_up_again() -> None:
    async def course(site: Site) -> None:
        await site.start()
        await site.told(join(ADA, 1), chat(1))
        site.store.flush()
        await asyncio.sleep(1)
        assert site.owners() == {"w1": SHARDS}
        site.store.announce("edge", E1, b"", 10**9)
        site._read.clear()
        site._numbers.clear()
        (state,) = messages_of(await site.told(join(ADA, 1)), 1)
        assert state["payload"]["epoch"] > START_MS
        assert state["payload"]["seq"] == 1

    run(course)


def test_connections_of_an_edge_that_died_are_lost() -> None:
    async def course(site: Site) -> None:
        await site.start()
        await site.told(join(ADA, 1))
        await site.told(join(BEN, 1), edge=E2)
        site.heard(E2)
        site.store.withdraw("edge", E1)
        await asyncio.sleep(4.9)
        assert site.heard(E2) == []
        await asyncio.sleep(0.6)
        assert names_of(site.heard(E2)) == ["member_left"]
        assert site.workers["w1"]._engine.known_edges() == {E2}

    run(course)


def test_an_edge_that_closed_in_order_is_forgotten_when_the_registry_forgets_it() -> None:
    async def course(site: Site) -> None:
        await site.start()
        await site.told(join(ADA, 1), EdgeClosed())
        await asyncio.sleep(2 * RENEW_MS / 1000)
        assert site.workers["w1"]._engine.known_edges() == {E1}
        site.store.withdraw("edge", E1)
        await asyncio.sleep(2 * RENEW_MS / 1000)
        assert site.workers["w1"]._engine.known_edges() == set()

    run(course)


def test_a_task_at_which_a_room_fails_does_not_stop_the_worker() -> None:
    async def course(site: Site) -> None:
        worker = await site.start()
        await site.told(join(ADA, 1), join(BEN, 2))
        told = await site.told(chat(2), join(CY, 1, re="bad"), chat(2))
        assert names_of(told) == ["chat_broadcast"] * 2
        assert messages_of(told, 1)[-1]["payload"]["code"] == "internal"
        assert value(worker, "roomring_worker_failures_total") == 1
        assert names_of(await site.told(chat(2))) == ["chat_broadcast"]

    run(course)


def test_after_a_takeover_what_was_missed_is_replayed_from_the_store() -> None:
    async def course(site: Site) -> None:
        worker = await site.start()
        first = await site.told(join(ADA, 1), join(BEN, 2), chat(2), chat(2))
        epoch = messages_of(first, 1)[0]["payload"]["epoch"]
        worker.stop()
        await site.tasks["w1"]
        await site.start("w2")
        told = await site.told(join(ADA, 3, resume=(epoch, 2)))
        assert [event.get("seq") for event in messages_of(told, 3)] == [None, 3, 4]

    run(course)


def test_a_worker_of_another_shape_refuses_to_work() -> None:
    async def course(site: Site) -> None:
        await site.start()
        stranger = Worker(WorkerId("w2"), WorkerSettings(shards=4), MemoryBus(site.store), site.clock, WorkerMetrics())
        with pytest.raises(ClusterMismatch):
            await stranger.run()

    run(course)


def test_without_a_store_a_worker_waits_for_it() -> None:
    async def course(site: Site) -> None:
        site.buses["w1"] = bus = Bus(site.store)
        bus.is_cut = True
        worker = Worker(WorkerId("w1"), site.settings, bus, site.clock, WorkerMetrics())
        site.tasks["w1"] = asyncio.create_task(worker.run())
        await asyncio.sleep(5)
        assert worker.not_ready() is not None
        bus.is_cut = False
        await asyncio.sleep(0.5)
        assert worker.not_ready() is None
        assert names_of(await site.told(join(ADA, 1)), 1) == ["room_state"]

    run(course)


class Reluctant(MemoryDurableStore):
    """A durable store that fails before it works."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__()
        self.errors = list(errors)

    async def append(self, messages: Sequence[ChatMessage]) -> None:
        if self.errors:
            raise self.errors.pop(0)
        await super().append(messages)


class Picky(MemoryDurableStore):
    """A durable store that never takes a message which says `poison`; it may be away meanwhile."""

    def __init__(self, *, away: int = 0) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self._away = away

    async def append(self, messages: Sequence[Record]) -> None:
        self.sizes.append(len(messages))
        if self._away and len(messages) == 1:
            self._away -= 1
            raise StoreUnavailable("away")
        if any(isinstance(message, ChatMessage) and "poison" in message.text for message in messages):
            raise RecordRefused("no")
        await super().append(messages)


@pytest.mark.parametrize("away", [0, 7])
def test_a_record_that_the_database_refuses_is_found_and_set_aside_and_the_rest_is_kept(away: int) -> None:
    # It was tried again for ever, and everything behind it in the outbox waited until chat was refused.
    async def course(site: Site) -> None:
        durable = Picky(away=away)
        worker = await site.start(durable=durable)
        words = [f"word {number}" for number in range(40)]
        words[7] = words[31] = "poison"
        told = await site.told(join(ADA, 1), *(say(1, word) for word in words))
        await asyncio.sleep(20)
        kept = [message.text for message in (await durable.page(HALL, limit=100)).messages]
        assert kept == [word for word in words if word != "poison"]
        assert names_of([*told, *site.heard()], 1).count("persisted") == 38
        letters = [decode_dead_letter(entry.data) for entry in site.store.dead_letters([HERE], 10)]
        assert [(letter.kind, letter.what, letter.error) for letter in letters] == [
            ("record", "ChatMessage", "RecordRefused: no")
        ] * 2
        assert site.store.outbox_length(HERE) == 0
        assert value(worker, "roomring_worker_dead_letters_total") == 2
        assert value(worker, "roomring_worker_dead_letters_lying") == 2
        assert value(worker, "roomring_worker_messages_kept_total") == 38
        assert value(worker, "roomring_worker_database_waits_total") == away

    run(course, database_url="postgresql://nobody@localhost/none")


def test_an_unreadable_entry_of_the_outbox_does_not_end_the_worker() -> None:
    async def course(site: Site) -> None:
        durable = MemoryDurableStore()
        worker = await site.start(durable=durable)
        site.store.append_outbox(HERE, b"\xc1")
        await site.told(join(ADA, 1), say(1, "kept"))
        await asyncio.sleep(5)
        assert [message.text for message in (await durable.page(HALL, limit=100)).messages] == ["kept"]
        (letter,) = [decode_dead_letter(entry.data) for entry in site.store.dead_letters([HERE], 10)]
        assert (letter.kind, letter.content) == ("record", b"\xc1")
        assert site.store.outbox_length(HERE) == 0
        assert value(worker, "roomring_worker_messages_kept_total") == 1

    run(course, database_url="postgresql://nobody@localhost/none")


def test_a_past_event_that_cannot_be_read_ends_the_past_and_not_the_worker() -> None:
    async def course(site: Site) -> None:
        await site.start()
        await site.told(join(ADA, 1), *(chat(1, f"word {number}") for number in range(5)))
        log = site.store._logs[HALL].events
        epoch, seq, _ = log[2]
        log[2] = (epoch, seq, b"\xc1")
        site.workers["w1"].stop()
        await site.tasks["w1"]
        worker = await site.start("w2")
        (state,) = messages_of(await site.told(join(BEN, 2, resume=(epoch, 1))), 2)
        assert (state["t"], state["payload"]["recovered"]) == ("room_state", False)
        back = messages_of(await site.told(join(CY, 3, resume=(epoch, seq))), 3)
        assert [event["seq"] for event in back[1:]] == list(range(seq + 1, seq + len(back)))
        assert back[0]["payload"]["recovered"] is True
        assert value(worker, "roomring_worker_unreadable_events_total") == 1

    run(course)


def test_where_all_is_refused_the_records_wait_and_push_no_letter_out() -> None:
    async def course(site: Site) -> None:
        durable = Picky()
        worker = await site.start(durable=durable)
        await site.told(join(ADA, 1), *(say(1, f"poison {number}") for number in range(6)))
        await asyncio.sleep(30)
        assert site.store.outbox_length(HERE) == 6
        assert site.store.dead_letters([HERE], 10) == []
        assert value(worker, "roomring_worker_database_waits_total") > 0

    run(course, database_url="postgresql://nobody@localhost/none", dead_letters_max=5)


@pytest.mark.parametrize("error", [StoreUnavailable("away"), SchemaMismatch("old"), ValueError("a bug")])
def test_kept_chat_waits_until_the_database_takes_it_whatever_it_says_before(error: Exception) -> None:
    # An error that was no outage ended the writer, and with it the worker, again after each restart.
    async def course(site: Site) -> None:
        durable = Reluctant(*[error] * 8)
        worker = await site.start(durable=durable)
        told = names_of(await site.told(join(ADA, 1), say(1, "keep me", id="k")), 1)
        assert told == ["room_state", "ack"]
        await asyncio.sleep(10)
        (event,) = messages_of(site.heard(), 1)
        assert (event["t"], event["payload"]["seq"]) == ("persisted", 2)
        page = await durable.page(HALL, limit=10)
        assert [message.text for message in page.messages] == ["keep me"]
        assert site.store.outbox_length(HERE) == 0
        assert value(worker, "roomring_worker_database_waits_total") == 8
        assert value(worker, "roomring_worker_messages_kept_total") == 1

    run(course, database_url="postgresql://nobody@localhost/none")
