"""Clusters of real processes, and people who visit them."""

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from common.settings import DEV_TOKEN_SECRET
from deploy.devcluster import DevCluster
from deploy.ports import free_ports
from tests.integration.calls import Answer, call
from tests.integration.client import Client, Event

WINDOW_MS = 1_500
"""Reconnection window of the cluster that most tests share: shorter than the default, longer than a reconnect."""

ROOT = Path(__file__).parents[2]


def mint(
    user: str, room: str | list[str], *, key: Any = DEV_TOKEN_SECRET, algorithm: str = "HS256", **claims: Any
) -> str:
    """Sign a room token. A claim of None is left out."""
    now_s = int(time.time())
    rooms = {"room": room} if isinstance(room, str) else {"rooms": room}
    payload = {
        "sub": user,
        **rooms,
        "iat": now_s,
        "exp": now_s + 300,
        "iss": "roomring",
        "aud": "roomring",
        "device": "desktop",
        **claims,
    }
    return jwt.encode({name: value for name, value in payload.items() if value is not None}, key, algorithm=algorithm)


class People:
    """Makes clients of one cluster, closes them at the end, and then asks each whether its order was whole."""

    def __init__(self, cluster: DevCluster) -> None:
        self.cluster = cluster
        self._clients: list[Client] = []

    def ws_url(self, edge: int = 0) -> str:
        """URL of the WebSocket of an edge."""
        return self.cluster.edges[edge].ws_url

    async def connect(self, edge: int = 0, **options: Any) -> Client:
        """Open a connection without joining, and wait for `welcome`."""
        client = await Client.open(self.ws_url(edge), **options)
        self._clients.append(client)
        await client.wait("welcome")
        return client

    def adopt(self, client: Client) -> Client:
        """Take a client that was made elsewhere."""
        self._clients.append(client)
        return client

    async def try_join(
        self,
        room: str,
        user: str,
        *,
        edge: int = 0,
        resume: tuple[int, int] | None = None,
        name: str | None = None,
        **claims: Any,
    ) -> tuple[Client, Event]:
        """Open a connection and ask to enter with a fresh token; return the answer too."""
        client = await self.connect(edge)
        answer = await client.join(room, user, token=mint(user, room, **claims), resume=resume, name=name)
        return client, answer

    async def join(self, room: str, user: str, **options: Any) -> Client:
        """Open a connection and enter a room."""
        client, answer = await self.try_join(room, user, **options)
        assert answer["t"] == "room_state", answer
        return client

    async def admin(self, method: str, path: str, body: Any = None, *, edge: int = 0) -> Answer:
        """Call the administration API of an edge."""
        url = f"{self.cluster.edges[edge].internal_url}/admin/{path}"
        return await call(method, url, body, key=self.cluster.admin_key)

    async def metrics(self, edge: int = 0) -> dict[str, float]:
        """Return the numbers of an edge."""
        answer = await call("GET", f"{self.cluster.edges[edge].internal_url}/internal/realtime/metrics")
        assert answer.status == 200
        return dict(answer.json["metrics"])

    async def end(self) -> None:
        """Close all clients, and fail where one saw a gap."""
        for client in self._clients:
            await client.close()
        breaches = [f"{client.user_id}: {breach}" for client in self._clients for breach in client.breaches]
        assert not breaches, breaches


@contextlib.contextmanager
def running_cluster(**options: Any) -> Iterator[DevCluster]:
    """Run a cluster; on the way out fail if one of its processes complained about a bug."""
    cluster = DevCluster(**options)
    with cluster:
        yield cluster
        errors = [
            line
            for path in cluster.log_folder.glob("*.log*")
            for line in path.read_text(errors="replace").splitlines()
            if '"level": "error"' in line or '"level":"error"' in line or "Traceback" in line
        ]
    assert not errors, errors[:3]


@contextlib.contextmanager
def extra_edge(cluster: DevCluster, **environ: str) -> Iterator[tuple[str, str]]:
    """Run one more edge on a cluster's Redis, with settings of its own and no development mode.

    Returns: its public and internal URLs, `http://host:port`.
    """
    port, internal_port = free_ports(2)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ROOMRING_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy.cli", "edge"],
        env={
            **kept,
            "PYTHONPATH": str(ROOT),
            "ROOMRING_REDIS_URL": cluster.redis_url,
            "ROOMRING_HOST": "127.0.0.1",
            "ROOMRING_PORT": str(port),
            "ROOMRING_INTERNAL_PORT": str(internal_port),
            "ROOMRING_DRAIN_MS": "0",
            **environ,
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _await_port(port, process)
        yield f"http://127.0.0.1:{port}", f"http://127.0.0.1:{internal_port}"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await_port(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline_s = time.monotonic() + 15
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        assert process.poll() is None, f"the edge ended with {process.returncode}"
        assert time.monotonic() < deadline_s, "the edge does not listen"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def cluster() -> Iterator[DevCluster]:
    """The cluster that most tests share. Nothing in it is killed."""
    with running_cluster(environ={"ROOMRING_RECONNECT_WINDOW_MS": str(WINDOW_MS)}) as running:
        yield running


@pytest.fixture(scope="session")
def hasty_cluster() -> Iterator[DevCluster]:
    """A cluster in which everything that takes time takes little, and the history is short."""
    environ = {
        "ROOMRING_RECONNECT_WINDOW_MS": "400",
        "ROOMRING_HEARTBEAT_INTERVAL_MS": "400",
        "ROOMRING_HEARTBEAT_TIMEOUT_MS": "1200",
        "ROOMRING_AUTH_TIMEOUT_MS": "600",
        "ROOMRING_TOKEN_GRACE_MS": "600",
        "ROOMRING_HISTORY_EVENTS_MAX": "12",
        "ROOMRING_CHAT_PER_SECOND": "100",
        "ROOMRING_CHAT_BURST": "100",
    }
    with running_cluster(environ=environ) as running:
        yield running


async def _people(cluster: DevCluster) -> AsyncIterator[People]:
    visitors = People(cluster)
    try:
        yield visitors
    finally:
        await visitors.end()


@pytest.fixture
async def people(cluster: DevCluster) -> AsyncIterator[People]:
    """People of the shared cluster."""
    async for visitors in _people(cluster):
        yield visitors


@pytest.fixture
async def hasty(hasty_cluster: DevCluster) -> AsyncIterator[People]:
    """People of the hasty cluster."""
    async for visitors in _people(hasty_cluster):
        yield visitors


@pytest.fixture
def room() -> str:
    """A room that nobody else uses."""
    return f"it-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def person() -> Callable[[str], str]:
    """Make user ids that nobody else uses; blocks hold in the whole cluster."""
    tag = uuid.uuid4().hex[:8]
    numbers = itertools.count(1)
    return lambda name: f"{name}-{tag}-{next(numbers)}"
