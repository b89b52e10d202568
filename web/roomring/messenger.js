// @ts-check
import { Conversation } from './conversation.js';
import { Emitter } from './emitter.js';
import { RoomringError } from './errors.js';
import { History } from './history.js';
import { Inbox } from './inbox.js';
import { PresenceList } from './presence.js';
import { TypingList, TypingSignal } from './typing.js';
import { CHAT_CHARACTERS_MAX, LONG_CHARACTERS_MAX, PLAIN_ID } from './wire.js';

/**
 * Conversations over a client: the rooms that are asked for, direct messages with everybody, the person's own inbox, who is
 * there and who is writing. It listens to the client, keeps the plain objects in step, and says what has changed.
 *
 * @typedef {import('./client.js').RoomringClient} RoomringClient
 * @typedef {import('./client.js').EventMeta} EventMeta
 * @typedef {import('./wire.js').ServerEvents} ServerEvents
 *
 * @typedef {object} Talk One conversation with what belongs to it.
 * @property {string} key `room:<roomId>` or `person:<userId>`
 * @property {string} roomId empty for a thread whose id is not known yet
 * @property {string} userId of a thread: the other person; else empty
 * @property {'local_chat' | 'chat_send' | 'direct_send'} event what carries a line
 * @property {number} charactersMax
 * @property {Conversation} conversation
 * @property {History | null} history null where nothing is kept
 * @property {TypingSignal} typing ours
 * @property {boolean} isWanted somebody has looked at it, so that after an absence it is to be completed
 *
 * @typedef {{
 *   talk: [Talk],
 *   inbox: [],
 *   typing: [string],
 *   presence: [string],
 *   arrived: [{userId: string, displayName: string, text: string, threadId: string}],
 *   failed: [{talk: Talk, code: string, message: string}],
 * }} MessengerEvents `typing`: room or thread id; `arrived`: a direct message of somebody else, live
 */

/** Messages of one conversation that are kept while nobody looks further back. */
const MESSAGES_MAX = 2_000;

/** Threads on one page of the list. */
const THREADS_LIMIT = 50;

const NO_PAGE = { roomId: '', messages: [], before: undefined, after: undefined, moreAfter: false, settled: true };

export class Messenger {
  #client;
  /** @type {Emitter<MessengerEvents>} */
  #emitter = new Emitter();
  /** @type {Map<string, Talk>} */
  #talks = new Map();
  #presence = new PresenceList();
  #typing = new TypingList();
  /** @type {any} */
  #typingTimer = null;
  /** Room id of the inbox once it is known. */
  #inboxId = '';
  #hasThreads = false;

