"""The Redis of a chaos run, in one of its forms: child processes, each behind a proxy, that can be made to fail."""

import asyncio
import contextlib
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from msgspec import json

from common.ids import Partition
from deploy.embedded_redis import EmbeddedRedis
from deploy.ports import free_ports
from loadtest.chaos.plan import StoreKind
from loadtest.chaos.proxy import Command
from loadtest.redis_groups import ClusterGroup, OneServer, RedisGroup, SentinelGroup, command, replica_of

_ROOT: Final = Path(__file__).parents[2]
_Result = TypeVar("_Result")


class Store:
    """Servers with append-only files, and the proxies by whose ports all others reach them.

    The files are synced before each answer: what chaos looks for are our losses, not those of `everysec`.
    """

    def __init__(self, folder: Path, kind: StoreKind) -> None:
        # A server ends with the thread that started it.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._kind = kind
        self._ports: dict[int, int] = {}
        """The proxy's port for each server's."""
        self._group = self._make(folder / kind)
        for server in self._group.servers:
            server.options["appendfsync"] = "always"
        self._proxy: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    @property
    def url(self) -> str:
        """URL of the store as the cluster is to see it: by way of the proxies."""
        return self._group.url

    async def start(self) -> None:
        """Start all."""
        self._proxy = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "loadtest.chaos.proxy",
            *(f"{port}:{target}" for target, port in self._ports.items()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=_ROOT,
        )
        await self._answer()
        await self._in_thread(self._group.start)

    async def close(self) -> None:
        """End all."""
        if self._proxy is not None:
            assert self._proxy.stdin is not None
            self._proxy.stdin.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(3):
                    await self._proxy.wait()
            if self._proxy.returncode is None:
                self._proxy.kill()
                await self._proxy.wait()
        await self._in_thread(self._group.stop)
        self._thread.shutdown()

    async def restart(self, *, crash: bool, pause_s: float) -> None:
        """End the server, by SIGKILL or by SIGTERM, and start it again after a pause."""
        (server,) = self._group.servers
        await self._in_thread(server.kill if crash else server.stop)
        await asyncio.sleep(pause_s)
        await self._in_thread(server.start)

    async def wait_until_safe(self) -> None:
        """Wait until every replica is sent what its primary writes."""
        await self._in_thread(self._group.wait_until_safe)

    async def replica_pid(self, partition: Partition) -> int:
        """Return the process of the replica that would take a partition."""

        def look() -> int | None:
            primary = self._group.primary(partition)
            return replica_of(self._group.servers, self._announce(primary.port)).pid

        return await self._in_thread(look) or 0

    async def kill_primary(self, partition: Partition) -> EmbeddedRedis:
        """End the server that has a partition, by SIGKILL."""
        server = await self._in_thread(lambda: self._group.primary(partition))
        await self._in_thread(server.kill)
        return server

    async def bring_back(self, server: EmbeddedRedis, partition: Partition) -> None:
        """Start a server that was the primary of a partition, when another has become it."""
        await self._in_thread(lambda: self._group.primary(partition))
        await self._in_thread(server.start)

    async def tell_proxy(self, command: Command) -> int:
        """Have a command carried out. Returns how many connections it concerned."""
        assert self._proxy is not None
        assert self._proxy.stdin is not None
        async with self._turn:
            self._proxy.stdin.write(json.encode(command) + b"\n")
            return await self._answer()

    async def command(self, *words: str | int) -> None:
        """Run a command on every primary, past the proxies: faults must not hit who makes them."""

        def run() -> None:
            for number in range(self._kind.partitions):
                command(self._group.primary(Partition(number)), *words)

        await self._in_thread(run)

    def _make(self, folder: Path) -> RedisGroup:
        match self._kind:
            case StoreKind.VALKEY | StoreKind.REDIS:
                binary = "redis-server" if self._kind is StoreKind.REDIS else None
                (port,) = free_ports(1)
                return OneServer(EmbeddedRedis(folder, port=port, durable=True, binary=binary), self._announce)
            case StoreKind.SENTINEL:
                return SentinelGroup(folder, durable=True, announce=self._announce)
            case StoreKind.CLUSTER:
                return ClusterGroup(folder, replicas=1, durable=True, announce=self._announce)

    def _announce(self, port: int) -> int:
        if port not in self._ports:
            (self._ports[port],) = free_ports(1)
        return self._ports[port]

    async def _answer(self) -> int:
        assert self._proxy is not None
        assert self._proxy.stdout is not None
        line = await self._proxy.stdout.readline()
        if not line:
            raise RuntimeError("the fault proxy ended")
        return int(line)

    async def _in_thread(self, call: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)
