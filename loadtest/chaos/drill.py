"""One chaos run: starts the cluster and the clients, does the faults one after another, and has all judged.

Invariant: a fault begins when every shard has an owner that lives; so the pause that follows is that of the fault.
"""

import asyncio
import contextlib
import random
import re
import signal
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
from msgspec import structs

from common.ids import Partition, RoomId
from common.ring import shard_of
from deploy.devcluster import DevCluster, StartFailed
from loadtest.chaos.conversations import Kept, judge, without_threads
from loadtest.chaos.crowd import Crowd
from loadtest.chaos.kept import read_kept
from loadtest.chaos.losses import Finding, find_losses
from loadtest.chaos.plan import FAILS_OVER, LOSES_DATA, Fault, Load, StoreKind, order_faults
from loadtest.chaos.presence import expected_members, wrong_at_clients, wrong_at_talkers, wrong_in_rooms
from loadtest.chaos.proxy import Command, Direction
from loadtest.chaos.report import Report, Trial
from loadtest.chaos.source import code_digest
from loadtest.chaos.store import Store
from loadtest.chaos.visitor import now_ms
from loadtest.checker import check
from loadtest.database import Database, Outage
from loadtest.observations import AnyObservation, read_log

SHARDS: Final = 64
MEND_S: Final = 30.0
"""A room that stands still for longer, or a cluster that is not whole by then, is a violation."""
LOOK_S: Final = 0.02
START_AGAIN_S: Final = 0.25
DRAIN_MS: Final = 1_000
DELAY_MS: Final = 50.0
AWAY_S: Final = 5.0
"""How long the database stands still."""
HELD_S: Final = 2.0
"""How long a delay and a full memory last."""
BEHIND_S: Final = 0.5
EPSILON_MS: Final = 2.0
"""A process that gets SIGKILL may have sequenced something within the same moment."""
SETTLE_S: Final = 0.5


@dataclass(frozen=True)
class ChaosPlan:
    """What a run does."""

    load: Load
    times: dict[Fault, int]
    seed: int
    workers: int = 3
    edges: int = 2
    lease_ms: int = 2_000
    """That of workers and edges; the product's default."""
    every_s: float = 4.0
    """From one fault to the next, where the cluster is whole by then."""
    store: StoreKind = StoreKind.VALKEY


@dataclass(frozen=True)
class _Shares:
    """Who owns what, and who is there, by the names of the processes."""

    owner_of: dict[int, str | None]
    """Shard -> worker process; None: nobody, or nobody that lives."""
    shards_of: dict[str, int]

    def is_whole(self, workers: int) -> bool:
        """Whether all workers live, and every shard is shared out."""
        shares = self.shards_of.values()
        return (
            len(shares) == workers
            and None not in self.owner_of.values()
            and sum(shares) == len(self.owner_of)
            and max(shares) - min(shares) <= 1
        )


