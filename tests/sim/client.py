"""A client that keeps the contract and writes down what it sees (`loadtest/observations.py`)."""

import asyncio
import json
import random
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from edge.gateway import Gateway
from loadtest.observations import (
    Acked,
    AnyObservation,
    Closed,
    Moved,
    Opened,
    Received,
    Refused,
    Resynced,
    Sent,
    State,
)
from tests.sim.timeline import now_ms
from tests.sim.wire import Process

SILENT_MS: Final = 3_000
"""Without an answer to a heartbeat for so long a client takes its connection for lost."""

TOKEN_LIFE_MS: Final = 3_600_000
Envelope = dict[str, Any]


class Transport:
    """The edge's end of a socket: frames reach the client after a delay, in order."""

    def __init__(self, take: Callable[[int, bytes], None], delay_ms: float, gone: Callable[[], None]) -> None:
        self.closing = False
        self.is_cut = False
        self.protocol: asyncio.BaseProtocol = asyncio.Protocol()
        self._take = take
        self._gone = gone
        self._delay_s = delay_ms / 1000.0
        self._flying: deque[bytes] = deque()

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes) -> None:
        self._flying.append(data)
        asyncio.get_running_loop().call_later(self._delay_s, self._arrive)

    def write_eof(self) -> None:
        pass

    def abort(self) -> None:
        self.lose()

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def lose(self) -> None:
        """The edge learns that the socket is gone."""
        if not self.closing:
            self.closing = True
            self._gone()

    def _arrive(self) -> None:
        data = self._flying.popleft()
        if self.is_cut:
            return
        for opcode, payload in _frames(data):
            self._take(opcode, payload)


class Edge:
    """An edge process, and its sockets."""

    def __init__(self, process: Process, gateway: Gateway) -> None:
        self.process = process
        self.gateway = gateway
        self.sockets: dict[Socket, None] = {}

    @property
    def accepts(self) -> bool:
        return not (self.process.is_dead or self.process.is_paused or self.gateway.is_draining)


class Socket:
    """One connection of a client to an edge."""

    def __init__(self, edge: Edge, take: Callable[["Socket", int, bytes], None], delay_ms: float) -> None:
        self.edge = edge
        self.is_open = True
        self._inbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._delay_s = delay_ms / 1000.0
        self._flying: deque[bytes] = deque()
        self.transport = Transport(
            lambda opcode, payload: take(self, opcode, payload), delay_ms, lambda: self._inbox.put_nowait(None)
        )
        self.transport.protocol = edge.gateway.open(self.transport, "", None, "sim")  # type: ignore[arg-type]
        edge.sockets[self] = None
        self.served = asyncio.create_task(self._serve())

    def send(self, text: bytes) -> None:
        self._flying.append(text)
        asyncio.get_running_loop().call_later(self._delay_s, self._arrive)

    def cut(self, *, silently: bool = False) -> None:
        """Nothing passes any more; silently: the edge does not learn of it."""
        self.is_open = False
        self.transport.is_cut = True
        if not silently:
            self.transport.lose()

    def _arrive(self) -> None:
        text = self._flying.popleft()
        if not self.transport.is_cut:
            self._inbox.put_nowait(_client_frame(text))

    async def _serve(self) -> None:
        """Tell the edge what happens on the socket, while its process is awake."""
        try:
            while True:
                data = await self._inbox.get()
                await self.edge.process.awake()
                protocol = self.transport.protocol
                assert isinstance(protocol, asyncio.Protocol)
                if data is None:
                    protocol.connection_lost(None)
                    return
                protocol.data_received(data)
        finally:
            self.edge.sockets.pop(self, None)


class RoomView:
    """What a client knows of a room."""

    def __init__(self) -> None:
        self.epoch = 0
        self.seq = 0
        self.is_joined = False
        self.members: set[str] = set()
        self.state_at = (0, 0)
        """Where the last state stood; further parts of it say the same."""
        self.pending: dict[str, str] = {}
        """Texts that were not acknowledged, by id, in the order of sending."""


