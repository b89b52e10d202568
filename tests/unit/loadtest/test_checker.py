"""The checker finds each broken promise in a few lines written by hand, and nothing in lines that keep them."""

from pathlib import Path

import pytest

from loadtest.checker import check
from loadtest.observations import (
    Acked,
    AnyObservation,
    Closed,
    Moved,
    Opened,
    Received,
    Refused,
    Resynced,
    Sent,
    State,
    read_log,
    write_log,
)

HALL = "hall"


class Log(list[AnyObservation]):
    """One client's list, a millisecond for each line unless told."""

    def __init__(self, client: str = "a1", at_ms: float = 0.0) -> None:
        super().__init__()
        self.client, self.user = client, client[0]
        self.at_ms = at_ms

    def _base(self) -> tuple[str, str, float, str]:
        self.at_ms += 1
        return self.client, self.user, self.at_ms, HALL

    def opened(self) -> "Log":
        self.append(Opened(*self._base()))
        return self

    def closed(self) -> "Log":
        self.append(Closed(*self._base(), 1006))
        return self

    def state(self, seq: int, epoch: int = 1, came_from: tuple[int, int] | None = None, *, back: bool = False) -> "Log":
        self.append(State(*self._base(), epoch, seq, back, [], came_from))
        return self

    def got(self, *seqs: int, epoch: int = 1, replay: bool = False, text: str = "t") -> "Log":
        for seq in seqs:
            self.append(Received(*self._base(), "chat_broadcast", epoch, seq, "a", f"{text}{epoch}.{seq}", replay))
        return self

    def resync(self) -> "Log":
        self.append(Resynced(*self._base(), "new_epoch"))
        return self

    def said(self, text: str, at_ms: float | None = None) -> "Log":
        self.at_ms = self.at_ms if at_ms is None else at_ms
        self.append(Sent(*self._base(), text, "local_chat", text))
        return self

    def beat(self, last_seq: int) -> "Log":
        self.append(Sent(*self._base(), "", "heartbeat", str(last_seq)))
        return self

    def acked(self, text: str, seq: int) -> "Log":
        self.append(Acked(*self._base(), text, seq))
        return self

    def refused(self, text: str) -> "Log":
        self.append(Refused(*self._base(), text, "busy"))
        return self

    def moved(self, number: int, step: int, join: int = 0) -> "Log":
        self.append(Moved(*self._base(), "b", number, step, join))
        return self


def in_room(client: str = "a1", at_ms: float = 0.0) -> Log:
    return Log(client, at_ms).opened().state(0)


def kinds(*logs: Log, settled: bool = False) -> list[str]:
    verdict = check(logs, settled=settled)
    assert verdict.counts.violations == len(verdict.violations)
    return [violation.kind for violation in verdict.violations]


TAKEN_EARLY = in_room().said("x").resync().state(2, epoch=2).said("x").acked("x", 2).got(3, epoch=2)

GOOD = {
    "one after the other": [in_room().got(1, 2, 3), in_room("b1").got(1, 2, 3)],
    "a later join": [in_room().got(1, 2, 3), Log("b1").opened().state(2).got(3)],
    "a resume": [
        in_room().got(1).closed().opened().state(3, came_from=(1, 1), back=True).got(2, 3, replay=True).got(4)
    ],
    "nothing to resume": [in_room().got(1).closed().opened().state(3, came_from=(1, 1)).got(4)],
    "a resume that was cut": [
        in_room().got(1).closed().opened().state(3, came_from=(1, 1), back=True).got(2, replay=True).closed()
    ],
    "a repair by the edge": [in_room().got(1).state(3, back=True).got(2, 3, replay=True).got(4)],
    "a new epoch": [in_room().got(1, 2).resync().state(0, epoch=2).got(1, epoch=2)],
    "again for a heartbeat": [in_room().got(1).beat(1).got(2, 3).got(2, 3, replay=True).got(4)],
    "a message": [in_room().said("t1.1").got(1).acked("t1.1", 1)],
    "sent again": [
        in_room().said("t1.1").closed().opened().state(1).said("t1.1").acked("t1.1", 1),
        in_room("b1").got(1),
    ],
    "refused, then taken": [in_room().said("t1.1").refused("t1.1").said("t1.1").got(1).acked("t1.1", 1)],
    "acknowledged in an order that ended": [
        in_room().said("x").acked("x", 1).resync().state(0, epoch=2).got(1, epoch=2)
    ],
    # The room of the new epoch took it before it told anybody of that epoch.
    "taken before anybody had begun": [TAKEN_EARLY],
    "movements": [in_room().moved(1, 1, 1).moved(3, 3, 1).moved(1, 4, 2)],
    "two that meet": [in_room().said("t1.2", 10).got(1, 2), in_room("b1").said("t1.1", 10).got(1, 2)],
}

