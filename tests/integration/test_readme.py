"""The snippets of the README do what it says, as they stand there. Only the address and the room are exchanged."""

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from deploy.devcluster import DevCluster
from tests.web import test_javascript as javascript_tests
from tests.web.conftest import running_browser

README = Path(__file__).parents[2] / "README.md"
EDGE = "http://localhost:8080"
RUN_S = 30

node = javascript_tests.node


def snippet(language: str, *, edge: str = EDGE, room: str = "hello") -> str:
    """Return the README's only code block of a language, for another edge and room."""
    blocks: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(encoding="utf-8"), re.S | re.M)
    assert len(blocks) == 1, f"the README has {len(blocks)} blocks of {language}"
    text, rooms = re.subn(r"""(?<=ROOM = )(['"])hello\1""", f'"{room}"', blocks[0])
    assert rooms == 1
    return text.replace(EDGE, edge)


def printed() -> list[str]:
    """Return what the README says that the second snippet prints."""
    block = re.search(r"^```\n(in the room.*?)^```$", README.read_text(encoding="utf-8"), re.S | re.M)
    assert block is not None
    return block[1].splitlines()


def run(program: str, path: Path, text: str) -> list[str]:
    """Run a script and return the lines that it printed."""
    path.write_text(text, encoding="utf-8")
    done = subprocess.run([program, str(path)], capture_output=True, text=True, timeout=RUN_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


async def test_the_python_snippet(cluster: DevCluster, room: str, tmp_path: Path) -> None:
    text = snippet("python", edge=cluster.edges[0].url, room=room)
    lines = await asyncio.to_thread(run, sys.executable, tmp_path / "hello.py", text)
    assert lines == [line.replace("Raw: Hello from a raw socket", "Python: Hello from Python") for line in printed()]


async def test_the_snippet_with_a_bare_websocket(node: str, cluster: DevCluster, room: str, tmp_path: Path) -> None:
    text = snippet("js", edge=cluster.edges[1].url, room=room)
    assert await asyncio.to_thread(run, node, tmp_path / "hello.mjs", text) == printed()


@pytest.fixture
def browser() -> Iterator[Browser]:
    with running_browser() as started:
        yield started


def test_the_page_with_the_client_library(browser: Browser, cluster: DevCluster, room: str, tmp_path: Path) -> None:
    page = browser.new_page()
    try:
        # On a page of the edge, as a file in its folder would be, without leaving one there.
        page.goto(f"{cluster.edges[0].url}/healthz")
        page.set_content(snippet("html", room=room))
        log = page.locator("#log")
        expect(log).to_contain_text("acknowledged at #2")
        run(sys.executable, tmp_path / "hello.py", snippet("python", edge=cluster.edges[1].url, room=room))
        expect(log).to_contain_text("#4 Python: Hello from Python")
        assert log.inner_text().splitlines() == [
            "connecting",
            "connected",
            "in the room, members: 1",
            "#2 Browser: Hello from a browser",
            "acknowledged at #2",
            "Python came in",
            "#4 Python: Hello from Python",
        ]
    finally:
        page.close()
