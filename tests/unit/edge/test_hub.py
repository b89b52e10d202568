"""Who listens to what on an edge, and what happens when entries are lost."""

import pytest

from common.commands import AnyRoomCommand, CatchUp, Disconnect
from common.deliveries import Answer, Attach, Detach, Direct, RoomFrames, Segment, Shared, Stranger
from common.errors import CloseCode
from common.ids import ConnNumber, Epoch, RoomId, Seq, UserId
from edge.frames import text_frames
from edge.hub import REFRESH_INTERVAL_MS, Hub
from tests.unit.stage import ADA, BEN, CY, HALL

YARD = RoomId("yard")
EPOCH = Epoch(9)


class Ear:
    """A listener that keeps what it was given."""

    def __init__(self, hub: Hub, number: int, user: UserId) -> None:
        self.user_id: UserId | None = user
        self.number = ConnNumber(number)
        self.slow = False
        self.writes: list[bytes] = []
        self.wanted: dict[RoomId, bool] = {HALL: True}
        self.closed: CloseCode | None = None
        self.detachments: list[tuple[RoomId, bool]] = []
        self.rejoins: list[tuple[RoomId, tuple[Epoch, Seq] | None]] = []
        self._hub = hub
        self._queued = b""
        hub.add(self.number, self)

    def push(self, reliable: bytes, everything: bytes) -> bool:
        self._queued += reliable if self.slow else everything
        return not self.slow or reliable is everything

    def is_slow(self) -> bool:
        return self.slow

    def flush(self) -> None:
        if self._queued:
            self.writes.append(self._queued)
        self._queued = b""

    def attached(self, room_id: RoomId, attempt: int) -> bool:
        return self.wanted.get(room_id, False)

    def detached(self, room_id: RoomId, *, refused: bool) -> None:
        self.detachments.append((room_id, refused))

    def close(self, code: CloseCode, reason: str) -> None:
        self.closed = code
        # A client that is closed leaves its rooms at once.
        for room_id in self.wanted:
            self._hub.unsubscribe(self.number, room_id)

    def rejoin(self, room_id: RoomId, position: tuple[Epoch, Seq] | None) -> AnyRoomCommand | None:
        self.rejoins.append((room_id, position))
        return Disconnect(room_id, self.number) if self.wanted.get(room_id) else None

    def is_joined(self, room_id: RoomId) -> bool:
        return self.wanted.get(room_id, False)

    def rooms_wanted(self) -> list[RoomId]:
        return [room_id for room_id, wanted in self.wanted.items() if wanted]

    def heard(self) -> bytes:
        heard, self.writes = b"".join(self.writes), []
        return heard


class House:
    """A hub and what it asked of the edge around it."""

    def __init__(self) -> None:
        self.hub = Hub(self)
        self.forwarded: list[AnyRoomCommand] = []
        self.answers: list[tuple[int, bytes]] = []
        self.repairs: list[tuple[RoomId, int]] = []

    def forward(self, command: AnyRoomCommand) -> None:
        self.forwarded.append(command)

    def answered(self, request: int, body: bytes) -> None:
        self.answers.append((request, body))

    def repairing(self, room_id: RoomId, listeners: int) -> None:
        self.repairs.append((room_id, listeners))

    def ear(self, number: int, user: UserId, *, at: int | None = 5) -> Ear:
        """Make a listener, in the hall since a place."""
        ear = Ear(self.hub, number, user)
        if at is not None:
            self.apply(attach(number, at))
        return ear

    def apply(self, *deliveries: Attach | Detach | Direct | RoomFrames | Shared | Stranger | Answer) -> None:
        self.hub.apply(deliveries)
        self.hub.flush()


def attach(number: int, seq: int, *messages: bytes, room: RoomId = HALL, epoch: int = EPOCH) -> Attach:
    return Attach(room, ConnNumber(number), Epoch(epoch), Seq(seq), list(messages))


def detach(number: int, *messages: bytes, close_code: int | None = None, refused: bool = False) -> Detach:
    return Detach(HALL, ConnNumber(number), list(messages), close_code, refused)


def stranger(number: int) -> Stranger:
    return Stranger(HALL, ConnNumber(number), [b"unknown"], [b"later"])


def frames(from_seq: int, to_seq: int, *segments: Segment, room: RoomId = HALL, epoch: int = EPOCH) -> RoomFrames:
    return RoomFrames(room, Epoch(epoch), Seq(from_seq), Seq(to_seq), list(segments))


def said(*messages: bytes, hidden_from: list[UserId] | None = None) -> Segment:
    return Segment(True, list(messages), hidden_from or [])


