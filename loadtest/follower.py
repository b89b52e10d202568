"""Many light clients in one process: each follows one room, may come back after a loss, and resumes.

A `Follower` costs a few kilobytes and no task while it is connected. It does what the contract asks of a good client:
signs of life, a backoff with jitter, `Retry-After`, `resume`, and sending again, with its `id`, what was not answered.
What it received it tells `following.py`. When something is sent or cut is decided by the scenarios.

All members of a room receive the same bytes, so a frame is decoded once, and looked up by the others (`sightings.py`).
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import aiohttp
import msgspec
from msgspec import json

from common.messages import SUBPROTOCOL
from loadtest import frames
from loadtest.dialect import JoinError, first_of
from loadtest.dialects.roomring import Payload, ServerFrame, decode, fetch_token
from loadtest.following import Following, RoomRecord, Verdict, judge
from loadtest.histogram import Histogram
from loadtest.light_socket import NORMAL_CLOSURE, LightSocket, Refused, Unreachable
from loadtest.scenario import CannotRun
from loadtest.sightings import Sighting, Sightings

US: Final = 1_000_000

CONNECT_TIMEOUT_S: Final = 15.0
"""For the upgrade, and for the answer to `join_room`, each; a crowd that comes at once waits in a listen queue."""

BACKOFF_BASE_S: Final = 0.25
BACKOFF_MAX_S: Final = 15.0

ANSWER_TIMEOUT_S: Final = 6.0
"""What was not answered for so long is sent again: above a takeover."""

RETRY_S: Final = 0.3
"""After `busy` and its like."""

LIVE_STEP_S: Final = 0.002
"""Signs of life go out no more often: those of many clients together, a few at a time."""

TOKENS_AT_ONCE: Final = 16
_NEVER: Final = 1 << 62


_encode: Final = json.Encoder().encode


class Company:
    """All the followers of one run, and what they have in common. Times are microseconds since `start_s`."""

    def __init__(self, run_id: str, urls: Sequence[str], dice: random.Random) -> None:
        self.run_id = run_id
        self.urls = tuple(urls)
        """Base URLs of the edges."""
        self.dice = dice
        self.start_s = time.monotonic()
        self.followers: list[Follower] = []
        self.sightings = Sightings()
        self.records: dict[str, RoomRecord] = {}
        """By room id."""
        self.measured_us = 0
        """See `Follower.first_after_us`; set by `measure_from`."""
        self.lag = Histogram()
        """How much later than intended something was sent."""
        self.heartbeat_latency = Histogram()
        self.heartbeats_answered = 0
        self.frames = 0
        self.bad_frames = 0
        self.errors: Counter[str] = Counter()
        """`error` and `auth_error` by code, `rate_limited` by event."""
        self.resyncs: Counter[str] = Counter()
        """By reason."""
        self.refused: Counter[int] = Counter()
        """Upgrades that were refused, by status."""
        self.failed_attempts = 0
        """Attempts to connect that ended without any answer."""
        self.closed: Counter[int] = Counter()
        """Connections that ended, and not by us, by close code."""
        self.resent = 0
        self.on_lost: Callable[[Follower], None] | None = None
        """Called when a connection ended that we did not end."""
        self._returning: set[asyncio.Task[None]] = set()

    def now_us(self) -> int:
        """Return the time of the run."""
        return int((time.monotonic() - self.start_s) * US)

    def measure_from(self, intended_us: int) -> None:
        """Note for everybody anew when the first comes that is to be said from that time on."""
        self.measured_us = intended_us
        for follower in self.followers:
            follower.first_after_us = 0

    def add(self, room_id: str, edge: int) -> "Follower":
        """Make a follower; it is not connected yet."""
        follower = Follower(self, len(self.followers), room_id, edge)
        self.followers.append(follower)
        return follower

    def record(self, room_id: str) -> RoomRecord:
        """Return what is known of a room."""
        return self.records.setdefault(room_id, RoomRecord())

    def read(self, data: bytes, room_id: str) -> Sighting | ServerFrame:
        """Decode a frame of the WebSocket, or find it among those that others received.

        Raises:
            msgspec.DecodeError, UnicodeDecodeError: it is no server event.
        """
        seen = self.sightings.find(data)
        if seen is not None:
            return seen
        frame = decode(frames.payload_of(data))
        if not frame.epoch:
            return frame
        payload = frame.payload
        message_id, intended_us = "", -1
        if frame.t == "chat_broadcast":
            what = f"chat {payload.messageId}"
            message_id, _, intended = payload.text.partition(" ")
            intended_us = int(intended) if intended.isdecimal() else -1
        elif frame.t == "emote_broadcast":
            what = f"emote {payload.userId} {payload.emoteId}"
            message_id = payload.emoteId
        else:
            what = f"{frame.t} {payload.userId or (payload.member.userId if payload.member else '')}"
        if not message_id.startswith(self.run_id):
            message_id = ""
        self.record(room_id).see((frame.epoch, frame.seq), what, message_id)
        seen = Sighting(frame.epoch, frame.seq, message_id, intended_us, replay=frame.replay)
        self.sightings.keep(data, seen)
        return seen

    def verdict(self) -> Verdict:
        """Judge what was received by all who are in their room now."""
        return judge(self.records, ((one.room_id, one.following) for one in self.followers if one.is_joined))

    # --- together -----------------------------------------------------------------------------------------

    async def fetch_tokens(self) -> None:
        """Get a token for everybody.

        Raises:
            CannotRun: an edge does not give one.
        """
        timeout = aiohttp.ClientTimeout(total=CONNECT_TIMEOUT_S)
        todo = iter(self.followers)
        async with aiohttp.ClientSession(timeout=timeout) as http:

            async def fetch() -> None:
                for follower in todo:
                    url = self.urls[follower.edge]
                    follower.token = await fetch_token(http, url, follower.room_id, follower.user)

            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(TOKENS_AT_ONCE, len(self.followers))):
                        group.create_task(fetch())
            except* JoinError as failures:
                # All failed for the same reason, as a rule; the first says enough.
                raise CannotRun(str(first_of(failures))) from failures

    async def enter(self, per_second: float, *, join: bool = True) -> None:
        """Open everybody's connection, so many a second at most, and join the rooms. Who is sent away comes again.

        Args:
            join: without, they only show their token, with the upgrade.

        Raises:
            CannotRun: one cannot come in, nor later.
        """
        try:
            async with asyncio.TaskGroup() as group:
                begin_s = time.monotonic()
                for number, follower in enumerate(self.followers):
                    wait_s = begin_s + number / per_second - time.monotonic()
                    # A turn of the loop at least, so that not all of a delay goes out at once.
                    await asyncio.sleep(max(0.0, wait_s))
                    group.create_task(_enter(self, follower, join=join))
        except* (Refused, Unreachable) as failures:
            error = first_of(failures)
            raise CannotRun(f"not everybody can come in: {error}") from failures

    async def live(self, interval_s: float) -> None:
        """Send everybody's signs of life, spread over the interval, and again what waits too long; until cancelled."""
        begin_s = checked_s = time.monotonic()
        sent, count = 0, len(self.followers)
        while True:
            wait_s = begin_s + sent * interval_s / count - time.monotonic()
            await asyncio.sleep(min(max(LIVE_STEP_S, wait_s), RETRY_S))
            now_s = time.monotonic()
            # From a step to the next at most everybody once, also after a stall.
            due = int((now_s - begin_s) / interval_s * count) + 1
            for number in range(max(sent, due - count), due):
                follower = self.followers[number % count]
                if follower.is_open:
                    follower.send_heartbeat(int((begin_s - self.start_s + number * interval_s / count) * US))
            sent = max(sent, due)
            if now_s - checked_s >= RETRY_S:
                checked_s = now_s
                for follower in self.followers:
                    follower.send_again_if_late(now_s)

    async def talk(self, speakers: "Sequence[Follower]", per_second: float) -> None:
        """Let these speak in turns, so many messages a second together, in an open loop; until cancelled."""
        begin_s = time.monotonic()
        said = 0
        while True:
            due_s = begin_s + said / per_second
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            if time.monotonic() < due_s:
                continue
            speakers[said % len(speakers)].say(int((due_s - self.start_s) * US))
            said += 1

    def come_back(self, follower: "Follower", *, at_once: bool = False) -> None:
        """Let a follower that lost its connection come back, as a good client does."""
        task = asyncio.create_task(follower.come_back(at_once=at_once))
        self._returning.add(task)
        task.add_done_callback(self._returning.discard)

    async def close(self) -> None:
        """Close all connections, and end all that is under way."""
        self.on_lost = None
        for task in list(self._returning):
            task.cancel()
        await asyncio.gather(*self._returning, return_exceptions=True)
        for follower in self.followers:
            follower.leave()
        # One turn of the loop for the closing frames to leave.
        await asyncio.sleep(0.05)


