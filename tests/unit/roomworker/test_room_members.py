"""Who is in a room: joining, leaving, losing connections, and coming back."""

import pytest

from common.errors import CloseCode
from common.settings import DRAIN_MS_MAX
from tests.unit.stage import ADA, BEN, CY, E1, E2, START_MS, Stage, join, leave, lose, move


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_the_first_join_finds_oneself(stage: Stage) -> None:
    heard = stage.hear(join(ADA, 1, re="j1"))
    assert heard.names(1) == ["room_state"]
    state = heard.the("room_state", 1)
    assert state["re"] == "j1"
    assert state["ts"] == START_MS
    assert state["payload"] == {
        "roomId": "hall",
        "serverTimeMs": START_MS,
        "members": [
            {
                "userId": ADA,
                "displayName": "Ada",
                "avatarId": "fox",
                "x": 0.0,
                "y": 0.0,
                "z": 0.0,
                "rotY": 0.0,
                "anim": "idle",
                "speaking": False,
            }
        ],
        "you": {"userId": ADA},
        "epoch": START_MS,
        "seq": 1,
        "recovered": False,
    }


def test_others_hear_of_a_join_and_the_joiner_does_not(stage: Stage) -> None:
    stage.hear(join(ADA, 1))
    heard = stage.hear(join(BEN, 2))
    joined = heard.the("member_joined", 1)
    assert (joined["seq"], joined["epoch"], joined["payload"]["member"]["userId"]) == (2, START_MS, BEN)
    assert heard.names(2) == ["room_state"]
    assert [member["userId"] for member in heard.the("room_state", 2)["payload"]["members"]] == [ADA, BEN]


@pytest.mark.parametrize(("edge", "conn"), [(E1, 9), (E2, 1)])
def test_a_second_connection_is_the_same_member(stage: Stage, edge: str, conn: int) -> None:
    stage.hear(join(ADA, 1), join(BEN, 2))
    heard = stage.hear(join(ADA, conn), edge=edge)  # type: ignore[arg-type]
    assert heard.names(conn, edge) == ["room_state"]  # type: ignore[arg-type]
    assert heard.names(2) == []
    assert stage.members() == [ADA, BEN]


def test_joining_again_on_the_same_connection_is_answered_with_the_state(stage: Stage) -> None:
    stage.hear(join(ADA, 1), join(BEN, 2))
    heard = stage.hear(join(ADA, 1, re="again"))
    assert heard.names(1) == ["room_state"]
    assert heard.the("room_state", 1)["re"] == "again"
    assert heard.names(2) == []


def test_a_new_name_is_told_to_all_and_keeps_the_place_of_the_member(stage: Stage) -> None:
    stage.hear(join(ADA, 1), join(BEN, 2), move(1, 1, 5.0))
    heard = stage.hear(join(ADA, 1, name="Ada L", avatar="owl"))
    told = heard.the("member_joined", 2)["payload"]["member"]
    assert (told["displayName"], told["avatarId"], told["x"]) == ("Ada L", "owl", 5.0)
    assert stage.members() == [ADA, BEN]


def test_who_leaves_is_gone_at_once(stage: Stage) -> None:
    stage.hear(join(ADA, 1), join(BEN, 2))
    heard = stage.hear(leave(1, re="bye"))
    assert heard.names(1) == ["left_room"]
    assert heard.the("left_room", 1)["re"] == "bye"
    left = heard.the("member_left", 2)
    assert (left["seq"], left["payload"]) == (3, {"roomId": "hall", "userId": ADA})
    assert stage.members() == [BEN]


def test_leaving_with_one_of_two_connections_tells_nobody(stage: Stage) -> None:
    stage.hear(join(ADA, 1), join(ADA, 2), join(BEN, 3))
    heard = stage.hear(leave(1))
    assert heard.names(1) == ["left_room"]
    assert heard.names(2) == heard.names(3) == []
    assert stage.members() == [ADA, BEN]


def test_leaving_a_room_that_one_is_not_in_is_answered(stage: Stage) -> None:
    stage.hear(join(ADA, 1))
    heard = stage.hear(leave(7, re="x"))
    assert heard.names(7) == ["left_room"]
    assert heard.names(1) == []


