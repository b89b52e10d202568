"""A generator in a process of its own, for more load than one core can make. It has the calls of `Generator`.

The parent talks to the child over a pipe: the child says that it joined (or why not), is told when to start, tells its
progress, and sends its result. All processes read one monotonic clock, so a latency may be measured across them.
"""

import asyncio
import multiprocessing
import signal
from multiprocessing.connection import Connection
from typing import Final

import uvloop

from loadtest.dialect import JoinError
from loadtest.generator import Generator, GeneratorResult
from loadtest.histogram import Histogram
from loadtest.plan import Plan

_PROGRESS_S: Final = 0.5
_END_TIMEOUT_S: Final = 5.0


class GeneratorProcess:
    """Stands for a `Generator` in another process; see there for the calls."""

    def __init__(self, plan: Plan) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, child = context.Pipe()
        self._process = context.Process(target=_main, args=(plan, child), daemon=True)
        self._process.start()
        child.close()
        self._result = GeneratorResult()
        self.sent = 0
        self.received = 0
        self.open_sockets = 0
        self.latency = Histogram()

    async def join(self) -> None:
        """Wait until the child's members are in their rooms."""
        failure = await self._receive()
        if failure is not None:
            raise JoinError(str(failure))

    async def run(self, start_s: float) -> None:
        """Start the child, and wait for its result."""
        self._pipe.send(start_s)
        while True:
            match await self._receive():
                case GeneratorResult() as result:
                    self._result = result
                    return
                case (int(sent), int(received), int(open_sockets)):
                    self.sent, self.received, self.open_sockets = sent, received, open_sockets
                case other:
                    raise AssertionError(f"the child sent {other!r}")

    def stop(self) -> None:
        """Tell the child to send nothing more."""
        self._pipe.send(None)

    def result(self) -> GeneratorResult:
        """Return what the child saw."""
        return self._result

    async def close(self) -> None:
        """Wait for the child to end; end it when it does not."""
        self._pipe.close()
        await asyncio.to_thread(self._process.join, _END_TIMEOUT_S)
        self._process.terminate()

    async def _receive(self) -> object:
        try:
            return await asyncio.to_thread(self._pipe.recv)
        except (EOFError, OSError) as error:
            raise JoinError("a generator process ended before its work was done") from error


def _main(plan: Plan, pipe: Connection) -> None:
    # Ctrl-C reaches the whole process group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    uvloop.run(_serve(plan, pipe))


async def _serve(plan: Plan, pipe: Connection) -> None:
    generator = Generator(plan)
    progress: asyncio.Task[None] | None = None
    loop = asyncio.get_running_loop()
    try:
        try:
            await generator.join()
        except JoinError as error:
            pipe.send(str(error))
            return
        pipe.send(None)
        start_s = await asyncio.to_thread(pipe.recv)
        if start_s is None:
            return

        def on_told() -> None:
            # Anything that comes now, also the end of the parent, means stop.
            loop.remove_reader(pipe.fileno())
            generator.stop()

        loop.add_reader(pipe.fileno(), on_told)
        progress = asyncio.create_task(_tell_progress(generator, pipe))
        await generator.run(start_s)
        progress.cancel()
        pipe.send(generator.result())
    except (EOFError, OSError):
        # The parent is gone; there is nobody to tell.
        return
    finally:
        if progress is not None:
            progress.cancel()
        await generator.close()


async def _tell_progress(generator: Generator, pipe: Connection) -> None:
    while True:
        await asyncio.sleep(_PROGRESS_S)
        pipe.send((generator.sent, generator.received, generator.open_sockets))
