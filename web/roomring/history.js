// @ts-check
/** @typedef {import('./wire.js').MessagePage} MessagePage */

/** Pages in a row that one call may load; a filled gap of ten thousand messages is enough to read. */
const PAGES_MAX = 50;

/** How often to ask again for what is still on its way to the database, and how long to wait in between. */
const UNSETTLED_MAX = 20;
const UNSETTLED_DELAY_MS = 500;

/**
 * Loads the past of a conversation, page by page: further back when asked, and what was missed after an absence.
 * One call at a time; a second one while the first runs gets the first one's promise.
 */
export class History {
  /** Cursor of the page before the oldest that was loaded. @type {string | undefined} */
  #before;
  /** Cursor of what comes after the newest that was loaded. @type {string | undefined} */
  #after;
  #hasOlder = true;
  /** @type {Promise<number> | null} */
  #loading = null;

  /**
   * @param {object} options
   * @param {import('./conversation.js').Conversation} options.conversation
   * @param {(query: {before?: string, after?: string, limit?: number}) => Promise<MessagePage>} options.fetchPage
   * @param {(ms: number) => Promise<void>} options.wait
   */
  constructor({ conversation, fetchPage, wait }) {
    this.conversation = conversation;
    this.fetchPage = fetchPage;
    this.wait = wait;
  }

  /** False once the beginning was reached. */
  get hasOlder() {
    return this.#hasOlder;
  }

  get isLoading() {
    return this.#loading !== null;
  }

  /** Whether any page was loaded yet. */
  get isOpen() {
    return this.#after !== undefined || !this.#hasOlder;
  }

  /**
   * What stands before the oldest message that is known.
   * @returns {Promise<number>} how many messages were added; rejects with what `fetchPage` rejects with
   */
  loadOlder() {
    return this.#alone(() => this.#loadOlder());
  }

  /**
   * What came since the newest page, up to now.
   * @returns {Promise<number>} how many messages were added
   */
  catchUp() {
    return this.#alone(async () => (this.#after === undefined ? this.#loadOlder() : this.#follow({ after: this.#after })));
  }

  /**
   * What lies between an old position and a new state that could not be joined by a replay.
   * @param {{cursor: string, until?: string}} gap as the `room_state` gives them
   * @returns {Promise<number>} how many messages were added
   */
  fillGap({ cursor, until }) {
    return this.#alone(() => this.#follow({ after: cursor, before: until }));
  }

  /** The conversation has forgotten its older part. */
  forgetOlder() {
    this.#before = undefined;
    this.#hasOlder = true;
  }

  async #loadOlder() {
    for (let round = 0; round < PAGES_MAX && this.#hasOlder; round += 1) {
      const page = await this.fetchPage({ before: this.#before });
      const added = this.conversation.receivePage(page.messages);
      if (this.#before === undefined) this.#after ??= page.after;
      this.#before = page.before ?? this.#before;
      this.#hasOlder = page.before !== undefined;
      // Pages that hold only what live events had brought already are passed over.
      if (added > 0) return added;
    }
    return 0;
  }

  /** @param {{after: string, before?: string}} from */
  async #follow({ after, before }) {
    let added = 0;
    let unsettled = 0;
    for (let round = 0; round < PAGES_MAX + UNSETTLED_MAX; round += 1) {
      const page = await this.fetchPage({ after, before });
      added += this.conversation.receivePage(page.messages);
      after = page.after ?? after;
      if (before === undefined) this.#after = after;
      if (page.messages.length > 0 || page.moreAfter) continue;
      if (page.settled || ++unsettled > UNSETTLED_MAX) break;
      await this.wait(UNSETTLED_DELAY_MS);
    }
    return added;
  }

  /** @param {() => Promise<number>} work */
  #alone(work) {
    this.#loading ??= work().finally(() => {
      this.#loading = null;
    });
    return this.#loading;
  }
}
