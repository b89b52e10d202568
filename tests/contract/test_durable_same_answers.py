"""The two durable stores, given the same calls, give the same answers."""

import asyncio
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from common.durable import (
    Audited,
    BlockSet,
    BoardNote,
    ChatMessage,
    DurableStore,
    FriendshipSet,
    MessagePlace,
    MessageRemoved,
    NoteRemoved,
    QueueEntry,
    ReadMark,
    Record,
    Rectangle,
    Reported,
    Restricted,
    RestrictionsLifted,
)
from common.durable_memory import MemoryDurableStore
from common.durable_postgres import PostgresStore
from common.ids import Epoch, RoomId, Seq, UserId, inbox_of, thread_of
from tests.contract.durable import clear
from tests.databases import Databases

# Few of each, so that places, ids, times and cursors meet.
NAMES = [UserId("ada"), UserId("Ben"), UserId("é")]
PEOPLE = st.sampled_from(NAMES)
# Those of the first two are drawn more often, so that more happens between them.
PAIRS = st.sampled_from([*[(NAMES[0], NAMES[1]), (NAMES[1], NAMES[0])] * 2, (NAMES[0], NAMES[2]), (NAMES[2], NAMES[1])])
LOBBIES = st.sampled_from([RoomId("a"), RoomId("b:c"), RoomId("B")])
THREADS = PAIRS.map(lambda pair: thread_of(*pair))
ROOMS = LOBBIES | THREADS
BOARDS = st.sampled_from([RoomId("notes:a"), RoomId("notes:B")])
EPOCHS = st.sampled_from([1, 1, 1, 0, 2]).map(Epoch)
SEQS = st.integers(1, 6).map(Seq)
POINTS = st.builds(MessagePlace, EPOCHS, st.integers(0, 7).map(Seq))
PLACES = st.none() | POINTS
TIMES = st.integers(0, 8) | st.sampled_from([1_700_000_000_001, 4_102_444_800_000])
TEXTS = st.text(max_size=8) | st.sampled_from(["\x00", "\ud800", "a\\b'", "NULL", "{}"])
NOTES = st.sampled_from(["n1", "N2", "ñ", "\x00"])
COORDINATES = st.sampled_from([-1e300, -1.5, 0.0, 0.1, 2.0])
LIMITS = st.integers(1, 5)
HIDDEN = st.lists(PEOPLE, max_size=3)
ITEMS = st.integers(0, 4)
MODERATORS = st.sampled_from(["mod", "m\x00d"])
RESOLUTIONS = st.sampled_from(["dismissed", "deleted", "muted", "banned"])
JSON = st.dictionaries(TEXTS, st.none() | st.integers(0, 9) | TEXTS | st.lists(TEXTS, max_size=2), max_size=2)

MESSAGES = st.builds(
    ChatMessage, LOBBIES, EPOCHS, SEQS, st.integers(0, 60).map(str), PEOPLE, TEXTS, TEXTS, TIMES, st.none() | TEXTS
)


@st.composite
def direct_messages(draw: st.DrawFn) -> ChatMessage:
    author, recipient = draw(PAIRS)
    place, number = draw(st.tuples(EPOCHS, SEQS)), draw(st.integers(0, 60))
    return ChatMessage(
        thread_of(author, recipient),
        *place,
        f"direct-{number}",
        author,
        draw(TEXTS),
        draw(TEXTS),
        draw(TIMES),
        draw(st.none() | TEXTS),
        recipient,
    )


@st.composite
def friendships(draw: st.DrawFn) -> FriendshipSet:
    pair = draw(PAIRS)
    status = draw(st.sampled_from(["none", "pending", "accepted"]))
    return FriendshipSet(*pair, status, draw(st.sampled_from(pair)), draw(TIMES))


REPORTED_PLACES = st.tuples(st.just(RoomId("a")), st.just(Epoch(1)), st.integers(1, 2).map(Seq))
REPORTED_MESSAGES = REPORTED_PLACES.map(
    lambda place: ChatMessage(*place, f"reported-{place[2]}", NAMES[0], "Ada", "text", 5)
)
REPORTED_REMOVALS = REPORTED_PLACES.map(lambda place: MessageRemoved(*place, "mod", 5))


@st.composite
def reports(draw: st.DrawFn) -> Reported:
    known = draw(st.just(("", UserId(""), "")) | st.tuples(st.integers(0, 5).map(str), PEOPLE, TEXTS))
    reporter = draw(st.sampled_from([UserId(""), NAMES[0], NAMES[0]]))
    source: Literal["report", "filter"] = "report" if reporter else "filter"
    return Reported(*draw(REPORTED_PLACES), *known, reporter, draw(TEXTS), source, draw(st.integers(0, 3)))


