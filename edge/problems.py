"""What the HTTP endpoints of an edge share: errors in JSON, bearer tokens, CORS."""

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from common.settings import EdgeSettings

BODY_BYTES_MAX: Final = 16 * 1024
CORS_MAX_AGE_S: Final = 600

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def problem(status: int, code: str, message: str) -> web.Response:
    """Return an error of an HTTP endpoint: a code to act on and a text to read."""
    return web.json_response({"error": {"code": code, "message": message}}, status=status)


@web.middleware
async def json_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer in JSON where aiohttp itself refuses: no such path, a wrong method, a body too large."""
    try:
        return await handler(request)
    except web.HTTPNotFound:
        return problem(404, "not_found", f"there is no {request.method} {request.path}")
    except web.HTTPMethodNotAllowed as error:
        return problem(405, "method_not_allowed", f"use {', '.join(sorted(error.allowed_methods))}")
    except web.HTTPRequestEntityTooLarge:
        return problem(413, "too_large", f"the body may have {BODY_BYTES_MAX} bytes")


def bearer(request: web.Request) -> str | None:
    """Return the token of the `Authorization` header; None without one."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def origin_allowed(settings: EdgeSettings, request: web.Request) -> bool:
    """Tell whether a page of the request's origin may use this edge; true where no page asks."""
    origin = request.headers.get("Origin")
    allowed = settings.origins
    return origin is None or "*" in allowed or origin.rstrip("/").lower() in allowed


def allow_origin(settings: EdgeSettings, request: web.Request, response: web.StreamResponse) -> None:
    """Let a page of an allowed origin read the response."""
    origin = request.headers.get("Origin")
    if origin is not None and origin_allowed(settings, request):
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Vary"] = "Origin"


def preflight(settings: EdgeSettings, methods: str) -> Handler:
    """Return the answer to a browser's CORS preflight."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.Response(status=204)
        response.headers["Access-Control-Allow-Methods"] = methods
        response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type, If-None-Match"
        response.headers["Access-Control-Max-Age"] = str(CORS_MAX_AGE_S)
        allow_origin(settings, request, response)
        return response

    return answer
