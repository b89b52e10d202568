"""Fixtures that several test packages share."""

import os
from collections.abc import Iterator

import pytest

from common.errors import SettingsError
from deploy.embedded_redis import EmbeddedRedis


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
