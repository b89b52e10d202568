"""Restrictions: mutes and bans, running and past."""

from typing import Final

from common.migrations.sql import comment, drop, execute

revision: Final = "0007"
down_revision: Final = "0006"
TABLES: Final = ("restrictions",)


def upgrade() -> None:
    """Make them."""
    execute(
        """
        CREATE TABLE restrictions (
            restriction_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            room_id text COLLATE "C",
            user_id text COLLATE "C" NOT NULL CHECK (user_id <> ''),
            kind text NOT NULL CHECK (kind IN ('mute', 'ban')),
            reason text NOT NULL DEFAULT '',
            imposed_by text COLLATE "C" NOT NULL,
            imposed_at timestamptz NOT NULL DEFAULT now(),
            ends_at timestamptz,
            lifted_by text COLLATE "C",
            lifted_at timestamptz,
            CHECK (ends_at IS NULL OR ends_at > imposed_at),
            CHECK (lifted_by IS NULL OR lifted_at IS NOT NULL)
        )
        """,
        # What runs is not lifted, and ends later than now; the time of asking cannot be in an index's condition.
        "CREATE INDEX restrictions_of_person ON restrictions (user_id, ends_at) WHERE lifted_at IS NULL",
        "CREATE INDEX restrictions_in_room ON restrictions (room_id, ends_at) WHERE lifted_at IS NULL",
    )
    comment(
        "restrictions",
        "Mutes and bans. One runs while it is not lifted and its end is not past.",
        restriction_id="Number of the restriction.",
        room_id="Room that it holds in; NULL: in all.",
        user_id="Person whom it concerns.",
        kind="mute: may not speak. ban: may not enter.",
        reason="Why, as the person is told.",
        imposed_by="Who imposed it.",
        imposed_at="When.",
        ends_at="When it ends by itself; NULL: it does not.",
        lifted_by="Who lifted it before its end.",
        lifted_at="When it was lifted.",
    )


def downgrade() -> None:
    """Drop them."""
    drop(*TABLES)
