"""Random courses of events in a room, as plain values, so that the same course can be run more than once."""

from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from tests.unit.stage import ADA, BEN, CY, E1, E2, Heard, Stage, catch_up, chat, emote, join, leave, lift, lose, move
from tests.unit.stage import moderate as moderation

USERS = (ADA, BEN, CY)
EDGES = (E1, E2)
CONNS = (1, 2, 3)
# Few places, so that what is drawn for one of them mostly finds it in the room.
Step = tuple[Any, ...]


def user_of(conn: int) -> str:
    """A connection is one person: which, follows from its number."""
    return USERS[conn % len(USERS)]


_edges = st.sampled_from(EDGES)
_conns = st.sampled_from(CONNS)
_users = st.sampled_from(USERS)
_ids = st.one_of(st.none(), st.sampled_from(["i1", "i2", "i3"]))
_joins = st.tuples(
    st.just("join"),
    _edges,
    _conns,
    st.sampled_from(["Old", "Old", "New"]),
    st.one_of(st.none(), st.integers(-1, 12)),
    st.sampled_from([False, False, True]),
)
_talk = st.one_of(
    st.tuples(st.just("chat"), _edges, _conns, _ids),
    st.tuples(st.just("emote"), _edges, _conns, _ids),
    st.tuples(st.just("move"), _edges, _conns, st.integers(0, 20), st.integers(-50, 50)),
)
_going = st.one_of(
    st.tuples(st.just("leave"), _edges, _conns),
    st.tuples(st.just("lose"), _edges, _conns),
    st.tuples(st.just("catch_up"), _edges, _conns, st.integers(0, 12), st.sampled_from([False, False, True])),
)
_power = st.one_of(
    st.tuples(st.just("block"), _users, _users, st.booleans()).filter(lambda step: step[1] != step[2]),
    st.tuples(
        st.just("moderate"),
        _users,
        st.sampled_from(["kicked", "banned", "mutedByMod"]),
        st.sampled_from([None, 1_500]),
    ),
    st.tuples(st.just("lift"), _users),
)
_time = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([0, 10, 300, 1_000, 2_500, 6_000])),
    st.tuples(st.just("turn")),
    st.tuples(st.just("turn")),
)
_rare = st.one_of(st.tuples(st.just("drop_edge"), _edges), st.tuples(st.just("begin_epoch")))

steps = st.one_of(_joins, _joins, _joins, _talk, _talk, _talk, _going, _power, _time, _time, _rare)
# Without a least size most courses would end before anything interesting could happen.
courses = st.lists(steps, min_size=20, max_size=80)


def play(stage: Stage, step: Step) -> None:
    """Do one step; those that end a turn are for `turns_of`."""
    match step:
        case ("join", edge, conn, name, back, repair):
            epoch, seq = stage.room.epoch, stage.room.seq
            resume = None if back is None else (epoch, max(0, seq - back))
            user = user_of(conn)
            stage.do(join(user, conn, name=f"{name} {user}", resume=resume, re=f"j{conn}", repair=repair), edge=edge)
        case ("chat", edge, conn, message_id):
            stage.do(chat(conn, f"{edge} {conn} {message_id}", id=message_id), edge=edge)
        case ("emote", edge, conn, message_id):
            stage.do(emote(conn, id=message_id and f"e{message_id}"), edge=edge)
        case ("move", edge, conn, seq, x):
            stage.do(move(conn, seq, float(x)), edge=edge)
        case ("leave", edge, conn):
            stage.do(leave(conn, re=f"l{conn}"), edge=edge)
        case ("lose", edge, conn):
            stage.do(lose(conn), edge=edge)
        case ("catch_up", edge, conn, back, skipped):
            stage.do(catch_up(conn, stage.room.epoch, max(0, stage.room.seq - back), skipped=skipped), edge=edge)
        case ("block", user, other, blocked):
            stage.block(user, other, blocked=blocked)
        case ("moderate", user, action, duration_ms):
            stage.do(moderation(user, action, duration_ms))
        case ("lift", user):
            stage.do(lift(user))
        case ("wait", duration_ms):
            stage.wait(duration_ms)
            due_ms = stage.room.next_due_ms()
            if due_ms is not None and due_ms <= stage.now_ms:
                stage.tick()
        case ("drop_edge", edge):
            stage.drop_edge(edge)
        case ("begin_epoch",):
            # A room that is not stored is a new one anyway.
            assert not stage.store.fields
        case _:
            raise AssertionError(step)


def turns_of(course: list[Step], stage: Stage) -> Iterator[Heard]:
    """Play a course and yield what each turn brought."""
    for step in [*course, ("turn",)]:
        if step == ("turn",):
            yield stage.turn()
        elif step == ("begin_epoch",) and stage.store.fields:
            # Only a room that was just loaded begins a new order.
            yield stage.turn()
            stage.hand_over().begin_epoch()
        else:
            play(stage, step)
