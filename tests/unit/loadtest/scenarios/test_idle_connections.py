import pytest

from loadtest.scenarios.idle_connections import cost_between, files_allowed
from loadtest.usage import KindUsage, Window


def window(cpu_s: float, rss_bytes: int, work: int = 0, seconds: float = 10.0) -> Window:
    return Window("w", 100.0, 100.0 + seconds, usage={"edge": KindUsage(1, cpu_s, 0.0, rss_bytes)}, work=work)


def test_what_a_process_takes_anyhow_is_taken_off() -> None:
    cost = cost_between(window(0.1, 50_000_000, seconds=5.0), window(2.2, 150_000_000, work=4_000), "edge", 5_000)
    assert cost is not None
    assert cost.memory_bytes == 20_000
    assert cost.cores == pytest.approx(0.2)
    assert cost.heartbeat_us == pytest.approx(500.0)


def test_without_heartbeats_none_has_a_cost() -> None:
    cost = cost_between(window(0.1, 1), window(0.1, 1), "edge", 1)
    assert cost is not None
    assert (cost.cores, cost.heartbeat_us) == (0.0, None)


def test_processes_that_are_not_known_have_no_cost() -> None:
    assert cost_between(window(0.1, 1), window(0.1, 1), "worker", 1) is None
    assert cost_between(Window("a"), window(0.1, 1), "edge", 1) is None


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        (
            "Max cpu time  unlimited  unlimited  seconds\nMax open files     1024      4096   files\n",
            1024,
        ),
        ("Max open files            unlimited            unlimited            files\n", None),
        ("", None),
    ],
)
def test_how_many_files_a_process_may_open(text: str, allowed: int | None) -> None:
    assert files_allowed(text) == allowed
