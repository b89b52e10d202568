"""An erasure that an application asks for, in a real cluster: what the other person of a thread sees afterwards."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

from common.ids import UserId, thread_of
from deploy.devcluster import DevCluster
from tests.contract.jobs import dump, traces
from tests.integration.calls import call
from tests.integration.conftest import People, mint, running_cluster
from tests.integration.kept import database, stored
from tests.integration.test_http_conversations import until

Person = Callable[[str], str]
ENVIRON = {"ROOMRING_JOBS_HEARTBEAT_MS": "500", "ROOMRING_ERASURE_SECOND_PASS_MS": "0"}


@pytest.fixture(scope="module")
def forgetting_cluster() -> Iterator[DevCluster]:
    """A cluster with jobs, whose second passes follow at once."""
    with running_cluster(edges=1, workers=1, jobs=True, environ=ENVIRON) as running:
        yield running


async def test_the_other_one_keeps_the_thread_and_no_trace_of_the_person_is_stored(
    forgetting_cluster: DevCluster, room: str, person: Person
) -> None:
    people = People(forgetting_cluster)
    ann, bob = person("ann"), person("bob")
    assert (await people.admin("PUT", f"users/{ann}/friends/{bob}")).status == 200
    author, other = await people.join(room, ann), await people.join(room, bob)
    for client, to, text in ((author, bob, "Secret words"), (other, ann, "Mine")):
        await stored(client, await client.ask("direct_send", {"recipientId": to, "text": text}))
    assert (await people.admin("DELETE", f"users/{ann}/friends/{bob}")).status == 200
    order = {"userId": ann, "type": "banned", "reason": "", "seconds": 0.5}
    assert (await people.admin("POST", f"rooms/user:{ann}/moderation", order)).status == 200
    assert await author.wait_closed() == 4403

    asked = await people.admin("POST", f"users/{ann}/erasure", {"requestedBy": "office"})
    assert (asked.status, asked.json["new"]) == (202, True)

    async def finished() -> Any:
        told = (await people.admin("GET", f"erasures/{asked.json['erasureId']}")).json
        return told if "finishedAtMs" in told else None

    told = await until(finished, within_s=20)
    assert (told["passes"], told["requestedBy"], told["counts"]["threads moved"]) == (2, "office", 1)

    async def read(path: str) -> Any:
        answer = await call("GET", forgetting_cluster.edges[0].url + path, key=mint(bob, "*"))
        assert answer.status == 200, answer
        return answer.json

    (thread,) = (await read("/threads"))["threads"]
    assert thread["threadId"].startswith("dm::")
    assert thread["threadId"] != thread_of(UserId(ann), UserId(bob))
    assert (thread["userId"][:7], thread["displayName"], thread["unread"]) == ("erased-", "", 0)
    page = await read(f"/threads/{quote(thread['threadId'], safe=':')}/messages")
    assert [message["text"] for message in page["messages"]] == ["Mine"]
    await people.end()
    async with database(forgetting_cluster) as connection:
        kept = traces(await dump(connection), ann, "Secret words")
    # A ban that ran when the last pass was done keeps the id until the night after its end.
    assert [row for row in kept if not row.startswith("public.restrictions:")] == []
