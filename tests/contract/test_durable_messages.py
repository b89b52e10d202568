"""Messages: stored once, and found again in order, page by page."""

import asyncio

import pytest

from common.durable import DurableStore, MessagePlace
from common.ids import Epoch, Seq, UserId
from tests.contract.durable import ADA, BEN, EVE, OTHER_ROOM, ROOM, message, place, seqs, walk

EPOCH = Epoch(1_700_000_000_000)


def at(seq: int) -> MessagePlace:
    return MessagePlace(EPOCH, Seq(seq))


async def test_a_message_comes_back_as_it_was(durable: DurableStore) -> None:
    sent = message(7, text="a 'quote', \\ and 👩‍👩‍👧 \u202e \ufeff\n\t", reply_to="x-1", at_ms=1_700_000_000_999)
    await durable.append([sent])
    page = await durable.page(ROOM, limit=10)
    assert page.messages == [sent]
    assert (page.more_before, page.more_after) == (False, False)


@pytest.mark.parametrize("at_ms", [0, 1, 999, 1_700_000_000_001, 4_102_444_799_999])
async def test_times_keep_their_milliseconds(durable: DurableStore, at_ms: int) -> None:
    await durable.append([message(1, at_ms=at_ms)])
    assert (await durable.page(ROOM, limit=1)).messages[0].at_ms == at_ms


async def test_nothing_to_append_is_nothing(durable: DurableStore) -> None:
    await durable.append([])
    assert (await durable.page(ROOM, limit=1)).messages == []


async def test_appending_again_changes_nothing(durable: DurableStore) -> None:
    await durable.append([message(1), message(2)])
    await durable.append([message(2, text="changed"), message(3)])
    page = await durable.page(ROOM, limit=10)
    assert seqs(page) == [1, 2, 3]
    assert page.messages[1].text == "hello"


async def test_the_same_twice_in_one_batch_is_stored_once(durable: DurableStore) -> None:
    await durable.append([message(2), message(1, text="first"), message(1, text="second"), message(2)])
    page = await durable.page(ROOM, limit=10)
    assert seqs(page) == [1, 2]
    assert page.messages[0].text == "first"


async def test_an_id_names_one_message(durable: DurableStore) -> None:
    await durable.append([message(1, message_id="same")])
    await durable.append([message(2, message_id="same"), message(3)])
    assert seqs(await durable.page(ROOM, limit=10)) == [1, 3]


async def test_many_may_append_the_same_at_once(durable: DurableStore) -> None:
    batch = [message(seq, room=room) for seq in range(1, 101) for room in (ROOM, OTHER_ROOM)]
    await asyncio.gather(*(durable.append(batch[::step]) for step in (1, -1, 1, -1)))
    for room in (ROOM, OTHER_ROOM):
        assert seqs(await durable.page(room, limit=200)) == list(range(1, 101))


@pytest.mark.parametrize("text", ["a\x00b", "\x00", "a\ud800b", "\udfff"])
async def test_what_no_text_can_hold_is_replaced_and_holds_up_nothing(durable: DurableStore, text: str) -> None:
    await durable.append([message(1), message(2, text=text, author=UserId("e\x00e"), reply_to=text)])
    found = (await durable.page(ROOM, limit=10)).messages
    assert [entry.seq for entry in found] == [1, 2]
    wanted = "".join("\ufffd" if character in "\x00\ud800\udfff" else character for character in text)
    assert found[1].text == found[1].reply_to == wanted
    assert seqs(await durable.page(ROOM, limit=10, hidden_authors=[UserId("e\x00e")])) == [1]
    assert (await durable.page(type(ROOM)("no\x00where"), limit=1)).messages == []


# --- pages ----------------------------------------------------------------------------------------------


async def test_newest_before_after_and_between(durable: DurableStore) -> None:
    await durable.append([message(seq) for seq in range(10, 101, 10)])
    newest = await durable.page(ROOM, limit=3)
    assert (seqs(newest), newest.more_before, newest.more_after) == ([80, 90, 100], True, False)
    before = await durable.page(ROOM, before=at(80), limit=3)
    assert (seqs(before), before.more_before, before.more_after) == ([50, 60, 70], True, True)
    # A cursor need not be the place of a message.
    odd = await durable.page(ROOM, before=at(25), limit=3)
    assert (seqs(odd), odd.more_before, odd.more_after) == ([10, 20], False, True)
    after = await durable.page(ROOM, after=at(70), limit=3)
    assert (seqs(after), after.more_before, after.more_after) == ([80, 90, 100], True, False)
    exact = await durable.page(ROOM, after=at(60), limit=3)
    assert (seqs(exact), exact.more_before, exact.more_after) == ([70, 80, 90], True, True)
    between = await durable.page(ROOM, after=at(20), before=at(70), limit=2)
    assert (seqs(between), between.more_before, between.more_after) == ([30, 40], True, True)
    rest = await durable.page(ROOM, after=at(40), before=at(101), limit=200)
    assert (seqs(rest), rest.more_before, rest.more_after) == ([50, 60, 70, 80, 90, 100], True, False)


