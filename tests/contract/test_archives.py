"""Messages leave for archives and come back, whole, whatever dies in between."""

import asyncio
import gzip
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from common.errors import SettingsError
from common.ids import RoomId, kind_of
from deploy.jobs import records
from deploy.jobs.archive_file import ArchiveDamaged
from deploy.jobs.archives import OLD_MESSAGES, Archive, Archiver, find_all
from deploy.jobs.work import Connection, Interrupted, Work, open_connection
from tests.contract.jobs import Crash, add_messages, crash_everywhere

CHUNK = 4


def days_of(kind: str) -> int:
    return {"lobby": 90, "space": 10}.get(kind, 0)


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    async with open_connection(database_url) as connection:
        yield connection


@pytest.fixture
def archiver(connection: Connection, tmp_path: Path) -> Archiver:
    return Archiver(Work(connection, CHUNK), tmp_path)


def crashing(archiver: Archiver, crash: Crash) -> Archiver:
    return Archiver(Work(archiver.work.connection, CHUNK, on_step=crash), archiver.folder)


async def stored(connection: Connection) -> list[str]:
    return [row[0] for row in await connection.fetch("SELECT to_jsonb(m)::text FROM messages m ORDER BY message_id")]


async def archived(archiver: Archiver) -> list[str]:
    """Return all lines of all archives that count, after comparing each with its row."""
    lines: list[str] = []
    for archive in await find_all(archiver.work.connection):
        await archiver.verify(archive)
        text = gzip.decompress((archiver.folder / archive.file).read_bytes()).decode()
        lines += text.split("\n")[:-1]
    return lines


def by_id(lines: list[str]) -> list[str]:
    return sorted(lines, key=lambda line: str(json.loads(line)["message_id"]))


async def test_what_is_too_old_leaves_and_comes_back_the_same(archiver: Archiver, connection: Connection) -> None:
    await add_messages(connection, 10, days_old=100)
    await add_messages(connection, 3, days_old=80, first_seq=50)
    await add_messages(connection, 3, days_old=20, room="plaza")
    await add_messages(connection, 3, days_old=500, room="dm:x")
    await connection.execute("UPDATE messages SET deleted_at = now(), deleted_by = 'mod', text = '' WHERE seq = 3")
    before = await stored(connection)
    assert await archiver.trim(days_of) == 13
    after = await stored(connection)
    assert [json.loads(line)["room_id"] for line in after] == ["dm:x"] * 3 + ["lobby:one"] * 3
    archives = await find_all(connection)
    assert [(archive.kind, archive.messages) for archive in archives] == [
        ("lobby", 4),
        ("lobby", 4),
        ("lobby", 2),
        ("space", 3),
    ]
    assert by_id(after + await archived(archiver)) == by_id(before)
    assert await archiver.trim(days_of) == 0
    assert [await archiver.missing(archive) for archive in archives] == [4, 4, 2, 3]
    assert [await archiver.restore(archive, 30) for archive in archives] == [4, 4, 2, 3]
    assert await stored(connection) == before
    # Again changes nothing, and what was changed since is not changed back.
    await connection.execute("UPDATE messages SET text = '' WHERE seq = 1")
    assert [await archiver.restore(archive, 30) for archive in archives] == [0, 0, 0, 0]
    assert await connection.fetchval("SELECT count(*) FROM messages WHERE text = ''") == 6


async def test_kinds_are_those_of_the_rooms(archiver: Archiver, connection: Connection) -> None:
    rooms = [RoomId(room) for room in ("plaza", "plaza.b", "lobby:a", "lobby:b", "a:b:c", "a:", "Lobby:a", "space:x")]
    for room in rooms:
        await add_messages(connection, 1, room=room)
    asked: list[str] = []

    def never(kind: str) -> int:
        asked.append(kind)
        return 0

    assert await archiver.trim(never) == 0
    assert asked == sorted({kind_of(room) for room in rooms})


async def test_what_was_brought_back_stays_while_it_is_held(archiver: Archiver, connection: Connection) -> None:
    await add_messages(connection, 10, days_old=100)
    await archiver.trim(days_of)
    held = (await find_all(connection))[1]
    await archiver.restore(held, 30)
    # What is older, or newer, or came late is none of its business.
    await add_messages(connection, 2, days_old=101, first_seq=70)
    await add_messages(connection, 2, days_old=99, first_seq=80)
    assert await archiver.trim(days_of) == 4
    assert await connection.fetchval("SELECT count(*) FROM messages") == held.messages
    await connection.execute("UPDATE archives SET held_until = now() WHERE held_until IS NOT NULL")
    assert await archiver.trim(days_of) == held.messages
    assert await connection.fetchval("SELECT count(*) FROM messages") == 0