def moved(*messages: bytes, hidden_from: list[UserId] | None = None) -> Segment:
    return Segment(False, list(messages), hidden_from or [])


def framed(*messages: bytes) -> bytes:
    return text_frames(messages)


@pytest.fixture
def house() -> House:
    return House()


# --- ghosts -----------------------------------------------------------------------------------------------


def test_a_room_that_attaches_a_connection_that_ended_is_told_so(house: House) -> None:
    """The store came back older and had lost the `Disconnect`: the person stayed a member while the edge lived."""
    house.ear(1, ADA)
    house.apply(attach(2, 5, b"state"))
    assert house.forwarded == [Disconnect(HALL, ConnNumber(2))]


# --- the plain way ----------------------------------------------------------------------------------------


def test_listeners_of_a_room_hear_it_and_others_do_not(house: House) -> None:
    ada, ben, out = house.ear(1, ADA), house.ear(2, BEN), house.ear(3, CY, at=None)
    house.apply(frames(5, 6, said(b"a"), moved(b"m")))
    assert ada.heard() == ben.heard() == framed(b"a", b"m")
    assert out.heard() == b""
    assert house.hub.position(HALL) == (EPOCH, 6)
    assert house.hub.delivered == 4


def test_all_listeners_get_the_same_bytes(house: House) -> None:
    ada, ben = house.ear(1, ADA), house.ear(2, BEN)
    house.apply(frames(5, 6, said(b"a" * 100)))
    assert ada.writes[0] is ben.writes[0]


def test_what_one_batch_brings_is_one_write(house: House) -> None:
    ada = house.ear(1, ADA)
    house.apply(frames(5, 6, said(b"a")), Direct(ConnNumber(1), [b"ack"]), frames(6, 7, said(b"b")))
    assert ada.writes == [framed(b"a", b"ack", b"b")]
    house.hub.flush()
    assert len(ada.writes) == 1


def test_an_attachment_brings_its_messages_first(house: House) -> None:
    ada = house.ear(1, ADA, at=None)
    house.apply(attach(1, 5, b"state"), frames(5, 6, said(b"a")))
    assert ada.heard() == framed(b"state", b"a")


def test_frames_of_rooms_without_listeners_are_passed_over(house: House) -> None:
    house.apply(frames(5, 6, said(b"a")))
    assert house.hub.position(HALL) is None
    assert house.repairs == []


def test_rooms_do_not_mix(house: House) -> None:
    ada = house.ear(1, ADA)
    ada.wanted[YARD] = True
    house.apply(attach(1, 70, room=YARD), frames(70, 71, said(b"y"), room=YARD), frames(5, 6, said(b"h")))
    assert ada.heard() == framed(b"y", b"h")
    assert house.hub.room_count == 2


def test_what_several_are_told_goes_to_those_of_them_who_are_in_the_room(house: House) -> None:
    ada, ben, cy = house.ear(1, ADA), house.ear(2, BEN), house.ear(3, CY, at=None)
    shared = Shared(HALL, [ConnNumber(2), ConnNumber(3), ConnNumber(9)], [b"part 2", b"part 3"])
    house.apply(attach(1, 5, b"state"), shared)
    assert ada.heard() == text_frames([b"state"])
    assert ben.heard() == text_frames([b"part 2", b"part 3"])
    assert cy.heard() == b""
    house.apply(Shared(YARD, [ConnNumber(2)], [b"x"]))
    assert ben.heard() == b""


def test_parts_of_a_state_are_one_write_with_it(house: House) -> None:
    ada = house.ear(1, ADA, at=None)
    house.apply(attach(1, 5, b"state"), Shared(HALL, [ConnNumber(1)], [b"part 2"]))
    assert ada.writes == [text_frames([b"state", b"part 2"])]


def test_operators_get_their_answers(house: House) -> None:
    house.apply(Answer(4, b"{}"))
    assert house.answers == [(4, b"{}")]


def test_messages_to_connections_that_are_gone_are_dropped(house: House) -> None:
    house.ear(1, ADA)
    house.apply(Direct(ConnNumber(9), [b"x"]), attach(9, 5), detach(9))
    house.hub.unsubscribe(ConnNumber(1), HALL)
    house.hub.remove(ConnNumber(1))
    house.hub.remove(ConnNumber(1))
    house.apply(Direct(ConnNumber(1), [b"x"]))
    assert house.hub.listeners == {}
    assert house.hub.room_count == 0


# --- coming and going -------------------------------------------------------------------------------------


