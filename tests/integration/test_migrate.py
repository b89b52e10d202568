"""`roomring migrate` as a process: what an operator sees of it."""

import json

import asyncpg

from common.schema_version import SCHEMA_VERSION
from deploy.embedded_redis import EmbeddedRedis
from tests.integration.test_cli import assert_one_line, roomring

URL = "ROOMRING_DATABASE_URL"


async def test_up_status_and_down(empty_database_url: str) -> None:
    settings = {URL: empty_database_url}
    before = roomring("migrate", "status", **settings)
    assert before.returncode == 0
    assert before.stdout.startswith("current  none: the database is empty\n")
    assert "pending  0001  Messages" in before.stdout
    assert "pg_dump" in before.stdout
    pending = json.loads(roomring("migrate", "status", "--json", **settings).stdout)["pending"]
    versions = [step["version"] for step in pending]

    up = roomring("migrate", "up", **settings)
    assert up.returncode == 0, up.stderr
    assert up.stdout.splitlines()[-1] == f"the database is of version {SCHEMA_VERSION}"
    assert "nothing to do" in roomring("migrate", "up", **settings).stdout

    connection = await asyncpg.connect(empty_database_url)
    await connection.execute("INSERT INTO blocks VALUES ('ada', 'eve')")
    await connection.close()
    refused = roomring("migrate", "down", "base", **settings)
    assert_one_line(refused, 2, "would drop what is in blocks;", "pg_dump", "--yes")
    kept = roomring("migrate", "down", "-2", **settings)
    assert kept.returncode == 0, kept.stderr
    found = json.loads(roomring("migrate", "status", "--json", **settings).stdout)
    assert (found["current"], found["head"]) == (versions[-3], SCHEMA_VERSION)
    assert len(found["pending"]) == 2

    down = roomring("migrate", "down", "base", "--yes", **settings)
    assert down.stdout.splitlines()[-1] == "the database is empty"


def test_mistakes_are_one_line_each() -> None:
    assert_one_line(roomring("migrate", "up"), 2, "set ROOMRING_DATABASE_URL")
    assert_one_line(roomring("migrate", "up", **{URL: "mysql://host/x"}), 2, "not a PostgreSQL URL")
    away = roomring("migrate", "status", **{URL: "postgresql://ada:hunter2@127.0.0.1:1/x"})
    assert_one_line(away, 1, "postgresql://127.0.0.1:1/x", "ConnectionRefusedError")
    assert "hunter2" not in away.stderr
    assert_one_line(roomring("migrate"), 2, "ACTION", "roomring migrate --help")
    assert_one_line(roomring("migrate", "down"), 2, "roomring migrate down --help")


def test_a_worker_refuses_a_database_of_another_version(empty_database_url: str, embedded_redis: EmbeddedRedis) -> None:
    done = roomring("worker", ROOMRING_REDIS_URL=embedded_redis.url, **{URL: empty_database_url})
    assert_one_line(done, 1, "the database is empty", SCHEMA_VERSION, "run: roomring migrate up")


async def test_doctor_looks_at_the_database(empty_database_url: str, embedded_redis: EmbeddedRedis) -> None:
    settings = {"ROOMRING_REDIS_URL": embedded_redis.url, URL: empty_database_url}
    found = {entry["check"]: entry for entry in json.loads(roomring("doctor", "--json", **settings).stdout)["findings"]}
    assert found["database"]["state"] == "ok"
    assert found["database"]["found"].startswith("PostgreSQL ")
    assert (found["schema"]["state"], found["schema"]["remedy"]) == ("FAIL", "run: roomring migrate up")
    assert found["database clock"]["state"] == "ok"
    roomring("migrate", "up", **{URL: empty_database_url})
    found = {entry["check"]: entry for entry in json.loads(roomring("doctor", "--json", **settings).stdout)["findings"]}
    assert (found["schema"]["state"], found["schema"]["found"]) == ("ok", f"version {SCHEMA_VERSION}")
    away = roomring("doctor", "--json", ROOMRING_REDIS_URL=embedded_redis.url, **{URL: "postgresql://127.0.0.1:1/x"})
    found = {entry["check"]: entry for entry in json.loads(away.stdout)["findings"]}
    assert (found["database"]["state"], "schema" in found) == ("FAIL", False)
