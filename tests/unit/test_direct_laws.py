"""Threads and inboxes against a plain model: any course of writing, reading, blocking, befriending and takeovers."""

from collections import defaultdict
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.commands import AnyCommand, Call, Identity, Join, Post, SetFriendship
from common.ids import ConnNumber, RoomId, UserId, inbox_of, thread_of
from common.messages import (
    BlockUser,
    DirectSend,
    DirectSendPayload,
    PersonPayload,
    ReadUpTo,
    ReadUpToPayload,
    RoomMessage,
    UnblockUser,
)
from tests.unit.bench import Bench, messages_of
from tests.unit.stage import ADA, BEN, CY, Envelope

PEOPLE = (ADA, BEN, CY)
pairs = st.sampled_from([(ADA, BEN), (BEN, ADA), (ADA, BEN), (BEN, ADA), (BEN, CY), (CY, BEN), (ADA, CY)])
steps = st.one_of(
    st.tuples(st.just("write"), pairs),
    st.tuples(st.just("write"), pairs),
    st.tuples(st.just("write"), pairs),
    st.tuples(st.just("read"), pairs, st.integers(0, 4)),
    st.tuples(st.just("block"), pairs, st.booleans()),
    st.tuples(st.just("befriend"), pairs, st.booleans()),
    st.tuples(st.just("take over")),
    st.tuples(st.just("come back"), st.sampled_from(PEOPLE)),
)


class Model:
    """What should be."""

    def __init__(self) -> None:
        self.friends: set[frozenset[UserId]] = set()
        self.blocks: set[tuple[UserId, UserId]] = set()
        self.threads: dict[RoomId, list[tuple[UserId, str]]] = defaultdict(list)
        self.read: dict[tuple[UserId, RoomId], int] = defaultdict(int)
        self.seen: dict[UserId, list[str]] = defaultdict(list)

    def blocked(self, one: UserId, other: UserId) -> bool:
        return (one, other) in self.blocks or (other, one) in self.blocks

    def may_write(self, one: UserId, other: UserId) -> str:
        if self.blocked(one, other):
            return "blocked"
        return "" if frozenset((one, other)) in self.friends else "not_friends"

    def unread(self, user: UserId, other: UserId) -> int:
        thread = thread_of(user, other)
        read = self.read[user, thread]
        return sum(author != user for author, _ in self.threads[thread][read:])