class Chaos:
    """One run. Call `run` once."""

    def __init__(self, plan: ChaosPlan, folder: Path, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._folder = folder
        self._say = say
        self._dice = random.Random(plan.seed)  # noqa: S311 - the same seed, the same faults
        self._store = Store(folder, plan.store)
        self._database = Database(folder / "postgres") if plan.load.talkers else None
        self._kept = Kept()
        self._cluster: DevCluster
        self._crowd: Crowd
        self._http: aiohttp.ClientSession
        self._report = Report(plan.seed)
        self._dead: set[str] = set()
        """Ids of workers that were killed; the registry lists them until their time has run out."""
        self._struck: set[str] = set()
        self._is_settled = False
        self._refused: dict[tuple[str, int], dict[str, int]] = {}

    async def run(self) -> Report:
        """Do everything."""
        began_s = time.monotonic()
        code = code_digest()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2.0)) as self._http, self._running():
            urls = [edge.ws_url for edge in self._cluster.edges]
            keeper = asyncio.create_task(self._keep_alive())
            self._crowd = Crowd(self._plan.load, urls, self._folder, self._dice)
            try:
                await self._befriend()
                await self._crowd.enter(MEND_S)
                self._crowd.speak(speaking=True)
                await asyncio.sleep(1.0)
                for number, fault in enumerate(order_faults(self._plan.times, self._dice), 1):
                    await self._one(number, fault)
                await self._end()
            finally:
                keeper.cancel()
                await self._crowd.close()
                with contextlib.suppress(asyncio.CancelledError):
                    await keeper
        self._report.seconds = time.monotonic() - began_s
        self._report.code_changed = code_digest() != code
        self._judge()
        return self._report

    @contextlib.asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        environ = {
            "ROOMRING_SHARDS": str(SHARDS),
            "ROOMRING_PARTITIONS": str(self._plan.store.partitions),
            "ROOMRING_NODE_TTL_MS": str(self._plan.lease_ms),
            "ROOMRING_NODE_RENEW_MS": str(self._plan.lease_ms // 5),
            "ROOMRING_CHAT_PER_SECOND": "1000",
            "ROOMRING_CHAT_BURST": "1000",
            "ROOMRING_DRAIN_MS": str(DRAIN_MS),
        }
        try:
            await self._store.start()
            if self._database is not None:
                await self._database.start()
            self._cluster = DevCluster(
                edges=self._plan.edges,
                workers=self._plan.workers,
                redis_url=self._store.url,
                data_dir=self._folder / "cluster",
                database=self._database is not None,
                database_url=None if self._database is None else self._database.url,
                jobs=False,
                environ=environ,
                # This run decides when who starts again; the cluster would wait longer each time.
                restart=False,
            )
            await asyncio.to_thread(self._cluster.start)
            try:
                yield
            finally:
                await self._store.tell_proxy(Command("shape"))
                await asyncio.to_thread(self._cluster.stop)
        finally:
            await self._store.close()
            if self._database is not None:
                await self._database.stop()

    # --- one fault ----------------------------------------------------------------------------------------

    async def _one(self, number: int, fault: Fault) -> None:
        await self._become_whole()
        trial = Trial(fault, "", now_ms())
        self._report.trials.append(trial)
        began_s = time.monotonic()
        try:
            await self._do(trial)
        except StartFailed as error:
            # The victim was not there: the cluster was not whole, which is a finding already.
            self._violated(trial, str(error))
        slowest = max(trial.pauses_ms, default=0.0)
        self._say(f"{number:4}  {fault.value:32} {trial.target:9} {slowest:8,.0f} ms")
        # What edges do concerns their clients only, so the next fault may come while one of them starts.
        share = 0.5 if fault == Fault.EDGE_KILL else 1.0
        await asyncio.sleep(max(0.0, began_s + share * self._plan.every_s - time.monotonic()))

    async def _do(self, trial: Trial) -> None:  # noqa: PLR0912, PLR0915 - one for each fault
        match trial.fault:
            case Fault.WORKER_KILL | Fault.WORKER_PAUSE:
                await self._lose_worker(trial)
            case Fault.WORKER_DRAIN:
                await self._drain_worker(trial)
            case Fault.EDGE_KILL | Fault.EDGE_DRAIN:
                await self._lose_edge(trial)
            case Fault.EDGE_PAUSE:
                await self._pause_edge(trial)
            case Fault.STORE_KILL | Fault.STORE_RESTART:
                trial.at_ms = now_ms()
                await self._store.restart(crash=trial.fault == Fault.STORE_KILL, pause_s=0.5)
                await self._go_on(trial, self._rooms())
            case Fault.FAILOVER | Fault.FAILOVER_BEHIND:
                await self._fail_over(trial)
            case Fault.CUT:
                trial.at_ms = now_ms()
                await self._store.tell_proxy(Command("cut"))
                await self._go_on(trial, self._rooms())
            case Fault.CUT_ONE:
                trial.target = self._dice.choice([*self._cluster.pids()])
                trial.at_ms = now_ms()
                await self._store.tell_proxy(Command("cut", self._cluster.pids()[trial.target]))
                await self._go_on(trial, self._rooms())
            case Fault.DELAY:
                trial.at_ms = now_ms()
                await self._store.tell_proxy(Command("shape", delay_ms=DELAY_MS))
                await asyncio.sleep(HELD_S)
                await self._store.tell_proxy(Command("shape"))
                self._waits(trial, self._rooms(), now_ms())
            case Fault.STALL_REQUESTS:
                await self._stall(trial, "requests")
            case Fault.STALL_REPLIES:
                await self._stall(trial, "replies")
            case Fault.SCRIPT_FLUSH:
                trial.at_ms = now_ms()
                await self._store.command("SCRIPT", "FLUSH", "SYNC")
                await self._go_on(trial, self._rooms())
            case Fault.MEMORY:
                trial.at_ms = now_ms()
                await self._store.command("CONFIG", "SET", "maxmemory", 1)
                await asyncio.sleep(HELD_S)
                await self._store.command("CONFIG", "SET", "maxmemory", 0)
                await self._go_on(trial, self._rooms())
            case Fault.FLUSH:
                trial.at_ms = now_ms()
                await self._store.command("FLUSHALL", "SYNC")
                await self._go_on(trial, self._rooms())
            case Fault.EDGE_AND_WORKER_KILL | Fault.STORE_AND_EDGE_KILL | Fault.FLUSH_AND_EDGE_KILL:
                await self._lose_two(trial)
            case Fault.DATABASE_KILL | Fault.DATABASE_AWAY:
                await self._lose_database(trial)

    async def _lose_worker(self, trial: Trial) -> None:
        """SIGKILL, and a new start; or SIGSTOP for three leases."""
        name = trial.target = self._dice.choice([worker.name for worker in self._cluster.workers])
        rooms = await self._rooms_of(name)
        is_killed = trial.fault == Fault.WORKER_KILL
        if is_killed:
            await self._read_refused(name)
            self._dead |= await self._ids_of(name)
            self._strike(name, signal.SIGKILL)
            trial.at_ms = now_ms() + EPSILON_MS
            await self._go_on(trial, rooms)
            return
        self._cluster.kill(name, signal.SIGSTOP)
        trial.at_ms = now_ms() + EPSILON_MS
        began_s = time.monotonic()
        try:
            await self._go_on(trial, rooms)
            await asyncio.sleep(began_s + 3 * self._plan.lease_ms / 1000 - time.monotonic())
        finally:
            self._cluster.kill(name, signal.SIGCONT)

    async def _drain_worker(self, trial: Trial) -> None:
        """SIGTERM, and a new start. The pauses are those of giving the rooms away, and of the balance afterwards."""
        name = trial.target = self._dice.choice([worker.name for worker in self._cluster.workers])
        before = await self._owners()
        rooms = {room for room, owner in before.items() if owner == name}
        await self._read_refused(name)
        self._dead |= await self._ids_of(name)
        pid = self._cluster.pids().get(name)
        self._strike(name, signal.SIGTERM)
        trial.at_ms = now_ms()
        await self._go_on(Trial(trial.fault, name, trial.at_ms), rooms)
        await self._is_replaced(name, pid)
        await self._become_whole()
        await asyncio.sleep(SETTLE_S)
        after = await self._owners()
        moved = rooms | {room for room, owner in after.items() if owner != before[room]}
        self._waits(trial, moved, now_ms())

    async def _lose_edge(self, trial: Trial) -> None:
        """SIGKILL or SIGTERM, and a new start. The pauses are those of its clients, until they are in their rooms."""
        # Where all went after the last loss of an edge; the others have nobody to lose.
        async with asyncio.timeout(MEND_S):
            # After an outage that was longer than a lease all of them join again.
            while not (edges := sorted({client.edge for client in self._crowd.clients if client.joined})):  # noqa: ASYNC110
                await asyncio.sleep(LOOK_S)
        number = self._dice.choice(edges)
        name = trial.target = self._cluster.edges[number].name
        clients = [client for client in self._crowd.clients if client.edge == number and client.joined]
        self._strike(name, signal.SIGKILL if trial.fault == Fault.EDGE_KILL else signal.SIGTERM)
        trial.at_ms = now_ms()
        trial.rooms = len({client.room for client in clients})
        deadline_s = time.monotonic() + MEND_S
        # The one that drains sends its clients away over some time.
        while not all(client.joined_ms[-1] > trial.at_ms for client in clients):
            if time.monotonic() > deadline_s:
                self._violated(trial, f"clients of {name} are not back after {MEND_S:.0f} s")
                break
            await asyncio.sleep(LOOK_S)
        for client in clients:
            back = [at_ms for at_ms in client.joined_ms if at_ms > trial.at_ms]
            lost = [at_ms for at_ms in client.lost_ms if at_ms > trial.at_ms]
            if back and lost:
                trial.pauses_ms.append(back[0] - min(lost))

    async def _lose_two(self, trial: Trial) -> None:
        """SIGKILL of an edge, and at once of a worker or of Valkey, or the loss of all data."""
        edge = self._dice.choice([edge.name for edge in self._cluster.edges])
        worker = self._dice.choice([worker.name for worker in self._cluster.workers])
        trial.target = edge
        rooms = set(self._rooms())
        if trial.fault == Fault.EDGE_AND_WORKER_KILL:
            rooms = set(await self._rooms_of(worker))
            await self._read_refused(worker)
            self._dead |= await self._ids_of(worker)
        trial.at_ms = now_ms() + EPSILON_MS
        match trial.fault:
            case Fault.EDGE_AND_WORKER_KILL:
                self._strike(worker, signal.SIGKILL)
                self._strike(edge, signal.SIGKILL)
            case Fault.STORE_AND_EDGE_KILL:
                restart = asyncio.create_task(self._store.restart(crash=True, pause_s=0.5))
                await asyncio.sleep(0.25)
                self._strike(edge, signal.SIGKILL)
                await restart
            case _:
                self._strike(edge, signal.SIGKILL)
                await self._store.command("FLUSHALL", "SYNC")
        await self._go_on(trial, rooms)

    async def _pause_edge(self, trial: Trial) -> None:
        """SIGSTOP for three leases. The others must not feel it."""
        number = self._dice.randrange(self._plan.edges)
        name = trial.target = self._cluster.edges[number].name
        self._cluster.kill(name, signal.SIGSTOP)
        trial.at_ms = now_ms()
        try:
            await asyncio.sleep(3 * self._plan.lease_ms / 1000)
        finally:
            self._cluster.kill(name, signal.SIGCONT)
        others = {client.room for client in self._crowd.clients if client.edge != number}
        await self._go_on(trial, others)

    async def _fail_over(self, trial: Trial) -> None:
        """SIGKILL of a primary; it starts again when its replica has become the primary."""
        partition = Partition(self._dice.randrange(self._plan.store.partitions))
        trial.target = f"p{partition}"
        await self._store.wait_until_safe()
        if trial.fault == Fault.FAILOVER_BEHIND:
            await self._store.tell_proxy(Command("shape", await self._store.replica_pid(partition), stall="replies"))
            await asyncio.sleep(BEHIND_S)
        server = await self._store.kill_primary(partition)
        trial.at_ms = now_ms()
        await self._store.tell_proxy(Command("shape"))
        # Rooms of the other partitions must not feel it, but for the registry's.
        await self._go_on(trial, self._rooms())
        await self._store.bring_back(server, partition)

    async def _stall(self, trial: Trial, direction: Direction) -> None:
        """Let a worker's requests, or Valkey's replies to it, hang for longer than a lease; then cut."""
        name = trial.target = self._dice.choice([worker.name for worker in self._cluster.workers])
        rooms = await self._rooms_of(name)
        pid = self._cluster.pids()[name]
        trial.at_ms = now_ms()
        await self._store.tell_proxy(Command("shape", pid, stall=direction))
        began_s = time.monotonic()
        await asyncio.sleep(1.5 * self._plan.lease_ms / 1000)
        await self._store.tell_proxy(Command("cut", pid))
        await self._store.tell_proxy(Command("shape"))
        # What the worker had sent may have been carried out just after the fault began.
        await self._go_on(trial, rooms, since_ms=trial.at_ms + 1000 * (time.monotonic() - began_s) / 2)

    async def _lose_database(self, trial: Trial) -> None:
        """SIGKILL and a new start, or SIGSTOP for a while. What is kept is said all the same."""
        assert self._database is not None
        outage: Outage = "kill" if trial.fault == Fault.DATABASE_KILL else "stop"
        trial.at_ms = now_ms()
        await self._database.take_away(outage)
        await asyncio.sleep(START_AGAIN_S if outage == "kill" else AWAY_S)
        await self._database.bring_back(outage)
        lobbies = {talker.lobby for talker in self._crowd.talkers}
        pace = self._crowd.pace
        deadline_s = time.monotonic() + MEND_S
        while any(pace.longest_wait_ms(lobby, trial.at_ms, now_ms()) is None for lobby in lobbies):
            if time.monotonic() > deadline_s:
                self._violated(trial, f"after {MEND_S:.0f} s nothing goes on in {', '.join(sorted(lobbies))}")
                return
            await asyncio.sleep(LOOK_S)
        self._waits(trial, lobbies, now_ms())

    # --- looking ------------------------------------------------------------------------------------------

    async def _go_on(self, trial: Trial, rooms: Sequence[str] | set[str], since_ms: float | None = None) -> None:
        """Wait until something was sequenced in each room after the fault, and note the pauses.

        Args:
            since_ms: only what was sequenced after it counts; the pause is counted from the fault all the same.
        """
        trial.rooms = len(rooms)
        pace = self._crowd.pace
        since_ms = trial.at_ms if since_ms is None else since_ms
        deadline_s = time.monotonic() + MEND_S
        while any(pace.pause_ms(room, since_ms) is None for room in rooms):
            if time.monotonic() > deadline_s:
                stuck = [room for room in rooms if pace.pause_ms(room, since_ms) is None]
                self._violated(trial, f"after {MEND_S:.0f} s nothing goes on in {', '.join(sorted(stuck))}")
                return
            await asyncio.sleep(LOOK_S)
        pauses = (pace.pause_ms(room, since_ms) for room in rooms)
        trial.pauses_ms = [pause + since_ms - trial.at_ms for pause in pauses if pause is not None]

    def _waits(self, trial: Trial, rooms: Sequence[str] | set[str], end_ms: float) -> None:
        """Note as pauses the longest wait of something sent in each room since the fault."""
        trial.rooms = len(rooms)
        waits = (self._crowd.pace.longest_wait_ms(room, trial.at_ms - 50, end_ms) for room in rooms)
        trial.pauses_ms = [wait for wait in waits if wait is not None]

    async def _become_whole(self) -> None:
        deadline_s = time.monotonic() + MEND_S
        while time.monotonic() < deadline_s:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError, KeyError):
                shares = await self._shares()
                if shares.is_whole(self._plan.workers) and len(self._cluster.pids()) == (
                    self._plan.workers + self._plan.edges
                ):
                    return
            await asyncio.sleep(0.1)
        last = self._report.trials[-1] if self._report.trials else Trial(Fault.CUT, "", now_ms())
        self._violated(last, f"the cluster is not whole {MEND_S:.0f} s after {last.fault.value} {last.target}")

    async def _shares(self) -> _Shares:
        seen = await self._cluster_seen()
        ports = {worker.internal_port: worker.name for worker in self._cluster.workers}
        live = {
            worker["id"]: ports[worker["internalPort"]] for worker in seen["workers"] if worker["id"] not in self._dead
        }
        owners = {shard["shard"]: live.get(shard["owner"] or "") for shard in seen["shards"]}
        shards_of: dict[str, int] = dict.fromkeys(live.values(), 0)
        for owner in owners.values():
            if owner is not None:
                shards_of[owner] += 1
        return _Shares(owners, shards_of)

    async def _cluster_seen(self) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._cluster.admin_key}"}
        error: Exception = TimeoutError()
        for edge in self._cluster.edges:
            try:
                async with self._http.get(f"{edge.internal_url}/admin/cluster", headers=headers) as answer:
                    answer.raise_for_status()
                    return dict(await answer.json())
            except (aiohttp.ClientError, TimeoutError, OSError) as failure:
                error = failure
        raise error

    async def _owners(self) -> dict[str, str | None]:
        """Return the worker process of each room."""
        shares = await self._shares()
        return {room: shares.owner_of[shard_of(RoomId(room), SHARDS)] for room in self._rooms()}

    async def _rooms_of(self, name: str) -> list[str]:
        return [room for room, owner in (await self._owners()).items() if owner == name]

    async def _ids_of(self, name: str) -> set[str]:
        (port,) = [worker.internal_port for worker in self._cluster.workers if worker.name == name]
        return {worker["id"] for worker in (await self._cluster_seen())["workers"] if worker["internalPort"] == port}

    def _rooms(self) -> list[str]:
        return sorted({client.room for client in self._crowd.clients})

    async def _keep_alive(self) -> None:
        """Start again what has ended: what was struck, and what did not find its Valkey when it started."""
        names = [*(worker.name for worker in self._cluster.workers), *(edge.name for edge in self._cluster.edges)]
        ended_s: dict[str, float] = {}
        while True:
            await asyncio.sleep(LOOK_S)
            pids = self._cluster.pids()
            for name in names:
                if name in pids:
                    continue
                if time.monotonic() >= ended_s.setdefault(name, time.monotonic()) + START_AGAIN_S:
                    del ended_s[name]
                    self._report.own_ends += name not in self._struck
                    self._struck.discard(name)
                    await asyncio.to_thread(self._cluster.start_again, name)

    def _strike(self, name: str, number: signal.Signals) -> None:
        """Send a signal that ends a process."""
        self._struck.add(name)
        self._cluster.kill(name, number)

    async def _is_replaced(self, name: str, pid: int | None) -> None:
        """Wait until a process was started anew."""
        while self._cluster.pids().get(name, pid) == pid:  # noqa: ASYNC110 - the supervisor tells nobody
            await asyncio.sleep(LOOK_S)

    async def _read_refused(self, name: str) -> None:
        """Note what a worker counts, before it is gone."""
        (worker,) = [worker for worker in self._cluster.workers if worker.name == name]
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
            async with self._http.get(f"{worker.internal_url}/metrics") as answer:
                text = await answer.text()
            counts = re.findall(r'^roomring_worker_refused_commits_total\{reason="(\w+)"\} ([\d.]+)', text, re.M)
            self._refused[name, worker.pid or 0] = {reason: int(float(number)) for reason, number in counts}

    def _violated(self, trial: Trial, text: str) -> None:
        self._report.findings.append(Finding(trial.at_ms, text))

    async def _befriend(self) -> None:
        """Make friends of those who will write to each other."""
        headers = {"Authorization": f"Bearer {self._cluster.admin_key}"}
        for talker in self._crowd.talkers[::2]:
            url = f"{self._cluster.edges[0].internal_url}/admin/users/{talker.user}/friends/{talker.friend}"
            async with self._http.put(url, headers=headers) as answer:
                answer.raise_for_status()

    # --- the end ------------------------------------------------------------------------------------------

    async def _end(self) -> None:
        """Let all calm down: everything is answered, everybody stands at the same place."""
        await self._become_whole()
        self._crowd.speak(speaking=False)
        last = self._report.trials[-1] if self._report.trials else Trial(Fault.CUT, "", now_ms())
        try:
            async with asyncio.timeout(MEND_S):
                await self._crowd.all_answered()
                # Behind it nothing comes: who has it has all.
                await self._crowd.say_once()
                await self._crowd.all_answered()
                while any(len(self._crowd.places(room)) > 1 for room in self._rooms()):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            self._is_settled = True
        except TimeoutError:
            waiting = sum(bool(client.pending) or not client.joined for client in self._crowd.clients)
            apart = [room for room in self._rooms() if len(self._crowd.places(room)) > 1]
            self._violated(last, f"at the end {waiting} clients wait for answers; not at one place: {apart}")
        for worker in self._cluster.workers:
            await self._read_refused(worker.name)
        if self._database is not None:
            await self._read_kept(self._database.url)
        if self._is_settled:
            await self._send_half_away(last)

    async def _send_half_away(self, last: Trial) -> None:
        """Have half of the people leave. When their time has run out they are nowhere, and all others are there.

        Meanwhile an edge stands still: it hears of those who left it only when it was taken for dead, and lives on.
        """
        crowd = self._crowd
        name = self._dice.choice([edge.name for edge in self._cluster.edges])
        self._cluster.kill(name, signal.SIGSTOP)
        try:
            crowd.send_half_away()
            await asyncio.sleep(3 * self._plan.lease_ms / 1000)
        finally:
            self._cluster.kill(name, signal.SIGCONT)
        expected = expected_members(crowd.clients, crowd.talkers)
        deadline_s = time.monotonic() + MEND_S
        wrong = await self._wrong_about(expected)
        while wrong and time.monotonic() < deadline_s:
            await asyncio.sleep(0.2)
            wrong = await self._wrong_about(expected)
        for room in self._rooms():
            shown = await crowd.visit(room, MEND_S)
            if shown != expected[room]:
                wrong.append(f"somebody new sees {sorted(shown)} in {room}, where {sorted(expected[room])} are")
        for text in wrong:
            self._violated(last, text)
        self._report.rooms_compared = len(expected)
        async with asyncio.timeout(MEND_S):
            # The visitors were seen by all.
            while any(len(crowd.places(room)) > 1 for room in self._rooms()):  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    async def _wrong_about(self, expected: dict[str, set[str]]) -> list[str]:
        """Return what anybody says of who is where that is not so."""
        try:
            edges = {edge["id"] for edge in (await self._cluster_seen())["edges"]}
            rooms = [await self._room_seen(room) for room in expected]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return [f"the rooms could not be asked: {error!r}"]
        return [
            *wrong_in_rooms(expected, rooms, edges),
            *wrong_at_clients(expected, self._crowd.clients),
            *wrong_at_talkers(expected, self._crowd.talkers),
        ]

    async def _room_seen(self, room: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._cluster.admin_key}"}
        async with self._http.get(
            f"{self._cluster.edges[0].internal_url}/admin/rooms/{room}", headers=headers
        ) as answer:
            answer.raise_for_status()
            return dict(await answer.json())

    async def _read_kept(self, url: str) -> None:
        """Read what is kept, when nothing is added any more: the last thing that each said is there."""
        said = {text for talker in self._crowd.talkers for text in talker.last_kept.values()}
        deadline_s = time.monotonic() + MEND_S
        while time.monotonic() < deadline_s:
            self._kept = await read_kept(url)
            stored = {row.text for row in self._kept.messages} | {row.text for row in self._kept.revisions}
            if said <= stored:
                return
            await asyncio.sleep(0.2)

    def _judge(self) -> None:
        report, crowd = self._report, self._crowd
        flushes_ms = [trial.at_ms for trial in report.trials if trial.fault in LOSES_DATA - FAILS_OVER]
        failovers_ms = [trial.at_ms for trial in report.trials if trial.fault in FAILS_OVER]
        by_room = defaultdict(list)
        for client in crowd.clients:
            by_room[client.room].append(client)
            report.findings += [Finding(0.0, failure) for failure in client.failures]
            report.resynced += [(at_ms, client.user) for at_ms in client.resynced_ms]
            report.resent += client.resent
            report.refusals += client.refusals
        for clients in by_room.values():
            logs = [read_log(client.log.path) for client in clients]
            self._check(logs)
            report.losses.add(find_losses(logs, flushes_ms, failovers_ms))
        if crowd.talkers:
            self._judge_conversations([*flushes_ms, *failovers_ms])
        report.findings += report.losses.findings
        report.waits_ms = crowd.pace.all_waits_ms()
        report.lags_ms = crowd.lags_ms
        report.cpu_share = crowd.cpu_share
        for counts in self._refused.values():
            for reason, number in counts.items():
                report.refused_commits[reason] = report.refused_commits.get(reason, 0) + number

    def _check(self, logs: Sequence[Sequence[AnyObservation]]) -> None:
        report = self._report
        verdict = check(logs, settled=self._is_settled)
        report.findings += [Finding(0.0, str(violation)) for violation in verdict.violations]
        for name, number in structs.asdict(verdict.counts).items():
            setattr(report.checked, name, getattr(report.checked, name) + number)

    def _judge_conversations(self, flushes_ms: Sequence[float]) -> None:
        report = self._report
        logs = [read_log(talker.log.path) for talker in self._crowd.talkers]
        self._check([without_threads(log) for log in logs])
        report.conversations = judge(logs, self._kept, flushes_ms)
        report.findings += report.conversations.findings
        for talker in self._crowd.talkers:
            report.findings += [Finding(0.0, failure) for failure in talker.failures]
            report.resent += talker.resent
            report.refusals += talker.refusals


async def run_chaos(
    plan: ChaosPlan, *, folder: Path | None = None, say: Callable[[str], None] = lambda _: None
) -> Report:
    """Do a run on a cluster of its own.

    Args:
        folder: where logs and data are left; None: a temporary one.
        say: takes a line about each fault.
    """
    with contextlib.ExitStack() as stack:
        place = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="roomring-chaos-")))
        place.mkdir(parents=True, exist_ok=True)
        return await Chaos(plan, place, say).run()
