"""Kept chat, the same in every kind of room that has it. Pure."""

from typing import Final

from msgspec import UNSET, Struct, json

from common.durable import ChatMessage
from common.errors import ErrorCode
from common.messages import Ack, ChatBroadcast, ChatSend, ErrorEvent, PastChat, refusal
from common.token_bucket import Rate
from roomworker.history import PastEvent
from roomworker.reports import queue_filtered
from roomworker.rules import Incoming, RoomServices


class _ChatEvent(Struct, tag_field="t", tag="chat_broadcast"):
    """A `chat_broadcast` as it was sent."""

    ts: int
    seq: int
    epoch: int
    payload: ChatBroadcast


_event_decoder: Final = json.Decoder(_ChatEvent)
_CHAT_MARK: Final = b'"t":"chat_broadcast"'


def send_chat(
    room: RoomServices, incoming: Incoming, message: ChatSend, *, rate: Rate, characters_max: int
) -> Ack | ErrorEvent:
    """Sequence a message for everybody in the room, and keep it."""
    payload, member = message.payload, incoming.member
    if len(payload.text) > characters_max:
        text = f"The text has {len(payload.text)} characters; here it may have {characters_max}."
        return ErrorEvent(ErrorCode.INVALID_PAYLOAD, text, room.room_id)
    if room.is_muted(member.user_id, incoming.now_ms):
        return refusal(ErrorCode.MUTED, room.room_id)
    verdict = room.screen(payload.text)
    if verdict.action == "reject":
        return refusal(ErrorCode.FILTERED, room.room_id)
    if not room.can_keep():
        return refusal(ErrorCode.BUSY, room.room_id)
    if not room.admit(incoming, "chat_send", rate):
        return refusal(ErrorCode.RATE_LIMITED, room.room_id)
    message_id = room.message_id(room.next_seq())
    seq = room.sequence(
        ChatBroadcast(
            room.room_id, member.user_id, member.display_name, verdict.text, message_id, replyTo=payload.replyTo
        ),
        member.user_id,
    )
    room.keep(
        ChatMessage(
            room.room_id,
            room.epoch,
            seq,
            message_id,
            member.user_id,
            member.display_name,
            verdict.text,
            incoming.now_ms,
            None if payload.replyTo is UNSET else payload.replyTo,
        ),
        incoming.connection,
    )
    queue_filtered(room, member.user_id, seq, message_id, payload.text, verdict)
    return Ack(room.room_id, seq, message_id)


def past_chats(events: list[PastEvent]) -> list[PastChat]:
    """Return the chat messages among past events, as `room_state` shows them."""
    chats: list[PastChat] = []
    for past in events:
        if _CHAT_MARK not in past.event[:64]:
            continue
        event = _event_decoder.decode(past.event)
        payload = event.payload
        chats.append(
            PastChat(
                event.epoch,
                event.seq,
                event.ts,
                payload.userId,
                payload.displayName,
                payload.text,
                payload.messageId,
                payload.replyTo,
            )
        )
    return chats
