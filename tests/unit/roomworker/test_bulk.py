"""Many who come and leave in one turn: what it costs, and that nobody sees a difference."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from common.deliveries import Attach, RoomFrames
from common.ids import EdgeId
from tests.unit.stage import ADA, DEE, E1, E2, Envelope, Heard, Stage, catch_up, chat, join, leave, lose, move

EDGES = (E1, E2)
COMERS = 6
Step = tuple[str, EdgeId, int]

steps = st.lists(
    st.tuples(
        st.sampled_from(["join", "join", "join", "leave", "lose", "chat", "move", "catch_up"]),
        st.sampled_from(EDGES),
        st.integers(1, COMERS),
    ),
    max_size=30,
)
OBSERVERS = ((E1, 101), (E2, 102))


def occupied() -> Stage:
    """A room with somebody on each edge who only listens."""
    stage = Stage()
    stage.hear(join(ADA, 101), edge=E1)
    stage.hear(join(DEE, 102), edge=E2)
    return stage


def play(stage: Stage, number: int, step: Step) -> None:
    match step:
        case ("join", edge, conn):
            stage.do(join(f"user-{edge}-{conn}", conn, re=f"join-{number}"), edge=edge)
        case ("leave", edge, conn):
            stage.do(leave(conn), edge=edge)
        case ("lose", edge, conn):
            stage.do(lose(conn), edge=edge)
        case ("chat", edge, conn):
            stage.do(chat(conn, f"text {number}"), edge=edge)
        case ("move", edge, conn):
            stage.do(move(conn, number, float(number)), edge=edge)
        case ("catch_up", edge, conn):
            stage.do(catch_up(conn, stage.room.epoch, stage.room.seq, skipped=True), edge=edge)


def reliable(envelopes: list[Envelope]) -> list[Envelope]:
    return [envelope for envelope in envelopes if "seq" in envelope]


def state_of(stage: Stage) -> Any:
    """The room as somebody finds it who comes now, but for the place that this one takes."""
    state = stage.look()
    return state["members"], state["epoch"]


@given(steps)
def test_who_is_there_sees_the_same_events_as_if_each_came_alone(course: list[Step]) -> None:
    together, apart = occupied(), occupied()
    heard_apart: dict[Any, list[Envelope]] = {place: [] for place in OBSERVERS}
    for number, step in enumerate(course):
        play(together, number, step)
        play(apart, number, step)
        heard = apart.turn()
        for place in OBSERVERS:
            heard_apart[place] += heard.by_place.get(place, [])
    heard = together.turn()
    for place in OBSERVERS:
        assert reliable(heard.by_place.get(place, [])) == reliable(heard_apart[place])
    assert together.room.seq == apart.room.seq
    assert state_of(together) == state_of(apart)
    assert together.listeners() == apart.listeners()


@given(steps)
def test_events_are_cut_into_no_more_pieces_than_something_else_happens(course: list[Step]) -> None:
    stage = occupied()
    for number, step in enumerate(course):
        play(stage, number, step)
    heard = stage.turn()
    said = sum(step[0] == "chat" for step in course)
    # A connection that asks again, or leaves when it has just come, is answered first, and so are those that wait.
    again = len(course) - len({step[1:] for step in course})
    for edge in EDGES:
        assert len(frames(heard, edge)) <= 2 + said + again


def frames(heard: Heard, edge: EdgeId) -> list[RoomFrames]:
    return [delivery for delivery in heard.deliveries.get(edge, []) if isinstance(delivery, RoomFrames)]


def test_a_crowd_that_comes_at_once_is_told_in_one_piece() -> None:
    stage = occupied()
    heard = stage.hear(*(join(f"user-{number}", number) for number in range(1, 51)))
    (piece,) = frames(heard, E1)
    assert [len(segment.messages) for segment in piece.segments] == [50]
    assert heard.names(101) == ["member_joined"] * 50
    for number in (1, 25, 50):
        state = heard.the("room_state", number)["payload"]
        assert (state["seq"], len(state["members"])) == (52, 52)
    assert len([delivery for delivery in heard.deliveries[E1] if isinstance(delivery, Attach)]) == 50


def test_a_crowd_that_leaves_at_once_is_told_in_one_piece() -> None:
    stage = occupied()
    stage.hear(*(join(f"user-{number}", number) for number in range(1, 51)))
    heard = stage.hear(*(leave(number) for number in range(1, 51)))
    assert len(frames(heard, E1)) == 1
    assert heard.names(101) == ["member_left"] * 50
    assert [heard.names(number) for number in (1, 50)] == [["left_room"], ["left_room"]]


def test_who_came_hears_what_is_said_next() -> None:
    stage = occupied()
    heard = stage.hear(join("ben", 1), chat(101, "hello ben"), join("cy", 2), chat(1, "hello all"))
    assert heard.names(1) == ["room_state", "chat_broadcast", "member_joined", "chat_broadcast", "ack"]
    assert heard.names(2) == ["room_state", "chat_broadcast"]


def test_who_came_and_was_lost_at_once_is_not_shown_the_room() -> None:
    stage = occupied()
    heard = stage.hear(join("ben", 1), lose(1))
    assert not [delivery for delivery in heard.deliveries[E1] if isinstance(delivery, Attach)]
    assert heard.names(101) == ["member_joined"]
    assert stage.members() == [ADA, DEE, "ben"]
