"""The shell of an edge: sockets in, streams out and back, and the edge's place in the cluster.

Loops: one reads what workers say (for each partition), one carries commands to them (`uplink.py`), one says
that the edge lives and checks deadlines. HTTP is in `http_public.py` and `http_internal.py`.
"""

import asyncio
import contextlib
import random
from collections.abc import Coroutine
from typing import Any, Final

from aiohttp import web
from msgspec import DecodeError, json

from common.bus import ClusterShape, EdgeBus
from common.clock import Clock
from common.commands import AnyRoomCommand, EdgeClosed
from common.deliveries import RoomFrames, decode_output
from common.errors import BusUnavailable
from common.ids import ConnNumber, EdgeId, Partition, RoomId
from common.log import get_logger
from common.settings import EdgeSettings
from edge.admission import Admission, Origins
from edge.client import Client
from edge.connection import Connection
from edge.hub import Hub, answers_of
from edge.metrics import EdgeMetrics
from edge.operations import Operations
from edge.problems import bearer, origin_allowed, origin_of
from edge.read_times import ReadTimes
from edge.socket_reader import ABNORMAL_CLOSURE, SocketReader
from edge.timer_wheel import TimerWheel
from edge.tokens import TokenVerifier
from edge.upgrade import accept_upgrade, hand_over
from edge.uplink import Uplink

READ_BLOCK_MS: Final = 1_000
TRIM_ENTRIES: Final = 64
"""Read entries are dropped from the stream in steps of so many."""

TICK_MS: Final = 100
CLOCK_JUMP_MS: Final = 1_000
"""More between wall and monotonic time, within a tick, is no drift: somebody set the clock."""
BEARER_SUBPROTOCOL: Final = "bearer."
UPLINK_STOP_TIMEOUT_S: Final = 2.0


