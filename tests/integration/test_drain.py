"""A drain that lasts longer than the reconnection window, and the command that begins one."""

import asyncio
import signal
import time
from collections.abc import Iterator

import pytest

from deploy.devcluster import DevCluster
from tests.integration.conftest import People, running_cluster
from tests.integration.test_cli import assert_one_line, roomring

WINDOW_MS = 300
DRAIN_MS = 3_000


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevCluster]:
    environ = {"ROOMRING_RECONNECT_WINDOW_MS": str(WINDOW_MS), "ROOMRING_DRAIN_MS": str(DRAIN_MS)}
    folder = tmp_path_factory.mktemp("drain") / ".roomring"
    with running_cluster(data_dir=folder, database=False, environ=environ) as running:
        yield running


async def test_nobody_sees_a_leave_or_a_join_when_an_edge_is_drained(people: People, room: str) -> None:
    guests = [await people.join(room, f"p{number}", edge=0) for number in range(10)]
    observer = await people.join(room, "observer", edge=1)
    at = {guest.user_id: guest.position(room) for guest in guests}
    mark = observer.mark()
    people.cluster.kill("edge-1", signal.SIGTERM)
    began_s = time.monotonic()

    async def obey(number: int) -> int:
        told = await guests[number].wait("server_draining")
        assert await guests[number].wait_closed() == 1012
        delay_ms: int = told["payload"]["reconnectAfterMs"]
        await asyncio.sleep(began_s + delay_ms / 1000 - time.monotonic())
        back = await people.join(room, f"p{number}", edge=1, resume=at[f"p{number}"])
        assert back.all("room_state")[0]["payload"]["recovered"]
        return delay_ms

    delays = await asyncio.gather(*(obey(number) for number in range(len(guests))))
    assert max(delays) > 2 * WINDOW_MS
    await observer.chat(room, "all here")
    assert not observer.all("member_left", since=mark)
    assert not observer.all("member_joined", since=mark)


@pytest.mark.parametrize(("name", "noun"), [("edge-2", "connections"), ("worker-1", "shards")])
async def test_the_command_ends_a_process_and_says_how_far_it_is(
    cluster: DevCluster, people: People, room: str, name: str, noun: str
) -> None:
    await asyncio.to_thread(cluster.await_ready)
    ada = await people.join(room, "ada", edge=0)
    process = next(process for process in [*cluster.edges, *cluster.workers] if process.name == name)
    done = await asyncio.to_thread(roomring, "drain", name, cwd=cluster.folder.parent)
    assert done.returncode == 0, done.stderr
    first, *_, last = done.stdout.splitlines()
    assert first == f"{name}: told to drain (process {process.pid})"
    assert last == f"{name}: gone; `roomring up` starts it again"
    assert all(line.endswith(f" {noun} left") for line in done.stdout.splitlines()[1:-1])
    await ada.chat(room, "still here")
    cluster.await_ready()


def test_what_cannot_be_drained_is_told_in_one_line(cluster: DevCluster) -> None:
    folder = cluster.folder.parent
    assert_one_line(roomring("drain", "edge-9", cwd=folder), 2, "there is no running 'edge-9'", "worker-2")
    assert_one_line(roomring("drain", "valkey", cwd=folder), 2, "must be an edge or a worker")
    assert_one_line(roomring("drain", "edge-1", cwd=cluster.folder), 2, "no `roomring up` runs from .roomring/")
