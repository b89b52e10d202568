"""What a client can send, and should not: each gets its answer, and a neighbour in the same room feels nothing."""

import asyncio
import contextlib
import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from deploy.devcluster import DevCluster
from tests.integration.client import Client, join_payload, new_id, transform
from tests.integration.conftest import People, _people, mint, running_cluster
from tests.integration.neighbours import Neighbours

FRAME_BYTES_MAX = 16 * 1024


def envelope(t: Any, payload: Any, **fields: Any) -> str:
    return json.dumps({"v": 1, "t": t, "ts": 1, "payload": payload, **fields})


def chat(text: Any, **more: Any) -> str:
    return envelope("local_chat", {"roomId": "a", "text": text, "mode": "local", **more})


def moved(**wrong: Any) -> str:
    payload = {"roomId": "a", **transform(1)} | wrong
    return envelope("avatar_transform", {name: value for name, value in payload.items() if value is not ...})


def number(text: str) -> str:
    """Return a movement to an `x` that is written so."""
    return moved(x="@").replace('"@"', text)


def padded(size: int) -> str:
    """Return a heartbeat of exactly so many bytes; unknown fields are ignored."""
    bare = envelope("heartbeat", {"clientTimeMs": 1}, id="padded", pad="")
    return envelope("heartbeat", {"clientTimeMs": 1}, id="padded", pad="x" * (size - len(bare)))


BAD_FRAMES: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "malformed"),
    "garbage": ("\x00\x01 }{ ][", "malformed"),
    "half a message": (envelope("heartbeat", {"clientTimeMs": 1})[:-3], "malformed"),
    "two messages": (envelope("heartbeat", {"clientTimeMs": 1}) * 2, "malformed"),
    "null": ("null", "malformed"),
    "a list": ("[]", "malformed"),
    "a text": ('"heartbeat"', "malformed"),
    "a number": ("1e999", "malformed"),
    "deep lists": ("[" * 5000 + "]" * 5000, "malformed"),
    "deep objects": ('{"k":' * 2500 + "1" + "}" * 2500, "malformed"),
    "deep in an unknown field": (
        envelope("heartbeat", {"clientTimeMs": 1})[:-1] + ',"z":' + "[" * 5000 + "]" * 5000 + "}",
        "malformed",
    ),
    "not UTF-8": (b'{"v":1,"t":"heartbeat","ts":1,"id":"\xff\xfe","payload":{"clientTimeMs":1}}', "malformed"),
    "half a surrogate pair": (chat("?").replace("?", "\\ud83d"), "malformed"),
    "NaN": (number("NaN"), "malformed"),
    "Infinity": (number("-Infinity"), "malformed"),
    "beyond floats": (number("1e999"), "invalid_payload"),
    "beyond ints": (number("9" * 5000), "invalid_payload"),
    "seq beyond ints": (moved(seq=10**30), "invalid_payload"),
    "seq below zero": (moved(seq=-1), "invalid_payload"),
    "seq with a fraction": (moved(seq=1.5), "invalid_payload"),
    "x as text": (moved(x="1"), "invalid_payload"),
    "x as null": (moved(x=None), "invalid_payload"),
    "x missing": (moved(x=...), "invalid_payload"),
    "anim unknown": (moved(anim="fly"), "invalid_payload"),
    "speaking as a number": (moved(speaking=1), "invalid_payload"),
    "payload missing": ('{"v":1,"t":"heartbeat","ts":1}', "invalid_payload"),
    "payload as a list": (envelope("heartbeat", []), "invalid_payload"),
    "payload as null": (envelope("heartbeat", None), "invalid_payload"),
    "ts missing": ('{"v":1,"t":"heartbeat","payload":{"clientTimeMs":1}}', "invalid_payload"),
    "ts as text": (envelope("heartbeat", {"clientTimeMs": 1}, ts="now"), "invalid_payload"),
    "v missing": ('{"t":"heartbeat","ts":1,"payload":{"clientTimeMs":1}}', "invalid_payload"),
    "v of the future": (envelope("heartbeat", {"clientTimeMs": 1}, v=2), "invalid_payload"),
    "v as text": (envelope("heartbeat", {"clientTimeMs": 1}, v="1"), "invalid_payload"),
    "t missing": ('{"v":1,"ts":1,"payload":{}}', "invalid_payload"),
    "t as a number": (envelope(7, {}), "invalid_payload"),
    "t of a server": (envelope("chat_broadcast", {}), "unknown_event"),
    "t unknown": (envelope("become_admin", {}), "unknown_event"),
    "t of 10 kB": (envelope("x" * 10_000, {}), "unknown_event"),
    "t of another case": (envelope("Heartbeat", {"clientTimeMs": 1}), "unknown_event"),
    "id of 65": (envelope("heartbeat", {"clientTimeMs": 1}, id="x" * 65), "invalid_payload"),
    "id empty": (envelope("heartbeat", {"clientTimeMs": 1}, id=""), "invalid_payload"),
    "id as a number": (envelope("heartbeat", {"clientTimeMs": 1}, id=1), "invalid_payload"),
    "chat of nothing": (chat(""), "invalid_payload"),
    "chat of 241": (chat("x" * 241), "invalid_payload"),
    "chat of 241 astral": (chat("\U0001f600" * 241), "invalid_payload"),
    "chat as a list": (chat(["x"]), "invalid_payload"),
    "chat of another mode": (chat("x", mode="global"), "invalid_payload"),
    "emote with a space": (envelope("emote", {"roomId": "a", "emoteId": "a b"}), "invalid_payload"),
    "emote of 65": (envelope("emote", {"roomId": "a", "emoteId": "x" * 65}), "invalid_payload"),
    "join without user": (envelope("join_room", {"roomId": "a"}), "invalid_payload"),
    "join with a nameless user": (
        envelope("join_room", {"roomId": "a", "user": {"userId": "", "displayName": "A", "avatarId": "fox"}}),
        "invalid_payload",
    ),
    "join with a line feed in the name": (
        envelope("join_room", join_payload("a", "u", name="a\nb")),
        "invalid_payload",
    ),
    "join with a half place": (
        envelope("join_room", {**join_payload("a", "u"), "resume": {"epoch": 1}}),
        "invalid_payload",
    ),
    "token as a number": (envelope("join_room", {**join_payload("a", "u"), "token": 1}), "invalid_payload"),
}

