"""The command `roomring`: parses and dispatches, and turns every mistake of a user into one line.

Each subcommand lives in a module of its own, imported only when it runs, so that `--help` is quick.
"""

import argparse
import errno
import os
import re
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Final, NoReturn

from common.arguments import count, moment
from common.errors import RoomringError, SettingsError
from loadtest.options import add_capacity, add_compare, add_list, add_run

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130

_COMMANDS: Final = {
    "up": ("deploy.up", "run"),
    "edge": ("deploy.serve", "run_edge"),
    "worker": ("deploy.serve", "run_worker"),
    "token": ("deploy.token", "run"),
    "doctor": ("deploy.doctor", "run"),
    "migrate": ("deploy.migrate", "run"),
    "drain": ("deploy.drain", "run"),
    "deadletter": ("deploy.dead_letters", "run"),
    "word-filter": ("deploy.word_filter", "run"),
    "jobs": ("deploy.jobs.commands", "run_jobs"),
    "archive": ("deploy.jobs.commands", "run_archive"),
    "erase": ("deploy.jobs.commands", "run_erase"),
    "loadtest": ("deploy.loadtest", "run"),
}
_ERRORS_OF_THE_HOST: Final = (
    errno.EADDRINUSE,
    errno.EADDRNOTAVAIL,
    errno.EACCES,
    errno.ENOSPC,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EEXIST,
)
"""What a user can mend; any other OSError is a bug and shows its traceback."""

_COMMON_ENVIRONMENT: Final = """\
  ROOMRING_REDIS_URL    Redis 7.0+ or Valkey 8+ (default redis://127.0.0.1:6379/0)
  ROOMRING_DATABASE_URL PostgreSQL 14+ that keeps chat for good (default: none)
  ROOMRING_NAMESPACE    prefix of all keys (default rr)
  ROOMRING_SHARDS       shards, fixed when the cluster is created (default 64)
  ROOMRING_LOG_FORMAT   json, console or auto (default auto: console on a terminal)
  ROOMRING_LOG_LEVEL    debug, info, warning or error (default info)
"""


