"""All rooms of a worker: from batches to one commit."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.bus import Acquired, Person
from common.commands import AnyCommand, BlockChanged, EdgeClosed
from common.deliveries import Answer, Attach, Detach, Direct, RoomFrames
from common.ids import EdgeId, LeaseToken, Partition, RoomId, Shard
from common.ring import partition_of_shard, shard_of
from tests.unit.bench import P0, W2, Bench, messages_of, names_of
from tests.unit.stage import (
    ADA,
    BEN,
    CY,
    E1,
    E2,
    HALL,
    START_MS,
    chat,
    emote,
    inspect,
    join,
    leave,
    lift,
    lose,
    moderate,
    move,
)

HERE = shard_of(HALL, 4)
OTHER = RoomId("yard")


@pytest.fixture
def bench() -> Bench:
    return Bench(chat_burst=1_000).take()


def seqs(bench: Bench, room: RoomId = HALL) -> tuple[int, int]:
    """Return where a room stands in memory and in the store's log."""
    found = bench.engine.room(room)
    assert found is not None
    return found.seq, len(bench.store.load_history(room, found.epoch, 0))  # type: ignore[arg-type]


# --- batches ----------------------------------------------------------------------------------------------


def test_a_batch_is_taken_and_committed(bench: Bench) -> None:
    told = bench.told(join(ADA, 1), chat(1, id="m"))
    assert names_of(told, 1) == ["room_state", "ack"]
    assert names_of(told) == ["chat_broadcast"]
    assert bench.engine.cursors(P0)[HERE] == 1
    assert bench.store.input_length(HERE) == 0
    assert bench.turn() is None


def test_the_rooms_of_a_batch_are_told_in_one_entry_for_each_edge(bench: Bench) -> None:
    for room in (HALL, OTHER, RoomId("attic")):
        bench.send(join(ADA, 1, room=room))
        bench.send(join(BEN, 1, room=room), edge=E2)
    bench.turn()
    assert len(bench.store.output_after(P0, E1, 0)) == len(bench.store.output_after(P0, E2, 0)) == 1
    assert [type(delivery) for delivery in bench.output(E2)] == [Attach] * 3


def test_a_batch_that_comes_twice_is_taken_once(bench: Bench) -> None:
    bench.told(join(ADA, 1))
    again = bench.send(chat(1))
    bench.store.append_input(HERE, again)
    bench.turn()
    assert (bench.plan.commands, bench.plan.repeated_batches) == (1, 1)
    bench.store.append_input(HERE, again)
    bench.turn()
    assert (bench.plan.commands, bench.plan.repeated_batches) == (0, 1)
    assert names_of(bench.output()) == ["chat_broadcast"]
    # What was passed over is done with all the same.
    assert bench.store.input_length(HERE) == 0


def test_after_a_takeover_a_batch_that_comes_twice_is_still_known(bench: Bench) -> None:
    bench.told(join(ADA, 1))
    again = bench.send(chat(1))
    bench.turn()
    bench.take_over()
    bench.store.append_input(HERE, again)
    bench.turn()
    assert bench.plan.repeated_batches == 1
    assert seqs(bench) == (2, 2)


def test_each_edge_counts_for_itself_and_in_each_shard(bench: Bench) -> None:
    bench.send(join(ADA, 1))
    bench.send(join(BEN, 1), edge=E2)
    bench.send(join(ADA, 1, room=OTHER))
    bench.turn()
    assert bench.plan.repeated_batches == 0
    assert bench.plan.marks == {HERE: {E1: 1, E2: 1}, shard_of(OTHER, 4): {E1: 1}}


def test_what_nobody_can_read_is_counted_and_passed_over(bench: Bench) -> None:
    bench.store.append_input(HERE, b"\xc1 nonsense")
    bench.send(join(ADA, 1))
    bench.store.append_input(HERE, b"")
    bench.turn()
    assert bench.plan.bad_entries == 2
    assert names_of(bench.output(), 1) == ["room_state"]
    assert bench.engine.cursors(P0)[HERE] == 3


