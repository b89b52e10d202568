// @ts-check
import { SimBots } from './sim_bots.js';
import { CHAT_CHARACTERS_MAX, PROTOCOL_VERSION } from './wire.js';

/**
 * The offline provider: a small room server that lives in the page and speaks the wire protocol through sockets that
 * lead nowhere. The client above it is the same, so events and payload shapes are the same by construction.
 *
 * It keeps what a single visitor can notice: order, acks, idempotent ids, resume, and bots to meet. It keeps no blocks,
 * no moderation and no lasting history.
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
 */

/** Reliable events kept for a resume, and message ids for idempotence. */
const HISTORY_EVENTS_MAX = 200;

/** Long enough that a token refresh is seen in a long session, short enough to be no nuisance. */
const TICKET_LIFE_MS = 300_000;

const HEARTBEAT = { heartbeatIntervalMs: 15_000, heartbeatTimeoutMs: 45_000 };

/**
 * @param {SimOptions & {environment: Environment}} options
 * @returns {{openSocket: Environment['openSocket'], getToken: (roomId: string) => Promise<import('./ticket.js').Ticket>}}
 */
export function createSim(options) {
  const { environment } = options;
  /** @type {Map<string, SimRoom>} */
  const rooms = new Map();
  const roomOf = (/** @type {string} */ roomId) => {
    let room = rooms.get(roomId);
    if (!room) rooms.set(roomId, (room = new SimRoom(roomId, options)));
    return room;
  };
  return {
    openSocket: () => new SimSocket(environment, options.latencyMs ?? 20, roomOf),
    getToken: async (roomId) => ({
      roomId,
      wsUrl: 'sim://roomring',
      realtimeToken: `sim-${environment.newId()}`,
      expiresAt: Math.round(environment.now()) + TICKET_LIFE_MS,
    }),
  };
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

  /**
   * @param {Environment} environment
   * @param {number} latencyMs
   * @param {(roomId: string) => SimRoom} roomOf
   */
  constructor(environment, latencyMs, roomOf) {
    this.environment = environment;
    this.latencyMs = latencyMs;
    this.roomOf = roomOf;
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
      const room = this.roomOf(payload.roomId);
      this.#joined.set(payload.roomId, { room, userId: payload.user.userId });
      room.join(this, payload, re);
      return;
    }
    const place = this.#joined.get(payload.roomId);
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

  /**
   * @param {string} roomId
   * @param {SimOptions & {environment: Environment}} options
   */
  constructor(roomId, options) {
    this.roomId = roomId;
    this.environment = options.environment;
    this.epoch = 1;
    this.bots = new SimBots(this, options);
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
    if (isNew) this.publish('member_joined', { roomId: this.roomId, member });
    this.#sockets.add(socket);
    socket.deliver('room_state', {
      roomId: this.roomId,
      serverTimeMs: Math.round(this.environment.now()),
      members: [...this.members.values()],
      you: { userId: user.userId },
      epoch: this.epoch,
      seq: this.seq,
      recovered,
    }, re);
    if (recovered && isNew) missed.push(...this.#history.slice(-1));
    for (const { t, seq, payload } of missed) socket.deliver(t, payload, { seq, epoch: this.epoch, replay: true });
    this.bots.start();
  }

  /**
   * @param {SimSocket} socket
   * @param {string} userId
   */
  leave(socket, userId) {
    this.#sockets.delete(socket);
    if (!this.members.delete(userId)) return;
    this.publish('member_left', { roomId: this.roomId, userId });
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
    for (const socket of this.#sockets) socket.deliver(t, event.payload, { seq, epoch: this.epoch });
    return seq;
  }
}
