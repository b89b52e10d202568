"""A TCP proxy that breaks connections on demand. `python -m loadtest.chaos.proxy PORT:TARGET ...` runs it on 127.0.0.1.

It prints a line once it listens on all of its ports, then takes one JSON command a line on standard input, carries it
out on all of them, and answers each with a line. It ends with its standard input. Bytes of a direction keep their
order whatever is done to it; what is under way when a connection is cut is lost, as in a network.
"""

import asyncio
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal, cast

import uvloop
from msgspec import Struct, json

PROC: Final = Path("/proc")
Direction = Literal["requests", "replies"]


class Command(Struct, frozen=True):
    """What the proxy is asked to do.

    `cut` ends connections now. `shape` holds for present and future connections until the next `shape`: bytes come
    `delay_ms` later, and those of a stalled direction not at all. One with the defaults heals all.
    """

    do: Literal["cut", "shape"]
    pid: int = 0
    """Only connections of this process; 0: all."""
    delay_ms: float = 0.0
    stall: Direction | None = None

    def concerns(self, pid: int) -> bool:
        """Whether it is about the connections of a process."""
        return self.pid in (0, pid)


class _Half(asyncio.Protocol):
    """One direction of a connection: takes bytes from its own side and gives them to the other."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: _Half | None = None
        self.delay_s = 0.0
        self.is_stalled = False
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # That of uvloop is no subclass.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        if not self._waiting and not self.is_stalled and not self.delay_s and self._target() is not None:
            self._give(data)
            return
        self._waiting.append((loop.time() + self.delay_s, data))
        self.release()

    @property
    def holds(self) -> bool:
        """Whether it keeps bytes back."""
        return bool(self._waiting)

    def release(self) -> None:
        """Give on what is due, and come back for the rest."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.is_stalled or self._target() is None:
            return
        loop = asyncio.get_running_loop()
        while self._waiting:
            due_s, data = self._waiting[0]
            if due_s > loop.time():
                self._timer = loop.call_at(due_s, self.release)
                return
            self._waiting.popleft()
            self._give(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def _target(self) -> asyncio.Transport | None:
        return self.other.transport if self.other is not None else None

    def _give(self, data: bytes) -> None:
        target = self._target()
        if target is not None and not target.is_closing():
            target.write(data)


class _Client(_Half):
    """The side of who connected. Its bytes are requests."""

    def __init__(self, proxy: "FaultProxy") -> None:
        super().__init__()
        self._proxy = proxy
        self._connecting: asyncio.Task[None] | None = None
        self.peer_port = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.peer_port = transport.get_extra_info("peername")[1]
        self._connecting = asyncio.create_task(self._connect())
        self._proxy.clients.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._proxy.clients.discard(self)

    def shape(self, command: Command) -> None:
        """Take on what a command says of both directions."""
        for half, direction in ((self, "requests"), (self.other, "replies")):
            if half is not None:
                half.delay_s = command.delay_ms / 1000
                half.is_stalled = command.stall == direction
                half.release()

    async def _connect(self) -> None:
        assert self.transport is not None
        try:
            _, self.other = await asyncio.get_running_loop().create_connection(_Half, *self._proxy.target)
        except OSError:
            self.transport.abort()
            return
        self.other.other = self
        if self.transport.is_closing():
            assert self.other.transport is not None
            self.other.transport.close()
            return
        self._proxy.admit(self)
        self.release()


class FaultProxy:
    """Listens on a port of 127.0.0.1 and passes all on to `target`, except for what it was told to break."""

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self.clients: set[_Client] = set()
        self._shape = Command("shape")
        self._server: asyncio.Server | None = None

    async def start(self, port: int = 0) -> int:
        """Listen, on a free port where none is given, and return the port."""
        self._server = await asyncio.get_running_loop().create_server(lambda: _Client(self), "127.0.0.1", port)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop, and cut all."""
        assert self._server is not None
        self._server.close()
        self.cut(Command("cut"))
        await self._server.wait_closed()

    def do(self, command: Command) -> int:
        """Carry out a command. Returns how many connections it concerned."""
        if command.do == "cut":
            return self.cut(command)
        healed = Command("shape")
        self._shape = command
        number = 0
        for client, concerned in self._sorted(command):
            client.shape(command if concerned else healed)
            number += concerned
        return number

    def cut(self, command: Command) -> int:
        """End connections without a word, with what is under way on them."""
        doomed = [client for client, concerned in self._sorted(command) if concerned]
        for client in doomed:
            for half in (client, client.other):
                if half is not None and half.transport is not None:
                    half.transport.abort()
        return len(doomed)

    def admit(self, client: _Client) -> None:
        """Let a new connection be as the present shape says."""
        if not self._shape.pid or client.peer_port in ports_of(self._shape.pid):
            client.shape(self._shape)

    def _sorted(self, command: Command) -> list[tuple[_Client, bool]]:
        ports = ports_of(command.pid) if command.pid else set()
        return [(client, not command.pid or client.peer_port in ports) for client in list(self.clients)]


def ports_of(pid: int, proc: Path = PROC) -> set[int]:
    """Return the local TCP ports of a process. Source: proc_pid_fd(5), proc_pid_net(5)."""
    sockets = set(_sockets_of(proc / str(pid) / "fd"))
    ports = set()
    for line in (proc / "net" / "tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[9] in sockets:
            ports.add(int(fields[1].partition(":")[2], 16))
    return ports


def _sockets_of(folder: Path) -> Iterator[str]:
    try:
        files = list(folder.iterdir())
    except OSError:
        return
    for file in files:
        try:
            name = str(file.readlink())
        except OSError:
            continue
        if name.startswith("socket:["):
            yield name[len("socket:[") : -1]


async def _serve(pairs: Sequence[str]) -> None:
    proxies = []
    for pair in pairs:
        port, _, target = pair.partition(":")
        proxies.append(FaultProxy("127.0.0.1", int(target)))
        await proxies[-1].start(int(port))
    sys.stdout.write(f"{len(proxies)}\n")
    sys.stdout.flush()
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        command = json.decode(line, type=Command)
        sys.stdout.write(f"{sum(proxy.do(command) for proxy in proxies)}\n")
        sys.stdout.flush()
    for proxy in proxies:
        await proxy.close()


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1:]))
