"""The seam to the durable store in memory: complete, for tests and simulation. common/durable.py is the specification.

Nothing is kept beyond the object. `down` makes it unavailable, as a database that is away. Its time, where the store
says the time, is that of the newest record.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct, structs

from common.audit import CLAIMED, QUEUE_REPORTS_MAX, RELEASED, RESOLVED, storable_details
from common.durable import (
    PAGE_MESSAGES_MAX,
    Audited,
    BlockSet,
    BoardNote,
    ChatMessage,
    Erasure,
    ErasureRequest,
    FriendshipSet,
    InboxSeed,
    MessagePlace,
    MessageRemoved,
    NoteRemoved,
    Page,
    QueueEntry,
    QueueReport,
    ReadMark,
    Record,
    Rectangle,
    Reported,
    Restricted,
    Restriction,
    RestrictionsLifted,
    Thread,
    ThreadMember,
    ThreadSummary,
    storable,
)
from common.errors import StoreUnavailable
from common.ids import Epoch, RoomId, Seq, UserId, inbox_of
from common.record_batch import pair_of, runs_at, storable_record

_NOT_READ = MessagePlace(Epoch(0), Seq(0))


@dataclass(slots=True)
class _Member:
    """A person of a thread."""

    active_at_ms: int
    read: MessagePlace = _NOT_READ


@dataclass(slots=True)
class _Item:
    """An item of the queue, with the last report of each person; of the filter under the empty id."""

    entry: QueueEntry
    reports: dict[UserId, QueueReport] = field(default_factory=dict)
    latest_ms: dict[UserId, int] = field(default_factory=dict)


class MemoryDurableStore:
    """`DurableStore` in memory."""

    def __init__(self) -> None:
        self.down = False
        self._now_ms = 0
        self._places: dict[RoomId, list[MessagePlace]] = {}
        """Of all messages, also of those that are not shown."""
        self._messages: dict[tuple[RoomId, MessagePlace], ChatMessage] = {}
        self._message_ids: set[str] = set()
        self._removed: set[tuple[RoomId, MessagePlace]] = set()
        self._threads: dict[RoomId, dict[UserId, _Member]] = {}
        self._friendships: dict[tuple[UserId, UserId], FriendshipSet] = {}
        self._blocks: dict[tuple[UserId, UserId], int] = {}
        """When each began, ms."""
        self._notes: dict[RoomId, dict[str, BoardNote]] = {}
        """As they were written last; of a removed one with the place and revision of its removal."""
        self._removed_notes: set[tuple[RoomId, str]] = set()
        self._items: list[_Item] = []
        self._restricted: dict[str, Restricted] = {}
        self._lifted: set[str] = set()
        self._audited: list[Audited] = []
        self._erasures: dict[UserId, Erasure] = {}
        """Those that were asked for: no job process works here."""

    # --- written by workers -------------------------------------------------------------------------------

    async def append(self, records: Sequence[Record]) -> None:
        """See `DurableStore.append`."""
        self._check_up()
        told = [storable_record(record) for record in records]
        self._now_ms = max([self._now_ms, *(getattr(record, "at_ms", 0) for record in told)])
        messages = sorted(
            (record for record in told if isinstance(record, ChatMessage)),
            key=lambda message: (message.recipient_id is not None, message.room_id, message.epoch, message.seq),
        )
        for message in messages:
            self._store_message(message)
        self._store_reports(told)
        for record in told:
            if isinstance(record, MessageRemoved):
                self._remove_message(record)
        for record in told:
            if isinstance(record, ReadMark):
                self._mark(record)
        self._store_relations(told)
        self._store_notes(told)
        self._store_restrictions(told)

    def _store_message(self, message: ChatMessage) -> None:
        place = MessagePlace(message.epoch, message.seq)
        if message.recipient_id is not None:
            members = self._threads.setdefault(message.room_id, {})
            for person in (message.author_id, message.recipient_id):
                member = members.setdefault(person, _Member(message.at_ms))
                member.active_at_ms = max(member.active_at_ms, message.at_ms)
        if (message.room_id, place) not in self._messages and message.message_id not in self._message_ids:
            insort(self._places.setdefault(message.room_id, []), place)
            self._messages[message.room_id, place] = message
            self._message_ids.add(message.message_id)

    def _remove_message(self, removed: MessageRemoved) -> None:
        key = (removed.room_id, MessagePlace(removed.epoch, removed.seq))
        if key in self._messages:
            self._messages[key] = structs.replace(self._messages[key], text="")
            self._removed.add(key)

    def _mark(self, mark: ReadMark) -> None:
        member = self._threads.get(mark.room_id, {}).get(mark.user_id)
        if member is not None:
            member.read = max(member.read, MessagePlace(mark.epoch, mark.seq))

    def _store_reports(self, records: Iterable[Record]) -> None:
        emptied: set[tuple[RoomId, MessagePlace]] = set()
        filled: list[Reported] = []
        for record in records:
            if isinstance(record, MessageRemoved):
                emptied.add((record.room_id, MessagePlace(record.epoch, record.seq)))
            if not isinstance(record, Reported):
                continue
            place = (record.room_id, MessagePlace(record.epoch, record.seq))
            message = self._messages.get(place)
            report = record
            if message is not None:
                report = structs.replace(
                    record,
                    message_id=record.message_id or message.message_id,
                    subject_id=record.subject_id or message.author_id,
                    excerpt=record.excerpt or ("" if place in emptied else message.text),
                )
            if report.message_id and report.subject_id and not self._knows(report):
                filled.append(report)
        for report in sorted(filled, key=lambda report: (report.room_id, report.message_id)):
            self._report(report)

    def _knows(self, report: Reported) -> bool:
        asked = (report.room_id, report.epoch, report.seq)
        return any(
            item.latest_ms.get(report.reporter_id, report.at_ms - 1) >= report.at_ms
            for item in self._items
            if (item.entry.room_id, item.entry.epoch, item.entry.seq) == asked
        )

    def _report(self, report: Reported) -> None:
        for item in self._items:
            same = (item.entry.room_id, item.entry.target_id) == (report.room_id, report.message_id)
            if same and item.entry.resolution is None:
                break
        else:
            item = _Item(
                QueueEntry(
                    item_id=len(self._items) + 1,
                    source=report.source,
                    target="message",
                    room_id=report.room_id,
                    target_id=report.message_id,
                    subject_id=report.subject_id,
                    excerpt=report.excerpt,
                    opened_at_ms=report.at_ms,
                    reports=[],
                    report_count=0,
                    epoch=report.epoch,
                    seq=report.seq,
                    claimed_by=None,
                    claimed_at_ms=None,
                    resolution=None,
                    resolved_by=None,
                    resolved_at_ms=None,
                    resolution_note=None,
                )
            )
            self._items.append(item)
        person = report.reporter_id
        item.reports.setdefault(person, QueueReport(person, report.reason, report.at_ms))
        item.latest_ms[person] = max(item.latest_ms.get(person, report.at_ms), report.at_ms)

    def _store_relations(self, records: Iterable[Record]) -> None:
        friendships: dict[tuple[UserId, UserId], FriendshipSet] = {}
        blocks: dict[tuple[UserId, UserId], BlockSet] = {}
        for record in records:
            if isinstance(record, FriendshipSet):
                _keep_later(friendships, pair_of(record.user_id, record.other_id), record)
            elif isinstance(record, BlockSet):
                _keep_later(blocks, (record.user_id, record.other_id), record)
        for pair, friendship in friendships.items():
            if pair in self._friendships and self._friendships[pair].at_ms > friendship.at_ms:
                continue
            self._friendships[pair] = friendship
            if friendship.status == "none":
                del self._friendships[pair]
        for pair, block in blocks.items():
            begun_ms = self._blocks.get(pair, block.at_ms)
            if block.blocked:
                self._blocks[pair] = max(begun_ms, block.at_ms)
            elif begun_ms <= block.at_ms:
                self._blocks.pop(pair, None)

    def _store_notes(self, records: Iterable[Record]) -> None:
        records = list(records)
        for record in records:
            if isinstance(record, BoardNote) and self._is_newer(record):
                self._notes.setdefault(record.room_id, {})[record.note_id] = record
                self._removed_notes.discard((record.room_id, record.note_id))
        for record in records:
            if isinstance(record, NoteRemoved):
                stored = self._notes.get(record.room_id, {}).get(record.note_id)
                if stored is not None and self._is_newer(record):
                    self._notes[record.room_id][record.note_id] = structs.replace(
                        stored, epoch=record.epoch, seq=record.seq, revision=record.revision
                    )
                    self._removed_notes.add((record.room_id, record.note_id))

    def _is_newer(self, record: BoardNote | NoteRemoved) -> bool:
        stored = self._notes.get(record.room_id, {}).get(record.note_id)
        return stored is None or (record.epoch, record.seq) > (stored.epoch, stored.seq)

    def _store_restrictions(self, records: Iterable[Record]) -> None:
        seen: set[str] = set()
        for record in records:
            if isinstance(record, Restricted) and (record.ends_at_ms is None or record.ends_at_ms > record.at_ms):
                self._restricted.setdefault(record.record_id, record)
                seen.add(record.record_id)
            elif isinstance(record, RestrictionsLifted):
                for restricted in self._restricted.values():
                    # Of the same millisecond only the batch itself tells which was first.
                    is_before = restricted.at_ms < record.at_ms or restricted.record_id in seen
                    if is_before and runs_at(restricted, record):
                        self._lifted.add(restricted.record_id)

    # --- what a room begins with --------------------------------------------------------------------------

    async def thread(self, room_id: RoomId, user_id: UserId, other_id: UserId) -> Thread:
        """See `DurableStore.thread`."""
        self._check_up()
        stored = RoomId(storable(room_id))
        members = tuple(self._member(stored, person) for person in sorted(self._threads.get(stored, {})))
        friendship = self._friendships.get(pair_of(UserId(storable(user_id)), UserId(storable(other_id))))
        if friendship is None:
            return Thread(room_id, members, "none", None)
        return Thread(room_id, members, friendship.status, friendship.requested_by)

    async def thread_members(self, room_id: RoomId) -> tuple[UserId, ...]:
        """See `DurableStore.thread_members`."""
        self._check_up()
        return tuple(sorted(self._threads.get(RoomId(storable(room_id)), {})))

    async def inbox(self, user_id: UserId) -> InboxSeed:
        """See `DurableStore.inbox`."""
        self._check_up()
        person = UserId(storable(user_id))
        unread = {
            room_id: self._member(room_id, person).unread
            for room_id, members in self._threads.items()
            if person in members
        }
        friendships = {
            other: (friendship.status, friendship.requested_by)
            for (low, high), friendship in self._friendships.items()
            for mine, other in ((low, high), (high, low))
            if mine == person
        }
        return InboxSeed({room_id: count for room_id, count in unread.items() if count}, friendships)

    async def board(self, room_id: RoomId, limit: int) -> list[BoardNote]:
        """See `DurableStore.board`."""
        self._check_up()
        shown = sorted(self._shown_notes(room_id), key=lambda note: (note.epoch, note.seq, note.note_id))
        return shown[-limit:]

    async def removed_notes(self, room_id: RoomId, note_ids: Sequence[str]) -> dict[str, int]:
        """See `DurableStore.removed_notes`."""
        self._check_up()
        room_id = RoomId(storable(room_id))
        asked = {storable(note_id) for note_id in note_ids}
        return {
            note_id: note.revision
            for note_id, note in self._notes.get(room_id, {}).items()
            if note_id in asked and (room_id, note_id) in self._removed_notes
        }

    async def restrictions(self, room_id: RoomId, now_ms: int) -> list[Restriction]:
        """See `DurableStore.restrictions`."""
        self._check_up()
        room_id = RoomId(storable(room_id))
        last: dict[tuple[UserId, str], Restricted] = {}
        for restricted in sorted(self._restricted.values(), key=_end):
            runs = restricted.ends_at_ms is None or restricted.ends_at_ms > now_ms
            if restricted.room_id == room_id and runs and restricted.record_id not in self._lifted:
                last[restricted.user_id, restricted.kind] = restricted
        return [
            Restriction(restricted.user_id, restricted.kind, restricted.reason, restricted.ends_at_ms)
            for _, restricted in sorted(last.items())
        ]

    async def restricted_everywhere(self, user_ids: Sequence[UserId], now_ms: int) -> dict[UserId, list[Restriction]]:
        """See `DurableStore.restricted_everywhere`."""
        found = {
            user_id: [
                one for one in await self.restrictions(inbox_of(user_id), now_ms) if one.user_id == storable(user_id)
            ]
            for user_id in user_ids
        }
        return {user_id: running for user_id, running in found.items() if running}

    async def blocks_of(self, user_ids: Sequence[UserId]) -> dict[UserId, frozenset[UserId]]:
        """See `DurableStore.blocks_of`."""
        self._check_up()
        return {
            user_id: frozenset(blocked for blocker, blocked in self._blocks if blocker == storable(user_id))
            for user_id in user_ids
        }

    # --- pages --------------------------------------------------------------------------------------------

    async def page(
        self,
        room_id: RoomId,
        *,
        before: MessagePlace | None = None,
        after: MessagePlace | None = None,
        limit: int,
        hidden_authors: Collection[UserId] = (),
    ) -> Page:
        """See `DurableStore.page`."""
        assert 1 <= limit <= PAGE_MESSAGES_MAX
        self._check_up()
        room_id = RoomId(storable(room_id))
        hidden = {storable(author) for author in hidden_authors}
        shown = [
            place for place in self._shown_places(room_id) if self._messages[room_id, place].author_id not in hidden
        ]
        low = 0 if after is None else bisect_right(shown, after)
        high = len(shown) if before is None else bisect_left(shown, before)
        places = shown[low:high] if low < high else []
        places = places[-limit:] if after is None else places[:limit]
        if places:
            more_before, more_after = shown[0] < places[0], shown[-1] > places[-1]
        else:
            more_before = bool(shown) and after is not None and shown[0] < after
            more_after = bool(shown) and before is not None and shown[-1] > before
        return Page([self._messages[room_id, place] for place in places], more_before, more_after)

    async def threads(
        self,
        user_id: UserId,
        *,
        before: tuple[int, RoomId] | None = None,
        limit: int,
        hidden: Collection[UserId] = (),
    ) -> tuple[list[ThreadSummary], int]:
        """See `DurableStore.threads`."""
        self._check_up()
        person = UserId(storable(user_id))
        unseen = {storable(other) for other in hidden}
        summaries = [
            self._summary(room_id, user_id, other)
            for room_id, members in self._threads.items()
            if person in members
            for other in members
            if other != person and other not in unseen
        ]
        summaries.sort(key=_activity)
        unread = sum(summary.mine.unread for summary in summaries)
        if before is not None:
            summaries = [summary for summary in summaries if _activity(summary) > (-before[0], storable(before[1]))]
        return summaries[:limit], unread

    async def notes(
        self,
        room_id: RoomId,
        *,
        rectangle: Rectangle | None = None,
        after: tuple[int, str] | None = None,
        limit: int,
        hidden: Collection[UserId] = (),
    ) -> list[BoardNote]:
        """See `DurableStore.notes`."""
        self._check_up()
        unseen = {storable(person) for person in hidden}
        begin = (-1, "") if after is None else (after[0], storable(after[1]))
        found = [
            note
            for note in self._shown_notes(room_id)
            if (note.created_at_ms, note.note_id) > begin
            and not {note.author_id, note.edited_by} & unseen
            and (rectangle is None or _is_inside(note, rectangle))
        ]
        return sorted(found, key=lambda note: (note.created_at_ms, note.note_id))[:limit]

    # --- moderation ---------------------------------------------------------------------------------------

    async def queue(
        self, *, open_only: bool = True, after: int | None = None, limit: int, item_id: int | None = None
    ) -> list[QueueEntry]:
        """See `DurableStore.queue`."""
        self._check_up()
        if item_id is not None:
            return [_entry(item) for item in self._items if item.entry.item_id == item_id]
        found = [
            item
            for item in self._items
            if item.entry.item_id > (after or 0) and not (open_only and item.entry.resolution is not None)
        ]
        return [_entry(item) for item in found[:limit]]

    async def claim(self, item_id: int, moderator: str, *, claimed: bool) -> bool:
        """See `DurableStore.claim`."""
        self._check_up()
        moderator = storable(moderator)
        item = self._open_item(item_id, moderator)
        if item is None:
            return False
        if (item.entry.claimed_by is not None) != claimed:
            item.entry = structs.replace(
                item.entry,
                claimed_by=moderator if claimed else None,
                claimed_at_ms=self._now_ms if claimed else None,
            )
            self._audit_item(item, moderator, CLAIMED if claimed else RELEASED, {})
        return True

    async def resolve(
        self, item_id: int, moderator: str, resolution: str, note: str, details: Mapping[str, Any]
    ) -> bool:
        """See `DurableStore.resolve`."""
        self._check_up()
        moderator, resolution = storable(moderator), storable(resolution)
        item = self._open_item(item_id, moderator)
        if item is None:
            done = (item_id, moderator, resolution)
            return done in [
                (known.entry.item_id, known.entry.resolved_by, known.entry.resolution) for known in self._items
            ]
        item.entry = structs.replace(
            item.entry,
            resolution=resolution,
            resolved_by=moderator,
            resolved_at_ms=self._now_ms,
            resolution_note=storable(note),
        )
        self._audit_item(item, moderator, RESOLVED + resolution, details)
        return True

    async def audit(
        self,
        actor: str,
        action: str,
        room_id: RoomId | None,
        subject_id: UserId | None,
        details: Mapping[str, Any],
    ) -> None:
        """See `DurableStore.audit`."""
        self._check_up()
        entry = Audited(
            len(self._audited) + 1, self._now_ms, actor, action, room_id, subject_id, storable_details(details)
        )
        self._audited.append(storable_record(entry))

    async def audit_page(
        self, *, before: int | None = None, limit: int, subject_id: UserId | None = None
    ) -> list[Audited]:
        """See `DurableStore.audit_page`."""
        self._check_up()
        found = [
            entry
            for entry in reversed(self._audited)
            if (before is None or entry.entry_id < before)
            and (subject_id is None or entry.subject_id == storable(subject_id))
        ]
        return found[:limit]

    # --- erasure ------------------------------------------------------------------------------------------

    async def request_erasure(self, user_id: UserId, requested_by: str) -> ErasureRequest:
        """See `DurableStore.request_erasure`."""
        self._check_up()
        person = UserId(storable(user_id))
        known = self._erasures.get(person)
        if known is not None:
            return ErasureRequest(known.erasure_id, False, known.passes)
        number = len(self._erasures) + 1
        self._erasures[person] = Erasure(number, storable(requested_by), self._now_ms, 0, self._now_ms, None, {})
        return ErasureRequest(number, True, 0)

    async def erasure(self, erasure_id: int) -> Erasure | None:
        """See `DurableStore.erasure`."""
        self._check_up()
        return next((one for one in self._erasures.values() if one.erasure_id == erasure_id), None)

    # --- the store itself ---------------------------------------------------------------------------------

    async def ping_ms(self) -> float:
        """See `DurableStore.ping_ms`."""
        self._check_up()
        return 0.0

    async def close(self) -> None:
        """See `DurableStore.close`."""

    def _check_up(self) -> None:
        if self.down:
            raise StoreUnavailable("the store in memory is down")

    def _shown_places(self, room_id: RoomId) -> list[MessagePlace]:
        return [place for place in self._places.get(room_id, []) if (room_id, place) not in self._removed]

    def _shown_notes(self, room_id: RoomId) -> list[BoardNote]:
        room_id = RoomId(storable(room_id))
        notes = self._notes.get(room_id, {})
        return [note for note_id, note in notes.items() if (room_id, note_id) not in self._removed_notes]

    def _member(self, room_id: RoomId, person: UserId) -> ThreadMember:
        read = self._threads[room_id][person].read
        unread = [
            place
            for place in self._shown_places(room_id)
            if place > read and self._messages[room_id, place].author_id != person
        ]
        return ThreadMember(person, read, len(unread))

    def _summary(self, room_id: RoomId, user_id: UserId, other: UserId) -> ThreadSummary:
        person = UserId(storable(user_id))
        shown = self._shown_places(room_id)
        names = [
            self._messages[room_id, place].author_name
            for place in self._places.get(room_id, [])
            if self._messages[room_id, place].author_id == other
        ]
        return ThreadSummary(
            room_id=room_id,
            other_id=other,
            other_name=names[-1] if names else "",
            mine=structs.replace(self._member(room_id, person), user_id=user_id),
            others=self._member(room_id, other),
            active_at_ms=self._threads[room_id][person].active_at_ms,
            last_message=self._messages[room_id, shown[-1]] if shown else None,
        )

    def _open_item(self, item_id: int, moderator: str) -> _Item | None:
        for item in self._items:
            if item.entry.item_id == item_id and item.entry.resolution is None:
                return item if item.entry.claimed_by in (None, moderator) else None
        return None

    def _audit_item(self, item: _Item, actor: str, action: str, details: Mapping[str, Any]) -> None:
        told = {"itemId": item.entry.item_id, **storable_details(details)}
        entry_id = len(self._audited) + 1
        self._audited.append(
            Audited(entry_id, self._now_ms, actor, action, item.entry.room_id, item.entry.subject_id, told)
        )


def _keep_later(found: dict[Any, Any], key: object, record: Struct) -> None:
    if key not in found or found[key].at_ms <= record.at_ms:  # type: ignore[attr-defined]
        found[key] = record


def _activity(summary: ThreadSummary) -> tuple[int, str]:
    return (-summary.active_at_ms, summary.room_id)


def _end(restricted: Restricted) -> tuple[bool, int, int, str]:
    ends = restricted.ends_at_ms
    return (ends is None, ends or 0, restricted.at_ms, restricted.record_id)


def _is_inside(note: BoardNote, rectangle: Rectangle) -> bool:
    return rectangle.x_min <= note.x <= rectangle.x_max and rectangle.y_min <= note.y <= rectangle.y_max


def _entry(item: _Item) -> QueueEntry:
    told = sorted(
        (report for person, report in item.reports.items() if person),
        key=lambda report: (report.at_ms, report.reporter_id),
    )
    return structs.replace(item.entry, reports=told[:QUEUE_REPORTS_MAX], report_count=len(told))
