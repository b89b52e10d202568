"""Several Redis servers as child processes: a primary with replicas and Sentinels, and a Redis Cluster.

For tests and chaos, where failovers must come soon: what is suspected after seconds in production is suspected here
after `SUSPECT_MS`. All calls block; they are made in the thread that lives as long as the servers (see EmbeddedRedis).
"""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol, Self

from redis import Redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import RedisError

from common.ids import Partition
from common.keys import Keys
from deploy.embedded_redis import EmbeddedRedis
from deploy.ports import free_ports

SUSPECT_MS: Final = 2_000
"""On a busy machine a server that is well may be silent for a second, and a failover for it loses data."""

READY_S: Final = 30.0
POLL_S: Final = 0.02
SERVICE: Final = "rooms"

Announce = Callable[[int], int]
"""From the port of a server to the one by which others reach it."""


class NotReady(RuntimeError):
    """Servers did not get where they should be in `READY_S`."""


class RedisGroup(Protocol):
    """Servers that are one Redis to their users."""

    servers: list[EmbeddedRedis]

    @property
    def url(self) -> str:
        """What ROOMRING_REDIS_URL says of them."""
        ...

    def start(self) -> Self:
        """Start all, and wait until they serve."""
        ...

    def stop(self) -> None:
        """End all. Idempotent."""
        ...

    def primary(self, partition: Partition) -> EmbeddedRedis:
        """Return the server that has a partition now.

        Raises:
            NotReady: none has it for long.
        """
        ...

    def wait_until_safe(self) -> None:
        """Wait until all run, and every replica has what its primary has.

        Raises:
            NotReady: it takes too long.
        """
        ...


class OneServer:
    """A single server, whose port is known, as a group."""

    def __init__(self, server: EmbeddedRedis, announce: Announce = int) -> None:
        self.servers = [server]
        self._port = announce(server.port)

    @property
    def url(self) -> str:
        """See `RedisGroup.url`."""
        return f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> Self:
        """See `RedisGroup.start`."""
        self.servers[0].start()
        return self

    def stop(self) -> None:
        """See `RedisGroup.stop`."""
        self.servers[0].stop()

    def primary(self, partition: Partition) -> EmbeddedRedis:
        """See `RedisGroup.primary`."""
        return self.servers[0]

    def wait_until_safe(self) -> None:
        """See `RedisGroup.wait_until_safe`."""


class SentinelGroup:
    """A primary, a replica, and three Sentinels that promote it."""

    def __init__(
        self, folder: Path, binary: str | Path | None = None, *, durable: bool = False, announce: Announce = int
    ) -> None:
        self._announce = announce
        first, second, *sentinels = free_ports(5)
        self.servers = [
            EmbeddedRedis(folder / f"server-{number}", port=port, binary=binary, durable=durable)
            for number, port in enumerate((first, second), 1)
        ]
        for server in self.servers:
            server.options |= {**_REPLICATION, "replica-announce-port": str(announce(server.port))}
        self.sentinels = [
            _Sentinel(folder / f"sentinel-{number}", port, binary, announce(first))
            for number, port in enumerate(sentinels, 1)
        ]

    @property
    def url(self) -> str:
        """See `RedisGroup.url`."""
        places = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{places}/{SERVICE}/0"

    def start(self) -> Self:
        """See `RedisGroup.start`."""
        first, second = self.servers
        first.start()
        second.start()
        command(second, "REPLICAOF", "127.0.0.1", self._announce(first.port))
        for sentinel in self.sentinels:
            sentinel.start()
        self.wait_until_safe()
        return self

    def stop(self) -> None:
        """See `RedisGroup.stop`."""
        for server in (*self.sentinels, *self.servers):
            server.stop()

    def primary(self, partition: Partition) -> EmbeddedRedis:
        """See `RedisGroup.primary`."""
        found: list[EmbeddedRedis] = []

        def look() -> bool:
            state = self._state(self.sentinels[0])
            found[:] = [server for server in self.servers if self._announce(server.port) == state["port"]]
            return bool(found[0].is_running and command(found[0], "ROLE")[0] == b"master")

        _until("there is a primary", look)
        return found[0]

    def wait_until_safe(self) -> None:
        """See `RedisGroup.wait_until_safe`."""
        _until("the Sentinels agree", lambda: all(self._sees_all(sentinel) for sentinel in self.sentinels))
        _until("the replica follows", lambda: _followers(self.servers) == 1)

    def _sees_all(self, sentinel: EmbeddedRedis) -> bool:
        state = self._state(sentinel)
        return bool(
            state["num-slaves"] == 1
            and state["num-other-sentinels"] == len(self.sentinels) - 1
            and state["flags"] == "master"
        )

    def _state(self, sentinel: EmbeddedRedis) -> Any:
        with Redis(port=sentinel.port) as redis:
            return redis.sentinel_master(SERVICE)


