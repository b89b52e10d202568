"""From effects to deliveries: one `RoomFrames` for each edge, unless somebody comes or goes in the midst."""

from msgspec import structs

from common.bus import RoomPatch
from common.deliveries import Answer, AnyDelivery, Attach, Detach, Direct, RoomFrames, Segment
from common.ids import ConnNumber, EdgeId, Epoch, Seq, UserId
from roomworker.effects import (
    AnswerOperator,
    AttachConnection,
    DetachConnection,
    Effect,
    EphemeralGroup,
    RoomTurn,
    Say,
    Sequenced,
)
from roomworker.fanout import deliveries_of
from roomworker.member import ConnRef
from tests.unit.stage import ADA, BEN, E1, E2, HALL

EPOCH = Epoch(9)


def ref(number: int, edge: EdgeId = E1) -> ConnRef:
    return ConnRef(edge, ConnNumber(number))


def event(seq: int, *hidden_from: UserId) -> Sequenced:
    return Sequenced(Seq(seq), b"e%d" % seq, hidden_from)


def came_or_left(seq: int) -> Sequenced:
    return Sequenced(Seq(seq), b"e%d" % seq, (), is_of_members=True)


def attach(number: int, seq: int, edge: EdgeId = E1, *, new: bool = True) -> AttachConnection:
    return AttachConnection(ref(number, edge), Seq(seq), [b"state"], new)


def detach(number: int, edge: EdgeId = E1, *, attached: bool = True, silent: bool = False) -> DetachConnection:
    return DetachConnection(ref(number, edge), [b"left"], attached, silent=silent)


def fan_out(
    *effects: Effect, edges: dict[EdgeId, int] | None = None, ephemeral: list[EphemeralGroup] | None = None
) -> dict[EdgeId, list[AnyDelivery]]:
    patch = RoomPatch(HALL, EPOCH, {}, [], [])
    return deliveries_of(RoomTurn(HALL, EPOCH, Seq(4), edges or {}, list(effects), ephemeral or [], patch, []))


def frames(from_seq: int, to_seq: int, *segments: Segment) -> RoomFrames:
    return RoomFrames(HALL, EPOCH, Seq(from_seq), Seq(to_seq), list(segments))


def reliable(*messages: bytes, hidden_from: list[UserId] | None = None) -> Segment:
    return Segment(True, list(messages), hidden_from or [])


ATTACHED = {1: Attach(HALL, ConnNumber(1), EPOCH, Seq(5), [b"state"])}


def test_a_turn_without_effects_tells_nobody_anything() -> None:
    assert fan_out(edges={E1: 3}) == {}


def test_all_events_of_a_turn_in_one_piece_for_each_edge() -> None:
    whole = [frames(4, 6, reliable(b"e5", b"e6"))]
    assert fan_out(event(5), event(6), edges={E1: 2, E2: 1}) == {E1: whole, E2: whole}


def test_a_new_segment_begins_where_the_audience_changes() -> None:
    found = fan_out(event(5), event(6, ADA), event(7, ADA), event(8), edges={E1: 1})
    assert found[E1] == [frames(4, 8, reliable(b"e5"), reliable(b"e6", b"e7", hidden_from=[ADA]), reliable(b"e8"))]


def test_who_comes_in_the_midst_gets_what_follows() -> None:
    found = fan_out(event(5), attach(1, 5), event(6), edges={E1: 1})
    assert found[E1] == [frames(4, 5, reliable(b"e5")), ATTACHED[1], frames(5, 6, reliable(b"e6"))]


def test_the_first_on_an_edge_opens_it_there_and_not_before() -> None:
    found = fan_out(event(5), attach(1, 5, E2), event(6), edges={E1: 1})
    assert found[E1] == [frames(4, 6, reliable(b"e5", b"e6"))]
    assert found[E2] == [ATTACHED[1], frames(5, 6, reliable(b"e6"))]


def test_who_goes_gets_what_was_before() -> None:
    found = fan_out(event(5), detach(1), event(6), edges={E1: 2})
    left = Detach(HALL, ConnNumber(1), [b"left"])
    assert found[E1] == [frames(4, 5, reliable(b"e5")), left, frames(5, 6, reliable(b"e6"))]


