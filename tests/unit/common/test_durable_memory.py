"""The durable store in memory where it differs from a database: it goes away when told."""

import asyncio

import pytest

from common.durable import storable
from common.durable_memory import MemoryDurableStore
from common.errors import StoreUnavailable
from tests.contract.durable import ROOM, message


def test_while_it_is_down_every_call_fails_and_nothing_is_lost() -> None:
    async def story() -> None:
        store = MemoryDurableStore()
        await store.append([message(1)])
        store.down = True
        for call in (store.append([message(2)]), store.page(ROOM, limit=1), store.ping_ms()):
            with pytest.raises(StoreUnavailable):
                await call
        store.down = False
        assert (await store.page(ROOM, limit=5)).messages == [message(1)]

    asyncio.run(story())


@pytest.mark.parametrize(
    ("text", "stored"),
    [("plain \U0001f600\n", "plain \U0001f600\n"), ("a\x00b", "a\ufffdb"), ("\ud83d\ude00", "\ufffd\ufffd"), ("", "")],
)
def test_what_no_store_can_hold_is_replaced(text: str, stored: str) -> None:
    assert storable(text) == stored
