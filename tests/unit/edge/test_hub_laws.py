"""A room and an edge that loses entries: nobody sees a gap, and in the end everybody sees the room as it is.

The room is a real one; so are the edge's connections and its hub. Random entries of the edge's stream are lost;
the edge notices it, as the gateway does, by the position of the next one.
"""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import msgpack

from common.commands import AnyRoomCommand
from common.deliveries import AnyDelivery
from common.errors import CloseCode
from common.ids import ConnNumber, Epoch, RoomId, Seq, UserId
from common.settings import EdgeSettings
from edge.connection import Connection
from edge.hub import REFRESH_INTERVAL_MS, Hub
from edge.tokens import Claims
from roomworker.effects import RoomTurn
from roomworker.fanout import deliveries_of
from roomworker.history import PastEvent
from tests.unit.edge.test_frames import parsed
from tests.unit.roomworker.test_laws import Order
from tests.unit.stage import E1, HALL, Envelope, Stage
from tests.unit.steps import user_of

SETTINGS: dict[str, Any] = {"chat_burst": 1_000, "history_events_max": 6, "connections_per_member_max": 10}


class _Order(Order):
    """Also who caused what: a block that was set since hides it in replays."""

    def __init__(self) -> None:
        super().__init__()
        self.ever_blocked: set[tuple[UserId, UserId]] = set()
        self._actors: dict[tuple[int, int], UserId] = {}

    def add(self, turn: RoomTurn) -> None:
        super().add(turn)
        for seq, data in turn.patch.history:
            self._actors[turn.epoch, seq] = msgpack.decode(data, type=PastEvent).actor

    def may_miss(self, user: UserId, epoch: int, seq: int) -> bool:
        return user in self.hidden_from[epoch, seq] or (user, self._actors[epoch, seq]) in self.ever_blocked


class _Verifier:
    """The token is the person."""

    def verify(self, token: str) -> Claims:
        return Claims(UserId(token), ("*",), 2**52, "desktop", None, None, ())


class Copy:
    """A client's copy of the room, which complains about every gap that it was not told of."""

    def __init__(self, user: UserId, order: _Order) -> None:
        self.members: dict[str, Envelope] = {}
        self.place: tuple[int, int] | None = None
        self._in_state = 0
        self._is_told_to_wait = False
        self._user = user
        self._order = order

    def hear(self, envelope: Envelope) -> None:
        payload = envelope["payload"]
        match envelope["t"]:
            case "room_state":
                self.members = {member["userId"]: member for member in payload["members"]}
                self._is_told_to_wait = False
                self._in_state = payload["seq"]
                if not payload["recovered"]:
                    self.place = (payload["epoch"], payload["seq"])
            case "resync":
                self.place, self._is_told_to_wait = None, True
            case "left_room":
                self.members, self.place = {}, None
            case "avatar_transform_broadcast":
                if payload["userId"] in self.members:
                    pose = {key: payload[key] for key in ("x", "y", "z", "rotY", "anim", "speaking")}
                    self.members[payload["userId"]].update(pose)
            case name if "seq" in envelope:
                self._reliable(name, envelope)

    def _reliable(self, name: str, envelope: Envelope) -> None:
        assert not self._is_told_to_wait, "an event after `resync` and before the state"
        if self.place is None:
            # Of an earlier stay: the client left twice and came back, the edge answered the second leaving at once.
            return
        epoch, seq = self.place
        assert envelope["epoch"] == epoch, "an event of another order"
        if envelope["seq"] <= seq:
            assert envelope.get("replay"), "an old event after a newer one"
            return
        for missed in range(seq + 1, envelope["seq"]):
            assert self._order.may_miss(self._user, epoch, missed), f"{self._user} missed {missed}"
        self.place = (epoch, envelope["seq"])
        if envelope["seq"] <= self._in_state:
            return
        payload = envelope["payload"]
        if name == "member_joined":
            self.members[payload["member"]["userId"]] = payload["member"]
        elif name == "member_left":
            self.members.pop(payload["userId"])


