"""One person who talks: in a lobby whose chat is kept, to a friend, and by a note on a board that others write too.

One connection, in three rooms: the lobby, the board, and the person's inbox. It keeps the contract as `client.py` does.
"""

import random
import time
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import Struct, json

from common.ids import UserId, inbox_of, thread_of
from common.settings import DEV_TOKEN_SECRET
from edge.tokens import mint
from loadtest.chaos.client import ANSWER_TIMEOUT_S, HEARTBEAT_S, PENDING_MAX, RETRY_S
from loadtest.chaos.journal import Log, Pace
from loadtest.chaos.visitor import Visitor, now_ms
from loadtest.observations import Acked, Received, Refused, Resynced, Sent, State

NOTE: Final = "shared"
"""The one note of a board, which all change."""

HARMLESS: Final = frozenset({"busy", "internal", "not_joined", "not_signed_in"})


class _Note(Struct, gc=False):
    noteId: str = ""  # noqa: N815
    revision: int = 0
    text: str = ""
    editedBy: str = ""  # noqa: N815


class _Payload(Struct, gc=False):
    roomId: str = ""  # noqa: N815
    userId: str = ""  # noqa: N815
    seq: int = 0
    epoch: int = 0
    recovered: bool = False
    text: str = ""
    code: str = ""
    reason: str | None = ""
    reconnectAfterMs: int = 0  # noqa: N815
    memberCount: int | None = None  # noqa: N815
    count: int | None = None
    status: str = ""
    note: _Note | None = None
    notes: list[_Note] = []


class _Frame(Struct, gc=False):
    t: str
    payload: _Payload
    ts: float = 0.0
    seq: int = 0
    epoch: int = 0
    re: str = ""
    replay: bool = False


_decode: Final = json.Decoder(_Frame).decode


@dataclass
class _Pending:
    """A message without an answer. Times are milliseconds of the wall clock."""

    room: str
    name: str
    payload: dict[str, Any]
    first_ms: float
    last_ms: float
    times: int = 0


