"""Connections to Redis: one call at a time on each, every failure turned into `BusUnavailable`.

Owns connecting, deadlines and what becomes of a connection after a failure. It knows no key and no script, and
of one server only: which one that is, common/redis_topology.py knows.
Invariant: a connection whose call did not read all its replies (failed, or was cancelled) is closed, never
used again. Nothing is repeated here: repeating is the caller's, who knows what may be sent twice.

redis-py does the URL, TLS and authentication, and gives the connected socket away; calls go past its client
layer (commands packed and replies read by hiredis, RESP2), since that layer costs more than the call. Source:
docs/decisions/0005.
"""

import asyncio
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Final

import hiredis
from redis.asyncio import connection as redis_connection
from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterDownError,
    ExecAbortError,
    InvalidResponse,
    MovedError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from common.errors import BusUnavailable, SettingsError
from common.redis_url import SERVER_EXAMPLE

Packable = str | bytes | int

_OPERATIONAL: Final = (
    AskError,  # MOVED too
    ClusterDownError,  # MASTERDOWN too
    ExecAbortError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    TryAgainError,
)
_OPERATIONAL_CODES: Final = frozenset({"MISCONF", "NOREPLICAS", "BUSY", "UNKILLABLE", "UNBLOCKED"})
"""Error replies that say something of the server's state and not of our command."""

_DISPLACED: Final = (ClusterDownError, MovedError, ReadOnlyError)
_DISPLACED_CODES: Final = frozenset({"NOREPLICAS", "UNBLOCKED"})
"""Of these, the ones of a server that is no primary, not that of the key, or about to be replaced."""


_NOT_ENOUGH_DATA: Final = object()


def pack(*arguments: Packable) -> bytes:
    """Encode one command."""
    packed: bytes = hiredis.pack_command(arguments)  # type: ignore[arg-type]
    return packed


def pack_list(arguments: list[Packable]) -> bytes:
    """Encode one command from a list."""
    packed: bytes = hiredis.pack_command(tuple(arguments))  # type: ignore[arg-type]
    return packed


class RedisAddress:
    """Where Redis is and how to log in, parsed once."""

    def __init__(self, url: str, connect_timeout_ms: int) -> None:
        """Parse a URL.

        Raises:
            SettingsError: the URL is wrong. One line that says what to do.
        """
        try:
            options: dict[str, Any] = dict(redis_connection.parse_url(url))
        except ValueError as error:
            raise SettingsError(
                f"ROOMRING_REDIS_URL is not a Redis URL ({error}); write for example {SERVER_EXAMPLE}"
            ) from error
        self._make = options.pop("connection_class", redis_connection.Connection)
        if self._make is redis_connection.UnixDomainSocketConnection and not options.get("path"):
            raise SettingsError("ROOMRING_REDIS_URL names no socket; write for example unix:///run/redis.sock")
        # Only the deadline of each call counts, and raw replies: what a URL says of them is overruled.
        options.update(
            protocol=2,
            decode_responses=False,
            socket_timeout=None,
            socket_connect_timeout=connect_timeout_ms / 1000,
            health_check_interval=0,
            retry_on_timeout=False,
        )
        self._options = options
        try:
            self.connection()
        except (TypeError, ValueError, RedisError) as error:
            raise SettingsError(
                f"ROOMRING_REDIS_URL has an option that is wrong ({error}); write for example {SERVER_EXAMPLE}"
            ) from error

    @property
    def encryption(self) -> dict[str, Any]:
        """What redis-py must know to connect to another server in the same way as to this one."""
        own = {name: value for name, value in self._options.items() if name.startswith("ssl_")}
        return {**own, "ssl": True} if issubclass(self._make, redis_connection.SSLConnection) else {}

    def connection(self) -> Any:
        """Return a new connection that is not connected yet."""
        return self._make(**self._options)


