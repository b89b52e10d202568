"""Who may enter with what; and tokens that end while one is inside."""

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from common.settings import DEV_TOKEN_SECRET
from deploy.devcluster import DevCluster
from tests.integration.client import SUBPROTOCOL, Client, join_payload
from tests.integration.conftest import People, extra_edge, mint

OTHER_SECRET = "another-secret-of-forty-characters-at-all"


def part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def unsigned(user: str, room: str, algorithm: str) -> str:
    """Return a token that says that it needs no signature."""
    now_s = int(time.time())
    claims = {"sub": user, "room": room, "iat": now_s, "exp": now_s + 60, "iss": "roomring", "aud": "roomring"}
    return f"{part({'alg': algorithm, 'typ': 'JWT'})}.{part(claims)}."


def now_s() -> int:
    return int(time.time())


BAD_TOKENS: dict[str, tuple[Any, str]] = {
    "none at all": (lambda room: None, "token_invalid"),
    "empty": (lambda room: "", "token_invalid"),
    "garbage": (lambda room: "not.a.token", "token_invalid"),
    "binary": (lambda room: "\u0000\u00ff.\u2603.x", "token_invalid"),
    "expired": (lambda room: mint("ann", room, exp=now_s() - 1), "token_expired"),
    "alg none": (lambda room: unsigned("ann", room, "none"), "token_invalid"),
    "alg None": (lambda room: unsigned("ann", room, "None"), "token_invalid"),
    "wrong key": (lambda room: mint("ann", room, key=OTHER_SECRET), "token_invalid"),
    "other algorithm": (lambda room: mint("ann", room, algorithm="HS512", key=DEV_TOKEN_SECRET * 2), "token_invalid"),
    "cut": (lambda room: mint("ann", room)[:-4], "token_invalid"),
    "wrong room": (lambda room: mint("ann", room + "x"), "room_mismatch"),
    "prefix without star": (lambda room: mint("ann", room[:-1]), "room_mismatch"),
    "wrong prefix": (lambda room: mint("ann", "other*"), "room_mismatch"),
    "no room": (lambda room: mint("ann", []), "token_invalid"),
    "room of a wrong type": (lambda room: mint("ann", room, rooms=7), "token_invalid"),
    "wrong user": (lambda room: mint("bob", room), "user_mismatch"),
    "no user": (lambda room: mint("ann", room, sub=None), "token_invalid"),
    "wrong issuer": (lambda room: mint("ann", room, iss="somebody"), "token_invalid"),
    "wrong audience": (lambda room: mint("ann", room, aud="somebody"), "token_invalid"),
    "no issuer": (lambda room: mint("ann", room, iss=None), "token_invalid"),
    "no end": (lambda room: mint("ann", room, exp=None), "token_invalid"),
    "end without end": (lambda room: mint("ann", room, exp=float("inf")), "token_invalid"),
    "end beyond numbers": (lambda room: mint("ann", room, exp=1e308), "token_invalid"),
    "end beyond floats": (lambda room: mint("ann", room, exp=10**400), "token_invalid"),
    "end as text": (lambda room: mint("ann", room, exp=str(now_s() + 100)), "token_invalid"),
    "not yet": (lambda room: mint("ann", room, nbf=now_s() + 100), "token_invalid"),
    "unknown device": (lambda room: mint("ann", room, device="toaster"), "token_invalid"),
}


@pytest.mark.parametrize("what", BAD_TOKENS)
async def test_a_bad_token_is_refused_and_a_good_one_works_after_it(people: People, room: str, what: str) -> None:
    make, code = BAD_TOKENS[what]
    client = await people.connect()
    answer = await client.join(room, "ann", token=make(room))
    assert (answer["t"], answer["payload"]["code"]) == ("auth_error", code), answer
    assert answer["payload"]["message"]
    assert client.is_open
    assert (await client.chat(room, "no"))["payload"]["code"] == "not_joined"
    assert (await client.join(room, "ann", token=mint("ann", room)))["t"] == "room_state"
    assert (await client.chat(room, "yes"))["t"] == "ack"


