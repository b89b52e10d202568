// @ts-check
import { TokenBucket } from './rate.js';

/**
 * Messages that must take effect once: they wait here from the call until the server's answer.
 *
 * Each carries an `id`, so sending it again is harmless. It is sent again after a reconnect, after a
 * `rate_limited` (which may or may not have dropped it), and when no answer came within `answerTimeoutMs`.
 * Bounds: `entriesMax` messages, each at most `ageMaxMs` old. At the first the call is refused; at the second
 * the message is given up, because a chat line that arrives minutes late does more harm than an error.
 * A `patient` message (a letter, a note) may wait for the network as long as it takes, but once it went out it is
 * given up after `doubtMaxMs` without an answer: the server then no longer knows its `id` and would take it twice.
 *
 * @typedef {object} Entry
 * @property {string} id
 * @property {keyof import('./wire.js').ClientEvents} event
 * @property {string} roomId the room that must be joined before it can go; for messages without one: the inbox
 * @property {any} payload
 * @property {boolean} [patient]
 * @property {(answer: any) => void} resolve
 * @property {(error: Error) => void} reject
 *
 * @typedef {Entry & {addedAtMs: number, sendAtMs: number, sentAtMs: number | null}} Waiting `sentAtMs`: first time
 */
export class Outbox {
  /** @type {Map<string, Waiting>} in the order of the calls */
  #waiting = new Map();
  /** @type {Map<Entry['event'], number>} */
  #pausedUntilMs = new Map();

  /**
   * @param {{entriesMax?: number, ageMaxMs?: number, doubtMaxMs?: number, answerTimeoutMs?: number, perSecond?: number, burst?: number}} [options]
   *   `doubtMaxMs` stays below the 300 s for which the server remembers an id
   */
  constructor({ entriesMax = 64, ageMaxMs = 120_000, doubtMaxMs = 240_000, answerTimeoutMs = 10_000, perSecond = 5, burst = 8 } = {}) {
    this.entriesMax = entriesMax;
    this.ageMaxMs = ageMaxMs;
    this.doubtMaxMs = doubtMaxMs;
    this.answerTimeoutMs = answerTimeoutMs;
    // One burst below the server's (10), so that the resends after a reconnect are not dropped for their rate.
    this.bucket = new TokenBucket({ perSecond, burst });
  }

  get size() {
    return this.#waiting.size;
  }

  /**
   * @param {Entry} entry
   * @param {number} nowMs
   * @returns {boolean} false when the outbox is full
   */
  add(entry, nowMs) {
    if (this.#waiting.size >= this.entriesMax) return false;
    this.#waiting.set(entry.id, { ...entry, addedAtMs: nowMs, sendAtMs: nowMs, sentAtMs: null });
    return true;
  }

  /**
   * @param {number} nowMs
   * @param {(roomId: string) => boolean} isReady
   * @returns {Waiting[]} what to send now, in the order of the calls
   */
  take(nowMs, isReady) {
    const due = [];
    for (const entry of this.#waiting.values()) {
      if (!isReady(entry.roomId) || this.#sendAtMs(entry) > nowMs) continue;
      if (!this.bucket.take(nowMs)) break;
      entry.sendAtMs = nowMs + this.answerTimeoutMs;
      entry.sentAtMs ??= nowMs;
      due.push(entry);
    }
    return due;
  }

  /**
   * @param {number} nowMs
   * @returns {Waiting[]} those that are too old; they are no longer in the outbox
   */
  expire(nowMs) {
    const old = [...this.#waiting.values()].filter((entry) => nowMs >= this.#endsAtMs(entry));
    for (const entry of old) this.settle(entry.id);
    return old;
  }

  /**
   * @param {number} nowMs
   * @param {(roomId: string) => boolean} isReady
   * @returns {number | null} when `take` or `expire` has something to do
   */
  nextAtMs(nowMs, isReady) {
    let nextMs = Infinity;
    for (const entry of this.#waiting.values()) {
      nextMs = Math.min(nextMs, this.#endsAtMs(entry));
      if (isReady(entry.roomId)) nextMs = Math.min(nextMs, Math.max(this.#sendAtMs(entry), nowMs + this.bucket.waitMs(nowMs)));
    }
    return nextMs === Infinity ? null : nextMs;
  }

  /** @param {string} id @returns {Entry['event'] | undefined} undefined when no such message waits */
  eventOf(id) {
    return this.#waiting.get(id)?.event;
  }

  /**
   * An answer came.
   * @param {string} id
   * @returns {Waiting | undefined}
   */
  settle(id) {
    const entry = this.#waiting.get(id);
    this.#waiting.delete(id);
    return entry;
  }

  /**
   * The room has a new connection: send everything of it again.
   * @param {string} roomId
   * @param {number} nowMs
   */
  resend(roomId, nowMs) {
    for (const entry of this.#waiting.values()) {
      if (entry.roomId === roomId) entry.sendAtMs = nowMs;
    }
  }

  /**
   * The server asked for a pause with this kind of event. Whatever is unanswered may be what it dropped, so it goes
   * again after the pause; newer messages wait too, which keeps the order of the chat.
   * @param {Entry['event']} event
   * @param {number} untilMs
   */
  pause(event, untilMs) {
    this.#pausedUntilMs.set(event, untilMs);
    for (const entry of this.#waiting.values()) {
      if (entry.event === event) entry.sendAtMs = untilMs;
    }
  }

  /**
   * @param {(entry: Waiting) => boolean} concerns
   * @returns {Waiting[]} the removed ones
   */
  remove(concerns) {
    const removed = [...this.#waiting.values()].filter(concerns);
    for (const entry of removed) this.settle(entry.id);
    return removed;
  }

  /** @param {Waiting} entry when it is given up */
  #endsAtMs(entry) {
    if (!entry.patient) return entry.addedAtMs + this.ageMaxMs;
    return entry.sentAtMs === null ? Infinity : entry.sentAtMs + this.doubtMaxMs;
  }

  /** @param {Waiting} entry */
  #sendAtMs(entry) {
    return Math.max(entry.sendAtMs, this.#pausedUntilMs.get(entry.event) ?? 0);
  }
}
