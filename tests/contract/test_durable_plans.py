"""How PostgreSQL runs the queries: along an index that has their order, reading little more than they return."""

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from common.durable import MessagePlace, Rectangle
from common.durable_postgres import PostgresStore
from common.ids import Epoch, RoomId, Seq, UserId
from common.postgres_moderation import (
    audited_statement,
    everywhere_statement,
    queue_statement,
    restrictions_statement,
)
from common.postgres_notes import NEAR_NOTES_MAX, board_statement, notes_statement
from common.postgres_pages import PAGE_STATEMENTS
from common.postgres_sql import Statement
from common.postgres_threads import blocks_statement, inbox_statement, thread_statement, threads_statement
from tests.contract.durable import ADA, EVE, ROOM, message

MESSAGES = 20_000
ROOMS = 4
MODES = pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])

# ada has 3,000 threads with three messages each, the newest of every tenth deleted; 100 of them have unread ones.
THREADS = 3_000
FILL_THREADS = f"""\
INSERT INTO threads (room_id, created_by) SELECT 'dm:ada:p' || n, 'ada' FROM generate_series(1, {THREADS}) n;
INSERT INTO thread_members (room_id, user_id, active_at, unread)
SELECT 'dm:ada:p' || n, person, timestamptz 'epoch' + n * interval '1 s', CASE WHEN n % 30 = 0 THEN 2 ELSE 0 END
FROM generate_series(1, {THREADS}) n CROSS JOIN LATERAL (VALUES ('ada'), ('p' || n)) AS persons (person);
INSERT INTO messages (room_id, epoch, seq, message_id, author_id, author_name, text, sent_at, deleted_at)
SELECT 'dm:ada:p' || n, 1, seq, n || '-' || seq, CASE WHEN seq = 2 THEN 'ada' ELSE 'p' || n END, 'x', 'x', now(),
       CASE WHEN seq = 3 AND n % 10 = 0 THEN now() END
FROM generate_series(1, {THREADS}) n CROSS JOIN generate_series(1, 3) seq;
INSERT INTO friendships SELECT 'ada', 'p' || n, 'accepted', 'ada', now(), now() FROM generate_series(1, {THREADS}) n;
INSERT INTO friendships SELECT 'p' || n, 'p' || n || 'x', 'pending', 'p' || n FROM generate_series(1, {THREADS}) n;
INSERT INTO blocks SELECT 'p' || n % 300, 'q' || n FROM generate_series(1, {THREADS}) n"""

# One board of 200 by 100 places with a note at each, and others.
NOTES = 20_000
FILL_NOTES = f"""\
INSERT INTO notes (room_id, note_id, x, y, text, colour, revision, author_id, author_name, created_at, updated_at,
                   edited_by, epoch, seq)
SELECT board, 'n' || n, n % 200, n * 7919 % {NOTES} / 200, 'x', 'red', 1, 'p' || n % 50, 'x',
       timestamptz 'epoch' + n * interval '1 s', now(), 'p' || n % 50, 1, n
FROM generate_series(1, {NOTES}) n CROSS JOIN (VALUES ('notes:a'), ('notes:b')) AS boards (board)"""

# Of 20,000 items each hundredth is open; each has two reports.
FILL_MODERATION = """\
INSERT INTO moderation_queue (source, target, room_id, target_id, subject_id, epoch, seq, resolution, resolved_at)
SELECT 'report', 'message', 'lobby:a', 'm' || n, 'p' || n % 50, 1, n,
       CASE WHEN n % 100 > 0 THEN 'dismissed' END, CASE WHEN n % 100 > 0 THEN now() END
FROM generate_series(1, 20000) n;
INSERT INTO reports (item_id, reporter_id, reason) SELECT item_id, person, 'spam'
FROM moderation_queue CROSS JOIN (VALUES ('q1'), ('q2')) AS persons (person);
INSERT INTO audit_log (actor_id, action, subject_id) SELECT 'mod', 'x', 'p' || n % 50 FROM generate_series(1, 20000) n;
INSERT INTO restrictions (room_id, user_id, kind, imposed_by, imposed_at, ends_at, lifted_at)
SELECT 'lobby:' || n % 20, 'p' || n, 'mute', 'mod', timestamptz 'epoch',
       CASE WHEN n % 40 > 0 THEN timestamptz 'epoch' + n * interval '1 s' END, CASE WHEN n % 3 = 0 THEN now() END
FROM generate_series(1, 20000) n"""


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[PostgresStore]:
    store = await PostgresStore.connect(database_url)
    yield store
    await store.close()


