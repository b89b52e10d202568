// @ts-check

/**
 * Exponential backoff with full jitter: the n-th delay is uniform in [0, min(cap, base * 2^n)).
 * Full jitter spreads a crowd that lost its edge at the same moment better than a fixed share of jitter does.
 *
 * A connection counts as good only after it has stood for `stableAfterMs`; one that is accepted and closed at once
 * must not reset the delay, or the client would hammer a server that is falling over.
 */
export class Backoff {
  #attempts = 0;
  /** @type {number | null} */
  #openedAtMs = null;

  /**
   * @param {{random: () => number, baseMs?: number, capMs?: number, stableAfterMs?: number}} options
   */
  constructor({ random, baseMs = 250, capMs = 15_000, stableAfterMs = 10_000 }) {
    this.random = random;
    this.baseMs = baseMs;
    this.capMs = capMs;
    this.stableAfterMs = stableAfterMs;
  }

  /** Delays handed out since the last reset. */
  get attempts() {
    return this.#attempts;
  }

  /** @returns {number} ms to wait before the next attempt */
  next() {
    // The exponent is bounded so that a client which is offline for days does not reach infinity.
    const ceilingMs = Math.min(this.capMs, this.baseMs * 2 ** Math.min(this.#attempts, 30));
    this.#attempts += 1;
    return Math.floor(this.random() * ceilingMs);
  }

  /** @param {number} nowMs the connection is up */
  opened(nowMs) {
    this.#openedAtMs = nowMs;
  }

  /** @param {number} nowMs the connection is gone */
  closed(nowMs) {
    if (this.#openedAtMs !== null && nowMs - this.#openedAtMs >= this.stableAfterMs) this.reset();
    this.#openedAtMs = null;
  }

  reset() {
    this.#attempts = 0;
  }
}
