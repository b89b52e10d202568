"""Questions and orders to a room's worker from HTTP endpoints, over the same streams as everything else."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Final

from common.commands import AnyRoomCommand
from common.errors import RoomringError
from edge.uplink import Uplink

ANSWER_TIMEOUT_S: Final = 5.0
"""Longer than a takeover, so that an order to a room whose worker just died still succeeds."""


class NoAnswer(RoomringError):
    """The room's worker did not answer in time. The order may still take effect."""


class ClusterBusy(RoomringError):
    """Too much waits for the room's shard; nothing was sent."""


class Operations:
    """The questions under way."""

    def __init__(self, uplink: Uplink) -> None:
        self._uplink = uplink
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[bytes]] = {}

    async def ask(self, make: Callable[[int], AnyRoomCommand], *, must: bool = True) -> bytes:
        """Send the command that `make` returns for a request number, and wait for its JSON answer.

        Args:
            must: send it whatever the load. Operators may; what people send may not.

        Raises:
            NoAnswer: none came within `ANSWER_TIMEOUT_S`.
            ClusterBusy: it was not sent (never with `must`).
        """
        request = next(self._numbers)
        command = make(request)
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[request] = future
        try:
            if not self._uplink.offer(command.room_id, command, must=must):
                raise ClusterBusy("the cluster cannot take the message now; send it again later, with the same `id`")
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await future
        except TimeoutError:
            raise NoAnswer("the room's worker did not answer in time; see GET /admin/cluster") from None
        finally:
            del self._waiting[request]

    def answered(self, request: int, body: bytes) -> None:
        """A worker answered."""
        future = self._waiting.get(request)
        if future is not None and not future.done():
            future.set_result(body)
