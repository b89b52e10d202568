"""The edge process: settings in, exit status out."""

import asyncio
import contextlib
import random
from functools import partial
from typing import Final

from common.clock import SystemClock
from common.ids import EdgeId
from common.log import configure, get_logger
from common.process import listen, new_node_id, open_bus, open_store, run_until_stopped, start_with_redis
from common.settings import EdgeSettings
from edge.gateway import Gateway
from edge.http_internal import internal_app
from edge.http_public import public_app
from edge.metrics import EdgeMetrics
from edge.tokens import session_verifier, token_verifier

HEALTH_INTERVAL_S: Final = 0.5


def run(settings: EdgeSettings) -> int:
    """Run one edge until SIGTERM or SIGINT; with `processes` above 1 on a port that others listen on too.

    Returns: exit status; 1 when a loop of the edge died.

    Raises:
        SettingsError, ClusterMismatch, ListenFailed: it could not start.
    """
    return run_until_stopped(lambda stop: _serve(settings, stop))


async def _serve(settings: EdgeSettings, stop: asyncio.Event) -> int:
    edge_id = EdgeId(new_node_id("edge"))
    configure(settings.log_format, settings.log_level, role="edge", node=edge_id)
    log = get_logger("edge")
    clock = SystemClock()
    verifier, sessions = token_verifier(settings), session_verifier(settings)
    async with open_bus(settings) as bus, open_store(settings) as store:
        gateway = Gateway(edge_id, settings, bus, clock, verifier, EdgeMetrics(), random.Random())  # noqa: S311
        # They answer before the edge can serve, to say that it cannot yet.
        internal = await listen(
            internal_app(gateway, store),
            settings.internal_host,
            settings.internal_port_or_default,
            "ROOMRING_INTERNAL_PORT",
        )
        # On a port that others listen on too, only who can serve should be asked.
        shares_port = settings.processes > 1
        listen_publicly = partial(
            listen,
            public_app(gateway, sessions, verifier, store),
            settings.host,
            settings.port,
            "ROOMRING_PORT",
            shares_port=shares_port,
        )
        public = None if shares_port else await listen_publicly()
        status = 0
        if await start_with_redis(bus, gateway.start, stop):
            public = public or await listen_publicly()
            log.info("edge started", port=settings.port, internal_port=settings.internal_port_or_default)
            status = await _watch(gateway, stop)
            if shares_port:
                for site in list(public.sites):
                    await site.stop()
            await gateway.drain()
            await gateway.stop()
        if public is not None:
            await public.cleanup()
        await internal.cleanup()
    return status


async def _watch(gateway: Gateway, stop: asyncio.Event) -> int:
    """Wait until told to stop, or until a loop of the edge died. Returns: exit status."""
    while not stop.is_set():
        failure = gateway.failed()
        if failure is not None:
            get_logger("edge").error("edge failed", exc_info=failure)
            return 1
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HEALTH_INTERVAL_S):
                await stop.wait()
    return 0
