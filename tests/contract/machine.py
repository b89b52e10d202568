"""A machine that does anything at all to both versions of the seam, one step after the other (Hypothesis, stateful).

The version in memory is the model. Beside it the machine keeps its own short books, for what must hold of each version
by itself: who owns a shard, how many commits it had, what its input holds, who was woken.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec import Struct, field, structs

from common.bus import (
    Acquired,
    ClusterShape,
    Commit,
    CommitAnswer,
    Held,
    Person,
    PersonPatch,
    Renewed,
    RoomPatch,
    ShardCommit,
    ShardEntry,
)
from common.errors import ClusterMismatch
from common.ids import EdgeId, Epoch, LeaseToken, Partition, RoomId, Seq, Shard, UserId, WorkerId
from common.ring import partition_of_person, partition_of_shard
from tests.contract.twins import Names, Twins, cancel, same

SHAPE: Final = ClusterShape(shards=4, partitions=2)
SHARDS: Final = [Shard(number) for number in range(SHAPE.shards)]
PARTITIONS: Final = [Partition(number) for number in range(SHAPE.partitions)]
NAMES: Final = Names(
    [WorkerId("w1"), WorkerId("w2"), WorkerId("w3")],
    [EdgeId("e1"), EdgeId("e2")],
    [RoomId(f"r{number}") for number in range(6)],
)
PERSONS: Final = [UserId(name) for name in "xyz"]
DEAD_LETTERS_MAX: Final = 4
READ_MAX: Final = 100

LIVES_MS: Final = [20_000, 100_000]
OUTPUT_TTL_MS: Final = 60_000
PASSES_MS: Final = [40_000, 80_000]
"""No sum of these is near a life, so what a step takes really decides nothing. Any of them ends a wish and a wake."""

SLACK_MS: Final = 3_000
"""The server's clock moves within a step."""

NAP_MS: Final = 60_000
WOKEN_S: Final = 10.0
"""For a read that should be over already."""

TURNS_MAX: Final = 10
"""Of the loop, likewise."""

shards = st.sampled_from(SHARDS)
workers = st.sampled_from(NAMES.workers)
edges = st.sampled_from(NAMES.edges)
nodes = st.one_of(st.tuples(st.just("edge"), edges), st.tuples(st.just("worker"), workers))
lives_ms = st.sampled_from(LIVES_MS)
data = st.binary(max_size=4)
ages = st.sampled_from([0, 0, 0, 0, 1, 2])


class Lease(Struct):
    """One acquisition: the worker's, and the token on each of the two."""

    worker: WorkerId
    tokens: tuple[LeaseToken, LeaseToken]
    generations: tuple[int, int]


NOBODYS: Final = Lease(WorkerId("nobody"), (LeaseToken(1), LeaseToken(1)), (0, 0))


class PatchPlan(Struct, frozen=True):
    """What a commit does to a room of its shard."""

    room: int
    epoch: int
    set_fields: dict[str, bytes]
    delete_fields: list[str]
    first: int
    count: int
    active: bool | None
    ttl_ms: int | None
    redacted: list[int]


class PartPlan(Struct, frozen=True):
    """A shard's part of a commit."""

    shard: Shard
    age: int
    """Which lease: 0 is the newest acquisition of the shard, by whomever."""
    distance: int
    """Of the version from the right one."""
    ahead: int
    """How many inputs are taken."""
    marks: dict[EdgeId, int]
    forget: list[EdgeId]
    patches: list[PatchPlan]
    outbox: list[bytes]
    stored: int
    """How many entries of the outbox are in the durable store."""
    people: dict[UserId, tuple[dict[UserId, bool], int | None, int | None]]
    dead: list[bytes]
    letters: list[bytes]
    """For the other partition."""
    moved: int
    """How many letters have got there."""
    is_proof: bool


