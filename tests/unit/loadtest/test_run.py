"""What happens around a scenario: windows, Ctrl-C, and how a run ends."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable

import pytest

from loadtest.progress import Progress
from loadtest.run import measure
from loadtest.scenario import CannotRun, Figure, Findings, Scenario, Stage, Target, Values
from loadtest.stage import RunStage
from tests.unit.loadtest.test_progress import Terminal

TARGET = Target(urls=("http://127.0.0.1:1",), pids=lambda: {"edge": [os.getpid()]})


def scenario(run: Callable[[Stage], Awaitable[Findings]]) -> Scenario:
    return Scenario("plain", "nothing", (), run)


def stage() -> RunStage:
    return RunStage(TARGET, Values(()), Progress(Terminal(), "plain"))


async def test_a_window_tells_what_the_processes_used() -> None:
    async with stage() as here, here.window("first") as window:
        begin_s = time.process_time()
        while time.process_time() < begin_s + 0.05:
            pass
    assert here.windows == [window]
    assert window.name == "first"
    assert window.seconds > 0
    # The system counts in ticks of 10 ms.
    assert window.usage["edge"].cpu_s >= 0.03
    assert window.usage["edge"].rss_bytes > 1_000_000
    assert window.generator_cpu_s[0] >= 0.05
    assert (window.redis, window.counters, window.silent) == (None, {}, ())


async def test_a_window_ends_also_where_the_scenario_fails() -> None:
    async with stage() as here:
        with pytest.raises(ValueError, match="broken"):
            async with here.window():
                raise ValueError("broken")
        async with here.window("next"):
            pass
    assert [window.end_s > window.begin_s for window in here.windows] == [True, True]


async def test_windows_may_not_overlap() -> None:
    async with stage() as here, here.window():
        with pytest.raises(AssertionError, match="overlap"):
            async with here.window():
                pass


async def test_processes_are_sampled_from_the_begin() -> None:
    async with stage() as here:
        await asyncio.sleep(0)
    assert [(trace.name, trace.kind) for trace in here.traces] == [("generator", "generator"), ("edge", "edge")]


async def test_a_child_that_is_found_later_makes_no_jump_in_its_parents_trace() -> None:
    # A process that has used some CPU before it is found; its parent is this one.
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ninput()"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    try:
        async with stage() as here:
            # As if it had not been there when the run began.
            here._children = {}
            here._unseen = {}
            before = here._usage(os.getpid())
            await child.stdout.readline()
            here._find_children()
            after = here._usage(os.getpid())
            assert child.pid in here._children[os.getpid()]
        assert before is not None
        assert after is not None
        assert after.cpu_s - before.cpu_s < 0.3
        assert after.rss_bytes > before.rss_bytes
    finally:
        child.kill()
        await child.wait()


async def test_who_sleeps_is_woken_by_the_interruption() -> None:
    async with stage() as here:
        assert await here.sleep_until(time.monotonic() - 1)
        here.interrupted.set()
        assert not await here.sleep_until(time.monotonic() + 1_000)


async def test_redis_of_others_is_not_restarted() -> None:
    async with stage() as here:
        with pytest.raises(CannotRun, match="without --against"):
            await here.restart_redis()


# --- how a run ends -------------------------------------------------------------------------------------


async def test_a_run_that_ends_by_itself_has_what_was_found() -> None:
    async def run(_: Stage) -> Findings:
        return Findings(figures=[Figure("a", 1.0)])

    result = await measure(scenario(run), Values(()), TARGET)
    assert (result.interrupted, result.passed, result.findings.figures[0].value) == (False, True, 1.0)


async def test_ctrl_c_lets_the_scenario_end_in_order() -> None:
    async def run(here: Stage) -> Findings:
        os.kill(os.getpid(), signal.SIGINT)
        await here.interrupted.wait()
        return Findings(figures=[Figure("a", 1.0)])

    result = await measure(scenario(run), Values(()), TARGET)
    assert (result.interrupted, result.passed, result.findings.figures[0].value) == (True, False, 1.0)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


async def test_a_second_ctrl_c_ends_it_at_once() -> None:
    async def run(here: Stage) -> Findings:
        os.kill(os.getpid(), signal.SIGINT)
        await here.interrupted.wait()
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()
        raise AssertionError("it was cancelled before")

    result = await measure(scenario(run), Values(()), TARGET)
    assert (result.interrupted, result.invalid(), result.findings) == (True, ["interrupted"], Findings())


async def test_what_cannot_run_says_so_unless_somebody_ended_it() -> None:
    async def run(here: Stage) -> Findings:
        raise CannotRun("nobody is there")

    async def run_after_ctrl_c(here: Stage) -> Findings:
        os.kill(os.getpid(), signal.SIGINT)
        await here.interrupted.wait()
        raise CannotRun("the sockets went away")

    with pytest.raises(CannotRun, match="nobody is there"):
        await measure(scenario(run), Values(()), TARGET)
    assert (await measure(scenario(run_after_ctrl_c), Values(()), TARGET)).interrupted
