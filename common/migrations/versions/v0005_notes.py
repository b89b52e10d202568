"""Notes: what persons pin to places of a board, and what each note was before."""

from typing import Final

from common.migrations.sql import comment, drop, execute

revision: Final = "0005"
down_revision: Final = "0004"
TABLES: Final = ("note_revisions", "notes")


def upgrade() -> None:
    """Make them."""
    execute(
        """
        CREATE TABLE notes (
            room_id text COLLATE "C" NOT NULL CHECK (char_length(room_id) BETWEEN 1 AND 128),
            note_id text COLLATE "C" NOT NULL CHECK (char_length(note_id) BETWEEN 1 AND 128),
            x double precision NOT NULL CHECK (x > '-Infinity' AND x < 'Infinity'),
            y double precision NOT NULL CHECK (y > '-Infinity' AND y < 'Infinity'),
            text text NOT NULL,
            colour text NOT NULL,
            tags text[] NOT NULL DEFAULT '{}',
            revision integer NOT NULL CHECK (revision >= 1),
            author_id text COLLATE "C" NOT NULL CHECK (author_id <> ''),
            author_name text NOT NULL,
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL,
            deleted_at timestamptz,
            deleted_by text COLLATE "C",
            PRIMARY KEY (room_id, note_id),
            CHECK (deleted_by IS NULL OR deleted_at IS NOT NULL)
        )
        """,
        # A rectangle: the range of x is walked, y is looked at in the index.
        "CREATE INDEX notes_by_place ON notes (room_id, x, y) WHERE deleted_at IS NULL",
        # With deleted ones: who catches up must hear of them.
        "CREATE INDEX notes_by_update ON notes (room_id, updated_at, note_id)",
        "CREATE INDEX notes_by_author ON notes (author_id)",
        """
        CREATE TABLE note_revisions (
            room_id text COLLATE "C" NOT NULL,
            note_id text COLLATE "C" NOT NULL,
            revision integer NOT NULL CHECK (revision >= 1),
            x double precision NOT NULL,
            y double precision NOT NULL,
            text text NOT NULL,
            colour text NOT NULL,
            tags text[] NOT NULL DEFAULT '{}',
            author_id text COLLATE "C" NOT NULL,
            written_at timestamptz NOT NULL,
            PRIMARY KEY (room_id, note_id, revision),
            FOREIGN KEY (room_id, note_id) REFERENCES notes ON DELETE CASCADE
        )
        """,
        "CREATE INDEX note_revisions_by_author ON note_revisions (author_id)",
    )
    comment(
        "notes",
        "Notes of boards, each as it is now.",
        room_id="Board.",
        note_id="Id of the note on its board.",
        x="Place, in the units of the board; a number, not infinite.",
        y="Likewise.",
        text="What it says.",
        colour="Name of its colour, of those that the board knows.",
        tags="Words to find it by.",
        revision="How often it was written, from 1; a change names the one that it is based on.",
        author_id="Person who made it.",
        author_name="Name of the author at that time.",
        created_at="When it was made.",
        updated_at="When it was last written, moved or deleted.",
        deleted_at="When it was deleted; NULL: it is shown.",
        deleted_by="Who deleted it.",
    )
    comment(
        "note_revisions",
        "What each note was at each revision.",
        room_id="Board.",
        note_id="Note.",
        revision="Which revision, from 1.",
        x="Place then.",
        y="Place then.",
        text="Text then.",
        colour="Colour then.",
        tags="Tags then.",
        author_id="Person who wrote this revision.",
        written_at="When.",
    )


def downgrade() -> None:
    """Drop them."""
    drop(*TABLES)
