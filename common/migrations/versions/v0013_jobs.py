"""Jobs: archives, erasures, progress, and the tables of the job library.

The library (procrastinate) keeps its queue in a schema of its own, JOBS_SCHEMA, made with the SQL that comes with
the installed release; its version stands in the comment of that schema. Making the index of messages holds up
writers of messages for as long as it takes, two or three seconds for a million rows; what is sent meanwhile waits
in the outboxes.
"""

from typing import Any, Final

from alembic import op
from procrastinate.schema import SchemaManager

from common.job_schema import JOBS_SCHEMA, library_version
from common.migrations.sql import comment, drop, execute

revision: Final = "0013"
down_revision: Final = "0012"
TABLES: Final = ("erasures", "archives", "job_progress")


def upgrade() -> None:
    """Make them."""
    execute(
        # Retention walks what is old, by kind; the expression is `kind_of` of common/ids.py.
        "CREATE INDEX messages_by_kind_and_time ON messages"
        " ((CASE WHEN strpos(room_id, ':') > 0 THEN split_part(room_id, ':', 1) ELSE 'space' END), sent_at)",
        # An erasure looks for what the person deleted.
        "CREATE INDEX messages_by_deleter ON messages (deleted_by) WHERE deleted_by IS NOT NULL",
        """
        CREATE TABLE archives (
            archive_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            kind text COLLATE "C" NOT NULL,
            file text COLLATE "C" UNIQUE,
            writing_file text COLLATE "C" UNIQUE,
            leaving_file text COLLATE "C",
            first_at timestamptz,
            last_at timestamptz,
            messages bigint,
            bytes bigint,
            sha256 text COLLATE "C" CHECK (sha256 ~ '^[0-9a-f]{64}$'),
            created_at timestamptz NOT NULL DEFAULT now(),
            restored_at timestamptz,
            held_until timestamptz,
            CHECK (file IS NOT NULL OR writing_file IS NOT NULL),
            CHECK (num_nulls(file, first_at, last_at, messages, bytes, sha256) IN (0, 6)),
            CHECK (first_at <= last_at),
            CHECK (messages >= 1)
        )
        """,
        "CREATE INDEX archives_by_time ON archives (kind, first_at)",
        """
        CREATE TABLE erasures (
            erasure_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            requested_by text NOT NULL CHECK (requested_by <> ''),
            requested_at timestamptz NOT NULL DEFAULT now(),
            user_id text COLLATE "C" UNIQUE CHECK (user_id <> ''),
            pseudonym text COLLATE "C" UNIQUE,
            salt bytea NOT NULL,
            user_hash bytea NOT NULL,
            passes integer NOT NULL DEFAULT 0 CHECK (passes >= 0),
            due_at timestamptz DEFAULT now(),
            archive_cursor bigint NOT NULL DEFAULT 0,
            counts jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(counts) = 'object'),
            kept_restrictions bigint[] NOT NULL DEFAULT '{}',
            finished_at timestamptz,
            CHECK (num_nulls(user_id, pseudonym, due_at) = CASE WHEN finished_at IS NULL THEN 0 ELSE 3 END)
        )
        """,
        """
        CREATE TABLE job_progress (
            job_id bigint PRIMARY KEY,
            step text NOT NULL DEFAULT '',
            rows_done bigint NOT NULL DEFAULT 0 CHECK (rows_done >= 0),
            error text,
            started_at timestamptz NOT NULL DEFAULT now(),
            updated_at timestamptz NOT NULL DEFAULT now()
        )
        """,
    )
    comment(
        "archives",
        "Files of messages that were taken out of messages, each a piece of time of one kind of room.",
        archive_id="Number of the archive.",
        kind="Kind of the rooms in it.",
        file="Name in the folder of archives; NULL: not finished, its messages are still in messages.",
        writing_file="Name of a file that is being written in its place; what it holds does not count.",
        leaving_file="Name of a file that was replaced and is to be removed.",
        first_at="When its first message was sent.",
        last_at="When its last message was sent.",
        messages="How many messages it has.",
        bytes="Size of the file.",
        sha256="Hash of the file, hexadecimal.",
        created_at="When it was begun.",
        restored_at="When its messages were last brought back into messages.",
        held_until="Until when retention leaves what was brought back alone.",
    )
    comment(
        "erasures",
        "Requests to erase one person's data. Of a finished one only a salted hash tells whom it was about.",
        erasure_id="Number of the request.",
        requested_by="Who asked for it, as the operator wrote it.",
        requested_at="When.",
        user_id="Person; NULL when it is finished.",
        pseudonym="What stands in place of the person's id, made by chance; NULL when it is finished.",
        salt="Salt of the hash.",
        user_hash="scrypt of the person's id: tells whether a given id is the one.",
        passes="How often everything was gone through.",
        due_at="When the next pass is due; NULL when it is finished.",
        archive_cursor="Last archive that this pass has gone through.",
        counts="Rows changed, by what was done.",
        kept_restrictions="Mutes and bans that still run and keep the person's id until they end.",
        finished_at="When the last pass was done.",
    )
    comment(
        "job_progress",
        "How far the jobs of the queue are, beside the job library's own tables.",
        job_id="Number of the job in the queue.",
        step="What it is at.",
        rows_done="Rows that it has changed, over all attempts.",
        error="What the last attempt failed of; NULL: it did not.",
        started_at="When the first attempt began.",
        updated_at="When this row was last written.",
    )
    execute(
        f"CREATE SCHEMA {JOBS_SCHEMA}",
        # The library names its tables without a schema.
        f"SET LOCAL search_path TO {JOBS_SCHEMA}, public",
    )
    _run_script(SchemaManager.get_schema())
    execute(
        "SET LOCAL search_path TO DEFAULT",
        f"COMMENT ON SCHEMA {JOBS_SCHEMA} IS '{library_version()}'",
    )


def downgrade() -> None:
    """Drop them."""
    execute(
        f"DROP SCHEMA {JOBS_SCHEMA} CASCADE", "DROP INDEX messages_by_deleter", "DROP INDEX messages_by_kind_and_time"
    )
    drop(*TABLES)


def _run_script(script: str) -> None:
    """Run many statements at once, which the ordinary way, prepared statements, cannot."""
    driver: Any = op.get_bind().connection.dbapi_connection
    driver.run_async(lambda connection: connection.execute(script))
