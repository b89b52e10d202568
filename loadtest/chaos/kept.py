"""What the database of a chaos run has at its end."""

from typing import Final

import asyncpg

from loadtest.chaos.conversations import Kept, StoredMessage, StoredRevision

_MESSAGES: Final = "SELECT room_id, epoch, seq, text FROM messages ORDER BY 1, 2, 3"
_REVISIONS: Final = "SELECT room_id, note_id, revision, text FROM note_revisions ORDER BY 1, 2, 3"


async def read_kept(url: str) -> Kept:
    """Read all messages and revisions of notes, in order."""
    connection = await asyncpg.connect(url)
    try:
        messages = await connection.fetch(_MESSAGES)
        revisions = await connection.fetch(_REVISIONS)
    finally:
        await connection.close()
    return Kept([StoredMessage(*row) for row in messages], [StoredRevision(*row) for row in revisions])
