"""Kept chat for tests: what is said, what comes back in pages, and what stands in the database."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Any
from urllib.parse import quote, urlencode

import asyncpg

from deploy.devcluster import DevCluster
from tests.integration.calls import Answer, call
from tests.integration.client import WAIT_S, Client, Event
from tests.integration.conftest import mint

Row = tuple[int, int, str, str]
"""(epoch, seq, message id, text)"""


async def until(ask: Callable[[], Awaitable[Any]], *, within_s: float = 10) -> Any:
    """Ask until the answer is something, and return it: what is stored is stored a little later."""
    deadline_s = time.monotonic() + within_s
    while True:
        found = await ask()
        if found:
            return found
        assert time.monotonic() < deadline_s, "it did not come"
        await asyncio.sleep(0.05)


async def say(client: Client, room: str, text: str, *, within_s: float = WAIT_S, **options: Any) -> Event:
    """Say something that is kept, and return the answer. `id`: of the message; else fields of the payload."""
    message_id = options.pop("id", None)
    payload = {"roomId": room, "text": text, **options}
    return await client.ask("chat_send", payload, id=message_id, within_s=within_s)


async def say_all(client: Client, room: str, texts: Collection[str]) -> list[Event]:
    """Say many things at once, in order; return the answers when the last is stored for good."""
    answers = await asyncio.gather(*(say(client, room, text) for text in texts))
    assert all(answer["t"] == "ack" for answer in answers), answers
    for answer in answers:
        await stored(client, answer)
    return list(answers)


async def stored(client: Client, ack: Event, *, within_s: float = WAIT_S) -> Event:
    """Wait until the sender hears that an acknowledged message is stored for good."""
    return await client.wait("persisted", messageId=ack["payload"]["messageId"], within_s=within_s)


async def page(
    cluster: DevCluster,
    room: str,
    *,
    user: str = "reader",
    edge: int = 0,
    token: str | None = None,
    headers: dict[str, str] | None = None,
    **query: Any,
) -> Answer:
    """Ask for a page, as a person with a fresh token if no other is given."""
    url = f"{cluster.edges[edge].url}/rooms/{quote(room, safe=':')}/messages?{urlencode(query)}"
    return await call("GET", url, headers=headers, key=token if token is not None else mint(user, room))


async def good_page(cluster: DevCluster, room: str, **options: Any) -> dict[str, Any]:
    """Return a page that must be there."""
    answer = await page(cluster, room, **options)
    assert answer.status == 200, answer
    found: dict[str, Any] = answer.json
    assert found["roomId"] == room
    return found


async def rest_after(cluster: DevCluster, room: str, cursor: str, **options: Any) -> list[dict[str, Any]]:
    """Walk from a cursor to its end, as docs/protocol.md says: until a page is empty and settled."""
    found: list[dict[str, Any]] = []
    while True:
        answer = await good_page(cluster, room, after=cursor, **options)
        found += answer["messages"]
        cursor = answer["after"]
        if answer["messages"]:
            continue
        if answer["settled"]:
            return found
        await asyncio.sleep(0.02)


def texts_of(messages: list[dict[str, Any]]) -> list[str]:
    """Return what was said."""
    return [message["text"] for message in messages]


def places_of(messages: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """Return where it stands."""
    return [(message["epoch"], message["seq"]) for message in messages]


@contextlib.asynccontextmanager
async def database(cluster: DevCluster) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """Give a connection to a cluster's database."""
    connection = await asyncpg.connect(cluster.database_url)
    try:
        yield connection
    finally:
        await connection.close()


async def rows_of(cluster: DevCluster, room: str) -> list[Row]:
    """Return what stands in the database of a room, in order."""
    statement = "SELECT epoch, seq, message_id, text FROM messages WHERE room_id = $1 ORDER BY epoch, seq"
    async with database(cluster) as connection:
        return [tuple(row) for row in await connection.fetch(statement, room)]
