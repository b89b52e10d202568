"""Erasure of a person's data, asked for by an application: `/admin/users/{userId}/erasure`.

The job process does it. The audit log says that it was asked for, and not for whom: the number leads to the erasure as
long as that knows the person itself.
"""

from aiohttp import web
from msgspec import UNSET, json

from common.durable import DurableStore
from edge.audit import AuditLog
from edge.http_history import history_off
from edge.openapi import ITEM_NUMBER_MAX
from edge.problems import actor_of, body_of, json_answer, number_of, problem, user_id_of
from edge.shapes import ErasureAsked, ErasureOrder, ErasureView

_decoder = json.Decoder(ErasureOrder)


class Erasures:
    """The handlers."""

    def __init__(self, audit: AuditLog, store: DurableStore | None) -> None:
        self._audit = audit
        self._store = store

    async def ask(self, request: web.Request) -> web.Response:
        """`POST /admin/users/{userId}/erasure`: 202, the job process does it."""
        user_id, actor = user_id_of(request, "user_id"), actor_of(request)
        if isinstance(user_id, web.Response):
            return user_id
        if isinstance(actor, web.Response):
            return actor
        body = await body_of(request, _decoder)
        if isinstance(body, web.Response):
            return body
        if self._store is None:
            return history_off()
        asked = await self._store.request_erasure(user_id, body.requestedBy)
        details = {"erasureId": asked.erasure_id, "requestedBy": body.requestedBy}
        await self._audit.write(actor, "erasure.requested", None, None, details)
        return json_answer(ErasureAsked(asked.erasure_id, asked.is_new, asked.passes), 202)

    async def show(self, request: web.Request) -> web.Response:
        """`GET /admin/erasures/{erasureId}`: how far it is."""
        number = number_of(request, "erasure_id", ITEM_NUMBER_MAX)
        if number is None:
            return problem(400, "invalid_erasure_id", "the number of an erasure is a whole number from 1")
        if self._store is None:
            return history_off()
        found = await self._store.erasure(number)
        if found is None:
            return problem(404, "not_found", "there is no erasure of this number")
        return json_answer(
            ErasureView(
                found.erasure_id,
                found.requested_by,
                found.requested_at_ms,
                found.passes,
                found.counts,
                UNSET if found.due_at_ms is None else found.due_at_ms,
                UNSET if found.finished_at_ms is None else found.finished_at_ms,
            )
        )
