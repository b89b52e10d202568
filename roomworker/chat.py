"""Kept chat, the same in every kind of room that has it. Pure."""

from typing import Final

from msgspec import UNSET, Struct, json

from common.durable import ChatMessage
from common.errors import ErrorCode
from common.ids import UserId
from common.messages import (
    Ack,
    ChatBroadcast,
    ChatSend,
    ChatSendPayload,
    DirectSendPayload,
    ErrorEvent,
    PastChat,
    refusal,
)
from common.token_bucket import Rate
from common.word_filter import Verdict
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
    too_long = refuse_length(room, message.payload.text, characters_max)
    if too_long is not None:
        return too_long
    if room.is_muted(incoming.member.user_id, incoming.now_ms):
        return refusal(ErrorCode.MUTED, room.room_id)
    verdict = room.screen(message.payload.text)
    if verdict.action == "reject":
        return refusal(ErrorCode.FILTERED, room.room_id)
    if not room.can_keep():
        return refusal(ErrorCode.BUSY, room.room_id)
    if not room.admit(incoming, "chat_send", rate):
        return refusal(ErrorCode.RATE_LIMITED, room.room_id)
    said = say(room, incoming, message.payload, verdict)
    return Ack(room.room_id, said.seq, said.message_id)


def refuse_length(room: RoomServices, text: str, characters_max: int) -> ErrorEvent | None:
    """Return the answer to a text that is longer than here it may be; None where it is not."""
    if len(text) <= characters_max:
        return None
    told = f"The text has {len(text)} characters; here it may have {characters_max}."
    return ErrorEvent(ErrorCode.INVALID_PAYLOAD, told, room.room_id)


def say(
    room: RoomServices,
    incoming: Incoming,
    payload: ChatSendPayload | DirectSendPayload,
    verdict: Verdict,
    recipient_id: UserId | None = None,
) -> ChatMessage:
    """Give a message its place, keep it, and have it looked at where the word filter wants that.

    Returns: what is kept.
    """
    member = incoming.member
    message_id = room.message_id(room.next_seq())
    seq = room.sequence(
        ChatBroadcast(
            room.room_id, member.user_id, member.display_name, verdict.text, message_id, replyTo=payload.replyTo
        ),
        member.user_id,
    )
    said = ChatMessage(
        room.room_id,
        room.epoch,
        seq,
        message_id,
        member.user_id,
        member.display_name,
        verdict.text,
        incoming.now_ms,
        None if payload.replyTo is UNSET else payload.replyTo,
        recipient_id,
    )
    room.keep(said, incoming.connection)
    queue_filtered(room, member.user_id, seq, message_id, payload.text, verdict)
    return said


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
