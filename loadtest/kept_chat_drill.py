"""`python -m loadtest.kept_chat_drill`: many people talk while the database is away and a worker dies.

Starts a cluster of its own with a PostgreSQL, sends messages through both edges, has what was not answered
sent again, takes the database away in the middle and kills a worker meanwhile. Then it compares what was
acknowledged, what every receiver heard, what the senders were told to be stored, and what is stored.

The invariant that it looks for: each acknowledged message is in the database exactly once, at the place at
which everybody heard it, and its sender was told so. Linux only: it looks for processes in /proc.
"""

import argparse
import asyncio
import contextlib
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import asyncpg
from msgspec import Struct, json

from common.arguments import count, positive
from common.ids import RoomId
from common.ring import shard_of
from common.settings import DEV_TOKEN_SECRET
from deploy.devcluster import DevCluster
from edge.tokens import mint
from loadtest.database import Database, Outage
from loadtest.table import render_table

ROOMS_PER_SENDER_MAX: Final = 4
"""Each message is heard by some people on both edges, and the drill's own process keeps up with what they hear."""

RESEND_AFTER_S: Final = 1.0
RESEND_LOOK_S: Final = 0.1
HEARTBEAT_S: Final = 10.0
SETTLE_S: Final = 60.0
"""After the last message and the outage: in it all must be acknowledged and stored."""

SHARDS: Final = 16
BEFORE_OUTAGE_S: Final = 1.0
"""What was sent so shortly before the outage may have been caught by it."""


@dataclass(frozen=True)
class DrillPlan:
    """What the drill does.

    Messages are sent evenly over twice the outage; the outage takes the half in the middle, and the worker of
    the first room dies in the middle of that.
    """

    messages: int
    senders: int
    rooms: int
    outage_s: float
    outage: Outage = "stop"


@dataclass
class Figures:
    """What came out. Latenesses are milliseconds from the first `ack` to the first `persisted` of a message."""

    sent: int = 0
    resent: int = 0
    refused: int = 0
    """Answers that were `error`; those messages were sent again."""
    acknowledged: int = 0
    acknowledged_while_away: int = 0
    told_stored: int = 0
    told_again: int = 0
    """`persisted` that came more than once, as it may after the death of a worker."""
    in_database: int = 0
    doubles: int = 0
    missing: int = 0
    order_mismatches: int = 0
    resyncs: int = 0
    late_outside_ms: list[float] = field(default_factory=list)
    """Of messages that were sent over a second before the outage, or after it had been caught up."""
    late_max_ms: float = 0.0
    caught_up_after_s: float = 0.0
    """From the database's return until all that was sent while it was away was stored."""
    per_second: float = 0.0
    violations: list[str] = field(default_factory=list)

    def table(self) -> list[str]:
        """Return the lines of the report."""
        rows = [
            ("sent", f"{self.sent:,}"),
            ("sent again", f"{self.resent:,}"),
            ("refused, then sent again", f"{self.refused:,}"),
            ("acknowledged", f"{self.acknowledged:,}"),
            ("acknowledged while the database was away", f"{self.acknowledged_while_away:,}"),
            ("told to be stored", f"{self.told_stored:,}"),
            ("told so more than once", f"{self.told_again:,}"),
            ("in the database", f"{self.in_database:,}"),
            ("doubles", f"{self.doubles:,}"),
            ("missing", f"{self.missing:,}"),
            ("order mismatches", f"{self.order_mismatches:,}"),
            ("stored after the ack, outside the outage, p50", f"{percentile(self.late_outside_ms, 50):,.1f} ms"),
            ("stored after the ack, outside the outage, p99", f"{percentile(self.late_outside_ms, 99):,.1f} ms"),
            ("stored after the ack, max of all", f"{self.late_max_ms:,.0f} ms"),
            ("caught up after the outage", f"{self.caught_up_after_s:,.2f} s"),
            ("messages a second", f"{self.per_second:,.0f}"),
        ]
        return render_table(rows)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that so many percent do not exceed; 0 for none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0


# --- the people -----------------------------------------------------------------------------------------


class _Payload(Struct):
    roomId: str = ""  # noqa: N815
    epoch: int = 0
    seq: int = 0
    messageId: str = ""  # noqa: N815
    recovered: bool = False
    text: str = ""
    code: str = ""


