"""One client that follows the contract through all that happens: comes back, resumes, and sends again.

It never decides when to speak; `crowd.py` does. It writes down everything that it sends, is answered and receives.
"""

import random
import time
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from msgspec import Struct, json

from common.settings import DEV_TOKEN_SECRET
from edge.tokens import mint
from loadtest.chaos.journal import Log, Pace
from loadtest.chaos.visitor import Visitor, now_ms
from loadtest.observations import Acked, Moved, Received, Refused, Resynced, Sent, State

ANSWER_TIMEOUT_S: Final = 5.0
"""What was not answered for so long is sent again: above a takeover."""
RETRY_S: Final = 0.3
"""After `busy` and its like."""
HEARTBEAT_S: Final = 10.0
PENDING_MAX: Final = 64


class _Member(Struct, gc=False):
    userId: str = ""  # noqa: N815


class _Payload(Struct, gc=False):
    roomId: str = ""  # noqa: N815
    userId: str = ""  # noqa: N815
    seq: int = 0
    x: float = 0.0
    y: float = 0.0
    epoch: int = 0
    recovered: bool = False
    text: str = ""
    code: str = ""
    reason: str | None = ""
    emoteId: str = ""  # noqa: N815
    reconnectAfterMs: int = 0  # noqa: N815
    member: _Member | None = None
    members: list[_Member] = []


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

    text: str
    first_ms: float
    last_ms: float
    times: int = 1


