// @ts-check
/**
 * What of the offline server is kept: the talk of lobbies, letters between people, who is friends with whom, blocks, and the
 * notes of boards. The regulars have a past, hold out a hand, and write back.
 *
 * @typedef {import('./sim.js').SimServer} SimServer
 * @typedef {import('./wire.js').PastChat} PastChat
 * @typedef {import('./wire.js').Note} Note
 * @typedef {{userId: string, displayName: string, avatarId: string}} Person
 * @typedef {{t: string, payload: any, stored?: any}} Answer `stored`: the `persisted` that follows
 */

/** As the server: how many lines a lobby shows at once, and a page holds. */
const PAGE_MESSAGES = 50;

/** Lines kept of each conversation, answers of each person. */
const MESSAGES_MAX = 2_000;
const ANSWERS_MAX = 500;
const NOTES_MAX = 200;

const TYPING_MS = 6_000;

/** Messages that are not of an avatar space. */
const TAKEN = new Set([
  'chat_send', 'direct_send', 'read_up_to', 'typing', 'presence_subscribe', 'presence_unsubscribe', 'block_user', 'unblock_user',
  'friend_add', 'friend_remove', 'note_put', 'note_change', 'note_delete', 'report',
]);

/** @type {Person[]} */
const REGULARS = [
  { userId: 'bot-mira', displayName: 'Mira', avatarId: 'cat' },
  { userId: 'bot-otis', displayName: 'Otis', avatarId: 'bear' },
  { userId: 'bot-june', displayName: 'June', avatarId: 'bunny' },
  { userId: 'bot-rio', displayName: 'Rio', avatarId: 'frog' },
];

const TALK = [
  'Good evening from the harbour, rain again.', 'Sunny here, and nobody believes me.', 'Which room has the best music tonight?',
  'The bar. It is always the bar.', 'Who is up for a round of darts at nine?', 'Count me in.', 'Same. I lose every time, be kind.',
  'Somebody left a very good note on the wall.', 'The one about the umbrella?', 'That one.', 'Greetings from the night train!',
  'How far until home?', 'Two more songs.', 'I taught the jukebox a new tune.', 'We heard. Twice.',
];

const LETTERS = ['Are you at the bar?', 'There is a free stool beside me.', 'And the jukebox takes requests tonight.'];
const ANSWERS = ['Lovely. See you on the dance floor!', 'Ha! I will tell Otis.', 'Give me two songs, then I am there.', 'Yes. And bring the umbrella.'];

/** @type {[string, string, number, number, string, string[]][]} */
const NOTES = [
  ['bot-otis', 'Found: one umbrella, blue, slightly heroic. Ask at the counter.', 90, 80, 'yellow', ['lost & found']],
  ['bot-june', 'Darts on Thursday, nine o’clock. Beginners welcome, sore losers too.', 420, 60, 'pink', ['games']],
  ['bot-rio', 'Song requests here, please:\n· something slow\n· something loud', 700, 190, 'teal', ['music']],
];

export class SimSocial {
  /** @type {Map<string, PastChat[]>} by room or thread */
  #talks = new Map();
  /** @type {Map<string, Map<string, Note>>} by board */
  #boards = new Map();
  /** Answers by person and message id. @type {Map<string, Answer>} */
  #answers = new Map();
  /** @type {Map<string, Person>} */
  #people = new Map(REGULARS.map((person) => [person.userId, person]));
  /** By "who>whom". @type {Map<string, 'asked' | 'asks' | 'friends'>} */
  #friends = new Map();
  /** By "who>whom". @type {Set<string>} */
  #blocks = new Set();
  /** How far somebody has read a thread, by "who>thread". @type {Map<string, number>} */
  #read = new Map();
  #turn = 0;

  /** @param {SimServer} server @param {{environment: import('./environment.js').Environment, bots?: unknown[]}} options */
  constructor(server, { environment, bots }) {
    this.server = server;
    this.environment = environment;
    this.hasBots = bots === undefined || bots.length > 0;
  }

  /** @param {string} userId @returns {Person} */
  person(userId) {
    return this.#people.get(userId) ?? { userId, displayName: userId, avatarId: 'fox' };
  }

