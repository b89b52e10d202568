"""Which server has a partition: the only one, the primary that Sentinels name, or a node of a Redis Cluster.

Owns finding the servers, finding them again when one of them is in doubt, and their connections. Sends nothing for
anybody else. Invariant: when another server turns out to have a partition, all connections to the one before are
closed, also those that wait there for something to read.

A server that is named in the URL itself needs no finding, and the calls to it cost nothing here.
"""

import asyncio
import math
import random
import re
import time
from collections.abc import Sequence
from typing import Any, Final, Protocol

from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import RedisError, ResponseError

from common.errors import BusUnavailable
from common.ids import Partition
from common.redis_link import RedisAddress, RedisLink, RedisLinks, describe, pack
from common.redis_url import SERVER_PORT, Place, RedisUrl, parse_redis_url

LOOK_AGAIN_S: Final = 1.0
"""An answer of Sentinels or of a node is renewed when it is older. Only so a process learns of a failover that it
does not feel: the old primary may still answer it, and what it writes there will be lost."""

ASK_TIMEOUT_MS: Final = 500
"""For one Sentinel or node. The next one is asked after it."""


class _Finder(Protocol):
    async def find(self) -> list[Place | None]:
        """Return the server of each partition; None where it has none now.

        Raises:
            BusUnavailable: nobody could say.
        """
        ...

    async def close(self) -> None: ...


class RedisTopology:
    """The connections that the calls of each partition take."""

    def __init__(self, url: str, keys: Sequence[str], connections_max: int, timeout_ms: int) -> None:
        """Prepare; nothing is sent yet.

        Args:
            keys: one key of each partition.
            connections_max: to each server, beside those of readers.
            timeout_ms: how long a server may take to connect, and for a call.

        Raises:
            SettingsError: the URL is wrong. One line that says what to do.
        """
        self.url = parse_redis_url(url)
        self._connections_max = connections_max
        self._timeout_ms = timeout_ms
        self._servers: dict[Place, RedisLinks] = {}
        self._of: list[RedisLinks | None] = [None] * len(keys)
        self.only: RedisLinks | None = None
        """Where one server has all partitions for ever."""
        self._finder: _Finder | None = None
        self._looked_s = math.inf
        """When the servers were looked for; infinite where they need not be."""
        self._search: asyncio.Task[None] | None = None
        self._closed = False
        if self.url.form == "server":
            self.only = RedisLinks(RedisAddress(url, timeout_ms), connections_max, timeout_ms)
            self._of = [self.only] * len(keys)
            return
        # What is wrong in the options of the URL shows now.
        self._address(("127.0.0.1", SERVER_PORT))
        if self.url.form == "sentinel":
            self._finder = _Sentinels(self.url, len(keys))
        else:
            self._finder = _Nodes(self.url, [key_slot(key.encode()) for key in keys])

    async def links(self, partition: Partition) -> RedisLinks:
        """Return the connections to the server that has a partition.

        Raises:
            BusUnavailable: it cannot be found, or none has it.
        """
        links = self._of[partition]
        if links is None:
            search = self._look()
            await asyncio.wait([search])
            if search.cancelled():
                raise BusUnavailable("Redis: the bus was closed")
            search.result()
            links = self._of[partition]
            if links is None:
                raise BusUnavailable(f"Redis: no server has partition {partition} now")
        elif time.monotonic() - self._looked_s > LOOK_AGAIN_S:
            self._look()
        return links

    async def all_links(self) -> dict[RedisLinks, list[Partition]]:
        """Return the connections to each server, with the partitions that it has."""
        found: dict[RedisLinks, list[Partition]] = {}
        for number in range(len(self._of)):
            found.setdefault(await self.links(Partition(number)), []).append(Partition(number))
        return found

    async def servers(self) -> dict[str, list[Partition]]:
        """Return the URL of each server, with the partitions that it has.

        Raises:
            BusUnavailable: some cannot be found.
        """
        found = await self.all_links()
        if self.url.form == "server":
            return {self.url.text: next(iter(found.values()))}
        return {self.url.server(place): found[links] for place, links in self._servers.items() if links in found}

    async def close(self) -> None:
        """Close all connections. A call that waits ends with `BusUnavailable`, and so do later ones."""
        self._closed = True
        if self._search is not None:
            self._search.cancel()
            await asyncio.wait([self._search])
        for links in {links for links in self._of if links is not None} | set(self._servers.values()):
            await links.close()
        if self._finder is not None:
            await self._finder.close()

    def _look(self) -> asyncio.Task[None]:
        """Look for the servers. Who asks while another looks gets the same answer."""
        if self._closed:
            raise BusUnavailable("Redis: the bus was closed")
        if self._search is None or self._search.done():
            self._search = asyncio.create_task(self._find())
            # Nobody may wait for it; what it failed of, the next call finds out.
            self._search.add_done_callback(lambda done: done.cancelled() or done.exception())
        return self._search

    async def _find(self) -> None:
        assert self._finder is not None
        self._looked_s = time.monotonic()
        found = await self._finder.find()
        before, self._servers = self._servers, {}
        for place in found:
            if place is not None and place not in self._servers:
                self._servers[place] = before.pop(place) if place in before else self._connect(place)
        self._of = [self._servers[place] if place is not None else None for place in found]
        for links in before.values():
            await links.close()

    def _connect(self, place: Place) -> RedisLinks:
        def doubt() -> None:
            self._of = [None if links is doubted else links for links in self._of]

        doubted = RedisLinks(self._address(place), self._connections_max, self._timeout_ms, doubt)
        return doubted

    def _address(self, place: Place) -> RedisAddress:
        return RedisAddress(self.url.server(place), self._timeout_ms)


