"""Boards: notes that everybody may put, change and take off, and who sees them."""

from typing import Any

import pytest
from msgspec import UNSET

from common.commands import Post
from common.durable import BoardNote, NoteRemoved
from common.ids import ConnNumber, Epoch, Seq
from common.messages import Report, ReportPayload, Typing, TypingPayload
from common.outbox import decode_entry
from common.word_list import parse_word_list
from roomworker import notes
from roomworker.rules import RoomSeed
from tests.unit.board import BOARD, DATABASE, change, delete, kept, put, texts
from tests.unit.stage import (
    ADA,
    BEN,
    CY,
    E1,
    E2,
    START_MS,
    Envelope,
    Heard,
    Stage,
    chat,
    join,
    leave,
    moderate,
    open_room,
    say,
)


def board(**settings: Any) -> Stage:
    """A board with Ada (1), Ben (2) and Cy (3)."""
    stage = Stage(room_id=BOARD, **settings)
    if "database_url" in settings:
        stage.room.seed(RoomSeed([], []), stage.now_ms)
    stage.hear(*(join(user, conn, room=BOARD) for conn, user in enumerate((ADA, BEN, CY), 1)))
    return stage


def answer_of(heard: Heard, conn: int) -> Envelope:
    """Return the `re`-carrying event that a connection heard."""
    (found,) = [envelope for envelope in heard.to(conn) if "re" in envelope]
    return found


def stored_note(note_id: str, *, at: tuple[int, int], revision: int = 1, text: str = "old", **fields: Any) -> BoardNote:
    epoch, seq = Epoch(at[0]), Seq(at[1])
    values: dict[str, Any] = {"author_id": ADA, "author_name": "Ada", "edited_by": BEN, **fields}
    return BoardNote(
        BOARD,
        epoch,
        seq,
        note_id,
        revision,
        3.0,
        4.0,
        text,
        "pink",
        ("tag",),
        **values,
        created_at_ms=1,
        updated_at_ms=2,
    )


# --- put, change, delete ----------------------------------------------------------------------------------


def test_a_note_is_put_for_everybody_acknowledged_and_kept() -> None:
    stage = board(database_url=DATABASE)
    heard = stage.hear(put(1, "n1", "buy milk", id="p", colour="blue", tags=["home", "food"]))
    note = {
        "noteId": "n1",
        "x": 1.0,
        "y": 2.0,
        "text": "buy milk",
        "colour": "blue",
        "tags": ["home", "food"],
        "revision": 1,
        "userId": ADA,
        "displayName": "Ada",
        "editedBy": ADA,
        "createdAtMs": START_MS,
        "updatedAtMs": START_MS,
    }
    for conn in (1, 2, 3):
        told = heard.the("note_placed", conn)
        assert (told["seq"], told["payload"]) == (1, {"roomId": BOARD, "note": note})
    assert heard.the("ack", 1)["payload"] == {"roomId": BOARD, "seq": 1, "revision": 1, "noteId": "n1"}
    assert stage.look()["notes"] == [note]
    (record,) = kept(stage)
    assert isinstance(record, BoardNote)
    assert (record.epoch, record.seq, record.note_id, record.revision) == (stage.room.epoch, 1, "n1", 1)
    assert (record.text, record.tags, record.author_id, record.edited_by) == ("buy milk", ("home", "food"), ADA, ADA)
    assert stage.last_turn is not None
    entry = decode_entry(stage.last_turn.outbox[0])
    assert (entry.edge_id, entry.conn) == (E1, 1), "who put it is told that it is stored"


def test_a_change_names_what_changes_and_everybody_gets_the_whole_note() -> None:
    stage = board(database_url=DATABASE)
    stage.hear(put(1, "n1", "draft", tags=["a"]))
    stage.wait(500)
    heard = stage.hear(change(2, "n1", 1, id="c", x=9.0, text="done"))
    for conn in (1, 2, 3):
        note = heard.the("note_changed", conn)["payload"]["note"]
        assert (note["x"], note["y"], note["text"], note["tags"], note["revision"]) == (9.0, 2.0, "done", ["a"], 2)
        assert (note["userId"], note["displayName"], note["editedBy"]) == (ADA, "Ada", BEN)
        assert (note["createdAtMs"], note["updatedAtMs"]) == (START_MS, START_MS + 500)
    assert heard.the("ack", 2)["payload"] == {"roomId": BOARD, "seq": 2, "revision": 2}
    (record,) = kept(stage)
    assert isinstance(record, BoardNote)
    assert (record.seq, record.revision, record.edited_by, record.text) == (2, 2, BEN, "done")


