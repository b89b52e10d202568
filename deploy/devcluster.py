"""A whole cluster on this machine: Valkey, PostgreSQL, workers, edges and jobs as child processes of this one.

Used by `roomring up`, by load tests and by the integration tests. One thread, the supervisor, starts the
children, reads what they print, and starts again those that die; it lives as long as they do, since a child
dies with the thread that started it. The public calls are synchronous and wait for it.

Invariant: after `stop`, and also when this process is killed, no child is left.
"""

import asyncio
import contextlib
import fcntl
import http.client
import json
import os
import selectors
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Protocol, Self

from common.bus import ClusterShape
from common.bus_redis import RedisBus
from common.durable_postgres import PostgresStore
from common.errors import RoomringError, SchemaMismatch
from common.postgres_link import without_password
from common.settings import DEV_ADMIN_KEY, CommonSettings, load
from deploy.child import BoundedLog, Child, describe_exit
from deploy.ports import PortUse, check_ports, free_ports

if TYPE_CHECKING:
    from deploy.embedded_postgres import EmbeddedPostgres
    from deploy.embedded_redis import EmbeddedRedis

INTERNAL_PORT_OFFSET: Final = 1000
WORKER_PORT_OFFSET: Final = 1100
STORE_NAME: Final = "valkey"
DATABASE_NAME: Final = "postgres"
JOBS_NAME: Final = "jobs"

_ROOT: Final = Path(__file__).parent.parent
"""Where the packages lie, so that children find them also when they are not installed."""
_COMPLAINT: Final = b"roomring: "
_TICK_S: Final = 0.1
_DRAIN_MS_DEFAULT: Final = 500
"""Shorter than the default of an edge: on Ctrl-C nobody is left to reconnect to."""
_REFUSED_PAUSE_S: Final = 1.0
_STORE_RETRY_S: Final = 2.0
_WORKER_STOP_S: Final = 5.0
_EDGE_STOP_S: Final = 5.0
"""Beyond the drain window."""


class StartFailed(RoomringError):
    """The cluster did not come up. The text is one line; what was started is stopped again."""


class AlreadyRunning(RoomringError):
    """Another cluster uses the folder."""


class Reporter(Protocol):
    """What a cluster tells while it runs. Called from the supervisor's thread."""

    def line(self, name: str, line: bytes) -> None:
        """Take one line that a child printed."""
        ...

    def notice(self, text: str) -> None:
        """Take one line about a child that died, or lives again."""
        ...


class Silent:
    """A reporter that says nothing; the log files have it all."""

    def line(self, name: str, line: bytes) -> None:
        """See `Reporter.line`."""

    def notice(self, text: str) -> None:
        """See `Reporter.notice`."""


@dataclass(frozen=True)
class EdgeProcess:
    """An edge as its users see it; `pid` is None while it is down."""

    name: str
    pid: int | None
    port: int
    internal_port: int
    url: str
    ws_url: str
    internal_url: str


@dataclass(frozen=True)
class WorkerProcess:
    """A room worker as its users see it; `pid` is None while it is down."""

    name: str
    pid: int | None
    internal_port: int
    internal_url: str


