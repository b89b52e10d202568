"""One client's side of the contract, without a socket."""

# ruff: noqa: A002
# `id` is the contract's name.

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.commands import Active, AnyRoomCommand, CatchUp, Disconnect, Identity, Join, Leave, Post
from common.errors import AuthErrorCode, CloseCode
from common.ids import ConnNumber, Epoch, RoomId, Seq, UserId, kind_of
from common.settings import EdgeSettings
from edge.connection import JOIN_RATE, Connection
from edge.tokens import Claims, TokenVerifier, mint, secret_key
from tests.unit.stage import ADA, BEN, HALL, START_MS, Envelope

YARD, ATTIC = RoomId("yard"), RoomId("attic")
TOKEN_LIFE_MS = 300_000


class Verifier:
    """Tokens are `<user> <room> <life in ms>`; others are what the table says."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def verify(self, token: str) -> Claims | AuthErrorCode:
        self.asked.append(token)
        if token in ("expired", "invalid"):
            return AuthErrorCode.TOKEN_EXPIRED if token == "expired" else AuthErrorCode.TOKEN_INVALID
        user, room, life_ms = token.split()
        named = user == "signed"
        return Claims(
            UserId(user),
            (room,),
            START_MS + int(life_ms),
            "mobile",
            "Signed Name" if named else None,
            "owl" if named else None,
            ("host",) if named else (),
        )


def is_quiet(command: AnyRoomCommand) -> bool:
    return (
        isinstance(command, Active | Disconnect | Join)
        and kind_of(command.room_id) == "user"
        and (not isinstance(command, Join) or command.quiet)
    )


class Port:
    """Everything that a connection did, in order."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.inbox: list[AnyRoomCommand] = []
        """Commands to the person's own inbox, apart from the rest: they come by themselves."""
        self.busy = False
        self.positions: dict[RoomId, tuple[Epoch, Seq]] = {}
        self.notes: list[tuple[str, RoomId | None, str]] = []
        self.closed: CloseCode | None = None

    def send(self, message: bytes) -> None:
        assert self.closed is None, "something was sent after the close"
        self.done.append(json.loads(message))

    def forward(self, command: AnyRoomCommand, *, must: bool) -> bool:
        if self.busy and not must:
            return False
        (self.inbox if is_quiet(command) else self.done).append(command)
        return True

    def close(self, code: CloseCode, reason: str) -> None:
        assert self.closed is None, "closed twice"
        self.closed = code
        self.done.append((code, reason))

    def unsubscribe(self, room_id: RoomId) -> None:
        if kind_of(room_id) != "user":
            self.done.append(("unsubscribe", room_id))

    def position(self, room_id: RoomId) -> tuple[Epoch, Seq] | None:
        return self.positions.get(room_id)

    def note(self, event: str, room_id: RoomId | None, detail: str) -> None:
        self.notes.append((event, room_id, detail))

    def take(self) -> list[Any]:
        """Return what was done since the last call."""
        done, self.done = self.done, []
        return done