def test_entries_of_shards_that_are_not_owned_are_left_alone() -> None:
    bench = Bench().take(*[shard for shard in range(4) if shard != HERE])
    bench.send(join(ADA, 1))
    assert bench.turn() is None
    assert bench.store.input_length(HERE) == 1


def test_entries_that_were_taken_are_not_taken_again(bench: Bench) -> None:
    bench.send(join(ADA, 1))
    entries = bench.store.inputs_after(bench.engine.cursors(P0), 10)
    bench.turn()
    plan = bench.engine.plan(P0, entries, bench.now_ms)
    assert (plan.cursors, plan.rooms) == ({}, {})


def test_times_of_an_edge_whose_clock_is_wrong_are_believed_within_limits() -> None:
    bench = Bench(chat_burst=1, chat_per_second=1.0).take()
    bench.told(join(ADA, 1))
    bench.told(chat(1))
    # A clock that is an hour ahead must not refill the rate, and one that is behind must not stop it.
    bench.send(chat(1), at_ms=START_MS + 3_600_000)
    bench.turn()
    assert names_of(bench.output()) == []
    bench.now_ms += 10_000
    bench.send(chat(1), at_ms=START_MS - 3_600_000)
    bench.turn()
    assert names_of(bench.output()) == ["chat_broadcast"]


commands = st.sampled_from(
    [
        join(ADA, 1),
        join(BEN, 2),
        join(CY, 3),
        chat(1),
        chat(2),
        emote(3),
        move(1, 5),
        lose(1),
        leave(2),
        moderate(CY, "kicked"),
    ]
)
batches = st.lists(st.tuples(st.sampled_from([E1, E2]), st.lists(commands, min_size=1, max_size=4)), max_size=12)


@given(batches, st.data())
def test_batches_that_come_again_change_nothing(
    course: list[tuple[EdgeId, list[AnyCommand]]], data: st.DataObject
) -> None:
    """An edge repeats what it appended last, any number of times, before anything later."""
    once, often = (Bench(chat_burst=1_000, reconnect_window_ms=0).take() for _ in range(2))
    appended: dict[EdgeId, bytes] = {}
    for edge, content in course:
        once.send(*content, edge=edge)
        appended[edge] = often.send(*content, edge=edge)
        for again in data.draw(st.lists(st.sampled_from(sorted(appended)), max_size=3)):
            often.store.append_input(HERE, appended[again])
        if data.draw(st.booleans()):
            once.turn()
            often.turn()
        if data.draw(st.integers(0, 5)) == 0:
            often.take_over()
    once.turn()
    often.turn()
    assert often.store.load_rooms([HALL]) == once.store.load_rooms([HALL])
    for edge in (E1, E2):
        assert often.output(edge) == once.output(edge)


def test_an_edge_that_closes_may_repeat_its_last_batches(bench: Bench) -> None:
    # With the edge's mark forgotten at `EdgeClosed`, batches that were repeated behind it (since the reply to the
    # append was lost) counted as new: what people had said last was said twice.
    bench.told(join(BEN, 9), edge=E2)
    bench.told(join(ADA, 1))
    last = [bench.send(join(CY, 3), chat(3, "good night")), bench.send(EdgeClosed(), shard=HERE)]
    for data in last:
        bench.store.append_input(HERE, data)
    bench.turn()
    for data in last:
        bench.store.append_input(HERE, data)
    bench.turn()
    assert names_of(bench.output(E2)).count("chat_broadcast") == 1


# --- what concerns a whole shard --------------------------------------------------------------------------


def test_a_block_reaches_the_rooms_in_which_the_person_is(bench: Bench) -> None:
    bench.send(join(ADA, 1), join(BEN, 2))
    bench.turn()
    bench.output()
    bench.store.fill_in({BEN: Person(frozenset({ADA}))})
    bench.send(BlockChanged(BEN, ADA, blocked=True), shard=HERE)
    bench.turn()
    assert names_of(bench.output(), 2) == ["resync", "room_state"]
    frames = next(d for d in bench.told(chat(1)) if isinstance(d, RoomFrames))
    assert frames.segments[0].hidden_from == [BEN]