async def test_a_token_of_the_wrong_user_does_not_make_the_connection_that_user(people: People, room: str) -> None:
    client = await people.connect()
    assert (await client.join(room, "ann", token=mint("bob", room)))["payload"]["code"] == "user_mismatch"
    assert (await client.join(room, "ann", token=mint("ann", room)))["t"] == "room_state"


async def test_a_connection_is_one_person(people: People, room: str) -> None:
    client = await people.join(room, "ann")
    answer = await client.join(f"{room}-2", "bob", token=mint("bob", f"{room}-2"))
    assert answer["payload"]["code"] == "user_mismatch"
    assert (await client.chat(room, "still ann"))["t"] == "ack"


@pytest.mark.parametrize("rooms", [["other", "{room}"], ["it-*"], ["*"], "it-*", "{room}"])
async def test_a_token_may_open_several_rooms(people: People, room: str, rooms: Any) -> None:
    named = [r.format(room=room) for r in rooms] if isinstance(rooms, list) else rooms.format(room=room)
    client = await people.connect()
    assert (await client.join(room, "ann", token=mint("ann", named)))["t"] == "room_state"


async def test_name_and_avatar_of_the_token_win(people: People, room: str) -> None:
    client = await people.connect()
    state = await client.join(room, "ann", token=mint("ann", room, name="Dr. Ann", avatar="owl"), name="Liar")
    (member,) = state["payload"]["members"]
    assert (member["displayName"], member["avatarId"]) == ("Dr. Ann", "owl")


async def test_the_token_may_come_with_the_upgrade(people: People, room: str) -> None:
    token = mint("ann", room)
    by_header = await people.connect(headers={"Authorization": f"Bearer {token}"})
    by_subprotocol = await people.connect(edge=1, subprotocols=(SUBPROTOCOL, f"bearer.{token}"))
    for client in (by_header, by_subprotocol):
        assert client.socket.subprotocol == SUBPROTOCOL
        assert (await client.join(room, "ann"))["t"] == "room_state"
    other = await by_header.join(f"{room}-2", "ann")
    assert other["payload"]["code"] == "room_mismatch"
    assert (await by_header.join(f"{room}-2", "ann", token=mint("ann", f"{room}-2")))["t"] == "room_state"


async def test_a_bad_token_with_the_upgrade_is_told_and_may_be_made_good(people: People, room: str) -> None:
    client = await people.connect(headers={"Authorization": "Bearer nonsense"})
    told = await client.wait("auth_error")
    assert told["payload"]["code"] == "token_invalid"
    assert (await client.join(room, "ann"))["payload"]["code"] == "token_invalid"
    assert (await client.join(room, "ann", token=mint("ann", room)))["t"] == "room_state"


async def test_the_token_is_never_taken_from_the_address(people: People, room: str) -> None:
    token = mint("ann", room)
    for query in (f"token={token}", f"access_token={token}", f"realtimeToken={token}", f"authorization=Bearer {token}"):
        client = await Client.open(f"{people.ws_url()}?{query.replace(' ', '%20')}")
        async with client:
            assert (await client.join(room, "ann"))["payload"]["code"] == "token_invalid"


async def test_without_an_offered_subprotocol_the_default_is_meant(people: People, room: str) -> None:
    client = await people.connect(subprotocols=())
    assert client.socket.subprotocol is None
    assert (await client.join(room, "ann", token=mint("ann", room)))["t"] == "room_state"


async def test_a_token_that_ends_inside_is_told_and_then_the_room_is_lost(hasty: People, room: str) -> None:
    bob = await hasty.join(room, "bob", edge=1)
    ann = await hasty.connect()
    await ann.join(room, "ann", token=mint("ann", room, exp=now_s() + 2))
    # Heartbeats keep the socket, not the room.
    beating = [asyncio.create_task(beat(client)) for client in (ann, bob)]
    told = await ann.wait("auth_error", within_s=6)
    assert told["payload"]["code"] == "token_expired"
    assert told["payload"]["roomId"] == room
    assert (await ann.chat(room, "within the grace"))["t"] == "ack"
    await bob.wait("member_left", userId="ann", within_s=6)
    for task in beating:
        task.cancel()
    assert ann.is_open
    assert len(ann.all("auth_error")) == 1
    assert (await ann.chat(room, "outside"))["payload"]["code"] == "not_joined"
    assert (await ann.join(room, "ann", token=mint("ann", room)))["t"] == "room_state"
    assert (await ann.chat(room, "inside"))["t"] == "ack"


