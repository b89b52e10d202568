"""Installing, with a registry's program that only writes down that it was called."""

import pytest

from loadtest.peers.installing import NotInstalled, find_nats_server, install_node_servers

NPM = """#!/bin/sh
echo "$@" >> "{calls}"
test -f package-lock.json || exit 9
{then}
"""


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """The only folder on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def put_npm(programs, then="exit 0"):
    npm, calls = programs / "npm", programs / "calls"
    npm.write_text(NPM.format(calls=calls, then=then))
    npm.chmod(0o755)
    calls.touch()
    return calls


def test_without_npm_it_says_what_is_missing(programs, tmp_path):
    with pytest.raises(NotInstalled, match="no npm on PATH"):
        install_node_servers(tmp_path / "cache")
    with pytest.raises(NotInstalled, match="no nats-server on PATH"):
        find_nats_server()


def test_it_installs_once_and_without_scripts(programs, tmp_path):
    calls = put_npm(programs)
    node, folder = install_node_servers(tmp_path / "cache")
    assert node.is_relative_to(folder / "node_modules")
    assert (folder / "socketio.mjs").is_file()
    assert (folder / "colyseus.mjs").is_file()
    assert install_node_servers(tmp_path / "cache") == (node, folder)
    (call,) = calls.read_text().splitlines()
    assert call.startswith("ci ")
    assert "--ignore-scripts" in call


def test_a_registry_that_refuses_is_told_in_one_line(programs, tmp_path):
    put_npm(programs, then='echo "a warning" >&2; echo "npm error code ENOTFOUND" >&2; exit 1')
    with pytest.raises(NotInstalled) as refused:
        install_node_servers(tmp_path / "cache")
    assert str(refused.value) == "npm ci ended with status 1: npm error code ENOTFOUND"


def test_what_an_interrupted_install_left_is_done_anew(programs, tmp_path):
    calls = put_npm(programs, then=": > half; exit 1")
    with pytest.raises(NotInstalled, match="no reason told"):
        install_node_servers(tmp_path / "cache")
    put_npm(programs)
    _, folder = install_node_servers(tmp_path / "cache")
    assert not (folder / "half").exists()
    assert len(calls.read_text().splitlines()) == 2
