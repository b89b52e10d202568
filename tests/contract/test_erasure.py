"""An erasure leaves no trace of the person, in no table and no archive, and nothing of others is lost by it."""

import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from common.erasure_request import hash_of, request_erasure
from common.errors import SettingsError
from common.schema_version import VERSION_TABLE
from deploy.jobs import erasure
from deploy.jobs.archives import Archiver, find_all
from deploy.jobs.work import Connection, Work, open_connection
from tests.contract.jobs import EVE, WORDS, Crash, add_messages, crash_everywhere, dump, traces

NAME = "Evelyn"
SECOND_PASS_MS = 60_000

TRACES = f"""
INSERT INTO messages VALUES ('lobby:a', 5, 1, 'm1', '{EVE}', '{NAME}', '{WORDS} 1', NULL, now());
INSERT INTO messages VALUES ('lobby:a', 5, 2, 'm2', 'ben', 'Ben', 'hi', 'm1', now());
INSERT INTO messages VALUES ('lobby:a', 5, 3, 'm3', 'ben', 'Ben', '', NULL, now(), now(), '{EVE}');
INSERT INTO messages VALUES ('lobby:a', 5, 4, 'm4', '{EVE}', '{NAME}', '{WORDS} 4', NULL, now(), '2026-01-02', 'mod');
INSERT INTO threads (room_id, created_by) VALUES ('dm:1', '{EVE}'), ('dm:2', 'ben'), ('dm:3', 'ben');
INSERT INTO thread_members (room_id, user_id) VALUES
    ('dm:1', '{EVE}'), ('dm:1', 'ben'), ('dm:2', 'ben'), ('dm:2', '{EVE}'), ('dm:3', 'ben'), ('dm:3', 'ada');
INSERT INTO friendships (low_id, high_id, status, requested_by)
    VALUES ('ada', '{EVE}', 'pending', '{EVE}'), ('{EVE}', 'zoe', 'pending', 'zoe'), ('ada', 'ben', 'pending', 'ada');
INSERT INTO blocks VALUES ('{EVE}', 'ben'), ('ada', '{EVE}'), ('ada', 'ben');
INSERT INTO notes VALUES
    ('notes:a', 'hers', 1, 2, '{WORDS}', 'red', '{{{WORDS}}}', 2, '{EVE}', '{NAME}', now(), now()),
    ('notes:a', 'changed', 1, 2, '{WORDS}', 'red', '{{}}', 3, 'ben', 'Ben', now(), now()),
    ('notes:a', 'taken', 1, 2, '{WORDS}', 'red', '{{}}', 1, 'ben', 'Ben', now(), now()),
    ('notes:a', 'his', 1, 2, 'mine', 'red', '{{}}', 1, 'ben', 'Ben', now(), now());
INSERT INTO notes VALUES ('notes:a', 'gone', 1, 2, '', 'red', '{{}}', 1, 'ben', 'Ben', now(), now(), now(), '{EVE}');
INSERT INTO note_revisions VALUES
    ('notes:a', 'hers', 1, 1, 2, '{WORDS}', 'red', '{{}}', '{EVE}', now()),
    ('notes:a', 'hers', 2, 1, 2, '{WORDS} and', 'red', '{{}}', 'ben', now()),
    ('notes:a', 'changed', 1, 7, 8, 'first', 'blue', '{{a,b}}', 'ben', now()),
    ('notes:a', 'changed', 2, 1, 2, '{WORDS}', 'red', '{{}}', '{EVE}', now()),
    ('notes:a', 'changed', 3, 1, 2, '{WORDS}', 'red', '{{}}', '{EVE}', now()),
    ('notes:a', 'taken', 1, 1, 2, '{WORDS}', 'red', '{{}}', '{EVE}', now()),
    ('notes:a', 'his', 1, 1, 2, 'mine', 'red', '{{}}', 'ben', now());
INSERT INTO moderation_queue (source, target, room_id, target_id, subject_id, excerpt)
    VALUES ('report', 'message', 'lobby:a', 'm1', '{EVE}', '{WORDS}'),
           ('report', 'person', 'lobby:a', '{EVE}', '{EVE}', ''),
           ('report', 'message', 'lobby:a', 'm2', 'ben', 'hi');
INSERT INTO moderation_queue (source, target, room_id, target_id, subject_id, excerpt, claimed_by, claimed_at,
                              resolution, resolved_by, resolved_at, resolution_note)
    VALUES ('filter', 'message', 'lobby:a', 'm4', '{EVE}', '{WORDS}', 'mod', now(), 'deleted', 'mod', now(), '{NAME}?'),
           ('filter', 'message', 'lobby:a', 'm0', 'ben', 'oh', '{EVE}', now(), 'deleted', '{EVE}', now(), 'note');
INSERT INTO reports (item_id, reporter_id, reason, details)
    SELECT item_id, 'ben', 'spam', 'so said {NAME}' FROM moderation_queue WHERE subject_id = '{EVE}';
INSERT INTO reports (item_id, reporter_id, reason, details)
    SELECT item_id, '{EVE}', 'spam', '{WORDS}' FROM moderation_queue WHERE subject_id = 'ben';
INSERT INTO restrictions (room_id, user_id, kind, reason, imposed_by, imposed_at, ends_at, lifted_by, lifted_at) VALUES
    ('lobby:a', '{EVE}', 'ban', '{WORDS}', 'mod', '2026-01-01', '2026-01-02', NULL, NULL),
    ('lobby:a', '{EVE}', 'ban', '{WORDS}', 'mod', now(), NULL, 'mod', now()),
    ('lobby:a', 'ben', 'ban', 'rude', '{EVE}', now(), NULL, '{EVE}', now());
INSERT INTO audit_log (actor_id, action, subject_id, details) VALUES
    ('{EVE}', 'note.deleted', 'ben', '{{"text": "{WORDS}"}}'),
    ('mod', 'user.banned', '{EVE}', '{{"reason": "{WORDS}", "for": "{EVE}"}}'),
    ('mod', 'user.banned', 'ben', '{{"reason": "rude"}}');
"""