class Play:
    """The real thing, on the bench."""

    def __init__(self) -> None:
        self.bench = Bench(chat_burst=10_000, chat_per_second=10_000.0).take()
        self.conns = {user: ConnNumber(number) for number, user in enumerate(PEOPLE, 1)}
        self.heard: dict[UserId, list[Envelope]] = defaultdict(list)
        self.events: dict[UserId, list[Envelope]] = defaultdict(list)
        for user in PEOPLE:
            self.do(Join(inbox_of(user), self.conns[user], Identity(user, user, "fox"), "desktop", quiet=True))

    def do(self, command: AnyCommand) -> list[Any]:
        """Do one thing, and all that follows from it; return what was said to operators and connections."""
        self.bench.now_ms += 10
        self.bench.send(command)
        found: list[Any] = []
        for _ in range(4):
            self.bench.turn()
            deliveries = self.bench.output()
            found += deliveries
            for user, conn in self.conns.items():
                self.heard[user] += messages_of(deliveries, conn)
            for event in messages_of(deliveries):
                owner = next(user for user in PEOPLE if inbox_of(user) == event["payload"]["roomId"])
                self.events[owner].append(event)
        assert self.bench.failures == []
        return found

    def call(self, user: UserId, other: UserId, message: RoomMessage) -> None:
        self.do(Call(thread_of(user, other), self.conns[user], Identity(user, user, "fox"), "desktop", message))

    def come_back(self, user: UserId) -> Envelope:
        """Open the inbox with another connection, and return its state."""
        self.conns[user] = ConnNumber(self.conns[user] + 10)
        self.do(Join(inbox_of(user), self.conns[user], Identity(user, user, "fox"), "desktop"))
        state: Envelope = [event for event in self.heard[user] if event["t"] == "room_state"][-1]["payload"]
        return state


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, max_size=40))
def test_threads_and_inboxes_do_what_the_model_does(course: list[tuple[Any, ...]]) -> None:
    model, play = Model(), Play()
    # Most that can happen happens between friends.
    for request, (one, other) in enumerate([(ADA, BEN), (BEN, CY)], 1_001):
        take(("befriend", (one, other), True), request, model, play)
    for number, step in enumerate(course):
        take(step, number, model, play)
    for user in PEOPLE:
        state = play.come_back(user)
        others = [other for other in PEOPLE if other != user]
        visible = [other for other in others if (user, other) not in model.blocks]
        assert state["inbox"]["unread"] == {
            thread_of(user, other): model.unread(user, other) for other in visible if model.unread(user, other)
        }
        assert state["inbox"]["blocked"] == sorted(other for other in others if (user, other) in model.blocks)
        friends = {friend["userId"] for friend in state["inbox"]["friends"] if friend["status"] == "friends"}
        assert friends == {other for other in visible if frozenset((user, other)) in model.friends}
        messages = [event for event in play.events[user] if event["t"] == "direct_message"]
        assert [event["payload"]["text"] for event in messages] == model.seen[user]
        for other in others:
            of_thread = [
                (event["payload"]["threadSeq"], event["payload"]["userId"])
                for event in messages
                if event["payload"]["threadId"] == thread_of(user, other)
            ]
            assert of_thread == [
                (seq, author) for seq, (author, _) in enumerate(model.threads[thread_of(user, other)], 1)
            ]
        seqs = [event["seq"] for event in play.events[user]]
        assert seqs == sorted(set(seqs))


def take(step: tuple[Any, ...], number: int, model: Model, play: Play) -> None:
    """Do a step in both."""
    envelope: dict[str, Any] = {"v": 1, "ts": 0, "id": f"m{number}"}
    match step:
        case ("write", (user, other)):
            text = f"{user} {number}"
            payload = DirectSendPayload(other, text)
            refused = model.may_write(user, other)
            for _ in range(2):
                # The second is the same message again.
                play.call(user, other, DirectSend(**envelope, payload=payload))
                answer = play.heard[user][-1]
                if refused:
                    assert (answer["t"], answer["payload"]["code"]) == ("message_rejected", refused)
                else:
                    assert answer["t"] == "ack"
            if not refused:
                thread = thread_of(user, other)
                model.threads[thread].append((user, text))
                for each in (user, other):
                    model.seen[each].append(text)
                assert answer["payload"]["seq"] == len(model.threads[thread])
        case ("read", (user, other), seq):
            thread = thread_of(user, other)
            known = is_stored(play, thread)
            play.call(user, other, ReadUpTo(**envelope, payload=ReadUpToPayload(thread, seq)))
            answer = play.heard[user][-1]
            if seq > len(model.threads[thread]):
                assert answer["payload"]["code"] == "not_found"
            elif answer["t"] == "ack":
                model.read[user, thread] = max(model.read[user, thread], seq)
                assert answer["payload"]["seq"] == model.read[user, thread]
            else:
                assert not known
        case ("block", (user, other), blocked):
            message = (BlockUser if blocked else UnblockUser)(**envelope, payload=PersonPayload(other))
            play.do(Post(inbox_of(user), play.conns[user], message))
            assert play.heard[user][-1]["t"] == "ack"
            (model.blocks.add if blocked else model.blocks.discard)((user, other))
        case ("befriend", (user, other), friends):
            pair = frozenset((user, other))
            play.do(SetFriendship(thread_of(user, other), number + 1, user, other, friends))
            (model.friends.add if friends else model.friends.discard)(pair)
        case ("take over",):
            play.bench.now_ms += 10
            play.bench.take_over()
        case ("come back", user):
            play.come_back(user)


def is_stored(play: Play, thread: RoomId) -> bool:
    """Tell whether anything ever happened in a thread."""
    return bool(play.bench.store.load_rooms([thread])[thread])