def test_a_block_behind_a_join_in_the_same_batch_reaches_it(bench: Bench) -> None:
    bench.send(join(ADA, 1), join(BEN, 2), BlockChanged(BEN, ADA, blocked=True), chat(1))
    bench.turn()
    frames = [d for d in bench.output() if isinstance(d, RoomFrames)]
    assert frames[-1].segments[-1].hidden_from == [BEN]


def test_a_joiners_blocks_come_from_the_store(bench: Bench) -> None:
    bench.store.fill_in({BEN: Person(frozenset({ADA}))})
    bench.told(join(ADA, 1))
    state = messages_of(bench.told(join(BEN, 2)), 2)[0]
    assert [member["userId"] for member in state["payload"]["members"]] == [BEN]


def test_a_closed_edge_loses_its_connections_in_this_shard(bench: Bench) -> None:
    bench.told(join(ADA, 1))
    bench.told(join(BEN, 1), edge=E2)
    bench.send(EdgeClosed(), shard=HERE)
    bench.turn()
    room = bench.engine.room(HALL)
    assert room is not None
    assert room.edges == {E2: 1}


def test_a_gone_edge_is_dropped_and_its_mark_forgotten(bench: Bench) -> None:
    bench.told(join(ADA, 1))
    bench.told(join(BEN, 1), edge=E2)
    assert bench.engine.known_edges() == {E1, E2}
    bench.turn(gone=[E1])
    assert bench.engine.known_edges() == {E2}
    assert bench.take_over().engine.known_edges() == {E2}
    bench.now_ms += 5_000
    bench.turn()
    assert names_of(bench.output(E2)) == ["member_left"]


@pytest.mark.parametrize("in_same_turn", [True, False])
def test_an_edge_that_came_back_after_the_registry_was_asked_keeps_its_members(
    bench: Bench, in_same_turn: bool
) -> None:
    """Its repair was undone by the news of its end, and its clients were told `not_joined` from then on."""
    bench.told(join(ADA, 1))
    marks_before = bench.engine.marks_of(E1)
    bench.send(join(ADA, 1))
    if not in_same_turn:
        bench.turn()
    entries = bench.store.inputs_after(bench.engine.cursors(P0), 10)
    plan = bench.engine.plan(P0, entries, bench.now_ms, {E1: marks_before})
    works = [type(task.work).__name__ for room_plan in plan.rooms.values() for task in room_plan.tasks]
    assert works == ["Join"] * in_same_turn
    assert plan.forget == {}


def test_an_edge_without_connections_is_forgotten_as_well(bench: Bench) -> None:
    bench.told(chat(1))
    assert bench.engine.known_edges() == {E1}
    bench.turn(gone=[E1])
    assert bench.engine.known_edges() == set()


# --- timers -----------------------------------------------------------------------------------------------


def test_timers_run_when_due_and_not_before(bench: Bench) -> None:
    bench.told(join(ADA, 1), join(BEN, 2))
    assert bench.engine.next_due_ms(P0) is None
    bench.told(lose(1))
    assert bench.engine.next_due_ms(P0) == START_MS + 5_000
    bench.now_ms += 4_999
    assert bench.turn() is None
    bench.now_ms += 1
    bench.turn()
    assert names_of(bench.output()) == ["member_left"]
    assert bench.engine.next_due_ms(P0) is None


def test_a_timer_that_moved_runs_once_at_its_new_time(bench: Bench) -> None:
    bench.told(join(ADA, 1), join(BEN, 2))
    bench.told(lose(1))
    bench.now_ms += 1_000
    bench.told(join(ADA, 3))
    bench.told(lose(3))
    bench.now_ms = START_MS + 5_999
    bench.turn()
    assert names_of(bench.output()) == []
    bench.now_ms += 1
    bench.turn()
    assert names_of(bench.output()) == ["member_left"]


def test_timers_survive_a_takeover_without_any_input(bench: Bench) -> None:
    bench.told(join(ADA, 1), join(BEN, 2))
    bench.told(lose(1))
    bench.take_over()
    assert bench.engine.next_due_ms(P0) == START_MS + 5_000
    bench.now_ms += 6_000
    bench.turn()
    assert names_of(bench.output()) == ["member_left"]


