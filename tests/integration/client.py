"""A client for tests: one WebSocket, everything that it received, and waiting for what must come.

It knows the contract only, nothing of the server's code. Each received event is checked on arrival against
the law that holds for every client: the reliable events of a room come without a gap and in order, from the
position of the last `room_state` on. A breach is kept in `breaches`, and the test that owns the client fails.
"""

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import Callable, Iterable
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

Event = dict[str, Any]
Predicate = Callable[[Event], bool]

WAIT_S = 5.0
"""How long an event may take on a busy machine, where the test does not say otherwise."""

SUBPROTOCOL = "roomring.v1.json"
_numbers = itertools.count(1)


def transform(seq: int, x: float = 0.0, **changes: Any) -> dict[str, Any]:
    """Return the payload of an `avatar_transform`, without its room."""
    return {"seq": seq, "x": x, "y": 0.0, "z": -x, "rotY": 0.5, "anim": "walk", "speaking": False, **changes}


class Client:
    """One connection. Make it with `Client.open`, use it as an async context manager, or call `close`."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.received: list[Event] = []
        self.arrived_s: list[float] = []
        """Monotonic time of each event in `received`."""
        self.breaches: list[str] = []
        self.hides: set[str] = set()
        """Rooms in which this person blocks somebody: events may be left out, the order holds all the same."""
        self.user_id = ""
        self._states: dict[str, tuple[int, int]] = {}
        self._positions: dict[str, tuple[int, int]] = {}
        self._news = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def open(
        cls, url: str, *, headers: dict[str, str] | None = None, subprotocols: Iterable[str] = (SUBPROTOCOL,)
    ) -> Self:
        """Connect, and wait for nothing; `welcome` is the first thing received."""
        socket = await connect(
            url,
            additional_headers=headers,
            subprotocols=[*subprotocols] or None,
            compression=None,
            ping_interval=None,
            close_timeout=2,
            max_size=None,
            max_queue=None,
            proxy=None,
        )
        return cls(socket)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # --- sending ----------------------------------------------------------------------------------------

    async def send(self, t: str, payload: Any, *, id: str | None = None, **envelope: Any) -> str | None:  # noqa: A002
        """Send one message; fields of the envelope may be given to make it wrong."""
        message = {"v": 1, "t": t, "ts": int(time.time() * 1000), "payload": payload, **envelope}
        if id is not None:
            message["id"] = id
        await self.socket.send(json.dumps(message))
        return id

    async def ask(self, t: str, payload: Any, *, id: str | None = None, within_s: float = WAIT_S) -> Event:  # noqa: A002
        """Send a message with an `id` and return its answer."""
        id = id or new_id()  # noqa: A001
        mark = self.mark()
        await self.send(t, payload, id=id)
        return await self.wait(lambda event: event.get("re") == id, since=mark, within_s=within_s)

    async def chat(self, room: str, text: str, *, id: str | None = None, within_s: float = WAIT_S) -> Event:  # noqa: A002
        """Say something, and return the answer."""
        payload = {"roomId": room, "text": text, "mode": "local"}
        return await self.ask("local_chat", payload, id=id, within_s=within_s)

    async def move(self, room: str, seq: int, x: float = 0.0, **changes: Any) -> None:
        """Move the avatar."""
        await self.send("avatar_transform", {"roomId": room, **transform(seq, x, **changes)})

    async def join(
        self,
        room: str,
        user: str,
        *,
        token: str | None = None,
        resume: tuple[int, int] | None = None,
        name: str | None = None,
    ) -> Event:
        """Ask to enter a room, and return the answer, whatever it is."""
        self.user_id = self.user_id or user
        return await self.ask("join_room", join_payload(room, user, token=token, resume=resume, name=name))

    async def leave(self, room: str) -> Event:
        """Leave a room, and return the answer."""
        return await self.ask("leave_room", {"roomId": room})

    async def heartbeat(self, room: str | None = None, last_seq: int | None = None) -> Event:
        """Send a heartbeat, and return its answer."""
        payload: dict[str, Any] = {"clientTimeMs": int(time.time() * 1000)}
        if room is not None:
            payload["roomId"] = room
        if last_seq is not None:
            payload["lastSeq"] = last_seq
        return await self.ask("heartbeat", payload)

    # --- what came --------------------------------------------------------------------------------------

    def mark(self) -> int:
        """Return the present end of what was received."""
        return len(self.received)

    def all(self, t: str, *, since: int = 0, **payload: Any) -> list[Event]:
        """Return what was received of one name, with these values in the payload."""
        return [event for event in self.received[since:] if _matches(event, t, payload)]

    async def wait(self, what: str | Predicate, *, since: int = 0, within_s: float = WAIT_S, **payload: Any) -> Event:
        """Wait for an event, which may have come already (after the mark `since`).

        Raises:
            AssertionError: it did not come in time, or the connection ended before; the text has the last events.
        """
        matches = what if callable(what) else lambda event: _matches(event, what, payload)
        deadline_s = time.monotonic() + within_s
        at = since
        while True:
            while at < len(self.received):
                if matches(self.received[at]):
                    return self.received[at]
                at += 1
            wanted = f"{what} {payload}" if isinstance(what, str) else "the event"
            if self._reader.done():
                raise AssertionError(f"closed with {self.socket.close_code} before {wanted}; {self._tail()}")
            self._news.clear()
            try:
                async with asyncio.timeout(max(0.0, deadline_s - time.monotonic())):
                    await self._news.wait()
            except TimeoutError:
                raise AssertionError(f"{wanted} did not come in {within_s:g} s; {self._tail()}") from None

    async def settle(self) -> int:
        """Wait until the server has answered a heartbeat, and return the mark.

        An edge answers it by itself, so this is no proof that a worker has handled what was sent before.
        """
        await self.heartbeat()
        return self.mark()

    async def wait_closed(self, *, within_s: float = WAIT_S) -> int:
        """Wait until the connection has ended, and return the close code."""
        async with asyncio.timeout(within_s):
            await asyncio.shield(self._reader)
        assert self.socket.close_code is not None
        return self.socket.close_code

    @property
    def is_open(self) -> bool:
        """Whether the connection lives."""
        return not self._reader.done()

    def reliable(self, room: str) -> list[Event]:
        """Return the reliable events of a room that were received live, in order."""
        return [
            event
            for event in self.received
            if "seq" in event and not event.get("replay") and event["payload"].get("roomId") == room
        ]

    def position(self, room: str) -> tuple[int, int]:
        """Return (epoch, seq) of what was seen last."""
        return self._positions[room]

    # --- ending -----------------------------------------------------------------------------------------

    async def close(self) -> None:
        """End the connection with a close frame. Idempotent."""
        await self.socket.close()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reader

    async def drop(self) -> None:
        """End the connection without a close frame, as a network does."""
        self.socket.transport.abort()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reader

    # --- helpers ----------------------------------------------------------------------------------------

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                event = json.loads(await self.socket.recv())
                self.arrived_s.append(time.monotonic())
                self._check(event)
                self.received.append(event)
                self._news.set()
        self._news.set()

    def _check(self, event: Event) -> None:
        if not self.received and event["t"] != "welcome":
            self.breaches.append(f"the first frame is {event['t']}")
        room = event["payload"].get("roomId")
        if event["t"] == "room_state":
            state = event["payload"]
            self._positions[room] = self._states[room] = (state["epoch"], state["seq"])
        elif event["t"] == "room_members":
            part = event["payload"]
            if (part["epoch"], part["seq"]) != self._states.get(room):
                self.breaches.append(f"{room}: a part of {part['epoch']}:{part['seq']} after {self._states.get(room)}")
        elif event["t"] == "left_room":
            self._positions.pop(room, None)
        elif "seq" in event and not event.get("replay"):
            if room not in self._positions and room.startswith("user:"):
                # The edge brought the connection there, at whatever place the inbox was.
                self._positions[room] = (event["epoch"], event["seq"] - 1)
            if room not in self._positions:
                self.breaches.append(f"{room}: {event['t']} {event['seq']} before any room_state")
                return
            epoch, seq = self._positions[room]
            follows = event["seq"] > seq if room in self.hides else event["seq"] == seq + 1
            if event["epoch"] != epoch or not follows:
                self.breaches.append(f"{room}: {event['t']} at {event['epoch']}:{event['seq']} after {epoch}:{seq}")
            self._positions[room] = (event["epoch"], event["seq"])

    def _tail(self) -> str:
        return "last: " + "; ".join(json.dumps(event)[:200] for event in self.received[-6:])


def join_payload(
    room: str,
    user: str,
    *,
    token: str | None = None,
    resume: tuple[int, int] | None = None,
    name: str | None = None,
) -> dict[str, Any]:
    """Return the payload of a `join_room`."""
    payload: dict[str, Any] = {
        "roomId": room,
        "user": {"userId": user, "displayName": name or user.title(), "avatarId": "fox"},
    }
    if token is not None:
        payload["token"] = token
    if resume is not None:
        payload["resume"] = {"epoch": resume[0], "lastSeq": resume[1]}
    return payload


def new_id() -> str:
    """Return an id that no other message of this run has."""
    return f"m{next(_numbers)}"


def _matches(event: Event, t: str, payload: dict[str, Any]) -> bool:
    return event["t"] == t and all(event["payload"].get(name) == value for name, value in payload.items())