async def test_a_second_join_renews_the_token_and_keeps_the_place(hasty: People, room: str) -> None:
    bob = await hasty.join(room, "bob", edge=1)
    ann = await hasty.connect()
    await ann.join(room, "ann", token=mint("ann", room, exp=now_s() + 2))
    await ann.move(room, 1, 4.0)
    await bob.wait("avatar_transform_broadcast", userId="ann")
    beating = [asyncio.create_task(beat(client)) for client in (ann, bob)]
    await ann.wait("auth_error", within_s=6)
    renewed = await ann.join(room, "ann", token=mint("ann", room))
    assert renewed["t"] == "room_state"
    assert {m["userId"]: m["x"] for m in renewed["payload"]["members"]}["ann"] == 4.0
    await asyncio.sleep(1.3)
    for task in beating:
        task.cancel()
    assert (await ann.chat(room, "still here"))["t"] == "ack"
    assert not bob.all("member_left")
    assert len(bob.all("member_joined")) == 1
    assert len(ann.all("auth_error")) == 1


async def beat(client: Client) -> None:
    while client.is_open:
        await client.heartbeat()
        await asyncio.sleep(0.3)


# --- public keys ------------------------------------------------------------------------------------------


def pem(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> tuple[bytes, bytes]:
    """Return the private and the public half."""
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private, public


def hs256_with(key: bytes, user: str, room: str) -> str:
    """Sign with a public key as if it were a shared secret, which PyJWT itself refuses to do."""
    import hashlib
    import hmac

    signed = unsigned(user, room, "HS256").rstrip(".")
    signature = hmac.new(key, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


@pytest.fixture(scope="module", params=["RS256", "EdDSA"])
def keyed_edge(
    request: pytest.FixtureRequest, cluster: DevCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str, bytes, bytes]]:
    """An edge that checks with a public key: its URL, the algorithm, both halves of the key."""
    key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
    if request.param == "RS256":
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    else:
        key = ed25519.Ed25519PrivateKey.generate()
    private, public = pem(key)
    path: Path = tmp_path_factory.mktemp("keys") / "public.pem"
    path.write_bytes(public)
    with extra_edge(cluster, ROOMRING_TOKEN_PUBLIC_KEY_FILE=str(path)) as (url, _):
        yield url, request.param, private, public


async def test_a_public_key_checks_what_the_private_one_signed(
    people: People, keyed_edge: tuple[str, str, bytes, bytes], room: str
) -> None:
    url, algorithm, private, public = keyed_edge
    bob = await people.join(room, "bob")
    client = await Client.open(url.replace("http", "ws") + "/ws")
    async with client:
        wrong = {
            "shared secret": mint("ann", room),
            "public key as a secret": hs256_with(public, "ann", room),
            "public key as a secret, stripped": hs256_with(public.strip(), "ann", room),
            "none": unsigned("ann", room, "none"),
            "another key": mint(
                "ann",
                room,
                key=pem(rsa.generate_private_key(public_exponent=65537, key_size=2048))[0],
                algorithm="RS256",
            ),
            "another key of the other kind": mint(
                "ann", room, key=pem(ed25519.Ed25519PrivateKey.generate())[0], algorithm="EdDSA"
            ),
        }
        for what, token in wrong.items():
            answer = await client.join(room, "ann", token=token)
            assert (answer["t"], answer["payload"]["code"]) == ("auth_error", "token_invalid"), what
        good = mint("ann", room, key=private, algorithm=algorithm)
        assert (await client.join(room, "ann", token=good))["t"] == "room_state"
        await client.chat(room, "signed")
        await bob.wait("chat_broadcast", text="signed")


async def test_a_hundred_joins_with_bad_tokens_are_slowed(people: People, room: str) -> None:
    """Guessing is not free: past a burst a join is refused without a look at the token."""
    client = await people.connect()
    for _ in range(100):
        await client.send("join_room", join_payload(room, "ann", token="x.y.z"))
    await client.wait("error", code="rate_limited")
    assert client.is_open
