"""What must hold for a board whatever people do to it, who blocks whom, and which worker has it."""

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from common.commands import Post
from common.durable import BoardNote, NoteRemoved
from common.ids import UserId
from roomworker.rules import RoomSeed
from tests.unit.board import BOARD, DATABASE, change, delete, kept, put
from tests.unit.stage import ADA, BEN, CY, DEE, Envelope, Stage, join

USERS = {1: ADA, 2: BEN, 3: CY, 4: DEE}
NOTES_MAX = 3

Step = tuple[Any, ...]

_conns = st.sampled_from([1, 2, 3])
_ids = st.sampled_from(["a", "b", "c", "d"])
_texts = st.sampled_from(["x", "y", "z"])
_lag = st.sampled_from([0, 0, 0, 1, -1])
"""How far the revision that a message names lies behind the note's own."""

_puts = st.tuples(st.just("put"), _conns, _ids, _texts)
_changes = st.tuples(
    st.just("change"), _conns, _ids, _lag, st.fixed_dictionaries({}, optional={"text": _texts, "x": _lag})
)
_deletes = st.tuples(st.just("delete"), _conns, _ids, _lag)
_rare = st.sampled_from([("take_over",), ("begin_epoch",), ("lose_redis",)])
steps = st.one_of(_puts, _puts, _changes, _changes, _changes, _deletes, _rare)
courses = st.lists(steps, min_size=15, max_size=60)
blocked_persons = st.sets(st.sampled_from([ADA, BEN, CY]))


class Pinned(Struct):
    """A note as the model has it."""

    text: str
    x: float
    revision: int
    author: UserId
    editor: UserId


class Model:
    """A board in a few lines: what is on it, and the last revision of what was taken off, and by whom."""

    def __init__(self) -> None:
        self.notes: dict[str, Pinned] = {}
        self.gone: dict[str, tuple[int, UserId]] = {}

    def put(self, user: UserId, note_id: str, text: str) -> str | int:
        there = self.notes.get(note_id)
        if there is not None:
            is_same = (there.author, there.text, there.x) == (user, text, 1.0)
            return there.revision if is_same else "note_conflict"
        if len(self.notes) == NOTES_MAX:
            return "limit_reached"
        revision = self.gone.pop(note_id, (0, user))[0] + 1
        self.notes[note_id] = Pinned(text, 1.0, revision, user, user)
        return revision

    def change(self, user: UserId, note_id: str, revision: int, fields: dict[str, Any]) -> str | int:
        there = self.notes.get(note_id)
        if there is None:
            return "note_conflict" if note_id in self.gone else "not_found"
        is_same = all(getattr(there, name) == value for name, value in fields.items())
        is_repeated = there.editor == user and revision == there.revision - 1
        if is_same and (revision == there.revision or is_repeated):
            return there.revision
        if revision != there.revision:
            return "note_conflict"
        for name, value in fields.items():
            setattr(there, name, value)
        there.revision, there.editor = there.revision + 1, user
        return there.revision

    def delete(self, user: UserId, note_id: str, revision: int) -> str | int:
        there = self.notes.get(note_id)
        if there is None:
            if self.gone.get(note_id) == (revision + 1, user):
                return 0
            return "note_conflict" if note_id in self.gone else "not_found"
        if revision != there.revision:
            return "note_conflict"
        del self.notes[note_id]
        self.gone[note_id] = (revision + 1, user)
        return 0

    def seen_by(self, blocked: set[UserId]) -> dict[str, tuple[str, float, int, str, str]]:
        return {
            note_id: (note.text, note.x, note.revision, note.author, note.editor)
            for note_id, note in self.notes.items()
            if blocked.isdisjoint((note.author, note.editor))
        }


class Archive:
    """What a database would have: of each note the record with the greatest place, in whatever order they come."""

    def __init__(self) -> None:
        self._records: dict[str, BoardNote | NoteRemoved] = {}

    def add(self, records: list[BoardNote | NoteRemoved]) -> None:
        for record in reversed(records):
            known = self._records.get(record.note_id)
            if known is None or (known.epoch, known.seq) < (record.epoch, record.seq):
                self._records[record.note_id] = record

    def notes(self) -> list[BoardNote]:
        found = [record for record in self._records.values() if isinstance(record, BoardNote)]
        return sorted(found, key=lambda note: (note.epoch, note.seq))


class View:
    """A client's copy of the board: a snapshot, and the events since."""

    def __init__(self) -> None:
        self.notes: dict[str, Envelope] = {}

    def hear(self, envelope: Envelope) -> None:
        payload = envelope["payload"]
        match envelope["t"]:
            case "room_state":
                self.notes = {note["noteId"]: note for note in payload["notes"]}
                assert payload["noteCount"] == len(payload["notes"])
            case "note_placed":
                self.notes[payload["note"]["noteId"]] = payload["note"]
            case "note_changed":
                self.notes[payload["note"]["noteId"]] = payload["note"]
            case "note_deleted":
                self.notes.pop(payload["noteId"], None)


