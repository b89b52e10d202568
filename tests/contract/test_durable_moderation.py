"""Reports and restrictions that are appended again, after moderators did something about them."""

from msgspec import structs

from common.durable import DurableStore, Erasure, Reported, Restricted, RestrictionsLifted
from common.ids import UserId
from tests.contract.durable import ADA, BEN, EVE, ROOM, message


def report(by: UserId, at_ms: int) -> Reported:
    of = message(1)
    return Reported(ROOM, of.epoch, of.seq, "", UserId(""), "", by, "spam", "report" if by else "filter", at_ms)


async def test_a_report_is_filled_in_from_the_stored_message_and_dropped_where_there_is_none(
    durable: DurableStore,
) -> None:
    await durable.append([report(BEN, 1)])
    assert await durable.queue(limit=5) == []
    await durable.append([message(1, text="rude"), report(BEN, 1)])
    (entry,) = await durable.queue(limit=5)
    assert (entry.target_id, entry.subject_id, entry.excerpt) == (message(1).message_id, ADA, "rude")
    assert (entry.opened_at_ms, entry.report_count, entry.epoch, entry.seq) == (1, 1, message(1).epoch, 1)


async def test_what_was_resolved_is_opened_by_a_new_report_alone(durable: DurableStore) -> None:
    # The second one of the same person joins the open item and leaves no report, but is known again as well.
    told = [message(1), report(UserId(""), 1), report(BEN, 2), report(BEN, 3), report(EVE, 4)]
    await durable.append(told)
    (entry,) = await durable.queue(limit=5)
    assert (entry.source, [each.reporter_id for each in entry.reports]) == ("filter", [BEN, EVE])
    assert await durable.resolve(entry.item_id, "mod", "dismissed", "", {})
    for begin in range(len(told)):
        await durable.append(told[begin:])
    assert await durable.queue(limit=5) == []
    await durable.append([report(BEN, 5)])
    (again,) = await durable.queue(limit=5)
    assert again.item_id > entry.item_id
    assert [found.item_id for found in await durable.queue(open_only=False, limit=5)] == [entry.item_id, again.item_id]


async def test_an_item_is_one_moderators_and_each_change_is_logged_once(durable: DurableStore) -> None:
    await durable.append([message(1), report(BEN, 1)])
    (entry,) = await durable.queue(limit=5)
    assert await durable.claim(entry.item_id, "mod", claimed=True)
    assert await durable.claim(entry.item_id, "mod", claimed=True)
    assert not await durable.claim(entry.item_id, "other", claimed=True)
    assert not await durable.claim(entry.item_id, "other", claimed=False)
    assert not await durable.resolve(entry.item_id, "other", "dismissed", "", {})
    assert await durable.resolve(entry.item_id, "mod", "muted", "rude", {"for_s": 60})
    assert await durable.resolve(entry.item_id, "mod", "muted", "rude", {"for_s": 60})
    assert not await durable.resolve(entry.item_id, "mod", "banned", "", {})
    assert not await durable.claim(entry.item_id, "mod", claimed=False)
    logged = await durable.audit_page(limit=5)
    assert [(each.actor, each.action, each.details, each.subject_id) for each in logged] == [
        ("mod", "moderation.muted", {"itemId": entry.item_id, "for_s": 60}, ADA),
        ("mod", "moderation.claimed", {"itemId": entry.item_id}, ADA),
    ]


async def test_of_one_millisecond_the_batch_tells_what_was_first(durable: DurableStore) -> None:
    mute = Restricted("r1", ROOM, EVE, "mute", "loud", "mod", 5, None)
    longer = Restricted("r2", ROOM, EVE, "mute", "louder", "mod", 5, None)
    lift = RestrictionsLifted(ROOM, EVE, "mod", 5)
    await durable.append([mute])
    # A mute is exchanged: the first is lifted, although it was stored before, and the second runs.
    for _ in range(2):
        await durable.append([mute, lift, longer])
        assert [found.reason for found in await durable.restrictions(ROOM, 6)] == ["louder"]
    await durable.append([lift, longer])
    assert [found.reason for found in await durable.restrictions(ROOM, 6)] == ["louder"]


async def test_a_restriction_that_never_runs_holds_up_nothing(durable: DurableStore) -> None:
    never = Restricted("r1", ROOM, EVE, "ban", "", "mod", 5, 5)
    await durable.append([never, Restricted("r2", ROOM, EVE, "mute", "", "mod", 5, 7)])
    assert [found.kind for found in await durable.restrictions(ROOM, 5)] == ["mute"]
    assert await durable.restrictions(ROOM, 7) == []


async def test_an_erasure_is_asked_for_once_for_each_person(durable: DurableStore) -> None:
    first = await durable.request_erasure(ADA, "office")
    assert (first.is_new, first.passes) == (True, 0)
    assert await durable.request_erasure(ADA, "somebody") == first._replace(is_new=False)
    other = await durable.request_erasure(BEN, "\x00")
    assert other.erasure_id > first.erasure_id
    told = await durable.erasure(first.erasure_id)
    assert told is not None
    assert told.due_at_ms is not None
    assert structs.replace(told, requested_at_ms=0, due_at_ms=0) == Erasure(
        first.erasure_id, "office", 0, 0, 0, None, {}
    )
    assert getattr(await durable.erasure(other.erasure_id), "requested_by", None) == "\ufffd"
    assert [await durable.erasure(number) for number in (0, -1, 2**70)] == [None] * 3
