"""Who asks over HTTP, by the bearer token, and what of others that person does not see."""

from aiohttp import web

from common.bus import Person
from common.durable import DurableStore
from common.errors import AUTH_ERROR_MEANING, AuthErrorCode
from common.ids import THREAD_KIND, RoomId, UserId, kind_of, thread_of, thread_pair
from common.people import fill_people
from edge.gateway import Gateway
from edge.problems import bearer, problem, refused
from edge.tokens import Claims, TokenVerifier


class Readers:
    """Knows persons by their room tokens."""

    def __init__(self, gateway: Gateway, verifier: TokenVerifier) -> None:
        self._gateway = gateway
        self._verifier = verifier

    def person(self, request: web.Request) -> Claims | web.Response:
        """Return who asks, by a token of any room."""
        token = bearer(request)
        claims: Claims | AuthErrorCode = AuthErrorCode.TOKEN_INVALID if token is None else self._verifier.verify(token)
        if isinstance(claims, AuthErrorCode):
            return problem(401, claims, AUTH_ERROR_MEANING[claims])
        return claims

    def of_room(self, request: web.Request, room_id: RoomId) -> Claims | web.Response:
        """Return who asks about a room, by a token that allows it.

        For a thread any token of the person does; whose it is, `other_of_thread` tells.
        """
        claims = self.person(request)
        if isinstance(claims, web.Response) or kind_of(room_id) == THREAD_KIND or claims.allows(room_id):
            return claims
        return problem(403, AuthErrorCode.ROOM_MISMATCH, AUTH_ERROR_MEANING[AuthErrorCode.ROOM_MISMATCH])

    async def hidden_from(
        self, store: DurableStore, reader: UserId, room_id: RoomId | None = None
    ) -> frozenset[UserId] | web.Response:
        """Return whom a person blocks: nothing that these caused may be shown. Or the answer to who is banned.

        Args:
            room_id: the room that is read; None where it is none.

        Raises:
            BusUnavailable, StoreUnavailable: it is not known now, so nothing may be shown.
        """
        person, now_ms = await self._known(store, reader), self._gateway.clock.now_ms()
        restrictions = [] if room_id is None else await store.restrictions(room_id, now_ms)
        is_barred = any(one.user_id == reader and one.kind == "ban" for one in restrictions)
        if is_barred or person.barred_until_ms > now_ms:
            return refused(AuthErrorCode.BANNED, AUTH_ERROR_MEANING[AuthErrorCode.BANNED])
        return person.blocks

    async def is_barred(self, store: DurableStore | None, user_id: UserId) -> bool:
        """Tell whether a moderator keeps a person from the whole cluster. Over a socket the inbox tells that.

        Raises:
            BusUnavailable, StoreUnavailable: it is not known now.
        """
        return (await self._known(store, user_id)).barred_until_ms > self._gateway.clock.now_ms()

    async def _known(self, store: DurableStore | None, user_id: UserId) -> Person:
        bus = self._gateway.bus
        person = (await bus.people([user_id]))[user_id]
        if store is not None and not person.filled:
            # Redis is new, or lost its data, and nobody asked for this person yet.
            await fill_people(bus, store, [user_id], self._gateway.clock.now_ms())
            person = (await bus.people([user_id]))[user_id]
        return person


def not_there(what: str) -> web.Response:
    """Return the answer for what is not there, or not for who asks: that it exists is not told either."""
    return problem(404, "not_found", f"there is no such {what}, or none for you")


async def other_of_thread(store: DurableStore, room_id: RoomId, user_id: UserId) -> UserId | None:
    """Return with whom a person has a thread; None where it is not that person's.

    Most threads say whose they are in their id; of the others the store knows it once something was written.

    Raises:
        StoreUnavailable: it is not known now.
    """
    pair: tuple[UserId, ...] | None = thread_pair(room_id)
    # The two in another order, or ids that do not stand in it as they are: of no thread.
    if pair is None or thread_of(*pair) != room_id:
        pair = await store.thread_members(room_id)
    return next((other for other in pair if other != user_id), None) if user_id in pair else None
