"""Kicks, bans, mutes, and their end."""

import pytest

from common.errors import CloseCode
from tests.unit.stage import ADA, BEN, E1, E2, START_MS, Stage, chat, emote, inspect, join, lift, lose, moderate, move


@pytest.fixture
def stage() -> Stage:
    stage = Stage(chat_burst=1_000)
    stage.hear(join(ADA, 1), join(BEN, 2))
    return stage


@pytest.mark.parametrize("action", ["kicked", "banned"])
def test_who_is_thrown_out_is_told_why_and_the_others_that_one_left(stage: Stage, action: str) -> None:
    stage.hear(join(ADA, 8), edge=E2)
    heard = stage.hear(moderate(ADA, action))  # type: ignore[arg-type]
    for conn, edge in ((1, E1), (8, E2)):
        (told,) = heard.to(conn, edge)
        assert told["payload"] == {"roomId": "hall", "type": action, "reason": "be kind"}
        assert (told["t"], told["seq"]) == ("moderation_action", 3)
    assert stage.closed == {(E1, 1): CloseCode.REMOVED, (E2, 8): CloseCode.REMOVED}
    left = heard.the("member_left", 2)
    # One place in the order, which each side sees in its own way.
    assert left["seq"] == 3
    assert heard.answers[1] == {
        "roomId": "hall",
        "userId": ADA,
        "type": action,
        "member": True,
        "connectionsClosed": 2,
        "epoch": START_MS,
        "seq": 3,
    }
    assert stage.members() == [BEN]


def test_a_kick_without_seconds_is_for_the_moment(stage: Stage) -> None:
    stage.hear(moderate(ADA, "kicked"))
    assert stage.hear(join(ADA, 3)).names(3) == ["room_state"]


@pytest.mark.parametrize("action", ["kicked", "banned"])
def test_with_seconds_it_ends_by_itself(stage: Stage, action: str) -> None:
    stage.hear(moderate(ADA, action, 10_000))  # type: ignore[arg-type]
    stage.take_over()
    refused = stage.wait(9_999).hear(join(ADA, 3, re="j")).the("auth_error", 3)
    assert (refused["re"], refused["payload"]["code"], refused["payload"]["roomId"]) == ("j", "banned", "hall")
    assert stage.wait(1).hear(join(ADA, 4)).names(4) == ["room_state"]


def test_a_ban_without_seconds_has_no_end(stage: Stage) -> None:
    stage.hear(moderate(ADA, "banned"))
    assert stage.wait(10 * 365 * 86_400_000).hear(join(ADA, 3)).names(3) == ["auth_error"]
    assert stage.members() == [BEN]


def test_a_refused_join_changes_nothing(stage: Stage) -> None:
    stage.hear(moderate(ADA, "banned"))
    before = dict(stage.store.fields)
    heard = stage.hear(join(ADA, 3), join(ADA, 3, repair=True))
    assert stage.store.fields == before
    assert heard.names(2) == []
    assert all(delivery.refused for delivery in heard.deliveries[E1])  # type: ignore[union-attr]


def test_a_ban_holds_from_its_own_place_in_the_order(stage: Stage) -> None:
    heard = stage.hear(chat(1, "before"), moderate(ADA, "banned"), chat(1, "after", id="m"))
    assert [event["t"] for event in heard.to(2)] == ["chat_broadcast", "member_left"]
    assert heard.names(1) == ["chat_broadcast", "ack", "moderation_action", "error"]
    assert heard.the("error", 1)["payload"]["code"] == "not_joined"


def test_a_short_kick_does_not_shorten_a_ban(stage: Stage) -> None:
    stage.hear(moderate(ADA, "banned", 60_000))
    stage.hear(moderate(ADA, "kicked", 1_000))
    assert stage.wait(59_999).hear(join(ADA, 3)).names(3) == ["auth_error"]


