"""Lobbies: counts in place of lists, chat that is kept, and what a newcomer is shown of the past."""

from common.durable import ChatMessage
from common.ids import RoomId
from common.outbox import decode_entry
from tests.unit.stage import ADA, BEN, CY, E2, Stage, chat, emote, join, leave, lose, moderate, say

LOBBY = RoomId("lobby:main")
DATABASE = "postgresql://nobody@localhost/none"


def stage(**settings: object) -> Stage:
    return Stage(room_id=LOBBY, **settings)


def kept(of: Stage) -> list[ChatMessage]:
    assert of.last_turn is not None
    return [decode_entry(entry).record for entry in of.last_turn.outbox]


def test_a_newcomer_sees_a_count_and_no_list() -> None:
    lobby = stage()
    lobby.hear(join(ADA, 1, room=LOBBY))
    state = lobby.hear(join(BEN, 2, room=LOBBY)).the("room_state", 2)["payload"]
    assert state["members"] == []
    assert state["memberCount"] == 2
    assert state["messages"] == []
    assert state["seq"] == 0


def test_comings_and_goings_are_told_as_a_count_at_most_once_a_second() -> None:
    lobby = stage()
    assert lobby.hear(join(ADA, 1, room=LOBBY)).the("member_count", 1)["payload"]["count"] == 1
    lobby.wait(200)
    assert lobby.hear(join(BEN, 2, room=LOBBY)).names(1) == []
    assert lobby.hear(join(CY, 1, room=LOBBY), edge=E2).names(1) == []
    lobby.wait(800)
    assert lobby.room.next_due_ms() == lobby.now_ms
    heard = lobby.tick().turn()
    for place in ((1,), (2,), (1, E2)):
        event = heard.the("member_count", *place)
        assert event["payload"] == {"roomId": LOBBY, "count": 3}
        assert "seq" not in event
    lobby.wait(2_000)
    assert lobby.hear(leave(2, room=LOBBY)).the("member_count", 1)["payload"]["count"] == 2


def test_the_alarm_survives_a_takeover() -> None:
    lobby = stage()
    lobby.hear(join(ADA, 1, room=LOBBY))
    lobby.wait(10).hear(join(BEN, 2, room=LOBBY))
    due_ms = lobby.room.next_due_ms()
    lobby.take_over()
    assert lobby.room.next_due_ms() == due_ms
    lobby.wait(1_000)
    assert lobby.tick().turn().the("member_count", 1)["payload"]["count"] == 2


def test_chat_is_sequenced_acknowledged_and_kept() -> None:
    lobby = stage(database_url=DATABASE)
    lobby.hear(join(ADA, 1, room=LOBBY), join(BEN, 2, room=LOBBY))
    heard = lobby.hear(say(1, "first", id="a", room=LOBBY))
    told = heard.the("chat_broadcast", 2)
    assert (told["seq"], told["payload"]["text"], told["payload"]["userId"]) == (1, "first", ADA)
    assert "replyTo" not in told["payload"]
    ack = heard.the("ack", 1)
    assert ack["payload"] == {"roomId": LOBBY, "seq": 1, "messageId": told["payload"]["messageId"]}
    (message,) = kept(lobby)
    assert (message.room_id, message.epoch, message.seq) == (LOBBY, lobby.room.epoch, 1)
    assert (message.author_id, message.author_name, message.text) == (ADA, "Ada", "first")
    assert (message.at_ms, message.reply_to) == (lobby.now_ms, None)
    heard = lobby.hear(say(2, "second", reply_to=message.message_id, room=LOBBY))
    assert heard.the("chat_broadcast", 1)["payload"]["replyTo"] == message.message_id
    assert kept(lobby)[0].reply_to == message.message_id


def test_a_repeated_id_is_kept_once() -> None:
    lobby = stage(database_url=DATABASE)
    lobby.hear(join(ADA, 1, room=LOBBY))
    first = lobby.hear(say(1, id="a", room=LOBBY)).the("ack", 1)
    assert len(kept(lobby)) == 1
    assert lobby.hear(say(1, id="a", room=LOBBY)).the("ack", 1) == first
    assert kept(lobby) == []


def test_without_a_database_nothing_goes_to_the_outbox() -> None:
    lobby = stage()
    lobby.hear(join(ADA, 1, room=LOBBY))
    assert "ack" in lobby.hear(say(1, room=LOBBY)).names(1)
    assert kept(lobby) == []


def test_chat_is_refused_and_not_lost_when_the_outbox_is_full() -> None:
    lobby = stage(database_url=DATABASE)
    lobby.hear(join(ADA, 1, room=LOBBY))
    lobby.room.outbox_is_full = True
    heard = lobby.hear(say(1, id="a", room=LOBBY))
    assert heard.the("error", 1)["payload"]["code"] == "busy"
    assert lobby.room.seq == 0
    lobby.room.outbox_is_full = False
    assert lobby.hear(say(1, id="a", room=LOBBY)).the("ack", 1)["payload"]["seq"] == 1


