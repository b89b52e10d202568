"""One room: command in, effects out.

Owns the room's order, members, connections, rates, blocks, restrictions, idempotency marks, history and
timers; knows no kind of room (see `rules.py`), no socket and no store. Time is passed in and there is no
randomness, so the same commands give the same effects, and a room that is rebuilt from its stored fields
goes on as the live one would have, but for movements of the last `ROOMRING_POSITION_STORE_MS`.

Invariants: `seq` grows by one with each sequenced event; nothing leaves before `take` and the commit of what
it returned; every stored field that changed is in the patch of the same turn, unless it was touched for later.

Stored fields: `meta`, `m:<user>` (member), `s:<user>` (kind's state and rates), `b:<user>` (whom the member
blocks), `r:<user>` (restrictions), `d:<user>\\0<id>` (answers to idempotent messages), `k:<key>` (the kind's records),
`x:<seq>` (what stands in the place of a deleted event), `t:<user>` (the rates of somebody who is not here).
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any, Final

from msgspec import UNSET, Struct, UnsetType, json, msgpack, structs

from common.bus import NOBODY_KNOWN, Person, PersonPatch, RoomPatch
from common.codec import as_replay, encode_event
from common.commands import (
    Active,
    AnyRoomCommand,
    BlockChanged,
    Call,
    CatchUp,
    ChangeBlock,
    DeleteMessage,
    Disconnect,
    Identity,
    Inspect,
    Join,
    Leave,
    LiftRestrictions,
    Moderate,
    Post,
    SetFriendship,
    Tell,
)
from common.cursor import encode_cursor
from common.durable import (
    NO_END_MS,
    BlockSet,
    MessagePlace,
    MessageRemoved,
    Record,
    Restricted,
    RestrictionsLifted,
)
from common.errors import AUTH_ERROR_MEANING, ERROR_MEANING, AuthErrorCode, CloseCode, ErrorCode
from common.ids import ConnNumber, EdgeId, Epoch, RoomId, Seq, UserId
from common.letters import AnyLetter
from common.messages import (
    Ack,
    ClientMessage,
    ErrorEvent,
    LeftRoom,
    MemberJoined,
    MemberLeft,
    MessageDeleted,
    ModerationAction,
    RateLimited,
    Resync,
    ResyncReason,
    RoomState,
    ServerEvent,
    auth_refusal,
    refusal,
)
from common.outbox import OutboxEntry, encode_entry
from common.settings import DRAIN_MS_MAX, WorkerSettings
from common.token_bucket import Rate, TokenBucket
from common.word_filter import NO_FILTER, Verdict, WordFilter
from roomworker.blocks import NOBODY, Blocks
from roomworker.effects import (
    AnswerOperator,
    AttachConnection,
    DetachConnection,
    Effect,
    EphemeralGroup,
    RoomTurn,
    Say,
    SayStranger,
    Sequenced,
    ShowMembers,
)
from roomworker.field_changes import FieldChanges
from roomworker.history import History, PastEvent, encode_past
from roomworker.idempotency import Answers
from roomworker.member import (
    Connection,
    ConnRef,
    Member,
    decode_live,
    restore_member,
)
from roomworker.postponed import Postponed
from roomworker.redactions import NOWHERE, Redactions
from roomworker.resting_buckets import FILL_MS, RestingBuckets
from roomworker.restrictions import Restrictions
from roomworker.room_states import MemberViews, RoomStates
from roomworker.rules import Incoming, RoomRules, RoomSeed

NOTICE_INTERVAL_MS: Final = 1_000
"""The contract: at most one `rate_limited` a second for each event name."""

CALLERS_MAX: Final = 1_000
"""Callers of a room, and persons who left it, of whom something is remembered; those not heard of for longest go."""


class Meta(Struct, array_like=True):
    """The room itself, as stored: its position, the kind's alarms and state, and whether it was seeded.

    `generation` is the shard's when the epoch began.
    """

    epoch: Epoch
    seq: Seq
    alarms: dict[str, int] = {}
    kind_state: bytes | None = None
    is_seeded: bool = False
    generation: int = 0


class Beginning(Struct, frozen=True):
    """What a new order begins with: an epoch that no room of the shard had before, and the shard's generation."""

    epoch: Epoch
    generation: int


class Waiting(Struct, frozen=True):
    """A connection that is shown the room when the joinings and leavings at hand are over.

    It came with `join`; or it was here, and starts anew for `reason`. `new`: it was not attached before.
    """

    member: Member
    connection: Connection
    join: Join | None = None
    new: bool = False
    reason: ResyncReason = "slow_reader"


class Counters(Struct):
    """What happened in this room since this worker took it."""

    joins: int = 0
    leaves: int = 0
    sequenced: int = 0
    transforms: int = 0
    transforms_merged: int = 0
    rate_limited: int = 0
    repeated: int = 0


_encoder: Final = msgpack.Encoder()
_json: Final = json.Encoder()
_meta_decoder: Final = msgpack.Decoder(Meta)


