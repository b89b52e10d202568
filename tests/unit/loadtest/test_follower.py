"""Followers without sockets: what they make of the frames that they are given, one by one or many at once."""

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.follower import Company, Follower
from loadtest.sightings import Run, Sighting, Sightings

EPOCH = 1_000
ROOM = "fx-0"


def frame(t: str, payload: dict[str, Any], **envelope: Any) -> bytes:
    """Return a message as the frame that it comes in."""
    text = json.dumps({"v": 1, "t": t, "ts": 0, "payload": {"roomId": ROOM, **payload}, **envelope}).encode()
    head = bytes((0x81, len(text))) if len(text) < 126 else bytes((0x81, 126)) + len(text).to_bytes(2, "big")
    return head + text


def chat(seq: int, intended_us: int, *, epoch: int = EPOCH, **envelope: Any) -> bytes:
    payload = {"userId": "fx-u0", "displayName": "x", "text": f"fx-0-{seq} {intended_us}", "messageId": f"m{seq}"}
    return frame("chat_broadcast", payload, seq=seq, epoch=epoch, **envelope)


def state(seq: int, *, recovered: bool = False, epoch: int = EPOCH) -> bytes:
    return frame("room_state", {"epoch": epoch, "seq": seq, "recovered": recovered, "members": []})


def company_of(count: int) -> tuple[Company, list[Follower]]:
    """Return followers who are in the room since place 0."""
    company = Company("fx", ["http://host"], random.Random(1))
    followers = [company.add(ROOM, 0) for _ in range(count)]
    for follower in followers:
        take(follower, state(0))
    return company, followers


def take(follower: Follower, *messages: bytes) -> None:
    """Give a follower what was read at once."""
    data = b"".join(messages)
    if not follower.take_read(data):
        follower.take_frames(list(messages), data)


def test_what_was_read_before_by_another_is_taken_as_a_whole() -> None:
    company, (first, second, third) = company_of(3)
    read = [chat(1, 10), chat(2, 20)]
    take(first, *read)
    assert second.take_read(b"".join(read))
    take(third, read[0])
    take(third, read[1])
    assert {follower.following.seq for follower in company.followers} == {2}
    assert [sighting.receivers for sighting in company.sightings.kept()] == [3, 3]
    assert company.sightings.latencies().whole().total == 6
    assert company.verdict().failures() == []


def test_what_does_not_follow_is_taken_one_by_one() -> None:
    company, (first, second) = company_of(2)
    take(first, chat(1, 10))
    take(first, chat(2, 20))
    assert not second.take_read(chat(2, 20))
    take(second, chat(2, 20))
    verdict = company.verdict()
    assert (verdict.gaps, verdict.received) == (1, 3)


def test_a_read_with_something_for_one_alone_is_not_kept() -> None:
    _, (first, second) = company_of(2)
    read = [chat(1, 10), frame("ack", {"seq": 1}, re="fx-0-1")]
    take(first, *read)
    assert not second.take_read(b"".join(read))


@pytest.mark.parametrize(
    ("places", "is_one"),
    [
        ([(1, 1)], True),
        ([(1, 1), (1, 2)], True),
        ([(1, 1), (1, 3)], False),
        ([(1, 2), (1, 1)], False),
        ([(1, 1), (2, 2)], False),
    ],
)
def test_a_run_has_no_gap(places: list[tuple[int, int]], is_one: bool) -> None:
    assert Run.is_one([Sighting(epoch, seq, "", -1, replay=False) for epoch, seq in places]) is is_one


def test_latencies_are_those_of_what_was_to_be_said_in_the_time_asked_for() -> None:
    company, (first, second) = company_of(2)
    for seq in range(1, 5):
        for follower in (first, second):
            take(follower, chat(seq, seq * 1_000_000))
    assert company.sightings.latencies(2_000_000, 4_000_000).whole().total == 4
    assert sorted(company.sightings.latencies(2_000_000).seconds()) == [0, 1, 2]
    # Settled once, it counts once.
    assert company.sightings.latencies().whole().total == 8


def test_a_replay_is_no_latency() -> None:
    company, (first,) = company_of(1)
    take(first, chat(1, 10, replay=True))
    assert company.sightings.latencies().whole().total == 0
    assert company.verdict().replayed == 1


def test_who_resumes_is_back_with_the_last_that_was_missed() -> None:
    company, (first, second) = company_of(2)
    for seq in (1, 2, 3):
        take(first, chat(seq, 10))
    second.following.is_asking = True
    take(second, chat(1, 10, replay=True))
    second.back_us = 0
    take(second, state(3, recovered=True))
    take(second, chat(2, 10, replay=True))
    assert not second.back_us
    take(second, chat(3, 10, replay=True))
    assert second.back_us
    assert company.verdict().failures() == []


def test_what_was_said_is_settled_by_its_answer() -> None:
    company, (first,) = company_of(1)
    message_id = first.say(5)
    assert first.unanswered == 1
    take(first, frame("ack", {"seq": 1}, re=message_id))
    assert first.unanswered == 0
    assert company.verdict().lost == 1
    take(first, chat(1, 5).replace(b"fx-0-1 5", message_id.encode() + b" 5"))
    assert company.verdict().lost == 0


def test_a_refusal_for_the_moment_is_tried_again_when_it_is_time() -> None:
    company, (first,) = company_of(1)
    message_id = first.say(5)
    take(first, frame("error", {"code": "busy"}, re=message_id))
    first.send_again_if_late(0.0)
    assert company.resent == 0
    first.send_again_if_late(1e12)
    assert (company.resent, first.unanswered) == (1, 1)
    assert company.errors == {"busy": 1}


def test_what_was_not_answered_is_sent_again_in_a_new_state() -> None:
    company, (first,) = company_of(1)
    first.say(5)
    take(first, frame("resync", {"reason": "new_epoch"}), state(0, epoch=EPOCH + 1))
    assert company.resent == 1
    assert company.resyncs == {"new_epoch": 1}


def test_the_first_after_a_moment_is_noted_whether_it_was_looked_up_or_not() -> None:
    company, (first, second) = company_of(2)
    for follower in (first, second):
        take(follower, chat(1, 10))
    company.measure_from(20)
    assert not first.first_after_us
    take(first, chat(2, 15))
    assert not first.first_after_us
    for follower in (first, second):
        take(follower, *([chat(2, 15)] if follower is second else []), chat(3, 25))
    assert first.first_after_us
    assert second.first_after_us


def test_bytes_that_are_no_event_are_counted() -> None:
    company, (first,) = company_of(1)
    first.take_frames([b"\x81\x01{", b"\x81\x02[]"], b"")
    assert company.bad_frames == 2


@given(st.integers(1, 5), st.lists(st.integers(1, 4), min_size=1, max_size=12))
def test_what_is_forgotten_was_counted(frames_max: int, sizes: list[int]) -> None:
    company, (first, second) = company_of(2)
    company.sightings = Sightings(frames_max)
    seq = 0
    for size in sizes:
        read = [chat(seq + number, 10) for number in range(1, size + 1)]
        seq += size
        take(first, *read)
        take(second, *read)
    assert company.sightings.latencies().whole().total == 2 * seq
    assert company.verdict().failures() == []