class DevCluster:
    """A development cluster.

    Args:
        edges, workers: how many of each, 1 to 64.
        port: public port of the first edge; the others take the next ones, internal listeners are 1000
            above, workers' 1100 above. 0: free ones are chosen.
        data_dir: folder for the data of Valkey and PostgreSQL (durable), logs and `cluster.json`. None: a
            temporary one, without persistence, removed by `stop`.
        redis_url: use this Redis and start none.
        database: with a PostgreSQL. Without, nothing outlives Redis.
        database_url: use this PostgreSQL and start none. Either is brought to this release's version.
        jobs: with a job process, which keeps archives in the folder.
        environ: settings (`ROOMRING_...`) for the children. Those of this process are not passed on.
        restart: start again what dies.
        command: what the children run, before their role; for tests.

    `start`, `stop`, `kill` and the properties may be called from any thread.
    """

    def __init__(
        self,
        *,
        edges: int = 2,
        workers: int = 2,
        port: int = 0,
        data_dir: Path | None = None,
        redis_url: str | None = None,
        database: bool = True,
        database_url: str | None = None,
        jobs: bool = False,
        environ: Mapping[str, str] | None = None,
        restart: bool = True,
        reporter: Reporter | None = None,
        command: tuple[str, ...] = (sys.executable, "-m", "deploy.cli"),
    ) -> None:
        if not 1 <= edges <= 64 or not 1 <= workers <= 64:
            raise StartFailed("a development cluster has 1 to 64 edges and 1 to 64 workers")
        self._counts = (edges, workers)
        self._first_port = port
        self._data_dir = data_dir
        self._given_redis_url = redis_url
        self._with_database = database
        self._given_database_url = database_url
        self._with_jobs = jobs and database
        self._environ = dict(environ or {})
        self._restart = restart
        self._reporter: Reporter = reporter or Silent()
        self._command = command
        listens_on = self._environ.get("ROOMRING_HOST", "")
        self._host = "127.0.0.1" if listens_on in ("", "0.0.0.0", "::") else listens_on  # noqa: S104

        self._lock = threading.RLock()
        self._folder = Path()
        self._lock_file: IO[str] | None = None
        self._store: EmbeddedRedis | None = None
        self._database: EmbeddedPostgres | None = None
        self._retry_s: dict[str, float] = {}
        self._edges: list[tuple[Child, int, int]] = []
        self._workers: list[tuple[Child, int]] = []
        self._jobs: list[Child] = []
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = -1, -1
        self._requests: list[tuple[Callable[[], None], threading.Event]] = []
        self._supervisor: threading.Thread | None = None
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._ready = False
        self._stopping = False
        self._finished = False

    # --- what it is -------------------------------------------------------------------------------------

    @property
    def edges(self) -> list[EdgeProcess]:
        """The edges, in order."""
        host = self._host
        return [
            EdgeProcess(
                name=child.name,
                pid=child.pid,
                port=port,
                internal_port=internal,
                url=f"http://{host}:{port}",
                ws_url=f"ws://{host}:{port}/ws",
                internal_url=f"http://{host}:{internal}",
            )
            for child, port, internal in self._edges
        ]

    @property
    def workers(self) -> list[WorkerProcess]:
        """The room workers, in order."""
        return [
            WorkerProcess(child.name, child.pid, internal, f"http://127.0.0.1:{internal}")
            for child, internal in self._workers
        ]

    @property
    def redis_url(self) -> str:
        """URL of the Redis or Valkey that carries the cluster."""
        if self._given_redis_url:
            return self._given_redis_url
        assert self._store is not None, "the cluster was not started"
        return self._store.url

    @property
    def redis_pid(self) -> int | None:
        """Process id of the embedded Valkey; None where another Redis is used, or while it is down."""
        return None if self._store is None else self._store.pid

    @property
    def database_url(self) -> str:
        """URL of the database, with its password; empty where the cluster has none."""
        if not self._with_database:
            return ""
        if self._given_database_url:
            return self._given_database_url
        assert self._database is not None, "the cluster was not started"
        return self._database.url

    @property
    def database_pid(self) -> int | None:
        """Process id of the embedded PostgreSQL; None where another is used or none, or while it is down."""
        return None if self._database is None else self._database.pid

    @property
    def admin_key(self) -> str:
        """Key of the administration API."""
        return self._environ.get("ROOMRING_ADMIN_KEY") or DEV_ADMIN_KEY

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return self._folder

    @property
    def log_folder(self) -> Path:
        """Where the children's log files lie, `<name>.log`, JSON lines."""
        return self._folder / "logs"

    @property
    def archive_folder(self) -> Path:
        """Where its job process keeps archives."""
        return Path(self._environ.get("ROOMRING_ARCHIVE_DIR", "").strip() or self._folder / "archives")

    def pids(self) -> dict[str, int]:
        """Return the process ids of all that runs, by name; `valkey` and `postgres` too if they were started here."""
        named = {child.name: child.pid for child in self._children()}
        named |= {STORE_NAME: self.redis_pid, DATABASE_NAME: self.database_pid}
        return {name: pid for name, pid in named.items() if pid is not None}

    # --- what it does -----------------------------------------------------------------------------------

    def start(self, *, ready_s: float = 30.0, cancelled: threading.Event | None = None) -> None:
        """Start everything and wait until every edge can serve.

        Args:
            ready_s: seconds until it is given up.
            cancelled: set it to give up at once.

        Raises:
            PortTaken, AlreadyRunning: nothing was started.
            StartFailed: a child ended, or the time ran out; everything is stopped again.
        """
        deadline_s = time.monotonic() + ready_s
        try:
            self._prepare()
            self._supervisor = threading.Thread(target=self._supervise, name="devcluster", daemon=True)
            self._supervisor.start()
            self._started.wait()
            self._raise_failure()
            self._await_ready(deadline_s, cancelled)
            with self._lock:
                self._ready = True
            # Who died between the last look and now counts as a failed start too.
            self._raise_failure()
            # Only now: who waits for the cluster need not wait for what a job process has to load.
            for child in self._jobs:
                self._call(partial(self._start_child, child))
            self._write_description()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop edges and jobs, workers, Valkey, PostgreSQL in this order; who takes too long is killed. Idempotent."""
        with self._lock:
            self._stopping = True
        if self._supervisor is not None:
            drain_s = int(self._environ.get("ROOMRING_DRAIN_MS") or _DRAIN_MS_DEFAULT) / 1000
            self._stop_children([*(child for child, _, _ in self._edges), *self._jobs], drain_s + _EDGE_STOP_S)
            self._stop_children([child for child, _ in self._workers], _WORKER_STOP_S)
            with self._lock:
                self._finished = True
            self._wake()
            self._supervisor.join()
            self._supervisor = None
        for child in self._children():
            child.close()
        if self._store is not None:
            self._store.stop()
            self._store = None
        if self._database is not None:
            self._database.stop()
            self._database = None
        self._clean_up()

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to one process by its name (`edge-1`, `worker-2`, `valkey`, `postgres`): SIGKILL, ..."""
        pid = self.pids().get(name)
        if pid is None:
            raise StartFailed(f"there is no running {name!r} in this cluster")
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def kill_all(self) -> None:
        """Kill everything at once. `stop`, which may be running meanwhile, then ends soon."""
        with self._lock:
            self._stopping = True
        for pid in self.pids().values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def start_again(self, name: str) -> None:
        """Start a process that has ended, where `restart` is off. Waits until it can serve only for `valkey`.

        Raises:
            StartFailed: there is no such process, it runs, or it does not start.
        """
        if name == STORE_NAME and self._store is not None and not self._store.is_running:
            self._start_store_again(self._store)
            self._write_description()
            return
        child = next((child for child in self._children() if child.name == name), None)
        if child is None or child.pid is not None:
            raise StartFailed(f"there is no ended {name!r} in this cluster")
        self._call(lambda: self._start_child(child))
        self._write_description()

    def _start_store_again(self, store: "EmbeddedRedis") -> None:
        failures: list[RoomringError] = []

        def start() -> None:
            # The supervisor's thread must outlive a server that does not start.
            try:
                store.start()
            except RoomringError as error:
                failures.append(error)

        self._call(start)
        for error in failures:
            raise StartFailed(str(error)) from error

    def await_ready(self, ready_s: float = 30.0) -> None:
        """Wait until every edge can serve (again).

        Raises:
            StartFailed: the time ran out.
        """
        self._await_ready(time.monotonic() + ready_s, None)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # --- start and stop ---------------------------------------------------------------------------------

    def _prepare(self) -> None:
        edges, workers = self._counts
        if self._data_dir is None:
            self._folder = Path(tempfile.mkdtemp(prefix="roomring-"))
        else:
            self._folder = self._data_dir
            self._folder.mkdir(parents=True, exist_ok=True)
            self._take_folder()
        if self._first_port:
            ports = [self._first_port + number for number in range(edges)]
            internals = [port + INTERNAL_PORT_OFFSET for port in ports]
            health = [self._first_port + WORKER_PORT_OFFSET + number for number in range(workers)]
            self._check_ports(ports, internals, health)
        else:
            chosen = free_ports(2 * edges + workers)
            ports, internals, health = chosen[:edges], chosen[edges : 2 * edges], chosen[2 * edges :]
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        for number, (port, internal) in enumerate(zip(ports, internals, strict=True), 1):
            settings = {"ROOMRING_PORT": str(port), "ROOMRING_INTERNAL_PORT": str(internal)}
            self._edges.append((self._child(f"edge-{number}", "edge", settings), port, internal))
        for number, port in enumerate(health, 1):
            settings = {"ROOMRING_INTERNAL_PORT": str(port)}
            self._workers.append((self._child(f"worker-{number}", "worker", settings), port))
        if self._with_jobs:
            settings = {"ROOMRING_ARCHIVE_DIR": str(self.archive_folder)}
            self._jobs.append(self._child(JOBS_NAME, "jobs run", settings))

    def _check_ports(self, ports: list[int], internals: list[int], health: list[int]) -> None:
        host = self._environ.get("ROOMRING_HOST") or "0.0.0.0"  # noqa: S104 - the default of an edge
        inner = self._environ.get("ROOMRING_INTERNAL_HOST") or "127.0.0.1"
        remedy = f"set ROOMRING_PORT to another than {self._first_port}, for example {self._first_port + 10}"
        if max(*ports, *internals, *health) > 65_535:
            raise StartFailed(f"ROOMRING_PORT={self._first_port} leaves no room for the internal ports above it")
        if {*ports} & {*internals, *health} or {*internals} & {*health}:
            raise StartFailed("so many edges and workers do not fit into the ports; start fewer")
        check_ports(
            [
                *(PortUse(host, port, f"edge-{number}", remedy) for number, port in enumerate(ports, 1)),
                *(PortUse(inner, port, f"edge-{number} internal", remedy) for number, port in enumerate(internals, 1)),
                *(PortUse(inner, port, f"worker-{number}", remedy) for number, port in enumerate(health, 1)),
            ]
        )

    def _take_folder(self) -> None:
        # The lock, not the file, says that somebody is there: it ends with its holder however that dies.
        handle = (self._folder / "lock").open("a+")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            holder = handle.read().strip() or "unknown"
            handle.close()
            raise AlreadyRunning(
                f"a cluster already runs from {self._folder}/ (process {holder}); stop it there with Ctrl-C, "
                "or start this one with another --data folder and ROOMRING_PORT"
            ) from None
        handle.truncate(0)
        handle.write(f"{os.getpid()}\n")
        handle.flush()
        self._lock_file = handle

    def _child(self, name: str, role: str, settings: Mapping[str, str]) -> Child:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("ROOMRING_")}
        path = os.pathsep.join(part for part in (str(_ROOT), kept.get("PYTHONPATH", "")) if part)
        environ = {
            **kept,
            "ROOMRING_DRAIN_MS": str(_DRAIN_MS_DEFAULT),
            **self._environ,
            **settings,
            "ROOMRING_DEV": "1",
            "ROOMRING_LOG_FORMAT": "json",
            "PYTHONPATH": path,
            "PYTHONUNBUFFERED": "1",
        }
        log = BoundedLog(self.log_folder / f"{name}.log")
        return Child(name, role, [*self._command, *role.split()], environ, log)

    def _stop_children(self, children: list[Child], within_s: float) -> None:
        deadline_s = time.monotonic() + within_s
        for child in children:
            child.send(signal.SIGTERM)
        while any(child.pid is not None for child in children):
            if time.monotonic() > deadline_s:
                for child in children:
                    child.send(signal.SIGKILL)
            time.sleep(0.01)

    def _clean_up(self) -> None:
        self._selector.close()
        for descriptor in (self._wake_read, self._wake_write):
            if descriptor >= 0:
                os.close(descriptor)
        self._wake_read = self._wake_write = -1
        if self._data_dir is None:
            if self._folder != Path():
                shutil.rmtree(self._folder, ignore_errors=True)
        elif self._lock_file is not None:
            (self._folder / "cluster.json").unlink(missing_ok=True)
            self._lock_file.truncate(0)
            self._lock_file.close()
            self._lock_file = None

    def _await_ready(self, deadline_s: float, cancelled: threading.Event | None) -> None:
        reasons = {internal: "no answer" for _, _, internal in self._edges}
        waiting = [(child, port, internal) for child, port, internal in self._edges]
        while waiting:
            self._raise_failure()
            if cancelled is not None and cancelled.is_set():
                raise StartFailed("stopped before it was ready")
            if time.monotonic() > deadline_s:
                child, _, internal = waiting[0]
                raise StartFailed(
                    f"{child.name} is not ready: {reasons[internal]}; see {self.log_folder}/{child.name}.log"
                )
            time.sleep(0.03)
            still = []
            for child, port, internal in waiting:
                reason = _why_not_ready(self._host, port)
                if reason is not None:
                    reasons[internal] = reason
                    still.append((child, port, internal))
            waiting = still

    def _raise_failure(self) -> None:
        with self._lock:
            failure = self._failure
        if failure is not None:
            raise failure

    # --- the supervisor's thread ------------------------------------------------------------------------

    def _supervise(self) -> None:
        try:
            self._start_store()
            self._start_database()
            for child in self._children():
                if child not in self._jobs:
                    self._start_child(child)
        except BaseException as error:
            # `start` raises it, in the thread of the caller.
            self._failure = error
        self._started.set()
        while not self._finished:
            try:
                self._turn()
            except OSError as error:
                # No processes or files to be had, or a full disk. The children must not die of that.
                self._reporter.notice(f"the system refuses: {error}; trying again")
                time.sleep(_REFUSED_PAUSE_S)
        for child in self._children():
            if child.output is not None and not child.output.closed:
                self._read(child)

    def _turn(self) -> None:
        for key, _ in self._selector.select(_TICK_S):
            if key.data is None:
                self._take_requests()
            else:
                self._read(key.data)
        self._reap()

    def _start_store(self) -> None:
        if self._given_redis_url:
            # Edges and workers would wait for it; who started this sits before it.
            asyncio.run(_check_redis(self._given_redis_url))
            return
        from deploy.embedded_redis import EmbeddedRedis

        log_file = self.log_folder / f"{STORE_NAME}.log"
        log_file.unlink(missing_ok=True)
        store = EmbeddedRedis(
            self._folder / STORE_NAME, port=free_ports(1)[0], durable=self._data_dir is not None, log_file=log_file
        )
        store.start()
        self._store = store
        if store.replaces:
            asyncio.run(_vouch({**self._environ, "ROOMRING_REDIS_URL": store.url}, store.replaces))

    def _start_database(self) -> None:
        if not self._with_database:
            return
        if not self._given_database_url:
            from deploy.embedded_postgres import EmbeddedPostgres

            log_file = self.log_folder / f"{DATABASE_NAME}.log"
            log_file.unlink(missing_ok=True)
            database = EmbeddedPostgres(
                self._folder / DATABASE_NAME,
                port=free_ports(1)[0],
                durable=self._data_dir is not None,
                log_file=log_file,
            )
            database.start()
            self._database = database
        self._migrate()

    def _migrate(self) -> None:
        """Bring the database to this release's version: in development nobody should have to think of it."""
        if asyncio.run(_is_current(self.database_url)):
            return
        # Only now: what runs the steps takes a while to load.
        from deploy.migrate import upgrade

        if self._given_database_url:
            # It is not ours: who gave it must see what is done to it.
            self._reporter.notice(f"migrating your database up: {without_password(self.database_url)}")
        for step in asyncio.run(upgrade(self.database_url)):
            if self._given_database_url:
                self._reporter.notice(f"migrated up to {step.version}: {step.title}")

    def _start_child(self, child: Child) -> None:
        urls = {"ROOMRING_REDIS_URL": self.redis_url, "ROOMRING_DATABASE_URL": self.database_url}
        child.start(time.monotonic(), urls)
        self._selector.register(child.output, selectors.EVENT_READ, child)  # type: ignore[arg-type]

    def _read(self, child: Child) -> None:
        lines, ended = child.read()
        for line in lines:
            # What keeps the cluster from starting is told once, by StartFailed, not by every child.
            if self._ready or not line.startswith(_COMPLAINT):
                self._reporter.line(child.name, line)
        if ended:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(child.output)  # type: ignore[arg-type]
            child.close_output()

    def _reap(self) -> None:
        now_s = time.monotonic()
        for child in self._children():
            if child.restart_at_s is not None:
                if now_s >= child.restart_at_s and not self._stopping:
                    self._start_child(child)
                    self._reporter.notice(f"{child.name} runs again (process {child.pid})")
                    self._write_description()
            elif child.running and child.poll() is not None:
                self._ended(child, now_s)
        self._watch(STORE_NAME, self._store)
        self._watch(DATABASE_NAME, self._database)

    def _ended(self, child: Child, now_s: float) -> None:
        status = child.poll()
        assert status is not None
        child.running = False
        if child.output is not None and not child.output.closed:
            self._read(child)
        if self._stopping:
            return
        if not self._ready:
            if self._failure is None:
                self._failure = StartFailed(f"{child.name} {describe_exit(status)}: {_last_word(child)}")
            return
        if not self._restart:
            return
        delay_s = child.plan_restart(now_s)
        self._reporter.notice(f"{child.name} {describe_exit(status)}; starting it again in {delay_s:g} s")

    def _watch(self, name: str, server: "EmbeddedRedis | EmbeddedPostgres | None") -> None:
        """Start a server again that died."""
        now_s = time.monotonic()
        if server is None or self._stopping or not self._ready or now_s < self._retry_s.get(name, 0.0):
            return
        if server.is_running or not self._restart:
            return
        self._reporter.notice(f"{name} died; starting it again on the same port")
        try:
            server.start()
        except RoomringError as error:
            self._retry_s[name] = now_s + _STORE_RETRY_S
            self._reporter.notice(f"{name} does not start: {error}; trying again in {_STORE_RETRY_S:g} s")
            return
        self._reporter.notice(f"{name} runs again (process {server.pid})")
        self._write_description()

    def _take_requests(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake_read, 4096):
                pass
        with self._lock:
            requests, self._requests = self._requests, []
        for request, done in requests:
            request()
            done.set()

    def _call(self, request: Callable[[], None]) -> None:
        done = threading.Event()
        with self._lock:
            self._requests.append((request, done))
        self._wake()
        done.wait()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._wake_write, b"\0")

    def _children(self) -> list[Child]:
        # Workers first: an edge is ready only when every shard has an owner.
        return [*(child for child, _ in self._workers), *(child for child, _, _ in self._edges), *self._jobs]

    def _write_description(self) -> None:
        """Write `cluster.json`, whole or not at all."""
        text = json.dumps(
            {
                "pid": os.getpid(),
                "admin_key": self.admin_key,
                "redis": {"url": self.redis_url, "pid": self.redis_pid},
                "database": {"url": self.database_url, "pid": self.database_pid},
                "edges": [vars(edge) for edge in self.edges],
                "workers": [vars(worker) for worker in self.workers],
                "archives": str(self.archive_folder),
                "logs": str(self.log_folder),
            },
            indent=2,
        )
        part = self._folder / "cluster.json.part"
        # It holds the password of the database.
        part.touch(mode=0o600)
        part.write_text(text + "\n")
        part.replace(self._folder / "cluster.json")


