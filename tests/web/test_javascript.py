"""Run the browser client's own unit tests, and check that every module at least parses.

The tests are written for node's own runner. No Node has to be installed: the `playwright` package carries one.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
MODULES = sorted(path for folder in ("roomring", "demo") for path in (ROOT / "web" / folder).glob("*.js"))


@pytest.fixture(scope="module")
def node() -> str:
    """Path of a Node executable. Its absence fails in CI and skips elsewhere."""
    try:
        from playwright._impl._driver import compute_driver_executable
    except ImportError:
        reason = "the package playwright, which carries a Node, is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return compute_driver_executable()[0]


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)


@pytest.mark.parametrize("suite", sorted(HERE.glob("*.test.mjs")), ids=lambda path: path.name)
def test_suite(node: str, suite: Path) -> None:
    done = run([node, "--test", "--test-reporter=tap", str(suite)])
    assert done.returncode == 0, done.stdout + done.stderr
    passed = next(line for line in done.stdout.splitlines() if line.startswith("# pass "))
    assert int(passed.split()[-1]) > 0, "the suite ran no test"


def test_suites_are_there() -> None:
    names = {path.name.removesuffix(".test.mjs") for path in HERE.glob("*.test.mjs")}
    assert {"backoff", "client", "interpolation", "rate", "resume", "sim"} <= names
    assert {"board", "conversation", "history", "inbox", "messenger"} <= names


@pytest.mark.parametrize("module", MODULES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_module_parses(node: str, module: Path) -> None:
    source = module.read_text(encoding="utf-8")
    assert source.startswith("// @ts-check"), "every module is type-checked"
    done = run([node, "--check", str(module)])
    assert done.returncode == 0, done.stderr