def test_a_text_may_be_as_long_as_the_kind_allows() -> None:
    lobby = stage(lobby_chat_characters_max=5)
    lobby.hear(join(ADA, 1, room=LOBBY))
    assert lobby.hear(say(1, "\N{GRINNING FACE}" * 5, room=LOBBY)).names(1) == ["chat_broadcast", "ack"]
    error = lobby.hear(say(1, "123456", id="x", room=LOBBY)).the("error", 1)
    assert error["payload"]["code"] == "invalid_payload"
    assert "6 characters" in error["payload"]["message"]
    assert "5" in error["payload"]["message"]
    space = Stage(space_chat_characters_max=5)
    space.hear(join(ADA, 1))
    assert space.hear(say(1, "123456")).the("error", 1)["payload"]["code"] == "invalid_payload"


def test_movement_and_emotes_have_no_place_in_a_lobby() -> None:
    lobby = stage()
    lobby.hear(join(ADA, 1, room=LOBBY))
    for post in (emote(1, room=LOBBY), chat(1, room=LOBBY)):
        assert lobby.hear(post).the("error", 1)["payload"]["code"] == "not_allowed"


def test_a_muted_person_and_a_hasty_one_are_refused() -> None:
    lobby = stage(chat_burst=2, chat_per_second=1.0)
    lobby.hear(join(ADA, 1, room=LOBBY), join(BEN, 2, room=LOBBY))
    for _ in range(2):
        lobby.hear(say(1, room=LOBBY))
    heard = lobby.hear(say(1, id="c", room=LOBBY))
    assert heard.the("rate_limited", 1)["payload"]["event"] == "chat_send"
    assert heard.the("error", 1)["payload"]["code"] == "rate_limited"
    lobby.hear(moderate(BEN, "mutedByMod"))
    assert lobby.hear(say(2, id="d", room=LOBBY)).the("error", 2)["payload"]["code"] == "muted"


def test_a_newcomer_is_shown_the_latest_messages_also_after_a_takeover() -> None:
    lobby = stage(lobby_latest_messages=3, chat_burst=100)
    lobby.hear(join(ADA, 1, room=LOBBY))
    for number in range(5):
        lobby.hear(say(1, f"m{number}", room=LOBBY))
    for _ in range(2):
        shown = lobby.hear(join(BEN, 2, room=LOBBY)).the("room_state", 2)["payload"]["messages"]
        assert [(message["text"], message["seq"]) for message in shown] == [("m2", 3), ("m3", 4), ("m4", 5)]
        assert {message["userId"] for message in shown} == {ADA}
        assert {message["epoch"] for message in shown} == {lobby.room.epoch}
        lobby.hear(leave(2, room=LOBBY))
        lobby.take_over()


def test_what_a_newcomer_is_shown_hides_whom_the_newcomer_blocks() -> None:
    lobby = stage()
    lobby.hear(join(ADA, 1, room=LOBBY), join(CY, 3, room=LOBBY))
    lobby.hear(say(1, "from ada", room=LOBBY), say(3, "from cy", room=LOBBY))
    lobby.block(BEN, ADA)
    shown = lobby.hear(join(BEN, 2, room=LOBBY)).the("room_state", 2)["payload"]["messages"]
    assert [message["text"] for message in shown] == ["from cy"]
    heard = lobby.hear(say(1, "again", room=LOBBY))
    assert heard.names(2) == []
    assert "chat_broadcast" in heard.names(3)


def test_a_resume_gets_what_was_missed_and_an_old_one_a_cursor() -> None:
    lobby = stage(history_events_max=3, chat_burst=100)
    lobby.hear(join(ADA, 1, room=LOBBY), join(BEN, 2, room=LOBBY))
    lobby.hear(say(1, "m1", room=LOBBY))
    lobby.hear(lose(2, room=LOBBY))
    for number in (2, 3):
        lobby.hear(say(1, f"m{number}", room=LOBBY))
    back = lobby.hear(join(BEN, 2, resume=(lobby.room.epoch, 1), room=LOBBY)).to(2)
    assert back[0]["payload"]["recovered"] is True
    assert "cursor" not in back[0]["payload"]
    assert [(event["payload"]["text"], event["replay"]) for event in back[1:]] == [("m2", True), ("m3", True)]
    for number in range(4, 8):
        lobby.hear(say(1, f"m{number}", room=LOBBY))
    (state,) = lobby.hear(join(BEN, 2, resume=(lobby.room.epoch, 1), room=LOBBY)).to(2)
    assert state["payload"]["recovered"] is False
    assert state["payload"]["cursor"]
