"""Who owns a shard, and how it passes on."""

import asyncio

from common.bus import Acquired, Held, Renewed, WorkerBus
from common.ids import LeaseToken, Shard, WorkerId
from tests.contract.builders import E1, E2, LONG_MS, P0, S1, S2, S3, W1, W2, W3, commit, part, patch, take
from tests.contract.conftest import Bus, World


async def wish(bus: WorkerBus, worker: WorkerId, ttl_ms: int, tokens: dict[Shard, LeaseToken]) -> WorkerId | None:
    """Renew the lease of the first shard, which must not be lost; return who wants it."""
    renewed = (await bus.renew(P0, worker, ttl_ms, tokens))[S1]
    assert isinstance(renewed, Renewed)
    assert renewed.is_proven
    return renewed.wanted_by


async def test_free_shards_are_taken_and_held_ones_are_not(bus: Bus, world: World) -> None:
    answers = await bus.acquire(P0, W1, LONG_MS, [S1, S2])
    assert all(isinstance(answer, Acquired) for answer in answers.values())
    other = await world.bus().acquire(P0, W2, LONG_MS, [S1, S3])
    held = other[S1]
    assert isinstance(held, Held)
    assert held.owner == W1
    assert 0 < held.remaining_ms <= LONG_MS
    assert isinstance(other[S3], Acquired)
    assert await bus.acquire(P0, W1, LONG_MS, []) == {}


async def test_a_new_shard_starts_at_nothing_and_a_known_one_where_it_was(bus: Bus, world: World) -> None:
    lease = await take(bus, S1, ttl_ms=20)
    assert (lease.version, lease.cursor, lease.marks) == (0, 0, {})
    await bus.commit(P0, commit(part(S1, lease, 0, 7, marks={E1: 3, E2: 4})))
    await bus.commit(P0, commit(part(S1, lease, 1, 9, marks={E1: 5}, forget=[E2])))
    await world.pass_ms(20)
    after = await take(bus, S1, W2)
    assert (after.version, after.cursor, after.marks) == (2, 9, {E1: 5})


async def test_a_lease_that_ran_out_is_taken_with_a_greater_token(bus: Bus, world: World) -> None:
    first = await take(bus, S1, W1, 20)
    await world.pass_ms(20)
    second = await take(bus, S1, W2)
    assert second.token > first.token
    assert await bus.renew(P0, W1, LONG_MS, {S1: first.token}) == {S1: None}


async def test_the_owner_takes_its_own_lease_again_with_a_greater_token(bus: Bus) -> None:
    first = await take(bus, S1)
    second = await take(bus, S1)
    assert second.token > first.token
    assert await bus.renew(P0, W1, LONG_MS, {S1: first.token}) == {S1: None}
    assert await wish(bus, W1, LONG_MS, {S1: second.token}) is None


async def test_tokens_grow_also_when_the_store_lost_its_data(bus: Bus, world: World) -> None:
    lease = await take(bus, S1)
    for _ in range(3):
        lease = await take(bus, S1)
    await world.pass_ms(3)
    await world.flush()
    assert await bus.renew(P0, W1, LONG_MS, {S1: lease.token}) == {S1: None}
    assert (await take(bus, S1, W2)).token > lease.token


async def test_renewing_extends_also_a_lease_that_ran_out_and_that_nobody_took(bus: Bus, world: World) -> None:
    lease = await take(bus, S1, W1, 80)
    await world.pass_ms(50)
    assert await wish(bus, W1, 80, {S1: lease.token}) is None
    await world.pass_ms(50)
    assert isinstance((await bus.acquire(P0, W2, LONG_MS, [S1]))[S1], Held)
    await world.pass_ms(80)
    assert await wish(bus, W1, LONG_MS, {S1: lease.token}) == W2
    assert isinstance((await bus.acquire(P0, W2, LONG_MS, [S1]))[S1], Held)


async def test_renewing_what_was_never_ones_own_is_lost(bus: Bus) -> None:
    lease = await take(bus, S1)
    answers = await bus.renew(P0, W2, LONG_MS, {S1: lease.token, S2: LeaseToken(5)})
    assert answers == {S1: None, S2: None}
    assert await bus.renew(P0, W1, LONG_MS, {S1: LeaseToken(lease.token - 1)}) == {S1: None}
    assert await bus.renew(P0, W1, LONG_MS, {}) == {}


async def test_the_owner_learns_who_wants_its_shard_and_is_woken(bus: Bus, world: World) -> None:
    lease = await take(bus, S1)
    waiting = asyncio.create_task(bus.read_inputs(P0, W1, {S1: 0}, 10, 5_000))
    await asyncio.sleep(0.01)
    await world.bus().acquire(P0, W2, LONG_MS, [S1])
    woken = await asyncio.wait_for(waiting, 1)
    assert (woken, woken.lease_news) == ([], True)
    assert await wish(bus, W1, LONG_MS, {S1: lease.token}) == W2


async def test_releasing_frees_the_shard_and_wakes_who_wants_it(bus: Bus, world: World) -> None:
    lease = await take(bus, S1)
    other = world.bus()
    await other.acquire(P0, W2, LONG_MS, [S1])
    waiting = asyncio.create_task(other.read_inputs(P0, W2, {}, 10, 5_000))
    await asyncio.sleep(0.01)
    await bus.release(P0, W1, {S1: lease.token})
    woken = await asyncio.wait_for(waiting, 1)
    assert (woken, woken.lease_news) == ([], True)
    after = await take(other, S1, W2)
    assert after.token > lease.token
    # The wish is fulfilled, so it is not shown to the one who had it.
    assert await wish(other, W2, LONG_MS, {S1: after.token}) is None


async def test_a_wake_of_ones_own_hides_no_news_of_leases_and_is_none(bus: Bus, world: World) -> None:
    await take(bus, S1)
    await world.bus().acquire(P0, W2, LONG_MS, [S1])
    await bus.wake(P0, W1)
    assert (await bus.read_inputs(P0, W1, {S1: 0}, 10, 5_000)).lease_news
    await bus.wake(P0, W1)
    assert not (await bus.read_inputs(P0, W1, {S1: 0}, 10, 5_000)).lease_news


async def test_after_releasing_nothing_can_be_renewed_or_written(bus: Bus) -> None:
    lease = await take(bus, S1)
    await bus.release(P0, W1, {S1: lease.token})
    assert await bus.renew(P0, W1, LONG_MS, {S1: lease.token}) == {S1: None}
    answer = await bus.commit(P0, commit(part(S1, lease, rooms=[patch(fields={"a": b"1"})])))
    assert (answer.done, answer.fenced) == (False, (S1,))
    assert (await bus.shard_status())[S1].owner is None
    assert (await take(bus, S1, W2)).token > lease.token


async def test_releasing_what_is_another_workers_leaves_it_alone(bus: Bus, world: World) -> None:
    old = await take(bus, S1, W1, 20)
    await world.pass_ms(20)
    new = await take(bus, S1, W2)
    await bus.release(P0, W1, {S1: old.token, S2: LeaseToken(1)})
    await bus.release(P0, W1, {S1: new.token})
    assert await wish(bus, W2, LONG_MS, {S1: new.token}) is None
    await bus.release(P0, W1, {})


async def test_a_later_wish_is_told_to_the_next_owner(bus: Bus) -> None:
    first = await take(bus, S1)
    await bus.acquire(P0, W3, LONG_MS, [S1])
    await bus.release(P0, W1, {S1: first.token})
    second = await take(bus, S1, W2)
    assert await wish(bus, W2, LONG_MS, {S1: second.token}) == W3