COLUMNS = {
    "archives": {"kind", "file", "writing_file", "leaving_file", "sha256"},
    "audit_log": {"actor_id", "action", "room_id", "subject_id", "details"},
    "blocks": {"blocker_id", "blocked_id"},
    "erasures": {"requested_by", "user_id", "pseudonym", "salt", "user_hash", "counts", "kept_restrictions"},
    "friendships": {"low_id", "high_id", "status", "requested_by"},
    "job_progress": {"step", "error"},
    "messages": {"room_id", "message_id", "author_id", "author_name", "text", "reply_to", "deleted_by"},
    "moderation_queue": {
        *("source", "target", "room_id", "target_id", "subject_id", "excerpt"),
        *("claimed_by", "resolution", "resolved_by", "resolution_note"),
    },
    "note_revisions": {"room_id", "note_id", "text", "colour", "tags", "author_id"},
    "notes": {"room_id", "note_id", "text", "colour", "tags", "author_id", "author_name", "deleted_by"},
    "reports": {"reporter_id", "reason", "details"},
    "restrictions": {"room_id", "user_id", "kind", "reason", "imposed_by", "lifted_by"},
    "thread_members": {"room_id", "user_id"},
    "threads": {"room_id", "created_by"},
}
"""What holds words, in all tables. Ids of rooms, messages and notes are taken to say nothing of a person."""


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    async with open_connection(database_url) as connection:
        yield connection


@pytest.fixture
async def archiver(connection: Connection, tmp_path: Path) -> Archiver:
    """A database and archives with traces of the person everywhere."""
    await add_messages(connection, 3, days_old=100, author="ada")
    await add_messages(connection, 3, days_old=100, author=EVE, first_seq=10)
    await connection.execute(
        "UPDATE messages SET author_name = $2, text = $3 || seq WHERE author_id = $1", EVE, NAME, WORDS
    )
    await connection.execute("UPDATE messages SET deleted_at = now(), deleted_by = $1 WHERE seq = 2", EVE)
    await add_messages(connection, 6, days_old=90, author="ben", first_seq=20)
    archiver = Archiver(Work(connection, 3), tmp_path)
    await archiver.trim(lambda _kind: 60)
    await connection.execute(TRACES)
    assert len(in_archives(archiver)) == 4
    return archiver


def in_archives(archiver: Archiver) -> list[str]:
    return [
        line
        for path in archiver.folder.iterdir()
        for line in gzip.decompress(path.read_bytes()).decode().split("\n")
        if any(needle in line for needle in (EVE, NAME, WORDS))
    ]


async def erase_once(archiver: Archiver, crash: Crash | None = None, rows_max: int = 2) -> int:
    """Do the pass that is due."""
    connection = archiver.work.connection
    request = await request_erasure(connection.fetch, EVE, "office")
    work = Work(connection, rows_max) if crash is None else Work(connection, rows_max, on_step=crash)
    await erasure.run(work, Archiver(work, archiver.folder), request.erasure_id, SECOND_PASS_MS)
    return request.erasure_id


