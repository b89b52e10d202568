"""`python -m loadtest.peers`, or `make bench-peers`: Roomring beside other servers, on this machine."""

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from common.arguments import count, positive
from loadtest.peers.catalogue import OWN, PEERS, ROOMRING

DEFAULT_SIZES: Final = (40,)

FAN_OUT_MEMBERS: Final = 200
FAN_OUT_MOVERS: Final = 10
"""At 20 transforms a second each, about a hundred and fifty sockets are written to for each frame that is read, and as
much is sent as in the room of 40."""

START_S: Final = 3.0
"""What a server takes to start and to stop, for the time that is told beforehand."""


def _peer(text: str) -> str:
    if text not in PEERS:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(PEERS)}")
    return text


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.peers",
        description="Measure Roomring and other servers in turn, with the same load.",
        epilog="The peers are installed by npm and pip into the cache folder at the first run; NATS must be on PATH.",
    )
    parser.add_argument(
        "--peer",
        action="append",
        type=_peer,
        metavar="NAME",
        help=f"one of {', '.join(PEERS)}; repeat it for several (default: all)",
    )
    parser.add_argument(
        "--members",
        action="append",
        type=count,
        metavar="N",
        help=f"members of the room; repeat it for several sizes (default {DEFAULT_SIZES[0]})",
    )
    parser.add_argument("--rounds", type=count, default=5, metavar="N", help="default %(default)s")
    parser.add_argument(
        "--rate", type=positive, default=20.0, metavar="N", help="transforms a second of each member (%(default)s)"
    )
    parser.add_argument(
        "--seconds", type=positive, default=8.0, metavar="S", help="measured time of each run (default %(default)s)"
    )
    parser.add_argument(
        "--generators", type=count, default=1, metavar="N", help="processes that make the load (default %(default)s)"
    )
    parser.add_argument("--no-floor", action="store_true", help="without the floor program")
    parser.add_argument("--search", action="store_true", help="also look for the largest room that each sustains; long")
    parser.add_argument("--search-only", action="store_true", help="look for the largest room, and do no rounds")
    parser.add_argument(
        "--p99-max", type=positive, default=100.0, metavar="MS", help="the search ends beyond it (default %(default)s)"
    )
    parser.add_argument(
        "--members-max", type=count, default=600, metavar="N", help="the search tries no larger room (%(default)s)"
    )
    parser.add_argument("--json", metavar="FILE", help="also write all that was measured there, as JSON")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(".roomring") / "peers",
        metavar="FOLDER",
        help="where peers are installed (default %(default)s)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns: exit status. 0 when Roomring was measured, since what a peer did wrong is a finding and no failure; 130
    when it was interrupted.
    """
    args = _arguments().parse_args(argv)
    # After the options, so that --help and a wrong option are quick.
    from loadtest.peers.bench import Bench, Means
    from loadtest.peers.comparison import Comparison
    from loadtest.peers.comparison_text import render
    from loadtest.peers.floor import WARMUP_S as FLOOR_WARMUP_S
    from loadtest.peers.floor import measure_floor
    from loadtest.peers.measuring import find_largest_room, measure_space, search_s
    from loadtest.peers.serving import prepare
    from loadtest.play import DRAIN_S, START_DELAY_S, WARMUP_S
    from loadtest.run import EXIT_INTERRUPTED, host_facts

    common = {"cache": args.cache.absolute(), "rate": args.rate, "generators": args.generators}
    longest_search_s = search_s(args.members_max)
    find_largest = partial(
        find_largest_room,
        **common,
        members_max=args.members_max,
        p99_max_ms=args.p99_max,
        seconds_max=2 * longest_search_s,
    )
    fan_out = partial(measure_space, ROOMRING, FAN_OUT_MEMBERS, **common, seconds=args.seconds, movers=FAN_OUT_MOVERS)
    is_searching = args.search or args.search_only
    means = Means(
        install=partial(prepare, cache=common["cache"]),
        measure=partial(measure_space, **common, seconds=args.seconds),
        measure_floor=None if args.no_floor else partial(measure_floor, seconds=args.seconds),
        measure_fan_out=None if args.no_floor or args.search_only else fan_out,
        find_largest=find_largest if is_searching else None,
        say=_say,
    )
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    servers = (*OWN, *dict.fromkeys(args.peer or PEERS))
    bench = Bench(
        Comparison(host_facts(), started_at, servers, args.rate, args.seconds),
        means,
        sizes=() if args.search_only else tuple(dict.fromkeys(args.members or DEFAULT_SIZES)),
        rounds=args.rounds,
    )
    try:
        bench.install()
    except KeyboardInterrupt:
        _say("interrupted before there was anything to tell")
        return EXIT_INTERRUPTED
    run_s = START_S + START_DELAY_S + WARMUP_S + args.seconds + DRAIN_S
    expected_s = bench.expected_s(run_s, FLOOR_WARMUP_S + args.seconds + 1.0, START_S + longest_search_s)
    _say(f"this takes {'at most' if is_searching else 'about'} {in_minutes(expected_s)}; Ctrl-C tells what there is")
    comparison = bench.run()
    sys.stdout.write(render(comparison))
    if args.json:
        Path(args.json).write_text(json.dumps(comparison.to_json(), indent=1) + "\n")
    if comparison.interrupted:
        return EXIT_INTERRUPTED
    return 0 if any(ROOMRING in one.measured for one in comparison.rounds) or comparison.sustained else 1


def in_minutes(seconds: float) -> str:
    """Return a time as people say it."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _say(text: str) -> None:
    sys.stderr.write(f"bench-peers: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
