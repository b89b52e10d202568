"""What only the store on PostgreSQL can show: lost connections, deadlines, versions, transactions."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from msgspec import structs

from common.durable import (
    BlockSet,
    FriendshipSet,
    MessageRemoved,
    ReadMark,
    Record,
    Reported,
    Restricted,
    RestrictionsLifted,
)
from common.durable_postgres import PostgresStore
from common.errors import RecordRefused, SchemaMismatch, SettingsError, StoreUnavailable
from common.ids import Seq, UserId, thread_of
from common.postgres_append import append_statements
from deploy.embedded_postgres import EmbeddedPostgres
from deploy.migrate import downgrade, upgrade
from tests.contract.durable import ADA, EVE, ROOM, message, seqs


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[PostgresStore]:
    store = await PostgresStore.connect(database_url)
    yield store
    await store.close()


@pytest.mark.parametrize(
    "bad",
    [
        structs.replace(message(2), seq=Seq(2**70)),
        structs.replace(message(2), at_ms=2**62),
        BlockSet(ADA, ADA, blocked=True, at_ms=1),
    ],
)
async def test_a_value_that_no_table_takes_is_told_apart_from_an_outage(store: PostgresStore, bad: Record) -> None:
    with pytest.raises(RecordRefused):
        await store.append([message(1), bad])
    assert seqs(await store.page(ROOM, limit=5)) == []
    await store.append([message(1)])
    assert seqs(await store.page(ROOM, limit=5)) == [1]


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
    with pytest.raises(RecordRefused):
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


# --- what is promised -----------------------------------------------------------------------------------


async def test_no_default_of_the_database_lets_a_commit_return_before_it_is_on_the_disk(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    await connection.close()
    store = await PostgresStore.connect(database_url)
    (row,) = await store._links.fetch("SHOW synchronous_commit")
    assert row[0] == "on"
    await store.close()


async def test_plain_chat_is_one_statement_and_other_records_are_one_transaction(store: PostgresStore) -> None:
    assert len(append_statements([message(seq) for seq in range(1, 501)])) == 1
    direct = message(1, room=thread_of(ADA, EVE), recipient=EVE)
    refused = structs.replace(message(2, message_id="m"), seq=Seq(0))
    with pytest.raises(RecordRefused):
        await store.append([direct, refused, BlockSet(ADA, EVE, True, 5)])
    assert await store.thread_members(direct.room_id) == ()
    assert await store.blocks_of([ADA]) == {ADA: frozenset()}


async def test_many_who_append_the_same_of_all_kinds_at_once_do_not_wait_for_each_other_for_ever(
    store: PostgresStore,
) -> None:
    """Two that take the same locks in another order are stopped by PostgreSQL after a second: StoreUnavailable."""
    persons = [UserId(f"p{number}") for number in range(12)]
    pairs = [(a, b) for a in persons for b in persons if a < b]
    records: list[Record] = []
    for seq, (a, b) in enumerate(pairs, 1):
        room = thread_of(a, b)
        records += [
            message(seq),
            message(seq, room=room, author=a, recipient=b),
            FriendshipSet(a, b, "pending" if seq % 2 else "none", a, seq),
            BlockSet(b, a, seq % 3 > 0, seq),
            ReadMark(room, b, message(seq).epoch, Seq(seq)),
            Reported(room, message(seq).epoch, Seq(seq), "", UserId(""), "", b, "spam", "report", seq),
            MessageRemoved(room, message(seq).epoch, Seq(seq), a, seq),
            Restricted(f"r{seq}", ROOM, a, "mute", "", "mod", seq, None),
            RestrictionsLifted(ROOM, b, "mod", seq),
        ]
    for turn in range(4):
        shifted = [records[part:] + records[:part] for part in (0, 200, 400)]
        await asyncio.gather(*(store.append(batch if turn % 2 else batch[::-1]) for batch in shifted))
    assert (await store.threads(persons[0], limit=100))[1] == 0
    assert len(await store.queue(limit=200)) == len(pairs)