def test_timers_of_shards_that_were_given_away_do_nothing(bench: Bench) -> None:
    bench.told(join(ADA, 1))
    bench.told(lose(1))
    bench.engine.drop_shard(HERE)
    bench.engine.drop_shard(HERE)
    assert not bench.engine.owns(HERE)
    bench.now_ms += 5_000
    assert bench.turn() is None
    assert bench.engine.next_due_ms(P0) is None


def test_a_shard_that_comes_back_has_its_timers(bench: Bench) -> None:
    bench.told(join(ADA, 1))
    bench.told(lose(1))
    bench.engine.drop_shard(HERE)
    bench.take(HERE)
    bench.now_ms += 5_000
    assert bench.turn() is not None
    assert bench.engine.room(HALL).member_count == 0  # type: ignore[union-attr]


# --- idle rooms -------------------------------------------------------------------------------------------


def test_rooms_without_members_leave_memory_after_a_while_and_come_back(bench: Bench) -> None:
    bench.told(join(ADA, 1), chat(1), leave(1))
    bench.told(join(BEN, 2, room=OTHER))
    bench.engine.unload_idle(P0, bench.now_ms, 1_000)
    bench.engine.unload_idle(P0, bench.now_ms + 999, 1_000)
    assert bench.engine.room(HALL) is not None
    bench.engine.unload_idle(P0, bench.now_ms + 1_000, 1_000)
    assert bench.engine.room(HALL) is None
    assert bench.engine.room(OTHER) is not None
    state = messages_of(bench.told(join(BEN, 2, resume=(START_MS, 1))), 2)
    assert [message.get("seq") for message in state] == [None, 2, 3, 4]


def test_a_room_that_was_used_again_is_not_idle(bench: Bench) -> None:
    bench.told(join(ADA, 1), leave(1))
    bench.engine.unload_idle(P0, bench.now_ms, 1_000)
    bench.told(join(ADA, 1))
    bench.engine.unload_idle(P0, bench.now_ms + 900, 1_000)
    bench.told(leave(1))
    bench.engine.unload_idle(P0, bench.now_ms + 1_100, 1_000)
    assert bench.engine.room(HALL) is not None


# --- kinds ------------------------------------------------------------------------------------------------


def test_a_kind_that_this_release_does_not_have_is_refused(bench: Bench) -> None:
    odd = RoomId("chess:1")
    bench.send(
        join(ADA, 1, room=odd, re="j"),
        chat(1, room=odd, id="m"),
        move(1, 1, room=odd),
        lose(1, room=odd),
        leave(1, room=odd),
    )
    bench.turn()
    joined, said, moved, left = bench.output()
    assert isinstance(joined, Detach)
    assert joined.refused
    assert isinstance(left, Detach)
    assert isinstance(said, Direct)
    errors = [messages_of([delivery], 1)[0] for delivery in (joined, said, moved, left)]
    assert [(error.get("re"), error["payload"]["code"]) for error in errors] == [
        ("j", "unsupported_kind"),
        ("m", "unsupported_kind"),
        (None, "unsupported_kind"),
        (None, "unsupported_kind"),
    ]
    assert bench.engine.room(odd) is None


# --- tasks at which a room fails --------------------------------------------------------------------------


def test_a_task_at_which_a_room_fails_is_set_aside_and_the_rest_takes_effect(bench: Bench) -> None:
    bench.told(join(ADA, 1), join(BEN, 2))
    bench.told(join(CY, 9, room=OTHER))
    # The same connection as somebody else: no edge does this, and the room takes it for a bug.
    bench.send(chat(2, "before"), join(CY, 1, re="bad"), chat(2, "after", id="m"))
    bench.send(chat(9, room=OTHER))
    bench.turn()
    told = bench.output()
    texts = [message["payload"]["text"] for message in messages_of(told)]
    assert sorted(texts) == ["after", "before", "hello"]
    (error,) = messages_of(told, 1)
    assert (error["t"], error["re"], error["payload"]["code"]) == ("error", "bad", "internal")
    assert names_of(told, 2) == ["ack", "ack"]
    assert [(room, work) for room, work, _ in bench.failures] == [(HALL, "Join")]
    assert seqs(bench) == (4, 4)


