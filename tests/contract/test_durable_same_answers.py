"""The two durable stores, given the same calls, give the same answers."""

from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.durable import ChatMessage, MessagePlace
from common.durable_memory import MemoryDurableStore
from common.durable_postgres import PostgresStore
from common.ids import Epoch, RoomId, Seq, UserId
from tests.databases import Databases

# Few of each, so that places, ids and cursors meet.
ROOMS = st.sampled_from([RoomId("a"), RoomId("b:c"), RoomId("B")])
PEOPLE = st.sampled_from([UserId("ada"), UserId("Ben"), UserId("eve"), UserId("é")])
EPOCHS = st.integers(0, 2).map(Epoch)
SEQS = st.integers(1, 6).map(Seq)
PLACES = st.none() | st.builds(MessagePlace, EPOCHS, st.integers(0, 7).map(Seq))
TEXTS = st.text(max_size=8) | st.sampled_from(["\x00", "\ud800", "a\\b'", "NULL", "{}"])
MESSAGES = st.builds(
    ChatMessage,
    ROOMS,
    EPOCHS,
    SEQS,
    st.integers(0, 60).map(str),
    PEOPLE,
    TEXTS,
    TEXTS,
    st.integers(0, 4_102_444_800_000),
    st.none() | TEXTS,
)


@dataclass
class Append:
    messages: list[ChatMessage]


@dataclass
class Ask:
    room_id: RoomId
    before: MessagePlace | None
    after: MessagePlace | None
    limit: int
    hidden_authors: list[UserId]


CALLS = st.lists(
    st.builds(Append, st.lists(MESSAGES, max_size=12))
    | st.builds(Ask, ROOMS, PLACES, PLACES, st.integers(1, 5), st.lists(PEOPLE, max_size=3)),
    min_size=1,
    max_size=14,
)


async def answer(store: MemoryDurableStore | PostgresStore, call: Append | Ask) -> Any:
    if isinstance(call, Append):
        return await store.append(call.messages)
    return await store.page(
        call.room_id, before=call.before, after=call.after, limit=call.limit, hidden_authors=call.hidden_authors
    )


async def test_both_stores_answer_alike(databases: Databases) -> None:
    """Hypothesis is synchronous and a connection belongs to its loop, so what it drew is kept and run here."""
    drawn: list[list[Append | Ask]] = []

    @settings(
        max_examples=150,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(CALLS)
    def draw(calls: list[Append | Ask]) -> None:
        drawn.append(calls)

    draw()
    async with databases.migrated() as url:
        store = await PostgresStore.connect(url)
        for calls in drawn:
            await store._links.fetch("TRUNCATE messages")
            memory = MemoryDurableStore()
            for number, call in enumerate(calls):
                assert await answer(store, call) == await answer(memory, call), calls[: number + 1]
        await store.close()
