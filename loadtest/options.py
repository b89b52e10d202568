"""The options of a load test. Apart from `bench.py`, so that `--help` need not load the generator."""

import argparse

from common.arguments import count, positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of a run."""
    parser.add_argument(
        "--url",
        action="append",
        default=[],
        metavar="URL",
        help="base URL of an edge, http://HOST:PORT; repeat it for several (default: an own cluster)",
    )
    parser.add_argument(
        "--members", type=count, default=40, metavar="N", help="members of each room (default %(default)s)"
    )
    parser.add_argument("--rooms", type=count, default=1, metavar="N", help="rooms (default %(default)s)")
    parser.add_argument(
        "--rate",
        type=positive,
        default=20.0,
        metavar="N",
        help="transforms a second for each member (default %(default)s)",
    )
    parser.add_argument(
        "--seconds", type=positive, default=15.0, metavar="N", help="measured time (default %(default)s)"
    )
    parser.add_argument(
        "--generators", type=count, default=1, metavar="N", help="processes that make the load (default %(default)s)"
    )
    parser.add_argument("--json", metavar="FILE", help="also write all that was measured there, as JSON")