BAD = {
    "order": [in_room().got(1), in_room("b1").got(1, text="other")],
    "replay_differs": [
        in_room().got(1, 2),
        in_room("b1").closed().opened().state(2, came_from=(1, 1), back=True).got(2, replay=True, text="other"),
    ],
    "gap": [in_room().got(1, 3)],
    "repeated": [in_room().got(1, 2, 2)],
    "unannounced": [Log().opened().got(1)],
    "went_back": [in_room().got(1, 2).state(1)],
    "replay": [in_room().got(1).closed().opened().state(3, came_from=(1, 1), back=True).got(2, replay=True).got(4)],
    "duplicate": [in_room().got(1, text="s"), Log("b1").opened().state(1)],
    "lost": [in_room().said("never").acked("never", 1)],
    "answer": [in_room().said("t1.1").got(1).acked("t1.1", 1).acked("t1.1", 2)],
    "refused": [in_room().said("t1.1").refused("t1.1").got(1)],
    "fifo": [in_room().said("t1.2").said("t1.1").got(1, 2)],
    "causal": [in_room().said("t1.2").got(1, 2).acked("t1.2", 2), Log("b1", 90).said("t1.1")],
    "moved_back": [in_room().moved(1, 1).moved(3, 3).moved(2, 2)],
}
BAD["duplicate"][0].append(Received("a1", "a", 9.0, HALL, "chat_broadcast", 1, 2, "a", "s1.1", False))


@pytest.mark.parametrize("name", GOOD)
def test_what_is_allowed(name: str) -> None:
    assert kinds(*GOOD[name]) == []


@pytest.mark.parametrize("kind", BAD)
def test_what_is_not(kind: str) -> None:
    assert kinds(*BAD[kind])[0] == kind


@pytest.mark.parametrize(
    "log",
    [
        pytest.param(Log().opened().state(3, came_from=(1, 1), back=True).got(2, 2, 3, replay=True), id="twice"),
        pytest.param(Log().opened().state(3, came_from=(1, 1), back=True).got(3, replay=True), id="not all"),
        pytest.param(Log().opened().state(3, epoch=2, came_from=(1, 1), back=True), id="of another epoch"),
        pytest.param(Log().opened().state(3, back=True), id="from nowhere"),
    ],
)
def test_replays_that_are_not_exact(log: Log) -> None:
    assert "replay" in kinds(log)


def test_what_somebody_was_to_get_is_lost_where_nobody_got_it() -> None:
    assert kinds(TAKEN_EARLY, Log("b1").opened().state(1, epoch=2)) == ["lost"]
    assert kinds(in_room().said("x").acked("x", 1)) == ["lost"]


def test_the_same_place_twice_without_having_asked() -> None:
    assert kinds(in_room().got(1, 2).got(2, replay=True)) == ["repeated"]
    assert kinds(in_room().got(1).beat(1).got(2).got(2, replay=True).got(2, replay=True)) == ["repeated"]


def test_who_is_left_behind_in_the_end() -> None:
    logs = [in_room().got(1, 2), in_room("b1").got(1), in_room("c1").got(1).closed()]
    assert kinds(*logs) == []
    assert kinds(*logs, settled=True) == ["behind"]


def test_a_violation_reads_as_a_line() -> None:
    (violation,) = check([in_room().got(1, 3)]).violations
    assert str(violation) == "gap in hall: a1 at 4 ms: 1/3 after 1"


def test_what_is_counted() -> None:
    counts = check(GOOD["acknowledged in an order that ended"]).counts
    assert (counts.acks, counts.lost_with_data, counts.resyncs, counts.lost_acknowledged) == (1, 1, 1, 0)
    counts = check(BAD["lost"]).counts
    assert (counts.lost_acknowledged, counts.violations) == (1, 1)
    assert check(BAD["gap"]).counts.silent_gaps == 1
    assert check(BAD["duplicate"]).counts.duplicates == 1


def test_lists_survive_the_file(tmp_path: Path) -> None:
    log = BAD["causal"][0]
    write_log(tmp_path / "a1", log)
    assert read_log(tmp_path / "a1") == log


def test_an_answer_just_before_a_new_epoch_may_be_of_it() -> None:
    """The store lost what was answered first; it was taken again, and the answer overtook the resync."""
    log = in_room().said("t1.1").got(1).acked("t1.1", 1).said("t1.1").acked("t1.1", 5).resync().state(6, epoch=2)
    assert check([log]).holds
    log = in_room().said("t1.1").got(1).acked("t1.1", 1).said("t1.1").acked("t1.1", 5).got(2).resync().state(6, epoch=2)
    assert [violation.kind for violation in check([log]).violations] == ["answer"]


def test_an_answer_of_an_epoch_that_ended_unheard() -> None:
    """Taken in epoch 2, of which nobody heard anything; the answer comes again in epoch 3."""
    log = in_room().said("x").resync().state(0, epoch=3).got(1, epoch=3).acked("x", 1)
    assert check([log]).holds
    log = in_room().said("x").resync().state(0, epoch=3).got(1, epoch=3).acked("x", 2)
    assert check([log], settled=True).holds
    assert kinds(log) == ["lost"], "it may come yet"
    assert kinds(in_room().resync().state(0, epoch=3).said("x").got(1, epoch=3).acked("x", 1)) == ["lost"]
