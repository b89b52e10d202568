"""`roomring loadtest` as its users run it, with loads so small that any machine bears them.

Nothing here asks how quick servers or generator were: on a busy machine a run may be INVALID, and rightly so.
"""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from deploy.devcluster import DevCluster
from deploy.loadtest import restart_redis
from tests.integration.conftest import People
from tests.integration.test_cli import ROOT, environment, roomring

SMALL = ("--set", "members=3", "--set", "rate=10", "--set", "chats=5", "--seconds", "1")


def result_of(done: subprocess.CompletedProcess[str], file: Path) -> dict[str, Any]:
    """Return what a run wrote down, after it ended as its verdict says."""
    assert done.stderr == ""
    result: dict[str, Any] = json.loads(file.read_text())
    assert result["failures"] == [], result["failures"]
    assert done.returncode == (0 if result["passed"] else 1), done.stdout
    assert ("PASSED" if result["passed"] else "INVALID") in done.stdout.splitlines()[-1]
    return result


def test_a_room_on_a_cluster_of_its_own(tmp_path: Path) -> None:
    folder, file = tmp_path / "report", tmp_path / "space.json"
    done = roomring("loadtest", "run", "space", *SMALL, "--workers", "1", "--report", str(folder), "--json", str(file))
    result = result_of(done, file)
    assert (result["scenario"], result["edges"], result["workers"]) == ("space", 2, 1)
    assert result["values"]["members"] == 3
    assert result["details"]["transforms"]["expected"] == 3 * 3 * 10
    assert result["details"]["transforms"]["delivered"] + result["details"]["transforms"]["superseded"] == 90
    assert result["details"]["reliable"]["chats_acked"] > 0
    assert result["latencyUs"]["transforms"]["samples"] > 0

    (window,) = result["windows"]
    assert {kind: usage["processes"] for kind, usage in window["cpu"].items()} == {
        "edge": 2,
        "worker": 1,
        "valkey": 1,
        "postgres": 1,
    }
    assert all(usage["rssBytes"] > 1_000_000 and usage["vanished"] == [] for usage in window["cpu"].values())
    assert window["cpuUsEach"] > 0
    assert window["redis"]["commands"] > 0
    assert window["redis"]["bytesIn"] > 0
    assert set(window["redis"]["calls"]) >= {"xadd", "evalsha"}
    assert set(window["counters"]) == {"edge-1", "edge-2", "worker-1"}
    assert window["counters"]["edge-1"]["roomring_edge_messages_in_total"] > 0
    assert window["counters"]["worker-1"]["roomring_worker_commands_total"] > 0
    assert {process["name"] for process in result["processes"]} >= {
        "edge-1",
        "edge-2",
        "worker-1",
        "valkey",
        "generator",
    }

    assert json.loads((folder / "result.json").read_text()) == result
    page = (folder / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "Latency over time" in page
    assert len(page) < 1_000_000

    compared = roomring("loadtest", "compare", str(file), str(folder))
    assert (compared.returncode, compared.stderr) == (0, "")
    assert "updates received, 1/s" in compared.stdout
    assert "1.00" in compared.stdout


def test_a_room_on_edges_that_run(cluster: DevCluster, tmp_path: Path) -> None:
    file = tmp_path / "space.json"
    edges = [part for edge in cluster.edges for part in ("--against", f"{edge.url}/")]
    result = result_of(
        roomring("loadtest", "run", "space", *SMALL, *edges, "--label", "Ours", "--json", str(file)), file
    )
    assert (result["label"], result["edges"], result["workers"]) == ("Ours", 2, None)
    assert result["details"]["transforms"]["lost"] == 0
    (window,) = result["windows"]
    # Whose processes they are is not known.
    assert (window["cpu"], window["redis"], window["counters"]) == ({}, None, {})
    assert window["generator"]["cpuSeconds"][0] > 0


def test_edges_that_do_not_run_are_told_in_one_line() -> None:
    done = roomring("loadtest", "run", "space", *SMALL, "--against", "http://127.0.0.1:1")
    assert done.returncode == 1
    assert done.stderr.startswith("roomring: http://127.0.0.1:1 is not reachable")
    assert done.stderr.count("\n") == 1


def test_many_rooms(cluster: DevCluster, tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    load = ("--set", "rooms=4", "--set", "members=2", "--set", "rate=5", "--set", "warm-up=1", "--seconds", "1")
    against = ("--against", cluster.edges[0].url)
    result = result_of(roomring("loadtest", "run", "many-rooms", *load, *against, "--json", str(file)), file)
    assert result["details"]["transforms"]["expected"] == 4 * 2 * 2 * 5


def test_a_room_that_grows(cluster: DevCluster, tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    # A p99 that no server can be above, so that the last size is good on any machine.
    load = ("--set", "from=2", "--set", "to=3", "--set", "rate=5", "--set", "p99=100000", "--set", "tries=1")
    against = ("--against", cluster.edges[0].url, "--seconds", "1")
    done = roomring("loadtest", "run", "large-room", *load, *against, "--set", "superseded=1", "--json", str(file))
    result = json.loads(file.read_text())
    assert (done.stderr, result["failures"]) == ("", [])
    steps = result["tables"][0]["rows"]
    assert [step[0] for step in steps] == ["2 members", "3 members"]
    assert {step[-1] for step in steps} == {"good"} or result["invalid"]


def test_a_soak_judges_the_memory_of_each_process(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    load = ("--set", "members=2", "--set", "warm-up=1", "--set", "round=1", "--set", "growth=1000000", "--seconds", "7")
    done = roomring("loadtest", "run", "soak", *load, "--edges", "1", "--workers", "1", "--json", str(file))
    result = result_of(done, file)
    assert [row[0] for row in result["tables"][0]["rows"]] == [
        "edge-1",
        "worker-1",
        "valkey",
        "postgres",
    ]
    assert {row[-1] for row in result["tables"][0]["rows"]} == {"flat"}
    # They left and came back.
    assert len(result["windows"]) > 1


async def test_ctrl_c_ends_a_run_in_order(people: People, tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    load = ("--set", "members=2", "--seconds", "600", "--against", people.cluster.edges[0].url)
    before = (await people.metrics())["roomring_edge_messages_in_total"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.cli", "loadtest", "run", "space", *load, "--json", str(file)),
        cwd=ROOT,
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        # Two members at 20 a second: when so much has come, the warm-up of two seconds is over.
        async with asyncio.timeout(60):
            while (await people.metrics())["roomring_edge_messages_in_total"] < before + 130:
                assert process.returncode is None
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(60):
            shown, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (process.returncode, errors) == (130, b"")
    assert b"INVALID: interrupted" in shown
    result = json.loads(file.read_text())
    assert (result["interrupted"], result["passed"], result["failures"]) == (True, False, [])
    assert result["latencyUs"]["transforms"]["samples"] > 0


def test_redis_comes_back_without_its_data() -> None:
    with DevCluster(edges=1, workers=1, database=False, restart=False) as cluster:
        before = cluster.redis_pid
        restart_redis(cluster)
        assert cluster.redis_pid not in (None, before)
        cluster.await_ready()
