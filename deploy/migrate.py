"""`roomring migrate`: takes the database from one version to another, and tells where it stands.

The steps are in common/migrations; Alembic runs them. Two that run at once wait for each other (an advisory
lock), and the second finds nothing to do.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError
from asyncpg.exceptions import QueryCanceledError, UndefinedTableError
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from common.errors import RoomringError, SchemaMismatch, SettingsError
from common.postgres_link import connect, one_line
from common.schema_version import VERSION_QUERY
from common.settings import CommonSettings, load
from deploy.running import DATA_DIR, with_database

BASE: Final = "base"
"""The empty database, before the first step."""

CONNECT_TIMEOUT_MS: Final = 10_000
LOCK_TIMEOUT_MS: Final = 60_000
"""How long to wait for another `roomring migrate`."""

TABLE_LOCK_TIMEOUT_MS: Final = 10_000
"""How long a step waits for a table that is in use. All who come after it wait as well, so it gives up soon."""

SERVER_VERSION_MIN: Final = 14
"""The oldest that is maintained, and the first whose extract() is exact."""

_LOCK_KEY: Final = int.from_bytes(b"roomring", "big") % 2**63
"""Advisory locks are numbers that all who use a database share."""


class MigrationFailed(RoomringError):
    """A step could not be taken. The text is one line; what the step did is undone, steps before it are kept."""


@dataclass(frozen=True)
class Step:
    """One step between two versions."""

    version: str
    title: str


@dataclass(frozen=True)
class Status:
    """Where a database stands. `current` is None where it is empty."""

    current: str | None
    head: str
    pending: list[Step]


def run(args: argparse.Namespace) -> int:
    """Move the schema, or tell about it. See `roomring migrate --help`.

    Raises:
        RoomringError: it could not be done. One line that says what to do.
    """
    url = load(CommonSettings, with_database(os.environ, Path(DATA_DIR))).database_url
    if not url:
        raise SettingsError(
            "set ROOMRING_DATABASE_URL to the database to migrate, for example "
            "postgresql://user:password@127.0.0.1:5432/roomring"
        )
    if args.action == "status":
        _show_status(asyncio.run(status(url)), as_json=args.json)
        return 0
    if args.action == "up":
        taken, verb = asyncio.run(upgrade(url, args.revision)), "up"
    else:
        taken, verb = asyncio.run(downgrade(url, args.revision, drop_data=args.yes)), "down"
    for step in taken:
        _say(f"{verb:<4}  {step.version}  {step.title}")
    after = asyncio.run(status(url))
    _say(f"the database is {_version(after.current)}" + ("" if taken else "; there was nothing to do"))
    return 0


async def status(url: str) -> Status:
    """Tell where a database stands.

    Raises:
        SettingsError, StoreUnavailable: it cannot be reached.
        SchemaMismatch: it is of a version that this release does not know.
    """
    scripts = _scripts()
    connection = await connect(url, CONNECT_TIMEOUT_MS)
    try:
        current = await _current(connection)
    finally:
        await connection.close()
    _check_known(scripts, current)
    return Status(current, str(scripts.get_current_head()), [_step(script) for script in _between(scripts, current)])


async def upgrade(url: str, revision: str | None = None) -> list[Step]:
    """Take the steps up to a version; None: all. Returns those that were taken, in order.

    Raises:
        SettingsError: there is no such version, or the database is past it.
        SettingsError, StoreUnavailable: the database cannot be reached.
        SchemaMismatch: it is of a version that this release does not know.
        MigrationFailed: see there.
    """
    scripts = _scripts()
    async with _locked(url) as connection:
        current = await _current(connection)
        _check_known(scripts, current)
        target = str(scripts.get_current_head()) if revision is None else _version_named(scripts, revision)
        if target == BASE or (current is not None and target < current):
            raise SettingsError(
                f"the database is {_version(current)} already; to go back: roomring migrate down {target}"
            )
        steps = [step for step in _between(scripts, current) if step.revision <= target]
        if steps:
            await _run_steps(connection, command.upgrade, target)
        return [_step(step) for step in steps]


async def downgrade(url: str, revision: str, *, drop_data: bool = False) -> list[Step]:
    """Take the steps back down to a version (`base`: all), or as many as `-N` says. Returns those that were undone.

    Args:
        drop_data: else it is refused where a table that would go has rows.

    Raises:
        SettingsError: there is no such version, the database is before it, or data would be lost.
        SettingsError, StoreUnavailable: the database cannot be reached.
        SchemaMismatch: it is of a version that this release does not know.
        MigrationFailed: see there.
    """
    scripts = _scripts()
    async with _locked(url) as connection:
        current = await _current(connection)
        _check_known(scripts, current)
        taken = list(reversed([step for step in _all(scripts) if current is not None and step.revision <= current]))
        if re.fullmatch(r"-[1-9]\d*", revision):
            count = int(revision[1:])
            if count > len(taken):
                raise SettingsError(f"the database is {_version(current)}: there are no {count} steps to go back")
            steps = taken[:count]
            target = taken[count].revision if count < len(taken) else BASE
        else:
            target = _version_named(scripts, revision)
            steps = [step for step in taken if target == BASE or step.revision > target]
            if target != BASE and target not in [step.revision for step in taken]:
                raise SettingsError(f"the database is {_version(current)}; to go on: roomring migrate up {target}")
        filled = [] if drop_data else await _filled(connection, [name for step in steps for name in step.module.TABLES])
        if filled:
            raise SettingsError(
                f"this would drop what is in {', '.join(filled)}; make a backup with pg_dump, then repeat with --yes"
            )
        if steps:
            await _run_steps(connection, command.downgrade, target)
        return [_step(step) for step in steps]


# --- the database ---------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _locked(url: str) -> "AsyncIterator[asyncpg.Connection[Any]]":
    """Give a connection that nobody else migrates beside."""
    connection = await connect(url, CONNECT_TIMEOUT_MS)
    try:
        server = connection.get_server_version().major
        if server < SERVER_VERSION_MIN:
            raise SettingsError(f"the server is PostgreSQL {server}; use {SERVER_VERSION_MIN} or later")
        await connection.execute(f"SET statement_timeout = {LOCK_TIMEOUT_MS}")
        try:
            await connection.execute(f"SELECT pg_advisory_lock({_LOCK_KEY})")
        except QueryCanceledError as error:
            raise MigrationFailed(
                f"another `roomring migrate` has been running for {LOCK_TIMEOUT_MS // 1000} s; wait for it"
            ) from error
        await connection.execute(f"SET statement_timeout = 0; SET lock_timeout = {TABLE_LOCK_TIMEOUT_MS}")
        yield connection
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise MigrationFailed(f"the database refuses: {one_line(error)}") from error
    finally:
        # The lock goes with its connection.
        connection.terminate()


async def _current(connection: "asyncpg.Connection[Any]") -> str | None:
    try:
        found: str | None = await connection.fetchval(VERSION_QUERY)
    except UndefinedTableError:
        return None
    return found


async def _filled(connection: "asyncpg.Connection[Any]", tables: Sequence[str]) -> list[str]:
    """Return those tables that have rows."""
    return [
        table
        for table in tables
        if await connection.fetchval(f"SELECT EXISTS (SELECT FROM {table})")  # noqa: S608 - names of ours
    ]


async def _run_steps(connection: "asyncpg.Connection[Any]", move: Any, target: str) -> None:
    async def ours() -> "asyncpg.Connection[Any]":
        return connection

    config = _config()

    def inside(synchronous: Connection) -> None:
        config.attributes["connection"] = synchronous
        move(config, target)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=ours, poolclass=NullPool)
    try:
        async with engine.connect() as wrapped:
            await wrapped.run_sync(inside)
    except (DBAPIError, CommandError) as error:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        text = one_line(cause).rpartition(">: ")[2]
        raise MigrationFailed(
            f"a step failed and was undone: {text}; `roomring migrate status` tells where it stands"
        ) from error
    finally:
        await engine.dispose()


# --- the steps ------------------------------------------------------------------------------------------


def _config() -> Config:
    config = Config()
    # No variables in paths: a folder may have a percent sign in its name.
    config.set_main_option("script_location", str(resources.files("common.migrations")).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _all(scripts: ScriptDirectory) -> list[Script]:
    return list(reversed(list(scripts.walk_revisions())))


def _between(scripts: ScriptDirectory, current: str | None) -> list[Script]:
    return [script for script in _all(scripts) if current is None or script.revision > current]


def _step(script: Script) -> Step:
    return Step(script.revision, (script.doc or "").rstrip("."))


def _check_known(scripts: ScriptDirectory, current: str | None) -> None:
    if current is not None and current not in [script.revision for script in _all(scripts)]:
        raise SchemaMismatch(
            f"the database is of version {current}, which this release does not know (its last is "
            f"{scripts.get_current_head()}); use the release that made it"
        )


def _version_named(scripts: ScriptDirectory, name: str) -> str:
    if name == BASE:
        return BASE
    try:
        script = scripts.get_revision(name)
    except (RevisionError, CommandError):
        script = None
    if script is None:
        known = [step.revision for step in _all(scripts)]
        raise SettingsError(f"there is no version {name!r}; they are {known[0]} to {known[-1]}, and {BASE}")
    return script.revision


# --- what is printed ------------------------------------------------------------------------------------


def _show_status(found: Status, *, as_json: bool) -> None:
    if as_json:
        _say(json.dumps(asdict(found), indent=2))
        return
    _say(f"current  {found.current or 'none: the database is empty'}")
    _say(f"head     {found.head}")
    for step in found.pending:
        _say(f"pending  {step.version}  {step.title}")
    if found.pending:
        _say("back it up with pg_dump, then: roomring migrate up")


def _version(version: str | None) -> str:
    return "empty" if version is None else f"of version {version}"


def _say(text: str) -> None:
    print(text)  # noqa: T201 - the command's own output
