"""A whole cluster from one seed: the shells of edges and workers as they are, over a store in memory that fails.

`simulate` runs it: some seconds of faults, then peace until everybody agrees. What must hold is checked at each commit
(`wire.WatchedStore`), at the end here, and from what the clients wrote down (`loadtest/checker.py`).
"""

import asyncio
import copy
import random
from typing import Any, Final

import structlog
from msgspec import Struct

from common.bus import ClusterShape
from common.errors import AuthErrorCode
from common.ids import EdgeId, Partition, UserId, WorkerId, inbox_of
from common.settings import EdgeSettings, WorkerSettings
from edge.gateway import Gateway
from edge.metrics import EdgeMetrics
from edge.tokens import Claims
from loadtest.checker import Counts, check
from roomworker.metrics import WorkerMetrics
from roomworker.worker import Worker
from tests.sim.client import Edge, SimClient
from tests.sim.timeline import START_MS, ProcessClock, Trace, drive, now_ms
from tests.sim.wire import Network, Process, WatchedStore, Wire

SHARDS: Final = 4
PARTITIONS: Final = 2
LEASE_MS: Final = 1_000
FAULTS_FOR_MS: Final = 8_000
PEACE_AT_MOST_MS: Final = 30_000
RECONNECT_WINDOW_MS: Final = 1_500
ROOMS: Final = ("hall", "yard", "loft")

CLUSTER: Final[dict[str, Any]] = {
    "shards": SHARDS,
    "partitions": PARTITIONS,
    "node_ttl_ms": LEASE_MS,
    "node_renew_ms": 300,
    "history_events_max": 200,
}
WORKER_SETTINGS: Final = WorkerSettings(
    **CLUSTER,
    chat_burst=1_000,
    reconnect_window_ms=RECONNECT_WINDOW_MS,
    # So small that a room with three members or more is a large one.
    room_state_bytes_max=1_264,
    full_rate_movers_max=2,
)
EDGE_SETTINGS: Final = EdgeSettings(**CLUSTER, token_secret="x" * 32, drain_ms=500)
HARMLESS: Final = (
    "kill_worker",
    "stop_worker",
    "add_worker",
    "pause_worker",
    "kill_edge",
    "stop_edge",
    "pause_edge",
    "cut_clients",
    "loss",
    "slowness",
    "outage",
    "trim_output",
    "clock_jump",
    "restart_store",
)
LOSES_DATA: Final = ("flush", "flush_partition", "start_empty", "rollback")
KEEPS_LEASES: Final = {"kill_edge", "stop_edge", "pause_edge", "cut_clients", "trim_output", "clock_jump"}
"""Beside these a short restart of the store is no reason for a new epoch: owners can prove that nothing was lost."""


class Outcome(Struct):
    """What a seed led to."""

    seed: int
    digest: str
    problems: list[str]
    timeline: str
    counts: Counts
    commits: int
    direct_messages: int
    """Of which each inbox was told once: those since data was lost last."""
    faults: dict[str, int]
    """How often each kind of fault was tried."""


class _Verifier:
    """Tokens are `<user> <life in ms>`; they never run out here."""

    def verify(self, token: str) -> Claims | AuthErrorCode:
        user, life_ms = token.rsplit(maxsplit=1)
        # Administrators may write to everybody, who is a friend of whom or not.
        return Claims(UserId(user), ("*",), START_MS + 10**9 + int(life_ms), "desktop", None, None, ("admin",))


class _WorkerProcess:
    def __init__(self, process: Process, worker: Worker, clock: ProcessClock) -> None:
        self.process, self.worker, self.clock = process, worker, clock
        self.task: asyncio.Task[None] = asyncio.create_task(worker.run())


