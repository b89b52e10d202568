"""Notes of a board over HTTP."""

from typing import Any

import pytest

from common.durable import BoardNote, Rectangle
from common.ids import Epoch, RoomId, Seq, UserId
from tests.unit.edge.http_stage import Pages, Stage, bearer, token

WALL = RoomId("notes:wall")


def note(number: int) -> BoardNote:
    author = UserId("bob")
    return BoardNote(
        WALL, Epoch(5), Seq(number), f"n{number}", 2, 1.5, -2, "Hi", "yellow", ("a",), author, "Bob", author, number, 9
    )


async def get(pages: Pages, *, room: str = WALL, status: int = 200, **query: str) -> Any:
    answer = await pages.get(f"/rooms/{room}/notes", params=query, headers=bearer(token("ann", ["*"])))
    assert answer.status == status, await answer.text()
    return await answer.json()


async def test_a_note_is_what_members_see(stage: Stage) -> None:
    stage.store.board_notes = [note(1)]
    assert await get(await stage.public()) == {
        "roomId": WALL,
        "notes": [
            {
                "noteId": "n1",
                "x": 1.5,
                "y": -2.0,
                "text": "Hi",
                "colour": "yellow",
                "tags": ["a"],
                "revision": 2,
                "userId": "bob",
                "displayName": "Bob",
                "editedBy": "bob",
                "createdAtMs": 1,
                "updatedAtMs": 9,
            }
        ],
    }


async def test_pages_go_on_from_their_cursor_and_end(stage: Stage) -> None:
    stage.store.board_notes = [note(number) for number in range(1, 6)]
    pages = await stage.public()
    seen: list[str] = []
    query: dict[str, str] = {}
    while True:
        page = await get(pages, limit="2", **query)
        seen += [one["noteId"] for one in page["notes"]]
        if "next" not in page:
            break
        query = {"after": page["next"]}
    assert seen == ["n1", "n2", "n3", "n4", "n5"]


async def test_the_rectangle_and_whom_the_reader_blocks_reach_the_store(stage: Stage) -> None:
    stage.store.blocks = {UserId("ann"): frozenset([UserId("bob")])}
    pages = await stage.public()
    await get(pages, rect="3,-4.5,1e1,2")
    assert stage.store.asked[-1]["rectangle"] == Rectangle(3, -4.5, 10, 2)
    assert stage.store.asked[-1]["hidden"] == {"bob"}
    await get(pages, rect="10,2,3,-4.5")
    assert stage.store.asked[-1]["rectangle"] == Rectangle(3, -4.5, 10, 2)


@pytest.mark.parametrize(
    "rect", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "nan,0,0,0", "inf,0,0,0", "1e10,0,0,0", "1_0,0,0,0"]
)
async def test_what_is_no_rectangle_is_refused(stage: Stage, rect: str) -> None:
    assert (await get(await stage.public(), status=400, rect=rect))["error"]["code"] == "invalid_rectangle"


@pytest.mark.parametrize("room", ["plaza", "lobby:main", "user:ann", "dm:ann:bob"])
async def test_other_kinds_have_no_notes(stage: Stage, room: str) -> None:
    await get(await stage.public(), room=room, status=404)


async def test_the_token_must_allow_the_board(stage: Stage) -> None:
    pages = await stage.public()
    answer = await pages.get(f"/rooms/{WALL}/notes", headers=bearer(token("ann", ["lobby:main"])))
    assert answer.status == 403
