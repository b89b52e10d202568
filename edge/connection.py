"""One client's side of the contract: frames in, frames and commands out. No IO, no clock.

Owns what the edge decides by itself: the form of messages, tokens, who the connection is, in which rooms it
is, heartbeats, and when it must end. Everything about a room is a command to its worker. The shell gives a
`ConnectionPort` through which effects leave, in order.

A connection is one person: the first good token says who; a token of somebody else is refused.
"""

from functools import cache
from typing import Final, Protocol

from msgspec import UNSET, Struct, UnsetType, structs

from common.codec import BadFrame, decode, encode_event
from common.commands import Active, AnyRoomCommand, Call, CatchUp, Disconnect, Identity, Join, Leave, Post
from common.errors import AuthErrorCode, CloseCode, ErrorCode
from common.ids import INBOX_KIND, THREAD_KIND, ConnNumber, Epoch, RoomId, Seq, UserId, inbox_of, kind_of, thread_of
from common.messages import (
    FRAME_BYTES_MAX,
    AvatarTransform,
    BlockUser,
    Device,
    DirectSend,
    ErrorEvent,
    FriendAdd,
    FriendRemove,
    Heartbeat,
    HeartbeatAck,
    JoinRoom,
    LeaveRoom,
    LeftRoom,
    Limits,
    PresenceSubscribe,
    PresenceUnsubscribe,
    ReadUpTo,
    RoomMessage,
    ServerDraining,
    ServerEvent,
    Typing,
    UnblockUser,
    Welcome,
    auth_refusal,
    refusal,
)
from common.settings import EdgeSettings
from common.token_bucket import Rate, TokenBucket
from edge.tokens import Claims, TokenVerifier

JOIN_RATE: Final = Rate(5.0, 30.0)
"""Joins of one connection: each tells a whole room; nobody walks through more doors by hand."""

CHAT_CHARACTERS_MAX: Final = 240

NAME_CHARACTERS_MAX: Final = 64
DEFAULT_AVATAR_ID: Final = "default"

ACTIVE_INTERVAL_MS: Final = 30_000
"""How often the inbox is told at most that the person does something."""


@cache
def _rate(per_second: float, burst: float) -> Rate:
    return Rate(per_second, burst)


class ConnectionPort(Protocol):
    """What a connection may do to the world."""

    def send(self, message: bytes) -> None:
        """Send one message to the client."""
        ...

    def forward(self, command: AnyRoomCommand, *, must: bool) -> bool:
        """Pass a command to the room's worker. False: the cluster is busy and it was not taken (never with `must`)."""
        ...

    def close(self, code: CloseCode, reason: str) -> None:
        """End the connection after what was sent. Nothing is called on the port after it."""
        ...

    def unsubscribe(self, room_id: RoomId) -> None:
        """The connection is no longer in the room; deliver nothing more of it."""
        ...

    def position(self, room_id: RoomId) -> tuple[Epoch, Seq] | None:
        """Where the room stands as far as this edge knows."""
        ...

    def note(self, event: str, room_id: RoomId | None, detail: str) -> None:
        """Something for the log and the numbers: `auth_error`, `joined`, `left`, `malformed`, `busy`."""
        ...


class Subscription(Struct):
    """A room that the connection is in, or asked to be in.

    `wanted` follows what the client said last, `joined` what the worker answered. `told_expired`: the client
    was told that the token's time is over.
    """

    last_join: Join
    expires_at_ms: int
    wanted: bool = True
    joined: bool = False
    told_expired: bool = False
    is_quiet: bool = False
    """The own inbox, which the edge joined and the client did not: the client is told nothing of the joining."""
    stood_at: tuple[Epoch, Seq] | None = None
    """Where the room stood when a repair began that was not answered yet."""
    repairs: int = 0
    """Repairs asked for so far; only the answer to the last one counts."""


