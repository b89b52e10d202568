"""Which ports are free, told before anything is started, in one line that says what to set."""

import contextlib
import errno
import random
import socket
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from common.errors import RoomringError, SettingsError

_FREE_FROM: Final = 20_000
_FREE_UPTO: Final = 32_000
"""Below the ports that Linux gives to outgoing connections (32768 and up): such a connection could take a port
between the look and the use of it."""
_TRIES_MAX: Final = 2_000
_HELD_MAX: Final = 256
_held: Final = deque[socket.socket]()
"""What keeps the ports that this process chose last from being chosen by another one before somebody listens."""


class PortTaken(RoomringError):
    """Somebody listens on a port that is needed. The text is one line that says what to set."""


@dataclass(frozen=True)
class PortUse:
    """A port that is about to be listened on: by whom, and what to do if it is taken."""

    host: str
    port: int
    user: str
    remedy: str


def check_ports(uses: Sequence[PortUse]) -> None:
    """Check that nobody listens on these ports.

    Raises:
        PortTaken: naming every taken port, and what to set instead.
        SettingsError: an address is none of this host, or a port is not allowed to this user.
    """
    taken = [use for use in uses if not is_free(use.host, use.port)]
    if not taken:
        return
    listed = ", ".join(f"{use.port} ({use.user})" for use in taken)
    noun, verb, pronoun = ("port", "is", "it") if len(taken) == 1 else ("ports", "are", "them")
    remedies = " and ".join(dict.fromkeys(use.remedy for use in taken))
    raise PortTaken(f"{noun} {listed} {verb} taken; free {pronoun}, or {remedies}")


def is_free(host: str, port: int) -> bool:
    """Tell whether a listener could open this port now.

    Raises:
        SettingsError: see `check_ports`.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            # As asyncio does: connections of an earlier process that linger in TIME_WAIT do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            # Two sockets may be bound with that option, but only one may listen.
            probe.listen(1)
    except socket.gaierror as error:
        raise SettingsError(f"{host!r} is no address of this host: {error.strerror}") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        if error.errno == errno.EACCES:
            raise SettingsError(f"port {port} needs more rights than this user has; take one above 1023") from error
        raise SettingsError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return True


def free_ports(count: int, host: str = "127.0.0.1", beside: Sequence[int] = ()) -> list[int]:
    """Choose ports that nobody listens on now, all different.

    On Linux no other process that asks here gets one of them, as long as this process lives and chooses fewer than
    256 more.

    Args:
        count: how many.
        host: the address they are to be listened on.
        beside: distances from each chosen port at which the port shall be free too, and is kept from others likewise.

    Raises:
        PortTaken: hardly any port is free.
    """
    chooser = random.SystemRandom()
    found: list[int] = []
    taken: set[int] = set()
    for _ in range(_TRIES_MAX):
        if len(found) == count:
            return found
        port = chooser.randrange(_FREE_FROM, _FREE_UPTO)
        needed = {port, *(port + distance for distance in beside)}
        if taken.isdisjoint(needed) and all(is_free(host, each) for each in needed) and _hold(needed):
            taken |= needed
            found.append(port)
    raise PortTaken(f"found no {count} free ports between {_FREE_FROM} and {_FREE_UPTO}")


def _hold(ports: set[int]) -> bool:
    """Keep ports from other processes that choose; False where one has a port already.

    A name of an abstract Unix socket has one owner, is freed with the process that has it, and counts in the same
    network namespace as the ports do. Only Linux has them.
    """
    if sys.platform != "linux":
        return True
    with contextlib.ExitStack() as stack:
        holders = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in ports]
        try:
            for holder, port in zip(holders, ports, strict=True):
                holder.bind(f"\0roomring-port-{port}")
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
        stack.pop_all()
    for holder in holders:
        if len(_held) == _HELD_MAX:
            _held.popleft().close()
        _held.append(holder)
    return True