  /** Somebody has come: the first time, a friend has written already. @param {Person} person */
  meet(person) {
    const isNew = !this.#people.has(person.userId);
    this.#people.set(person.userId, person);
    if (!isNew || !this.hasBots) return;
    this.#befriend('bot-mira', person.userId, 'friends');
    this.#friends.set(`${person.userId}>bot-june`, 'asks');
    this.#friends.set(`bot-june>${person.userId}`, 'asked');
    const thread = this.#talk(threadOf('bot-mira', person.userId));
    LETTERS.forEach((text, index) => this.#add(thread, 'bot-mira', text, undefined, (LETTERS.length - index) * 60_000));
  }

  /** Does B see nothing of A? @param {string} b @param {string | undefined} a */
  isHidden(b, a) {
    return a !== undefined && this.#blocks.has(`${b}>${a}`);
  }

  /** @param {string} t @param {any} payload */
  takes(t, payload) {
    return TAKEN.has(t) && !(t === 'typing' && payload.roomId === undefined && payload.recipientId === undefined);
  }

  /** What the kind of room adds to its state. @param {string} roomId @param {string} userId */
  stateOf(roomId, userId) {
    if (roomId.startsWith('lobby:')) {
      const messages = this.#talk(roomId).filter((message) => !this.isHidden(userId, message.userId)).slice(-PAGE_MESSAGES);
      return { memberCount: this.server.room(roomId).members.size + (this.hasBots ? REGULARS.length : 0), messages };
    }
    if (roomId.startsWith('notes:')) {
      const notes = [...this.#board(roomId).values()].filter((note) => !this.isHidden(userId, note.userId));
      return { notes, noteCount: notes.length };
    }
    if (!roomId.startsWith('user:')) return {};
    const unread = Object.fromEntries(this.#threadsOf(userId).map((threadId) => [threadId, this.#unread(userId, threadId)]).filter(([, count]) => count));
    const friends = [...this.#friends].filter(([pair]) => pair.startsWith(`${userId}>`)).map(([pair, status]) => {
      const other = this.person(pair.slice(userId.length + 1));
      return { userId: other.userId, status, displayName: other.displayName };
    });
    const blocked = [...this.#blocks].filter((pair) => pair.startsWith(`${userId}>`)).map((pair) => pair.slice(userId.length + 1));
    return { inbox: { unread, friends, blocked } };
  }

  // --- HTTP ---------------------------------------------------------------------------------------------------------

  /**
   * @param {string} userId who reads
   * @param {string[]} path its last three parts
   * @param {URLSearchParams} query
   * @returns {any} null where there is no such thing
   */
  page(userId, path, query) {
    const [collection, id, what] = path;
    if (path.at(-1) === 'threads') {
      const threads = this.#threadsOf(userId).map((threadId) => this.#threadView(userId, threadId));
      return { inboxId: `user:${userId}`, unread: threads.reduce((sum, { unread }) => sum + unread, 0), threads };
    }
    if (what === 'notes') return { roomId: id, ...{ notes: [...this.#board(id).values()] } };
    if (what !== 'messages' || (collection !== 'rooms' && collection !== 'threads')) return null;
    const before = Number(query.get('before') ?? Infinity);
    const after = Number(query.get('after') ?? 0);
    const all = this.#talk(id).filter((message) => message.seq < before && message.seq > after && !this.isHidden(userId, message.userId));
    const messages = query.has('after') ? all.slice(0, PAGE_MESSAGES) : all.slice(-PAGE_MESSAGES);
    const first = messages[0]?.seq ?? 1;
    const last = messages.at(-1)?.seq ?? after;
    return { roomId: id, messages, ...(first > 1 ? { before: String(first) } : {}), after: String(last), moreAfter: messages.length < all.length && query.has('after'), settled: true };
  }

  // --- messages -----------------------------------------------------------------------------------------------------

  /**
   * @param {string} userId
   * @param {{t: string, id?: string, payload: any}} message
   * @returns {Answer | null} null for what has no answer
   */
  receive(userId, { t, id, payload }) {
    const key = `${userId}>${id}`;
    const known = id === undefined ? undefined : this.#answers.get(key);
    if (known) return known;
    const answer = this.#handle(userId, t, payload);
    if (id !== undefined && answer?.t === 'ack') this.#answers.set(key, answer);
    if (this.#answers.size > ANSWERS_MAX) this.#answers.delete(this.#answers.keys().next().value ?? '');
    return answer;
  }

  /** @param {string} userId @param {string} t @param {any} payload @returns {Answer | null} */
  #handle(userId, t, payload) {
    switch (t) {
      case 'chat_send':
        return this.#say(userId, payload);
      case 'direct_send':
        return this.#write(userId, payload.recipientId, payload);
      case 'read_up_to':
        return this.#readUpTo(userId, payload);
      case 'typing':
        this.#tellTyping(userId, payload);
        return null;
      case 'presence_subscribe':
        for (const other of payload.userIds) this.#tellPresence(userId, other);
        return this.#done(userId);
      case 'block_user':
      case 'unblock_user':
        return this.#block(userId, payload.userId, t === 'block_user');
      case 'friend_add':
        return this.#addFriend(userId, payload.userId);
      case 'friend_remove':
        this.#befriend(userId, payload.userId, 'none');
        return this.#done(userId);
      case 'note_put':
      case 'note_change':
      case 'note_delete':
        return this.#note(userId, t, payload);
      default:
        return this.#done(userId);
    }
  }

  /** @param {string} userId @param {{roomId: string, text: string, replyTo?: string}} payload @returns {Answer} */
  #say(userId, { roomId, text, replyTo }) {
    const room = this.server.room(roomId);
    const messages = this.#talk(roomId);
    const message = this.#add(messages, userId, text, replyTo);
    // A lobby takes a place in its order for each line only, so both count alike.
    room.seq = message.seq - 1;
    const { epoch: _epoch, seq: _seq, ts: _ts, ...said } = message;
    room.publish('chat_broadcast', { roomId, ...said });
    if (this.hasBots && !userId.startsWith('bot-')) this.#later(2_200, () => this.#say(this.#regular(), { roomId, text: TALK[this.#turn++ % TALK.length] }));
    const place = { roomId, seq: message.seq, messageId: message.messageId };
    return { t: 'ack', payload: place, stored: { ...place, epoch: 1 } };
  }

  /** @param {string} userId @param {string} recipientId @param {{text: string, replyTo?: string}} payload @returns {Answer} */
  #write(userId, recipientId, { text, replyTo }) {
    const reject = (/** @type {string} */ code, /** @type {string} */ message) => ({ t: 'message_rejected', payload: { code, recipientId, message } });
    if (this.isHidden(userId, recipientId) || this.isHidden(recipientId, userId)) return reject('blocked', 'One of the two has blocked the other.');
    if (this.#friends.get(`${userId}>${recipientId}`) !== 'friends') return reject('not_friends', 'Direct messages go between friends only.');
    const threadId = threadOf(userId, recipientId);
    const { seq, messageId, displayName } = this.#add(this.#talk(threadId), userId, text, replyTo);
    for (const reader of [userId, recipientId]) {
      this.#tell(reader, 'direct_message', {
        threadId, threadEpoch: 1, threadSeq: seq, userId, displayName, recipientId, text, messageId,
        unread: this.#unread(reader, threadId), ...(replyTo === undefined ? {} : { replyTo }),
      });
    }
    if (recipientId.startsWith('bot-')) this.#writeBack(recipientId, userId, threadId, seq);
    return { t: 'ack', payload: { roomId: threadId, seq, messageId }, stored: { roomId: threadId, epoch: 1, seq, messageId } };
  }

  /** @param {string} botId @param {string} userId @param {string} threadId @param {number} seq */
  #writeBack(botId, userId, threadId, seq) {
    this.#later(700, () => this.#readUpTo(botId, { threadId, seq }));
    this.#later(1_000, () => this.#tellTyping(botId, { recipientId: userId, typing: true }));
    this.#later(2_800, () => this.#write(botId, userId, { text: ANSWERS[this.#turn++ % ANSWERS.length] }));
  }

  /** @param {string} userId @param {{threadId: string, seq: number}} payload @returns {Answer} */
  #readUpTo(userId, { threadId, seq }) {
    const key = `${userId}>${threadId}`;
    this.#read.set(key, Math.max(seq, this.#read.get(key) ?? 0));
    for (const reader of threadId.split(':').slice(1)) {
      this.#tell(reader, 'read_receipt', { threadId, threadEpoch: 1, threadSeq: seq, userId, unread: this.#unread(reader, threadId) });
    }
    return { t: 'ack', payload: { roomId: threadId, seq } };
  }

  /** @param {string} userId @param {{roomId?: string, recipientId?: string, typing?: boolean}} payload */
  #tellTyping(userId, { roomId, recipientId, typing = true }) {
    const { displayName } = this.person(userId);
    const event = { userId, displayName, typing, expiresInMs: typing ? TYPING_MS : 0 };
    if (recipientId !== undefined) this.server.room(`user:${recipientId}`).send('typing_broadcast', { roomId: threadOf(userId, recipientId), ...event });
    else if (roomId !== undefined) this.server.room(roomId).send('typing_broadcast', { roomId, ...event });
  }

