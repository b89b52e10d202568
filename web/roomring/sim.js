// @ts-check
import { SimBots } from './sim_bots.js';
import { SimSocial } from './sim_social.js';
import { CHAT_CHARACTERS_MAX, PROTOCOL_VERSION } from './wire.js';

/**
 * The offline provider: a small room server that lives in the page and speaks the wire protocol through sockets that
 * lead nowhere. The client above it is the same, so events and payload shapes are the same by construction.
 *
 * It keeps what a single visitor can notice: order, acks, idempotent ids, resume, kept chat, letters and notes, and bots to
 * meet. A block hides what is said; it keeps no moderation, no rates, and nothing beyond the page.
 *
 * @typedef {import('./environment.js').Environment} Environment
 * @typedef {import('./environment.js').SocketLike} SocketLike
 * @typedef {import('./wire.js').Member} Member
 *
 * @typedef {object} SimOptions
 * @property {number} [latencyMs] one way; default 20
 * @property {import('./sim_bots.js').Bot[]} [bots]
 * @property {import('./sim_bots.js').Place[]} [places] where bots like to stand
 * @property {(from: {x: number, z: number}, to: {x: number, z: number}) => {x: number, z: number}[]} [route] way round the furniture
 * @property {SimServer} [server] to meet another client of the same page
 */

/** Reliable events kept for a resume, and message ids for idempotence. */
const HISTORY_EVENTS_MAX = 200;

/** Long enough that a token refresh is seen in a long session, short enough to be no nuisance. */
const TICKET_LIFE_MS = 300_000;

/** Events whose `userId` is not who caused them. */
const ABOUT_OTHERS = new Set(['block_changed', 'friend_changed', 'member_left', 'presence']);

const HEARTBEAT = { heartbeatIntervalMs: 15_000, heartbeatTimeoutMs: 45_000 };

/**
 * @param {SimOptions & {environment: Environment}} options
 * @returns {Sim}
 */
export function createSim(options) {
  return options.server ? options.server.provider() : new SimServer(options).provider();
}

/** @typedef {{openSocket: Environment['openSocket'], fetch: Environment['fetch'], getToken: (roomId: string) => Promise<import('./ticket.js').Ticket>}} Sim */

/** All rooms of a simulation. Several clients of one page may share it. */
export class SimServer {
  /** @type {Map<string, SimRoom>} */
  #rooms = new Map();
  /** Whose token it is. @type {Map<string, string>} */
  #tokens = new Map();

  /** @param {SimOptions & {environment: Environment}} options */
  constructor(options) {
    this.options = options;
    this.environment = options.environment;
    this.social = new SimSocial(this, options);
  }

  /** @param {string} roomId */
  room(roomId) {
    let room = this.#rooms.get(roomId);
    if (!room) this.#rooms.set(roomId, (room = new SimRoom(roomId, this)));
    return room;
  }

  /** A person's view of everything has changed. @param {string} userId */
  refresh(userId) {
    for (const room of this.#rooms.values()) room.refresh(userId);
  }

  /** @param {string} token @param {string} userId */
  own(token, userId) {
    this.#tokens.set(token, userId);
  }

  /** @returns {Sim} */
  provider() {
    const { environment } = this;
    return {
      openSocket: () => new SimSocket(this, this.options.latencyMs ?? 20),
      fetch: (url, init) => this.#answer(url, String(init.headers.Authorization).replace('Bearer ', '')),
      getToken: async (roomId) => ({
        roomId,
        wsUrl: 'sim://roomring',
        realtimeToken: `sim-${environment.newId()}`,
        expiresAt: Math.round(environment.now()) + TICKET_LIFE_MS,
      }),
    };
  }

  /** @param {string} url @param {string} token @returns {ReturnType<Environment['fetch']>} */
  async #answer(url, token) {
    await new Promise((resolve) => void this.environment.setTimeout(() => resolve(undefined), 2 * (this.options.latencyMs ?? 20)));
    const { pathname, searchParams } = new URL(url, 'sim://roomring');
    const body = this.social.page(this.#tokens.get(token) ?? '', pathname.split('/').map(decodeURIComponent).slice(-3), searchParams);
    const status = body === null ? 404 : 200;
    return { ok: status === 200, status, headers: { get: () => null }, json: async () => body ?? { error: { code: 'not_found', message: 'no such thing' } } };
  }
}

/** One end of a connection: a WebSocket to the client, a peer to the rooms. @implements {SocketLike} */
class SimSocket {
  readyState = 0;
  bufferedAmount = 0;
  /** @type {SocketLike['onopen']} */
  onopen = null;
  /** @type {SocketLike['onmessage']} */
  onmessage = null;
  /** @type {SocketLike['onclose']} */
  onclose = null;
  /** @type {SocketLike['onerror']} */
  onerror = null;
  /** Rooms that this socket has joined, with the user it is there. @type {Map<string, {room: SimRoom, userId: string}>} */
  #joined = new Map();

