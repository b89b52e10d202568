"""Moderation: what was reported or found, who looks at it, and what came of it."""

from typing import Final

from common.migrations.sql import comment, drop, execute

revision: Final = "0006"
down_revision: Final = "0005"
TABLES: Final = ("reports", "moderation_queue")


def upgrade() -> None:
    """Make them."""
    execute(
        """
        CREATE TABLE moderation_queue (
            item_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            source text NOT NULL CHECK (source IN ('report', 'filter')),
            target text NOT NULL CHECK (target IN ('message', 'note', 'person')),
            room_id text COLLATE "C" NOT NULL,
            target_id text COLLATE "C" NOT NULL,
            subject_id text COLLATE "C" NOT NULL,
            excerpt text NOT NULL DEFAULT '',
            opened_at timestamptz NOT NULL DEFAULT now(),
            claimed_by text COLLATE "C",
            claimed_at timestamptz,
            resolution text CHECK (resolution IN ('dismissed', 'deleted', 'warned', 'kicked', 'muted', 'banned')),
            resolved_by text COLLATE "C",
            resolved_at timestamptz,
            resolution_note text,
            CHECK ((claimed_by IS NULL) = (claimed_at IS NULL)),
            CHECK ((resolution IS NULL) = (resolved_at IS NULL)),
            CHECK (resolved_by IS NULL OR resolved_at IS NOT NULL)
        )
        """,
        "CREATE INDEX moderation_queue_open ON moderation_queue (opened_at, item_id) WHERE resolved_at IS NULL",
        # A second report of the same thing joins the first.
        "CREATE UNIQUE INDEX moderation_queue_one_open ON moderation_queue (room_id, target, target_id)"
        " WHERE resolved_at IS NULL",
        "CREATE INDEX moderation_queue_by_subject ON moderation_queue (subject_id, opened_at)",
        """
        CREATE TABLE reports (
            report_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            item_id bigint NOT NULL REFERENCES moderation_queue ON DELETE CASCADE,
            reporter_id text COLLATE "C" NOT NULL CHECK (reporter_id <> ''),
            reason text NOT NULL,
            details text NOT NULL DEFAULT '',
            reported_at timestamptz NOT NULL DEFAULT now(),
            UNIQUE (item_id, reporter_id)
        )
        """,
        "CREATE INDEX reports_by_reporter ON reports (reporter_id, reported_at)",
    )
    comment(
        "moderation_queue",
        "What moderators are to look at: one item for each reported or filtered thing while it is open.",
        item_id="Number of the item.",
        source="What opened it: report, a person; filter, the filter of words.",
        target="What it is about: message, note or person.",
        room_id="Where it happened.",
        target_id="message_id, note_id or user id.",
        subject_id="Person whose doing it is.",
        excerpt="The text as it was when the item was opened; it outlives the message.",
        opened_at="When it was opened.",
        claimed_by="Moderator who looks at it.",
        claimed_at="When the moderator took it.",
        resolution="What came of it; NULL: it is open.",
        resolved_by="Moderator who decided; NULL for a rule.",
        resolved_at="When it was decided.",
        resolution_note="Why, for other moderators.",
    )
    comment(
        "reports",
        "Who reported what, at most once for each person and item.",
        report_id="Number of the report.",
        item_id="What it is about.",
        reporter_id="Person who reported.",
        reason="Which of the offered reasons.",
        details="In the reporter's own words.",
        reported_at="When.",
    )


def downgrade() -> None:
    """Drop them."""
    drop(*TABLES)