BAD_ROOM_IDS = ["", " ", "a b", "a\n", "\na", "{p0}", "a{b}", "-a", ":a", "a/b", "a*", "a\x00", "ä"]
BAD_ROOM_IDS += ["x" * 129, "x" * 10_000]


@pytest.mark.parametrize("what", BAD_FRAMES)
async def test_a_bad_frame_gets_one_error_and_the_connection_lives(people: People, room: str, what: str) -> None:
    frame, code = BAD_FRAMES[what]
    client = await people.connect()
    await client.socket.send(frame, text=True)
    error = await client.wait("error")
    assert error["payload"]["code"] == code, error
    assert error["payload"]["message"]
    assert (await client.heartbeat())["t"] == "heartbeat_ack"
    assert len(client.all("error")) == 1
    assert (await client.join(room, "ann", token=mint("ann", room)))["t"] == "room_state"


async def test_a_neighbour_feels_nothing_of_all_bad_frames_at_once(people: People, room: str) -> None:
    async with Neighbours(people, room):
        frames = [
            frame.replace('"a"', f'"{room}"') if isinstance(frame, str) else frame for frame, _ in BAD_FRAMES.values()
        ]
        for _ in range(3):
            await asyncio.gather(
                *(send_in_a_room(people, room, frames[start : start + 15]) for start in range(0, len(frames), 15))
            )