def test_a_detached_connection_gets_its_last_messages_and_no_more(house: House) -> None:
    ada, ben = house.ear(1, ADA), house.ear(2, BEN)
    house.apply(detach(1, b"left"), frames(5, 6, said(b"a")))
    assert ada.heard() == framed(b"left")
    assert ada.detachments == [(HALL, False)]
    assert ben.heard() == framed(b"a")


def test_a_refusal_is_passed_on(house: House) -> None:
    ada = house.ear(1, ADA, at=None)
    house.apply(detach(1, b"full", refused=True))
    assert ada.heard() == framed(b"full")
    assert ada.detachments == [(HALL, True)]


def test_who_is_thrown_out_is_told_before_the_close(house: House) -> None:
    ada = house.ear(1, ADA)
    house.apply(detach(1, b"kicked", close_code=4403))
    assert ada.heard() == framed(b"kicked")
    assert ada.closed is CloseCode.REMOVED


def test_an_attachment_that_is_not_wanted_any_more_is_passed_over(house: House) -> None:
    ada = house.ear(1, ADA, at=None)
    ada.wanted[HALL] = False
    house.apply(attach(1, 5, b"state"), frames(5, 6, said(b"a")))
    assert ada.heard() == b""
    assert house.hub.room_count == 0


def test_when_the_last_listener_goes_the_room_is_forgotten_and_may_begin_anywhere(house: House) -> None:
    ada = house.ear(1, ADA)
    house.hub.unsubscribe(ConnNumber(1), HALL)
    house.hub.unsubscribe(ConnNumber(1), HALL)
    house.apply(frames(5, 6, said(b"a")), attach(1, 90), frames(90, 91, said(b"b")))
    assert ada.heard() == framed(b"b")
    assert house.repairs == []


# --- blocks -----------------------------------------------------------------------------------------------


def test_what_is_hidden_from_somebody_is_not_given_to_that_one(house: House) -> None:
    ada, ben, cy = house.ear(1, ADA), house.ear(2, BEN), house.ear(3, CY)
    house.apply(
        frames(5, 7, said(b"a"), said(b"b", hidden_from=[BEN]), moved(b"c", hidden_from=[BEN, CY]), moved(b"d"))
    )
    assert ada.heard() == framed(b"a", b"b", b"c", b"d")
    assert ben.heard() == framed(b"a", b"d")
    assert cy.heard() == framed(b"a", b"b", b"d")
    assert house.hub.delivered == 4 + 2 + 3


def test_everything_hidden_still_moves_the_position(house: House) -> None:
    ada = house.ear(1, ADA)
    house.apply(frames(5, 6, said(b"a", hidden_from=[ADA])), frames(6, 7, said(b"b")))
    assert ada.heard() == framed(b"b")
    assert house.repairs == []


# --- slow readers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden_from", [[], [BEN]])
def test_slow_readers_get_what_is_reliable_and_later_the_whole_state(house: House, hidden_from: list[UserId]) -> None:
    ada, ben = house.ear(1, ADA), house.ear(2, CY)
    ada.slow = True
    house.apply(frames(5, 6, said(b"a", hidden_from=hidden_from), moved(b"m")))
    assert ada.heard() == framed(b"a")
    assert ben.heard() == framed(b"a", b"m")
    assert house.hub.skipped == 1
    house.hub.refresh_recovered(0)
    assert house.forwarded == []
    ada.slow = False
    house.hub.refresh_recovered(0)
    assert house.forwarded == [CatchUp(HALL, ConnNumber(1), EPOCH, Seq(6), skipped=True)]
    house.hub.refresh_recovered(0)
    assert len(house.forwarded) == 1


def test_a_reader_that_its_refresh_makes_slow_again_is_not_refreshed_again_at_once(house: House) -> None:
    ada = house.ear(1, ADA)
    ada.slow = True
    house.apply(frames(5, 5, moved(b"m")))
    ada.slow = False
    house.hub.refresh_recovered(0)
    ada.slow = True
    house.apply(attach(1, 5, b"state"), frames(5, 5, moved(b"m")))
    ada.slow = False
    house.hub.refresh_recovered(REFRESH_INTERVAL_MS - 1)
    assert len(house.forwarded) == 1
    house.hub.refresh_recovered(REFRESH_INTERVAL_MS)
    assert len(house.forwarded) == 2


def test_slow_readers_who_missed_nothing_need_nothing(house: House) -> None:
    ada = house.ear(1, ADA)
    ada.slow = True
    house.apply(frames(5, 6, said(b"a")), Direct(ConnNumber(1), [b"ack"]))
    ada.slow = False
    house.hub.refresh_recovered(0)
    assert house.forwarded == []


