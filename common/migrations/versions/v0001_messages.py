"""Messages: what was said in rooms."""

from typing import Final

from common.migrations.sql import comment, drop, execute

revision: Final = "0001"
down_revision: Final = None
TABLES: Final = ("messages",)


def upgrade() -> None:
    """Make them."""
    execute(
        """
        CREATE TABLE messages (
            room_id text COLLATE "C" NOT NULL CHECK (char_length(room_id) BETWEEN 1 AND 128),
            epoch bigint NOT NULL CHECK (epoch >= 0),
            seq bigint NOT NULL CHECK (seq >= 1),
            message_id text COLLATE "C" NOT NULL CHECK (message_id <> ''),
            author_id text COLLATE "C" NOT NULL CHECK (author_id <> ''),
            author_name text NOT NULL,
            text text NOT NULL,
            reply_to text COLLATE "C",
            sent_at timestamptz NOT NULL,
            deleted_at timestamptz,
            deleted_by text COLLATE "C",
            PRIMARY KEY (room_id, epoch, seq),
            UNIQUE (message_id),
            CHECK (deleted_by IS NULL OR deleted_at IS NOT NULL)
        )
        """,
        # The primary key serves a room's pages in both directions. This one serves an erasure: all of one author.
        "CREATE INDEX messages_by_author ON messages (author_id, room_id, epoch, seq)",
    )
    comment(
        "messages",
        "Chat messages of all kinds of room, as they were sequenced. A row is written once; only deleting changes it.",
        room_id="Room, 1 to 128 characters; the part before the first colon is its kind.",
        epoch="Which order seq counts in, ms since 1970 when that order began. A later one is greater.",
        seq="Place in the room and epoch, from 1. Not contiguous here: other events take places too.",
        message_id="Id that clients know the message by, unique in the cluster.",
        author_id="Person who sent it.",
        author_name="Name of the author when it was sent.",
        text="What was said; empty where it was erased.",
        reply_to="message_id that it answers; that one need not be stored (any more).",
        sent_at="Worker's time when it was sequenced, to the millisecond.",
        deleted_at="When it was deleted; NULL: it is shown.",
        deleted_by="Who deleted it: its author, a moderator, or NULL for a rule of retention.",
    )


def downgrade() -> None:
    """Drop them."""
    drop(*TABLES)
