"""What newcomers of a large room are shown: in parts that make the whole, each encoded once."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.deliveries import Shared
from common.ids import UserId
from roomworker.member import Member
from roomworker.room_states import MemberViews, pieces_of
from roomworker.space import SpaceRules
from tests.unit.stage import ADA, BEN, E1, E2, Envelope, Heard, Stage, catch_up, chat, join, leave, move, whole

BYTES_MAX = 4_096
CROWD = 100
LATE = "late-1"


def crowded(count: int = CROWD, **settings: int) -> Stage:
    stage = Stage(**{"room_state_bytes_max": BYTES_MAX, **settings})
    stage.hear(*(join(f"user-{number:03}", number) for number in range(1, count + 1)))
    return stage


def parts_to(heard: Heard, conn: int) -> list[Envelope]:
    """Return what tells who is there: the state and its parts."""
    return [event for event in heard.to(conn) if event["t"] in ("room_state", "room_members")]


def ids_in(parts: list[Envelope]) -> list[str]:
    return [member["userId"] for member in whole([part["payload"] for part in parts])]


def test_a_room_that_fits_one_frame_is_told_as_ever() -> None:
    heard = crowded(15).hear(join(LATE, 200))
    (state,) = parts_to(heard, 200)
    assert len(state["payload"]["members"]) == 16
    assert {"parts", "memberCount"}.isdisjoint(state["payload"])


def test_a_large_room_comes_in_parts_that_make_the_whole() -> None:
    heard = crowded().hear(join(LATE, 200, re="j"))
    state, *others = parts_to(heard, 200)
    payload = state["payload"]
    assert (payload["memberCount"], payload["parts"], state["re"]) == (CROWD + 1, len(others) + 1, "j")
    assert LATE in [member["userId"] for member in payload["members"]]
    for number, other in enumerate(others, start=2):
        told = other["payload"]
        assert (told["part"], told["parts"]) == (number, payload["parts"])
        assert (told["epoch"], told["seq"]) == (payload["epoch"], payload["seq"])
        assert not {"seq", "epoch", "re"} & other.keys()
    everybody = [f"user-{number:03}" for number in range(1, CROWD + 1)]
    assert sorted(ids_in([state, *others])) == sorted([*everybody, LATE])
    in_order = [member["userId"] for part in (state, *others) for member in part["payload"]["members"]]
    assert list(dict.fromkeys(user for user in in_order if user != LATE)) == everybody


@pytest.mark.parametrize("count", [30, 100, 333])
def test_no_frame_is_larger_than_told(count: int) -> None:
    stage = crowded(count)
    stage.do(join("x" * 64, 500, name="\u00e9" * 64, avatar="y" * 64))
    heard = stage.hear(join(LATE, 501, re="r" * 64, name="\u2028" * 64))
    for conn in (500, 501):
        for event in parts_to(heard, conn):
            assert len(json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()) <= BYTES_MAX


def test_parts_come_behind_what_was_missed_and_before_what_follows() -> None:
    stage = crowded()
    stage.hear(chat(1, "missed"))
    resume = (stage.room.epoch, stage.room.seq - 1)
    heard = stage.hear(join("user-002", 202, resume=resume), chat(1, "next"))
    parts = len(parts_to(heard, 202)) - 1
    assert heard.names(202) == ["room_state", "chat_broadcast", *["room_members"] * parts, "chat_broadcast"]
    assert heard.the("room_state", 202)["payload"]["recovered"] is True


def test_the_parts_are_told_once_for_all_who_come_together() -> None:
    stage = crowded()
    for number in (201, 202, 203):
        stage.do(join(f"late-{number}", number), edge=E1 if number < 203 else E2)
    heard = stage.turn()
    shared = {edge: [d for d in heard.deliveries[edge] if isinstance(d, Shared)] for edge in (E1, E2)}
    assert [of_edge.conns for of_edge in shared[E1]] == [[201, 202]]
    assert [of_edge.conns for of_edge in shared[E2]] == [[203]]
    assert shared[E1][0].messages == shared[E2][0].messages


def test_a_reader_who_was_slow_gets_all_parts_again() -> None:
    stage = crowded()
    heard = stage.hear(catch_up(7, stage.room.epoch, stage.room.seq, skipped=True))
    assert heard.names(7)[:2] == ["resync", "room_state"]
    assert len(ids_in(parts_to(heard, 7))) == CROWD


def test_who_blocks_somebody_gets_parts_without_that_one() -> None:
    stage = crowded()
    stage.blocks[BEN] = frozenset({UserId("user-003"), UserId("user-099"), UserId("nobody")})
    heard = stage.hear(join(ADA, 201), join(BEN, 202))
    everybody = {f"user-{number:03}" for number in range(1, CROWD + 1)} | {ADA, BEN}
    assert set(ids_in(parts_to(heard, 201))) == everybody
    assert set(ids_in(parts_to(heard, 202))) == everybody - {"user-003", "user-099"}
    assert heard.the("room_state", 202)["payload"]["memberCount"] == CROWD


def test_parts_show_where_everybody_stands_and_how_they_are_called_now() -> None:
    stage = crowded()
    stage.hear(join(LATE, 200))
    stage.hear(move(99, 1, 7.5))
    stage.hear(join("user-098", 98, name="New Name"), leave(97))
    heard = stage.hear(join(ADA, 201))
    members = {m["userId"]: m for m in whole([part["payload"] for part in parts_to(heard, 201)])}
    assert members["user-099"]["x"] == 7.5
    assert members["user-098"]["displayName"] == "New Name"
    assert "user-097" not in members


def test_a_member_is_encoded_once_until_it_changes() -> None:
    looked_at: list[str] = []
    rules = SpaceRules(Stage().settings)
    ben = Member(BEN, "Ben", "fox", rules.new_state(), 1)

    def view(member: Member) -> object:
        looked_at.append(member.user_id)
        return rules.view(member)

    views = MemberViews(view)  # type: ignore[arg-type]
    assert views.of(ben) == views.of(ben)
    assert looked_at == [BEN]
    views.changed(BEN)
    views.of(ben)
    assert looked_at == [BEN, BEN]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(1, 60), st.integers(1, 60))
def test_pieces_are_all_in_order_and_within_bounds(sizes: list[int], first_max: int, others_max: int) -> None:
    pieces = pieces_of(sizes, first_max, others_max)
    assert [size for piece in pieces for size in sizes[piece]] == sizes
    for number, piece in enumerate(pieces):
        bytes_max = others_max if number else first_max
        assert len(sizes[piece]) == 1 or sum(size + 1 for size in sizes[piece]) <= bytes_max
