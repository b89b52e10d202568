"""`roomring deadletter`: what was set aside, why, and what becomes of it."""

import argparse
import asyncio
import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec import UNSET, DecodeError, Struct

from common.bus import ClusterShape, DeadLetters
from common.dead_letters import DeadLetter, content_of, decode_dead_letter, retry_batch
from common.errors import RoomringError, SettingsError
from common.ids import Shard
from common.outbox import OutboxEntry
from common.process import open_bus, open_store
from common.settings import WorkerSettings, load
from deploy.doctor import environment
from deploy.table import table

Place = tuple[Shard, int]


def run(args: argparse.Namespace) -> int:
    """List, show, retry or drop dead letters. See `roomring deadletter --help`."""
    settings = load(WorkerSettings, environment(os.environ, Path(args.data))[0])
    return asyncio.run(_run(args, settings))


async def _run(args: argparse.Namespace, settings: WorkerSettings) -> int:
    async with open_bus(settings) as bus:
        await bus.check()
        # A wrong number of shards would show a part of them, and that looks like all is well.
        await bus.open_cluster(ClusterShape(settings.shards, settings.partitions))
        if args.action == "list":
            return await _list(bus, settings, args.limit, as_json=args.json)
        place = _place(args.letter, settings)
        if args.action == "show":
            return await _show(bus, place, as_json=args.json)
        if args.action == "retry":
            return await _retry(bus, place, settings)
        if not await bus.drop_dead_letter(*place):
            raise _missing(place)
        _say(f"{_id(place)}: dropped")
        return 0


async def _list(bus: DeadLetters, settings: WorkerSettings, limit: int, *, as_json: bool) -> int:
    shards = [Shard(number) for number in range(settings.shards)]
    total = sum(await bus.dead_letter_counts(shards))
    entries = await bus.dead_letters(shards, limit)
    letters = [_described((entry.shard, entry.position), entry.data) for entry in entries]
    letters = sorted(letters, key=lambda letter: str(letter["at"]))[:limit]
    if as_json:
        _say(json.dumps(letters, indent=2))
        return 0
    if not letters:
        _say("there are no dead letters")
        return 0
    columns = ("id", "kind", "what", "room", "at", "error")
    _say(table(columns, [[letter[column] for column in columns] for letter in letters]))
    if total > len(letters):
        _say(f"and {total - len(letters)} more")
    return 0


async def _show(bus: DeadLetters, place: Place, *, as_json: bool) -> int:
    data = await _read(bus, place)
    described = _described(place, data)
    letter = _decoded(data)
    content = None if letter is None else content_of(letter)
    raw = data if letter is None else letter.content
    described["content"] = raw.hex() if content is None else _named(content)
    trace = "" if letter is None else letter.traceback
    if as_json:
        _say(json.dumps(described | {"traceback": trace}, indent=2))
        return 0
    for name, value in described.items():
        _say(f"{name:<9}{value if isinstance(value, str) else json.dumps(value)}")
    if trace:
        _say("\n" + trace.rstrip())
    return 0


async def _retry(bus: DeadLetters, place: Place, settings: WorkerSettings) -> int:
    letter = _decoded(await _read(bus, place))
    content = None if letter is None else content_of(letter)
    if isinstance(content, OutboxEntry):
        await _store(content, settings)
        await bus.drop_dead_letter(*place)
        _say(f"{_id(place)}: the database has it")
        return 0
    batch = None if letter is None else retry_batch(letter)
    if batch is None:
        raise RoomringError(
            f"{_id(place)} cannot be retried: it cannot be read, or was about a connection that came or went; "
            f"`roomring deadletter drop {_id(place)}` removes it"
        )
    if not await bus.retry_dead_letter(*place, batch):
        raise _missing(place)
    _say(f"{_id(place)}: given to its room again; if the room still fails at it, it comes back")
    return 0


async def _store(entry: OutboxEntry, settings: WorkerSettings) -> None:
    """Append a record to the database. Another one, or a second time, changes nothing.

    Raises:
        RecordRefused, StoreUnavailable, SchemaMismatch: it is not there.
    """
    async with open_store(settings) as store:
        if store is None:
            raise SettingsError("set ROOMRING_DATABASE_URL to the database of the cluster, which is to take it")
        await store.append([entry.record])


async def _read(bus: DeadLetters, place: Place) -> bytes:
    data = await bus.dead_letter(*place)
    if data is None:
        raise _missing(place)
    return data


def _described(place: Place, data: bytes) -> dict[str, Any]:
    letter = _decoded(data)
    if letter is None:
        return {"id": _id(place), "kind": "unknown", "what": "", "room": "", "at": "", "error": "of another release"}
    at = datetime.fromtimestamp(letter.at_ms / 1000, UTC)
    return {
        "id": _id(place),
        "kind": letter.kind,
        "what": letter.what,
        "room": letter.room_id,
        "at": f"{at:%Y-%m-%d %H:%M:%S}",
        "edge": letter.edge_id,
        "worker": letter.worker_id,
        "error": " ".join(letter.error.split()),
    }


def _decoded(data: bytes) -> DeadLetter | None:
    try:
        return decode_dead_letter(data)
    except DecodeError:
        return None


def _named(value: object) -> object:
    """Return structs as objects with the names of their fields; as they are stored they have none."""
    if isinstance(value, Struct):
        fields = {name: getattr(value, name) for name in value.__struct_fields__}
        named = {name: _named(field) for name, field in fields.items() if field is not UNSET}
        return {"type": type(value).__name__, **named}
    if isinstance(value, list | tuple):
        return [_named(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value


def _place(text: str, settings: WorkerSettings) -> Place:
    match = re.fullmatch(r"([0-9]{1,4})-([0-9]{1,15})", text)
    if match is None or int(match[1]) >= settings.shards:
        raise SettingsError(f"{text!r} is no id of a dead letter; `roomring deadletter list` shows them")
    return Shard(int(match[1])), int(match[2])


def _id(place: Place) -> str:
    return f"{place[0]}-{place[1]}"


def _missing(place: Place) -> SettingsError:
    return SettingsError(f"there is no dead letter {_id(place)}; `roomring deadletter list` shows them")


def _say(text: str) -> None:
    print(text)  # noqa: T201 - the command's own output
