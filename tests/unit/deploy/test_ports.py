"""A taken port is told before anything starts, in one line that says what to set."""

import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import deploy.ports
from common.errors import SettingsError
from deploy.ports import PortTaken, PortUse, check_ports, free_ports, is_free

HOST = "127.0.0.1"


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen(1)
        yield listener.getsockname()[1]


def test_a_port_with_a_listener_is_taken_on_all_addresses(taken: int) -> None:
    assert not is_free(HOST, taken)
    assert not is_free("0.0.0.0", taken)


def test_chosen_ports_are_free_and_different() -> None:
    ports = free_ports(10)
    assert len(set(ports)) == 10
    assert all(is_free(HOST, port) for port in ports)


def test_ports_beside_a_chosen_one_are_free_too(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    offered = iter([taken - 1, 10_001, 10_002, 10_003, 10_004])
    monkeypatch.setattr(random.SystemRandom, "randrange", lambda *_: next(offered))
    # Whatever else listens on this machine.
    monkeypatch.setattr(deploy.ports, "is_free", lambda host, port: port < 10_010 or is_free(host, port))
    # Beside the first there is a listener; 10,002 is beside 10,001.
    assert free_ports(2, beside=(1,)) == [10_001, 10_003]


def test_as_many_are_kept_as_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy.ports, "_FREE_FROM", 11_000)
    monkeypatch.setattr(deploy.ports, "_FREE_UPTO", 11_300)
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    ports = [free_ports(1)[0] for _ in range(400)]
    # More than there are: the first came back.
    assert len(set(ports)) > 256
    assert len(list(Path("/proc/self/fd").iterdir())) <= open_before + 256


def test_another_process_chooses_other_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens yet on what was chosen, so only those who choose can know of each other."""
    choose = (
        "import deploy.ports as ports, sys\n"
        "ports._FREE_FROM, ports._FREE_UPTO = 10_500, 10_540\n"
        "print(*ports.free_ports(int(sys.argv[1])), flush=True)\n"
        "sys.stdin.read()\n"
    )
    monkeypatch.setattr(deploy.ports, "_FREE_FROM", 10_500)
    monkeypatch.setattr(deploy.ports, "_FREE_UPTO", 10_540)
    command = [sys.executable, "-c", choose, "20"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        theirs = {int(port) for port in other.stdout.readline().split()}
        ours = set(free_ports(10))
        with pytest.raises(PortTaken):
            free_ports(20)
        other.communicate()
    assert len(theirs) == 20
    assert ours.isdisjoint(theirs)
    # What has ended holds nothing.
    assert theirs.intersection(free_ports(20))


def test_one_taken_port_is_one_line(taken: int) -> None:
    (free,) = free_ports(1)
    uses = [PortUse(HOST, free, "edge-1", "set A"), PortUse(HOST, taken, "edge-2", "set A")]
    with pytest.raises(PortTaken, match=rf"^port {taken} \(edge-2\) is taken; free it, or set A$"):
        check_ports(uses)


def test_several_taken_ports_are_one_line(taken: int) -> None:
    uses = [PortUse(HOST, taken, "x", "set A"), PortUse(HOST, taken, "y", "set B")]
    with pytest.raises(PortTaken, match=r"^ports .* are taken; free them, or set A and set B$"):
        check_ports(uses)


def test_free_ports_pass() -> None:
    check_ports([PortUse(HOST, port, "x", "set A") for port in free_ports(2)])


@pytest.mark.parametrize("host", ["203.0.113.7", "no such host"])
def test_an_address_of_another_host_is_a_wrong_setting(host: str) -> None:
    with pytest.raises(SettingsError):
        is_free(host, 8080)
