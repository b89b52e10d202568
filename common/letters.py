"""What rooms tell other rooms. Internal.

A letter is part of the commit of the room that wrote it, in the other room's input or, where that is in another
partition, in a relay (common/relay.py). So it is neither lost nor doubled, and letters of one room to another arrive in
their order.
"""

from msgspec import Struct

from common.durable import FriendshipStatus
from common.ids import Epoch, RoomId, Seq, UserId
from common.messages import PresenceStatus


class Letter(Struct, array_like=True, frozen=True, tag=True):
    """Base of the letters."""


class MessageArrived(Letter, frozen=True):
    """To both inboxes: somebody wrote in a thread. `unread` is the receiver's."""

    owner_id: UserId
    thread_id: RoomId
    epoch: Epoch
    seq: Seq
    message_id: str
    author_id: UserId
    author_name: str
    recipient_id: UserId
    text: str
    reply_to: str | None
    unread: int


class ThreadWasRead(Letter, frozen=True):
    """To both inboxes: one of the two has read the thread up to a place. `unread` is the receiver's."""

    owner_id: UserId
    thread_id: RoomId
    epoch: Epoch
    seq: Seq
    reader_id: UserId
    other_id: UserId
    unread: int


class MessageGone(Letter, frozen=True):
    """To both inboxes: a message of a thread was deleted."""

    owner_id: UserId
    thread_id: RoomId
    epoch: Epoch
    seq: Seq
    message_id: str
    author_id: UserId
    other_id: UserId
    unread: int


class TypingSeen(Letter, frozen=True):
    """To the other one's inbox: somebody is writing in a thread, or no longer."""

    owner_id: UserId
    thread_id: RoomId
    user_id: UserId
    display_name: str
    typing: bool
    expires_in_ms: int


class FriendshipMoved(Letter, frozen=True):
    """To both inboxes: where the two stand now, and who asked."""

    owner_id: UserId
    other_id: UserId
    other_name: str
    status: FriendshipStatus
    requested_by: UserId


class Watch(Letter, frozen=True):
    """To an inbox: tell `watcher_id` of its person's presence, now and when it changes."""

    owner_id: UserId
    watcher_id: UserId


class Unwatch(Letter, frozen=True):
    """To an inbox: no more of it."""

    owner_id: UserId
    watcher_id: UserId


class PresenceSeen(Letter, frozen=True):
    """To a watcher's inbox."""

    owner_id: UserId
    user_id: UserId
    status: PresenceStatus
    last_seen_ms: int


AnyLetter = MessageArrived | ThreadWasRead | MessageGone | TypingSeen | FriendshipMoved | Watch | Unwatch | PresenceSeen