def test_a_change_that_is_based_on_another_revision_gets_the_note_as_it_is() -> None:
    stage = board(database_url=DATABASE)
    stage.hear(put(1, "n1", "one"), change(1, "n1", 1, text="two"))
    for revision in (1, 3):
        heard = stage.hear(change(2, "n1", revision, id=f"c{revision}", text="mine"))
        conflict = heard.the("note_conflict", 2)
        assert conflict["re"] == f"c{revision}"
        assert (conflict["payload"]["noteId"], conflict["payload"]["note"]) == ("n1", stage.look()["notes"][0])
        assert heard.names(1) == []
        assert kept(stage) == []
    assert texts(stage.look()) == ["two"]


def test_a_change_that_changes_nothing_is_acknowledged_and_nothing_else() -> None:
    stage = board(database_url=DATABASE)
    stage.hear(put(1, "n1", "one", tags=["a"]))
    for fields in ({}, {"text": "one", "x": 1.0, "tags": ["a"]}):
        heard = stage.hear(change(2, "n1", 1, **fields))
        assert heard.names(2) == ["ack"]
        assert heard.the("ack", 2)["payload"] == {"roomId": BOARD, "seq": 1, "revision": 1}
        assert heard.names(1) == []
        assert kept(stage) == []


def test_a_note_is_taken_off() -> None:
    stage = board(database_url=DATABASE)
    stage.hear(put(1, "n1"))
    assert answer_of(stage.hear(delete(2, "n1", 2, id="early")), 2)["payload"]["note"]["revision"] == 1
    heard = stage.hear(delete(2, "n1", 1, id="d"))
    for conn in (1, 2, 3):
        assert heard.the("note_deleted", conn)["payload"] == {
            "roomId": BOARD,
            "noteId": "n1",
            "revision": 2,
            "userId": BEN,
        }
    assert heard.the("ack", 2)["payload"] == {"roomId": BOARD, "seq": 2}
    assert kept(stage) == [NoteRemoved(BOARD, stage.room.epoch, Seq(2), "n1", 2, BEN, stage.now_ms)]
    assert (stage.look()["notes"], stage.look()["noteCount"]) == ([], 0)


def test_what_was_taken_off_is_told_from_what_never_was() -> None:
    stage = board()
    stage.hear(put(1, "n1"), delete(1, "n1", 1))
    for post in (change(2, "n1", 1, id="m", text="x"), delete(2, "n1", 1, id="m")):
        assert answer_of(stage.hear(post), 2)["payload"] == {"roomId": BOARD, "noteId": "n1"}
    for post in (change(2, "n2", 1, id="m", text="x"), delete(2, "n2", 1, id="m")):
        assert answer_of(stage.hear(post), 2)["payload"]["code"] == "not_found"


def test_a_note_that_was_taken_off_may_be_put_again_and_its_revisions_go_on() -> None:
    stage = board(database_url=DATABASE)
    stage.hear(put(1, "n1"), change(1, "n1", 1, text="b"), delete(1, "n1", 2))
    stage.take_over()
    heard = stage.hear(put(2, "n1", "again"))
    assert heard.the("ack", 2)["payload"]["revision"] == 4
    note = heard.the("note_placed", 1)["payload"]["note"]
    assert (note["revision"], note["userId"], note["text"]) == (4, BEN, "again")
    # What was based on the note before has no effect on this one.
    for revision in (1, 2, 3):
        assert stage.hear(change(1, "n1", revision, text="late")).names(1) == ["note_conflict"]
        assert stage.hear(delete(1, "n1", revision)).names(1) == ["note_conflict"]


def test_of_the_notes_that_were_taken_off_the_latest_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notes, "REMOVED_MAX", 2)
    stage = board()
    for note_id in ("c", "a", "b"):
        stage.hear(put(1, note_id), delete(1, note_id, 1))
        stage.take_over()
    assert [answer_of(stage.hear(change(2, note_id, 1, id="m", x=5.0)), 2)["t"] for note_id in ("c", "a", "b")] == [
        "error",
        "note_conflict",
        "note_conflict",
    ]
    assert stage.hear(put(2, "c")).the("ack", 2)["payload"]["revision"] == 1
    assert stage.hear(put(2, "a")).the("ack", 2)["payload"]["revision"] == 3


