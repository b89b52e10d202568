// @ts-check
/** @typedef {{status: 'online' | 'away' | 'offline', lastSeenMs?: number}} PresenceState */

/** Persons in one `presence_subscribe`. */
const SUBSCRIBE_MAX = 100;

/** Who is there, of those that somebody wants to know about. */
export class PresenceList {
  /** How many want to know about a person. @type {Map<string, number>} */
  #watched = new Map();
  /** @type {Map<string, PresenceState>} */
  #known = new Map();

  /** @param {string} userId @returns {boolean} true when this is the first wish: subscribe */
  watch(userId) {
    const wishes = (this.#watched.get(userId) ?? 0) + 1;
    this.#watched.set(userId, wishes);
    return wishes === 1;
  }

  /** @param {string} userId @returns {boolean} true when nobody wants to know any more: unsubscribe */
  unwatch(userId) {
    const wishes = (this.#watched.get(userId) ?? 0) - 1;
    if (wishes > 0) {
      this.#watched.set(userId, wishes);
      return false;
    }
    this.#known.delete(userId);
    return this.#watched.delete(userId);
  }

  /** @returns {string[][]} all watched persons, in groups that fit a message */
  groups() {
    const everybody = [...this.#watched.keys()];
    return Array.from({ length: Math.ceil(everybody.length / SUBSCRIBE_MAX) }, (_unused, index) =>
      everybody.slice(index * SUBSCRIBE_MAX, (index + 1) * SUBSCRIBE_MAX),
    );
  }

  /** @param {{userId: string, status: PresenceState['status'], lastSeenMs?: number}} event */
  hear({ userId, status, lastSeenMs }) {
    if (this.#watched.has(userId)) this.#known.set(userId, { status, lastSeenMs });
  }

  /** The connection is gone, and with it the knowledge. @returns {string[]} of whom something was known */
  forget() {
    const known = [...this.#known.keys()];
    this.#known.clear();
    return known;
  }

  /** @param {string} userId @returns {PresenceState | undefined} undefined while nothing is known */
  of(userId) {
    return this.#known.get(userId);
  }
}