class Follower:
    """One client of one room. The attributes without an underscore are for scenarios to read."""

    __slots__ = (
        "_company",
        "_is_leaving",
        "_joined",
        "_pending",
        "_retry_at_s",
        "_said",
        "_socket",
        "_target_seq",
        "_welcome",
        "back_us",
        "edge",
        "first_after_us",
        "following",
        "heartbeat_s",
        "is_joined",
        "lost_us",
        "number",
        "room_id",
        "token",
        "user_id",
    )

    def __init__(self, company: Company, number: int, room_id: str, edge: int) -> None:
        self.number = number
        self.room_id = room_id
        self.user_id = f"{company.run_id}-u{number}"
        self.edge = edge
        """Which of the company's URLs it is connected to, or tries next."""
        self.token = ""
        self.following = Following()
        self.is_joined = False
        self.lost_us = 0
        """When the connection was lost, or cut, last."""
        self.back_us = 0
        """When it had, after its last join, all that it missed; 0 until then."""
        self.first_after_us = 0
        """When it received the first chat that was to be said after `company.measured_us`; 0 until then."""
        self.heartbeat_s = 15.0
        self._company = company
        self._socket: LightSocket | None = None
        self._is_leaving = False
        self._welcome: asyncio.Future[None] | None = None
        self._joined: asyncio.Future[None] | None = None
        self._target_seq = _NEVER
        self._pending: dict[str, tuple[bytes, float]] = {}
        """Id -> what was sent, and when last (monotonic)."""
        self._retry_at_s = 0.0
        self._said = 0

    @property
    def is_open(self) -> bool:
        """Whether the connection is there."""
        return self._socket is not None

    @property
    def unanswered(self) -> int:
        """Messages without an answer."""
        return len(self._pending)

    @property
    def user(self) -> dict[str, str]:
        """The user as the contract writes it."""
        return {"userId": self.user_id, "displayName": f"Follower {self.number}", "avatarId": "fox"}

    # --- coming and going ---------------------------------------------------------------------------------

    async def open(self, *, show_token: bool = False) -> None:
        """Connect, and wait for `welcome`.

        Raises:
            Refused, Unreachable: it did not work.
        """
        base_url = self._company.urls[self.edge]
        headers = {"Sec-WebSocket-Protocol": SUBPROTOCOL}
        if show_token:
            headers["Authorization"] = f"Bearer {self.token}"
        self._welcome = asyncio.get_running_loop().create_future()
        try:
            # `welcome` may come before `connect` has returned, and the end of the connection too.
            url = f"ws{base_url.removeprefix('http')}/ws"
            socket = await LightSocket.connect(url, headers, CONNECT_TIMEOUT_S, self)
            if not socket.is_open:
                raise Unreachable(f"{base_url} closed the connection at once")
            self._socket = socket
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._welcome
        except TimeoutError as error:
            self.cut()
            raise Unreachable(f"{base_url} sent no welcome") from error
        finally:
            self._welcome = None

    def join(self, *, with_token: bool = True) -> "asyncio.Future[None]":
        """Ask to enter the room, with `resume` where it was there before.

        Returns: done when it is in the room and has all that it missed; `Unreachable` where it is refused, or the
        connection is lost.
        """
        following = self.following
        payload: dict[str, object] = {"roomId": self.room_id, "user": self.user}
        if with_token:
            payload["token"] = self.token
        if following.epoch:
            payload["resume"] = {"epoch": following.epoch, "lastSeq": following.seq}
            following.is_asking = True
        self.back_us = 0
        self._joined = asyncio.get_running_loop().create_future()
        self._send({"v": 1, "t": "join_room", "ts": _now_ms(), "id": "join", "payload": payload})
        return self._joined

    async def come_back(self, *, at_once: bool = False) -> None:
        """Connect and join until it worked: with a backoff and full jitter, on another edge where one is silent."""
        attempt, wait_s = 0, 0.0 if at_once else self._jitter_s(0)
        company = self._company
        while True:
            await asyncio.sleep(wait_s)
            try:
                await self.open()
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await self.join()
            except Refused as refused:
                company.refused[refused.status] += 1
                # Whole seconds, so all who got the same number would come at once.
                wait_s = (refused.retry_after_s or 0.0) + self._jitter_s(attempt)
            except (Unreachable, TimeoutError):
                company.failed_attempts += 1
                self.cut()
                attempt += 1
                self.edge = (self.edge + 1) % len(company.urls)
                wait_s = self._jitter_s(attempt)
            else:
                return

    def cut(self) -> None:
        """End the connection from this side without a word, as a network does."""
        socket = self._socket
        if socket is not None:
            self._gone()
            socket.cut()

    def leave(self) -> None:
        """Close the connection in order, for good."""
        self._is_leaving = True
        socket = self._socket
        if socket is not None:
            self._gone()
            socket.close()

    def _jitter_s(self, attempt: int) -> float:
        return self._company.dice.uniform(0.0, min(BACKOFF_MAX_S, BACKOFF_BASE_S * 2.0**attempt))

    def _gone(self, code: int = NORMAL_CLOSURE) -> None:
        self._socket = None
        self.is_joined = False
        self.lost_us = self._company.now_us()
        self._target_seq = _NEVER
        for answer in (self._welcome, self._joined):
            if answer is not None and not answer.done():
                answer.set_exception(Unreachable(f"the connection of {self.user_id} was closed with {code}"))
                # The one that nobody awaits any more must not be reported as forgotten.
                answer.exception()

    # --- sending ------------------------------------------------------------------------------------------

    def say(self, intended_us: int) -> str:
        """Say something that carries its intended time, and must be acknowledged. Returns: its id."""
        self._said += 1
        message_id = f"{self._company.run_id}-{self.number}-{self._said}"
        payload = {"roomId": self.room_id, "text": f"{message_id} {intended_us}", "mode": "local"}
        self._post(message_id, "local_chat", payload, intended_us)
        return message_id

    def emote(self, intended_us: int) -> str:
        """Show an emote that must be acknowledged. Returns: its id."""
        self._said += 1
        message_id = f"{self._company.run_id}-{self.number}-{self._said}"
        self._post(message_id, "emote", {"roomId": self.room_id, "emoteId": message_id}, intended_us)
        return message_id

    def send_heartbeat(self, intended_us: int) -> None:
        """Send a sign of life. Its time is that of the run, in microseconds: the server only gives it back.

        It leaves out `lastSeq`: a replay would fill, and so hide, the very gaps that are looked for.
        """
        payload = {"clientTimeMs": max(0, intended_us)}
        self._send({"v": 1, "t": "heartbeat", "ts": _now_ms(), "payload": payload})

    def send_again_if_late(self, now_s: float) -> None:
        """Send again what was not answered for long, or was refused for the moment."""
        if not self._pending or not self.is_joined or now_s < self._retry_at_s:
            return
        oldest_s = min(sent_s for _, sent_s in self._pending.values())
        if self._retry_at_s or now_s - oldest_s > ANSWER_TIMEOUT_S:
            self._send_again()

    def _post(self, message_id: str, t: str, payload: dict[str, str], intended_us: int) -> None:
        company = self._company
        message = _encode({"v": 1, "t": t, "ts": _now_ms(), "id": message_id, "payload": payload})
        self._pending[message_id] = (message, time.monotonic())
        company.lag.record(company.now_us() - intended_us)
        # While older messages wait to be sent again, newer ones wait behind them.
        if self.is_joined and not self._retry_at_s:
            self._send_bytes(message)

    def _send_again(self) -> None:
        self._retry_at_s = 0.0
        now_s = time.monotonic()
        for message_id, (message, _) in self._pending.items():
            self._pending[message_id] = (message, now_s)
            self._company.resent += 1
            self._send_bytes(message)

    def _send(self, message: dict[str, object]) -> None:
        self._send_bytes(_encode(message))

    def _send_bytes(self, message: bytes) -> None:
        if self._socket is not None:
            self._socket.send(message)

    # --- receiving ----------------------------------------------------------------------------------------

    def take_read(self, data: bytes) -> bool:
        """See `light_socket.Owner`."""
        company = self._company
        run = company.sightings.run_of(data)
        if (
            run is None
            or run.last >= self._target_seq
            or not self.following.receive_run(run.epoch, run.first, run.last, replay=run.replay)
        ):
            return False
        now_us = company.now_us()
        run.arrivals_us.append(now_us)
        company.frames += len(run.events)
        if not self.first_after_us and run.intended_us >= company.measured_us:
            self.first_after_us = now_us
        return True

    def take_frames(self, messages: list[bytes], data: bytes) -> None:
        """See `light_socket.Owner`."""
        now_us = self._company.now_us()
        events = [event for event in (self._take(message, now_us) for message in messages) if event is not None]
        if data and len(events) == len(messages):
            self._company.sightings.keep_run(data, events)

    def take_end(self, code: int) -> None:
        """See `light_socket.Owner`."""
        company = self._company
        company.closed[code] += 1
        if self._socket is None:
            # It ended as soon as it was there, before `open` knew of it.
            return
        self._gone(code)
        if company.on_lost is not None and not self._is_leaving:
            company.on_lost(self)

    def _take(self, message: bytes, now_us: int) -> Sighting | None:
        """Take one message. Returns: the event, where it is a reliable one."""
        company = self._company
        company.frames += 1
        try:
            event = company.read(message, self.room_id)
        except (msgspec.DecodeError, UnicodeDecodeError):
            company.bad_frames += 1
            return None
        if not isinstance(event, Sighting):
            self._on_event(event)
            return None
        self.following.receive(event.epoch, event.seq, replay=event.replay)
        event.arrivals_us.append(now_us)
        if event.seq >= self._target_seq:
            self._caught_up(now_us)
        if not self.first_after_us and event.intended_us >= company.measured_us:
            self.first_after_us = now_us
        return event

    def _on_event(self, frame: ServerFrame) -> None:
        company, payload = self._company, frame.payload
        match frame.t:
            case "heartbeat_ack":
                company.heartbeats_answered += 1
                company.heartbeat_latency.record(company.now_us() - payload.clientTimeMs)
            case "welcome":
                if payload.heartbeatIntervalMs > 0:
                    self.heartbeat_s = payload.heartbeatIntervalMs / 1000
                _resolve(self._welcome)
            case "room_state":
                self._on_state(payload)
            case "ack":
                if self._pending.pop(frame.re, None) is not None:
                    company.record(self.room_id).acknowledge(frame.re, (self.following.epoch, payload.seq))
            case "resync":
                company.resyncs[payload.reason or ""] += 1
                self.following.resyncs += 1
            case "error" | "auth_error" | "rate_limited":
                self._on_refusal(frame)

    def _on_state(self, payload: Payload) -> None:
        following = self.following
        following.begin(payload.epoch, payload.seq, recovered=payload.recovered)
        if not payload.recovered:
            self._company.record(self.room_id).begin((payload.epoch, payload.seq))
        self.is_joined = True
        if following.seq >= payload.seq:
            self._caught_up(self._company.now_us())
        else:
            self._target_seq = payload.seq
        if self._pending:
            self._send_again()

    def _caught_up(self, now_us: int) -> None:
        self._target_seq = _NEVER
        if not self.back_us:
            self.back_us = now_us
        _resolve(self._joined)

    def _on_refusal(self, frame: ServerFrame) -> None:
        code = frame.payload.code or frame.payload.event
        self._company.errors[code] += 1
        if frame.re == "join" and self._joined is not None and not self._joined.done():
            self._joined.set_exception(Unreachable(f"{self.user_id} may not join {self.room_id}: {code}"))
            self._joined.exception()
        elif frame.re in self._pending:
            self._retry_at_s = time.monotonic() + RETRY_S


async def _enter(company: Company, follower: Follower, *, join: bool) -> None:
    while True:
        try:
            await follower.open(show_token=not join)
            break
        except Refused as refused:
            if refused.retry_after_s is None:
                raise
            company.refused[refused.status] += 1
            await asyncio.sleep(refused.retry_after_s + company.dice.uniform(0.0, BACKOFF_BASE_S))
    if join:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await follower.join()
        except TimeoutError as error:
            raise Unreachable(f"{follower.user_id} had no answer to join_room") from error


def _resolve(answer: "asyncio.Future[None] | None") -> None:
    if answer is not None and not answer.done():
        answer.set_result(None)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
