"""What Redis says that it has done: commands, bytes, calls of each command. Source: redis.io/commands/info."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from loadtest.usage import RedisUsage

_TIMEOUT_S = 2.0


@dataclass(frozen=True)
class RedisCounters:
    """What it counted from its start to now."""

    run_id: str
    commands: int
    bytes_in: int
    bytes_out: int
    calls: Mapping[str, int] = field(default_factory=dict)
    """Command -> calls."""
    command_us: Mapping[str, int] = field(default_factory=dict)
    """Command -> microseconds in it."""


def parse_info(info: Mapping[str, Any]) -> RedisCounters:
    """Take the counters from the answer to INFO with the sections server, stats and commandstats.

    Raises:
        ValueError: it lacks one of them.
    """
    try:
        commands = {name.removeprefix("cmdstat_"): stats for name, stats in info.items() if name.startswith("cmdstat_")}
        return RedisCounters(
            run_id=str(info["run_id"]),
            commands=int(info["total_commands_processed"]),
            bytes_in=int(info["total_net_input_bytes"]),
            bytes_out=int(info["total_net_output_bytes"]),
            calls={name: int(stats["calls"]) for name, stats in commands.items()},
            command_us={name: int(stats["usec"]) for name, stats in commands.items()},
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"INFO has no {error}") from error


def usage_between(begin: RedisCounters, end: RedisCounters) -> RedisUsage:
    """Return what it did between two readings, the readings' own INFO left out."""
    restarted = begin.run_id != end.run_id
    if restarted:
        begin = RedisCounters(end.run_id, 0, 0, 0)
    calls = {name: count - begin.calls.get(name, 0) for name, count in end.calls.items() if name != "info"}
    called = sorted((name for name, count in calls.items() if count), key=lambda name: (-calls[name], name))
    return RedisUsage(
        commands=end.commands - begin.commands,
        bytes_in=end.bytes_in - begin.bytes_in,
        bytes_out=end.bytes_out - begin.bytes_out,
        calls={name: calls[name] for name in called},
        command_us={name: end.command_us[name] - begin.command_us.get(name, 0) for name in called},
        restarted=restarted,
    )


class RedisReader:
    """Asks one Redis server. `close` it at the end."""

    def __init__(self, url: str) -> None:
        """Take the URL; nothing is connected yet. An empty one means that nothing is known of Redis."""
        self._redis = Redis.from_url(url, socket_timeout=_TIMEOUT_S) if url else None

    async def read(self) -> RedisCounters | None:
        """Return what it has counted; None where it does not answer. Takes about a millisecond."""
        if self._redis is None:
            return None
        try:
            return parse_info(await self._redis.info("server", "stats", "commandstats"))
        except (RedisError, OSError, ValueError):
            return None

    async def close(self) -> None:
        """Close the connection."""
        if self._redis is not None:
            await self._redis.aclose()