async def send_in_a_room(people: People, room: str, frames: list[str | bytes]) -> None:
    client = await people.join(room, new_id(), edge=0)
    for frame in frames:
        await client.socket.send(frame, text=True)
    await client.heartbeat()
    assert len(client.all("error")) == len(frames)
    await client.leave(room)


@pytest.mark.parametrize("bad", BAD_ROOM_IDS, ids=lambda text: repr(text[:12]))
async def test_a_bad_room_id_is_named_as_such(people: People, bad: str) -> None:
    client = await people.connect()
    for t, payload in (
        ("join_room", join_payload(bad, "ann", token=mint("ann", "*"))),
        ("local_chat", {"roomId": bad, "text": "x", "mode": "local"}),
        ("leave_room", {"roomId": bad}),
        ("heartbeat", {"roomId": bad, "clientTimeMs": 1, "lastSeq": 1}),
    ):
        answer = await client.ask(t, payload)
        assert (answer["t"], answer["payload"]["code"]) == ("error", "invalid_room_id"), answer


async def test_the_longest_room_id_works(people: People, room: str) -> None:
    longest = f"{room}._:-".replace(":", "-") + "x" * (128 - len(room) - 4)
    assert re.fullmatch(r"[A-Za-z0-9._-]{128}", longest)
    ann = await people.join(longest, "ann")
    bob = await people.join(longest, "bob", edge=1)
    await ann.chat(longest, "x")
    await bob.wait("chat_broadcast", text="x")


async def test_an_unknown_kind_of_room_is_told(people: People, room: str) -> None:
    name = f"hologram:{room}"
    client, answer = await people.try_join(name, "ann")
    assert (answer["t"], answer["payload"]["code"], answer["payload"]["roomId"]) == ("error", "unsupported_kind", name)
    assert (await client.chat(name, "x"))["payload"]["code"] == "not_joined"
    assert (await client.join(room, "ann", token=mint("ann", room)))["t"] == "room_state"


async def test_events_before_a_join_and_after_a_leave_have_no_effect(people: People, room: str) -> None:
    bob = await people.join(room, "bob", edge=1)
    ann = await people.connect()

    async def nothing_works() -> None:
        answer = await ann.chat(room, "unheard")
        assert (answer["t"], answer["payload"]["code"]) == ("error", "not_joined")
        answer = await ann.ask("emote", {"roomId": room, "emoteId": "cheers"})
        assert answer["payload"]["code"] == "not_joined"
        answer = await ann.ask("avatar_transform", {"roomId": room, **transform(1)})
        assert answer["payload"]["code"] == "not_joined"
        assert "seq" not in (await ann.heartbeat(room, 0))["payload"]
        assert (await ann.leave(room))["t"] == "left_room"

    await nothing_works()
    await ann.join(room, "ann", token=mint("ann", room))
    await ann.chat(room, "heard")
    await ann.leave(room)
    mark = ann.mark()
    await nothing_works()
    await bob.chat(room, "alone")
    await ann.heartbeat()
    assert [event["payload"]["text"] for event in bob.all("chat_broadcast")] == ["heard", "alone"]
    assert not ann.all("chat_broadcast", since=mark)
    assert not bob.all("avatar_transform_broadcast")


async def test_chat_of_all_allowed_lengths(people: People, room: str) -> None:
    bob = await people.join(room, "bob", edge=1)
    ann = await people.join(room, "ann")
    for text in ("x", "x" * 240, "\U0001f600" * 240, "\u0301" * 240, "\x00", '"\\\u2028</script>'):
        assert (await ann.chat(room, text))["t"] == "ack"
        await bob.wait("chat_broadcast", text=text)


async def test_ids_of_64_characters_work(people: People, room: str) -> None:
    ann = await people.join(room, "ann")
    for longest in ("x" * 64, "\U0001f600" * 64, '"\\\n' + "y" * 61):
        first = await ann.chat(room, "x", id=longest)
        assert (first["t"], first["re"]) == ("ack", longest)
        assert await ann.chat(room, "x", id=longest) == first