@st.composite
def restrictions(draw: st.DrawFn) -> Restricted:
    what = (
        draw(st.sampled_from([RoomId("a"), RoomId("a"), inbox_of(NAMES[0])])),
        draw(st.sampled_from(NAMES[:2])),
        draw(st.sampled_from(["mute", "ban"])),
        "",
        "mod",
        draw(st.integers(0, 3)),
    )
    ends_at_ms = draw(st.sampled_from([None, None, 4, 1_700_000_000_001]))
    return Restricted(f"{what}{ends_at_ms}", *what, ends_at_ms)  # type: ignore[arg-type]


BOARD_NOTES = st.builds(
    BoardNote,
    BOARDS,
    EPOCHS,
    SEQS,
    NOTES,
    st.integers(1, 3),
    COORDINATES,
    COORDINATES,
    TEXTS,
    st.just("red"),
    st.lists(TEXTS, max_size=3).map(tuple),
    PEOPLE,
    TEXTS,
    PEOPLE,
    TIMES,
    TIMES,
)


class Call:
    """One call on a store; numbers of the queue's items are places among them, since PostgreSQL leaves out some."""

    def __init__(self, name: str, *arguments: Any, **options: Any) -> None:
        self.name, self.arguments, self.options = name, arguments, options

    def __repr__(self) -> str:
        return f"{self.name}(*{self.arguments!r}, **{self.options!r})"

    async def on(self, store: DurableStore) -> Any:
        numbers = [entry.item_id for entry in await store.queue(open_only=False, limit=200)]

        def number(position: int) -> int:
            return ([0, *numbers] + [2**40] * 9)[position]

        arguments, options = list(self.arguments), dict(self.options)
        if self.name in ("claim", "resolve"):
            arguments[0] = number(arguments[0])
        if self.name == "queue":
            options = {
                key: number(value) if key in ("after", "item_id") and value is not None else value
                for key, value in options.items()
            }
        return _comparable(await getattr(store, self.name)(*arguments, **options), numbers)


def _comparable(answer: Any, numbers: list[int]) -> Any:
    """Take out what is each store's own: its time, and its numbers."""
    match answer:
        case [*inner]:
            return [_comparable(each, numbers) for each in inner]
        case QueueEntry():
            return structs.replace(
                answer,
                item_id=numbers.index(answer.item_id),
                claimed_at_ms=answer.claimed_at_ms is not None,
                resolved_at_ms=answer.resolved_at_ms is not None,
            )
        case Audited():
            details = {key: numbers.index(value) if key == "itemId" else value for key, value in answer.details.items()}
            return structs.replace(answer, at_ms=0, details=details)
    return answer


def calls(name: str, *arguments: st.SearchStrategy[Any], **options: st.SearchStrategy[Any]) -> st.SearchStrategy[Call]:
    return st.builds(Call, st.just(name), *arguments, **options)


def stories(
    records: st.SearchStrategy[Any], questions: list[st.SearchStrategy[Call]], *changes: st.SearchStrategy[Call]
) -> st.SearchStrategy[list[Call]]:
    """Draw calls. At the end all is asked, so that what the records did does not stay unseen."""
    append = calls("append", st.lists(records, min_size=1, max_size=10))
    middle = st.lists(st.one_of(append, append, *changes, *questions), min_size=2, max_size=12)
    return st.tuples(middle, st.tuples(append, *questions)).map(lambda story: [*story[0], *story[1]])


