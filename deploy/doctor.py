"""`roomring doctor`: looks at this host, the settings, Redis, PostgreSQL and the cluster, and says how to mend it.

Looks only: it changes nothing, and creates no cluster. Each check gives a finding; one that cannot be made,
since what it rests on failed, is left out.
"""

import argparse
import asyncio
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import asyncpg

from common.bus import ClusterShape, ShardStatus
from common.bus_redis import RedisBus
from common.errors import BusUnavailable, RoomringError, SchemaMismatch, SettingsError
from common.ids import Partition
from common.job_schema import JOBS_SCHEMA
from common.keys import Keys
from common.postgres_link import connect, describe, without_password
from common.redis_link import is_authentication_failure
from common.redis_topology import RedisTopology
from common.redis_url import Form
from common.schema_version import VERSION_QUERY, check_schema_version
from common.settings import CommonSettings, EdgeSettings, WorkerSettings, load
from common.word_list import load_word_filter
from deploy.running import described
from deploy.serve import FILES_BESIDE_CONNECTIONS

PYTHON_MIN: Final = (3, 11)
REDIS_MIN: Final = (7, 0)
VALKEY_MIN: Final = (8, 0)
POSTGRES_MIN: Final = 14
LIBRARIES: Final = (
    "ahocorasick-rs",
    "aiohttp",
    "alembic",
    "asyncpg",
    "cryptography",
    "hiredis",
    "msgspec",
    "procrastinate",
    "prometheus_client",
    "psycopg",
    "PyJWT",
    "redis",
    "SQLAlchemy",
    "structlog",
)
FASTER_LIBRARIES: Final = ("uvloop",)

PINGS: Final = 100
PING_P99_WARN_MS: Final = 5.0
"""A movement makes two hops over Redis, each with several round trips; 40-member rooms should stay within 10 ms."""
PING_P99_FAIL_MS: Final = 100.0
"""A quarter of the default time between two renewals of a lease."""
DATABASE_PING_P99_WARN_MS: Final = 20.0
"""Nobody waits for the database but who turns a page of history, and the `persisted` of a message."""
DATABASE_PINGS: Final = 30
JOBS_SILENT_S: Final = 60
"""A job process that was silent for so long is none; by default it speaks every five seconds."""
CLOCK_WARN_MS: Final = 500.0
"""Tokens are checked against the edge's clock, to the second. Leases use Redis's clock and do not care."""
CLOCK_FAIL_MS: Final = 5_000.0
BACKLOG_WARN: Final = 200
"""A tenth of the default ROOMRING_INPUT_BATCHES_MAX, at which edges answer `busy`."""
CALL_TIMEOUT_S: Final = 3.0