def test_a_lost_connection_keeps_the_member_for_the_window(stage: Stage) -> None:
    stage.hear(join(ADA, 1), join(BEN, 2))
    assert stage.hear(lose(1)).is_silent()
    assert stage.room.next_due_ms() == stage.now_ms + 5_000
    assert stage.wait(4_999).tick().turn().is_silent()
    assert stage.members() == [ADA, BEN]
    heard = stage.wait(1).tick().turn()
    assert heard.names(2) == ["member_left"]
    assert stage.members() == [BEN]
    assert stage.room.next_due_ms() is None


def test_a_short_drop_shows_nothing_to_others(stage: Stage) -> None:
    stage.hear(join(ADA, 1), join(BEN, 2))
    stage.hear(lose(1))
    heard = stage.wait(4_999).hear(join(ADA, 5))
    assert heard.names(2) == []
    assert stage.room.next_due_ms() is None
    assert stage.wait(60_000).tick().turn().is_silent()
    assert stage.members() == [ADA, BEN]


def test_each_loss_begins_the_window_anew(stage: Stage) -> None:
    stage.hear(join(ADA, 1), join(BEN, 2))
    stage.hear(lose(1))
    stage.wait(3_000).hear(join(ADA, 3))
    stage.wait(1_000).hear(lose(3))
    assert stage.wait(4_999).tick().turn().is_silent()
    assert stage.wait(1).tick().turn().names(2) == ["member_left"]


def test_losing_one_of_two_connections_begins_no_window(stage: Stage) -> None:
    stage.hear(join(ADA, 1), join(ADA, 2))
    stage.hear(lose(1), lose(1), lose(77))
    assert stage.room.next_due_ms() is None
    assert stage.members() == [ADA]


def test_without_a_window_a_lost_connection_leaves_at_once() -> None:
    stage = Stage(reconnect_window_ms=0)
    stage.hear(join(ADA, 1), join(BEN, 2))
    assert stage.hear(lose(1)).names(2) == ["member_left"]


def test_a_member_whose_edge_sent_it_away_is_kept_until_it_may_be_back(stage: Stage) -> None:
    # The window began when the connection ended, so who obeyed a longer delay was seen to leave and to come.
    stage.hear(join(ADA, 1), join(BEN, 2))
    stage.hear(lose(1, hold_ms=30_000))
    stage.take_over()
    assert stage.room.next_due_ms() == stage.now_ms + 35_000
    assert stage.wait(34_999).tick().turn().is_silent()
    assert stage.hear(join(ADA, 3)).names(2) == []
    # The next loss is an ordinary one.
    stage.hear(lose(3))
    assert stage.room.next_due_ms() == stage.now_ms + 5_000
    assert stage.wait(5_000).tick().turn().names(2) == ["member_left"]


def test_of_several_connections_that_were_sent_away_the_last_to_come_back_counts(stage: Stage) -> None:
    stage.hear(join(ADA, 1), join(ADA, 2), join(ADA, 3), join(BEN, 4))
    stage.hear(lose(1, hold_ms=30_000))
    stage.take_over()
    stage.wait(1_000).hear(lose(2, hold_ms=1_000), lose(3))
    assert stage.room.next_due_ms() == stage.now_ms + 34_000
    assert stage.wait(34_000).tick().turn().names(4) == ["member_left"]


def test_nobody_is_kept_longer_than_a_drain_may_last(stage: Stage) -> None:
    stage.hear(join(ADA, 1), join(BEN, 2))
    stage.hear(lose(1, hold_ms=10 * DRAIN_MS_MAX))
    assert stage.room.next_due_ms() == stage.now_ms + DRAIN_MS_MAX + 5_000


def test_members_leave_in_the_order_in_which_their_windows_end(stage: Stage) -> None:
    stage.hear(join(ADA, 1), join(BEN, 2), join(CY, 3))
    stage.hear(lose(2))
    stage.wait(1_000).hear(lose(1))
    assert stage.room.next_due_ms() == stage.now_ms + 4_000
    heard = stage.wait(10_000).tick().turn()
    assert [event["payload"]["userId"] for event in heard.to(3)] == [BEN, ADA]


def test_a_dropped_edge_loses_its_connections_and_no_others(stage: Stage) -> None:
    stage.hear(join(ADA, 1), join(BEN, 2))
    stage.hear(join(CY, 1), join(BEN, 4), edge=E2)
    stage.drop_edge(E1).turn()
    assert stage.room.edges == {E2: 2}
    heard = stage.wait(5_000).tick().turn()
    assert heard.names(1, E2) == ["member_left"]
    assert stage.members() == [BEN, CY]