class Client:
    """A client, its connection, and a clock."""

    def __init__(self, upgrade: str | None = None, **settings: Any) -> None:
        self.port = Port()
        self.verifier = Verifier()
        self.now_ms = START_MS
        self.connection = Connection(
            "e1-7",
            ConnNumber(7),
            EdgeSettings(**{"token_secret": "x" * 32, **settings}),
            self.verifier,  # type: ignore[arg-type]
            self.port,
            self.now_ms,
        )
        self.connection.open(upgrade, self.now_ms)
        self.greeting = self.port.take()

    def send(self, name: str, payload: dict[str, Any], *, id: str | None = None) -> list[Any]:
        envelope = {"v": 1, "t": name, "ts": 0, "payload": payload, **({} if id is None else {"id": id})}
        return self.raw(json.dumps(envelope).encode())

    def raw(self, frame: bytes) -> list[Any]:
        self.connection.receive(frame, self.now_ms)
        return self.port.take()

    def join(
        self, room: RoomId = HALL, user: str = ADA, *, token: str | None = "", id: str | None = None, **payload: Any
    ) -> list[Any]:
        if token is not None:
            payload["token"] = token or f"{user} {room} {TOKEN_LIFE_MS}"
        who = {"userId": user, "displayName": user.title(), "avatarId": "fox"}
        return self.send("join_room", {"roomId": room, "user": who, **payload}, id=id)

    def rooms(self) -> list[RoomId]:
        """Return the rooms of the connection, without the own inbox."""
        return [room for room in self.connection.rooms if kind_of(room) != "user"]

    def rooms_wanted(self) -> list[RoomId]:
        return [room for room in self.connection.rooms_wanted() if kind_of(room) != "user"]

    def enter(self, room: RoomId = HALL, **options: Any) -> "Client":
        """Join, and let the worker agree."""
        (command,) = self.join(room, **options)
        assert isinstance(command, Join)
        assert self.connection.attached(room, 0)
        return self

    def leave(self, room: RoomId = HALL, *, id: str | None = None) -> list[Any]:
        return self.send("leave_room", {"roomId": room}, id=id)

    def chat(self, room: RoomId = HALL, *, id: str | None = None) -> list[Any]:
        return self.send("local_chat", {"roomId": room, "text": "hi", "mode": "local"}, id=id)

    def move(self, room: RoomId = HALL) -> list[Any]:
        numbers = {"seq": 1, "x": 0, "y": 0, "z": 0, "rotY": 0}
        return self.send("avatar_transform", {"roomId": room, **numbers, "anim": "idle", "speaking": False})

    def beat(self, room: RoomId | None = None, last_seq: int | None = None, *, id: str | None = None) -> list[Any]:
        payload: dict[str, Any] = {"clientTimeMs": 5.5}
        if room is not None:
            payload["roomId"] = room
        if last_seq is not None:
            payload["lastSeq"] = last_seq
        return self.send("heartbeat", payload, id=id)

    def wait(self, duration_ms: int) -> list[Any]:
        """Let time pass to the next deadlines, as the timer wheel does."""
        until_ms = self.now_ms + duration_ms
        while self.connection.next_deadline_ms() <= until_ms and not self.connection.is_closing:
            self.now_ms = max(self.now_ms, self.connection.next_deadline_ms())
            self.connection.check_deadlines(self.now_ms)
        self.now_ms = until_ms
        return self.port.take()


@pytest.fixture
def client() -> Client:
    return Client()


def told(envelope: Envelope) -> tuple[str, str | None, str]:
    """Return name, `re` and code of a refusal."""
    return envelope["t"], envelope.get("re"), envelope["payload"]["code"]


# --- the first frame and the upgrade's token --------------------------------------------------------------


def test_the_first_frame_is_welcome(client: Client) -> None:
    (welcome,) = client.greeting
    assert (welcome["t"], welcome["ts"]) == ("welcome", START_MS)
    assert welcome["payload"] == {
        "connectionId": "e1-7",
        "serverTimeMs": START_MS,
        "heartbeatIntervalMs": 15_000,
        "heartbeatTimeoutMs": 45_000,
        "limits": {
            "frameBytes": 16_384,
            "roomsPerConnection": 20,
            "chatCharacters": 240,
            "transformsPerSecondDesktop": 20.0,
            "transformsPerSecondMobile": 15.0,
            "chatPerSecond": 5.0,
            "chatBurst": 10,
            "authTimeoutMs": 10_000,
        },
    }


def test_the_upgrades_token_serves_joins_without_one() -> None:
    client = Client(upgrade=f"{ADA} * {TOKEN_LIFE_MS}")
    (command,) = client.join(token=None)
    assert isinstance(command, Join)
    assert client.join(YARD, token=None) != []
    assert len(client.verifier.asked) == 1


def test_the_upgrades_token_fixes_the_person() -> None:
    client = Client(upgrade=f"{ADA} {HALL} {TOKEN_LIFE_MS}")
    assert client.connection.user_id == ADA
    assert told(client.join(user=BEN)[0]) == ("auth_error", None, "user_mismatch")


def test_the_upgrades_token_runs_out() -> None:
    client = Client(upgrade=f"{ADA} {HALL} 5000")
    client.now_ms += 4_999
    assert isinstance(client.join(token=None)[0], Join)
    client.now_ms += 1
    assert told(client.join(token=None, id="j")[0]) == ("auth_error", "j", "token_expired")


@pytest.mark.parametrize(("token", "code"), [("expired", "token_expired"), ("invalid", "token_invalid")])
def test_a_bad_token_of_the_upgrade_is_told_and_the_socket_stays_open(token: str, code: str) -> None:
    client = Client(upgrade=token)
    assert told(client.greeting[1]) == ("auth_error", None, code)
    assert client.connection.user_id is None
    assert isinstance(client.join()[0], Join)


