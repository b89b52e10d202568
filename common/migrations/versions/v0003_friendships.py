"""Friendships: who is a friend of whom, and who asked."""

from typing import Final

from common.migrations.sql import comment, drop, execute

revision: Final = "0003"
down_revision: Final = "0002"
TABLES: Final = ("friendships",)


def upgrade() -> None:
    """Make them."""
    execute(
        """
        CREATE TABLE friendships (
            low_id text COLLATE "C" NOT NULL CHECK (low_id <> ''),
            high_id text COLLATE "C" NOT NULL,
            status text NOT NULL CHECK (status IN ('pending', 'accepted')),
            requested_by text COLLATE "C" NOT NULL,
            requested_at timestamptz NOT NULL DEFAULT now(),
            accepted_at timestamptz,
            PRIMARY KEY (low_id, high_id),
            CHECK (low_id < high_id),
            CHECK (requested_by IN (low_id, high_id)),
            CHECK ((status = 'accepted') = (accepted_at IS NOT NULL))
        )
        """,
        # A person's friends are found on both sides; the primary key has the one.
        "CREATE INDEX friendships_by_high ON friendships (high_id, low_id)",
    )
    comment(
        "friendships",
        "Friendships and requests, one row for a pair; a refused or ended one has no row.",
        low_id="Person of the pair whose id comes first by code points, which is how collation C orders.",
        high_id="The other one.",
        status="pending: asked, not answered. accepted: they are friends.",
        requested_by="Which of the two asked.",
        requested_at="When.",
        accepted_at="When the other one agreed.",
    )


def downgrade() -> None:
    """Drop them."""
    drop(*TABLES)
