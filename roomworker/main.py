"""The worker process: settings in, exit status out."""

import asyncio

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from common.bus import ClusterShape
from common.clock import SystemClock
from common.ids import WorkerId
from common.log import configure, get_logger
from common.process import listen, new_node_id, open_bus, open_store, run_until_stopped, start_with_redis
from common.settings import WorkerSettings
from common.word_filter import WordFilter
from common.word_list import load_word_filter
from roomworker.metrics import WorkerMetrics
from roomworker.worker import Worker


def run(settings: WorkerSettings) -> int:
    """Run a worker until SIGTERM or SIGINT.

    Returns: exit status.

    Raises:
        SettingsError, ClusterMismatch, ListenFailed: it could not start.
    """
    word_filter = load_word_filter(settings.word_list_file)
    return run_until_stopped(lambda stop: _serve(settings, word_filter, stop))


async def _serve(settings: WorkerSettings, word_filter: WordFilter, stop: asyncio.Event) -> int:
    worker_id = WorkerId(new_node_id("worker"))
    configure(settings.log_format, settings.log_level, role="worker", node=worker_id)
    log = get_logger("roomworker")
    async with open_bus(settings) as bus, open_store(settings) as store:
        worker = Worker(worker_id, settings, bus, SystemClock(), WorkerMetrics(), store, word_filter)
        internal = None
        if settings.internal_port:
            internal = await listen(
                _app(worker), settings.internal_host, settings.internal_port, "ROOMRING_INTERNAL_PORT"
            )
        shape = ClusterShape(settings.shards, settings.partitions)
        try:
            if await start_with_redis(bus, lambda: bus.open_cluster(shape), stop):
                log.info("worker started", internal_port=settings.internal_port, filter_entries=len(word_filter))
                await _run_until(worker, stop)
        finally:
            if internal is not None:
                await internal.cleanup()
    return 0


async def _run_until(worker: Worker, stop: asyncio.Event) -> None:
    running = asyncio.create_task(worker.run())
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([running, stopped], return_when=asyncio.FIRST_COMPLETED)
    worker.stop()
    stopped.cancel()
    await running


def _app(worker: Worker) -> web.Application:
    """Return the application of the worker's listener: numbers and health."""

    async def metrics(_request: web.Request) -> web.Response:
        text = generate_latest(worker.metrics.registry)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def healthz(_request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "worker": worker.worker_id})

    async def readyz(_request: web.Request) -> web.Response:
        problem = worker.not_ready()
        body = {"ready": problem is None, "problems": [problem] if problem else [], "worker": worker.worker_id}
        return web.json_response(body, status=503 if problem else 200)

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    return app