# --- joining ----------------------------------------------------------------------------------------------


def test_a_join_becomes_a_command_of_the_person_that_the_token_names(client: Client) -> None:
    assert client.join(id="j1") == [Join(HALL, ConnNumber(7), Identity(ADA, "Ada", "fox"), "mobile", re="j1")]
    assert client.connection.user_id == ADA


def test_what_the_token_says_wins(client: Client) -> None:
    (command,) = client.join(user="signed")
    assert command.identity == Identity(UserId("signed"), "Signed Name", "owl", ("host",))


def test_a_place_to_resume_from_is_passed_on(client: Client) -> None:
    (command,) = client.join(resume={"epoch": 9, "lastSeq": 4})
    assert (command.resume_epoch, command.resume_seq, command.repair) == (9, 4, False)
    (command,) = client.join(YARD)
    assert (command.resume_epoch, command.resume_seq) == (None, 0)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"token": None}, "token_invalid"),
        ({"token": "invalid"}, "token_invalid"),
        ({"token": "expired"}, "token_expired"),
        ({"token": f"{ADA} {YARD} 1000"}, "room_mismatch"),
        ({"token": f"{BEN} {HALL} 1000"}, "user_mismatch"),
    ],
)
def test_refused_joins_leave_no_trace(client: Client, options: dict[str, Any], code: str) -> None:
    (refusal,) = client.join(id="j1", **options)
    assert told(refusal) == ("auth_error", "j1", code)
    assert refusal["payload"]["roomId"] == HALL
    assert client.rooms() == []
    assert client.connection.user_id is None
    assert client.port.notes == [("auth_error", HALL, code)]
    assert isinstance(client.join()[0], Join)


def test_the_first_good_token_says_who_the_connection_is(client: Client) -> None:
    client.enter()
    assert told(client.join(YARD, BEN)[0]) == ("auth_error", None, "user_mismatch")
    assert client.connection.user_id == ADA


def test_a_real_token() -> None:
    client = Client()
    key = "k" * 32
    client.connection._verifier = TokenVerifier(secret_key(key), "roomring", "roomring")
    now_s = int(time.time())
    claims = {"sub": ADA, "room": HALL, "iat": now_s, "exp": now_s + 60, "iss": "roomring", "aud": "roomring"}
    assert told(client.join(token=mint("z" * 32, algorithm="HS256", claims=claims))[0])[2] == "token_invalid"
    (command,) = client.join(token=mint(key, algorithm="HS256", claims=claims))
    assert (command.identity.user_id, command.device) == (ADA, "desktop")


def test_there_is_a_limit_to_the_rooms() -> None:
    client = Client(rooms_per_connection_max=2)
    client.enter().enter(YARD)
    assert told(client.join(ATTIC, id="j")[0]) == ("error", "j", "too_many_rooms")
    assert isinstance(client.join(YARD)[0], Join)
    client.leave()
    # The room counts until its worker has let go, or a client could hold any number by leaving and joining.
    assert told(client.join(ATTIC)[0])[2] == "too_many_rooms"
    client.connection.detached(HALL, refused=False)
    assert isinstance(client.join(ATTIC)[0], Join)


def test_a_refused_join_frees_its_room() -> None:
    client = Client(rooms_per_connection_max=1)
    client.join()
    client.connection.detached(HALL, refused=True)
    assert client.port.notes[-1] == ("left", HALL, "refused")
    assert isinstance(client.join(YARD)[0], Join)


def test_there_is_a_rate_of_joins(client: Client) -> None:
    burst = int(JOIN_RATE.burst)
    answers = [client.join()[0] for _ in range(burst + 2)]
    assert all(isinstance(answer, Join) for answer in answers[:burst])
    assert [told(answer)[2] for answer in answers[burst:]] == ["rate_limited"] * 2
    client.now_ms += 200
    assert isinstance(client.join()[0], Join)


def test_a_busy_cluster_is_told_and_nothing_is_remembered(client: Client) -> None:
    client.port.busy = True
    assert told(client.join(id="j")[0]) == ("error", "j", "busy")
    assert client.rooms() == []


def test_a_renewed_token_keeps_the_connection_in_the_room(client: Client) -> None:
    client.enter()
    client.join(token=f"{ADA} {HALL} {2 * TOKEN_LIFE_MS}")
    # Still in: the heartbeat tells the room's place.
    client.port.positions[HALL] = (Epoch(1), Seq(5))
    assert client.beat(HALL)[0]["payload"]["seq"] == 5
    client.now_ms += TOKEN_LIFE_MS
    client.connection.check_deadlines(client.now_ms)
    assert not [e for e in client.port.take() if isinstance(e, dict) and e["t"] == "auth_error"]