def test_nothing_of_a_failed_attempt_is_left(bench: Bench) -> None:
    bench.told(join(ADA, 1), join(BEN, 2))
    plain = Bench(chat_burst=1_000).take()
    plain.told(join(ADA, 1), join(BEN, 2))
    bench.send(chat(2, id="x"), moderate(CY, "banned"), join(CY, 1), emote(2), lose(2))
    plain.send(chat(2, id="x"), moderate(CY, "banned"), emote(2), lose(2))
    bench.turn()
    plain.turn()
    assert bench.store.load_rooms([HALL]) == plain.store.load_rooms([HALL])
    assert messages_of(bench.output()) == messages_of(plain.output())
    assert bench.engine.next_due_ms(P0) == plain.engine.next_due_ms(P0)


def test_several_tasks_may_fail_in_one_turn_also_in_a_new_room(bench: Bench) -> None:
    bench.send(join(ADA, 1), join(BEN, 1, re="a"), join(CY, 1, re="b"), chat(1))
    bench.turn()
    told = bench.output()
    assert [m["re"] for m in messages_of(told, 1) if m["t"] == "error"] == ["a", "b"]
    assert names_of(told) == ["chat_broadcast"]
    assert len(bench.failures) == 2
    # And the room goes on.
    assert names_of(bench.told(chat(1))) == ["chat_broadcast"]


def test_a_failed_room_still_gets_its_history(bench: Bench) -> None:
    # The room is loaded anew for the second attempt, and was not given what the store has of its history: who
    # resumed in the same batch was told that nothing is known.
    bench.told(join(ADA, 1), join(BEN, 2))
    bench.told(chat(2), lose(1))
    bench.send(join(CY, 2), join(ADA, 3, resume=(START_MS, 1)))
    bench.turn()
    state = next(m for m in messages_of(bench.output(), 3) if m["t"] == "room_state")
    assert len(bench.failures) == 1
    assert state["payload"]["recovered"] is True


# --- commits ----------------------------------------------------------------------------------------------


def test_a_worker_that_lost_its_lease_writes_nothing(bench: Bench) -> None:
    bench.told(join(ADA, 1))
    rival = Bench(store=bench.store, worker=W2, chat_burst=1_000)
    bench.store.release(P0, bench.worker, bench.engine.tokens(P0))
    rival.take()
    bench.send(chat(1))
    answer = bench.turn()
    assert answer is not None
    assert (answer.done, answer.fenced) == (False, (HERE,))
    assert bench.output() == []
    rival.turn()
    assert names_of(rival.output()) == ["chat_broadcast"]


def test_a_commit_whose_reply_was_lost_is_written_once(bench: Bench) -> None:
    bench.told(join(ADA, 1))
    bench.send(chat(1))
    entries = bench.store.inputs_after(bench.engine.cursors(P0), 10)
    plan = bench.engine.plan(P0, entries, bench.now_ms)
    turns, _ = bench.engine.run(plan, bench.now_ms, {})
    commit = bench.engine.commit_of(P0, turns, bench.worker, bench.now_ms)
    assert bench.store.commit(P0, commit).done
    again = bench.store.commit(P0, bench.engine.commit_of(P0, turns, bench.worker, bench.now_ms))
    assert again.already
    bench.engine.settle(turns)
    assert names_of(bench.output()) == ["chat_broadcast"]
    assert names_of(bench.told(chat(1))) == ["chat_broadcast"]


def test_a_store_that_lost_its_data_is_noticed_and_rooms_begin_a_new_order(bench: Bench) -> None:
    bench.told(join(ADA, 1), chat(1))
    fields = bench.store.load_rooms([HALL])[HALL]
    # The lease came back, the counter of commits did not: an older copy was restored.
    lease = bench.store._shards[HERE]
    lease.version -= 1
    lease.cursor -= 1
    bench.send(chat(1))
    answer = bench.turn()
    assert answer is not None
    assert (answer.done, answer.stale) == (False, (HERE,))
    bench.engine.drop_shard(HERE)
    assert fields
    bench.now_ms += 10
    bench.take(HERE)
    assert bench.engine.next_due_ms(P0) == bench.now_ms
    bench.turn()
    told = bench.output()
    assert names_of(told, 1)[:2] == ["resync", "room_state"]
    state = messages_of(told, 1)[1]["payload"]
    assert (state["epoch"], state["recovered"]) == (START_MS + 10, False)