class Person:
    """A connection with the client behind it: `ConnectionPort` and `Listener` in one, as `edge/client.py` is."""

    def __init__(self, edge: "Edge", number: int, user: UserId) -> None:
        self.user = user
        self.copy = Copy(user, edge.order)
        self.closed: int | None = None
        self.number = ConnNumber(number)
        self.is_fast = True
        self._edge = edge
        self._queued = b""
        self.connection = Connection(
            f"e1-{number}",
            self.number,
            EdgeSettings(token_secret="x" * 32),
            _Verifier(),
            self,
            edge.stage.now_ms,  # type: ignore[arg-type]
        )
        edge.hub.add(self.number, self)

    def join(self) -> None:
        who = {"userId": self.user, "displayName": self.user, "avatarId": "fox"}
        self.say("join_room", {"user": who, "token": self.user})

    def say(self, name: str, payload: dict[str, Any]) -> None:
        frame = json.dumps({"v": 1, "t": name, "ts": 0, "payload": {"roomId": HALL, **payload}})
        self.connection.receive(frame.encode(), self._edge.stage.now_ms)

    # ConnectionPort

    def send(self, message: bytes) -> None:
        if self.closed is None:
            self.copy.hear(json.loads(message))

    def forward(self, command: AnyRoomCommand, *, must: bool) -> bool:
        self._edge.forward(command)
        return True

    def close(self, code: CloseCode, reason: str) -> None:
        self.flush()
        self.closed = code
        self.connection.end()

    def unsubscribe(self, room_id: RoomId) -> None:
        self._edge.hub.unsubscribe(self.number, room_id)

    def position(self, room_id: RoomId) -> tuple[Epoch, Seq] | None:
        return self._edge.hub.position(room_id)

    def note(self, event: str, room_id: RoomId | None, detail: str) -> None:
        pass

    # Listener

    @property
    def user_id(self) -> UserId | None:
        return self.connection.user_id

    def push(self, reliable: bytes, everything: bytes) -> bool:
        self._queued += everything if self.is_fast else reliable
        return self.is_fast or reliable is everything

    def is_slow(self) -> bool:
        return not self.is_fast

    def flush(self) -> None:
        data, self._queued = self._queued, b""
        for frame in parsed(data):
            self.copy.hear(json.loads(bytes(frame.data)))

    def attached(self, room_id: RoomId, attempt: int) -> bool:
        return self.connection.attached(room_id, attempt)

    def is_joined(self, room_id: RoomId) -> bool:
        return self.connection.is_joined(room_id)

    def detached(self, room_id: RoomId, *, refused: bool) -> None:
        self.connection.detached(room_id, refused=refused)

    def rejoin(self, room_id: RoomId, position: tuple[Epoch, Seq] | None) -> AnyRoomCommand | None:
        return self.connection.rejoin(room_id, position)

    def rooms_wanted(self) -> list[RoomId]:
        return self.connection.rooms_wanted()


class Edge:
    """One edge, one room, and the two streams between them."""

    def __init__(self) -> None:
        self.stage = Stage(**SETTINGS)
        self.order = _Order()
        self.hub = Hub(self)
        self.people: dict[int, Person] = {}
        self.repairs = 0
        self.has_hole = False
        self._opened = 0
        self._refreshed_ms = 0
        self.to_room: list[AnyRoomCommand] = []
        self.to_edge: list[list[AnyDelivery]] = []

    def forward(self, command: AnyRoomCommand) -> None:
        self.to_room.append(command)

    def answered(self, request: int, body: bytes) -> None:
        pass

    def repairing(self, room_id: RoomId, listeners: int) -> None:
        self.repairs += 1

    def person(self, slot: int, user: str | None = None) -> Person:
        """Return the connection in a slot; after an end, a new one of the same user. Numbers are given once."""
        if slot not in self.people:
            self._opened += 1
            self.people[slot] = Person(self, self._opened, UserId(user or user_of(slot)))
        return self.people[slot]

    def work(self) -> None:
        """The worker takes what waits, as one turn."""
        commands, self.to_room = self.to_room, []
        for command in commands:
            self.stage.do(command)
        turn = self.stage.room.take()
        self.stage.store.apply(turn)
        self.order.add(turn)
        deliveries = deliveries_of(turn).get(E1, [])
        if deliveries:
            self.to_edge.append(deliveries)

    def read(self) -> None:
        """The edge takes the next entry of its stream."""
        if self.to_edge:
            if self.has_hole:
                self.has_hole = False
                self.hub.repair_all()
            self.hub.apply(self.to_edge.pop(0))
            self.hub.flush()

    def refresh(self) -> None:
        """Refresh who was slow, so long after the last time that each may be."""
        self._refreshed_ms += REFRESH_INTERVAL_MS
        self.hub.refresh_recovered(self._refreshed_ms)

    def settle(self) -> None:
        """Let everything arrive, now without losses."""
        for _ in range(10):
            self.refresh()
            while self.to_edge:
                self.read()
            self.work()
        assert not self.to_edge
        assert not self.to_room


