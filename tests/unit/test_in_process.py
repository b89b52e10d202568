"""Edges and a worker together: joining, resuming, repairs, draining."""

import asyncio
import copy
import json
from typing import Any

import pytest

from common.commands import Inspect
from common.durable_memory import MemoryDurableStore
from common.errors import BusUnavailable, CloseCode, StoreUnavailable
from common.ids import EdgeId, Partition
from tests.unit.stage import ADA, BEN, CY, HALL
from tests.unit.town import Town, run, settle


def test_people_on_two_edges_meet() -> None:
    async def course(town: Town) -> None:
        ada, ben = town.person(ADA).join(id="j"), town.person(BEN, 1)
        await settle()
        assert ada.names() == ["welcome", "room_state"]
        ben.join()
        await settle()
        assert ada.names() == ["member_joined"]
        ada.chat("hello", id="m")
        await settle()
        event, ack = ada.read()
        assert (event["t"], ack["re"]) == ("chat_broadcast", "m")
        assert ben.read()[-1] == event
        ben.say("avatar_transform", {"seq": 0, "x": 1, "y": 2, "z": 3, "rotY": 0, "anim": "walk", "speaking": False})
        await settle()
        assert ada.names() == ben.names() == ["avatar_transform_broadcast"]

    run(course)


def test_an_idle_town_answers_within_a_few_turns_of_the_loop() -> None:
    async def course(town: Town) -> None:
        ada = town.person(ADA).join()
        await asyncio.sleep(30)
        ada.say("heartbeat", {"clientTimeMs": 1, "lastSeq": 1})
        ada.chat("hello")
        await asyncio.sleep(0.001)
        assert ada.names()[-2:] == ["chat_broadcast", "ack"]

    run(course)


def test_a_worker_that_hands_its_rooms_over_stores_where_everybody_stands() -> None:
    async def course(town: Town) -> None:
        ada = town.person(ADA).join()
        await settle()
        place = {"x": 4, "y": 0, "z": 3, "rotY": 0, "anim": "idle", "speaking": False}
        ada.say("avatar_transform", {"seq": 0, **place})
        await settle()
        assert "avatar_transform_broadcast" in ada.names()
        await town.change_worker()
        ben = town.person(BEN, 1).join()
        await settle()
        (member, _) = ben.last("room_state")["payload"]["members"]
        assert (member["userId"], member["x"], member["z"]) == (ADA, 4.0, 3.0)

    run(course, position_store_ms=60_000)


def test_a_message_that_is_sent_again_over_another_edge_takes_effect_once() -> None:
    async def course(town: Town) -> None:
        ada, ben = town.person(ADA).join(), town.person(BEN).join()
        await settle()
        ada.chat("hello", id="m")
        await settle()
        first = ada.read()[-1]
        ada.hang_up()
        again = town.person(ADA, 1).join()
        await settle()
        again.chat("hello", id="m")
        await settle()
        assert again.read()[-1] == first
        assert [event["t"] for event in ben.read()].count("chat_broadcast") == 1

    run(course)


def test_a_short_drop_shows_nothing_and_what_was_missed_is_replayed() -> None:
    async def course(town: Town) -> None:
        ada = town.person(ADA).join()
        await settle()
        ben = town.person(BEN, 1).join()
        await settle()
        ada.read()
        ben.read()
        position = next(e["payload"] for e in ada.heard if e["t"] == "room_state")
        ada.hang_up()
        await asyncio.sleep(2)
        ben.chat("missed")
        await settle()
        assert [event["t"] for event in ben.read()] == ["chat_broadcast", "ack"]
        back = town.person(ADA)
        who = {"userId": ADA, "displayName": "Ada", "avatarId": "fox"}
        resume = {"epoch": position["epoch"], "lastSeq": position["seq"]}
        back.say("join_room", {"user": who, "token": f"{ADA} 3600000", "resume": resume})
        await asyncio.sleep(6)
        _, state, *missed = back.read()
        assert state["payload"]["recovered"] is True
        assert [event["payload"].get("text") for event in missed] == [None, "missed"]
        assert "member_left" not in ben.names()

    run(course)


