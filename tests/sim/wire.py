"""What stands between a process and the store: calls take time, fail, lose their replies, and come late.

A call that was sent takes effect, or not, whatever happens to who sent it. What a process sends one after the other
and waits for is in order; nothing else is.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Any, Final

from common.bus import Commit, CommitAnswer
from common.bus_memory import MemoryBus, MemoryStore
from common.errors import BusUnavailable
from common.ids import Partition, Shard, WorkerId
from tests.sim.letters import LetterBook
from tests.sim.timeline import Trace

LATE_MS_MAX: Final = 1_500
"""So long after its caller gave up a call may take effect: what lay in the buffers of a broken connection."""


class Process:
    """What can be done to a process as a whole."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dead = False
        self._awake: asyncio.Future[None] | None = None

    @property
    def is_paused(self) -> bool:
        return self._awake is not None

    def pause(self) -> None:
        self._awake = self._awake or asyncio.get_running_loop().create_future()

    def wake(self) -> None:
        if self._awake is not None:
            self._awake.set_result(None)
            self._awake = None

    async def awake(self) -> None:
        while self._awake is not None:
            await asyncio.shield(self._awake)


class Network:
    """The way to the store, for all processes."""

    def __init__(self, store: "WatchedStore", rng: random.Random, trace: Trace) -> None:
        self.store = store
        self.trace = trace
        self.delay_ms_max = 2.0
        self.loss = 0.0
        """Probability that a call fails: before its effect, after it, or with the effect still to come."""
        self.is_down = False
        self._rng = rng
        self._bus = MemoryBus(store)
        self._under_way: dict[asyncio.Future[Any], str] = {}
        self._effects: dict[asyncio.Task[None], None] = {}

    def is_committing(self) -> bool:
        """Whether somebody waits for the answer to a commit."""
        return "commit" in self._under_way.values()

    def break_all(self) -> None:
        """Every connection breaks; whoever waits for a reply does not get it."""
        for reply in list(self._under_way):
            if not reply.done():
                reply.set_exception(BusUnavailable("connection broken"))

    async def call(self, process: Process, name: str, args: tuple[Any, ...]) -> Any:
        await process.awake()
        fate = self._fate(process)
        delay_ms = self._delay_ms()
        if fate == "refused":
            await asyncio.sleep(delay_ms / 1000.0)
            await process.awake()
            raise BusUnavailable(f"{name} not sent")
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[Any] = loop.create_future()
        self._under_way[reply] = name
        late_ms = self._rng.uniform(0, LATE_MS_MAX) if fate == "late" else 0.0
        effect = asyncio.create_task(self._take_effect(process, name, args, delay_ms + late_ms, reply, fate))
        self._effects[effect] = None
        effect.add_done_callback(lambda task: self._effects.pop(task, None))
        if fate in ("late", "unanswered"):
            loop.call_later((delay_ms + self._delay_ms() + 10.0) / 1000.0, _fail, reply, name)
        try:
            result = await reply
        finally:
            self._under_way.pop(reply, None)
            if name in ("read_inputs", "read_output"):
                effect.cancel()
        await process.awake()
        return result

    async def close(self) -> None:
        for effect in list(self._effects):
            effect.cancel()
        await asyncio.gather(*self._effects, return_exceptions=True)

    async def _take_effect(
        self, process: Process, name: str, args: tuple[Any, ...], delay_ms: float, reply: asyncio.Future[Any], fate: str
    ) -> None:
        await asyncio.sleep(delay_ms / 1000.0)
        if self.is_down:
            _fail(reply, name)
            return
        self.trace.add(process.name, name, fate)
        try:
            if name == "commit":
                result: Any = self.store.commit_of(WorkerId(process.name), *args)
            else:
                result = await getattr(self._bus, name)(*args)
            await asyncio.sleep(self._delay_ms() / 1000.0)
        except Exception as error:
            if not reply.done():
                reply.set_exception(error)
            return
        if not reply.done() and fate == "ok":
            reply.set_result(result)

    def _delay_ms(self) -> float:
        return self._rng.uniform(0.1, self.delay_ms_max)

    def _fate(self, process: Process) -> str:
        if process.is_dead or self.is_down:
            return "refused"
        if self.loss == 0.0 or self._rng.random() >= self.loss:
            return "ok"
        return self._rng.choice(("refused", "unanswered", "late"))