class Play:
    """A board, its model, its archive, and everybody's view."""

    def __init__(self, blocked: set[UserId]) -> None:
        self.blocked = blocked
        self._sent = 0
        self.records: list[BoardNote | NoteRemoved] = []
        self.model, self.archive = Model(), Archive()
        self.views = {conn: View() for conn in USERS}
        self.stage = self._stage()
        self._enter()

    def step(self, step: Step) -> None:
        match step:
            case ("put", conn, note_id, text):
                expected = self.model.put(USERS[conn], note_id, text)
                self._send(conn, lambda re: put(conn, note_id, text, id=re), expected)
            case ("change", conn, note_id, lag, fields):
                revision = self._revision(note_id, lag)
                expected = self.model.change(USERS[conn], note_id, revision, fields)
                self._send(conn, lambda re: change(conn, note_id, revision, id=re, **fields), expected)
            case ("delete", conn, note_id, lag):
                revision = self._revision(note_id, lag)
                expected = self.model.delete(USERS[conn], note_id, revision)
                self._send(conn, lambda re: delete(conn, note_id, revision, id=re), expected)
            case ("take_over",):
                self.stage.take_over()
            case ("begin_epoch",):
                self.stage.wait(1).take_over().begin_epoch()
                self._turn()
                self.stage.room.seed(RoomSeed([], self.archive.notes()), self.stage.now_ms)
                self._turn()
            case ("lose_redis",):
                # Then nothing is left but the database, and that does not tell what was taken off.
                self.stage = self._stage(self.stage.now_ms + 1)
                self.model.gone.clear()
                self._enter()
            case _:
                raise AssertionError(step)

    def _stage(self, now_ms: int = 1_700_000_000_000) -> Stage:
        stage = Stage(
            now_ms=now_ms,
            room_id=BOARD,
            database_url=DATABASE,
            board_notes_max=NOTES_MAX,
        )
        stage.room.seed(RoomSeed([], self.archive.notes()), now_ms)
        return stage

    def _enter(self) -> None:
        for other in sorted(self.blocked):
            self.stage.block(DEE, other)
        self.stage.do(*(join(user, conn, room=BOARD) for conn, user in USERS.items()))
        self._turn()

    def _revision(self, note_id: str, lag: int) -> int:
        there = self.model.notes.get(note_id)
        last = self.model.gone.get(note_id, (2, ADA))[0] - 1 if there is None else there.revision
        return max(1, last - lag)

    def _send(self, conn: int, make: Callable[[str], Post], expected: str | int) -> None:
        # Each a second after the one before, so that no rate holds anybody up.
        self._sent += 1
        re = f"m{self._sent}"
        self.stage.wait(1_000).do(make(re))
        seq = self.stage.room.seq
        answer = next(envelope for envelope in self._turn()[conn] if envelope.get("re") == re)
        payload = answer["payload"]
        if isinstance(expected, int):
            assert answer["t"] == "ack", answer
            assert (payload["seq"], payload.get("revision", 0)) == (seq, expected)
            assert self.stage.do(make(re)).turn().to(conn) == [answer], "once more, and it has the same answer"
        else:
            assert expected in (answer["t"], payload.get("code")), answer
            if answer["t"] == "note_conflict":
                seen = self.stage.look()["notes"]
                there = {note["noteId"]: note for note in seen}.get(payload["noteId"])
                assert payload.get("note") == there, "a conflict shows the note as it is"

    def _turn(self) -> dict[int, list[Envelope]]:
        heard = self.stage.turn()
        self.archive.add(kept(self.stage))
        self.records += kept(self.stage)
        found = {conn: heard.to(conn) for conn in USERS}
        for conn, envelopes in found.items():
            for envelope in envelopes:
                self.views[conn].hear(envelope)
        return found


def brief(notes: list[Envelope]) -> dict[str, tuple[str, float, int, str, str]]:
    return {
        note["noteId"]: (note["text"], note["x"], note["revision"], note["userId"], note["editedBy"]) for note in notes
    }


@given(courses, blocked_persons)
def test_a_board_is_what_the_model_says_and_everybody_sees_it_alike(course: list[Step], blocked: set[UserId]) -> None:
    """Answers and revisions included, over changes of worker, of the order, and a loss of everything but the database.

    Dee blocks some: her state has exactly what none of them put or wrote last. Her view has all of that too. What it
    has besides is what they changed or took off, of which she hears nothing.
    """
    play = Play(blocked)
    for step in course:
        play.step(step)
        state = play.stage.look()
        assert brief(state["notes"]) == play.model.seen_by(set())
        assert state["noteCount"] == len(play.model.notes)
        for conn in (1, 2, 3):
            assert play.views[conn].notes == {note["noteId"]: note for note in state["notes"]}
        mine = play.stage.look(DEE)
        assert brief(mine["notes"]) == play.model.seen_by(blocked)
        assert mine["noteCount"] == len(mine["notes"])
        copy = play.views[4].notes
        assert {note_id: copy.get(note_id) for note_id in brief(mine["notes"])} == {
            note["noteId"]: note for note in mine["notes"]
        }
        assert all(blocked.isdisjoint((note["userId"], note["editedBy"])) for note in copy.values())
        assert {note.note_id: (note.revision, note.text) for note in play.archive.notes()} == {
            note_id: (note.revision, note.text) for note_id, note in play.model.notes.items()
        }


@given(courses)
def test_the_revisions_of_an_id_only_grow(course: list[Step]) -> None:
    """As long as the board lives on in Redis; and places in the order grow always."""
    play = Play(set())
    for step in course:
        if step != ("lose_redis",):
            play.step(step)
    last: dict[str, int] = {}
    place = (0, 0)
    for record in play.records:
        assert record.revision > last.get(record.note_id, 0)
        assert (record.epoch, record.seq) > place
        last[record.note_id], place = record.revision, (record.epoch, record.seq)