conns = st.sampled_from([1, 2, 3, 4])
steps = st.one_of(
    st.tuples(st.just("join"), conns),
    st.tuples(st.just("join"), conns),
    st.tuples(st.just("leave"), conns),
    st.tuples(st.just("end"), conns),
    st.tuples(st.just("chat"), conns),
    st.tuples(st.just("chat"), conns),
    st.tuples(st.just("move"), conns, st.integers(-50, 50)),
    st.tuples(st.just("move"), conns, st.integers(-50, 50)),
    st.tuples(st.just("beat"), conns, st.integers(0, 4)),
    st.tuples(st.just("block"), conns, conns, st.booleans()),
    st.tuples(st.just("slow"), conns, st.booleans()),
    st.tuples(st.just("lose")),
    st.tuples(st.just("work")),
    st.tuples(st.just("work")),
    st.tuples(st.just("read")),
    st.tuples(st.just("read")),
    st.tuples(st.just("wait")),
    st.tuples(st.just("refresh")),
)


def play(edge: Edge, step: Any, number: int) -> None:
    match step:
        case ("join", conn):
            person = edge.person(conn)
            if person.closed is None:
                person.join()
        case ("leave", conn):
            edge.person(conn).say("leave_room", {})
        case ("end", conn):
            person = edge.people.pop(conn, None)
            if person is not None:
                person.connection.end()
                edge.hub.remove(person.number)
        case ("chat", conn):
            edge.person(conn).say("local_chat", {"text": f"{number}", "mode": "local"})
        case ("move", conn, x):
            numbers = {"x": x, "y": 0, "z": 0, "rotY": 0, "anim": "walk", "speaking": False}
            edge.person(conn).say("avatar_transform", {"seq": number, **numbers})
        case ("beat", conn, back):
            person = edge.person(conn)
            last_seq = person.copy.place[1] if person.copy.place else 0
            person.say("heartbeat", {"clientTimeMs": 1, "lastSeq": max(0, last_seq - back)})
        case ("block", conn, other, blocked):
            if user_of(conn) != user_of(other):
                edge.work()
                user, unseen = UserId(user_of(conn)), UserId(user_of(other))
                edge.order.ever_blocked.add((user, unseen))
                edge.stage.block(user, unseen, blocked=blocked)
        case ("slow", conn, slow):
            edge.person(conn).is_fast = not slow
        case ("lose", noticed):
            if edge.to_edge:
                edge.to_edge.pop(0)
                edge.has_hole = edge.has_hole or noticed
        case ("work",):
            edge.work()
        case ("read",):
            edge.read()
        case ("wait",):
            edge.stage.wait(60)
        case ("refresh",):
            edge.refresh()
        case _:
            raise AssertionError(step)


def check(edge: Edge) -> None:
    """Everybody who is in the room sees it as it is."""
    for person in edge.people.values():
        subscription = person.connection.rooms.get(HALL)
        if subscription is None or not subscription.wanted or person.closed is not None:
            continue
        assert subscription.joined
        found = {member["userId"]: member for member in edge.stage.look(person.user)["members"]}
        assert person.copy.members == found, person.number


courses = st.lists(steps, min_size=20, max_size=90)


def run(course: list[Any], *, losses: bool, noticed: bool = True) -> Edge:
    edge = Edge()
    for number, step in enumerate(course):
        if step[0] == "lose" and losses:
            play(edge, ("lose", noticed), number)
        elif step[0] != "lose":
            play(edge, step, number)
    for person in edge.people.values():
        person.is_fast = True
    edge.settle()
    return edge


@given(courses)
def test_without_losses_everybody_sees_the_room_as_it_is(course: list[Any]) -> None:
    edge = run(course, losses=False)
    check(edge)
    assert edge.repairs == 0


@given(courses)
def test_with_losses_nobody_sees_a_gap_and_after_the_repair_everybody_sees_the_room(course: list[Any]) -> None:
    edge = run(course, losses=True)
    # The last entries may have been lost; the next one shows it.
    edge.person(99, "zoe").join()
    edge.settle()
    check(edge)


@given(courses)
def test_what_follows_in_a_room_shows_a_loss_that_the_stream_did_not(course: list[Any]) -> None:
    """Or else the next heartbeat does, also for whose repair was lost. The copies complain about gaps on the way."""
    edge = run(course, losses=True, noticed=False)
    edge.person(99, "zoe").join()
    edge.settle()
    for person in edge.people.values():
        if person.copy.place is not None:
            person.say("heartbeat", {"clientTimeMs": 1, "lastSeq": person.copy.place[1]})
    edge.settle()
    for person in edge.people.values():
        subscription = person.connection.rooms.get(HALL)
        if person.copy.place is not None and subscription is not None and subscription.wanted and subscription.joined:
            epoch, seq = person.copy.place
            assert epoch == edge.stage.room.epoch
            after = range(seq + 1, edge.stage.room.seq + 1)
            assert all(edge.order.may_miss(person.user, epoch, missed) for missed in after)
