"""Sending over HTTP: what the worker is asked, and how its answers are told."""

from typing import Any

import pytest

from common.commands import Call, Identity
from common.durable import Restriction
from common.errors import AuthErrorCode, ErrorCode, RejectionCode
from common.ids import RoomId, UserId, thread_of
from common.messages import Ack, ChatSend, DirectSend, auth_refusal, refusal, rejection
from edge.problems import STATUS_OF
from tests.unit.edge.http_stage import Pages, Stage, bearer, token

LOBBY = RoomId("lobby:main")


async def post(
    pages: Pages, body: Any, *, room: str = LOBBY, status: int, headers: dict[str, str] | None = None, **claims: Any
) -> Any:
    given = {**bearer(token(**claims)), **(headers or {})}
    answer = await pages.post(f"/rooms/{room}/messages", json=body, headers=given)
    assert answer.status == status, await answer.text()
    assert ("Retry-After" in answer.headers) == (status in (429, 503))
    return await answer.json()


def sent(stage: Stage) -> Call:
    (command,) = stage.worker.sent
    assert isinstance(command, Call)
    return command


async def test_a_message_goes_to_the_room_as_the_token_names_the_sender(stage: Stage) -> None:
    stage.worker.tell(Ack(LOBBY, 7, "m7"))
    claims = {"name": "Ann", "avatar": "fox", "roles": ["admin"], "device": "mobile"}
    body = {"text": "Hi", "id": "c1", "replyTo": "m6"}
    answer = await post(await stage.public(), body, status=201, **claims)
    assert answer == {"roomId": LOBBY, "seq": 7, "messageId": "m7"}
    call = sent(stage)
    assert (call.room_id, call.conn, call.device, call.request) == (LOBBY, 0, "mobile", 7)
    assert call.identity == Identity(UserId("ann"), "Ann", "fox", ("admin",))
    assert isinstance(call.message, ChatSend)
    assert (call.message.id, call.message.payload.text, call.message.payload.replyTo) == ("c1", "Hi", "m6")
    assert call.message.payload.roomId == LOBBY


@pytest.mark.parametrize(
    ("body_id", "header", "expected"), [("a", "b", "a"), (None, "b", "b"), ("a", None, "a"), (None, None, None)]
)
async def test_the_header_is_the_id_where_the_body_has_none(
    stage: Stage, body_id: str | None, header: str | None, expected: str | None
) -> None:
    stage.worker.tell(Ack(LOBBY, 7, "m7"))
    body = {"text": "Hi", **({"id": body_id} if body_id else {})}
    headers = {"Idempotency-Key": header} if header else {}
    await post(await stage.public(), body, status=201, headers=headers)
    message_id = sent(stage).message.id
    assert (message_id if isinstance(message_id, str) else None) == expected


async def test_in_a_thread_it_is_a_direct_message_to_the_other_one(stage: Stage) -> None:
    thread = thread_of(UserId("ann"), UserId("bob"))
    stage.worker.tell(Ack(thread, 7, "m7"))
    await post(await stage.public(), {"text": "Hi", "id": "c1"}, room=thread, status=201)
    call = sent(stage)
    assert call.room_id == thread
    assert isinstance(call.message, DirectSend)
    assert (call.message.payload.recipientId, call.message.payload.text, call.message.id) == ("bob", "Hi", "c1")


async def test_nobody_else_writes_in_a_thread_and_nobody_in_an_inbox(stage: Stage) -> None:
    pages = await stage.public()
    for room in ("dm:ann:bob", "dm::0123", "user:eve"):
        await post(pages, {"text": "Hi"}, room=room, status=404, user="eve", rooms=["*"])
    assert not stage.worker.sent


@pytest.mark.parametrize("code", [code for code in ErrorCode if code in STATUS_OF])
async def test_a_refusal_keeps_its_code_and_gets_a_status(stage: Stage, code: ErrorCode) -> None:
    stage.worker.tell(refusal(code, LOBBY))
    answer = await post(await stage.public(), {"text": "Hi"}, status=STATUS_OF[code])
    assert answer["error"]["code"] == code


def test_every_code_has_a_status() -> None:
    assert set(STATUS_OF) == set(ErrorCode)


