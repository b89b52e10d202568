"""Two edges on one port, `roomring edge --processes 2`: together, and when one of them dies."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.devcluster import DevCluster
from deploy.ports import free_ports, is_free
from tests.integration.calls import call
from tests.integration.client import Client
from tests.integration.conftest import ROOT, People, mint
from tests.integration.test_cli import assert_one_line, roomring

TRIES = 100
"""To get a connection on each of two processes; each time the kernel tosses a coin."""


def edge_of(client: Client) -> str:
    """Return the id of the edge that a connection is on."""
    name: str = client.all("welcome")[0]["payload"]["connectionId"]
    return name.rpartition("-")[0]


class Pair:
    """The parent with its two edges."""

    def __init__(self, cluster: DevCluster, log: Path) -> None:
        (self.port,) = free_ports(1)
        (self.internal,) = free_ports(1, beside=(1,))
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ROOMRING_")}
        self.log = log
        with log.open("wb") as file:
            self.parent = subprocess.Popen(
                [sys.executable, "-m", "deploy.cli", "edge", "--dev", "--processes", "2"],
                env={
                    **kept,
                    "PYTHONPATH": str(ROOT),
                    "ROOMRING_REDIS_URL": cluster.redis_url,
                    "ROOMRING_HOST": "127.0.0.1",
                    "ROOMRING_PORT": str(self.port),
                    "ROOMRING_INTERNAL_PORT": str(self.internal),
                    "ROOMRING_DRAIN_MS": "300",
                    "ROOMRING_LOG_FORMAT": "json",
                },
                stderr=file,
            )

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    async def connections(self) -> list[int]:
        """Return how many connections each has, as its own internal port says."""
        urls = [f"http://127.0.0.1:{self.internal + number}/internal/realtime/metrics" for number in (0, 1)]
        return [int((await call("GET", url)).json["metrics"]["roomring_edge_connections"]) for url in urls]

    async def settled(self, holds: Callable[[list[int]], bool]) -> list[int]:
        """Wait until the counts are as wanted; an edge shows them ten times a second."""
        return await until(self.connections, holds)

    async def ready(self, number: int) -> str:
        """Wait until an edge takes connections. Returns: its id."""

        async def ask() -> dict[str, Any]:
            answer = await call("GET", f"http://127.0.0.1:{self.internal + number}/readyz")
            return dict(answer.json)

        edge: str = (await until(ask, lambda told: told["ready"]))["edge"]
        return edge

    def children(self) -> list[int]:
        return [
            int(pid) for pid in Path(f"/proc/{self.parent.pid}/task/{self.parent.pid}/children").read_text().split()
        ]


async def until(ask: Callable[[], Awaitable[Any]], holds: Callable[[Any], bool]) -> Any:
    """Ask until the answer is as wanted; nobody listens at first."""
    deadline_s = time.monotonic() + 20
    answer: Any = None
    while time.monotonic() < deadline_s:
        with contextlib.suppress(OSError):
            answer = await ask()
            if holds(answer):
                return answer
        await asyncio.sleep(0.05)
    raise AssertionError(answer)


@pytest.fixture
def pair(cluster: DevCluster, tmp_path: Path) -> Iterator[Pair]:
    made = Pair(cluster, tmp_path / "log")
    yield made
    if made.parent.poll() is None:
        made.parent.terminate()
    made.parent.wait(20)
    log = made.log.read_text()
    assert "Traceback" not in log, log


@pytest.fixture
async def both(pair: Pair, people: People, room: str) -> AsyncIterator[tuple[Client, Client]]:
    """A person on each of the two, in one room."""
    await asyncio.gather(pair.ready(0), pair.ready(1))
    found: dict[str, Client] = {}
    for _ in range(TRIES):
        client = people.adopt(await Client.open(pair.ws_url))
        await client.wait("welcome")
        if edge_of(client) in found:
            await client.close()
        else:
            found[edge_of(client)] = client
        if len(found) == 2:
            break
    ada, ben = found.values()
    for name, client in (("ada", ada), ("ben", ben)):
        assert (await client.join(room, name, token=mint(name, room)))["t"] == "room_state"
    yield ada, ben


async def test_two_share_a_port_and_whoever_is_in_a_room_sees_the_other(
    pair: Pair, both: tuple[Client, Client], room: str
) -> None:
    ada, ben = both
    assert edge_of(ada) != edge_of(ben)
    await ada.wait("member_joined", roomId=room)
    await ada.chat(room, "to the other process")
    await ben.wait("chat_broadcast", text="to the other process")
    await ben.chat(room, "and back")
    await ada.wait("chat_broadcast", text="and back")
    assert await pair.settled(lambda counts: counts == [1, 1])


async def test_sigterm_drains_both(pair: Pair, both: tuple[Client, Client]) -> None:
    pair.parent.terminate()
    for client in both:
        await client.wait("server_draining")
        assert await client.wait_closed() == 1012
    assert await asyncio.to_thread(pair.parent.wait, 20) == 0
    assert is_free("127.0.0.1", pair.port)


async def test_one_that_is_told_to_end_drains_alone(
    pair: Pair, both: tuple[Client, Client], people: People, room: str
) -> None:
    ada, ben = both
    edges = {await pair.ready(number): number for number in (0, 1)}
    number = edges[edge_of(ada)]
    os.kill(sorted(pair.children())[number], signal.SIGTERM)
    await ada.wait("server_draining")

    async def ask() -> str:
        return await pair.ready(number)

    again = asyncio.create_task(until(ask, lambda edge: edge not in edges))
    # Of the two that listen one has gone, and then one comes: nobody is refused meanwhile.
    while not again.done():
        client = people.adopt(await Client.open(pair.ws_url))
        await client.wait("welcome")
        await client.close()
    await again
    assert await ada.wait_closed() == 1012
    await ben.chat(room, "still here")
    assert ben.is_open


async def test_who_is_killed_is_started_again_and_the_other_keeps_its_clients(
    pair: Pair, both: tuple[Client, Client], room: str, people: People
) -> None:
    ada, ben = both
    at = ada.position(room)
    edges = {await pair.ready(number): number for number in (0, 1)}
    number = edges[edge_of(ada)]
    await ben.wait("room_state", roomId=room)
    before = pair.children()
    # They were started in the order of their numbers.
    os.kill(sorted(before)[number], signal.SIGKILL)
    assert await ada.wait_closed() == 1006
    await ben.chat(room, "I did not notice")

    async def ask() -> str:
        return await pair.ready(number)

    new = await until(ask, lambda edge: edge not in edges)
    assert len(set(pair.children()) & set(before)) == 1
    seen: set[str] = set()
    for _ in range(TRIES):
        back = people.adopt(await Client.open(pair.ws_url))
        seen.add(edge_of(back) if await back.wait("welcome") else "")
        if edge_of(back) == new:
            break
        await back.close()
    assert new in seen
    answer = await back.join(room, "ada", token=mint("ada", room), resume=at)
    assert answer["payload"]["recovered"]
    await back.wait("chat_broadcast", text="I did not notice")


async def test_a_second_parent_does_not_share_the_port(cluster: DevCluster, pair: Pair) -> None:
    await asyncio.gather(pair.ready(0), pair.ready(1))
    settings = {"ROOMRING_REDIS_URL": cluster.redis_url, "ROOMRING_HOST": "127.0.0.1", "ROOMRING_DEV": "1"}
    (internal,) = free_ports(1, beside=(1,))
    argv = ("edge", "--processes", "2", "--port", str(pair.port), "--internal-port", str(internal))
    done = await asyncio.to_thread(roomring, *argv, **settings)
    assert_one_line(done, 1, str(pair.port), "ROOMRING_PORT")
