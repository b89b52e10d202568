"""The shortest form of `make chaos`, on each form of Redis: faults that a deployment meets, and no promise broken.

With a database, and with the comparison of who is where at the end.
"""

import random
from pathlib import Path

import pytest

from loadtest.chaos.drill import ChaosPlan, run_chaos
from loadtest.chaos.plan import Fault, Load, StoreKind

TIMES = {
    StoreKind.VALKEY: {
        Fault.WORKER_KILL: 2,
        Fault.EDGE_KILL: 1,
        Fault.WORKER_PAUSE: 1,
        Fault.WORKER_DRAIN: 1,
        Fault.CUT: 1,
        Fault.EDGE_AND_WORKER_KILL: 1,
        Fault.DATABASE_KILL: 1,
    },
    StoreKind.REDIS: {Fault.WORKER_KILL: 1, Fault.STORE_KILL: 1, Fault.STORE_RESTART: 1, Fault.SCRIPT_FLUSH: 1},
    StoreKind.SENTINEL: {Fault.FAILOVER: 1, Fault.CUT: 1},
    StoreKind.CLUSTER: {Fault.FAILOVER: 1, Fault.WORKER_KILL: 1, Fault.CUT: 1, Fault.CUT_ONE: 1},
}


@pytest.mark.usefixtures("redis_server")
@pytest.mark.parametrize("store", list(StoreKind))
async def test_no_promise_is_broken_by_what_may_happen_to_processes(store: StoreKind, tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    talkers = 8 if store == StoreKind.VALKEY else 0
    load = Load(5, 20, 1.0, 2.0, talkers=talkers)
    plan = ChaosPlan(load, TIMES[store], seed, workers=2, lease_ms=1_000, every_s=1.0, store=store)
    report = await run_chaos(plan, folder=tmp_path)
    # With the seed in it. Its times depend on the machine; only what was promised for any machine is looked at.
    text = "\n".join(report.lines())
    print(text)
    assert report.ok, text
    assert len(report.trials) == sum(TIMES[store].values())
    assert all(trial.pauses_ms for trial in report.trials if trial.rooms)
    assert report.losses.acknowledged == report.losses.sent > 50
    assert report.checked.received > report.losses.sent
    # Each space, each lobby with its board, each inbox.
    assert report.rooms_compared == 5 + (2 + 8 if talkers else 0)
    if talkers:
        assert report.conversations is not None
        assert min(report.conversations.direct, report.conversations.chats, report.conversations.notes) > 5
    # Who was not killed found its Redis again without a new start. (No edge is killed where a failover may meet its
    # successor: a process that starts needs a Redis that takes writes.)
    assert report.own_ends == 0
