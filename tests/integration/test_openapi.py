"""The running service is what its OpenAPI documents say: schemathesis asks it everything, good and bad.

All checks of schemathesis are on. Its examples are drawn from a fixed seed.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.durable import BoardNote, ChatMessage, Record, Reported
from common.durable_postgres import PostgresStore
from common.ids import Epoch, RoomId, Seq, UserId, thread_of
from common.settings import DEV_ADMIN_KEY
from deploy.devcluster import DevCluster
from edge.openapi import internal_document, public_document
from tests.integration.calls import call
from tests.integration.conftest import ROOT, mint, running_cluster
from tests.integration.openapi_hooks import FRIENDS, READER

EXAMPLES = 20
"""For each operation, beside those that schemathesis makes of the bounds."""

ITEMS = 40
WITHIN_S = 90

ENVIRON = {"ROOMRING_CHAT_PER_SECOND": "100", "ROOMRING_CHAT_BURST": "1000"}


@pytest.fixture(scope="module")
def described_cluster() -> Iterator[DevCluster]:
    """A small cluster with a database, and something in it to find."""
    with running_cluster(edges=1, workers=1, environ=ENVIRON) as running:
        asyncio.run(_furnish(running))
        yield running


async def _furnish(cluster: DevCluster) -> None:
    assert cluster.database_url is not None
    store = await PostgresStore.connect(cluster.database_url)
    try:
        await store.append(list(_records()))
    finally:
        await store.close()


def _records() -> Iterator[Record]:
    """Threads of the reader, notes on the board `notes:0`, and items of the moderation queue."""
    reader = UserId(READER)
    for seq, friend in enumerate(FRIENDS, 1):
        thread = thread_of(reader, friend)
        yield ChatMessage(
            thread, Epoch(1), Seq(1), f"t{seq}", friend, friend.title(), f"Hello {seq}", seq, None, reader
        )
    wall = RoomId("notes:0")
    for seq in range(1, 4):
        note_id, author = f"n{seq}", FRIENDS[0]
        yield BoardNote(
            wall, Epoch(1), Seq(seq), note_id, 1, seq, seq, "Hi", "yellow", ("a",), author, "A", author, seq, seq
        )
    lobby = RoomId("lobby:0")
    for seq in range(1, ITEMS + 1):
        message_id, author, place = f"m{seq}", FRIENDS[seq % len(FRIENDS)], (Epoch(1), Seq(seq))
        yield ChatMessage(lobby, *place, message_id, author, author.title(), f"Rude {seq}", seq)
        yield Reported(lobby, *place, message_id, author, f"Rude {seq}", reader, "insults", "report", seq)


def run_schemathesis(url: str, bearer: str, folder: Path) -> None:
    """Ask a listener everything that its document describes, and fail with what schemathesis found.

    The folder is for what it writes.
    """
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"),
        *("--header", f"Authorization: Bearer {bearer}"),
        *("--checks", "all", "--seed", "1", "--max-examples", str(EXAMPLES)),
        *("--generation-database", "none", "--no-color", "--continue-on-failure"),
        *("--request-timeout", "20"),
    ]
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "SCHEMATHESIS_HOOKS": "tests.integration.openapi_hooks",
        "NO_PROXY": "127.0.0.1",
    }
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=WITHIN_S)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stdout, done.stdout


async def test_the_public_listener_is_as_described(described_cluster: DevCluster, tmp_path: Path) -> None:
    url = described_cluster.edges[0].url
    assert (await call("GET", f"{url}/openapi.json")).json == public_document()
    token = mint(READER, ["*"], name="Reader", roles=["admin"])
    await asyncio.to_thread(run_schemathesis, url, token, tmp_path)


async def test_the_internal_listener_is_as_described(described_cluster: DevCluster, tmp_path: Path) -> None:
    url = described_cluster.edges[0].internal_url
    assert (await call("GET", f"{url}/openapi.json")).json == internal_document()
    await asyncio.to_thread(run_schemathesis, url, DEV_ADMIN_KEY, tmp_path)
