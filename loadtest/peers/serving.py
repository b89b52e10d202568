"""Starts a peer's processes on this machine and stops them; they die with us.

Everything listens on loopback alone, on ports that were free.
"""

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from common.errors import RoomringError
from deploy.devcluster import DevCluster
from deploy.embedded_redis import EmbeddedRedis
from deploy.loadtest import target_of
from deploy.ports import free_ports
from deploy.unprivileged import prepare_child
from loadtest.peers.catalogue import OWN, PEERS, ROOMRING, Peer
from loadtest.peers.installing import (
    find_nats_server,
    install_node_servers,
    install_python_server,
    nats_version,
    node_versions,
    python_versions,
)
from loadtest.scenario import Target

START_TIMEOUT_S: Final = 20.0
_STOP_TIMEOUT_S: Final = 5.0
_POLL_S: Final = 0.02
_NODES: Final = OWN[ROOMRING].edges
"""Processes of a peer that spreads a room over several."""


class NotStarted(RoomringError):
    """A peer did not come up. The text is one line that says why."""


@contextmanager
def serving(name: str, cache: Path, *, environ: Mapping[str, str] | None = None) -> Iterator[Target]:
    """Run a peer, or Roomring, as long as the context lasts. Enter it in a thread that lives as long.

    Args:
        name: of the catalogue.
        cache: where peers are, or will be, installed.
        environ: settings of Roomring.

    Raises:
        NotInstalled: see there.
        NotStarted: a process ended at once, or did not listen in time.
        RoomringError: Roomring, or the Valkey, did not come up.
    """
    with ExitStack() as stack:
        if name in OWN:
            own = OWN[name]
            cluster = DevCluster(edges=own.edges, workers=own.workers, environ=environ, restart=False)
            yield target_of(stack.enter_context(cluster), label=own.title)
            return
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="roomring-peer-")))
        yield _STARTS[name](stack, folder, cache, PEERS[name])


def prepare(name: str, cache: Path) -> str:
    """Install what a peer needs, so that its first start takes no longer than the others.

    Returns: the versions that it will run with, as text.

    Raises:
        NotInstalled: see there.
    """
    match name:
        case "nats":
            return nats_version()
        case "python-socketio":
            install_python_server(cache)
            return python_versions("python-socketio", "uvicorn", "uvloop", "websockets", "redis")
        case "colyseus":
            install_node_servers(cache)
            return node_versions("@colyseus/core", "@colyseus/ws-transport")
        case _:
            install_node_servers(cache)
            return node_versions("socket.io", "@socket.io/redis-streams-adapter", "redis")


def _start_socketio(stack: ExitStack, folder: Path, cache: Path, peer: Peer) -> Target:
    node, servers = install_node_servers(cache)
    return _start_nodes(stack, folder, [str(node), str(servers / "socketio.mjs")], "node", peer)


def _start_python_socketio(stack: ExitStack, folder: Path, cache: Path, peer: Peer) -> Target:
    python, servers = install_python_server(cache)
    return _start_nodes(stack, folder, [str(python), str(servers / "server.py")], "python", peer)


def _start_nodes(stack: ExitStack, folder: Path, command: Sequence[str], kind: str, peer: Peer) -> Target:
    """Start some processes of one command that share a Valkey."""
    store = stack.enter_context(EmbeddedRedis(folder / "valkey"))
    assert store.pid is not None
    ports = free_ports(_NODES)
    pids = [
        stack.enter_context(process(command, port, folder / f"{port}.log", {"REDIS_URL": store.url})) for port in ports
    ]
    return _target(peer, ports, {kind: pids, "valkey": [store.pid]}, store.url)


def _start_colyseus(stack: ExitStack, folder: Path, cache: Path, peer: Peer) -> Target:
    node, servers = install_node_servers(cache)
    (port,) = free_ports(1)
    pid = stack.enter_context(process([str(node), str(servers / "colyseus.mjs")], port, folder / "colyseus.log", {}))
    return _target(peer, [port], {"node": [pid]})


def _start_nats(stack: ExitStack, folder: Path, _cache: Path, peer: Peer) -> Target:
    program = find_nats_server()
    port, client_port = free_ports(2)
    configuration = folder / "nats.conf"
    configuration.write_text(
        f'listen: "127.0.0.1:{client_port}"\nwebsocket {{ listen: "127.0.0.1:{port}", no_tls: true }}\n'
    )
    command = [str(program), "--config", str(configuration)]
    pid = stack.enter_context(process(command, port, folder / "nats.log", {}))
    return _target(peer, [port], {"nats-server": [pid]})


def _target(peer: Peer, ports: Sequence[int], pids: Mapping[str, Sequence[int]], redis_url: str = "") -> Target:
    return Target(
        urls=tuple(f"http://127.0.0.1:{port}" for port in ports),
        dialect=peer.dialect,
        label=peer.title,
        redis_url=redis_url,
        pids=lambda: pids,
    )


_STARTS: Final[Mapping[str, Callable[[ExitStack, Path, Path, Peer], Target]]] = {
    "socketio": _start_socketio,
    "colyseus": _start_colyseus,
    "python-socketio": _start_python_socketio,
    "nats": _start_nats,
}


@contextmanager
def process(command: Sequence[str], port: int, log: Path, environ: Mapping[str, str]) -> Iterator[int]:
    """Run one process, which is told its port as PORT, and wait until it listens; yields its process id.

    Raises:
        NotStarted: it ended, or did not listen in time.
    """
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "LC_ALL")}
    with log.open("wb") as output:
        child = subprocess.Popen(  # noqa: S603 - our own arguments, no shell
            command,
            env={**kept, "NODE_ENV": "production", "PORT": str(port), **environ},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=prepare_child(None, signal.SIGKILL),  # noqa: PLW1509 - a system call
        )
    try:
        _await_listening(child, port, log, Path(command[-1]).name)
        yield child.pid
    finally:
        child.terminate()
        try:
            child.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _await_listening(child: "subprocess.Popen[bytes]", port: int, log: Path, name: str) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return
        if child.poll() is not None:
            raise NotStarted(f"{name} ended with status {child.returncode}: {_last_words(log)}")
        if time.monotonic() > deadline_s:
            raise NotStarted(f"{name} did not listen within {START_TIMEOUT_S:.0f} s: {_last_words(log)}")
        time.sleep(_POLL_S)


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return next((line for line in lines if "Error" in line), lines[-1] if lines else "it said nothing")
