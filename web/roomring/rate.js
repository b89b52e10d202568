// @ts-check
/** @typedef {import('./wire.js').Transform} Transform */

/** Transforms a second that the server accepts from each kind of device. */
export const TRANSFORMS_PER_SECOND = Object.freeze({ desktop: 20, mobile: 15 });

/**
 * Decides which of many position updates go out, and when: never more than the allowed rate, the newest wins,
 * and the last one always goes. An update equal to the one sent last is not sent again.
 */
export class TransformPacer {
  /** @type {Transform | null} */
  #waiting = null;
  /** @type {Transform | null} */
  #sent = null;
  #notBeforeMs = -Infinity;

  /** @param {{perSecondMax: number}} options */
  constructor({ perSecondMax }) {
    this.intervalMs = 1000 / perSecondMax;
  }

  /** @param {number} perSecondMax as the server told */
  limitTo(perSecondMax) {
    this.intervalMs = 1000 / perSecondMax;
  }

  /** The newest value that was offered, sent or not. */
  get newest() {
    return this.#waiting ?? this.#sent;
  }

  /** @param {Transform} transform */
  offer(transform) {
    this.#waiting = this.#sent && equal(transform, this.#sent) ? null : transform;
  }

  /**
   * @param {number} nowMs
   * @returns {Transform | null} what to send now
   */
  take(nowMs) {
    if (!this.#waiting || nowMs < this.#notBeforeMs) return null;
    this.#sent = this.#waiting;
    this.#waiting = null;
    this.#notBeforeMs = nowMs + this.intervalMs;
    return this.#sent;
  }

  /** @returns {number | null} when `take` has something to give; null when nothing waits */
  nextAtMs() {
    return this.#waiting ? this.#notBeforeMs : null;
  }

  /**
   * The server dropped something for its rate. What we think was sent last may be what it dropped,
   * so the newest value goes out again after the pause.
   * @param {number} nowMs
   * @param {number} retryAfterMs
   */
  backOff(nowMs, retryAfterMs) {
    this.#notBeforeMs = Math.max(this.#notBeforeMs, nowMs + retryAfterMs);
    this.repeat();
  }

  /** Send the newest value once more, for example to a new connection. */
  repeat() {
    this.#waiting = this.newest;
    this.#sent = null;
  }
}

/**
 * A token bucket for messages that must not be lost: it says when the next may go, and drops nothing.
 */
export class TokenBucket {
  #tokens;
  /** @type {number | null} */
  #filledAtMs = null;

  /** @param {{perSecond: number, burst: number}} options */
  constructor({ perSecond, burst }) {
    this.perSecond = perSecond;
    this.burst = burst;
    this.#tokens = burst;
  }

  /**
   * @param {number} nowMs
   * @returns {boolean} true when one token was taken
   */
  take(nowMs) {
    this.#fill(nowMs);
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }

  /** @param {number} nowMs @returns {number} ms until a token is there */
  waitMs(nowMs) {
    this.#fill(nowMs);
    return this.#tokens >= 1 ? 0 : ((1 - this.#tokens) / this.perSecond) * 1000;
  }

  /** @param {number} nowMs */
  #fill(nowMs) {
    const elapsedMs = this.#filledAtMs === null ? 0 : Math.max(0, nowMs - this.#filledAtMs);
    this.#tokens = Math.min(this.burst, this.#tokens + (elapsedMs * this.perSecond) / 1000);
    // A remainder of floating point must not keep a full token just out of reach for ever.
    if (Math.abs(this.#tokens - Math.round(this.#tokens)) < 1e-9) this.#tokens = Math.round(this.#tokens);
    this.#filledAtMs = nowMs;
  }
}

/**
 * @param {Transform} a
 * @param {Transform} b
 */
function equal(a, b) {
  return (
    a.x === b.x && a.y === b.y && a.z === b.z && a.rotY === b.rotY && a.anim === b.anim && a.speaking === b.speaking
  );
}
