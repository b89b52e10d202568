"""Between bytes on a WebSocket and the public messages. No IO.

Decoding never raises: a bad frame is an ordinary value, `BadFrame`, with a code and the path to the bad
field. Encoding puts the envelope around a payload by concatenation, since the payload of an event is
encoded once and sent to many.
"""

from typing import Final

from msgspec import UNSET, DecodeError, Struct, UnsetType, ValidationError, json

from common.errors import ErrorCode
from common.ids import Epoch, Seq
from common.messages import CLIENT_MESSAGES, AnyClientMessage, ServerEvent

_decoder: Final[json.Decoder[AnyClientMessage]] = json.Decoder(AnyClientMessage)
_encoder: Final = json.Encoder()

_NAMES: Final = frozenset(str(cls.__struct_config__.tag) for cls in CLIENT_MESSAGES)


class _Head(Struct):
    """What can still be read of a frame that failed validation, to answer it."""

    t: object = None
    id: object = UNSET


_head_decoder: Final = json.Decoder(_Head)


class BadFrame(Struct, frozen=True):
    """A frame that is no message. `re` is the `id` that it carried, where one could be read."""

    code: ErrorCode
    message: str
    re: str | UnsetType = UNSET


def decode(frame: str | bytes) -> AnyClientMessage | BadFrame:
    """Decode and validate one text frame of a client.

    Args:
        frame: JSON text, at most `FRAME_BYTES_MAX` bytes (the transport checks that).

    Returns: the message, or why it is none. Unknown fields are ignored. Never raises.
    """
    try:
        return _decoder.decode(frame)
    except ValidationError as error:
        return _diagnose(frame, str(error))
    except DecodeError as error:
        return BadFrame(ErrorCode.MALFORMED, f"Not JSON: {error}")
    except RecursionError:
        return BadFrame(ErrorCode.MALFORMED, "Not usable: nested too deeply")
    except UnicodeDecodeError:
        return BadFrame(ErrorCode.MALFORMED, "Not UTF-8 text")


def _diagnose(frame: str | bytes, text: str) -> BadFrame:
    try:
        head = _head_decoder.decode(frame)
    except (ValidationError, DecodeError, RecursionError, UnicodeDecodeError):
        return BadFrame(ErrorCode.MALFORMED, "Not an envelope: send a JSON object with `v`, `t`, `ts` and `payload`")
    re = head.id if isinstance(head.id, str) and 0 < len(head.id) <= 64 else UNSET
    if isinstance(head.t, str) and head.t not in _NAMES:
        return BadFrame(ErrorCode.UNKNOWN_EVENT, f"Unknown event `{head.t[:64]}`", re)
    if text.endswith("at `$.payload.roomId`") and "missing" not in text:
        return BadFrame(ErrorCode.INVALID_ROOM_ID, text, re)
    return BadFrame(ErrorCode.INVALID_PAYLOAD, text, re)


def encode_payload(payload: ServerEvent) -> bytes:
    """Encode the payload of an event as JSON."""
    return _encoder.encode(payload)


def encode_event(
    payload: ServerEvent,
    ts_ms: int,
    *,
    seq: Seq | None = None,
    epoch: Epoch | None = None,
    re: str | UnsetType = UNSET,
) -> bytes:
    """Encode a server event: the envelope with its payload, as one JSON object.

    Args:
        ts_ms: time of the worker when the event was sequenced (of the edge, for an event of its own).
        seq, epoch: place in the room's order; both or neither.
        re: `id` of the client message that this answers.
    """
    place = b"" if seq is None or epoch is None else b',"seq":%d,"epoch":%d' % (seq, epoch)
    answered = b"" if re is UNSET else b',"re":' + _encoder.encode(re)
    return b'{"v":1,"t":"%b","ts":%d%b%b,"payload":%b}' % (
        payload.t.encode(),
        ts_ms,
        place,
        answered,
        _encoder.encode(payload),
    )


def as_replay(event: bytes) -> bytes:
    """Mark an encoded event as replayed. Every encoded event ends with the envelope's brace."""
    return event[:-1] + b',"replay":true}'