fields = st.sampled_from("abc")
until_ms = st.sampled_from([None, 0, 7])
patches = st.builds(
    PatchPlan,
    st.integers(0, 1),
    st.sampled_from([1, 1, 1, 2, 3]),
    st.dictionaries(fields, st.binary(max_size=3), max_size=3),
    st.lists(fields, max_size=2, unique=True),
    st.integers(1, 6),
    st.integers(0, 3),
    st.sampled_from([None, True, False]),
    st.sampled_from([None, 0, *LIVES_MS]),
    st.lists(st.integers(1, 6), max_size=2, unique=True),
)
persons = st.sampled_from(PERSONS)
part_plans = st.builds(
    PartPlan,
    shards,
    ages,
    st.sampled_from([0, 0, 0, 0, 0, 0, -1, 1]),
    st.integers(0, 3),
    st.dictionaries(edges, st.integers(1, 9), max_size=2),
    st.lists(edges, max_size=1),
    st.lists(patches, max_size=2),
    st.lists(data, max_size=3),
    st.integers(0, 2),
    st.dictionaries(
        persons, st.tuples(st.dictionaries(persons, st.booleans(), max_size=2), until_ms, until_ms), max_size=2
    ),
    st.lists(st.binary(max_size=3), max_size=3),
    st.lists(data, max_size=2),
    st.integers(0, 2),
    st.booleans(),
)


class Books(Struct):
    """What a shard must be like, by what was done since the store lost its data."""

    version: int = 0
    cursor: int = 0
    owner: Lease | None = None
    """Who may write; a lease that ran out counts until somebody else takes it."""
    wanted_by: WorkerId | None = None
    inputs: list[bytes] = field(default_factory=list)
    """All that was ever appended; position n is at n - 1."""
    outbox: list[bytes] = field(default_factory=list)
    letters: list[bytes] = field(default_factory=list)
    """To the other partition."""
    is_doubted: bool = False
    """Another server goes on, or a commit was stale, and nobody has acquired or proven since."""


class Nap(Struct):
    """A worker that waits in `read_inputs`."""

    cursors: dict[Shard, int]
    reads: list[asyncio.Task[list[ShardEntry]]]


