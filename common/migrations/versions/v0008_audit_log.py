"""The audit log: who did what to whom, for moderators and operators."""

from typing import Final

from common.migrations.sql import comment, drop, execute

revision: Final = "0008"
down_revision: Final = "0007"
TABLES: Final = ("audit_log",)


def upgrade() -> None:
    """Make them."""
    execute(
        """
        CREATE TABLE audit_log (
            entry_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            happened_at timestamptz NOT NULL DEFAULT now(),
            actor_id text COLLATE "C" NOT NULL,
            action text COLLATE "C" NOT NULL CHECK (action <> ''),
            room_id text COLLATE "C",
            subject_id text COLLATE "C",
            details jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(details) = 'object')
        )
        """,
        "CREATE INDEX audit_log_by_time ON audit_log (happened_at, entry_id)",
        "CREATE INDEX audit_log_by_subject ON audit_log (subject_id, happened_at, entry_id)"
        " WHERE subject_id IS NOT NULL",
    )
    comment(
        "audit_log",
        "What was done that somebody may ask about later. Rows are only added, and removed by retention.",
        entry_id="Number of the entry.",
        happened_at="When.",
        actor_id="Who did it: a person, an application through the administration API, or a job.",
        action="What was done, for example message.deleted.",
        room_id="Where; NULL where it concerns no room.",
        subject_id="To whom; NULL where it concerns no person.",
        details="What else is needed to understand it, without tokens and secrets.",
    )


def downgrade() -> None:
    """Drop them."""
    drop(*TABLES)
