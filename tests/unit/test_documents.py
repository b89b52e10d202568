"""What the documents name exists: links, files, settings, numbers, log events, commands and their options."""

import argparse
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from urllib.parse import unquote

import pytest

from common.settings import EdgeSettings, JobsSettings, WorkerSettings
from deploy import cli
from edge.metrics import EdgeMetrics
from roomworker.metrics import WorkerMetrics

ROOT = Path(__file__).parents[2]
FOLDERS = ("common", "edge", "roomworker", "deploy", "loadtest", "web", "tests", "docs")
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(path for folder in ("docs", "web") for path in (ROOT / folder).rglob("*.md"))]
)
FILES = {path.relative_to(ROOT).as_posix() for folder in FOLDERS for path in (ROOT / folder).rglob("*")} | {
    path.name for path in ROOT.iterdir()
}
NAMES = {name.rpartition("/")[2] for name in FILES}

MADE_BY_THE_READER = {
    "hello.py",
    "hello.mjs",
    "web/hello.html",
    "roomworker/counter.py",
    "tests/unit/roomworker/test_counter.py",
    "roomring.env",
    "result.json",
    "before.json",
    "after.json",
    "words.toml",
}
MADE_BY_PROGRAMS = {"cluster.json", "report.html"}

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FILE_NAME = re.compile(
    r"(?<![\w/.:*>$-])[\w@-][\w.@-]*(?:/[\w.@-]+)*\.(?:py|md|m?js|ts|lua|json|ya?ml|toml|html|css|sh|service|jpg|env)\b(?!\()"
)
CODE = re.compile(r"^```[^\n]*\n(.*?)^```$|`([^`\n]+)`", re.S | re.M)
MACHINE_PATH = re.compile(r"(?<![\w./-])/(?:tmp|work|root|home)/")


def text_of(document: Path) -> str:
    return document.read_text(encoding="utf-8")


def code_of(document: Path) -> Iterator[str]:
    """Return the text of all code blocks and code spans."""
    for match in CODE.finditer(text_of(document)):
        yield match[1] if match[1] is not None else match[2]


def anchors_of(document: Path) -> set[str]:
    """Return the anchors that GitHub makes of the headings."""
    prose = re.sub(r"^```.*?^```$", "", text_of(document), flags=re.S | re.M)
    headings = re.findall(r"^#+ (.*)$", prose, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def commands_in(document: Path) -> Iterator[tuple[str, list[str]]]:
    """Return each use of the command `roomring`: its subcommand and the options on the same line."""
    for code in code_of(document):
        for line in code.splitlines():
            match = re.search(r"(?:^|[\s/])roomring ([a-z][a-z-]*)(.*)", line.partition("#")[0])
            if match:
                yield match[1], re.findall(r"(?<!\S)--[a-z-]+", match[2])


DEFAULTS = {
    field.metadata["env"]: field.default
    for cls in (EdgeSettings, WorkerSettings, JobsSettings)
    for field in fields(cls)
}
METRICS = {
    family.name + ("_total" if family.type == "counter" else "")
    for metrics in (EdgeMetrics(), WorkerMetrics())
    for family in metrics.registry.collect()
}

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())


def test_the_documents_are_found() -> None:
    assert {"README.md", "CONTRIBUTING.md", "CHANGELOG.md"} <= {path.name for path in DOCUMENTS}
    assert len(DOCUMENTS) > 15


@each_document
def test_relative_links_lead_somewhere(document: Path) -> None:
    for link in LINK.findall(text_of(document)):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = unquote(link).partition("#")
        target = (document.parent / name).resolve() if name else document
        assert target.exists(), f"{link}: there is no such file"
        assert target.is_relative_to(ROOT), f"{link} leads out of the repository"
        if anchor:
            assert anchor in anchors_of(target), f"{link}: there is no such heading"


