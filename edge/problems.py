"""What the HTTP endpoints of an edge share: errors in JSON, bodies and parameters, ETags, bearer tokens, CORS."""

import re
from collections.abc import Awaitable, Callable, Mapping
from hashlib import blake2b
from typing import Annotated, Final, TypeVar

from aiohttp import web
from aiohttp.typedefs import Middleware
from msgspec import DecodeError, Meta, Struct, ValidationError, json

from common.errors import BusUnavailable, ErrorCode, StoreUnavailable
from common.ids import RoomId, UserId, is_label, is_room_id
from common.settings import EdgeSettings
from edge.operations import ClusterBusy, NoAnswer

BODY_BYTES_MAX: Final = 16 * 1024
CORS_MAX_AGE_S: Final = 600
RETRY_AFTER_S: Final = 1
KEY_HOLDER: Final = "admin-key"
"""Who acted, in the audit log, where no `X-Moderator` says who."""

MODERATOR_PATTERN: Final = r"^[!-~]([ -~]{0,126}[!-~])?$(?!\n)"
_moderator: Final = re.compile(MODERATOR_PATTERN)

STATUS_OF: Final[Mapping[str, int]] = {
    ErrorCode.MALFORMED: 400,
    ErrorCode.UNKNOWN_EVENT: 400,
    ErrorCode.INVALID_PAYLOAD: 400,
    ErrorCode.INVALID_ROOM_ID: 400,
    ErrorCode.NOT_SIGNED_IN: 401,
    ErrorCode.NOT_JOINED: 403,
    ErrorCode.NOT_ALLOWED: 403,
    ErrorCode.FILTERED: 403,
    ErrorCode.MUTED: 403,
    ErrorCode.UNSUPPORTED_KIND: 404,
    ErrorCode.NOT_FOUND: 404,
    ErrorCode.LIMIT_REACHED: 409,
    ErrorCode.TOO_MANY_ROOMS: 409,
    ErrorCode.ROOM_FULL: 409,
    ErrorCode.RATE_LIMITED: 429,
    ErrorCode.INTERNAL: 500,
    ErrorCode.BUSY: 503,
}
"""With which status an endpoint tells that a room's worker refused."""


class Fault(Struct, frozen=True):
    """What is wrong."""

    code: Annotated[str, Meta(description="To act on.")]
    message: Annotated[str, Meta(description="To read.")]


class Problem(Struct, frozen=True):
    """Body of every error."""

    error: Fault


_refusal_decoder: Final = json.Decoder(Problem)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Place = TypeVar("Place")
Body = TypeVar("Body", bound=Struct)


# --- errors -----------------------------------------------------------------------------------------------


def problem(status: int, code: str, message: str) -> web.Response:
    """Return an error of an HTTP endpoint: a code to act on and a text to read."""
    response = json_answer(Problem(Fault(code, message)), status)
    if status in (429, 503):
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def refused(code: str, message: str) -> web.Response:
    """Return the error that a room's worker answered, with its status.

    Codes of other tables (`RejectionCode`, `AuthErrorCode`) say that the person may not.
    """
    return problem(STATUS_OF.get(code, 403), code, message)


@web.middleware
async def json_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer in JSON where aiohttp itself refuses (no path, a wrong method, a body too large), or a part is away."""
    try:
        return await handler(request)
    except web.HTTPNotFound:
        return problem(404, "not_found", f"there is no {request.method} {request.path}")
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        response = problem(405, "method_not_allowed", f"use {allowed}")
        response.headers["Allow"] = allowed
        return response
    except web.HTTPRequestEntityTooLarge:
        return problem(413, "too_large", f"the body may have {BODY_BYTES_MAX} bytes")
    except ClusterBusy as error:
        return problem(503, ErrorCode.BUSY, str(error))
    except NoAnswer as error:
        return problem(504, "no_answer", str(error))
    except (BusUnavailable, StoreUnavailable) as error:
        return problem(503, "unavailable", f"a store does not answer now: {error}")


# --- what a request says ----------------------------------------------------------------------------------


def bearer(request: web.Request) -> str | None:
    """Return the token of the `Authorization` header; None without one."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def room_id_of(request: web.Request) -> RoomId | web.Response:
    """Return the room that the path names."""
    text = request.match_info["room_id"]
    if not is_room_id(text):
        return problem(400, "invalid_room_id", "the room id does not match the pattern of room ids")
    return RoomId(text)


def user_id_of(request: web.Request, name: str) -> UserId | web.Response:
    """Return the person that the path names at `name`."""
    text = request.match_info[name]
    if not is_label(text):
        return problem(400, "invalid_user_id", "a user id has 1 to 128 characters, none of them a control character")
    return UserId(text)


