"""A room on a stage: commands in, what every connection hears out. Time moves only when told.

`Stage` holds a room as a worker does (each turn's patch lands in a dict, as in the store) and, as edges do,
the connections that listen. It checks on the way that what each edge gets is contiguous.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import UNSET

from common.bus import Person
from common.commands import (
    AnyRoomCommand,
    CatchUp,
    Disconnect,
    Identity,
    Inspect,
    Join,
    Leave,
    LiftRestrictions,
    Moderate,
    Post,
)
from common.deliveries import Answer, AnyDelivery, Attach, Detach, Direct, RoomFrames, Shared, Stranger
from common.ids import ConnNumber, EdgeId, Epoch, RoomId, Seq, UserId, kind_of
from common.messages import (
    Anim,
    AvatarTransform,
    AvatarTransformPayload,
    ChatSend,
    ChatSendPayload,
    Device,
    Emote,
    EmotePayload,
    LocalChat,
    LocalChatPayload,
    ModerationType,
)
from common.settings import WorkerSettings
from common.word_filter import NO_FILTER, WordFilter
from roomworker.effects import RoomTurn
from roomworker.fanout import deliveries_of
from roomworker.kinds import KINDS
from roomworker.room import Beginning, Room

E1, E2 = EdgeId("e1"), EdgeId("e2")
HALL = RoomId("hall")
START_MS = 1_700_000_000_000
ADA, BEN, CY, DEE = UserId("ada"), UserId("ben"), UserId("cy"), UserId("dee")

Place = tuple[EdgeId, int]
Envelope = dict[str, Any]


def join(
    user: str,
    conn: int,
    *,
    name: str | None = None,
    avatar: str = "fox",
    device: Device = "desktop",
    resume: tuple[int, int] | None = None,
    re: str | None = None,
    repair: bool = False,
    roles: tuple[str, ...] = (),
    room: RoomId = HALL,
) -> Join:
    epoch, seq = resume or (None, 0)
    return Join(
        room,
        ConnNumber(conn),
        Identity(UserId(user), name or user.title(), avatar, roles),
        device,
        None if epoch is None else Epoch(epoch),
        Seq(seq),
        re,
        repair,
    )


def leave(conn: int, *, re: str | None = None, room: RoomId = HALL) -> Leave:
    return Leave(room, ConnNumber(conn), re)


def lose(conn: int, *, room: RoomId = HALL, hold_ms: int = 0) -> Disconnect:
    return Disconnect(room, ConnNumber(conn), hold_ms)


def chat(conn: int, text: str = "hello", *, id: str | None = None, room: RoomId = HALL) -> Post:  # noqa: A002
    message = LocalChat(v=1, ts=0, id=UNSET if id is None else id, payload=LocalChatPayload(room, text, "local"))
    return Post(room, ConnNumber(conn), message)


def say(
    conn: int,
    text: str = "hello",
    *,
    id: str | None = None,  # noqa: A002
    reply_to: str | None = None,
    room: RoomId = HALL,
) -> Post:
    payload = ChatSendPayload(room, text, UNSET if reply_to is None else reply_to)
    return Post(room, ConnNumber(conn), ChatSend(v=1, ts=0, id=UNSET if id is None else id, payload=payload))


def emote(conn: int, emote_id: str = "cheers", *, id: str | None = None, room: RoomId = HALL) -> Post:  # noqa: A002
    message = Emote(v=1, ts=0, id=UNSET if id is None else id, payload=EmotePayload(room, emote_id))
    return Post(room, ConnNumber(conn), message)


def move(conn: int, seq: int, x: float = 1.0, *, anim: Anim = "walk", room: RoomId = HALL) -> Post:
    payload = AvatarTransformPayload(room, seq, x, 0.0, 2.0, 0.5, anim, speaking=False)
    return Post(room, ConnNumber(conn), AvatarTransform(v=1, ts=0, payload=payload))


def catch_up(conn: int, epoch: int, seq: int, *, skipped: bool = False) -> CatchUp:
    return CatchUp(HALL, ConnNumber(conn), Epoch(epoch), Seq(seq), skipped)


def moderate(user: str, action: ModerationType, duration_ms: int | None = None, *, request: int = 1) -> Moderate:
    return Moderate(HALL, request, UserId(user), action, "be kind", duration_ms)


def lift(user: str, *, request: int = 1) -> LiftRestrictions:
    return LiftRestrictions(HALL, request, UserId(user))


def inspect(request: int = 1) -> Inspect:
    return Inspect(HALL, request)


class Store:
    """What is stored of one room, and the log beside it."""

    def __init__(self, history_events_max: int) -> None:
        self.fields: dict[str, bytes] = {}
        self._log: list[tuple[Epoch, Seq, bytes]] = []
        self._history_events_max = history_events_max

    def apply(self, turn: RoomTurn) -> None:
        patch = turn.patch
        self.fields.update(patch.set_fields)
        for name in patch.delete_fields:
            self.fields.pop(name, None)
        self._log += [(patch.epoch, seq, data) for seq, data in patch.history]
        self._log = [entry for entry in self._log if entry[0] != patch.epoch or entry[1] not in patch.redacted]
        del self._log[: -self._history_events_max]

    def history(self, epoch: Epoch, after: Seq) -> list[tuple[Seq, bytes]]:
        return [(seq, data) for of, seq, data in self._log if of == epoch and seq > after]


class Heard:
    """What one turn brought to each connection and operator."""

    def __init__(self) -> None:
        self.by_place: dict[Place, list[Envelope]] = {}
        self.answers: dict[int, Envelope] = {}
        self.deliveries: dict[EdgeId, list[AnyDelivery]] = {}

    def to(self, conn: int, edge: EdgeId = E1) -> list[Envelope]:
        return self.by_place.get((edge, conn), [])

    def names(self, conn: int, edge: EdgeId = E1) -> list[str]:
        return [envelope["t"] for envelope in self.to(conn, edge)]

    def the(self, name: str, conn: int, edge: EdgeId = E1) -> Envelope:
        """Return the only event of a name that a connection heard."""
        (found,) = [envelope for envelope in self.to(conn, edge) if envelope["t"] == name]
        return found

    def is_silent(self) -> bool:
        return not self.by_place


class _Desk:
    """Who listens on one edge, and where the room stands there."""

    def __init__(self) -> None:
        self.at: tuple[Epoch, Seq] | None = None
        self.conns: dict[int, UserId] = {}

    def drop(self, conn: int) -> None:
        self.conns.pop(conn, None)
        if not self.conns:
            self.at = None


class Stage:
    """A room, its store, and who listens."""

    def __init__(self, *, now_ms: int = START_MS, room_id: RoomId = HALL, **settings: Any) -> None:
        # Where a test does not say otherwise, what is stored is the room as it is.
        self.settings = WorkerSettings(**{"position_store_ms": 0, **settings})
        self.room_id = room_id
        self.now_ms = now_ms
        self.generation = 0
        self.store = Store(self.settings.history_events_max)
        self.blocks: dict[UserId, frozenset[UserId]] = {}
        self.closed: dict[Place, int] = {}
        self.last_turn: RoomTurn | None = None
        self._users: dict[Place, UserId] = {}
        self._gone: set[Place] = set()
        self._desks: dict[EdgeId, _Desk] = {E1: _Desk(), E2: _Desk()}
        self.room = open_room(self.settings, {}, now_ms, room_id)

    # --- what happens -------------------------------------------------------------------------------------

    def do(self, *commands: AnyRoomCommand, edge: EdgeId = E1, arrived_ms: int | None = None) -> "Stage":
        for command in commands:
            if isinstance(command, Join):
                self._users[edge, command.conn] = command.identity.user_id
                self._gone.discard((edge, command.conn))
            if isinstance(command, Disconnect):
                self._desks[edge].drop(command.conn)
                self._gone.add((edge, command.conn))
            perform(self.room, self.store, edge, command, self.now_ms, arrived_ms or self.now_ms, self.blocks)
        return self

    def block(self, user: UserId, other: UserId, *, blocked: bool = True) -> "Stage":
        before = self.blocks.get(user, frozenset())
        self.blocks[user] = before | {other} if blocked else before - {other}
        self.room.change_block(user, other, self.now_ms, blocked=blocked)
        return self

    def drop_edge(self, edge: EdgeId) -> "Stage":
        self._desks[edge] = _Desk()
        self._gone |= {place for place in self._users if place[0] == edge}
        self.room.drop_edge(edge, self.now_ms)
        return self

    def tick(self) -> "Stage":
        self.room.tick(self.now_ms)
        return self

    def wait(self, duration_ms: int) -> "Stage":
        self.now_ms += duration_ms
        return self

    def begin_epoch(self) -> "Stage":
        self.generation += 1
        self.room.begin_epoch(self.now_ms, Beginning(Epoch(self.now_ms), self.generation))
        return self

    def take_over(self) -> "Stage":
        """Another worker takes the room: nothing is left but what is stored, in whatever order."""
        fields = dict(sorted(self.store.fields.items(), key=lambda item: item[0][::-1]))
        self.room = open_room(self.settings, fields, self.now_ms, self.room_id)
        return self

    def hand_over(self) -> "Stage":
        """As `take_over`, but by a worker that lives, and stores all before."""
        if self.room.hurry():
            assert self.turn().is_silent()
        return self.take_over()

    def turn(self) -> Heard:
        """End the turn: store the patch, and tell the connections."""
        turn = self.last_turn = self.room.take()
        self.store.apply(turn)
        return self._tell(deliveries_of(turn))

    def hear(self, *commands: AnyRoomCommand, edge: EdgeId = E1) -> Heard:
        """Do these commands in a turn of their own."""
        return self.do(*commands, edge=edge).turn()

    # --- what is asked ------------------------------------------------------------------------------------

    def members(self) -> list[str]:
        return [member["userId"] for member in self.look()["members"]]

    def look(self, reader: UserId | None = None) -> Envelope:
        """Return the room as a stranger would find it now, or as a person with its own blocks; changes nothing."""
        stranger = UserId("stranger")
        blocks = {} if reader is None else {stranger: self.blocks.get(reader, frozenset())}
        room = open_room(self.settings, self.store.fields, self.now_ms, self.room_id)
        perform(room, self.store, EdgeId("look"), join(stranger, 1), self.now_ms, self.now_ms, blocks)
        delivery, *others = deliveries_of(room.take())[EdgeId("look")]
        assert isinstance(delivery, Attach), delivery
        state: Envelope = json.loads(delivery.messages[0])["payload"]
        parts = [message for other in others if isinstance(other, Shared) for message in other.messages]
        state["members"] = whole([state, *(json.loads(part)["payload"] for part in parts)])
        state["members"] = [member for member in state["members"] if member["userId"] != stranger]
        return state

    def listeners(self) -> dict[Place, UserId]:
        """Return who receives the room, by connection."""
        return {(edge, conn): user for edge, desk in self._desks.items() for conn, user in desk.conns.items()}

    def _tell(self, deliveries: Mapping[EdgeId, list[AnyDelivery]]) -> Heard:
        heard = Heard()
        heard.deliveries = dict(deliveries)
        for edge, of_edge in deliveries.items():
            desk = self._desks[edge]
            for delivery in of_edge:
                self._apply(edge, desk, delivery, heard)
        return heard

    def _apply(self, edge: EdgeId, desk: _Desk, delivery: AnyDelivery, heard: Heard) -> None:
        match delivery:
            case RoomFrames():
                if desk.at is None:
                    return
                assert desk.at == (delivery.epoch, delivery.from_seq), f"{edge} stands at {desk.at}: {delivery}"
                desk.at = (delivery.epoch, delivery.to_seq)
                for segment in delivery.segments:
                    for conn, user in desk.conns.items():
                        if user not in segment.hidden_from:
                            _hear(heard, (edge, conn), segment.messages)
            case Attach():
                if (edge, delivery.conn) in self._gone:
                    return
                desk.at = (delivery.epoch, delivery.seq)
                desk.conns[delivery.conn] = self._users[edge, delivery.conn]
                _hear(heard, (edge, delivery.conn), delivery.messages)
            case Shared():
                for conn in delivery.conns:
                    if conn in desk.conns:
                        _hear(heard, (edge, conn), delivery.messages)
            case Detach():
                desk.drop(delivery.conn)
                _hear(heard, (edge, delivery.conn), delivery.messages)
                if delivery.close_code is not None:
                    self.closed[edge, delivery.conn] = delivery.close_code
            case Direct() | Stranger():
                _hear(heard, (edge, delivery.conn), delivery.messages)
            case Answer():
                heard.answers[delivery.request] = json.loads(delivery.body)


def whole(parts: Iterable[Envelope]) -> list[Envelope]:
    """Put the members of a state's parts together; oneself may be in two of them."""
    members = {member["userId"]: member for part in parts for member in part["members"]}
    return list(members.values())


def open_room(
    settings: WorkerSettings,
    stored: Mapping[str, bytes],
    now_ms: int,
    room_id: RoomId = HALL,
    words: WordFilter = NO_FILTER,
) -> Room:
    rules = KINDS[kind_of(room_id)](settings)
    return Room(room_id, rules, settings, stored, now_ms, words, beginning=Beginning(Epoch(now_ms), 0))


def perform(
    room: Room,
    store: Store,
    edge: EdgeId,
    command: AnyRoomCommand,
    now_ms: int,
    arrived_ms: int,
    blocks: Mapping[UserId, frozenset[UserId]],
) -> None:
    """Hand a command to a room, after what the store must be asked for it, as the worker does."""
    people = {user_id: Person(of_user) for user_id, of_user in blocks.items()}
    after = room.wants_history(command)
    if after is not None:
        room.add_history(after, store.history(room.epoch, after))
    room.handle(edge, command, now_ms, arrived_ms, people)


def _hear(heard: Heard, place: Place, messages: Iterable[bytes]) -> None:
    envelopes = [json.loads(message) for message in messages]
    if envelopes:
        heard.by_place.setdefault(place, []).extend(envelopes)
