from loadtest.scenario import Findings
from loadtest.scenarios.soak import add_memory
from loadtest.usage import Trace, Usage

MIB = 2**20


def trace(name: str, mib_per_hour: float, *, seconds: int = 600, warmup_mib: float = 50.0) -> Trace:
    """A process whose memory doubles in the first minute and then grows steadily."""
    found = Trace(name, name)
    for second in range(seconds):
        private = warmup_mib * min(1.0, second / 60) + mib_per_hour * second / 3600
        found.at_s.append(1_000.0 + second)
        # What it shares goes up and down, which is no matter.
        found.usage.append(Usage(0.0, 0.0, int(private * MIB) + second % 7 * MIB, int(private * MIB)))
    return found


def test_memory_that_stands_after_the_warm_up_passes() -> None:
    findings = Findings()
    add_memory(findings, [trace("edge-1", 0.0), trace("worker-1", 10.0)], 1_060.0, 20.0)
    assert (findings.failures, findings.invalid) == ([], [])
    assert [row[-1] for row in findings.tables[0].rows] == ["flat", "flat"]
    assert round(findings.figures[0].value or 0) == 10


def test_a_process_that_grows_fails_by_its_name() -> None:
    findings = Findings()
    add_memory(findings, [trace("edge-1", 0.0), trace("worker-1", 90.0)], 1_060.0, 20.0)
    assert findings.failures == ["worker-1 grows by 90.0 MiB an hour (at most 20)"]
    assert findings.invalid == []


def test_where_the_run_ended_before_the_warm_up_nothing_is_said() -> None:
    findings = Findings()
    add_memory(findings, [trace("edge-1", 0.0)], 9_999.0, 20.0)
    assert findings.failures == []
    assert findings.invalid == ["too short to say whether memory grows (edge-1); set seconds= higher"]


def test_memory_that_is_not_known_is_no_pass() -> None:
    findings = Findings()
    add_memory(findings, [], 1_060.0, 20.0)
    assert findings.invalid == ["memory is not known: the processes are not ours"]
