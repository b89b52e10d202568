"""A connection and the own inbox of its person; and messages that are for no room that the connection is in."""

from typing import Any

import pytest

from common.commands import Active, Call, Disconnect, Identity, Join, Post
from common.errors import CloseCode
from common.ids import ConnNumber, RoomId, UserId, inbox_of, thread_of
from edge.connection import ACTIVE_INTERVAL_MS
from tests.unit.edge.test_connection import TOKEN_LIFE_MS, YARD, Client, keep_alive, told
from tests.unit.stage import ADA, BEN, HALL

INBOX = inbox_of(ADA)
NUMBER = ConnNumber(7)


@pytest.fixture
def client() -> Client:
    return Client()


def test_the_first_good_token_brings_the_connection_into_the_inbox(client: Client) -> None:
    client.join()
    (command,) = client.port.inbox
    assert command == Join(INBOX, NUMBER, Identity(ADA, "Ada", "fox"), "mobile", quiet=True)
    client.join(YARD)
    assert len(client.port.inbox) == 1


def test_a_token_with_the_upgrade_is_enough() -> None:
    client = Client(upgrade=f"{ADA} {HALL} {TOKEN_LIFE_MS}")
    (command,) = client.port.inbox
    assert isinstance(command, Join)
    assert command.identity == Identity(ADA, ADA, "default")
    assert client.port.notes == []


def test_a_bad_token_brings_nobody_anywhere(client: Client) -> None:
    client.join(token="expired")
    client.join(YARD, token=f"{ADA} {HALL} {TOKEN_LIFE_MS}")
    assert client.port.inbox == []


def test_while_the_cluster_is_busy_the_next_token_tries_again(client: Client) -> None:
    client.port.busy = True
    client.join()
    client.port.busy = False
    client.join()
    assert len(client.port.inbox) == 1


def test_the_quiet_inbox_is_not_logged_and_counts_for_no_limit() -> None:
    client = Client(rooms_per_connection_max=1)
    client.enter()
    assert client.connection.attached(INBOX, 0)
    assert client.port.notes == [("joined", HALL, "")]
    assert told(client.join(YARD)[0])[2] == "too_many_rooms"
    client.connection.end()
    assert client.connection.rooms_at_end == 1
    assert client.port.inbox[-1] == Disconnect(INBOX, NUMBER)


def test_the_inbox_stays_as_long_as_any_token_and_ends_without_a_word(client: Client) -> None:
    client.enter().enter(YARD, token=f"{ADA} {YARD} {3 * TOKEN_LIFE_MS}")
    keep_alive(client, 2 * TOKEN_LIFE_MS)
    assert INBOX in client.connection.rooms
    heard = keep_alive(client, 2 * TOKEN_LIFE_MS)
    assert INBOX not in client.connection.rooms
    assert client.port.inbox[-1] == Disconnect(INBOX, NUMBER)
    assert [event["payload"]["roomId"] for event in heard if isinstance(event, dict)] == [YARD]


def test_who_joins_the_inbox_is_told_of_it(client: Client) -> None:
    client.enter()
    client.connection.attached(INBOX, 0)
    (command,) = client.join(INBOX, token=f"{ADA} {HALL} {TOKEN_LIFE_MS}", id="i")
    assert isinstance(command, Join)
    assert (command.quiet, command.re) == (False, "i")
    repair = client.connection.rejoin(INBOX, None)
    assert isinstance(repair, Join)
    assert (repair.quiet, repair.repair) == (False, True)


def test_a_quiet_inbox_is_repaired_quietly(client: Client) -> None:
    client.enter()
    client.connection.attached(INBOX, 0)
    repair = client.connection.rejoin(INBOX, None)
    assert isinstance(repair, Join)
    assert (repair.quiet, repair.repair) == (True, True)


