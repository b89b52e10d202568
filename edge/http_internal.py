"""The internal listener: metrics, and the administration API behind its key. Not for the internet."""

import hmac
from typing import Final

from aiohttp import web
from msgspec import UNSET, DecodeError, ValidationError, json
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from common.commands import ChangeBlock, Inspect, LiftRestrictions, Moderate
from common.errors import BusUnavailable
from common.ids import RoomId, UserId, inbox_of, is_label, is_room_id
from common.messages import ModerationRequest
from edge.gateway import Gateway
from edge.http_public import find_problems
from edge.operations import NoAnswer
from edge.problems import BODY_BYTES_MAX, Handler, bearer, json_problems, problem

_moderation_decoder: Final = json.Decoder(ModerationRequest)


def internal_app(gateway: Gateway) -> web.Application:
    """Return the application of the internal listener."""
    pages = _Internal(gateway)
    app = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[json_problems, pages.guard])
    app.router.add_get("/metrics", pages.metrics)
    app.router.add_get("/internal/realtime/metrics", pages.metrics_json)
    app.router.add_get("/admin/cluster", pages.cluster)
    app.router.add_get("/admin/rooms/{room_id}", pages.room)
    app.router.add_post("/admin/rooms/{room_id}/moderation", pages.moderate)
    app.router.add_delete("/admin/rooms/{room_id}/moderation/{user_id}", pages.lift)
    app.router.add_put("/admin/users/{user_id}/blocks/{other_id}", pages.block)
    app.router.add_delete("/admin/users/{user_id}/blocks/{other_id}", pages.unblock)
    return app


class _Internal:
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Ask for the key before anything under /admin, and turn what went wrong into a JSON answer."""
        if request.path.startswith("/admin/"):
            refused = self._check_key(request)
            if refused is not None:
                return refused
        try:
            return await handler(request)
        except NoAnswer as error:
            return problem(504, "no_answer", str(error))
        except BusUnavailable as error:
            return problem(503, "redis_unavailable", f"Redis does not answer: {error}")

    async def metrics(self, _request: web.Request) -> web.Response:
        """`GET /metrics`, for Prometheus."""
        text = generate_latest(self._gateway.metrics.registry)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def metrics_json(self, _request: web.Request) -> web.Response:
        """`GET /internal/realtime/metrics`, the same numbers as JSON."""
        gateway = self._gateway
        return web.json_response(
            {"edge": gateway.edge_id, "timeMs": gateway.clock.now_ms(), "metrics": gateway.metrics.as_json()}
        )

    async def cluster(self, _request: web.Request) -> web.Response:
        """`GET /admin/cluster`: who is there, and who owns which shard."""
        bus = self._gateway.bus
        edges = await bus.nodes("edge")
        workers = await bus.nodes("worker")
        shards = await bus.shard_status()
        owned = {worker.node_id: 0 for worker in workers}
        for shard in shards:
            if shard.owner is not None:
                owned[shard.owner] = owned.get(shard.owner, 0) + 1
        return web.json_response(
            {
                "edges": [{"id": edge.node_id, **json.decode(edge.info)} for edge in edges],
                "workers": [
                    {
                        "id": worker.node_id,
                        **json.decode(worker.info),
                        "shards": owned[worker.node_id],
                        "share": owned[worker.node_id] / len(shards),
                    }
                    for worker in workers
                ],
                "shards": [
                    {
                        "shard": shard.shard,
                        "owner": shard.owner,
                        "epoch": shard.token,
                        "commits": shard.version,
                        "backlog": shard.backlog,
                    }
                    for shard in shards
                ],
                "backlog": sum(shard.backlog for shard in shards),
                "problems": await find_problems(self._gateway),
            }
        )

    async def room(self, request: web.Request) -> web.Response:
        """`GET /admin/rooms/{roomId}`: members, position, counters."""
        room_id = _room_id(request)
        if isinstance(room_id, web.Response):
            return room_id
        return _json(await self._gateway.operations.ask(lambda number: Inspect(room_id, number)))

    async def moderate(self, request: web.Request) -> web.Response:
        """`POST /admin/rooms/{roomId}/moderation`: kick, ban or mute somebody."""
        room_id = _room_id(request)
        if isinstance(room_id, web.Response):
            return room_id
        try:
            body = _moderation_decoder.decode(await request.read())
        except ValidationError as error:
            return problem(400, "invalid_request", str(error))
        except (DecodeError, RecursionError, UnicodeDecodeError) as error:
            return problem(400, "malformed", f"the body is not JSON: {error}")
        duration_ms = None if body.seconds is UNSET else int(body.seconds * 1000)
        user_id = UserId(body.userId)
        return _json(
            await self._gateway.operations.ask(
                lambda number: Moderate(room_id, number, user_id, body.type, body.reason, duration_ms)
            )
        )

    async def lift(self, request: web.Request) -> web.Response:
        """`DELETE /admin/rooms/{roomId}/moderation/{userId}`: end a ban and a mute."""
        room_id, user_id = _room_id(request), _user_id(request, "user_id")
        if isinstance(room_id, web.Response):
            return room_id
        if isinstance(user_id, web.Response):
            return user_id
        return _json(await self._gateway.operations.ask(lambda number: LiftRestrictions(room_id, number, user_id)))

    async def block(self, request: web.Request) -> web.Response:
        """`PUT /admin/users/{userId}/blocks/{blockedUserId}`."""
        return await self._set_block(request, blocked=True)

    async def unblock(self, request: web.Request) -> web.Response:
        """`DELETE /admin/users/{userId}/blocks/{blockedUserId}`."""
        return await self._set_block(request, blocked=False)

    async def _set_block(self, request: web.Request, *, blocked: bool) -> web.Response:
        user_id, other_id = _user_id(request, "user_id"), _user_id(request, "other_id")
        if isinstance(user_id, web.Response):
            return user_id
        if isinstance(other_id, web.Response):
            return other_id
        if user_id == other_id:
            return problem(400, "invalid_request", "nobody can block themselves")
        return _json(
            await self._gateway.operations.ask(
                lambda number: ChangeBlock(inbox_of(user_id), number, user_id, other_id, blocked)
            )
        )

    def _check_key(self, request: web.Request) -> web.Response | None:
        key = self._gateway.settings.admin_key_or_default
        if not key:
            return problem(404, "administration_off", "set ROOMRING_ADMIN_KEY on the edges to use this")
        given = bearer(request)
        if given is None or not hmac.compare_digest(given.encode(), key.encode()):
            return problem(401, "wrong_key", "send the administration key as `Authorization: Bearer <key>`")
        return None


def _room_id(request: web.Request) -> RoomId | web.Response:
    text = request.match_info["room_id"]
    if not is_room_id(text):
        return problem(400, "invalid_room_id", "the room id does not match the pattern of room ids")
    return RoomId(text)


def _user_id(request: web.Request, name: str) -> UserId | web.Response:
    text = request.match_info[name]
    if not is_label(text):
        return problem(400, "invalid_user_id", "a user id has 1 to 128 characters, none of them a control character")
    return UserId(text)


def _json(body: bytes) -> web.Response:
    """Return a worker's answer; it refuses with the same form of error as the edge."""
    status = 404 if body.startswith(b'{"error"') else 200
    return web.Response(body=body, status=status, content_type="application/json")
