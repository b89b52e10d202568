"""Every step of the schema, both ways, with data in the tables that both versions have."""

import asyncio
import json
from typing import Any

import asyncpg
import pytest

from common.durable import Reported
from common.durable_postgres import PostgresStore
from common.errors import SchemaMismatch, SettingsError
from common.ids import UserId, thread_of
from common.job_schema import JOBS_SCHEMA
from common.schema_version import SCHEMA_VERSION, VERSION_TABLE
from deploy import migrate
from deploy.migrate import BASE, MigrationFailed, downgrade, status, upgrade
from tests.contract.durable import ROOM, message, seqs

VERSIONS = [step.revision for step in migrate._all(migrate._scripts())]

ROWS: dict[str, list[str]] = {
    "0001": [
        "INSERT INTO messages VALUES ('lobby:a', 5, 1, 'm1', 'ada', 'Ada', 'hello', NULL, now())",
        "INSERT INTO messages VALUES ('lobby:a', 5, 2, 'm2', 'ben', 'Ben', '', 'm1', now(), now(), 'mod')",
    ],
    "0002": [
        "INSERT INTO threads VALUES ('thread:1', 'ada', now(), 5, 1, now())",
        "INSERT INTO threads (room_id, created_by) VALUES ('thread:2', 'ada')",
        "INSERT INTO thread_members (room_id, user_id, unread) VALUES ('thread:1', 'ada', 0), ('thread:1', 'ben', 3)",
    ],
    "0003": [
        "INSERT INTO friendships VALUES ('ada', 'ben', 'accepted', 'ben', now(), now())",
        "INSERT INTO friendships VALUES ('Zoe', 'ada', 'pending', 'ada')",
    ],
    "0004": ["INSERT INTO blocks VALUES ('ada', 'eve'), ('eve', 'ada')"],
    "0005": [
        "INSERT INTO notes VALUES ('notes:a', 'n1', 1.5, -2, 'hi', 'red', '{x,y}', 2, 'ada', 'Ada', now(), now())",
        "INSERT INTO note_revisions VALUES ('notes:a', 'n1', 1, 0, 0, 'h', 'red', '{}', 'ada', now())",
    ],
    "0006": [
        "INSERT INTO moderation_queue (source, target, room_id, target_id, subject_id)"
        " VALUES ('report', 'message', 'lobby:a', 'm1', 'ada')",
        "INSERT INTO reports (item_id, reporter_id, reason) SELECT item_id, 'ben', 'spam' FROM moderation_queue",
    ],
    "0007": [
        "INSERT INTO restrictions (room_id, user_id, kind, imposed_by) VALUES ('lobby:a', 'eve', 'ban', 'mod')",
        "INSERT INTO restrictions (user_id, kind, imposed_by, ends_at)"
        " VALUES ('eve', 'mute', 'mod', now() + interval '1 h')",
    ],
    "0008": ["""INSERT INTO audit_log (actor_id, action, details) VALUES ('mod', 'user.banned', '{"for_s": 60}')"""],
    "0009": [
        "INSERT INTO messages (room_id, epoch, seq, message_id, author_id, author_name, text, sent_at, recipient_id)"
        " VALUES ('thread:1', 5, 1, 'm5', 'ada', 'Ada', 'hello', now(), 'ben')",
    ],
    "0010": [
        "INSERT INTO notes (room_id, note_id, x, y, text, colour, revision, author_id, author_name, created_at,"
        " updated_at, edited_by, epoch, seq)"
        " VALUES ('notes:a', 'n2', 0, 0, 'hi', 'red', 1, 'ada', 'Ada', now(), now(), 'ben', 5, 7)",
    ],
    "0011": [
        "INSERT INTO moderation_queue (source, target, room_id, target_id, subject_id, epoch, seq)"
        " VALUES ('filter', 'message', 'lobby:a', 'm2', 'ben', 5, 2)",
    ],
    "0012": [
        "INSERT INTO restrictions (record_id, room_id, user_id, kind, imposed_by)"
        " VALUES ('r1', 'lobby:a', 'eve', 'mute', 'mod')",
    ],
    "0013": [
        "INSERT INTO archives (kind, writing_file) VALUES ('lobby', 'lobby-1.jsonl.gz')",
        "INSERT INTO archives (kind, file, first_at, last_at, messages, bytes, sha256)"
        " VALUES ('lobby', 'lobby-0.jsonl.gz', now(), now(), 2, 99, repeat('0', 64))",
        "INSERT INTO erasures (requested_by, user_id, pseudonym, salt, user_hash)"
        " VALUES ('office', 'eve', 'erased-1', 'salt', 'hash')",
        "INSERT INTO job_progress (job_id, step) VALUES (1, 'archive lobby')",
    ],
    "0014": [
        "INSERT INTO erasures (requested_by, user_id, pseudonym, salt, user_hash, room_key)"
        " VALUES ('office', 'zoe', 'erased-2', 'salt', 'hash', 'key')",
    ],
}
REFUSED = [
    "INSERT INTO messages VALUES ('', 5, 1, 'm', 'ada', 'Ada', 'x', NULL, now())",
    "INSERT INTO messages VALUES ('lobby:a', 5, 0, 'm', 'ada', 'Ada', 'x', NULL, now())",
    "INSERT INTO messages VALUES ('lobby:a', 5, 9, 'm1', 'ada', 'Ada', 'x', NULL, now())",
    "INSERT INTO messages VALUES ('lobby:a', 5, 9, 'm9', 'ada', 'Ada', 'x', NULL, now(), NULL, 'mod')",
    "INSERT INTO thread_members (room_id, user_id) VALUES ('thread:none', 'ada')",
    "UPDATE thread_members SET unread = -1",
    "UPDATE threads SET last_seq = NULL WHERE last_seq IS NOT NULL",
    "INSERT INTO friendships VALUES ('ben', 'ada', 'pending', 'ada')",
    # By code points, which is what Python compares by: capitals come first.
    "INSERT INTO friendships VALUES ('ada', 'Zoe', 'pending', 'ada')",
    "INSERT INTO friendships VALUES ('ada', 'eve', 'pending', 'ben')",
    "INSERT INTO friendships VALUES ('ada', 'eve', 'accepted', 'ada')",
    "INSERT INTO blocks VALUES ('ada', 'ada')",
    "UPDATE notes SET x = 'NaN'",
    "UPDATE notes SET y = '-Infinity'",
    "INSERT INTO note_revisions VALUES ('notes:a', 'none', 1, 0, 0, '', '', '{}', 'ada', now())",
    "INSERT INTO moderation_queue (source, target, room_id, target_id, subject_id)"
    " VALUES ('filter', 'message', 'lobby:a', 'm1', 'ada')",
    "UPDATE moderation_queue SET resolution = 'deleted'",
    "INSERT INTO reports (item_id, reporter_id, reason) SELECT item_id, 'ben', 'again' FROM moderation_queue",
    "UPDATE restrictions SET ends_at = imposed_at",
    "UPDATE audit_log SET details = '[]'",
    "UPDATE archives SET sha256 = NULL WHERE file IS NOT NULL",
    "UPDATE archives SET writing_file = NULL WHERE file IS NULL",
    # A finished erasure names nobody, and one that runs must know whom.
    "UPDATE erasures SET finished_at = now()",
    "UPDATE erasures SET user_id = NULL",
    "INSERT INTO erasures (requested_by, user_id, pseudonym, salt, user_hash)"
    " VALUES ('office', 'eve', 'erased-2', 'salt', 'hash')",
    "UPDATE moderation_queue SET seq = NULL",
    "INSERT INTO restrictions (record_id, room_id, user_id, kind, imposed_by) VALUES ('r1', 'b', 'ada', 'ban', 'mod')",
]