class Talker(Visitor):
    """See the module. It never decides when to speak."""

    def __init__(
        self, user: str, friend: str, lobby: str, board: str, urls: list[str], log: Log, pace: Pace, dice: random.Random
    ) -> None:
        super().__init__(user, urls, log, dice)
        self.friend = friend
        self.lobby = lobby
        self.board = board
        self.inbox = inbox_of(UserId(user))
        self.thread = thread_of(UserId(user), UserId(friend))
        self.member_count: int | None = None
        """Of the lobby, as told last."""
        self.friend_status = ""
        """As told last."""
        self.last_kept: dict[str, str] = {}
        """Room -> the last thing there that was acknowledged: when it is in the database, all is."""
        self.pending: dict[str, _Pending] = {}
        self._pace = pace
        # The inbox first: it is what a person is signed in to.
        self._rooms = (self.inbox, self.lobby, self.board)
        self._places: dict[str, tuple[int, int]] = {}
        self._inside: set[str] = set()
        self._asked: dict[str, tuple[int, int] | None] = {}
        self._join_again_s = dict.fromkeys(self._rooms, 0.0)
        self._is_welcome = False
        self._joins = 0
        self._said = 0
        self._revision = 0
        self._must_send_again = False
        self._hold_until_s = 0.0
        self._heartbeat_s = 0.0
        now_s = int(time.time())
        claims = {"sub": user, "rooms": list(self._rooms), "iat": now_s, "exp": now_s + 7200, "iss": "roomring"}
        self._token = mint(
            DEV_TOKEN_SECRET, algorithm="HS256", claims={**claims, "aud": "roomring", "device": "desktop"}
        )

    def left(self) -> None:
        """Take note that the connection is gone."""
        self._inside.clear()
        self._asked.clear()
        self._is_welcome = False

    # --- speaking -----------------------------------------------------------------------------------------

    def say(self) -> None:
        """Say the next thing: in the lobby, to the friend, on the board, in turn."""
        if not self.joined or len(self.pending) >= PENDING_MAX:
            return
        self._said += 1
        text = f"{self.user}-{self._said}"
        kind = self._said % 3
        if kind == 0 and any(pending.room == self.board for pending in self.pending.values()):
            # It would be based on a revision that the one before it is about to change.
            kind = 1
        if kind == 1:
            room, name, payload = self.lobby, "chat_send", {"roomId": self.lobby, "text": text}
        elif kind == 2:
            room, name, payload = str(self.thread), "direct_send", {"recipientId": self.friend, "text": text}
        else:
            room, name, payload = self.board, *self._note_message(text)
        at_ms = now_ms()
        self.pending[text] = _Pending(room, name, payload, at_ms, at_ms)
        # While older messages wait to be sent again, newer ones wait behind them.
        if not self._must_send_again:
            self._say(text)

    def _note_message(self, text: str) -> tuple[str, dict[str, Any]]:
        note = {"roomId": self.board, "noteId": NOTE, "text": text}
        if self._revision:
            return "note_change", {**note, "revision": self._revision}
        return "note_put", {**note, "x": 0, "y": 0}

    def look_after(self, now_s: float) -> None:
        """Send again what should have been answered, and say that one lives. Call it several times a second."""
        if self._socket is None or not self._is_welcome:
            return
        for room in self._rooms:
            if room not in self._inside and now_s >= self._join_again_s[room]:
                self._join(room)
        if now_s >= self._heartbeat_s:
            self._heartbeat_s = now_s + HEARTBEAT_S
            self._send("heartbeat", {"clientTimeMs": int(time.time() * 1000)})
        if not self.joined:
            return
        oldest = next(iter(self.pending.values()), None)
        if oldest is not None and now_ms() - oldest.last_ms > ANSWER_TIMEOUT_S * 1000:
            self._must_send_again = True
        if self._must_send_again and now_s >= self._hold_until_s:
            self._send_again()

    def _join(self, room: str) -> None:
        self._joins += 1
        join_id = f"join-{self._joins}"
        place = self._places.get(room)
        self._asked[join_id] = place
        self._join_again_s[room] = time.monotonic() + ANSWER_TIMEOUT_S
        user = {"userId": self.user, "displayName": self.user, "avatarId": "fox"}
        payload: dict[str, Any] = {"roomId": room, "user": user, "token": self._token}
        if place is not None:
            payload["resume"] = {"epoch": place[0], "lastSeq": place[1]}
        self._send("join_room", payload, id=join_id)

    def _send_again(self) -> None:
        self._must_send_again = False
        for text in self.pending:
            self._say(text)

    def _say(self, text: str) -> None:
        pending = self.pending[text]
        pending.last_ms = now_ms()
        pending.times += 1
        self.resent += pending.times > 1
        self.log.add(Sent(self.user, self.user, pending.last_ms, pending.room, text, pending.name, text))
        self._send(pending.name, pending.payload, id=text)

    # --- listening ----------------------------------------------------------------------------------------

    def take(self, data: bytes) -> None:
        """Take one frame."""
        try:
            frame = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self.failures.append(f"{self.user} received what is no event: {error}: {data[:200]!r}")
            return
        at_ms = now_ms()
        payload = frame.payload
        match frame.t:
            case "welcome":
                self._is_welcome = True
                for room in self._rooms:
                    self._join(room)
            case "room_state":
                self._state(frame, at_ms)
            case "ack":
                self._acknowledged(frame, at_ms)
            case "error" | "rate_limited" | "auth_error" | "message_rejected" | "note_conflict":
                self._refused(frame, at_ms)
            case "resync":
                self.log.add(Resynced(self.user, self.user, at_ms, payload.roomId, payload.reason or ""))
                self.resynced_ms.append(at_ms)
            case "server_draining":
                self._draining(payload.reconnectAfterMs / 1000)
            case "member_count":
                self._counted(payload.roomId, payload.count)
            case "presence" if payload.userId == self.friend:
                self.friend_status = payload.status
            case _ if frame.epoch:
                self._received(frame, at_ms)

    def _state(self, frame: _Frame, at_ms: float) -> None:
        payload = frame.payload
        room = payload.roomId
        asked = self._asked.pop(frame.re, None)
        self.log.add(State(self.user, self.user, at_ms, room, payload.epoch, payload.seq, payload.recovered, [], asked))
        if not payload.recovered:
            if asked is not None:
                self.resynced_ms.append(at_ms)
            self._places[room] = (payload.epoch, payload.seq)
        if room == self.board:
            self._revision = max((note.revision for note in payload.notes if note.noteId == NOTE), default=0)
        if room == self.inbox:
            # Presence has no place in an order, so what was missed is asked for.
            self._send("presence_subscribe", {"userIds": [self.friend]})
        self._counted(room, payload.memberCount)
        self._inside.add(room)
        if not self.joined and self._inside >= set(self._rooms):
            self.joined = True
            self.joined_ms.append(at_ms)
            if self.pending:
                self._send_again()

    def _counted(self, room: str, count: int | None) -> None:
        if room == self.lobby and count is not None:
            self.member_count = count
            if count < 0:
                self.failures.append(f"{self.user} was told of {count} members of {room}")

    def _acknowledged(self, frame: _Frame, at_ms: float) -> None:
        pending = self.pending.pop(frame.re, None)
        if not frame.re.startswith(self.user):
            return
        self.log.add(Acked(self.user, self.user, at_ms, frame.payload.roomId, frame.re, frame.payload.seq))
        if pending is not None:
            self.last_kept[pending.room] = frame.re
        if pending is not None and pending.times == 1:
            self._pace.wait(pending.room, pending.first_ms, at_ms)

    def _refused(self, frame: _Frame, at_ms: float) -> None:
        code = frame.payload.code or frame.t
        self.refusals += 1
        now_s = time.monotonic()
        if frame.re in self._asked and frame.t == "error":
            self._join_again_s[frame.payload.roomId] = now_s + RETRY_S
        pending = self.pending.get(frame.re)
        if pending is not None:
            self.log.add(Refused(self.user, self.user, at_ms, pending.room, frame.re, code))
            if frame.t == "note_conflict":
                # Somebody else was faster, or the store lost what the change was based on.
                del self.pending[frame.re]
                self._revision = frame.payload.note.revision if frame.payload.note else 0
                return
            self._must_send_again = True
            self._hold_until_s = now_s + RETRY_S
        if code == "not_joined" and frame.payload.roomId in self._rooms:
            self._inside.discard(frame.payload.roomId)
            self.joined = False
            self._join_again_s[frame.payload.roomId] = now_s + RETRY_S
        if code not in HARMLESS:
            self.failures.append(f"{self.user} was refused: {code}")

    def _received(self, frame: _Frame, at_ms: float) -> None:
        payload = frame.payload
        room, note = payload.roomId, payload.note
        actor, text, revision = payload.userId, payload.text, 0
        if note is not None:
            actor, text, revision = note.editedBy, note.text, note.revision
            self._revision = max(self._revision, revision)
        here = (self.user, self.user, at_ms, room)
        self.log.add(Received(*here, frame.t, frame.epoch, frame.seq, actor, text, frame.replay, revision))
        place = (frame.epoch, frame.seq)
        if place > self._places.get(room, (0, 0)):
            self._places[room] = place
