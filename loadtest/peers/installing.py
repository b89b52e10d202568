"""Installs the peers at run time, by their own registries, into a folder that is no part of the repository.

What is installed is pinned in `servers/`: `package.json` with its lockfile, `requirements.txt`. A folder is named after
the digest of what it was made from, so a change of a pin makes a new one. Not for two callers at once.
"""

import hashlib
import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from common.errors import RoomringError

SERVERS: Final = Path(__file__).parent / "servers"
INSTALL_TIMEOUT_S: Final = 300.0
"""A Node of 45 MB comes with it; beyond this the network is not worth waiting for."""

_DONE: Final = "installed"
_NODE_ARCHITECTURES: Final = {"x86_64": "x64", "aarch64": "arm64"}
_COMPLAINT_MAX: Final = 300


class NotInstalled(RoomringError):
    """A peer cannot be had on this machine. The text is one line that says why."""


def install_node_servers(cache: Path) -> tuple[Path, Path]:
    """Install the servers that run on Node, and the Node that they need.

    Args:
        cache: folder for all that is installed; made if missing.

    Returns: the Node program, and the folder with the servers.

    Raises:
        NotInstalled: no npm here, or it failed.
    """
    npm = _program("npm", "install Node.js with npm")
    architecture = _NODE_ARCHITECTURES.get(platform.machine(), "")
    if not architecture:
        raise NotInstalled(f"no Node is pinned for {platform.machine()}")
    source = SERVERS / "node"
    folder = cache / f"node-{digest_of([source / 'package.json', source / 'package-lock.json'])}"
    if not (folder / _DONE).exists():
        _begin(folder)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(source / name, folder)
        # No script of a package runs: what is native in them is there ready made.
        options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        _run([npm, "ci", *options], folder, "npm ci")
        (folder / _DONE).touch()
    for server in source.glob("*.mjs"):
        # Beside node_modules, since Node looks for packages from where a module lies.
        shutil.copy(server, folder)
    return folder / "node_modules" / f"node-linux-{architecture}" / "bin" / "node", folder


def install_python_server(cache: Path) -> tuple[Path, Path]:
    """Install the server that runs on Python, in a virtual environment of its own.

    Returns: its Python, and the folder with the server.

    Raises:
        NotInstalled: the environment could not be made, or pip failed.
    """
    source = SERVERS / "python"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = cache / f"python{version}-{digest_of([source / 'requirements.txt'])}"
    python = folder / "bin" / "python"
    if not (folder / _DONE).exists():
        _begin(folder)
        _run([sys.executable, "-m", "venv", str(folder)], cache, "python -m venv")
        options = ["--disable-pip-version-check", "--quiet", "--only-binary", ":all:"]
        requirements = str(source / "requirements.txt")
        _run([str(python), "-m", "pip", "install", *options, "--requirement", requirements], cache, "pip install")
        (folder / _DONE).touch()
    return python, source


def find_nats_server() -> Path:
    """Return the NATS server on PATH.

    Raises:
        NotInstalled: there is none.
    """
    return Path(_program("nats-server", "install it, on Debian: apt install nats-server"))


def node_versions(*packages: str) -> str:
    """Return what is pinned for a server on Node, as text: Node's version and those of packages."""
    project = json.loads((SERVERS / "node" / "package.json").read_text())
    node = next(iter(project["optionalDependencies"].values()))
    return ", ".join([*(f"{name} {project['dependencies'][name]}" for name in packages), f"Node {node}"])


def python_versions(*packages: str) -> str:
    """Return what is pinned for the server on Python, as text."""
    lines = (SERVERS / "python" / "requirements.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return ", ".join([*(f"{name} {pins[name]}" for name in packages), f"Python {version}"])


def nats_version() -> str:
    """Return the version of the NATS server on PATH, as text.

    Raises:
        NotInstalled: there is none.
    """
    program = str(find_nats_server())
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=10)  # noqa: S603
    return told.stdout.strip() or program


def digest_of(files: Sequence[Path]) -> str:
    """Return a short digest of what the files hold."""
    digest = hashlib.blake2b(digest_size=6)
    for file in files:
        digest.update(hashlib.blake2b(file.read_bytes()).digest())
    return digest.hexdigest()


def _program(name: str, remedy: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise NotInstalled(f"there is no {name} on PATH; {remedy}")
    return found


def _begin(folder: Path) -> None:
    # What an interrupted install left is of no use.
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _run(command: Sequence[str], folder: Path, name: str) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - our own arguments, no shell
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=INSTALL_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise NotInstalled(f"{name} did not end in {INSTALL_TIMEOUT_S:.0f} s") from error
    except OSError as error:
        raise NotInstalled(f"{name} could not be started: {error}") from error
    if done.returncode:
        lines = [line.strip() for line in done.stderr.decode(errors="replace").splitlines()]
        complaint = next((line for line in lines if "err" in line.lower()), lines[-1] if lines else "no reason told")
        raise NotInstalled(f"{name} ended with status {done.returncode}: {complaint[:_COMPLAINT_MAX]}")