# --- messages ---------------------------------------------------------------------------------------------


def test_messages_go_to_the_worker_as_they_are(client: Client) -> None:
    client.enter()
    (post,) = client.chat(id="m1")
    assert isinstance(post, Post)
    assert (post.room_id, post.conn, post.message.id) == (HALL, 7, "m1")
    assert isinstance(client.move()[0], Post)


def test_messages_may_follow_a_join_without_waiting(client: Client) -> None:
    client.join()
    assert isinstance(client.chat()[0], Post)


def test_messages_to_a_room_that_one_is_not_in_are_refused(client: Client) -> None:
    assert told(client.chat(id="m")[0]) == ("error", "m", "not_joined")
    client.enter()
    assert told(client.chat(YARD)[0])[2] == "not_joined"
    client.leave()
    assert told(client.chat()[0])[2] == "not_joined"


def test_while_the_cluster_is_busy_chat_is_refused_and_movements_are_dropped(client: Client) -> None:
    client.enter()
    client.port.busy = True
    assert told(client.chat(id="m")[0]) == ("error", "m", "busy")
    assert client.move() == []


# --- leaving and coming back, with answers on their way ---------------------------------------------------


def test_leaving(client: Client) -> None:
    client.enter()
    assert client.leave(id="l") == [("unsubscribe", HALL), Leave(HALL, ConnNumber(7), "l")]
    assert client.rooms_wanted() == []
    client.connection.detached(HALL, refused=False)
    assert client.rooms() == []


def test_leaving_is_passed_on_while_the_cluster_is_busy(client: Client) -> None:
    client.enter()
    client.port.busy = True
    assert isinstance(client.leave()[1], Leave)


def test_leaving_twice_or_never_having_been_there_is_answered_at_once(client: Client) -> None:
    (left,) = client.leave(id="l")
    assert (left["t"], left["re"], left["payload"]) == ("left_room", "l", {"roomId": HALL})
    client.enter().leave()
    assert [event["t"] for event in client.leave()] == ["left_room"]


def test_an_attachment_that_comes_after_leaving_is_not_taken(client: Client) -> None:
    client.join()
    client.leave()
    assert not client.connection.attached(HALL, 0)
    client.connection.detached(HALL, refused=False)
    assert not client.connection.attached(HALL, 0)
    assert client.port.notes == [("left", HALL, "")]


def test_a_late_answer_to_leaving_does_not_undo_a_new_join(client: Client) -> None:
    client.enter()
    client.leave()
    client.join()
    client.connection.detached(HALL, refused=False)
    assert client.rooms_wanted() == [HALL]
    assert isinstance(client.chat()[0], Post)
    assert client.connection.attached(HALL, 0)
    client.port.positions[HALL] = (Epoch(1), Seq(5))
    assert client.beat(HALL)[0]["payload"]["seq"] == 5


def test_a_kick_that_crosses_nothing_frees_the_room(client: Client) -> None:
    client.enter()
    client.connection.detached(HALL, refused=False)
    # The worker let go although the client wants in: another join is on its way, or the socket closes.
    assert client.rooms_wanted() == [HALL]
    client.connection.detached(HALL, refused=True)
    assert client.rooms() == []
    client.connection.detached(HALL, refused=True)


def test_an_attachment_is_noted_once(client: Client) -> None:
    client.enter()
    assert client.connection.attached(HALL, 0)
    assert client.port.notes == [("joined", HALL, "")]


# --- what the edge asks to repair -------------------------------------------------------------------------


def test_rejoining_from_where_the_room_stood(client: Client) -> None:
    client.enter(id="j1", resume={"epoch": 1, "lastSeq": 2})
    command = client.connection.rejoin(HALL, (Epoch(9), Seq(40)))
    assert isinstance(command, Join)
    assert (command.resume_epoch, command.resume_seq, command.repair, command.re) == (9, 40, True, None)


