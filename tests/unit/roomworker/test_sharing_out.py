"""Workers that share shards out by plans alone: who joins, leaves and dies, in any order, and what moves then."""

from collections import Counter
from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from common.ids import Shard, WorkerId
from common.ring import propose_owners
from roomworker.membership import Membership
from roomworker.ownership import Asking, plan_leaving, plan_ownership

SHARDS = 24
AT_ONCE = 2
LEASE_MS = 1_000
TICK_MS = 20


class Player:
    """What a worker knows by itself."""

    def __init__(self, name: WorkerId) -> None:
        self.name = name
        self.owned: set[Shard] = set()
        self.membership = Membership(name, settle_ms=300, settle_ms_max=1_000, silence_ms=600, grace_ms=300)
        self.asking = Asking(AT_ONCE)
        self.is_leaving = False
        self.asked_at_once = AT_ONCE


class Table:
    """Registry and leases, and the workers at it. Leases of the dead run out together with their registration."""

    def __init__(self, *names: WorkerId) -> None:
        self.now_ms = 0
        self.owner: dict[Shard, WorkerId] = {}
        self.wanted: dict[Shard, WorkerId] = {}
        self.players: dict[WorkerId, Player] = {}
        self.registry: set[WorkerId] = set()
        self.dead_at_ms: dict[WorkerId, int] = {}
        self.moves: Counter[Shard] = Counter()
        self.given_for: dict[Shard, WorkerId] = {}
        for name in names:
            self.join(name)

    def join(self, name: WorkerId) -> None:
        self.players[name] = Player(name)
        self.registry.add(name)

    def leave(self, name: WorkerId) -> None:
        self.players[name].is_leaving = True
        self.registry.discard(name)

    def die(self, name: WorkerId) -> None:
        del self.players[name]
        self.dead_at_ms[name] = self.now_ms

    def tick(self) -> None:
        self.now_ms += TICK_MS
        for name, at_ms in list(self.dead_at_ms.items()):
            if self.now_ms - at_ms >= LEASE_MS:
                del self.dead_at_ms[name]
                self.registry.discard(name)
                self.owner = {shard: owner for shard, owner in self.owner.items() if owner != name}

    def look(self, player: Player) -> None:
        """What the control loop of a worker does."""
        lacking: list[Shard] = []
        wishes = {shard: self.wanted[shard] for shard in player.owned if shard in self.wanted}
        if player.is_leaving:
            release = plan_leaving(self.registry - {player.name}, player.owned, wishes, AT_ONCE)
        else:
            workers = player.membership.observe(self.registry, self.now_ms)
            plan = plan_ownership(player.name, SHARDS, workers, player.owned, wishes, AT_ONCE)
            release, lacking = plan.release, plan.acquire
        for shard in release:
            player.owned.discard(shard)
            del self.owner[shard]
            if shard in self.wanted:
                self.given_for[shard] = self.wanted[shard]
        # Given to it, but another should have it since: that one finds that nobody does, and takes it.
        self.given_for = {
            shard: name for shard, name in self.given_for.items() if name != player.name or shard in lacking
        }
        asked = player.asking.begin(lacking)
        while asked:
            held = [shard for shard in asked if self.owner.get(shard, player.name) != player.name]
            if held:
                # While it finds shards that nobody holds it asks for more and more, and may then meet some that
                # somebody does.
                player.asked_at_once = max(AT_ONCE, len(asked))
            self.wanted.update(dict.fromkeys(held, player.name))
            taken = set(asked) - set(held)
            for shard in taken:
                assert shard not in self.owner
                self.owner[shard] = player.name
                self.moves[shard] += 1
                self.given_for.pop(shard, None)
                self.wanted.pop(shard, None)
            player.owned |= taken
            asked = player.asking.heard(held, taken)
        if player.is_leaving and not player.owned:
            del self.players[player.name]

    def run(self, ms: int) -> None:
        for _ in range(0, ms, TICK_MS):
            self.tick()
            for player in list(self.players.values()):
                self.look(player)
                for name, count in Counter(self.given_for.values()).items():
                    assert count <= (self.players[name].asked_at_once if name in self.players else AT_ONCE)

    def is_shared_out(self) -> bool:
        return self.owner == propose_owners(SHARDS, self.registry)


def names(count: int) -> list[WorkerId]:
    return [WorkerId(f"w{number}") for number in range(count)]


def must_move(before: list[WorkerId], after: list[WorkerId]) -> dict[Shard, int]:
    """Return the shards whose owner changes, once each."""
    old, new = propose_owners(SHARDS, before), propose_owners(SHARDS, after)
    return {shard: 1 for shard in new if old[shard] != new[shard]}


def settled(*workers: WorkerId) -> Table:
    table = Table(*workers)
    table.run(2_000)
    assert table.is_shared_out()
    table.moves.clear()
    return table


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 200))
@settings(max_examples=50)
def test_workers_that_join_together_move_what_must_move_and_once(there: int, new: int, apart_ms: int) -> None:
    table = settled(*names(there))
    for name in names(there + new)[there:]:
        table.join(name)
        table.run(apart_ms)
    table.run(3_000)
    assert table.is_shared_out()
    assert table.moves == must_move(names(there), names(there + new))


@given(st.integers(2, 6), st.integers(1, 5), st.booleans())
@settings(max_examples=50)
def test_workers_that_leave_or_die_together_move_what_must_move_and_once(there: int, gone: int, die: bool) -> None:
    gone = min(gone, there - 1)
    table = settled(*names(there))
    for name in names(gone):
        (table.die if die else table.leave)(name)
    table.run(3_000)
    assert table.is_shared_out()
    assert set(table.players) == set(names(there)[gone:])
    assert table.moves == must_move(names(there), names(there)[gone:])


def test_where_one_goes_before_the_one_that_came_counts_both_are_one_move() -> None:
    # A rolling deploy: each new process is there for a moment when the next old one goes.
    table = settled(*names(5))
    sets = [names(5)]
    for number in range(5):
        table.leave(WorkerId(f"w{number}"))
        sets.append(sorted(table.registry))
        table.run(1_000)
        table.join(WorkerId(f"x{number}"))
        table.run(100)
    table.run(2_000)
    sets.append(sorted(table.registry))
    assert table.is_shared_out()
    assert table.moves.total() == sum(len(must_move(*pair)) for pair in pairwise(sets))


steps = st.lists(
    st.tuples(st.sampled_from(["join", "leave", "die", "run"]), st.integers(0, 7), st.integers(0, 1_200)), max_size=25
)


@given(steps)
# One that was given a shard learns that another should have it, and asks for the next.
@example(
    [
        ("join", 0, 0),
        *[("leave", 0, 0)] * 2,
        ("run", 0, 1),
        *[("join", 0, 0)] * 3,
        ("die", 1, 0),
        ("run", 0, 1),
        ("leave", 0, 0),
    ]
)
@settings(max_examples=100)
def test_whatever_happens_all_is_shared_out_in_the_end_and_then_nothing_moves(
    course: list[tuple[str, int, int]],
) -> None:
    table = Table(WorkerId("w0"))
    for number, (what, which, ms) in enumerate(course):
        staying = [name for name, player in table.players.items() if not player.is_leaving]
        if what == "join":
            table.join(WorkerId(f"w{number + 1}"))
        elif what == "run":
            table.run(ms)
        elif len(staying) > 1:
            (table.leave if what == "leave" else table.die)(staying[which % len(staying)])
    table.run(5_000)
    assert table.is_shared_out()
    table.moves.clear()
    table.run(2_000)
    assert not table.moves