class Room:
    """A room that this worker owns. Not thread-safe; one caller."""

    def __init__(
        self,
        room_id: RoomId,
        rules: RoomRules,
        settings: WorkerSettings,
        stored: Mapping[str, bytes],
        now_ms: int,
        word_filter: WordFilter = NO_FILTER,
        *,
        beginning: Beginning,
    ) -> None:
        """Rebuild a room from its stored fields, or begin a new one where there are none.

        Args:
            beginning: what a new room begins with.
        """
        self.room_id = room_id
        self.counters = Counters()
        self.outbox_is_full = False
        """Set by the engine: the shard's way to the durable store has no room."""
        self.relay_is_full = False
        """Set by the engine: the shard's way to another partition has no room."""
        self._rules = rules
        self._word_filter = word_filter
        self._settings = settings
        self._connections_max = rules.connections_max or settings.connections_per_member_max
        self._now_ms = now_ms
        self._tag = blake2b(room_id.encode(), digest_size=4).hexdigest()
        self._members: dict[UserId, Member] = {}
        self._last_entries: dict[int, int] = {}
        """By a number of members, the `entry` of the last of so many; until somebody comes or goes."""
        self._by_conn: dict[ConnRef, Member] = {}
        self._away: dict[UserId, int] = {}
        self._edges: dict[EdgeId, int] = {}
        self._changes = FieldChanges()
        self._blocks = Blocks(self._changes)
        self._restrictions = Restrictions(self._changes)
        self._redactions = Redactions(self._changes)
        self._resting = RestingBuckets(
            self._changes,
            rest_ms=max(FILL_MS, 1_000 * settings.chat_burst / settings.chat_per_second),
            persons_max=CALLERS_MAX,
        )
        self._views = MemberViews(rules.view)
        self._postponed = Postponed(settings.position_store_ms)
        self._stores_later = settings.position_store_ms > 0
        self._answers = Answers(settings.idempotency_window_ms, settings.idempotency_ids_max)
        self._stored = bool(stored)
        meta = (
            _meta_decoder.decode(stored["meta"])
            if stored
            else Meta(beginning.epoch, Seq(0), generation=beginning.generation)
        )
        self._epoch, self._seq, self._alarms = meta.epoch, meta.seq, dict(meta.alarms)
        self._generation = meta.generation
        self._is_seeded = meta.is_seeded or not settings.database_url
        self._records: dict[str, Any] = {}
        self._restrictions_kept = 0
        self._callers: dict[UserId, Member] = {}
        """People who are not in the room but send to it. Of them their rates are stored."""
        self._people: Mapping[UserId, Person] = {}
        self._kind_state: Any = (
            rules.new_room_state() if meta.kind_state is None else rules.decode_room_state(meta.kind_state)
        )
        self._restore(stored)
        self._history = History(settings.history_events_max, self._seq)
        self._begin_turn()

    # --- what is asked of it ------------------------------------------------------------------------------

    @property
    def epoch(self) -> Epoch:
        """The order that `seq` counts in."""
        return self._epoch

    @property
    def generation(self) -> int:
        """The shard's when the epoch began; where that is another one now, Redis may have lost part of the epoch."""
        return self._generation

    @property
    def seq(self) -> Seq:
        """Place of the newest reliable event."""
        return self._seq

    @property
    def member_count(self) -> int:
        """How many members, the ones away included."""
        return len(self._members)

    @property
    def edges(self) -> Mapping[EdgeId, int]:
        """Attached connections of each edge."""
        return self._edges

    def next_due_ms(self) -> int | None:
        """When `tick` must be called next; None while no timer runs."""
        postponed_ms = self._postponed.due_ms()
        others = () if postponed_ms is None else (postponed_ms,)
        return min((*self._away.values(), *self._alarms.values(), *others), default=None)

    def hurry(self) -> bool:
        """Have the next turn store all that was to be stored later. False: there is nothing."""
        return self._postponed.hurry()

    def has_member(self, user_id: UserId) -> bool:
        """Tell whether the person is a member, present or away."""
        return user_id in self._members

    def wants_history(self, command: AnyRoomCommand) -> Seq | None:
        """Tell after which place `handle` needs history for this command that only the store still has."""
        after: Seq | None = None
        epoch: Epoch | None = self._epoch
        match command:
            case Post() | Call():
                after = self._rules.history_needed(command.message)
            case Tell():
                after = self._rules.history_needed(command.letter)
            case DeleteMessage():
                epoch, after = command.epoch, Seq(command.seq - 1)
            case CatchUp():
                epoch, after = command.epoch, command.last_seq
            case Join():
                latest = Seq(max(0, self._seq - self._rules.latest_count))
                epoch, after = command.resume_epoch, command.resume_seq
                if epoch != self._epoch or after > latest:
                    # What a newcomer is shown of the past.
                    epoch, after = self._epoch, latest
            case _:
                pass
        if after is None or epoch != self._epoch or not self._history.lacks(after):
            return None
        return after

    def looks_back(self, message: ClientMessage) -> bool:
        """Tell whether a message may ask for past events. Most do not; it spares them `wants_history`."""
        return type(message) in self._rules.looks_back

    def add_history(self, after: Seq, stored: list[tuple[Seq, bytes]]) -> None:
        """Take what the store has after a place that `wants_history` told."""
        self._history.prepend(after, stored, self._redactions.events)

    def people_needed(self, command: AnyRoomCommand) -> Iterable[UserId]:
        """Return whom `handle` must be told of for this command."""
        match command:
            case Join():
                return (command.identity.user_id,)
            case Call():
                return self._rules.people_needed(self, command.identity.user_id, command.message)
            case ChangeBlock():
                return (command.user_id,)
            case Tell():
                return self._rules.letter_people(command.letter)
            case _:
                return ()

    @property
    def is_seeded(self) -> bool:
        """See `RoomServices.is_seeded`."""
        return self._is_seeded

    def seed(self, seed: RoomSeed, now_ms: int) -> None:
        """Take what the durable store has of the room, which Redis did not have."""
        self._now_ms = now_ms
        self._is_seeded = self._meta_changed = True
        self._restrictions.seed(seed.restrictions)
        self._rules.seed(self, seed)
        if seed.content is not None:
            # Who is here already was shown the room without it.
            self._all_anew("restored")

    # --- commands -----------------------------------------------------------------------------------------

    def handle(
        self,
        edge_id: EdgeId,
        command: AnyRoomCommand,
        now_ms: int,
        arrived_ms: int,
        people: Mapping[UserId, Person],
    ) -> None:
        """Take one command of an edge. Effects gather until `take`.

        Args:
            now_ms: the worker's time; stamps what is sequenced.
            arrived_ms: when the edge received it.
            people: at least those of `people_needed`.
        """
        self._now_ms = now_ms
        self._people = people
        match command:
            case Post():
                self._post(ConnRef(edge_id, command.conn), command, arrived_ms)
            case Join():
                self._join(ConnRef(edge_id, command.conn), command)
            case Call():
                self._call(ConnRef(edge_id, command.conn), command, arrived_ms)
            case Tell():
                self._rules.receive(self, command.letter)
            case Active():
                self._active(ConnRef(edge_id, command.conn))
            case Leave():
                self._leave(ConnRef(edge_id, command.conn), command)
            case Disconnect():
                self._lose(ConnRef(edge_id, command.conn), command.hold_ms)
            case CatchUp():
                self._catch_up(ConnRef(edge_id, command.conn), command)
            case _:
                self._operate(edge_id, command)

    def _operate(
        self,
        edge_id: EdgeId,
        command: Moderate | LiftRestrictions | DeleteMessage | Inspect | ChangeBlock | SetFriendship,
    ) -> None:
        """An order or question of an operator, a moderator or the application."""
        match command:
            case Moderate():
                self._moderate(edge_id, command)
            case LiftRestrictions():
                self._lift(edge_id, command)
            case DeleteMessage():
                self._delete_message(edge_id, command)
            case Inspect():
                self._effects.append(AnswerOperator(edge_id, command.request, self._describe()))
            case ChangeBlock() | SetFriendship():
                body = _json.encode(self._rules.operate(self, command))
                self._effects.append(AnswerOperator(edge_id, command.request, body))

    def _active(self, ref: ConnRef) -> None:
        member = self._by_conn.get(ref)
        if member is not None:
            self._rules.active(self, member)

    def change_block(self, user_id: UserId, other_id: UserId, now_ms: int, *, blocked: bool) -> None:
        """A person no longer sees another, or does again. Nothing happens where the person is no member."""
        member = self._members.get(user_id)
        before = self._blocks.of(user_id)
        if member is None or (other_id in before) == blocked:
            return
        self._now_ms = now_ms
        self._attach_waiting()
        self._blocks.put(user_id, before | {other_id} if blocked else before - {other_id})
        if self._rules.blocks_changed(self, member, other_id, blocked=blocked):
            for connection in member.connections.values():
                self._wait_anew(connection, member, "blocks_changed")
            self._attach_waiting()

    def drop_edge(self, edge_id: EdgeId, now_ms: int) -> None:
        """An edge is gone; its connections are lost."""
        self._now_ms = now_ms
        # By member and not by connection: the order of the members is stored, that of all connections is not.
        for member in list(self._members.values()):
            for ref in [ref for ref in member.connections if ref.edge_id == edge_id]:
                self._lose(ref)

    def tick(self, now_ms: int) -> None:
        """Run the timers that are due."""
        self._now_ms = now_ms
        due = [self._members[user_id] for user_id, until_ms in self._away.items() if until_ms <= now_ms]
        for member in sorted(due, key=lambda member: (member.away_until_ms, member.entry)):
            self._remove(member)
        for name in sorted(name for name, at_ms in self._alarms.items() if at_ms <= now_ms):
            self.set_alarm(name, 0)
            self._rules.alarm(self, name)

    def begin_epoch(self, now_ms: int, beginning: Beginning) -> None:
        """Begin a new order, since the store may have lost part of the old one; everybody is told to resync."""
        self._now_ms = now_ms
        self._epoch = Epoch(max(self._epoch + 1, beginning.epoch))
        self._generation = beginning.generation
        self._seq = self._seq_before = Seq(0)
        self._history = History(self._settings.history_events_max, self._seq)
        self._redactions.forget(NOWHERE)
        self._meta_changed = True
        self._rules.epoch_began(self)
        self._all_anew("new_epoch")

    def take(self) -> RoomTurn:
        """Return everything since the last `take`, and begin a new turn."""
        self._attach_waiting()
        ttl_ms, active = self._lifetime()
        if self._history_new or self._meta_changed:
            kind_state = None if self._kind_state is None else self._rules.encode_room_state(self._kind_state)
            self._changes.put(
                "meta",
                _encoder.encode(
                    Meta(self._epoch, self._seq, self._alarms, kind_state, self._is_seeded, self._generation)
                ),
            )
        for key, value in self._records_changed.items():
            self._changes.put("k:" + key, self._rules.encode_record(key, value))
        self._redactions.forget(Seq(self._seq - self._settings.history_events_max))
        for user_id in self._postponed.take(self._now_ms):
            self._touched[user_id] = self._members[user_id]
        for member in self._touched.values():
            if member.user_id in self._members:
                self._postponed.drop(member.user_id)
                self._changes.put("s:" + member.user_id, member.live_record(self._rules.encode_state(member.state)))
            elif self._stored or self._history_new or self._meta_changed:
                # A room that is not stored does not become it by somebody who knocks.
                self._resting.put(member.user_id, member.buckets, self._now_ms)
        set_fields, deleted_fields = self._changes.take()
        set_answers, deleted_answers = self._answers.take()
        set_fields.update(set_answers)
        self._stored = self._stored or bool(set_fields)
        patch = RoomPatch(
            self.room_id,
            self._epoch,
            set_fields,
            [*deleted_fields, *deleted_answers],
            self._history_new,
            active,
            ttl_ms,
            self._redacted,
        )
        turn = RoomTurn(
            self.room_id,
            self._epoch,
            self._seq_before,
            self._edges_before,
            self._effects,
            self._ephemeral(),
            patch,
            self._rate_notices,
            self._outbox,
            self._tells,
            list(self._people_changed.values()),
            self._broadcasts,
        )
        self._begin_turn()
        return turn

    # --- what rules may do (RoomServices) -----------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        """See `RoomServices.now_ms`."""
        return self._now_ms

    @property
    def state(self) -> Any:
        """See `RoomServices.state`."""
        return self._kind_state

    def members(self) -> Iterable[Member]:
        """See `RoomServices.members`."""
        return self._members.values()

    def is_among_first(self, member: Member, count: int) -> bool:
        """See `RoomServices.is_among_first`."""
        if len(self._members) <= count:
            return True
        last_entry = self._last_entries.get(count)
        if last_entry is None:
            last = next(itertools.islice(self._members.values(), count - 1, None))
            last_entry = self._last_entries[count] = last.entry
        return member.entry <= last_entry

    def latest_events(self, reader: Member, count: int) -> list[PastEvent]:
        """See `RoomServices.latest_events`."""
        unseen = self._blocks.of(reader.user_id)
        return [past for past in self._history.latest(count) if past.is_seen_past(unseen)]

    def forget_seed(self) -> None:
        """See `RoomServices.forget_seed`."""
        self._is_seeded = not self._settings.database_url
        self._meta_changed = True

    @property
    def records(self) -> Mapping[str, Any]:
        """See `RoomServices.records`."""
        return self._records

    def put_record(self, key: str, value: Any) -> None:
        """See `RoomServices.put_record`."""
        self._records[key] = self._records_changed[key] = value
        self._meta_changed = True

    def drop_record(self, key: str) -> None:
        """See `RoomServices.drop_record`."""
        if key in self._records:
            del self._records[key]
            self._records_changed.pop(key, None)
            self._meta_changed = True
            self._changes.drop("k:" + key)

    def person(self, user_id: UserId) -> Person:
        """See `RoomServices.person`."""
        return self._people.get(user_id, NOBODY_KNOWN)

    def blocks_of(self, member_id: UserId) -> frozenset[UserId]:
        """See `RoomServices.blocks_of`."""
        return self._blocks.of(member_id)

    def past_event(self, seq: Seq) -> PastEvent | None:
        """See `RoomServices.past_event`."""
        return self._history.at(seq)

    def past_events(self) -> Iterator[tuple[Seq, PastEvent]]:
        """See `RoomServices.past_events`."""
        return self._history.items()

    def redact(self, seq: Seq, instead: ServerEvent) -> None:
        """See `RoomServices.redact`."""
        before = self._history.at(seq)
        assert before is not None
        event = encode_event(instead, self._now_ms, seq=seq, epoch=self._epoch)
        past = PastEvent(before.actor, event, before.also)
        self._history.replace(seq, past)
        self._redactions.put(seq, past)
        # An event of this very turn is in the patch, not in the store's log.
        for index, (at, _) in enumerate(self._history_new):
            if at == seq:
                self._history_new[index] = (at, encode_past(past))
        self._redacted.append(seq)

    def touch_room(self) -> None:
        """See `RoomServices.touch_room`."""
        self._meta_changed = True

    def set_alarm(self, name: str, at_ms: int) -> None:
        """See `RoomServices.set_alarm`."""
        if at_ms == self._alarms.get(name, 0):
            return
        self._meta_changed = True
        if at_ms:
            self._alarms[name] = at_ms
        else:
            del self._alarms[name]

    def alarm_at_ms(self, name: str) -> int:
        """See `RoomServices.alarm_at_ms`."""
        return self._alarms.get(name, 0)

    def screen(self, text: str) -> Verdict:
        """See `RoomServices.screen`."""
        return self._word_filter.check(text)

    def can_keep(self) -> bool:
        """See `RoomServices.can_keep`."""
        return not self.outbox_is_full

    def keep(self, record: Record, sender: Connection | None = None) -> None:
        """See `RoomServices.keep`."""
        if self._settings.database_url:
            edge_id, number = (EdgeId(""), ConnNumber(0)) if sender is None else (sender.edge_id, sender.number)
            self._outbox.append(encode_entry(OutboxEntry(record, edge_id, number)))

    def tell(self, room_id: RoomId, letter: AnyLetter) -> None:
        """See `RoomServices.tell`."""
        self._tells.append(Tell(room_id, letter))

    def set_block(self, user_id: UserId, other_id: UserId, *, blocked: bool) -> None:
        """See `RoomServices.set_block`."""
        self._person_patch(user_id).blocks[other_id] = blocked
        self.keep(BlockSet(user_id, other_id, blocked, self._now_ms))
        self._broadcasts.append(BlockChanged(user_id, other_id, blocked))
        # Here at once, so that what follows in this batch is behind it.
        self.change_block(user_id, other_id, self._now_ms, blocked=blocked)

    def set_restricted(self, user_id: UserId, muted_until_ms: int, barred_until_ms: int) -> None:
        """See `RoomServices.set_restricted`."""
        patch = self._person_patch(user_id)
        patch.muted_until_ms, patch.barred_until_ms = muted_until_ms, barred_until_ms

    def sequence(self, event: ServerEvent, actor: UserId, *also: UserId) -> Seq:
        """See `RoomServices.sequence`."""
        is_of_members = isinstance(event, MemberJoined | MemberLeft)
        if self._waiting and not is_of_members:
            self._attach_waiting()
        seq = self.next_seq()
        encoded = encode_event(event, self._now_ms, seq=seq, epoch=self._epoch)
        past = PastEvent(actor, encoded, also)
        self._seq = seq
        self._history.append(past)
        self._history_new.append((seq, encode_past(past)))
        self._effects.append(Sequenced(seq, encoded, self._blocks.hidden_from(actor, *also), is_of_members))
        self.counters.sequenced += 1
        return seq

    def show(self, event: ServerEvent, actor: UserId) -> None:
        """See `RoomServices.show`."""
        self.counters.transforms += 1
        of_type = self._showing.get(type(event))
        if of_type is None:
            of_type = self._showing[type(event)] = {}
        elif actor in of_type:
            self.counters.transforms_merged += 1
        of_type[actor] = event

    def touch(self, member: Member) -> None:
        """See `RoomServices.touch`."""
        self._views.changed(member.user_id)
        self._touched[member.user_id] = member
        if member.user_id not in self._members and self._stored and not self._active_before:
            # What is written of a room that rests begins its time anew, or it could outlive the rest of the room.
            self._meta_changed = True

    def touch_later(self, member: Member) -> None:
        """See `RoomServices.touch_later`."""
        user_id = member.user_id
        if self._stores_later and user_id in self._members:
            self._views.changed(user_id)
            self._postponed.add(user_id, self._now_ms)
        else:
            self.touch(member)

    def admit(self, incoming: Incoming, event_name: str, rate: Rate, *, tell: bool = True, later: bool = False) -> bool:
        """See `RoomServices.admit`."""
        member = incoming.member
        bucket = member.buckets.get(event_name)
        if bucket is None:
            bucket = member.buckets[event_name] = TokenBucket()
        wait_ms = bucket.take(rate, incoming.arrived_ms)
        if later:
            self.touch_later(member)
        else:
            self.touch(member)
        if wait_ms == 0:
            return True
        self.counters.rate_limited += 1
        if not tell:
            return False
        told_at_ms = member.told_at_ms.get(event_name)
        if told_at_ms is None or not 0 <= incoming.now_ms - told_at_ms < NOTICE_INTERVAL_MS:
            member.told_at_ms[event_name] = incoming.now_ms
            self._rate_notices.append((member.user_id, event_name))
            self._say(incoming.connection.ref, RateLimited(event_name, rate.per_second, wait_ms, self.room_id))
        return False

    def message_id(self, seq: Seq) -> str:
        """See `RoomServices.message_id`."""
        return f"{self._tag}-{self._epoch:x}-{seq:x}"

    def next_seq(self) -> Seq:
        """See `RoomServices.next_seq`."""
        return Seq(self._seq + 1)

    def is_muted(self, user_id: UserId, now_ms: int) -> bool:
        """See `RoomServices.is_muted`."""
        return self._restrictions.is_muted(user_id, now_ms)

    # --- joining and leaving ------------------------------------------------------------------------------

    def _join(self, ref: ConnRef, command: Join) -> None:
        if ref in self._waiting:
            # It asked before, and each time is answered.
            self._attach_waiting()
        user_id = command.identity.user_id
        re = UNSET if command.re is None else command.re
        if self._restrictions.is_barred(user_id, self._now_ms):
            refused = encode_event(auth_refusal(AuthErrorCode.BANNED, self.room_id), self._now_ms, re=re)
            # Who is barred from the own inbox is barred from the cluster.
            code = CloseCode.REMOVED if command.quiet else None
            self._effects.append(DetachConnection(ref, [refused], attached=False, refused=True, close_code=code))
            return
        member = self._members.get(user_id)
        if command.quiet and member is not None and len(member.connections) >= self._connections_max:
            self._effects.append(DetachConnection(ref, [], attached=ref in member.connections, refused=True))
            if ref in member.connections:
                self._forget_connection(ref)
            return
        if not self._rules.joinable:
            event = encode_event(refusal(ErrorCode.NOT_ALLOWED, self.room_id), self._now_ms, re=re)
            self._effects.append(DetachConnection(ref, [event], attached=False, refused=True))
            return
        if member is None:
            if len(self._members) >= self._settings.members_per_room_max:
                full = encode_event(refusal(ErrorCode.ROOM_FULL, self.room_id), self._now_ms, re=re)
                self._effects.append(DetachConnection(ref, [full], attached=False, refused=True))
                return
            member = self._admit_member(command.identity, self.person(user_id).blocks)
        elif not member.describes(command.identity):
            member.display_name, member.avatar_id = command.identity.display_name, command.identity.avatar_id
            self._views.changed(user_id)
            self._rules.renamed(self, member)
        new = self._connect(ref, member, command)
        self._store_member(member)
        self._waiting[ref] = Waiting(member, member.connections[ref], command, new)
        self._limit_connections(member)

    def _admit_member(self, identity: Identity, blocks: frozenset[UserId]) -> Member:
        user_id = identity.user_id
        newest = next(reversed(self._members.values()), None)
        entry = 1 if newest is None else newest.entry + 1
        member = Member(user_id, identity.display_name, identity.avatar_id, self._rules.new_state(), entry)
        caller = self._callers.pop(user_id, None)
        member.buckets = self._resting.take(user_id) or ({} if caller is None else caller.buckets)
        self._members[user_id] = member
        self._last_entries.clear()
        if blocks:
            self._blocks.put(user_id, blocks)
        self.touch(member)
        self.counters.joins += 1
        self._rules.entered(self, member)
        return member

    def _connect(self, ref: ConnRef, member: Member, command: Join) -> bool:
        """Enter the connection as the member's newest; a repair leaves a known connection as it is. True: it is new."""
        known = member.connections.get(ref)
        if known is not None and command.repair:
            return False
        stranger = self._by_conn.get(ref)
        assert stranger is None or stranger is member, "a connection joins a room as one person only"
        member.joins += 1
        member.roles = command.identity.roles
        member.away_until_ms = member.held_until_ms = 0
        self._away.pop(member.user_id, None)
        connection = Connection(ref.edge_id, ref.number, command.device, member.joins, command.quiet)
        member.connections.pop(ref, None)
        member.connections[ref] = connection
        self._by_conn[ref] = member
        if known is None:
            self._edges[ref.edge_id] = self._edges.get(ref.edge_id, 0) + 1
        return known is None

    def _wait_anew(self, connection: Connection, member: Member, reason: ResyncReason) -> None:
        """Have a connection that is here start anew. One that is to be shown the room anyway needs no more."""
        self._waiting.setdefault(connection.ref, Waiting(member, connection, reason=reason))

    def _attach_waiting(self) -> None:
        """Show the room, as it is now, to all that wait for it.

        So who comes with many others is not told of each of them, and the room's events need not be cut into pieces
        between them for everybody else.
        """
        if not self._waiting:
            return
        waiting = list(self._waiting.items())
        self._waiting.clear()
        states = RoomStates(self._views, self._members, self._settings.room_state_bytes_max, self._now_ms)
        for ref, of in waiting:
            if of.join is not None:
                messages, attempt = self._greeting(ref, of.member, of.join, states), of.join.attempt
            else:
                messages = [] if of.connection.is_quiet else self._resync_messages(ref, of.member, of.reason, states)
                attempt = 0
            self._effects.append(AttachConnection(ref, self._seq, messages, of.new, attempt))
        for crowd in states.crowds():
            self._effects.append(ShowMembers(crowd.readers, crowd.rest))

    def _greeting(self, ref: ConnRef, member: Member, command: Join, states: RoomStates) -> list[bytes]:
        re = UNSET if command.re is None else command.re
        recovered = command.resume_epoch == self._epoch and self._history.covers(command.resume_seq)
        if command.repair and not (recovered or command.quiet):
            reason: ResyncReason = "history_too_short" if command.resume_epoch == self._epoch else "new_epoch"
            return self._resync_messages(ref, member, reason, states)
        missed = self._replay(member, command.resume_seq) if recovered else []
        if command.quiet:
            return missed
        # A repair gets the state as well: what was lost on the way may have been movements, which are not replayed.
        state = self._rules.snapshot(self, member, recovered=recovered)
        if command.resume_epoch is not None and not recovered:
            place = MessagePlace(command.resume_epoch, command.resume_seq)
            live = MessagePlace(self._epoch, self.next_seq())
            state = structs.replace(state, cursor=encode_cursor(place), until=encode_cursor(live))
        return [self._encode_state(state, ref, member, states, re), *missed]

    def _encode_state(
        self, state: RoomState, ref: ConnRef, member: Member, states: RoomStates, re: str | UnsetType = UNSET
    ) -> bytes:
        if not self._rules.lists_members:
            return encode_event(state, self._now_ms, re=re)
        return states.encode(state, ref, member, self._blocks.of(member.user_id), re)

    def _limit_connections(self, member: Member) -> None:
        while len(member.connections) > self._connections_max:
            oldest = next(iter(member.connections.values()))
            self._forget_connection(oldest.ref)
            # Who never asked to be here is not closed for it.
            code = None if oldest.is_quiet else CloseCode.POLICY
            self._effects.append(DetachConnection(oldest.ref, [], attached=True, close_code=code))

    def _leave(self, ref: ConnRef, command: Leave) -> None:
        re = UNSET if command.re is None else command.re
        member = self._forget_connection(ref)
        left = encode_event(LeftRoom(self.room_id), self._now_ms, re=re)
        self._effects.append(DetachConnection(ref, [left], attached=member is not None))
        if member is not None and not member.connections:
            self._remove(member)

    def _lose(self, ref: ConnRef, hold_ms: int = 0) -> None:
        waiting = self._waiting.pop(ref, None)
        member = self._forget_connection(ref)
        if member is None:
            return
        is_attached = waiting is None or not waiting.new
        self._effects.append(DetachConnection(ref, [], attached=is_attached, silent=True))
        if hold_ms:
            # Of several connections that were sent away the last to come back counts, also when another ends now.
            held_until_ms = self._now_ms + min(hold_ms, DRAIN_MS_MAX)
            member.held_until_ms = max(member.held_until_ms, held_until_ms)
            self._store_member(member)
        if member.connections:
            return
        if self._rules.reconnect_window_ms == 0:
            self._remove(member)
        else:
            expected_ms = max(self._now_ms, member.held_until_ms)
            member.away_until_ms = expected_ms + self._rules.reconnect_window_ms
            self._away[member.user_id] = member.away_until_ms
            self._store_member(member)
            if self._postponed.drop(member.user_id):
                self.touch(member)

    def _forget_connection(self, ref: ConnRef) -> Member | None:
        if ref in self._waiting:
            self._attach_waiting()
        member = self._by_conn.pop(ref, None)
        if member is None:
            return None
        del member.connections[ref]
        self._edges[ref.edge_id] -= 1
        if self._edges[ref.edge_id] == 0:
            del self._edges[ref.edge_id]
        self._store_member(member)
        return member

    def _remove(self, member: Member) -> None:
        user_id = member.user_id
        assert not member.connections
        self._rules.left(self, member)
        self.counters.leaves += 1
        for of_type in self._showing.values():
            of_type.pop(user_id, None)
        del self._members[user_id]
        self._last_entries.clear()
        self._views.changed(user_id)
        self._postponed.drop(user_id)
        self._away.pop(user_id, None)
        self._blocks.put(user_id, NOBODY)
        for name in ("m:" + user_id, "s:" + user_id):
            self._changes.drop(name)
        self._resting.put(user_id, member.buckets, self._now_ms)

    # --- catching up --------------------------------------------------------------------------------------

    def _catch_up(self, ref: ConnRef, command: CatchUp) -> None:
        member = self._by_conn.get(ref)
        if member is None:
            return
        if command.skipped:
            self._wait_anew(member.connections[ref], member, "slow_reader")
        elif command.epoch == self._epoch and self._history.covers(command.last_seq):
            if ref in self._waiting:
                self._attach_waiting()
            missed = self._replay(member, command.last_seq)
            if missed:
                # An attachment, not an answer: what was missed must come before what follows in this batch.
                self._effects.append(AttachConnection(ref, self._seq, missed, new=False))
        else:
            reason: ResyncReason = "history_too_short" if command.epoch == self._epoch else "new_epoch"
            self._wait_anew(member.connections[ref], member, reason)

    def _all_anew(self, reason: ResyncReason) -> None:
        for member in self._members.values():
            for connection in member.connections.values():
                self._wait_anew(connection, member, reason)
        self._attach_waiting()

    def _resync_messages(self, ref: ConnRef, member: Member, reason: ResyncReason, states: RoomStates) -> list[bytes]:
        state = self._rules.snapshot(self, member, recovered=False)
        return [
            encode_event(Resync(self.room_id, reason), self._now_ms),
            self._encode_state(state, ref, member, states),
        ]

    def _replay(self, member: Member, after: Seq) -> list[bytes]:
        unseen = self._blocks.of(member.user_id)
        return [as_replay(past.event) for past in self._history.since(after) if past.is_seen_past(unseen)]

    # --- messages -----------------------------------------------------------------------------------------

    def _post(self, ref: ConnRef, command: Post, arrived_ms: int) -> None:
        message = command.message
        member = self._by_conn.get(ref)
        if member is None:
            self._refuse_stranger(ref, message.id)
            return
        self._decide(member, member.connections[ref], message, arrived_ms, request=0)

    def _refuse_stranger(self, ref: ConnRef, re: str | UnsetType) -> None:
        unknown, later = (
            encode_event(refusal(code, self.room_id), self._now_ms, re=re)
            for code in (ErrorCode.NOT_JOINED, ErrorCode.BUSY)
        )
        # Who takes itself for joined, and sent no `id`, asked for no answer; movements go on all the time.
        self._effects.append(SayStranger(ref, [unknown], [] if re is UNSET else [later]))

    def _call(self, ref: ConnRef, command: Call, arrived_ms: int) -> None:
        """A message of somebody who need not be here."""
        connection = Connection(ref.edge_id, ref.number, command.device, 0)
        user_id, message, request = command.identity.user_id, command.message, command.request
        if self._restrictions.is_barred(user_id, self._now_ms):
            answer = ErrorEvent(ErrorCode.NOT_ALLOWED, AUTH_ERROR_MEANING[AuthErrorCode.BANNED], self.room_id)
            self._answer(connection, encode_event(answer, self._now_ms, re=message.id), request)
            return
        if not self._rules.takes_calls:
            event = refusal(ErrorCode.NOT_ALLOWED, self.room_id)
            self._answer(connection, encode_event(event, self._now_ms, re=message.id), request)
            return
        member = self._members.get(user_id) or self._caller(command.identity)
        self._decide(member, connection, message, arrived_ms, request)

    def _caller(self, identity: Identity) -> Member:
        member = self._callers.pop(identity.user_id, None)
        if member is None:
            member = Member(identity.user_id, identity.display_name, identity.avatar_id, self._rules.new_state(), 0)
            if len(self._callers) >= CALLERS_MAX:
                del self._callers[next(iter(self._callers))]
        member.display_name, member.avatar_id, member.roles = (
            identity.display_name,
            identity.avatar_id,
            identity.roles,
        )
        member.buckets = self._resting.of(identity.user_id) or member.buckets
        self._callers[identity.user_id] = member
        return member

    def _decide(
        self, member: Member, connection: Connection, message: ClientMessage, arrived_ms: int, request: int
    ) -> None:
        if message.id is not UNSET:
            earlier = self._answers.get(member.user_id, message.id, self._now_ms)
            if earlier is not None:
                self.counters.repeated += 1
                self._answer(connection, earlier, request)
                return
        answer: ServerEvent | None
        if self.relay_is_full and self._rules.writes_letters:
            answer = refusal(ErrorCode.BUSY, self.room_id)
        else:
            answer = self._rules.handle(self, Incoming(member, connection, message, self._now_ms, arrived_ms))
        if answer is None:
            return
        encoded = encode_event(answer, self._now_ms, re=message.id)
        if isinstance(answer, Ack):
            if message.id is not UNSET:
                self._answers.remember(member.user_id, message.id, self._now_ms, encoded)
                # A room that was not stored is from now on, and all of it.
                self._meta_changed = self._meta_changed or not self._stored
        elif (
            isinstance(answer, ErrorEvent)
            and answer.code is ErrorCode.RATE_LIMITED
            and message.id is UNSET
            and not request
        ):
            # Who sent no `id` asked for no answer; `rate_limited` tells once a second, and a flood must not
            # draw an error for each message.
            return
        self._answer(connection, encoded, request)

    def _answer(self, connection: Connection, encoded: bytes, request: int) -> None:
        if request:
            self._effects.append(AnswerOperator(connection.edge_id, request, encoded))
        else:
            self._effects.append(Say(connection.ref, [encoded]))

    # --- moderation ---------------------------------------------------------------------------------------

    def _moderate(self, edge_id: EdgeId, command: Moderate) -> None:
        user_id = command.user_id
        restriction = self._restrictions.of(user_id)
        until_ms = NO_END_MS if command.duration_ms is None else self._now_ms + command.duration_ms
        member = self._members.get(user_id)
        closed = len(member.connections) if member is not None else 0
        action = ModerationAction(self.room_id, command.action, command.reason)
        match command.action:
            case "mutedByMod":
                restriction = structs.replace(restriction, muted_until_ms=until_ms)
                closed = 0
                for ref in member.connections if member is not None else ():
                    self._say(ref, action)
            case "banned":
                restriction = structs.replace(restriction, barred_until_ms=until_ms)
                self._throw_out(member, action)
            case "kicked":
                if command.duration_ms is not None:
                    until_ms = max(restriction.barred_until_ms, until_ms)
                    restriction = structs.replace(restriction, barred_until_ms=until_ms)
                self._throw_out(member, action)
        if restriction.ends_at_ms:
            self._restrictions.put(user_id, structs.replace(restriction, reason=command.reason))
            self._meta_changed = True
            self._rules.restricted(self, user_id, restriction.muted_until_ms, restriction.barred_until_ms)
        if command.action != "kicked" or command.duration_ms is not None:
            self._restrictions_kept += 1
            self.keep(
                Restricted(
                    f"{self._tag}-{self._now_ms:x}-{self._seq:x}-{self._restrictions_kept}",
                    self.room_id,
                    user_id,
                    "mute" if command.action == "mutedByMod" else "ban",
                    command.reason,
                    command.by,
                    self._now_ms,
                    None if until_ms == NO_END_MS else until_ms,
                )
            )
        body = {
            "roomId": self.room_id,
            "userId": user_id,
            "type": command.action,
            "member": member is not None,
            "connectionsClosed": closed,
            "epoch": self._epoch,
            "seq": self._seq,
        }
        self._effects.append(AnswerOperator(edge_id, command.request, _json.encode(body)))

    def _throw_out(self, member: Member | None, action: ModerationAction) -> None:
        """Remove a member; one place in the order, which the person sees as the action and the others as leaving."""
        if member is None:
            return
        told = encode_event(action, self._now_ms, seq=self.next_seq(), epoch=self._epoch)
        for ref in list(member.connections):
            self._forget_connection(ref)
            self._effects.append(DetachConnection(ref, [told], attached=True, close_code=CloseCode.REMOVED))
        self._remove(member)

    def _lift(self, edge_id: EdgeId, command: LiftRestrictions) -> None:
        lifted = self._restrictions.lift(command.user_id)
        if lifted:
            self._meta_changed = True
            self._rules.restricted(self, command.user_id, 0, 0)
            self.keep(RestrictionsLifted(self.room_id, command.user_id, command.by, self._now_ms))
        body = {"roomId": self.room_id, "userId": command.user_id, "lifted": lifted}
        self._effects.append(AnswerOperator(edge_id, command.request, _json.encode(body)))

    def _delete_message(self, edge_id: EdgeId, command: DeleteMessage) -> None:
        seq, message_id = command.seq, command.message_id
        past = self._history.at(seq) if command.epoch == self._epoch else None
        body: dict[str, Any] = {"roomId": self.room_id, "messageId": message_id, "deleted": True}
        if past is not None and message_id.encode() not in past.event:
            body = {"error": {"code": ErrorCode.NOT_FOUND, "message": ERROR_MEANING[ErrorCode.NOT_FOUND]}}
        elif past is None or seq not in self._redactions.events:
            author_id = UserId("") if past is None else past.actor
            deleted = MessageDeleted(self.room_id, message_id, command.epoch, seq)
            if past is not None:
                self.redact(seq, deleted)
            # Also where the event is no longer at hand: a client may still show it.
            self.sequence(deleted, author_id)
            self.keep(MessageRemoved(self.room_id, command.epoch, seq, command.by, self._now_ms))
            self._rules.message_deleted(self, author_id, message_id, command.epoch, seq)
        self._effects.append(AnswerOperator(edge_id, command.request, _json.encode(body)))

    def _describe(self) -> bytes:
        return _json.encode(
            {
                "roomId": self.room_id,
                "kind": self._rules.kind,
                "epoch": self._epoch,
                "seq": self._seq,
                "members": [
                    {
                        "userId": member.user_id,
                        "displayName": member.display_name,
                        "avatarId": member.avatar_id,
                        "awayUntilMs": member.away_until_ms or None,
                        "connections": [
                            {"edge": c.edge_id, "number": c.number, "device": c.device}
                            for c in member.connections.values()
                        ],
                    }
                    for member in self._members.values()
                ],
                "restrictions": {
                    user_id: {
                        "barredUntilMs": r.barred_until_ms or None,
                        "mutedUntilMs": r.muted_until_ms or None,
                        "reason": r.reason,
                    }
                    for user_id, r in self._restrictions
                },
                "counters": self.counters,
            }
        )

    # --- helpers ------------------------------------------------------------------------------------------

    def _begin_turn(self) -> None:
        self._effects: list[Effect] = []
        self._waiting: dict[ConnRef, Waiting] = {}
        """Connections that are to be shown the room, in the order of asking."""
        self._showing: dict[type[ServerEvent], dict[UserId, ServerEvent]] = {}
        self._touched: dict[UserId, Member] = {}
        self._history_new: list[tuple[Seq, bytes]] = []
        self._rate_notices: list[tuple[UserId, str]] = []
        self._outbox: list[bytes] = []
        self._tells: list[AnyRoomCommand] = []
        self._people_changed: dict[UserId, PersonPatch] = {}
        self._broadcasts: list[BlockChanged] = []
        self._records_changed: dict[str, Any] = {}
        self._redacted: list[Seq] = []
        self._meta_changed = False
        self._seq_before = self._seq
        self._edges_before = dict(self._edges)
        self._active_before = self._is_active()

    def _restore(self, stored: Mapping[str, bytes]) -> None:
        decoders: dict[str, Callable[[str, bytes], None]] = {
            "b": self._blocks.restore,
            "r": self._restrictions.restore,
            "d": self._answers.restore,
            "k": self._restore_record,
            "x": self._redactions.restore,
            "t": self._resting.restore,
        }
        for name, data in stored.items():
            prefix, _, rest = name.partition(":")
            if prefix == "m":
                user_id = UserId(rest)
                live = decode_live(stored["s:" + rest])
                member = restore_member(user_id, data, live, self._rules.decode_state(live.state))
                self._members[user_id] = member
                if not member.connections:
                    self._away[user_id] = member.away_until_ms
                for ref in member.connections:
                    self._by_conn[ref] = member
                    self._edges[ref.edge_id] = self._edges.get(ref.edge_id, 0) + 1
            elif prefix in decoders:
                decoders[prefix](rest, data)
        # The stored fields are in no order; the members are in the order of joining.
        self._members = dict(sorted(self._members.items(), key=lambda item: item[1].entry))

    def _restore_record(self, key: str, data: bytes) -> None:
        self._records[key] = self._rules.decode_record(key, data)

    def _person_patch(self, user_id: UserId) -> PersonPatch:
        return self._people_changed.setdefault(user_id, PersonPatch(user_id, {}))

    def _store_member(self, member: Member) -> None:
        self._changes.put("m:" + member.user_id, member.record())

    def _ephemeral(self) -> list[EphemeralGroup]:
        now_ms = self._now_ms
        if not self._blocks:
            messages = [
                encode_event(event, now_ms) for by_actor in self._showing.values() for event in by_actor.values()
            ]
            return [EphemeralGroup(messages, ())] if messages else []
        groups: dict[tuple[UserId, ...], list[bytes]] = {}
        for by_actor in self._showing.values():
            for actor, event in by_actor.items():
                groups.setdefault(self._blocks.hidden_from(actor), []).append(encode_event(event, now_ms))
        return [EphemeralGroup(messages, hidden) for hidden, messages in groups.items()]

    def _lifetime(self) -> tuple[int | None, bool | None]:
        """When the stored room expires (0: never, None: as it is), and whether it entered or left the active rooms."""
        active = self._is_active()
        if self._stored and active == self._active_before and not (self._meta_changed and not active):
            return None, None
        if not self._stored and not (active or self._history_new or self._meta_changed or self._changes):
            return None, None
        return 0 if active else self._idle_ttl_ms(), active

    def _is_active(self) -> bool:
        """Whether a timer runs or may begin to, so that a new owner must load the room."""
        return bool(self._members or self._alarms)

    def _idle_ttl_ms(self) -> int:
        """How long an empty room stays stored: for its history, and for as long as anybody is banned or muted."""
        ttl_ms = self._settings.room_idle_ttl_ms if self._rules.idle_ttl_ms is None else self._rules.idle_ttl_ms
        if ttl_ms == 0:
            return 0
        for _, restriction in self._restrictions:
            if restriction.ends_at_ms >= NO_END_MS:
                return 0
            ttl_ms = max(ttl_ms, restriction.ends_at_ms - self._now_ms)
        return ttl_ms

    def _say(self, ref: ConnRef, event: ServerEvent, *, re: str | UnsetType = UNSET) -> None:
        self._effects.append(Say(ref, [encode_event(event, self._now_ms, re=re)]))
