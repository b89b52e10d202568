"""Where B has blocked A, B receives nothing that A causes: live, in the state, in replays."""

import pytest

from tests.unit.stage import ADA, BEN, CY, E1, E2, START_MS, Stage, catch_up, chat, emote, join, leave, lose, move


@pytest.fixture
def stage() -> Stage:
    """Ben blocked Ada before he came; Cy sees everybody."""
    stage = Stage(chat_burst=1_000)
    stage.block(BEN, ADA)
    stage.hear(join(BEN, 2), join(CY, 3))
    return stage


def test_nothing_of_the_blocked_one_is_heard_live(stage: Stage) -> None:
    for commands in (
        [join(ADA, 1)],
        [chat(1)],
        [emote(1)],
        [move(1, 1)],
        [join(ADA, 1, name="Changed")],
        [join(ADA, 1, name="Again"), chat(1), emote(1), move(1, 2)],
        [leave(1)],
    ):
        heard = stage.hear(*commands)
        assert heard.names(2) == []
        assert heard.names(3) != []


def test_who_is_blocked_still_sees_who_blocked(stage: Stage) -> None:
    stage.hear(join(ADA, 1))
    heard = stage.hear(chat(2), move(2, 1))
    assert heard.names(1) == ["chat_broadcast", "avatar_transform_broadcast"]


def test_the_blocked_one_is_in_no_state(stage: Stage) -> None:
    stage.hear(join(ADA, 1))
    state = stage.hear(join(BEN, 4)).the("room_state", 4)["payload"]
    assert [member["userId"] for member in state["members"]] == [BEN, CY]
    assert [member["userId"] for member in stage.look(BEN)["members"]] == [BEN, CY]


def test_the_blocked_one_is_in_no_replay(stage: Stage) -> None:
    stage.hear(lose(2))
    stage.hear(join(ADA, 1), chat(3, "heard"), chat(1, "hidden"), emote(1), leave(1))
    state, *missed = stage.hear(join(BEN, 4, resume=(START_MS, 2))).to(4)
    assert state["payload"]["recovered"] is True
    assert [(event["seq"], event["t"]) for event in missed] == [(4, "chat_broadcast")]


@pytest.mark.parametrize("take_over", [False, True])
def test_the_blocked_one_is_in_no_catch_up_and_no_repair(stage: Stage, take_over: bool) -> None:
    stage.hear(join(ADA, 1), chat(1), chat(3))
    if take_over:
        stage.take_over()
    assert [event["seq"] for event in stage.hear(catch_up(2, START_MS, 2)).to(2)] == [5]
    repaired = stage.hear(join(BEN, 2, resume=(START_MS, 2), repair=True)).to(2)
    assert [event["seq"] for event in repaired if event.get("replay")] == [5]


def test_edges_take_hidden_places_as_told(stage: Stage) -> None:
    """The stage checks the position of each edge; hidden events must move it all the same."""
    stage.hear(join(ADA, 1), edge=E2)
    stage.hear(chat(1), chat(1), edge=E2)
    heard = stage.hear(chat(3))
    assert heard.the("chat_broadcast", 2)["seq"] == 6


def test_all_connections_of_who_blocked_are_spared(stage: Stage) -> None:
    stage.hear(join(BEN, 8), edge=E2)
    stage.hear(join(ADA, 1))
    heard = stage.hear(chat(1))
    assert heard.names(2) == heard.names(8, E2) == []


def test_a_block_takes_effect_in_the_midst(stage: Stage) -> None:
    stage.hear(join(ADA, 1))
    heard = stage.block(CY, ADA).turn()
    assert heard.names(3) == ["resync", "room_state"]
    assert heard.to(3)[0]["payload"]["reason"] == "blocks_changed"
    assert [member["userId"] for member in heard.to(3)[1]["payload"]["members"]] == [BEN, CY]
    assert heard.names(1) == heard.names(2) == []
    heard = stage.hear(chat(1), move(1, 1))
    assert heard.names(3) == []


def test_what_was_pending_when_a_block_came_is_hidden_too(stage: Stage) -> None:
    stage.hear(join(ADA, 1))
    heard = stage.do(move(1, 1)).block(CY, ADA).turn()
    assert heard.names(3) == ["resync", "room_state"]


def test_an_unblock_shows_the_person_again(stage: Stage) -> None:
    stage.hear(join(ADA, 1), move(1, 1, 7.0))
    heard = stage.block(BEN, ADA, blocked=False).turn()
    members = {member["userId"]: member["x"] for member in heard.the("room_state", 2)["payload"]["members"]}
    assert members == {ADA: 7.0, BEN: 0.0, CY: 0.0}
    assert stage.hear(chat(1)).names(2) == ["chat_broadcast"]
    assert not any(field.startswith("b:") for field in stage.store.fields)


def test_a_block_that_changes_nothing_is_silent(stage: Stage) -> None:
    assert stage.block(BEN, ADA).turn().is_silent()
    assert stage.block(CY, ADA, blocked=False).turn().is_silent()
    assert stage.block(ADA, CY).turn().is_silent()


def test_blocks_survive_a_takeover(stage: Stage) -> None:
    stage.hear(join(ADA, 1))
    stage.take_over()
    heard = stage.hear(chat(1))
    assert (heard.names(2), heard.names(3)) == ([], ["chat_broadcast"])


def test_a_block_reaches_a_member_who_is_away(stage: Stage) -> None:
    stage.hear(join(ADA, 1))
    stage.hear(lose(3))
    assert stage.block(CY, ADA).turn().is_silent()
    stage.hear(chat(1))
    state, *missed = stage.hear(join(CY, 5, resume=(START_MS, 3))).to(5)
    assert [member["userId"] for member in state["payload"]["members"]] == [BEN, CY]
    assert missed == []


def test_a_kick_of_the_blocked_one_is_hidden_as_well(stage: Stage) -> None:
    stage.hear(join(ADA, 1))
    stage.drop_edge(E2)
    heard = stage.wait(1).hear(lose(1))
    assert heard.is_silent()
    heard = stage.wait(5_000).tick().turn()
    assert (heard.names(2), heard.names(3)) == ([], ["member_left"])
    assert stage.room.edges == {E1: 2}
