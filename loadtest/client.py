"""One member of a room on one socket: joins, and takes note of everything that it receives.

It never decides when to send; loadtest/generator.py does. A closed socket stays closed: the run tells it, and does not
hide it by coming back.
"""

import asyncio
import time
from collections import Counter
from typing import Final

import msgspec
from picows import WSCloseCode, WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from common.messages import SUBPROTOCOL
from loadtest.accounting import CHAT_EVENT, OrderReceipts, RoomOrder, TransformReceipts
from loadtest.dialect import JoinError
from loadtest.dialects import roomring as frames
from loadtest.histogram import SUB_BITS, Histogram
from loadtest.plan import US, WRAP_US, MemberNumber, Plan

CONNECT_TIMEOUT_S: Final = 10.0
"""For the socket, for `welcome`, and for `room_state`, each. A takeover of a shard takes 3 s at most."""

ABNORMAL_CLOSURE: Final = 1006
"""What RFC 6455, section 7.4.1, calls a connection that ended without a close frame."""

_WRAP: Final = float(WRAP_US)
_TRANSFORM: Final = frames.TRANSFORM_EVENT
_FINE: Final = 1 << SUB_BITS


class SharedCounts:
    """What all members of one generator add to."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.start_s = 0.0
        """Start of the run in `time.monotonic()`; set before the first transform is sent."""
        self.transform_latency = Histogram()
        self.chat_latency = Histogram()
        self.orders: dict[int, RoomOrder] = {}
        self.error_codes: Counter[str] = Counter()
        """`error` and `auth_error` events by code."""
        self.rate_limited: Counter[str] = Counter()
        """`rate_limited` notices by the event that they name."""
        self.bad_frames = 0
        """Frames that are no server event."""
        self.resyncs = 0

    def now_us(self) -> int:
        """Return the time since the start of the run."""
        return int((time.monotonic() - self.start_s) * US)


class Member(WSListener):
    """One member. Public attributes are for the generator to read."""

    # With slots, and the start at hand below, an update costs 0.93 µs instead of 1.13.
    __slots__ = (
        "_counts",
        "_highest",
        "_is_done",
        "_joined",
        "_latency",
        "_latency_counts",
        "_room_order",
        "_start_us",
        "_template",
        "_transport",
        "_warmup_us",
        "_welcome",
        "chats_refused",
        "chats_sent",
        "close_code",
        "close_reason",
        "heartbeat_s",
        "last_sent",
        "notices_us",
        "number",
        "order",
        "received",
        "room",
        "room_id",
        "transforms",
        "unanswered",
        "user_id",
    )

    def __init__(self, number: MemberNumber, counts: SharedCounts) -> None:
        plan = counts.plan
        self.number = number
        self.room = plan.room_of(number)
        self.room_id = plan.room_id(self.room)
        self.user_id = plan.user_id(number)
        self.last_sent = 0
        self.received = 0
        """Transforms, all of the run."""
        self.notices_us: list[int] = []
        self.chats_sent = 0
        self.chats_refused = 0
        self.unanswered: set[str] = set()
        self.close_code: int | None = None
        """Set when the socket closed before the run was over."""
        self.close_reason = ""
        self.heartbeat_s = 15.0
        self.order = OrderReceipts()
        self.transforms = TransformReceipts(plan.user_id(MemberNumber(n)) for n in plan.members_of(self.room))
        self._counts = counts
        self._room_order = counts.orders.setdefault(self.room, RoomOrder())
        self._template = frames.transform_template(self.room_id)
        self._transport: WSTransport | None = None
        self._is_done = False
        loop = asyncio.get_running_loop()
        self._welcome: asyncio.Future[None] = loop.create_future()
        self._joined: asyncio.Future[None] = loop.create_future()
        # Looked up once for the hot path of on_ws_frame.
        self._highest = self.transforms.highest
        self._latency = counts.transform_latency
        self._latency_counts = counts.transform_latency.counts
        self._warmup_us = plan.warmup_us
        self._start_us = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the socket is open."""
        return self.close_code is None

    @property
    def user(self) -> dict[str, str]:
        """The user as the contract writes it."""
        return {"userId": self.user_id, "displayName": f"Member {self.number}", "avatarId": "bench"}

    def set_start(self, start_s: float) -> None:
        """Tell when the run starts, in `time.monotonic()`; before the first transform."""
        self._start_us = start_s * 1e6

    # --- coming and going ---------------------------------------------------------------------------------

    async def connect(self, ws_url: str, token: str) -> None:
        """Open the socket and join the room.

        Raises:
            JoinError: the socket did not open, or the server refused or did not answer.
        """
        try:
            transport, _ = await ws_connect(
                lambda: self,
                ws_url,
                websocket_handshake_timeout=CONNECT_TIMEOUT_S,
                extra_headers={"Sec-WebSocket-Protocol": SUBPROTOCOL},
            )
        except (OSError, WSError, TimeoutError) as error:
            raise JoinError(f"{ws_url} does not take a WebSocket: {error}") from error
        self._transport = transport
        await self._await_answer(self._welcome, f"{ws_url} sent no welcome")
        self._send(frames.join_room(self.room_id, self.user, token, _now_ms()))
        await self._await_answer(self._joined, f"{ws_url} did not answer join_room of {self.room_id}")

    async def _await_answer(self, answer: "asyncio.Future[None]", silence: str) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await answer
        except TimeoutError as error:
            raise JoinError(f"{silence} within {CONNECT_TIMEOUT_S:.0f} s") from error

    def finish(self) -> None:
        """Take no further note of anything, leave the room and close the socket."""
        self._is_done = True
        if self._transport is not None and self.close_code is None:
            self._send(frames.leave_room(self.room_id, _now_ms()))
            self._transport.send_close(WSCloseCode.OK)
            self._transport.disconnect()

    # --- sending ------------------------------------------------------------------------------------------

    def send_transform(self, seq: int, intended_us: int) -> None:
        """Send a transform that carries its intended time."""
        self._send(self._template % (_now_ms(), seq, intended_us % WRAP_US))
        self.last_sent = seq

    def send_chat(self, number: int, intended_us: int) -> None:
        """Send a chat message that carries its intended time, to be acknowledged."""
        message_id = f"{self._counts.plan.run_id}-{self.room}-{number}"
        self.unanswered.add(message_id)
        self.chats_sent += 1
        self._send(frames.local_chat(self.room_id, intended_us, message_id, _now_ms()))

    def send_heartbeat(self) -> None:
        """Send a sign of life."""
        self._send(frames.heartbeat(self.room_id, _now_ms()))

    def _send(self, text: bytes) -> None:
        assert self._transport is not None, "the socket was never opened"
        self._transport.send(WSMsgType.TEXT, text)

    # --- receiving ----------------------------------------------------------------------------------------

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take note of one frame.

        This runs for every received update, so its usual case makes no further Python call: `bucket_of` and
        `TransformReceipts.receive` are written out here, and the kind of frame is asked for only after it failed to
        decode.
        """
        try:
            message = frames.decode(frame.get_payload_as_memoryview())
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._on_other_frame(transport, frame)
            return
        if message.t != _TRANSFORM:
            self._on_event(message)
            return
        now_us = time.monotonic() * 1e6 - self._start_us
        payload = message.payload
        sender, seq = payload.userId, payload.seq
        self.received += 1
        if self._highest.get(sender) == seq - 1:
            self._highest[sender] = seq
        else:
            self.transforms.receive(sender, seq)
        latency_us = (now_us - payload.x) % _WRAP
        if now_us - latency_us >= self._warmup_us:
            latency = int(latency_us)
            if latency < _FINE:
                self._latency_counts[latency] += 1
            else:
                shift = latency.bit_length() - SUB_BITS - 1
                self._latency_counts[(shift << SUB_BITS) + (latency >> shift)] += 1
            if latency > self._latency.max_us:  # noqa: PLR1730 - max() would be one of those calls
                self._latency.max_us = latency

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Take note of the end of the socket."""
        if self._is_done:
            return
        if self.close_code is None:
            self.close_code = ABNORMAL_CLOSURE
        failure = JoinError(f"the server closed the socket of {self.user_id}: {self.close_code} {self.close_reason}")
        for answer in (self._welcome, self._joined):
            if not answer.done():
                answer.set_exception(failure)
                # The one that nobody awaits any more must not be reported as forgotten.
                answer.exception()

    def _on_other_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind == WSMsgType.CLOSE:
            payload = frame.get_payload_as_bytes()
            if not self._is_done and self.close_code is None:
                # Read here rather than by picows, whose table has only the registered codes.
                self.close_code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
                self.close_reason = payload[2:].decode(errors="replace")
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()
        elif kind in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION) and not self._is_done:
            self._counts.bad_frames += 1

    def _on_event(self, message: frames.ServerFrame) -> None:
        if self._is_done:
            return
        payload = message.payload
        match message.t:
            case "welcome":
                if payload.heartbeatIntervalMs > 0:
                    self.heartbeat_s = payload.heartbeatIntervalMs / 1000
                _resolve(self._welcome)
            case "room_state":
                # After a repair by the edge the missed events still follow.
                if not payload.recovered:
                    self.order.start_from(payload.epoch, payload.seq)
                _resolve(self._joined)
            case "ack":
                self.unanswered.discard(message.re)
                self._room_order.acknowledge(payload.messageId or message.re, payload.seq)
            case "error" | "auth_error":
                self._on_refusal(message)
            case "rate_limited":
                self._counts.rate_limited[payload.event] += 1
                if payload.event == "avatar_transform":
                    self.notices_us.append(self._counts.now_us())
            case "resync":
                self._counts.resyncs += 1
            case _ if message.epoch > 0:
                self._on_reliable(message)

    def _on_refusal(self, message: frames.ServerFrame) -> None:
        payload = message.payload
        self._counts.error_codes[payload.code] += 1
        if message.re in self.unanswered:
            self.unanswered.discard(message.re)
            self.chats_refused += 1
        if not self._joined.done():
            text = f"{self.user_id} may not join {self.room_id}: {payload.code} ({payload.message})"
            self._joined.set_exception(JoinError(text))

    def _on_reliable(self, message: frames.ServerFrame) -> None:
        payload = message.payload
        self.order.receive(message.epoch, message.seq, payload.messageId)
        if message.t == "chat_broadcast":
            self._room_order.see(message.epoch, message.seq, CHAT_EVENT + payload.messageId)
            intended_us = frames.chat_intended_us(payload.text)
            if intended_us is not None and intended_us >= self._warmup_us:
                self._counts.chat_latency.record(self._counts.now_us() - intended_us)
        else:
            who = payload.userId or (payload.member.userId if payload.member else "")
            self._room_order.see(message.epoch, message.seq, f"{message.t} {who} {payload.emoteId}")


def _resolve(answer: "asyncio.Future[None]") -> None:
    if not answer.done():
        answer.set_result(None)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
