"""Recipients: to whom a direct message was sent. And an index that tells a person's unread messages by thread."""

from typing import Final

from common.migrations.sql import execute

revision: Final = "0009"
down_revision: Final = "0008"
TABLES: Final = ()


def upgrade() -> None:
    """Add the column; of messages of a thread it is the other one of its two members."""
    execute(
        'ALTER TABLE messages ADD COLUMN recipient_id text COLLATE "C"',
        "UPDATE messages SET recipient_id = other.user_id FROM thread_members other"
        " WHERE other.room_id = messages.room_id AND other.user_id <> messages.author_id",
        "DROP INDEX thread_members_unread",
        "CREATE INDEX thread_members_unread ON thread_members (user_id) INCLUDE (room_id, unread) WHERE unread > 0",
        "COMMENT ON COLUMN messages.recipient_id IS"
        " 'Person whom a direct message was sent to; NULL: it was said to a room.'",
    )


def downgrade() -> None:
    """Drop it. The members of the thread still tell it."""
    execute(
        "DROP INDEX thread_members_unread",
        "CREATE INDEX thread_members_unread ON thread_members (user_id) INCLUDE (unread) WHERE unread > 0",
        "ALTER TABLE messages DROP COLUMN recipient_id",
    )