Rows = list[dict[str, Any]]


async def tables(connection: "asyncpg.Connection[Any]") -> dict[str, Rows]:
    """Return all rows of all tables."""
    names = await connection.fetch(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> $1 ORDER BY 1", VERSION_TABLE
    )
    return {
        name: [json.loads(row[0]) for row in await connection.fetch(f"SELECT to_jsonb(t) FROM {name} t")]
        for (name,) in names
    }


def common(before: dict[str, Rows], after: dict[str, Rows]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return both, without the columns that only one of them has."""
    columns = {
        name: set(before[name][0]) & set(after[name][0])
        for name in before.keys() & after.keys()
        if before[name] and after[name]
    }

    def cut(found: dict[str, Rows]) -> dict[str, list[str]]:
        return {
            name: sorted(str({key: row[key] for key in sorted(columns.get(name, row))}) for row in rows)
            for name, rows in found.items()
            if rows
        }

    return cut(before), cut(after)


async def fill(connection: "asyncpg.Connection[Any]", version: str) -> None:
    for statement in ROWS[version]:
        await connection.execute(statement)


def test_the_release_names_the_last_step_and_each_has_rows_here() -> None:
    assert VERSIONS[-1] == SCHEMA_VERSION
    assert list(ROWS) == VERSIONS


async def test_each_step_up_keeps_what_is_there(empty_database_url: str) -> None:
    connection = await asyncpg.connect(empty_database_url)
    for version in VERSIONS:
        before = await tables(connection)
        assert [step.version for step in await upgrade(empty_database_url, version)] == [version]
        after = await tables(connection)
        was, is_now = common(before, after)
        assert is_now == was
        await fill(connection, version)
    assert all((await tables(connection)).values())
    await connection.close()


async def test_each_step_down_keeps_what_the_older_version_can_hold(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    for version in VERSIONS:
        await fill(connection, version)
    scripts = migrate._scripts()
    for version in reversed(VERSIONS):
        before = await tables(connection)
        dropped = scripts.get_revision(version).module.TABLES
        if dropped:
            with pytest.raises(SettingsError, match=f"would drop what is in .*{dropped[0]}.*pg_dump.*--yes"):
                await downgrade(database_url, "-1")
            assert await tables(connection) == before
        assert [step.version for step in await downgrade(database_url, "-1", drop_data=True)] == [version]
        after = await tables(connection)
        was, is_now = common(before, after)
        assert is_now == {name: rows for name, rows in was.items() if name not in dropped}
        # And forth and back: the step can be taken again, with what is there.
        await upgrade(database_url, version)
        assert [step.version for step in await downgrade(database_url, "-1")] == [version]
        assert await tables(connection) == after
    assert (await status(database_url)).current is None
    # Nothing of ours is left but the table of versions: no type, no sequence, no function.
    left = await connection.fetch(
        "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'public'"
    )
    assert {row[0].partition("_pkc")[0] for row in left} == {VERSION_TABLE}
    assert not await connection.fetch("SELECT FROM pg_namespace WHERE nspname = $1", JOBS_SCHEMA)
    await connection.close()


async def test_what_an_older_version_cannot_hold_is_found_again_where_it_can_be(database_url: str) -> None:
    store = await PostgresStore.connect(database_url)
    ada, ben = UserId("ada"), UserId("ben")
    sent = message(7, room=thread_of(ada, ben), author=ada, recipient=ben)
    report = Reported(sent.room_id, sent.epoch, sent.seq, "", UserId(""), "", ben, "spam", "report", 5)
    await store.append([sent, report])
    await downgrade(database_url, "0008", drop_data=True)
    await upgrade(database_url)
    assert (await store.page(sent.room_id, limit=5)).messages == [sent]
    await store.append([report])
    (entry,) = await store.queue(open_only=False, limit=5)
    assert (entry.epoch, entry.seq, entry.report_count) == (sent.epoch, sent.seq, 1)
    assert await store.resolve(entry.item_id, "mod", "dismissed", "", {})
    await store.append([report])
    assert await store.queue(limit=5) == []
    await store.close()


async def test_all_the_way_up_down_and_up_gives_the_same_schema(empty_database_url: str) -> None:
    connection = await asyncpg.connect(empty_database_url)

    async def described() -> list[str]:
        rows = await connection.fetch(
            "SELECT format('%s %s %s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod),"
            " col_description(c.oid, a.attnum)) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
            " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND a.attnum > 0"
            " UNION ALL SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace"
            " UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'"
        )
        return sorted(row[0] for row in rows)

    await upgrade(empty_database_url)
    first = await described()
    await downgrade(empty_database_url, BASE)
    await upgrade(empty_database_url)
    assert await described() == first
    await connection.close()


async def test_every_table_and_column_says_what_it_means(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    silent = await connection.fetch(
        "SELECT c.relname, a.attname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum >= 0 AND NOT a.attisdropped"
        " WHERE n.nspname = 'public' AND c.relkind = 'r' AND c.relname <> $1"
        " AND (col_description(c.oid, a.attnum) IS NULL OR obj_description(c.oid) IS NULL)",
        VERSION_TABLE,
    )
    assert not silent
    await connection.close()


@pytest.mark.parametrize("statement", REFUSED)
async def test_what_makes_no_sense_is_refused(database_url: str, statement: str) -> None:
    connection = await asyncpg.connect(database_url)
    for version in VERSIONS:
        await fill(connection, version)
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await connection.execute(statement)
    await connection.close()


async def test_two_that_migrate_at_once_do_not_collide(empty_database_url: str) -> None:
    taken = await asyncio.gather(*(upgrade(empty_database_url) for _ in range(4)))
    assert sorted(len(steps) for steps in taken) == [0, 0, 0, len(VERSIONS)]


async def test_a_step_that_fails_is_undone_and_those_before_it_are_kept(empty_database_url: str) -> None:
    connection = await asyncpg.connect(empty_database_url)
    # Comes in the way of the second table of 0002.
    await connection.execute("CREATE TABLE thread_members ()")
    with pytest.raises(MigrationFailed, match='relation "thread_members" already exists') as raised:
        await upgrade(empty_database_url)
    assert "\n" not in str(raised.value)
    found = await status(empty_database_url)
    assert (found.current, found.pending[0].version) == ("0001", "0002")
    assert sorted(await tables(connection)) == ["messages", "thread_members"]
    await connection.execute("DROP TABLE thread_members")
    await upgrade(empty_database_url)
    assert (await status(empty_database_url)).pending == []
    await connection.close()


async def test_a_table_in_use_holds_a_step_up_only_for_a_while(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await downgrade(database_url, "0008")
    monkeypatch.setattr(migrate, "TABLE_LOCK_TIMEOUT_MS", 50)
    connection = await asyncpg.connect(database_url)
    await connection.execute("BEGIN; SELECT FROM audit_log")
    with pytest.raises(MigrationFailed, match="lock timeout"):
        await downgrade(database_url, "-1")
    await connection.close()
    assert (await status(database_url)).current == "0008"


async def test_a_lock_that_is_never_given_up_is_told(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "LOCK_TIMEOUT_MS", 50)
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute(f"SELECT pg_advisory_lock({migrate._LOCK_KEY})")
    with pytest.raises(MigrationFailed, match="another `roomring migrate`"):
        await upgrade(empty_database_url)
    await connection.close()


async def test_a_database_of_a_newer_release_is_left_alone(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    await connection.close()
    for attempt in (status(database_url), upgrade(database_url), downgrade(database_url, "-1", drop_data=True)):
        with pytest.raises(SchemaMismatch, match="version 9999, which this release does not know"):
            await attempt
    with pytest.raises(SchemaMismatch, match="is of version 9999 and this release needs"):
        await PostgresStore.connect(database_url)


async def test_a_store_that_runs_goes_on_while_later_steps_are_undone_and_taken(database_url: str) -> None:
    store = await PostgresStore.connect(database_url)
    await downgrade(database_url, "0009")
    await store.append([message(1)])
    await upgrade(database_url)
    assert seqs(await store.page(ROOM, limit=5)) == [1]
    await store.close()


async def test_what_cannot_be_asked_for(database_url: str) -> None:
    for wrong, match in ((upgrade(database_url, "77"), "no version '77'"), (upgrade(database_url, BASE), "already")):
        with pytest.raises(SettingsError, match=match):
            await wrong
    with pytest.raises(SettingsError, match="no 99 steps"):
        await downgrade(database_url, "-99")
    await downgrade(database_url, "0004")
    with pytest.raises(SettingsError, match="migrate up 0006"):
        await downgrade(database_url, "0006")
    with pytest.raises(SettingsError, match="migrate down 0002"):
        await upgrade(database_url, "0002")
    assert await downgrade(database_url, "0004") == await upgrade(database_url, "0004") == []
