"""Ghosts, and who is missing, are found wherever somebody says who is there."""

import random
from pathlib import Path
from typing import Any

from msgspec import json

from loadtest.chaos.client import ChaosClient
from loadtest.chaos.journal import Log, Pace
from loadtest.chaos.presence import expected_members, wrong_at_clients, wrong_at_talkers, wrong_in_rooms
from loadtest.chaos.talker import Talker


def client(user: str) -> ChaosClient:
    return ChaosClient(user, "hall", ["ws://none"], Log(Path("none")), Pace(), random.Random(1))


def talker(user: str, friend: str) -> Talker:
    return Talker(user, friend, "lobby:hall", "notes:hall", ["ws://none"], Log(Path("none")), Pace(), random.Random(1))


def hear(who: ChaosClient | Talker, name: str, payload: dict[str, Any], **envelope: Any) -> None:
    who.take(json.encode({"v": 1, "t": name, "ts": 1, "payload": payload, **envelope}))


def inspected(room: str, **edge_of: str) -> dict[str, Any]:
    members = [{"userId": user, "connections": [{"edge": edge}]} for user, edge in edge_of.items()]
    return {"roomId": room, "members": members}


def test_who_was_sent_away_is_expected_nowhere() -> None:
    ann, bob, cid = client("ann"), client("bob"), talker("cid", "dan")
    bob.stop()
    assert expected_members([ann, bob], [cid]) == {
        "hall": {"ann"},
        "user:cid": {"cid"},
        "lobby:hall": {"cid"},
        "notes:hall": {"cid"},
    }


def test_a_ghost_a_missing_member_and_a_connection_of_a_dead_edge_are_found() -> None:
    expected = {"hall": {"ann", "bob"}}

    def wrong(**edge_of: str) -> list[str]:
        return wrong_in_rooms(expected, [inspected("hall", **edge_of)], {"e1", "e2"})

    assert wrong(ann="e1", bob="e2") == []
    assert "ghosts ['cid']" in wrong(ann="e1", bob="e2", cid="e1")[0]
    assert "lacks ['bob']" in wrong(ann="e1")[0]
    assert "['e3']" in wrong(ann="e1", bob="e3")[0]


def test_what_clients_know_follows_states_joins_and_leaves() -> None:
    ann = client("ann")
    members = [{"userId": "ann"}, {"userId": "bob"}]
    hear(ann, "room_state", {"roomId": "hall", "members": members, "epoch": 1, "seq": 2})
    assert wrong_at_clients({"hall": {"ann", "bob"}}, [ann]) == []
    hear(ann, "member_left", {"roomId": "hall", "userId": "bob"}, epoch=1, seq=3)
    hear(ann, "member_joined", {"roomId": "hall", "member": {"userId": "cid"}}, epoch=1, seq=4)
    assert wrong_at_clients({"hall": {"ann", "cid"}}, [ann]) == []
    assert "ghosts ['cid']" in wrong_at_clients({"hall": {"ann"}}, [ann])[0]


def test_counts_and_presence_are_those_told_last() -> None:
    ann, bob = talker("ann", "bob"), talker("bob", "ann")
    expected = expected_members([], [ann, bob])
    hear(ann, "member_count", {"roomId": "lobby:hall", "count": 2})
    hear(ann, "presence", {"userId": "bob", "status": "online"})
    assert [text.split()[0] for text in wrong_at_talkers(expected, [ann, bob])] == ["bob", "bob"]
    bob.stop()
    first, second = wrong_at_talkers(expected_members([], [ann, bob]), [ann, bob])
    assert first == "ann was told of 2 members of lobby:hall, which has 1"
    assert second == "ann was told that bob is online, who is offline"
    hear(ann, "member_count", {"roomId": "lobby:hall", "count": -1})
    assert ann.failures == ["ann was told of -1 members of lobby:hall"]