async def _check_redis(url: str) -> None:
    bus = await RedisBus.connect(url, "roomring", ClusterShape(1, 1))
    await bus.close()


async def _vouch(environ: Mapping[str, str], run_id: str) -> None:
    """Let rooms keep their epoch: the server was stopped in order, and nobody but this cluster writes to it."""
    settings = load(CommonSettings, environ)
    bus = RedisBus(settings.redis_url, settings.namespace, ClusterShape(settings.shards, settings.partitions))
    try:
        await bus.vouch(run_id)
    finally:
        await bus.close()


async def _is_current(url: str) -> bool:
    try:
        store = await PostgresStore.connect(url)
    except SchemaMismatch:
        return False
    await store.close()
    return True


def _why_not_ready(host: str, port: int) -> str | None:
    """Ask an edge; None: it is ready."""
    connection = http.client.HTTPConnection(host, port, timeout=2.0)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        body = answer.read(2000).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return f"no answer ({error})"
    finally:
        connection.close()
    return None if answer.status == 200 else body or f"status {answer.status}"


def _last_word(child: Child) -> str:
    """What a child that failed said last, in one line."""
    complaint = _COMPLAINT.decode()
    for line in reversed(child.tail):
        if line.startswith(complaint):
            return line.removeprefix(complaint)
    return child.tail[-1] if child.tail else "it said nothing"
