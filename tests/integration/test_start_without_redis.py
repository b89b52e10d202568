"""Edges and workers that start while Redis does not answer: they say so, wait, and end only where waiting is no use."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.embedded_redis import EmbeddedRedis
from deploy.ports import free_ports
from tests.integration.background import Background, background
from tests.integration.calls import Answer, call
from tests.integration.kept import until

START_S = 30.0
PASSWORD = "hunter2"


@pytest.fixture
def server(embedded_redis: EmbeddedRedis, tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A server that is not started yet."""
    own = EmbeddedRedis(tmp_path / "own", port=free_ports(1)[0], binary=embedded_redis.binary)
    yield own
    own.stop()


class Ports:
    """Where a process listens."""

    def __init__(self) -> None:
        self.public, self.internal = free_ports(2)

    def settings(self, redis_url: str, **settings: str) -> dict[str, str]:
        return {
            "ROOMRING_DEV": "1",
            "ROOMRING_LOG_FORMAT": "json",
            "ROOMRING_SHARDS": "2",
            "ROOMRING_REDIS_URL": redis_url,
            "ROOMRING_PORT": str(self.public),
            "ROOMRING_INTERNAL_PORT": str(self.internal),
            **settings,
        }


async def says(running: Background, event: str) -> None:
    async def said() -> bool:
        assert running.process.poll() is None, running.lines
        return event in running.events()

    await until(said, within_s=START_S)


async def ready(port: int) -> Answer:
    return await call("GET", f"http://127.0.0.1:{port}/readyz")


async def test_edge_and_worker_wait_for_redis_and_then_work(server: EmbeddedRedis) -> None:
    at, of = Ports(), Ports()
    with (
        background("edge", **at.settings(server.url)) as edge,
        background("worker", **of.settings(server.url)) as worker,
    ):
        await says(edge, "redis does not answer")
        await says(worker, "redis does not answer")
        for port in (at.public, of.internal):
            answer = await ready(port)
            assert answer.status == 503
            assert answer.json["problems"][0].startswith("Redis does not answer")
        assert (await call("GET", f"http://127.0.0.1:{at.public}/healthz")).status == 200
        refused = await call("GET", f"http://127.0.0.1:{at.public}/ws")
        assert (refused.status, refused.code, refused.headers["retry-after"]) == (503, "starting", "1")

        server.start()
        await says(edge, "edge started")
        await says(worker, "worker started")

        async def both_ready() -> bool:
            return [(await ready(port)).status for port in (at.public, of.internal)] == [200, 200]

        await until(both_ready, within_s=START_S)
        for running in (edge, worker):
            assert running.end() == 0
            assert running.events().count("redis does not answer") == 1
            assert not [line for line in running.lines if line["level"] == "error"]


@pytest.mark.parametrize("role", ["edge", "worker"])
async def test_who_waits_can_be_told_to_stop_and_hides_the_password(role: str, server: EmbeddedRedis) -> None:
    url = server.url.replace("://", f"://user:{PASSWORD}@")
    with background(role, **Ports().settings(url)) as running:
        await says(running, "redis does not answer")
        assert running.end() == 0
        assert running.events().count("redis does not answer") == 1
        assert PASSWORD not in str(running.lines)
        assert str(server.port) in str(running.lines)


@pytest.mark.parametrize("role", ["edge", "worker"])
async def test_a_wrong_password_and_another_shape_end_a_process_that_waited(role: str, server: EmbeddedRedis) -> None:
    url = server.url.replace("://", f"://user:{PASSWORD}@")
    with (
        background(role, **Ports().settings(url)) as stranger,
        background(role, **Ports().settings(server.url)) as first,
        background(role, **Ports().settings(server.url, ROOMRING_SHARDS="4")) as other,
    ):
        for running in (stranger, first, other):
            await says(running, "redis does not answer")
        server.start()
        assert stranger.ended() == 2
        assert stranger.events()[-1].startswith("roomring: Redis refused the user or password")

        async def one_left() -> list[Background]:
            return [running for running in (first, other) if running.process.poll() is not None]

        # Whoever was first has decided the shape.
        (loser,) = await until(one_left, within_s=START_S)
        assert loser.ended() == 1
        assert "shards in 1 partitions" in loser.events()[-1]
        for running in (stranger, loser):
            assert [line["level"] for line in running.lines] == ["warning", "error"], running.lines
