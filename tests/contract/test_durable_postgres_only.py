"""What only the store on PostgreSQL can show: lost connections, deadlines, versions, plans."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from common.durable import MessagePlace
from common.durable_postgres import PostgresStore
from common.errors import SchemaMismatch, SettingsError, StoreUnavailable
from common.ids import Epoch, RoomId, Seq
from common.postgres_pages import PAGE_STATEMENTS
from deploy.embedded_postgres import EmbeddedPostgres
from deploy.migrate import downgrade, upgrade
from tests.contract.durable import ADA, EVE, ROOM, message, seqs

MESSAGES = 20_000
ROOMS = 4


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[PostgresStore]:
    store = await PostgresStore.connect(database_url)
    yield store
    await store.close()


# --- what goes wrong on the way -------------------------------------------------------------------------


async def test_a_restart_of_the_server_is_survived_without_one_of_ours(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path) as server:
        await upgrade(server.url)
        store = await PostgresStore.connect(server.url, call_timeout_ms=2_000)
        await store.append([message(1)])
        await asyncio.to_thread(server.stop)
        with pytest.raises(StoreUnavailable) as raised:
            await store.append([message(2)])
        assert raised.value.__cause__ is not None
        await asyncio.to_thread(server.start)
        await store.append([message(2)])
        assert seqs(await store.page(ROOM, limit=5)) == [1, 2]
        # A crash, while several calls are under way.
        await asyncio.to_thread(server.kill)
        results = await asyncio.gather(*(store.ping_ms() for _ in range(8)), return_exceptions=True)
        assert all(isinstance(result, StoreUnavailable) for result in results)
        await asyncio.to_thread(server.start)
        assert seqs(await store.page(ROOM, limit=5)) == [1, 2]
        await store.close()


async def test_a_connection_that_was_ended_is_replaced(store: PostgresStore, database_url: str) -> None:
    await store.ping_ms()
    await end_connections(database_url)
    # Whether the first call meets the old connection is a race; the second must not.
    try:
        await store.ping_ms()
    except StoreUnavailable:
        await store.ping_ms()


async def end_connections(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await connection.close()


async def test_a_call_that_takes_too_long_is_given_up_and_the_next_one_works(database_url: str) -> None:
    store = await PostgresStore.connect(database_url, connections_max=1, call_timeout_ms=150)
    holder = await asyncpg.connect(database_url)
    await holder.execute("BEGIN; LOCK TABLE messages IN ACCESS EXCLUSIVE MODE")
    with pytest.raises(StoreUnavailable, match="TimeoutError"):
        await store.append([message(1)])
    await holder.execute("ROLLBACK")
    await holder.close()
    await store.append([message(1)])
    assert seqs(await store.page(ROOM, limit=5)) == [1]
    await store.close()


async def test_a_cancelled_call_leaves_no_connection_half_read(database_url: str) -> None:
    store = await PostgresStore.connect(database_url, connections_max=1)
    holder = await asyncpg.connect(database_url)
    await holder.execute("BEGIN; LOCK TABLE messages IN ACCESS EXCLUSIVE MODE")
    call = asyncio.create_task(store.page(ROOM, limit=1))
    while not await holder.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110
        await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await holder.execute("ROLLBACK")
    await holder.close()
    assert (await store.page(ROOM, limit=1)).messages == []
    await store.close()


async def test_more_calls_than_connections_wait_their_turn(database_url: str) -> None:
    store = await PostgresStore.connect(database_url, connections_max=2)
    await asyncio.gather(*(store.append([message(seq)]) for seq in range(1, 51)))
    assert seqs(await store.page(ROOM, limit=200)) == list(range(1, 51))
    await store.close()


async def test_a_server_that_is_away_is_told_without_the_password() -> None:
    with pytest.raises(StoreUnavailable, match=r"postgresql://127\.0\.0\.1:1/rooms: PostgreSQL: Connection") as raised:
        await PostgresStore.connect("postgresql://ada:hunter2@127.0.0.1:1/rooms")
    assert "hunter2" not in str(raised.value)
    later = PostgresStore("postgresql://ada:hunter2@127.0.0.1:1/rooms")
    with pytest.raises(StoreUnavailable):
        await later.append([message(1)])
    await later.close()


async def test_after_close_a_call_fails_at_once(store: PostgresStore) -> None:
    await store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.ping_ms()


async def test_a_batch_that_is_refused_is_refused_whole(store: PostgresStore) -> None:
    """A place below 1 is a bug of ours: it must show as one, and store nothing."""
    with pytest.raises(asyncpg.CheckViolationError):
        await store.append([message(1), message(0)])
    assert (await store.page(ROOM, limit=5)).messages == []


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda url: url.replace("postgresql", "mysql"), "is not a PostgreSQL URL"),
        (lambda url: url.replace(url[url.rindex(":") + 1 :], "port/x"), "is not a PostgreSQL URL"),
        (lambda url: url.replace("roomring:", "roomring:x"), "refused the user or password"),
        (lambda url: url + "nowhere", "there is no such database"),
        (lambda url: url + "?sslmode=sometimes", "has an option that is wrong"),
    ],
)
async def test_a_wrong_url_is_told_in_one_line(database_url: str, change: Any, match: str) -> None:
    with pytest.raises(SettingsError, match=match) as raised:
        await PostgresStore.connect(change(database_url))
    assert "\n" not in str(raised.value)


# --- versions -------------------------------------------------------------------------------------------


async def test_an_empty_database_is_refused(empty_database_url: str) -> None:
    with pytest.raises(SchemaMismatch, match=r"is empty and this release needs version .*; run: roomring migrate up"):
        await PostgresStore.connect(empty_database_url)


async def test_another_version_is_refused(database_url: str) -> None:
    await downgrade(database_url, "0003")
    with pytest.raises(SchemaMismatch, match=r"of version 0003 and this release needs .* run: roomring migrate up"):
        await PostgresStore.connect(database_url)


async def test_one_made_while_the_server_was_away_looks_at_the_version_later(database_url: str) -> None:
    await downgrade(database_url, "0003")
    store = PostgresStore(database_url)
    with pytest.raises(SchemaMismatch, match="0003"):
        await store.append([message(1)])
    await store.close()


# --- plans ----------------------------------------------------------------------------------------------


async def explain(connection: "asyncpg.Connection[Any]", statement: str, *arguments: object) -> dict[str, Any]:
    text = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *arguments)
    plan: dict[str, Any] = json.loads(text)[0]["Plan"]
    return plan


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(inner for child in plan.get("Plans", []) for inner in nodes(child))]


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_pages_walk_the_primary_key_and_read_little_more_than_they_return(
    store: PostgresStore, database_url: str, mode: str
) -> None:
    rooms = [RoomId(f"lobby:{number}") for number in range(ROOMS)]
    for room in rooms:
        for begin in range(1, MESSAGES // ROOMS, 1_000):
            await store.append([message(seq, room=room) for seq in range(begin, begin + 1_000)])
    connection = await asyncpg.connect(database_url)
    await connection.execute(f"ANALYZE messages; SET plan_cache_mode = {mode}")
    epoch = Epoch(1_700_000_000_000)
    middle, later = MessagePlace(epoch, Seq(2_500)), MessagePlace(epoch, Seq(4_000))
    places = {"newest": (), "before": middle, "after": middle, "between": (*middle, *later)}
    assert set(places) == set(PAGE_STATEMENTS)
    for limit in (5, 50, 200):
        for name, statement in PAGE_STATEMENTS.items():
            plan = await explain(connection, statement, rooms[1], limit + 1, [], *places[name])
            scans = [node for node in nodes(plan) if "Scan" in node["Node Type"]]
            assert {(scan["Node Type"], scan["Index Name"]) for scan in scans} == {("Index Scan", "messages_pkey")}
            assert not [node for node in nodes(plan) if "Sort" in node["Node Type"]], name
            read = sum(
                scan["Actual Rows"]
                + scan.get("Rows Removed by Filter", 0)
                + scan.get("Rows Removed by Index Recheck", 0)
                for scan in scans
            )
            assert read <= 2 * limit, (name, limit, read)
    await connection.close()


async def test_hidden_authors_cost_only_what_they_wrote(store: PostgresStore, database_url: str) -> None:
    await store.append([message(seq, author=EVE if seq % 2 else ADA) for seq in range(1, 5_001)])
    connection = await asyncpg.connect(database_url)
    await connection.execute("ANALYZE messages")
    plan = await explain(connection, PAGE_STATEMENTS["newest"], ROOM, 51, [EVE])
    (scan,) = [node for node in nodes(plan) if "Scan" in node["Node Type"]]
    assert scan["Index Name"] == "messages_pkey"
    assert scan["Rows Removed by Filter"] <= 60
    await connection.close()
