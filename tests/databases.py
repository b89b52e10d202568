"""Databases for tests, made in some ten milliseconds each: copies of one that was migrated once."""

import contextlib
import itertools
from collections.abc import AsyncIterator

import asyncpg

from deploy.embedded_postgres import EmbeddedPostgres
from deploy.migrate import upgrade

_TEMPLATE = "migrated_template"


class Databases:
    """Makes databases of one server, and removes each after its use."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server
        self._numbers = itertools.count(1)
        self._has_template = False

    @contextlib.asynccontextmanager
    async def empty(self) -> AsyncIterator[str]:
        """Give the URL of a database without any table."""
        async with self._copy_of("template1") as url:
            yield url

    @contextlib.asynccontextmanager
    async def migrated(self) -> AsyncIterator[str]:
        """Give the URL of a database of the newest version."""
        if not self._has_template:
            await self._execute(f"CREATE DATABASE {_TEMPLATE}")
            await upgrade(self._server.url_of(_TEMPLATE))
            self._has_template = True
        async with self._copy_of(_TEMPLATE) as url:
            yield url

    @contextlib.asynccontextmanager
    async def _copy_of(self, template: str) -> AsyncIterator[str]:
        name = f"test{next(self._numbers)}"
        await self._execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield self._server.url_of(name)
        finally:
            await self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self._server.url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()