def test_many_who_leave_together_do_not_cut_the_events_for_the_others() -> None:
    found = fan_out(detach(1), came_or_left(5), detach(2), came_or_left(6), edges={E1: 3, E2: 1})
    left = [Detach(HALL, ConnNumber(number), [b"left"]) for number in (1, 2)]
    whole = frames(4, 6, reliable(b"e5", b"e6"))
    assert found == {E1: [*left, whole], E2: [whole]}


def test_who_leaves_gets_what_was_said_before() -> None:
    found = fan_out(came_or_left(5), event(6), detach(1), came_or_left(7), edges={E1: 2})
    left = Detach(HALL, ConnNumber(1), [b"left"])
    assert found[E1] == [frames(4, 6, reliable(b"e5", b"e6")), left, frames(6, 7, reliable(b"e7"))]


def test_who_is_thrown_out_gets_all_places_up_to_that() -> None:
    found = fan_out(came_or_left(5), structs.replace(detach(1), close_code=4403), came_or_left(6), edges={E1: 2})
    assert [type(delivery) for delivery in found[E1]] == [RoomFrames, Detach, RoomFrames]


def test_the_last_on_an_edge_closes_it() -> None:
    found = fan_out(event(5), detach(1), event(6), edges={E1: 1})
    assert found[E1] == [frames(4, 5, reliable(b"e5")), Detach(HALL, ConnNumber(1), [b"left"])]


def test_an_edge_may_close_and_open_in_one_turn() -> None:
    found = fan_out(detach(1), event(5), attach(2, 5), event(6), edges={E1: 1})
    assert found[E1] == [
        Detach(HALL, ConnNumber(1), [b"left"]),
        Attach(HALL, ConnNumber(2), EPOCH, Seq(5), [b"state"]),
        frames(5, 6, reliable(b"e6")),
    ]


def test_an_edge_is_told_nothing_of_what_it_said_itself() -> None:
    found = fan_out(detach(1, silent=True), event(5), edges={E1: 2})
    assert found[E1] == [frames(4, 5, reliable(b"e5"))]
    assert fan_out(event(5), detach(1, silent=True), event(6), edges={E1: 1})[E1] == [frames(4, 5, reliable(b"e5"))]


def test_a_refused_connection_was_never_counted() -> None:
    found = fan_out(detach(7, attached=False), event(5), edges={E1: 1})
    assert found[E1] == [Detach(HALL, ConnNumber(7), [b"left"]), frames(4, 5, reliable(b"e5"))]


def test_an_attachment_anew_does_not_count_twice() -> None:
    found = fan_out(attach(1, 4, new=False), detach(1), event(5), edges={E1: 1})
    assert [type(delivery) for delivery in found[E1]] == [Attach, Detach]


def test_answers_come_after_the_events_that_they_are_about() -> None:
    found = fan_out(event(5), Say(ref(1), [b"ack"]), event(6), Say(ref(1), [b"again"]), edges={E1: 1, E2: 1})
    assert found[E1] == [frames(4, 6, reliable(b"e5", b"e6")), Direct(ConnNumber(1), [b"ack", b"again"])]
    assert found[E2] == [frames(4, 6, reliable(b"e5", b"e6"))]


def test_what_was_to_be_said_is_said_before_one_goes() -> None:
    found = fan_out(event(5), Say(ref(1), [b"ack"]), detach(1), edges={E1: 1})
    assert found[E1] == [frames(4, 5, reliable(b"e5")), Detach(HALL, ConnNumber(1), [b"ack", b"left"])]


def test_movements_come_last_with_their_audiences() -> None:
    groups = [EphemeralGroup([b"m1"], ()), EphemeralGroup([b"m2"], (BEN,))]
    found = fan_out(event(5), edges={E1: 1}, ephemeral=groups)
    moves = [Segment(False, [b"m1"], []), Segment(False, [b"m2"], [BEN])]
    assert found[E1] == [frames(4, 5, reliable(b"e5"), *moves)]
    assert fan_out(edges={E1: 1}, ephemeral=groups)[E1] == [frames(4, 4, *moves)]


def test_operators_are_answered_through_their_edge() -> None:
    assert fan_out(AnswerOperator(E2, 3, b"{}"), edges={E1: 1}) == {E2: [Answer(3, b"{}")]}
