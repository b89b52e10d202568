// @ts-check

/** Round trips kept. With one heartbeat every 15 s this is two minutes, in which clocks drift by a few ms at most. */
const SAMPLES_MAX = 8;

/**
 * Round-trip time, and the offset between the server's clock and ours.
 *
 * An exchange with round trip r places the server's clock within r/2, so the offset comes from the fastest
 * exchange of the last few (NTP's clock filter, RFC 5905 section 10), while `rttMs` is simply the last one.
 */
export class ClockSync {
  /** @type {{rttMs: number, offsetMs: number}[]} */
  #samples = [];
  /** @type {number | null} */
  rttMs = null;
  /** Server clock minus local clock, in ms; 0 until the first exchange. */
  offsetMs = 0;

  /**
   * A one-way hint (`welcome.serverTimeMs`), used until a round trip is known.
   * @param {number} serverTimeMs
   * @param {number} nowMs
   */
  hint(serverTimeMs, nowMs) {
    if (this.#samples.length === 0) this.offsetMs = serverTimeMs - nowMs;
  }

  /**
   * @param {number} sentAtMs local time
   * @param {number} serverTimeMs
   * @param {number} nowMs local time of the answer
   */
  observe(sentAtMs, serverTimeMs, nowMs) {
    const rttMs = nowMs - sentAtMs;
    if (!(rttMs >= 0)) return;
    this.rttMs = rttMs;
    this.#samples.push({ rttMs, offsetMs: serverTimeMs - (sentAtMs + rttMs / 2) });
    if (this.#samples.length > SAMPLES_MAX) this.#samples.shift();
    this.offsetMs = this.#samples.reduce((best, sample) => (sample.rttMs < best.rttMs ? sample : best)).offsetMs;
  }

  /** Forget the exchanges of an earlier connection: the next edge may have another clock. */
  reset() {
    this.#samples = [];
    this.rttMs = null;
  }

  /** @param {number} nowMs @returns {number} */
  serverNow(nowMs) {
    return nowMs + this.offsetMs;
  }
}
