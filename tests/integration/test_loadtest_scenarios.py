"""The scenarios that follow rooms with many light clients, each with a load so small that any machine bears it.

Nothing here asks how quick anything was: on a busy machine a run may be INVALID, and rightly so.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_cli import roomring
from tests.integration.test_loadtest import result_of

ONE_OF_EACH = ("--edges", "1", "--workers", "1")

RUNS = {
    "broadcast-burst": (("members=6", "messages=4", "bursts=2", "pause=0.2"), ONE_OF_EACH),
    "catch-up-burst": (("clients=6", "events=20", "rooms=2"), ONE_OF_EACH),
    "reconnect-storm": (("clients=6", "rooms=2", "chats=4"), ONE_OF_EACH),
    "reconnect-storm, of an edge": (("clients=6", "rooms=2", "chats=4", "cause=edge"), ()),
    "idle-connections": (("connections=20", "members=5", "seconds=0.5"), ()),
    "redis-reset": (("rooms=2", "members=3", "before=0.5", "after=0.5"), ONE_OF_EACH),
    "redis-reset, data kept": (("rooms=2", "members=3", "before=0.5", "after=0.5", "data=kept"), ONE_OF_EACH),
}


def play(name: str, settings: Sequence[str], options: Sequence[str], file: Path, **environ: str) -> dict[str, Any]:
    """Run a scenario and return its result."""
    chosen = [part for setting in settings for part in ("--set", setting)]
    return result_of(roomring("loadtest", "run", name, *chosen, *options, "--json", str(file), **environ), file)


def figures(result: dict[str, Any]) -> dict[str, float | None]:
    return {figure["name"]: figure["value"] for figure in result["figures"]}


def counts(result: dict[str, Any]) -> dict[str, int]:
    """Return the table of the reliable events."""
    (table,) = [table for table in result["tables"] if table["title"] == "reliable events"]
    return dict(table["rows"])


@pytest.mark.parametrize("case", RUNS)
def test_nothing_is_lost_twice_or_out_of_order(case: str, tmp_path: Path) -> None:
    settings, options = RUNS[case]
    name = case.partition(",")[0]
    result = play(name, settings, options, tmp_path / "result.json")
    found, told = counts(result), figures(result)
    assert told["lost"] == 0
    match case:
        case "broadcast-burst":
            assert told["deliveries"] == 2 * 4 * 6
            assert found["messages acknowledged"] == 8
            assert result["latencyUs"]["each message at everybody"]["samples"] == 8
        case "catch-up-burst":
            assert found["of them replayed"] == told["replayed events"] == 6 * 20
            assert result["latencyUs"]["replay"]["samples"] == 6
            assert result["windows"][0]["work"] == 6 * 20
        case "reconnect-storm":
            assert told["clients lost"] == told["recovered"] == 6
            assert result["latencyUs"]["back"]["samples"] == 6
            assert found["messages acknowledged"] > 0
        case "reconnect-storm, of an edge":
            assert told["clients lost"] == told["recovered"] == 5
            assert result["details"]["closed"] == {"1006": 5}
        case "idle-connections":
            assert told["connections"] == 20
            assert told["edge memory, connected"] is not None
            assert [window["name"] for window in result["windows"]] == ["no connections", "connected", "in rooms"]
            # The first of each room was told of others.
            assert found["received"] >= 4
        case "redis-reset":
            assert told["all rooms flow"] is not None
            assert result["details"]["resyncs"].keys() == {"new_epoch"}
            assert told["told resync"] == 6
        case "redis-reset, data kept":
            assert told["all rooms flow"] is not None
            assert found["gone with their epoch"] == found["took effect in two epochs"] == 0


def test_what_breaks_the_servers_asks_for_a_cluster_of_its_own() -> None:
    for name, settings in (("redis-reset", ()), ("reconnect-storm", ("--set", "cause=edge"))):
        done = roomring("loadtest", "run", name, *settings, "--against", "http://127.0.0.1:1")
        assert done.returncode != 0
        assert "run it without --against" in done.stderr, (name, done.stderr)


def test_a_storm_against_edges_that_run(cluster: Any, tmp_path: Path) -> None:
    edges = [part for edge in cluster.edges for part in ("--against", edge.url)]
    result = play("reconnect-storm", ("clients=4", "rooms=1"), edges, tmp_path / "result.json")
    assert figures(result)["recovered"] == 4
    assert json.loads((tmp_path / "result.json").read_text())["workers"] is None


def test_who_is_refused_by_the_admission_comes_back_when_told(tmp_path: Path) -> None:
    few = {"ROOMRING_CONNECTS_BURST": "2", "ROOMRING_CONNECTS_PER_SECOND_MAX": "4"}
    settings = ("clients=8", "rooms=1", "per-second=3")
    result = play("reconnect-storm", settings, ONE_OF_EACH, tmp_path / "result.json", **few)
    told = figures(result)
    assert told["recovered"] == told["clients lost"] == 8
    assert (told["refused by admission"] or 0) > 0
    assert result["details"]["refused"].keys() == {"503"}