class _Wire(asyncio.Protocol):
    """The reading side of a connection that redis-py opened: counts replies, and wakes the one call that waits.

    A stream and its reader for each reply cost several times what the reply does.
    """

    def __init__(self, transport: asyncio.Transport, as_error: Callable[[str], Exception]) -> None:
        self.is_lost = False
        self._transport = transport
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse, replyError=as_error, notEnoughData=_NOT_ENOUGH_DATA
        )
        self._answers: list[Any] = []
        self._wanted = 0
        self._waiting: asyncio.Future[list[Any]] | None = None
        transport.set_protocol(self)

    async def call(self, packed: bytes, replies: int, deadline_s: float) -> list[Any]:
        """Send packed commands and wait for so many replies, until a time of the loop.

        Raises:
            TimeoutError, RedisError, OSError: there will be none, and nothing may be sent any more.
        """
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[list[Any]] = loop.create_future()
        self._waiting = waiting
        self._answers, self._wanted = [], replies
        self._transport.write(packed)
        timer = loop.call_at(deadline_s, self._expire)
        try:
            return await waiting
        finally:
            timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Take what arrived, see `asyncio.Protocol`."""
        try:
            self._reader.feed(data)
            while (answer := self._reader.gets()) is not _NOT_ENOUGH_DATA:
                # Errors of a command are its answer; these are of the connection.
                if isinstance(answer, RedisError) and not isinstance(answer, ResponseError):
                    raise answer
                self._answers.append(answer)
        except RedisError as error:
            self._fail(error)
            return
        if self._waiting is None or len(self._answers) > self._wanted:
            self._fail(InvalidResponse("a reply to nothing that was asked"))
        elif len(self._answers) == self._wanted:
            waiting, self._waiting = self._waiting, None
            if not waiting.done():
                waiting.set_result(self._answers)

    def connection_lost(self, exc: Exception | None) -> None:
        """The server closed it, or it broke."""
        self.is_lost = True
        self._fail(exc if isinstance(exc, OSError) else ConnectionResetError("the server closed the connection"))

    def _expire(self) -> None:
        self._fail(TimeoutError("no answer in time"))

    def _fail(self, error: Exception) -> None:
        self.is_lost = True
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(error)
        self._transport.abort()


class RedisLink:
    """One connection. One call at a time; connects at the first call and after a failure."""

    def __init__(self, address: RedisAddress) -> None:
        self._connection = address.connection()
        self._wire: _Wire | None = None

    @property
    def is_connected(self) -> bool:
        """Whether the next call finds an open connection."""
        return self._wire is not None and not self._wire.is_lost

    async def call(self, packed: bytes, replies: int, timeout_ms: float) -> list[Any]:
        """Send packed commands and return the reply of each; an error reply is a `ResponseError` in the list.

        Raises:
            BusUnavailable: the connection failed, or the replies did not come in time. It is closed then.

        Cancelling closes the connection.
        """
        deadline_s = asyncio.get_running_loop().time() + timeout_ms / 1000
        wire, done = self._wire, False
        try:
            if wire is None or wire.is_lost:
                wire = await self._connect(deadline_s)
            answers = await wire.call(packed, replies, deadline_s)
            done = True
        except (RedisError, OSError) as error:
            raise BusUnavailable(describe(error)) from error
        finally:
            if not done:
                await self.close()
        return answers

    async def close(self) -> None:
        """Close the connection at once. It may be used again: the next call connects."""
        self._wire = None
        await self._connection.disconnect(nowait=True)

    async def _connect(self, deadline_s: float) -> _Wire:
        """Have redis-py connect and log in, and take the socket from it."""
        await self.close()
        connection = self._connection
        async with asyncio.timeout_at(deadline_s):
            await connection.connect_check_health(check_health=False)
        # redis-py's own parser knows which exception stands for which error reply.
        self._wire = _Wire(connection._writer.transport, connection._parser.parse_error)
        return self._wire


class RedisLinks:
    """The connections to one server: a small pool for calls that answer at once, and one for each blocking reader.

    More calls than connections wait.
    """

    def __init__(
        self,
        address: RedisAddress,
        connections_max: int,
        timeout_ms: int,
        on_doubt: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            timeout_ms: how long the server may take for a call.
            on_doubt: called when the server did not answer, or said that another may have its place.
        """
        self._address = address
        self._timeout_ms = timeout_ms
        self._on_doubt = on_doubt
        self._slots = asyncio.Semaphore(connections_max)
        self._idle: list[RedisLink] = []
        self._readers: dict[Hashable, RedisLink] = {}
        self._closed = False

    async def call(self, packed: bytes, replies: int) -> list[Any]:
        """Send packed commands over one connection, in order. See `RedisLink.call`; an error reply is raised.

        Raises:
            BusUnavailable: Redis did not answer, or cannot serve now.
            NoScriptError: a script is not loaded.
            ResponseError: Redis refused a command; a bug.
        """
        async with self._slots:
            self._check_open()
            link = self._idle.pop() if self._idle else RedisLink(self._address)
            try:
                answers = await link.call(packed, replies, self._timeout_ms)
            except BusUnavailable:
                # What broke this one broke the idle ones too, most likely: a stopped or exchanged server.
                await self._drop_idle()
                self._on_doubt()
                raise
            self._idle.append(link)
            if self._is_closed():
                await self._drop_idle()
        for answer in answers:
            if isinstance(answer, ResponseError):
                await self._refused(answers)
        return answers

    async def read(self, reader: Hashable, packed: bytes, block_ms: int) -> Any:
        """Send a command that may wait for `block_ms`, over the reader's own connection. See `call`.

        One call at a time for each reader.
        """
        self._check_open()
        link = self._readers.get(reader)
        if link is None:
            link = self._readers[reader] = RedisLink(self._address)
        try:
            answers = await link.call(packed, 1, block_ms + self._timeout_ms)
        except BusUnavailable:
            self._on_doubt()
            raise
        if isinstance(answers[0], ResponseError):
            await self._refused(answers)
        return answers[0]

    def is_reading(self, reader: Hashable) -> bool:
        """Whether the reader's next call finds an open connection."""
        link = self._readers.get(reader)
        return link is not None and link.is_connected

    async def close_readers(self, are_meant: Callable[[Any], bool]) -> None:
        """Close the connections of some readers; a call that waits on one ends with `BusUnavailable`."""
        for reader in [reader for reader in self._readers if are_meant(reader)]:
            await self._readers.pop(reader).close()

    async def close(self) -> None:
        """Close the connections that are idle or wait; those in a call close after it. Later calls are refused."""
        self._closed = True
        await self._drop()

    def _check_open(self) -> None:
        if self._is_closed():
            raise BusUnavailable("Redis: the connections to this server were closed")

    def _is_closed(self) -> bool:
        return self._closed

    async def _refused(self, answers: Iterable[Any]) -> None:
        """Raise the first error reply, see `raise_error_replies`."""
        if any(isinstance(answer, ResponseError) and _is_displaced(answer) for answer in answers):
            # Whoever connects anew may reach another server, and readers would wait here for nothing.
            await self._drop()
            self._on_doubt()
        raise_error_replies(answers)

    async def _drop(self) -> None:
        await self._drop_idle()
        readers, self._readers = self._readers, {}
        for reader in readers.values():
            await reader.close()

    async def _drop_idle(self) -> None:
        idle, self._idle = self._idle, []
        for link in idle:
            await link.close()


def raise_error_replies(answers: Iterable[Any]) -> None:
    """Raise the first error reply: `BusUnavailable` where it tells of the server's state, else as it is."""
    for answer in answers:
        if isinstance(answer, ResponseError):
            if isinstance(answer, NoScriptError) or not _is_operational(answer):
                raise answer
            raise BusUnavailable(describe(answer)) from answer


def describe(error: BaseException) -> str:
    """Say in one line what a call failed of."""
    return f"Redis: {type(error).__name__}: {error}" if str(error) else f"Redis: {type(error).__name__}"


def is_authentication_failure(error: BusUnavailable) -> bool:
    """Whether Redis is there but does not let us in."""
    return isinstance(error.__cause__, AuthenticationError)


def _is_operational(error: ResponseError) -> bool:
    return isinstance(error, _OPERATIONAL) or _code(error) in _OPERATIONAL_CODES


def _is_displaced(error: ResponseError) -> bool:
    return isinstance(error, _DISPLACED) or _code(error) in _DISPLACED_CODES


def _code(error: ResponseError) -> str:
    return str(error).partition(" ")[0]
