"""The public listener: the WebSocket, joining by HTTP, health, and in development mode the demo page."""

from pathlib import Path
from typing import Final

from aiohttp import web
from msgspec import json

import web as web_files
from common.durable import DurableStore
from common.errors import BusUnavailable
from common.messages import JoinRequest, JoinResponse
from common.settings import EdgeSettings
from edge.gateway import Gateway
from edge.http_history import History
from edge.http_notes import NotePages
from edge.http_post import Posting
from edge.openapi import public_document
from edge.problems import (
    BODY_BYTES_MAX,
    bearer,
    body_of,
    cross_origin,
    json_answer,
    json_problems,
    preflight,
    problem,
)
from edge.tokens import SessionVerifier, TokenVerifier, mint

WEB_ROOT: Final = Path(web_files.__file__).parent

_join_decoder: Final = json.Decoder(JoinRequest)


def public_app(
    gateway: Gateway, sessions: SessionVerifier | None, verifier: TokenVerifier, store: DurableStore | None
) -> web.Application:
    """Return the application of the public listener."""
    pages = _Public(gateway, sessions)
    history = History(gateway, verifier, store)
    app = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[cross_origin(gateway.settings), json_problems])
    app.router.add_get("/ws", gateway.serve_websocket)
    app.router.add_post("/rooms/join", pages.join)
    app.router.add_options("/rooms/join", preflight("POST"))
    app.router.add_get("/rooms/{room_id}/messages", history.messages)
    app.router.add_post("/rooms/{room_id}/messages", Posting(gateway, verifier, store).post)
    app.router.add_options("/rooms/{room_id}/messages", preflight("GET, POST"))
    app.router.add_get("/rooms/{room_id}/notes", NotePages(gateway, verifier, store).notes)
    app.router.add_options("/rooms/{room_id}/notes", preflight("GET"))
    app.router.add_get("/threads", history.threads)
    app.router.add_options("/threads", preflight("GET"))
    app.router.add_get("/threads/{thread_id}/messages", history.thread_messages)
    app.router.add_options("/threads/{thread_id}/messages", preflight("GET"))
    app.router.add_get("/openapi.json", pages.openapi)
    health = Health(gateway)
    app.router.add_get("/healthz", health.healthz)
    app.router.add_get("/readyz", health.readyz)
    if gateway.settings.dev:
        app.router.add_get("/", pages.demo)
        app.router.add_get("/web/{path:.+}", pages.static)
    return app


async def find_problems(gateway: Gateway) -> list[str]:
    """Return why this edge cannot serve now, one sentence each; empty when it can."""
    if gateway.is_draining:
        return ["this edge is draining"]
    dead = gateway.failed()
    if dead is not None:
        return [f"a loop of this edge died: {dead!r}"]
    try:
        status = await gateway.bus.shard_status()
    except BusUnavailable as error:
        return [f"Redis does not answer: {error}"]
    if not gateway.is_started:
        return ["this edge is starting"]
    orphans = [entry.shard for entry in status if entry.owner is None]
    return [f"{len(orphans)} of {len(status)} shards have no owner; is a worker running?"] if orphans else []


class Health:
    """How this edge is, on both listeners: of several edges that share a public port any may answer there."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def healthz(self, _request: web.Request) -> web.Response:
        """`GET /healthz`: the process is alive."""
        return web.json_response({"status": "ok", "edge": self._gateway.edge_id})

    async def readyz(self, _request: web.Request) -> web.Response:
        """`GET /readyz`: the edge can serve; the body says why not."""
        problems = await find_problems(self._gateway)
        return web.json_response(
            {"ready": not problems, "problems": problems, "edge": self._gateway.edge_id},
            status=503 if problems else 200,
        )


class _Public:
    def __init__(self, gateway: Gateway, sessions: SessionVerifier | None) -> None:
        self._gateway = gateway
        self._settings: EdgeSettings = gateway.settings
        self._sessions = sessions
        self._document = json.encode(public_document())

    async def join(self, request: web.Request) -> web.Response:
        """`POST /rooms/join`: a token for a room, for who may have one."""
        body = await body_of(request, _join_decoder)
        if isinstance(body, web.Response):
            return body
        secret = self._settings.token_secret_or_default
        if not secret:
            return problem(501, "minting_off", "this cluster only checks tokens; your application mints them")
        refused = self._check_session(request, body)
        if refused is not None:
            return refused
        now_ms = self._gateway.clock.now_ms()
        # `exp` counts in seconds (RFC 7519 section 4.1.4 allows a fraction); whole ones keep all readers happy.
        expires_at_s = (now_ms + self._settings.token_ttl_ms) // 1000
        token = mint(
            secret,
            algorithm="HS256",
            claims={
                "sub": body.user.userId,
                "room": body.roomId,
                "iat": now_ms // 1000,
                "exp": expires_at_s,
                "iss": self._settings.token_issuer,
                "aud": self._settings.token_audience,
                "device": body.device,
                "name": body.user.displayName,
                "avatar": body.user.avatarId,
            },
        )
        return json_answer(JoinResponse(body.roomId, self._websocket_url(request), token, expires_at_s * 1000))

    async def openapi(self, _request: web.Request) -> web.Response:
        """`GET /openapi.json`: what this listener offers."""
        return json_answer(self._document)

    async def demo(self, _request: web.Request) -> web.StreamResponse:
        """`GET /`: the demo page."""
        return web.FileResponse(WEB_ROOT / "demo" / "index.html", headers={"Cache-Control": "no-cache"})

    async def static(self, request: web.Request) -> web.StreamResponse:
        """`GET /web/...`: the client library and the demo's files."""
        try:
            path = (WEB_ROOT / request.match_info["path"]).resolve()
            found = path.is_relative_to(WEB_ROOT) and path.is_file() and path.suffix != ".py"
        except (OSError, ValueError):
            # A name that no file can have: with a NUL, or too long.
            found = False
        if not found:
            raise web.HTTPNotFound
        # Any page may use the client library of a development cluster, also one opened from a file.
        return web.FileResponse(path, headers={"Cache-Control": "no-cache", "Access-Control-Allow-Origin": "*"})

    def _check_session(self, request: web.Request, body: JoinRequest) -> web.Response | None:
        token = bearer(request)
        if token is None:
            if self._settings.dev:
                return None
            return problem(401, "session_required", "send your application's session as `Authorization: Bearer <JWT>`")
        if self._sessions is None:
            if self._settings.dev:
                return None
            return problem(
                501, "sessions_off", "set ROOMRING_SESSION_SECRET or ROOMRING_SESSION_PUBLIC_KEY_FILE on the edges"
            )
        subject = self._sessions.subject(token)
        if subject is None:
            return problem(401, "session_invalid", "the session JWT is expired or no good")
        if subject != body.user.userId:
            return problem(403, "user_mismatch", "the session belongs to another user than `user.userId`")
        return None

    def _websocket_url(self, request: web.Request) -> str:
        if self._settings.public_ws_url:
            return self._settings.public_ws_url
        secure = request.headers.get("X-Forwarded-Proto", request.scheme) in ("https", "wss")
        return f"{'wss' if secure else 'ws'}://{request.host}/ws"
