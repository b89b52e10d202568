"""An inbox on a stage: who is brought there quietly is told nothing of the room itself."""

import pytest
from msgspec import structs

from common.commands import Join, Tell
from common.durable import InboxSeed
from common.ids import Epoch, RoomId, Seq, inbox_of
from common.letters import MessageArrived, PresenceSeen, Watch
from common.settings import WorkerSettings
from roomworker.rules import RoomSeed
from tests.unit.stage import ADA, BEN, CY, E1, Stage, join

INBOX = inbox_of(ADA)
THREAD = RoomId("dm:ada:ben")


def quiet(conn: int, **options: object) -> Join:
    return structs.replace(join(ADA, conn, room=INBOX, **options), quiet=True)  # type: ignore[arg-type]


def arrived(seq: int, unread: int = 1) -> Tell:
    letter = MessageArrived(ADA, THREAD, Epoch(5), Seq(seq), f"m-{seq}", BEN, "Ben", ADA, f"text {seq}", None, unread)
    return Tell(INBOX, letter)


@pytest.fixture
def inbox() -> Stage:
    return Stage(room_id=INBOX)


def test_who_is_brought_there_hears_what_comes_and_nothing_else(inbox: Stage) -> None:
    assert inbox.hear(quiet(1)).is_silent()
    assert inbox.hear(arrived(1)).names(1) == ["direct_message"]
    assert inbox.begin_epoch().turn().is_silent()
    assert inbox.hear(arrived(2)).the("direct_message", 1)["seq"] == 1
    inbox.take_over()
    assert inbox.hear(arrived(3)).names(1) == ["direct_message"]


def test_a_quiet_repair_brings_what_was_missed_or_nothing(inbox: Stage) -> None:
    inbox.hear(quiet(1))
    inbox.hear(arrived(1), arrived(2))
    at = inbox.room.epoch
    missed = inbox.hear(quiet(1, resume=(at, 1), repair=True))
    assert [event["payload"]["text"] for event in missed.to(1)] == ["text 2"]
    assert inbox.hear(quiet(1, resume=(at - 1, 1), repair=True)).is_silent()
    assert inbox.hear(arrived(3)).names(1) == ["direct_message"]


def test_who_joins_after_being_brought_there_is_shown_the_inbox(inbox: Stage) -> None:
    inbox.hear(quiet(1), arrived(1))
    shown = inbox.hear(join(ADA, 1, room=INBOX, resume=(inbox.room.epoch, 0)))
    assert shown.names(1) == ["room_state", "direct_message"]
    assert shown.the("room_state", 1)["payload"]["inbox"]["unread"] == {THREAD: 1}
    assert inbox.begin_epoch().turn().names(1) == ["resync", "room_state"]


def test_there_are_only_so_many_connections_and_the_rooms_of_the_rest_go_on() -> None:
    inbox = Stage(room_id=INBOX, inbox_connections_max=2)
    inbox.hear(quiet(1), quiet(2))
    assert inbox.hear(quiet(3)).is_silent()
    assert inbox.closed == {}
    heard = inbox.hear(arrived(1))
    assert [heard.names(conn) for conn in (1, 2, 3)] == [["direct_message"], ["direct_message"], []]


def test_who_joins_a_full_inbox_takes_the_place_of_the_oldest() -> None:
    inbox = Stage(room_id=INBOX, inbox_connections_max=2)
    inbox.hear(quiet(1), join(ADA, 2, room=INBOX))
    inbox.hear(join(ADA, 3, room=INBOX))
    assert inbox.closed == {}
    heard = inbox.hear(arrived(1))
    assert [heard.names(conn) for conn in (1, 2, 3)] == [[], ["direct_message"], ["direct_message"]]
    inbox.hear(join(ADA, 4, room=INBOX))
    assert inbox.closed == {(E1, 2): 1008}


def test_a_letter_for_somebody_else_changes_nothing(inbox: Stage) -> None:
    inbox.hear(quiet(1))
    letter = MessageArrived(CY, THREAD, Epoch(5), Seq(1), "m-1", BEN, "Ben", CY, "for cy", None, 1)
    assert inbox.hear(Tell(INBOX, letter)).is_silent()


def test_a_watcher_of_somebody_who_never_came_is_told_and_the_room_expires(inbox: Stage) -> None:
    inbox.hear(Tell(INBOX, Watch(ADA, BEN)))
    turn = inbox.last_turn
    assert turn is not None
    assert [command.room_id for command in turn.tells] == [inbox_of(BEN)]
    assert turn.patch.ttl_ms == 0  # Without a database it stays.
    kept = Stage(room_id=INBOX, database_url="postgresql://nobody@localhost/none")
    kept.hear(Tell(INBOX, Watch(ADA, BEN)))
    assert kept.last_turn is not None
    assert kept.last_turn.patch.ttl_ms == WorkerSettings().kept_idle_ttl_ms


def test_presence_that_nobody_here_asked_for_is_stopped_at_its_source(inbox: Stage) -> None:
    inbox.hear(quiet(1))
    assert inbox.hear(Tell(INBOX, PresenceSeen(ADA, BEN, "online", 0))).is_silent()
    assert inbox.last_turn is not None
    assert [command.room_id for command in inbox.last_turn.tells] == [inbox_of(BEN)]


def test_what_the_durable_store_has_is_shown_and_what_came_since_holds() -> None:
    inbox = Stage(room_id=INBOX, database_url="postgresql://nobody@localhost/none")
    assert not inbox.room.is_seeded
    inbox.hear(arrived(1, unread=7))
    hashed = RoomId("dm::" + "0" * 40)
    content = InboxSeed({THREAD: 3, hashed: 2}, {BEN: ("accepted", BEN), CY: ("pending", CY)})
    inbox.room.seed(RoomSeed([], content, ADA), inbox.now_ms)
    assert inbox.room.is_seeded
    shown = inbox.hear(join(ADA, 1, room=INBOX)).the("room_state", 1)["payload"]["inbox"]
    assert shown["unread"] == {THREAD: 7, hashed: 2}
    assert [(friend["userId"], friend["status"]) for friend in shown["friends"]] == [(BEN, "friends"), (CY, "asks")]
    inbox.take_over()
    assert inbox.room.is_seeded
