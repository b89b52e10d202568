"""An erasure leaves no trace of the person, in no table and no archive, and nothing of others is lost by it."""

import gzip
import itertools
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from common.durable import ChatMessage, ReadMark, Reported
from common.durable_postgres import PostgresStore
from common.erasure_request import hash_of, request_erasure
from common.errors import SettingsError
from common.ids import Epoch, RoomId, Seq, UserId, inbox_of, thread_of
from common.schema_version import VERSION_TABLE
from deploy.jobs import erasure
from deploy.jobs.archives import Archiver, find_all
from deploy.jobs.work import Connection, Work, open_connection
from tests.contract.jobs import EVE, WORDS, Crash, Crashed, add_messages, crash_everywhere, dump, traces

NAME = "Evelyn"
SECOND_PASS_MS = 60_000
ZOE = "zoë"
"""An id that does not stand in the id of a thread: that is a hash."""

WITH_BEN, WITH_ZOE = thread_of(UserId(EVE), UserId("ben")), thread_of(UserId(EVE), UserId(ZOE))
INBOX = inbox_of(UserId(EVE))
SIGNS = (EVE, NAME, WORDS, WITH_ZOE)
"""What may be nowhere afterwards."""

TRACES = f"""
INSERT INTO messages VALUES ('lobby:a', 5, 1, 'm1', '{EVE}', '{NAME}', '{WORDS} 1', NULL, now());
INSERT INTO messages VALUES ('lobby:a', 5, 2, 'm2', 'ben', 'Ben', 'hi', 'm1', now());
INSERT INTO messages VALUES ('lobby:a', 5, 3, 'm3', 'ben', 'Ben', '', NULL, now(), now(), '{EVE}');
INSERT INTO messages VALUES ('lobby:a', 5, 4, 'm4', '{EVE}', '{NAME}', '{WORDS} 4', NULL, now(), '2026-01-02', 'mod');
INSERT INTO threads VALUES ('{WITH_BEN}', '{EVE}', now(), 5, 5, now()), ('{WITH_ZOE}', '{ZOE}', now(), 5, 1, now()),
    ('dm:ada:ben', 'ben', now(), 5, 1, now());
INSERT INTO thread_members (room_id, user_id, read_epoch, read_seq, unread) VALUES
    ('{WITH_BEN}', '{EVE}', 5, 1, 2), ('{WITH_BEN}', 'ben', 5, 1, 2), ('{WITH_ZOE}', '{ZOE}', 0, 0, 0),
    ('{WITH_ZOE}', '{EVE}', 0, 0, 1), ('dm:ada:ben', 'ben', 0, 0, 1), ('dm:ada:ben', 'ada', 0, 0, 0);
INSERT INTO messages VALUES
    ('{WITH_BEN}', 5, 1, 'd1', '{EVE}', '{NAME}', '{WORDS}', NULL, now(), NULL, NULL, 'ben'),
    ('{WITH_BEN}', 5, 2, 'd2', 'ben', 'Ben', 'two', 'd1', now(), NULL, NULL, '{EVE}'),
    ('{WITH_BEN}', 5, 3, 'd3', '{EVE}', '{NAME}', '{WORDS}', NULL, now(), NULL, NULL, 'ben'),
    ('{WITH_BEN}', 5, 4, 'd4', 'ben', 'Ben', '', NULL, now(), now(), '{EVE}', '{EVE}'),
    ('{WITH_BEN}', 5, 5, 'd5', 'ben', 'Ben', 'five', NULL, now(), NULL, NULL, '{EVE}'),
    ('{WITH_ZOE}', 5, 1, 'd6', '{ZOE}', 'Zoe', 'six', NULL, now(), NULL, NULL, '{EVE}'),
    ('dm:ada:ben', 5, 1, 'd7', 'ada', 'Ada', 'seven', NULL, now(), NULL, NULL, 'ben');
INSERT INTO friendships (low_id, high_id, status, requested_by)
    VALUES ('ada', '{EVE}', 'pending', '{EVE}'), ('{EVE}', 'zoe', 'pending', 'zoe'), ('ada', 'ben', 'pending', 'ada');
INSERT INTO blocks VALUES ('{EVE}', 'ben'), ('ada', '{EVE}'), ('ada', 'ben');
INSERT INTO notes VALUES
    ('notes:a', 'hers', 1, 2, '{WORDS}', 'red', '{{{WORDS}}}', 2, '{EVE}', '{NAME}', now(), now(), NULL, NULL, 'ben'),
    ('notes:a', 'changed', 1, 2, '{WORDS}', 'red', '{{}}', 3, 'ben', 'Ben', now(), now(), NULL, NULL, '{EVE}'),
    ('notes:a', 'taken', 1, 2, '{WORDS}', 'red', '{{}}', 1, 'ben', 'Ben', now(), now(), NULL, NULL, '{EVE}'),
    ('notes:a', 'his', 1, 2, 'mine', 'red', '{{}}', 1, 'ben', 'Ben', now(), now(), NULL, NULL, 'ben'),
    ('notes:a', 'gone', 1, 2, '', 'red', '{{}}', 1, 'ben', 'Ben', now(), now(), now(), '{EVE}', 'ben'),
    ('notes:a', 'off', 1, 2, '{WORDS}', 'red', '{{}}', 3, 'ben', 'Ben', now(), now(), now(), 'ben', '{EVE}');
INSERT INTO note_revisions VALUES
    ('notes:a', 'hers', 1, 1, 2, '{WORDS}', 'red', '{{}}', '{EVE}', now()),
    ('notes:a', 'hers', 2, 1, 2, '{WORDS} and', 'red', '{{}}', 'ben', now()),
    ('notes:a', 'changed', 1, 7, 8, 'first', 'blue', '{{a,b}}', 'ben', now()),
    ('notes:a', 'changed', 2, 1, 2, '{WORDS}', 'red', '{{}}', '{EVE}', now()),
    ('notes:a', 'changed', 3, 1, 2, '{WORDS}', 'red', '{{}}', '{EVE}', now()),
    ('notes:a', 'taken', 1, 1, 2, '{WORDS}', 'red', '{{}}', '{EVE}', now()),
    ('notes:a', 'off', 1, 1, 2, 'first', 'red', '{{}}', 'ben', now()),
    ('notes:a', 'off', 2, 1, 2, '{WORDS}', 'red', '{{}}', '{EVE}', now()),
    ('notes:a', 'his', 1, 1, 2, 'mine', 'red', '{{}}', 'ben', now());
INSERT INTO moderation_queue (source, target, room_id, target_id, subject_id, excerpt)
    VALUES ('report', 'message', 'lobby:a', 'm1', '{EVE}', '{WORDS}'),
           ('report', 'person', 'lobby:a', '{EVE}', '{EVE}', ''),
           ('report', 'message', 'lobby:a', 'm2', 'ben', 'hi'),
           ('report', 'message', '{WITH_BEN}', 'd1', '{EVE}', '{WORDS}'),
           ('report', 'message', '{WITH_BEN}', 'd2', 'ben', 'two'),
           ('report', 'person', '{INBOX}', 'zoe', 'zoe', '');
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
    ('lobby:a', 'ben', 'ban', 'rude', '{EVE}', now(), NULL, '{EVE}', now()),
    ('{INBOX}', '{EVE}', 'ban', '{WORDS}', 'mod', '2026-01-01', '2026-01-02', NULL, NULL),
    ('{WITH_BEN}', 'ben', 'mute', 'rude', 'mod', now(), NULL, NULL, NULL);
INSERT INTO audit_log (actor_id, action, subject_id, details) VALUES
    ('{EVE}', 'note.deleted', 'ben', '{{"text": "{WORDS}"}}'),
    ('mod', 'user.banned', '{EVE}', '{{"reason": "{WORDS}", "for": "{EVE}"}}'),
    ('mod', 'user.banned', 'ben', '{{"reason": "rude"}}'),
    ('admin-key', 'block', 'ben', '{{"otherId": "{EVE}"}}');
INSERT INTO audit_log (actor_id, action, room_id, subject_id, details) VALUES
    ('mod', 'moderation.muted', '{WITH_BEN}', '{EVE}', '{{"appliedTo": "{INBOX}"}}'),
    ('mod', 'moderation.deleted', '{WITH_BEN}', 'ben', '{{"appliedTo": "{WITH_BEN}", "itemId": 5}}'),
    ('mod', 'moderation.deleted', '{WITH_ZOE}', '{ZOE}', '{{"appliedTo": "{WITH_ZOE}"}}'),
    ('mod', 'ban', '{INBOX}', '{EVE}', '{{"reason": "{WORDS}"}}');
"""


