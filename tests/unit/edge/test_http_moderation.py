"""The moderation queue: what the room's worker is asked to do, and who may do what when."""

from typing import Any

import pytest

from common.commands import DeleteMessage, Moderate
from common.durable import Audited, QueueEntry, QueueReport
from common.ids import Epoch, RoomId, Seq, UserId
from tests.unit.edge.http_stage import KEY, Pages, Stage, bearer

LOBBY, THREAD = RoomId("lobby:main"), RoomId("dm:bob:eve")
EVE = UserId("eve")


def entry(number: int = 1, room: RoomId = LOBBY, **changed: Any) -> QueueEntry:
    fields: dict[str, Any] = {
        "item_id": number,
        "source": "report",
        "target": "message",
        "room_id": room,
        "target_id": "m9",
        "subject_id": EVE,
        "excerpt": "rude",
        "opened_at_ms": 10,
        "reports": [QueueReport(UserId("bob"), "insults", 11)],
        "report_count": 1,
        "epoch": Epoch(5),
        "seq": Seq(9),
        "claimed_by": None,
        "claimed_at_ms": None,
        "resolution": None,
        "resolved_by": None,
        "resolved_at_ms": None,
        "resolution_note": None,
    }
    return QueueEntry(**{**fields, **changed})


async def ask(pages: Pages, method: str, path: str, body: Any = None, *, status: int = 200, **query: str) -> Any:
    answer = await pages.request(method, f"/admin/moderation/{path}", json=body, params=query, headers=bearer(KEY))
    assert answer.status == status, await answer.text()
    return await answer.json()


def decision(resolution: str, moderator: str = "mia", **more: Any) -> dict[str, Any]:
    return {"moderator": moderator, "resolution": resolution, "note": "rude", **more}


async def test_an_item_says_what_why_and_how_it_stands(stage: Stage) -> None:
    stage.store.items = {1: entry()}
    item = await ask(await stage.internal(), "GET", "queue/1")
    assert item == {
        "itemId": 1,
        "source": "report",
        "target": "message",
        "roomId": LOBBY,
        "targetId": "m9",
        "userId": "eve",
        "excerpt": "rude",
        "openedAtMs": 10,
        "reports": [{"userId": "bob", "reason": "insults", "atMs": 11}],
        "reportCount": 1,
        "epoch": 5,
        "seq": 9,
    }


async def test_pages_of_the_queue_go_on_and_end(stage: Stage) -> None:
    stage.store.items = {
        number: entry(number, resolution="dismissed" if number == 2 else None) for number in range(1, 6)
    }
    pages = await stage.internal()
    assert [one["itemId"] for one in (await ask(pages, "GET", "queue"))["items"]] == [1, 3, 4, 5]
    for status, expected in (("open", [1, 3, 4, 5]), ("all", [1, 2, 3, 4, 5])):
        seen: list[int] = []
        query: dict[str, str] = {}
        while True:
            page = await ask(pages, "GET", f"queue?status={status}", limit="2", **query)
            seen += [item["itemId"] for item in page["items"]]
            if "next" not in page:
                break
            query = {"after": page["next"]}
        assert seen == expected


async def test_one_moderator_claims_and_releases(stage: Stage) -> None:
    stage.store.items = {1: entry()}
    pages = await stage.internal()
    assert (await ask(pages, "POST", "queue/1/claim", {"moderator": "mia"}))["claimedBy"] == "mia"
    assert (await ask(pages, "POST", "queue/1/claim", {"moderator": "mia"}))["claimedBy"] == "mia"
    for what in ("claim", "release"):
        refused = await ask(pages, "POST", f"queue/1/{what}", {"moderator": "max"}, status=409)
        assert refused["error"] == {"code": "claimed", "message": "mia has claimed the item"}
    assert "claimedBy" not in await ask(pages, "POST", "queue/1/release", {"moderator": "mia"})
    assert (await ask(pages, "POST", "queue/1/claim", {"moderator": "max"}))["claimedBy"] == "max"


async def test_deleting_has_the_rooms_worker_delete_the_message(stage: Stage) -> None:
    stage.store.items = {1: entry()}
    item = await ask(await stage.internal(), "POST", "queue/1/resolve", decision("deleted"))
    assert (item["resolution"], item["resolvedBy"], item["note"]) == ("deleted", "mia", "rude")
    assert stage.worker.sent == [DeleteMessage(LOBBY, 7, Epoch(5), Seq(9), "m9", "mia")]
    assert stage.store.asked[-2]["details"] == {"appliedTo": LOBBY}


@pytest.mark.parametrize(("resolution", "action"), [("muted", "mutedByMod"), ("banned", "banned")])
@pytest.mark.parametrize(("room", "place"), [(LOBBY, "lobby:main"), (THREAD, "user:eve")])
async def test_who_is_muted_or_banned_for_a_thread_is_so_everywhere(
    stage: Stage, resolution: str, action: Any, room: RoomId, place: str
) -> None:
    stage.store.items = {1: entry(room=room)}
    await ask(await stage.internal(), "POST", "queue/1/resolve", decision(resolution, seconds=1.5))
    assert stage.worker.sent == [Moderate(RoomId(place), 7, EVE, action, "rude", 1_500, "mia")]