class Connection:
    """A client on this edge. All times are in ms; `now_ms` is wall time."""

    # An edge has thousands: with slots, and rates that all share, each takes 0.2 KiB less.
    __slots__ = (
        "_closing",
        "_device",
        "_flood",
        "_flood_rate",
        "_heard_at_ms",
        "_hold_ms",
        "_identity",
        "_inbox_id",
        "_joins",
        "_malformed",
        "_malformed_rate",
        "_opened_at_ms",
        "_port",
        "_settings",
        "_told_active_at_ms",
        "_upgrade_claims",
        "_verifier",
        "connection_id",
        "messages_in",
        "number",
        "rooms",
        "rooms_at_end",
        "user_id",
    )

    def __init__(
        self,
        connection_id: str,
        number: ConnNumber,
        settings: EdgeSettings,
        verifier: TokenVerifier,
        port: ConnectionPort,
        now_ms: int,
    ) -> None:
        self.connection_id = connection_id
        self.number = number
        self.user_id: UserId | None = None
        self.rooms: dict[RoomId, Subscription] = {}
        self.messages_in = 0
        self.rooms_at_end = 0
        """In how many rooms the connection was when it ended; for the log."""
        self._settings = settings
        self._verifier = verifier
        self._port = port
        self._opened_at_ms = now_ms
        self._heard_at_ms = now_ms
        self._upgrade_claims: Claims | None = None
        self._identity: Identity | None = None
        self._device: Device = "desktop"
        self._inbox_id: RoomId | None = None
        self._told_active_at_ms = 0
        self._closing = False
        self._hold_ms = 0
        self._flood = TokenBucket()
        self._flood_rate = _rate(settings.messages_per_second_max, settings.messages_burst)
        self._malformed = TokenBucket()
        self._malformed_rate = _rate(settings.malformed_max / 60.0, settings.malformed_max)
        self._joins = TokenBucket()

    @property
    def is_closing(self) -> bool:
        """Whether the connection has been asked to end."""
        return self._closing

    def open(self, upgrade_token: str | None, now_ms: int) -> None:
        """Greet the client; check the token that came with the upgrade request, if one did."""
        settings = self._settings
        self._send(
            Welcome(
                self.connection_id,
                now_ms,
                settings.heartbeat_interval_ms,
                settings.heartbeat_timeout_ms,
                Limits(
                    FRAME_BYTES_MAX,
                    settings.rooms_per_connection_max,
                    CHAT_CHARACTERS_MAX,
                    settings.transforms_per_second_desktop,
                    settings.transforms_per_second_mobile,
                    settings.chat_per_second,
                    settings.chat_burst,
                    settings.auth_timeout_ms,
                ),
            ),
            now_ms,
        )
        if upgrade_token is None:
            return
        claims = self._verifier.verify(upgrade_token)
        if isinstance(claims, Claims):
            self._upgrade_claims = claims
            name = claims.display_name or claims.user_id[:NAME_CHARACTERS_MAX]
            identity = Identity(claims.user_id, name, claims.avatar_id or DEFAULT_AVATAR_ID, claims.roles)
            self._sign_in(identity, claims, now_ms)
        else:
            self._refuse_auth(claims, UNSET, None, now_ms)

    def receive(self, frame: bytes, now_ms: int) -> None:
        """Take one text frame."""
        if self._closing:
            return
        self._heard_at_ms = now_ms
        self.messages_in += 1
        if self._flood.take(self._flood_rate, now_ms):
            self._close(CloseCode.FLOODING, "too many messages")
            return
        message = decode(frame)
        match message:
            case BadFrame():
                self._bad_frame(message, now_ms)
            case JoinRoom():
                self._join(message, now_ms)
            case LeaveRoom():
                self._leave(message, now_ms)
            case Heartbeat():
                self._heartbeat(message, now_ms)
            case _:
                self._post(message, now_ms)

    def receive_binary(self, now_ms: int) -> None:
        """Take a binary frame: the contract has none."""
        if self._closing:
            return
        self._heard_at_ms = now_ms
        self._bad_frame(BadFrame(ErrorCode.MALFORMED, "Binary frames are not taken; send JSON text"), now_ms)

    def receive_ping(self, now_ms: int) -> None:
        """Take a ping: no sign of life, but it costs as much as a message."""
        if not self._closing and self._flood.take(self._flood_rate, now_ms):
            self._close(CloseCode.FLOODING, "too many pings")

    def next_deadline_ms(self) -> int:
        """When `check_deadlines` must be called at the latest."""
        deadline_ms = self._heard_at_ms + self._settings.heartbeat_timeout_ms
        if self.user_id is None:
            deadline_ms = min(deadline_ms, self._opened_at_ms + self._settings.auth_timeout_ms)
        for subscription in self.rooms.values():
            deadline_ms = min(deadline_ms, self._expiry_ms(subscription))
        return deadline_ms

    def check_deadlines(self, now_ms: int) -> None:
        """Do what is due: close a silent or nameless connection, tell of expired tokens."""
        if self._closing:
            return
        if now_ms >= self._heard_at_ms + self._settings.heartbeat_timeout_ms:
            self._close(CloseCode.NO_HEARTBEAT, "no heartbeat")
            return
        if self.user_id is None and now_ms >= self._opened_at_ms + self._settings.auth_timeout_ms:
            self._close(CloseCode.NOT_AUTHENTICATED, "not authenticated in time")
            return
        for room_id, subscription in list(self.rooms.items()):
            if self._closing or now_ms < self._expiry_ms(subscription):
                continue
            if not (subscription.told_expired or subscription.is_quiet):
                subscription.told_expired = True
                self._refuse_auth(AuthErrorCode.TOKEN_EXPIRED, UNSET, room_id, now_ms)
            else:
                self._lose_room(room_id)

    def clock_jumped(self, now_ms: int) -> None:
        """The host's clock was set: what counts from the last sign of life counts from now."""
        self._heard_at_ms = self._opened_at_ms = now_ms

    def drain(self, reconnect_after_ms: int, now_ms: int) -> None:
        """Tell the client that this edge goes away, and end the connection. Its rooms wait for it that much longer."""
        if not self._closing:
            self._hold_ms = reconnect_after_ms
            self._send(ServerDraining(reconnect_after_ms), now_ms)
            self._close(CloseCode.RESTARTING, "restarting")

    def end(self) -> None:
        """The socket is gone, or about to go: tell the workers. Idempotent."""
        self._closing = True
        joined = sum(not subscription.is_quiet for subscription in self.rooms.values())
        self.rooms_at_end = max(self.rooms_at_end, joined)
        for room_id in list(self.rooms):
            self._lose_room(room_id)

    # --- what workers answered ----------------------------------------------------------------------------

    def attached(self, room_id: RoomId, attempt: int) -> bool:
        """The worker let the connection in, or answered a repair.

        Returns: whether to deliver it. Not where the client has left meanwhile, or a later repair is under way, whose
        answer would tell the client the same once more.
        """
        subscription = self.rooms.get(room_id)
        if subscription is None or not subscription.wanted or 0 < attempt < subscription.repairs:
            return False
        subscription.stood_at = None
        if not subscription.joined:
            subscription.joined = True
            if not subscription.is_quiet:
                self._port.note("joined", room_id, "")
        return True

    def detached(self, room_id: RoomId, *, refused: bool) -> None:
        """The worker let the connection go, or did not let it in."""
        subscription = self.rooms.get(room_id)
        if subscription is None:
            return
        subscription.joined = False
        # After a leave the client may have asked to come in again; that answer is still on its way.
        if refused or not subscription.wanted:
            del self.rooms[room_id]
            if not subscription.is_quiet:
                self._port.note("left", room_id, "refused" if refused else "")

    def is_joined(self, room_id: RoomId) -> bool:
        """Tell whether the client is in a room, as far as this edge knows."""
        subscription = self.rooms.get(room_id)
        return subscription is not None and subscription.wanted and subscription.joined

    def rooms_wanted(self) -> list[RoomId]:
        """Return the rooms that the client is in, or asked to be in."""
        return [room_id for room_id, subscription in self.rooms.items() if subscription.wanted]

    def rejoin(self, room_id: RoomId, position: tuple[Epoch, Seq] | None) -> AnyRoomCommand | None:
        """Return the command that brings the client up to date in a room; None where it is not in it.

        Args:
            position: where the room stood on this edge when it lost track; None where it does not know.
        """
        subscription = self.rooms.get(room_id)
        if subscription is None or not subscription.wanted:
            return None
        if not subscription.joined:
            return subscription.last_join
        subscription.stood_at = subscription.stood_at or position or (Epoch(0), Seq(0))
        subscription.repairs += 1
        epoch, seq = subscription.stood_at
        return structs.replace(
            subscription.last_join,
            resume_epoch=epoch,
            resume_seq=seq,
            re=None,
            repair=True,
            attempt=subscription.repairs,
        )

    # --- the own inbox ------------------------------------------------------------------------------------

    def _sign_in(self, identity: Identity, claims: Claims, now_ms: int) -> None:
        """A good token was shown: this connection is the person's, and belongs into the person's inbox."""
        self.user_id = identity.user_id
        self._identity, self._device = identity, claims.device
        inbox_id = self._inbox_id = inbox_of(identity.user_id)
        subscription = self.rooms.get(inbox_id)
        if subscription is not None:
            # It stays for as long as any of the tokens is good.
            subscription.expires_at_ms = max(subscription.expires_at_ms, claims.expires_at_ms)
            return
        join = Join(inbox_id, self.number, identity, claims.device, quiet=True)
        # Where the cluster is busy the next good token tries again.
        if self._port.forward(join, must=False):
            self.rooms[inbox_id] = Subscription(join, claims.expires_at_ms, is_quiet=True)
            self._told_active_at_ms = now_ms

    def _be_active(self, now_ms: int) -> None:
        if self._inbox_id is None or now_ms - self._told_active_at_ms < ACTIVE_INTERVAL_MS:
            return
        self._told_active_at_ms = now_ms
        if self._inbox_id in self.rooms:
            self._port.forward(Active(self._inbox_id, self.number), must=False)

    # --- messages -----------------------------------------------------------------------------------------

    def _join(self, message: JoinRoom, now_ms: int) -> None:
        payload = message.payload
        room_id = RoomId(payload.roomId)
        if self._joins.take(JOIN_RATE, now_ms):
            self._error(ErrorCode.RATE_LIMITED, message.id, room_id, now_ms)
            return
        claims: Claims | AuthErrorCode = AuthErrorCode.TOKEN_INVALID
        if payload.token is not UNSET:
            claims = self._verifier.verify(payload.token)
        elif self._upgrade_claims is not None:
            expired = self._upgrade_claims.expires_at_ms <= now_ms
            claims = AuthErrorCode.TOKEN_EXPIRED if expired else self._upgrade_claims
        if isinstance(claims, AuthErrorCode):
            self._refuse_auth(claims, message.id, room_id, now_ms)
            return
        kind = kind_of(room_id)
        allowed = room_id == inbox_of(claims.user_id) if kind == INBOX_KIND else claims.allows(room_id)
        if not allowed:
            self._refuse_auth(AuthErrorCode.ROOM_MISMATCH, message.id, room_id, now_ms)
            return
        if claims.user_id != payload.user.userId or self.user_id not in (None, claims.user_id):
            self._refuse_auth(AuthErrorCode.USER_MISMATCH, message.id, room_id, now_ms)
            return
        identity = Identity(
            claims.user_id,
            claims.display_name or payload.user.displayName,
            claims.avatar_id or payload.user.avatarId,
            claims.roles,
        )
        if kind == INBOX_KIND:
            self.user_id = claims.user_id
            self._identity, self._device, self._inbox_id = identity, claims.device, room_id
        else:
            self._sign_in(identity, claims, now_ms)
        rooms = sum(not subscription.is_quiet for subscription in self.rooms.values())
        known = self.rooms.get(room_id)
        if (known is None or known.is_quiet) and rooms >= self._settings.rooms_per_connection_max:
            self._error(ErrorCode.TOO_MANY_ROOMS, message.id, room_id, now_ms)
            return
        resume = payload.resume
        join = Join(
            room_id,
            self.number,
            identity,
            claims.device,
            None if resume is UNSET else Epoch(resume.epoch),
            Seq(0) if resume is UNSET else Seq(resume.lastSeq),
            None if message.id is UNSET else message.id,
        )
        if not self._port.forward(join, must=False):
            self._error(ErrorCode.BUSY, message.id, room_id, now_ms)
            return
        subscription = self.rooms[room_id] = Subscription(join, claims.expires_at_ms)
        if known is not None and known.wanted:
            # Until the answer comes the client is where it was, also if a repair is under way.
            subscription.joined, subscription.stood_at = known.joined, known.stood_at
            subscription.repairs = known.repairs

    def _leave(self, message: LeaveRoom, now_ms: int) -> None:
        room_id = RoomId(message.payload.roomId)
        subscription = self.rooms.get(room_id)
        if subscription is None or not subscription.wanted:
            self._send(LeftRoom(room_id), now_ms, re=message.id)
            return
        subscription.wanted = False
        subscription.joined = False
        self._port.unsubscribe(room_id)
        self._port.forward(Leave(room_id, self.number, None if message.id is UNSET else message.id), must=True)

    def _heartbeat(self, message: Heartbeat, now_ms: int) -> None:
        payload = message.payload
        seq: int | UnsetType = UNSET
        if payload.roomId is not UNSET:
            room_id = RoomId(payload.roomId)
            subscription = self.rooms.get(room_id)
            position = self._port.position(room_id) if subscription is not None and subscription.joined else None
            if position is not None:
                epoch, seq = position
                if payload.lastSeq is not UNSET and payload.lastSeq < seq:
                    self._port.forward(CatchUp(room_id, self.number, epoch, Seq(payload.lastSeq)), must=False)
        self._send(HeartbeatAck(payload.clientTimeMs, now_ms, seq), now_ms, re=message.id)

    def _post(self, message: RoomMessage, now_ms: int) -> None:
        command = self._command(message, now_ms)
        if command is None:
            return
        taken = self._port.forward(command, must=False)
        if not taken and not isinstance(message, AvatarTransform):
            self._error(ErrorCode.BUSY, message.id, command.room_id, now_ms)
        self._be_active(now_ms)

    def _command(self, message: RoomMessage, now_ms: int) -> Post | Call | None:
        """Return the command that carries a message to where it belongs; None where it was answered already."""
        identity, room_id = self._identity, self._addressed(message)
        if room_id is None:
            if identity is None:
                self._error(ErrorCode.NOT_SIGNED_IN, message.id, UNSET, now_ms)
            else:
                text = "Object missing required field `roomId` or `recipientId` - at `$.payload`"
                self._send(ErrorEvent(ErrorCode.INVALID_PAYLOAD, text), now_ms, re=message.id)
            return None
        if kind_of(room_id) == THREAD_KIND:
            if identity is None:
                self._error(ErrorCode.NOT_SIGNED_IN, message.id, room_id, now_ms)
                return None
            return Call(room_id, self.number, identity, self._device, message)
        subscription = self.rooms.get(room_id)
        if subscription is None or not subscription.wanted:
            self._error(ErrorCode.NOT_JOINED, message.id, room_id, now_ms)
            return None
        return Post(room_id, self.number, message)

    def _addressed(self, message: RoomMessage) -> RoomId | None:
        """Return the room that a message is for; None where that is unknown, or depends on who this is."""
        match message:
            case DirectSend():
                return None if self.user_id is None else thread_of(self.user_id, UserId(message.payload.recipientId))
            case FriendAdd() | FriendRemove():
                return None if self.user_id is None else thread_of(self.user_id, UserId(message.payload.userId))
            case PresenceSubscribe() | PresenceUnsubscribe() | BlockUser() | UnblockUser():
                return self._inbox_id
            case ReadUpTo():
                return RoomId(message.payload.threadId)
            case Typing():
                if message.payload.roomId is not UNSET:
                    return RoomId(message.payload.roomId)
                if message.payload.recipientId is UNSET or self.user_id is None:
                    return None
                return thread_of(self.user_id, UserId(message.payload.recipientId))
            case _:
                return RoomId(message.payload.roomId)

    def _bad_frame(self, bad: BadFrame, now_ms: int) -> None:
        self._send(ErrorEvent(bad.code, bad.message), now_ms, re=bad.re)
        # A newer client may know more events than this server; that is no malformed message.
        if bad.code is not ErrorCode.UNKNOWN_EVENT and self._malformed.take(self._malformed_rate, now_ms):
            self._close(CloseCode.MALFORMED, "too many malformed messages")

    # --- helpers ------------------------------------------------------------------------------------------

    def _expiry_ms(self, subscription: Subscription) -> int:
        grace = subscription.told_expired or subscription.is_quiet
        return subscription.expires_at_ms + (self._settings.token_grace_ms if grace else 0)

    def _lose_room(self, room_id: RoomId) -> None:
        subscription = self.rooms.pop(room_id)
        self._port.unsubscribe(room_id)
        if subscription.wanted:
            self._port.forward(Disconnect(room_id, self.number, self._hold_ms), must=True)

    def _refuse_auth(self, code: AuthErrorCode, re: str | UnsetType, room_id: RoomId | None, now_ms: int) -> None:
        self._port.note("auth_error", room_id, code)
        self._send(auth_refusal(code, UNSET if room_id is None else room_id), now_ms, re=re)

    def _error(self, code: ErrorCode, re: str | UnsetType, room_id: RoomId | UnsetType, now_ms: int) -> None:
        self._send(refusal(code, room_id), now_ms, re=re)

    def _send(self, event: ServerEvent, now_ms: int, *, re: str | UnsetType = UNSET) -> None:
        self._port.send(encode_event(event, now_ms, re=re))

    def _close(self, code: CloseCode, reason: str) -> None:
        self._closing = True
        self._port.close(code, reason)