async def filled(url: str, mode: str, *statements: str) -> "asyncpg.Connection[Any]":
    connection = await asyncpg.connect(url)
    for statement in statements:
        await connection.execute(statement)
    # As of tables that have been there for a while: counting in an index then needs no look at the table.
    await connection.execute("VACUUM ANALYZE")
    await connection.execute(f"SET plan_cache_mode = {mode}")
    return connection


async def explain(connection: "asyncpg.Connection[Any]", statement: str, *arguments: object) -> dict[str, Any]:
    text = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *arguments)
    plan: dict[str, Any] = json.loads(text)[0]["Plan"]
    return plan


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(inner for child in plan.get("Plans", []) for inner in nodes(child))]


async def reads(connection: "asyncpg.Connection[Any]", asked: Statement) -> dict[str, int]:
    """Return how many rows were read along each index, or from each table as a whole."""
    text, arguments = asked
    found: dict[str, int] = {}
    for node in nodes(await explain(connection, text, *arguments)):
        if node["Node Type"] in ("Seq Scan", "Index Scan", "Index Only Scan", "Bitmap Index Scan"):
            name = node.get("Index Name") or node["Relation Name"]
            removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
            if node["Actual Loops"]:
                found[name] = found.get(name, 0) + round((node["Actual Rows"] + removed) * node["Actual Loops"])
    return found