def actor_of(request: web.Request) -> str | web.Response:
    """Return who acts, for the audit log."""
    name = request.headers.get("X-Moderator")
    if name is None:
        return KEY_HOLDER
    if not _moderator.fullmatch(name):
        return problem(400, "invalid_moderator", "`X-Moderator` has 1 to 128 characters of printable ASCII")
    return name


def number_of(request: web.Request, name: str, number_max: int) -> int | None:
    """Return the number that the path names at `name`, 1 to `number_max` (16 digits); None: it is none."""
    text = request.match_info[name]
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 16 else 0
    return number if 1 <= number <= number_max else None


def limit_of(request: web.Request, default: int, limit_max: int) -> int | web.Response:
    """Return how many things the query asks for, 1 to `limit_max`."""
    text = request.query.get("limit", str(default))
    limit = int(text) if text.isascii() and text.isdecimal() and len(text) <= 4 else 0
    if not 1 <= limit <= limit_max:
        return problem(400, "invalid_limit", f"`limit` must be a whole number from 1 to {limit_max}")
    return limit


def cursor_of(request: web.Request, name: str, decode: Callable[[str], Place | None]) -> Place | web.Response | None:
    """Return the place whose cursor the query has at `name`; None without one."""
    text = request.query.get(name)
    if text is None:
        return None
    place = decode(text)
    if place is None:
        return problem(400, "invalid_cursor", f"`{name}` must be a cursor that an earlier answer gave")
    return place


async def body_of(request: web.Request, decoder: "json.Decoder[Body]") -> Body | web.Response:
    """Return the request's body.

    Raises:
        HTTPRequestEntityTooLarge: see `json_problems`.
    """
    try:
        return decoder.decode(await request.read())
    except ValidationError as error:
        return problem(400, "invalid_request", str(error))
    except (DecodeError, RecursionError, UnicodeDecodeError) as error:
        return problem(400, "malformed", f"the body is not JSON: {error}")


# --- answers ----------------------------------------------------------------------------------------------


def json_answer(body: Struct | bytes, status: int = 200) -> web.Response:
    """Return a JSON answer; bytes are JSON already."""
    encoded = body if isinstance(body, bytes) else json.encode(body)
    return web.Response(body=encoded, status=status, content_type="application/json")


def operator_answer(body: bytes) -> web.Response:
    """Return what a room's worker answered to an operator; it refuses in the same form as the edge does."""
    if body.startswith(b'{"error"'):
        error = _refusal_decoder.decode(body).error
        return refused(error.code, error.message)
    return json_answer(body)


def tagged_answer(request: web.Request, body: Struct) -> web.Response:
    """Return a JSON answer with its ETag, or 304 where the client has it already. For one reader only."""
    encoded = json.encode(body)
    tag = f'"{blake2b(encoded, digest_size=16).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if tag in [given.strip().removeprefix("W/") for given in request.headers.get("If-None-Match", "").split(",")]:
        return web.Response(status=304, headers=headers)
    return web.Response(body=encoded, content_type="application/json", headers=headers)


# --- pages of other origins -------------------------------------------------------------------------------


def origin_allowed(settings: EdgeSettings, request: web.Request) -> bool:
    """Tell whether a page of the request's origin may use this edge; true where no page asks."""
    origin = request.headers.get("Origin")
    allowed = settings.origins
    return origin is None or "*" in allowed or origin.rstrip("/").lower() in allowed


def origin_of(request: web.Request) -> str:
    """Return the origin of the page that asks, in lower case; empty where no page does."""
    return request.headers.get("Origin", "").rstrip("/").lower()


def cross_origin(settings: EdgeSettings) -> Middleware:
    """Return a middleware that lets pages of allowed origins read every answer, errors too."""

    @web.middleware
    async def allow(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        origin = request.headers.get("Origin")
        # A WebSocket is over by now; the client library is for every origin already.
        if origin is None or response.prepared or "Access-Control-Allow-Origin" in response.headers:
            return response
        if origin_allowed(settings, request):
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = "ETag, Retry-After"
            response.headers["Vary"] = "Origin"
        return response

    return allow


def preflight(methods: str) -> Handler:
    """Return the answer to a browser's CORS preflight; `cross_origin` says whether the origin may."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        response = web.Response(status=204)
        response.headers["Access-Control-Allow-Methods"] = methods
        response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type, Idempotency-Key, If-None-Match"
        response.headers["Access-Control-Max-Age"] = str(CORS_MAX_AGE_S)
        return response

    return answer