def test_the_window_survives_a_takeover(stage: Stage) -> None:
    stage.hear(join(ADA, 1), join(BEN, 2))
    stage.hear(lose(1))
    stage.wait(2_000).take_over()
    assert stage.room.next_due_ms() == START_MS + 5_000
    assert stage.wait(3_000).tick().turn().names(2) == ["member_left"]


def test_a_full_room_refuses_strangers_and_nobody_else() -> None:
    stage = Stage(members_per_room_max=2)
    stage.hear(join(ADA, 1), join(BEN, 2))
    heard = stage.hear(join(CY, 3, re="j"))
    error = heard.the("error", 3)
    assert (error["re"], error["payload"]["code"]) == ("j", "room_full")
    (refused,) = heard.deliveries[E1]
    assert refused.refused  # type: ignore[union-attr]
    assert heard.names(1) == []
    assert stage.hear(join(BEN, 4)).names(4) == ["room_state"]
    stage.hear(leave(1))
    assert stage.hear(join(CY, 3)).names(3) == ["room_state"]


def test_past_the_connections_of_a_member_the_oldest_is_closed() -> None:
    stage = Stage(connections_per_member_max=2)
    stage.hear(join(ADA, 1), join(ADA, 2), join(BEN, 9))
    stage.hear(join(ADA, 1))
    heard = stage.hear(join(ADA, 3))
    # The one that joined last of the two is the first, which joined again.
    assert stage.closed == {(E1, 2): CloseCode.POLICY}
    assert heard.names(3) == ["room_state"]
    assert heard.names(9) == []
    assert stage.room.edges == {E1: 3}


def test_a_room_without_visitors_stores_nothing(stage: Stage) -> None:
    stage.hear(leave(1), lose(2), move(3, 1))
    assert stage.store.fields == {}


def test_nothing_of_a_member_stays_stored_but_the_rates(stage: Stage) -> None:
    stage.block(ADA, BEN)
    stage.hear(join(ADA, 1), move(1, 1))
    assert {"m:ada", "s:ada", "b:ada", "meta"} <= set(stage.store.fields)
    stage.hear(leave(1))
    assert set(stage.store.fields) == {"meta", "t:ada"}


def test_the_stored_room_lives_while_it_has_members_and_a_while_longer(stage: Stage) -> None:
    patches = []
    for commands in (
        [join(ADA, 1)],
        [join(BEN, 2)],
        [leave(1)],
        [leave(2)],
        [],
        [join(ADA, 3)],
        [leave(3), join(BEN, 4)],
    ):
        stage.do(*commands)
        turn = stage.room.take()
        stage.store.apply(turn)
        patches.append((turn.patch.active, turn.patch.ttl_ms))
    idle = (False, 3_600_000)
    assert patches == [(True, 0), (None, None), (None, None), idle, (None, None), (True, 0), (None, None)]


@pytest.mark.parametrize("window_ms", [0, 5_000])
def test_after_a_takeover_members_of_a_dropped_edge_leave_in_the_same_order(window_ms: int) -> None:
    # Stored fields come back in any order, and the connections of an edge were lost in that order: the rebuilt
    # room told `member_left` in another order than the live one would have.
    orders = []
    for take_over in (False, True):
        stage = Stage(reconnect_window_ms=window_ms)
        stage.hear(*[join(user, number) for number, user in enumerate(["zed", BEN, "ada", CY], 1)])
        stage.hear(join("eve", 1), edge=E2)
        if take_over:
            stage.take_over()
        gone = stage.drop_edge(E1).turn()
        if take_over:
            stage.take_over()
        heard = stage.wait(window_ms).tick().turn() if window_ms else gone
        orders.append([event["payload"]["userId"] for event in heard.to(1, E2)])
    assert orders == [["zed", BEN, "ada", CY]] * 2


def test_members_keep_their_order_over_a_new_epoch(stage: Stage) -> None:
    # The place of a member was that of the joining, also when the places began anew: whoever came first in the
    # new order stood before all who had been there.
    stage.hear(join(ADA, 1), join(BEN, 2))
    stage.begin_epoch().turn()
    stage.hear(join(CY, 3))
    assert stage.take_over().members() == [ADA, BEN, CY]
    stage.begin_epoch().turn()
    stage.hear(join("eve", 4))
    assert stage.take_over().members() == [ADA, BEN, CY, "eve"]