  /** @param {string} userId @param {string} other */
  #tellPresence(userId, other) {
    const isThere = other.startsWith('bot-') || this.server.room(`user:${other}`).has(other);
    this.server.room(`user:${userId}`).send('presence', { userId: other, status: other === 'bot-rio' ? 'away' : isThere ? 'online' : 'offline' });
  }

  /** @param {string} userId @param {string} other @param {boolean} blocked @returns {Answer} */
  #block(userId, other, blocked) {
    if (blocked) this.#blocks.add(`${userId}>${other}`);
    else this.#blocks.delete(`${userId}>${other}`);
    this.#tell(userId, 'block_changed', { userId: other, blocked });
    this.server.refresh(userId);
    return this.#done(userId);
  }

  /** @param {string} userId @param {string} other @returns {Answer} */
  #addFriend(userId, other) {
    const status = this.#friends.get(`${userId}>${other}`);
    if (status === 'asks') this.#befriend(userId, other, 'friends');
    else if (status !== 'friends') this.#befriend(userId, other, 'asked');
    if (other.startsWith('bot-') && status === undefined) this.#later(1_500, () => this.#befriend(userId, other, 'friends'));
    return this.#done(userId);
  }

  /** @param {string} a @param {string} b @param {'none' | 'asked' | 'friends'} status as a sees it */
  #befriend(a, b, status) {
    const mirrored = status === 'asked' ? 'asks' : status;
    for (const [who, whom, as] of [[a, b, status], [b, a, mirrored]]) {
      if (as === 'none') this.#friends.delete(`${who}>${whom}`);
      else this.#friends.set(`${who}>${whom}`, /** @type {any} */ (as));
      this.#tell(who, 'friend_changed', { userId: whom, status: as, displayName: this.person(whom).displayName });
    }
  }

  /** @param {string} userId @param {string} t @param {any} payload @returns {Answer} */
  #note(userId, t, { roomId, noteId, revision, ...fields }) {
    const board = this.#board(roomId);
    const room = this.server.room(roomId);
    const note = board.get(noteId);
    const isFree = t === 'note_put' ? note === undefined : note?.revision === revision;
    if (!isFree) return { t: 'note_conflict', payload: { roomId, noteId, ...(note ? { note } : {}) } };
    if (t === 'note_put' && board.size >= NOTES_MAX) return { t: 'error', payload: { code: 'limit_reached', message: 'the board is full', roomId } };
    if (t === 'note_delete') {
      board.delete(noteId);
      return { t: 'ack', payload: { roomId, seq: room.publish('note_deleted', { roomId, noteId, revision: revision + 1, userId }) } };
    }
    const written = this.#written(userId, noteId, note, fields);
    board.set(noteId, written);
    const seq = room.publish(note ? 'note_changed' : 'note_placed', { roomId, note: written });
    return { t: 'ack', payload: { roomId, seq, revision: written.revision } };
  }

  // --- what lies there ----------------------------------------------------------------------------------------------

  /** @param {string} roomId @returns {PastChat[]} */
  #talk(roomId) {
    let messages = this.#talks.get(roomId);
    if (!messages) {
      this.#talks.set(roomId, (messages = []));
      const isOld = this.hasBots && roomId.startsWith('lobby:');
      for (let index = 0; isOld && index < 120; index += 1) {
        const { userId } = REGULARS[(index * 7 + (index >> 2)) % REGULARS.length];
        this.#add(messages, userId, TALK[index % TALK.length], undefined, (120 - index) * 97_000);
      }
      if (isOld) this.server.room(roomId).seq = messages.length;
    }
    return messages;
  }

  /**
   * @param {PastChat[]} messages
   * @param {string} userId
   * @param {string} text
   * @param {string} [replyTo]
   * @param {number} [ageMs]
   */
  #add(messages, userId, text, replyTo, ageMs = 0) {
    const seq = (messages.at(-1)?.seq ?? 0) + 1;
    const { displayName } = this.person(userId);
    const ts = Math.round(this.environment.now()) - ageMs;
    const message = { epoch: 1, seq, ts, userId, displayName, text, messageId: `sim-${this.environment.newId()}`, ...(replyTo === undefined ? {} : { replyTo }) };
    messages.push(message);
    if (messages.length > MESSAGES_MAX) messages.shift();
    return message;
  }

  /** @param {string} roomId @returns {Map<string, Note>} */
  #board(roomId) {
    let board = this.#boards.get(roomId);
    if (!board) {
      this.#boards.set(roomId, (board = new Map()));
      if (this.hasBots) {
        for (const [userId, text, x, y, colour, tags] of NOTES) board.set(userId, this.#written(userId, userId, undefined, { text, x, y, colour, tags }));
      }
    }
    return board;
  }

  /** @param {string} userId @param {string} noteId @param {Note | undefined} before @param {any} fields @returns {Note} */
  #written(userId, noteId, before, fields) {
    const now = Math.round(this.environment.now());
    const made = before ?? { noteId, colour: 'yellow', tags: [], userId, displayName: this.person(userId).displayName, createdAtMs: now };
    return { ...made, ...fields, revision: (before?.revision ?? 0) + 1, editedBy: userId, updatedAtMs: now };
  }

  /** @param {string} userId @returns {string[]} */
  #threadsOf(userId) {
    return [...this.#talks.keys()].filter((id) => id.startsWith('dm:') && id.split(':').includes(userId) && this.#talk(id).length > 0);
  }

  /** @param {string} userId @param {string} threadId */
  #threadView(userId, threadId) {
    const other = this.person(threadId.split(':').slice(1).find((id) => id !== userId) ?? '');
    const messages = this.#talk(threadId);
    const position = (/** @type {string} */ who) => ({ epoch: 1, lastSeq: this.#read.get(`${who}>${threadId}`) ?? 0 });
    return {
      threadId, userId: other.userId, displayName: other.displayName, unread: this.#unread(userId, threadId), activeAtMs: messages.at(-1)?.ts ?? 0,
      readUpTo: position(userId), otherReadUpTo: position(other.userId), lastMessage: messages.at(-1),
    };
  }

  /** @param {string} userId @param {string} threadId */
  #unread(userId, threadId) {
    const readUpTo = this.#read.get(`${userId}>${threadId}`) ?? 0;
    return this.#talk(threadId).filter((message) => message.userId !== userId && message.seq > readUpTo).length;
  }

  /** A reliable event of somebody's inbox. @param {string} userId @param {string} t @param {any} payload */
  #tell(userId, t, payload) {
    const roomId = `user:${userId}`;
    // One's own doing is told also where it concerns somebody blocked.
    this.server.room(roomId).publish(t, { roomId, ...payload });
  }

  /** @param {string} userId @returns {Answer} */
  #done(userId) {
    const roomId = `user:${userId}`;
    return { t: 'ack', payload: { roomId, seq: this.server.room(roomId).seq } };
  }

  #regular() {
    return REGULARS[this.#turn % REGULARS.length].userId;
  }

  /** @param {number} ms @param {() => unknown} act */
  #later(ms, act) {
    this.environment.setTimeout(() => void act(), ms);
  }
}

/** @param {string} a @param {string} b */
function threadOf(a, b) {
  return `dm:${[a, b].sort().join(':')}`;
}