  /** Whose connection it is, from the first join on. */
  userId = '';

  /** @param {SimServer} server @param {number} latencyMs */
  constructor(server, latencyMs) {
    const { environment } = server;
    this.environment = environment;
    this.latencyMs = latencyMs;
    this.server = server;
    environment.setTimeout(() => {
      if (this.readyState !== 0) return;
      this.readyState = 1;
      this.onopen?.({});
      const serverTimeMs = Math.round(environment.now());
      this.deliver('welcome', { connectionId: environment.newId(), serverTimeMs, ...HEARTBEAT, limits: {} });
    }, latencyMs);
  }

  /** @param {string} data */
  send(data) {
    const message = JSON.parse(data);
    this.environment.setTimeout(() => {
      if (this.readyState === 1) this.#receive(message);
    }, this.latencyMs);
  }

  /**
   * @param {number} [code]
   * @param {string} [reason]
   */
  close(code = 1000, reason = '') {
    if (this.readyState === 3) return;
    this.readyState = 3;
    for (const { room, userId } of this.#joined.values()) room.leave(this, userId);
    this.#joined.clear();
    this.environment.setTimeout(() => this.onclose?.({ code, reason }), 0);
  }

  /**
   * @param {string} t
   * @param {any} payload
   * @param {Record<string, unknown>} [beside] `seq`, `epoch`, `re`, `replay`
   */
  deliver(t, payload, beside = {}) {
    const data = JSON.stringify({ v: PROTOCOL_VERSION, t, ts: Math.round(this.environment.now()), ...beside, payload });
    this.environment.setTimeout(() => {
      if (this.readyState === 1) this.onmessage?.({ data });
    }, this.latencyMs);
  }

  /** @param {{t: string, id?: string, payload: any}} message */
  #receive({ t, id, payload }) {
    const re = id === undefined ? {} : { re: id };
    if (t === 'join_room') {
      const room = this.server.room(payload.roomId);
      this.userId = payload.user.userId;
      this.server.own(payload.token, this.userId);
      this.server.social.meet(payload.user);
      this.#joined.set(payload.roomId, { room, userId: payload.user.userId });
      room.join(this, payload, re);
      return;
    }
    const place = this.#joined.get(payload.roomId);
    if (this.userId && this.server.social.takes(t, payload)) {
      const answer = this.server.social.receive(this.userId, { t, id, payload });
      if (answer) this.deliver(answer.t, answer.payload, re);
      if (answer?.stored) this.deliver('persisted', answer.stored);
      return;
    }
    if (t === 'heartbeat') {
      const serverTimeMs = Math.round(this.environment.now());
      this.deliver('heartbeat_ack', { clientTimeMs: payload.clientTimeMs, serverTimeMs, seq: place?.room.seq });
    } else if (!place) {
      this.deliver('error', { code: 'not_joined', message: 'join the room first', roomId: payload.roomId }, re);
    } else if (t === 'leave_room') {
      this.#joined.delete(payload.roomId);
      place.room.leave(this, place.userId);
      this.deliver('left_room', { roomId: payload.roomId }, re);
    } else if (t === 'avatar_transform') {
      place.room.move(place.userId, payload);
    } else if (t === 'local_chat' || t === 'emote') {
      place.room.speak(this, place.userId, { t, id, payload }, re);
    }
  }
}

/** One room: order, members, history. */
class SimRoom {
  seq = 0;
  /** @type {Map<string, Member>} */
  members = new Map();
  /** @type {Set<SimSocket>} */
  #sockets = new Set();
  /** @type {{t: string, ts: number, seq: number, payload: any}[]} */
  #history = [];
  /** Answers by message id. @type {Map<string, {t: string, payload: any}>} */
  #answers = new Map();

  /** @param {string} roomId @param {SimServer} server */
  constructor(roomId, server) {
    this.roomId = roomId;
    this.server = server;
    this.environment = server.environment;
    this.epoch = 1;
    this.isSpace = !roomId.includes(':');
    this.bots = new SimBots(this, this.isSpace ? server.options : { environment: server.environment, bots: [] });
    for (const member of this.bots.members()) this.members.set(member.userId, member);
  }