async def test_dismissing_asks_no_worker(stage: Stage) -> None:
    stage.store.items = {1: entry()}
    item = await ask(await stage.internal(), "POST", "queue/1/resolve", decision("dismissed"))
    assert item["resolution"] == "dismissed"
    assert not stage.worker.sent


async def test_resolving_again_is_one_resolution_and_another_is_a_conflict(stage: Stage) -> None:
    stage.store.items = {1: entry()}
    pages = await stage.internal()
    first = await ask(pages, "POST", "queue/1/resolve", decision("deleted"))
    assert await ask(pages, "POST", "queue/1/resolve", decision("deleted")) == first
    assert len(stage.worker.sent) == 1
    for other in (decision("banned"), decision("deleted", moderator="max")):
        refused = await ask(pages, "POST", "queue/1/resolve", other, status=409)
        assert refused["error"] == {"code": "not_open", "message": "mia has resolved the item already: deleted"}
    for what in ("claim", "release"):
        refused = await ask(pages, "POST", f"queue/1/{what}", {"moderator": "mia"}, status=409)
        assert refused["error"]["code"] == "not_open"
    assert len(stage.worker.sent) == 1


async def test_nothing_is_done_to_an_item_of_another_moderator(stage: Stage) -> None:
    stage.store.items = {1: entry(claimed_by="max")}
    refused = await ask(await stage.internal(), "POST", "queue/1/resolve", decision("banned"), status=409)
    assert refused["error"]["code"] == "claimed"
    assert not stage.worker.sent


async def test_what_failed_on_the_way_stays_open_and_can_be_done_again(stage: Stage) -> None:
    stage.store.items = {1: entry()}
    pages = await stage.internal()
    stage.worker.answer = None
    await ask(pages, "POST", "queue/1/resolve", decision("deleted"), status=504)
    stage.worker.answer = b'{"error":{"code":"not_found","message":"no such message"}}'
    refused = await ask(pages, "POST", "queue/1/resolve", decision("deleted"), status=404)
    assert refused["error"] == {"code": "not_found", "message": "no such message"}
    assert stage.store.items[1].resolution is None
    stage.worker.answer = b"{}"
    assert (await ask(pages, "POST", "queue/1/resolve", decision("deleted")))["resolution"] == "deleted"


async def test_what_is_no_message_cannot_be_deleted(stage: Stage) -> None:
    stage.store.items = {1: entry(target="person", epoch=None, seq=None)}
    refused = await ask(await stage.internal(), "POST", "queue/1/resolve", decision("deleted"), status=409)
    assert refused["error"]["code"] == "no_message"
    assert stage.store.items[1].claimed_by is None


async def test_the_audit_log_in_pages(stage: Stage) -> None:
    stage.store.entries = [Audited(n, n, "mia", "ban", LOBBY, EVE, {"reason": "rude"}) for n in range(1, 4)]
    pages = await stage.internal()
    page = await ask(pages, "GET", "audit", limit="2", userId="eve")
    assert stage.store.asked[-1]["subject_id"] == "eve"
    assert page["entries"][0] == {
        "entryId": 3,
        "atMs": 3,
        "actor": "mia",
        "action": "ban",
        "details": {"reason": "rude"},
        "roomId": LOBBY,
        "userId": "eve",
    }
    last = await ask(pages, "GET", "audit", limit="2", before=page["next"])
    assert [one["entryId"] for one in last["entries"]] == [1]
    assert "next" not in last


async def test_bad_questions(stage: Stage) -> None:
    pages = await stage.internal()
    for path in ("queue/0", "queue/x", "queue/-1", "queue/99999999999999999"):
        assert (await ask(pages, "GET", path, status=400))["error"]["code"] == "invalid_item_id"
    assert (await ask(pages, "GET", "queue/1", status=404))["error"]["code"] == "not_found"
    assert (await ask(pages, "POST", "queue/1/claim", {}, status=400))["error"]["code"] == "invalid_request"
    assert (await ask(pages, "POST", "queue/1/resolve", decision("eaten"), status=400))["error"]
    assert (await ask(pages, "GET", "queue", status=400, after="x"))["error"]["code"] == "invalid_cursor"
    assert (await ask(pages, "GET", "audit", status=400, userId="a\nb"))["error"]["code"] == "invalid_user_id"
    assert (await pages.get("/admin/moderation/queue")).status == 401


async def test_a_database_that_is_away_or_none(stage: Stage) -> None:
    stage.store.down = True
    pages = await stage.internal()
    without = await stage.internal(database=False)
    for method, path, body in (
        ("GET", "queue", None),
        ("GET", "queue/1", None),
        ("GET", "audit", None),
        ("POST", "queue/1/claim", {"moderator": "mia"}),
        ("POST", "queue/1/resolve", decision("muted")),
    ):
        assert (await ask(pages, method, path, body, status=503))["error"]["code"] == "unavailable"
        assert (await ask(without, method, path, body, status=501))["error"]["code"] == "history_off"
