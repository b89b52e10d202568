"""Reports of messages to the moderators, the same in every kind of room that has messages. Pure."""

from typing import Final

from msgspec import UNSET, DecodeError, Struct, json

from common.durable import Reported
from common.errors import ErrorCode
from common.ids import Epoch, Seq, UserId
from common.messages import Ack, ErrorEvent, Report, refusal
from common.token_bucket import Rate
from common.word_filter import Verdict
from roomworker.rules import Incoming, RoomServices

REPORT_RATE: Final = Rate(0.2, 5.0)
"""Nobody has more to report by hand."""


REASON_CHARACTERS_MAX: Final = 500


class Said(Struct, rename="camel"):
    """A message among the events of a room."""

    user_id: UserId
    display_name: str
    text: str
    message_id: str


class _SaidEvent(Struct):
    payload: Said


_decoder: Final = json.Decoder(_SaidEvent)


def file_report(room: RoomServices, incoming: Incoming, message: Report) -> Ack | ErrorEvent:
    """Hand a report to the moderation queue, by way of the durable store."""
    payload, member = message.payload, incoming.member
    epoch = room.epoch if payload.epoch is UNSET else Epoch(payload.epoch)
    seq = Seq(payload.seq)
    said = said_at(room, seq) if epoch == room.epoch else None
    if epoch == room.epoch and (seq > room.seq or (said is None and room.past_event(seq) is not None)):
        return refusal(ErrorCode.NOT_FOUND, room.room_id)
    if said is not None and said.user_id in room.blocks_of(member.user_id):
        return refusal(ErrorCode.NOT_FOUND, room.room_id)
    if not room.can_keep():
        return refusal(ErrorCode.BUSY, room.room_id)
    if not room.admit(incoming, "report", REPORT_RATE):
        return refusal(ErrorCode.RATE_LIMITED, room.room_id)
    room.keep(
        Reported(
            room.room_id,
            epoch,
            seq,
            "" if said is None else said.message_id,
            UserId("") if said is None else said.user_id,
            "" if said is None else said.text,
            member.user_id,
            payload.reason,
            "report",
            incoming.now_ms,
        )
    )
    return Ack(room.room_id, seq)


def queue_filtered(
    room: RoomServices, author_id: UserId, seq: Seq, message_id: str, text: str, verdict: Verdict
) -> None:
    """Hand a message to the moderation queue in which the word filter found something to look at."""
    if verdict.action != "queue":
        return
    reason = "Words: " + ", ".join(verdict.words)
    room.keep(
        Reported(
            room.room_id,
            room.epoch,
            seq,
            message_id,
            author_id,
            text,
            UserId(""),
            reason[:REASON_CHARACTERS_MAX],
            "filter",
            room.now_ms,
        )
    )


def said_at(room: RoomServices, seq: Seq) -> Said | None:
    """Return what was said at a place of this epoch; None where the event is not at hand, or is no message."""
    past = room.past_event(seq)
    if past is None:
        return None
    try:
        return _decoder.decode(past.event).payload
    except DecodeError:
        return None
