"""Measures the durable store on PostgreSQL: `python -m loadtest.store_bench`, with `threads` or `notes` after it.

`messages`: one writer appends batches of several sizes, then a million messages lie in 20 rooms, and one reader turns
pages at chance places. `threads`: a million direct messages in 20,000 threads, half of them of one person. `notes`:
100,000 notes on one board. Without `--url` it starts a PostgreSQL of its own, which syncs each commit to the disk as a
real one does. Prints tables in Markdown, and what PostgreSQL says of each kind of page: its plan, and the rows it read.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import asyncpg

from common.arguments import count, positive
from common.durable import BoardNote, ChatMessage, MessagePlace, ReadMark, Rectangle
from common.durable_postgres import PostgresStore
from common.errors import RoomringError, SettingsError
from common.ids import Epoch, RoomId, Seq, UserId, thread_of
from common.postgres_pages import PAGE_STATEMENTS

EPOCH: Final = Epoch(1_700_000_000_000)
BATCHES: Final = (1, 10, 50, 100, 500, 1_000)
FILL_BATCH: Final = 1_000
PAGE_MESSAGES: Final = 50
AUTHORS: Final = 200
HIDDEN_AUTHORS: Final = 20
"""A tenth of what is written is hidden from the reader then."""
THREADS_BATCH: Final = 500
"""As many as a writer takes of one shard at once."""
BUSY: Final = UserId("busy")
UNREAD_THREADS: Final = 200
BURST_MESSAGES: Final = 5
HIDDEN_PERSONS: Final = 20
BOARD_SIDE: Final = 10_000.0
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
    parser.add_argument("what", nargs="?", choices=sorted(MEASURES), default="messages", help="(default %(default)s)")
    parser.add_argument("--url", metavar="URL", help="a migrated database without messages (default: one of its own)")
    parser.add_argument("--messages", type=count, default=1_000_000, metavar="N", help="stored (default %(default)s)")
    parser.add_argument("--rooms", type=count, default=20, metavar="N", help="rooms (default %(default)s)")
    parser.add_argument("--threads", type=count, default=20_000, metavar="N", help="threads (default %(default)s)")
    parser.add_argument("--notes", type=count, default=100_000, metavar="N", help="notes (default %(default)s)")
    parser.add_argument("--pages", type=count, default=2_000, metavar="N", help="pages of each kind (%(default)s)")
    parser.add_argument("--seconds", type=positive, default=3.0, metavar="N", help="for each batch size (%(default)s)")
    args = parser.parse_args(argv)
    try:
        if args.url:
            asyncio.run(MEASURES[args.what](args.url, args))
            return 0
        from deploy.embedded_postgres import EmbeddedPostgres
        from deploy.migrate import upgrade

        with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder), durable=True) as server:
            asyncio.run(upgrade(server.url))
            asyncio.run(MEASURES[args.what](server.url, args))
    except RoomringError as error:
        print(f"store_bench: {error}", file=sys.stderr)  # noqa: T201 - the command's own output
        return 1
    return 0


async def _measure_messages(url: str, args: argparse.Namespace) -> None:
    store, connection = await _open(url, "messages")
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


async def _measure_threads(url: str, args: argparse.Namespace) -> None:
    store, connection = await _open(url, "messages")
    half = args.threads // 2
    # The first half are threads of one person, the others each of two who have no other.
    pairs = [
        (BUSY, UserId(f"friend-{number}")) if number < half else (UserId(f"a-{number}"), UserId(f"b-{number}"))
        for number in range(args.threads)
    ]
    chooser = random.Random(7)  # noqa: S311 - the same places each time
    times_ms, made = [], 0
    while made < args.messages:
        batch = []
        for _ in range(min(THREADS_BATCH, args.messages - made)):
            # A thread has some messages at once, then its turn comes again when all the others had theirs.
            turn, place = divmod(made, BURST_MESSAGES)
            number, seq = turn % args.threads, Seq(1 + turn // args.threads * BURST_MESSAGES + place)
            author, other = pairs[number] if place % 2 else pairs[number][::-1]
            at_ms = EPOCH + made
            message_id = f"{number:016x}-{EPOCH:x}-{seq:x}"
            room_id = thread_of(author, other)
            batch.append(ChatMessage(room_id, EPOCH, seq, message_id, author, author.title(), TEXT, at_ms, None, other))
            made += 1
        begun_s = time.perf_counter()
        await store.append(batch)
        times_ms.append((time.perf_counter() - begun_s) * 1000)
    _say(f"{made:,} direct messages in {args.threads:,} threads, in batches of {THREADS_BATCH}: ")
    _say(f"{made / sum(times_ms) * 1000:,.0f} messages a second\n")
    read_to = Seq(args.messages // args.threads)
    marks = [ReadMark(thread_of(*pair), BUSY, EPOCH, read_to) for pair in pairs[: half - UNREAD_THREADS]]
    for begin in range(0, len(marks), FILL_BATCH):
        await store.append(marks[begin : begin + FILL_BATCH])
    await connection.execute("VACUUM ANALYZE")
    _say("| query | p50, ms | p99, ms |\n|---|---|---|")
    hidden = [pairs[number][1] for number in range(HIDDEN_PERSONS)]
    newest = EPOCH + args.messages

    async def threads(options: Callable[[], dict[str, Any]]) -> None:
        await store.threads(BUSY, limit=PAGE_MESSAGES, **options())

    for title, options in (
        ("50 threads, newest", lambda: {}),
        (
            "50 threads, before a place",
            lambda: {"before": (newest - chooser.randrange(args.threads * BURST_MESSAGES), pairs[0][1])},
        ),
        (f"50 threads, {HIDDEN_PERSONS} persons hidden", lambda: {"hidden": hidden}),
    ):
        await _time(title, args.pages, partial(threads, options))

    async def page() -> None:
        await store.page(thread_of(*chooser.choice(pairs)), limit=PAGE_MESSAGES)

    async def one() -> None:
        pair = chooser.choice(pairs)
        await store.thread(thread_of(*pair), *pair)

    await _time("newest page of a thread", args.pages, page)
    await _time("a thread with its friendship", args.pages, one)
    await _time(f"inbox with {UNREAD_THREADS} unread threads", args.pages, lambda: store.inbox(BUSY))
    await connection.close()
    await store.close()


async def _measure_notes(url: str, args: argparse.Namespace) -> None:
    store, connection = await _open(url, "notes")
    board = RoomId("notes:bench")
    chooser = random.Random(7)  # noqa: S311 - the same places each time
    times_ms, made = [], 0
    while made < args.notes:
        batch = []
        for seq in range(made + 1, min(made + THREADS_BATCH, args.notes) + 1):
            x, y = chooser.uniform(0, BOARD_SIDE), chooser.uniform(0, BOARD_SIDE)
            author = UserId(f"person-{seq % AUTHORS}")
            batch.append(
                BoardNote(
                    *(board, EPOCH, Seq(seq), f"note-{seq}", 1, x, y, TEXT, "yellow", ("work", "later")),
                    *(author, author.title(), author, EPOCH + seq, EPOCH + seq),
                )
            )
        made += len(batch)
        begun_s = time.perf_counter()
        await store.append(batch)
        times_ms.append((time.perf_counter() - begun_s) * 1000)
    _say(f"{made:,} notes on one board, in batches of {THREADS_BATCH}: {made / sum(times_ms) * 1000:,.0f} a second\n")
    await connection.execute("VACUUM ANALYZE")
    _say("| query | p50, ms | p99, ms |\n|---|---|---|")

    async def notes(options: Callable[[], dict[str, Any]]) -> None:
        await store.notes(board, limit=PAGE_MESSAGES, **options())

    def rectangle(share: float) -> Rectangle:
        side = BOARD_SIDE * share**0.5
        x, y = chooser.uniform(0, BOARD_SIDE - side), chooser.uniform(0, BOARD_SIDE - side)
        return Rectangle(x, y, x + side, y + side)

    for title, options in (
        ("page of 50 notes", lambda: {"after": (EPOCH + chooser.randrange(args.notes), "")}),
        ("rectangle of 50 notes", lambda: {"rectangle": rectangle(50 / args.notes)}),
        ("50 of a rectangle of 1,500", lambda: {"rectangle": rectangle(1_500 / args.notes)}),
        ("50 of a rectangle of 5,000", lambda: {"rectangle": rectangle(5_000 / args.notes)}),
        ("50 of a rectangle of half the board", lambda: {"rectangle": rectangle(0.5)}),
    ):
        await _time(title, args.pages, partial(notes, options))
    await _time("board's last 200", args.pages, lambda: store.board(board, 200))
    await connection.close()
    await store.close()


async def _open(url: str, table: str) -> "tuple[PostgresStore, asyncpg.Connection[Any]]":
    store = await PostgresStore.connect(url, connections_max=1, call_timeout_ms=60_000)
    connection = await asyncpg.connect(url)
    if await connection.fetchval(f"SELECT EXISTS (SELECT FROM {table})"):  # noqa: S608 - names of ours
        raise SettingsError(f"there are {table} in this database; name one without")
    _say(f"PostgreSQL {await connection.fetchval('SHOW server_version')}, one connection\n")
    return store, connection


async def _time(title: str, times: int, ask: Callable[[], Awaitable[object]]) -> None:
    times_ms = []
    for _ in range(times):
        begun_s = time.perf_counter()
        await ask()
        times_ms.append((time.perf_counter() - begun_s) * 1000)
    _say(f"| {title} | {_quantiles(times_ms)} |")


def _hidden() -> list[UserId]:
    return [UserId(f"person-{number}") for number in range(HIDDEN_AUTHORS)]


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", []) for node in _nodes(child))]


def _quantiles(times_ms: list[float]) -> str:
    ordered = sorted(times_ms)
    return f"{ordered[len(ordered) // 2]:.2f} | {ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]:.2f}"


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the command's own output


MEASURES: Final = {"messages": _measure_messages, "threads": _measure_threads, "notes": _measure_notes}

if __name__ == "__main__":
    sys.exit(main())
