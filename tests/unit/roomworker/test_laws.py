"""What must hold for a room whatever happens in it."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from common.ids import EdgeId, UserId
from roomworker.effects import AnswerOperator, Effect, RoomTurn, Say, Sequenced
from tests.unit.stage import Envelope, Heard, Place, Stage
from tests.unit.steps import Step, courses, turns_of, user_of

VARIANTS: list[dict[str, Any]] = [
    {},
    {"idempotency_ids_max": 2},
    {"reconnect_window_ms": 0},
    {"full_rate_movers_max": 1, "reduced_movements_per_second": 2.0},
]
SETTINGS: dict[str, Any] = {"connections_per_member_max": 2, "history_events_max": 8, "chat_burst": 4}


# --- old snapshot plus events equals new snapshot ---------------------------------------------------------


class Order:
    """What was sequenced, and from whom each event is hidden."""

    def __init__(self) -> None:
        self.hidden_from: dict[tuple[int, int], tuple[UserId, ...]] = {}

    def add(self, turn: RoomTurn) -> None:
        for effect in turn.effects:
            if isinstance(effect, Sequenced):
                assert (turn.epoch, effect.seq) not in self.hidden_from, "a place was given twice"
                assert effect.seq == 1 or (turn.epoch, effect.seq - 1) in self.hidden_from, "a place was left out"
                self.hidden_from[turn.epoch, effect.seq] = effect.hidden_from


class View:
    """A client's copy of the room: a snapshot, and the events since."""

    def __init__(self, user: UserId, order: Order) -> None:
        self.members: dict[str, Envelope] = {}
        self.epoch = self.seq = self.in_state = 0
        self._user = user
        self._order = order

    def hear(self, envelope: Envelope) -> None:
        payload = envelope["payload"]
        match envelope["t"]:
            case "room_state":
                self.members = {member["userId"]: member for member in payload["members"]}
                self.epoch = payload["epoch"]
                self.seq = self.in_state = payload["seq"]
            case "room_members":
                assert (payload["epoch"], payload["seq"]) == (self.epoch, self.in_state), "a part of another state"
                self.members = {member["userId"]: member for member in payload["members"]} | self.members
            case "member_joined" | "member_left" | "chat_broadcast" | "emote_broadcast":
                if self._is_new(envelope):
                    self._change(envelope["t"], payload)
            case "avatar_transform_broadcast":
                assert payload["userId"] in self.members, "a movement of who is not there"
                self.members[payload["userId"]].update(
                    {k: payload[k] for k in ("x", "y", "z", "rotY", "anim", "speaking")}
                )

    def _is_new(self, envelope: Envelope) -> bool:
        epoch, seq = envelope["epoch"], envelope["seq"]
        assert epoch == self.epoch
        if envelope.get("replay"):
            return False
        self.catch_up(seq - 1)
        assert seq == self.seq + 1, "an old event after a newer one"
        self.seq = seq
        return True

    def catch_up(self, seq: int) -> None:
        """All places up to here that were not heard must have been hidden from this person."""
        while self.seq < seq:
            self.seq += 1
            assert self._user in self._order.hidden_from[self.epoch, self.seq], f"{self._user} missed {self.seq}"

    def _change(self, name: str, payload: Envelope) -> None:
        if name == "member_joined":
            self.members[payload["member"]["userId"]] = payload["member"]
        elif name == "member_left":
            del self.members[payload["userId"]]


class Audience:
    """The views of all connections, kept up turn by turn."""

    def __init__(self) -> None:
        self.order = Order()
        self._views: dict[Place, View] = {}

    def hear(self, stage: Stage, heard: Heard) -> None:
        assert stage.last_turn is not None
        self.order.add(stage.last_turn)
        listeners = stage.listeners()
        self._views = {place: view for place, view in self._views.items() if place in listeners}
        for place, user in listeners.items():
            view = self._views.setdefault(place, View(user, self.order))
            for envelope in heard.by_place.get(place, []):
                # What came before a connection let go and came back in the same turn belongs to its earlier life.
                view.hear(envelope)

    def check(self, stage: Stage) -> None:
        for place, user in stage.listeners().items():
            view = self._views[place]
            view.catch_up(stage.room.seq)
            assert (view.epoch, view.seq) == (stage.room.epoch, stage.room.seq)
            found = {member["userId"]: member for member in stage.look(user)["members"]}
            assert view.members == found, f"{user} at {place}"


@given(courses, st.sampled_from([{}, {"room_state_bytes_max": 1_400}, {"room_state_bytes_max": 1_024}]))
def test_old_snapshot_plus_events_equals_new_snapshot(course: list[Step], changes: dict[str, Any]) -> None:
    """And each receiver's events are contiguous from its attachment on, but for numbers hidden from it.

    However many parts a snapshot has.
    """
    stage, audience = Stage(**SETTINGS, **changes), Audience()
    for heard in turns_of(course, stage):
        audience.hear(stage, heard)
        audience.check(stage)


# --- a room is what is stored of it -----------------------------------------------------------------------