def test_somebody_who_is_not_there_can_be_banned(stage: Stage) -> None:
    heard = stage.hear(moderate("eve", "banned"))
    assert (heard.answers[1]["member"], heard.answers[1]["connectionsClosed"]) == (False, 0)
    assert heard.is_silent()
    assert stage.hear(join("eve", 5)).names(5) == ["auth_error"]


def test_somebody_who_is_away_is_removed_at_once(stage: Stage) -> None:
    stage.hear(lose(1))
    assert stage.hear(moderate(ADA, "kicked")).names(2) == ["member_left"]
    assert stage.room.next_due_ms() is None


def test_a_muted_person_stays_and_is_not_heard(stage: Stage) -> None:
    heard = stage.hear(moderate(ADA, "mutedByMod", 10_000))
    assert heard.the("moderation_action", 1)["payload"]["type"] == "mutedByMod"
    assert "seq" not in heard.the("moderation_action", 1)
    assert heard.names(2) == []
    assert heard.answers[1]["connectionsClosed"] == 0
    assert stage.closed == {}
    heard = stage.hear(chat(1, id="m"))
    assert heard.the("error", 1)["payload"]["code"] == "muted"
    assert heard.names(2) == []
    assert stage.hear(emote(1), move(1, 1)).names(2) == ["emote_broadcast", "avatar_transform_broadcast"]
    stage.take_over()
    assert stage.wait(9_999).hear(chat(1)).names(2) == []
    assert stage.wait(1).hear(chat(1)).names(2) == ["chat_broadcast"]


def test_a_mute_survives_leaving(stage: Stage) -> None:
    stage.hear(moderate(ADA, "mutedByMod"))
    stage.hear(lose(1))
    stage.wait(5_000).tick().turn()
    stage.hear(join(ADA, 3))
    assert stage.hear(chat(3)).the("error", 3)["payload"]["code"] == "muted"


def test_lifting_ends_bans_and_mutes(stage: Stage) -> None:
    stage.hear(moderate(ADA, "banned"), moderate(BEN, "mutedByMod"))
    heard = stage.hear(lift(ADA, request=5), lift(BEN, request=6), lift("eve", request=7))
    assert [heard.answers[request]["lifted"] for request in (5, 6, 7)] == [True, True, False]
    assert stage.hear(join(ADA, 3)).names(3) == ["room_state"]
    assert "chat_broadcast" in stage.hear(chat(2)).names(2)
    assert not any(field.startswith("r:") for field in stage.store.fields)


def test_a_room_with_an_endless_ban_does_not_expire_and_others_do_in_time() -> None:
    def ttl_ms(stage: Stage) -> int | None:
        turn = stage.room.take()
        stage.store.apply(turn)
        return turn.patch.ttl_ms

    stage = Stage(room_idle_ttl_ms=1_000)
    assert ttl_ms(stage.do(moderate(ADA, "banned"))) == 0
    assert ttl_ms(stage.do(lift(ADA))) == 1_000
    assert ttl_ms(stage.do(moderate(ADA, "banned", 500))) == 1_000
    assert ttl_ms(stage.do(moderate(ADA, "banned", 50_000))) == 50_000


def test_an_operator_sees_members_restrictions_and_counters(stage: Stage) -> None:
    stage.hear(chat(1), lose(1))
    stage.hear(moderate(BEN, "mutedByMod", 1_000), moderate("eve", "banned"))
    seen = stage.hear(inspect(9)).answers[9]
    assert (seen["roomId"], seen["kind"], seen["epoch"], seen["seq"]) == ("hall", "space", START_MS, 3)
    ada, ben = seen["members"]
    assert (ada["userId"], ada["awayUntilMs"], ada["connections"]) == (ADA, START_MS + 5_000, [])
    assert (ben["awayUntilMs"], ben["connections"]) == (None, [{"edge": E1, "number": 2, "device": "desktop"}])
    assert seen["restrictions"][BEN]["mutedUntilMs"] == START_MS + 1_000
    assert seen["restrictions"]["eve"]["mutedUntilMs"] is None
    assert (seen["counters"]["joins"], seen["counters"]["sequenced"]) == (2, 3)
