"""All settings, read once at start from the environment, in one frozen object for each process.

Every field names its unit, and its `doc` says its default, what zero means and when to change it; the table
in docs/settings.md is generated from it. Relations between settings are checked at start. A wrong value
gives one line that says what to do.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from common.errors import SettingsError
from common.redis_url import parse_redis_url

DEV_TOKEN_SECRET: Final = "roomring-development-token-secret-do-not-use-elsewhere"  # noqa: S105
DEV_ADMIN_KEY: Final = "dev-admin"
SECRET_CHARACTERS_MIN: Final = 32
"""RFC 7518 section 3.2: a key for HS256 has at least 256 bits."""

DRAIN_MS_MAX: Final = 600_000
"""Members wait for a connection that its edge sent away no longer than that, whatever the edge says."""

_Config = TypeVar("_Config")


def _setting(default: Any, env: str, doc: str, *, low: float | None = None, high: float | None = None) -> Any:
    return field(default=default, metadata={"env": env, "doc": doc, "low": low, "high": high})


@dataclass(frozen=True, kw_only=True, slots=True)
class CommonSettings:
    """What every process of a cluster reads."""

    redis_url: str = _setting(
        "redis://127.0.0.1:6379/0",
        "ROOMRING_REDIS_URL",
        "Redis 7.0+ or Valkey 8+ that carries the cluster. One server: redis://, rediss:// or unix://. The primary "
        "that Sentinels name: redis+sentinel://user:password@host1:26379,host2:26379/mymaster/0. A Redis Cluster: "
        "redis+cluster://user:password@host1:6379,host2:6379. With rediss+... all connections are encrypted; "
        "sentinel_username= and sentinel_password= behind a ? are for the Sentinels.",
    )
    database_url: str = _setting(
        "",
        "ROOMRING_DATABASE_URL",
        "PostgreSQL 14+ that keeps chat for good, for example postgresql://user:password@host/roomring. Empty: chat "
        "lives in Redis only, `persisted` is never sent, and the history pages are off.",
    )
    database_connections_max: int = _setting(
        4,
        "ROOMRING_DATABASE_CONNECTIONS_MAX",
        "Connections of this process to PostgreSQL, opened when needed. Their sum over all processes must stay below "
        "the server's max_connections.",
        low=1,
        high=1_000,
    )
    database_timeout_ms: int = _setting(
        5_000,
        "ROOMRING_DATABASE_TIMEOUT_MS",
        "How long a call to PostgreSQL may take, the wait for a free connection included, before it counts as not "
        "answered.",
        low=100,
        high=600_000,
    )
    namespace: str = _setting(
        "rr", "ROOMRING_NAMESPACE", "Prefix of all keys; clusters with different ones can share a Redis."
    )
    shards: int = _setting(
        64,
        "ROOMRING_SHARDS",
        "Shards of the cluster, fixed when it is created; the most workers that can share the rooms.",
        low=1,
        high=1024,
    )
    partitions: int = _setting(
        1,
        "ROOMRING_PARTITIONS",
        "Groups of shards that share a Redis slot, fixed when the cluster is created.",
        low=1,
        high=64,
    )
    dev: bool = _setting(
        False, "ROOMRING_DEV", "Development mode: guests, a known secret, the demo page. `roomring up` sets it."
    )
    node_ttl_ms: int = _setting(
        2_000,
        "ROOMRING_NODE_TTL_MS",
        "How long an edge or worker is taken for alive after its last sign of life, and how long the lease of a shard "
        "lasts. Longer: fewer false alarms on a slow machine. Shorter: rooms stand still for less when a worker dies.",
        low=200,
        high=60_000,
    )
    node_renew_ms: int = _setting(
        400,
        "ROOMRING_NODE_RENEW_MS",
        "How often a process says that it lives. At most a third of ROOMRING_NODE_TTL_MS.",
        low=20,
        high=20_000,
    )
    output_entries_max: int = _setting(
        10_000,
        "ROOMRING_OUTPUT_ENTRIES_MAX",
        "Batches that wait for one edge; past it the oldest are dropped and the edge repairs its rooms.",
        low=16,
        high=1_000_000,
    )
    output_ttl_ms: int = _setting(
        60_000, "ROOMRING_OUTPUT_TTL_MS", "How long the stream of a dead edge stays.", low=5_000, high=3_600_000
    )
    history_events_max: int = _setting(
        1_000,
        "ROOMRING_HISTORY_EVENTS_MAX",
        "Reliable events kept for each room, for resume and catch-up.",
        low=1,
        high=100_000,
    )
    dead_letters_max: int = _setting(
        1_000,
        "ROOMRING_DEAD_LETTERS_MAX",
        "Dead letters kept of each shard: commands at which a room failed, and what the database refuses; the oldest "
        "go first.",
        low=1,
        high=100_000,
    )
    transforms_per_second_desktop: float = _setting(
        20.0, "ROOMRING_TRANSFORMS_PER_SECOND_DESKTOP", "Movements a second, from a desktop.", low=0.1, high=1_000.0
    )
    transforms_per_second_mobile: float = _setting(
        15.0, "ROOMRING_TRANSFORMS_PER_SECOND_MOBILE", "Movements a second, from a mobile.", low=0.1, high=1_000.0
    )
    chat_per_second: float = _setting(
        5.0, "ROOMRING_CHAT_PER_SECOND", "Chat messages (and, counted apart, emotes) a second.", low=0.01, high=1_000.0
    )
    chat_burst: int = _setting(10, "ROOMRING_CHAT_BURST", "Chat messages that may come at once.", low=1, high=1_000)
    log_format: str = _setting("auto", "ROOMRING_LOG_FORMAT", "`json`, `console`, or `auto`: console on a terminal.")
    log_level: str = _setting("info", "ROOMRING_LOG_LEVEL", "`debug`, `info`, `warning` or `error`.")

    def check(self) -> None:
        """Check the relations between settings.

        Raises:
            SettingsError: with one line that says what to change.
        """
        parse_redis_url(self.redis_url)
        if self.database_url and urlsplit(self.database_url).scheme not in ("postgresql", "postgres"):
            raise SettingsError(
                "ROOMRING_DATABASE_URL is not a PostgreSQL URL; write for example "
                "postgresql://user:password@127.0.0.1:5432/roomring"
            )
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,32}", self.namespace):
            raise SettingsError(
                f"ROOMRING_NAMESPACE={self.namespace!r} must be 1 to 32 letters, digits, dots, dashes or underscores"
            )
        if self.node_renew_ms * 3 > self.node_ttl_ms:
            raise SettingsError(
                f"ROOMRING_NODE_RENEW_MS={self.node_renew_ms} must be at most a third of "
                f"ROOMRING_NODE_TTL_MS={self.node_ttl_ms}, so that one lost renewal does not lose a lease"
            )
        if self.partitions > self.shards:
            raise SettingsError(f"ROOMRING_PARTITIONS={self.partitions} must be at most ROOMRING_SHARDS={self.shards}")
        if self.log_format not in ("auto", "json", "console"):
            raise SettingsError(f"ROOMRING_LOG_FORMAT={self.log_format!r} must be auto, json or console")
        if self.log_level not in ("debug", "info", "warning", "error"):
            raise SettingsError(f"ROOMRING_LOG_LEVEL={self.log_level!r} must be debug, info, warning or error")


@dataclass(frozen=True, kw_only=True, slots=True)
class EdgeSettings(CommonSettings):
    """What an edge reads."""

    host: str = _setting("0.0.0.0", "ROOMRING_HOST", "Address of the public listener.")  # noqa: S104
    port: int = _setting(8080, "ROOMRING_PORT", "Port of the public listener.", low=1, high=65535)
    internal_host: str = _setting(
        "127.0.0.1", "ROOMRING_INTERNAL_HOST", "Address of the internal listener: metrics and administration."
    )
    internal_port: int = _setting(
        0,
        "ROOMRING_INTERNAL_PORT",
        "Port of the internal listener; 0: ROOMRING_PORT + 1000. Of several processes it is the first one's, and the "
        "others take the next ones.",
        low=0,
        high=65535,
    )
    processes: int = _setting(
        1,
        "ROOMRING_PROCESSES",
        "Edges that share the public port, for a host with many cores: each a process of its own with an internal port "
        "of its own, and with every limit of an edge for itself.",
        low=1,
        high=64,
    )
    public_ws_url: str = _setting(
        "",
        "ROOMRING_PUBLIC_WS_URL",
        "WebSocket URL that `POST /rooms/join` tells clients, for example wss://rooms.example.com/ws. Empty: made "
        "from the request's Host.",
    )
    allowed_origins: str = _setting(
        "*",
        "ROOMRING_ALLOWED_ORIGINS",
        "Origins whose pages may connect, separated by commas; `*`: all. Tokens, not cookies, protect rooms.",
    )
    admin_key: str = _setting(
        "",
        "ROOMRING_ADMIN_KEY",
        "Key of the administration API. Empty: the API is off, in development mode it is `dev-admin`.",
    )
    token_secret: str = _setting(
        "",
        "ROOMRING_TOKEN_SECRET",
        "Shared secret (HS256, at least 32 characters) that signs and checks room tokens.",
    )
    token_public_key_file: str = _setting(
        "",
        "ROOMRING_TOKEN_PUBLIC_KEY_FILE",
        "PEM file with the RSA (RS256) or Ed25519 (EdDSA) key that checks room tokens, in place of a secret. "
        "`POST /rooms/join` is then off: your application mints.",
    )
    token_issuer: str = _setting("roomring", "ROOMRING_TOKEN_ISSUER", "`iss` of room tokens.")
    token_audience: str = _setting("roomring", "ROOMRING_TOKEN_AUDIENCE", "`aud` of room tokens.")
    token_ttl_ms: int = _setting(
        300_000, "ROOMRING_TOKEN_TTL_MS", "Life of a token from `POST /rooms/join`.", low=1_000, high=86_400_000
    )
    token_grace_ms: int = _setting(
        30_000,
        "ROOMRING_TOKEN_GRACE_MS",
        "How long a connection stays in a room after its token expired and it was told so.",
        low=0,
        high=3_600_000,
    )
    session_secret: str = _setting(
        "",
        "ROOMRING_SESSION_SECRET",
        "Shared secret (HS256) that checks your application's session JWT on `POST /rooms/join`.",
    )
    session_public_key_file: str = _setting(
        "", "ROOMRING_SESSION_PUBLIC_KEY_FILE", "PEM file that checks the session JWT, in place of a secret."
    )
    heartbeat_interval_ms: int = _setting(
        15_000, "ROOMRING_HEARTBEAT_INTERVAL_MS", "What `welcome` asks of clients.", low=100, high=600_000
    )
    heartbeat_timeout_ms: int = _setting(
        45_000,
        "ROOMRING_HEARTBEAT_TIMEOUT_MS",
        "A connection that says nothing for so long closes with 4408.",
        low=300,
        high=3_600_000,
    )
    auth_timeout_ms: int = _setting(
        10_000,
        "ROOMRING_AUTH_TIMEOUT_MS",
        "A connection without a good token for so long closes with 4401.",
        low=100,
        high=600_000,
    )
    connections_max: int = _setting(
        20_000, "ROOMRING_CONNECTIONS_MAX", "Connections of this edge; more get 503.", low=1, high=1_000_000
    )
    connections_per_origin_max: int = _setting(
        0,
        "ROOMRING_CONNECTIONS_PER_ORIGIN_MAX",
        "Connections of this edge that come from pages of one origin; more get 503. Those of programs, which name no "
        "origin, are not counted. 0: no bound of its own.",
        low=0,
        high=1_000_000,
    )
    connects_per_second_max: float = _setting(
        200.0,
        "ROOMRING_CONNECTS_PER_SECOND_MAX",
        "Connections that this edge accepts a second in the long run; more get 503 with a `Retry-After`. Lower it "
        "where a crowd that comes back after a fault slows down those that are there.",
        low=0.1,
        high=100_000.0,
    )
    connects_burst: int = _setting(
        500,
        "ROOMRING_CONNECTS_BURST",
        "Connections that may come at once before that rate counts.",
        low=1,
        high=1_000_000,
    )
    rooms_per_connection_max: int = _setting(
        20, "ROOMRING_ROOMS_PER_CONNECTION_MAX", "Rooms that one connection may be in.", low=1, high=1_000
    )
    messages_per_second_max: float = _setting(
        200.0,
        "ROOMRING_MESSAGES_PER_SECOND_MAX",
        "Messages and pings a second of one connection, past which (with the burst) it closes with 4429.",
        low=1.0,
        high=100_000.0,
    )
    messages_burst: int = _setting(
        1_000, "ROOMRING_MESSAGES_BURST", "Messages that a connection may be ahead of that rate.", low=1, high=1_000_000
    )
    malformed_max: int = _setting(
        20,
        "ROOMRING_MALFORMED_MAX",
        "Malformed messages within a minute, past which a connection closes with 4400.",
        low=1,
        high=10_000,
    )
    write_buffer_soft_bytes: int = _setting(
        64 * 1024,
        "ROOMRING_WRITE_BUFFER_SOFT_BYTES",
        "A reader with more than this unsent gets no transforms until it caught up.",
        low=1024,
        high=64 * 1024 * 1024,
    )
    write_buffer_hard_bytes: int = _setting(
        1024 * 1024,
        "ROOMRING_WRITE_BUFFER_HARD_BYTES",
        "A reader with more than this unsent closes with 1013.",
        low=4096,
        high=1024 * 1024 * 1024,
    )
    input_batches_max: int = _setting(
        2_000,
        "ROOMRING_INPUT_BATCHES_MAX",
        "Batches that wait in one shard, past which edges answer `busy`.",
        low=1,
        high=1_000_000,
    )
    uplink_commands_max: int = _setting(
        50_000,
        "ROOMRING_UPLINK_COMMANDS_MAX",
        "Commands that wait in this edge for Redis, past which it answers `busy`.",
        low=1,
        high=10_000_000,
    )
    drain_ms: int = _setting(
        2_000,
        "ROOMRING_DRAIN_MS",
        "On SIGTERM: the window over which clients are asked to reconnect. 0: at once.",
        low=0,
        high=DRAIN_MS_MAX,
    )

    @property
    def internal_port_or_default(self) -> int:
        """Port of the internal listener."""
        return self.internal_port or self.port + 1000

    @property
    def internal_ports(self) -> range:
        """Ports of the internal listeners of all processes."""
        return range(self.internal_port_or_default, self.internal_port_or_default + self.processes)

    @property
    def origins(self) -> frozenset[str]:
        """The allowed origins, in lower case and without a slash at the end."""
        return frozenset(
            origin.strip().rstrip("/").lower() for origin in self.allowed_origins.split(",") if origin.strip()
        )

    @property
    def admin_key_or_default(self) -> str:
        """The key of the administration API; empty where it is off."""
        return self.admin_key or (DEV_ADMIN_KEY if self.dev else "")

    @property
    def token_secret_or_default(self) -> str:
        """The secret of room tokens; empty where a public key is used."""
        if self.token_secret or self.token_public_key_file:
            return self.token_secret
        return DEV_TOKEN_SECRET if self.dev else ""

    def check(self) -> None:
        """See `CommonSettings.check`."""
        CommonSettings.check(self)
        if self.token_secret and self.token_public_key_file:
            raise SettingsError("set only one of ROOMRING_TOKEN_SECRET and ROOMRING_TOKEN_PUBLIC_KEY_FILE")
        if not self.token_secret_or_default and not self.token_public_key_file:
            raise SettingsError(
                "set ROOMRING_TOKEN_SECRET (at least 32 characters) or ROOMRING_TOKEN_PUBLIC_KEY_FILE; "
                "for trying things out, ROOMRING_DEV=1 uses a known secret"
            )
        _check_secret("ROOMRING_TOKEN_SECRET", self.token_secret)
        _check_secret("ROOMRING_SESSION_SECRET", self.session_secret)
        for name, path in (
            ("ROOMRING_TOKEN_PUBLIC_KEY_FILE", self.token_public_key_file),
            ("ROOMRING_SESSION_PUBLIC_KEY_FILE", self.session_public_key_file),
        ):
            if path and not Path(path).is_file():
                raise SettingsError(f"{name}={path!r}: there is no such file")
        if self.internal_ports[-1] > 65535:
            raise SettingsError(
                f"ROOMRING_PORT={self.port} leaves no room for the internal port; set ROOMRING_INTERNAL_PORT"
                if self.internal_port_or_default > 65535
                else f"above port {self.internal_port_or_default} is no room for the internal ports of "
                f"ROOMRING_PROCESSES={self.processes}; set ROOMRING_INTERNAL_PORT"
            )
        if self.port in self.internal_ports:
            raise SettingsError(
                "ROOMRING_INTERNAL_PORT must differ from ROOMRING_PORT"
                if self.processes == 1
                else f"ROOMRING_PORT={self.port} is one of the internal ports {self.internal_ports[0]} to "
                f"{self.internal_ports[-1]}; set ROOMRING_INTERNAL_PORT"
            )
        if self.heartbeat_interval_ms * 2 > self.heartbeat_timeout_ms:
            raise SettingsError(
                "ROOMRING_HEARTBEAT_TIMEOUT_MS must be at least twice ROOMRING_HEARTBEAT_INTERVAL_MS, "
                "so that one late heartbeat does not close a connection"
            )
        if self.write_buffer_soft_bytes > self.write_buffer_hard_bytes:
            raise SettingsError("ROOMRING_WRITE_BUFFER_SOFT_BYTES must not exceed ROOMRING_WRITE_BUFFER_HARD_BYTES")
        if self.public_ws_url and urlsplit(self.public_ws_url).scheme not in ("ws", "wss"):
            raise SettingsError(f"ROOMRING_PUBLIC_WS_URL={self.public_ws_url!r} must begin with ws:// or wss://")


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerSettings(CommonSettings):
    """What a room worker reads."""

    internal_host: str = _setting(
        "127.0.0.1", "ROOMRING_INTERNAL_HOST", "Address of the listener for metrics and health."
    )
    internal_port: int = _setting(
        0, "ROOMRING_INTERNAL_PORT", "Port of the listener for metrics and health; 0: no listener.", low=0, high=65535
    )
    reconnect_window_ms: int = _setting(
        5_000,
        "ROOMRING_RECONNECT_WINDOW_MS",
        "How long a member of a space stays after the connection was lost. 0: leaves at once.",
        low=0,
        high=3_600_000,
    )
    lobby_chat_characters_max: int = _setting(
        2_000, "ROOMRING_LOBBY_CHAT_CHARACTERS_MAX", "Characters of a chat message in a lobby.", low=1, high=2_000
    )
    space_chat_characters_max: int = _setting(
        240, "ROOMRING_SPACE_CHAT_CHARACTERS_MAX", "Characters of a `chat_send` in a space.", low=1, high=2_000
    )
    direct_characters_max: int = _setting(
        2_000, "ROOMRING_DIRECT_CHARACTERS_MAX", "Characters of a direct message.", low=1, high=2_000
    )
    typing_ttl_ms: int = _setting(
        6_000,
        "ROOMRING_TYPING_TTL_MS",
        "How long somebody is shown to be typing after the last `typing`.",
        low=1_000,
        high=60_000,
    )
    typing_members_max: int = _setting(
        50,
        "ROOMRING_TYPING_MEMBERS_MAX",
        "In rooms with more members than this nobody is told who is typing.",
        low=0,
        high=10_000,
    )
    presence_away_ms: int = _setting(
        300_000,
        "ROOMRING_PRESENCE_AWAY_MS",
        "How long without activity until a person who is online counts as away.",
        low=1_000,
        high=86_400_000,
    )
    presence_subscriptions_max: int = _setting(
        500, "ROOMRING_PRESENCE_SUBSCRIPTIONS_MAX", "Persons whose presence one person may watch.", low=1, high=10_000
    )
    inbox_connections_max: int = _setting(
        64,
        "ROOMRING_INBOX_CONNECTIONS_MAX",
        "Connections of one person that get direct messages; further ones do not, unless they join the inbox: then the "
        "oldest does not.",
        low=1,
        high=10_000,
    )
    kept_idle_ttl_ms: int = _setting(
        7 * 86_400_000,
        "ROOMRING_KEPT_IDLE_TTL_MS",
        "How long an inbox, a thread or a board without activity stays in Redis; after it, it comes back from "
        "PostgreSQL. Without a database they stay for ever.",
        low=60_000,
        high=365 * 86_400_000,
    )
    board_notes_max: int = _setting(
        1_000, "ROOMRING_BOARD_NOTES_MAX", "Notes of one board; more are refused.", low=1, high=5_000
    )
    board_latest_notes: int = _setting(
        200, "ROOMRING_BOARD_LATEST_NOTES", "Notes that `room_state` of a board carries.", low=1, high=1_000
    )
    word_list_file: str = _setting(
        "",
        "ROOMRING_WORD_LIST_FILE",
        "TOML file with the words that chat is filtered by; the same on all workers. Empty: no filter. "
        "`roomring word-filter check` tries it.",
    )
    lobby_latest_messages: int = _setting(
        50, "ROOMRING_LOBBY_LATEST_MESSAGES", "Messages that `room_state` of a lobby carries. 0: none.", low=0, high=200
    )
    outbox_entries_max: int = _setting(
        20_000,
        "ROOMRING_OUTBOX_ENTRIES_MAX",
        "Chat messages of one shard that may wait for PostgreSQL; past it chat is refused with `busy`.",
        low=1,
        high=10_000_000,
    )
    relay_entries_max: int = _setting(
        20_000,
        "ROOMRING_RELAY_ENTRIES_MAX",
        "Batches of letters of one shard that may wait for another partition; past it what makes inboxes and threads "
        "write letters is refused with `busy`, and at twice as many the shard takes no more input.",
        low=1,
        high=10_000_000,
    )
    room_state_bytes_max: int = _setting(
        65_536,
        "ROOMRING_ROOM_STATE_BYTES_MAX",
        "Bytes of one frame that tells who is in a space; where there are more, they come in parts.",
        low=4_096,
        high=16_777_216,
    )
    full_rate_movers_max: int = _setting(
        500,
        "ROOMRING_FULL_RATE_MOVERS_MAX",
        "Members of a space whose every movement is shown: those who have been there longest.",
        low=1,
        high=1_000_000,
    )
    reduced_movements_per_second: float = _setting(
        4.0,
        "ROOMRING_REDUCED_MOVEMENTS_PER_SECOND",
        "Movements a second that are shown of each other member.",
        low=0.1,
        high=1_000.0,
    )
    position_store_ms: int = _setting(
        1_000,
        "ROOMRING_POSITION_STORE_MS",
        "How old the stored position of an avatar may be: what a newcomer sees at first when the room's worker died. "
        "0: each movement is stored.",
        low=0,
        high=60_000,
    )
    members_per_room_max: int = _setting(
        5_000, "ROOMRING_MEMBERS_PER_ROOM_MAX", "Members of one room; more get `room_full`.", low=1, high=1_000_000
    )
    connections_per_member_max: int = _setting(
        10,
        "ROOMRING_CONNECTIONS_PER_MEMBER_MAX",
        "Connections of one person in one room; the oldest is detached.",
        low=1,
        high=1_000,
    )
    idempotency_window_ms: int = _setting(
        300_000, "ROOMRING_IDEMPOTENCY_WINDOW_MS", "How long an `id` is remembered.", low=1_000, high=86_400_000
    )
    idempotency_ids_max: int = _setting(
        10_000,
        "ROOMRING_IDEMPOTENCY_IDS_MAX",
        "Remembered ids of one room; the oldest go first.",
        low=1,
        high=10_000_000,
    )
    room_idle_ttl_ms: int = _setting(
        3_600_000,
        "ROOMRING_ROOM_IDLE_TTL_MS",
        "How long the history and position of an empty room stay.",
        low=1_000,
        high=30 * 86_400_000,
    )
    batch_entries_max: int = _setting(
        64, "ROOMRING_BATCH_ENTRIES_MAX", "Input batches taken from one shard at a time.", low=1, high=10_000
    )
    gather_ms_max: float = _setting(
        20.0,
        "ROOMRING_GATHER_MS_MAX",
        "Longest time from one batch to the next under load, so that more is written at once. 0: never pause.",
        low=0.0,
        high=100.0,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class JobsSettings(CommonSettings):
    """What the job process reads, and the commands about archives and erasures."""

    archive_dir: str = _setting(
        "",
        "ROOMRING_ARCHIVE_DIR",
        "Folder of the archives; the same for all who run jobs. Needed where messages are not kept for ever. "
        "`roomring up` uses one in its data folder.",
    )
    retention_days: int = _setting(
        0,
        "ROOMRING_RETENTION_DAYS",
        "Messages older than that go from the database into archives. 0: they stay.",
        low=0,
        high=36_500,
    )
    retention_days_by_kind: str = _setting(
        "",
        "ROOMRING_RETENTION_DAYS_BY_KIND",
        "The same for single kinds of room, which then follow this in place of ROOMRING_RETENTION_DAYS, for example "
        "`lobby=90,space=30,dm=0`.",
    )
    audit_retention_days: int = _setting(
        0,
        "ROOMRING_AUDIT_RETENTION_DAYS",
        "Entries of the audit log older than that are deleted. 0: they stay.",
        low=0,
        high=36_500,
    )
    moderation_retention_days: int = _setting(
        0,
        "ROOMRING_MODERATION_RETENTION_DAYS",
        "Items of the moderation queue that were resolved longer ago are deleted, with their reports. 0: they stay.",
        low=0,
        high=36_500,
    )
    note_revisions_max: int = _setting(
        0,
        "ROOMRING_NOTE_REVISIONS_MAX",
        "Revisions kept of each note; older ones are deleted. 0: all stay.",
        low=0,
        high=1_000_000,
    )
    erasure_second_pass_ms: int = _setting(
        900_000,
        "ROOMRING_ERASURE_SECOND_PASS_MS",
        "How long after the first pass an erasure looks again, for what was still on its way into the database. "
        "Longer than messages may wait in the outboxes.",
        low=0,
        high=30 * 86_400_000,
    )
    jobs_hour: int = _setting(
        3, "ROOMRING_JOBS_HOUR", "Hour of the day (UTC) at which retention runs, at its 17th minute.", low=0, high=23
    )
    jobs_rows_max: int = _setting(
        10_000,
        "ROOMRING_JOBS_ROWS_MAX",
        "Rows that a job changes in one transaction, and messages in one archive. Fewer: shorter locks, more files.",
        low=1,
        high=1_000_000,
    )
    jobs_heartbeat_ms: int = _setting(
        5_000,
        "ROOMRING_JOBS_HEARTBEAT_MS",
        "How often the job process says that it lives. The job of one that was silent for three times as long is "
        "taken up by another, or by its next start.",
        low=100,
        high=600_000,
    )
    jobs_kept_days: int = _setting(
        30,
        "ROOMRING_JOBS_KEPT_DAYS",
        "How long jobs that have ended are listed by `roomring jobs`.",
        low=1,
        high=36_500,
    )

    def retention_days_of(self, kind: str) -> int:
        """Days after which messages of a kind of room are archived; 0: never."""
        return self._retention_by_kind().get(kind, self.retention_days)

    def check(self) -> None:
        """See `CommonSettings.check`."""
        CommonSettings.check(self)
        if (self.retention_days or any(self._retention_by_kind().values())) and not self.archive_dir:
            raise SettingsError(
                "set ROOMRING_ARCHIVE_DIR: messages that ROOMRING_RETENTION_DAYS takes out of the database are "
                "written there first"
            )

    def _retention_by_kind(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for part in filter(None, (part.strip() for part in self.retention_days_by_kind.split(","))):
            match = re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*=\s*([0-9]{1,5})", part)
            if match is None or match[1] in found:
                raise SettingsError(
                    f"ROOMRING_RETENTION_DAYS_BY_KIND: {part!r} must name a kind of room once and days, "
                    "for example lobby=90,dm=0"
                )
            found[match[1]] = int(match[2])
        return found


def load(cls: type[_Config], environ: Mapping[str, str] | None = None, **overrides: Any) -> _Config:
    """Read a settings object from the environment.

    Args:
        overrides: values that win over the environment; None stands for "not given".

    Raises:
        SettingsError: a value is wrong, or values contradict each other. One line; the command prints it.
    """
    source = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    for item in fields(cls):  # type: ignore[arg-type]
        given = overrides.pop(item.name, None)
        text = source.get(item.metadata["env"], "").strip() if given is None else str(given)
        if text:
            values[item.name] = _parse(item.metadata, type(item.default), text)
    assert not overrides, f"unknown settings: {sorted(overrides)}"
    settings = cls(**values)
    settings.check()  # type: ignore[attr-defined]
    return settings


def _parse(metadata: Mapping[str, Any], kind: type, text: str) -> Any:
    name = metadata["env"]
    if kind is str:
        return text
    if kind is bool:
        lowered = text.lower()
        if lowered in ("1", "true", "yes", "on"):
            return True
        if lowered in ("0", "false", "no", "off"):
            return False
        raise SettingsError(f"{name}={text!r} must be 1 or 0")
    try:
        number = kind(text)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise SettingsError(f"{name}={text!r} must be {wanted}") from None
    low, high = metadata["low"], metadata["high"]
    if not low <= number <= high:
        raise SettingsError(f"{name}={text} must be between {low:g} and {high:g}")
    return number


def _check_secret(name: str, secret: str) -> None:
    if secret and len(secret) < SECRET_CHARACTERS_MIN:
        raise SettingsError(
            f"{name} has {len(secret)} characters and needs at least {SECRET_CHARACTERS_MIN}; "
            "make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"
        )
