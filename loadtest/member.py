"""One member of a room on one socket: opens it, sends, and takes note of everything that it receives.

It never decides when to send; loadtest/generator.py does. A closed socket stays closed: the run tells it, and does not
hide it by coming back.
"""

import asyncio
import os
import ssl
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any, Final, cast
from urllib.parse import urlsplit

from loadtest import frames
from loadtest.accounting import CHAT_EVENT, OrderReceipts, RoomOrder
from loadtest.dialect import Dialect, JoinError
from loadtest.handshake import KEY_BYTES, HandshakeError, request, split_answer
from loadtest.histogram import Histogram
from loadtest.latency import LatencyCounts
from loadtest.plan import US, WRAP_US, MemberNumber, Plan
from loadtest.receiver import Receiver
from loadtest.tape import Known, Tally, Tape

ANSWER_TIMEOUT_S: Final = 10.0
"""For the socket, and for each answer while it joins. A takeover of a shard takes 3 s at most."""

NORMAL_CLOSURE: Final = 1000
NO_CODE: Final = 1005
ABNORMAL_CLOSURE: Final = 1006
"""What RFC 6455, section 7.4.1, calls a connection that ended without a close frame."""

PROTOCOL_ERROR: Final = 1002
"""Here: of the server, seen by us."""


class SharedCounts:
    """What all members of one generator add to, and the tapes that they share."""

    def __init__(self, plan: Plan, dialect: Dialect) -> None:
        self.plan = plan
        self.dialect = dialect
        self.start_s = 0.0
        """Start of the run in `time.monotonic()`; set before the first transform is sent."""
        self.tally = Tally(LatencyCounts(plan.warmup_us), plan.warmup_us, plan.end_us)
        self.chat_latency = Histogram()
        self.orders: dict[int, RoomOrder] = {}
        self.error_codes: Counter[str] = Counter()
        """Errors by code."""
        self.rate_limited: Counter[str] = Counter()
        """Notices of dropped messages by the event that they name."""
        self.bad_frames = 0
        """What is nothing that the server should send."""
        self.resyncs = 0
        self._known: dict[int, Known] = {}
        self._tapes: dict[tuple[int, str], Tape] = {}

    @property
    def tapes(self) -> list[Tape]:
        """All the tapes."""
        return list(self._tapes.values())

    def now_us(self) -> int:
        """Return the time since the start of the run."""
        return int((time.monotonic() - self.start_s) * US)

    def receiver(self, member: "Member") -> Receiver:
        """Make the receiving side of a member."""
        room, url = member.room, "" if self.dialect.has_one_order else self.plan.url_of(member.number)
        senders = [self.plan.user_id(MemberNumber(number)) for number in self.plan.members_of(room)]
        tape = self._tapes.get((room, url))
        if tape is None:
            tape = self._tapes[room, url] = Tape(senders, self.tally)
        known = self._known.setdefault(room, Known())
        return Receiver(self.dialect, senders, known, self.tally, tape, member)


