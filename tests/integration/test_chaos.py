"""The shortest form of `make chaos`: one of each fault that a deployment meets, and no promise broken.

With a database, and with the comparison of who is where at the end.
"""

import random
from pathlib import Path

from loadtest.chaos.drill import ChaosPlan, run_chaos
from loadtest.chaos.plan import Fault, Load

TIMES = {
    Fault.WORKER_KILL: 2,
    Fault.EDGE_KILL: 1,
    Fault.WORKER_PAUSE: 1,
    Fault.WORKER_DRAIN: 1,
    Fault.CUT: 1,
    Fault.EDGE_AND_WORKER_KILL: 1,
    Fault.DATABASE_KILL: 1,
}


async def test_no_promise_is_broken_by_what_may_happen_to_processes(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    plan = ChaosPlan(Load(5, 20, 1.0, 2.0, talkers=8), TIMES, seed, workers=2, lease_ms=1_000, every_s=1.0)
    report = await run_chaos(plan, folder=tmp_path)
    # With the seed in it. Its times depend on the machine; only what was promised for any machine is looked at.
    text = "\n".join(report.lines())
    print(text)
    assert report.ok, text
    assert len(report.trials) == sum(TIMES.values())
    assert all(trial.pauses_ms for trial in report.trials if trial.rooms)
    assert report.losses.acknowledged == report.losses.sent > 100
    assert report.checked.received > report.losses.sent
    assert report.conversations is not None
    assert min(report.conversations.direct, report.conversations.chats, report.conversations.notes) > 5
    # Each space, each lobby with its board, each inbox.
    assert report.rooms_compared == 5 + 2 + 8
