from dataclasses import replace

from loadtest.plan import TOGETHER_US, Plan

PLAN = Plan(
    run_id="r",
    urls=("http://a", "http://b"),
    rooms=2,
    members_per_room=4,
    rate=20.0,
    seconds=3.0,
    warmup_s=2.0,
    drain_s=2.0,
    chats_per_second=1.0,
)


def test_each_room_is_full_and_spans_all_edges():
    for room in range(2):
        members = list(PLAN.members_of(room))
        assert len(members) == 4
        assert all(PLAN.room_of(member) == room for member in members)
        assert sorted(PLAN.url_of(member) for member in members) == ["http://a"] * 2 + ["http://b"] * 2


def test_the_measured_window_holds_rate_times_seconds_of_each_member():
    for member in range(PLAN.members):
        first = PLAN.first_measured(member)
        assert PLAN.transform_us(member, first) >= PLAN.warmup_us
        assert first == 1 or PLAN.transform_us(member, first - 1) < PLAN.warmup_us
        inside = [seq for seq in range(first, first + 100) if PLAN.transform_us(member, seq) < PLAN.end_us]
        assert len(inside) == 60


def test_members_take_turns_within_a_period():
    times = sorted(PLAN.transform_us(member, 1) for member in range(PLAN.members))
    assert times == [0, 6_000, 12_000, 18_000, 24_000, 30_000, 36_000, 42_000]


def test_members_that_are_close_send_together_each_at_its_own_rate():
    plan = replace(PLAN, rooms=1, members_per_room=150, rate=15.0)
    assert len({plan.transform_us(member, 1) for member in range(150)}) == 34
    for member in range(150):
        turn_us = plan.transform_us(member, 1)
        assert member / 150 / 15 * 1_000_000 - TOGETHER_US < turn_us <= member / 150 / 15 * 1_000_000
        assert [plan.transform_us(member, seq) - turn_us for seq in (2, 3, 4)] == [66_667, 133_333, 200_000]


def test_generators_share_the_members_without_rest():
    parts = [replace(PLAN, generators=3, generator=index).own_members() for index in range(3)]
    assert sorted(member for part in parts for member in part) == list(range(PLAN.members))


def test_chats_go_round_the_members_of_the_room():
    assert [PLAN.chatter(1, number) for number in range(5)] == [1, 3, 5, 7, 1]
    assert PLAN.chat_us(1, 2) == 2_500_000


def test_only_the_movers_of_each_room_move() -> None:
    plan = replace(PLAN, rooms=3, members_per_room=5, movers_per_room=2)
    assert plan.own_movers() == list(range(6))
    assert [sum(plan.room_of(member) == room for member in plan.own_movers()) for room in range(3)] == [2, 2, 2]
    turns = [plan.transform_us(member, 1) for member in plan.own_movers()]
    assert turns == sorted(turns)
    assert turns[-1] >= 5 / 6 / plan.rate * 1_000_000 - TOGETHER_US
    assert [one.own_movers() for one in (replace(plan, generators=8, generator=index) for index in (5, 6))] == [[5], []]


def test_more_movers_than_members_are_all_of_them() -> None:
    assert replace(PLAN, movers_per_room=1_000).own_movers() == PLAN.own_movers() == PLAN.own_members()