COLUMNS = {
    "archives": {"kind", "file", "writing_file", "leaving_file", "sha256"},
    "audit_log": {"actor_id", "action", "room_id", "subject_id", "details"},
    "blocks": {"blocker_id", "blocked_id"},
    "erasures": {
        "requested_by",
        "user_id",
        "pseudonym",
        "room_key",
        "salt",
        "user_hash",
        "counts",
        "kept_restrictions",
    },
    "friendships": {"low_id", "high_id", "status", "requested_by"},
    "job_progress": {"step", "error"},
    "messages": {"room_id", "message_id", "author_id", "author_name", "text", "reply_to", "deleted_by", "recipient_id"},
    "moderation_queue": {
        *("source", "target", "room_id", "target_id", "subject_id", "excerpt"),
        *("claimed_by", "resolution", "resolved_by", "resolution_note"),
    },
    "note_revisions": {"room_id", "note_id", "text", "colour", "tags", "author_id"},
    "notes": {"room_id", "note_id", "text", "colour", "tags", "author_id", "author_name", "deleted_by", "edited_by"},
    "reports": {"reporter_id", "reason", "details"},
    "restrictions": {"room_id", "user_id", "kind", "reason", "imposed_by", "lifted_by", "record_id"},
    "thread_members": {"room_id", "user_id"},
    "threads": {"room_id", "created_by"},
}
"""What holds words, in all tables. Ids of messages, notes and records are taken to say nothing of a person; ids of
rooms only of threads and inboxes."""


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
    await add_messages(connection, 2, days_old=90, author="ben", room=WITH_BEN)
    await connection.execute(
        "UPDATE messages SET recipient_id = $2, message_id = 'old-' || seq WHERE room_id = $1", WITH_BEN, EVE
    )
    archiver = Archiver(Work(connection, 3), tmp_path)
    await archiver.trim(lambda _kind: 60)
    await connection.execute(TRACES)
    assert len(in_archives(archiver)) == 6
    return archiver


