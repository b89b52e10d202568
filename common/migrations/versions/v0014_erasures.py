"""What an erasure finds by: to whom messages were sent, who edited notes. And the key of an erasure's new room ids."""

from typing import Final

from common.migrations.sql import execute

revision: Final = "0014"
down_revision: Final = "0013"
TABLES: Final = ()


def upgrade() -> None:
    """Add them."""
    execute(
        "CREATE INDEX messages_by_recipient ON messages (recipient_id) WHERE recipient_id IS NOT NULL",
        "CREATE INDEX notes_by_editor ON notes (edited_by)",
        # By default, so that what still runs of the release before need not know of it. Two, since 6 bits of each
        # are not chance.
        "ALTER TABLE erasures ADD COLUMN room_key bytea"
        " DEFAULT decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex')",
        "UPDATE erasures SET room_key = NULL WHERE finished_at IS NOT NULL",
        "ALTER TABLE erasures ADD CONSTRAINT erasures_room_key_check"
        " CHECK ((room_key IS NULL) = (finished_at IS NOT NULL))",
        "COMMENT ON COLUMN erasures.room_key IS"
        " 'What the new ids of the person''s rooms are made with, of chance; NULL when it is finished.'",
    )


def downgrade() -> None:
    """Drop them."""
    execute(
        "ALTER TABLE erasures DROP COLUMN room_key",
        "DROP INDEX notes_by_editor",
        "DROP INDEX messages_by_recipient",
    )
