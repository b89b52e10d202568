"""The HTTP endpoints of both listeners in one table, and the OpenAPI 3.1 documents that are made from it.

`GET /openapi.json` serves them, `python -m deploy.generate` writes them to docs/schema. Bodies are those of
common/messages.py and edge/shapes.py. A test compares the table with the routes, so that none is missing.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct, json

from common.durable import PAGE_MESSAGES_MAX
from common.messages import (
    PROTOCOL_VERSION,
    AuditPage,
    ClaimRequest,
    JoinRequest,
    JoinResponse,
    MessagePage,
    ModerationRequest,
    NotePage,
    PlaceField,
    PostMessageRequest,
    PostMessageResponse,
    QueueItem,
    QueuePage,
    ResolveRequest,
    RoomIdField,
    ThreadIdField,
    ThreadPage,
    UserIdField,
)
from edge import shapes
from edge.problems import MODERATOR_PATTERN, Problem

MESSAGE_KEY_PATTERN: Final = r"^[!-~]{1,64}$(?!\n)"
ITEM_NUMBER_MAX: Final = 2**53 - 1
THREADS_MAX: Final = 100
LIMIT_DEFAULT: Final = 50
MESSAGE_CURSOR: Final = "message-cursor"
THREAD_CURSOR: Final = "thread-cursor"
NOTE_CURSOR: Final = "note-cursor"
ENTRY_CURSOR: Final = "entry-cursor"

NOT_DESCRIBED: Final[Mapping[str, str]] = {
    "/ws": "the WebSocket; docs/protocol.md describes it, OpenAPI cannot",
    "/": "the demo page, in development mode only",
    "/web/{path}": "files of the demo page, in development mode only",
}
"""Paths that have no place in the documents, and why. Preflights (OPTIONS) have none either: browsers send them."""

Schema = dict[str, Any]
Auth = Literal["none", "session", "token", "key"]


class Parameter(Struct, frozen=True):
    """What a path, query or header may say."""

    name: str
    place: Literal["path", "query", "header"]
    schema: Schema
    description: str


class Endpoint(Struct, frozen=True, kw_only=True):
    """One method of one path.

    `answer` is the body of a success: a struct, or the media type of a text. `problems` are the statuses beside it
    whose body is a `Problem`.
    """

    method: Literal["get", "post", "put", "delete"]
    path: str
    name: str
    summary: str
    auth: Auth = "none"
    parameters: tuple[Parameter, ...] = ()
    body: type[Struct] | None = None
    status: int = 200
    answer: type[Struct] | str
    tagged: bool = False
    """It has an ETag, and is a 304 where the client has it already."""
    other: type[Struct] | None = None
    """Body of a 503 that is no `Problem`."""
    problems: tuple[int, ...] = ()


def _parameter(name: str, kind: Any, description: str, *, place: Literal["query", "header"] = "query") -> Parameter:
    return Parameter(name, place, json.schema(kind), description)


def _limit(limit_max: int) -> Parameter:
    kind = Annotated[int, Meta(ge=1, le=limit_max, extra_json_schema={"default": LIMIT_DEFAULT})]
    return _parameter("limit", kind, "How many at most.")


def _cursor(name: str, form: str, description: str) -> Parameter:
    kind = Annotated[str, Meta(min_length=1, max_length=256, extra_json_schema={"format": form})]
    return _parameter(name, kind, f"{description} An opaque cursor of an earlier answer.")


_ItemId = Annotated[int, Meta(ge=1, le=ITEM_NUMBER_MAX, description="Number of the item.")]
_ErasureId = Annotated[int, Meta(ge=1, le=ITEM_NUMBER_MAX, description="Number of the erasure.")]
_Moderator = Annotated[str, Meta(pattern=MODERATOR_PATTERN, min_length=1, max_length=128)]
_Rectangle = Annotated[list[PlaceField], Meta(min_length=4, max_length=4)]

_PATH: Final[Mapping[str, Any]] = {
    "roomId": RoomIdField,
    "threadId": ThreadIdField,
    "userId": UserIdField,
    "blockedUserId": UserIdField,
    "friendId": UserIdField,
    "itemId": _ItemId,
    "erasureId": _ErasureId,
}

_BEFORE: Final = _cursor("before", MESSAGE_CURSOR, "What stands before this place, the newest of it.")
_AFTER: Final = _cursor("after", MESSAGE_CURSOR, "What stands after this place, the oldest of it.")
_LIMIT: Final = _limit(PAGE_MESSAGES_MAX)
_MODERATOR: Final = _parameter(
    "X-Moderator", _Moderator, "Who acts, for the audit log; without it `admin-key`.", place="header"
)
_IDEMPOTENCY_KEY: Final = _parameter(
    "Idempotency-Key",
    Annotated[str, Meta(pattern=MESSAGE_KEY_PATTERN, min_length=1, max_length=64)],
    "The message's `id`, where the body has none.",
    place="header",
)

_HEALTH: Final = (
    Endpoint(method="get", path="/healthz", name="health", summary="The process is alive.", answer=shapes.Health),
    Endpoint(
        method="get",
        path="/readyz",
        name="readiness",
        summary="The edge can serve.",
        answer=shapes.Readiness,
        other=shapes.Readiness,
    ),
)

_PUBLIC: Final = (
    Endpoint(
        method="post",
        path="/rooms/join",
        name="joinRoom",
        summary="Get a token for a room. Without a session of the application in development mode only.",
        auth="session",
        body=JoinRequest,
        answer=JoinResponse,
        problems=(400, 401, 403, 413, 501),
    ),
    Endpoint(
        method="get",
        path="/rooms/{roomId}/messages",
        name="listMessages",
        summary="Kept messages of a room, a page at a time, oldest first.",
        auth="token",
        parameters=(_BEFORE, _AFTER, _LIMIT),
        answer=MessagePage,
        tagged=True,
        problems=(400, 401, 403, 404, 501, 503),
    ),
    Endpoint(
        method="post",
        path="/rooms/{roomId}/messages",
        name="postMessage",
        summary="Say something in a room or thread without a socket.",
        auth="token",
        parameters=(_IDEMPOTENCY_KEY,),
        body=PostMessageRequest,
        status=201,
        answer=PostMessageResponse,
        problems=(400, 401, 403, 404, 409, 413, 429, 500, 501, 503, 504),
    ),
    Endpoint(
        method="get",
        path="/rooms/{roomId}/notes",
        name="listNotes",
        summary="Notes of a board, a page at a time, in the order in which they were put up.",
        auth="token",
        parameters=(
            _parameter("rect", _Rectangle, "Only what hangs between two corners, these included: x, y, x, y."),
            _cursor("after", NOTE_CURSOR, "The page that follows."),
            _LIMIT,
        ),
        answer=NotePage,
        tagged=True,
        problems=(400, 401, 403, 404, 501, 503),
    ),
    Endpoint(
        method="get",
        path="/threads",
        name="listThreads",
        summary="The reader's threads, the most lately active first.",
        auth="token",
        parameters=(_cursor("before", THREAD_CURSOR, "The page that follows."), _limit(THREADS_MAX)),
        answer=ThreadPage,
        tagged=True,
        problems=(400, 401, 403, 501, 503),
    ),
    Endpoint(
        method="get",
        path="/threads/{threadId}/messages",
        name="listThreadMessages",
        summary="Messages of a thread, a page at a time, for its two persons.",
        auth="token",
        parameters=(_BEFORE, _AFTER, _LIMIT),
        answer=MessagePage,
        tagged=True,
        problems=(400, 401, 403, 404, 501, 503),
    ),
    *_HEALTH,
    Endpoint(method="get", path="/openapi.json", name="openapi", summary="This document.", answer="application/json"),
)

_ADMIN: Final = (400, 401, 404, 500, 503, 504)
"""How an order to a room's worker can fail. Without an administration key every path is a 404."""

