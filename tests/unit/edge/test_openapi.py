"""The OpenAPI documents: they name what the listeners offer, all of it and no more."""

import re
from typing import Any

import pytest
from aiohttp import web
from openapi_spec_validator import validate

from edge.openapi import NOT_DESCRIBED, internal_document, public_document
from tests.unit.edge.http_stage import Pages, Stage

DOCUMENTS = {"public": public_document, "internal": internal_document}
each_listener = pytest.mark.parametrize("listener", DOCUMENTS)

METHODS = {"get", "post", "put", "delete", "patch"}
"""Others are HEAD, which follows from GET, and OPTIONS, which only browsers send."""


async def start(stage: Stage, listener: str) -> Pages:
    return await (stage.public() if listener == "public" else stage.internal())


def nameless(path: str) -> str:
    """The names of a path's variable parts are the document's own."""
    return re.sub(r"\{\w+\}", "{}", path)


def offered(app: web.Application) -> set[tuple[str, str]]:
    """Return the method and path of every route."""
    found = set()
    for route in app.router.routes():
        assert route.resource is not None
        path = route.resource.canonical
        if path not in NOT_DESCRIBED and route.method.lower() in METHODS:
            found.add((route.method.lower(), nameless(path)))
    return found


def described(document: dict[str, Any]) -> set[tuple[str, str]]:
    """Return the method and path of every operation."""
    return {(method, nameless(path)) for path, item in document["paths"].items() for method in item}


@each_listener
async def test_every_route_is_described_and_no_other(stage: Stage, listener: str) -> None:
    pages = await start(stage, listener)
    assert described(DOCUMENTS[listener]()) == offered(pages.app)


async def test_what_is_left_out_is_there(stage: Stage) -> None:
    pages = await stage.public()
    paths = {route.resource.canonical for route in pages.app.router.routes() if route.resource is not None}
    assert set(NOT_DESCRIBED) <= paths


@each_listener
async def test_a_listener_serves_its_own_document(stage: Stage, listener: str) -> None:
    answer = await (await start(stage, listener)).get("/openapi.json")
    assert answer.content_type == "application/json"
    assert await answer.json() == DOCUMENTS[listener]()


@each_listener
def test_the_document_is_openapi(listener: str) -> None:
    validate(DOCUMENTS[listener]())


@each_listener
def test_names_of_operations_are_unique(listener: str) -> None:
    items = DOCUMENTS[listener]()["paths"].values()
    names = [operation["operationId"] for item in items for operation in item.values()]
    assert len(names) == len(set(names))


@each_listener
async def test_a_wrong_method_is_told_which_are_right(stage: Stage, listener: str) -> None:
    answer = await (await start(stage, listener)).patch("/openapi.json")
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"
