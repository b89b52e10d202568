"""Movements are stored a little later than they are shown: how much, and what is known after a takeover."""

import pytest

from tests.unit.stage import ADA, BEN, START_MS, Stage, chat, join, leave, lose, move

STORE_MS = 1_000


@pytest.fixture
def stage() -> Stage:
    stage = Stage(position_store_ms=STORE_MS)
    stage.hear(join(ADA, 1), join(BEN, 2))
    return stage


def stored(stage: Stage) -> set[str]:
    """Names of the fields that the last turn wrote."""
    assert stage.last_turn is not None
    return set(stage.last_turn.patch.set_fields)


def test_a_movement_is_shown_at_once_and_not_stored(stage: Stage) -> None:
    assert stage.hear(move(1, 1, 4.0)).names(2) == ["avatar_transform_broadcast"]
    assert stored(stage) == set()


def test_it_is_stored_when_the_time_is_over_though_nothing_happens(stage: Stage) -> None:
    stage.hear(move(1, 1, 4.0))
    assert stage.room.next_due_ms() == START_MS + STORE_MS
    stage.wait(STORE_MS).tick().turn()
    assert stored(stage) == {"s:ada"}
    assert stage.room.next_due_ms() is None
    assert [member["x"] for member in stage.look()["members"]] == [4.0, 0.0]


def test_who_moves_on_and_on_is_stored_about_once_a_second(stage: Stage) -> None:
    times = 0
    for number in range(100):
        stage.wait(50).hear(move(1, number, float(number)))
        times += "s:ada" in stored(stage)
    # Batches that come anyway take it along from three quarters of the time on.
    assert 4 <= times <= 7


def test_what_else_is_stored_of_a_member_takes_the_movement_along(stage: Stage) -> None:
    stage.hear(move(1, 1, 4.0))
    stage.hear(chat(1))
    assert "s:ada" in stored(stage)
    assert stage.room.next_due_ms() is None


def test_who_loses_the_connection_is_stored_as_seen_last(stage: Stage) -> None:
    stage.hear(move(1, 1, 4.0))
    stage.hear(lose(1))
    assert "s:ada" in stored(stage)


def test_of_who_leaves_nothing_is_stored_later(stage: Stage) -> None:
    stage.hear(move(1, 1, 4.0))
    stage.hear(leave(1))
    assert stage.wait(STORE_MS).tick().turn().is_silent()
    assert "s:ada" not in stage.store.fields


def test_a_new_owner_knows_positions_of_a_second_ago_and_goes_on(stage: Stage) -> None:
    for number in range(30):
        stage.wait(50).hear(move(1, number, float(number)))
    stage.take_over()
    (x, _) = [member["x"] for member in stage.look()["members"]]
    assert 29 - STORE_MS / 50 <= x < 29
    heard = stage.hear(move(1, 30, 30.0))
    assert heard.the("avatar_transform_broadcast", 2)["payload"]["x"] == 30.0


def test_an_owner_that_hands_the_room_over_stores_all_before(stage: Stage) -> None:
    stage.hear(move(1, 7, 4.0))
    stage.hand_over()
    assert stage.hear(move(1, 7, 9.0)).is_silent()
    assert [member["x"] for member in stage.look()["members"]] == [4.0, 0.0]


def test_the_rest_of_a_bucket_is_handed_over_too(stage: Stage) -> None:
    stage.hear(*(move(1, number) for number in range(10)))
    stage.hand_over()
    assert stage.hear(move(1, 10)).names(1) == ["rate_limited"]


def test_there_is_nothing_to_hurry_where_nobody_moved(stage: Stage) -> None:
    assert not stage.room.hurry()
    stage.hear(move(1, 1))
    assert stage.room.hurry()
