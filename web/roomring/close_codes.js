// @ts-check
/**
 * What each WebSocket close code asks of the client.
 *
 * - `reconnect`: come back, not sooner than `minimumDelayMs`.
 * - `refresh`: come back with a new token, a limited number of times.
 * - `final`: do not come back unchanged; tell the user.
 *
 * @typedef {{name: string, action: 'reconnect' | 'refresh' | 'final', minimumDelayMs: number}} CloseMeaning
 */

/** @type {Record<number, CloseMeaning>} */
const MEANINGS = {
  1000: { name: 'closed', action: 'reconnect', minimumDelayMs: 0 },
  1001: { name: 'going_away', action: 'reconnect', minimumDelayMs: 0 },
  1006: { name: 'connection_lost', action: 'reconnect', minimumDelayMs: 0 },
  // A policy may be a full server or a blocked origin. Only the first gets better, and not within a second.
  1008: { name: 'policy', action: 'reconnect', minimumDelayMs: 5_000 },
  1009: { name: 'frame_too_large', action: 'reconnect', minimumDelayMs: 1_000 },
  1012: { name: 'restarting', action: 'reconnect', minimumDelayMs: 0 },
  1013: { name: 'overloaded', action: 'reconnect', minimumDelayMs: 2_000 },
  4400: { name: 'malformed', action: 'final', minimumDelayMs: 0 },
  4401: { name: 'not_authenticated', action: 'refresh', minimumDelayMs: 0 },
  4403: { name: 'kicked_or_banned', action: 'final', minimumDelayMs: 0 },
  4408: { name: 'heartbeat_timeout', action: 'reconnect', minimumDelayMs: 0 },
  4429: { name: 'flooding', action: 'reconnect', minimumDelayMs: 5_000 },
};

/**
 * @param {number} code
 * @returns {CloseMeaning} for a code that is not in the table: `final` from 4400 to 4403, else `reconnect`
 */
export function closeMeaning(code) {
  const known = MEANINGS[code];
  if (known) return known;
  const action = code >= 4400 && code <= 4403 ? 'final' : 'reconnect';
  return { name: `close_${code}`, action, minimumDelayMs: 0 };
}
