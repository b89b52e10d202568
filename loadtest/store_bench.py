"""Measures the durable store on PostgreSQL: `python -m loadtest.store_bench`.

One writer appends batches of several sizes, then a million messages lie in 20 rooms, and one reader turns pages at
chance places. Without `--url` it starts a PostgreSQL of its own, which syncs each commit to the disk as a real one
does. Prints tables in Markdown, and what PostgreSQL says of each kind of page: its plan, and the rows it read.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import asyncpg

from common.arguments import count, positive
from common.durable import ChatMessage, MessagePlace
from common.durable_postgres import PostgresStore
from common.errors import RoomringError, SettingsError
from common.ids import Epoch, RoomId, Seq, UserId
from common.postgres_pages import PAGE_STATEMENTS

EPOCH: Final = Epoch(1_700_000_000_000)
BATCHES: Final = (1, 10, 50, 100, 500, 1_000)
FILL_BATCH: Final = 1_000
PAGE_MESSAGES: Final = 50
AUTHORS: Final = 200
HIDDEN_AUTHORS: Final = 20
"""A tenth of what is written is hidden from the reader then."""
TEXT: Final = "Wer zuletzt lacht, lacht am besten; who laughs last, laughs longest. 1234567890"


class Source:
    """Makes messages for rooms in turn, each with the next place of its room."""

    def __init__(self, rooms: int) -> None:
        self.rooms = [RoomId(f"lobby:bench-{number}") for number in range(rooms)]
        self.seqs = [0] * rooms
        self.made = 0

    def take(self, size: int) -> list[ChatMessage]:
        """Return the next messages."""
        messages = []
        for _ in range(size):
            number = self.made % len(self.rooms)
            self.made += 1
            self.seqs[number] += 1
            seq, author = Seq(self.seqs[number]), UserId(f"person-{self.made * 7_919 % AUTHORS}")
            message_id = f"{number:016x}-{EPOCH:x}-{seq:x}"
            room_id, at_ms = self.rooms[number], EPOCH + self.made
            messages.append(ChatMessage(room_id, EPOCH, seq, message_id, author, author.title(), TEXT, at_ms))
        return messages


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.store_bench", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--url", metavar="URL", help="a migrated database without messages (default: one of its own)")
    parser.add_argument("--messages", type=count, default=1_000_000, metavar="N", help="stored (default %(default)s)")
    parser.add_argument("--rooms", type=count, default=20, metavar="N", help="rooms (default %(default)s)")
    parser.add_argument("--pages", type=count, default=2_000, metavar="N", help="pages of each kind (%(default)s)")
    parser.add_argument("--seconds", type=positive, default=3.0, metavar="N", help="for each batch size (%(default)s)")
    args = parser.parse_args(argv)
    try:
        if args.url:
            asyncio.run(_measure(args.url, args))
            return 0
        from deploy.embedded_postgres import EmbeddedPostgres
        from deploy.migrate import upgrade

        with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder), durable=True) as server:
            asyncio.run(upgrade(server.url))
            asyncio.run(_measure(server.url, args))
    except RoomringError as error:
        print(f"store_bench: {error}", file=sys.stderr)  # noqa: T201 - the command's own output
        return 1
    return 0


async def _measure(url: str, args: argparse.Namespace) -> None:
    store = await PostgresStore.connect(url, connections_max=1, call_timeout_ms=60_000)
    connection = await asyncpg.connect(url)
    if await connection.fetchval("SELECT EXISTS (SELECT FROM messages)"):
        raise SettingsError("there are messages in this database; name one without")
    _say(f"PostgreSQL {await connection.fetchval('SHOW server_version')}, one connection\n")
    source = Source(args.rooms)
    await _measure_appends(store, source, args.seconds)
    while source.made < args.messages:
        await store.append(source.take(min(FILL_BATCH, args.messages - source.made)))
    await connection.execute("VACUUM ANALYZE messages")
    bytes_stored = await connection.fetchval("SELECT pg_total_relation_size('messages')")
    _say(
        f"\n{source.made:,} messages in {args.rooms} rooms, {bytes_stored / source.made:.0f} bytes each with indexes\n"
    )
    await _measure_pages(store, source, args.pages)
    _say("")
    for name in PAGE_STATEMENTS:
        await _explain(connection, source, name, [])
    await _explain(connection, source, "before", _hidden())
    await connection.close()
    await store.close()


async def _measure_appends(store: PostgresStore, source: Source, seconds: float) -> None:
    _say("| batch | messages a second | p50, ms | p99, ms |\n|---|---|---|---|")
    for size in BATCHES:
        times_ms = []
        begun_s = time.perf_counter()
        while time.perf_counter() - begun_s < seconds:
            batch = source.take(size)
            call_s = time.perf_counter()
            await store.append(batch)
            times_ms.append((time.perf_counter() - call_s) * 1000)
        # Of the calls alone: making the messages is not the store's work.
        rate = size * len(times_ms) / (sum(times_ms) / 1000)
        _say(f"| {size:,} | {rate:,.0f} | {_quantiles(times_ms)} |")


async def _measure_pages(store: PostgresStore, source: Source, pages: int) -> None:
    chooser = random.Random(7)  # noqa: S311 - the same places each time
    _say(f"| {PAGE_MESSAGES} messages | p50, ms | p99, ms |\n|---|---|---|")
    for title, hidden in (("", []), (", a tenth hidden", _hidden())):
        for name in PAGE_STATEMENTS:
            times_ms = []
            for _ in range(pages):
                room = chooser.randrange(len(source.rooms))
                where = _where(name, source, room, chooser.random())
                begun_s = time.perf_counter()
                await store.page(source.rooms[room], limit=PAGE_MESSAGES, hidden_authors=hidden, **where)
                times_ms.append((time.perf_counter() - begun_s) * 1000)
            _say(f"| {name}{title} | {_quantiles(times_ms)} |")


async def _explain(connection: "asyncpg.Connection[Any]", source: Source, name: str, hidden: Sequence[UserId]) -> None:
    where = _where(name, source, 0, 0.5)
    places = [number for side in ("after", "before") if side in where for number in where[side]]
    arguments = [source.rooms[0], PAGE_MESSAGES + 1, list(hidden), *places]
    statement = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {PAGE_STATEMENTS[name]}"
    plan = json.loads(await connection.fetchval(statement, *arguments))[0]["Plan"]
    scans = [node for node in _nodes(plan) if "Scan" in node["Node Type"]]
    read = sum(node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in scans)
    blocks = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    _say(f"{name}{', a tenth hidden' if hidden else ''}: {read:.0f} rows and {blocks} blocks read")
    for node in scans:
        _say(f"  {node['Node Type']} {node.get('Scan Direction', '')} using {node.get('Index Name', 'no index')}")
        _say(f"    {node.get('Index Cond', '')}")


def _where(name: str, source: Source, room: int, share: float) -> dict[str, MessagePlace]:
    """Return the cursors of a page of this kind, at a share of the room's history."""
    last = source.seqs[room]
    at = MessagePlace(EPOCH, Seq(1 + int(last * share)))
    end = MessagePlace(EPOCH, Seq(at.seq + last // 10))
    return {"newest": {}, "before": {"before": at}, "after": {"after": at}, "between": {"after": at, "before": end}}[
        name
    ]


def _hidden() -> list[UserId]:
    return [UserId(f"person-{number}") for number in range(HIDDEN_AUTHORS)]


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", []) for node in _nodes(child))]


def _quantiles(times_ms: list[float]) -> str:
    ordered = sorted(times_ms)
    return f"{ordered[len(ordered) // 2]:.2f} | {ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]:.2f}"


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the command's own output


if __name__ == "__main__":
    sys.exit(main())
