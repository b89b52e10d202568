"""Who may know whom: the packages, and the modules without IO."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("common", "edge", "roomworker", "deploy", "loadtest", "web")
IO = frozenset(
    {
        "asyncio",
        "aiohttp",
        "redis",
        "time",
        "random",
        "secrets",
        "uuid",
        "socket",
        "threading",
        "datetime",
        "uvloop",
        "os",
    }
)
WITHOUT_IO = (
    "common.audit",
    "common.bus",
    "common.codec",
    "common.commands",
    "common.cursor",
    "common.dead_letters",
    "common.deliveries",
    "common.durable",
    "common.durable_memory",
    "common.errors",
    "common.folding",
    "common.ids",
    "common.keys",
    "common.messages",
    "common.outbox",
    "common.people",
    "common.postgres_append",
    "common.postgres_moderation",
    "common.postgres_notes",
    "common.postgres_pages",
    "common.postgres_sql",
    "common.postgres_threads",
    "common.record_batch",
    "common.redis_url",
    "common.relay",
    "common.ring",
    "common.schema_version",
    "common.token_bucket",
    "common.word_filter",
    "edge.admission",
    "edge.connection",
    "edge.frames",
    "edge.hub",
    "edge.read_times",
    "edge.shapes",
    "edge.timer_wheel",
    "loadtest.accounting",
    "loadtest.capacity",
    "loadtest.capacity_text",
    "loadtest.chaos.losses",
    "loadtest.chaos.plan",
    "loadtest.chaos.report",
    "loadtest.checker",
    "loadtest.flatness",
    "loadtest.following",
    "loadtest.frames",
    "loadtest.growth",
    "loadtest.handshake",
    "loadtest.histogram",
    "loadtest.html_report",
    "loadtest.latency",
    "loadtest.own_cluster",
    "loadtest.peers.catalogue",
    "loadtest.peers.comparison",
    "loadtest.peers.comparison_text",
    "loadtest.plan",
    "loadtest.plots",
    "loadtest.report",
    "loadtest.result",
    "loadtest.scenario",
    "loadtest.sightings",
    "loadtest.tape",
    "loadtest.usage",
    "roomworker.blocks",
    "roomworker.chat",
    "roomworker.crowd",
    "roomworker.direct",
    "roomworker.effects",
    "roomworker.engine",
    "roomworker.fanout",
    "roomworker.field_changes",
    "roomworker.gather",
    "roomworker.history",
    "roomworker.idempotency",
    "roomworker.inbox",
    "roomworker.kinds",
    "common.letters",
    "roomworker.lobby",
    "roomworker.member",
    "roomworker.membership",
    "roomworker.notes",
    "roomworker.ownership",
    "roomworker.postponed",
    "roomworker.redactions",
    "roomworker.reports",
    "roomworker.resting_buckets",
    "roomworker.restrictions",
    "roomworker.room",
    "roomworker.room_states",
    "roomworker.rules",
    "roomworker.space",
    "roomworker.typing_marks",
)
READS_THE_ENVIRONMENT = frozenset({"common.settings", "edge.tokens"})
"""Plain values come from them, but they read the environment or a key file: they are looked into no further."""


def modules_of(package: str) -> list[str]:
    paths = (ROOT / package).glob("**/*.py")
    return sorted(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths)


def path_of(module: str) -> Path | None:
    base = ROOT.joinpath(*module.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


@cache
def imports_of(module: str) -> frozenset[str]:
    """Return the full names that a module imports, wherever in it the import stands."""
    path = path_of(module)
    assert path is not None, module
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            assert node.module is not None
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if path_of(inner) else node.module)
    return frozenset(found)


def reached_from(module: str) -> dict[str, list[str]]:
    """Return everything that is imported in the end, each with the way to it."""
    ways: dict[str, list[str]] = {}
    open_ends = [(module, [module])]
    while open_ends:
        at, way = open_ends.pop()
        for name in imports_of(at):
            if name in ways:
                continue
            ways[name] = [*way, name]
            if name.split(".")[0] in PACKAGES and name not in READS_THE_ENVIRONMENT:
                open_ends.append((name, ways[name]))
    return ways


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("common", {"edge", "roomworker", "deploy", "loadtest", "web"}),
        ("edge", {"roomworker", "deploy", "loadtest"}),
        ("roomworker", {"edge", "deploy", "loadtest", "web"}),
    ],
)
def test_dependencies_point_one_way(package: str, forbidden: set[str]) -> None:
    for module in modules_of(package):
        assert not {name for name in imports_of(module) if name.split(".")[0] in forbidden}, module


@pytest.mark.parametrize("module", WITHOUT_IO)
def test_logic_reaches_no_io(module: str) -> None:
    ways = [way for name, way in reached_from(module).items() if name.split(".")[0] in IO]
    assert not ways, " -> ".join(ways[0])


@pytest.mark.parametrize("package", ["common", "edge", "roomworker"])
def test_every_module_is_logic_or_named_as_rim(package: str) -> None:
    rim = {
        "common": {
            "arguments",
            "bus_memory",
            "bus_redis",
            "clock",
            "durable_postgres",
            "erasure_request",
            "job_schema",
            "log",
            "postgres_link",
            "process",
            "redis_link",
            "redis_topology",
            "settings",
            "timer",
            "word_list",
        },
        "edge": {
            "audit",
            "client",
            "gateway",
            "http_erasure",
            "http_history",
            "http_internal",
            "http_moderation",
            "http_notes",
            "http_post",
            "http_public",
            "main",
            "metrics",
            "openapi",
            "operations",
            "problems",
            "readers",
            "socket_reader",
            "tokens",
            "upgrade",
            "uplink",
        },
        "roomworker": {"long_memory", "main", "metrics", "relay", "worker"},
    }[package]
    expected = {package} | {f"{package}.{name}" for name in rim}
    # Steps of the database are neither: Alembic runs them, and no process imports them.
    modules = {module for module in modules_of(package) if not module.startswith("common.migrations")}
    assert modules == expected | {name for name in WITHOUT_IO if name.split(".")[0] == package}


@pytest.mark.parametrize("process", ["edge.main", "roomworker.main"])
def test_no_process_loads_what_only_migrations_and_jobs_need(process: str) -> None:
    """Alembic and SQLAlchemy take longer to load than a process to start, and so does the job library."""
    assert not {"alembic", "sqlalchemy", "procrastinate", "psycopg"} & {
        name.split(".")[0] for name in reached_from(process)
    }


def test_the_store_in_memory_reads_no_clock_and_draws_no_numbers() -> None:
    assert not {"time", "random", "redis", "aiohttp"} & {
        name.split(".")[0] for name in reached_from("common.bus_memory")
    }


def test_the_search_sees_what_it_must() -> None:
    assert reached_from("roomworker.worker")["asyncio"] == ["roomworker.worker", "asyncio"]
    assert "random" in reached_from("edge.gateway")
    assert "common.codec" in reached_from("roomworker.engine")
