"""The internal listener: metrics, and the administration API behind its key. Not for the internet."""

import hmac
from typing import Final

from aiohttp import web
from msgspec import UNSET, json
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from common.commands import AnyRoomCommand, ChangeBlock, Inspect, LiftRestrictions, Moderate, SetFriendship
from common.durable import DurableStore
from common.ids import UserId, inbox_of, thread_of
from common.messages import ModerationRequest, ModerationType
from edge.audit import AuditLog
from edge.gateway import Gateway
from edge.http_erasure import Erasures
from edge.http_moderation import ModerationDesk
from edge.http_public import Health, find_problems
from edge.openapi import internal_document
from edge.problems import (
    BODY_BYTES_MAX,
    Handler,
    actor_of,
    bearer,
    body_of,
    json_answer,
    json_problems,
    operator_answer,
    problem,
    room_id_of,
    user_id_of,
)

_ACTIONS: Final[dict[ModerationType, str]] = {"kicked": "kick", "banned": "ban", "mutedByMod": "mute"}
_moderation_decoder: Final = json.Decoder(ModerationRequest)


def internal_app(gateway: Gateway, store: DurableStore | None) -> web.Application:
    """Return the application of the internal listener."""
    audit = AuditLog(store, gateway.metrics)
    pages = _Internal(gateway, audit)
    erasures = Erasures(audit, store)
    desk = ModerationDesk(gateway, store)
    app = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[json_problems, pages.guard])
    health = Health(gateway)
    app.router.add_get("/healthz", health.healthz)
    app.router.add_get("/readyz", health.readyz)
    app.router.add_get("/metrics", pages.metrics)
    app.router.add_get("/internal/realtime/metrics", pages.metrics_json)
    app.router.add_get("/openapi.json", pages.openapi)
    app.router.add_get("/admin/cluster", pages.cluster)
    app.router.add_get("/admin/rooms/{room_id}", pages.room)
    app.router.add_post("/admin/rooms/{room_id}/moderation", pages.moderate)
    app.router.add_delete("/admin/rooms/{room_id}/moderation/{user_id}", pages.lift)
    app.router.add_put("/admin/users/{user_id}/blocks/{other_id}", pages.block)
    app.router.add_delete("/admin/users/{user_id}/blocks/{other_id}", pages.unblock)
    app.router.add_put("/admin/users/{user_id}/friends/{other_id}", pages.befriend)
    app.router.add_delete("/admin/users/{user_id}/friends/{other_id}", pages.unfriend)
    app.router.add_post("/admin/users/{user_id}/erasure", erasures.ask)
    app.router.add_get("/admin/erasures/{erasure_id}", erasures.show)
    app.router.add_get("/admin/moderation/queue", desk.queue)
    app.router.add_get("/admin/moderation/queue/{item_id}", desk.item)
    app.router.add_post("/admin/moderation/queue/{item_id}/claim", desk.claim)
    app.router.add_post("/admin/moderation/queue/{item_id}/release", desk.release)
    app.router.add_post("/admin/moderation/queue/{item_id}/resolve", desk.resolve)
    app.router.add_get("/admin/moderation/audit", desk.audit)
    return app


class _Internal:
    def __init__(self, gateway: Gateway, audit: AuditLog) -> None:
        self._gateway = gateway
        self._audit = audit
        self._document = json.encode(internal_document())

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Ask for the key before anything under /admin."""
        if request.path.startswith("/admin/"):
            refused = self._check_key(request)
            if refused is not None:
                return refused
        return await handler(request)

    async def openapi(self, _request: web.Request) -> web.Response:
        """`GET /openapi.json`: what this listener offers."""
        return json_answer(self._document)

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
        room_id = room_id_of(request)
        if isinstance(room_id, web.Response):
            return room_id
        return operator_answer(await self._gateway.operations.ask(lambda number: Inspect(room_id, number)))

    async def moderate(self, request: web.Request) -> web.Response:
        """`POST /admin/rooms/{roomId}/moderation`: kick, ban or mute somebody."""
        room_id, actor = room_id_of(request), actor_of(request)
        if isinstance(room_id, web.Response):
            return room_id
        if isinstance(actor, web.Response):
            return actor
        body = await body_of(request, _moderation_decoder)
        if isinstance(body, web.Response):
            return body
        duration_ms = None if body.seconds is UNSET else int(body.seconds * 1000)
        user_id = UserId(body.userId)
        answer = operator_answer(
            await self._gateway.operations.ask(
                lambda number: Moderate(room_id, number, user_id, body.type, body.reason, duration_ms, actor)
            )
        )
        if answer.status == 200:
            seconds = {} if body.seconds is UNSET else {"seconds": body.seconds}
            details = {"reason": body.reason, **seconds}
            await self._audit.write(actor, _ACTIONS[body.type], room_id, user_id, details)
        return answer

    async def lift(self, request: web.Request) -> web.Response:
        """`DELETE /admin/rooms/{roomId}/moderation/{userId}`: end a ban and a mute."""
        room_id, user_id, actor = room_id_of(request), user_id_of(request, "user_id"), actor_of(request)
        if isinstance(room_id, web.Response):
            return room_id
        if isinstance(user_id, web.Response):
            return user_id
        if isinstance(actor, web.Response):
            return actor
        answer = operator_answer(
            await self._gateway.operations.ask(lambda number: LiftRestrictions(room_id, number, user_id, actor))
        )
        if answer.status == 200:
            await self._audit.write(actor, "lift", room_id, user_id, {})
        return answer

    async def block(self, request: web.Request) -> web.Response:
        """`PUT /admin/users/{userId}/blocks/{blockedUserId}`."""
        return await self._set_pair(request, "block")

    async def unblock(self, request: web.Request) -> web.Response:
        """`DELETE /admin/users/{userId}/blocks/{blockedUserId}`."""
        return await self._set_pair(request, "unblock")

    async def befriend(self, request: web.Request) -> web.Response:
        """`PUT /admin/users/{userId}/friends/{friendId}`."""
        return await self._set_pair(request, "friend")

    async def unfriend(self, request: web.Request) -> web.Response:
        """`DELETE /admin/users/{userId}/friends/{friendId}`."""
        return await self._set_pair(request, "unfriend")

    async def _set_pair(self, request: web.Request, action: str) -> web.Response:
        user_id, other_id, actor = user_id_of(request, "user_id"), user_id_of(request, "other_id"), actor_of(request)
        if isinstance(user_id, web.Response):
            return user_id
        if isinstance(other_id, web.Response):
            return other_id
        if isinstance(actor, web.Response):
            return actor
        if user_id == other_id:
            return problem(400, "invalid_request", "nobody can block or befriend themselves")

        def order(number: int) -> AnyRoomCommand:
            if action in ("block", "unblock"):
                return ChangeBlock(inbox_of(user_id), number, user_id, other_id, action == "block")
            return SetFriendship(thread_of(user_id, other_id), number, user_id, other_id, action == "friend")

        answer = operator_answer(await self._gateway.operations.ask(order))
        if answer.status == 200:
            await self._audit.write(actor, action, None, user_id, {"otherId": other_id})
        return answer

    def _check_key(self, request: web.Request) -> web.Response | None:
        key = self._gateway.settings.admin_key_or_default
        if not key:
            return problem(404, "administration_off", "set ROOMRING_ADMIN_KEY on the edges to use this")
        given = bearer(request)
        if given is None or not hmac.compare_digest(given.encode(errors="surrogateescape"), key.encode()):
            return problem(401, "wrong_key", "send the administration key as `Authorization: Bearer <key>`")
        return None