# --- frames -----------------------------------------------------------------------------------------------


async def test_a_frame_of_16_kib_is_taken_and_one_more_byte_is_not(people: People, room: str) -> None:
    for size in (FRAME_BYTES_MAX - 1, FRAME_BYTES_MAX):
        client = await people.connect()
        await client.socket.send(padded(size))
        assert (await client.wait("heartbeat_ack"))["re"] == "padded"
    async with Neighbours(people, room):
        for size in (FRAME_BYTES_MAX + 1, 17 * 1024, 1_000_000):
            client = await people.join(room, "big")
            with contextlib.suppress(ConnectionClosed):
                await client.socket.send(padded(size))
            assert await client.wait_closed() == 1009


async def test_fragments_count_together(people: People) -> None:
    client = await people.connect()
    whole = padded(FRAME_BYTES_MAX)
    await client.socket.send(whole[start : start + 1000] for start in range(0, len(whole), 1000))
    assert (await client.wait("heartbeat_ack"))["re"] == "padded"

    whole = envelope("heartbeat", {"clientTimeMs": 1}, id="slow")
    mark = client.mark()

    async def slowly() -> Any:
        for start in range(0, len(whole), 20):
            yield whole[start : start + 20]
            await (await client.socket.ping())

    await client.socket.send(slowly())
    await client.wait("heartbeat_ack", since=mark)

    whole = padded(FRAME_BYTES_MAX * 2)
    with contextlib.suppress(ConnectionClosed):
        await client.socket.send(whole[start : start + 1000] for start in range(0, len(whole), 1000))
    assert await client.wait_closed() == 1009


async def test_a_binary_frame_gets_an_error(people: People, room: str) -> None:
    client = await people.connect()
    await client.socket.send(envelope("heartbeat", {"clientTimeMs": 1}).encode())
    assert (await client.wait("error"))["payload"]["code"] == "malformed"
    assert not client.all("heartbeat_ack")
    assert (await client.heartbeat())["t"] == "heartbeat_ack"


# --- too much ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frame", ["garbage", b"binary", envelope("local_chat", {})])
async def test_too_many_malformed_messages_end_the_connection(people: People, room: str, frame: str | bytes) -> None:
    async with Neighbours(people, room):
        client = await people.join(room, "bad")
        for _ in range(20):
            await client.socket.send(frame)
        await client.heartbeat()
        assert client.is_open
        assert len(client.all("error")) == 20
        with contextlib.suppress(ConnectionClosed):
            for _ in range(5):
                await client.socket.send(frame)
        assert await client.wait_closed() == 4400


async def test_unknown_events_are_not_malformed(people: People) -> None:
    """A newer client may know more events than this server."""
    client = await people.connect()
    for _ in range(60):
        await client.send("event_of_the_future", {})
    await client.heartbeat()
    assert len(client.all("error", code="unknown_event")) == 60
    assert client.is_open


async def test_a_flood_ends_the_connection(people: People, room: str) -> None:
    async with Neighbours(people, room):
        for payload in (
            envelope("heartbeat", {"clientTimeMs": 1}),
            envelope("avatar_transform", {"roomId": room, **transform(1)}),
            envelope("local_chat", {"roomId": room, "text": "x", "mode": "local"}),
        ):
            client = await people.join(room, "flooder")
            with contextlib.suppress(ConnectionClosed):
                for _ in range(3_000):
                    await client.socket.send(payload)
            assert await client.wait_closed() == 4429


async def test_many_sockets_that_come_and_go_leave_nothing(people: People, room: str) -> None:
    def open_connections(numbers: dict[str, float]) -> float:
        return numbers["roomring_edge_connections"]

    before = open_connections(await people.metrics())
    async with Neighbours(people, room):
        for _ in range(3):
            await asyncio.gather(*(come_and_go(people, room, number) for number in range(120)))
    await wait_until(people, lambda numbers: open_connections(numbers) <= before + 1, within_s=10)
    answer = await people.admin("GET", f"rooms/{room}")
    assert len(answer.json["members"]) <= 2 + 5