_DESK: Final = (400, 401, 404, 501, 503)

_INTERNAL: Final = (
    *_HEALTH,
    Endpoint(method="get", path="/metrics", name="metrics", summary="Numbers for Prometheus.", answer="text/plain"),
    Endpoint(
        method="get",
        path="/internal/realtime/metrics",
        name="numbers",
        summary="The same numbers as JSON.",
        answer=shapes.Numbers,
    ),
    Endpoint(method="get", path="/openapi.json", name="openapi", summary="This document.", answer="application/json"),
    Endpoint(
        method="get",
        path="/admin/cluster",
        name="cluster",
        summary="Edges, workers, the owner and epoch of each shard, backlog.",
        auth="key",
        answer=shapes.ClusterView,
        problems=(401, 404, 503),
    ),
    Endpoint(
        method="get",
        path="/admin/rooms/{roomId}",
        name="inspectRoom",
        summary="Members, position and counters of a room.",
        auth="key",
        answer=shapes.RoomView,
        problems=_ADMIN,
    ),
    Endpoint(
        method="post",
        path="/admin/rooms/{roomId}/moderation",
        name="moderate",
        summary="Kick, ban or mute somebody in a room.",
        auth="key",
        parameters=(_MODERATOR,),
        body=ModerationRequest,
        answer=shapes.Moderated,
        problems=(*_ADMIN, 413),
    ),
    Endpoint(
        method="delete",
        path="/admin/rooms/{roomId}/moderation/{userId}",
        name="lift",
        summary="Lift what holds against somebody in a room.",
        auth="key",
        parameters=(_MODERATOR,),
        answer=shapes.Lifted,
        problems=_ADMIN,
    ),
    Endpoint(
        method="put",
        path="/admin/users/{userId}/blocks/{blockedUserId}",
        name="block",
        summary="Have a person see nothing of another any more.",
        auth="key",
        parameters=(_MODERATOR,),
        answer=shapes.BlockSet,
        problems=_ADMIN,
    ),
    Endpoint(
        method="delete",
        path="/admin/users/{userId}/blocks/{blockedUserId}",
        name="unblock",
        summary="Have a person see another again.",
        auth="key",
        parameters=(_MODERATOR,),
        answer=shapes.BlockSet,
        problems=_ADMIN,
    ),
    Endpoint(
        method="put",
        path="/admin/users/{userId}/friends/{friendId}",
        name="befriend",
        summary="Make two persons friends.",
        auth="key",
        parameters=(_MODERATOR,),
        answer=shapes.FriendshipSet,
        problems=_ADMIN,
    ),
    Endpoint(
        method="delete",
        path="/admin/users/{userId}/friends/{friendId}",
        name="unfriend",
        summary="End a friendship.",
        auth="key",
        parameters=(_MODERATOR,),
        answer=shapes.FriendshipSet,
        problems=_ADMIN,
    ),
    Endpoint(
        method="post",
        path="/admin/users/{userId}/erasure",
        name="erase",
        summary="Ask for the erasure of a person's data; the job process does it.",
        auth="key",
        parameters=(_MODERATOR,),
        body=shapes.ErasureOrder,
        status=202,
        answer=shapes.ErasureAsked,
        problems=(*_DESK, 413),
    ),
    Endpoint(
        method="get",
        path="/admin/erasures/{erasureId}",
        name="erasure",
        summary="How far an erasure is.",
        auth="key",
        answer=shapes.ErasureView,
        problems=_DESK,
    ),
    Endpoint(
        method="get",
        path="/admin/moderation/queue",
        name="listQueue",
        summary="What moderators are to look at, the longest open first.",
        auth="key",
        parameters=(
            _parameter("status", Literal["open", "all"], "Which items; without it those that are open."),
            _cursor("after", ENTRY_CURSOR, "The page that follows."),
            _LIMIT,
        ),
        answer=QueuePage,
        problems=_DESK,
    ),
    Endpoint(
        method="get",
        path="/admin/moderation/queue/{itemId}",
        name="queueItem",
        summary="One item of the queue.",
        auth="key",
        answer=QueueItem,
        problems=_DESK,
    ),
    Endpoint(
        method="post",
        path="/admin/moderation/queue/{itemId}/claim",
        name="claim",
        summary="Take an item, so that nobody else works on it.",
        auth="key",
        body=ClaimRequest,
        answer=QueueItem,
        problems=(*_DESK, 409, 413),
    ),
    Endpoint(
        method="post",
        path="/admin/moderation/queue/{itemId}/release",
        name="release",
        summary="Give an item back.",
        auth="key",
        body=ClaimRequest,
        answer=QueueItem,
        problems=(*_DESK, 409, 413),
    ),
    Endpoint(
        method="post",
        path="/admin/moderation/queue/{itemId}/resolve",
        name="resolve",
        summary="Do what was decided about an item, and close it. Claims it where nobody has.",
        auth="key",
        body=ResolveRequest,
        answer=QueueItem,
        problems=(*_DESK, 403, 409, 413, 500, 504),
    ),
    Endpoint(
        method="get",
        path="/admin/moderation/audit",
        name="listAudit",
        summary="What was done, and by whom, the newest first.",
        auth="key",
        parameters=(
            _cursor("before", ENTRY_CURSOR, "The page that follows."),
            _LIMIT,
            _parameter("userId", UserIdField, "Only what was done to this person."),
        ),
        answer=AuditPage,
        problems=_DESK,
    ),
)