@MODES
async def test_pages_walk_the_primary_key_and_read_little_more_than_they_return(
    store: PostgresStore, database_url: str, mode: str
) -> None:
    rooms = [RoomId(f"lobby:{number}") for number in range(ROOMS)]
    for room in rooms:
        for begin in range(1, MESSAGES // ROOMS, 1_000):
            await store.append([message(seq, room=room) for seq in range(begin, begin + 1_000)])
    connection = await filled(database_url, mode)
    epoch = Epoch(1_700_000_000_000)
    middle, later = MessagePlace(epoch, Seq(2_500)), MessagePlace(epoch, Seq(4_000))
    places = {"newest": (), "before": middle, "after": middle, "between": (*middle, *later)}
    assert set(places) == set(PAGE_STATEMENTS)
    for limit in (5, 50, 200):
        for name, statement in PAGE_STATEMENTS.items():
            plan = await explain(connection, statement, rooms[1], limit + 1, [], *places[name])
            assert not [node for node in nodes(plan) if "Sort" in node["Node Type"]], name
            ((index, read),) = (await reads(connection, (statement, (rooms[1], limit + 1, [], *places[name])))).items()
            assert index == "messages_pkey"
            assert read <= 2 * limit, (name, limit, read)
    await connection.close()


async def test_hidden_authors_cost_only_what_they_wrote(store: PostgresStore, database_url: str) -> None:
    await store.append([message(seq, author=EVE if seq % 2 else ADA) for seq in range(1, 5_001)])
    connection = await filled(database_url, "auto")
    plan = await explain(connection, PAGE_STATEMENTS["newest"], ROOM, 51, [EVE])
    (scan,) = [node for node in nodes(plan) if "Scan" in node["Node Type"]]
    assert scan["Index Name"] == "messages_pkey"
    assert scan["Rows Removed by Filter"] <= 60
    await connection.close()


@MODES
async def test_a_page_of_threads_looks_only_at_its_threads_and_at_the_unread_ones(database_url: str, mode: str) -> None:
    connection = await filled(database_url, mode, FILL_THREADS)
    limit = 50
    for before in (None, (2_000_000, RoomId("dm:ada:p2000"))):
        for hidden in ([], [UserId(f"p{number}") for number in (1_999, 1_990, 3_000, 30)]):
            read = await reads(connection, threads_statement(ADA, before, limit, hidden))
            assert read.pop("thread_members_by_activity") <= limit + len(hidden) + 1
            # Of each thread both members, the newest that is shown, and the newest of the other one.
            assert read.pop("thread_members_pkey", 0) <= 2 * limit + len(hidden)
            assert read.pop("messages_pkey") <= 1.2 * limit
            assert read.pop("messages_by_author") <= limit
            assert read.pop("thread_members_unread") <= 2 * 100
            assert not read
    await connection.close()


@MODES
async def test_what_a_room_begins_with_is_found_by_its_keys(database_url: str, mode: str) -> None:
    connection = await filled(database_url, mode, FILL_THREADS)
    read = await reads(connection, thread_statement(RoomId("dm:ada:p7"), ADA, UserId("p7")))
    assert read.pop("thread_members_pkey") == 2
    # Either of its two indexes has both persons.
    assert list(read.values()) == [1]
    assert await reads(connection, inbox_statement(UserId("p7"))) == {
        "thread_members_unread": 0,
        "friendships_pkey": 1,
        "friendships_by_high": 1,
    }
    read = await reads(connection, inbox_statement(ADA))
    assert read["thread_members_unread"] == 100
    assert await reads(connection, blocks_statement([UserId("p7"), UserId("p8"), ADA])) == {"blocks_pkey": 20}
    await connection.close()


@MODES
async def test_notes_are_read_in_the_order_of_the_page_or_by_their_place(database_url: str, mode: str) -> None:
    connection = await filled(database_url, mode, FILL_NOTES)
    board, limit = RoomId("notes:a"), 50
    assert await reads(connection, board_statement(board, 200)) == {"notes_by_order": 200}
    for after in (None, (10_000_000, "n10000")):
        assert await reads(connection, notes_statement(board, None, after, limit, [])) == {"notes_by_creation": limit}
    hidden = [UserId(f"p{number}") for number in range(5)]
    (read,) = (await reads(connection, notes_statement(board, None, None, limit, hidden))).values()
    assert read <= 1.2 * limit
    # In the index they are counted, then found, each once.
    small = await reads(connection, notes_statement(board, Rectangle(20, 20, 26, 26), None, limit, []))
    assert set(small) == {"notes_by_place"}
    assert 0 < small["notes_by_place"] <= 2 * limit
    # All of the board: counted up to the bound, then walked.
    large = await reads(connection, notes_statement(board, Rectangle(0, 0, 200, 100), (10_000_000, ""), limit, []))
    assert large == {"notes_by_place": NEAR_NOTES_MAX + 1, "notes_by_creation": limit}
    await connection.close()


@MODES
async def test_moderation_is_read_in_the_order_of_its_numbers(database_url: str, mode: str) -> None:
    connection = await filled(database_url, mode, FILL_MODERATION)
    limit = 50
    for after in (None, 5_000):
        for open_only, index in ((True, "moderation_queue_open"), (False, "moderation_queue_pkey")):
            read = await reads(connection, queue_statement(open_only=open_only, after=after, limit=limit, item_id=None))
            assert read == {index: limit, "reports_item_id_reporter_id_key": 2 * limit}
    one = await reads(connection, queue_statement(open_only=True, after=None, limit=1, item_id=700))
    assert one == {"moderation_queue_pkey": 1, "reports_item_id_reporter_id_key": 2}
    assert await reads(connection, audited_statement(9_000, limit, None)) == {"audit_log_pkey": limit}
    assert await reads(connection, audited_statement(9_000, limit, UserId("p7"))) == {"audit_log_by_subject": limit}
    # Of 1,000 in the room two thirds are not lifted, 10 of them end later; none of this room is without end.
    people = [UserId(f"p{number}") for number in range(3)]
    everywhere = await reads(connection, everywhere_statement(people, 19_700_000))
    assert set(everywhere) <= {"restrictions_in_room"}
    running = await reads(connection, restrictions_statement(RoomId("lobby:7"), 19_700_000))
    assert set(running) == {"restrictions_in_room"}
    assert 0 < running["restrictions_in_room"] <= 15
    await connection.close()
