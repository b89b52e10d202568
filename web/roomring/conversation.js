// @ts-check
/**
 * What was said in one room or thread, as one list: live events, pages of the past, and our own lines from the moment
 * they are written. Plain state; `history.js` loads the pages.
 *
 * Invariant: the list depends on what came in, not on the order in which it came. A message stands in it once, under its
 * `messageId`, at its place (epoch, seq); what was deleted stays away. Our own lines that have no place yet come last,
 * in the order of writing.
 *
 * @typedef {import('./wire.js').PastChat} Message
 *
 * @typedef {object} Draft A line of our own.
 * @property {string} id of the client message that carries it
 * @property {string} text
 * @property {string} [replyTo]
 * @property {number} atMs
 * @property {number} writtenAt when it was written, on the scale of `arrivedAt`
 * @property {string} [messageId] once it was acknowledged
 * @property {number} [seq] likewise
 * @property {{code: string, message: string}} [error] why it did not go
 *
 * @typedef {'sending' | 'sent' | 'stored' | 'failed' | 'received'} ItemState
 *   Of our own lines the first four: `sent` has its place in the order, `stored` outlives the server's memory.
 *
 * @typedef {object} Item
 * @property {string} key stays the same from the first appearance of a line on
 * @property {ItemState} state
 * @property {boolean} isSelf
 * @property {string} userId
 * @property {string} displayName empty for our own lines that no server has seen
 * @property {string} text
 * @property {number} atMs
 * @property {string} [id] of a line that we wrote here
 * @property {string} [messageId]
 * @property {number} [epoch]
 * @property {number} [seq]
 * @property {string} [replyTo]
 * @property {{code: string, message: string}} [error]
 */
export class Conversation {
  /** @type {Map<string, Message & {arrivedAt: number}>} */
  #messages = new Map();
  /** @type {Set<string>} */
  #deleted = new Set();
  /** @type {Set<string>} */
  #stored = new Set();
  /** @type {Map<string, Draft>} by id */
  #drafts = new Map();
  /** Ids of our own lines by their messageId, so that a line keeps its key. @type {Map<string, string>} */
  #keys = new Map();
  /** Counts arrivals and drafts. */
  #moment = 0;

  /** @param {{selfId: string}} options */
  constructor({ selfId }) {
    this.selfId = selfId;
  }

  /** Messages that have their place. */
  get size() {
    return this.#messages.size;
  }

