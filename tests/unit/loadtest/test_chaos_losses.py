"""What counts as lost, as there twice, as a gap and as a fork; and what a loss of the store's data excuses."""

from loadtest.chaos.losses import Losses, find_losses
from loadtest.observations import Acked, AnyObservation, Closed, Opened, Received, Resynced, Sent, State

ROOM = "chaos-0"


def log(client: str, *observations: AnyObservation) -> list[AnyObservation]:
    return [Opened(client, client, 0.0, ""), *observations]


def sent(client: str, text: str, at_ms: float = 1.0) -> Sent:
    return Sent(client, client, at_ms, ROOM, text, "local_chat", text)


def acked(client: str, text: str, seq: int, at_ms: float = 3.0) -> Acked:
    return Acked(client, client, at_ms, ROOM, text, seq)


def heard(client: str, text: str, seq: int, *, epoch: int = 1, at_ms: float = 2.0) -> Received:
    return Received(client, client, at_ms, ROOM, "chat_broadcast", epoch, seq, "a", text, replay=False)


def state(
    client: str, seq: int, *, epoch: int = 1, at_ms: float = 0.5, resumed_from: tuple[int, int] | None = None
) -> State:
    return State(client, client, at_ms, ROOM, epoch, seq, resumed_from is not None, [], resumed_from)


def look(*logs: list[AnyObservation], flushes_ms: tuple[float, ...] = ()) -> Losses:
    return find_losses(logs, flushes_ms)


def test_a_message_that_both_heard_is_no_finding() -> None:
    losses = look(
        log("a", state("a", 0), sent("a", "a-1"), heard("a", "a-1", 1), acked("a", "a-1", 1)),
        log("b", state("b", 0), heard("b", "a-1", 1)),
    )
    assert (losses.sent, losses.acknowledged, losses.findings) == (1, 1, [])


def test_what_was_acknowledged_and_heard_by_nobody_is_lost() -> None:
    losses = look(log("a", state("a", 0), sent("a", "a-1"), acked("a", "a-1", 1)))
    assert len(losses.lost) == 1


def test_what_went_with_the_stores_data_is_counted_apart() -> None:
    losses = look(
        log("a", state("a", 0), sent("a", "a-1"), acked("a", "a-1", 1), Resynced("a", "a", 9.0, ROOM, "new_epoch")),
        flushes_ms=(5.0,),
    )
    assert (losses.lost, losses.lost_with_the_store) == ([], 1)


def test_a_loss_in_an_epoch_that_began_after_the_flush_is_not_excused() -> None:
    losses = look(
        log("a", state("a", 0, epoch=2, at_ms=7.0), sent("a", "a-1", 8.0), acked("a", "a-1", 1, 9.0)),
        flushes_ms=(5.0,),
    )
    assert len(losses.lost) == 1


def test_a_message_at_two_places_is_there_twice() -> None:
    losses = look(log("a", state("a", 0), heard("a", "a-1", 1), heard("a", "a-1", 2)))
    assert len(losses.duplicates) == 1


def test_a_message_of_two_epochs_is_there_twice_unless_the_store_lost_the_first() -> None:
    both = log(
        "a",
        state("a", 0),
        heard("a", "a-1", 1),
        Resynced("a", "a", 9.0, ROOM, "new_epoch"),
        state("a", 0, epoch=2, at_ms=9.0),
        heard("a", "a-1", 1, epoch=2, at_ms=10.0),
    )
    assert len(look(both).duplicates) == 1
    excused = look(both, flushes_ms=(5.0,))
    assert (excused.duplicates, excused.duplicates_with_the_store) == ([], 1)


def test_a_place_left_out_is_a_gap_unless_a_new_state_covers_it() -> None:
    assert len(look(log("a", state("a", 0), heard("a", "x", 1), heard("a", "z", 3))).gaps) == 1
    told = Resynced("a", "a", 2.5, ROOM, "slow_reader")
    assert not look(log("a", state("a", 0), heard("a", "x", 1), told, state("a", 2), heard("a", "z", 3))).gaps


def test_an_event_between_resync_and_state_stands_nowhere() -> None:
    told = Resynced("a", "a", 2.5, ROOM, "slow_reader")
    assert len(look(log("a", state("a", 0), heard("a", "x", 1), told, heard("a", "z", 2))).gaps) == 1


def test_a_resumed_client_must_get_what_it_missed() -> None:
    lost = Closed("a", "a", 2.5, "", 1006)
    back = state("a", 3, resumed_from=(1, 1))
    assert not look(
        log("a", state("a", 0), heard("a", "x", 1), lost, back, heard("a", "y", 2), heard("a", "z", 3))
    ).gaps
    assert len(look(log("a", state("a", 0), heard("a", "x", 1), lost, back, heard("a", "z", 3))).gaps) == 1


def test_two_events_at_one_place_are_a_fork() -> None:
    losses = look(log("a", state("a", 0), heard("a", "x", 1)), log("b", state("b", 0), heard("b", "y", 1)))
    assert len(losses.forks) == 1


def test_an_ack_at_the_place_of_another_message_is_a_fork() -> None:
    losses = look(
        log("a", state("a", 0), sent("a", "a-1"), heard("a", "x", 1), acked("a", "a-1", 1), heard("a", "a-1", 2))
    )
    assert len(losses.forks) == 1


def test_where_everybody_was_told_to_begin_behind_a_message_it_was_to_be_heard_by_nobody() -> None:
    """After a loss of data a room may take a message before it has told anybody of the new epoch."""
    again = [Resynced("a", "a", 6.0, ROOM, "new_epoch"), state("a", 3, epoch=2, at_ms=7.0)]
    log_of_a = log("a", state("a", 0), sent("a", "a-1"), *again, acked("a", "a-1", 3, at_ms=8.0))
    losses = look(log_of_a, flushes_ms=(5.0,))
    assert (losses.lost_with_the_store, losses.findings) == (1, [])
    # One who began before it should have heard it.
    losses = look(log_of_a, log("b", state("b", 2, epoch=2, at_ms=7.0)), flushes_ms=(5.0,))
    assert len(losses.lost) == 1


def test_an_answer_of_the_epoch_before_is_no_fork() -> None:
    told = Resynced("a", "a", 4.0, ROOM, "new_epoch")
    begun = [told, state("a", 0, epoch=2, at_ms=5.0), heard("a", "other", 1, epoch=2, at_ms=6.0)]
    again = acked("a", "a-1", 1, 7.0)
    before = [state("a", 0), sent("a", "a-1"), heard("a", "a-1", 1), acked("a", "a-1", 1)]
    assert not look(log("a", *before, *begun, again)).forks
    # Also where the first answer was lost with the old store.
    assert not look(log("a", *before[:-1], *begun, again)).forks
    # It stood somewhere else there.
    elsewhere = [state("a", 0), sent("a", "a-1"), heard("a", "x", 1), heard("a", "a-1", 2)]
    assert len(look(log("a", *elsewhere, *begun, again)).forks) == 1