def test_a_room_that_cannot_be_read_any_more_costs_nobody_else_anything() -> None:
    async def course(town: Town) -> None:
        ada = town.person(ADA).join()
        rooms = [f"hall-{number}" for number in range(20)]
        ben = town.person(BEN, 1)
        for room in rooms:
            ben.join(room)
        await settle()
        meta, town.store._rooms[HALL]["meta"] = town.store._rooms[HALL]["meta"], b"\xc1"
        await town.change_worker()
        ada.read()
        ben.read()
        ada.chat("lost", id="m")
        for room in rooms:
            ben.say("local_chat", {"roomId": room, "text": "kept", "mode": "local"})
        await asyncio.sleep(2)
        assert [(event["t"], event["re"], event["payload"]["code"]) for event in ada.read()] == [
            ("error", "m", "internal")
        ]
        assert ben.names().count("ack") == len(rooms)
        assert town.worker.metrics.registry.get_sample_value("roomring_worker_unreadable_rooms") == 1
        # A release that can read it was brought out, say.
        town.store._rooms[HALL]["meta"] = meta
        ada.chat("again")
        await asyncio.sleep(2)
        assert ada.names() == ["chat_broadcast", "ack"]
        assert town.worker.metrics.registry.get_sample_value("roomring_worker_unreadable_rooms") == 0

    run(course, edge={"rooms_per_connection_max": 32})


def test_who_speaks_while_the_edge_is_taken_for_dead_is_told_to_try_again() -> None:
    async def course(town: Town) -> None:
        ada, ben = town.person(ADA).join(), town.person(BEN, 1).join()
        await settle()
        bus = town.edges[0].bus
        announce = bus.announce

        async def refuse(*_: object) -> bool:
            raise BusUnavailable("out of memory")

        # For longer than an edge is waited for; what else is written has room again a moment earlier.
        bus.announce = refuse  # type: ignore[method-assign]
        while "member_left" not in ben.names():  # noqa: ASYNC110 - time jumps
            await asyncio.sleep(0.05)
        ada.read()
        ada.chat("too soon", id="m")
        await settle()
        heard = ada.read()
        assert [event["t"] for event in heard] == ["error", "room_state", "member_left", "member_joined"]
        assert (heard[0]["re"], heard[0]["payload"]["code"]) == ("m", "busy")
        bus.announce = announce  # type: ignore[method-assign]
        ada.chat("too soon", id="m")
        await settle()
        assert ada.names()[-2:] == ["chat_broadcast", "ack"]
        assert ben.names()[-1] == "chat_broadcast"

    run(course, reconnect_window_ms=100)


def test_a_dead_edge_loses_its_people() -> None:
    async def course(town: Town) -> None:
        town.person(ADA).join()
        ben = town.person(BEN, 1).join()
        await settle()
        ben.read()
        for task in town.edges[0]._tasks:
            task.cancel()
        await asyncio.sleep(4)
        assert ben.names() == []
        await asyncio.sleep(4)
        assert ben.names() == ["member_left"]
        town.edges[0]._tasks.clear()

    run(course)


def test_lost_entries_are_noticed_and_made_up_for() -> None:
    async def course(town: Town) -> None:
        ada, ben = town.person(ADA).join(), town.person(BEN, 1).join()
        await settle()
        ada.read()
        ben.read()
        # The edge stands still while its stream runs over.
        reading = next(task for task in town.edges[0]._tasks if task.get_name() == "read-0")
        stopped_at = town.store.output_last(Partition(0), EdgeId("e1"))
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        town.edges[0]._tasks.remove(reading)
        for number in range(60):
            ben.chat(str(number))
            await asyncio.sleep(0.001)
        await settle()
        assert town.store.output_last(Partition(0), EdgeId("e1")) >= stopped_at + 60
        # It goes on as a new reader does, and finds that the first entry is not the one that follows.
        town.edges[0]._spawn(town.edges[0]._read(Partition(0)), "read-0")
        await settle()
        heard = ada.read()
        texts = [event["payload"]["text"] for event in heard if event["t"] == "chat_broadcast"]
        assert texts == [str(number) for number in range(60)]
        assert town.edges[0].metrics.registry.get_sample_value("roomring_edge_output_gaps_total") == 1

    run(course)


