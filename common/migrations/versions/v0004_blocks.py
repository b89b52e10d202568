"""Blocks: who wants to see nothing of whom."""

from typing import Final

from common.migrations.sql import comment, drop, execute

revision: Final = "0004"
down_revision: Final = "0003"
TABLES: Final = ("blocks",)


def upgrade() -> None:
    """Make them."""
    execute(
        """
        CREATE TABLE blocks (
            blocker_id text COLLATE "C" NOT NULL CHECK (blocker_id <> ''),
            blocked_id text COLLATE "C" NOT NULL CHECK (blocked_id <> ''),
            created_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (blocker_id, blocked_id),
            CHECK (blocker_id <> blocked_id)
        )
        """,
        "CREATE INDEX blocks_by_blocked ON blocks (blocked_id, blocker_id)",
    )
    comment(
        "blocks",
        "Who blocked whom.",
        blocker_id="Person who does not want to see the other.",
        blocked_id="Person who is not seen.",
        created_at="When.",
    )


def downgrade() -> None:
    """Drop them."""
    drop(*TABLES)