  /**
   * A message came, live or again.
   * @param {Message} message
   * @param {{isStored?: boolean}} [options] pages hold what is stored
   * @returns {boolean} true when it was not known
   */
  receive(message, { isStored = false } = {}) {
    const { messageId } = message;
    if (isStored) this.#stored.add(messageId);
    if (this.#messages.has(messageId) || this.#deleted.has(messageId)) return false;
    this.#messages.set(messageId, { ...message, arrivedAt: ++this.#moment });
    return true;
  }

  /**
   * @param {Message[]} messages of a page
   * @returns {number} how many were not known
   */
  receivePage(messages) {
    let added = 0;
    for (const message of messages) {
      if (!this.receive(message, { isStored: true })) continue;
      added += 1;
      // It lay there before we asked: never the echo of a line that waits for its answer, unless its ack says so.
      /** @type {any} */ (this.#messages.get(message.messageId)).arrivedAt = 0;
    }
    return added;
  }

  /** @param {string} messageId */
  has(messageId) {
    return this.#messages.has(messageId);
  }

  /** @param {string} messageId @returns {Message | undefined} */
  message(messageId) {
    return this.#messages.get(messageId);
  }

  /** It is no more. @param {string} messageId */
  remove(messageId) {
    this.#deleted.add(messageId);
    this.#messages.delete(messageId);
  }

  /** Forget what stands before the newest `keepMax` messages. @param {number} keepMax @returns {boolean} whether there was anything */
  trim(keepMax) {
    const surplus = this.#messages.size - keepMax;
    if (surplus <= 0) return false;
    for (const { messageId } of [...this.#messages.values()].sort(byPlace).slice(0, surplus)) {
      this.#messages.delete(messageId);
      this.#stored.delete(messageId);
      this.#keys.delete(messageId);
    }
    return true;
  }

  /** @returns {Message | undefined} the one with the highest place */
  newest() {
    let newest;
    for (const message of this.#messages.values()) if (!newest || byPlace(message, newest) > 0) newest = message;
    return newest;
  }

  // --- our own lines ------------------------------------------------------------------------------------------------

  /** @param {{id: string, text: string, replyTo?: string, atMs: number}} line */
  write({ id, text, replyTo, atMs }) {
    this.#drafts.set(id, { id, text, replyTo, atMs, writtenAt: ++this.#moment });
  }

  /** @param {string} id @returns {Draft | undefined} */
  draft(id) {
    return this.#drafts.get(id);
  }

  /** @param {string} id @param {{seq: number, messageId: string}} ack */
  acknowledge(id, { seq, messageId }) {
    const draft = this.#drafts.get(id);
    this.#keys.set(messageId, id);
    if (draft) Object.assign(draft, { seq, messageId, error: undefined });
  }

  /** @param {string} messageId */
  persisted(messageId) {
    this.#stored.add(messageId);
  }

  /** @param {string} id @param {{code: string, message: string}} error */
  fail(id, { code, message }) {
    const draft = this.#drafts.get(id);
    if (draft && draft.messageId === undefined) draft.error = { code, message };
  }

  /** It goes out once more. @param {string} id */
  retry(id) {
    const draft = this.#drafts.get(id);
    if (draft) draft.error = undefined;
  }

  /** Give up a line that did not go. @param {string} id @returns {Draft | undefined} */
  discard(id) {
    const draft = this.#drafts.get(id);
    if (draft && draft.messageId === undefined) this.#drafts.delete(id);
    return draft;
  }

  // --- the list -----------------------------------------------------------------------------------------------------

  /**
   * @param {(userId: string) => boolean} [isHidden] whose lines are left out
   * @returns {Item[]} oldest first
   */
  items(isHidden = () => false) {
    const claims = new Map(this.#keys);
    const waiting = [];
    /** @type {Message[]} */
    const placed = [...this.#messages.values()];
    const epoch = this.newest()?.epoch ?? 0;
    for (const draft of this.#drafts.values()) {
      const { id, messageId, seq } = draft;
      if (messageId === undefined) {
        const echo = this.#echoOf(draft, claims);
        if (echo) claims.set(echo.messageId, id);
        else waiting.push(draft);
      } else if (this.#messages.has(messageId) || this.#deleted.has(messageId)) {
        this.#drafts.delete(id);
      } else {
        // Acknowledged before it was heard: it has a seq, and in all likelihood the newest epoch.
        placed.push({ ...this.#asMessage(draft), messageId, seq: seq ?? 0, epoch });
      }
    }
    const items = placed.sort(byPlace).filter(({ userId }) => !isHidden(userId)).map((message) => this.#item(message, claims));
    for (const draft of waiting) items.push({ ...this.#item(this.#asMessage(draft), claims), key: draft.id, id: draft.id, ...unplaced(draft) });
    return items;
  }

  /**
   * The event of a line can come before its ack. Until the ack tells, the first fitting message that came after the
   * writing counts as it, so that the line does not stand there twice for a moment.
   * @param {Draft} draft
   * @param {Map<string, string>} claims
   */
  #echoOf({ text, replyTo, writtenAt, error }, claims) {
    // A refused line is no message; one whose answer is missing may well be.
    if (error && error.code !== 'expired' && error.code !== 'closed') return undefined;
    let echo;
    for (const message of this.#messages.values()) {
      if (message.userId !== this.selfId || message.arrivedAt < writtenAt || claims.has(message.messageId)) continue;
      if (message.text === text && message.replyTo === replyTo && (!echo || byPlace(message, echo) < 0)) echo = message;
    }
    return echo;
  }

  /** @param {Draft} draft @returns {Message} */
  #asMessage({ id, text, replyTo, atMs }) {
    return { epoch: 0, seq: 0, ts: atMs, userId: this.selfId, displayName: '', text, messageId: id, ...(replyTo === undefined ? {} : { replyTo }) };
  }

  /** @param {Message} message @param {Map<string, string>} claims @returns {Item} */
  #item(message, claims) {
    const { epoch, seq, ts, userId, displayName, text, messageId, replyTo } = message;
    const id = claims.get(messageId);
    const isSelf = userId === this.selfId;
    const state = !isSelf ? 'received' : this.#stored.has(messageId) ? 'stored' : 'sent';
    return { key: id ?? messageId, id, state, isSelf, userId, displayName, text, atMs: ts, messageId, epoch, seq, replyTo };
  }
}

/** @param {Draft} draft @returns {Partial<Item>} */
function unplaced({ error }) {
  return { state: error ? 'failed' : 'sending', error, messageId: undefined, epoch: undefined, seq: undefined };
}

/** @param {{epoch: number, seq: number}} a @param {{epoch: number, seq: number}} b */
export function byPlace(a, b) {
  return a.epoch - b.epoch || a.seq - b.seq;
}