RECTANGLES = st.none() | st.builds(Rectangle, COORDINATES, COORDINATES, COORDINATES, COORDINATES)
PAGES = [calls("page", ROOMS, before=PLACES, after=PLACES, limit=LIMITS, hidden_authors=HIDDEN)]
REMOVALS = st.builds(MessageRemoved, ROOMS, EPOCHS, SEQS, TEXTS, TIMES)
MEMBERS = [
    PAIRS.map(lambda pair: Call("thread", thread_of(*pair), *pair)),
    calls("thread_members", THREADS),
    calls("inbox", PEOPLE),
    calls("threads", st.just(NAMES[0]), limit=st.just(5)),
    calls("threads", PEOPLE, before=st.none() | st.tuples(TIMES, THREADS), limit=LIMITS, hidden=HIDDEN),
]
THREAD_RECORDS = st.one_of(
    direct_messages(),
    direct_messages(),
    st.builds(ReadMark, THREADS, PEOPLE, EPOCHS, SEQS),
    st.builds(MessageRemoved, THREADS, EPOCHS, SEQS, TEXTS, TIMES),
)
RELATION_RECORDS = st.one_of(
    friendships(),
    PAIRS.flatmap(lambda pair: st.builds(BlockSet, st.just(pair[0]), st.just(pair[1]), st.booleans(), TIMES)),
)
RELATIONS = [MEMBERS[0], calls("inbox", PEOPLE), calls("blocks_of", st.just(NAMES) | st.lists(PEOPLE, max_size=3))]
NOTE_RECORDS = st.one_of(
    BOARD_NOTES,
    BOARD_NOTES,
    st.builds(NoteRemoved, BOARDS, EPOCHS, SEQS, NOTES, st.integers(1, 3), PEOPLE, TIMES),
)
BOARD = [
    calls("board", BOARDS, LIMITS),
    calls("removed_notes", BOARDS, st.lists(NOTES.filter(lambda note_id: note_id != "\x00"), max_size=3)),
    calls("notes", BOARDS, limit=st.just(200)),
    calls(
        "notes",
        BOARDS,
        rectangle=RECTANGLES,
        after=st.none() | st.tuples(TIMES, NOTES),
        limit=LIMITS,
        hidden=HIDDEN,
    ),
]
REPORT_RECORDS = st.one_of(reports(), reports(), REPORTED_MESSAGES, REPORTED_REMOVALS)
QUEUE = [
    calls("queue", open_only=st.just(False), limit=st.just(200)),
    calls("queue", open_only=st.booleans(), after=st.none() | ITEMS, limit=LIMITS, item_id=st.none() | ITEMS),
    calls("audit_page", before=st.none() | st.integers(-1, 6), limit=LIMITS, subject_id=st.none() | PEOPLE),
]
DECISIONS = [
    calls("claim", ITEMS, MODERATORS, claimed=st.booleans()),
    calls("resolve", ITEMS, MODERATORS, RESOLUTIONS, TEXTS, JSON),
    calls("audit", MODERATORS, st.just("user.erased"), st.none() | LOBBIES, st.none() | PEOPLE, JSON),
]
RESTRICTION_RECORDS = st.one_of(
    restrictions(),
    restrictions(),
    st.builds(RestrictionsLifted, st.just(RoomId("a")), PEOPLE, TEXTS, st.integers(0, 5)),
)
RESTRICTIONS = [
    calls("restrictions", st.just(RoomId("a")), TIMES),
    calls("restrictions", LOBBIES, TIMES),
    calls("restricted_everywhere", st.just(NAMES), TIMES),
]

ALL_RECORDS = st.one_of(
    MESSAGES, REMOVALS, THREAD_RECORDS, RELATION_RECORDS, NOTE_RECORDS, REPORT_RECORDS, RESTRICTION_RECORDS
)
ALL_QUESTIONS = [*PAGES, *MEMBERS, *RELATIONS, *BOARD, *QUEUE, *RESTRICTIONS]

STORIES = {
    "pages": stories(st.one_of(MESSAGES, MESSAGES, REMOVALS), PAGES),
    "threads": stories(THREAD_RECORDS, MEMBERS),
    "relations": stories(RELATION_RECORDS, RELATIONS),
    "notes": stories(NOTE_RECORDS, BOARD),
    "queue": stories(REPORT_RECORDS, QUEUE, *DECISIONS),
    "restrictions": stories(RESTRICTION_RECORDS, RESTRICTIONS),
    "all": stories(ALL_RECORDS, ALL_QUESTIONS, *DECISIONS),
}