async def come_and_go(people: People, room: str, number: int) -> None:
    """Open a connection and end it at one of several moments, without a word."""
    address = urlsplit(people.ws_url())
    if number % 4 == 0:
        _, writer = await asyncio.open_connection(address.hostname, address.port)
        if number % 8 == 0:
            writer.write(b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n")
            await writer.drain()
        writer.transport.abort()
        return
    with contextlib.suppress(WebSocketException, OSError):
        visitor = await connect(people.ws_url(), proxy=None, compression=None, ping_interval=None)
        if number % 4 == 2:
            user = f"visitor-{number % 5}"
            payload = join_payload(room + "-hall", user, token=mint(user, room + "-hall"))
            await visitor.send(envelope("join_room", payload))
        visitor.transport.abort()


async def wait_until(people: People, holds: Any, *, edge: int = 0, within_s: float = 5.0) -> dict[str, float]:
    """Ask an edge for its numbers until they are as wanted."""
    deadline_s = time.monotonic() + within_s
    while True:
        numbers = await people.metrics(edge)
        if holds(numbers):
            return numbers
        assert time.monotonic() < deadline_s, {name: value for name, value in numbers.items() if "connections" in name}
        await asyncio.sleep(0.05)


# --- silence ----------------------------------------------------------------------------------------------


async def test_who_does_not_say_who_it_is_is_sent_away(hasty: People) -> None:
    client = await hasty.connect()
    began_s = time.monotonic()
    while client.is_open and time.monotonic() < began_s + 3:
        with contextlib.suppress(AssertionError, ConnectionClosed):
            await client.heartbeat()
        await asyncio.sleep(0.1)
    assert await client.wait_closed() == 4401
    assert 0.5 < time.monotonic() - began_s < 2


async def test_who_says_nothing_is_sent_away_and_leaves_after_the_window(hasty: People, room: str) -> None:
    watcher = await hasty.join(room, "watcher", edge=1)
    client = await hasty.join(room, "silent")
    await watcher.wait("member_joined", roomId=room)
    began_s = time.monotonic()
    while not watcher.all("member_left") and time.monotonic() < began_s + 6:
        await watcher.heartbeat()
        await asyncio.sleep(0.2)
    assert await client.wait_closed() == 4408
    assert watcher.all("member_left")[0]["payload"]["userId"] == "silent"


async def test_a_half_open_socket_is_forgotten(hasty: People, room: str) -> None:
    """The other side is gone without a word: no close is ever answered."""
    before = (await hasty.metrics())["roomring_edge_connections"]
    gone = [await hasty.join(f"{room}-{number}", f"gone-{number}") for number in range(10)]
    for client in gone:
        client.socket.transport.pause_reading()
    await wait_until(hasty, lambda numbers: numbers["roomring_edge_connections"] >= before + 10)
    numbers = await wait_until(hasty, lambda numbers: numbers["roomring_edge_connections"] <= before, within_s=10)
    assert numbers['roomring_edge_connections_closed_total{code="4408"}'] >= 10
    for client in gone:
        client.socket.transport.abort()


# --- slow readers -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def roomy_cluster() -> Iterator[DevCluster]:
    """A cluster that lets people talk as fast as they can, and bears little unsent."""
    environ = {
        "ROOMRING_WRITE_BUFFER_SOFT_BYTES": "16384",
        "ROOMRING_WRITE_BUFFER_HARD_BYTES": str(1024 * 1024),
        "ROOMRING_CHAT_PER_SECOND": "1000",
        "ROOMRING_CHAT_BURST": "1000",
        "ROOMRING_TRANSFORMS_PER_SECOND_DESKTOP": "100",
        "ROOMRING_MESSAGES_PER_SECOND_MAX": "10000",
        "ROOMRING_MESSAGES_BURST": "100000",
        "ROOMRING_RECONNECT_WINDOW_MS": "1000",
    }
    with running_cluster(environ=environ) as running:
        yield running


@pytest.fixture
async def roomy(roomy_cluster: DevCluster) -> Any:
    async for visitors in _people(roomy_cluster):
        yield visitors


async def narrow(people: People, room: str, user: str) -> Client:
    """Join over a socket whose kernel takes little, on the first edge."""
    address = urlsplit(people.ws_url())
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (address.hostname, address.port))
    connection = await connect(
        people.ws_url(), sock=sock, compression=None, ping_interval=None, proxy=None, max_queue=None, close_timeout=1
    )
    client = people.adopt(Client(connection))
    answer = await client.join(room, user, token=mint(user, room))
    assert answer["t"] == "room_state"
    return client


