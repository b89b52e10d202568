"""What the tests of jobs share: a database full of one person's traces, and crashes at each step."""

from collections.abc import Callable
from typing import Any

import asyncpg

from common.job_schema import JOBS_SCHEMA
from deploy.jobs.work import Connection

EVE = "eve-zuckerhut"
"""The person who is erased. The id, name and words are nowhere else."""

WORDS = "crocodile"
"""Stands in everything that the person wrote."""


class Crashed(Exception):
    """Stands for a process that is killed."""


class Crash:
    """Crashes at the first step that none has crashed at before."""

    def __init__(self, before: set[str]) -> None:
        self._before = before

    def __call__(self, step: str) -> None:
        if step not in self._before:
            self._before.add(step)
            raise Crashed(step)


async def crash_everywhere(begin: Callable[[Crash], Any], check: Callable[[], Any]) -> set[str]:
    """Run something again and again, each time crashing at another step, until it ends; check after each crash.

    Returns: the steps that it crashed at.
    """
    crashed: set[str] = set()
    while True:
        try:
            await begin(Crash(crashed))
        except Crashed:
            await check()
            continue
        return crashed


async def dump(connection: Connection) -> dict[str, list[str]]:
    """Return all rows of all tables as text, those of the job library too."""
    names = await connection.fetch(
        "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('public', $1) ORDER BY 1, 2", JOBS_SCHEMA
    )
    return {
        f"{schema}.{name}": sorted(row[0] for row in await connection.fetch(f"SELECT t::text FROM {schema}.{name} t"))
        for schema, name in names
    }


def traces(dumped: dict[str, list[str]], *needles: str) -> list[str]:
    """Return the rows that have one of some words."""
    return [
        f"{table}: {row}" for table, rows in dumped.items() for row in rows if any(needle in row for needle in needles)
    ]


async def add_messages(
    connection: "asyncpg.Connection[Any]",
    count: int,
    *,
    room: str = "lobby:one",
    days_old: float = 100,
    author: str = "ada",
    first_seq: int = 1,
) -> None:
    """Store messages, one a second, the first so many days old. What they say is not easy to write down."""
    await connection.execute(
        "INSERT INTO messages (room_id, epoch, seq, message_id, author_id, author_name, text, reply_to, sent_at)"
        " SELECT $1, 1700000000000, n, $1 || '-' || n, $4, 'Ada \"A\"',"
        " E'said \\\\ ' || n || E'\\nand \\u2028 \\u0085 \\U0001f40a \"so\"',"
        " CASE WHEN n % 3 = 0 THEN $1 || '-' || (n - 1) END,"
        " now() - $3 * interval '1 day' + n * interval '1.001001 second'"
        " FROM generate_series($5::int, $5::int + $2::int - 1) AS n",
        room,
        count,
        days_old,
        author,
        first_seq,
    )
