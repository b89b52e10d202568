"""`make sim`: run many seeds, or one again. `python -m tests.sim --seeds 1000`, `python -m tests.sim --seed 7`."""

import argparse
import os
import sys
import time

from tests.sim.planted import PLANTED
from tests.sim.simulation import Outcome, simulate


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds to run")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="run this one, twice, and tell its course")
    parser.add_argument("--planted", action="store_true", help="tell which seed finds each planted bug first")
    options = parser.parse_args()
    if options.planted:
        return _find_planted(options.first, options.seeds)
    if options.seed is not None:
        return _replay(options.seed)
    began_s = time.monotonic()
    failed = 0
    faults: dict[str, int] = {}
    totals = {"events": 0, "acks": 0, "resumed": 0, "resyncs": 0, "lost_with_data": 0}
    commits = direct_messages = 0
    for seed in range(options.first, options.first + options.seeds):
        outcome = simulate(seed)
        commits += outcome.commits
        direct_messages += outcome.direct_messages
        for kind, times in outcome.faults.items():
            faults[kind] = faults.get(kind, 0) + times
        for name in totals:
            totals[name] += getattr(outcome.counts, name)
        if outcome.problems:
            failed += 1
            _tell(outcome, lines=3)
    took_s = time.monotonic() - began_s
    print(f"{options.seeds} seeds, {failed} failures, {options.seeds / took_s:.1f} seeds a second")
    counts = {"commits": commits, "direct messages": direct_messages, **totals}
    print(", ".join(f"{name} {count}" for name, count in counts.items()))
    print("faults: " + ", ".join(f"{kind} {times}" for kind, times in sorted(faults.items())))
    return 1 if failed else 0


def _replay(seed: int) -> int:
    outcome = simulate(seed)
    print(outcome.timeline)
    print(outcome.counts)
    _tell(outcome, lines=50)
    print(f"trace {outcome.digest}; again {simulate(seed).digest}")
    return 1 if outcome.problems else 0


def _find_planted(first: int, seeds: int) -> int:
    missed = 0
    for name, bug in PLANTED.items():
        with bug():
            found = next((o for o in map(simulate, range(first, first + seeds)) if o.problems), None)
        missed += found is None
        print(f"{name}: " + ("not found" if found is None else f"seed {found.seed}: {found.problems[0][:160]}"))
        sys.stdout.flush()
    return 1 if missed else 0


def _tell(outcome: Outcome, lines: int) -> None:
    print(f"seed {outcome.seed}: {len(outcome.problems)} problems; replay with: make sim SEED={outcome.seed}")
    for problem in outcome.problems[:lines]:
        print(f"    {problem[:300]}")
    sys.stdout.flush()


if __name__ == "__main__":
    # The order of a set of texts depends on the hash seed of the process; a seed must go the same way each time.
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(
            sys.executable, [sys.executable, "-m", "tests.sim", *sys.argv[1:]], {**os.environ, "PYTHONHASHSEED": "0"}
        )
    sys.exit(main())
