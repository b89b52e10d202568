"""The HTTP of an edge: health, numbers, joining, the administration's overview, and files."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from common.settings import DEV_TOKEN_SECRET
from deploy.devcluster import DevCluster
from tests.integration.calls import Answer, call
from tests.integration.client import Client
from tests.integration.conftest import People, extra_edge, mint, running_cluster

SESSION_SECRET = "a-session-secret-of-more-than-32-characters"
TOKEN_SECRET = "a-token-secret-of-more-than-thirty-two-characters"
GOOD: dict[str, Any] = {
    "roomId": "hall",
    "user": {"userId": "ann", "displayName": "Ann", "avatarId": "fox"},
    "device": "mobile",
}


@pytest.fixture(scope="module")
def strict_edge(cluster: DevCluster) -> Iterator[tuple[str, str]]:
    """An edge as in production: no guests, one origin, keys of its own. Its public and internal URL."""
    with extra_edge(
        cluster,
        ROOMRING_TOKEN_SECRET=TOKEN_SECRET,
        ROOMRING_SESSION_SECRET=SESSION_SECRET,
        ROOMRING_ALLOWED_ORIGINS="https://app.example.com, http://localhost:5173/",
        ROOMRING_PUBLIC_WS_URL="wss://rooms.example.com/ws",
    ) as urls:
        yield urls


def session(user: str, *, key: str = SESSION_SECRET, **claims: Any) -> str:
    return jwt.encode({"sub": user, "exp": int(time.time()) + 60, **claims}, key, algorithm="HS256")


# --- health -----------------------------------------------------------------------------------------------


async def test_health_and_readiness(cluster: DevCluster) -> None:
    for edge in cluster.edges:
        alive, ready = await call("GET", f"{edge.url}/healthz"), await call("GET", f"{edge.url}/readyz")
        assert (alive.status, alive.json["status"]) == (200, "ok")
        assert (ready.status, ready.json["ready"], ready.json["problems"]) == (200, True, [])
        assert alive.json["edge"] == ready.json["edge"]


async def not_ready(url: str, why: str, *, within_s: float = 10) -> Answer:
    """Ask until an edge says that it cannot serve and gives this reason first, and return what it says.

    The shards of a worker that is dead need not lose their owner in the same moment.
    """
    deadline_s = time.monotonic() + within_s
    while True:
        answer = await call("GET", f"{url}/readyz")
        if answer.status != 200 and answer.json["problems"][0].startswith(why):
            return answer
        assert time.monotonic() < deadline_s, answer
        await asyncio.sleep(0.05)


async def test_an_edge_without_workers_is_alive_and_not_ready_and_says_why() -> None:
    with running_cluster(edges=1, workers=1, restart=False, environ={"ROOMRING_SHARDS": "8"}) as cluster:
        edge = cluster.edges[0]
        cluster.kill("worker-1")
        answer = await not_ready(edge.url, "8 of 8 shards have no owner")
        assert answer.status == 503
        assert answer.json["ready"] is False
        assert (await call("GET", f"{edge.url}/healthz")).status == 200
        seen = await call("GET", f"{edge.internal_url}/admin/cluster", key=cluster.admin_key)
        assert seen.json["problems"] == answer.json["problems"]
        assert seen.json["workers"] == []

        cluster.start_again("worker-1")
        await asyncio.to_thread(cluster.await_ready)
        cluster.kill("valkey")
        await not_ready(edge.url, "Redis does not answer")
        assert (await call("GET", f"{edge.url}/healthz")).status == 200


# --- numbers ----------------------------------------------------------------------------------------------


async def test_the_numbers_move_when_things_happen(people: People, room: str) -> None:
    before = await people.metrics(edge=1)
    ann = await people.join(room, "ann", edge=1)
    bob = await people.join(room, "bob", edge=1)
    for number in range(5):
        await ann.chat(room, f"text {number}")
    await ann.join(f"{room}-x", "ann", token="nonsense")
    await bob.close()
    wanted = {
        "roomring_edge_connections": 1,
        "roomring_edge_rooms": 1,
        "roomring_edge_connections_opened_total": 2,
        "roomring_edge_joins_total": 2,
        'roomring_edge_auth_errors_total{code="token_invalid"}': 1,
        'roomring_edge_connections_closed_total{code="1000"}': 1,
        "roomring_edge_messages_in_total": 8,
        # What workers sent: two room_states, a member_joined, and of each chat two broadcasts and an ack.
        "roomring_edge_messages_out_total": 3 + 5 * 3,
        "roomring_edge_commands_total": 7,
    }
    # These four count what others of this session may do too, so they may only be more.
    deadline_s = time.monotonic() + 5
    while True:
        after = await people.metrics(edge=1)
        moved = {name: after.get(name, 0) - before.get(name, 0) for name in wanted}
        if all(moved[name] >= value for name, value in wanted.items()):
            break
        assert time.monotonic() < deadline_s, moved
        await asyncio.sleep(0.05)
    assert moved["roomring_edge_connections_opened_total"] == 2
    assert moved["roomring_edge_joins_total"] == 2


async def test_the_numbers_are_there_for_prometheus_too(people: People) -> None:
    edge = people.cluster.edges[0]
    answer = await call("GET", f"{edge.internal_url}/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    text = answer.body.decode()
    names = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if line and not line.startswith("#")}
    assert {"roomring_edge_connections", "roomring_edge_messages_in_total", "roomring_edge_joins_total"} <= names
    assert names >= {name.split("{")[0] for name in await people.metrics()}
    worker = await call("GET", f"{people.cluster.workers[0].internal_url}/metrics")
    assert b"roomring_worker" in worker.body
    assert (await call("GET", f"{people.cluster.workers[0].internal_url}/readyz")).json["ready"] is True
    # Not on the public listener.
    for path in ("/metrics", "/internal/realtime/metrics", "/admin/cluster"):
        assert (await call("GET", edge.url + path, key=people.cluster.admin_key)).status == 404


async def test_the_overview_of_the_cluster(people: People) -> None:
    answer = await people.admin("GET", "cluster")
    assert answer.status == 200
    seen = answer.json
    ports = {edge["port"] for edge in seen["edges"]}
    assert {edge.port for edge in people.cluster.edges} <= ports
    assert len(seen["workers"]) == 2
    assert [worker["shards"] for worker in seen["workers"]] == [32, 32]
    assert [worker["share"] for worker in seen["workers"]] == [0.5, 0.5]
    assert [shard["shard"] for shard in seen["shards"]] == [*range(64)]
    names = {worker["id"] for worker in seen["workers"]}
    for shard in seen["shards"]:
        assert shard["owner"] in names
        assert shard["epoch"] > 0
        assert shard["backlog"] >= 0
    assert seen["problems"] == []
    assert isinstance(seen["backlog"], int)
    for key in (None, "wrong"):
        refused = await call("GET", f"{people.cluster.edges[0].internal_url}/admin/cluster", key=key)
        assert (refused.status, refused.code) == (401, "wrong_key")


async def test_the_administration_is_off_without_a_key(strict_edge: tuple[str, str]) -> None:
    answer = await call("GET", f"{strict_edge[1]}/admin/cluster", key="dev-admin")
    assert (answer.status, answer.code) == (404, "administration_off")


# --- joining ----------------------------------------------------------------------------------------------


async def test_a_guest_gets_a_token_that_works(people: People, room: str) -> None:
    edge = people.cluster.edges[1]
    answer = await call("POST", f"{edge.url}/rooms/join", {**GOOD, "roomId": room})
    assert answer.status == 200
    assert set(answer.json) == {"roomId", "wsUrl", "realtimeToken", "expiresAt"}
    assert answer.json["roomId"] == room
    assert answer.json["wsUrl"] == edge.ws_url
    assert 290_000 < answer.json["expiresAt"] - time.time() * 1000 <= 300_000
    claims = jwt.decode(answer.json["realtimeToken"], DEV_TOKEN_SECRET, ["HS256"], audience="roomring")
    assert claims["exp"] * 1000 == answer.json["expiresAt"]
    assert (claims["sub"], claims["room"], claims["device"]) == ("ann", room, "mobile")
    client = people.adopt(await Client.open(answer.json["wsUrl"]))
    state = await client.join(room, "ann", token=answer.json["realtimeToken"], name="Liar")
    assert state["payload"]["members"][0]["displayName"] == "Ann"


BAD_BODIES: dict[str, Any] = {
    "nothing": b"",
    "garbage": b"{]",
    "not UTF-8": b'"\xff"',
    "deep": b"[" * 5000,
    "a list": [],
    "null": b"null",
    "no room": {name: value for name, value in GOOD.items() if name != "roomId"},
    "bad room": {**GOOD, "roomId": "a b"},
    "room of 10 kB": {**GOOD, "roomId": "x" * 10_000},
    "no user": {name: value for name, value in GOOD.items() if name != "user"},
    "user without name": {**GOOD, "user": {"userId": "ann", "avatarId": "fox"}},
    "empty user id": {**GOOD, "user": {**GOOD["user"], "userId": ""}},
    "user id as a number": {**GOOD, "user": {**GOOD["user"], "userId": 1}},
    "line feed in the name": {**GOOD, "user": {**GOOD["user"], "displayName": "a\nb"}},
    "no device": {name: value for name, value in GOOD.items() if name != "device"},
    "unknown device": {**GOOD, "device": "toaster"},
}


@pytest.mark.parametrize("what", BAD_BODIES)
async def test_a_bad_body_is_refused(cluster: DevCluster, what: str) -> None:
    answer = await call("POST", f"{cluster.edges[0].url}/rooms/join", BAD_BODIES[what])
    assert answer.status == 400, answer
    assert answer.code in ("malformed", "invalid_request")
    assert answer.json["error"]["message"]


async def test_a_body_without_end_is_refused(cluster: DevCluster) -> None:
    answer = await call("POST", f"{cluster.edges[0].url}/rooms/join", b" " * 2_000_000)
    assert answer.status == 413
    assert (await call("GET", f"{cluster.edges[0].url}/rooms/join")).status == 405


async def test_without_development_mode_a_session_is_needed(strict_edge: tuple[str, str]) -> None:
    url = f"{strict_edge[0]}/rooms/join"
    expired = session("ann", exp=int(time.time()) - 1)
    no_end = jwt.encode({"sub": "ann"}, SESSION_SECRET, algorithm="HS256")
    wrong = {
        None: (401, "session_required"),
        "": (401, "session_required"),
        "nonsense": (401, "session_invalid"),
        session("ann", key="x" * 40): (401, "session_invalid"),
        jwt.encode({"sub": "ann", "exp": 2**31}, "", algorithm="none"): (401, "session_invalid"),
        expired: (401, "session_invalid"),
        no_end: (401, "session_invalid"),
        mint("ann", "hall", key=TOKEN_SECRET): (401, "session_invalid"),
        session("bob"): (403, "user_mismatch"),
    }
    for key, expected in wrong.items():
        answer = await call("POST", url, GOOD, key=key)
        assert (answer.status, answer.code) == expected, key
    answer = await call("POST", url, GOOD, key=session("ann"))
    assert answer.status == 200
    assert answer.json["wsUrl"] == "wss://rooms.example.com/ws"
    async with await Client.open(strict_edge[0].replace("http", "ws") + "/ws") as client:
        assert (await client.join("hall", "ann", token=mint("ann", "hall")))["payload"]["code"] == "token_invalid"
        assert (await client.join("hall", "ann", token=answer.json["realtimeToken"]))["t"] == "room_state"
        await client.leave("hall")


# --- browsers ---------------------------------------------------------------------------------------------


async def test_only_allowed_origins_may_read_and_connect(strict_edge: tuple[str, str]) -> None:
    url = f"{strict_edge[0]}/rooms/join"
    ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    for origin, allowed in (
        ("https://app.example.com", True),
        ("http://localhost:5173", True),
        ("https://app.example.com.evil.org", False),
        ("http://app.example.com", False),
        ("null", False),
    ):
        preflight = await call("OPTIONS", url, headers={"Origin": origin, **ask})
        assert preflight.status == 204
        posted = await call("POST", url, GOOD, key=session("ann"), headers={"Origin": origin})
        for answer in (preflight, posted):
            assert answer.headers.get("access-control-allow-origin") == (origin if allowed else None), origin
        if allowed:
            assert "POST" in preflight.headers["access-control-allow-methods"]
            assert "authorization" in preflight.headers["access-control-allow-headers"].lower()
            assert posted.headers["vary"] == "Origin"
        ws_url = strict_edge[0].replace("http", "ws") + "/ws"
        if allowed:
            async with connect(ws_url, origin=origin, proxy=None):
                pass
        else:
            with pytest.raises(InvalidStatus) as raised:
                await connect(ws_url, origin=origin, proxy=None)
            assert raised.value.response.status_code == 403


async def test_who_is_no_websocket_gets_an_error_and_no_traceback(cluster: DevCluster) -> None:
    answer = await call("GET", f"{cluster.edges[0].url}/ws")
    assert answer.status in (400, 426)
    answer = await call(
        "GET",
        f"{cluster.edges[0].url}/ws",
        headers={"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "7"},
    )
    assert answer.status in (400, 426)
    assert b"Traceback" not in answer.body


async def test_the_demo_is_there_in_development_only(cluster: DevCluster, strict_edge: tuple[str, str]) -> None:
    page = await call("GET", cluster.edges[0].url + "/")
    assert (page.status, page.headers["content-type"].split(";")[0]) == (200, "text/html")
    assert (await call("GET", f"{cluster.edges[0].url}/web/roomring/client.js")).status == 200
    assert (await call("GET", strict_edge[0] + "/")).status == 404
    assert (await call("GET", f"{strict_edge[0]}/web/roomring/client.js")).status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/web/../pyproject.toml",
        "/web/../../../../../../etc/passwd",
        "/web/%2e%2e/pyproject.toml",
        "/web/%2e%2e%2fpyproject.toml",
        "/web/..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/web/..%5c..%5cpyproject.toml",
        "/web/roomring/../../common/settings.py",
        "/web/roomring/..%2f..%2fcommon%2fsettings.py",
        "/web//etc/passwd",
        "/web/%2fetc%2fpasswd",
        "/web/./../pyproject.toml",
        "/web/__init__.py",
        "/web/roomring",
        "/web/",
        "/web/demo%00.html",
        "/web/demo/index.html%00.js",
        "/web/" + "x" * 5000,
    ],
)
async def test_files_outside_are_not_served(cluster: DevCluster, path: str) -> None:
    answer = await call("GET", cluster.edges[0].url + path)
    assert answer.status in (400, 404), answer
    assert b"root:" not in answer.body
    assert b"hatchling" not in answer.body
    assert b"DEV_TOKEN_SECRET" not in answer.body