# --- sent again -------------------------------------------------------------------------------------------


def test_an_id_is_taken_once() -> None:
    stage = board()
    stage.hear(put(1, "n1", "one"))
    conflict = stage.hear(put(2, "n1", "two")).the("note_conflict", 2)
    assert conflict["payload"]["note"]["text"] == "one"
    # Also where it says the same: it is not Ben's note.
    assert stage.hear(put(2, "n1", "one")).names(2) == ["note_conflict"]


def test_the_same_message_again_has_the_same_answer() -> None:
    stage = board(database_url=DATABASE)
    for post, conn in (
        (put(1, "n1", id="p"), 1),
        (change(2, "n1", 1, id="c", x=5.0), 2),
        (delete(1, "n1", 2, id="d"), 1),
    ):
        first = answer_of(stage.hear(post), conn)
        assert first["t"] == "ack"
        stage.take_over()
        heard = stage.hear(post)
        assert heard.to(conn) == [first]
        assert kept(stage) == []


def test_who_comes_back_late_with_what_was_done_already_is_told_so() -> None:
    """After `idempotency_window_ms` a repeated message looks like a new one; an offline client may hold it."""
    stage = board(database_url=DATABASE)
    messages = (put(1, "n1", "one"), change(1, "n1", 1, text="two", x=4.0), delete(1, "n1", 2))
    revisions: tuple[int | None, ...] = (1, 2, None)
    for number, (post, revision) in enumerate(zip(messages, revisions, strict=True), 1):
        first = stage.hear(post)
        assert first.the("ack", 1)["payload"].get("revision") == revision
        again = stage.hear(post)
        assert again.names(1) == ["ack"]
        assert again.the("ack", 1)["payload"] == first.the("ack", 1)["payload"]
        assert (stage.room.seq, kept(stage)) == (number, [])


def test_what_somebody_else_did_since_is_no_repetition() -> None:
    stage = board()
    stage.hear(put(1, "n1", "one"), change(2, "n1", 1, text="two"))
    assert stage.hear(put(1, "n1", "one")).names(1) == ["note_conflict"]
    assert stage.hear(change(1, "n1", 1, text="two")).names(1) == ["note_conflict"]
    stage.hear(change(2, "n1", 2, x=7.0))
    # Ben's own, but one revision further back.
    assert stage.hear(change(2, "n1", 1, text="two")).names(2) == ["note_conflict"]
    stage.hear(delete(2, "n1", 3))
    assert stage.hear(delete(1, "n1", 3)).names(1) == ["note_conflict"]


# --- what a newcomer is shown -----------------------------------------------------------------------------


def test_a_newcomer_is_shown_the_notes_written_last_oldest_first_and_how_many_there_are() -> None:
    stage = board(board_latest_notes=2)
    stage.hear(put(1, "a", "A"), put(1, "b", "B"), put(2, "c", "C"))
    stage.wait(100).hear(change(2, "a", 1, text="A2"))
    for _ in range(2):
        state = stage.look()
        assert (texts(state), state["noteCount"]) == (["C", "A2"], 3)
        assert (state["members"], state["memberCount"]) == ([], 4)
        stage.take_over()
    assert (texts(board().look()), board().look()["noteCount"]) == ([], 0)


def test_comings_and_goings_are_told_as_a_count() -> None:
    stage = board()
    stage.wait(2_000)
    heard = stage.hear(leave(2, room=BOARD))
    assert heard.the("member_count", 1)["payload"] == {"roomId": BOARD, "count": 2}


def test_a_resume_gets_the_board_as_it_is_and_what_was_missed() -> None:
    stage = board()
    stage.hear(put(1, "a", "A"))
    stage.hear(leave(2, room=BOARD), change(1, "a", 1, text="A2"))
    state, replayed = stage.hear(join(BEN, 2, resume=(stage.room.epoch, 1), room=BOARD)).to(2)
    assert (state["payload"]["recovered"], texts(state["payload"])) == (True, ["A2"])
    assert (replayed["t"], replayed["replay"], replayed["payload"]["note"]["text"]) == ("note_changed", True, "A2")