class _Sentinel(EmbeddedRedis):
    def __init__(self, folder: Path, port: int, binary: str | Path | None, primary_port: int) -> None:
        super().__init__(folder, port=port, binary=binary)
        self._file = folder / "sentinel.conf"
        self._primary_port = primary_port

    def command(self) -> list[str]:
        # It keeps what it learned in its file.
        if not self._file.exists():
            lines = [
                f"port {self.port}",
                "bind 127.0.0.1",
                f"dir {self._file.parent}",
                f"sentinel monitor {SERVICE} 127.0.0.1 {self._primary_port} 2",
                f"sentinel down-after-milliseconds {SERVICE} {SUSPECT_MS}",
                # After a failover that failed the next one waits for twice that.
                f"sentinel failover-timeout {SERVICE} {SUSPECT_MS}",
            ]
            self._file.write_text("\n".join(lines) + "\n")
        return [str(self.binary), str(self._file), "--sentinel"]


class ClusterGroup:
    """A Redis Cluster: primaries that share the slots so that each has a partition, and replicas if wanted."""

    def __init__(
        self,
        folder: Path,
        binary: str | Path | None = None,
        *,
        primaries: int = 3,
        replicas: int = 0,
        durable: bool = False,
        announce: Announce = int,
    ) -> None:
        """Prepare.

        Args:
            primaries: as many partitions are there to be.
            replicas: of each primary.
        """
        self._primaries = primaries
        self._announce = announce
        count = primaries * (1 + replicas)
        ports = free_ports(2 * count)
        self._bus_ports = dict(zip(ports[:count], ports[count:], strict=True))
        self.servers = [
            EmbeddedRedis(folder / f"node-{number}", port=port, binary=binary, durable=durable)
            for number, port in enumerate(self._bus_ports, 1)
        ]
        for server in self.servers:
            server.options |= {
                **_REPLICATION,
                "cluster-enabled": "yes",
                "cluster-node-timeout": str(SUSPECT_MS),
                "cluster-port": str(self._bus_ports[server.port]),
                "cluster-announce-ip": "127.0.0.1",
                "cluster-announce-port": str(announce(server.port)),
                "cluster-announce-bus-port": str(self._bus_ports[server.port]),
                # The others go on while one partition has no primary.
                "cluster-require-full-coverage": "no",
                # A replica whose connection was cut before its primary died is still the best there is.
                "cluster-replica-validity-factor": "0",
            }

    @property
    def url(self) -> str:
        """See `RedisGroup.url`."""
        # The rest of them must be found.
        places = ",".join(f"127.0.0.1:{self._announce(server.port)}" for server in self.servers[:2])
        return f"redis+cluster://{places}"

    def start(self) -> Self:
        """See `RedisGroup.start`."""
        for server in self.servers:
            server.start()
        first = self.servers[0]
        primaries, others = self.servers[: self._primaries], self.servers[self._primaries :]
        for number, (server, (low, high)) in enumerate(zip(primaries, slot_ranges(self._primaries), strict=True), 1):
            command(server, "CLUSTER", "ADDSLOTSRANGE", low, high)
            command(server, "CLUSTER", "SET-CONFIG-EPOCH", number)
        for server in self.servers[1:]:
            command(server, "CLUSTER", "MEET", "127.0.0.1", first.port, self._bus_ports[first.port])
        _until("the cluster is whole", lambda: all(map(self._is_whole, self.servers)))
        for number, server in enumerate(others):
            primary = primaries[number % self._primaries]
            # It may not have heard yet that this one is a primary.
            _until("a replica is one", lambda s=server, p=primary: self._follow(s, p))  # type: ignore[misc]
        self.wait_until_safe()
        return self

    def wait_until_safe(self) -> None:
        """See `RedisGroup.wait_until_safe`. Also all know of each other, and who may vote at a failover."""
        _until("the cluster is whole", lambda: all(map(self._is_whole, self.servers)))
        replicas = len(self.servers) - self._primaries
        _until("all know the replicas", lambda: all(self._sees(server, replicas) for server in self.servers))
        _until("the replicas follow", lambda: _followers(self.servers) == replicas)

    def stop(self) -> None:
        """See `RedisGroup.stop`."""
        for server in self.servers:
            server.stop()

    def primary(self, partition: Partition) -> EmbeddedRedis:
        """See `RedisGroup.primary`."""
        slot = slot_of(partition)
        found: list[EmbeddedRedis] = []

        def look() -> bool:
            asked = next(server for server in self.servers if server.is_running)
            for low, high, (_, port, *_), *_ in command(asked, "CLUSTER", "SLOTS"):
                if low <= slot <= high:
                    found[:] = [server for server in self.servers if self._announce(server.port) == port]
            return bool(found and found[0].is_running and command(found[0], "ROLE")[0] == b"master")

        _until(f"partition {partition} has a primary", look)
        return found[0]

    def move(self, partition: Partition, source: EmbeddedRedis, target: EmbeddedRedis) -> None:
        """Move a partition from one primary to another, key by key."""
        slot = slot_of(partition)
        source_id, target_id = (command(server, "CLUSTER", "MYID").decode() for server in (source, target))
        command(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        command(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        while keys := command(source, "CLUSTER", "GETKEYSINSLOT", slot, 100):
            command(source, "MIGRATE", "127.0.0.1", target.port, "", 0, 5_000, "KEYS", *keys)
        for server in (target, source, *self.servers):
            command(server, "CLUSTER", "SETSLOT", slot, "NODE", target_id)

    def _follow(self, server: EmbeddedRedis, primary: EmbeddedRedis) -> bool:
        command(server, "CLUSTER", "REPLICATE", command(primary, "CLUSTER", "MYID").decode())
        return True

    def _sees(self, server: EmbeddedRedis, replicas: int) -> bool:
        nodes = command(server, "CLUSTER", "NODES").decode().splitlines()
        return sum("slave" in node.split()[2].split(",") for node in nodes) == replicas

    def _is_whole(self, server: EmbeddedRedis) -> bool:
        lines = command(server, "CLUSTER", "INFO").decode().split()
        return {
            "cluster_state:ok",
            f"cluster_slots_ok:{REDIS_CLUSTER_HASH_SLOTS}",
            f"cluster_known_nodes:{len(self.servers)}",
        } <= set(lines)


_REPLICATION: Final = {"repl-diskless-sync": "yes", "repl-diskless-sync-delay": "0", "repl-timeout": "5"}


def slot_of(partition: Partition) -> int:
    """Return the slot of a partition; the namespace changes nothing."""
    return key_slot(Keys("any", partition).cluster().encode())


def slot_ranges(partitions: int) -> list[tuple[int, int]]:
    """Share all slots out, first and last, so that each range has one of so many partitions."""
    ends = sorted(slot_of(Partition(number)) for number in range(partitions))
    ends[-1] = REDIS_CLUSTER_HASH_SLOTS - 1
    return list(zip([0, *(end + 1 for end in ends[:-1])], ends, strict=True))


def replica_of(servers: Iterable[EmbeddedRedis], port: int) -> EmbeddedRedis:
    """Return the server that replicates the one that announces a port."""
    return next(server for server in servers if _info(server, "replication").get("master_port") == str(port))


def command(server: EmbeddedRedis, *words: str | int | bytes) -> Any:
    """Run a command on a server; the reply as it came."""
    with Redis(port=server.port, socket_timeout=2.0) as redis:
        redis.response_callbacks.clear()
        return redis.execute_command(*words)


def commands(servers: Iterable[EmbeddedRedis], *words: str | int) -> Sequence[Any]:
    """Run a command on each server that runs."""
    return [command(server, *words) for server in servers if server.is_running]


def _followers(servers: Sequence[EmbeddedRedis]) -> int:
    """Count the replicas that are sent what their primaries write.

    The primaries tell. A replica takes itself for connected up to a second before it is sent anything: not until it
    has acknowledged what it was given at first, so not while its offset is 0.
    """
    count = 0
    for info in [_info(server, "replication") for server in servers]:
        if info["role"] == "master":
            replicas = [info[f"slave{number}"] for number in range(int(info["connected_slaves"]))]
            count += sum("state=online," in replica and ",offset=0," not in replica for replica in replicas)
    return count


def _info(server: EmbeddedRedis, section: str) -> dict[str, str]:
    lines = command(server, "INFO", section).decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _until(what: str, look: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + READY_S
    while True:
        with suppress(RedisError, OSError, StopIteration, LookupError):
            if look():
                return
        if time.monotonic() > deadline_s:
            raise NotReady(f"after {READY_S:.0f} s it is not so that {what}")
        time.sleep(POLL_S)