  /** @param {RoomringClient} client */
  constructor(client) {
    this.#client = client;
    this.selfId = client.user.userId;
    this.selfName = client.user.displayName;
    this.inbox = new Inbox({ selfId: this.selfId });
    client.on('roomState', (state) => this.#onState(state));
    client.on('status', ({ state }) => {
      // Who is there is not known from afar.
      if (state !== 'connected') for (const userId of this.#presence.forget()) this.#emitter.emit('presence', userId);
    });
    client.on('chat', (event, meta) => this.#onChat(event, meta));
    client.on('directMessage', (event, meta) => this.#onDirect(event, meta));
    client.on('persisted', ({ roomId, messageId }) => this.#onPersisted(roomId, messageId));
    client.on('messageDeleted', (event) => this.#onDeleted(event));
    client.on('readReceipt', (event, meta) => this.#inInbox(() => this.inbox.hearReceipt(event, meta), event.threadId));
    client.on('friendChanged', (event, meta) => this.#inInbox(() => this.inbox.hearFriend(event, meta)));
    client.on('blockChanged', (event, meta) => this.#inInbox(() => this.inbox.hearBlock(event, meta), '*'));
    client.on('presence', (event) => {
      this.#presence.hear(event);
      this.#emitter.emit('presence', event.userId);
    });
    client.on('typing', (event) => {
      if (event.userId === this.selfId) return;
      this.#typing.hear(event, client.now());
      this.#typingChanged(event.roomId);
    });
  }

  /**
   * @template {keyof MessengerEvents} K
   * @param {K} event
   * @param {(...args: MessengerEvents[K]) => void} handler
   */
  on(event, handler) {
    return this.#emitter.on(event, handler);
  }

  /**
   * Join the inbox, after a room was asked to be joined.
   * @param {string} roomId any room of the client; its token opens the list of threads
   */
  async open(roomId) {
    this.#inboxId = this.#client.inboxId ?? (await this.#client.get(roomId, '/threads', { limit: 1 })).inboxId;
    await this.#client.join(this.#inboxId);
  }

  // --- conversations ------------------------------------------------------------------------------------------------

  /**
   * The conversation of a room. It follows the room from now on.
   * @param {string} roomId
   * @param {{isKept: boolean}} options whether what is said there is kept, and so has a past
   * @returns {Talk}
   */
  room(roomId, { isKept }) {
    const path = `/rooms/${encodeURIComponent(roomId)}/messages`;
    return this.#ensure(`room:${roomId}`, {
      roomId,
      userId: '',
      event: isKept ? 'chat_send' : 'local_chat',
      charactersMax: isKept ? LONG_CHARACTERS_MAX : CHAT_CHARACTERS_MAX,
      fetchPage: isKept ? (query) => this.#client.get(roomId, path, query) : null,
    });
  }

  /** @param {string} userId the other one @returns {Talk} */
  direct(userId) {
    const key = `person:${userId}`;
    return this.#ensure(key, {
      roomId: this.#threadIdOf(userId),
      userId,
      event: 'direct_send',
      charactersMax: LONG_CHARACTERS_MAX,
      fetchPage: async (query) => {
        const threadId = this.#threadIdOf(userId);
        if (!threadId) return NO_PAGE;
        try {
          return await this.#client.get(this.#inboxId, `/threads/${encodeURIComponent(threadId)}/messages`, query);
        } catch (error) {
          // Nobody has written yet.
          if (error instanceof RoomringError && error.code === 'not_found') return NO_PAGE;
          throw error;
        }
      },
    });
  }

  /** @param {Talk} talk @returns {import('./conversation.js').Item[]} without lines of blocked persons */
  items(talk) {
    return talk.conversation.items(this.inbox.isBlocked);
  }

  /**
   * Say something. It stands in the list at once, and settles or fails there.
   * @param {Talk} talk
   * @param {string} text
   * @param {string} [replyTo]
   */
  send(talk, text, replyTo) {
    const characters = [...text].length;
    if (characters < 1 || characters > talk.charactersMax) {
      throw new RoomringError('bad_text', `1 to ${talk.charactersMax} characters, not ${characters}`);
    }
    const id = this.#client.environment.newId();
    talk.conversation.write({ id, text, replyTo, atMs: Math.round(this.#client.serverNow()) });
    talk.typing.stop();
    this.#post(talk, id);
  }

  /** Send a line that failed once more; if it had arrived after all, it does not come twice. @param {Talk} talk @param {string} id */
  retry(talk, id) {
    talk.conversation.retry(id);
    this.#post(talk, id);
  }

  /** @param {Talk} talk @param {string} id @returns {string} its text */
  discard(talk, id) {
    const text = talk.conversation.discard(id)?.text ?? '';
    this.#emitter.emit('talk', talk);
    return text;
  }

  /** Load what stands before. @param {Talk} talk @returns {Promise<number>} how many lines came */
  async loadOlder(talk) {
    if (!talk.history) return 0;
    const added = await talk.history.loadOlder();
    this.#emitter.emit('talk', talk);
    return added;
  }

  /** Load the newest page of a thread when it is looked at for the first time. @param {Talk} talk */
  async look(talk) {
    talk.isWanted = true;
    if (talk.history && !talk.history.isOpen) await this.loadOlder(talk);
  }

  /** Everything of a thread that has come was seen. @param {Talk} talk */
  markRead(talk) {
    const newest = talk.conversation.newest();
    const threadId = this.#threadIdOf(talk.userId);
    if (!newest || !threadId || !talk.userId) return;
    const { epoch, seq } = newest;
    const hadUnread = this.inbox.unreadOf(threadId) > 0;
    const isFurther = this.inbox.read(threadId, { epoch, lastSeq: seq });
    if (!isFurther && !hadUnread) return;
    // Should it not arrive, the next one says more.
    this.#client.request('read_up_to', this.#inboxId, { threadId, seq, epoch }).catch(() => {});
    this.#emitter.emit('inbox');
  }

  /** @param {import('./conversation.js').Item} item @param {Talk} talk @returns {boolean} whether the other one has read it */
  isSeen(item, talk) {
    const position = this.inbox.threadWith(talk.userId)?.otherReadUpTo;
    if (!position || item.seq === undefined || item.epoch === undefined) return false;
    return item.epoch < position.epoch || (item.epoch === position.epoch && item.seq <= position.lastSeq);
  }

  // --- writing ------------------------------------------------------------------------------------------------------

  /** The text of a line changed. @param {Talk} talk @param {boolean} isEmpty */
  key(talk, isEmpty) {
    if (isEmpty) this.rest(talk);
    else if (talk.typing.key(this.#client.now())) this.#tellTyping(talk, true);
  }

  /** The line was left. @param {Talk} talk */
  rest(talk) {
    if (talk.typing.stop()) this.#tellTyping(talk, false);
  }

  /** To be called now and then: tells when the writing has come to rest. @param {Talk} talk */
  tick(talk) {
    if (talk.typing.rest(this.#client.now())) this.#tellTyping(talk, false);
  }

  /** @param {Talk} talk @returns {{userId: string, displayName: string}[]} who is writing there */
  typists(talk) {
    const roomId = talk.userId ? this.#threadIdOf(talk.userId) : talk.roomId;
    return this.#typing.at(roomId, this.#client.now()).filter(({ userId }) => !this.inbox.isBlocked(userId));
  }

  // --- people -------------------------------------------------------------------------------------------------------

  /** @param {string} userId */
  addFriend(userId) {
    return this.#ask('friend_add', { userId });
  }

  /** @param {string} userId */
  removeFriend(userId) {
    return this.#ask('friend_remove', { userId });
  }

  /** @param {string} userId */
  block(userId) {
    return this.#ask('block_user', { userId });
  }

  /** @param {string} userId */
  unblock(userId) {
    return this.#ask('unblock_user', { userId });
  }

  /**
   * Tell the moderators of a message.
   * @param {{roomId: string, epoch?: number, seq: number}} place room or thread, and where in it
   * @param {string} reason
   */
  report({ roomId, epoch, seq }, reason) {
    const ready = this.#talks.has(`room:${roomId}`) ? roomId : this.#inboxId;
    return this.#client.request('report', ready, { roomId, seq, reason, ...(epoch === undefined ? {} : { epoch }) });
  }

  /** @param {string} userId @returns {import('./presence.js').PresenceState | undefined} */
  presence(userId) {
    return this.#presence.of(userId);
  }

  /** @param {string} userId @returns {() => void} to stop watching */
  watch(userId) {
    if (this.#presence.watch(userId)) this.#client.signal('presence_subscribe', this.#inboxId, { userIds: [userId] });
    return () => {
      if (this.#presence.unwatch(userId)) this.#client.signal('presence_unsubscribe', this.#inboxId, { userIds: [userId] });
    };
  }

  // --- inside -------------------------------------------------------------------------------------------------------

  /**
   * @param {string} key
   * @param {{roomId: string, userId: string, event: Talk['event'], charactersMax: number, fetchPage: ((query: any) => Promise<any>) | null}} options
   * @returns {Talk}
   */
  #ensure(key, { fetchPage, ...rest }) {
    let talk = this.#talks.get(key);
    if (!talk) {
      const conversation = new Conversation({ selfId: this.selfId });
      const wait = (/** @type {number} */ ms) => new Promise((resolve) => void this.#client.environment.setTimeout(() => resolve(undefined), ms));
      const history = fetchPage ? new History({ conversation, fetchPage, wait: /** @type {any} */ (wait) }) : null;
      talk = { key, ...rest, conversation, history, typing: new TypingSignal(), isWanted: false };
      this.#talks.set(key, talk);
    }
    return talk;
  }

  /** @param {Talk} talk @param {string} id */
  #post(talk, id) {
    const { conversation, roomId, userId, event } = talk;
    const draft = conversation.draft(id);
    if (!draft) return;
    const { text, replyTo } = draft;
    const reply = replyTo === undefined ? {} : { replyTo };
    const options = { id, patient: event !== 'local_chat' };
    const sending = event === 'direct_send'
      ? this.#client.request(event, this.#inboxId, { recipientId: userId, text, ...reply }, options)
      : event === 'chat_send'
        ? this.#client.request(event, roomId, { roomId, text, ...reply }, options)
        : this.#client.request(event, roomId, { roomId, text, mode: 'local' }, options);
    sending.then(
      (ack) => {
        if (userId && ack.roomId) talk.roomId = ack.roomId;
        conversation.acknowledge(id, ack);
        this.#emitter.emit('talk', talk);
      },
      (error) => {
        conversation.fail(id, error);
        this.#emitter.emit('talk', talk);
        this.#emitter.emit('failed', { talk, code: error.code, message: error.message });
      },
    );
    this.#emitter.emit('talk', talk);
  }

  /**
   * @param {'friend_add' | 'friend_remove' | 'block_user' | 'unblock_user'} event
   * @param {{userId: string}} payload
   */
  #ask(event, payload) {
    return this.#client.request(event, this.#inboxId, payload);
  }

  /** @param {Talk} talk @param {boolean} typing */
  #tellTyping({ roomId, userId }, typing) {
    if (userId) this.#client.signal('typing', this.#inboxId, { recipientId: userId, typing });
    else this.#client.signal('typing', roomId, { roomId, typing });
  }

  /** @param {string} userId @returns {string} empty while there is none */
  #threadIdOf(userId) {
    const known = this.inbox.threadWith(userId)?.threadId || this.#talks.get(`person:${userId}`)?.roomId;
    const isPlain = [this.selfId, userId].every((id) => PLAIN_ID.test(id));
    return known || (isPlain && userId !== this.selfId ? `dm:${[this.selfId, userId].sort().join(':')}` : '');
  }

  /** @param {import('./wire.js').RoomState} state */
  #onState(state) {
    if (state.roomId === this.#inboxId) {
      this.inbox.adopt(state);
      for (const userIds of this.#presence.groups()) this.#client.signal('presence_subscribe', this.#inboxId, { userIds });
      if (!state.recovered) {
        // What nobody has looked at starts anew with its newest page, rather than with a hole in it.
        for (const talk of this.#talks.values()) if (talk.userId && !talk.isWanted) talk.conversation.trim(0);
      }
      if (!state.recovered || !this.#hasThreads) this.#catchUpThreads();
      this.#emitter.emit('inbox');
      for (const talk of this.#talks.values()) this.#emitter.emit('talk', talk);
      return;
    }
    const talk = this.#talks.get(`room:${state.roomId}`);
    if (!talk) return;
    const { conversation, history } = talk;
    const messages = state.messages ?? [];
    const isJoined = conversation.size === 0 || messages.length === 0 || messages.some(({ messageId }) => conversation.has(messageId));
    for (const message of messages) conversation.receive(message);
    if (!state.recovered && state.cursor && history && !isJoined) {
      history.fillGap({ cursor: state.cursor, until: state.until }).then(() => this.#emitter.emit('talk', talk)).catch(() => {});
    }
    this.#emitter.emit('talk', talk);
  }

  /** What was missed in the threads: their list, and the lines of those that were looked at. */
  async #catchUpThreads() {
    try {
      const page = await this.#client.get(this.#inboxId, '/threads', { limit: THREADS_LIMIT });
      this.#hasThreads = true;
      this.inbox.addThreads(page.threads);
      this.#emitter.emit('inbox');
    } catch {
      // The list comes with the next state; live messages bring their threads by themselves.
    }
    for (const talk of this.#talks.values()) {
      if (!talk.userId || !talk.isWanted) continue;
      await talk.history?.catchUp().catch(() => {});
      this.#emitter.emit('talk', talk);
    }
  }

  /** @param {ServerEvents['chat_broadcast']} event @param {EventMeta} meta */
  #onChat({ roomId, ...message }, meta) {
    const talk = this.#talks.get(`room:${roomId}`);
    if (!talk) return;
    talk.conversation.receive({ ...message, ts: meta.ts, epoch: Number(meta.epoch ?? 0), seq: meta.seq ?? 0 });
    if (talk.conversation.trim(MESSAGES_MAX)) talk.history?.forgetOlder();
    this.#typing.said(roomId, message.userId);
    this.#emitter.emit('talk', talk);
    this.#typingChanged(roomId);
  }

  /** @param {ServerEvents['direct_message']} event @param {EventMeta} meta */
  #onDirect(event, meta) {
    const { threadId, threadEpoch, threadSeq, userId, recipientId, displayName, text, messageId, replyTo } = event;
    const other = userId === this.selfId ? recipientId : userId;
    this.inbox.hearMessage(event, meta);
    const talk = this.direct(other);
    talk.roomId = threadId;
    const reply = replyTo === undefined ? {} : { replyTo };
    const isNew = talk.conversation.receive({ epoch: threadEpoch, seq: threadSeq, ts: meta.ts, userId, displayName, text, messageId, ...reply });
    this.#typing.said(threadId, userId);
    this.#emitter.emit('talk', talk);
    this.#emitter.emit('inbox');
    this.#typingChanged(threadId);
    if (isNew && userId !== this.selfId) this.#emitter.emit('arrived', { userId, displayName, text, threadId });
  }

  /** @param {string} roomId @param {string | undefined} messageId */
  #onPersisted(roomId, messageId) {
    if (messageId === undefined) return;
    for (const talk of this.#talks.values()) {
      if (talk.roomId !== roomId) continue;
      talk.conversation.persisted(messageId);
      this.#emitter.emit('talk', talk);
    }
  }

  /** @param {ServerEvents['message_deleted']} event */
  #onDeleted({ roomId, threadId, messageId }) {
    const where = threadId ?? roomId;
    for (const talk of this.#talks.values()) {
      if (talk.roomId !== where) continue;
      talk.conversation.remove(messageId);
      this.#emitter.emit('talk', talk);
    }
    this.inbox.remove(messageId);
    this.#emitter.emit('inbox');
  }

  /** @param {() => void} apply @param {string} [threadId] whose lines look different now; `*` for all */
  #inInbox(apply, threadId) {
    apply();
    this.#emitter.emit('inbox');
    for (const talk of this.#talks.values()) if (threadId === '*' || (threadId && talk.roomId === threadId)) this.#emitter.emit('talk', talk);
  }

  /** @param {string} roomId */
  #typingChanged(roomId) {
    this.#emitter.emit('typing', roomId);
    const { environment } = this.#client;
    environment.clearTimeout(this.#typingTimer);
    const nowMs = this.#client.now();
    const nextMs = this.#typing.nextEndMs(nowMs);
    if (nextMs !== null) this.#typingTimer = environment.setTimeout(() => this.#typingChanged(roomId), nextMs - nowMs + 1);
  }
}