def test_a_slow_reader_who_leaves_is_not_refreshed(house: House) -> None:
    ada = house.ear(1, ADA)
    house.ear(2, BEN)
    ada.slow = True
    house.apply(frames(5, 5, moved(b"m")))
    ada.slow = False
    house.hub.unsubscribe(ConnNumber(1), HALL)
    house.hub.refresh_recovered(0)
    assert house.forwarded == []


# --- lost entries -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "late", [frames(6, 7, said(b"x")), frames(4, 5, said(b"x")), frames(5, 6, said(b"x"), epoch=EPOCH + 1)]
)
def test_frames_that_do_not_follow_are_not_shown_and_the_room_is_repaired(house: House, late: RoomFrames) -> None:
    ada, ben = house.ear(1, ADA), house.ear(2, BEN)
    house.apply(late, frames(late.to_seq, late.to_seq + 1, said(b"y"), epoch=late.epoch))
    assert ada.heard() == ben.heard() == b""
    assert ada.rejoins == ben.rejoins == [(HALL, (EPOCH, 5))]
    assert house.repairs == [(HALL, 2)]
    assert house.hub.position(HALL) is None
    house.apply(attach(1, 8, b"replay"), frames(8, 9, said(b"z")))
    assert ada.heard() == framed(b"replay", b"z")
    assert ben.heard() == b""
    house.apply(attach(2, 9, b"replay"))
    assert ben.heard() == framed(b"replay")
    assert len(house.repairs) == 1


def test_an_attachment_that_does_not_follow_shows_that_something_was_lost(house: House) -> None:
    ada, ben = house.ear(1, ADA), house.ear(2, BEN, at=None)
    house.apply(attach(2, 7, b"state"), frames(7, 8, said(b"a")))
    assert ben.heard() == framed(b"state", b"a")
    assert ada.heard() == b""
    assert ada.rejoins == [(HALL, (EPOCH, 5))]
    assert ben.rejoins == []


def test_an_attachment_anew_moves_only_its_own_connection(house: House) -> None:
    ada, ben = house.ear(1, ADA), house.ear(2, BEN)
    house.apply(attach(1, 7, b"state"), frames(7, 8, said(b"a")))
    assert ada.heard() == framed(b"state", b"a")
    assert ada.rejoins == []
    assert ben.rejoins == [(HALL, (EPOCH, 5))]


def test_after_a_known_loss_everybody_is_brought_up_to_date_everywhere(house: House) -> None:
    ada, ben = house.ear(1, ADA), house.ear(2, BEN, at=None)
    ada.wanted[YARD] = True
    house.apply(attach(1, 3, room=YARD))
    house.hub.repair_all()
    assert ada.rejoins == [(HALL, (EPOCH, 5)), (YARD, (EPOCH, 3))]
    # Ben's join was not answered yet; its answer may have been in what was lost.
    assert ben.rejoins == [(HALL, (EPOCH, 5))]
    assert len(house.forwarded) == 3
    house.apply(frames(5, 6, said(b"a")))
    assert ada.heard() == b""


def test_closing_one_listener_while_frames_are_given_out_harms_no_other(house: House) -> None:
    ada, ben = house.ear(1, ADA), house.ear(2, BEN)
    house.apply(frames(5, 6, said(b"a")), detach(1, close_code=4403), frames(6, 7, said(b"b")))
    assert ada.heard() == framed(b"a")
    assert ben.heard() == framed(b"a", b"b")


# --- connections that a room does not know ----------------------------------------------------------------


def test_who_is_not_in_the_room_here_either_is_told_so(house: House) -> None:
    ada = house.ear(1, ADA)
    ada.wanted[HALL] = False
    house.apply(stranger(1))
    assert ada.heard() == framed(b"unknown")
    assert house.forwarded == []


def test_who_is_in_the_room_as_far_as_is_known_here_is_told_to_try_again_and_joined_again(house: House) -> None:
    ada, ben = house.ear(1, ADA), house.ear(2, BEN)
    house.apply(stranger(1), stranger(1), frames(5, 6, said(b"a")))
    # Once, however many messages were on their way, and the others hear on.
    assert ada.heard() == framed(b"later", b"later")
    assert ada.rejoins == [(HALL, (EPOCH, 5))]
    assert ben.heard() == framed(b"a")
    house.apply(attach(1, 6, b"state"), frames(6, 7, said(b"b")))
    assert ada.heard() == framed(b"state", b"b")


def test_while_a_room_is_repaired_its_strangers_wait_for_that(house: House) -> None:
    ada = house.ear(1, ADA)
    house.hub.repair_all()
    house.apply(stranger(1))
    assert ada.heard() == framed(b"later")
    assert len(ada.rejoins) == 1
    house.apply(stranger(99))