async def test_an_empty_page_tells_of_the_asked_place(durable: DurableStore) -> None:
    await durable.append([message(10), message(20)])

    async def sides(**where: MessagePlace) -> tuple[list[int], bool, bool]:
        page = await durable.page(ROOM, limit=5, **where)
        return seqs(page), page.more_before, page.more_after

    assert await sides(before=at(10)) == ([], False, True)
    assert await sides(before=at(5)) == ([], False, True)
    assert await sides(after=at(20)) == ([], True, False)
    assert await sides(after=at(30)) == ([], True, False)
    assert await sides(after=at(10), before=at(20)) == ([], False, False)
    assert await sides(after=at(12), before=at(18)) == ([], True, True)
    assert await sides(after=at(30), before=at(40)) == ([], True, False)
    assert await sides(after=at(20), before=at(10)) == ([], True, True)
    empty = await durable.page(OTHER_ROOM, limit=5)
    assert (empty.messages, empty.more_before, empty.more_after) == ([], False, False)


async def test_the_last_message_before_a_place_has_nothing_after_the_page(durable: DurableStore) -> None:
    await durable.append([message(10)])
    page = await durable.page(ROOM, before=at(11), limit=5)
    assert (seqs(page), page.more_before, page.more_after) == ([10], False, False)


async def test_a_later_epoch_is_newer_whatever_its_numbers(durable: DurableStore) -> None:
    old = [message(seq, epoch=EPOCH) for seq in (1, 500)]
    new = [message(seq, epoch=EPOCH + 60_000) for seq in (1, 2)]
    await durable.append([*new, *old])
    for backwards in (True, False):
        assert await walk(durable, ROOM, 1, backwards=backwards) == [*old, *new]
    page = await durable.page(ROOM, before=place(new[0]), limit=1)
    assert page.messages == [old[1]]


async def test_rooms_do_not_mix(durable: DurableStore) -> None:
    await durable.append([message(1), message(1, room=OTHER_ROOM), message(2)])
    assert seqs(await durable.page(ROOM, limit=5)) == [1, 2]
    assert seqs(await durable.page(OTHER_ROOM, limit=5)) == [1]


async def test_hidden_authors_do_not_count(durable: DurableStore) -> None:
    authors = [ADA, EVE, EVE, BEN, EVE, EVE, ADA, EVE]
    await durable.append([message(seq, author=author) for seq, author in enumerate(authors, 1)])
    page = await durable.page(ROOM, limit=2, hidden_authors=[EVE])
    assert (seqs(page), page.more_before, page.more_after) == ([4, 7], True, False)
    page = await durable.page(ROOM, before=at(4), limit=2, hidden_authors=[EVE])
    assert (seqs(page), page.more_before, page.more_after) == ([1], False, True)
    # Only hidden ones stand after it: there is nothing more to see.
    page = await durable.page(ROOM, after=at(4), limit=2, hidden_authors=[EVE])
    assert (seqs(page), page.more_before, page.more_after) == ([7], True, False)
    page = await durable.page(ROOM, limit=2, hidden_authors=[ADA, BEN, EVE])
    assert (seqs(page), page.more_before, page.more_after) == ([], False, False)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 20, 200])
@pytest.mark.parametrize("hidden", [set(), {EVE}, {EVE, ADA}], ids=["all", "one hidden", "two hidden"])
async def test_following_the_cursors_gives_every_visible_message_once_in_order(
    durable: DurableStore, limit: int, hidden: set[UserId]
) -> None:
    sent = [
        message(seq * 3, epoch=EPOCH + (seq // 8) * 1_000, author=(ADA, BEN, EVE, EVE)[seq % 4]) for seq in range(1, 21)
    ]
    await durable.append(sent[::-1])
    visible = [entry for entry in sent if entry.author_id not in hidden]
    assert await walk(durable, ROOM, limit, hidden, backwards=True) == visible
    assert await walk(durable, ROOM, limit, hidden, backwards=False) == visible


@pytest.mark.parametrize("number", [0, -1, 2**63 - 1, 2**63, 2**200, -(2**200)])
async def test_a_made_up_cursor_does_no_harm(durable: DurableStore, number: int) -> None:
    await durable.append([message(1)])
    wild = MessagePlace(Epoch(number), Seq(number))
    above = number > EPOCH
    assert seqs(await durable.page(ROOM, before=wild, limit=1)) == ([1] if above else [])
    assert seqs(await durable.page(ROOM, after=wild, limit=1)) == ([] if above else [1])


async def test_a_round_trip_takes_some_time(durable: DurableStore) -> None:
    assert 0.0 <= await durable.ping_ms() < 5_000.0
