"""What other commands find of a `roomring up` that runs from a folder."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from deploy.running import described, with_database

CLUSTER: dict[str, Any] = {
    "pid": os.getpid(),
    "redis": {"url": "redis://here"},
    "database": {"url": "postgresql://here"},
    "archives": "there",
}


def write(folder: Path, cluster: dict[str, Any]) -> None:
    (folder / "cluster.json").write_text(json.dumps(cluster))


def test_its_database_is_used_where_none_is_named(tmp_path: Path) -> None:
    assert with_database({"A": "b"}, tmp_path) == {"A": "b"}
    write(tmp_path, CLUSTER)
    found = with_database({"A": "b", "ROOMRING_DATABASE_URL": " "}, tmp_path)
    assert found == {"A": "b", "ROOMRING_DATABASE_URL": "postgresql://here", "ROOMRING_ARCHIVE_DIR": "there"}
    given = {"ROOMRING_DATABASE_URL": "postgresql://given"}
    assert with_database(given, tmp_path) == given


@pytest.mark.parametrize("name", CLUSTER)
def test_what_is_described_in_part_is_not_described(name: str, tmp_path: Path) -> None:
    write(tmp_path, {key: value for key, value in CLUSTER.items() if key != name})
    assert described(tmp_path) is None


def test_one_that_ended_is_not_described(tmp_path: Path) -> None:
    write(tmp_path, CLUSTER)
    assert described(tmp_path) == CLUSTER
    write(tmp_path, {**CLUSTER, "pid": 2**22 + 1})
    assert described(tmp_path) is None
