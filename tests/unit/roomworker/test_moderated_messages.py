"""Reports, the word filter's queue, and messages that moderators delete."""

from typing import Any

import pytest
from msgspec import UNSET

from common.commands import DeleteMessage, Post
from common.durable import MessageRemoved, Reported
from common.ids import ConnNumber, Epoch, RoomId, Seq
from common.messages import Report, ReportPayload
from common.outbox import decode_entry
from common.word_list import parse_word_list
from roomworker.rules import RoomSeed
from tests.unit.stage import ADA, BEN, CY, HALL, Stage, chat, emote, join, open_room, say

URL = {"database_url": "postgresql://nobody@localhost/none"}
LOBBY = RoomId("lobby:world")


def report(conn: int, seq: int, *, epoch: int | None = None, room: RoomId = HALL) -> Post:
    payload = ReportPayload(room, seq, "rude", UNSET if epoch is None else epoch)
    return Post(room, ConnNumber(conn), Report(v=1, ts=0, id=f"r{seq}", payload=payload))


def delete(stage: Stage, seq: int, message_id: str, *, epoch: int | None = None) -> DeleteMessage:
    at = Epoch(stage.room.epoch if epoch is None else epoch)
    return DeleteMessage(stage.room_id, 9, at, Seq(seq), message_id, "mod")


def kept(stage: Stage, of: type) -> list[Any]:
    assert stage.last_turn is not None
    records = [decode_entry(entry).record for entry in stage.last_turn.outbox]
    return [record for record in records if isinstance(record, of)]


def open_stage(room: RoomId = HALL, **settings: Any) -> Stage:
    stage = Stage(room_id=room, **URL, **settings)
    stage.room.seed(RoomSeed([]), stage.now_ms)
    stage.hear(join(ADA, 1, room=room), join(BEN, 2, room=room))
    return stage


def test_a_report_carries_what_was_said_and_by_whom() -> None:
    stage = open_stage()
    said = stage.hear(say(1, "you fool")).the("chat_broadcast", 2)
    heard = stage.hear(report(2, said["seq"]))
    assert heard.the("ack", 2)["payload"]["seq"] == said["seq"]
    (record,) = kept(stage, Reported)
    assert record == Reported(
        HALL,
        stage.room.epoch,
        said["seq"],
        said["payload"]["messageId"],
        ADA,
        "you fool",
        BEN,
        "rude",
        "report",
        stage.now_ms,
    )
    assert heard.names(1) == []


def test_a_report_after_a_takeover_finds_the_message_in_the_stored_history() -> None:
    stage = open_stage()
    said = stage.hear(chat(1, "you fool")).the("chat_broadcast", 2)
    stage.take_over()
    stage.hear(report(2, said["seq"]))
    assert [record.excerpt for record in kept(stage, Reported)] == ["you fool"]


def test_what_is_no_message_cannot_be_reported() -> None:
    stage = open_stage()
    seq = stage.hear(emote(1)).the("emote_broadcast", 2)["seq"]
    for wrong in (seq, seq + 1, 10**9):
        assert stage.hear(report(2, wrong)).the("error", 2)["payload"]["code"] == "not_found"
        assert kept(stage, Reported) == []


def test_a_message_of_an_older_order_is_left_to_the_store_to_find() -> None:
    stage = open_stage()
    assert stage.hear(report(2, 7, epoch=5)).names(2) == ["ack"]
    (record,) = kept(stage, Reported)
    assert (record.epoch, record.seq, record.message_id, record.excerpt) == (5, 7, "", "")


def test_what_the_word_filter_wants_looked_at_is_delivered_and_queued() -> None:
    stage = open_stage()
    words = parse_word_list('queue = ["doubtful"]\nmask = ["ugly"]\nreject = ["awful"]')
    stage.room = open_room(stage.settings, stage.store.fields, stage.now_ms, words=words)
    said = stage.hear(say(1, "doubtful and ugly", id="m")).the("chat_broadcast", 2)
    assert said["payload"]["text"] == "doubtful and ****"
    (record,) = kept(stage, Reported)
    assert (record.source, record.subject_id, record.reporter_id) == ("filter", ADA, "")
    assert (record.seq, record.excerpt) == (said["seq"], "doubtful and ugly")
    for command in (say(1, "awful", id="n"), chat(1, "awful", id="o")):
        heard = stage.hear(command)
        assert heard.the("error", 1)["payload"]["code"] == "filtered"
        assert heard.names(2) == []


@pytest.mark.parametrize("takeover", [False, True])
def test_a_deleted_message_leaves_live_clients_replay_and_history(takeover: bool) -> None:
    stage = open_stage(LOBBY)
    first = stage.hear(say(1, "one", room=LOBBY)).the("chat_broadcast", 2)
    stage.hear(say(1, "two", room=LOBBY))
    if takeover:
        stage.take_over()
    heard = stage.hear(delete(stage, first["seq"], first["payload"]["messageId"]))
    assert heard.answers[9]["deleted"] is True
    live = heard.the("message_deleted", 2)
    assert live["seq"] == stage.room.seq
    assert live["payload"]["targetSeq"] == first["seq"]
    assert live["payload"]["messageId"] == first["payload"]["messageId"]
    assert [(record.seq, record.by) for record in kept(stage, MessageRemoved)] == [(first["seq"], "mod")]
    for _ in range(2):
        assert [message["text"] for message in stage.look()["messages"]] == ["two"]
        resumed = stage.hear(join(CY, 3, resume=(stage.room.epoch, 0), room=LOBBY))
        replayed = [event for event in resumed.to(3) if event.get("replay")]
        assert [event["t"] for event in replayed] == ["message_deleted", "chat_broadcast", "message_deleted"]
        assert [event["seq"] for event in replayed] == [1, 2, 3]
        stage.take_over()
    assert "one" not in str(stage.store.fields)


def test_deleting_again_changes_nothing_and_what_is_no_such_message_is_refused() -> None:
    stage = open_stage()
    said = stage.hear(say(1, "one")).the("chat_broadcast", 2)
    wrong = stage.hear(delete(stage, said["seq"], "other"))
    assert wrong.answers[9]["error"]["code"] == "not_found"
    assert wrong.names(2) == []
    stage.hear(delete(stage, said["seq"], said["payload"]["messageId"]))
    again = stage.hear(delete(stage, said["seq"], said["payload"]["messageId"]))
    assert again.answers[9]["deleted"] is True
    assert again.names(2) == []
    assert kept(stage, MessageRemoved) == []


def test_a_message_that_is_no_longer_at_hand_is_deleted_for_good_all_the_same() -> None:
    stage = open_stage()
    heard = stage.hear(delete(stage, 3, "old-1", epoch=5))
    assert heard.the("message_deleted", 2)["payload"]["targetEpoch"] == 5
    assert [(record.epoch, record.seq) for record in kept(stage, MessageRemoved)] == [(5, 3)]


def test_marks_of_deleted_messages_leave_with_the_history() -> None:
    stage = open_stage(LOBBY, history_events_max=10)
    said = stage.hear(say(1, "one", room=LOBBY)).the("chat_broadcast", 2)
    stage.hear(delete(stage, said["seq"], said["payload"]["messageId"]))
    assert any(name.startswith("x:") for name in stage.store.fields)
    for number in range(12):
        stage.wait(1_000).hear(say(1, f"m{number}", room=LOBBY))
    assert not any(name.startswith("x:") for name in stage.store.fields)
    assert [message["text"] for message in stage.look()["messages"]] == [f"m{number}" for number in range(2, 12)]