class _Frame(Struct):
    t: str
    payload: _Payload
    seq: int = 0
    epoch: int = 0
    re: str = ""


_decode: Final = json.Decoder(_Frame).decode
_encode: Final = json.Encoder().encode

Heard = tuple[int, int, str, str]
"""(epoch, seq, message id, text); the text of a message of the drill is the `id` it was sent with."""


@dataclass
class Sent:
    """A message on its way. Times are monotonic seconds."""

    room: str
    first_s: float
    last_s: float
    again_at_s: float
    acked_s: float = 0.0
    seq: int = 0
    message_id: str = ""
    stored_s: float = 0.0
    stored_epoch: int = 0
    stored_times: int = 0


class Person:
    """Sends to some rooms, and takes note of all that is heard there. One connection, which must not break."""

    def __init__(self, name: str, url: str, rooms: Sequence[str]) -> None:
        self.name = name
        self.rooms = rooms
        self.sent: dict[str, Sent] = {}
        self.heard: dict[str, list[Heard]] = {room: [] for room in rooms}
        self.resent = self.refused = self.resyncs = 0
        self.violations: list[str] = []
        self._url = url
        self._waiting: dict[str, Sent] = {}
        self._unstored: dict[str, Sent] = {}
        self._places: dict[str, tuple[int, int]] = {}
        self._entered = asyncio.Event()
        self._socket: aiohttp.ClientWebSocketResponse | None = None

    @property
    def is_done(self) -> bool:
        """Whether all that was sent is acknowledged and stored."""
        return not self._waiting and not self._unstored

    async def run(self, session: aiohttp.ClientSession) -> None:
        """Connect, enter, and listen until cancelled."""
        token = mint(DEV_TOKEN_SECRET, algorithm="HS256", claims=_claims(self.name, self.rooms))
        async with session.ws_connect(self._url, protocols=("roomring.v1.json",), max_msg_size=0) as socket:
            self._socket = socket
            user = {"userId": self.name, "displayName": self.name, "avatarId": "fox"}
            for room in self.rooms:
                await self._send("join_room", {"roomId": room, "user": user, "token": token})
            looks = asyncio.create_task(self._look_after())
            try:
                async for message in socket:
                    self._take(_decode(message.data))
                self.violations.append(f"{self.name}: the connection ended with {socket.close_code}")
            finally:
                looks.cancel()
                await asyncio.gather(looks, return_exceptions=True)

    async def enter(self) -> None:
        """Wait until all rooms are entered."""
        await self._entered.wait()

    async def say(self, room: str) -> None:
        """Send the next message."""
        message_id = f"{self.name}-{len(self.sent) + 1}"
        now_s = time.monotonic()
        sent = Sent(room, now_s, now_s, now_s + RESEND_AFTER_S)
        self.sent[message_id] = self._waiting[message_id] = sent
        await self._say(room, message_id)

    async def _say(self, room: str, message_id: str) -> None:
        await self._send("chat_send", {"roomId": room, "text": message_id}, id=message_id)

    async def _send(self, t: str, payload: dict[str, Any], **envelope: str) -> None:
        assert self._socket is not None
        ts = int(time.time() * 1000)
        await self._socket.send_str(_encode({"v": 1, "t": t, "ts": ts, "payload": payload, **envelope}).decode())

    async def _look_after(self) -> None:
        """Send again what was not acknowledged; and say that one lives."""
        heartbeat_s = time.monotonic() + HEARTBEAT_S
        while True:
            await asyncio.sleep(RESEND_LOOK_S)
            now_s = time.monotonic()
            for message_id, sent in list(self._waiting.items()):
                if now_s >= sent.again_at_s:
                    sent.again_at_s = now_s + RESEND_AFTER_S
                    self.resent += 1
                    await self._say(sent.room, message_id)
            if now_s >= heartbeat_s:
                heartbeat_s = now_s + HEARTBEAT_S
                # Without a room: it would have what is missing replayed, and hide the very gaps that are looked for.
                await self._send("heartbeat", {"clientTimeMs": int(time.time() * 1000)})

    def _take(self, frame: _Frame) -> None:
        payload = frame.payload
        match frame.t:
            case "room_state":
                self._state(payload)
            case "ack":
                self._acknowledged(frame.re, payload)
            case "persisted":
                self._stored(payload)
            case "error" | "auth_error":
                self._refused(frame.re, payload.code)
            case "resync":
                self.resyncs += 1
            case _ if frame.seq:
                self._reliable(frame)

    def _state(self, payload: _Payload) -> None:
        known = self._places.get(payload.roomId)
        if known is None:
            self._places[payload.roomId] = (payload.epoch, payload.seq)
        elif not payload.recovered:
            self.violations.append(f"{self.name}: {payload.roomId} began again after {known}")
        if len(self._places) == len(self.rooms):
            self._entered.set()

    def _reliable(self, frame: _Frame) -> None:
        room = frame.payload.roomId
        epoch, seq = self._places.get(room, (0, 0))
        if (frame.epoch, frame.seq) != (epoch, seq + 1):
            self.violations.append(f"{self.name}: {room} {frame.epoch}:{frame.seq} after {epoch}:{seq}")
        self._places[room] = (frame.epoch, frame.seq)
        if frame.t == "chat_broadcast":
            self.heard[room].append((frame.epoch, frame.seq, frame.payload.messageId, frame.payload.text))

    def _acknowledged(self, re: str, payload: _Payload) -> None:
        sent = self.sent.get(re)
        if sent is None:
            self.violations.append(f"{self.name}: an ack of nothing, {re!r}")
        elif self._waiting.pop(re, None) is not None:
            sent.acked_s = time.monotonic()
            sent.seq, sent.message_id = payload.seq, payload.messageId
            if not sent.stored_times:
                self._unstored[payload.messageId] = sent
        elif (sent.seq, sent.message_id) != (payload.seq, payload.messageId):
            self.violations.append(f"{self.name}: {re} acknowledged at {sent.seq} and at {payload.seq}")

    def _stored(self, payload: _Payload) -> None:
        # The worker sends the ack before the entry can be read from the outbox, and the edge keeps their order.
        sent = self._unstored.pop(payload.messageId, None)
        if sent is not None:
            sent.stored_s, sent.stored_epoch, sent.stored_times = time.monotonic(), payload.epoch, 1
            if (sent.room, sent.seq) != (payload.roomId, payload.seq):
                self.violations.append(f"{self.name}: {payload.messageId} stored at another place than told")
            return
        again = next((one for one in self.sent.values() if one.message_id == payload.messageId), None)
        if again is None:
            self.violations.append(f"{self.name}: told that {payload.messageId} is stored, which was not acknowledged")
        else:
            again.stored_times += 1

    def _refused(self, re: str, code: str) -> None:
        if re not in self._waiting:
            self.violations.append(f"{self.name}: refused with {code}")
        self.refused += 1