class Simulation:
    """One run."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.trace = Trace()
        self.problems: list[str] = []
        self.tried: dict[str, int] = {}
        self.store = WatchedStore(
            ClusterShape(SHARDS, PARTITIONS),
            lambda: START_MS + int(now_ms()),
            history_events_max=CLUSTER["history_events_max"],
            output_entries_max=60,
        )
        self.network = Network(self.store, self.rng, self.trace)
        self.workers: list[_WorkerProcess] = []
        self.edges: list[Edge] = []
        self.clients: list[SimClient] = []
        self.data_lost = False
        self.was_long_away = False
        self._nodes = 0
        self._background: list[asyncio.Task[Any]] = []
        self._metrics = WorkerMetrics(), EdgeMetrics()
        self._clocks: dict[str, ProcessClock] = {}

    async def run(self) -> Outcome:
        rng = self.rng
        kinds = [kind for kind in HARMLESS if rng.random() < 0.6]
        if rng.random() < 0.3:
            kinds.append(rng.choice(LOSES_DATA))
        for _ in range(rng.randint(1, 3)):
            self.add_worker()
        for _ in range(rng.randint(1, 3)):
            await self.add_edge()
        persons = rng.randint(2, 5)
        with_letters = rng.random() < 0.4
        for number in range(persons + rng.randint(0, 1)):
            rooms = rng.sample(ROOMS, rng.randint(1, 2))
            user = f"u{number % persons}"
            writes_to = [f"u{other}" for other in range(persons) if f"u{other}" != user] if with_letters else []
            client = SimClient(f"c{number}", user, rooms, self._choose_edge, rng, writes_to)
            self.clients.append(client)
            self._spawn(client.run())
        await asyncio.sleep(rng.uniform(0.3, 1.0))
        while now_ms() < FAULTS_FOR_MS:
            if kinds:
                await self._fault(rng.choice(kinds))
            await asyncio.sleep(rng.uniform(0.05, 1.5))
        await self._make_peace()
        self._check_end()
        if not self.problems:
            await self._send_half_away()
        await self._close()
        verdict = check([client.log for client in self.clients], settled=not self.problems)
        self.problems += self.store.broken
        self.problems += [str(violation) for violation in verdict.violations]
        self.problems += self.store.letters.problems({text for c in self.clients for text in c.direct_acked})
        if not self._may_suspect() and verdict.counts.epochs > len({room for c in self.clients for room in c.rooms}):
            self.problems.append("a new epoch, though no data was lost")
        for client in self.clients:
            for seen in client.log:
                self.trace.add(repr(seen))
        return Outcome(
            self.seed,
            self.trace.digest(),
            self.problems,
            self.trace.timeline(),
            verdict.counts,
            self.store.commits,
            self.store.letters.count(),
            self.tried,
        )

    # --- processes ----------------------------------------------------------------------------------------

    def add_worker(self) -> None:
        process, clock = self._process("w")
        wire: Any = Wire(process, self.network)
        worker = Worker(WorkerId(process.name), WORKER_SETTINGS, wire, clock, self._metrics[0])
        self.workers.append(_WorkerProcess(process, worker, clock))

    async def add_edge(self) -> None:
        process, clock = self._process("e")
        wire: Any = Wire(process, self.network)
        rng = random.Random(self.rng.random())
        gateway = Gateway(EdgeId(process.name), EDGE_SETTINGS, wire, clock, _Verifier(), self._metrics[1], rng)  # type: ignore[arg-type]
        try:
            await gateway.start()
        except Exception as error:
            self.trace.fault(process.name, "could not start:", error)
            return
        self.edges.append(Edge(process, gateway))

    def _process(self, letter: str) -> tuple[Process, ProcessClock]:
        self._nodes += 1
        process, clock = Process(f"{letter}{self._nodes}"), ProcessClock()
        self._clocks[process.name] = clock
        self.trace.fault("start", process.name)
        return process, clock

    def _choose_edge(self) -> Edge | None:
        accepting = [edge for edge in self.edges if edge.accepts]
        return self.rng.choice(accepting) if accepting else None

    def _spawn(self, course: Any) -> None:
        self._background.append(asyncio.create_task(course))

    # --- faults -------------------------------------------------------------------------------------------

    async def _fault(self, kind: str) -> None:
        self.tried[kind] = self.tried.get(kind, 0) + 1
        self.trace.fault(kind)
        await getattr(self, f"_{kind}")()

    def _some_worker(self) -> _WorkerProcess | None:
        workers = [worker for worker in self.workers if not worker.process.is_paused]
        return self.rng.choice(workers) if workers else None

    async def _kill_worker(self) -> None:
        worker = self._some_worker()
        if worker is None:
            return
        self.trace.fault("  ", worker.process.name)
        self.workers.remove(worker)
        worker.process.is_dead = True
        worker.task.cancel()
        self._background.append(worker.task)
        if self.rng.random() < 0.8:
            self.add_worker()

    async def _stop_worker(self) -> None:
        worker = self._some_worker()
        if worker is None:
            return
        self.trace.fault("  ", worker.process.name)
        self.workers.remove(worker)
        worker.worker.stop()
        self._background.append(worker.task)
        if self.rng.random() < 0.8:
            self.add_worker()

    async def _add_worker(self) -> None:
        if len(self.workers) < 4:
            self.add_worker()

    async def _pause_worker(self) -> None:
        worker = self._some_worker()
        if worker is not None:
            self._pause(worker.process, self.rng.choice((0.3, 3)) * LEASE_MS)

    async def _pause_edge(self) -> None:
        edge = self._choose_edge()
        if edge is not None:
            self._pause(edge.process, self.rng.choice((0.3, 3)) * LEASE_MS)

    def _pause(self, process: Process, for_ms: float) -> None:
        self.trace.fault("  ", process.name, for_ms, "ms")
        process.pause()
        asyncio.get_running_loop().call_later(for_ms / 1000.0, process.wake)

    async def _kill_edge(self) -> None:
        edge = self._choose_edge()
        if edge is None:
            return
        self.trace.fault("  ", edge.process.name)
        self._end_edge(edge)
        edge.process.is_dead = True
        for socket in list(edge.sockets):
            socket.served.cancel()
        for client in self.clients:
            if client.socket is not None and client.socket.edge is edge:
                client.lose(1006, silently=True)
        for task in edge.gateway._tasks:
            task.cancel()
        if self.rng.random() < 0.8 or len(self.edges) == 0:
            self._spawn(self.add_edge())

    async def _stop_edge(self) -> None:
        edge = self._choose_edge()
        if edge is None:
            return
        self.trace.fault("  ", edge.process.name)
        self._end_edge(edge)
        self._spawn(self.add_edge())
        self._spawn(self._drain(edge))

    async def _drain(self, edge: Edge) -> None:
        await edge.gateway.drain()
        await edge.gateway.stop()

    def _end_edge(self, edge: Edge) -> None:
        self.edges.remove(edge)

    async def _cut_clients(self) -> None:
        for client in self.clients:
            if self.rng.random() < 0.5:
                client.lose(1006, silently=self.rng.random() < 0.3)

    async def _loss(self) -> None:
        self.network.loss = self.rng.choice((0.0, 0.05, 0.3))

    async def _slowness(self) -> None:
        self.network.delay_ms_max = self.rng.choice((2.0, 50.0, 300.0))

    async def _outage(self) -> None:
        self._break(self.rng.choice((50, 500, 1_500)))

    def _break(self, for_ms: float) -> None:
        self.network.is_down = True
        self.network.break_all()

        def mend() -> None:
            self.network.is_down = False

        asyncio.get_running_loop().call_later(for_ms / 1000.0, mend)

    async def _trim_output(self) -> None:
        edge = self._choose_edge()
        if edge is not None:
            partition = Partition(self.rng.randrange(PARTITIONS))
            last = self.store.output_last(partition, edge.gateway.edge_id)
            self.store.trim_output(partition, edge.gateway.edge_id, last)

    async def _clock_jump(self) -> None:
        name = self.rng.choice(list(self._clocks))
        self._clocks[name].ahead_ms += self.rng.choice((-3_000, -500, 500, 3_000))

    async def _restart_store(self) -> None:
        """Another process goes on with everything."""
        for_ms = self.rng.choice((100, 100, 1_500))
        self.was_long_away |= for_ms > LEASE_MS / 2
        self._break(for_ms)
        self.store.change_server()

    def _lose_data(self, for_ms: float = 100) -> None:
        self.data_lost = True
        self.store.letters.data_lost()
        self._break(for_ms)

    async def _flush(self) -> None:
        self._lose_data()
        self.store.flush()

    async def _start_empty(self) -> None:
        self._lose_data()
        self.store.flush()
        self.store.change_server()

    async def _flush_partition(self) -> None:
        """One of the servers loses everything, and the others nothing."""
        self._lose_data()
        self.store.flush_partition(Partition(self.rng.randrange(PARTITIONS)))

    async def _rollback(self) -> None:
        """Another process goes on with what the store was some time ago, leases and clients' positions included.

        As with an append-only file that is written each second, or a replica that was behind.
        """
        saved = _saved(self.store)
        await asyncio.sleep(self.rng.uniform(0.1, 1.0))
        self._lose_data(self.rng.choice((100, 1_500)))
        vars(self.store).update(saved)
        self.store.change_server()

    # --- the end ------------------------------------------------------------------------------------------

    async def _make_peace(self) -> None:
        self.trace.fault("peace")
        self.network.loss, self.network.delay_ms_max = 0.0, 2.0
        await asyncio.sleep(1.6)
        for process in [*(w.process for w in self.workers), *(e.process for e in self.edges)]:
            process.wake()
        if not self.workers:
            self.add_worker()
        if not self.edges:
            await self.add_edge()
        for client in self.clients:
            client.is_calm = True
        until_ms = now_ms() + PEACE_AT_MOST_MS
        await self._settle(until_ms)
        for client in self.clients:
            for room in client.rooms:
                client.chat(room)
        # Who went away for good, on a connection that nobody closed, leaves in the end.
        await asyncio.sleep((LEASE_MS + RECONNECT_WINDOW_MS + 1_000) / 1000.0)
        await self._settle(until_ms)
        await asyncio.sleep(0.5)

    async def _settle(self, until_ms: float) -> None:
        while not all(client.is_settled() for client in self.clients) and now_ms() < until_ms:  # noqa: ASYNC110
            await asyncio.sleep(0.1)

    def _may_suspect(self) -> bool:
        """Whether somebody may have taken a shard without knowing that the store has all of it."""
        if self.data_lost or self.was_long_away:
            return True
        return "restart_store" in self.tried and not self.tried.keys() - {"restart_store"} <= KEEPS_LEASES

    def _check_end(self) -> None:
        for client in self.clients:
            if not client.is_settled():
                waiting = {room: list(view.pending) for room, view in client.rooms.items()}
                self.problems.append(f"{client.name} did not settle: {client.socket is not None}, {waiting}")
        for room in ROOMS:
            views = [(client, client.rooms[room]) for client in self.clients if room in client.rooms]
            there = {client.user for client, _ in views}
            for client, view in views:
                if view.members != there:
                    self.problems.append(
                        f"{client.name} sees {sorted(view.members)} in {room}, where {sorted(there)} are"
                    )
            if len({(view.epoch, view.seq) for _, view in views}) > 1:
                self.problems.append(f"positions in {room}: {[(c.name, v.epoch, v.seq) for c, v in views]}")
        for edge in self.edges:
            failed = edge.gateway.failed()
            if failed is not None:
                self.problems.append(f"{edge.process.name} failed: {failed!r}")
        for worker in self.workers:
            if worker.task.done():
                self.problems.append(f"{worker.process.name} ended: {worker.task.exception()!r}")

        failures = sum(
            sample.value for sample in self._metrics[0].failures.collect()[0].samples if "total" in sample.name
        )
        if failures:
            self.problems.append(f"rooms failed {failures:.0f} times")

    async def _send_half_away(self) -> None:
        """Half of the persons leave: when their time has run out no room has them any more, and it has all others."""
        gone = set(sorted({client.user for client in self.clients})[1::2])
        for client in self.clients:
            if client.user in gone:
                client.leave_for_good()
        for edge in self.edges:
            # What was cut in silence is noticed at last, by the network's own time-out.
            for socket in edge.sockets:
                if not socket.is_open:
                    socket.transport.lose()
        await asyncio.sleep((RECONNECT_WINDOW_MS + 1_000) / 1000.0)
        self._check_members(gone)

    def _check_members(self, gone: set[str]) -> None:
        edges = {edge.gateway.edge_id for edge in self.edges}
        in_rooms: dict[str, set[str]] = {}
        for worker in self.workers:
            for room in worker.worker._engine.rooms():
                in_rooms[room.room_id] = set(room._members)
                if not edges.issuperset(room.edges):
                    self.problems.append(f"{room.room_id} knows edges {sorted(room.edges)}, where {sorted(edges)} live")
                if room.member_count != len(room._members):
                    self.problems.append(f"{room.room_id} counts {room.member_count} members of {len(room._members)}")
        expected = {room: {client.user for client in self.clients if room in client.rooms} - gone for room in ROOMS}
        inboxes = {str(inbox_of(UserId(client.user))): {client.user} - gone for client in self.clients}
        for room_id, there in (expected | inboxes).items():
            found = in_rooms.get(room_id, set())
            if found != there:
                self.problems.append(f"{room_id} has {sorted(found)}, where {sorted(there)} are")
        for room_id, there in expected.items():
            for client in self.clients:
                if room_id in client.rooms and client.user not in gone and client.rooms[room_id].members != there:
                    seen = sorted(client.rooms[room_id].members)
                    self.problems.append(f"{client.name} sees {seen} in {room_id}, where {sorted(there)} are")

    async def _close(self) -> None:
        tasks = [worker.task for worker in self.workers] + self._background
        for worker in self.workers:
            worker.process.is_dead = True
        for edge in self.edges:
            tasks += edge.gateway._tasks
            tasks += [socket.served for socket in edge.sockets]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.network.close()


def simulate(seed: int) -> Outcome:
    """Run one seed."""
    # Lines of log are made for operators; here the timeline tells.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))

    async def course() -> Outcome:
        return await Simulation(seed).run()

    try:
        return drive(course())
    finally:
        structlog.reset_defaults()


def _saved(store: WatchedStore) -> dict[str, Any]:
    """Copy what a real store would have on disk; not who watches, and not the books of the simulation."""
    names = (
        "_cluster _nodes _shards _inputs _outboxes _relays _dead _outputs _output_until_ms _wakes _active _rooms "
        "_room_until_ms _logs _log_until_ms _people"
    )
    return {name: copy.deepcopy(vars(store)[name]) for name in names.split()}
