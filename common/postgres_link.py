"""Connections to PostgreSQL: a small pool, every failure turned into `StoreUnavailable`.

Owns connecting, deadlines and what becomes of a connection after a failure. It knows no table.
Invariant: a connection whose call failed or was cancelled half-way is closed, never used again. Nothing is
repeated here: repeating is the caller's, who knows what may be sent twice.

asyncpg does the URL, TLS, authentication and prepared statements. Source: docs/decisions/0013-postgres.md.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import asyncpg
from asyncpg import exceptions

from common.errors import RoomringError, SchemaMismatch, SettingsError, StoreUnavailable

APPLICATION_NAME: Final = "roomring"
"""By which pg_stat_activity and the server's log tell our connections."""

_EXAMPLE: Final = "postgresql://user:password@127.0.0.1:5432/roomring"

_OPERATIONAL: Final = (
    exceptions.PostgresConnectionError,
    exceptions.InsufficientPrivilegeError,
    exceptions.InsufficientResourcesError,
    exceptions.InterfaceError,
    exceptions.InternalClientError,
    exceptions.InternalServerError,
    exceptions.InvalidAuthorizationSpecificationError,
    exceptions.InvalidCatalogNameError,
    exceptions.LockNotAvailableError,
    exceptions.OperatorInterventionError,
    exceptions.PostgresSystemError,
    exceptions.ReadOnlySQLTransactionError,
    exceptions.TransactionRollbackError,
    OSError,
    TimeoutError,
)
"""What says something of the server's state, or of the way to it, and not of our statement."""

_OTHER_SCHEMA: Final = (exceptions.UndefinedTableError, exceptions.UndefinedColumnError)

_Record = Any
_Result = TypeVar("_Result")


class PostgresLinks:
    """A small pool of connections for short statements. More calls than connections wait.

    Connects when needed, and again after a failure.
    """

    def __init__(self, url: str, connections_max: int, timeout_ms: int) -> None:
        """Prepare; nothing is sent yet.

        Args:
            timeout_ms: how long a call may take, the wait for a connection included.

        Raises:
            SettingsError: the URL is wrong. One line that says what to do.
        """
        check_url(url)
        self._url = url
        self._connections_max = connections_max
        self._timeout_ms = timeout_ms
        self._pool: asyncpg.Pool[Any] | None = None
        self._opening = asyncio.Lock()
        self._closed = False

    async def fetch(self, statement: str, *arguments: object) -> Sequence[_Record]:
        """Run one statement, a transaction of its own, and return its rows.

        Raises:
            StoreUnavailable: PostgreSQL did not answer in time, or cannot serve now.
            SchemaMismatch: it has not the tables that the statement names.
            asyncpg.PostgresError: it refused the statement; a bug.

        Cancelling closes the connection; the statement may take effect.
        """

        async def run(connection: Any) -> Sequence[_Record]:
            rows: Sequence[_Record] = await connection.fetch(statement, *arguments)
            return rows

        return await self._with_connection(run)

    async def run(self, statements: Sequence[tuple[str, tuple[object, ...]]]) -> None:
        """Run statements with their arguments in order, in one transaction (READ COMMITTED). Raises as `fetch`."""
        if len(statements) == 1:
            await self.fetch(statements[0][0], *statements[0][1])
            return

        async def run(connection: Any) -> None:
            async with connection.transaction(isolation="read_committed"):
                for statement, arguments in statements:
                    await connection.fetch(statement, *arguments)

        await self._with_connection(run)

    async def _with_connection(self, run: Callable[[Any], Awaitable[_Result]]) -> _Result:
        try:
            async with asyncio.timeout(self._timeout_ms / 1000):
                pool = await self._open()
                connection = await pool.acquire()
                try:
                    return await run(connection)
                except BaseException as error:
                    if not isinstance(error, exceptions.PostgresError) or isinstance(error, _OPERATIONAL):
                        connection.terminate()
                    raise
                finally:
                    await pool.release(connection)
        except _OPERATIONAL as error:
            # What broke this one broke the idle ones too, most likely: a stopped or exchanged server.
            if self._pool is not None:
                await self._pool.expire_connections()
            raise StoreUnavailable(describe(error)) from error
        except _OTHER_SCHEMA as error:
            raise SchemaMismatch(f"the database is of another version than this release: {one_line(error)}") from error

    async def close(self) -> None:
        """Close all connections; calls that run fail."""
        self._closed = True
        if self._pool is not None:
            self._pool.terminate()

    async def _open(self) -> "asyncpg.Pool[Any]":
        async with self._opening:
            if self._closed:
                raise StoreUnavailable("PostgreSQL: the store was closed")
            if self._pool is None:
                # Opens no connection. Ours keep no state, so a reset before each reuse would only cost a round trip.
                self._pool = await asyncpg.create_pool(
                    self._url,
                    min_size=0,
                    max_size=self._connections_max,
                    reset=_no_reset,
                    # `persisted` is a promise: no default of the server, the database or the role may weaken it.
                    server_settings={"application_name": APPLICATION_NAME, "synchronous_commit": "on"},
                )
            return self._pool