@each_document
def test_named_files_exist(document: Path) -> None:
    beside = document.parent.relative_to(ROOT).as_posix()
    for name in FILE_NAME.findall(text_of(document)):
        known = name in FILES or f"{beside}/{name}" in FILES or ("/" not in name and name in NAMES)
        assert known or (document.parent / name).exists() or name in MADE_BY_THE_READER | MADE_BY_PROGRAMS, name


@each_document
def test_named_folders_exist(document: Path) -> None:
    for name in re.findall(r"`([a-z_]+/(?:[a-z_]+/)*)`", text_of(document)):
        assert (ROOT / name).is_dir() or (document.parent / name).is_dir(), name


@each_document
def test_no_path_of_a_machine(document: Path) -> None:
    assert not MACHINE_PATH.search(text_of(document))


@each_document
def test_named_settings_exist(document: Path) -> None:
    # Some variables are no settings of a process: those of the tests, and what a parent tells its child.
    sources = [*(ROOT / "tests").rglob("*.py"), ROOT / "deploy" / "child.py"]
    others = {name for path in sources for name in re.findall(r"ROOMRING_[A-Z_]+[A-Z]", text_of(path))}
    for name in re.findall(r"\bROOMRING_[A-Z_]*[A-Z]\b", text_of(document)):
        assert name in DEFAULTS or (document.name != "README.md" and name in others), name


def test_the_defaults_in_the_readme_are_the_defaults() -> None:
    rows = re.findall(r"^\| `(ROOMRING_[A-Z_]+)` \| `?([^|`]+)`? \|", text_of(ROOT / "README.md"), re.M)
    assert len(rows) > 5
    said = {name: default.strip() for name, default in rows if name != "ROOMRING_PUBLIC_WS_URL"}
    assert said == {name: str(DEFAULTS[name]) for name in said}


def test_operations_names_every_metric_and_no_other() -> None:
    named = set(re.findall(r"\broomring_(?:edge|worker)_[a-z_]+", text_of(ROOT / "docs" / "operations.md")))
    assert named == METRICS


def test_operations_names_log_events_that_exist() -> None:
    section = text_of(ROOT / "docs" / "operations.md").partition("| event | level | means |")[2].partition("\n\n")[0]
    events = [event for row in section.splitlines()[2:] for event in re.findall(r"`([^`]+)`", row.split("|")[1])]
    assert len(events) > 10
    sources = "\n".join(
        text_of(path) for folder in ("edge", "roomworker", "deploy/jobs") for path in (ROOT / folder).rglob("*.py")
    )
    for event in events:
        assert f'"{event}"' in sources or f'"{event.replace(" ", "_")}"' in sources, event


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    """Return the options of a command and of its actions."""
    inner = [
        choice for action in parser._actions if isinstance(action.choices, dict) for choice in action.choices.values()
    ]
    return set(parser._option_string_actions).union(*(options_of(action) for action in inner))


@each_document
def test_named_commands_and_options_exist(document: Path) -> None:
    parsers = next(action.choices for action in cli._parser()._actions if isinstance(action.choices, dict))
    for command, options in commands_in(document):
        assert command in parsers, f"roomring {command}"
        known = options_of(parsers[command])
        for option in options:
            assert option in known, f"roomring {command} {option}"


@each_document
def test_named_targets_of_make_exist(document: Path) -> None:
    targets = re.findall(r"^([a-z]+):", text_of(ROOT / "Makefile"), re.M)
    for code in code_of(document):
        for target in re.findall(r"(?:^|\s)make ([a-z]+)", code, re.M):
            assert target in targets, f"make {target}"


def test_python_snippets_compile() -> None:
    snippets = re.findall(r"^```python\n(.*?)^```$", text_of(ROOT / "README.md"), re.S | re.M)
    assert snippets
    for snippet in snippets:
        compile(snippet, "README.md", "exec")


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = set(LINK.findall(text_of(folder / "README.md")))
    assert listed == {path.name for path in folder.glob("[0-9]*.md")}