def in_archives(archiver: Archiver) -> list[str]:
    return [
        line
        for path in archiver.folder.iterdir()
        for line in gzip.decompress(path.read_bytes()).decode().split("\n")
        if any(needle in line for needle in SIGNS)
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
    assert len(traces(before, *SIGNS)) > 30
    number = await erase_once(archiver)
    assert in_archives(archiver) == []
    # Until the last pass, the request itself knows whom it is about.
    (kept,) = traces(await dump(connection), *SIGNS)
    assert kept.startswith("public.erasures")
    assert await erase_once(archiver) == number
    after = await dump(connection)
    assert traces(after, *SIGNS) == []
    row = await connection.fetchrow("SELECT * FROM erasures")
    assert row is not None
    assert (row["passes"], row["pseudonym"], row["requested_by"]) == (2, None, "office")
    assert hash_of(EVE, row["salt"]) == row["user_hash"] != hash_of("ben", row["salt"])
    counts = json.loads(row["counts"])
    assert counts["messages emptied"] == 2
    assert counts["threads moved"] == 2
    assert counts["thread messages moved"] == 6
    assert counts["archived messages emptied"] == 6
    every = {*erasure.PLACES, *erasure.STATEMENTS, "threads moved", "thread messages moved"}
    assert set(counts) == {*every, "archived messages emptied"} - {"restrictions emptied"}

    # Rows that had nothing to do with the person are as they were.
    for table, rows in before.items():
        untouched = [row for row in rows if not any(needle in row for needle in SIGNS)]
        assert table in ("public.archives", "public.note_revisions") or not set(untouched) - set(after[table]), table
    for archive in await find_all(connection):
        await archiver.verify(archive)
        await archiver.restore(archive, 30)
    assert (
        await connection.fetchval("SELECT count(*) FROM messages WHERE author_id IN ('ada', 'ben')")
        == 3 + 6 + 2 + 2 + 4
    )
    assert traces(await dump(connection), *SIGNS) == []


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
    assert changed["edited_by"] == "ben"
    assert (notes["taken"]["author_id"], notes["taken"]["text"], notes["taken"]["gone"]) == ("ben", "", True)
    assert (notes["off"]["text"], notes["off"]["edited_by"], notes["off"]["gone"]) == ("first", "ben", True)
    items = await connection.fetch("SELECT target_id, subject_id, resolution FROM moderation_queue ORDER BY item_id")
    assert [tuple(row) for row in items] == [
        ("m1", pseudonym, "deleted"),
        (pseudonym, pseudonym, "dismissed"),
        ("m2", "ben", None),
        ("d1", pseudonym, "deleted"),
        ("d2", "ben", None),
        ("zoe", "zoe", None),
        ("m4", pseudonym, "deleted"),
        ("m0", "ben", "deleted"),
    ]


async def test_the_other_one_keeps_the_thread(archiver: Archiver, connection: Connection, database_url: str) -> None:
    await erase_once(archiver)
    pseudonym = await connection.fetchval("SELECT pseudonym FROM erasures")
    store = await PostgresStore.connect(database_url)
    try:
        (thread, other), unread = await store.threads(UserId("ben"), limit=10)
        assert (other.room_id, other.other_id, unread) == ("dm:ada:ben", "ada", 1)
        assert re.fullmatch("dm::[0-9a-f]{40}", thread.room_id)
        assert (thread.other_id, thread.other_name, thread.mine.unread) == (pseudonym, "", 0)
        assert thread.last_message is not None
        assert (thread.last_message.text, thread.last_message.recipient_id) == ("five", pseudonym)
        assert await store.thread_members(thread.room_id) == ("ben", pseudonym)
        page = await store.page(thread.room_id, limit=10)
        assert [message.text for message in page.messages] == ["two", "five"]
        assert (await store.page(RoomId(WITH_BEN), limit=10)).messages == []
        assert await store.threads(UserId(EVE), limit=10) == ([], 0)
        with_zoe = (await store.threads(UserId(ZOE), limit=10))[0]
        assert [(one.other_id, one.others.unread) for one in with_zoe] == [(pseudonym, 1)]
        # What else is about the thread went with it.
        items = await connection.fetch("SELECT target_id FROM moderation_queue WHERE room_id = $1", thread.room_id)
        assert {row["target_id"] for row in items} == {"d1", "d2"}
        told = await connection.fetchval("SELECT details FROM audit_log WHERE room_id = $1 LIMIT 1", thread.room_id)
        assert json.loads(told) in ({}, {"appliedTo": thread.room_id, "itemId": 5})
        assert [one.user_id for one in await store.restrictions(thread.room_id, 0)] == ["ben"]
    finally:
        await store.close()


async def test_what_comes_late_into_a_thread_is_moved_to_the_same_place(
    archiver: Archiver, connection: Connection, database_url: str
) -> None:
    """The outbox may have messages, reports and marks of the old thread when the first pass is over."""
    number = await erase_once(archiver)
    eve, ben, epoch = UserId(EVE), UserId("ben"), Epoch(5)
    store = await PostgresStore.connect(database_url)
    await store.append(
        [
            ChatMessage(WITH_BEN, epoch, Seq(2), "d2", ben, "Ben", "two", 1, None, eve),
            ChatMessage(WITH_BEN, epoch, Seq(6), "d8", eve, NAME, WORDS, 1, None, ben),
            ChatMessage(WITH_BEN, epoch, Seq(7), "d9", ben, "Ben", "nine", 1, None, eve),
            Reported(WITH_BEN, epoch, Seq(2), "d2", ben, "two", UserId("zoe"), "spam", "report", 1),
            ReadMark(WITH_BEN, ben, epoch, Seq(6)),
        ]
    )
    await connection.execute("UPDATE erasures SET due_at = now()")
    await erasure.run(archiver.work, archiver, number, SECOND_PASS_MS)
    assert traces(await dump(connection), *SIGNS) == []
    threads, _ = await store.threads(ben, limit=10)
    (thread,) = [one for one in threads if one.other_id != "ada"]
    assert (thread.mine.read, thread.mine.unread, thread.others.unread) == ((5, 6), 0, 3)
    page = await store.page(thread.room_id, limit=10)
    assert [message.text for message in page.messages] == ["two", "five", "nine"]
    # The thread's message is reported once more under the old name: it stays one open item.
    items = [item for item in await store.queue(limit=10) if item.target_id == "d2"]
    assert [item.room_id for item in items] == [thread.room_id]
    await store.close()


async def test_no_message_is_missing_while_a_thread_is_moved(archiver: Archiver, connection: Connection) -> None:
    """Killed between two chunks, a thread is two in the other one's list, and each message is in one of them."""
    moves = itertools.count(1)

    def stop(step: str) -> None:
        # One message of the thread with zoë, then three of the five with ben.
        if step == "moved messages of a thread" and next(moves) == 1 + 3:
            raise Crashed(step)

    request = await request_erasure(connection.fetch, EVE, "office")
    work = Work(connection, 1, on_step=stop)
    with pytest.raises(Crashed):
        await erasure.run(work, Archiver(work, archiver.folder), request.erasure_id, 0)
    rows = await connection.fetch(
        "SELECT room_id, array_agg(text ORDER BY seq) AS texts FROM messages JOIN thread_members USING (room_id)"
        " WHERE user_id = 'ben' AND author_id = 'ben' AND room_id <> 'dm:ada:ben' GROUP BY 1 ORDER BY room_id <> $1",
        WITH_BEN,
    )
    assert [row["texts"] for row in rows] == [["", "five"], ["two"]]
    await erase_once(archiver, rows_max=1)
    assert traces((await dump(connection)) | {"public.erasures": []}, *SIGNS) == []


async def test_a_crash_at_any_step_is_made_good_by_going_on(archiver: Archiver, connection: Connection) -> None:
    files = {archive.archive_id: archive.messages for archive in await find_all(connection)}

    async def check() -> None:
        archives = await find_all(connection)
        assert {archive.archive_id: archive.messages for archive in archives} == files
        for archive in archives:
            await archiver.verify(archive)

    crashed = await crash_everywhere(lambda crash: erase_once(archiver, crash), check)
    archives = {"named rewritten archive", "rewrote archive", "replaced archive", "removed old archive"}
    moves = {"moved messages of a thread", "moved thread"}
    ends = {"passed archive", "erased everything", "noted pass"}
    assert crashed >= archives | moves | ends | set(erasure.PLACES) | set(erasure.STATEMENTS)
    # A crash after the first pass was noted, and the runs after it were the second.
    assert await connection.fetchval("SELECT finished_at IS NOT NULL FROM erasures ORDER BY erasure_id LIMIT 1")
    await archiver.tidy()
    assert traces((await dump(connection)) | {"public.erasures": []}, *SIGNS) == in_archives(archiver) == []
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
    assert traces(await dump(connection), *SIGNS) == []
    # Once more: an erasure that is finished does nothing, and a new one has a number and a name of its own.
    await connection.execute(late, WORDS, EVE, NAME, 9)
    await erasure.run(archiver.work, archiver, number, SECOND_PASS_MS)
    assert traces(await dump(connection), WORDS)
    assert await erase_once(archiver) != number
    assert await connection.fetchval("SELECT count(DISTINCT author_id) FROM messages WHERE author_id ~ '^erased-'") == 2


async def test_a_ban_that_runs_keeps_the_id_until_it_ends(
    archiver: Archiver, connection: Connection, database_url: str
) -> None:
    await connection.execute(
        "INSERT INTO restrictions (room_id, user_id, kind, reason, imposed_by)"
        " VALUES ('lobby:a', $1, 'ban', $2, 'mod'), ($3, $1, 'ban', $2, 'mod')",
        EVE,
        WORDS,
        INBOX,
    )
    await erase_once(archiver)
    await erase_once(archiver)
    kept = traces(await dump(connection), *SIGNS)
    assert [row[:19] for row in kept] == ["public.restrictions"] * 2
    assert WORDS not in "".join(kept)
    store = await PostgresStore.connect(database_url)
    assert [one.user_id for one in await store.restrictions(INBOX, 0)] == [EVE]
    await store.close()
    work = Work(connection, 10)
    assert await erasure.forget_ended_restrictions(work) == 0
    await connection.execute("UPDATE restrictions SET lifted_at = now() WHERE user_id = $1", EVE)
    assert await erasure.forget_ended_restrictions(work) == 2
    assert traces(await dump(connection), *SIGNS) == []
    assert await connection.fetchval("SELECT kept_restrictions FROM erasures") == []


async def test_who_asks_for_the_own_erasure_is_not_named_afterwards(archiver: Archiver, connection: Connection) -> None:
    await request_erasure(connection.fetch, EVE, EVE)
    await connection.execute(
        "INSERT INTO audit_log (actor_id, action, details) VALUES ('key', 'erasure.requested', $1)",
        json.dumps({"erasureId": 1, "requestedBy": EVE}),
    )
    await erase_once(archiver)
    await erase_once(archiver)
    assert traces(await dump(connection), EVE) == []
    audited = await connection.fetchrow("SELECT actor_id, details FROM audit_log ORDER BY entry_id DESC LIMIT 1")
    assert audited is not None
    assert (audited["actor_id"], json.loads(audited["details"])["requestedBy"]) == ("jobs", "the person")


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