def plain(effects: list[Effect]) -> list[Effect]:
    """Effects without what is told to depend on the life of the process: rate notices."""
    kept: list[Effect] = []
    for effect in effects:
        if isinstance(effect, Say):
            messages = [message for message in effect.messages if b'"t":"rate_limited"' not in message]
            if messages:
                kept.append(Say(effect.ref, messages))
        else:
            kept.append(effect)
    return kept


def summary(turn: RoomTurn | None) -> Any:
    assert turn is not None
    patch = turn.patch
    return (
        turn.epoch,
        turn.seq_before,
        turn.edges_before,
        plain(turn.effects),
        turn.ephemeral,
        patch.set_fields,
        sorted(patch.delete_fields),
        patch.history,
        patch.active,
        patch.ttl_ms,
    )


@given(courses, st.sampled_from(VARIANTS))
def test_a_room_rebuilt_after_any_turn_goes_on_as_the_live_one(course: list[Step], changes: dict[str, Any]) -> None:
    live, rebuilt = Stage(**SETTINGS, **changes), Stage(**SETTINGS, **changes)
    for _ in zip(turns_of(course, live), turns_of(course, rebuilt), strict=True):
        assert summary(rebuilt.last_turn) == summary(live.last_turn)
        assert rebuilt.store.fields == live.store.fields
        assert rebuilt.room.next_due_ms() == live.room.next_due_ms()
        assert rebuilt.room.edges == live.room.edges
        if rebuilt.store.fields:
            rebuilt.take_over()


@given(courses, st.sampled_from(VARIANTS))
def test_a_room_that_is_handed_over_after_any_turn_goes_on_as_the_live_one(
    course: list[Step], changes: dict[str, Any]
) -> None:
    """Also where movements are stored later."""
    live, moving = (Stage(**SETTINGS, **changes, position_store_ms=1_000) for _ in range(2))
    for _ in zip(turns_of(course, live), turns_of(course, moving), strict=True):
        assert live.last_turn is not None and moving.last_turn is not None
        assert plain(moving.last_turn.effects) == plain(live.last_turn.effects)
        assert moving.last_turn.ephemeral == live.last_turn.ephemeral
        if moving.store.fields:
            moving.hand_over()


@given(courses)
def test_the_same_commands_have_the_same_effects(course: list[Step]) -> None:
    first, second = Stage(**SETTINGS), Stage(**SETTINGS)
    for _ in zip(turns_of(course, first), turns_of(course, second), strict=True):
        assert first.last_turn == second.last_turn


@given(courses)
def test_an_id_takes_effect_at_most_once(course: list[Step]) -> None:
    stage = Stage(**SETTINGS)
    effects: dict[tuple[str, str], int] = {}
    answers: dict[tuple[str, str], Envelope] = {}
    for heard in turns_of(course, stage):
        assert stage.last_turn is not None
        for effect in stage.last_turn.effects:
            if isinstance(effect, Sequenced):
                event = json.loads(effect.event)
                text = event["payload"].get("text", "None")
                if not text.endswith("None"):
                    key = (event["payload"]["userId"], text.split()[-1])
                    effects[key] = effects.get(key, 0) + 1
        for (_, conn), envelopes in heard.by_place.items():
            for envelope in envelopes:
                if envelope["t"] == "ack" and "re" in envelope and not envelope["re"].startswith("e"):
                    key = (user_of(conn), envelope["re"])
                    assert answers.setdefault(key, envelope) == envelope
    assert all(count == 1 for count in effects.values())
    assert set(answers) <= set(effects)


@given(courses)
def test_who_blocked_somebody_hears_nothing_that_one_caused(course: list[Step]) -> None:
    stage = Stage(**SETTINGS)
    for heard in turns_of(course, stage):
        unseen = {place: stage.blocks.get(user, frozenset()) for place, user in stage.listeners().items()}
        for place, blocked in unseen.items():
            if any(envelope["t"] == "resync" for envelope in heard.by_place.get(place, [])):
                continue
            for envelope in heard.by_place.get(place, []):
                payload = envelope["payload"]
                named = {payload.get("userId"), payload.get("member", {}).get("userId")}
                named |= {member["userId"] for member in payload.get("members", [])}
                assert not named & blocked, envelope


@given(courses)
def test_operators_are_answered(course: list[Step]) -> None:
    stage = Stage(**SETTINGS)
    asked = sum(step[0] in ("moderate", "lift") for step in course)
    answered = 0
    for _ in turns_of(course, stage):
        assert stage.last_turn is not None
        answered += sum(isinstance(effect, AnswerOperator) for effect in stage.last_turn.effects)
    assert answered == asked


@given(courses)
def test_counts_of_connections_agree(course: list[Step]) -> None:
    stage = Stage(**SETTINGS)
    for _ in turns_of(course, stage):
        counted: dict[EdgeId, int] = {}
        for edge, _conn in stage.listeners():
            counted[edge] = counted.get(edge, 0) + 1
        assert stage.room.edges == counted