# --- blocks -----------------------------------------------------------------------------------------------


def test_who_blocks_the_author_or_the_last_editor_does_not_see_the_note() -> None:
    stage = board()
    stage.hear(put(1, "of-ada"), put(3, "of-cy", "one"), put(3, "touched"), change(1, "touched", 1, x=7.0))
    stage.block(BEN, ADA)
    state = stage.turn().the("room_state", 2)["payload"]
    assert ([note["noteId"] for note in state["notes"]], state["noteCount"]) == (["of-cy"], 1)
    assert stage.look()["noteCount"] == 3

    for post in (put(1, "new"), change(1, "of-cy", 1, text="two"), change(3, "of-ada", 1, x=3.0)):
        heard = stage.hear(post)
        assert heard.names(2) == []
        assert heard.names(3) != []
    assert [note["noteId"] for note in stage.look(BEN)["notes"]] == []
    # Written by Cy again, and so no longer what Ada made of it.
    assert stage.hear(change(3, "of-cy", 2, text="three")).the("note_changed", 2)["payload"]["note"]["text"] == "three"
    assert stage.hear(delete(1, "new", 1)).names(2) == []
    stage.block(BEN, ADA, blocked=False)
    assert stage.turn().the("room_state", 2)["payload"]["noteCount"] == 3


def test_a_replay_leaves_out_what_the_reader_must_not_see() -> None:
    stage = board()
    stage.block(BEN, ADA).turn()
    stage.hear(leave(2, room=BOARD))
    stage.hear(put(1, "a"), put(3, "b"), change(3, "a", 1, x=9.0), delete(3, "a", 2))
    state, *missed = stage.hear(join(BEN, 2, resume=(stage.room.epoch, 0), room=BOARD)).to(2)
    assert [note["noteId"] for note in state["payload"]["notes"]] == ["b"]
    assert [event["payload"]["note"]["noteId"] for event in missed] == ["b"]


def test_a_note_that_somebody_must_not_see_is_answered_like_none() -> None:
    stage = board()
    stage.hear(put(1, "a", "secret"), put(1, "gone"), delete(3, "gone", 1), put(3, "c"), delete(1, "c", 1))
    stage.block(BEN, ADA).turn()
    unknown = answer_of(stage.hear(change(2, "never", 1, id="m", x=9.0)), 2)
    for note_id in ("a", "gone", "c"):
        for post in (
            change(2, note_id, 1, id="m", x=9.0),
            change(2, note_id, 2, id="m", x=9.0),
            delete(2, note_id, 1, id="m"),
        ):
            assert answer_of(stage.hear(post), 2) == unknown
    # That the id is taken cannot be hidden; nothing else is told.
    assert answer_of(stage.hear(put(2, "a", id="m")), 2)["payload"] == {"roomId": BOARD, "noteId": "a"}
    assert answer_of(stage.hear(put(2, "gone", id="m")), 2)["t"] == "ack"


# --- limits and refusals ----------------------------------------------------------------------------------


def test_a_board_has_room_for_so_many_notes() -> None:
    stage = board(board_notes_max=2)
    stage.hear(put(1, "a"), put(2, "b"))
    error = stage.hear(put(3, "c")).the("error", 3)["payload"]
    assert error["code"] == "limit_reached"
    assert "2 notes" in error["message"]
    assert stage.hear(put(3, "a")).names(3) == ["note_conflict"]
    stage.hear(delete(1, "b", 1))
    assert "ack" in stage.hear(put(3, "c")).names(3)


def three(conn: int) -> tuple[Post, Post, Post]:
    """One of each message, about a note `a` at revision 1."""
    return put(conn, "new", id="p"), change(conn, "a", 1, id="c", x=9.0), delete(conn, "a", 1, id="d")


def test_a_muted_person_changes_nothing() -> None:
    stage = board()
    stage.hear(put(1, "a"), moderate(BEN, "mutedByMod"))
    for post in three(2):
        assert answer_of(stage.hear(post), 2)["payload"]["code"] == "muted"
    assert texts(stage.look()) == ["hello"]