async def test_a_crash_at_any_step_of_a_trim_loses_nothing_and_the_next_goes_on(
    archiver: Archiver, connection: Connection
) -> None:
    await add_messages(connection, 10, days_old=100)
    before = by_id(await stored(connection))
    sizes: list[int] = []

    async def check() -> None:
        left = await stored(connection)
        assert by_id(left + await archived(archiver)) == before
        sizes.append(len(left))

    crashed = await crash_everywhere(lambda crash: crashing(archiver, crash).trim(days_of), check)
    assert crashed == {
        "tidied files",
        "named archive",
        "wrote archive",
        "finished archive",
        "deleted messages",
        "committed archive",
    }
    assert set(sizes) == {10, 6}
    assert await stored(connection) == []
    assert by_id(await archived(archiver)) == before
    # Nothing is left of what was not finished.
    assert {path.name for path in archiver.folder.iterdir()} == {one.file for one in await find_all(connection)}


async def test_a_crash_at_any_step_of_a_restore_is_made_good_by_repeating(
    archiver: Archiver, connection: Connection
) -> None:
    await add_messages(connection, 4, days_old=100)
    before = await stored(connection)
    await archiver.trim(days_of)
    (archive,) = await find_all(connection)

    def slowly(crash: Crash) -> Any:
        return Archiver(Work(connection, 1, on_step=crash), archiver.folder).restore(archive, 30)

    async def check() -> None:
        # A nightly trim that comes now leaves alone what is there.
        there = await stored(connection)
        assert await archiver.trim(days_of) == 0
        assert await stored(connection) == there

    assert await crash_everywhere(slowly, check) == {"held archive", "restored messages"}
    assert await stored(connection) == before


async def test_a_process_that_was_taken_for_dead_leaves_the_work_to_the_other(
    archiver: Archiver, connection: Connection, database_url: str
) -> None:
    await add_messages(connection, 3, days_old=100)

    async def trim() -> int:
        async with open_connection(database_url) as own:
            return await Archiver(Work(own, CHUNK), archiver.folder).trim(days_of)

    def other_takes_up(step: str) -> None:
        if step == "named archive":
            thread = threading.Thread(target=lambda: counts.append(asyncio.run(trim())))
            thread.start()
            thread.join()

    counts: list[int] = []
    with pytest.raises(Interrupted):
        await Archiver(Work(connection, CHUNK, on_step=other_takes_up), archiver.folder).trim(days_of)
    assert counts == [3]
    assert len(await archived(archiver)) == len(list(archiver.folder.iterdir())) * 3 == 3


async def test_a_trim_that_is_asked_to_stop_does_so_between_two_chunks(
    archiver: Archiver, connection: Connection
) -> None:
    await add_messages(connection, 10, days_old=100)
    done: list[str] = []
    work = Work(connection, CHUNK, stopping=lambda: "committed archive" in done, on_step=done.append)
    with pytest.raises(Interrupted):
        await Archiver(work, archiver.folder).trim(days_of)
    assert len(await stored(connection)) == 6
    assert await archiver.trim(days_of) == 6


async def test_a_full_disk_loses_nothing(archiver: Archiver, connection: Connection, tmp_path: Path) -> None:
    await add_messages(connection, 3, days_old=100)
    gone = Archiver(archiver.work, tmp_path / "gone")
    with pytest.raises(FileNotFoundError):
        await gone.trim(days_of)
    assert len(await stored(connection)) == 3
    assert await archiver.trim(days_of) == 3


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:-3]),
        lambda path: path.write_bytes(gzip.compress(b"{}\n")),
    ],
)
async def test_a_damaged_archive_is_told_and_nothing_of_it_is_restored(
    archiver: Archiver, connection: Connection, harm: Any
) -> None:
    await add_messages(connection, 3, days_old=100)
    await archiver.trim(days_of)
    (archive,) = await find_all(connection)
    harm(archiver.folder / archive.file)
    for attempt in (archiver.verify(archive), archiver.missing(archive), archiver.restore(archive, 30)):
        with pytest.raises(ArchiveDamaged, match=archive.file):
            await attempt
    assert await stored(connection) == []
    await archiver.forget(archive)
    assert await find_all(connection) == []