@pytest.mark.parametrize("code", RejectionCode)
async def test_a_rejection_says_that_one_may_not(stage: Stage, code: RejectionCode) -> None:
    stage.worker.tell(rejection(code, "bob"))
    answer = await post(await stage.public(), {"text": "Hi"}, room="dm:ann:bob", status=403)
    assert answer["error"]["code"] == code


async def test_who_is_banned_may_not(stage: Stage) -> None:
    stage.worker.tell(auth_refusal(AuthErrorCode.BANNED, LOBBY))
    assert (await post(await stage.public(), {"text": "Hi"}, status=403))["error"]["code"] == "banned"


async def test_a_worker_that_is_away_and_a_cluster_that_is_busy(stage: Stage) -> None:
    pages = await stage.public()
    stage.worker.answer = None
    assert (await post(pages, {"text": "Hi"}, status=504))["error"]["code"] == "no_answer"
    stage.worker.busy = True
    assert (await post(pages, {"text": "Hi"}, status=503))["error"]["code"] == "busy"


@pytest.mark.parametrize(
    "body",
    [[], {}, {"text": ""}, {"text": 1}, {"text": "a\0b"}, {"text": "x" * 2_001}, {"text": "x", "id": ""}],
)
async def test_a_bad_body_is_refused(stage: Stage, body: Any) -> None:
    assert (await post(await stage.public(), body, status=400))["error"]["code"] == "invalid_request"
    assert not stage.worker.sent


@pytest.mark.parametrize("key", ["", "x" * 65, "é", "a b"])
async def test_a_bad_id_in_the_header_is_refused(stage: Stage, key: str) -> None:
    answer = await post(await stage.public(), {"text": "Hi"}, status=400, headers={"Idempotency-Key": key})
    assert answer["error"]["code"] == "invalid_id"


async def test_the_token_must_allow_the_room(stage: Stage) -> None:
    pages = await stage.public()
    await post(pages, {"text": "Hi"}, status=403, rooms=["lobby:other"])
    assert (await pages.post(f"/rooms/{LOBBY}/messages", json={"text": "Hi"})).status == 401
    assert not stage.worker.sent


@pytest.mark.parametrize(("origin", "allowed"), [("https://app.example.com", True), ("https://evil.example", False)])
async def test_pages_of_allowed_origins_may_send_and_read_errors_too(stage: Stage, origin: str, allowed: bool) -> None:
    pages = await stage.public()
    path = f"/rooms/{LOBBY}/messages"
    asked = await pages.options(path, headers={"Origin": origin})
    refused = await pages.post(path, json={"text": "Hi"}, headers={"Origin": origin})
    too_large = await pages.post(path, data=b" " * 20_000, headers={"Origin": origin, **bearer(token())})
    assert (asked.status, refused.status, too_large.status) == (204, 401, 413)
    for answer in (asked, refused, too_large):
        assert answer.headers.get("Access-Control-Allow-Origin") == (origin if allowed else None)
    assert "POST" in asked.headers["Access-Control-Allow-Methods"]
    assert "Idempotency-Key" in asked.headers["Access-Control-Allow-Headers"]
    if allowed:
        assert "ETag" in refused.headers["Access-Control-Expose-Headers"]


async def test_who_is_banned_from_the_cluster_cannot_send_without_a_socket_either(stage: Stage) -> None:
    """The ban is in the person's inbox, which a socket enters and a request does not; it got past the ban."""
    ann = UserId("ann")
    stage.store.restricted = {ann: [Restriction(ann, "mute", "", None), Restriction(ann, "ban", "", None)]}
    pages = await stage.public()
    for room in (LOBBY, thread_of(ann, UserId("bob"))):
        told = await post(pages, {"text": "Hi"}, room=room, status=403)
        assert told["error"]["code"] == AuthErrorCode.BANNED
    assert not stage.worker.sent
    # One that is over is none.
    stage.worker.tell(Ack(LOBBY, 7, "m7"))
    stage.store.restricted = {UserId("cyd"): [Restriction(UserId("cyd"), "ban", "", 1)]}
    await post(pages, {"text": "Hi"}, status=201, sub="cyd")