_MEANING: Final[Mapping[int, str]] = {
    400: "The request is not as this document says.",
    401: "The token or key is missing or no good.",
    403: "The person may not.",
    404: "It is not there, or not for who asks.",
    409: "It cannot be done as things stand.",
    413: "The body is too large.",
    429: "Sent faster than allowed.",
    500: "The server failed on this; nothing changed.",
    501: "This cluster is set up without it.",
    503: "It cannot be done now; try again later.",
    504: "The room's worker did not answer in time; it may still do it.",
}

_SECURITY: Final[Mapping[Auth, list[dict[str, list[str]]] | None]] = {
    "none": None,
    "session": [{}, {"session": []}],
    "token": [{"realtimeToken": []}],
    "key": [{"administrationKey": []}],
}

_SCHEMES: Final[Mapping[str, Schema]] = {
    "session": {"type": "http", "scheme": "bearer", "description": "The application's own session, a JWT."},
    "realtimeToken": {"type": "http", "scheme": "bearer", "description": "A room token, see docs/protocol.md."},
    "administrationKey": {"type": "http", "scheme": "bearer", "description": "ROOMRING_ADMIN_KEY of the edge."},
}


def public_document() -> Schema:
    """Return the document of the public listener."""
    return _document("Roomring", _PUBLIC)


