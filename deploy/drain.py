"""`roomring drain`: end one edge or worker of a `roomring up` in order, and watch it go."""

import argparse
import json
import os
import re
import signal
import time
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final

from common.errors import RoomringError, SettingsError

_POLL_S: Final = 0.1
_LEFT: Final = {
    "edge": ("roomring_edge_connections", "connections"),
    "worker": ("roomring_worker_shards", "shards"),
}
"""What tells how far a role has come: the number of its metrics, and its name for people."""


def run(args: argparse.Namespace) -> int:
    """Drain one process and wait until it has gone. See `roomring drain --help`.

    Raises:
        SettingsError: no cluster runs from the folder, or it has no such process.
        RoomringError: the process did not end in time.
    """
    process = find(Path(args.data), args.name)
    pid, role = int(process["pid"]), args.name.partition("-")[0]
    metric, noun = _LEFT[role]
    deadline_s = time.monotonic() + args.timeout
    os.kill(pid, signal.SIGTERM)
    _say(f"{args.name}: told to drain (process {pid})")
    told: int | None = None
    while _lives(pid):
        if time.monotonic() >= deadline_s:
            raise RoomringError(
                f"{args.name} (process {pid}) has not ended within {args.timeout} s; it goes on draining"
            )
        left = _left(process["internal_url"], metric)
        if left is not None and left != told:
            told = left
            _say(f"{args.name}: {left} {noun} left")
        time.sleep(_POLL_S)
    _say(f"{args.name}: gone; `roomring up` starts it again")
    return 0


def find(data_dir: Path, name: str) -> dict[str, Any]:
    """Return what `cluster.json` says of a running edge or worker.

    Raises:
        SettingsError: no cluster runs from the folder, or it has no such process.
    """
    try:
        cluster = json.loads((data_dir / "cluster.json").read_text())
        os.kill(cluster["pid"], 0)
        processes = [*cluster["edges"], *cluster["workers"]]
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise SettingsError(
            f"no `roomring up` runs from {data_dir}/; name its folder with --data. Elsewhere, send SIGTERM to the "
            "process"
        ) from error
    process: dict[str, Any]
    for process in processes:
        if process["name"] == name and process["pid"] is not None:
            return process
    names = ", ".join(process["name"] for process in processes if process["pid"] is not None)
    raise SettingsError(f"there is no running {name!r} in this cluster; it has {names}")


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _left(internal_url: str, metric: str) -> int | None:
    """Ask the process for a number; None where it does not answer any more."""
    try:
        with urllib.request.urlopen(f"{internal_url}/metrics", timeout=1) as answer:  # noqa: S310 - our own listener
            text = answer.read().decode()
    except (OSError, HTTPException):
        return None
    found = re.search(rf"^{metric} ([0-9.]+)", text, re.MULTILINE)
    return None if found is None else int(float(found[1]))


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the command's own output
