// @ts-check
/** The public face of the client library. Everything else in this folder is its inside. */
export { AvatarInterpolator, AvatarTrack, mixAngle } from './interpolation.js';
export { Backoff } from './backoff.js';
export { RoomringClient } from './client.js';
export { RoomringError } from './errors.js';
export { TransformPacer, TRANSFORMS_PER_SECOND } from './rate.js';
export { TicketRefused, TicketUnavailable } from './ticket.js';
export { CHAT_CHARACTERS_MAX } from './wire.js';
