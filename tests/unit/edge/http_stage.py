"""HTTP handlers without a cluster: both listeners of an edge, a worker that says what it is told to, a small store."""

from collections.abc import Callable, Collection, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

from aiohttp import web
from aiohttp.test_utils import TestClient
from pytest_aiohttp.plugin import AiohttpClient

from common.bus import ClusterShape
from common.bus_memory import MemoryBus, MemoryStore
from common.codec import encode_event
from common.commands import AnyRoomCommand
from common.durable import (
    Audited,
    BoardNote,
    ChatMessage,
    DurableStore,
    Erasure,
    ErasureRequest,
    MessagePlace,
    Page,
    QueueEntry,
    Rectangle,
    Restriction,
    ThreadSummary,
)
from common.errors import StoreUnavailable
from common.ids import RoomId, UserId
from common.messages import ServerEvent
from common.settings import DEV_TOKEN_SECRET, EdgeSettings, load
from edge.gateway import Gateway
from edge.http_internal import internal_app
from edge.http_public import public_app
from edge.metrics import EdgeMetrics
from edge.operations import ClusterBusy, NoAnswer
from edge.tokens import mint, token_verifier

NOW_S = 4_000_000_000
"""Far ahead: tokens do not expire while tests run."""

KEY = "dev-admin"

Pages = TestClient[web.Request, web.Application]


class FakeStore:
    """Of `DurableStore` what the handlers ask for; `asked` keeps with what."""

    def __init__(self) -> None:
        self.down = False
        self.blocks: dict[UserId, frozenset[UserId]] = {}
        self.members: dict[RoomId, tuple[UserId, ...]] = {}
        self.pages: dict[RoomId, list[ChatMessage]] = {}
        self.summaries: list[ThreadSummary] = []
        self.board_notes: list[BoardNote] = []
        self.items: dict[int, QueueEntry] = {}
        self.entries: list[Audited] = []
        self.restricted: dict[UserId, list[Restriction]] = {}
        self.erasures: dict[int, Erasure] = {}
        self.asked: list[dict[str, Any]] = []

    async def blocks_of(self, user_ids: Sequence[UserId]) -> dict[UserId, frozenset[UserId]]:
        self._ask()
        return {user_id: self.blocks.get(user_id, frozenset()) for user_id in user_ids}

    async def restricted_everywhere(self, user_ids: Sequence[UserId], now_ms: int) -> dict[UserId, list[Restriction]]:
        self._ask(now_ms=now_ms)
        return {user_id: self.restricted[user_id] for user_id in user_ids if user_id in self.restricted}

    async def restrictions(self, room_id: RoomId, now_ms: int) -> list[Restriction]:
        self._ask(room_id=room_id, now_ms=now_ms)
        return []

    async def request_erasure(self, user_id: UserId, requested_by: str) -> ErasureRequest:
        self._ask(user_id=user_id, requested_by=requested_by)
        return ErasureRequest(7, True, 0)

    async def erasure(self, erasure_id: int) -> Erasure | None:
        self._ask(erasure_id=erasure_id)
        return self.erasures.get(erasure_id)

    async def thread_members(self, room_id: RoomId) -> tuple[UserId, ...]:
        self._ask()
        return self.members.get(room_id, ())

    async def page(
        self,
        room_id: RoomId,
        *,
        before: MessagePlace | None = None,
        after: MessagePlace | None = None,
        limit: int,
        hidden_authors: Collection[UserId] = (),
    ) -> Page:
        self._ask(before=before, after=after, limit=limit, hidden=set(hidden_authors))
        return Page([one for one in self.pages.get(room_id, []) if one.author_id not in hidden_authors], False, False)

    async def threads(
        self,
        user_id: UserId,
        *,
        before: tuple[int, RoomId] | None = None,
        limit: int,
        hidden: Collection[UserId] = (),
    ) -> tuple[list[ThreadSummary], int]:
        self._ask(user_id=user_id, before=before, limit=limit, hidden=set(hidden))
        shown = [
            one
            for one in self.summaries
            if one.mine.user_id == user_id
            and one.other_id not in hidden
            and (before is None or (one.active_at_ms, one.room_id) < before)
        ]
        return shown[:limit], sum(one.mine.unread for one in shown)

    async def notes(
        self,
        room_id: RoomId,
        *,
        rectangle: Rectangle | None = None,
        after: tuple[int, str] | None = None,
        limit: int,
        hidden: Collection[UserId] = (),
    ) -> list[BoardNote]:
        self._ask(rectangle=rectangle, after=after, limit=limit, hidden=set(hidden))
        return [
            one
            for one in self.board_notes
            if one.room_id == room_id and (after is None or (one.created_at_ms, one.note_id) > after)
        ][:limit]

    async def queue(
        self, *, open_only: bool = True, after: int | None = None, limit: int, item_id: int | None = None
    ) -> list[QueueEntry]:
        self._ask(open_only=open_only, after=after, limit=limit)
        return [
            item
            for number, item in sorted(self.items.items())
            if (item_id is None or number == item_id)
            and (after is None or number > after)
            and not (open_only and item.resolution)
        ][:limit]

    async def claim(self, item_id: int, moderator: str, *, claimed: bool) -> bool:
        self._ask(claim=claimed, moderator=moderator)
        item = self.items.get(item_id)
        if item is None or item.resolution or item.claimed_by not in (None, moderator):
            return False
        self.items[item_id] = _with(item, claimed_by=moderator if claimed else None)
        return True

    async def resolve(
        self, item_id: int, moderator: str, resolution: str, note: str, details: Mapping[str, Any]
    ) -> bool:
        self._ask(resolution=resolution, note=note, details=dict(details))
        item = self.items[item_id]
        if item.resolution or item.claimed_by not in (None, moderator):
            return False
        self.items[item_id] = _with(item, resolution=resolution, resolved_by=moderator, resolution_note=note)
        return True

    async def audit(
        self,
        actor: str,
        action: str,
        room_id: RoomId | None,
        subject_id: UserId | None,
        details: Mapping[str, Any],
    ) -> None:
        self._ask()
        number = len(self.entries) + 1
        self.entries.append(Audited(number, number, actor, action, room_id, subject_id, dict(details)))

    async def audit_page(
        self, *, before: int | None = None, limit: int, subject_id: UserId | None = None
    ) -> list[Audited]:
        self._ask(before=before, limit=limit, subject_id=subject_id)
        return [one for one in reversed(self.entries) if before is None or one.entry_id < before][:limit]

    def _ask(self, **asked: Any) -> None:
        if self.down:
            raise StoreUnavailable("the database is away")
        self.asked.append(asked)