class Gateway:
    """One edge. Until `start` it takes no sockets; `drain` and `stop` at the end."""

    def __init__(
        self,
        edge_id: EdgeId,
        settings: EdgeSettings,
        bus: EdgeBus,
        clock: Clock,
        verifier: TokenVerifier,
        metrics: EdgeMetrics,
        rng: random.Random,
    ) -> None:
        self.edge_id = edge_id
        self.settings = settings
        self.bus = bus
        self.clock = clock
        self.metrics = metrics
        self.is_draining = False
        self.store_ok = False
        self._verifier = verifier
        self._rng = rng
        self._log = get_logger("edge").bind(edge=edge_id)
        self._shape = ClusterShape(settings.shards, settings.partitions)
        self._hub = Hub(self)
        self._uplink = Uplink(
            edge_id,
            bus,
            clock,
            shards=settings.shards,
            commands_max=settings.uplink_commands_max,
            batches_max=settings.input_batches_max,
            on_trouble=self._trouble,
        )
        self.operations = Operations(self._uplink)
        self._admission = Admission(settings.connects_per_second_max, settings.connects_burst, rng.uniform)
        self._origins = Origins(settings.connections_per_origin_max)
        self._clients: dict[ConnNumber, Client] = {}
        self._next_number = 1
        self._wheel: TimerWheel[ConnNumber] = TimerWheel(TICK_MS, clock.now_ms())
        self._tasks: list[asyncio.Task[None]] = []
        self._read_times = ReadTimes()
        self._heard = 0
        self._counted = {"heard": 0, "delivered": 0, "skipped": 0, "commands": 0, "batches": 0}
        self._info = json.encode(
            {"port": settings.port, "internalPort": settings.internal_port_or_default, "startedAtMs": clock.now_ms()}
        )

    @property
    def connection_count(self) -> int:
        """Open connections."""
        return len(self._clients)

    # --- life ---------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Enter the cluster and begin to work.

        Raises:
            ClusterMismatch: this process's shape is not the cluster's.
            BusUnavailable: Redis does not answer. It may be called again.
        """
        await self.bus.open_cluster(self._shape)
        await self.bus.announce("edge", self.edge_id, self._info, self.settings.node_ttl_ms)
        self.store_ok = True
        self._spawn(self._uplink.run(), "uplink")
        self._spawn(self._keep_alive(), "keep-alive")
        self._spawn(self._tick(), "tick")
        for number in range(self.settings.partitions):
            self._spawn(self._read(Partition(number)), f"read-{number}")

    @property
    def is_started(self) -> bool:
        """Whether it entered the cluster, and takes sockets."""
        return bool(self._tasks)

    def failed(self) -> BaseException | None:
        """Return why a loop of this edge died; None while all run."""
        for task in self._tasks:
            if task.done() and not task.cancelled():
                return task.exception() or RuntimeError(f"{task.get_name()} ended")
        return None

    async def drain(self) -> None:
        """Send every client away, each with its own delay, over `drain_ms`. New ones are refused from now on."""
        self.is_draining = True
        window_ms = self.settings.drain_ms
        now_ms = self.clock.now_ms()
        clients = list(self._clients.values())
        for client in clients:
            client.connection.drain(self._rng.randint(0, window_ms), now_ms)
        await asyncio.gather(*(client.ended() for client in clients))

    async def stop(self) -> None:
        """Leave the cluster. Connections that are left end as if lost."""
        for shard in self._uplink.used_shards:
            self._uplink.put(shard, EdgeClosed())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(UPLINK_STOP_TIMEOUT_S):
                await self._uplink.sent()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(BusUnavailable):
            await self.bus.withdraw("edge", self.edge_id)
        for client in list(self._clients.values()):
            client.cut()
        self._log.info("edge stopped")

    # --- sockets ------------------------------------------------------------------------------------------

    async def serve_websocket(self, request: web.Request) -> web.StreamResponse:
        """Handle `GET /ws`: the upgrade. What the client sends after it comes in through a `SocketReader`."""
        refused = self._refuse_upgrade(request)
        if refused is not None:
            return refused
        origin = origin_of(request)
        # Others come in while this one is answered.
        self._origins.opened(origin)
        answer: web.StreamResponse = web.Response()
        transport = None
        try:
            # A client that goes in this moment is no error.
            with contextlib.suppress(ConnectionError):
                answer = await accept_upgrade(request)
                transport = request.transport
        finally:
            if transport is None:
                self._origins.closed(origin)
        if transport is not None:
            hand_over(request, transport, self.open(transport, origin, _bearer_token(request), request.remote))
        return answer

    def _refuse_upgrade(self, request: web.Request) -> web.Response | None:
        """Return the answer to an upgrade that is refused; None where it may come in, which takes its place."""
        reason, status, retry_after_ms = "", 503, 1_000
        if self.is_draining:
            reason, text = "draining", "this edge is restarting; connect again"
        elif not self.is_started:
            reason, text = "starting", "this edge waits for Redis; connect again"
        elif len(self._clients) >= self.settings.connections_max:
            reason, text = "full", "this edge has all the connections it may have; try again later"
        elif not origin_allowed(self.settings, request):
            reason, text, status = "origin", "pages of this origin may not connect", 403
        elif self._origins.is_full(origin_of(request)):
            reason, text = "origin_full", "pages of this origin have all the connections they may have; try again later"
        elif wait_ms := self._admission.admit(self.clock.now_ms()):
            reason, text = "overloaded", "too many connect at once; try again after the time in Retry-After"
            retry_after_ms = wait_ms
        if not reason:
            return None
        self.metrics.refused.labels(reason).inc()
        # RFC 9110 section 10.2.3: whole seconds.
        headers = {"Retry-After": str(-(-retry_after_ms // 1_000))} if status == 503 else {}
        return web.json_response({"error": {"code": reason, "message": text}}, status=status, headers=headers)

    def open(self, transport: asyncio.Transport, origin: str, token: str | None, remote: str | None) -> SocketReader:
        """Take a socket in, and greet the client.

        Args:
            origin: as it was counted in; empty for a program.
            token: what came with the upgrade.
            remote: the client's address, for the log.

        Returns: what must be told of all that happens on the socket from now on.
        """
        number = ConnNumber(self._next_number)
        self._next_number += 1
        client = Client(
            number,
            transport,
            self._hub,
            self._uplink,
            self,
            soft_bytes=self.settings.write_buffer_soft_bytes,
            hard_bytes=self.settings.write_buffer_hard_bytes,
        )
        now_ms = self.clock.now_ms()
        client.connection = Connection(
            f"{self.edge_id}-{number}", number, self.settings, self._verifier, client, now_ms
        )
        client.opened_at_ms = now_ms
        client.origin = origin
        self._clients[number] = client
        self._hub.add(number, client)
        self.metrics.opened.inc()
        client.connection.open(token, now_ms)
        self._wheel.schedule(number, client.connection.next_deadline_ms())
        self._log.info("connected", connection=client.connection.connection_id, remote=remote)
        return SocketReader(client)

    # --- what clients send --------------------------------------------------------------------------------

    def heard(self, client: Client, frame: bytes) -> None:
        """See `Observer.heard`."""
        self._heard += 1
        connection = client.connection
        rooms = len(connection.rooms)
        connection.receive(frame, self.clock.now_ms())
        if len(connection.rooms) > rooms:
            # The life of the room's token may end before the deadlines known so far.
            self._wheel.schedule(client.number, connection.next_deadline_ms())

    def heard_binary(self, client: Client) -> None:
        """See `Observer.heard_binary`."""
        self._heard += 1
        client.connection.receive_binary(self.clock.now_ms())

    def heard_ping(self, client: Client) -> None:
        """See `Observer.heard_ping`."""
        client.connection.receive_ping(self.clock.now_ms())

    def handling_failed(self, client: Client, error: Exception) -> None:
        """See `Observer.handling_failed`."""
        self._log.error("connection failed", connection=client.connection.connection_id, exc_info=error)

    def lost(self, client: Client) -> None:
        """See `Observer.lost`."""
        connection = client.connection
        connection.end()
        self._hub.remove(client.number)
        self._wheel.cancel(client.number)
        self._origins.closed(client.origin)
        del self._clients[client.number]
        code = client.close_code or ABNORMAL_CLOSURE
        self.metrics.closed.labels(str(code)).inc()
        self._log.info(
            "disconnected",
            connection=connection.connection_id,
            user=connection.user_id,
            code=code,
            reason=client.close_reason or "by the client",
            rooms=connection.rooms_at_end,
            messages=connection.messages_in,
            duration_ms=self.clock.now_ms() - client.opened_at_ms,
        )

    # --- what connections and the hub tell ----------------------------------------------------------------

    def noted(self, client: Client, event: str, room_id: RoomId | None, detail: str) -> None:
        """See `Observer.noted`."""
        connection = client.connection
        if event == "busy":
            self.metrics.busy.inc()
            return
        if event == "joined":
            self.metrics.joins.inc()
        elif event == "auth_error":
            self.metrics.auth_errors.labels(detail).inc()
        self._log.info(
            event.replace("_", " "),
            connection=connection.connection_id,
            user=connection.user_id,
            room=room_id,
            **({"detail": detail} if detail else {}),
        )

    def forward(self, command: AnyRoomCommand) -> None:
        """See `HubPort.forward`."""
        self._uplink.offer(command.room_id, command, must=True)

    def answered(self, request: int, body: bytes) -> None:
        """See `HubPort.answered`."""
        self.operations.answered(request, body)

    def repairing(self, room_id: RoomId, listeners: int) -> None:
        """See `HubPort.repairing`."""
        self.metrics.repairs.inc()
        self._log.warning("repairing room", room=room_id, listeners=listeners)

    # --- loops --------------------------------------------------------------------------------------------

    async def _read(self, partition: Partition) -> None:
        after = trimmed = 0
        while True:
            try:
                entries = await self.bus.read_output(partition, self.edge_id, after, READ_BLOCK_MS)
                if after - trimmed >= TRIM_ENTRIES or (after > trimmed and not entries):
                    await self.bus.trim_output(partition, self.edge_id, after)
                    trimmed = after
            except BusUnavailable as error:
                self._trouble(error)
                await asyncio.sleep(0.1)
                continue
            if not entries:
                continue
            began_ms = self.clock.monotonic_ms()
            # A stream that ends before what was read was made anew, or Redis came back with an older one, whose
            # entries were applied before. Which it is cannot be told, so nothing in it about a room counts.
            is_older = entries[0].position <= after
            for entry in entries:
                if entry.position != after + 1:
                    trimmed = min(trimmed, entry.position)
                    self.metrics.output_gaps.inc()
                    self._log.warning("output lost", expected=after + 1, found=entry.position)
                    self._hub.repair_all()
                after = entry.position
                try:
                    batch = decode_output(entry.data)
                except DecodeError as error:
                    self._log.error("unreadable output passed over", error=str(error))
                    self._hub.repair_all()
                    continue
                self._hub.apply(answers_of(batch.deliveries) if is_older else batch.deliveries)
                if batch.pause_ms > 0.0:
                    told = (one.room_id for one in batch.deliveries if isinstance(one, RoomFrames))
                    reads_at_ms = self._read_times.heard(batch.worker_id, batch.told_at_ms, batch.pause_ms, began_ms)
                    self._uplink.expect_read(told, reads_at_ms, batch.pause_ms)
            self._hub.flush()
            self.metrics.output_batches.inc(len(entries))
            self.metrics.apply_seconds.observe((self.clock.monotonic_ms() - began_ms) / 1000.0)

    async def _keep_alive(self) -> None:
        confirmed_ms = self.clock.monotonic_ms()
        is_doubtful, is_opened = False, True
        while True:
            await asyncio.sleep(self.settings.node_renew_ms / 1000.0)
            asked_ms = self.clock.monotonic_ms()
            try:
                known = await self.bus.announce("edge", self.edge_id, self._info, self.settings.node_ttl_ms)
                # A call without a reply may have been the one that was told `False`.
                lived_on = self.clock.monotonic_ms() - confirmed_ms < self.settings.node_ttl_ms
                known = known and (lived_on or not is_doubtful)
                confirmed_ms, is_doubtful = asked_ms, False
                if not known:
                    # The workers may have dropped this edge's connections, and its stream what they sent.
                    self._log.warning("edge was forgotten; joining all rooms again")
                    self._hub.repair_all()
                    is_opened = False
                if not is_opened:
                    await self.bus.open_cluster(self._shape)
                    is_opened = True
                self.store_ok = True
            except BusUnavailable as error:
                is_doubtful = True
                self._trouble(error)

    async def _tick(self) -> None:
        ahead_ms = self.clock.now_ms() - self.clock.monotonic_ms()
        while True:
            await asyncio.sleep(TICK_MS / 1000.0)
            now_ms = self.clock.now_ms()
            jump_ms = now_ms - self.clock.monotonic_ms() - ahead_ms
            ahead_ms += jump_ms
            if abs(jump_ms) > CLOCK_JUMP_MS:
                self._clock_jumped(jump_ms, now_ms)
            self._wheel.advance(now_ms, self._look_at)
            self._hub.refresh_recovered(self.clock.monotonic_ms())
            self._show_numbers()

    def _clock_jumped(self, jump_ms: float, now_ms: int) -> None:
        """The host's clock was set. Nobody is closed for it: silence counts anew from now."""
        self._log.warning("clock was set", jump_ms=round(jump_ms))
        self._wheel = TimerWheel(TICK_MS, now_ms)
        for number, client in self._clients.items():
            client.connection.clock_jumped(now_ms)
            self._wheel.schedule(number, client.connection.next_deadline_ms())

    def _look_at(self, number: ConnNumber) -> None:
        connection = self._clients[number].connection
        connection.check_deadlines(self.clock.now_ms())
        if not connection.is_closing:
            self._wheel.schedule(number, connection.next_deadline_ms())

    # --- helpers ------------------------------------------------------------------------------------------

    def _show_numbers(self) -> None:
        metrics, hub, uplink = self.metrics, self._hub, self._uplink
        metrics.connections.set(len(self._clients))
        metrics.rooms.set(hub.room_count)
        metrics.uplink_pending.set(uplink.pending_count)
        for name, value, counter in (
            ("heard", self._heard, metrics.messages_in),
            ("delivered", hub.delivered, metrics.messages_out),
            ("skipped", hub.skipped, metrics.skipped),
            ("commands", uplink.commands, metrics.commands),
            ("batches", uplink.batches, metrics.batches),
        ):
            counter.inc(value - self._counted[name])
            self._counted[name] = value

    def _trouble(self, error: BusUnavailable) -> None:
        if self.store_ok:
            self._log.warning("redis does not answer", error=str(error))
        self.store_ok = False
        self.metrics.store_errors.inc()

    def _spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(coroutine, name=name))


def _bearer_token(request: web.Request) -> str | None:
    """Return the token that came with the upgrade: in the header, or as an offered subprotocol.

    Never from the query.
    """
    token = bearer(request)
    if token is not None:
        return token
    for offered in request.headers.get("Sec-WebSocket-Protocol", "").split(","):
        name = offered.strip()
        if name.startswith(BEARER_SUBPROTOCOL):
            return name.removeprefix(BEARER_SUBPROTOCOL)
    return None
