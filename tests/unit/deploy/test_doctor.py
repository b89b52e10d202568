"""How the doctor judges what it found."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from common.bus import ShardStatus
from common.ids import LeaseToken, Shard, WorkerId
from common.schema_version import SCHEMA_VERSION
from common.settings import WorkerSettings
from deploy import doctor
from deploy.doctor import Finding, State


def status(shard: int, owner: str | None, backlog: int = 0) -> ShardStatus:
    return ShardStatus(Shard(shard), WorkerId(owner) if owner else None, LeaseToken(1), 1, backlog)


@pytest.mark.parametrize(
    ("info", "state"),
    [
        ({"redis_version": "7.0.0"}, State.OK),
        ({"redis_version": "8.2.1"}, State.OK),
        ({"redis_version": "6.2.14"}, State.FAIL),
        # What Valkey says of itself for old clients does not count.
        ({"redis_version": "7.2.4", "valkey_version": "8.0.1"}, State.OK),
        ({"redis_version": "7.2.4", "valkey_version": "7.2.9"}, State.FAIL),
        ({}, State.FAIL),
    ],
)
def test_version(info: dict[str, Any], state: State) -> None:
    assert doctor.check_version(info, "here").state is state


def test_eviction() -> None:
    assert doctor.check_eviction("noeviction", 10).state is State.OK
    assert doctor.check_eviction("allkeys-lru", 10).state is State.FAIL
    assert doctor.check_eviction("allkeys-lru", 0).state is State.WARN
    assert doctor.check_eviction(None, 0).state is State.WARN


def test_persistence() -> None:
    assert doctor.check_persistence({"aof_enabled": 1, "aof_last_write_status": "ok"}).state is State.OK
    assert doctor.check_persistence({"aof_enabled": 1, "aof_last_write_status": "err"}).state is State.FAIL
    assert doctor.check_persistence({"aof_enabled": 0}).state is State.WARN


def test_replicas() -> None:
    safe = {"min-replicas-to-write": "1", "cluster-require-full-coverage": "no"}
    careless = {"min-replicas-to-write": "0", "cluster-require-full-coverage": "yes"}
    for form in ("sentinel", "cluster"):
        assert doctor.check_replicas({"connected_slaves": 1}, form, safe).state is State.OK
        assert doctor.check_replicas({"connected_slaves": 0}, form, safe).state is State.WARN
        assert doctor.check_replicas({"connected_slaves": 1}, form, careless).state is State.WARN
        # One that tells no settings is not blamed for them.
        assert doctor.check_replicas({"connected_slaves": 1}, form, {}).state is State.OK


def test_sharing() -> None:
    assert doctor.check_sharing([1, 1, 1], 3).state is State.OK
    assert "more ROOMRING_PARTITIONS" in doctor.check_sharing([1], 3).remedy
    assert "move slots" in doctor.check_sharing([2, 1], 3).remedy


def test_round_trip_is_judged_by_its_slow_ones() -> None:
    assert doctor.check_round_trip([0.2] * 100).state is State.OK
    assert doctor.check_round_trip([0.2] * 98 + [20.0] * 2).state is State.WARN
    assert doctor.check_round_trip([200.0]).state is State.FAIL


def test_clock() -> None:
    assert doctor.check_clock(20.0, 1.0).state is State.OK
    assert "behind" in doctor.check_clock(-800.0, 1.0).found
    assert doctor.check_clock(-800.0, 1.0).state is State.WARN
    assert doctor.check_clock(-800.0, 500.0).state is State.OK
    assert doctor.check_clock(9_000.0, 1.0).state is State.FAIL


def test_shape() -> None:
    settings = WorkerSettings()
    assert doctor.check_shape({}, settings).state is State.WARN
    assert doctor.check_shape({b"shards": b"64", b"partitions": b"1"}, settings).state is State.OK
    wrong = doctor.check_shape({b"shards": b"16", b"partitions": b"2"}, settings)
    assert wrong.state is State.FAIL
    assert "ROOMRING_SHARDS=16 and ROOMRING_PARTITIONS=2" in wrong.remedy


def test_jobs() -> None:
    assert doctor.check_jobs(1, {"todo": 3, "succeeded": 9}).state is State.OK
    assert doctor.check_jobs(0, {}).state is State.WARN
    failed = doctor.check_jobs(1, {"failed": 2})
    assert (failed.state, "2 failed" in failed.found) == (State.WARN, True)


def test_nodes() -> None:
    assert doctor.check_nodes("edges", [], "start").state is State.FAIL
    assert doctor.check_nodes("edges", ["a"], "start").state is State.WARN
    assert doctor.check_nodes("edges", ["a", "b"], "start").state is State.OK


def test_owners() -> None:
    assert doctor.check_owners([status(0, "a"), status(1, "b")], ["a", "b"]).state is State.OK
    assert doctor.check_owners([status(0, "a"), status(1, None)], ["a"]).state is State.FAIL
    assert doctor.check_owners([status(0, "a"), status(1, "gone")], ["a"]).state is State.WARN


def test_backlog() -> None:
    assert doctor.check_backlog([status(0, "a", 3), status(1, "a")]).state is State.OK
    worst = doctor.check_backlog([status(0, "a", 3), status(1, "a", 5_000)])
    assert worst.state is State.WARN
    assert "shard 1" in worst.found


def test_database() -> None:
    assert doctor.check_database("18.4", "UTF8", "here").state is State.OK
    assert doctor.check_database("14.19 (Debian 14.19-1)", "UTF8", "here").found == "PostgreSQL 14.19 at here"
    assert doctor.check_database("13.22", "UTF8", "here").state is State.FAIL
    latin = doctor.check_database("18.4", "LATIN1", "here")
    assert (latin.state, "LATIN1" in latin.found) == (State.FAIL, True)
    assert doctor.check_schema(SCHEMA_VERSION).state is State.OK
    old = doctor.check_schema("0000")
    assert (old.state, "roomring migrate up" in old.remedy) == (State.FAIL, True)
    assert doctor.check_database_clock(400.0, 1.0).state is State.OK
    assert doctor.check_database_clock(-600.0, 1.0).state is State.WARN
    assert doctor.check_database_round_trip([1.0] * 30).state is State.OK
    assert doctor.check_database_round_trip([1.0] * 20 + [50.0] * 10).state is State.WARN


def test_settings_that_an_edge_refuses_do_not_hide_redis() -> None:
    settings, findings = doctor.check_settings({"ROOMRING_REDIS_URL": "redis://elsewhere:1/0"})
    assert settings is not None
    assert settings.redis_url == "redis://elsewhere:1/0"
    assert [finding.state for finding in findings] == [State.FAIL, State.OK]
    assert "ROOMRING_TOKEN_SECRET" in findings[0].remedy


def test_a_word_list_that_a_worker_refuses() -> None:
    _, findings = doctor.check_settings({"ROOMRING_DEV": "1", "ROOMRING_WORD_LIST_FILE": "no/such/file"})
    worker = next(finding for finding in findings if finding.check == "worker settings")
    assert worker.state is State.FAIL
    assert "ROOMRING_WORD_LIST_FILE" in worker.remedy


def test_dead_letters_that_lie_are_told_with_the_command_that_shows_them() -> None:
    assert doctor.check_dead_letters(0).state is State.OK
    finding = doctor.check_dead_letters(3)
    assert (finding.state, finding.found.split()[0]) == (State.WARN, "3")
    assert "roomring deadletter list" in finding.remedy


def test_settings_that_nobody_accepts() -> None:
    settings, findings = doctor.check_settings({"ROOMRING_REDIS_URL": "nonsense"})
    assert settings is None
    assert [finding.state for finding in findings] == [State.FAIL, State.FAIL]


def test_a_development_cluster_beside_is_found(tmp_path: Path) -> None:
    database_url = "postgresql://127.0.0.1:8/rooms"
    described = {
        "pid": os.getpid(),
        "redis": {"url": "redis://127.0.0.1:7/0"},
        "database": {"url": database_url},
        "archives": "there",
    }
    (tmp_path / "cluster.json").write_text(json.dumps(described))
    environ, findings = doctor.environment({}, tmp_path)
    assert environ == {
        "ROOMRING_REDIS_URL": "redis://127.0.0.1:7/0",
        "ROOMRING_DATABASE_URL": database_url,
        "ROOMRING_DEV": "1",
    }
    assert findings[0].state is State.OK
    environ, findings = doctor.environment({"ROOMRING_REDIS_URL": "redis://mine/0"}, tmp_path)
    assert (environ, findings) == ({"ROOMRING_REDIS_URL": "redis://mine/0"}, [])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": 4194304999, "redis": {"url": "x"}}'])
def test_a_description_of_nothing_is_passed_over(text: str, tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_text(text)
    assert doctor.environment({}, tmp_path) == ({}, [])


def test_a_password_is_not_shown() -> None:
    assert doctor.without_password("redis://user:hunter2@host:6379/0") == "redis://host:6379/0"


def test_table_and_json_say_the_same() -> None:
    findings = [Finding(State.OK, "python", "3.13"), Finding(State.FAIL, "redis", "away", "start it")]
    table = doctor.to_table(findings, coloured=False)
    assert table.splitlines() == [
        "ok    python  3.13",
        "FAIL  redis   away",
        "              -> start it",
        "",
        "1 ok, 0 warn, 1 FAIL",
    ]
    assert json.loads(doctor.to_json(findings)) == {
        "ok": False,
        "findings": [
            {"state": "ok", "check": "python", "found": "3.13", "remedy": ""},
            {"state": "FAIL", "check": "redis", "found": "away", "remedy": "start it"},
        ],
    }