def drawn(strategy: st.SearchStrategy[Any], examples: int) -> list[Any]:
    """Hypothesis is synchronous and a connection belongs to its loop, so what it draws is kept and run later."""
    kept: list[Any] = []

    @settings(
        max_examples=examples, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(strategy)
    def draw(value: Any) -> None:
        kept.append(value)

    draw()
    return kept


@pytest.mark.parametrize("kind", STORIES)
async def test_both_stores_answer_alike(databases: Databases, kind: str) -> None:
    async with databases.migrated() as url:
        store = await PostgresStore.connect(url)
        for story in drawn(STORIES[kind], 120):
            await clear(store)
            memory = MemoryDurableStore()
            for number, call in enumerate(story):
                assert await call.on(store) == await call.on(memory), story[: number + 1]
        await store.close()


# --- what is appended again -----------------------------------------------------------------------------


@st.composite
def logs(draw: st.DrawFn, *, ends: bool = True) -> list[Record]:
    """Draw records as rooms make them: places and times only grow, and what is named was there before."""
    log: list[Record] = []
    for number in range(1, draw(st.integers(1, 24)) + 1):
        seq, epoch, at_ms = Seq(number), Epoch(1), 1_000 + number
        sent = [record for record in log if isinstance(record, ChatMessage)]
        notes = [record for record in log if isinstance(record, BoardNote)]
        author, other = draw(PAIRS)
        choices: list[Record] = [
            ChatMessage(RoomId("a"), epoch, seq, f"m{number}", author, author, "text", at_ms),
            ChatMessage(thread_of(author, other), epoch, seq, f"m{number}", author, author, "t", at_ms, None, other),
            FriendshipSet(author, other, draw(st.sampled_from(["pending", "accepted"])), author, at_ms),
            BlockSet(author, other, True, at_ms),
            _note(draw(NOTES), number, author, at_ms),
            Restricted(f"r{number}", RoomId("a"), author, "mute", "", "mod", at_ms, None),
            RestrictionsLifted(RoomId("a"), author, "mod", at_ms),
        ]
        if ends:
            choices += [FriendshipSet(author, other, "none", author, at_ms), BlockSet(author, other, False, at_ms)]
        if notes:
            note_id = draw(st.sampled_from(notes)).note_id
            choices.append(NoteRemoved(RoomId("notes:a"), epoch, seq, note_id, number, author, at_ms))
        if sent:
            of = draw(st.sampled_from(sent))
            choices += [
                MessageRemoved(of.room_id, of.epoch, of.seq, author, at_ms),
                Reported(of.room_id, of.epoch, of.seq, "", UserId(""), "", author, "spam", "report", at_ms),
            ]
            if of.recipient_id is not None:
                choices.append(ReadMark(of.room_id, of.recipient_id, of.epoch, of.seq))
        log.append(draw(st.sampled_from(choices)))
    return log


def _note(note_id: str, number: int, author: UserId, at_ms: int) -> BoardNote:
    place = (RoomId("notes:a"), Epoch(1), Seq(number))
    return BoardNote(*place, note_id, number, 0.0, 0.0, "", "red", (), author, author, author, at_ms, at_ms)


@st.composite
def stretches(draw: st.DrawFn, log: list[Record]) -> list[list[Record]]:
    """Cut a log into batches, some of which begin anew at a place before."""
    batches: list[list[Record]] = []
    at = 0
    while at < len(log):
        begin = draw(st.integers(0, at))
        at = draw(st.integers(at + 1, len(log)))
        batches.append(log[begin:at])
    return batches


async def everything(store: DurableStore) -> list[Any]:
    """Ask for all that records can change."""
    pairs = [(low, high) for low in NAMES for high in NAMES if low < high]
    rooms = [RoomId("a"), *(thread_of(*pair) for pair in pairs)]
    entries = await store.queue(open_only=False, limit=200)
    return [
        *[await store.page(room, limit=200) for room in rooms],
        *[await store.thread(thread_of(*pair), *pair) for pair in pairs],
        *[await store.threads(name, limit=100) for name in NAMES],
        *[await store.inbox(name) for name in NAMES],
        await store.blocks_of(NAMES),
        await store.board(RoomId("notes:a"), 200),
        await store.removed_notes(RoomId("notes:a"), ["n1", "N2", "ñ", "\ufffd"]),
        await store.restrictions(RoomId("a"), 2_000),
        # Which of two items of one batch is opened first is not told.
        sorted([structs.replace(entry, item_id=0) for entry in entries], key=lambda entry: entry.target_id),
    ]


async def test_stretches_that_are_appended_again_change_nothing(databases: Databases) -> None:
    drawn_logs = drawn(logs().flatmap(lambda log: st.tuples(st.just(log), stretches(log))), 150)
    async with databases.migrated() as url:
        store = await PostgresStore.connect(url)
        for log, batches in drawn_logs:
            once, again = MemoryDurableStore(), MemoryDurableStore()
            for record in log:
                await once.append([record])
            await clear(store)
            for batch in batches:
                await again.append(batch)
                await store.append(batch)
            expected = await everything(once)
            assert await everything(again) == expected, batches
            assert await everything(store) == expected, batches
        await store.close()


async def test_two_writers_of_the_same_stretches_count_nothing_twice_and_do_not_block_each_other(
    databases: Databases,
) -> None:
    """Without ends of friendships and blocks: a late writer may bring those back, see `DurableStore.append`."""
    both = logs(ends=False).flatmap(lambda log: st.tuples(st.just(log), stretches(log), stretches(log)))
    async with databases.migrated() as url:
        store = await PostgresStore.connect(url, connections_max=4)

        async def write(batches: list[list[Record]]) -> None:
            for batch in batches:
                await store.append(batch)

        for log, mine, others in drawn(both, 100):
            once = MemoryDurableStore()
            for record in log:
                await once.append([record])
            await clear(store)
            await asyncio.gather(write(mine), write(others), write([log]))
            assert await everything(store) == await everything(once), (mine, others)
        await store.close()
