"""The command line of `roomring loadtest`, and types of the scenarios' options. Quick to import: no generator."""

import argparse
import re
from collections.abc import Callable

from common.arguments import count, positive


def whole(text: str) -> int:
    """Parse a whole number from 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from 0")
    return int(text)


def share(text: str) -> float:
    """Parse a number from 0 to 1."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a share from 0 to 1")
    return number


def url(text: str) -> str:
    """Parse the base URL of an edge; returns it without a slash at its end."""
    if not re.fullmatch(r"https?://[^\s/]\S*", text):
        raise argparse.ArgumentTypeError(f"{text!r} must be a URL that begins with http:// or https://")
    return text.rstrip("/")


def choice(*names: str) -> Callable[[str], str]:
    """Return what parses one of these words."""

    def parse(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(f"{text!r} must be {' or '.join(names)}")
        return text

    return parse


def add_list(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `list`."""
    parser.add_argument("scenario", nargs="*", metavar="SCENARIO", help="only these (default: all)")


def add_run(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `run`."""
    parser.add_argument("scenario", metavar="SCENARIO", help="what to run; `roomring loadtest list` names all")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="settings",
        help="an option of the scenario; repeat it for several",
    )
    parser.add_argument(
        "--seconds", metavar="N", help="measured time of scenarios that have one; the same as --set seconds=N"
    )
    parser.add_argument(
        "--against",
        action="append",
        type=url,
        default=[],
        metavar="URL",
        help="base URL of an edge that runs, http://HOST:PORT; repeat it for several (default: an own cluster)",
    )
    parser.add_argument(
        "--edges", type=count, metavar="N", help="edges of the own cluster (default: the scenario's, mostly 2)"
    )
    parser.add_argument(
        "--workers", type=count, metavar="N", help="workers of the own cluster (default: the scenario's, mostly 2)"
    )
    parser.add_argument(
        "--dialect", default="roomring", metavar="NAME", help="how the servers are spoken to (default %(default)s)"
    )
    parser.add_argument("--label", metavar="TEXT", help="what reports and comparisons call these servers")
    parser.add_argument("--report", metavar="DIR", help="write result.json and report.html there")
    parser.add_argument("--json", metavar="FILE", help="write all that was measured there, as JSON")


def add_compare(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `compare`."""
    parser.add_argument(
        "results",
        nargs="+",
        metavar="RESULT",
        help="JSON file of a run, or a folder with the files of several runs of the same thing; the first is the "
        "one that the others are compared with",
    )
    parser.add_argument(
        "--by",
        metavar="NAME",
        help="tell instead how cost and latency change over this option, or edges or workers",
    )
    parser.add_argument("--plot", metavar="FILE", help="with --by: draw that as well, as SVG")


def add_capacity(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `capacity`."""
    parser.add_argument("--rooms", type=count, default=1, metavar="N", help="rooms (default %(default)s)")
    parser.add_argument("--members", type=count, default=40, metavar="N", help="members of each (default %(default)s)")
    parser.add_argument(
        "--rate", type=positive, default=20.0, metavar="HZ", help="transforms a second of each (default %(default)g)"
    )
    parser.add_argument("--edges", type=count, default=1, metavar="N", help="edges at least (default %(default)s)")
    parser.add_argument("--workers", type=count, default=1, metavar="N", help="workers at least (default %(default)s)")
    parser.add_argument(
        "--gather-ms-max",
        type=whole,
        default=20,
        metavar="MS",
        help="ROOMRING_GATHER_MS_MAX of the workers (default %(default)s)",
    )
    parser.add_argument(
        "--from",
        action="append",
        default=[],
        metavar="RESULT",
        dest="results",
        help="find what things cost on your machine, from a JSON file or a folder of runs of space and many-rooms "
        "there; repeat it for several (default: costs of the machine of docs/performance.md)",
    )


__all__ = ["add_capacity", "add_compare", "add_list", "add_run", "count", "positive", "share", "url", "whole"]
