"""Orders of the application and of moderators, and what the audit log says of them."""

from typing import Any

import pytest

from common.commands import ChangeBlock, LiftRestrictions, Moderate, SetFriendship
from common.durable import Erasure
from common.ids import RoomId, UserId, inbox_of, thread_of
from tests.unit.edge.http_stage import KEY, Pages, Stage, bearer

ANN, BOB = UserId("ann"), UserId("bob")
LOBBY = RoomId("lobby:main")


async def ask(
    pages: Pages, method: str, path: str, body: Any = None, *, status: int = 200, moderator: str | None = None
) -> Any:
    headers = bearer(KEY) | ({} if moderator is None else {"X-Moderator": moderator})
    answer = await pages.request(method, f"/admin/{path}", json=body, headers=headers)
    assert answer.status == status, await answer.text()
    return await answer.json()


@pytest.mark.parametrize(("method", "blocked", "action"), [("PUT", True, "block"), ("DELETE", False, "unblock")])
async def test_a_block_is_the_inboxs_to_make(stage: Stage, method: str, blocked: bool, action: str) -> None:
    stage.worker.answer = b'{"userId":"ann","blockedUserId":"bob","blocked":true,"changed":true}'
    told = await ask(await stage.internal(), method, "users/ann/blocks/bob", moderator="mia")
    assert told == {"userId": "ann", "blockedUserId": "bob", "blocked": True, "changed": True}
    assert stage.worker.sent == [ChangeBlock(inbox_of(ANN), 7, ANN, BOB, blocked)]
    (entry,) = stage.store.entries
    assert (entry.actor, entry.action, entry.subject_id, entry.details) == ("mia", action, "ann", {"otherId": "bob"})


@pytest.mark.parametrize(("method", "friends", "action"), [("PUT", True, "friend"), ("DELETE", False, "unfriend")])
async def test_a_friendship_is_the_threads_to_make(stage: Stage, method: str, friends: bool, action: str) -> None:
    stage.worker.answer = b'{"userId":"bob","friendId":"ann","friends":true}'
    assert (await ask(await stage.internal(), method, "users/bob/friends/ann"))["friendId"] == "ann"
    assert stage.worker.sent == [SetFriendship(thread_of(ANN, BOB), 7, BOB, ANN, friends)]
    (entry,) = stage.store.entries
    assert (entry.actor, entry.action) == ("admin-key", action)


@pytest.mark.parametrize(("kind", "action"), [("kicked", "kick"), ("banned", "ban"), ("mutedByMod", "mute")])
async def test_direct_moderation_is_in_the_audit_log(stage: Stage, kind: Any, action: str) -> None:
    pages = await stage.internal()
    body = {"userId": "ann", "type": kind, "reason": "rude", "seconds": 2}
    await ask(pages, "POST", f"rooms/{LOBBY}/moderation", body, moderator="mia")
    await ask(pages, "DELETE", f"rooms/{LOBBY}/moderation/ann")
    assert stage.worker.sent == [
        Moderate(LOBBY, 7, ANN, kind, "rude", 2_000, "mia"),
        LiftRestrictions(LOBBY, 7, ANN, "admin-key"),
    ]
    first, second = stage.store.entries
    assert (first.actor, first.action, first.room_id, first.subject_id) == ("mia", action, LOBBY, "ann")
    assert first.details == {"reason": "rude", "seconds": 2.0}
    assert (second.actor, second.action, second.room_id, second.subject_id) == ("admin-key", "lift", LOBBY, "ann")


async def test_what_was_not_done_is_not_in_the_audit_log(stage: Stage) -> None:
    pages = await stage.internal()
    stage.worker.answer = b'{"error":{"code":"unsupported_kind","message":"no such kind"}}'
    refused = await ask(pages, "PUT", "users/ann/blocks/bob", status=404)
    assert refused == {"error": {"code": "unsupported_kind", "message": "no such kind"}}
    stage.worker.answer = None
    await ask(pages, "PUT", "users/ann/friends/bob", status=504)
    assert not stage.store.entries


async def test_what_was_done_is_done_also_while_the_audit_log_is_away(stage: Stage) -> None:
    stage.store.down = True
    await ask(await stage.internal(), "PUT", "users/ann/blocks/bob")
    assert stage.metrics.as_json()["roomring_edge_audit_failures_total"] == 1
    await ask(await stage.internal(database=False), "PUT", "users/ann/blocks/bob")
    assert stage.metrics.as_json()["roomring_edge_audit_failures_total"] == 1


@pytest.mark.parametrize("what", ["blocks", "friends"])
async def test_with_oneself_there_is_nothing_to_do(stage: Stage, what: str) -> None:
    refused = await ask(await stage.internal(), "PUT", f"users/ann/{what}/ann", status=400)
    assert refused["error"]["code"] == "invalid_request"
    assert not stage.worker.sent


@pytest.mark.parametrize("name", ["", "x" * 129, "é"])
async def test_who_acts_must_be_a_name(stage: Stage, name: str) -> None:
    refused = await ask(await stage.internal(), "PUT", "users/ann/blocks/bob", status=400, moderator=name)
    assert refused["error"]["code"] == "invalid_moderator"
    assert not stage.worker.sent


@pytest.mark.parametrize("key", ["wrong", "é", ""])
async def test_without_the_key_nothing(stage: Stage, key: str) -> None:
    pages = await stage.internal()
    answer = await pages.put("/admin/users/ann/blocks/bob", headers=bearer(key))
    assert answer.status == 401
    assert not stage.worker.sent


async def test_an_erasure_is_asked_for_and_the_audit_log_does_not_say_whose(stage: Stage) -> None:
    pages = await stage.internal()
    told = await ask(pages, "POST", "users/ann/erasure", {"requestedBy": "office"}, status=202, moderator="mia")
    assert told == {"erasureId": 7, "new": True, "passes": 0}
    assert {"user_id": "ann", "requested_by": "office"} in stage.store.asked
    (entry,) = stage.store.entries
    assert (entry.actor, entry.action, entry.room_id, entry.subject_id) == ("mia", "erasure.requested", None, None)
    assert entry.details == {"erasureId": 7, "requestedBy": "office"}
    for bad in ({}, {"requestedBy": ""}, {"requestedBy": 1}):
        await ask(pages, "POST", "users/ann/erasure", bad, status=400)


async def test_how_far_an_erasure_is(stage: Stage) -> None:
    pages = await stage.internal()
    stage.store.erasures = {
        1: Erasure(1, "office", 5, 1, 9, None, {"threads moved": 2}),
        2: Erasure(2, "office", 5, 2, None, 8, {}),
    }
    waits = {"erasureId": 1, "requestedBy": "office", "requestedAtMs": 5, "passes": 1, "dueAtMs": 9}
    assert await ask(pages, "GET", "erasures/1") == waits | {"counts": {"threads moved": 2}}
    assert (await ask(pages, "GET", "erasures/2"))["finishedAtMs"] == 8
    assert (await ask(pages, "GET", "erasures/3", status=404))["error"]["code"] == "not_found"
    for bad in ("0", "x", "99999999999999999"):
        assert (await ask(pages, "GET", f"erasures/{bad}", status=400))["error"]["code"] == "invalid_erasure_id"