async def connect(url: str, timeout_ms: int, **options: str) -> "asyncpg.Connection[Any]":
    """Open one connection, outside of any pool, for work on the schema.

    Args:
        options: settings of PostgreSQL for this connection, by their names.

    Raises:
        SettingsError: the URL is wrong, there is no such database, or user or password are refused.
        StoreUnavailable: PostgreSQL does not answer.
    """
    check_url(url)
    try:
        async with asyncio.timeout(timeout_ms / 1000):
            return await asyncpg.connect(url, server_settings={"application_name": APPLICATION_NAME, **options})
    except (*_OPERATIONAL, ValueError) as error:
        raise explain_refusal(url, error) from error


@contextlib.contextmanager
def telling_outages() -> Iterator[None]:
    """Turn what says that PostgreSQL cannot serve now, from statements over such a connection, into one error.

    Raises:
        StoreUnavailable: see above.
    """
    try:
        yield
    except _OPERATIONAL as error:
        raise StoreUnavailable(describe(error)) from error


def check_url(url: str) -> None:
    """Check the form of a URL.

    Raises:
        SettingsError: it is wrong. One line that says what to do, without the password.
    """
    try:
        parts = urlsplit(url)
        # Several hosts, separated by commas, are more than urlsplit knows of.
        several = "," in parts.netloc
        right = parts.scheme in ("postgresql", "postgres") and (several or parts.port is None or parts.port > 0)
    except ValueError:
        right = False
    if not right:
        raise SettingsError(f"ROOMRING_DATABASE_URL is not a PostgreSQL URL; write for example {_EXAMPLE}")


def without_password(url: str) -> str:
    """Return a URL as it may be shown: without user, password and options."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def explain_refusal(url: str, error: BaseException) -> RoomringError:
    """Turn the failure of a first connection into what the operator should do."""
    if isinstance(error, exceptions.InvalidAuthorizationSpecificationError):
        return SettingsError(
            f"PostgreSQL refused the user or password; write them into ROOMRING_DATABASE_URL as {_EXAMPLE}"
        )
    if isinstance(error, exceptions.InvalidCatalogNameError):
        return SettingsError(
            f"{without_password(url)}: there is no such database; make it with CREATE DATABASE, "
            "then run: roomring migrate up"
        )
    if isinstance(error, ValueError):  # ClientConfigurationError too
        return SettingsError(
            f"ROOMRING_DATABASE_URL has an option that is wrong ({one_line(error)}); write for example {_EXAMPLE}"
        )
    return StoreUnavailable(f"{without_password(url)}: {describe(error)}")


def describe(error: BaseException) -> str:
    """Say in one line what a call failed of."""
    name = type(error).__name__
    text = one_line(error)
    return f"PostgreSQL: {name}: {text}" if text else f"PostgreSQL: {name}"


def one_line(error: BaseException) -> str:
    """Return the text of an error without its line breaks."""
    return " ".join(str(error).split())


async def _no_reset(_connection: object) -> None:
    pass
