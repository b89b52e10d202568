"""What room workers tell edges: the entries of the output streams. Internal, never seen by a client.

Messages inside are JSON text, encoded once by the worker; an edge frames them and writes the same bytes to
every socket, without looking inside. One entry of a stream is one `OutputBatch`: everything that one worker
batch had for one edge. The order of deliveries within and between entries is the order to apply them in.
"""

from typing import Final

from msgspec import Struct, msgpack

from common.ids import ConnNumber, Epoch, RoomId, Seq, UserId, WorkerId


class Segment(Struct, array_like=True, frozen=True):
    """Messages with the same audience and the same right to be skipped.

    `hidden_from` names the persons who must not receive it, since they blocked who caused it. An ephemeral
    segment (`reliable` false) may be skipped for a slow reader.
    """

    reliable: bool
    messages: list[bytes]
    hidden_from: list[UserId] = []


class Delivery(Struct, array_like=True, frozen=True, tag=True):
    """Base of the deliveries."""


class RoomFrames(Delivery, frozen=True):
    """For every connection attached to the room on this edge.

    Moves the edge's position in the room from (`epoch`, `from_seq`) to (`epoch`, `to_seq`). An edge that
    stands elsewhere has missed something and must repair.
    """

    room_id: RoomId
    epoch: Epoch
    from_seq: Seq
    to_seq: Seq
    segments: list[Segment]


class Attach(Delivery, frozen=True):
    """The connection receives the room from (`epoch`, `seq`) on; first it gets `messages`.

    `attempt`: the repair that this answers, 0 where it answers none. One that is not the latest comes too late: the
    next answer says it all again.
    """

    room_id: RoomId
    conn: ConnNumber
    epoch: Epoch
    seq: Seq
    messages: list[bytes]
    attempt: int = 0


class Detach(Delivery, frozen=True):
    """The connection gets `messages`, then nothing more from the room; with `close_code` it is closed.

    `refused` answers a join that did not succeed, rather than a leave.
    """

    room_id: RoomId
    conn: ConnNumber
    messages: list[bytes]
    close_code: int | None = None
    refused: bool = False


class Direct(Delivery, frozen=True):
    """Messages for one connection."""

    conn: ConnNumber
    messages: list[bytes]


class Shared(Delivery, frozen=True):
    """The same messages for several connections that are attached to the room."""

    room_id: RoomId
    conns: list[ConnNumber]
    messages: list[bytes]


class Stranger(Delivery, frozen=True):
    """The room does not know the connection that sent it something; nothing took effect.

    The connection gets `messages`, but where its edge takes it for joined `again`: the workers took the edge for dead,
    say, and it is about to join the room anew.
    """

    room_id: RoomId
    conn: ConnNumber
    messages: list[bytes]
    again: list[bytes]


class Answer(Delivery, frozen=True):
    """JSON answer to an operator's command."""

    request: int
    body: bytes


AnyDelivery = RoomFrames | Attach | Detach | Direct | Shared | Stranger | Answer


class OutputBatch(Struct, array_like=True, frozen=True):
    """One entry of an edge's output stream.

    `pause_ms`: so long the worker rests after `told_at_ms` of its own monotonic clock, before it reads the input of the
    shards that it tells of; 0: not at all. What an edge sends them earlier only waits there.
    """

    worker_id: WorkerId
    deliveries: list[AnyDelivery]
    pause_ms: float = 0.0
    told_at_ms: float = 0.0


_encoder: Final = msgpack.Encoder()
_decoder: Final = msgpack.Decoder(OutputBatch)


def encode_output(batch: OutputBatch) -> bytes:
    """Encode a batch for the stream."""
    return _encoder.encode(batch)


def decode_output(data: bytes) -> OutputBatch:
    """Decode an entry of an output stream.

    Raises:
        msgspec.DecodeError: the entry was not written by a worker of a compatible release.
    """
    return _decoder.decode(data)
