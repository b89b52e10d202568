"""The Valkey of a chaos run with the proxy before it: both as child processes, which can be made to fail."""

import asyncio
import contextlib
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from msgspec import json
from redis.asyncio import Redis

from deploy.embedded_redis import EmbeddedRedis
from loadtest.chaos.proxy import Command

_ROOT: Final = Path(__file__).parents[2]
_Result = TypeVar("_Result")


class Store:
    """A Valkey with an append-only file, and its proxy.

    The file is synced before each answer: what chaos looks for are our losses, not those of `everysec`.
    """

    def __init__(self, folder: Path) -> None:
        # A server ends with the thread that started it.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._server = EmbeddedRedis(folder / "valkey", durable=True)
        self._proxy: asyncio.subprocess.Process | None = None
        self._proxy_port = 0
        self._turn = asyncio.Lock()

    @property
    def url(self) -> str:
        """URL of the proxy, for the cluster."""
        return f"redis://127.0.0.1:{self._proxy_port}/0"

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of both, while they run."""
        pids = {"valkey": self._server.pid, "proxy": self._proxy.pid if self._proxy else None}
        return {name: pid for name, pid in pids.items() if pid}

    async def start(self) -> None:
        """Start both."""
        await self._start_server()
        self._proxy = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "loadtest.chaos.proxy",
            "127.0.0.1",
            str(self._server.port),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=_ROOT,
        )
        self._proxy_port = await self._answer()

    async def close(self) -> None:
        """End both."""
        if self._proxy is not None:
            assert self._proxy.stdin is not None
            self._proxy.stdin.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(3):
                    await self._proxy.wait()
            if self._proxy.returncode is None:
                self._proxy.kill()
                await self._proxy.wait()
        await self._in_thread(self._server.stop)
        self._thread.shutdown()

    async def restart(self, *, crash: bool, pause_s: float) -> None:
        """End the server, by SIGKILL or by SIGTERM, and start it again after a pause."""
        await self._in_thread(self._server.kill if crash else self._server.stop)
        await asyncio.sleep(pause_s)
        await self._start_server()

    async def tell_proxy(self, command: Command) -> int:
        """Have a command carried out. Returns how many connections it concerned."""
        assert self._proxy is not None
        assert self._proxy.stdin is not None
        async with self._turn:
            self._proxy.stdin.write(json.encode(command) + b"\n")
            return await self._answer()

    async def command(self, *words: str | int) -> object:
        """Run a command on the server."""
        # Past the proxy: faults must not hit who makes them. Anew each time: the server may have been another since.
        async with Redis.from_url(self._server.url) as redis:
            return await redis.execute_command(*words)  # type: ignore[no-untyped-call]

    async def _start_server(self) -> None:
        await self._in_thread(self._server.start)
        async with Redis.from_url(self._server.url) as redis:
            await redis.config_set("appendfsync", "always")

    async def _answer(self) -> int:
        assert self._proxy is not None
        assert self._proxy.stdout is not None
        line = await self._proxy.stdout.readline()
        if not line:
            raise RuntimeError("the fault proxy ended")
        return int(line)

    async def _in_thread(self, call: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)
