"""Threads: direct messages between persons, and how far each of them has read."""

from typing import Final

from common.migrations.sql import comment, drop, execute

revision: Final = "0002"
down_revision: Final = "0001"
TABLES: Final = ("thread_members", "threads")


def upgrade() -> None:
    """Make them."""
    execute(
        """
        CREATE TABLE threads (
            room_id text COLLATE "C" PRIMARY KEY CHECK (char_length(room_id) BETWEEN 1 AND 128),
            created_by text COLLATE "C" NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now(),
            last_epoch bigint,
            last_seq bigint,
            last_message_at timestamptz,
            CHECK ((last_epoch IS NULL) = (last_seq IS NULL)),
            CHECK ((last_epoch IS NULL) = (last_message_at IS NULL))
        )
        """,
        """
        CREATE TABLE thread_members (
            room_id text COLLATE "C" NOT NULL REFERENCES threads ON DELETE CASCADE,
            user_id text COLLATE "C" NOT NULL CHECK (user_id <> ''),
            joined_at timestamptz NOT NULL DEFAULT now(),
            active_at timestamptz NOT NULL DEFAULT now(),
            read_epoch bigint NOT NULL DEFAULT 0 CHECK (read_epoch >= 0),
            read_seq bigint NOT NULL DEFAULT 0 CHECK (read_seq >= 0),
            unread integer NOT NULL DEFAULT 0 CHECK (unread >= 0),
            PRIMARY KEY (room_id, user_id)
        )
        """,
        "CREATE INDEX thread_members_by_activity ON thread_members (user_id, active_at DESC, room_id) INCLUDE (unread)",
        # A person's sum of unread messages looks at the threads that have some.
        "CREATE INDEX thread_members_unread ON thread_members (user_id) INCLUDE (unread) WHERE unread > 0",
    )
    comment(
        "threads",
        "Direct-message threads; each is a room, and its messages are in messages.",
        room_id="Room of the thread.",
        created_by="Person who began it.",
        created_at="When it began.",
        last_epoch="Epoch of the newest message; NULL while there is none.",
        last_seq="Seq of the newest message; NULL while there is none.",
        last_message_at="When the newest message was sent; NULL while there is none.",
    )
    comment(
        "thread_members",
        "Who is in a thread, and how far each has read.",
        room_id="Room of the thread.",
        user_id="Person in it.",
        joined_at="When the person came in.",
        active_at="When the thread was last active, a copy of threads.last_message_at that lists are sorted by.",
        read_epoch="Epoch of the last message that the person has read; 0: none.",
        read_seq="Seq of the last message that the person has read; 0: none.",
        unread="Messages of others after that one.",
    )


def downgrade() -> None:
    """Drop them."""
    drop(*TABLES)
