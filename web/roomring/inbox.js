// @ts-check
import { byPlace } from './conversation.js';

/**
 * What a person's own inbox tells: threads with their unread counts and read positions, friends, blocks.
 * Plain state; `messenger.js` feeds it.
 *
 * Invariant: what an event says is taken over only if the last `room_state` of the inbox did not contain it already, so
 * that a replay does not turn counts back. Read positions never go back.
 *
 * @typedef {import('./wire.js').ServerEvents} ServerEvents
 * @typedef {{epoch: number, lastSeq: number}} ReadPosition
 * @typedef {'none' | 'asked' | 'asks' | 'friends'} FriendStatus `asked`: we asked; `asks`: the other one did
 *
 * @typedef {object} Thread
 * @property {string} threadId
 * @property {string} userId the other person
 * @property {string} displayName of the other person; may be empty
 * @property {number} activeAtMs
 * @property {ReadPosition} readUpTo
 * @property {ReadPosition} otherReadUpTo
 * @property {{messageId: string, userId: string, text: string, epoch: number, seq: number} | undefined} last
 */

/** @type {ReadPosition} */
const NOTHING_READ = { epoch: 0, lastSeq: 0 };

export class Inbox {
  /** @type {Map<string, Thread>} by threadId */
  #threads = new Map();
  /** @type {Map<string, number>} */
  #unread = new Map();
  /** @type {Map<string, {status: FriendStatus, displayName: string}>} */
  #friends = new Map();
  /** @type {Set<string>} */
  #blocked = new Set();
  #state = { epoch: 0, seq: 0 };

  /** @param {{selfId: string}} options */
  constructor({ selfId }) {
    this.selfId = selfId;
  }