async def test_nothing_is_left_of_the_person_and_all_of_the_others(archiver: Archiver, connection: Connection) -> None:
    before = await dump(connection)
    assert len(traces(before, EVE, NAME, WORDS)) > 30
    number = await erase_once(archiver)
    assert in_archives(archiver) == []
    # Until the last pass, the request itself knows whom it is about.
    (kept,) = traces(await dump(connection), EVE, NAME, WORDS)
    assert kept.startswith("public.erasures")
    assert await erase_once(archiver) == number
    after = await dump(connection)
    assert traces(after, EVE, NAME, WORDS) == []
    row = await connection.fetchrow("SELECT * FROM erasures")
    assert row is not None
    assert (row["passes"], row["pseudonym"], row["requested_by"]) == (2, None, "office")
    assert hash_of(EVE, row["salt"]) == row["user_hash"] != hash_of("ben", row["salt"])
    counts = json.loads(row["counts"])
    assert counts["messages emptied"] == 2
    assert counts["archived messages emptied"] == 4
    assert set(counts) == {*erasure.STATEMENTS, "archived messages emptied"} - {"restrictions emptied"}

    # Rows that had nothing to do with the person are as they were.
    for table, rows in before.items():
        untouched = [row for row in rows if not any(needle in row for needle in (EVE, NAME, WORDS))]
        assert table in ("public.archives", "public.note_revisions") or not set(untouched) - set(after[table]), table
    for archive in await find_all(connection):
        await archiver.verify(archive)
        await archiver.restore(archive, 30)
    assert await connection.fetchval("SELECT count(*) FROM messages WHERE author_id IN ('ada', 'ben')") == 3 + 6 + 2
    assert traces(await dump(connection), EVE, NAME, WORDS) == []


async def test_what_stays_belongs_to_nobody(archiver: Archiver, connection: Connection) -> None:
    await erase_once(archiver)
    pseudonym = await connection.fetchval("SELECT pseudonym FROM erasures")
    message = await connection.fetchrow("SELECT * FROM messages WHERE message_id = 'm4'")
    assert message is not None
    assert (message["author_id"], message["text"], message["deleted_at"].year) == (pseudonym, "", 2026)
    assert message["deleted_at"].month == 1
    assert await connection.fetchval("SELECT reply_to FROM messages WHERE message_id = 'm2'") == "m1"
    notes = {
        row["note_id"]: row for row in await connection.fetch("SELECT *, deleted_at IS NOT NULL AS gone FROM notes")
    }
    changed = notes["changed"]
    assert (changed["text"], changed["x"], changed["colour"], changed["tags"]) == ("first", 7, "blue", ["a", "b"])
    assert (changed["revision"], changed["gone"], changed["author_id"]) == (4, False, "ben")
    assert (notes["hers"]["author_id"], notes["hers"]["revision"], notes["hers"]["gone"]) == (pseudonym, 3, True)
    assert (notes["taken"]["author_id"], notes["taken"]["text"], notes["taken"]["gone"]) == ("ben", "", True)
    items = await connection.fetch("SELECT target_id, subject_id, resolution FROM moderation_queue ORDER BY item_id")
    assert [tuple(row) for row in items] == [
        ("m1", pseudonym, "deleted"),
        (pseudonym, pseudonym, "dismissed"),
        ("m2", "ben", None),
        ("m4", pseudonym, "deleted"),
        ("m0", "ben", "deleted"),
    ]
    assert await connection.fetchval("SELECT count(*) FROM thread_members") == 4


async def test_a_crash_at_any_step_is_made_good_by_going_on(archiver: Archiver, connection: Connection) -> None:
    files = {archive.archive_id: archive.messages for archive in await find_all(connection)}

    async def check() -> None:
        archives = await find_all(connection)
        assert {archive.archive_id: archive.messages for archive in archives} == files
        for archive in archives:
            await archiver.verify(archive)

    crashed = await crash_everywhere(lambda crash: erase_once(archiver, crash), check)
    archives = {"named rewritten archive", "rewrote archive", "replaced archive", "removed old archive"}
    ends = {"passed archive", "erased everything", "noted pass"}
    assert crashed >= archives | ends | set(erasure.STATEMENTS)
    # A crash after the first pass was noted, and the runs after it were the second.
    assert await connection.fetchval("SELECT finished_at IS NOT NULL FROM erasures ORDER BY erasure_id LIMIT 1")
    await archiver.tidy()
    assert traces((await dump(connection)) | {"public.erasures": []}, EVE, NAME, WORDS) == in_archives(archiver) == []
    assert {path.name for path in archiver.folder.iterdir()} == {one.file for one in await find_all(connection)}


