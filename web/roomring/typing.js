// @ts-check

/** While somebody writes, it is told again this often; the server forgets it after some more seconds. */
const REPEAT_MS = 3_000;

/** Without a key for so long, one no longer writes. */
const PAUSE_MS = 5_000;

/** Decides when to tell that we are writing: at the first key, now and then while it goes on, and once at the end. */
export class TypingSignal {
  #isTold = false;
  #toldAtMs = -Infinity;
  #keyAtMs = -Infinity;

  /**
   * A key was pressed in a text that is not empty.
   * @param {number} nowMs
   * @returns {boolean} whether to tell it
   */
  key(nowMs) {
    this.#keyAtMs = nowMs;
    if (this.#isTold && nowMs - this.#toldAtMs < REPEAT_MS) return false;
    this.#isTold = true;
    this.#toldAtMs = nowMs;
    return true;
  }

  /** The text was sent or emptied, or the place was left. @returns {boolean} whether to tell it */
  stop() {
    const wasTold = this.#isTold;
    this.#isTold = false;
    this.#toldAtMs = -Infinity;
    return wasTold;
  }

  /** @param {number} nowMs @returns {boolean} whether the writing has come to rest, which is to be told */
  rest(nowMs) {
    return this.#isTold && nowMs - this.#keyAtMs >= PAUSE_MS && this.stop();
  }
}

/** Who is writing where. An entry ends by itself when the server's time for it is over. */
export class TypingList {
  /** @type {Map<string, Map<string, {displayName: string, untilMs: number}>>} by place and person */
  #places = new Map();

  /**
   * @param {{roomId: string, userId: string, displayName: string, typing: boolean, expiresInMs: number}} event
   * @param {number} nowMs
   */
  hear({ roomId, userId, displayName, typing, expiresInMs }, nowMs) {
    const people = this.#places.get(roomId) ?? new Map();
    if (typing) people.set(userId, { displayName, untilMs: nowMs + expiresInMs });
    else people.delete(userId);
    this.#places.set(roomId, people);
  }

  /** What somebody was writing has come. @param {string} roomId @param {string} userId */
  said(roomId, userId) {
    this.#places.get(roomId)?.delete(userId);
  }

  /**
   * @param {string} roomId room or thread
   * @param {number} nowMs
   * @returns {{userId: string, displayName: string}[]} in the order of beginning
   */
  at(roomId, nowMs) {
    const people = this.#places.get(roomId) ?? new Map();
    return [...people].filter(([, { untilMs }]) => untilMs > nowMs).map(([userId, { displayName }]) => ({ userId, displayName }));
  }

  /** @param {number} nowMs @returns {number | null} when the next entry ends; ended ones are forgotten */
  nextEndMs(nowMs) {
    let nextMs = Infinity;
    for (const [roomId, people] of this.#places) {
      for (const [userId, { untilMs }] of people) {
        if (untilMs <= nowMs) people.delete(userId);
        else nextMs = Math.min(nextMs, untilMs);
      }
      if (people.size === 0) this.#places.delete(roomId);
    }
    return nextMs === Infinity ? null : nextMs;
  }
}
