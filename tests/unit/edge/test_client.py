"""What is written to a socket, and when a reader is too slow."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from common.commands import AnyCommand, Disconnect
from common.errors import CloseCode
from common.ids import ConnNumber, Epoch, RoomId, Seq
from common.settings import EdgeSettings
from edge.client import CLOSE_TIMEOUT_S, Client
from edge.connection import Connection
from edge.frames import text_frame, text_frames
from edge.hub import Hub
from tests.unit.clock import LoopClock, drive, turns
from tests.unit.edge.test_connection import Verifier
from tests.unit.edge.test_frames import parsed
from tests.unit.edge.test_hub import House, attach, frames, moved, said
from tests.unit.stage import ADA, HALL, START_MS

SOFT, HARD = 100, 1_000


class Transport:
    """A socket whose other side reads only when told."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.unread = 0
        self.closing = False
        self.aborted = False
        self.eof = False
        self.protocol: asyncio.BaseProtocol = asyncio.Protocol()

    def get_write_buffer_size(self) -> int:
        return self.unread

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes) -> None:
        assert not self.eof, "written after the end"
        assert not self.closing
        self.writes.append(data)
        self.unread += len(data)

    def write_eof(self) -> None:
        self.eof = True

    def abort(self) -> None:
        self.aborted = self.closing = True
        asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def receive(self, data: bytes) -> None:
        """The other side sent something."""
        assert isinstance(self.protocol, asyncio.Protocol)
        self.protocol.data_received(data)

    def lose(self) -> None:
        """The other side closed."""
        self.closing = True
        self.protocol.connection_lost(None)

    def read(self) -> bytes:
        """The other side reads everything."""
        self.unread = 0
        data, self.writes = b"".join(self.writes), []
        return data

    def close_codes(self) -> list[int]:
        """Read everything and return the codes of the close frames."""
        return [int.from_bytes(frame.data[:2], "big") for frame in parsed(self.read()) if frame.opcode == 8]


class Uplink:
    """Takes everything, or nothing that need not be."""

    def __init__(self) -> None:
        self.commands: list[AnyCommand] = []
        self.busy = False

    def offer(self, room_id: RoomId, command: AnyCommand, *, must: bool) -> bool:
        if self.busy and not must:
            return False
        self.commands.append(command)
        return True


class Rim:
    """One client on an edge."""

    def __init__(self) -> None:
        self.house = House()
        self.hub: Hub = self.house.hub
        self.transport = Transport()
        self.uplink = Uplink()
        self.notes: list[tuple[str, RoomId | None]] = []
        self.pings_max = 100
        number = ConnNumber(1)
        self.client = Client(
            number,
            self.transport,  # type: ignore[arg-type]
            self.hub,
            self.uplink,  # type: ignore[arg-type]
            self,
            soft_bytes=SOFT,
            hard_bytes=HARD,
        )
        settings = EdgeSettings(token_secret="x" * 32)
        self.client.connection = Connection("e1-1", number, settings, Verifier(), self.client, START_MS)  # type: ignore[arg-type]
        self.hub.add(number, self.client)

    def heard_ping(self, client: Client) -> None:
        if self.pings_max == 0:
            client.close(CloseCode.FLOODING, "too many pings")
        self.pings_max -= 1

    def noted(self, client: Client, event: str, room_id: RoomId | None, detail: str) -> None:
        self.notes.append((event, room_id))

    def enter(self) -> "Rim":
        user = {"userId": ADA, "displayName": "Ada", "avatarId": "fox"}
        payload = {"roomId": HALL, "user": user, "token": f"{ADA} {HALL} 300000"}
        self.client.connection.receive(
            json.dumps({"v": 1, "t": "join_room", "ts": 0, "payload": payload}).encode(), START_MS
        )
        self.house.apply(attach(1, 5))
        self.transport.read()
        return self


def run(course: Callable[[Rim], Awaitable[None]]) -> None:
    async def inside() -> None:
        await course(Rim())

    drive(inside())


def test_a_message_of_the_edge_is_written_at_once() -> None:
    async def course(rim: Rim) -> None:
        rim.client.send(b"hello")
        assert rim.transport.writes == [text_frame(b"hello")]

    run(course)


def test_what_a_batch_brings_is_one_write() -> None:
    async def course(rim: Rim) -> None:
        rim.enter()
        rim.house.apply(frames(5, 6, said(b"a")), frames(6, 7, said(b"b"), moved(b"m")))
        assert rim.transport.writes == [text_frames([b"a", b"b", b"m"])]
        rim.hub.flush()
        rim.client.flush()
        assert len(rim.transport.writes) == 1

    run(course)


def test_an_answer_of_the_edge_does_not_overtake_what_is_queued() -> None:
    async def course(rim: Rim) -> None:
        rim.client.push(text_frame(b"a"), text_frame(b"a"))
        rim.client.send(b"b")
        assert rim.transport.read() == text_frames([b"a", b"b"])

    run(course)


def test_past_the_soft_mark_movements_are_left_out() -> None:
    async def course(rim: Rim) -> None:
        rim.enter()
        rim.transport.unread = SOFT
        rim.house.apply(frames(5, 6, said(b"a"), moved(b"m")))
        assert rim.transport.read() == text_frames([b"a", b"m"])
        rim.transport.unread = SOFT + 1
        rim.house.apply(frames(6, 7, said(b"b"), moved(b"n")))
        rim.house.apply(frames(7, 7, moved(b"o")))
        assert rim.transport.writes == [text_frame(b"b")]
        assert rim.hub.skipped == 2

    run(course)


