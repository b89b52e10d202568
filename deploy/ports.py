"""Which ports are free, told before anything is started, in one line that says what to set."""

import errno
import random
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from common.errors import RoomringError, SettingsError

_FREE_FROM: Final = 20_000
_FREE_UPTO: Final = 32_000
"""Below the ports that Linux gives to outgoing connections (32768 and up): such a connection could take a port
between the look and the use of it."""
_TRIES_MAX: Final = 2_000


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


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Choose ports that nobody listens on now, all different.

    Raises:
        PortTaken: hardly any port is free.
    """
    chooser = random.SystemRandom()
    found: list[int] = []
    for _ in range(_TRIES_MAX):
        if len(found) == count:
            return found
        port = chooser.randrange(_FREE_FROM, _FREE_UPTO)
        if port not in found and is_free(host, port):
            found.append(port)
    raise PortTaken(f"found no {count} free ports between {_FREE_FROM} and {_FREE_UPTO}")