def _claims(name: str, rooms: Sequence[str]) -> dict[str, object]:
    now_s = int(time.time())
    return {
        "sub": name,
        "rooms": list(rooms),
        "iat": now_s,
        "exp": now_s + 3_600,
        "iss": "roomring",
        "aud": "roomring",
        "device": "desktop",
    }


# --- the drill ------------------------------------------------------------------------------------------


class _Drill:
    def __init__(self, plan: DrillPlan, cluster: DevCluster, database: Database) -> None:
        self._plan = plan
        self._cluster = cluster
        self._database = database
        tag = secrets.token_hex(3)
        # Half of them are lobbies, half spaces.
        self._rooms = [f"{'lobby:' if number % 2 == 0 else ''}drill-{tag}-{number}" for number in range(plan.rooms)]
        each = min(plan.rooms, ROOMS_PER_SENDER_MAX)
        self._people = [
            Person(
                f"{tag}p{number}",
                cluster.edges[number % len(cluster.edges)].ws_url,
                [self._rooms[(number * 7 // 2 + step) % plan.rooms] for step in range(each)],
            )
            for number in range(plan.senders)
        ]
        self._away_s = self._back_s = self._began_s = self._all_sent_s = 0.0
        self.figures = Figures()

    async def run(self) -> Figures:
        async with aiohttp.ClientSession() as session:
            listening = [asyncio.create_task(person.run(session)) for person in self._people]
            try:
                async with asyncio.timeout(30):
                    await asyncio.gather(*(person.enter() for person in self._people))
                self._began_s = time.monotonic()
                await asyncio.gather(self._talk(), self._trouble())
                await self._settle()
            finally:
                for task in listening:
                    task.cancel()
                for result in await asyncio.gather(*listening, return_exceptions=True):
                    if isinstance(result, Exception):
                        self.figures.violations.append(f"a listener failed: {result!r}")
        await self._compare()
        return self.figures

    async def _talk(self) -> None:
        plan = self._plan
        apart_s = 2 * plan.outage_s / plan.messages
        for number in range(plan.messages):
            await asyncio.sleep(max(0.0, self._began_s + number * apart_s - time.monotonic()))
            person = self._people[number % len(self._people)]
            await person.say(person.rooms[number // len(self._people) % len(person.rooms)])
        self._all_sent_s = time.monotonic()

    async def _trouble(self) -> None:
        plan = self._plan
        await asyncio.sleep(plan.outage_s / 2)
        owner = await self._owner(self._rooms[0])
        self._away_s = time.monotonic()
        await self._database.take_away(plan.outage)
        await asyncio.sleep(self._away_s + plan.outage_s / 2 - time.monotonic())
        self._cluster.kill(owner)
        await asyncio.sleep(self._away_s + plan.outage_s - time.monotonic())
        self._back_s = time.monotonic()
        await self._database.bring_back(plan.outage)

    async def _owner(self, room: str) -> str:
        """Return the name of the worker that owns a room."""
        url = f"{self._cluster.edges[0].internal_url}/admin/cluster"
        headers = {"Authorization": f"Bearer {self._cluster.admin_key}"}
        async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
            seen = await answer.json()
        owner = seen["shards"][shard_of(RoomId(room), SHARDS)]["owner"]
        ports = {worker["id"]: worker["internalPort"] for worker in seen["workers"]}
        return next(worker.name for worker in self._cluster.workers if worker.internal_port == ports[owner])

    async def _settle(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                while not all(person.is_done and self._heard_all(person) for person in self._people):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)

    def _heard_all(self, person: Person) -> bool:
        return all(len(heard) >= self._said_in(room) for room, heard in person.heard.items())

    def _said_in(self, room: str) -> int:
        return sum(sent.room == room for person in self._people for sent in person.sent.values())

    async def _compare(self) -> None:
        figures = self.figures
        connection = await asyncpg.connect(self._database.url)
        try:
            rows = await connection.fetch(
                "SELECT room_id, epoch, seq, message_id, text, author_id FROM messages ORDER BY room_id, epoch, seq"
            )
        finally:
            await connection.close()
        stored: dict[str, list[Heard]] = {room: [] for room in self._rooms}
        for room, epoch, seq, message_id, text, _ in rows:
            stored[room].append((epoch, seq, message_id, text))
        figures.in_database = len(rows)
        times = Counter((row["author_id"], row["text"]) for row in rows)
        figures.doubles = sum(number - 1 for number in times.values())
        for person in self._people:
            self._compare_sent(person, stored)
            for room, heard in person.heard.items():
                if heard != stored[room]:
                    figures.order_mismatches += 1
                    figures.violations.append(
                        f"{person.name} heard {len(heard)} messages in {room}, {len(stored[room])} are stored, "
                        f"{len({*heard} & {*stored[room]})} in common"
                    )
            figures.violations += person.violations
            figures.resent += person.resent
            figures.refused += person.refused
            figures.resyncs += person.resyncs
        self._measure()
        self._judge()

    def _compare_sent(self, person: Person, stored: dict[str, list[Heard]]) -> None:
        figures = self.figures
        known = {room: {*rows} for room, rows in stored.items()}
        for text, sent in person.sent.items():
            figures.sent += 1
            figures.acknowledged += bool(sent.acked_s)
            figures.told_stored += bool(sent.stored_times)
            figures.told_again += max(0, sent.stored_times - 1)
            if sent.stored_times and (sent.stored_epoch, sent.seq, sent.message_id, text) not in known[sent.room]:
                figures.violations.append(f"{text} was told to be stored at {sent.stored_epoch}:{sent.seq} and is not")
            if sent.acked_s and (sent.seq, sent.message_id, text) not in {row[1:] for row in known[sent.room]}:
                figures.missing += 1

    def _measure(self) -> None:
        figures = self.figures
        everything = [sent for person in self._people for sent in person.sent.values() if sent.stored_times]
        if not everything:
            return
        while_away = [sent for sent in everything if self._away_s - BEFORE_OUTAGE_S <= sent.first_s < self._back_s]
        caught_up_s = max([self._back_s, *(sent.stored_s for sent in while_away)])
        figures.caught_up_after_s = caught_up_s - self._back_s
        figures.late_outside_ms = [
            1000 * (sent.stored_s - sent.acked_s)
            for sent in everything
            if sent.first_s < self._away_s - BEFORE_OUTAGE_S or sent.first_s > caught_up_s
        ]
        figures.late_max_ms = max(1000 * (sent.stored_s - sent.acked_s) for sent in everything)
        figures.acknowledged_while_away = sum(self._away_s < sent.acked_s < self._back_s for sent in everything)
        figures.per_second = len(everything) / (self._all_sent_s - self._began_s)

    def _judge(self) -> None:
        figures = self.figures
        for name, found, expected in (
            ("acknowledged", figures.acknowledged, self._plan.messages),
            ("told to be stored", figures.told_stored, self._plan.messages),
            ("in the database", figures.in_database, self._plan.messages),
            ("doubles", figures.doubles, 0),
            ("missing", figures.missing, 0),
            ("resyncs", figures.resyncs, 0),
        ):
            if found != expected:
                figures.violations.append(f"{name}: {found}, expected {expected}")
        # Until the worker dies nothing but the database is away, and chat must not notice.
        early_s = self._away_s + self._plan.outage_s / 3
        waited = [
            text
            for person in self._people
            for text, sent in person.sent.items()
            if self._away_s <= sent.first_s < early_s and not 0 < sent.acked_s < self._back_s
        ]
        if waited:
            figures.violations.append(f"{len(waited)} messages waited for the database, {waited[0]} for one")


@contextlib.asynccontextmanager
async def _running(database: Database) -> AsyncIterator[DevCluster]:
    environ = {
        "ROOMRING_SHARDS": str(SHARDS),
        "ROOMRING_CHAT_PER_SECOND": "1000",
        "ROOMRING_CHAT_BURST": "1000",
    }
    cluster = DevCluster(database_url=database.url, environ=environ)
    await asyncio.to_thread(cluster.start)
    try:
        yield cluster
    finally:
        await asyncio.to_thread(cluster.stop)


async def run_drill(plan: DrillPlan, *, folder: Path | None = None) -> Figures:
    """Run the drill on a cluster of its own. `folder` is for the database; None: a temporary one."""
    with contextlib.ExitStack() as stack:
        place = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="roomring-drill-")))
        # As root, the server runs as another user, who must get there.
        place.chmod(0o755)
        database = Database(place / "postgres")
        await database.start()
        try:
            async with _running(database) as cluster:
                return await _Drill(plan, cluster, database).run()
        finally:
            await database.stop()


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.kept_chat_drill", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--messages", type=count, default=600, metavar="N", help="default %(default)s")
    parser.add_argument("--senders", type=count, default=10, metavar="N", help="default %(default)s")
    parser.add_argument("--rooms", type=count, default=4, metavar="N", help="default %(default)s")
    parser.add_argument(
        "--outage-seconds",
        type=positive,
        default=3.0,
        metavar="N",
        help="how long the database is away; messages are sent for twice as long (default %(default)s)",
    )
    parser.add_argument(
        "--outage",
        choices=("stop", "kill"),
        default="stop",
        help="SIGSTOP, or SIGKILL and a start (default %(default)s)",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, and print the table. Returns 1 where an invariant was broken."""
    options = _arguments().parse_args(arguments)
    plan = DrillPlan(options.messages, options.senders, options.rooms, options.outage_seconds, options.outage)
    figures = asyncio.run(run_drill(plan))
    sys.stdout.write("\n".join(figures.table()) + "\n")
    for violation in figures.violations[:20]:
        sys.stdout.write(f"violation: {violation}\n")
    if len(figures.violations) > 20:
        sys.stdout.write(f"and {len(figures.violations) - 20} more\n")
    return 1 if figures.violations else 0


if __name__ == "__main__":
    sys.exit(main())