  /** Unread messages of all threads, without those of blocked persons. */
  get unreadTotal() {
    return this.threads().reduce((sum, { threadId }) => sum + this.unreadOf(threadId), this.#unreadOfUnknown());
  }

  /** @param {string} threadId */
  unreadOf(threadId) {
    return this.#unread.get(threadId) ?? 0;
  }

  /** @param {string} userId @returns {FriendStatus} */
  friendship(userId) {
    return this.#friends.get(userId)?.status ?? 'none';
  }

  /** @returns {{userId: string, status: FriendStatus, displayName: string}[]} everybody with whom there is something */
  friends() {
    return [...this.#friends].map(([userId, friend]) => ({ userId, ...friend }));
  }

  isBlocked = (/** @type {string} */ userId) => this.#blocked.has(userId);

  /** @returns {string[]} */
  blocked() {
    return [...this.#blocked];
  }

  /** @returns {Thread[]} the most lately active first, without those with blocked persons */
  threads() {
    return [...this.#threads.values()].filter(({ userId }) => !this.isBlocked(userId)).sort((a, b) => b.activeAtMs - a.activeAtMs);
  }

  /** @param {string} userId the other person @returns {Thread | undefined} */
  threadWith(userId) {
    return [...this.#threads.values()].find((thread) => thread.userId === userId);
  }

  /** @param {string} threadId @returns {Thread | undefined} */
  thread(threadId) {
    return this.#threads.get(threadId);
  }

  /**
   * The inbox as it is.
   * @param {import('./wire.js').RoomState} state
   */
  adopt({ epoch, seq, inbox }) {
    if (!inbox) return;
    this.#state = { epoch, seq };
    this.#unread = new Map(Object.entries(inbox.unread).filter(([, count]) => count > 0));
    this.#friends = new Map(inbox.friends.map(({ userId, status, displayName }) => [userId, { status, displayName: displayName ?? '' }]));
    this.#blocked = new Set(inbox.blocked);
  }

  /** @param {import('./wire.js').ThreadView[]} views a page of `GET /threads` */
  addThreads(views) {
    for (const view of views) {
      const { threadId, userId, displayName, activeAtMs, readUpTo, otherReadUpTo, lastMessage } = view;
      const thread = this.#ensure(threadId, userId, displayName);
      thread.activeAtMs = Math.max(thread.activeAtMs, activeAtMs);
      thread.readUpTo = further(thread.readUpTo, readUpTo);
      thread.otherReadUpTo = further(thread.otherReadUpTo, otherReadUpTo);
      if (lastMessage && (!thread.last || byPlace(lastMessage, thread.last) > 0)) thread.last = lastMessage;
    }
  }

  /**
   * @param {ServerEvents['direct_message']} event
   * @param {{ts: number, seq?: number, epoch?: any}} meta
   */
  hearMessage(event, meta) {
    const { threadId, userId, recipientId, displayName, threadEpoch, threadSeq, text, messageId, unread } = event;
    const isOwn = userId === this.selfId;
    const thread = this.#ensure(threadId, isOwn ? recipientId : userId, isOwn ? '' : displayName);
    thread.activeAtMs = Math.max(thread.activeAtMs, meta.ts);
    const last = { messageId, userId, text, epoch: threadEpoch, seq: threadSeq };
    if (!thread.last || byPlace(last, thread.last) > 0) thread.last = last;
    if (this.#isNews(meta)) this.#count(threadId, unread);
  }

  /**
   * @param {ServerEvents['read_receipt']} event
   * @param {{seq?: number, epoch?: any}} meta
   */
  hearReceipt({ threadId, threadEpoch, threadSeq, userId, unread }, meta) {
    const thread = this.#threads.get(threadId);
    const position = { epoch: threadEpoch, lastSeq: threadSeq };
    if (thread && userId === this.selfId) thread.readUpTo = further(thread.readUpTo, position);
    else if (thread) thread.otherReadUpTo = further(thread.otherReadUpTo, position);
    if (this.#isNews(meta)) this.#count(threadId, unread);
  }

  /**
   * @param {ServerEvents['friend_changed']} event
   * @param {{seq?: number, epoch?: any}} meta
   */
  hearFriend({ userId, status, displayName }, meta) {
    if (!this.#isNews(meta)) return;
    const known = this.#friends.get(userId)?.displayName;
    if (status === 'none') this.#friends.delete(userId);
    else this.#friends.set(userId, { status, displayName: displayName ?? known ?? '' });
  }

  /**
   * @param {ServerEvents['block_changed']} event
   * @param {{seq?: number, epoch?: any}} meta
   */
  hearBlock({ userId, blocked }, meta) {
    if (!this.#isNews(meta)) return;
    if (blocked) this.#blocked.add(userId);
    else this.#blocked.delete(userId);
  }

  /** A message of a thread is no more. @param {string} messageId */
  remove(messageId) {
    for (const thread of this.#threads.values()) if (thread.last?.messageId === messageId) thread.last = undefined;
  }

  /**
   * We have read up to there; the server will say so too.
   * @param {string} threadId
   * @param {ReadPosition} position
   * @returns {boolean} true when this is news worth telling
   */
  read(threadId, position) {
    const thread = this.#threads.get(threadId);
    const before = thread?.readUpTo ?? NOTHING_READ;
    const isFurther = position.epoch > before.epoch || (position.epoch === before.epoch && position.lastSeq > before.lastSeq);
    if (thread) thread.readUpTo = further(before, position);
    this.#count(threadId, 0);
    return isFurther;
  }

  #unreadOfUnknown() {
    let sum = 0;
    for (const [threadId, count] of this.#unread) if (!this.#threads.has(threadId)) sum += count;
    return sum;
  }

  /** @param {string} threadId @param {string} userId @param {string} displayName */
  #ensure(threadId, userId, displayName) {
    let thread = this.#threads.get(threadId);
    if (!thread) {
      thread = { threadId, userId, displayName, activeAtMs: 0, readUpTo: NOTHING_READ, otherReadUpTo: NOTHING_READ, last: undefined };
      this.#threads.set(threadId, thread);
    }
    if (displayName) thread.displayName = displayName;
    return thread;
  }

  /** @param {string} threadId @param {number} count */
  #count(threadId, count) {
    if (count > 0) this.#unread.set(threadId, count);
    else this.#unread.delete(threadId);
  }

  /** Is it later than the state? @param {{seq?: number, epoch?: any}} meta */
  #isNews({ seq, epoch }) {
    return seq === undefined || epoch !== this.#state.epoch || seq > this.#state.seq;
  }
}

/** @param {ReadPosition} a @param {ReadPosition} b @returns {ReadPosition} */
function further(a, b) {
  return b.epoch > a.epoch || (b.epoch === a.epoch && b.lastSeq > a.lastSeq) ? b : a;
}