class Member(asyncio.Protocol):
    """One member: the `Link` of its dialect, and the owner of its receiver. Public attributes are the generator's."""

    def __init__(self, number: MemberNumber, counts: SharedCounts) -> None:
        plan = counts.plan
        self.number = number
        self.room = plan.room_of(number)
        self.room_id = plan.room_id(self.room)
        self.user_id = plan.user_id(number)
        self.state: Any = None
        self.heartbeat_s = 15.0
        self.last_sent = 0
        self.notices_us: list[int] = []
        self.chats_sent = 0
        self.chats_refused = 0
        self.unanswered: set[str] = set()
        self.close_code: int | None = None
        """Set when the socket closed before the run was over."""
        self.close_reason = ""
        self.order = OrderReceipts()
        self.receiver = counts.receiver(self)
        self._counts = counts
        self._dialect = counts.dialect
        self._room_order = counts.orders.setdefault(self.room, RoomOrder())
        self._make_transform: Callable[[int, int], bytes] | None = None
        self._transport: asyncio.Transport | None = None
        self._start_us = 0.0
        self._is_done = False
        self._is_in = False
        """Whether it has entered; until then units wait for `receive`."""
        self._waiting: deque[bytes] = deque()
        self._something_came = asyncio.Event()
        self._handshake: _Handshake | None = None

    @property
    def is_open(self) -> bool:
        """Whether the socket is open."""
        return self.close_code is None

    @property
    def now_us(self) -> int:
        """Time since the start of the run."""
        return self._counts.now_us()

    def set_start(self, start_s: float) -> None:
        """Tell when the run starts, in `time.monotonic()`; before the first transform."""
        self._start_us = start_s * US

    # --- coming and going -----------------------------------------------------------------------------------------

    def entered(self) -> None:
        """`Dialect.enter` returned: what came and was not waited for goes to `Dialect.control`."""
        self._is_in = True
        while self._waiting:
            self._control(self._waiting.popleft())
        self._make_transform = self._dialect.transforms(self)

    async def open(self, ws_url: str, headers: Mapping[str, str] | None = None) -> None:
        """See `Link.open`."""
        parts = urlsplit(ws_url)
        is_secure = parts.scheme == "wss"
        key = os.urandom(KEY_BYTES)
        self._handshake = _Handshake(key)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                transport, _ = await asyncio.get_running_loop().create_connection(
                    lambda: self,
                    parts.hostname or "",
                    parts.port or (443 if is_secure else 80),
                    ssl=ssl.create_default_context() if is_secure else None,
                )
                transport.write(request(ws_url, key, headers or {}))
                await self._handshake.done
        except (OSError, HandshakeError, TimeoutError) as error:
            raise JoinError(f"{ws_url} does not take a WebSocket: {str(error) or type(error).__name__}") from error

    async def receive(self) -> bytes:
        """See `Link.receive`."""
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                while not self._waiting:
                    if not self.is_open:
                        raise JoinError(f"the server closed the socket of {self.user_id}: {self._closed_how()}")
                    self._something_came.clear()
                    await self._something_came.wait()
        except TimeoutError as error:
            raise JoinError(f"the server did not answer {self.user_id} within {ANSWER_TIMEOUT_S:.0f} s") from error
        return self._waiting.popleft()

    def finish(self) -> None:
        """Take no further note of anything, leave the room and close the socket."""
        is_in, self._is_done = self._is_in and not self._is_done, True
        if self._transport is not None and self.is_open:
            if is_in:
                self.send(self._dialect.leave(self))
            self._close(NORMAL_CLOSURE)

    # --- sending --------------------------------------------------------------------------------------------------

    def send_transform(self, seq: int, intended_us: int) -> None:
        """Send a transform that carries its intended time."""
        assert self._make_transform is not None, "it has not entered"
        assert self._transport is not None
        self._transport.write(self._make_transform(seq, intended_us % WRAP_US))
        self.last_sent = seq

    def send_chat(self, number: int, intended_us: int) -> None:
        """Send a chat message that carries its intended time, to be acknowledged."""
        chat = self._dialect.chat(self, number, intended_us)
        self.unanswered.add(chat.message_id)
        self.chats_sent += 1
        self.send(chat.frame)

    def send_heartbeat(self) -> None:
        """Send a sign of life, where the server needs one."""
        self.send(self._dialect.heartbeat(self))

    def send(self, frame: bytes) -> None:
        """See `Link.send`."""
        assert self._transport is not None, "the socket was never opened"
        if frame:
            self._transport.write(frame)

    def _close(self, code: int) -> None:
        self.send(frames.masked_frame(frames.CLOSE, code.to_bytes(2, "big")))
        assert self._transport is not None
        self._transport.close()

    # --- the socket -----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket."""
        # That of uvloop is no subclass.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Take note of what was read."""
        now_us = time.monotonic() * US - self._start_us
        if self._handshake is not None:
            rest = self._handshake.feed(data)
            if rest is None:
                return
            self._handshake, data = None, rest
        if data and not self._is_done:
            try:
                self.receiver.feed(data, now_us)
            except ValueError:
                self.bad_unit()
                self._closed(PROTOCOL_ERROR, "what came could not be read")
                assert self._transport is not None
                self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note of the end of the socket."""
        if self._handshake is not None:
            self._handshake.fail("it closed the socket")
        self._closed(ABNORMAL_CLOSURE, "" if exc is None else str(exc))
        # What it has not received by now it never will, and nobody should keep it.
        self.receiver.leave_tape()

    def _closed(self, code: int, reason: str) -> None:
        if not self._is_done and self.close_code is None:
            self.close_code, self.close_reason = code, reason
            self._something_came.set()

    def _closed_how(self) -> str:
        return f"{self.close_code} {self.close_reason}".rstrip()

    # --- of the receiver ------------------------------------------------------------------------------------------

    def control(self, unit: bytes) -> None:
        """See `receiver.Owner`."""
        if self._is_done:
            return
        if self._is_in:
            self._dialect.control(self, unit)
        else:
            self._waiting.append(unit)
            self._something_came.set()

    def other_frame(self, opcode: int, payload: bytes) -> None:
        """See `receiver.Owner`."""
        assert self._transport is not None
        match opcode:
            case _ if self._is_done:
                pass
            case frames.CLOSE:
                code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else NO_CODE
                self._closed(code, payload[2:].decode(errors="replace"))
                self._close(NORMAL_CLOSURE)
            case frames.PING:
                self.send(frames.masked_frame(frames.PONG, payload))
            case frames.PONG:
                pass
            case _:
                self.bad_unit()

    def bad_unit(self) -> None:
        """See `Link.bad_unit`."""
        if not self._is_done:
            self._counts.bad_frames += 1

    def _control(self, unit: bytes) -> None:
        try:
            self._dialect.control(self, unit)
        except ValueError:
            self.bad_unit()

    # --- what the dialect learned ---------------------------------------------------------------------------------

    def rate_limited(self, event: str, *, is_transform: bool) -> None:
        """See `Link.rate_limited`."""
        self._counts.rate_limited[event] += 1
        if is_transform:
            self.notices_us.append(self.now_us)

    def acknowledged(self, message_id: str, shown_id: str, seq: int) -> None:
        """See `Link.acknowledged`."""
        self.unanswered.discard(message_id)
        self._room_order.acknowledge(shown_id, seq)

    def refused(self, message_id: str, code: str) -> None:
        """See `Link.refused`."""
        self._counts.error_codes[code] += 1
        if message_id in self.unanswered:
            self.unanswered.discard(message_id)
            self.chats_refused += 1

    def order_starts(self, epoch: int, seq: int) -> None:
        """See `Link.order_starts`."""
        self.order.start_from(epoch, seq)

    def reliable(self, epoch: int, seq: int, what: str) -> None:
        """See `Link.reliable`."""
        self.order.receive(epoch, seq)
        self._room_order.see(epoch, seq, what)

    def chatted(self, epoch: int, seq: int, shown_id: str, intended_us: int | None) -> None:
        """See `Link.chatted`."""
        self.order.receive(epoch, seq, shown_id)
        self._room_order.see(epoch, seq, CHAT_EVENT + shown_id)
        if intended_us is not None and intended_us >= self._counts.plan.warmup_us:
            self._counts.chat_latency.record(self.now_us - intended_us)

    def resynced(self) -> None:
        """See `Link.resynced`."""
        self._counts.resyncs += 1


class _Handshake:
    """The answer of a server to the request to open a WebSocket, until it is all there."""

    def __init__(self, key: bytes) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._key = key
        self._received = b""

    def feed(self, data: bytes) -> bytes | None:
        """Return what follows the answer, None while there is nothing after it."""
        self._received += data
        try:
            rest = split_answer(self._received, self._key)
        except HandshakeError as error:
            if not self.done.done():
                self.done.set_exception(error)
            return None
        if rest is not None and not self.done.done():
            self.done.set_result(None)
        return rest

    def fail(self, reason: str) -> None:
        """It will not be answered any more."""
        if not self.done.done():
            self.done.set_exception(HandshakeError(reason))
