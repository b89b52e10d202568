"""What clients saw of a room's order, over lost connections and resumes, and what is made of it."""

from hypothesis import given
from hypothesis import strategies as st

from loadtest.following import Following, RoomRecord, Verdict, judge

EPOCH = 1_000


def seen(*places: int, start: int = 0) -> Following:
    """Return a client that began at `start` and received these places."""
    following = Following()
    following.begin(EPOCH, start, recovered=False)
    for place in places:
        following.receive(EPOCH, place, replay=False)
    return following


def record(end: int, *, epoch: int = EPOCH) -> RoomRecord:
    """Return a room in which message `m<place>` stands at each place up to `end`."""
    found = RoomRecord()
    found.begin((epoch, 0))
    for place in range(1, end + 1):
        found.see((epoch, place), f"chat m{place}", f"m{place}")
    return found


def judged(room: RoomRecord, *followings: Following) -> Verdict:
    return judge({"room": room}, [("room", following) for following in followings])


# --- one client -----------------------------------------------------------------------------------------


@given(st.integers(1, 30), st.lists(st.integers(0, 30), max_size=5))
def test_who_loses_the_connection_and_resumes_has_everything_once(end: int, cuts: list[int]) -> None:
    following = seen()
    for cut in [*sorted(cut for cut in cuts if cut <= end), end]:
        for place in range(following.seq + 1, cut + 1):
            following.receive(EPOCH, place, replay=True)
        following.is_asking = True
        following.begin(EPOCH, end, recovered=True)
    assert judged(record(end), following).failures() == []
    assert (following.received, following.seq) == (end, end)


@given(st.integers(2, 20), st.data())
def test_any_change_of_the_order_is_a_breach(end: int, data: st.DataObject) -> None:
    places = list(range(1, end + 1))
    at = data.draw(st.integers(0, end - 2))
    change = data.draw(st.sampled_from(["left out", "twice", "swapped", "moved to the end"]))
    match change:
        case "left out":
            del places[at]
        case "twice":
            places.insert(at, places[at])
        case "swapped":
            places[at], places[at + 1] = places[at + 1], places[at]
        case _:
            places.append(places.pop(at))
    verdict = judged(record(end), seen(*places))
    assert verdict.failures()
    assert (verdict.gaps, verdict.duplicates, verdict.out_of_order) == (
        (1, 0, 0) if change == "left out" else (0, 1, 0) if change == "twice" else (0, 0, 1)
    )


@given(st.integers(0, 10), st.integers(1, 10), st.booleans())
def test_a_run_of_events_is_taken_like_its_events(begin: int, length: int, replay: bool) -> None:
    at_once, singly = seen(start=begin), seen(start=begin)
    assert at_once.receive_run(EPOCH, begin + 1, begin + length, replay=replay)
    for place in range(begin + 1, begin + length + 1):
        singly.receive(EPOCH, place, replay=replay)
    assert (at_once.seq, at_once.received, at_once.replayed) == (singly.seq, singly.received, singly.replayed)


def test_a_run_that_does_not_follow_is_not_taken() -> None:
    following = seen(start=5)
    for epoch, first in ((EPOCH, 5), (EPOCH, 7), (EPOCH + 1, 6)):
        assert not following.receive_run(epoch, first, first + 2, replay=False)
    assert (following.seq, following.received) == (5, 0)


def test_a_resume_that_is_answered_by_a_new_state_is_not_recovered() -> None:
    following = seen(1, 2)
    following.is_asking = True
    following.begin(EPOCH + 1, 0, recovered=False)
    assert judged(record(2), following).not_recovered == 1
    # A state that nobody asked for follows a resync, and is no answer to a resume.
    following.begin(EPOCH + 2, 0, recovered=False)
    assert following.not_recovered == 1


def test_an_event_of_an_epoch_that_was_not_told_is_a_breach() -> None:
    following = seen(1)
    following.receive(EPOCH + 1, 1, replay=False)
    assert judged(record(1), following).epoch_changes == 1


# --- all of a room --------------------------------------------------------------------------------------


def test_who_stands_behind_the_others_misses_what_they_have() -> None:
    assert judged(record(5), seen(1, 2, 3, 4, 5), seen(1, 2, 3), seen(4, 5, start=3)).missing == 2


def test_who_is_still_in_an_older_epoch_misses_all_of_the_newer() -> None:
    room = record(2)
    room.see((EPOCH + 1, 1), "chat n1")
    room.see((EPOCH + 1, 2), "chat n2")
    assert judged(room, seen(1, 2)).missing == 2


def test_an_acknowledged_message_that_nobody_saw_is_lost() -> None:
    room = record(3)
    room.acknowledge("m3", (EPOCH, 3))
    room.acknowledge("other", (EPOCH, 4))
    verdict = judged(room, seen(1, 2, 3))
    assert (verdict.acked, verdict.lost) == (2, 1)
    assert verdict.failures(store_may_lose=True) == ["1 acknowledged messages lost"]


def test_what_went_with_its_epoch_is_excused_only_where_the_store_may_lose() -> None:
    room = record(3)
    room.acknowledge("gone", (EPOCH, 4))
    room.see((EPOCH + 1, 1), "chat n1")
    verdict = judged(room)
    assert (verdict.lost, verdict.gone) == (0, 1)
    assert verdict.failures(store_may_lose=True) == []
    assert verdict.failures() == ["1 acknowledged messages gone with their epoch"]


def test_what_stands_where_all_begin_behind_it_was_for_nobody_to_hear() -> None:
    room = record(3)
    room.begin((EPOCH + 1, 2))
    room.begin((EPOCH + 1, 4))
    room.see((EPOCH + 1, 5), "chat n5")
    room.acknowledge("early", (EPOCH + 1, 2))
    room.acknowledge("late", (EPOCH + 1, 3))
    verdict = judged(room)
    assert (verdict.unheard, verdict.lost) == (1, 1)
    assert len(verdict.failures()) == 2


def test_a_message_at_two_places_took_effect_twice() -> None:
    room = record(3)
    room.see((EPOCH, 4), "chat m3b", "m3")
    assert judged(room).failures(store_may_lose=True) == ["1 messages that took effect twice"]


def test_a_message_in_two_epochs_is_excused_only_where_the_store_may_lose() -> None:
    room = record(3)
    room.acknowledge("m3", (EPOCH, 3))
    room.see((EPOCH + 1, 1), "chat m3", "m3")
    room.acknowledge("m3", (EPOCH + 1, 1))
    assert judged(room).failures(store_may_lose=True) == []
    assert judged(room).failures() == ["1 messages that took effect in two epochs"]


def test_a_place_is_the_same_for_everybody() -> None:
    room = record(3)
    room.see((EPOCH, 2), "chat m2", "m2")
    assert judged(room).mismatches == 0
    room.see((EPOCH, 2), "emote ada wave")
    assert judged(room).mismatches == 1


def test_a_message_stands_where_its_sender_was_told() -> None:
    room = record(3)
    room.acknowledge("m2", (EPOCH, 2))
    assert judged(room).mismatches == 0
    room.acknowledge("m3", (EPOCH, 2))
    assert judged(room).mismatches == 1
    room.acknowledge("m2", (EPOCH, 3))
    assert judged(room).mismatches == 2
