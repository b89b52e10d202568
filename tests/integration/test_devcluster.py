"""The development cluster when its processes die, and when it does itself."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.durable import ChatMessage
from common.durable_postgres import PostgresStore
from common.errors import StoreUnavailable
from common.ids import Epoch, RoomId, Seq, UserId
from common.postgres_link import without_password
from common.schema_version import SCHEMA_VERSION
from deploy.devcluster import AlreadyRunning, DevCluster, StartFailed

ROOT = Path(__file__).parent.parent.parent


class Notices:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def line(self, name: str, line: bytes) -> None:
        pass

    def notice(self, text: str) -> None:
        self.texts.append(text)


def eventually(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline_s = time.monotonic() + within_s
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline_s, "did not happen"
        pause.wait(0.02)


def gone(pid: int) -> bool:
    try:
        # A process that ended may stay as a zombie where nobody above it collects it.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.fixture
def notices() -> Notices:
    return Notices()


@pytest.fixture
def cluster(notices: Notices) -> Iterator[DevCluster]:
    with DevCluster(edges=1, workers=2, reporter=notices) as running:
        yield running


def test_what_dies_is_started_again_and_told_in_one_line(cluster: DevCluster, notices: Notices) -> None:
    before = cluster.pids()
    assert sorted(before) == ["edge-1", "postgres", "valkey", "worker-1", "worker-2"]
    url = cluster.redis_url

    cluster.kill("worker-1")
    eventually(lambda: len(notices.texts) == 2)
    assert notices.texts[0] == "worker-1 was killed by SIGKILL; starting it again in 0.25 s"
    assert notices.texts[1].startswith("worker-1 runs again (process ")
    assert cluster.pids()["worker-1"] != before["worker-1"]

    cluster.kill("valkey")
    eventually(lambda: any("valkey runs again" in text for text in notices.texts))
    assert cluster.redis_url == url
    assert cluster.redis_pid not in (None, before["valkey"])
    cluster.await_ready()

    database_url = cluster.database_url
    cluster.kill("postgres")
    eventually(lambda: any("postgres runs again" in text for text in notices.texts))
    assert cluster.database_url == database_url
    assert cluster.database_pid not in (None, before["postgres"])


def test_a_job_process_runs_beside_it_where_asked_for(notices: Notices) -> None:
    with DevCluster(edges=1, workers=1, jobs=True, reporter=notices) as cluster:
        log = cluster.log_folder / "jobs.log"
        eventually(lambda: "job done" in log.read_text())
        assert cluster.archive_folder.is_dir()
        cluster.kill("jobs")
        eventually(lambda: any("jobs runs again" in text for text in notices.texts))
        pids = cluster.pids()
    assert all(gone(pid) for pid in pids.values())


def test_stop_leaves_nothing_behind() -> None:
    cluster = DevCluster(edges=1, workers=1)
    cluster.start()
    pids, folder = cluster.pids(), cluster.folder
    assert len(pids) == 4
    cluster.stop()
    cluster.stop()
    assert all(gone(pid) for pid in pids.values())
    assert not folder.exists()


def test_without_restart_the_dead_stay_dead_until_asked() -> None:
    with DevCluster(edges=1, workers=1, restart=False) as cluster:
        cluster.kill("worker-1")
        eventually(lambda: "worker-1" not in cluster.pids())
        with pytest.raises(StartFailed):
            cluster.kill("worker-1")
        cluster.start_again("worker-1")
        assert "worker-1" in cluster.pids()
        cluster.await_ready()


def test_a_stopped_child_does_not_hold_up_the_stop() -> None:
    """SIGSTOP keeps a process from seeing SIGTERM; the deadline must end it."""
    cluster = DevCluster(edges=1, workers=1)
    cluster.start()
    pids = cluster.pids()
    cluster.kill("worker-1", signal.SIGSTOP)
    killer = threading.Timer(0.5, cluster.kill_all)
    killer.start()
    cluster.stop()
    killer.join()
    assert all(gone(pid) for pid in pids.values())


def test_a_child_that_cannot_start_is_told_in_one_line() -> None:
    cluster = DevCluster(edges=1, workers=1, environ={"ROOMRING_HISTORY_EVENTS_MAX": "0"})
    with pytest.raises(StartFailed, match="ended with status 2: ROOMRING_HISTORY_EVENTS_MAX=0 must be between"):
        cluster.start()
    assert cluster.pids() == {}


def test_a_cluster_without_a_database() -> None:
    with DevCluster(edges=1, workers=1, database=False) as cluster:
        assert (cluster.database_url, cluster.database_pid) == ("", None)
        assert "postgres" not in cluster.pids()


def test_its_database_is_of_this_release_and_is_kept(tmp_path: Path) -> None:
    for text in ("first", "second"):
        with DevCluster(edges=1, workers=1, data_dir=tmp_path) as cluster:
            assert asyncio.run(remember(cluster.database_url, text)) == (["first"] if text == "second" else [])
            described = json.loads((tmp_path / "cluster.json").read_text())["database"]
            assert described == {"url": cluster.database_url, "pid": cluster.database_pid}


async def remember(url: str, text: str) -> list[str]:
    """Store a message; return the texts of those that were there."""
    store = await PostgresStore.connect(url)
    before = (await store.page(RoomId("lobby:it"), limit=10)).messages
    await store.append(
        [ChatMessage(RoomId("lobby:it"), Epoch(1), Seq(len(before) + 1), text, UserId("a"), "A", text, 1)]
    )
    await store.close()
    return [message.text for message in before]


async def test_a_database_of_the_user_is_migrated_with_a_notice(empty_database_url: str, notices: Notices) -> None:
    with DevCluster(edges=1, workers=1, database_url=empty_database_url, reporter=notices) as cluster:
        assert (cluster.database_url, cluster.database_pid) == (empty_database_url, None)
    assert notices.texts[0] == f"migrating your database up: {without_password(empty_database_url)}"
    assert notices.texts[-1].startswith(f"migrated up to {SCHEMA_VERSION}: ")
    count = len(notices.texts)
    with DevCluster(edges=1, workers=1, database_url=empty_database_url, reporter=notices):
        pass
    assert len(notices.texts) == count


def test_a_database_that_is_not_there_is_told_in_one_line() -> None:
    cluster = DevCluster(edges=1, workers=1, database_url="postgresql://127.0.0.1:1/x")
    with pytest.raises(StoreUnavailable, match=r"postgresql://127\.0\.0\.1:1/x: PostgreSQL: ConnectionRefused"):
        cluster.start()
    assert cluster.pids() == {}


def test_two_clusters_do_not_share_a_folder(tmp_path: Path) -> None:
    with DevCluster(edges=1, workers=1, data_dir=tmp_path), pytest.raises(AlreadyRunning, match=str(os.getpid())):
        DevCluster(edges=1, workers=1, data_dir=tmp_path).start()
    assert not (tmp_path / "cluster.json").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
def test_children_die_with_their_parent() -> None:
    code = (
        "import signal, sys\nfrom deploy.devcluster import DevCluster\n"
        "cluster = DevCluster(edges=1, workers=1)\ncluster.start()\n"
        "print(*cluster.pids().values(), cluster.folder, flush=True)\nsignal.pause()"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    *pids, folder = parent.stdout.readline().split()
    parent.kill()
    parent.wait()
    try:
        eventually(lambda: all(gone(int(pid)) for pid in pids))
    finally:
        subprocess.run(["rm", "-rf", folder], check=True)
    assert len(pids) == 4