class _Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        """Print the complaint and end with the status for a wrong call."""
        self.exit(EXIT_USAGE, f"roomring: {message}; see `{self.prog} --help`\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the arguments are those of the process where None is given.

    Returns: exit status. 0 done; 1 something outside failed (no Redis, a taken port); 2 the call or a setting
    is wrong; 130 interrupted.
    """
    from deploy.child import die_with_parent

    die_with_parent(os.environ)
    try:
        args, unknown = _parser().parse_known_args(argv)
        if unknown:
            place = f"roomring {args.command}" if args.command else "roomring"
            return _complain(f"unknown argument {unknown[0]!r}; see `{place} --help`", EXIT_USAGE)
        return _dispatch(args)
    except RoomringError as error:
        return _complain(error, EXIT_USAGE if isinstance(error, SettingsError) else EXIT_FAILED)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Who read our output has gone; keep the interpreter from complaining when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except OSError as error:
        if error.errno not in _ERRORS_OF_THE_HOST:
            raise
        return _complain(error, EXIT_FAILED)


def _dispatch(args: argparse.Namespace) -> int:
    if args.command is None:
        _parser().print_help(sys.stderr)
        return EXIT_USAGE
    module, function = _COMMANDS[args.command]
    run: Callable[[argparse.Namespace], int] = getattr(import_module(module), function)
    return run(args)


def _complain(error: object, status: int) -> int:
    text = " ".join(str(error).split()) or type(error).__name__
    print(f"roomring: {text}", file=sys.stderr)  # noqa: T201 - the command's own output
    return status


# --- the parsers ----------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="roomring",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=(
            "Roomring keeps people in shared rooms in step: edges hold their WebSockets, room workers own the\n"
            "rooms, and Redis or Valkey carries what passes between them. Begin with `roomring up`, which runs\n"
            "a whole cluster on this machine; `roomring COMMAND --help` tells about each command."
        ),
        epilog=(
            "All settings come from the environment (ROOMRING_...); docs/settings.md lists them.\n"
            "Exit status: 0 done, 1 something outside failed, 2 the call or a setting is wrong."
        ),
    )
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands", parser_class=_Parser)
    _add_up(commands)
    _add_edge(commands)
    _add_worker(commands)
    _add_token(commands)
    _add_doctor(commands)
    _add_migrate(commands)
    _add_drain(commands)
    _add_dead_letter(commands)
    _add_word_filter(commands)
    _add_jobs(commands)
    _add_archive(commands)
    _add_erase(commands)
    _add_loadtest(commands)
    return parser


class _Version(argparse.Action):
    """Print the version; reading it takes some time, so only when asked."""

    def __init__(self, option_strings: Sequence[str], **_: object) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help="print the version and end")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        import platform

        print(f"roomring {_version()} (Python {platform.python_version()})")  # noqa: T201 - the command's own output
        parser.exit(EXIT_OK)


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("roomring")
    except metadata.PackageNotFoundError:
        return "(not installed)"


_Commands = argparse._SubParsersAction


def _add(commands: "_Commands[_Parser]", name: str, short: str, text: str, epilog: str) -> _Parser:
    parser: _Parser = commands.add_parser(
        name,
        help=short,
        description=text,
        epilog=epilog,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def _add_up(commands: "_Commands[_Parser]") -> None:
    parser = _add(
        commands,
        "up",
        "run a whole cluster on this machine, for development",
        "Run a development cluster: a Valkey, a PostgreSQL, room workers and edges, with a demo page, guests\n"
        "and known secrets. What dies is started again. Ctrl-C stops all of it in order; a second Ctrl-C kills it.\n"
        "Edge i listens on ROOMRING_PORT + i, its internal listener 1000 above that, and worker i on\n"
        "ROOMRING_PORT + 1100 + i. `cluster.json` in the data folder tells scripts process ids and URLs.",
        "environment:\n"
        "  ROOMRING_PORT         public port of the first edge (default 8080)\n"
        "  ROOMRING_REDIS_URL    use this Redis or Valkey and start none\n"
        "  ROOMRING_DATABASE_URL use this PostgreSQL and start none; it is migrated up\n"
        "  ROOMRING_ADMIN_KEY    key of the administration API (default dev-admin)\n"
        "  every other ROOMRING_... setting goes to the edges and workers\n\n"
        "example:\n"
        "  ROOMRING_PORT=9000 roomring up --edges 3 --workers 3",
    )
    parser.add_argument("--edges", type=count, default=2, metavar="N", help="how many edges, 1 to 64 (default 2)")
    parser.add_argument("--workers", type=count, default=2, metavar="N", help="how many workers, 1 to 64 (default 2)")
    parser.add_argument(
        "--data", default=".roomring", metavar="DIR", help="folder for the data and the logs (default .roomring)"
    )
    parser.add_argument("--verbose", action="store_true", help="show all lines of the logs, not only warnings")


def _add_edge(commands: "_Commands[_Parser]") -> None:
    parser = _add(
        commands,
        "edge",
        "run one edge: WebSockets, tokens, fan-out",
        "Run one edge. It holds WebSocket connections, checks tokens and passes messages to and from the room\n"
        "workers over Redis; it keeps nothing, so start as many as you need behind a load balancer. SIGTERM\n"
        "asks clients to reconnect elsewhere, spread over ROOMRING_DRAIN_MS, and then ends.\n\n"
        "With --processes N, N edges share the public port, for a host with many cores. Each is a whole edge: it\n"
        "takes connections as the kernel deals them out, and has metrics and administration on a port of its own,\n"
        "the first one's on the internal port and the others' on the N - 1 ports after it. A parent starts them,\n"
        "starts again what dies, and passes SIGTERM on.",
        "environment:\n" + _COMMON_ENVIRONMENT + "  ROOMRING_TOKEN_SECRET or ROOMRING_TOKEN_PUBLIC_KEY_FILE\n"
        "                        what checks room tokens; one of them is needed\n"
        "  ROOMRING_ADMIN_KEY    key of the administration API (default: the API is off)\n"
        "  docs/settings.md lists the rest\n\n"
        "example:\n"
        "  ROOMRING_TOKEN_SECRET=... ROOMRING_REDIS_URL=redis://cache:6379/0 roomring edge --port 8080\n"
        "  roomring edge --port 8080 --processes 4       # internal ports 9080 to 9083",
    )
    parser.add_argument("--host", metavar="ADDRESS", help="address of the public listener (ROOMRING_HOST, 0.0.0.0)")
    parser.add_argument("--port", type=_port, metavar="N", help="port of the public listener (ROOMRING_PORT, 8080)")
    parser.add_argument(
        "--internal-port",
        type=_port,
        metavar="N",
        help="port of metrics and administration (ROOMRING_INTERNAL_PORT, port + 1000)",
    )
    parser.add_argument(
        "--processes", type=count, metavar="N", help="edges that share the port, 1 to 64 (ROOMRING_PROCESSES, 1)"
    )
    parser.add_argument("--dev", action="store_true", help="development mode: guests, known secrets (ROOMRING_DEV=1)")


def _add_worker(commands: "_Commands[_Parser]") -> None:
    parser = _add(
        commands,
        "worker",
        "run one room worker: owns a share of the rooms",
        "Run one room worker. Workers share the rooms among themselves; start at least two, so that one takes\n"
        "over within ROOMRING_NODE_TTL_MS when another dies. SIGTERM hands the rooms over first, which nobody\n"
        "notices, and then ends.",
        "environment:\n" + _COMMON_ENVIRONMENT + "  ROOMRING_RECONNECT_WINDOW_MS\n"
        "                        how long a member stays after the connection was lost (default 5000)\n"
        "  docs/settings.md lists the rest\n\n"
        "example:\n"
        "  ROOMRING_REDIS_URL=redis://cache:6379/0 roomring worker --internal-port 9180",
    )
    parser.add_argument(
        "--internal-port", type=_port, metavar="N", help="port of metrics and health (ROOMRING_INTERNAL_PORT, 0: none)"
    )
    parser.add_argument("--dev", action="store_true", help="development mode (ROOMRING_DEV=1)")


def _add_token(commands: "_Commands[_Parser]") -> None:
    parser = _add(
        commands,
        "token",
        "mint a room token",
        "Print a room token, and nothing else, on standard output. It is signed with the secret that the edges\n"
        "check with (HS256), or with a private key (RS256 for an RSA key, EdDSA for an Ed25519 key).",
        "environment:\n"
        "  ROOMRING_TOKEN_SECRET     the shared secret\n"
        "  ROOMRING_DEV=1            use the known secret of development mode, as --dev does\n"
        "  ROOMRING_TOKEN_ISSUER     `iss` (default roomring)\n"
        "  ROOMRING_TOKEN_AUDIENCE   `aud` (default roomring)\n"
        "  ROOMRING_TOKEN_TTL_MS     life of the token where --ttl is not given (default 300000)\n\n"
        "examples:\n"
        "  roomring token --dev --user alice --room plaza\n"
        "  roomring token --user bob --room 'lobby:*' --role moderator --ttl 3600 --private-key-file key.pem",
    )
    parser.add_argument("--user", required=True, metavar="ID", help="who it is for: `sub` (1 to 128 characters)")
    parser.add_argument(
        "--room",
        required=True,
        action="append",
        metavar="ID",
        help="which room it opens; repeat it for several; a `*` at the end matches a prefix",
    )
    parser.add_argument("--name", metavar="TEXT", help="display name that wins over what the client says")
    parser.add_argument("--avatar", metavar="ID", help="avatar that wins over what the client says")
    parser.add_argument(
        "--device", choices=("desktop", "mobile"), default="desktop", help="sets the movement rate (default desktop)"
    )
    parser.add_argument("--role", action="append", metavar="NAME", help="a role; repeat it for several")
    parser.add_argument("--ttl", type=count, metavar="SECONDS", help="life of the token in seconds (default 300)")
    parser.add_argument("--dev", action="store_true", help="sign with the known secret of development mode")
    keys = parser.add_mutually_exclusive_group()
    keys.add_argument(
        "--secret", metavar="TEXT", help="sign with this secret (others on this host can see it: prefer the variable)"
    )
    keys.add_argument("--private-key-file", metavar="FILE", help="sign with this PEM file (RSA or Ed25519)")


def _add_doctor(commands: "_Commands[_Parser]") -> None:
    parser = _add(
        commands,
        "doctor",
        "check this host, Redis, the database and the cluster",
        "Check what a cluster needs and print what was found, with how to mend it: Python and libraries, the\n"
        "settings, Redis or Valkey (version, eviction, persistence, round trip, clock), the cluster's shape,\n"
        "live edges and workers, owners of shards and backlog, PostgreSQL (version, schema, clock,\n"
        "round trip). Beside a running `roomring up` it looks at that cluster. Exit status 0 where nothing\n"
        "FAILs, else 1.",
        "environment:\n"
        + _COMMON_ENVIRONMENT
        + "\nexample:\n  ROOMRING_REDIS_URL=redis://cache:6379/0 roomring doctor --json",
    )
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    parser.add_argument(
        "--data",
        default=".roomring",
        metavar="DIR",
        help="data folder of `roomring up` to look for (default .roomring)",
    )


def _add_migrate(commands: "_Commands[_Parser]") -> None:
    parser = _add(
        commands,
        "migrate",
        "bring the database to this release's version",
        "Take the PostgreSQL database from one version of its tables to another, step by step; each step is a\n"
        "transaction. Two that run at once wait for each other. Make a backup before: pg_dump. Processes of\n"
        "another version refuse to start.",
        "environment:\n"
        "  ROOMRING_DATABASE_URL   the database; directly, not through a pooler of transactions; without it that of a\n"
        "                          `roomring up` that runs from this folder\n\n"
        "examples:\n"
        "  roomring migrate status\n"
        "  roomring migrate up\n"
        "  roomring migrate down -1 --yes",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=_Parser)
    up = actions.add_parser("up", help="take all steps, or those up to REVISION", allow_abbrev=False)
    up.add_argument("revision", nargs="?", metavar="REVISION", help="version to go to (default: the last)")
    down = actions.add_parser("down", help="go back to REVISION, or by N steps", allow_abbrev=False)
    down.add_argument("revision", metavar="REVISION|-N", help="version to go back to; `base` is the empty database")
    down.add_argument("--yes", action="store_true", help="drop what is in tables that the older version does not have")
    status = actions.add_parser("status", help="show the version, and the steps to come", allow_abbrev=False)
    status.add_argument("--json", action="store_true", help="print JSON in place of text")


def _add_drain(commands: "_Commands[_Parser]") -> None:
    parser = _add(
        commands,
        "drain",
        "end one edge or worker of a `roomring up` in order",
        "Send SIGTERM to one process of a `roomring up` and show how it goes: an edge asks its clients to come\n"
        "back elsewhere, a worker gives its rooms to the others. `roomring up` starts it again. Of another\n"
        "cluster, send SIGTERM to the process yourself. Exit status 0 when it has gone, 1 when it takes too long.",
        "environment:\n"
        "  none; `cluster.json` in the data folder names the process\n\n"
        "example:\n"
        "  roomring drain edge-1",
    )
    parser.add_argument("name", metavar="NAME", type=_process, help="edge-1, worker-2, ...")
    parser.add_argument("--data", default=".roomring", metavar="DIR", help="data folder of it (default .roomring)")
    parser.add_argument(
        "--timeout", type=count, default=60, metavar="SECONDS", help="how long to wait for it (default 60)"
    )


def _add_dead_letter(commands: "_Commands[_Parser]") -> None:
    parser = _add(
        commands,
        "deadletter",
        "list, show, retry or drop what was set aside",
        "What a room fails at three times, and what the database refuses, is set aside, so that the rest goes on.\n"
        "`list` shows the oldest first, `show` all about one, with what people said in it. `retry` gives a\n"
        "command to its room again and a record to the database; `drop` removes it for good. Beside a running\n"
        "`roomring up` it looks at that cluster. docs/operations.md says what to do when.",
        "environment:\n"
        + _COMMON_ENVIRONMENT
        + "\nexamples:\n  roomring deadletter list\n  roomring deadletter show 12-3\n  roomring deadletter retry 12-3",
    )
    parser.add_argument(
        "--data",
        default=".roomring",
        metavar="DIR",
        help="data folder of `roomring up` to look for (default .roomring)",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=_Parser)
    listing = actions.add_parser("list", help="list them, oldest first", allow_abbrev=False)
    listing.add_argument("--limit", type=count, default=100, metavar="N", help="how many at most (default 100)")
    listing.add_argument("--json", action="store_true", help="print JSON in place of the table")
    show = actions.add_parser("show", help="tell all about one", allow_abbrev=False)
    show.add_argument("--json", action="store_true", help="print JSON in place of text")
    retry = actions.add_parser("retry", help="try one again", allow_abbrev=False)
    drop = actions.add_parser("drop", help="remove one for good", allow_abbrev=False)
    for action in (show, retry, drop):
        action.add_argument("letter", metavar="ID", help="id of the dead letter: <shard>-<number>")


def _add_word_filter(commands: "_Commands[_Parser]") -> None:
    parser = _add(
        commands,
        "word-filter",
        "try a word list on texts",
        "Check a word list, as workers read it from ROOMRING_WORD_LIST_FILE, and print what would happen to each\n"
        "text: pass, mask, queue or reject, the text with its masks, and the entries that hit. Exit status 0\n"
        "where the list is good, 2 where it is wrong.",
        "example:\n  roomring word-filter check words.toml 'some text' 'another text'",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=_Parser)
    check = actions.add_parser("check", help="check the list, and texts with it", allow_abbrev=False)
    check.add_argument("file", metavar="FILE", help="the word list, a TOML file")
    check.add_argument("text", nargs="*", metavar="TEXT", help="a text to check")


def _add_jobs(commands: "_Commands[_Parser]") -> None:
    parser = _add(
        commands,
        "jobs",
        "run the job process, or show what it does",
        "Jobs work on the database: retention each night, erasures when they are asked for. Without an ACTION the\n"
        "newest are listed, those that wait or run first. `run` is the process that does them; one is enough, and\n"
        "more take turns. SIGTERM ends it after the piece of work at hand; what is left goes on later.",
        "environment:\n"
        "  ROOMRING_DATABASE_URL     the database; directly, not through a pooler of transactions\n"
        "  ROOMRING_ARCHIVE_DIR      folder of the archives\n"
        "  ROOMRING_RETENTION_DAYS   days after which messages are archived (default 0: never)\n"
        "  docs/settings.md lists the rest\n\n"
        "examples:\n"
        "  roomring jobs\n"
        "  roomring jobs run-now trim_messages\n"
        "  roomring jobs show 17",
    )
    _add_job_list_options(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", parser_class=_Parser)
    actions.add_parser("run", help="do the jobs, until told to stop", allow_abbrev=False)
    _add_job_list_options(
        actions.add_parser("list", help="list them (what is done without ACTION)", allow_abbrev=False)
    )
    show = actions.add_parser("show", help="tell all about one", allow_abbrev=False)
    show.add_argument("--json", action="store_true", help="print JSON in place of text")
    retry = actions.add_parser("retry", help="queue one again that has failed", allow_abbrev=False)
    cancel = actions.add_parser("cancel", help="take one out of the queue, or stop it", allow_abbrev=False)
    for action in (show, retry, cancel):
        action.add_argument("job", type=count, metavar="ID", help="number of the job")
    now = actions.add_parser("run-now", help="queue one of the nightly jobs now", allow_abbrev=False)
    now.add_argument("name", choices=("trim_messages", "trim_records"), help="which")


def _add_job_list_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=count, default=20, metavar="N", help="how many at most (default 20)")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")


def _add_archive(commands: "_Commands[_Parser]") -> None:
    parser = _add(
        commands,
        "archive",
        "list, check or restore archived messages",
        "Retention moves old messages into files, gzip-compressed JSON Lines. `restore` brings them back into the\n"
        "database, those that are there stay as they are; it may be repeated. `verify` compares the files with\n"
        "what was written. Run it where the folder is.",
        "environment:\n"
        "  ROOMRING_DATABASE_URL   the database\n"
        "  ROOMRING_ARCHIVE_DIR    folder of the archives\n\n"
        "examples:\n"
        "  roomring archive list\n"
        "  roomring archive restore --from 2026-03-01 --to 2026-03-31 --dry-run",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=_Parser)
    listing = actions.add_parser("list", help="list the archives, oldest first", allow_abbrev=False)
    listing.add_argument("--json", action="store_true", help="print JSON in place of the table")
    actions.add_parser("verify", help="compare all files with what was written", allow_abbrev=False)
    forget = actions.add_parser("forget", help="take a lost file out of the list", allow_abbrev=False)
    forget.add_argument("file", metavar="FILE", help="name of an archive that is missing or damaged")
    restore = actions.add_parser("restore", help="bring messages back", allow_abbrev=False)
    restore.add_argument("file", nargs="?", metavar="FILE", help="name of one archive")
    restore.add_argument(
        "--from", dest="first", type=moment, metavar="TIME", help="all archives with messages from this time on, UTC"
    )
    restore.add_argument(
        "--to", dest="last", type=moment, metavar="TIME", help="all archives with messages up to this time, UTC"
    )
    restore.add_argument("--dry-run", action="store_true", help="only tell how many would come back")
    restore.add_argument(
        "--hold-days", type=count, default=30, metavar="N", help="how long retention leaves them alone (default 30)"
    )


def _add_erase(commands: "_Commands[_Parser]") -> None:
    parser = _add(
        commands,
        "erase",
        "erase one person's data",
        "Ask for the erasure of a person's data from the database and the archives. The job process does it, and\n"
        "looks a second time after ROOMRING_ERASURE_SECOND_PASS_MS. docs/operations.md says what goes and what\n"
        "stays. It cannot be undone.",
        "environment:\n"
        "  ROOMRING_DATABASE_URL   the database\n\n"
        "example:\n"
        "  roomring erase alice --requested-by 'privacy office, ticket 4711' --wait",
    )
    parser.add_argument("user", metavar="USER_ID", help="id of the person")
    parser.add_argument("--requested-by", required=True, metavar="NAME", help="who asked for it, for the record")
    parser.add_argument("--wait", action="store_true", help="wait until what is stored is erased")


def _add_loadtest(commands: "_Commands[_Parser]") -> None:
    parser = _add(
        commands,
        "loadtest",
        "measure servers under a known load",
        "Put a load that is planned beforehand on a cluster, and report delivery times, losses, order, and the CPU\n"
        "and memory of each process. `list` names the scenarios and their options, `run` runs one, `compare` puts\n"
        "results side by side, `capacity` tells how many processes a load takes. Without --against a run starts a\n"
        "cluster of its own on free ports and stops it after; then generator and cluster share this machine, so the\n"
        "numbers are those of a small cluster. Exit status 0 where a run passed, 1 where the servers did wrong or\n"
        "the numbers do not hold, 130 after Ctrl-C.",
        "environment:\n"
        "  ROOMRING_...  settings of its own cluster; one that --against names must let guests in (ROOMRING_DEV=1)\n\n"
        "examples:\n"
        "  roomring loadtest list\n"
        "  roomring loadtest run space --set members=100 --seconds 30 --report result\n"
        "  roomring loadtest run space --against http://10.0.0.5:8080 --against http://10.0.0.6:8080\n"
        "  roomring loadtest compare before.json after.json\n"
        "  roomring loadtest capacity --rooms 100 --members 20 --rate 20",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, parser_class=_Parser)
    add_list(actions.add_parser("list", help="name the scenarios and their options", allow_abbrev=False))
    add_run(actions.add_parser("run", help="run a scenario", allow_abbrev=False))
    add_compare(actions.add_parser("compare", help="put results side by side", allow_abbrev=False))
    add_capacity(actions.add_parser("capacity", help="tell how many processes a load takes", allow_abbrev=False))


def _process(text: str) -> str:
    if not re.fullmatch(r"(edge|worker)-[0-9]{1,2}", text):
        raise argparse.ArgumentTypeError(f"{text!r} must be an edge or a worker, for example edge-1")
    return text


def _port(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if not 1 <= number <= 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} must be a port, 1 to 65535")
    return number


if __name__ == "__main__":
    sys.exit(main())
