"""A python-socketio node: who connects is in the room that it names, and what it says goes to all of the room.

Several of these share one Redis through its manager. Runs in an environment of its own (requirements.txt beside it),
on uvicorn with uvloop. Environment: PORT, REDIS_URL.
"""

import os
from typing import Any

import socketio
import uvicorn

sio = socketio.AsyncServer(
    async_mode="asgi",
    client_manager=socketio.AsyncRedisManager(os.environ["REDIS_URL"]),
    transports=["websocket"],
)


room_of: dict[str, str] = {}


@sio.event
async def connect(sid: str, _environ: dict[str, Any], auth: dict[str, str]) -> None:
    """Put who comes into the room."""
    room_of[sid] = auth["room"]
    await sio.enter_room(sid, auth["room"])


@sio.event
async def avatar_transform(sid: str, transform: dict[str, Any]) -> None:
    """Tell all of the room, the sender too."""
    await sio.emit("avatar_transform_broadcast", transform, room=room_of[sid])


@sio.event
async def disconnect(sid: str) -> None:
    """Forget who goes."""
    del room_of[sid]


uvicorn.run(
    socketio.ASGIApp(sio),
    host="127.0.0.1",
    port=int(os.environ["PORT"]),
    loop="uvloop",
    http="httptools",
    log_level="warning",
)