def test_a_second_loss_before_the_answer_does_not_move_the_place(client: Client) -> None:
    client.enter()
    client.connection.rejoin(HALL, (Epoch(9), Seq(40)))
    again = client.connection.rejoin(HALL, (Epoch(9), Seq(60)))
    assert isinstance(again, Join)
    assert again.resume_seq == 40
    client.connection.attached(HALL, 0)
    later = client.connection.rejoin(HALL, (Epoch(9), Seq(70)))
    assert isinstance(later, Join)
    assert later.resume_seq == 70


def test_of_several_repairs_only_the_last_one_s_answer_is_delivered(client: Client) -> None:
    # After a loss of all data the edge noticed it twice, and the client was told `resync` twice.
    client.enter()
    first = client.connection.rejoin(HALL, (Epoch(9), Seq(40)))
    second = client.connection.rejoin(HALL, (Epoch(9), Seq(40)))
    assert isinstance(first, Join)
    assert isinstance(second, Join)
    assert not client.connection.attached(HALL, first.attempt)
    # What nobody asked for, or the client did, is no answer to a repair.
    assert client.connection.attached(HALL, 0)
    assert client.connection.attached(HALL, second.attempt)
    # Joining again keeps the count.
    client.join()
    third = client.connection.rejoin(HALL, (Epoch(9), Seq(41)))
    assert isinstance(third, Join)
    assert not client.connection.attached(HALL, second.attempt)
    assert client.connection.attached(HALL, third.attempt)


def test_joining_again_while_a_repair_is_under_way_does_not_move_the_place(client: Client) -> None:
    # The place was forgotten with the new join. When the repair's answer and the join's were lost as well, the next
    # repair began where the room stood by then, and what was before that was never shown: a silent gap.
    client.enter()
    client.connection.rejoin(HALL, (Epoch(9), Seq(40)))
    client.join()
    again = client.connection.rejoin(HALL, (Epoch(9), Seq(60)))
    assert isinstance(again, Join)
    assert (again.repair, again.resume_seq) == (True, 40)
    client.leave()
    client.join()
    after_leaving = client.connection.rejoin(HALL, (Epoch(9), Seq(60)))
    assert isinstance(after_leaving, Join)
    assert not after_leaving.repair


def test_rejoining_from_an_unknown_place_resumes_nothing(client: Client) -> None:
    client.enter()
    command = client.connection.rejoin(HALL, None)
    assert isinstance(command, Join)
    assert (command.resume_epoch, command.resume_seq, command.repair) == (0, 0, True)


def test_a_join_without_an_answer_is_sent_again_as_it_was(client: Client) -> None:
    (first,) = client.join(id="j1", resume={"epoch": 1, "lastSeq": 2})
    assert client.connection.rejoin(HALL, (Epoch(9), Seq(4))) == first


def test_rooms_that_are_not_wanted_are_not_rejoined(client: Client) -> None:
    assert client.connection.rejoin(HALL, None) is None
    client.enter().leave()
    assert client.connection.rejoin(HALL, None) is None


# --- heartbeats -------------------------------------------------------------------------------------------


def test_a_heartbeat_is_answered_with_its_own_time(client: Client) -> None:
    (ack,) = client.beat(id="h")
    assert (ack["t"], ack["re"], ack["payload"]) == (
        "heartbeat_ack",
        "h",
        {"clientTimeMs": 5.5, "serverTimeMs": START_MS},
    )


@pytest.mark.parametrize(("last_seq", "asks"), [(None, False), (9, False), (12, False), (8, True), (0, True)])
def test_a_gap_is_passed_on(client: Client, last_seq: int | None, asks: bool) -> None:
    client.enter()
    client.port.positions[HALL] = (Epoch(3), Seq(9))
    *asked, ack = client.beat(HALL, last_seq)
    assert ack["payload"]["seq"] == 9
    assert asked == ([CatchUp(HALL, ConnNumber(7), Epoch(3), Seq(last_seq or 0))] if asks else [])


def test_a_heartbeat_of_a_room_that_one_is_not_in_tells_nothing_of_it(client: Client) -> None:
    client.port.positions[HALL] = (Epoch(3), Seq(9))
    assert "seq" not in client.beat(HALL, 0)[0]["payload"]
    client.join()
    assert "seq" not in client.beat(HALL, 0)[0]["payload"]


def test_a_busy_cluster_does_not_keep_a_heartbeat_from_its_answer(client: Client) -> None:
    client.enter()
    client.port.positions[HALL] = (Epoch(3), Seq(9))
    client.port.busy = True
    assert [event["t"] for event in client.beat(HALL, 1)] == ["heartbeat_ack"]


