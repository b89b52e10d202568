"""`python -m loadtest.chaos`: options, the run, the report. Exit status 1 where something was violated."""

import argparse
import gc
import json
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from common.arguments import count, positive
from loadtest.chaos.drill import ChaosPlan, run_chaos
from loadtest.chaos.plan import Load, StoreKind, default_times


def _not_negative(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from 0")
    return int(text)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.chaos", description="Break a cluster under load.")
    for name, default, what in (
        ("--kills", 4, "SIGKILLs of workers"),
        ("--edge-kills", 2, "SIGKILLs of edges"),
        ("--drains", 2, "SIGTERMs of workers"),
        ("--others", 1, "how often each other fault is tried; FLUSHALL at most once, and once more with an edge"),
    ):
        text = f"{what} (default {default})"
        parser.add_argument(name, type=_not_negative, default=default, metavar="N", help=text)
    parser.add_argument("--rooms", type=count, default=20, metavar="N", help="default %(default)s")
    parser.add_argument("--clients", type=count, default=200, metavar="N", help="in all (default %(default)s)")
    parser.add_argument(
        "--chat", type=positive, default=0.5, metavar="N", help="messages a second of each (default %(default)s)"
    )
    parser.add_argument(
        "--moves", type=positive, default=1.0, metavar="N", help="movements a second of each (default %(default)s)"
    )
    parser.add_argument(
        "--store",
        type=StoreKind,
        choices=list(StoreKind),
        default=StoreKind.VALKEY,
        help="the Redis it is done on (default %(default)s)",
    )
    parser.add_argument("--workers", type=count, default=3, metavar="N", help="default %(default)s")
    parser.add_argument("--edges", type=count, default=2, metavar="N", help="default %(default)s")
    parser.add_argument(
        "--every", type=positive, default=4.0, metavar="S", help="seconds between faults (default %(default)s)"
    )
    parser.add_argument(
        "--database", action="store_true", help="with a PostgreSQL: kept chat, direct messages, notes, and its faults"
    )
    parser.add_argument(
        "--talkers", type=count, default=20, metavar="N", help="pairs of friends, with --database (default %(default)s)"
    )
    parser.add_argument("--seed", type=_not_negative, default=None, metavar="N", help="default: a random one")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="leave observations, logs and data there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the report there, as JSON")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, and print the report."""
    options = _arguments().parse_args(arguments)
    plan = ChaosPlan(
        Load(
            options.rooms,
            options.clients,
            options.chat,
            options.moves,
            talkers=2 * options.talkers if options.database else 0,
        ),
        default_times(
            options.kills,
            options.edge_kills,
            options.drains,
            options.others,
            options.store,
            database=options.database,
        ),
        secrets.randbelow(1 << 32) if options.seed is None else options.seed,
        workers=options.workers,
        edges=options.edges,
        every_s=options.every,
        store=options.store,
    )
    # Collections of the oldest generation would stop the clients for as long as a small fault.
    gc.set_threshold(50_000, 50, 1_000)

    def say(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    say(f"seed {plan.seed}: {sum(plan.times.values())} faults, {options.clients} clients in {options.rooms} rooms")
    report = uvloop.run(run_chaos(plan, folder=options.folder, say=say))
    say("\n".join(["", *report.lines()]))
    if options.json is not None:
        options.json.write_text(json.dumps(report.as_json(), indent=2) + "\n")
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