class ChaosClient(Visitor):
    """One person in one room. `run` lives until `stop`."""

    def __init__(self, user: str, room: str, urls: list[str], log: Log, pace: Pace, dice: random.Random) -> None:
        super().__init__(user, urls, log, dice)
        self.room = room
        self.members: set[str] = set()
        self._state_at = (0, 0)
        """Where the last state stood; further parts of it say the same."""
        """Who is in the room, by the newest state and all that followed it."""
        self.position: tuple[int, int] | None = None
        self.pending: dict[str, _Pending] = {}
        self._pace = pace
        self._resume_asked: tuple[int, int] | None = None
        self._said = 0
        self._step = 0
        self._move_number = 0
        self._joins = 0
        self._is_joining = False
        self._moves: dict[int, float] = {}
        self._hold_until_s = 0.0
        self._must_send_again = False
        self._join_again_s = 0.0
        self._heartbeat_s = 0.0
        now_s = int(time.time())
        claims = {
            "sub": user,
            "room": room,
            "iat": now_s,
            "exp": now_s + 7200,
            "iss": "roomring",
            "aud": "roomring",
            "device": "desktop",
        }
        self._token = mint(DEV_TOKEN_SECRET, algorithm="HS256", claims=claims)

    def left(self) -> None:
        """Take note that the connection is gone."""
        self._moves.clear()

    def _join(self) -> None:
        self._join_again_s = time.monotonic() + ANSWER_TIMEOUT_S
        self._resume_asked = self.position
        self._is_joining = True
        user = {"userId": self.user, "displayName": self.user, "avatarId": "fox"}
        payload: dict[str, Any] = {"roomId": self.room, "user": user, "token": self._token}
        if self.position is not None:
            payload["resume"] = {"epoch": self.position[0], "lastSeq": self.position[1]}
        self._send("join_room", payload, id="join")

    # --- speaking -----------------------------------------------------------------------------------------

    def say(self) -> None:
        """Say the next thing, if this client is in the room and what it said is being answered."""
        if not self.joined or len(self.pending) >= PENDING_MAX:
            return
        self._said += 1
        text = f"{self.user}-{self._said}"
        at_ms = now_ms()
        self.pending[text] = _Pending(text, at_ms, at_ms)
        # While older messages wait to be sent again, newer ones wait behind them.
        if not self._must_send_again:
            self._say(text)

    def move(self) -> None:
        """Make the next step."""
        if not self.joined:
            return
        self._step += 1
        self._move_number += 1
        self._moves[self._step] = now_ms()
        if len(self._moves) > PENDING_MAX:
            del self._moves[next(iter(self._moves))]
        place = {"x": self._step, "y": self._joins, "z": 0, "rotY": 0, "anim": "walk", "speaking": False}
        self._send("avatar_transform", {"roomId": self.room, "seq": self._move_number, **place})

    def look_after(self, now_s: float) -> None:
        """Send again what should have been answered, and say that one lives. Call it several times a second."""
        if self._socket is None:
            return
        if not self.joined:
            if now_s >= self._join_again_s and self._socket.is_welcome:
                self._join()
            return
        if now_s >= self._heartbeat_s:
            self._heartbeat_s = now_s + HEARTBEAT_S
            # Without `lastSeq`: it would have what is missing replayed, and hide the gaps that are looked for.
            self._send("heartbeat", {"clientTimeMs": int(time.time() * 1000)})
        oldest = next(iter(self.pending.values()), None)
        if oldest is not None and now_ms() - oldest.last_ms > ANSWER_TIMEOUT_S * 1000:
            self._must_send_again = True
        if self._must_send_again and now_s >= self._hold_until_s:
            self._send_again()

    def _send_again(self) -> None:
        self._must_send_again = False
        at_ms = now_ms()
        for text, pending in self.pending.items():
            pending.last_ms = at_ms
            pending.times += 1
            self.resent += 1
            self._say(text)

    def _say(self, text: str) -> None:
        self.log.add(Sent(self.user, self.user, now_ms(), self.room, text, "local_chat", text))
        self._send("local_chat", {"roomId": self.room, "text": text, "mode": "local"}, id=text)

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
            case "avatar_transform_broadcast":
                step = int(payload.x)
                mover, join = payload.userId, int(payload.y)
                self.log.add(Moved(self.user, self.user, at_ms, self.room, mover, payload.seq, step, join))
                if payload.userId == self.user and (sent_ms := self._moves.pop(step, None)) is not None:
                    self._pace.wait(self.room, sent_ms, at_ms)
            case "welcome":
                assert self._socket is not None
                self._socket.is_welcome = True
                self._join()
            case "room_state":
                self._state(frame, at_ms)
            case "room_members":
                if (payload.epoch, payload.seq) == self._state_at:
                    self.members.update(member.userId for member in payload.members)
            case "ack":
                self._acknowledged(frame, at_ms)
            case "error" | "rate_limited" | "auth_error":
                self._refused(frame, at_ms)
            case "resync":
                self.log.add(Resynced(self.user, self.user, at_ms, self.room, payload.reason or ""))
                self.resynced_ms.append(at_ms)
            case "server_draining":
                self._draining(payload.reconnectAfterMs / 1000)
            case _ if frame.epoch:
                self._received(frame, at_ms)

    def _state(self, frame: _Frame, at_ms: float) -> None:
        payload = frame.payload
        members = [member.userId for member in payload.members]
        self.members = set(members)
        self._state_at = (payload.epoch, payload.seq)
        # Only the first state after `join_room` answers it. An edge that was forgotten asks of its own accord.
        asked, self._resume_asked = self._resume_asked, None
        self.log.add(
            State(self.user, self.user, at_ms, self.room, payload.epoch, payload.seq, payload.recovered, members, asked)
        )
        if not payload.recovered:
            if asked is not None:
                self.resynced_ms.append(at_ms)
            self.position = (payload.epoch, payload.seq)
        if not self.joined:
            self.joined = True
            self.joined_ms.append(at_ms)
        if self._is_joining:
            # Movements are counted anew within each join.
            self._is_joining = False
            self._joins += 1
            self._move_number = 0
            self._moves.clear()
        self._hold_until_s = 0.0
        if self.pending:
            self._send_again()

    def _acknowledged(self, frame: _Frame, at_ms: float) -> None:
        pending = self.pending.pop(frame.re, None)
        if pending is None and not frame.re.startswith(self.user):
            return
        self.log.add(Acked(self.user, self.user, at_ms, self.room, frame.re, frame.payload.seq))
        if pending is not None and pending.times == 1:
            self._pace.wait(self.room, pending.first_ms, at_ms)

    def _refused(self, frame: _Frame, at_ms: float) -> None:
        code = frame.payload.code or frame.t
        self.refusals += 1
        if frame.re == "join" and frame.t == "error":
            self._join_again_s = time.monotonic() + RETRY_S
        elif frame.re in self.pending:
            self.log.add(Refused(self.user, self.user, at_ms, self.room, frame.re, code))
            self._must_send_again = True
            self._hold_until_s = time.monotonic() + RETRY_S
        if code == "not_joined":
            self.joined = False
            self._join_again_s = time.monotonic() + RETRY_S
        if code not in ("busy", "internal", "not_joined"):
            self.failures.append(f"{self.user} was refused: {code}")

    def _received(self, frame: _Frame, at_ms: float) -> None:
        payload = frame.payload
        actor = payload.userId or (payload.member.userId if payload.member else "")
        text = payload.text or payload.emoteId
        self.log.add(
            Received(self.user, self.user, at_ms, self.room, frame.t, frame.epoch, frame.seq, actor, text, frame.replay)
        )
        if frame.t == "member_joined":
            self.members.add(actor)
        elif frame.t == "member_left":
            self.members.discard(actor)
        place = (frame.epoch, frame.seq)
        if self.position is None or place > self.position:
            self.position = place
        self._pace.event(self.room, place, frame.ts, at_ms)
