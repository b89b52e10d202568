"""The command `roomring` as a process: what a user sees of it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from common.settings import DEV_TOKEN_SECRET
from deploy.devcluster import INTERNAL_PORT_OFFSET, WORKER_PORT_OFFSET
from deploy.embedded_redis import EmbeddedRedis
from deploy.ports import free_ports
from loadtest.redis_groups import ClusterGroup

ROOT = Path(__file__).parent.parent.parent
COMMANDS = (
    "up",
    "edge",
    "worker",
    "token",
    "doctor",
    "migrate",
    "drain",
    "deadletter",
    "jobs",
    "archive",
    "erase",
    "loadtest",
)


def environment(**settings: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("ROOMRING_")}
    return {**kept, "PYTHONPATH": str(ROOT), **settings}


def roomring(*argv: str, cwd: Path = ROOT, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deploy.cli", *argv],
        cwd=cwd,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def assert_one_line(done: subprocess.CompletedProcess[str], status: int, *parts: str) -> None:
    assert done.returncode == status, done.stderr
    assert done.stderr.startswith("roomring: ")
    assert done.stderr.count("\n") == 1, done.stderr
    for part in parts:
        assert part in done.stderr


def port_for_up() -> int:
    """Choose a first port for `roomring up` of at most two edges and workers."""
    starts = (0, INTERNAL_PORT_OFFSET, WORKER_PORT_OFFSET)
    return free_ports(1, beside=[start + number for start in starts for number in (0, 1)])[0]


@pytest.fixture
def taken_port() -> Iterator[int]:
    (port,) = free_ports(1, beside=(-1,))
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("0.0.0.0", port))
        listener.listen(1)
        yield port


# --- help -----------------------------------------------------------------------------------------------


def test_help_names_every_command() -> None:
    done = roomring("--help")
    assert done.returncode == 0
    assert all(re.search(rf"\n    {command}\s", done.stdout) for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_tells_options_environment_and_an_example(command: str) -> None:
    done = roomring(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: roomring {command} ")
    assert "\nenvironment:\n" in done.stdout
    assert "\nexample" in done.stdout
    assert f"roomring {command}" in done.stdout.split("\nexample", 1)[1]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom deploy.cli import main\n"
        "try:\n    main(['up', '--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'aiohttp', 'alembic', 'asyncpg', 'redis', 'msgspec', 'asyncio', 'uvloop'} & sys.modules.keys()\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr


def test_version() -> None:
    done = roomring("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("roomring ")
    assert done.stdout.count("\n") == 1


# --- a user's mistakes ----------------------------------------------------------------------------------


def test_wrong_setting() -> None:
    assert_one_line(roomring("edge", ROOMRING_DEV="1", ROOMRING_PORT="abc"), 2, "ROOMRING_PORT='abc'")
    assert_one_line(roomring("worker", ROOMRING_SHARDS="0"), 2, "ROOMRING_SHARDS=0 must be between 1 and 1024")
    assert_one_line(roomring("up", ROOMRING_NAMESPACE="a b"), 2, "ROOMRING_NAMESPACE='a b'")


def test_an_edge_without_a_secret() -> None:
    assert_one_line(roomring("edge"), 2, "set ROOMRING_TOKEN_SECRET", "ROOMRING_DEV=1")


def test_unknown_option() -> None:
    assert_one_line(roomring("edge", "--prot", "1"), 2, "'--prot'")


def test_up_without_the_redis_that_was_named(tmp_path: Path) -> None:
    (closed,) = free_ports(1)
    done = roomring(
        "up",
        "--data",
        str(tmp_path / "data"),
        ROOMRING_REDIS_URL=f"redis://127.0.0.1:{closed}/0",
        ROOMRING_PORT=str(port_for_up()),
    )
    assert_one_line(done, 1, f"127.0.0.1:{closed}")


def test_an_edge_whose_port_is_taken(taken_port: int) -> None:
    done = roomring("edge", ROOMRING_DEV="1", ROOMRING_PORT=str(taken_port))
    assert_one_line(done, 1, f"port {taken_port} (public listener) is taken", "set ROOMRING_PORT")


def test_an_edge_of_several_processes_whose_second_internal_port_is_taken(taken_port: int) -> None:
    environ = {"ROOMRING_DEV": "1", "ROOMRING_INTERNAL_PORT": str(taken_port - 1), "ROOMRING_INTERNAL_HOST": "0.0.0.0"}
    done = roomring("edge", "--processes", "2", "--port", str(free_ports(1)[0]), **environ)
    assert_one_line(done, 1, f"{taken_port} (internal listener)", "set ROOMRING_INTERNAL_PORT")


def test_up_has_no_ports_for_several_processes_of_an_edge(tmp_path: Path) -> None:
    done = roomring("up", "--data", str(tmp_path), ROOMRING_PROCESSES="2")
    assert_one_line(done, 1, "unset ROOMRING_PROCESSES")


def test_up_when_a_port_is_taken(taken_port: int, tmp_path: Path) -> None:
    done = roomring("up", "--data", str(tmp_path), ROOMRING_PORT=str(taken_port))
    assert_one_line(done, 1, f"{taken_port} (edge-1)", "set ROOMRING_PORT")


# --- tokens ---------------------------------------------------------------------------------------------


def decoded(token: str, key: str | bytes, algorithm: str) -> dict[str, object]:
    claims: dict[str, object] = jwt.decode(token, key, algorithms=[algorithm], audience="roomring", issuer="roomring")
    return claims


def test_token_of_development_mode() -> None:
    done = roomring(
        "token", "--dev", "--user", "alice", "--room", "plaza", "--name", "Alice", "--role", "mod", "--ttl", "60"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    claims = decoded(done.stdout.strip(), DEV_TOKEN_SECRET, "HS256")
    assert (claims["sub"], claims["room"], claims["name"], claims["roles"]) == ("alice", "plaza", "Alice", ["mod"])
    assert claims["device"] == "desktop"
    assert isinstance(claims["exp"], int)
    assert isinstance(claims["iat"], int)
    assert claims["exp"] - claims["iat"] == 60


def test_token_with_the_secret_of_the_settings_and_several_rooms() -> None:
    secret = "x" * 40
    done = roomring("token", "--user", "bob", "--room", "a", "--room", "lobby:*", ROOMRING_TOKEN_SECRET=secret)
    assert decoded(done.stdout.strip(), secret, "HS256")["rooms"] == ["a", "lobby:*"]


@pytest.mark.parametrize("algorithm", ["RS256", "EdDSA"])
def test_token_with_a_private_key(algorithm: str, tmp_path: Path) -> None:
    key = generate_private_key(65537, 2048) if algorithm == "RS256" else Ed25519PrivateKey.generate()
    path = tmp_path / "key.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    done = roomring("token", "--user", "u", "--room", "r", "--private-key-file", str(path))
    assert done.returncode == 0, done.stderr
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert decoded(done.stdout.strip(), public, algorithm)["sub"] == "u"


def test_token_that_cannot_be_signed(tmp_path: Path) -> None:
    base = ("token", "--user", "u", "--room", "r")
    assert_one_line(roomring(*base), 2, "ROOMRING_TOKEN_SECRET")
    assert_one_line(roomring(*base, "--secret", "short"), 2, "--secret has 5 characters")
    assert_one_line(roomring(*base, "--private-key-file", str(tmp_path / "none.pem")), 2, "No such file")
    (tmp_path / "bad.pem").write_text("nonsense")
    assert_one_line(roomring(*base, "--private-key-file", str(tmp_path / "bad.pem")), 2, "no PEM private key")


# --- doctor ---------------------------------------------------------------------------------------------


def test_doctor_on_a_server_without_a_cluster(embedded_redis: EmbeddedRedis, tmp_path: Path) -> None:
    done = roomring("doctor", cwd=tmp_path, ROOMRING_DEV="1", ROOMRING_REDIS_URL=embedded_redis.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\nok    redis " in done.stdout
    assert "there is no cluster in namespace 'rr' yet" in done.stdout
    assert "\x1b" not in done.stdout


def test_doctor_looks_at_all_servers_of_a_redis_cluster(redis_cluster: ClusterGroup, tmp_path: Path) -> None:
    settings = {"ROOMRING_DEV": "1", "ROOMRING_REDIS_URL": redis_cluster.url}
    done = roomring("doctor", "--json", cwd=tmp_path, ROOMRING_PARTITIONS="3", **settings)
    assert (done.returncode, done.stderr) == (0, "")
    findings = json.loads(done.stdout)["findings"]
    servers = [finding["found"] for finding in findings if finding["check"] == "redis"]
    assert len(servers) == 3
    for server in redis_cluster.servers:
        assert any(f"127.0.0.1:{server.port}/" in found for found in servers)
    sharing = {finding["check"]: finding for finding in findings}
    assert sharing["partitions"]["found"] == "3 on 3 of 3 primaries, at most 1 on one"
    assert sharing["replicas"]["state"] == "warn"
    alone = json.loads(roomring("doctor", "--json", cwd=tmp_path, **settings).stdout)["findings"]
    assert "more ROOMRING_PARTITIONS" in {finding["check"]: finding for finding in alone}["partitions"]["remedy"]


def test_doctor_without_redis(tmp_path: Path) -> None:
    url = f"redis://127.0.0.1:{free_ports(1)[0]}/0"
    done = roomring("doctor", "--json", cwd=tmp_path, ROOMRING_DEV="1", ROOMRING_REDIS_URL=url)
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert report["ok"] is False
    assert [finding["check"] for finding in report["findings"] if finding["state"] == "FAIL"] == ["redis"]


# --- up -------------------------------------------------------------------------------------------------


def test_up_from_start_to_stop(tmp_path: Path) -> None:
    port = port_for_up()
    data = tmp_path / "data"
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy.cli", "up", "--edges", "1", "--workers", "1", "--data", str(data)],
        cwd=tmp_path,
        env=environment(ROOMRING_PORT=str(port)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        shown = ""
        while "Ctrl-C stops all of it" not in shown:
            line = process.stdout.readline()
            assert line, process.communicate()
            shown += line
        assert f"http://localhost:{port}/" in shown
        assert "dev-admin" in shown

        described = json.loads((data / "cluster.json").read_text())
        pids = [described["redis"]["pid"], *(item["pid"] for item in described["edges"] + described["workers"])]
        assert described["pid"] == process.pid
        for pid in pids:
            os.kill(pid, 0)

        assert_one_line(roomring("up", "--data", str(data)), 1, "already runs", str(process.pid))

        # From another folder, the doctor finds the cluster by its data folder.
        checked = roomring("doctor", "--json", "--data", str(data), cwd=tmp_path)
        findings = {finding["check"]: finding for finding in json.loads(checked.stdout)["findings"]}
        assert checked.returncode == 0, checked.stdout
        assert findings["owners"]["state"] == "ok"
        assert findings["cluster shape"]["found"] == "64 shards, 1 partitions"

        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, errors) == (0, "")
    assert rest.endswith("stopped\n")
    assert not (data / "cluster.json").exists()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert all(json.loads(line) for line in (data / "logs" / "edge-1.log").read_text().splitlines())