async def test_an_archive_that_is_whole_is_not_forgotten(archiver: Archiver, connection: Connection) -> None:
    await add_messages(connection, 3, days_old=100)
    await archiver.trim(days_of)
    (archive,) = await find_all(connection)
    with pytest.raises(SettingsError, match="as it was written"):
        await archiver.forget(archive)
    assert await find_all(connection) == [archive]


async def test_columns_that_came_after_an_archive_take_their_defaults(
    archiver: Archiver, connection: Connection
) -> None:
    await add_messages(connection, 3, days_old=100)
    await archiver.trim(days_of)
    await connection.execute("ALTER TABLE messages ADD COLUMN stars integer NOT NULL DEFAULT 7")
    (archive,) = await find_all(connection)
    assert await archiver.restore(archive, 30) == 3
    assert await connection.fetchval("SELECT sum(stars) FROM messages") == 21


async def test_archives_are_found_by_name_and_by_time(archiver: Archiver, connection: Connection) -> None:
    for days_old in (100, 200, 300):
        await add_messages(connection, 2, days_old=days_old, first_seq=days_old)
        await archiver.trim(days_of)
    oldest, middle, newest = await find_all(connection)

    async def found(**options: Any) -> list[Archive]:
        return await find_all(connection, **options)

    assert await found(file=middle.file) == [middle]
    assert await found(first=middle.last_at) == [middle, newest]
    assert await found(last=middle.first_at) == [oldest, middle]
    assert await found(first=newest.last_at.replace(year=2999)) == []


async def test_old_messages_are_found_along_the_index(archiver: Archiver, connection: Connection) -> None:
    for kind in ("lobby", "dm", "notes"):
        await add_messages(connection, 3_000, room=f"{kind}:one", days_old=100)
    await add_messages(connection, 3_000, room="plaza", days_old=100)
    await connection.execute("ANALYZE messages")
    text = await connection.fetchval(
        f"EXPLAIN (ANALYZE, FORMAT JSON) {OLD_MESSAGES}", "lobby", None, await connection.fetchval("SELECT now()"), 50
    )
    plan = json.loads(text)[0]["Plan"]
    while "Plans" in plan:
        (plan,) = plan["Plans"]
        assert "Sort" not in plan["Node Type"]
    assert plan["Index Name"] == "messages_by_kind_and_time"
    assert plan["Actual Rows"] == 50
    assert plan.get("Rows Removed by Filter", 0) == 0


async def test_records_that_are_too_old_are_deleted(connection: Connection) -> None:
    await connection.execute(
        "INSERT INTO audit_log (actor_id, action, happened_at)"
        " SELECT 'mod', 'x', now() - n * interval '1 day' FROM generate_series(1, 10) n;"
        "INSERT INTO moderation_queue (source, target, room_id, target_id, subject_id, resolution, resolved_at)"
        " SELECT 'report', 'message', 'lobby:a', n::text, 'ada', 'dismissed', now() - n * interval '1 day'"
        " FROM generate_series(1, 10) n;"
        "INSERT INTO moderation_queue (source, target, room_id, target_id, subject_id, opened_at)"
        " VALUES ('report', 'message', 'lobby:a', 'open', 'ada', now() - interval '99 days');"
        "INSERT INTO reports (item_id, reporter_id, reason) SELECT item_id, 'ben', 'spam' FROM moderation_queue;"
        "INSERT INTO notes SELECT 'notes:a', 'n' || n, 0, 0, '', '', '{}', n, 'ada', 'Ada', now(), now()"
        " FROM generate_series(1, 6) n;"
        "INSERT INTO note_revisions SELECT 'notes:a', note_id, r, 0, 0, '', '', '{}', 'ada', now()"
        " FROM notes, generate_series(1, revision) r"
    )
    work = Work(connection, 2)
    assert await records.trim_audit_log(work, 0) == await records.trim_moderation(work, 0) == 0
    assert await records.trim_note_revisions(work, 0) == 0
    # The one that is just so old is older by the time that it is asked.
    assert await records.trim_audit_log(work, 5) == 6
    assert await records.trim_moderation(work, 5) == 6
    assert await connection.fetchval("SELECT count(*) FROM reports") == 5
    assert await connection.fetchval("SELECT count(*) FROM moderation_queue WHERE resolved_at IS NULL") == 1
    assert await records.trim_note_revisions(work, 3) == 3 + 2 + 1
    left = await connection.fetch(
        "SELECT note_id, array_agg(revision ORDER BY revision) FROM note_revisions GROUP BY 1"
    )
    assert {row[0]: row[1] for row in left}["n6"] == [4, 5, 6]