async def test_the_second_pass_is_done_when_it_is_due_and_catches_what_came_late(
    archiver: Archiver, connection: Connection
) -> None:
    number = await erase_once(archiver)
    late = "INSERT INTO messages VALUES ('lobby:a', 5, $4::int, 'late' || $4::int, $2, $3, $1, NULL, now())"
    await connection.execute(late, WORDS, EVE, NAME, 8)
    await erasure.run(archiver.work, archiver, number, SECOND_PASS_MS)
    assert traces(await dump(connection), WORDS)
    await connection.execute("UPDATE erasures SET due_at = now()")
    await erasure.run(archiver.work, archiver, number, SECOND_PASS_MS)
    assert traces(await dump(connection), EVE, NAME, WORDS) == []
    # Once more: an erasure that is finished does nothing, and a new one has a number and a name of its own.
    await connection.execute(late, WORDS, EVE, NAME, 9)
    await erasure.run(archiver.work, archiver, number, SECOND_PASS_MS)
    assert traces(await dump(connection), WORDS)
    assert await erase_once(archiver) != number
    assert await connection.fetchval("SELECT count(DISTINCT author_id) FROM messages WHERE author_id ~ '^erased-'") == 2


async def test_a_ban_that_runs_keeps_the_id_until_it_ends(archiver: Archiver, connection: Connection) -> None:
    await connection.execute(
        "INSERT INTO restrictions (user_id, kind, reason, imposed_by) VALUES ($1, 'ban', $2, 'mod')", EVE, WORDS
    )
    await erase_once(archiver)
    await erase_once(archiver)
    (kept,) = traces(await dump(connection), EVE, NAME, WORDS)
    assert kept.startswith("public.restrictions")
    assert WORDS not in kept
    work = Work(connection, 10)
    assert await erasure.forget_ended_restrictions(work) == 0
    await connection.execute("UPDATE restrictions SET lifted_at = now() WHERE user_id = $1", EVE)
    assert await erasure.forget_ended_restrictions(work) == 1
    assert traces(await dump(connection), EVE, NAME, WORDS) == []
    assert await connection.fetchval("SELECT kept_restrictions FROM erasures") == []


async def test_who_asks_for_the_own_erasure_is_not_named_afterwards(archiver: Archiver, connection: Connection) -> None:
    await request_erasure(connection.fetch, EVE, EVE)
    await erase_once(archiver)
    await erase_once(archiver)
    assert traces(await dump(connection), EVE) == []
    audited = await connection.fetchrow("SELECT actor_id, details FROM audit_log ORDER BY entry_id DESC LIMIT 1")
    assert audited is not None
    assert (audited["actor_id"], json.loads(audited["details"])["requestedBy"]) == ("jobs", "the person")


async def test_rooms_are_told_before_anything_changes(archiver: Archiver, connection: Connection) -> None:
    request = await request_erasure(connection.fetch, EVE, "office")
    told: list[tuple[str, str, int]] = []

    async def tell(user_id: str, pseudonym: str) -> None:
        count = await connection.fetchval("SELECT count(*) FROM messages WHERE author_id = $1", EVE)
        told.append((user_id, pseudonym, count))

    await erasure.run(archiver.work, archiver, request.erasure_id, 0, tell_rooms=tell)
    pseudonym = await connection.fetchval("SELECT pseudonym FROM erasures")
    assert told == [(EVE, pseudonym, 2)]


async def test_archives_are_not_left_out_for_want_of_a_folder(archiver: Archiver, connection: Connection) -> None:
    request = await request_erasure(connection.fetch, EVE, "office")
    with pytest.raises(SettingsError, match="ROOMRING_ARCHIVE_DIR"):
        await erasure.run(archiver.work, None, request.erasure_id, 0)


async def test_somebody_has_thought_of_every_column(connection: Connection) -> None:
    """A new one fails here: let `erasure.STATEMENTS` deal with it where it can be about a person, and name it."""
    rows = await connection.fetch(
        "SELECT table_name, array_agg(column_name::text) FROM information_schema.columns"
        " WHERE table_schema = 'public' AND data_type NOT IN ('bigint', 'integer', 'boolean', 'double precision')"
        " AND data_type !~ '^timestamp' GROUP BY 1"
    )
    assert {table: set(columns) for table, columns in rows if table != VERSION_TABLE} == COLUMNS


async def test_ids_that_need_care_are_found_in_archives(connection: Connection, tmp_path: Path) -> None:
    strange = 'a"\\b é\u2028\U0001f40a%'
    await add_messages(connection, 2, author=strange)
    await add_messages(connection, 2, author=strange + "!", first_seq=10)
    archiver = Archiver(Work(connection, 100), tmp_path)
    await archiver.trim(lambda _kind: 1)
    request = await request_erasure(connection.fetch, strange, "office")
    await erasure.run(archiver.work, archiver, request.erasure_id, 0)
    (archive,) = await find_all(connection)
    assert await archiver.restore(archive, 1) == 4
    authors = [row[0] for row in await connection.fetch("SELECT author_id FROM messages ORDER BY seq")]
    assert authors[2:] == [strange + "!"] * 2
    assert all(author.startswith("erased-") for author in authors[:2])
