"""All codes that a client or an operator can meet, in one place, and the exceptions of the shared layer.

Four kinds, never mixed: a reply error (the connection lives), a close code (it ends), an operational
exception (a store is away, a lease is lost) and a bug (an assertion). docs/protocol.md lists the first two;
it is generated from these tables.
"""

from enum import IntEnum, StrEnum


class ErrorCode(StrEnum):
    """`error.code`: the message had no effect; the connection goes on."""

    MALFORMED = "malformed"
    UNKNOWN_EVENT = "unknown_event"
    INVALID_PAYLOAD = "invalid_payload"
    INVALID_ROOM_ID = "invalid_room_id"
    UNSUPPORTED_KIND = "unsupported_kind"
    NOT_JOINED = "not_joined"
    NOT_ALLOWED = "not_allowed"
    NOT_SIGNED_IN = "not_signed_in"
    NOT_FOUND = "not_found"
    FILTERED = "filtered"
    LIMIT_REACHED = "limit_reached"
    TOO_MANY_ROOMS = "too_many_rooms"
    ROOM_FULL = "room_full"
    RATE_LIMITED = "rate_limited"
    MUTED = "muted"
    BUSY = "busy"
    INTERNAL = "internal"


ERROR_MEANING: dict[ErrorCode, str] = {
    ErrorCode.MALFORMED: "The frame is not JSON text. Send one JSON object in a text frame.",
    ErrorCode.UNKNOWN_EVENT: "The server knows no event of this name `t`.",
    ErrorCode.INVALID_PAYLOAD: "A field is missing, has a wrong type or is out of bounds; `message` names its path.",
    ErrorCode.INVALID_ROOM_ID: "The room id does not match the pattern of room ids.",
    ErrorCode.UNSUPPORTED_KIND: "The room id names, before the first `:`, a kind that this cluster does not have.",
    ErrorCode.NOT_JOINED: "This connection is not in that room. Send `join_room` first.",
    ErrorCode.NOT_ALLOWED: "This kind of room does not take this event.",
    ErrorCode.NOT_SIGNED_IN: "This connection has shown no good token yet. Send `join_room` with one.",
    ErrorCode.NOT_FOUND: "There is no such message, note or thread here, or none that this person may see.",
    ErrorCode.FILTERED: "The text has words that are not allowed here.",
    ErrorCode.LIMIT_REACHED: "There are as many of these as there may be; `message` says of what. Remove one first.",
    ErrorCode.TOO_MANY_ROOMS: "The connection is in `welcome.limits.roomsPerConnection` rooms already. Leave one.",
    ErrorCode.ROOM_FULL: "The room has as many members as it may have. Try again later.",
    ErrorCode.RATE_LIMITED: "Sent faster than allowed and dropped. Wait for `rate_limited.retryAfterMs`.",
    ErrorCode.MUTED: "A moderator muted this person in this room.",
    ErrorCode.BUSY: "The cluster cannot take the message now. Send it again later, with the same `id`.",
    ErrorCode.INTERNAL: "The server failed on this message; it was set aside. Nothing changed.",
}


class RejectionCode(StrEnum):
    """`message_rejected.code`: a direct message was not delivered; the recipient learns nothing of it."""

    NOT_FRIENDS = "not_friends"
    BLOCKED = "blocked"
    MUTED = "muted"
    FILTERED = "filtered"


REJECTION_MEANING: dict[RejectionCode, str] = {
    RejectionCode.NOT_FRIENDS: "Direct messages go between friends only.",
    RejectionCode.BLOCKED: "One of the two has blocked the other.",
    RejectionCode.MUTED: "A moderator muted the sender.",
    RejectionCode.FILTERED: "The text has words that are not allowed.",
}


class AuthErrorCode(StrEnum):
    """`auth_error.code`: the join was refused; the socket stays open for another try."""

    TOKEN_EXPIRED = "token_expired"
    TOKEN_INVALID = "token_invalid"
    ROOM_MISMATCH = "room_mismatch"
    USER_MISMATCH = "user_mismatch"
    BANNED = "banned"


AUTH_ERROR_MEANING: dict[AuthErrorCode, str] = {
    AuthErrorCode.TOKEN_EXPIRED: "The token's time is over. Get a new one from `POST /rooms/join` and join again.",
    AuthErrorCode.TOKEN_INVALID: "There is no token, or its form, signature, issuer, audience or claims do not hold.",
    AuthErrorCode.ROOM_MISMATCH: "The token is good, but not for this room.",
    AuthErrorCode.USER_MISMATCH: "The token belongs to another user than `user.userId`.",
    AuthErrorCode.BANNED: "This person is banned from the room, or was removed for a time that is not over.",
}


class CloseCode(IntEnum):
    """Close codes of the WebSocket. 4400 to 4403 mean: do not come back unchanged."""

    POLICY = 1008
    TOO_LARGE = 1009
    RESTARTING = 1012
    OVERLOADED = 1013
    MALFORMED = 4400
    NOT_AUTHENTICATED = 4401
    REMOVED = 4403
    NO_HEARTBEAT = 4408
    FLOODING = 4429


CLOSE_MEANING: dict[CloseCode, str] = {
    CloseCode.POLICY: "Against the rules of the endpoint.",
    CloseCode.TOO_LARGE: "A frame was larger than `welcome.limits.frameBytes`.",
    CloseCode.RESTARTING: "The edge restarts. Come back after the `reconnectAfterMs` of `server_draining`.",
    CloseCode.OVERLOADED: "The edge is overloaded, or this client reads too slowly. Come back later and resume.",
    CloseCode.MALFORMED: "Too many malformed messages.",
    CloseCode.NOT_AUTHENTICATED: "No valid token within 10 s. Come back with one.",
    CloseCode.REMOVED: "Kicked or banned by a moderator.",
    CloseCode.NO_HEARTBEAT: "Nothing was heard from the client for `welcome.heartbeatTimeoutMs`.",
    CloseCode.FLOODING: "Far more messages than any limit allows.",
}


class RoomringError(Exception):
    """Base of the operational errors of Roomring."""


class SettingsError(RoomringError):
    """A setting is missing or wrong. The text is one line that says what to do."""


class BusUnavailable(RoomringError):
    """Redis did not answer. What was sent may or may not have taken effect; every call of the bus may be repeated."""


class StoreUnavailable(RoomringError):
    """PostgreSQL did not answer.

    What was sent may or may not have taken effect; every call of the store may be repeated.
    """


class RecordRefused(RoomringError):
    """The database answered, and will not take one of the records, however often it is asked. Nothing was written."""


class SchemaMismatch(RoomringError):
    """The database is of another version than this release. The text says what to do."""


class ClusterMismatch(RoomringError):
    """This process's settings disagree with those that the cluster was created with."""
