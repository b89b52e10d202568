"""Whatever is done, both versions of the seam give the same answers, and keep what the seam promises.

What depends on approximate trimming is left out: those bounds are large here.
"""

import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from common.bus import EdgeBus, ShardCommit, WorkerBus
from common.bus_memory import MemoryStore
from deploy.embedded_redis import EmbeddedRedis
from tests.contract import machine
from tests.contract.machine import BusMachine

EXAMPLES = int(os.environ.get("EXAMPLES", "40"))
"""Courses of steps. `EXAMPLES=2000 pytest tests/contract/test_same_answers.py` looks longer."""
STEPS = 50
CHECKS = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)


def _machine(server: EmbeddedRedis) -> type[BusMachine]:
    class Machine(BusMachine):
        url = server.url

    return Machine


@pytest.mark.timeout(max(120, 5 * EXAMPLES))
def test_both_versions_give_the_same_answers(embedded_redis: EmbeddedRedis) -> None:
    run_state_machine_as_test(
        _machine(embedded_redis),
        settings=settings(
            max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, suppress_health_check=CHECKS
        ),
    )


def test_every_call_of_the_seam_is_made() -> None:
    source = inspect.getsource(machine)
    calls = {name for seam in (EdgeBus, WorkerBus) for name, _ in inspect.getmembers(seam, inspect.isfunction)}
    made = {name for name in calls if f'"{name}"' in source or f".{name}(" in source}
    assert {name for name in calls if not name.startswith("_")} <= made


@contextmanager
def an_old_token_may_write() -> Iterator[None]:
    """Giving up a lease leaves the token as it is, so that who had it may still write."""
    release = MemoryStore.release

    def forgetful(self: MemoryStore, partition: Any, worker_id: Any, tokens: Any, versions: Any) -> None:
        release(self, partition, worker_id, tokens, versions)
        for shard, token in tokens.items():
            if shard in self._shards and self._shards[shard].token == token + 1:
                self._shards[shard].token = token

    with patch.object(MemoryStore, "release", forgetful):
        yield


@contextmanager
def written_shards_are_written_again() -> Iterator[None]:
    """A commit whose reply was lost is taken for a new one."""
    refusal = MemoryStore._refusal

    def blind(self: MemoryStore, parts: Sequence[ShardCommit], *, moved: bool) -> Any:
        answer = refusal(self, parts, moved=moved)
        return None if answer is not None and answer.already else answer

    with patch.object(MemoryStore, "_refusal", blind):
        yield


@contextmanager
def leases_never_run_out() -> Iterator[None]:
    """Who held a lease once keeps it until it is given up."""
    acquire = MemoryStore.acquire

    def endless(self: MemoryStore, partition: Any, worker_id: Any, ttl_ms: int, shards: Any) -> Any:
        return acquire(self, partition, worker_id, 1000 * ttl_ms, shards)

    with patch.object(MemoryStore, "acquire", endless):
        yield


@contextmanager
def a_commit_wakes_nobody() -> Iterator[None]:
    """What a commit tells other shards lies in their input, and their owner goes on waiting."""
    notify = MemoryStore._notify
    with patch.object(MemoryStore, "_notify", lambda self, topic: topic[0] == "in" or notify(self, topic)):
        yield


@contextmanager
def one_input_too_many_is_trimmed() -> Iterator[None]:
    """A commit trims one entry more than it has taken."""
    write = MemoryStore._write_part

    def greedy(self: MemoryStore, part: ShardCommit) -> None:
        write(self, part)
        if part.shard in self._inputs:
            self._inputs[part.shard].trim(part.cursor + 1)

    with patch.object(MemoryStore, "_write_part", greedy):
        yield


@contextmanager
def whoever_renews_late_has_proven_everything() -> Iterator[None]:
    """A lease that ran out is extended at another server too, though somebody may have had it meanwhile."""
    renew = MemoryStore.renew

    def trusting(self: MemoryStore, worker_id: Any, ttl_ms: int, tokens: Any) -> Any:
        for shard in tokens:
            if shard in self._shards:
                self._shards[shard].server = self.server
        return renew(self, worker_id, ttl_ms, tokens)

    with patch.object(MemoryStore, "renew", trusting):
        yield


@pytest.mark.parametrize(
    "bug",
    [
        whoever_renews_late_has_proven_everything,
        an_old_token_may_write,
        written_shards_are_written_again,
        leases_never_run_out,
        a_commit_wakes_nobody,
        one_input_too_many_is_trimmed,
    ],
)
def test_a_planted_bug_is_found(bug: Callable[[], AbstractContextManager[None]], embedded_redis: EmbeddedRedis) -> None:
    """The machine can fail: each of these is one that a version could well have."""
    search = settings(
        max_examples=300,
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate,),
        report_multiple_bugs=False,
        suppress_health_check=CHECKS,
    )
    with bug(), pytest.raises(AssertionError):
        run_state_machine_as_test(_machine(embedded_redis), settings=search)
