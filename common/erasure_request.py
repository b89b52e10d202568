"""Asking for the erasure of a person's data, from wherever the database is at hand: a command, an edge.

Owns the row in `erasures` while nothing was done yet. What is erased is deploy/jobs/erasure.py's.
"""

import asyncio
import hashlib
import json
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from common.durable import Erasure, ErasureRequest
from common.postgres_sql import Statement, clamped, milliseconds

Fetch = Callable[..., Awaitable[Sequence[Any]]]

_SALT_BYTES: Final = 16
_SCRYPT: Final = {"n": 2**14, "r": 8, "p": 1}
"""Some 50 ms for each try: ids of persons are short, and could be guessed one after the other."""

_INSERT: Final = """\
INSERT INTO erasures (requested_by, user_id, pseudonym, salt, user_hash) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (user_id) DO NOTHING RETURNING erasure_id"""

# While it waits for the second pass: what came since should not wait for that.
_AGAIN: Final = "UPDATE erasures SET due_at = now() WHERE user_id = $1 RETURNING erasure_id, passes"


_STATUS: Final = f"""\
SELECT erasure_id, requested_by, {milliseconds("requested_at")} AS requested_at_ms, passes,
       {milliseconds("due_at")} AS due_at_ms, {milliseconds("finished_at")} AS finished_at_ms, counts
FROM erasures WHERE erasure_id = $1"""  # noqa: S608 - constants


async def request_erasure(fetch: Fetch, user_id: str, requested_by: str) -> ErasureRequest:
    """Ask for an erasure. The job process finds it and does it; nobody need queue it.

    Args:
        fetch: runs one statement and returns its rows, as `PostgresLinks.fetch` and asyncpg's connections do.
        user_id: 1 to 128 characters, not checked further: nobody need exist by that id.
        requested_by: who asked for it, for the record.

    Raises: what `fetch` raises; to ask again is harmless.
    """
    salt = secrets.token_bytes(_SALT_BYTES)
    user_hash = await asyncio.to_thread(hash_of, user_id, salt)
    pseudonym = f"erased-{secrets.token_hex(12)}"
    made = await fetch(_INSERT, requested_by, user_id, pseudonym, salt, user_hash)
    if made:
        return ErasureRequest(made[0]["erasure_id"], True, 0)
    found = await fetch(_AGAIN, user_id)
    if found:
        return ErasureRequest(found[0]["erasure_id"], False, found[0]["passes"])
    # It was finished in between.
    return await request_erasure(fetch, user_id, requested_by)


def erasure_statement(erasure_id: int) -> Statement:
    """Return what asks for an erasure."""
    return _STATUS, (clamped(erasure_id),)


def erasure_of_rows(rows: Sequence[Any]) -> Erasure | None:
    """Make the erasure; None: there is no row."""
    return Erasure(**{**rows[0], "counts": json.loads(rows[0]["counts"])}) if rows else None


def hash_of(user_id: str, salt: bytes) -> bytes:
    """Return by what a finished erasure can be compared with an id that somebody names."""
    return hashlib.scrypt(user_id.encode(), salt=salt, dklen=32, **_SCRYPT)