@pytest.mark.parametrize("room", [inbox_of(BEN), inbox_of(UserId("no plain id"))])
def test_the_inbox_of_another_is_refused_also_to_a_token_for_everything(client: Client, room: RoomId) -> None:
    assert told(client.join(room, token=f"{ADA} * {TOKEN_LIFE_MS}", id="i")[0]) == ("auth_error", "i", "room_mismatch")


@pytest.mark.parametrize(
    ("name", "payload", "room"),
    [
        ("direct_send", {"recipientId": BEN, "text": "psst"}, thread_of(ADA, BEN)),
        ("direct_send", {"recipientId": "auth0|\u00e9", "text": "psst"}, thread_of(ADA, UserId("auth0|\u00e9"))),
        ("friend_add", {"userId": BEN}, thread_of(ADA, BEN)),
        ("friend_remove", {"userId": BEN}, thread_of(ADA, BEN)),
        ("read_up_to", {"threadId": "dm:ada:ben", "seq": 3}, "dm:ada:ben"),
        ("typing", {"roomId": "dm:ada:ben"}, "dm:ada:ben"),
        ("typing", {"recipientId": BEN}, thread_of(ADA, BEN)),
        ("report", {"roomId": "dm:ada:ben", "seq": 3, "reason": "rude"}, "dm:ada:ben"),
    ],
)
def test_what_is_for_a_thread_goes_there_as_the_person(
    client: Client, name: str, payload: dict[str, Any], room: str
) -> None:
    assert told(client.send(name, payload, id="m")[0]) == ("error", "m", "not_signed_in")
    client.enter()
    (command,) = client.send(name, payload, id="m")
    assert isinstance(command, Call)
    assert (command.room_id, command.conn, command.request) == (room, NUMBER, 0)
    assert (command.identity.user_id, command.device) == (ADA, "mobile")


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("presence_subscribe", {"userIds": [BEN]}),
        ("presence_unsubscribe", {"userIds": [BEN]}),
        ("block_user", {"userId": BEN}),
        ("unblock_user", {"userId": BEN}),
    ],
)
def test_what_is_the_persons_own_goes_to_the_inbox(client: Client, name: str, payload: dict[str, Any]) -> None:
    assert told(client.send(name, payload, id="m")[0]) == ("error", "m", "not_signed_in")
    client.enter()
    (command,) = client.send(name, payload, id="m")
    assert isinstance(command, Post)
    assert (command.room_id, command.conn) == (INBOX, NUMBER)


def test_typing_nowhere_is_told(client: Client) -> None:
    client.enter()
    assert told(client.send("typing", {}, id="m")[0]) == ("error", "m", "invalid_payload")
    assert told(client.send("typing", {"roomId": YARD}, id="m")[0]) == ("error", "m", "not_joined")


def test_a_busy_cluster_is_told_for_threads_too(client: Client) -> None:
    client.enter()
    client.port.busy = True
    (error,) = client.send("direct_send", {"recipientId": BEN, "text": "psst"}, id="m")
    assert told(error) == ("error", "m", "busy")
    assert error["payload"]["roomId"] == thread_of(ADA, BEN)


def test_the_inbox_hears_now_and_then_that_the_person_is_active(client: Client) -> None:
    client.enter()
    client.port.inbox.clear()
    for _ in range(10):
        client.chat()
    assert client.port.inbox == []
    client.beat()
    client.now_ms += ACTIVE_INTERVAL_MS
    client.beat()
    assert client.port.inbox == []
    client.chat()
    client.chat()
    assert client.port.inbox == [Active(INBOX, NUMBER)]


def test_who_is_refused_the_own_inbox_for_being_too_many_stays_in_the_rooms(client: Client) -> None:
    client.enter()
    client.connection.detached(INBOX, refused=True)
    assert client.rooms() == [HALL]
    assert client.port.closed is None
    assert told(client.send("block_user", {"userId": BEN}, id="m")[0]) == ("error", "m", "not_joined")
    assert client.port.closed is not CloseCode.REMOVED
