"""What a shard's outbox holds: records on their way to the durable store, and whom to tell when they are there."""

from typing import Final

from msgspec import Struct, msgpack

from common.durable import Record
from common.ids import ConnNumber, EdgeId


class OutboxEntry(Struct, array_like=True, frozen=True):
    """A record, and the connection that is told `persisted`: none where `edge_id` is empty."""

    record: Record
    edge_id: EdgeId
    conn: ConnNumber


_encoder: Final = msgpack.Encoder()
_decoder: Final = msgpack.Decoder(OutboxEntry)


def encode_entry(entry: OutboxEntry) -> bytes:
    """Encode an entry for the stream."""
    return _encoder.encode(entry)


def decode_entry(data: bytes) -> OutboxEntry:
    """Decode an entry of an outbox.

    Raises:
        msgspec.DecodeError: the entry was not written by a worker of a compatible release.
    """
    return _decoder.decode(data)
