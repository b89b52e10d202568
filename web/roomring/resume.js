// @ts-check
/** @typedef {import('./wire.js').Epoch} Epoch */

/**
 * How far one room's reliable events have been seen: always a pair of epoch and seq.
 *
 * Invariant: an event is applied at most once, and `lastSeq` never goes back within an epoch.
 * The client does not look for gaps: a person who blocked another sees that person's numbers missing, rightly.
 * The server promises that a real gap is replayed or announced by `resync`.
 */
export class RoomPosition {
  /** @type {Epoch | null} */
  epoch = null;
  lastSeq = 0;
  /** Newest seq that the last `room_state` already contains. */
  #stateSeq = 0;

  /** @returns {{epoch: Epoch, lastSeq: number} | undefined} what `join_room.resume` carries */
  resumeFrom() {
    return this.epoch === null ? undefined : { epoch: this.epoch, lastSeq: this.lastSeq };
  }

  /**
   * Take over a `room_state`.
   * @param {{epoch: Epoch, seq: number, recovered: boolean}} state
   */
  adopt({ epoch, seq, recovered }) {
    // After a recovery the missed events still follow, so the position stays where it was.
    if (!recovered || epoch !== this.epoch) {
      this.epoch = epoch;
      this.lastSeq = seq;
    }
    this.#stateSeq = seq;
  }

  /**
   * Ask whether an event is new, and remember it.
   * @param {Epoch | undefined} epoch
   * @param {number} seq
   * @returns {boolean} false when it was seen before or belongs to an earlier epoch
   */
  observe(epoch, seq) {
    if (epoch !== undefined && epoch !== this.epoch) {
      if (typeof epoch === 'number' && typeof this.epoch === 'number' && epoch < this.epoch) return false;
      this.epoch = epoch;
      this.lastSeq = seq;
      this.#stateSeq = 0;
      return true;
    }
    if (seq <= this.lastSeq) return false;
    this.lastSeq = seq;
    return true;
  }

  /**
   * Is the effect of this event already in the member list of the last `room_state`?
   * @param {number} seq
   */
  isInState(seq) {
    return seq <= this.#stateSeq;
  }

  /** The server said `resync`: nothing that we know can be continued. */
  reset() {
    this.epoch = null;
    this.lastSeq = 0;
    this.#stateSeq = 0;
  }
}