def test_what_could_not_be_kept_is_refused_and_may_be_sent_again() -> None:
    stage = board(database_url=DATABASE)
    stage.hear(put(1, "a"))
    stage.room.outbox_is_full = True
    for post in three(2):
        assert answer_of(stage.hear(post), 2)["payload"]["code"] == "busy"
    stage.room.outbox_is_full = False
    assert [answer_of(stage.hear(post), 2)["t"] for post in three(2)] == ["ack", "ack", "note_conflict"]


def test_too_many_at_once_are_refused_each_message_for_itself() -> None:
    stage = board()
    stage.hear(put(1, "a"), *(change(1, "a", 1 + number, x=float(number + 5)) for number in range(20)))
    heard = stage.hear(change(1, "a", 21, id="more", x=1.0))
    assert heard.the("rate_limited", 1)["payload"]["event"] == "note_change"
    assert answer_of(heard, 1)["payload"]["code"] == "rate_limited"
    assert answer_of(stage.hear(put(1, "b", id="other")), 1)["t"] == "ack"
    assert answer_of(stage.wait(100).hear(change(1, "a", 21, id="more", x=1.0)), 1)["t"] == "ack"


def test_the_word_filter_refuses_and_masks_the_texts_of_notes() -> None:
    stage = board()
    words = parse_word_list('mask = ["ugly"]\nreject = ["awful"]')
    stage.room = open_room(stage.settings, stage.store.fields, stage.now_ms, BOARD, words)
    assert stage.hear(put(1, "a", "an ugly word")).the("note_placed", 2)["payload"]["note"]["text"] == "an **** word"
    assert stage.hear(put(1, "a", "an ugly word")).names(1) == ["ack"], "the same again, as it was masked"
    for post in (put(1, "b", "awful", id="m"), change(1, "a", 1, id="m", text="awful")):
        assert answer_of(stage.hear(post), 1)["payload"]["code"] == "filtered"
    assert stage.hear(change(1, "a", 1, text="ugly")).the("note_changed", 2)["payload"]["note"]["text"] == "****"


def test_chat_and_reports_have_no_place_on_a_board() -> None:
    stage = board()
    stage.hear(put(1, "a"))
    report = Post(BOARD, ConnNumber(2), Report(v=1, ts=0, payload=ReportPayload(BOARD, 1, "rude")))
    for post in (report, say(2, room=BOARD), chat(2, room=BOARD)):
        assert stage.hear(post).the("error", 2)["payload"]["code"] == "not_allowed"


def test_who_types_is_shown_until_the_note_is_there() -> None:
    stage = board()
    typing = Post(BOARD, ConnNumber(1), Typing(v=1, ts=0, payload=TypingPayload(BOARD)))
    assert stage.hear(typing).the("typing_broadcast", 2)["payload"]["userId"] == ADA
    stage.take_over()
    stage.hear(put(1, "a"))
    stage.wait(60_000).tick()
    assert "typing_broadcast" not in stage.turn().names(2), "the note has ended it"
    stage.hear(typing)
    stage.hear(change(1, "a", 1, text="more"))
    stage.wait(60_000).tick()
    assert "typing_broadcast" not in stage.turn().names(2)
    stage.hear(typing)
    stage.hear(change(1, "a", 2, x=8.0))
    stage.wait(60_000).tick()
    assert stage.turn().the("typing_broadcast", 2)["payload"]["typing"] is False


# --- what outlives the room -------------------------------------------------------------------------------


def test_a_new_order_keeps_notes_and_revisions() -> None:
    stage = board(database_url=DATABASE)
    stage.hear(put(1, "a", "A"), put(1, "b", "B"), put(2, "c", "C"), delete(2, "c", 1), change(1, "a", 1, text="A2"))
    before, epoch = stage.look()["notes"], stage.room.epoch
    stage.wait(10).take_over().begin_epoch()
    state = stage.turn().the("room_state", 2)["payload"]
    assert state["notes"] == before
    assert state["epoch"] > epoch
    stage.room.seed(RoomSeed([], []), stage.now_ms)
    assert stage.turn().the("room_state", 2)["payload"]["notes"] == before
    ack = stage.hear(change(1, "b", 1, text="B2")).the("ack", 1)["payload"]
    assert (ack["seq"], ack["revision"]) == (1, 2)
    assert texts(stage.look()) == ["A2", "B2"], "what is written in the new order stands behind the old"
    assert stage.hear(put(1, "c")).the("ack", 1)["payload"]["revision"] == 3