class Wire:
    """`EdgeBus` and `WorkerBus` of one process."""

    def __init__(self, process: Process, network: Network) -> None:
        self._process = process
        self._network = network
        self._servers: dict[Partition, int] = {}

    async def acquire(self, partition: Partition, *args: Any) -> Any:
        """See `WorkerBus.acquire`."""
        server = self._network.store.server
        answer = await self._network.call(self._process, "acquire", (partition, *args))
        self._servers.setdefault(partition, server)
        return answer

    async def read_inputs(self, partition: Partition, *args: Any) -> Any:
        """See `WorkerBus.read_inputs`."""
        server = self._servers.get(partition, 0)
        entries = await self._network.call(self._process, "read_inputs", (partition, *args))
        entries.server = str(server)
        return entries

    async def commit(self, partition: Partition, commit: Commit) -> CommitAnswer:
        """See `WorkerBus.commit`. A server that is not the known one does nothing the first time."""
        known = int(commit.server or self._servers[partition])
        answer = await self._network.call(self._process, "commit", (partition, commit, known, False))
        if answer is None:
            known = self._network.store.server
            answer = await self._network.call(self._process, "commit", (partition, commit, known, True))
            if answer is None:
                raise BusUnavailable("exchanged twice in a row")
            self._servers[partition] = known
        assert isinstance(answer, CommitAnswer)
        return answer

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(*args: Any) -> Any:
            return await self._network.call(self._process, name, args)

        call.__name__ = name
        return call


class WatchedStore(MemoryStore):
    """A store that checks what must hold at each commit, by books of its own that no fault touches."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.broken: list[str] = []
        self.commits = 0
        self.refused = 0
        self._holders: dict[tuple[Shard, int], WorkerId] = {}
        self._newest: dict[Shard, int] = {}
        self._numbers: dict[tuple[str, int, int], bytes] = {}
        self.letters = LetterBook()
        super().__init__(*args, **kwargs)

    def acquire(self, partition: Any, worker_id: Any, ttl_ms: Any, shards: Any) -> Any:
        answers = super().acquire(partition, worker_id, ttl_ms, shards)
        for shard, answer in answers.items():
            token = getattr(answer, "token", None)
            if token is None:
                continue
            if token <= self._newest.get(shard, 0):
                self.broken.append(f"token {token} of shard {shard} is not greater than all before")
            self._holders[shard, token] = worker_id
            self._newest[shard] = token
        return answers

    def commit_of(
        self, worker_id: WorkerId, partition: Partition, commit: Commit, server: int, moved: bool
    ) -> CommitAnswer | None:
        """Commit for a worker, and see that it might. None: it means another server."""
        if server != self.server:
            return None
        answer = self.commit(partition, commit, moved=moved)
        self.commits += 1
        if not answer.done:
            self.refused += 1
        if not answer.done or answer.already:
            return answer
        for part in commit.shards:
            if part.token != self._newest[part.shard]:
                self.broken.append(f"{worker_id} committed shard {part.shard} with the old token {part.token}")
            if self._holders.get((part.shard, part.token)) != worker_id:
                self.broken.append(f"{worker_id} committed shard {part.shard} with the token of another")
            for room in part.rooms:
                for seq, event in room.history:
                    known = self._numbers.setdefault((room.room_id, room.epoch, seq), event)
                    self.letters.sequenced(room.room_id, seq, event)
                    if known != event:
                        self.broken.append(f"{worker_id} used {room.epoch}/{seq} of {room.room_id} twice")
        return answer


def _fail(reply: asyncio.Future[Any], name: str) -> None:
    if not reply.done():
        reply.set_exception(BusUnavailable(f"{name} not answered"))