def test_a_reader_is_slow_until_half_of_the_soft_mark() -> None:
    async def course(rim: Rim) -> None:
        rim.transport.unread = SOFT // 2 + 1
        assert rim.client.is_slow()
        rim.transport.unread = SOFT // 2
        assert not rim.client.is_slow()

    run(course)


def test_past_the_hard_mark_a_reader_is_closed_and_its_rooms_are_left() -> None:
    async def course(rim: Rim) -> None:
        rim.enter()
        rim.house.apply(frames(5, 6, said(b"x" * (HARD - 4))))
        assert not rim.client.is_ending
        rim.house.apply(frames(6, 7, said(b"y")))
        assert rim.client.is_ending
        assert rim.client.close_code == CloseCode.OVERLOADED
        assert rim.uplink.commands[-1] == Disconnect(HALL, ConnNumber(1))
        assert rim.hub.room_count == 0
        await turns()
        assert rim.transport.close_codes() == [1013]
        rim.transport.lose()
        await rim.client.ended()

    run(course)


def test_after_a_close_nothing_is_written() -> None:
    async def course(rim: Rim) -> None:
        rim.enter()
        rim.client.close(CloseCode.RESTARTING, "restarting")
        rim.client.send(b"late")
        assert rim.client.push(b"a", b"b")
        rim.client.flush()
        await turns()
        assert rim.transport.close_codes() == [1012]
        rim.client.close(CloseCode.FLOODING, "again")
        await turns()
        assert rim.transport.writes == []
        assert rim.client.close_code == CloseCode.RESTARTING

    run(course)


def test_a_close_that_finds_the_reader_past_the_hard_mark_is_one_close() -> None:
    # What was queued is written before the close, and that itself found the reader too slow: it was closed within
    # the close, by two tasks, and the second wrote its close frame behind the end of the first.
    async def course(rim: Rim) -> None:
        rim.enter()
        rim.transport.unread = HARD
        rim.client.push(text_frame(b"a"), text_frame(b"a"))
        rim.client.close(CloseCode.RESTARTING, "restarting")
        await turns()
        assert len(rim.transport.close_codes()) == 1
        rim.transport.lose()
        await rim.client.ended()

    run(course)


def test_a_client_that_does_not_go_is_cut() -> None:
    async def course(rim: Rim) -> None:
        rim.client.close(CloseCode.FLOODING, "too many")
        began_ms = LoopClock().monotonic_ms()
        await rim.client.ended()
        assert rim.transport.aborted
        assert LoopClock().monotonic_ms() - began_ms == pytest.approx(CLOSE_TIMEOUT_S * 1000)

    run(course)


def test_a_client_that_goes_is_not_cut() -> None:
    async def course(rim: Rim) -> None:
        rim.client.close(CloseCode.FLOODING, "too many")
        await turns()
        rim.transport.lose()
        await rim.client.ended()
        assert not rim.transport.aborted

    run(course)


def test_a_socket_that_is_gone_is_written_nothing() -> None:
    async def course(rim: Rim) -> None:
        rim.transport.closing = True
        rim.client.send(b"late")
        rim.client.close(CloseCode.FLOODING, "too many")
        await rim.client.ended()
        assert rim.transport.writes == []

    run(course)


def test_commands_go_to_the_uplink_and_a_refusal_is_noted() -> None:
    async def course(rim: Rim) -> None:
        rim.uplink.busy = True
        assert not rim.client.forward(Disconnect(HALL, ConnNumber(1)), must=False)
        assert rim.client.forward(Disconnect(HALL, ConnNumber(1)), must=True)
        assert rim.notes == [("busy", HALL)]
        assert rim.client.position(HALL) is None
        rim.uplink.busy = False
        rim.enter()
        assert rim.client.position(HALL) == (Epoch(9), Seq(5))

    run(course)


def test_a_ping_is_answered_until_it_is_one_too_many() -> None:
    async def course(rim: Rim) -> None:
        rim.pings_max = 1
        rim.client.receive_ping(b"a")
        rim.client.receive_ping(b"b")
        rim.client.receive_ping(b"c")
        await turns()
        pong, close = parsed(rim.transport.read())
        assert (pong.opcode, pong.data) == (10, b"a")
        assert close.opcode == 8

    run(course)


def test_who_does_not_read_gets_no_pongs() -> None:
    async def course(rim: Rim) -> None:
        rim.transport.unread = SOFT + 1
        rim.client.receive_ping(b"a")
        assert rim.transport.writes == []
        rim.transport.closing = True
        rim.transport.unread = 0
        rim.client.receive_ping(b"a")
        assert rim.transport.writes == []

    run(course)


def test_a_close_of_the_client_leaves_the_rooms_at_once() -> None:
    async def course(rim: Rim) -> None:
        rim.enter()
        rim.client.receive_close(4999)
        assert rim.uplink.commands[-1] == Disconnect(HALL, ConnNumber(1))
        assert (rim.client.close_code, rim.client.close_reason) == (4999, "")
        rim.client.close(CloseCode.RESTARTING, "restarting")
        rim.client.receive_close(1000)
        await turns()
        assert rim.transport.close_codes() == [4999]
        assert rim.client.close_code == 4999

    run(course)