class BusMachine(RuleBasedStateMachine):
    """See the module. Subclass with `url` set."""

    url: str

    def __init__(self) -> None:
        super().__init__()
        options = {"output_ttl_ms": OUTPUT_TTL_MS, "dead_letters_max": DEAD_LETTERS_MAX}
        self.twins = Twins(self.url, SHAPE, NAMES, **options)
        self.books = {shard: Books() for shard in SHARDS}
        self.leases: dict[Shard, list[Lease]] = {shard: [] for shard in SHARDS}
        """Of all times, also before a loss of data: tokens must grow over it."""
        self.last: tuple[Partition, tuple[Commit, Commit]] | None = None
        self.naps: dict[tuple[Partition, WorkerId], Nap] = {}
        self.woken: set[tuple[Partition, WorkerId]] = set()
        self.unknown = set(PARTITIONS)
        """Where the next commit may find another server than the last one; then those who wait connect anew."""

    def teardown(self) -> None:
        try:
            self.look_at_everything()
        finally:
            self.twins.close([read for nap in self.naps.values() for read in nap.reads])

    # Time, and the server

    @rule(passed_ms=st.sampled_from(PASSES_MS))
    def time_passes(self, passed_ms: int) -> None:
        async def step() -> None:
            pass

        self.twins.run(step(), passed_ms)
        self.woken.clear()
        for books in self.books.values():
            books.wanted_by = None

    @rule()
    def the_store_loses_everything(self) -> None:
        token_max = max([lease.tokens[1] for leases in self.leases.values() for lease in leases], default=0)
        self.twins.run(self.twins.flush(token_max))
        self.books = {shard: Books() for shard in SHARDS}
        self.woken.clear()

    @rule()
    def another_server_goes_on(self) -> None:
        self.twins.run(self.twins.change_server())
        self.unknown = set(PARTITIONS)
        for books in self.books.values():
            books.is_doubted = True

    @rule()
    def the_server_loses_its_scripts(self) -> None:
        self.twins.run(self.twins.forget_scripts())

    # Registry

    @rule(others=st.booleans())
    def open_cluster(self, others: bool) -> None:
        shape = ClusterShape(SHAPE.shards + 1, SHAPE.partitions) if others else SHAPE
        answer = self.agree("open_cluster", shape)
        assert answer is None or isinstance(answer, ClusterMismatch)

    @rule(node=nodes, info=data, ttl_ms=lives_ms)
    def announce(self, node: tuple[str, str], info: bytes, ttl_ms: int) -> None:
        self.agree("announce", *node, info, ttl_ms)
        assert node[1] in [each.node_id for each in self.agree("nodes", node[0])]

    @rule(node=nodes)
    def withdraw(self, node: tuple[str, str]) -> None:
        role, node_id = node
        self.agree("withdraw", role, node_id)
        assert node_id not in [each.node_id for each in self.agree("nodes", role)]
        if role == "worker":
            self.woken -= {(partition, WorkerId(node_id)) for partition in PARTITIONS}

    @rule()
    def ping(self) -> None:
        for answer in self.twins.run(self.twins.ask("ping_ms")):
            assert answer >= 0

    # Leases

    @rule(worker=workers, wanted=st.lists(shards, min_size=1, max_size=3, unique=True), ttl_ms=lives_ms)
    def acquire(self, worker: WorkerId, wanted: list[Shard], ttl_ms: int) -> None:
        for partition in PARTITIONS:
            mine = [shard for shard in wanted if _partition(shard) == partition]
            first, second = self.ask("acquire", partition, worker, ttl_ms, mine)
            for shard in mine:
                self._acquired(worker, shard, first[shard], second[shard], ttl_ms)

    def _acquired(
        self, worker: WorkerId, shard: Shard, first: Acquired | Held, second: Acquired | Held, ttl_ms: int
    ) -> None:
        books = self.books[shard]
        if isinstance(first, Held) or isinstance(second, Held):
            assert first.owner == second.owner != worker, (first, second)  # type: ignore[union-attr]
            assert books.owner is not None
            assert books.owner.worker == first.owner  # type: ignore[union-attr]
            for held in (first, second):
                assert 0 < held.remaining_ms < max(LIVES_MS) + SLACK_MS  # type: ignore[union-attr]
            books.wanted_by = worker
            self.woken.add((_partition(shard), books.owner.worker))
            return
        lease = Lease(worker, (first.token, second.token), (first.generation, second.generation))
        for known in self.leases[shard]:
            assert known.tokens[0] < first.token, "a token that is not greater, in memory"
            assert known.tokens[1] < second.token, "a token that is not greater, on the server"
            assert known.generations[0] <= first.generation
            assert known.generations[1] <= second.generation
        if self.leases[shard]:
            before = self.leases[shard][-1].generations
            assert (before[0] < first.generation) == (before[1] < second.generation), "only one of them is in doubt"
        assert (first.version, first.cursor) == (books.version, books.cursor)
        self.leases[shard].append(lease)
        books.is_doubted = False
        books.owner = lease
        if books.wanted_by == worker:
            books.wanted_by = None

    @rule(shard=shards, age=ages, ttl_ms=lives_ms, stranger=st.sampled_from([None, None, None, *NAMES.workers]))
    def renew(self, shard: Shard, age: int, ttl_ms: int, stranger: WorkerId | None) -> None:
        lease = self._lease(shard, age)
        worker = stranger or lease.worker
        books, partition = self.books[shard], _partition(shard)
        answers = self.ask_each("renew", lambda index: (partition, worker, ttl_ms, {shard: lease.tokens[index]}))
        is_owner = books.owner is lease and worker == lease.worker
        renewed: Renewed | None = answers[0][shard]
        if renewed is None:
            assert not is_owner or books.is_doubted, "lost, though nobody else can have had it"
        else:
            assert is_owner
            assert renewed.wanted_by == books.wanted_by
            assert renewed.is_proven or books.is_doubted

    @rule(shard=shards, age=ages, distance=st.sampled_from([0, 0, 1]))
    def release(self, shard: Shard, age: int, distance: int) -> None:
        lease, books, partition = self._lease(shard, age), self.books[shard], _partition(shard)
        known = {shard: books.version + distance}
        self.ask_each("release", lambda index: (partition, lease.worker, {shard: lease.tokens[index]}, known))
        if books.owner is lease:
            books.owner = None
            if books.wanted_by is not None:
                self.woken.add((partition, books.wanted_by))

    # Input

    @rule(appends=st.lists(st.tuples(shards, data), max_size=4))
    def append_inputs(self, appends: list[tuple[Shard, bytes]]) -> None:
        self.agree("append_inputs", appends)
        for shard, appended in appends:
            self.books[shard].inputs.append(appended)

    @rule(shard=shards, back=st.integers(-1, 4), count=st.integers(1, 3))
    def read_inputs(self, shard: Shard, back: int, count: int) -> None:
        books = self.books[shard]
        cursor = max(len(books.inputs) - back, 0)
        entries = self.agree("read_inputs", _partition(shard), WorkerId("reader"), {shard: cursor}, count, 0)
        _are_in_order(entries, books.inputs)

    @rule(asked=st.lists(shards, max_size=3, unique=True))
    def input_lengths(self, asked: list[Shard]) -> None:
        lengths = self.agree("input_lengths", asked)
        for shard, length in zip(asked, lengths, strict=True):
            books = self.books[shard]
            assert length >= len(books.inputs) - books.cursor, "input is gone that nobody took"

    @rule(worker=workers, partition=st.sampled_from(PARTITIONS))
    def nap(self, worker: WorkerId, partition: Partition) -> None:
        """A worker waits for input, and for being woken."""
        place = (partition, worker)
        if place in self.naps:
            return
        cursors = {shard: len(books.inputs) for shard, books in self.books.items() if _partition(shard) == partition}

        async def step() -> list[asyncio.Task[list[ShardEntry]]]:
            begun = [
                asyncio.create_task(bus.read_inputs(partition, worker, cursors, READ_MAX, NAP_MS))
                for bus in self.twins.both
            ]
            await asyncio.sleep(0)
            return begun

        self.naps[place] = Nap(cursors, self.twins.run(step()))

    @rule(worker=workers, partition=st.sampled_from(PARTITIONS))
    def wake(self, worker: WorkerId, partition: Partition) -> None:
        self.agree("wake", partition, worker)
        self.woken.add((partition, worker))

    # Commits

    @rule(
        plans=st.lists(part_plans, min_size=1, max_size=3, unique_by=lambda plan: plan.shard),
        outputs=st.dictionaries(edges, data),
        inputs=st.dictionaries(shards, data, max_size=2),
    )
    def commit(self, plans: list[PartPlan], outputs: dict[EdgeId, bytes], inputs: dict[Shard, bytes]) -> None:
        partition = _partition(plans[0].shard)
        mine = [plan for plan in plans if _partition(plan.shard) == partition]
        told = {shard: appended for shard, appended in inputs.items() if _partition(shard) == partition}
        first, second = (Commit([self._part(plan, index) for plan in mine], outputs, told) for index in (0, 1))
        self.last = (partition, (first, second))
        self._commit()

    @rule(
        plans=st.lists(part_plans, min_size=1, max_size=5),
        worker=workers,
        outputs=st.dictionaries(edges, data),
        inputs=st.dictionaries(shards, data, max_size=2),
    )
    def commit_as_one_should(
        self, plans: list[PartPlan], worker: WorkerId, outputs: dict[EdgeId, bytes], inputs: dict[Shard, bytes]
    ) -> None:
        """Some commits, each by the shard's owner and at the right version: so that many are written."""
        for plan in plans:
            if self.books[plan.shard].owner is None:
                self.acquire(worker, [plan.shard], LIVES_MS[0])
            self.commit([structs.replace(plan, age=0, distance=0)], outputs, inputs)

    @precondition(lambda self: self.last is not None)
    @rule()
    def repeat_the_commit(self) -> None:
        self._commit()

    def _commit(self) -> None:
        assert self.last is not None
        partition, commits = self.last
        if partition in self.unknown:
            self.unknown.discard(partition)
            for place in [place for place in self.naps if place[0] == partition]:
                self.twins.run(cancel(self.naps.pop(place).reads))
        answer: CommitAnswer = self._agreed(
            "commit", self.ask_each("commit", lambda index: (partition, commits[index]))
        )
        parts = commits[0].shards
        owned = {part.shard for part in parts if self._owns(part)}
        assert not (owned & set(answer.fenced)), "fenced, though nobody else took the shard"
        for shard in answer.stale:
            self.books[shard].is_doubted = True
        if not answer.done:
            return
        assert len(owned) == len(parts), "written without the lease"
        versions = [part.version + 1 for part in parts]
        if not answer.already:
            assert [part.version for part in parts] == [self.books[part.shard].version for part in parts]
            for part, version in zip(parts, versions, strict=True):
                books = self.books[part.shard]
                books.version, books.cursor = version, part.cursor
                books.outbox += part.outbox
                books.letters += part.relays.get(_other(partition), [])
                books.is_doubted = books.is_doubted and not part.is_proof
            for shard, appended in commits[0].inputs.items():
                self.books[shard].inputs.append(appended)
        assert versions == [self.books[part.shard].version for part in parts]
        for patch in [patch for part in parts for patch in part.rooms]:
            self.agree("load_rooms", partition, [patch.room_id])
            self.agree("load_history", partition, patch.room_id, patch.epoch, Seq(0))

    # Outbox

    @rule(shard=shards, back=st.integers(0, 4), count=st.integers(1, 3))
    def read_outbox(self, shard: Shard, back: int, count: int) -> None:
        books = self.books[shard]
        entries = self.agree("read_outbox", _partition(shard), {shard: max(len(books.outbox) - back, 0)}, count)
        _are_in_order(entries, books.outbox)
        (length,) = self.agree("outbox_lengths", _partition(shard), [shard])
        assert len(entries) <= length <= len(books.outbox)

    # Relays

    @rule(shard=shards, back=st.integers(0, 4), count=st.integers(1, 3))
    def read_relays(self, shard: Shard, back: int, count: int) -> None:
        books, partition = self.books[shard], _partition(shard)
        after = {shard: max(len(books.letters) - back, 0)}
        entries = self.agree("read_relays", partition, _other(partition), after, count)
        _are_in_order(entries, books.letters)
        lengths = self.agree("relay_lengths", shard)
        assert len(entries) <= lengths[_other(partition)] <= len(books.letters)

    @rule(partition=st.sampled_from(PARTITIONS), appends=st.lists(st.tuples(shards, data), max_size=4))
    def append_relayed(self, partition: Partition, appends: list[tuple[Shard, bytes]]) -> None:
        there = [(shard, moved) for shard, moved in appends if _partition(shard) == partition]
        self.agree("append_relayed", partition, there)
        for shard, moved in there:
            self.books[shard].inputs.append(moved)

    # Output

    @rule(edge=edges, partition=st.sampled_from(PARTITIONS), after=st.integers(0, 8))
    def read_output(self, edge: EdgeId, partition: Partition, after: int) -> None:
        async def step() -> tuple[Any, Any]:
            answers = await self.twins.ask("read_output", partition, edge, after, 0)
            # Whether the stream was made anew is looked up after a read that brought nothing.
            return answers if all(answers) else await self.twins.ask("read_output", partition, edge, after, 0)

        entries = self._agreed("read_output", self.twins.run(step()))
        positions = [entry.position for entry in entries]
        assert positions == list(range(positions[0], positions[0] + len(positions))) if positions else True

    @rule(edge=edges, partition=st.sampled_from(PARTITIONS), upto=st.integers(0, 8))
    def trim_output(self, edge: EdgeId, partition: Partition, upto: int) -> None:
        self.agree("trim_output", partition, edge, upto)

    # People

    @rule(filled=st.dictionaries(persons, st.tuples(st.frozensets(persons), st.sampled_from([0, 7])), max_size=2))
    def fill_in(self, filled: dict[UserId, tuple[frozenset[UserId], int]]) -> None:
        self.agree("fill_in", {user: Person(blocks, until, 2 * until) for user, (blocks, until) in filled.items()})
        for user, person in self.agree("people", list(filled)).items():
            assert person.filled, user

    # Dead letters

    @rule(shard=shards, position=st.integers(1, 6))
    def drop_dead_letter(self, shard: Shard, position: int) -> None:
        was_there = self.agree("dead_letter", shard, position) is not None
        assert self.agree("drop_dead_letter", shard, position) is was_there
        assert self.agree("dead_letter", shard, position) is None

    @rule(shard=shards, position=st.integers(1, 6), batch=data)
    def retry_dead_letter(self, shard: Shard, position: int, batch: bytes) -> None:
        if self.agree("retry_dead_letter", shard, position, batch):
            self.books[shard].inputs.append(batch)
        (letters,) = self.agree("dead_letter_counts", [shard])
        assert letters <= DEAD_LETTERS_MAX

    # What always holds

    @invariant()
    def each_shard_is_as_the_books_say(self) -> None:
        for statuses in self.ask("shard_status"):
            for status in statuses:
                books = self.books[status.shard]
                assert status.version == books.version
                assert status.owner is None or (books.owner is not None and status.owner == books.owner.worker)
                assert status.backlog >= len(books.inputs) - books.cursor

    @invariant()
    def who_naps_is_woken_by_what_should_wake(self) -> None:
        for place, nap in list(self.naps.items()):
            has_input = any(len(self.books[shard].inputs) > cursor for shard, cursor in nap.cursors.items())
            if place in self.woken or has_input:
                del self.naps[place]
                self.woken.discard(place)
                in_memory, on_server = self.twins.run(_ended(nap.reads), may_take_long=True)
                # The server wakes the reader at the first of several appends.
                assert bool(in_memory) == bool(on_server) == has_input, place
                assert set(map(_key, on_server)) <= set(map(_key, in_memory))
            else:
                assert not any(read.done() for read in nap.reads), f"{place} woke up for nothing"

    def look_at_everything(self) -> None:
        """Compare all that can be read."""

        async def step() -> None:
            for name, *arguments in _READS:
                self._agreed(name, await self.twins.ask(name, *arguments))

        self.twins.run(step())
        for partition in PARTITIONS:
            for edge in NAMES.edges:
                self.read_output(edge, partition, 0)
        for shard in SHARDS:
            self.read_inputs(shard, READ_MAX, READ_MAX)
            self.read_outbox(shard, READ_MAX, READ_MAX)
            self.read_relays(shard, READ_MAX, READ_MAX)

    # Asking both

    def ask(self, name: str, *arguments: Any) -> tuple[Any, Any]:
        """Make a call on both; the answers are the same but for their clocks."""
        return self.ask_each(name, lambda _: arguments)

    def ask_each(self, name: str, arguments: Callable[[int], tuple[Any, ...]]) -> tuple[Any, Any]:
        """Likewise, with arguments of its own for each."""
        answers: tuple[Any, Any] = self.twins.run(self.twins.ask_each(name, arguments))
        self._agreed(name, answers)
        return answers

    def agree(self, name: str, *arguments: Any) -> Any:
        """Make a call on both, and return the answer."""
        return self.ask(name, *arguments)[0]

    @staticmethod
    def _agreed(name: str, answers: tuple[Any, Any]) -> Any:
        assert same(*answers), f"{name}: {answers[0]} in memory, {answers[1]} on the server"
        return answers[0]

    # Making commits

    def _lease(self, shard: Shard, age: int) -> Lease:
        leases = self.leases[shard]
        return leases[-1 - age] if age < len(leases) else NOBODYS

    def _owns(self, part: ShardCommit) -> bool:
        owner = self.books[part.shard].owner
        return owner is not None and owner.tokens[0] == part.token

    def _part(self, plan: PartPlan, index: int) -> ShardCommit:
        books = self.books[plan.shard]
        partition = _partition(plan.shard)
        known = [
            PersonPatch(user, blocks, muted_until_ms, barred_until_ms)
            for user, (blocks, muted_until_ms, barred_until_ms) in plan.people.items()
            # A person belongs to one partition.
            if partition_of_person(user, SHAPE.shards, SHAPE.partitions) == partition
        ]
        return ShardCommit(
            plan.shard,
            self._lease(plan.shard, plan.age).tokens[index],
            max(books.version + plan.distance, 0),
            books.cursor + plan.ahead,
            plan.marks,
            plan.forget,
            [_patch(plan.shard, patch) for patch in plan.patches],
            outbox=plan.outbox,
            outbox_upto=min(plan.stored, len(books.outbox)),
            people=known,
            dead=plan.dead,
            relays={_other(partition): plan.letters} if plan.letters else {},
            relays_upto={_other(partition): min(plan.moved, len(books.letters))} if plan.moved else {},
            is_proof=plan.is_proof,
        )


