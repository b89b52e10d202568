"""Places of reported messages, to know a repeated report again; indexes for pages of the queue and the audit log."""

from typing import Final

from common.migrations.sql import execute

revision: Final = "0011"
down_revision: Final = "0010"
TABLES: Final = ()


def upgrade() -> None:
    """Add the columns, filled in where the message is stored."""
    execute(
        "ALTER TABLE moderation_queue ADD COLUMN epoch bigint, ADD COLUMN seq bigint,"
        " ADD CONSTRAINT moderation_queue_place_check CHECK ((epoch IS NULL) = (seq IS NULL))",
        "UPDATE moderation_queue SET epoch = m.epoch, seq = m.seq FROM messages m"
        " WHERE target = 'message' AND m.message_id = target_id AND m.room_id = moderation_queue.room_id",
        "CREATE INDEX moderation_queue_by_place ON moderation_queue (room_id, epoch, seq) WHERE epoch IS NOT NULL",
        # Pages follow the numbers.
        "DROP INDEX moderation_queue_open",
        "CREATE INDEX moderation_queue_open ON moderation_queue (item_id) WHERE resolved_at IS NULL",
        "ALTER TABLE reports ADD COLUMN latest_at timestamptz NOT NULL DEFAULT now(),"
        " DROP CONSTRAINT reports_reporter_id_check",
        "UPDATE reports SET latest_at = reported_at",
        "DROP INDEX audit_log_by_subject",
        "CREATE INDEX audit_log_by_subject ON audit_log (subject_id, entry_id) WHERE subject_id IS NOT NULL",
        "COMMENT ON COLUMN moderation_queue.epoch IS 'Epoch of the message that it is about; NULL: it is about none.'",
        "COMMENT ON COLUMN moderation_queue.seq IS 'Seq of that message.'",
        "COMMENT ON COLUMN reports.reporter_id IS 'Person who reported; empty: the filter of words.'",
        "COMMENT ON COLUMN reports.latest_at IS 'When the same person last reported it; what is not later is known.'",
    )


def downgrade() -> None:
    """Drop them, and what the filter found: the item itself stays."""
    execute(
        "DELETE FROM reports WHERE reporter_id = ''",
        "ALTER TABLE reports DROP COLUMN latest_at, ADD CONSTRAINT reports_reporter_id_check CHECK (reporter_id <> '')",
        "COMMENT ON COLUMN reports.reporter_id IS 'Person who reported.'",
        "DROP INDEX moderation_queue_by_place",
        "DROP INDEX moderation_queue_open",
        "CREATE INDEX moderation_queue_open ON moderation_queue (opened_at, item_id) WHERE resolved_at IS NULL",
        "ALTER TABLE moderation_queue DROP COLUMN epoch, DROP COLUMN seq",
        "DROP INDEX audit_log_by_subject",
        "CREATE INDEX audit_log_by_subject ON audit_log (subject_id, happened_at, entry_id)"
        " WHERE subject_id IS NOT NULL",
    )