def test_a_worker_that_stops_and_another_that_starts_are_not_noticed() -> None:
    async def course(town: Town) -> None:
        ada, ben = town.person(ADA).join(), town.person(BEN, 1).join()
        await settle()
        second = town.new_worker()
        working = asyncio.create_task(second.run())
        for number in range(100):
            ada.chat(str(number), id=f"m{number}")
            await asyncio.sleep(0.02)
        second.stop()
        await working
        for number in range(100, 150):
            ada.chat(str(number), id=f"m{number}")
            await asyncio.sleep(0.02)
        await asyncio.sleep(1)
        ben.read()
        chats = [event for event in ben.heard if event["t"] == "chat_broadcast"]
        assert [event["payload"]["text"] for event in chats] == [str(number) for number in range(150)]
        seqs = [event["seq"] for event in chats]
        assert seqs == list(range(seqs[0], seqs[0] + 150))

    run(course)


def test_blocks_and_questions_of_operators_reach_everybody() -> None:
    async def course(town: Town) -> None:
        ada, ben, cy = (town.person(user, edge).join() for user, edge in ((ADA, 0), (BEN, 1), (CY, 0)))
        await settle()
        await town.block(BEN, ADA)
        await settle()
        ada.chat("unseen")
        await settle()
        assert "unseen" not in str(ben.read())
        assert "unseen" in str(cy.read())
        described = json.loads(await town.edges[1].operations.ask(lambda request: Inspect(HALL, request)))
        assert {member["userId"] for member in described["members"]} == {ADA, BEN, CY}

    run(course)


def test_draining_sends_everybody_away_each_at_another_time() -> None:
    async def course(town: Town) -> None:
        people = [town.person(f"user{number}").join() for number in range(5)]
        await settle()
        draining = asyncio.create_task(town.edges[0].drain())
        await settle()
        for person in people:
            *_, told = person.read()
            assert told["t"] == "server_draining"
            assert person.close_code == CloseCode.RESTARTING
            person.hang_up()
        delays = [person.heard[-1]["payload"]["reconnectAfterMs"] for person in people]
        assert len(set(delays)) > 1
        assert all(0 <= delay <= 1_000 for delay in delays)
        await draining

    run(course)