# --- deadlines --------------------------------------------------------------------------------------------


def test_a_nameless_connection_ends_after_ten_seconds(client: Client) -> None:
    client.wait(9_000)
    client.beat()
    assert client.wait(999) == []
    ((code, _),) = client.wait(1)
    assert code is CloseCode.NOT_AUTHENTICATED
    assert client.connection.is_closing


def test_a_bad_token_does_not_count_as_a_name(client: Client) -> None:
    client.join(token="invalid")
    assert client.wait(10_000)[-1][0] is CloseCode.NOT_AUTHENTICATED


def test_a_silent_connection_ends_after_its_timeout() -> None:
    client = Client(upgrade=f"{ADA} * {TOKEN_LIFE_MS}")
    assert client.wait(44_999) == []
    assert client.wait(1) == [(CloseCode.NO_HEARTBEAT, "no heartbeat")]


def test_a_jump_of_the_clock_closes_nobody_and_keeps_nobody_alive() -> None:
    # When the host's clock was set forward by a minute, every connection of the edge was closed with 4408.
    client = Client(upgrade=f"{ADA} * {100 * TOKEN_LIFE_MS}")
    client.now_ms += 3_600_000
    client.connection.clock_jumped(client.now_ms)
    assert client.wait(44_999) == []
    assert client.wait(1) == [(CloseCode.NO_HEARTBEAT, "no heartbeat")]


@pytest.mark.parametrize("sign", ["beat", "move", "binary"])
def test_whatever_is_heard_counts_as_a_sign_of_life(sign: str) -> None:
    client = Client(upgrade=f"{ADA} * {10 * TOKEN_LIFE_MS}")
    for _ in range(5):
        assert client.wait(44_999) == []
        if sign == "binary":
            client.connection.receive_binary(client.now_ms)
        else:
            getattr(client, sign)()
        client.port.take()
    assert client.wait(45_000)[-1][0] is CloseCode.NO_HEARTBEAT


def keep_alive(client: Client, duration_ms: int) -> list[Any]:
    """Let time pass with heartbeats; returns what else happened."""
    done: list[Any] = []
    for _ in range(0, duration_ms, 10_000):
        done += client.wait(10_000)
        done += [event for event in client.beat() if not (isinstance(event, dict) and event["t"] == "heartbeat_ack")]
    return done


def test_an_expired_token_is_told_and_after_the_grace_the_room_is_lost(client: Client) -> None:
    client.enter().enter(YARD, token=f"{ADA} {YARD} {10 * TOKEN_LIFE_MS}")
    (expired,) = keep_alive(client, TOKEN_LIFE_MS)
    assert told(expired) == ("auth_error", None, "token_expired")
    assert expired["payload"]["roomId"] == HALL
    assert isinstance(client.chat()[0], Post)
    assert client.wait(29_999) == []
    assert client.wait(1) == [("unsubscribe", HALL), Disconnect(HALL, ConnNumber(7))]
    assert client.rooms() == [YARD]
    assert told(client.chat()[0])[2] == "not_joined"


def test_a_new_token_within_the_grace_keeps_the_room(client: Client) -> None:
    client.enter()
    keep_alive(client, TOKEN_LIFE_MS)
    client.join(token=f"{ADA} {HALL} {3 * TOKEN_LIFE_MS}")
    assert keep_alive(client, 60_000) == []
    assert client.rooms() == [HALL]


def test_without_grace_the_room_is_lost_with_the_token() -> None:
    client = Client(token_grace_ms=0)
    client.enter(token=f"{ADA} {HALL} 1000")
    expired, *lost = client.wait(1_000)
    assert told(expired)[2] == "token_expired"
    assert lost == [("unsubscribe", HALL), Disconnect(HALL, ConnNumber(7))]


def test_a_room_that_was_left_is_not_lost_as_well(client: Client) -> None:
    client.enter().leave()
    client.connection.end()
    assert client.port.take() == [("unsubscribe", HALL)]


# --- bad frames and floods --------------------------------------------------------------------------------


def test_a_bad_frame_is_answered_and_changes_nothing(client: Client) -> None:
    (error,) = client.raw(b'{"v":1,"t":"emote","ts":1,"id":"x","payload":{}}')
    assert told(error) == ("error", "x", "invalid_payload")
    assert told(client.raw(b"\xff")[0])[2] == "malformed"


def test_a_binary_frame_is_a_bad_frame(client: Client) -> None:
    client.connection.receive_binary(client.now_ms)
    assert told(client.port.take()[0])[2] == "malformed"


