"""What is set aside of a shard: what a room, or the database, fails at each time it is tried.

A dead letter lies in its shard's stream until an operator retries or drops it. It carries what is needed for
both: the thing itself, encoded, and why it was set aside.
"""

from typing import Final, Literal

from msgspec import DecodeError, Struct, msgpack, structs

from common.commands import AnyCommand, CatchUp, Disconnect, InputBatch, Join, Leave, decode_batch, encode_batch
from common.ids import EdgeId, RoomId, WorkerId
from common.outbox import OutboxEntry, decode_entry, encode_entry

ERROR_CHARACTERS_MAX: Final = 500
TRACEBACK_CHARACTERS_MAX: Final = 8_000
"""Some thirty frames; the last ones are kept, since they say where it happened."""

DeadLetterKind = Literal["command", "entry", "record"]


class DeadLetter(Struct, array_like=True, frozen=True):
    """One thing that was set aside.

    `kind`: `command` is an `InputBatch` with the one command that a room failed at, with the edge and the time that it
    came with, and number 0; `entry` is an entry of the input stream, or of a relay, as it was found, unreadable;
    `record` is an `OutboxEntry` whose record the database refuses, or that is unreadable itself. `what` names the
    command or record. `room_id` is empty where no room is known.
    """

    kind: DeadLetterKind
    what: str
    room_id: RoomId
    edge_id: EdgeId
    at_ms: int
    error: str
    traceback: str
    content: bytes
    worker_id: WorkerId = WorkerId("")

    def by(self, worker_id: WorkerId) -> "DeadLetter":
        """Return the letter with the name of the worker that sets it aside."""
        return structs.replace(self, worker_id=worker_id)


def dead_command(
    command: AnyCommand, room_id: RoomId, edge_id: EdgeId, arrived_ms: int, now_ms: int, error: Exception, trace: str
) -> DeadLetter:
    """Set aside a command at which a room failed."""
    content = encode_batch(InputBatch(edge_id, 0, arrived_ms, [command]))
    return DeadLetter(
        "command", type(command).__name__, room_id, edge_id, now_ms, _text(error), _bounded(trace), content
    )


def dead_entry(data: bytes, now_ms: int, error: Exception, what: str = "InputBatch") -> DeadLetter:
    """Set aside an entry of an input stream, or a `RelayEntry`, that cannot be read."""
    return DeadLetter("entry", what, RoomId(""), EdgeId(""), now_ms, _text(error), "", data)


def dead_record(entry: OutboxEntry, now_ms: int, error: Exception) -> DeadLetter:
    """Set aside a record that the database refuses."""
    record = entry.record
    room_id = RoomId(getattr(record, "room_id", ""))
    return DeadLetter(
        "record", type(record).__name__, room_id, entry.edge_id, now_ms, _text(error), "", encode_entry(entry)
    )


def dead_outbox_entry(data: bytes, now_ms: int, error: Exception) -> DeadLetter:
    """Set aside an entry of an outbox that cannot be read."""
    return DeadLetter("record", "OutboxEntry", RoomId(""), EdgeId(""), now_ms, _text(error), "", data)


def content_of(letter: DeadLetter) -> object | None:
    """Return the thing itself, decoded: an `InputBatch` or an `OutboxEntry`; None where it cannot be read."""
    try:
        return decode_entry(letter.content) if letter.kind == "record" else decode_batch(letter.content)
    except DecodeError:
        return None


def retry_batch(letter: DeadLetter) -> bytes | None:
    """Return what to append to the shard's input, so that the thing is tried again.

    None where that cannot be: a record goes to the database and not to a room, an entry is still unreadable, or a
    command is about a connection itself and would attach one that may have ended long ago.
    """
    content = content_of(letter)
    if not isinstance(content, InputBatch):
        return None
    commands = [command for command in content.commands if not isinstance(command, Join | Leave | Disconnect | CatchUp)]
    if not commands:
        return None
    # Number 0: it is not one of the edge's own batches, which are taken once by their numbers.
    return encode_batch(structs.replace(content, number=0, commands=commands))


def encode_dead_letter(letter: DeadLetter) -> bytes:
    """Encode a letter for the stream."""
    return _encoder.encode(letter)


def decode_dead_letter(data: bytes) -> DeadLetter:
    """Decode an entry of the stream.

    Raises:
        msgspec.DecodeError: it was not written by a worker of a compatible release.
    """
    return _decoder.decode(data)


def _text(error: Exception) -> str:
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    # A text that cannot be encoded is just what may have been the reason.
    return text[:ERROR_CHARACTERS_MAX].encode(errors="backslashreplace").decode()


def _bounded(trace: str) -> str:
    return trace[-TRACEBACK_CHARACTERS_MAX:].encode(errors="backslashreplace").decode()


_encoder: Final = msgpack.Encoder()
_decoder: Final = msgpack.Decoder(DeadLetter)