def rss_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


TEXT = "\U0001f600" * 240
CHATS = 100
"""At once: some 130 kB to each reader, far below the hard mark."""


async def talk(speaker: Client, room: str) -> None:
    ids = [new_id() for _ in range(CHATS)]
    for name in ids:
        await speaker.send("local_chat", {"roomId": room, "text": TEXT, "mode": "local"}, id=name)
    await speaker.wait(lambda event: event.get("re") == ids[-1])


async def test_who_does_not_read_is_cut_off_and_costs_nobody_anything(roomy: People, room: str) -> None:
    pid = roomy.cluster.edges[0].pid
    assert pid is not None
    async with Neighbours(roomy, room):
        speaker = await roomy.join(room, "speaker", edge=1)
        await talk(speaker, room)
        before = rss_bytes(pid)
        slow = [await narrow(roomy, room, f"slow-{number}") for number in range(3)]
        at = slow[0].position(room)
        for client in slow:
            client.socket.transport.pause_reading()
        closed = 'roomring_edge_connections_closed_total{code="1013"}'
        peak = before
        for _ in range(100):
            await talk(speaker, room)
            peak = max(peak, rss_bytes(pid))
            if (await roomy.metrics()).get(closed, 0) >= 3:
                break
            await asyncio.sleep(0.05)
        assert (await roomy.metrics()).get(closed, 0) == 3
        # Three times the hard mark, and what an allocator keeps.
        assert peak - before < 40 * 1024 * 1024, (before, peak)
        for client in slow:
            client.socket.transport.resume_reading()
            assert await client.wait_closed() in (1013, 1006)
    back = await roomy.join(room, "slow-0", edge=1, resume=at)
    assert back.all("room_state")[0]["payload"]["recovered"] is False, "the history is shorter than what was said"
    await back.chat(room, "back")


async def test_who_reads_slowly_gets_no_movements_and_then_the_whole_state(roomy: People, room: str) -> None:
    mover = await roomy.join(room, "mover", edge=1)
    slow = await narrow(roomy, room, "slow")
    slow.socket.transport.pause_reading()
    skipped = "roomring_edge_movements_skipped_total"
    before = (await roomy.metrics())[skipped]
    for step in range(1, 100):
        await talk(mover, room)
        await mover.move(room, step, float(step))
        await mover.wait("avatar_transform_broadcast", seq=step)
        if (await roomy.metrics())[skipped] > before:
            break
        await asyncio.sleep(0.1)
    assert (await roomy.metrics())[skipped] > before
    slow.socket.transport.resume_reading()
    resync = await slow.wait("resync", reason="slow_reader", within_s=10)
    state = await slow.wait("room_state", since=slow.received.index(resync))
    assert {m["userId"]: m["x"] for m in state["payload"]["members"]}["mover"] == float(step)
    assert slow.is_open
    assert len(slow.all("chat_broadcast")) == len(mover.all("chat_broadcast"))
    await mover.move(room, step + 1, 0.5)
    await slow.wait("avatar_transform_broadcast", x=0.5)
