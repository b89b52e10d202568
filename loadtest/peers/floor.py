"""Measures the floor: what it costs to write the same bytes to the same number of sockets, and nothing else.

    python -m loadtest.peers.floor --members 100 --per-write 8 --writes 250
    python -m loadtest.peers.floor --members 100 --from result.json

The writer (floor_writer.py) is a process of its own; this one reads and throws away. The bytes are raw: neither
handshake nor masks cost anything here. What is told is the writer's CPU for each update.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import uvloop

from common.arguments import count, positive
from common.errors import RoomringError
from deploy.ports import free_ports
from loadtest.frames import TRANSFORM_FRAME_BYTES
from loadtest.peers.batching import Batching
from loadtest.peers.comparison import FloorMeasured
from loadtest.peers.serving import NotStarted, process
from loadtest.processes import snapshot
from loadtest.usage import usage_between

WARMUP_S: Final = 1.0
_ROOT: Final = Path(__file__).parents[2]
_READ_BYTES: Final = 256 * 1024


class _Sink(asyncio.BufferedProtocol):
    """Reads into one buffer, over and over, and counts."""

    __slots__ = ("_buffer", "received_bytes")

    def __init__(self, buffer: bytearray) -> None:
        self._buffer = buffer
        self.received_bytes = 0

    def get_buffer(self, _size_hint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, size: int) -> None:
        self.received_bytes += size


def measure_floor(
    sockets: int,
    asked: Batching,
    *,
    seconds: float,
    warmup_s: float = WARMUP_S,
    frame_bytes: int = TRANSFORM_FRAME_BYTES,
) -> FloorMeasured:
    """Run the floor for a while.

    Args:
        asked: where the machine cannot do it, less is written; `got` of the result says how much.

    Raises:
        NotStarted: the writer did not come up, or wrote nothing.
        OSError: its sockets could not be opened.
    """
    numbers = (sockets, frame_bytes, asked.updates_per_write, asked.writes_per_second)
    command = [sys.executable, "-m", "loadtest.peers.floor_writer", *(f"{number}" for number in numbers)]
    (port,) = free_ports(1)
    with (
        tempfile.TemporaryDirectory(prefix="roomring-floor-") as folder,
        process(command, port, Path(folder) / "writer.log", {"PYTHONPATH": str(_ROOT)}) as pid,
    ):
        return uvloop.run(_read(sockets, asked, seconds, warmup_s, frame_bytes, port, pid))


async def _read(
    sockets: int, asked: Batching, seconds: float, warmup_s: float, frame_bytes: int, port: int, pid: int
) -> FloorMeasured:
    loop = asyncio.get_running_loop()
    # One for all: a callback of the loop fills and counts it before the next one begins.
    buffer = bytearray(_READ_BYTES)
    sinks = [_Sink(buffer) for _ in range(sockets)]
    for sink in sinks:
        await loop.create_connection(lambda sink=sink: sink, "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.sleep(warmup_s)
    begin = snapshot({"floor": [pid]})
    begin_s, received_before = time.monotonic(), sum(sink.received_bytes for sink in sinks)
    await asyncio.sleep(seconds)
    usage = usage_between(begin, snapshot({"floor": [pid]}))["floor"]
    window_s = time.monotonic() - begin_s
    updates = (sum(sink.received_bytes for sink in sinks) - received_before) // frame_bytes
    if not updates:
        raise NotStarted("the floor's writer wrote nothing")
    writes_per_second = updates / asked.updates_per_write / sockets / window_s
    got = Batching(asked.updates_per_write, writes_per_second)
    return FloorMeasured(sockets, updates, usage.cpu_s, window_s, asked, got)


def batching_in(result: dict[str, Any], members: int) -> Batching:
    """Return the batching of Roomring's edges in a result of `make bench-peers`, of its first round of this size.

    Raises:
        ValueError: the result has none.
    """
    for one in result.get("rounds", []):
        for measured in one["measured"]:
            if measured["server"] == "roomring" and one["members"] == members and measured["batching"]:
                return Batching.from_json(measured["batching"])
    raise ValueError(f"this result has no batching of Roomring with {members} members")


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.peers.floor", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--members", type=count, default=40, metavar="N", help="sockets (default %(default)s)")
    parser.add_argument(
        "--per-write", type=positive, default=1.0, metavar="N", help="updates in one write (default %(default)s)"
    )
    parser.add_argument(
        "--writes", type=positive, default=50.0, metavar="N", help="writes a second to each (default %(default)s)"
    )
    parser.add_argument("--from", dest="result", metavar="FILE", help="take both from a result of make bench-peers")
    parser.add_argument(
        "--frame-bytes", type=count, default=TRANSFORM_FRAME_BYTES, metavar="N", help="default %(default)s"
    )
    parser.add_argument("--seconds", type=positive, default=8.0, metavar="N", help="default %(default)s")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit status."""
    args = _arguments().parse_args(argv)
    try:
        asked = Batching(args.per_write, args.writes)
        if args.result:
            asked = batching_in(json.loads(Path(args.result).read_text()), args.members)
        floor = measure_floor(args.members, asked, seconds=args.seconds, frame_bytes=args.frame_bytes)
    except (RoomringError, ValueError, OSError) as error:
        sys.stderr.write(f"floor: {error}\n")
        return 1
    sys.stdout.write(
        f"floor: {floor.updates:,} updates to {floor.sockets} sockets in {floor.window_s:.1f} s, "
        f"{asked.updates_per_write:.1f} to a write, {floor.got.writes_per_second:.0f} writes/s to each "
        f"(asked {asked.writes_per_second:.0f}): {floor.cpu_us:.3f} µs of CPU for each update\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
