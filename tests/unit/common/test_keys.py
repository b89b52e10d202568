"""Redis keys: one slot for a partition, and no two things under one key."""

import inspect
import itertools
import re

from hypothesis import example, given
from hypothesis import strategies as st

from common.ids import EdgeId, Partition, RoomId, Shard, UserId, WorkerId
from common.keys import Keys

odd_names = st.one_of(st.text(max_size=30), st.text(alphabet="{}:p01 \n\0a", max_size=12))


def hash_tag(key: str) -> str:
    """Return what Redis Cluster hashes: what stands in the first braces, where that is not empty."""
    found = re.search(r"\{([^}]*)\}", key, re.DOTALL)
    return found[1] if found and found[1] else key


def all_keys(keys: Keys, name: str, number: int) -> dict[str, str]:
    return {
        "cluster": keys.cluster(),
        "nodes": keys.nodes("edge"),
        "node_info": keys.node_info("edge"),
        "input": keys.input(Shard(number)),
        "outbox": keys.outbox(Shard(number)),
        "relay": keys.relay(Shard(number), Partition(1)),
        "dead": keys.dead(Shard(number)),
        "output": keys.output(EdgeId(name)),
        "wake": keys.wake(WorkerId(name)),
        "shard": keys.shard(Shard(number)),
        "active_rooms": keys.active_rooms(Shard(number)),
        "room": keys.room(RoomId(name)),
        "history": keys.history(RoomId(name)),
        "person": keys.person(UserId(name)),
    }


def test_every_key_of_the_module_is_in_this_test() -> None:
    functions = {name for name, _ in inspect.getmembers(Keys, inspect.isfunction) if not name.startswith("_")}
    assert functions == set(all_keys(Keys("rr", Partition(0)), "x", 1))


@given(odd_names, st.integers(0, 1023), st.integers(0, 63))
@example("}{p1}", 0, 0)
@example("{p9}:x", 3, 2)
def test_all_keys_of_a_partition_share_its_hash_tag(name: str, number: int, partition: int) -> None:
    # A person may be called "}{p1}": only the first tag of a key counts, and that is ours.
    for key in all_keys(Keys("rr", Partition(partition)), name, number).values():
        assert hash_tag(key) == f"p{partition}"
        assert key.startswith("rr:")


@given(odd_names, odd_names, st.integers(0, 20), st.integers(0, 20))
@example("cluster", "edge", 1, 1)
def test_different_things_never_share_a_key(first: str, second: str, low: int, high: int) -> None:
    keys = Keys("rr", Partition(0))
    seen: dict[str, tuple[str, object]] = {}
    for name, number in itertools.product({first, second}, {low, high}):
        for what, key in all_keys(keys, name, number).items():
            of: object = number if what in ("input", "outbox", "relay", "dead", "shard", "active_rooms") else name
            if what in ("cluster", "nodes", "node_info"):
                of = None
            assert seen.setdefault(key, (what, of)) == (what, of)


def test_clusters_and_partitions_do_not_meet() -> None:
    worlds = [Keys(namespace, Partition(number)) for namespace in ("a", "b") for number in (0, 1, 10)]
    keys = [key for world in worlds for key in all_keys(world, "x", 1).values()]
    assert len(set(keys)) == len(keys)


def test_the_two_roles_have_keys_of_their_own() -> None:
    keys = Keys("rr", Partition(0))
    assert keys.nodes("edge") != keys.nodes("worker")
    assert keys.node_info("edge") != keys.node_info("worker")
