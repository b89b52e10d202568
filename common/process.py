"""What edges and workers do alike as processes: an id for this start, the bus, signals, HTTP listeners, the end."""

import asyncio
import contextlib
import logging
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import uvloop
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from common.bus import ClusterShape
from common.bus_redis import RedisBus
from common.durable import DurableStore
from common.durable_postgres import PostgresStore
from common.errors import BusUnavailable, RoomringError, StoreUnavailable
from common.log import get_logger
from common.settings import CommonSettings

_AGAIN_S: Final = 0.5
"""Between two tries to reach Redis."""


class _NoStrangers(logging.Filter):
    """Passes over requests that are no HTTP: anybody sends them, and their bytes, a token perhaps, would be logged."""

    def filter(self, record: logging.LogRecord) -> bool:
        """See `logging.Filter.filter`."""
        return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)


_no_strangers = _NoStrangers()


class ListenFailed(RoomringError):
    """A port could not be opened. The text is one line that says what to do."""


def new_node_id(role: str) -> str:
    """Return an id for this start of a process: the host to recognise it by, and chance to tell starts apart."""
    host = "".join(c for c in socket.gethostname().lower() if c.isalnum() or c == "-")[:24] or "host"
    return f"{role}-{host}-{secrets.token_hex(4)}"


def run_until_stopped(serve: Callable[[asyncio.Event], Awaitable[int]]) -> int:
    """Run a process's main coroutine on uvloop; SIGTERM and SIGINT set the event that it is given.

    Returns: the exit status.
    """

    async def main() -> int:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        return await serve(stop)

    return uvloop.run(main())


@contextlib.asynccontextmanager
async def open_bus(settings: CommonSettings) -> AsyncIterator[RedisBus]:
    """Make the way to the cluster's Redis, and disconnect at the end. Nothing is sent yet.

    Raises:
        SettingsError: the URL is wrong.
    """
    bus = RedisBus(
        settings.redis_url,
        settings.namespace,
        ClusterShape(settings.shards, settings.partitions),
        history_events_max=settings.history_events_max,
        output_entries_max=settings.output_entries_max,
        output_ttl_ms=settings.output_ttl_ms,
        dead_letters_max=settings.dead_letters_max,
    )
    try:
        yield bus
    finally:
        await bus.close()


async def start_with_redis(bus: RedisBus, start: Callable[[], Awaitable[None]], stop: asyncio.Event) -> bool:
    """Begin to work as soon as Redis answers; while it does not, say so once and try again.

    Args:
        start: what needs Redis. Called anew where Redis did not answer in the middle of it.

    Returns: whether it was started; False where the process was told to stop before.

    Raises:
        SettingsError: Redis refuses the user or password.
        ClusterMismatch: this process's shape is not the cluster's.
    """
    log = get_logger("process")
    is_away = False
    while not stop.is_set():
        try:
            await bus.check()
            await start()
        except BusUnavailable as error:
            if not is_away:
                log.warning("redis does not answer", error=str(error))
            is_away = True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _AGAIN_S)
        else:
            return True
    return False


@contextlib.asynccontextmanager
async def open_store(settings: CommonSettings) -> AsyncIterator[DurableStore | None]:
    """Connect to the cluster's database, and disconnect at the end; None where the cluster has none.

    A database that does not answer now does not keep a process from starting: rooms go on without it.

    Raises:
        SchemaMismatch: the database is of another version than this release.
    """
    if not settings.database_url:
        yield None
        return
    options = {
        "connections_max": settings.database_connections_max,
        "call_timeout_ms": settings.database_timeout_ms,
    }
    try:
        store = await PostgresStore.connect(settings.database_url, **options)
    except StoreUnavailable as error:
        get_logger("process").warning("database does not answer", error=str(error))
        store = PostgresStore(settings.database_url, **options)
    try:
        yield store
    finally:
        await store.close()


async def listen(
    app: web.Application, host: str, port: int, setting: str, *, shares_port: bool = False
) -> web.AppRunner:
    """Open a listener.

    Args:
        shares_port: other processes of this user may listen on it too; the kernel gives each connection to one of
            them (SO_REUSEPORT).

    Raises:
        ListenFailed: the port is taken, or the address is not this host's.
    """
    logging.getLogger("aiohttp.server").addFilter(_no_strangers)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, reuse_address=True, reuse_port=shares_port, backlog=1024).start()
    except OSError as error:
        await runner.cleanup()
        raise ListenFailed(f"cannot listen on {host}:{port} ({error.strerror or error}); set {setting}") from error
    return runner