def test_a_room_that_nobody_loaded_for_long_learns_of_a_loss_when_it_is_loaded(bench: Bench) -> None:
    bench.told(join(ADA, 1), chat(1), leave(1))
    before = bench.engine.room(HALL)
    assert before is not None
    # Nobody vouches for the shard, and nobody is in the room, so the next owner does not load it.
    bench.store.change_server()
    bench.take_over()
    assert bench.engine.room(HALL) is None
    bench.take_over()
    bench.output()
    state = messages_of(bench.told(join(ADA, 1)), 1)[0]["payload"]
    assert state["epoch"] > before.epoch


def test_a_shard_in_doubt_is_committed_though_nothing_happened(bench: Bench) -> None:
    bench.told(join(ADA, 1))
    version = bench.store.shard_status()[HERE].version
    assert bench.turn() is None
    bench.engine.doubt(HERE)
    assert bench.turn() is not None
    assert bench.store.shard_status()[HERE].version == version + 1
    assert bench.turn() is None
    bench.engine.doubt(Shard(99))


def test_no_two_rooms_of_a_shard_begin_with_the_same_epoch_and_none_with_the_workers_clock(bench: Bench) -> None:
    bench.told(join(ADA, 1))
    hall = bench.engine.room(HALL)
    assert hall is not None
    others = [RoomId(f"room-{number}") for number in range(40)]
    here = [room for room in others if shard_of(room, bench.settings.shards) == HERE]
    for room in here:
        # This worker's clock is an hour ahead.
        bench.engine.add_room(room, {}, bench.now_ms + 3_600_000, bench.now_ms)
    epochs = [hall.epoch, *(found.epoch for room in here if (found := bench.engine.room(room)))]
    assert len(set(epochs)) == len(here) + 1
    assert max(epochs) < bench.now_ms + 1_000


def test_rooms_that_nothing_changed_are_not_written(bench: Bench) -> None:
    bench.told(join(ADA, 1))
    bench.send(inspect(5))
    entries = bench.store.inputs_after(bench.engine.cursors(P0), 10)
    turns, _ = bench.engine.run(bench.engine.plan(P0, entries, bench.now_ms), bench.now_ms, {})
    commit = bench.engine.commit_of(P0, turns, bench.worker, bench.now_ms)
    assert [part.rooms for part in commit.shards] == [[]]
    assert set(commit.outputs) == {E1}


def test_operators_are_answered(bench: Bench) -> None:
    bench.send(inspect(5), lift(ADA, request=6))
    bench.turn()
    answers: dict[int, Any] = {d.request: json.loads(d.body) for d in bench.output() if isinstance(d, Answer)}
    assert (answers[5]["members"], answers[6]["lifted"]) == ([], False)


def test_a_partition_has_its_own_shards_and_timers() -> None:
    bench = Bench(partitions=2)
    engine = bench.engine
    for shard in range(4):
        engine.add_shard(Shard(shard), Acquired(LeaseToken(1), 0, 0, {}, 1, START_MS))
    assert set(engine.cursors(Partition(0))) == {0, 2}
    assert set(engine.tokens(Partition(1))) == {1, 3}
    # A room of another generation has something to say at once.
    source = Bench().take()
    source.told(join(ADA, 1))
    stored = source.store.load_rooms([HALL])[HALL]
    engine.add_room(HALL, stored, START_MS, START_MS)
    here = partition_of_shard(shard_of(HALL, 4), 2)
    other = Partition(1 - here)
    assert (engine.next_due_ms(here), engine.next_due_ms(other)) == (START_MS, None)
    assert not engine.plan(other, [], START_MS).rooms
    assert engine.plan(here, [], START_MS).rooms.keys() == {HALL}
