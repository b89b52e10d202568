// @ts-check
/**
 * Smooth movement from a stream of positions.
 *
 * Positions are shown `delayMs` late, so that there is nearly always a newer one to walk towards. The server's `ts`
 * gives their spacing (the network's jitter does not show); how the server's clock maps to ours is learnt from the
 * fastest arrivals, so no clock exchange is needed.
 *
 * @typedef {import('./wire.js').Transform} Transform
 * @typedef {Transform & {atMs: number}} Sample `atMs` is local time
 */

/** Samples kept for an avatar: at 20 a second far more than the delay needs, and a bound for a paused tab. */
const SAMPLES_MAX = 32;

/** A pause in the stream longer than this was a standstill, not a slow walk. */
const STANDSTILL_MS = 250;

/** How much the assumed shortest latency may grow in a second of local time, to follow a slower network or clock drift. */
const LATENCY_DRIFT_MS_PER_S = 5;

/** The path of one avatar. */
export class AvatarTrack {
  /** @type {Sample[]} oldest first, `atMs` strictly rising */
  #samples = [];

  /** @param {{delayMs: number, snapDistance: number}} options */
  constructor({ delayMs, snapDistance }) {
    this.delayMs = delayMs;
    this.snapDistance = snapDistance;
  }

  /**
   * Stand at a place at once, without a path from the earlier one.
   * @param {Transform} transform
   * @param {number} atMs
   */
  place(transform, atMs) {
    this.#samples = [{ ...transform, atMs }];
  }

  /** @param {Sample} sample */
  push(sample) {
    const last = this.#samples.at(-1);
    if (!last) {
      this.#samples.push(sample);
      return;
    }
    // Several updates in one server batch share a timestamp; a millisecond apart keeps the order.
    const atMs = Math.max(sample.atMs, last.atMs + 1);
    if (atMs - last.atMs > STANDSTILL_MS) this.#samples.push({ ...last, atMs: atMs - Math.min(this.delayMs, 100) });
    this.#samples.push({ ...sample, atMs });
    while (this.#samples.length > SAMPLES_MAX) this.#samples.shift();
  }

  /**
   * @param {number} nowMs
   * @returns {Transform | null} where the avatar is to be drawn
   */
  at(nowMs) {
    const samples = this.#samples;
    const shownMs = nowMs - this.delayMs;
    while (samples.length > 1 && samples[1].atMs <= shownMs) samples.shift();
    const [from, to] = samples;
    if (!from) return null;
    if (!to || shownMs <= from.atMs) return from;
    const distance = Math.hypot(to.x - from.x, to.y - from.y, to.z - from.z);
    if (distance > this.snapDistance) return from;
    const share = (shownMs - from.atMs) / (to.atMs - from.atMs);
    return {
      x: mix(from.x, to.x, share),
      y: mix(from.y, to.y, share),
      z: mix(from.z, to.z, share),
      rotY: mixAngle(from.rotY, to.rotY, share),
      anim: to.anim,
      speaking: to.speaking,
    };
  }
}

/** The paths of everyone in a room. */
export class AvatarInterpolator {
  /** @type {Map<string, AvatarTrack>} */
  #tracks = new Map();
  /** Shortest seen (arrival - server ts), in ms: clock offset and latency in one. @type {number | null} */
  #shortestMs = null;
  #shortestAtMs = 0;

  /**
   * @param {{delayMs?: number, snapDistance?: number}} [options] `delayMs` is kept within 100 to 200;
   *   over `snapDistance` world units an avatar jumps
   */
  constructor({ delayMs = 120, snapDistance = 3 } = {}) {
    this.delayMs = Math.min(200, Math.max(100, delayMs));
    this.snapDistance = snapDistance;
  }

  /**
   * A member entered, or a `room_state` told where everybody is: start anew there.
   * @param {string} userId
   * @param {Transform} transform
   * @param {number} nowMs
   */
  place(userId, transform, nowMs) {
    const track = new AvatarTrack(this);
    track.place(transform, nowMs);
    this.#tracks.set(userId, track);
  }

  /**
   * @param {string} userId
   * @param {Transform} transform
   * @param {number} serverTs `ts` of the envelope
   * @param {number} nowMs local time of arrival
   */
  push(userId, transform, serverTs, nowMs) {
    let track = this.#tracks.get(userId);
    if (!track) this.#tracks.set(userId, (track = new AvatarTrack(this)));
    track.push({ ...transform, atMs: serverTs + this.#latency(nowMs - serverTs, nowMs) });
  }

  /** @param {string} userId */
  remove(userId) {
    this.#tracks.delete(userId);
  }

  clear() {
    this.#tracks.clear();
    this.#shortestMs = null;
  }

  /**
   * @param {string} userId
   * @param {number} nowMs
   * @returns {Transform | null}
   */
  at(userId, nowMs) {
    return this.#tracks.get(userId)?.at(nowMs) ?? null;
  }

  /**
   * @param {number} seenMs
   * @param {number} nowMs
   */
  #latency(seenMs, nowMs) {
    const driftMs = ((nowMs - this.#shortestAtMs) / 1000) * LATENCY_DRIFT_MS_PER_S;
    this.#shortestMs = this.#shortestMs === null ? seenMs : Math.min(seenMs, this.#shortestMs + driftMs);
    this.#shortestAtMs = nowMs;
    return this.#shortestMs;
  }
}

/**
 * @param {number} a
 * @param {number} b
 * @param {number} share
 */
function mix(a, b, share) {
  return a + (b - a) * share;
}

/**
 * Turn the shorter way round.
 * @param {number} a radians
 * @param {number} b radians
 * @param {number} share
 */
export function mixAngle(a, b, share) {
  const turn = Math.PI * 2;
  const difference = ((((b - a + Math.PI) % turn) + turn) % turn) - Math.PI;
  return a + difference * share;
}
