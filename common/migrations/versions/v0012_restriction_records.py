"""Records of restrictions: which one a mute or ban came from, so that a repeated one is known again."""

from typing import Final

from common.migrations.sql import execute

revision: Final = "0012"
down_revision: Final = "0011"
TABLES: Final = ()


def upgrade() -> None:
    """Add the column; what is there keeps none."""
    execute(
        'ALTER TABLE restrictions ADD COLUMN record_id text COLLATE "C" UNIQUE',
        "COMMENT ON COLUMN restrictions.record_id IS"
        " 'Id of the record that imposed it, unique in the cluster; NULL: it was imposed before there were such.'",
    )


def downgrade() -> None:
    """Drop it."""
    execute("ALTER TABLE restrictions DROP COLUMN record_id")
