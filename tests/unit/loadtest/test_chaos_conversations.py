"""What is wrong with kept chat, direct messages and notes; and what a loss of the store's data excuses."""

from loadtest.chaos.conversations import Conversations, Kept, StoredMessage, StoredRevision, judge, without_threads
from loadtest.observations import Acked, AnyObservation, Received, Refused, Sent, State

LOBBY, BOARD, THREAD = "lobby:hall", "notes:hall", "dm:ann:bob"


def acked(room: str, text: str, seq: int, at_ms: float = 3.0) -> Acked:
    return Acked("ann", "ann", at_ms, room, text, seq)


def heard(room: str, text: str, seq: int, *, epoch: int = 1, revision: int = 0, at_ms: float = 2.0) -> Received:
    return Received("bob", "bob", at_ms, room, "any", epoch, seq, "ann", text, replay=False, revision=revision)


def look(
    *log: AnyObservation,
    messages: tuple[StoredMessage, ...] = (),
    revisions: tuple[StoredRevision, ...] = (),
    flushes_ms: tuple[float, ...] = (),
) -> Conversations:
    return judge([log], Kept([*messages], [*revisions]), flushes_ms)


def direct(*inboxes: str) -> list[AnyObservation]:
    """A direct message that was acknowledged and came to these inboxes."""
    return [acked(THREAD, "a-1", 1), *(heard(inbox, "a-1", 4) for inbox in inboxes)]


STORED_DIRECT = StoredMessage(THREAD, 1, 1, "a-1")


def test_a_direct_message_at_both_persons_and_in_the_database_is_no_finding() -> None:
    found = look(*direct("user:ann", "user:bob"), messages=(STORED_DIRECT,))
    assert (found.direct, found.findings) == (1, [])


def test_a_direct_message_that_one_person_has_never_heard_is_lost() -> None:
    (finding,) = look(*direct("user:ann"), messages=(STORED_DIRECT,)).lost
    assert "bob has never heard it" in finding.text


def test_a_direct_message_twice_in_an_inbox_is_a_double() -> None:
    log = [*direct("user:ann", "user:bob"), heard("user:bob", "a-1", 5)]
    (finding,) = look(*log, messages=(STORED_DIRECT,)).doubles
    assert "inbox of bob" in finding.text


def test_what_was_acknowledged_and_is_not_in_the_database_is_lost() -> None:
    assert len(look(*direct("user:ann", "user:bob")).lost) == 1
    assert len(look(acked(LOBBY, "a-1", 1)).lost) == 1
    assert len(look(acked(BOARD, "a-1", 1)).lost) == 1


def test_kept_chat_is_stored_once_and_where_it_was_seen() -> None:
    log = [acked(LOBBY, "a-1", 7), heard(LOBBY, "a-1", 7)]
    assert look(*log, messages=(StoredMessage(LOBBY, 1, 7, "a-1"),)).findings == []
    twice = look(*log, messages=(StoredMessage(LOBBY, 1, 7, "a-1"), StoredMessage(LOBBY, 1, 8, "a-1")))
    assert (len(twice.doubles), len(twice.findings)) == (1, 1)
    elsewhere = look(*log, messages=(StoredMessage(LOBBY, 1, 8, "a-1"),))
    assert (len(elsewhere.misplaced), len(elsewhere.lost)) == (1, 1)


def test_what_was_acknowledged_before_a_loss_of_data_may_be_gone_and_later_things_may_not() -> None:
    log = [acked(LOBBY, "a-1", 7, at_ms=10.0), acked(LOBBY, "a-2", 1, at_ms=500.0)]
    found = look(*log, flushes_ms=(20.0,))
    assert found.lost_with_the_store == 1
    assert ["a-2" in finding.text for finding in found.lost] == [True]


def test_revisions_follow_each_other_and_go_back_only_with_the_data() -> None:
    def revised(*places: tuple[int, int, int]) -> Conversations:
        return look(*(heard(BOARD, f"a-{e}-{s}", s, epoch=e, revision=r) for e, s, r in places))

    assert revised((1, 1, 1), (1, 2, 2), (2, 1, 2), (2, 2, 3)).findings == []
    assert len(revised((1, 1, 1), (1, 2, 3)).misplaced) == 1
    assert len(revised((1, 1, 1), (1, 2, 2), (1, 3, 2)).misplaced) == 1
    assert len(revised((1, 1, 1), (2, 1, 3)).misplaced) == 1


def test_a_hole_in_the_revisions_of_the_database_is_found() -> None:
    rows = [StoredRevision(BOARD, "n", number, f"a-{number}") for number in (1, 2, 4)]
    assert look(revisions=(rows[0], rows[1])).findings == []
    assert len(look(revisions=tuple(rows)).misplaced) == 1


def test_conflicts_are_counted_and_threads_are_left_to_this_judge() -> None:
    conflict = Refused("ann", "ann", 1.0, BOARD, "a-1", "note_conflict")
    log = [conflict, Sent("ann", "ann", 1.0, THREAD, "x", "direct_send")]
    assert look(*log).conflicts == 1
    assert without_threads(log) == [conflict]


def told(room: str, seq: int, at_ms: float, *, epoch: int = 2) -> State:
    return State("bob", "bob", at_ms, room, epoch, seq, False, [], None)


def test_what_was_taken_after_a_loss_before_anybody_was_told_need_not_be_heard() -> None:
    log = direct("user:ann")
    late = look(*log, told("user:bob", 3, 2.5), messages=(STORED_DIRECT,), flushes_ms=(-200.0,))
    assert (late.lost_with_the_store, late.findings) == (1, [])
    for began in (told("user:bob", 0, 2.5), told("user:bob", 3, -300.0), told("user:eve", 3, 2.5)):
        assert len(look(*log, began, messages=(STORED_DIRECT,), flushes_ms=(-200.0,)).lost) == 1
    board = [heard(BOARD, "a-1", 1, revision=1), heard(BOARD, "a-3", 2, epoch=2, revision=3)]
    assert look(*board, told(BOARD, 1, 3.0)).findings == []
    assert len(look(*board, told(BOARD, 0, 3.0)).findings) == 1