def _patch(shard: Shard, plan: PatchPlan) -> RoomPatch:
    of_shard = _rooms_of(shard)
    history = [(Seq(seq), b"%d" % seq) for seq in range(plan.first, plan.first + plan.count)]
    return RoomPatch(
        of_shard[plan.room % len(of_shard)],
        Epoch(plan.epoch),
        plan.set_fields,
        plan.delete_fields,
        history,
        plan.active,
        plan.ttl_ms,
        [Seq(seq) for seq in plan.redacted],
    )


def _partition(shard: Shard) -> Partition:
    return partition_of_shard(shard, SHAPE.partitions)


def _other(partition: Partition) -> Partition:
    return PARTITIONS[1 - partition]


def _rooms_of(shard: Shard) -> list[RoomId]:
    """Return the rooms that the machine has in a shard; a room belongs to one shard for ever."""
    return NAMES.rooms[shard :: SHAPE.shards]


def _key(entry: ShardEntry) -> tuple[int, int, bytes]:
    return entry.shard, entry.position, entry.data


def _are_in_order(entries: list[ShardEntry], appended: list[bytes]) -> None:
    """See that entries of a shard follow each other, and are what was appended there."""
    if not entries:
        return
    first = entries[0].position
    assert [entry.position for entry in entries] == list(range(first, first + len(entries)))
    assert [entry.data for entry in entries] == appended[first - 1 : first - 1 + len(entries)]


_READS: Final[list[tuple[Any, ...]]] = [
    ("nodes", "edge"),
    ("nodes", "worker"),
    ("people", PERSONS),
    ("dead_letters", SHARDS, READ_MAX),
    *(("active_rooms", shard) for shard in SHARDS),
    *(("load_rooms", _partition(shard), _rooms_of(shard)) for shard in SHARDS),
    *(
        ("load_history", _partition(shard), room_id, Epoch(epoch), Seq(0))
        for shard in SHARDS
        for room_id in _rooms_of(shard)
        for epoch in (1, 2, 3)
    ),
]


async def _ended(reads: list[asyncio.Task[list[ShardEntry]]]) -> list[list[ShardEntry]]:
    in_memory, on_server = reads
    async with asyncio.timeout(WOKEN_S):
        await on_server
    for _ in range(TURNS_MAX):
        await asyncio.sleep(0)
    assert in_memory.done(), "woken on the server, not in memory"
    return [in_memory.result(), on_server.result()]
