"""Who should be where at the end of a run, and what tells otherwise. No IO."""

from collections.abc import Iterable, Mapping, Set
from typing import Any

from loadtest.chaos.client import ChaosClient
from loadtest.chaos.talker import Talker


def expected_members(clients: Iterable[ChaosClient], talkers: Iterable[Talker]) -> dict[str, set[str]]:
    """Return the persons of each room that anybody was in: those who were not told to leave for good."""
    expected: dict[str, set[str]] = {}
    for client in clients:
        expected.setdefault(client.room, set()).update([] if client.is_stopping() else [client.user])
    for talker in talkers:
        for room in (talker.inbox, talker.lobby, talker.board):
            expected.setdefault(room, set()).update([] if talker.is_stopping() else [talker.user])
    return expected


def wrong_in_rooms(expected: Mapping[str, Set[str]], rooms: Iterable[Mapping[str, Any]], edges: set[str]) -> list[str]:
    """Compare what `GET /admin/rooms/{roomId}` says of each room with who should be there.

    Args:
        edges: ids of the edges that live. Each person has one connection, to one of them.
    """
    wrong: list[str] = []
    for room in rooms:
        name = room["roomId"]
        members = {member["userId"]: member for member in room["members"]}
        wrong += _compare(f"by its worker {name} has", set(members), expected[name])
        for user_id, member in members.items():
            at = [connection["edge"] for connection in member["connections"]]
            if len(at) != 1 or not edges.issuperset(at):
                wrong.append(f"{user_id} has connections of {at} in {name}, where {sorted(edges)} live")
    return wrong


def wrong_at_clients(expected: Mapping[str, Set[str]], clients: Iterable[ChaosClient]) -> list[str]:
    """Compare what those clients know who are still there, from a state and from all that followed it."""
    here = [client for client in clients if not client.is_stopping()]
    return [
        text
        for client in here
        for text in _compare(f"{client.user} sees in {client.room}", client.members, expected[client.room])
    ]


def wrong_at_talkers(expected: Mapping[str, Set[str]], talkers: Iterable[Talker]) -> list[str]:
    """Compare the counts of lobbies and the presence of friends, as told last to those who are still there."""
    wrong: list[str] = []
    gone = {talker.user for talker in talkers if talker.is_stopping()}
    for talker in talkers:
        if talker.is_stopping():
            continue
        count = len(expected[talker.lobby])
        if talker.member_count != count:
            wrong.append(
                f"{talker.user} was told of {talker.member_count} members of {talker.lobby}, which has {count}"
            )
        status = "offline" if talker.friend in gone else "online"
        if talker.friend_status != status:
            wrong.append(f"{talker.user} was told that {talker.friend} is {talker.friend_status}, who is {status}")
    return wrong


def _compare(what: str, found: Set[str], expected: Set[str]) -> list[str]:
    ghosts, missing = sorted(found - expected), sorted(expected - found)
    return [f"{what} ghosts {ghosts}, and lacks {missing}"] if ghosts or missing else []