def test_too_many_bad_frames_end_the_connection() -> None:
    client = Client(malformed_max=3)
    for _ in range(3):
        assert told(client.raw(b"[]")[0])[2] == "malformed"
    error, (code, _) = client.raw(b"[]")
    assert told(error)[2] == "malformed"
    assert code is CloseCode.MALFORMED
    client = Client(malformed_max=3)
    for _ in range(10):
        client.now_ms += 20_000
        assert len(client.raw(b"[]")) == 1


def test_names_that_this_server_does_not_know_are_not_counted() -> None:
    client = Client(malformed_max=1)
    for _ in range(50):
        assert told(client.send("later", {})[0])[2] == "unknown_event"


def test_a_flood_ends_the_connection() -> None:
    client = Client(messages_burst=5, messages_per_second_max=1.0)
    assert all(len(client.beat()) == 1 for _ in range(5))
    assert client.beat() == [(CloseCode.FLOODING, "too many messages")]
    assert client.beat() == []
    client.connection.receive_binary(client.now_ms)
    client.connection.check_deadlines(client.now_ms + 10**9)
    assert client.port.take() == []


# --- the end ----------------------------------------------------------------------------------------------


def test_the_end_of_the_socket_is_told_to_all_rooms_once(client: Client) -> None:
    client.enter().enter(YARD)
    client.port.busy = True
    client.connection.end()
    assert client.port.take() == [
        ("unsubscribe", HALL),
        Disconnect(HALL, ConnNumber(7)),
        ("unsubscribe", YARD),
        Disconnect(YARD, ConnNumber(7)),
    ]
    client.connection.end()
    assert client.port.take() == []
    assert client.beat() == []


def test_draining_tells_when_to_come_back_and_closes(client: Client) -> None:
    client.enter()
    client.connection.drain(1_234, client.now_ms)
    told_to_go, (code, _) = client.port.take()
    assert (told_to_go["t"], told_to_go["payload"]) == ("server_draining", {"reconnectAfterMs": 1_234})
    assert code is CloseCode.RESTARTING
    client.connection.drain(1, client.now_ms)
    assert client.port.take() == []
    # The rooms are told how long to wait for it.
    client.connection.end()
    assert client.port.take() == [("unsubscribe", HALL), Disconnect(HALL, ConnNumber(7), 1_234)]


# --- laws -------------------------------------------------------------------------------------------------

Act = Callable[[Client], object]
acts: list[Act] = [
    lambda client: client.join(),
    lambda client: client.join(YARD),
    lambda client: client.join(token="invalid"),
    lambda client: client.leave(),
    lambda client: client.leave(YARD),
    lambda client: client.chat(),
    lambda client: client.beat(HALL, 0),
    lambda client: client.raw(b"nonsense"),
    lambda client: client.connection.attached(HALL, 0),
    lambda client: client.connection.attached(YARD, 0),
    lambda client: client.connection.detached(HALL, refused=False),
    lambda client: client.connection.detached(YARD, refused=True),
    lambda client: client.connection.rejoin(HALL, (Epoch(1), Seq(1))),
    lambda client: client.wait(7_000),
    lambda client: client.wait(400_000),
    lambda client: setattr(client.port, "busy", not client.port.busy),
]


@given(st.lists(st.sampled_from(acts), min_size=5, max_size=60))
def test_a_room_hears_of_every_end_that_it_must_hear_of(course: list[Act]) -> None:
    """Whoever sent a room a `Join` and no `Leave` since, sends it a `Disconnect` when the socket ends."""
    client = Client()
    commands: list[Any] = []
    client.port.take = lambda: []  # type: ignore[method-assign]
    for act in course:
        act(client)
    client.connection.end()
    commands = [command for command in client.port.done if isinstance(command, Join | Leave | Disconnect)]
    for room in (HALL, YARD):
        of_room = [command for command in commands if command.room_id == room]
        inside = False
        for command in of_room:
            assert isinstance(command, Join) or inside, "a room heard of an end without a beginning"
            inside = isinstance(command, Join)
        refused = room == YARD and any(act is acts[11] for act in course)
        assert not inside or refused
    assert client.rooms() == []


def test_a_connection_has_no_dict_of_its_attributes(client: Client) -> None:
    """An edge has thousands that do nothing, and each counts."""
    assert not hasattr(client.connection, "__dict__")