class _Sentinels:
    """Asks Sentinels for the primary, and the primary whether it is one.

    Source: Redis documentation, "Guidelines for Redis clients with support for Redis Sentinel".
    """

    def __init__(self, url: RedisUrl, partitions: int) -> None:
        self._url = url
        self._partitions = partitions
        options = RedisAddress(url.server(url.places[0]), ASK_TIMEOUT_MS).encryption
        self._sentinel = Sentinel(  # type: ignore[no-untyped-call]
            url.places,
            sentinel_kwargs={
                **options,
                "username": url.sentinel_username,
                "password": url.sentinel_password,
                "socket_timeout": ASK_TIMEOUT_MS / 1000,
                "socket_connect_timeout": ASK_TIMEOUT_MS / 1000,
                "retry": Retry(NoBackoff(), 0),
            },
        )
        self._primary: tuple[Place, RedisLink] | None = None

    async def find(self) -> list[Place | None]:
        try:
            host, port = await self._sentinel.discover_master(self._url.service)
        except MasterNotFoundError as error:
            # Its text shows every client with all its options.
            asked = ", ".join(f"{host}:{port}" for host, port in self._url.places)
            reasons = (
                ", ".join(dict.fromkeys(re.findall(r" - \S*?(\w+Error)\b", str(error)))) or "unknown or taken for dead"
            )
            raise BusUnavailable(
                f"Redis: no Sentinel ({asked}) names a primary {self._url.service!r}: {reasons}"
            ) from error
        except (RedisError, OSError) as error:
            raise BusUnavailable(describe(error)) from error
        place = (str(host), int(port))
        if self._primary is None or self._primary[0] != place:
            await self.close()
            self._primary = (place, RedisLink(RedisAddress(self._url.server(place), ASK_TIMEOUT_MS)))
        (role,) = await self._primary[1].call(pack("ROLE"), 1, ASK_TIMEOUT_MS)
        if isinstance(role, ResponseError):
            raise BusUnavailable(describe(role)) from role
        if role[0] != b"master":
            # Sentinels name a server some moments before it is told to be one.
            raise BusUnavailable(f"Redis: {place[0]}:{place[1]} is to be the primary and is not yet")
        return [place] * self._partitions

    async def close(self) -> None:
        if self._primary is not None:
            await self._primary[1].close()
            self._primary = None
        for sentinel in self._sentinel.sentinels:
            await sentinel.connection_pool.disconnect()


class _Nodes:
    """Asks nodes of a Redis Cluster who has which slots. Source: Redis command page, CLUSTER SLOTS."""

    def __init__(self, url: RedisUrl, slots: Sequence[int]) -> None:
        self._url = url
        self._slots = slots
        self._known: set[Place] = set()

    async def find(self) -> list[Place | None]:
        # One that was away, or that is cut off, may tell what was; so not always the same is asked first.
        known = list(self._known)
        random.shuffle(known)
        failure: BusUnavailable | None = None
        for place in [*known, *(place for place in self._url.places if place not in self._known)]:
            try:
                ranges = await self._ask(place)
            except BusUnavailable as error:
                failure = error
                continue
            self._known = {node for _, _, nodes in ranges for node in nodes}
            return [_primary_of(slot, ranges) for slot in self._slots]
        assert failure is not None
        raise failure

    async def close(self) -> None:
        pass

    async def _ask(self, place: Place) -> list[tuple[int, int, list[Place]]]:
        """Return ranges of slots: first, last, the nodes that have them, the primary first."""
        link = RedisLink(RedisAddress(self._url.server(place), ASK_TIMEOUT_MS))
        try:
            (answer,) = await link.call(pack("CLUSTER", "SLOTS"), 1, ASK_TIMEOUT_MS)
        finally:
            await link.close()
        if isinstance(answer, ResponseError):
            raise BusUnavailable(describe(answer)) from answer
        return [(first, last, [_place_of(node, place) for node in nodes]) for first, last, *nodes in answer]


def _place_of(node: list[Any], asked: Place) -> Place:
    # A node that does not know its own name leaves it out: it is the one that was asked.
    return (node[0].decode() if node[0] else asked[0], int(node[1]))


def _primary_of(slot: int, ranges: Sequence[tuple[int, int, list[Place]]]) -> Place | None:
    return next((nodes[0] for first, last, nodes in ranges if first <= slot <= last), None)