def test_a_board_begins_with_what_the_database_has() -> None:
    stage = Stage(room_id=BOARD, database_url=DATABASE)
    stage.room.seed(RoomSeed([], [stored_note("a", at=(5, 7), revision=4), stored_note("b", at=(5, 9))]), stage.now_ms)
    state = stage.hear(join(ADA, 1, room=BOARD)).the("room_state", 1)["payload"]
    assert [(note["noteId"], note["revision"], note["tags"]) for note in state["notes"]] == [
        ("a", 4, ["tag"]),
        ("b", 1, ["tag"]),
    ]
    stage.take_over()
    assert stage.look()["notes"] == state["notes"]
    assert stage.hear(change(1, "a", 4, text="new")).the("ack", 1)["payload"]["revision"] == 5
    (record,) = kept(stage)
    assert (record.epoch, record.seq) > (5, 7), "in the database it stands behind what is there"


def test_while_the_database_is_away_a_new_board_takes_nothing_and_shows_it_late() -> None:
    stage = Stage(room_id=BOARD, database_url=DATABASE)
    heard = stage.hear(join(ADA, 1, room=BOARD))
    assert heard.the("room_state", 1)["payload"]["noteCount"] == 0
    stage.do(join(BEN, 2, room=BOARD), edge=E2).turn()
    for post in three(1):
        assert answer_of(stage.hear(post), 1)["payload"]["code"] == "busy"
    stage.take_over()
    stage.room.seed(RoomSeed([], [stored_note("a", at=(5, 7))]), stage.now_ms)
    heard = stage.turn()
    for conn, edge in ((1, E1), (2, E2)):
        resync, state = heard.to(conn, edge)
        assert (resync["t"], resync["payload"]["reason"]) == ("resync", "restored")
        assert texts(state["payload"]) == ["old"]
    assert [answer_of(stage.hear(post), 1)["t"] for post in three(1)] == ["ack", "ack", "note_conflict"]


def test_after_a_loss_of_the_last_writes_the_later_of_board_and_database_holds() -> None:
    """Redis came back as it was a second ago; what was written since was in the database already."""
    stage = board(database_url=DATABASE)
    epoch = stage.room.epoch
    stage.hear(put(1, "here", "H"), put(1, "there", "T"), put(1, "off"), delete(1, "off", 1))
    stored = [
        stored_note("here", at=(5, 1)),
        stored_note("off", at=(epoch, 3)),
        stored_note("there", at=(epoch, 99), revision=7, text="T7"),
    ]
    stage.take_over().begin_epoch().turn()
    assert answer_of(stage.hear(change(1, "there", 1, id="c", text="mine")), 1)["payload"]["code"] == "busy"
    stage.take_over()
    stage.room.seed(RoomSeed([], stored), stage.now_ms)
    resync, state = stage.turn().to(1)
    assert resync["payload"]["reason"] == "restored"
    assert texts(state["payload"]) == ["H", "T7"]
    assert stage.hear(change(1, "there", 1, id="c", text="mine")).names(1) == ["note_conflict"]
    assert stage.hear(change(1, "there", 7, text="T8")).the("ack", 1)["payload"]["revision"] == 8


def test_without_a_database_a_board_stays_for_ever() -> None:
    for settings, ttl_ms in (({}, 0), ({"database_url": DATABASE, "kept_idle_ttl_ms": 60_000}, 60_000)):
        stage = board(**settings)
        stage.hear(put(1, "a"))
        stage.wait(5_000).tick().turn()
        stage.hear(*(leave(conn, room=BOARD) for conn in (1, 2, 3)))
        stage.wait(5_000).tick().turn()
        assert stage.last_turn is not None
        assert stage.last_turn.patch.ttl_ms == ttl_ms


def test_the_room_chooses_the_id_of_a_note_that_comes_without_one() -> None:
    stage = board()
    acks = [stage.hear(put(1, UNSET, text, id=text)).the("ack", 1)["payload"] for text in ("a", "b", "b")]
    assert acks[1] == acks[2]
    assert [note["noteId"] for note in stage.look()["notes"]] == [ack["noteId"] for ack in acks[:2]]
    assert (
        stage.hear(change(1, acks[0]["noteId"], 1, text="c")).the("note_changed", 2)["payload"]["note"]["text"] == "c"
    )
