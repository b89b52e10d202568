"""docs/kinds.md does what it says: its steps, taken on a copy of the project, make a kind of room that works."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "kinds.md"
STEP = re.compile(
    r"<!-- (?P<verb>file|insert in|replace in)[: ] ?(?P<path>[\w./]+)(?: before)?(?:: (?P<anchor>.*?))? -->\n"
    r"```python\n(?P<code>.*?)```",
    re.DOTALL,
)
COPIED = (
    "common",
    "roomworker",
    "tests/__init__.py",
    "tests/unit/__init__.py",
    "tests/unit/stage.py",
    "tests/unit/roomworker",
    "pyproject.toml",
)


def steps() -> list[re.Match[str]]:
    return list(STEP.finditer(PAGE.read_text()))


def take(step: re.Match[str], project: Path) -> None:
    path = project / step["path"]
    if step["verb"] == "file":
        assert not path.exists()
        path.write_text(step["code"])
        return
    anchor, text = step["anchor"].replace("\\n", "\n"), path.read_text()
    assert text.count(anchor) == 1, anchor
    code = step["code"] if step["verb"] == "replace in" else step["code"] + anchor
    path.write_text(text.replace(anchor, code.rstrip("\n") if step["verb"] == "replace in" else code))


def test_the_steps_make_a_kind_that_works(tmp_path: Path) -> None:
    for name in COPIED:
        source, target = ROOT / name, tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    for step in steps():
        take(step, tmp_path)
    for arguments in (
        ["-m", "pytest", "-q", "tests/unit/roomworker/test_counter.py", "tests/unit/roomworker/test_lobby.py"],
        ["-m", "mypy", "--strict", "-p", "roomworker"],
    ):
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_kind_takes_fewer_than_sixty_lines() -> None:
    lines = [
        line
        for step in steps()
        if not step["path"].startswith("tests/")
        for line in step["code"].splitlines()
        if line.strip()
    ]
    assert 20 < len(lines) < 60, len(lines)


def test_every_step_of_the_page_is_found() -> None:
    text = PAGE.read_text()
    assert len(steps()) == text.count("<!-- ") == text.count("```python")