class FakeOperations:
    """A worker that answers every command alike, and keeps what it was sent."""

    def __init__(self) -> None:
        self.sent: list[AnyRoomCommand] = []
        self.answer: bytes | None = b"{}"
        """None: it does not answer."""
        self.busy = False

    def tell(self, event: ServerEvent) -> None:
        """Answer with an event from now on."""
        self.answer = encode_event(event, 1)

    async def ask(self, make: Callable[[int], AnyRoomCommand], *, must: bool = True) -> bytes:
        if self.busy and not must:
            raise ClusterBusy("busy")
        self.sent.append(make(7))
        if self.answer is None:
            raise NoAnswer("no answer")
        return self.answer


class Stage:
    """One edge's listeners; start them with `public` and `internal`."""

    def __init__(self, aiohttp_client: AiohttpClient, environ: Mapping[str, str]) -> None:
        self.store = FakeStore()
        self.bus = MemoryBus(MemoryStore(ClusterShape(4, 1), lambda: 0))
        self.worker = FakeOperations()
        self.metrics = EdgeMetrics()
        self.settings = load(EdgeSettings, {"ROOMRING_DEV": "1", **environ})
        self._aiohttp_client = aiohttp_client

    async def public(self, *, database: bool = True) -> Pages:
        """Start the public listener."""
        verifier = token_verifier(self.settings)
        return await self._aiohttp_client(public_app(self._gateway(), None, verifier, self._store(database)))

    async def internal(self, *, database: bool = True) -> Pages:
        """Start the internal listener."""
        return await self._aiohttp_client(internal_app(self._gateway(), self._store(database)))

    def _gateway(self) -> Gateway:
        # Of the gateway the handlers use these only.
        parts = SimpleNamespace(
            bus=self.bus,
            settings=self.settings,
            operations=self.worker,
            metrics=self.metrics,
            clock=SimpleNamespace(now_ms=lambda: 1_000),
            serve_websocket=_no_websocket,
        )
        return cast(Gateway, parts)

    def _store(self, database: bool) -> DurableStore | None:
        return cast(DurableStore, self.store) if database else None


def token(user: str = "ann", rooms: Sequence[str] = ("lobby:main",), **claims: Any) -> str:
    """Return a room token."""
    kept = {"sub": user, "rooms": list(rooms), "iat": 1, "exp": NOW_S, "iss": "roomring", "aud": "roomring", **claims}
    return mint(DEV_TOKEN_SECRET, algorithm="HS256", claims=kept)


def bearer(value: str) -> dict[str, str]:
    """Return the header of a token or key."""
    return {"Authorization": f"Bearer {value}"}


async def _no_websocket(_request: web.Request) -> web.StreamResponse:
    raise web.HTTPUpgradeRequired


def _with(item: QueueEntry, **changed: Any) -> QueueEntry:
    return QueueEntry(**{**{name: getattr(item, name) for name in item.__struct_fields__}, **changed})
