"""What a shard's relays hold: letters on their way to the inputs of another partition, which no commit reaches.

A commit writes them into its own partition; the shard's owner moves them on, in order, and trims them by a later
commit. Whoever moves an entry makes the same batch of it, so the receiver knows what it has taken, by sender,
generation and number, and an entry may be moved any number of times, by an old owner and a new one, early or late.
"""

from typing import Final

from msgspec import Raw, Struct, msgpack

from common.commands import AnyCommand
from common.ids import EdgeId, LeaseToken, Shard

_SENDER: Final = "relay:"
"""No id of an edge has a colon."""


class RelayEntry(Struct, array_like=True, frozen=True):
    """What the rooms of one shard tell the rooms of shard `to` in one turn.

    `generation` is the token of the owner that wrote it. Positions begin anew when Redis loses data; the owner after
    that has a greater token, so (generation, position) only grows in what a shard ever told another.
    """

    to: Shard
    generation: LeaseToken
    at_ms: int
    commands: list[AnyCommand]


class _EntryToMove(Struct, array_like=True, frozen=True):
    """`RelayEntry` with its commands as they are encoded."""

    to: Shard
    generation: LeaseToken
    at_ms: int
    commands: Raw


class _MovedBatch(Struct, array_like=True, frozen=True):
    """`commands.InputBatch`, likewise."""

    edge_id: EdgeId
    number: int
    at_ms: int
    commands: Raw
    generation: LeaseToken


def sender_of(shard: Shard) -> EdgeId:
    """Return what stands in place of an edge's id in batches that came from a shard's relay."""
    return EdgeId(f"{_SENDER}{shard}")


def is_relay(sender: EdgeId) -> bool:
    """Tell whether a batch came from a relay, and not from an edge."""
    return sender.startswith(_SENDER)


def encode_entry(entry: RelayEntry) -> bytes:
    """Encode an entry for the stream."""
    return _encoder.encode(entry)


def batch_of(shard: Shard, position: int, data: bytes) -> tuple[Shard, bytes]:
    """Return to which shard the entry at a position of this shard's relay goes, and the batch for that input.

    Raises:
        msgspec.DecodeError: the entry was not written by a worker of a compatible release.
    """
    entry = _decoder.decode(data)
    batch = _MovedBatch(sender_of(shard), position, entry.at_ms, entry.commands, entry.generation)
    return entry.to, _encoder.encode(batch)


_encoder: Final = msgpack.Encoder()
_decoder: Final = msgpack.Decoder(_EntryToMove)