class State(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Finding:
    """What one check found; `remedy` is empty where nothing is to be done."""

    state: State
    check: str
    found: str
    remedy: str = ""


def run(args: argparse.Namespace) -> int:
    """Check everything and print it. See `roomring doctor --help`."""
    environ, origin = environment(os.environ, Path(args.data))
    findings = list(origin)
    findings += host_findings()
    settings, settings_findings = check_settings(environ)
    findings += settings_findings
    findings += open_files(settings)
    if settings is not None:
        findings += asyncio.run(redis_findings(settings))
        findings += asyncio.run(database_findings(settings))
    print(to_json(findings) if args.json else to_table(findings, coloured=sys.stdout.isatty()))  # noqa: T201
    return 1 if any(finding.state is State.FAIL for finding in findings) else 0


# --- this host ------------------------------------------------------------------------------------------


def environment(environ: Mapping[str, str], data_dir: Path) -> tuple[dict[str, str], list[Finding]]:
    """Return the settings to look at: with those of a `roomring up` that runs from this folder, if one does."""
    merged = dict(environ)
    if merged.get("ROOMRING_REDIS_URL", "").strip():
        return merged, []
    cluster = described(data_dir)
    if cluster is None:
        return merged, []
    merged["ROOMRING_REDIS_URL"] = cluster["redis"]["url"]
    merged["ROOMRING_DATABASE_URL"] = cluster["database"]["url"]
    merged["ROOMRING_DEV"] = "1"
    return merged, [Finding(State.OK, "cluster", f"that of `roomring up` in {data_dir}/ (process {cluster['pid']})")]


def host_findings() -> list[Finding]:
    """Check Python and the libraries."""
    version = platform.python_version()
    findings = [
        Finding(State.OK, "python", version)
        if sys.version_info >= PYTHON_MIN
        else Finding(State.FAIL, "python", version, "use Python 3.11 or later")
    ]
    missing = [name for name in LIBRARIES if not _version_of(name)]
    if missing:
        findings.append(
            Finding(
                State.FAIL, "libraries", f"missing: {', '.join(missing)}", "pip install roomring, in this environment"
            )
        )
    else:
        shown = ("aiohttp", "redis", "hiredis", "msgspec")
        findings.append(Finding(State.OK, "libraries", ", ".join(f"{name} {_version_of(name)}" for name in shown)))
    for name in FASTER_LIBRARIES:
        found = _version_of(name)
        findings.append(
            Finding(State.OK, name, found)
            if found
            else Finding(State.WARN, name, "missing: the event loop is slower without it", f"pip install {name}")
        )
    return findings


def check_settings(environ: Mapping[str, str]) -> tuple[EdgeSettings | None, list[Finding]]:
    """Check that an edge and a worker would accept the settings.

    Returns: an edge's settings, or None where not even those that all processes share are right.
    """
    findings = []
    settings: EdgeSettings | None = None
    try:
        settings = load(EdgeSettings, environ)
        mode = "development mode" if settings.dev else "production mode"
        findings.append(Finding(State.OK, "edge settings", mode))
    except SettingsError as error:
        findings.append(Finding(State.FAIL, "edge settings", "an edge would not start", str(error)))
    try:
        load_word_filter(load(WorkerSettings, environ).word_list_file)
        findings.append(Finding(State.OK, "worker settings", "fine"))
    except SettingsError as error:
        findings.append(Finding(State.FAIL, "worker settings", "a worker would not start", str(error)))
    if settings is None:
        try:
            # What the edge lacks, a token secret for example, need not keep us from looking at Redis.
            shared = load(CommonSettings, environ)
            settings = EdgeSettings(
                redis_url=shared.redis_url,
                database_url=shared.database_url,
                namespace=shared.namespace,
                shards=shared.shards,
                partitions=shared.partitions,
            )
        except SettingsError:
            return None, findings
    return settings, findings


def open_files(settings: EdgeSettings | None) -> list[Finding]:
    """Check that an edge may open as many files as it may have connections."""
    # The hard limit: an edge raises its soft one by itself.
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return [Finding(State.OK, "open files", "no limit")]
    needed = (settings.connections_max if settings is not None else 0) + FILES_BESIDE_CONNECTIONS
    found = f"at most {limit}; a full edge needs {needed}"
    if limit >= needed:
        return [Finding(State.OK, "open files", found)]
    return [
        Finding(
            State.WARN,
            "open files",
            found,
            f"ulimit -Hn {needed} (LimitNOFILE= with systemd), or set ROOMRING_CONNECTIONS_MAX to "
            f"{max(1, limit - FILES_BESIDE_CONNECTIONS)}",
        )
    ]


def _version_of(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


# --- Redis ----------------------------------------------------------------------------------------------


async def redis_findings(settings: EdgeSettings) -> list[Finding]:
    """Check each server, how they work together, then the cluster that lives in them. Takes a few seconds at most."""
    keys = [Keys(settings.namespace, Partition(number)).cluster() for number in range(settings.partitions)]
    try:
        topology = RedisTopology(settings.redis_url, keys, 1, int(CALL_TIMEOUT_S * 1000))
    except SettingsError as error:
        return [Finding(State.FAIL, "redis", "no process would start", str(error))]
    try:
        servers = await topology.servers()
    except BusUnavailable as error:
        return [_no_answer(str(topology.url), error, is_password=is_authentication_failure(error))]
    finally:
        await topology.close()
    form = topology.url.form
    findings: list[Finding] = []
    stored: dict[bytes, bytes] = {}
    for url, partitions in servers.items():
        seen, cluster = await _server_findings(url, keys[0] if Partition(0) in partitions else None, form)
        stored |= cluster
        where = without_password(url)
        findings += [replace(each, found=f"{each.found} ({where})") if len(servers) > 1 else each for each in seen]
    if any(finding.check == "redis" and finding.state is State.FAIL for finding in findings):
        return findings
    if form == "cluster":
        findings += await _sharing_findings(servers)
    shape_finding = check_shape(stored, settings)
    findings.append(shape_finding)
    if shape_finding.state is State.OK:
        findings += await _cluster_findings(settings)
    return findings


async def _server_findings(url: str, cluster_key: str | None, form: Form) -> tuple[list[Finding], dict[bytes, bytes]]:
    """Check one server. Returns what was found, and the hash of the cluster where a key of it is given."""
    from redis.asyncio import Redis
    from redis.exceptions import AuthenticationError, RedisError, ResponseError

    client = Redis.from_url(url, socket_timeout=CALL_TIMEOUT_S, socket_connect_timeout=CALL_TIMEOUT_S, retry=None)
    where = without_password(url)
    try:
        info: dict[str, Any] = await client.info()
        findings = [check_version(info, where)]
        findings.append(check_persistence(info))
        try:
            told: dict[str, Any] = {}
            for name in ("maxmemory-policy", "min-replicas-to-write", "cluster-require-full-coverage"):
                answer: Any = await client.config_get(name)
                told |= answer
        except ResponseError:
            # Hosted ones forbid CONFIG; INFO tells the policy in most of them.
            told = {"maxmemory-policy": info.get("maxmemory_policy")}
        findings.append(check_eviction(told.get("maxmemory-policy"), int(info.get("maxmemory", 0))))
        if form != "server":
            findings.append(check_replicas(info, form, told))
        findings.append(check_round_trip([await _ping_ms(client) for _ in range(PINGS)]))
        findings.append(await _check_clock(client))
        # The types that redis-py gives this call differ from release to release.
        read_hash: Any = client.hgetall
        return findings, await read_hash(cluster_key) if cluster_key is not None else {}
    except AuthenticationError as error:
        return [_no_answer(where, error, is_password=True)], {}
    except (RedisError, OSError, ValueError) as error:
        return [_no_answer(where, error, is_password=False)], {}
    finally:
        await client.aclose()


async def _sharing_findings(servers: Mapping[str, Sequence[Partition]]) -> list[Finding]:
    from redis.asyncio import Redis
    from redis.exceptions import RedisError

    async with Redis.from_url(next(iter(servers)), socket_timeout=CALL_TIMEOUT_S, retry=None) as client:
        try:
            told: Any = await client.execute_command("CLUSTER INFO")  # type: ignore[no-untyped-call]
        except (RedisError, OSError) as error:
            return [Finding(State.WARN, "partitions", f"cannot be judged: {error}")]
    return [check_sharing([len(partitions) for partitions in servers.values()], int(told["cluster_size"]))]


def _no_answer(where: str, error: Exception, *, is_password: bool) -> Finding:
    if is_password:
        return Finding(State.FAIL, "redis", f"{where}: {error}", "put user and password into ROOMRING_REDIS_URL")
    reason = " ".join(str(error).split())
    remedy = "start it, or set ROOMRING_REDIS_URL; `roomring up` brings one of its own"
    return Finding(State.FAIL, "redis", f"{where} does not answer: {reason}", remedy)


def check_version(info: Mapping[str, Any], where: str) -> Finding:
    """Check product and version; Valkey tells a `redis_version` too, which means nothing for it."""
    product, key, least = "Redis", "redis_version", REDIS_MIN
    if "valkey_version" in info:
        product, key, least = "Valkey", "valkey_version", VALKEY_MIN
    text = str(info.get(key, "0"))
    version = tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
    found = f"{product} {text} at {where}"
    if version >= least:
        return Finding(State.OK, "redis", found)
    return Finding(State.FAIL, "redis", found, "use Redis 7.0 or later, or Valkey 8.0 or later")


def check_eviction(policy: object, maxmemory: int) -> Finding:
    """Check that Redis does not throw away keys when its memory is full."""
    if not policy:
        return Finding(State.WARN, "eviction", "cannot be read", "make sure that maxmemory-policy is noeviction")
    if policy == "noeviction":
        return Finding(State.OK, "eviction", "noeviction")
    state = State.FAIL if maxmemory else State.WARN
    limit = "" if maxmemory else ", harmless while maxmemory is 0"
    return Finding(state, "eviction", f"{policy}{limit}", "CONFIG SET maxmemory-policy noeviction, and in its file")


def check_persistence(info: Mapping[str, Any]) -> Finding:
    """Check that acknowledged events survive a restart of Redis."""
    if not int(info.get("aof_enabled", 0)):
        return Finding(
            State.WARN,
            "persistence",
            "no append-only file: a restart of Redis loses rooms and acknowledged events",
            "appendonly yes, appendfsync everysec",
        )
    if info.get("aof_last_write_status", "ok") != "ok":
        return Finding(State.FAIL, "persistence", "the last write of the append-only file failed", "free disk space")
    return Finding(State.OK, "persistence", "append-only file")


def check_replicas(info: Mapping[str, Any], form: Form, told: Mapping[str, Any]) -> Finding:
    """Check that somebody can take a primary's place, and what is lost when it does."""
    count = int(info.get("connected_slaves", 0))
    found = f"{count} connected"
    if not count:
        return Finding(State.WARN, "replicas", found, "rooms stand still when this server dies: give it a replica")
    if form == "cluster" and told.get("cluster-require-full-coverage") == "yes":
        remedy = "cluster-require-full-coverage no, so that the other partitions go on when one has no primary"
        return Finding(State.WARN, "replicas", f"{found}; one lost primary stops all", remedy)
    if form == "sentinel" and told.get("min-replicas-to-write", "1") == "0":
        remedy = "min-replicas-to-write 1, min-replicas-max-lag 10"
        return Finding(State.WARN, "replicas", f"{found}; a primary that is cut off takes writes that get lost", remedy)
    return Finding(State.OK, "replicas", found)


def check_sharing(partitions: Sequence[int], primaries: int) -> Finding:
    """Check that every primary of a Redis Cluster has its share.

    Args:
        partitions: how many each primary has that has any.
        primaries: all that have slots.
    """
    found = f"{sum(partitions)} on {len(partitions)} of {primaries} primaries, at most {max(partitions)} on one"
    if len(partitions) < primaries:
        if sum(partitions) < primaries:
            remedy = "create the cluster with more ROOMRING_PARTITIONS, three or more for each primary"
        else:
            remedy = "move slots: CLUSTER KEYSLOT {p0} tells that of partition 0, and so on"
        return Finding(State.WARN, "partitions", found, remedy)
    return Finding(State.OK, "partitions", found)


def check_round_trip(times_ms: Sequence[float]) -> Finding:
    """Check how long an empty round trip takes."""
    p50, p99 = _quantiles(times_ms)
    found = f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"
    if p99 > PING_P99_FAIL_MS:
        return Finding(
            State.FAIL, "round trip", found, "leases would get lost: put Redis closer, or find what loads it"
        )
    if p99 > PING_P99_WARN_MS:
        return Finding(State.WARN, "round trip", found, "rooms would feel slow: put Redis into the same zone")
    return Finding(State.OK, "round trip", found)


def _quantiles(times_ms: Sequence[float]) -> tuple[float, float]:
    ordered = sorted(times_ms)
    return ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]


def check_clock(difference_ms: float, uncertainty_ms: float) -> Finding:
    """Check this host's clock against Redis's."""
    found = _clock_text("Redis", difference_ms, uncertainty_ms)
    beyond_ms = abs(difference_ms) - uncertainty_ms
    if beyond_ms > CLOCK_FAIL_MS:
        return Finding(State.FAIL, "clock", found, "tokens would be refused: set up NTP on both hosts")
    if beyond_ms > CLOCK_WARN_MS:
        return Finding(State.WARN, "clock", found, "set up NTP on both hosts")
    return Finding(State.OK, "clock", found)


def _clock_text(other: str, difference_ms: float, uncertainty_ms: float) -> str:
    ahead = "ahead of" if difference_ms > 0 else "behind"
    return f"{abs(difference_ms):.0f} ms {ahead} {other} (give or take {uncertainty_ms:.1f} ms)"


async def _ping_ms(client: Any) -> float:
    begun_s = time.perf_counter()
    await client.ping()
    return (time.perf_counter() - begun_s) * 1000


async def _check_clock(client: Any) -> Finding:
    begun_s, begun_ms = time.perf_counter(), time.time() * 1000
    seconds, micros = await client.time()
    took_ms = (time.perf_counter() - begun_s) * 1000
    return check_clock(begun_ms + took_ms / 2 - (seconds * 1000 + micros / 1000), took_ms / 2)


# --- PostgreSQL -----------------------------------------------------------------------------------------


async def database_findings(settings: CommonSettings) -> list[Finding]:
    """Check the database, where there is one. Takes a few seconds at most."""
    if not settings.database_url:
        return [Finding(State.OK, "database", "none: chat lives in Redis only (ROOMRING_DATABASE_URL is empty)")]
    try:
        connection = await connect(settings.database_url, int(CALL_TIMEOUT_S * 1000))
    except SettingsError as error:
        return [Finding(State.FAIL, "database", "cannot be used", str(error))]
    except RoomringError as error:
        return [Finding(State.FAIL, "database", str(error), "start it, or set ROOMRING_DATABASE_URL")]
    try:
        async with asyncio.timeout(CALL_TIMEOUT_S):
            encoding = str(await connection.fetchval("SHOW server_encoding"))
            where = without_password(settings.database_url)
            version = str(await connection.fetchval("SHOW server_version"))
            findings = [check_database(version, encoding, where)]
            findings.append(check_schema(await _schema_version(connection)))
            if findings[-1].state is State.OK:
                findings.append(await _jobs_finding(connection))
            begun_s, begun_ms = time.perf_counter(), time.time() * 1000
            theirs_ms = float(await connection.fetchval("SELECT extract(epoch FROM clock_timestamp()) * 1000"))
            took_ms = (time.perf_counter() - begun_s) * 1000
            findings.append(check_database_clock(begun_ms + took_ms / 2 - theirs_ms, took_ms / 2))
            times_ms = []
            for _ in range(DATABASE_PINGS):
                begun_s = time.perf_counter()
                await connection.fetchval("SELECT 1")
                times_ms.append((time.perf_counter() - begun_s) * 1000)
            findings.append(check_database_round_trip(times_ms))
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        return [Finding(State.FAIL, "database", describe(error), "look into its log")]
    finally:
        connection.terminate()
    return findings


async def _schema_version(connection: Any) -> str | None:
    try:
        found: str | None = await connection.fetchval(VERSION_QUERY)
    except asyncpg.UndefinedTableError:
        return None
    return found


async def _jobs_finding(connection: Any) -> Finding:
    live = await connection.fetchval(
        f"SELECT count(*) FROM {JOBS_SCHEMA}.procrastinate_workers"  # noqa: S608 - a constant
        " WHERE last_heartbeat > now() - $1 * interval '1 second'",
        JOBS_SILENT_S,
    )
    rows = await connection.fetch(
        f"SELECT status::text, count(*) FROM {JOBS_SCHEMA}.procrastinate_jobs GROUP BY 1"  # noqa: S608
    )
    return check_jobs(live, dict(rows))


def check_jobs(live: int, states: Mapping[str, int]) -> Finding:
    """Check that there is a job process, and that no job has failed."""
    queued, failed = states.get("todo", 0), states.get("failed", 0)
    found = f"{live} processes, {queued} queued, {failed} failed"
    if failed:
        return Finding(State.WARN, "jobs", found, "`roomring jobs` says why; mend it, then: roomring jobs retry ID")
    if not live:
        return Finding(State.WARN, "jobs", found, "retention and erasures wait for: roomring jobs run")
    return Finding(State.OK, "jobs", found)


def check_database(version: str, encoding: str, where: str) -> Finding:
    """Check the server's version, and that its texts can hold all that people write."""
    found = f"PostgreSQL {version.split(maxsplit=1)[0]} at {where}"
    if int(version.partition(".")[0]) < POSTGRES_MIN:
        return Finding(State.FAIL, "database", found, f"use PostgreSQL {POSTGRES_MIN} or later")
    if encoding != "UTF8":
        remedy = "make it anew with: CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
        return Finding(State.FAIL, "database", f"{found}, encoding {encoding}", remedy)
    return Finding(State.OK, "database", found)


def check_schema(version: str | None) -> Finding:
    """Check that the database is of this release's version."""
    try:
        check_schema_version(version)
    except SchemaMismatch as error:
        found, _, remedy = str(error).partition("; ")
        return Finding(State.FAIL, "schema", found, remedy)
    return Finding(State.OK, "schema", f"version {version}")


def check_database_clock(difference_ms: float, uncertainty_ms: float) -> Finding:
    """Check this host's clock against the database's: times of messages are ours, those of other rows are its."""
    found = _clock_text("PostgreSQL", difference_ms, uncertainty_ms)
    if abs(difference_ms) - uncertainty_ms > CLOCK_WARN_MS:
        return Finding(State.WARN, "database clock", found, "set up NTP on both hosts")
    return Finding(State.OK, "database clock", found)


def check_database_round_trip(times_ms: Sequence[float]) -> Finding:
    """Check how long an empty round trip takes."""
    p50, p99 = _quantiles(times_ms)
    found = f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"
    if p99 > DATABASE_PING_P99_WARN_MS:
        return Finding(State.WARN, "database trip", found, "pages of history feel slow: put PostgreSQL closer")
    return Finding(State.OK, "database trip", found)


# --- the cluster ----------------------------------------------------------------------------------------


def check_shape(stored: Mapping[bytes, bytes], settings: CommonSettings) -> Finding:
    """Compare the shape that the cluster was created with to the settings."""
    ours = {"shards": settings.shards, "partitions": settings.partitions}
    if not stored:
        return Finding(
            State.WARN,
            "cluster shape",
            f"there is no cluster in namespace {settings.namespace!r} yet",
            "start a worker and an edge, or set ROOMRING_NAMESPACE to that of your cluster",
        )
    theirs = {name: int(stored.get(name.encode(), b"0")) for name in ours}
    found = ", ".join(f"{value} {name}" for name, value in theirs.items())
    if theirs == ours:
        return Finding(State.OK, "cluster shape", found)
    return Finding(
        State.FAIL,
        "cluster shape",
        found,
        f"set ROOMRING_SHARDS={theirs['shards']} and ROOMRING_PARTITIONS={theirs['partitions']}, or another "
        "ROOMRING_NAMESPACE",
    )


async def _cluster_findings(settings: CommonSettings) -> list[Finding]:
    shape = ClusterShape(settings.shards, settings.partitions)
    bus = RedisBus(settings.redis_url, settings.namespace, shape)
    try:
        edges = [node.node_id for node in await bus.nodes("edge")]
        workers = [node.node_id for node in await bus.nodes("worker")]
        shards = await bus.shard_status()
        lying = sum(await bus.dead_letter_counts([status.shard for status in shards]))
    except RoomringError as error:
        return [Finding(State.FAIL, "cluster", str(error), "run the doctor again")]
    finally:
        await bus.close()
    return [
        check_nodes("edges", edges, "start one: roomring edge"),
        check_nodes("workers", workers, "start one: roomring worker"),
        check_owners(shards, workers),
        check_backlog(shards),
        check_dead_letters(lying),
    ]


def check_nodes(role: str, ids: Sequence[str], remedy: str) -> Finding:
    """Check that a role has live processes."""
    if not ids:
        return Finding(State.FAIL, role, "none is alive", remedy)
    found = f"{len(ids)} alive: {', '.join(ids[:8])}{', ...' if len(ids) > 8 else ''}"
    if len(ids) == 1:
        return Finding(State.WARN, role, found, "start a second one, so that the other can take over")
    return Finding(State.OK, role, found)


def check_owners(shards: Sequence[ShardStatus], workers: Iterable[str]) -> Finding:
    """Check that every shard has one owner, and a live one."""
    alive = set(workers)
    orphans = [status.shard for status in shards if status.owner is None]
    stale = [status.shard for status in shards if status.owner is not None and status.owner not in alive]
    if orphans:
        remedy = "no room of theirs moves: start a worker" if not alive else "run the doctor again in a few seconds"
        return Finding(State.FAIL, "owners", f"{len(orphans)} of {len(shards)} shards have none", remedy)
    if stale:
        found = f"{len(stale)} of {len(shards)} shards belong to a worker that is gone"
        return Finding(State.WARN, "owners", found, "they move when its lease runs out; run the doctor again")
    loads = [sum(1 for status in shards if status.owner == worker) for worker in sorted(alive)]
    return Finding(State.OK, "owners", f"all {len(shards)} shards have one; {min(loads)} to {max(loads)} each")


def check_backlog(shards: Sequence[ShardStatus]) -> Finding:
    """Check that the workers keep up."""
    worst = max(shards, key=lambda status: status.backlog)
    if worst.backlog < BACKLOG_WARN:
        return Finding(State.OK, "backlog", f"at most {worst.backlog} batches in a shard")
    remedy = "the workers do not keep up: start more, and look at their processor time"
    return Finding(State.WARN, "backlog", f"{worst.backlog} batches in shard {worst.shard}", remedy)


def check_dead_letters(count: int) -> Finding:
    """Check that nothing was set aside and waits for somebody."""
    if not count:
        return Finding(State.OK, "dead letters", "none")
    found = f"{count} {'lies' if count == 1 else 'lie'} there: what a room or the database failed at"
    return Finding(State.WARN, "dead letters", found, "look at them: roomring deadletter list")


# --- what is printed ------------------------------------------------------------------------------------


def to_json(findings: Sequence[Finding]) -> str:
    """Return the findings for a program."""
    failed = sum(finding.state is State.FAIL for finding in findings)
    return json.dumps({"ok": failed == 0, "findings": [asdict(finding) for finding in findings]}, indent=2)


def to_table(findings: Sequence[Finding], *, coloured: bool) -> str:
    """Return the findings for a person."""
    colours = {State.OK: "32", State.WARN: "33", State.FAIL: "31;1"}
    width = max(len(finding.check) for finding in findings)
    lines = []
    for finding in findings:
        state = f"{finding.state.value:<4}"
        if coloured:
            state = f"\x1b[{colours[finding.state]}m{state}\x1b[0m"
        lines.append(f"{state}  {finding.check:<{width}}  {finding.found}")
        if finding.remedy:
            lines.append(f"      {'':<{width}}  -> {finding.remedy}")
    counts = {state: sum(finding.state is state for finding in findings) for state in State}
    lines += ["", ", ".join(f"{count} {state.value}" for state, count in counts.items())]
    return "\n".join(lines)