def internal_document() -> Schema:
    """Return the document of the internal listener."""
    return _document("Roomring, internal listener", _INTERNAL)


def _document(title: str, endpoints: Sequence[Endpoint]) -> Schema:
    structs = list(dict.fromkeys(struct for endpoint in endpoints for struct in _structs(endpoint)))
    _, components = json.schema_components(structs, ref_template="#/components/schemas/{name}")
    schemes = dict.fromkeys(name for one in endpoints for way in _SECURITY[one.auth] or [] for name in way)
    paths: dict[str, Schema] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method] = _operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": str(PROTOCOL_VERSION),
            "description": "Unknown fields of a body are ignored, in both directions: later releases add some.",
        },
        "paths": paths,
        "components": {
            "schemas": {name: _tidy(component) for name, component in sorted(components.items())},
            "securitySchemes": {name: _SCHEMES[name] for name in schemes},
        },
    }


def _structs(endpoint: Endpoint) -> Iterable[type[Struct]]:
    for kind in (endpoint.body, endpoint.answer, endpoint.other):
        if isinstance(kind, type):
            yield kind
    if endpoint.problems:
        yield Problem


def _operation(endpoint: Endpoint) -> Schema:
    parameters = [
        Parameter(name, "path", json.schema(_PATH[name]), "") for name in re.findall(r"\{(\w+)\}", endpoint.path)
    ]
    operation: Schema = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "parameters": [_described(parameter) for parameter in (*parameters, *endpoint.parameters)],
        "responses": _responses(endpoint),
    }
    if endpoint.tagged:
        operation["parameters"].append(
            _described(_parameter("If-None-Match", str, "ETags that the client has.", place="header"))
        )
    if endpoint.body is not None:
        operation["requestBody"] = {"required": True, "content": _json_content(endpoint.body)}
    security = _SECURITY[endpoint.auth]
    if security is not None:
        operation["security"] = security
    return operation


def _described(parameter: Parameter) -> Schema:
    schema = {name: value for name, value in parameter.schema.items() if name != "description"}
    description = parameter.description or parameter.schema.get("description", "")
    found: Schema = {"name": parameter.name, "in": parameter.place, "description": description, "schema": schema}
    if parameter.place == "path":
        found["required"] = True
    if schema.get("type") == "array":
        found |= {"style": "form", "explode": False}
    return found


def _responses(endpoint: Endpoint) -> Schema:
    success: Schema = {"description": endpoint.summary}
    if isinstance(endpoint.answer, str):
        kind = "object" if endpoint.answer == "application/json" else "string"
        success["content"] = {endpoint.answer: {"schema": {"type": kind}}}
    else:
        success["content"] = _json_content(endpoint.answer)
    responses: Schema = {str(endpoint.status): success}
    if endpoint.tagged:
        tag = {"ETag": {"required": True, "schema": {"type": "string", "pattern": '^"[0-9a-f]{32}"$'}}}
        success["headers"] = tag
        responses["304"] = {"description": "The client has it already.", "headers": tag}
    for status in sorted(endpoint.problems):
        responses[str(status)] = _problem(status)
    if endpoint.other is not None:
        responses["503"] = {"description": _MEANING[503], "content": _json_content(endpoint.other)}
    return responses


def _problem(status: int) -> Schema:
    found: Schema = {"description": _MEANING[status], "content": _json_content(Problem)}
    if status in (429, 503):
        found["headers"] = {
            "Retry-After": {"required": True, "description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}
        }
    return found


def _json_content(struct: type[Struct]) -> Schema:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{struct.__name__}"}}}


def _tidy(schema: Any) -> Any:
    """Put descriptions in one line."""
    if isinstance(schema, dict):
        return {
            name: " ".join(value.split()) if name == "description" and isinstance(value, str) else _tidy(value)
            for name, value in schema.items()
        }
    return [_tidy(item) for item in schema] if isinstance(schema, list) else schema
