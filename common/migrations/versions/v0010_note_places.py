"""Places of notes in the order of their boards: which of a note's records is the newest, and who wrote it."""

from typing import Final

from common.migrations.sql import execute

revision: Final = "0010"
down_revision: Final = "0009"
TABLES: Final = ()


def upgrade() -> None:
    """Add the columns. What is there stands before all that comes."""
    execute(
        "ALTER TABLE notes ADD COLUMN edited_by text COLLATE \"C\" NOT NULL DEFAULT '',"
        " ADD COLUMN epoch bigint NOT NULL DEFAULT 0, ADD COLUMN seq bigint NOT NULL DEFAULT 0",
        "UPDATE notes SET edited_by = coalesce("
        "(SELECT r.author_id FROM note_revisions r WHERE r.room_id = notes.room_id AND r.note_id = notes.note_id"
        " ORDER BY r.revision DESC LIMIT 1), author_id)",
        # What a board begins with: the notes that were written last.
        "CREATE INDEX notes_by_order ON notes (room_id, epoch, seq, note_id) WHERE deleted_at IS NULL",
        # Pages. Nothing reads notes in the order of their last change by time.
        "CREATE INDEX notes_by_creation ON notes (room_id, created_at, note_id) WHERE deleted_at IS NULL",
        "DROP INDEX notes_by_update",
        "COMMENT ON COLUMN notes.edited_by IS 'Person who wrote it last.'",
        "COMMENT ON COLUMN notes.epoch IS 'Epoch of the place in its board where it was last written or deleted.'",
        "COMMENT ON COLUMN notes.seq IS 'Seq of that place.'",
    )


def downgrade() -> None:
    """Drop them."""
    execute(
        "CREATE INDEX notes_by_update ON notes (room_id, updated_at, note_id)",
        "DROP INDEX notes_by_order",
        "DROP INDEX notes_by_creation",
        "ALTER TABLE notes DROP COLUMN edited_by, DROP COLUMN epoch, DROP COLUMN seq",
    )