class Watched(MemoryDurableStore):
    """A durable store that does not answer any more once it is told so, and keeps who asked."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False
        self.asked: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if not asyncio.iscoroutinefunction(found) or not self.is_away:
            return found

        async def call(*_: Any, **__: Any) -> Any:
            self.asked.append(name)
            raise StoreUnavailable("away")

        return call


def test_who_comes_back_needs_no_database() -> None:
    # After a fault all come back at once; what they need must be in Redis.
    async def course(town: Town) -> None:
        assert isinstance(town.durable, Watched)
        rooms = [HALL, "lobby:main", "notes:wall"]
        people = [town.person(f"user{number}").join() for number in range(5)]
        for person in people:
            for room in rooms[1:]:
                person.join(room)
        await settle()
        people[0].chat("before")
        await settle()
        stood = {room: people[1].position(room) for room in rooms}
        for person in people:
            person.hang_up()
        town.durable.is_away = True
        await town.change_worker()
        back = [town.person(f"user{number}", edge=1) for number in range(5)]
        for person in back:
            for room in rooms:
                person.join(room, resume=stood[room])
        await settle()
        for person in back:
            states = [event for event in person.read() if event["t"] == "room_state"]
            assert {state["payload"]["roomId"] for state in states} == {*rooms}
            assert all(state["payload"]["recovered"] for state in states)
        assert town.durable.asked == []
        # A person who was never here is another matter.
        town.person("stranger").join()
        await settle()
        assert town.durable.asked != []

    run(course, durable=Watched())


def test_nobody_flickers_who_comes_back_from_a_drain_when_told() -> None:
    # The drain may last longer than the reconnection window: half of them were seen to leave and to come again.
    async def course(town: Town) -> None:
        people = [town.person(f"user{number}").join() for number in range(8)]
        watcher = town.person("watcher", edge=1).join()
        await settle()
        watcher.read()
        draining = asyncio.create_task(town.edges[0].drain())
        await settle()
        delays = {person.user: person.last("server_draining")["payload"]["reconnectAfterMs"] for person in people}
        for person in people:
            person.hang_up()
        await draining
        await town.edges[0].stop()
        began_s = asyncio.get_running_loop().time()
        *others, (last, last_ms) = sorted(delays.items(), key=lambda item: item[1])
        for user, delay_ms in others:
            await asyncio.sleep(began_s + delay_ms / 1000 - asyncio.get_running_loop().time())
            town.person(user, edge=1).join()
        await settle()
        assert others[-1][1] > 10_000
        assert {*watcher.names()} & {"member_left", "member_joined"} == set()
        # Who does not come back leaves a window after the time that it was told.
        await asyncio.sleep(began_s + (last_ms + 5_000) / 1000 + 1 - asyncio.get_running_loop().time())
        assert watcher.last("member_left")["payload"]["userId"] == last
        assert watcher.count("member_left") == 1

    run(course, edge={"drain_ms": 30_000})


def test_silent_and_nameless_connections_are_closed_by_the_wheel() -> None:
    async def course(town: Town) -> None:
        nameless, silent = town.person("nobody"), town.person(ADA).join()
        await asyncio.sleep(10.3)
        nameless.read()
        assert nameless.close_code == CloseCode.NOT_AUTHENTICATED
        await asyncio.sleep(34.5)
        silent.read()
        assert silent.close_code is None
        await asyncio.sleep(0.5)
        silent.read()
        assert silent.close_code == CloseCode.NO_HEARTBEAT

    run(course)


def test_a_token_that_ends_before_all_other_deadlines_is_told_in_time() -> None:
    # The wheel heard of new deadlines only when the connection got its name. The token of a second room might end
    # long before the next look, and the client was told up to 45 s too late.
    async def course(town: Town) -> None:
        ada = town.person(ADA).join()
        await settle()
        ada.join("yard", 5_000)
        await asyncio.sleep(4.5)
        assert "auth_error" not in ada.names()
        await asyncio.sleep(0.6)
        (told,) = ada.read()
        assert told["t"] == "auth_error"
        assert (told["payload"]["code"], told["payload"]["roomId"]) == ("token_expired", "yard")

    run(course)


def test_a_socket_that_ends_leaves_nothing_behind() -> None:
    async def course(town: Town) -> None:
        people = [town.person(f"user{number}").join() for number in range(3)]
        await settle()
        assert town.edges[0].connection_count == 3
        for person in people:
            person.hang_up()
        assert town.edges[0].connection_count == 0
        assert town.edges[0]._hub.room_count == 0
        assert len(town.edges[0]._wheel) == 0
        await asyncio.sleep(6)
        described = json.loads(await town.edges[1].operations.ask(lambda request: Inspect(HALL, request)))
        assert described["members"] == []

    run(course)


@pytest.mark.parametrize("lost_call", ["announce", "open_cluster"])
def test_an_edge_that_was_forgotten_joins_again_though_a_reply_got_lost(lost_call: str) -> None:
    """Its clients were told `not_joined` from then on: the answer that told it was lost, or a call after it failed."""

    async def course(town: Town) -> None:
        ada = town.person(ADA).join()
        await settle()
        bus = town.edges[0].bus
        announce, call = bus.announce, getattr(bus, lost_call)
        lost: list[Any] = []

        async def away(*arguments: Any) -> bool:
            raise BusUnavailable("away")

        async def unanswered(*arguments: Any) -> bool:
            lost.append(await call(*arguments))
            vars(bus).pop(lost_call)
            raise BusUnavailable("reply lost")

        bus.announce = away  # type: ignore[method-assign]
        await asyncio.sleep(2)
        bus.announce = announce  # type: ignore[method-assign]
        setattr(bus, lost_call, unanswered)
        await asyncio.sleep(1)
        assert len(lost) == 1
        ada.read()
        ada.chat("back", id="m")
        await settle()
        assert "ack" in ada.names()

    run(course)


def test_an_older_stream_says_nothing_again_of_rooms() -> None:
    """Redis came back with an older stream: the state of then was sent to the clients once more."""

    async def course(town: Town) -> None:
        ada = town.person(ADA).join()
        await settle()
        stream = town.store._output((Partition(0), EdgeId("e1")))
        assert stream is not None
        before = copy.deepcopy((stream._entries, stream.last))
        for number in range(3):
            ada.chat(str(number))
            await settle()
        ada.read()
        stream._entries, stream.last = before
        await asyncio.sleep(2)
        (state,) = [event["payload"] for event in ada.read() if event["t"] == "room_state"]
        assert (state["recovered"], state["seq"]) == (True, 4)

    run(course)