class SimClient:
    """One client of one person, in some rooms, for the whole run."""

    def __init__(
        self,
        name: str,
        user: str,
        rooms: list[str],
        choose_edge: Callable[[], Edge | None],
        rng: random.Random,
        writes_to: list[str],
    ) -> None:
        """Prepare.

        Args:
            writes_to: persons who get direct messages from it.
        """
        self.name, self.user = name, user
        self.direct: dict[str, str] = {}
        """Direct messages that were not acknowledged: the text, and to whom."""
        self.direct_acked: set[str] = set()
        self.rooms = {room: RoomView() for room in rooms}
        self.log: list[AnyObservation] = []
        self.is_calm = False
        self.is_gone = False
        """It left for good."""
        self.socket: Socket | None = None
        self._writes_to = writes_to
        self._choose_edge = choose_edge
        self._rng = rng
        self._heard_at_ms = 0.0
        self._asked: dict[str, tuple[int, int] | None] = {}
        self._messages = self._joins = self._steps = self._numbers = 0
        self._connect_at_ms = 0.0
        self._last_move: dict[str, Any] = {}

    def is_settled(self) -> bool:
        rooms_are = all(room.is_joined and not room.pending for room in self.rooms.values())
        return self.socket is not None and rooms_are and not self.direct

    async def run(self) -> None:
        """Connect, speak, walk, and come back, until cancelled."""
        beat_at_ms = resend_at_ms = 0.0
        while True:
            await asyncio.sleep(self._rng.uniform(0.02, 0.25))
            now = now_ms()
            if self.socket is None:
                if now >= self._connect_at_ms and not self.is_gone:
                    self._connect()
                continue
            if now - self._heard_at_ms > SILENT_MS:
                self.lose(1006, silently=self._rng.random() < 0.5)
                continue
            room = self._rng.choice(list(self.rooms))
            view = self.rooms[room]
            if now >= beat_at_ms:
                beat_at_ms = now + 700
                self._beat(room, view)
            if now >= resend_at_ms:
                resend_at_ms = now + 1_500
                self._send_again()
            if not view.is_joined or self.is_calm:
                continue
            if self._writes_to and self._rng.random() < 0.3:
                self._write()
            match self._rng.random():
                case chance if chance < 0.35:
                    self.chat(room)
                case chance if chance < 0.75:
                    self._move(room)
                case chance if chance < 0.77:
                    self.lose(1006, silently=self._rng.random() < 0.3)
                case chance if chance < 0.78:
                    self._join(room, resume=self._rng.random() < 0.5)

    def chat(self, room: str) -> None:
        self._messages += 1
        text = f"{self.name}-{self._messages}"
        self.rooms[room].pending[text] = text
        self._say(room, text)

    def lose(self, code: int, *, silently: bool = False, wait_ms: float | None = None) -> None:
        """The connection is gone."""
        socket, self.socket = self.socket, None
        if socket is None:
            return
        socket.cut(silently=silently)
        self.log.append(Closed(self.name, self.user, now_ms(), "", code))
        for view in self.rooms.values():
            view.is_joined = False
        self._connect_at_ms = now_ms() + (self._rng.uniform(50, 600) if wait_ms is None else wait_ms)

    def leave_for_good(self) -> None:
        self.is_gone = True
        self.lose(1000)

    # --- sending ------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        edge = self._choose_edge()
        if edge is None:
            self._connect_at_ms = now_ms() + 200
            return
        self.socket = Socket(edge, self._take, self._rng.uniform(0.2, 20))
        self._heard_at_ms = now_ms()
        self.log.append(Opened(self.name, self.user, now_ms(), ""))
        for room in self.rooms:
            self._join(room, resume=True)

    def _join(self, room: str, *, resume: bool) -> None:
        view = self.rooms[room]
        self._joins += 1
        self._numbers = 0
        join_id = f"join-{self.name}-{self._joins}"
        payload: dict[str, Any] = {
            "roomId": room,
            "user": {"userId": self.user, "displayName": self.user, "avatarId": "fox"},
            "token": f"{self.user} {TOKEN_LIFE_MS}",
        }
        self._asked[join_id] = None
        if resume and view.epoch:
            payload["resume"] = {"epoch": view.epoch, "lastSeq": view.seq}
            self._asked[join_id] = (view.epoch, view.seq)
        self._send("join_room", payload, join_id)

    def _write(self) -> None:
        self._messages += 1
        text = f"{self.name}-{self._messages}"
        self.direct[text] = self._rng.choice(self._writes_to)
        self._send_direct(text)

    def _send_direct(self, text: str) -> None:
        self._send("direct_send", {"recipientId": self.direct[text], "text": text}, text)

    def _say(self, room: str, text: str) -> None:
        self.log.append(Sent(self.name, self.user, now_ms(), room, text, "local_chat", text))
        self._send("local_chat", {"roomId": room, "text": text, "mode": "local"}, text)

    def _send_again(self) -> None:
        for room, view in self.rooms.items():
            if view.is_joined:
                for text in view.pending:
                    self._say(room, text)
            else:
                self._join(room, resume=True)

        if any(view.is_joined for view in self.rooms.values()):
            for text in self.direct:
                self._send_direct(text)

    def _beat(self, room: str, view: RoomView) -> None:
        payload: dict[str, Any] = {"clientTimeMs": int(now_ms())}
        if view.is_joined:
            payload |= {"roomId": room, "lastSeq": view.seq}
            self.log.append(Sent(self.name, self.user, now_ms(), room, "", "heartbeat", str(view.seq)))
        self._send("heartbeat", payload)

    def _move(self, room: str) -> None:
        self._steps += 1
        self._numbers += 1
        payload: dict[str, Any] = {
            "roomId": room,
            "seq": self._numbers,
            "x": self._steps,
            "y": int(self.name[1:]),
            "z": self._joins,
        }
        payload |= {"rotY": 0, "anim": "walk", "speaking": False}
        self._send("avatar_transform", payload)
        if self._rng.random() < 0.1 and self._last_move.get("z") == self._joins and self._last_move["roomId"] == room:
            # A client that mixes its movements up; the room drops the older one.
            self._send("avatar_transform", self._last_move)
        self._last_move = payload

    def _send(self, name: str, payload: dict[str, Any], message_id: str | None = None) -> None:
        assert self.socket is not None
        envelope: Envelope = {"v": 1, "t": name, "ts": 0, "payload": payload}
        if message_id is not None:
            envelope["id"] = message_id
        self.socket.send(json.dumps(envelope).encode())

    # --- receiving ----------------------------------------------------------------------------------------

    def _take(self, socket: Socket, opcode: int, payload: bytes) -> None:
        if socket is not self.socket:
            return
        self._heard_at_ms = now_ms()
        if opcode == 8:
            self.lose(int.from_bytes(payload[:2], "big"))
            return
        envelope = json.loads(payload)
        self._hear(envelope, envelope["payload"])

    def _hear(self, envelope: Envelope, payload: dict[str, Any]) -> None:
        name, room, re = envelope["t"], payload.get("roomId", ""), envelope.get("re", "")
        view = self.rooms.get(room)
        base = (self.name, self.user, now_ms(), room)
        match name:
            case "ack" if re in self.direct:
                del self.direct[re]
                self.direct_acked.add(re)
            case "error" | "rate_limited" | "message_rejected" if re in self.direct:
                # It is sent again; nothing but a busy cluster refuses it.
                pass
            case "server_draining":
                self.lose(1012, wait_ms=payload["reconnectAfterMs"])
            case "error" | "rate_limited" | "auth_error" if re and not re.startswith("join-"):
                self.log.append(Refused(*base, re, payload.get("code", name)))
            case _ if view is None:
                pass
            case "room_state":
                self._state(base, view, payload, re)
            case "room_members":
                if (payload["epoch"], payload["seq"]) == view.state_at:
                    view.members.update(member["userId"] for member in payload["members"])
            case "ack":
                view.pending.pop(re, None)
                self.log.append(Acked(*base, re, payload["seq"]))
            case "resync":
                self.log.append(Resynced(*base, payload["reason"]))
            case "avatar_transform_broadcast":
                step, join = int(payload["x"]), int(payload["z"])
                # Two clients of a person count each for itself.
                actor = f"{payload['userId']}/{int(payload['y'])}"
                self.log.append(Moved(*base, actor, payload["seq"], step, join))
            case _ if "seq" in envelope:
                self._event(base, view, envelope, payload)

    def _state(self, base: tuple[str, str, float, str], view: RoomView, payload: dict[str, Any], re: str) -> None:
        asked = self._asked.get(re)
        members = sorted(member["userId"] for member in payload["members"])
        epoch, seq, recovered = payload["epoch"], payload["seq"], payload["recovered"]
        self.log.append(State(*base, epoch, seq, recovered, members, asked if recovered else None))
        view.members = set(members)
        view.state_at = (epoch, seq)
        if recovered:
            view.seq = asked[1] if asked else view.seq
        else:
            view.seq = seq
        view.epoch = epoch
        if not view.is_joined:
            view.is_joined = True
            for text in view.pending:
                self._say(base[3], text)

    def _event(
        self, base: tuple[str, str, float, str], view: RoomView, envelope: Envelope, payload: dict[str, Any]
    ) -> None:
        epoch, seq, replay = envelope["epoch"], envelope["seq"], envelope.get("replay", False)
        actor = payload.get("userId") or payload["member"]["userId"]
        self.log.append(Received(*base, envelope["t"], epoch, seq, actor, payload.get("text", ""), replay))
        if epoch != view.epoch or seq <= view.seq:
            return
        view.seq = seq
        # The state that came before a replay knows already what the replay tells; telling it again in order is no harm.
        if envelope["t"] == "member_joined":
            view.members.add(actor)
        elif envelope["t"] == "member_left":
            view.members.discard(actor)


def _client_frame(text: bytes) -> bytes:
    """Return the frame of a message, under a mask of zeros (RFC 6455 section 5.3)."""
    size = len(text)
    assert size < 65_536
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return b"\x81" + length + bytes(4) + text


def _frames(data: bytes) -> list[tuple[int, bytes]]:
    """Split what a server wrote: unmasked whole frames (RFC 6455 section 5.2)."""
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(data):
        opcode, length = data[at] & 0x0F, data[at + 1]
        at += 2
        if length >= 126:
            size = 2 if length == 126 else 8
            length = int.from_bytes(data[at : at + size], "big")
            at += size
        found.append((opcode, data[at : at + length]))
        at += length
    return found
