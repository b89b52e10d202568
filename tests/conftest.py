"""Fixtures that several test packages share."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from common.errors import SettingsError
from deploy.embedded_postgres import EmbeddedPostgres
from deploy.embedded_redis import EmbeddedRedis, find_server
from loadtest.redis_groups import ClusterGroup, OneServer, RedisGroup
from tests.databases import Databases


@pytest.fixture(scope="session")
def embedded_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """A server for the whole session; each test takes a namespace of its own.

    ROOMRING_TEST_REDIS_SERVER names another server program to test with. Without any the tests that need one
    are skipped, but fail on CI.
    """
    try:
        server = EmbeddedRedis(tmp_path_factory.mktemp("redis"), binary=os.environ.get("ROOMRING_TEST_REDIS_SERVER"))
    except SettingsError as error:
        if os.environ.get("CI", "").lower() == "true":
            raise
        pytest.skip(str(error))
    with server:
        yield server


@pytest.fixture(scope="session")
def valkey(embedded_redis: EmbeddedRedis) -> RedisGroup:
    """The same, as a group."""
    return OneServer(embedded_redis)


@pytest.fixture(scope="session")
def redis_server() -> Path:
    """The server program of the distribution."""
    try:
        return find_server("redis-server")
    except SettingsError:
        pytest.fail("there is no redis-server; run `bash deploy/install_redis.sh`")


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory, redis_server: Path) -> Iterator[RedisGroup]:
    """A Redis, for the whole session."""
    with EmbeddedRedis(tmp_path_factory.mktemp("redis"), binary=redis_server) as server:
        yield OneServer(server)


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory, embedded_redis: EmbeddedRedis) -> Iterator[ClusterGroup]:
    """A Redis Cluster of three primaries, for the whole session; of three partitions each has one."""
    cluster = ClusterGroup(tmp_path_factory.mktemp("cluster"), embedded_redis.binary)
    try:
        yield cluster.start()
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def embedded_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server for the whole session; each test takes a database of its own, see `database_url`.

    ROOMRING_TEST_POSTGRES_PROGRAMS names the folder of other programs to test with. Without any the tests that
    need one are skipped, but fail on CI.
    """
    try:
        server = EmbeddedPostgres(
            tmp_path_factory.mktemp("postgres"), programs=os.environ.get("ROOMRING_TEST_POSTGRES_PROGRAMS")
        )
    except SettingsError as error:
        if os.environ.get("CI", "").lower() == "true":
            raise
        pytest.skip(str(error))
    with server:
        yield server


@pytest.fixture(scope="session")
def databases(embedded_postgres: EmbeddedPostgres) -> Databases:
    """Makes databases."""
    return Databases(embedded_postgres)


@pytest.fixture
async def database_url(databases: Databases) -> AsyncIterator[str]:
    """A fresh database of the newest version."""
    async with databases.migrated() as url:
        yield url


@pytest.fixture
async def empty_database_url(databases: Databases) -> AsyncIterator[str]:
    """A fresh database without any table."""
    async with databases.empty() as url:
        yield url