  /**
   * @param {SimSocket} socket
   * @param {any} payload of join_room
   * @param {{re?: string}} re
   */
  join(socket, { user, resume }, re) {
    const known = this.members.get(user.userId);
    const member = known ?? { ...user, x: 0, y: 0, z: 0, rotY: 0, anim: 'idle', speaking: false };
    this.members.set(user.userId, member);
    const oldestSeq = this.#history[0]?.seq ?? this.seq + 1;
    const recovered = resume !== undefined && resume.epoch === this.epoch && resume.lastSeq >= oldestSeq - 1;
    const missed = recovered ? this.#history.filter((event) => event.seq > resume.lastSeq) : [];
    const isNew = !known;
    if (isNew && this.isSpace) this.publish('member_joined', { roomId: this.roomId, member });
    this.#sockets.add(socket);
    socket.deliver('room_state', {
      roomId: this.roomId,
      serverTimeMs: Math.round(this.environment.now()),
      members: this.isSpace ? [...this.members.values()].filter(({ userId }) => !this.server.social.isHidden(user.userId, userId)) : [],
      you: { userId: user.userId },
      epoch: this.epoch,
      seq: this.seq,
      recovered,
      ...this.server.social.stateOf(this.roomId, user.userId),
    }, re);
    if (recovered && isNew && this.isSpace) missed.push(...this.#history.slice(-1));
    for (const { t, seq, payload } of missed) if (!this.server.social.isHidden(user.userId, payload.userId) || ABOUT_OTHERS.has(t)) socket.deliver(t, payload, { seq, epoch: this.epoch, replay: true });
    this.bots.start();
  }

  /**
   * @param {SimSocket} socket
   * @param {string} userId
   */
  leave(socket, userId) {
    this.#sockets.delete(socket);
    if ([...this.#sockets].some((other) => other.userId === userId) || !this.members.delete(userId)) return;
    if (this.isSpace) this.publish('member_left', { roomId: this.roomId, userId });
    if (this.#sockets.size === 0) this.bots.stop();
  }

  /**
   * @param {string} userId
   * @param {any} payload of avatar_transform
   */
  move(userId, { seq, x, y, z, rotY, anim, speaking }) {
    const member = this.members.get(userId);
    if (!member) return;
    Object.assign(member, { x, y, z, rotY, anim, speaking });
    for (const socket of this.#sockets) {
      if (this.server.social.isHidden(socket.userId, userId)) continue;
      socket.deliver('avatar_transform_broadcast', { roomId: this.roomId, userId, seq, x, y, z, rotY, anim, speaking });
    }
  }

  /**
   * Chat or emote of a visitor.
   * @param {SimSocket} socket
   * @param {string} userId
   * @param {{t: string, id?: string, payload: any}} message
   * @param {{re?: string}} re
   */
  speak(socket, userId, { t, id, payload }, re) {
    const known = id === undefined ? undefined : this.#answers.get(id);
    const answer = known ?? (t === 'emote' ? this.emote(userId, payload.emoteId) : this.chat(userId, payload.text));
    if (id !== undefined) this.#answers.set(id, answer);
    if (this.#answers.size > HISTORY_EVENTS_MAX) this.#answers.delete(this.#answers.keys().next().value ?? '');
    socket.deliver(answer.t, answer.payload, re);
    if (!known && answer.t === 'ack') this.bots.notice(t, payload);
  }

  /**
   * @param {string} userId
   * @param {string} text
   */
  chat(userId, text) {
    const characters = [...text].length;
    if (characters < 1 || characters > CHAT_CHARACTERS_MAX) {
      return { t: 'error', payload: { code: 'bad_text', message: 'a chat line has 1 to 240 characters', roomId: this.roomId } };
    }
    const messageId = `sim-${this.roomId}-${this.seq + 1}`;
    const { displayName } = /** @type {Member} */ (this.members.get(userId));
    const seq = this.publish('chat_broadcast', { roomId: this.roomId, userId, displayName, text, messageId });
    return { t: 'ack', payload: { seq, messageId } };
  }

  /**
   * @param {string} userId
   * @param {string} emoteId
   */
  emote(userId, emoteId) {
    return { t: 'ack', payload: { seq: this.publish('emote_broadcast', { roomId: this.roomId, userId, emoteId }) } };
  }

  /**
   * Give an event its place in the order and send it to everyone.
   * @param {string} t
   * @param {any} payload
   */
  publish(t, payload) {
    const seq = ++this.seq;
    // What is published stays as it was: a member goes on moving after "joined".
    const event = { t, ts: Math.round(this.environment.now()), seq, payload: structuredClone(payload) };
    this.#history.push(event);
    if (this.#history.length > HISTORY_EVENTS_MAX) this.#history.shift();
    this.send(t, event.payload, { seq, epoch: this.epoch });
    return seq;
  }

  /**
   * To everyone who may see it.
   * @param {string} t
   * @param {any} payload
   * @param {Record<string, unknown>} [beside]
   */
  send(t, payload, beside) {
    const causer = ABOUT_OTHERS.has(t) ? undefined : (payload.note?.editedBy ?? payload.userId);
    for (const socket of this.#sockets) {
      if (t.startsWith('typing') && socket.userId === causer) continue;
      if (!this.server.social.isHidden(socket.userId, causer)) socket.deliver(t, payload, beside);
    }
  }

  /** @param {string} userId whose view has changed */
  refresh(userId) {
    for (const socket of [...this.#sockets]) {
      if (socket.userId !== userId) continue;
      socket.deliver('resync', { roomId: this.roomId, reason: 'blocks_changed' });
      this.join(socket, { user: this.server.social.person(userId) }, {});
    }
  }

  /** @param {string} userId */
  has(userId) {
    return [...this.#sockets].some((socket) => socket.userId === userId);
  }
}
