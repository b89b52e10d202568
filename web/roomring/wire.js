// @ts-check
/**
 * The envelope of protocol version 1: encoding, decoding, and the names of the wire types.
 *
 * Every other module takes its message types from here, so that there is one place that knows
 * how `messages.d.ts` (generated from the server's message declarations) is laid out:
 * `ClientEvents` and `ServerEvents` map an event name to the type of its payload.
 *
 * @typedef {import('./messages.d.ts').ClientEvents} ClientEvents
 * @typedef {import('./messages.d.ts').ServerEvents} ServerEvents
 * @typedef {ServerEvents['room_state']} RoomState
 * @typedef {RoomState['members'][number]} Member
 * @typedef {import('./messages.d.ts').Note} Note
 * @typedef {import('./messages.d.ts').PastChat} PastChat
 * @typedef {import('./messages.d.ts').MessagePage} MessagePage
 * @typedef {import('./messages.d.ts').ThreadView} ThreadView
 * @typedef {ServerEvents['avatar_transform_broadcast']} TransformBroadcast
 * @typedef {{x: number, y: number, z: number, rotY: number, anim: 'idle'|'walk'|'dance'|'wave', speaking: boolean}} Transform
 *   World units and radians.
 * @typedef {string | number} Epoch An opaque mark of one life of a room's sequence.
 *
 * @typedef {object} ServerEnvelope
 * @property {1} v
 * @property {string} t event name
 * @property {number} ts server time in ms
 * @property {any} payload
 * @property {number} [seq] position of a reliable room event
 * @property {Epoch} [epoch] the epoch that `seq` belongs to
 * @property {string} [re] id of the client message that this answers
 * @property {boolean} [replay] true on an event sent again after a resume
 */

export const PROTOCOL_VERSION = 1;

/** The WebSocket subprotocol that both sides name in the handshake. */
export const SUBPROTOCOL = 'roomring.v1.json';

/** Longest chat text, in Unicode code points, as the server counts. */
export const CHAT_CHARACTERS_MAX = 240;

/** Longest text of a lobby, a direct message or a note. */
export const LONG_CHARACTERS_MAX = 2_000;

/** Ids of persons that stand in the names of their inbox and threads as they are; others are coded by the server. */
export const PLAIN_ID = /^[A-Za-z0-9._-]{1,60}$/;

/**
 * @template {string & keyof ClientEvents} T
 * @param {T} t
 * @param {ClientEvents[T]} payload
 * @param {number} nowMs
 * @param {string} [id] makes the message idempotent; at most 64 characters
 * @returns {string} one text frame
 */
export function encode(t, payload, nowMs, id) {
  const envelope = { v: PROTOCOL_VERSION, t, ts: Math.round(nowMs), payload };
  return JSON.stringify(id === undefined ? envelope : { ...envelope, id });
}

/**
 * Decode a server frame.
 *
 * @param {unknown} data what `MessageEvent.data` holds
 * @returns {ServerEnvelope | null} null for anything that is not a version 1 envelope; the caller ignores it,
 *   because a newer server may send more than this client knows
 */
export function decode(data) {
  if (typeof data !== 'string') return null;
  let value;
  try {
    value = JSON.parse(data);
  } catch {
    return null;
  }
  if (value === null || typeof value !== 'object' || value.v !== PROTOCOL_VERSION) return null;
  if (typeof value.t !== 'string' || value.payload === null || typeof value.payload !== 'object') return null;
  return value;
}
