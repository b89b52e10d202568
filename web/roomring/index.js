// @ts-check
/** The public face of the client library. Everything else in this folder is its inside. */
export { AvatarInterpolator, AvatarTrack, mixAngle } from './interpolation.js';
export { Backoff } from './backoff.js';
export { Board } from './board.js';
export { BoardSession } from './board_session.js';
export { Conversation } from './conversation.js';
export { History } from './history.js';
export { Inbox } from './inbox.js';
export { Messenger } from './messenger.js';
export { PresenceList } from './presence.js';
export { RoomringClient } from './client.js';
export { RoomringError } from './errors.js';
export { TransformPacer, TRANSFORMS_PER_SECOND } from './rate.js';
export { TicketRefused, TicketUnavailable } from './ticket.js';
export { TypingList, TypingSignal } from './typing.js';
export { CHAT_CHARACTERS_MAX, LONG_CHARACTERS_MAX } from './wire.js';
