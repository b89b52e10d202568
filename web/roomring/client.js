// @ts-check
import { Backoff } from './backoff.js';
import { ClockSync } from './clock_sync.js';
import { closeMeaning } from './close_codes.js';
import { CLOSED_BY_CLIENT, Connection } from './connection.js';
import { Emitter } from './emitter.js';
import { browserEnvironment } from './environment.js';
import { RoomringError } from './errors.js';
import { Outbox } from './outbox.js';
import { TRANSFORMS_PER_SECOND } from './rate.js';
import { RoomSession } from './room_session.js';
import { createSim } from './sim.js';
import { refreshDelayMs, TicketRefused, TicketSource, TicketUnavailable } from './ticket.js';
import { CHAT_CHARACTERS_MAX, PLAIN_ID } from './wire.js';

/**
 * The client: rooms wanted by the application on one side, one connection after another on the other.
 *
 * Once `connect()` was called it keeps a connection up as long as there is a room to be in, joins every wanted room on it,
 * and goes on where each room stopped. It gives up only when coming back unchanged would be pointless (`closed`).
 *
 * @typedef {import('./environment.js').Environment} Environment
 * @typedef {import('./wire.js').Member} Member
 * @typedef {import('./wire.js').RoomState} RoomState
 * @typedef {import('./wire.js').ServerEnvelope} ServerEnvelope
 * @typedef {import('./wire.js').ServerEvents} ServerEvents
 * @typedef {import('./wire.js').Transform} Transform
 * @typedef {import('./ticket.js').Ticket} Ticket
 * @typedef {import('./ticket.js').User} User
 * @typedef {import('./outbox.js').Entry} OutboxEntry
 *
 * @typedef {object} Status
 * @property {'connecting' | 'connected' | 'reconnecting' | 'offline' | 'closed'} state
 * @property {string} [reason] why the last connection ended, or why there will be no other
 * @property {number} [code] close code of the last connection
 * @property {number} [delayMs] with `reconnecting`: how long until the next attempt
 * @property {number} [attempt] with `reconnecting`: 1 for the first
 *
 * @typedef {object} EventMeta What the envelope says beside the payload.
 * @property {number} ts server time in ms
 * @property {number} receivedAtMs local time, on the scale of `client.now()`
 * @property {boolean} replay true for an event that was missed and is now made up for
 * @property {number} [seq]
 * @property {import('./wire.js').Epoch} [epoch]
 *
 * @typedef {object} AuthProblem
 * @property {string} code
 * @property {string} message
 * @property {string} roomId
 * @property {boolean} isFinal false while the client tries again with a new token
 *
 * @typedef {{
 *   status: [Status],
 *   latency: [{rttMs: number, clockOffsetMs: number}],
 *   roomState: [RoomState, EventMeta],
 *   roomMembers: [ServerEvents['room_members'], EventMeta],
 *   memberJoined: [ServerEvents['member_joined'], EventMeta],
 *   memberLeft: [ServerEvents['member_left'], EventMeta],
 *   transform: [ServerEvents['avatar_transform_broadcast'], EventMeta],
 *   chat: [ServerEvents['chat_broadcast'], EventMeta],
 *   emote: [ServerEvents['emote_broadcast'], EventMeta],
 *   memberCount: [ServerEvents['member_count'], EventMeta],
 *   messageDeleted: [ServerEvents['message_deleted'], EventMeta],
 *   persisted: [ServerEvents['persisted'], EventMeta],
 *   directMessage: [ServerEvents['direct_message'], EventMeta],
 *   readReceipt: [ServerEvents['read_receipt'], EventMeta],
 *   blockChanged: [ServerEvents['block_changed'], EventMeta],
 *   friendChanged: [ServerEvents['friend_changed'], EventMeta],
 *   typing: [ServerEvents['typing_broadcast'], EventMeta],
 *   presence: [ServerEvents['presence'], EventMeta],
 *   notePlaced: [ServerEvents['note_placed'], EventMeta],
 *   noteChanged: [ServerEvents['note_changed'], EventMeta],
 *   noteDeleted: [ServerEvents['note_deleted'], EventMeta],
 *   pending: [number],
 *   moderation: [ServerEvents['moderation_action'], EventMeta],
 *   rateLimited: [ServerEvents['rate_limited']],
 *   authError: [AuthProblem],
 *   resync: [ServerEvents['resync']],
 *   draining: [ServerEvents['server_draining']],
 *   error: [RoomringError & {roomId?: string}],
 * }} ClientEventMap
 *
 * @typedef {object} ClientOptions
 * @property {User} user
 * @property {string | string[]} [joinUrl] default `/rooms/join` on this origin; of several, the next one is tried when one fails
 * @property {string} [apiUrl] where `/rooms/...` and `/threads` are; default: what stands before `/rooms/join` in the first `joinUrl`
 * @property {'desktop' | 'mobile'} [device]
 * @property {'ws' | 'sim'} [provider] `sim` is an offline room with bots behind the same interface
 * @property {(roomId: string) => Promise<Ticket>} [getToken] instead of `POST /rooms/join`
 * @property {() => string | Promise<string>} [getSession] the application's session token, sent as bearer with `POST /rooms/join`
 * @property {import('./sim.js').SimOptions} [sim]
 * @property {Environment} [environment] for tests
 */

/** Refusals of fresh tokens in a row after which it is not the token. */
const REFUSALS_MAX = 5;

/** A join without an answer means that the edge has lost its worker; another edge may be better. */
const JOIN_TIMEOUT_MS = 10_000;

/** Movement is skipped while this much waits in the socket: old positions behind a slow network help nobody. */
const BUFFERED_BYTES_MAX = 64 * 1024;

/** Errors that say "not now" rather than "no". */
const RETRYABLE_ERRORS = new Set(['busy', 'rate_limited']);
const RETRYABLE_DELAY_MS = 1_000;

/** A ticket this close to its end is not worth presenting. */
const TICKET_MARGIN_MS = 5_000;

/** Frames that answer us rather than report a room's event; a `seq` in them is no position. */
const ANSWERS = new Set(['ack', 'error', 'heartbeat_ack', 'room_state', 'left_room']);

/** Events of a room that one is in, among them one's own inbox. @type {Record<string, keyof ClientEventMap>} */
const ROOM_EVENTS = {
  member_joined: 'memberJoined',
  member_left: 'memberLeft',
  member_count: 'memberCount',
  avatar_transform_broadcast: 'transform',
  chat_broadcast: 'chat',
  emote_broadcast: 'emote',
  message_deleted: 'messageDeleted',
  direct_message: 'directMessage',
  read_receipt: 'readReceipt',
  block_changed: 'blockChanged',
  friend_changed: 'friendChanged',
  note_placed: 'notePlaced',
  note_changed: 'noteChanged',
  note_deleted: 'noteDeleted',
};

/** Events that concern the person, whichever rooms the connection is in. @type {Record<string, keyof ClientEventMap>} */
const PERSONAL_EVENTS = {
  moderation_action: 'moderation',
  persisted: 'persisted',
  typing_broadcast: 'typing',
  presence: 'presence',
};

/** Before the id of a person, or its code, in the id of the inbox. */
const INBOX_PREFIX = 'user:';

/** Without an answer within this time a page counts as not to be had. */
const GET_TIMEOUT_MS = 15_000;

export class RoomringClient {
  #environment;
  #tickets;
  #apiUrl;
  #device;
  /** @type {number} */
  #transformsPerSecondMax;
  /** @type {Emitter<ClientEventMap>} */
  #emitter = new Emitter();
  #clock = new ClockSync();
  #outbox = new Outbox();
  #backoff;
  #refusalBackoff;
  /** @type {Map<string, RoomSession>} */
  #rooms = new Map();
  /** @type {Connection | null} */
  #connection = null;
  #isWanted = false;
  #isOpening = false;
  /** Raised whenever an attempt under way is overtaken by events; what awaited compares it. */
  #generation = 0;
  /** Closes 4401 in a row. */
  #unauthenticated = 0;
  /** Local time until which a draining server asked us to stay away. */
  #comeBackAtMs = 0;
  /** @type {any} */
  #reconnectTimer = null;
  /** @type {any} */
  #drainTimer = null;
  /** @type {any} */
  #outboxTimer = null;
  /** @type {() => void} */
  #stopListening = () => {};
  /** @type {Status} */
  #status = { state: 'closed' };

  /** @param {ClientOptions} options */
  constructor({ user, joinUrl = '/rooms/join', apiUrl, device = 'desktop', provider = 'ws', getToken, getSession, sim, environment }) {
    this.user = user;
    const outside = environment ?? browserEnvironment();
    if (provider === 'sim') {
      const simulated = createSim({ ...sim, environment: outside });
      this.#environment = {
        ...outside,
        openSocket: simulated.openSocket,
        fetch: simulated.fetch,
        isOnline: () => true,
        onPageChange: () => () => {},
      };
      getToken = simulated.getToken;
    } else {
      this.#environment = outside;
    }
    this.#apiUrl = apiUrl ?? [joinUrl].flat()[0].replace(/\/rooms\/join$/, '');
    this.#tickets = new TicketSource({ joinUrl, user, device, environment: this.#environment, getToken, getSession });
    this.#device = device;
    this.#transformsPerSecondMax = TRANSFORMS_PER_SECOND[device];
    this.#backoff = new Backoff({ random: this.#environment.random });
    this.#refusalBackoff = new Backoff({ random: this.#environment.random });
  }

  /** @returns {Status} */
  get status() {
    return this.#status;
  }

  /** Last round trip in ms, null before the first. */
  get rttMs() {
    return this.#clock.rttMs;
  }

  /** Messages without an answer yet. */
  get pendingMessages() {
    return this.#outbox.size;
  }

  /** Room id of the person's own inbox; null where the id of the person has to be coded (`GET /threads` tells it then). */
  get inboxId() {
    return PLAIN_ID.test(this.user.userId) ? INBOX_PREFIX + this.user.userId : null;
  }

  /** The seam to the world, for parts that are built on the client. */
  get environment() {
    return this.#environment;
  }

  /** Local time in ms, the scale of `EventMeta.receivedAtMs`. */
  now() {
    return this.#environment.now();
  }

  /** Best guess of the server's clock, in ms. */
  serverNow() {
    return this.#clock.serverNow(this.now());
  }

  /**
   * @param {string} roomId
   * @returns {Member[]} the members now, with their newest known place; copies
   */
  members(roomId) {
    return [...(this.#rooms.get(roomId)?.members.values() ?? [])].map((member) => ({ ...member }));
  }

  /**
   * @template {keyof ClientEventMap} K
   * @param {K} event
   * @param {(...args: ClientEventMap[K]) => void} handler
   * @returns {() => void} unsubscribe
   */
  on(event, handler) {
    return this.#emitter.on(event, handler);
  }

  /** Start, and keep a connection up from now on. The socket opens when there is a room to join. */
  connect() {
    if (this.#isWanted) return;
    this.#isWanted = true;
    this.#unauthenticated = 0;
    this.#comeBackAtMs = 0;
    this.#backoff.reset();
    this.#stopListening = this.#environment.onPageChange((change) => this.#onPageChange(change));
    this.#setStatus({ state: 'connecting' });
    this.#open();
  }

  /** Leave all rooms and stop. Rooms stay wanted: `connect()` joins them again. Unanswered messages are rejected. */
  disconnect() {
    if (!this.#isWanted) return;
    for (const room of this.#rooms.values()) {
      if (room.phase === 'joined') this.#connection?.send('leave_room', { roomId: room.roomId });
    }
    this.#stop({ state: 'closed', reason: 'disconnect' }, 1000);
  }

  /**
   * Enter a room, and stay in it over reconnects until `leave`.
   * @param {string} roomId
   * @returns {Promise<RoomState>} the first state
   */
  join(roomId) {
    let room = this.#rooms.get(roomId);
    if (!room) {
      room = new RoomSession(roomId, { transformsPerSecondMax: this.#transformsPerSecondMax });
      this.#rooms.set(roomId, room);
    }
    const joining = room;
    const promise = new Promise((resolve, reject) => joining.waiters.push({ resolve, reject }));
    if (!this.#isWanted) return promise;
    if (this.#connection?.isWelcome) this.#joinRoom(joining);
    else if (!this.#connection && !this.#reconnectTimer) this.#open();
    return promise;
  }

  /**
   * Leave at once. Messages of the room that have no answer yet are rejected with `left`.
   * @param {string} roomId
   */
  leave(roomId) {
    const room = this.#rooms.get(roomId);
    if (!room) return;
    if (room.phase !== 'waiting') this.#connection?.send('leave_room', { roomId });
    this.#forget(room, new RoomringError('left', 'the room was left'));
  }

  /**
   * Tell the room where our avatar is. May be called at every frame: the rate is kept here, the newest wins.
   * Where we are not (any more), it is without effect.
   * @param {string} roomId
   * @param {Transform} transform finite numbers
   */
  sendTransform(roomId, { x, y, z, rotY, anim, speaking }) {
    if (![x, y, z, rotY].every(Number.isFinite)) throw new TypeError('a transform needs finite numbers');
    const room = this.#rooms.get(roomId);
    if (!room) return;
    room.pacer.offer({ x, y, z, rotY, anim, speaking });
    this.#flushTransform(room);
  }

  /**
   * @param {string} roomId
   * @param {string} text 1 to 240 characters
   * @returns {Promise<{seq: number, messageId: string}>} the server's ack; rejects with a `RoomringError`
   */
  async sendChat(roomId, text) {
    const characters = [...text].length;
    if (characters < 1 || characters > CHAT_CHARACTERS_MAX) {
      throw new RoomringError('bad_text', `a chat line has 1 to ${CHAT_CHARACTERS_MAX} characters, not ${characters}`);
    }
    return this.request('local_chat', roomId, { roomId, text, mode: 'local' });
  }

  /**
   * @param {string} roomId
   * @param {string} emoteId
   * @returns {Promise<{seq: number}>} the server's ack; rejects with a `RoomringError`
   */
  async sendEmote(roomId, emoteId) {
    return this.request('emote', roomId, { roomId, emoteId });
  }

  /**
   * Send what must take effect once, however often the connection breaks meanwhile.
   * @template {string & keyof import('./wire.js').ClientEvents} T
   * @param {T} event
   * @param {string} roomId the room that must be joined before it can go: the message's own, or the inbox
   * @param {import('./wire.js').ClientEvents[T]} payload
   * @param {{patient?: boolean, id?: string}} [options] `patient`: wait for the network without end; `id`: to send an earlier
   *   message again, which then takes effect only if it has not yet
   * @returns {Promise<any>} the server's ack; rejects with a `RoomringError`
   */
  request(event, roomId, payload, { patient = false, id = this.#environment.newId() } = {}) {
    return new Promise((resolve, reject) => {
      if (!this.#isWanted) {
        reject(new RoomringError('closed', 'the client is not connected'));
        return;
      }
      if (!this.#rooms.has(roomId)) {
        reject(new RoomringError('not_joined', `not in room ${roomId}`));
        return;
      }
      if (!this.#outbox.add({ id, event, roomId, payload, patient, resolve, reject }, this.now())) {
        reject(new RoomringError('queue_full', 'too many messages wait for an answer'));
        return;
      }
      this.#flushOutbox();
    });
  }

  /**
   * Send what is only worth something now (typing), or not at all.
   * @template {string & keyof import('./wire.js').ClientEvents} T
   * @param {T} event
   * @param {string} roomId as for `request`
   * @param {import('./wire.js').ClientEvents[T]} payload
   */
  signal(event, roomId, payload) {
    if (this.#isReady(roomId)) this.#connection?.send(event, payload);
  }

  /**
   * Read something over HTTP with a token.
   * @param {string} roomId whose token; any room that was asked to be joined
   * @param {string} path such as `/threads`
   * @param {Record<string, string | number | undefined>} [query]
   * @returns {Promise<any>} the body; rejects with a `RoomringError`
   */
  async get(roomId, path, query = {}) {
    const room = this.#rooms.get(roomId);
    if (!room) throw new RoomringError('not_joined', `not in room ${roomId}`);
    const given = Object.entries(query).filter(([, value]) => value !== undefined).map(([key, value]) => [key, String(value)]);
    const search = given.length > 0 ? `?${new URLSearchParams(given)}` : '';
    const aborter = new AbortController();
    const timer = this.#environment.setTimeout(() => aborter.abort(), GET_TIMEOUT_MS);
    try {
      const ticket = await this.#ticketFor(room);
      const response = await this.#environment.fetch(`${this.#apiUrl}${path}${search}`, {
        method: 'GET',
        headers: { Authorization: `Bearer ${ticket.realtimeToken}` },
        signal: aborter.signal,
      });
      const body = await response.json().catch(() => null);
      if (response.ok && body !== null) return body;
      const detail = body?.error ?? body;
      throw new RoomringError(typeof detail?.code === 'string' ? detail.code : 'unavailable', detail?.message ?? `HTTP ${response.status}`);
    } catch (error) {
      if (error instanceof RoomringError) throw error;
      throw new RoomringError('unavailable', error instanceof Error ? error.message : String(error));
    } finally {
      this.#environment.clearTimeout(timer);
    }
  }

  // --- the connection -------------------------------------------------------------------------------------------

  async #open() {
    if (!this.#isWanted || this.#connection || this.#isOpening) return;
    const [first] = this.#rooms.values();
    if (!first) return;
    if (!this.#environment.isOnline()) {
      this.#setStatus({ state: 'offline', reason: 'no_network' });
      return;
    }
    if (this.#status.state !== 'connecting') this.#setStatus({ state: 'connecting' });
    const generation = ++this.#generation;
    this.#isOpening = true;
    try {
      const ticket = await this.#ticketFor(first);
      if (generation !== this.#generation) return;
      this.#connection = this.#newConnection(ticket.wsUrl);
    } catch (error) {
      if (generation === this.#generation) this.#onTicketProblem(first, error);
    } finally {
      if (generation === this.#generation) this.#isOpening = false;
    }
    // The room that lent its ticket may have been left meanwhile, or have been refused while others wait.
    if (generation === this.#generation && !this.#connection && !this.#reconnectTimer) this.#open();
  }

  /** @param {string} url */
  #newConnection(url) {
    /** @type {Connection} */
    const connection = new Connection({
      url,
      environment: this.#environment,
      onWelcome: (welcome) => this.#onWelcome(welcome),
      onFrame: (envelope) => this.#onFrame(envelope),
      onClose: (end) => {
        if (this.#connection === connection) this.#onClose(end);
      },
      heardSoFar: () =>
        [...this.#rooms.values()]
          .filter((room) => room.phase === 'joined')
          .map((room) => ({ roomId: room.roomId, lastSeq: room.position.lastSeq })),
    });
    return connection;
  }

  /** @param {ServerEvents['welcome']} welcome */
  #onWelcome(welcome) {
    const nowMs = this.now();
    this.#backoff.opened(nowMs);
    this.#clock.reset();
    this.#clock.hint(welcome.serverTimeMs, nowMs);
    const { transformsPerSecondDesktop, transformsPerSecondMobile } = welcome.limits;
    const perSecond = this.#device === 'mobile' ? transformsPerSecondMobile : transformsPerSecondDesktop;
    // A cluster may allow less than usual; more than usual would only cost our neighbours.
    if (perSecond > 0) this.#transformsPerSecondMax = Math.min(perSecond, TRANSFORMS_PER_SECOND[this.#device]);
    for (const room of this.#rooms.values()) room.pacer.limitTo(this.#transformsPerSecondMax);
    this.#setStatus({ state: 'connected' });
    for (const room of [...this.#rooms.values()]) this.#joinRoom(room);
  }

  /** @param {{code: number, reason: string}} end */
  #onClose({ code, reason }) {
    const wasWelcome = this.#connection?.isWelcome ?? false;
    this.#detach();
    this.#backoff.closed(this.now());
    const isOurs = code === CLOSED_BY_CLIENT;
    const meaning = closeMeaning(isOurs ? 1006 : code);
    const why = isOurs ? reason : reason || meaning.name;
    const unauthenticatedMax = 3;
    if (meaning.action === 'refresh') this.#unauthenticated += 1;
    if (meaning.action === 'final' || this.#unauthenticated > unauthenticatedMax) {
      this.#stop({ state: 'closed', reason: why, code });
      return;
    }
    for (const room of this.#rooms.values()) {
      // An address that does not answer may be that of a dead edge; a new ticket may name another.
      if (!wasWelcome || meaning.action === 'refresh') room.ticket = null;
    }
    this.#reconnectLater({ reason: why, code, minimumDelayMs: meaning.minimumDelayMs });
  }

  /** @param {{reason: string, code?: number, minimumDelayMs?: number}} cause */
  #reconnectLater({ reason, code, minimumDelayMs = 0 }) {
    if (!this.#isWanted) return;
    if (!this.#environment.isOnline()) {
      this.#setStatus({ state: 'offline', reason: 'no_network' });
      return;
    }
    const toldMs = this.#comeBackAtMs - this.now();
    // What a draining server told us was chosen to spread its clients; it replaces our own dice.
    const spreadMs = minimumDelayMs * (1 + this.#environment.random());
    const delayMs = Math.round(toldMs > 0 ? toldMs : Math.max(spreadMs, this.#backoff.next()));
    this.#setStatus({ state: 'reconnecting', reason, code, delayMs, attempt: Math.max(1, this.#backoff.attempts) });
    this.#reconnectTimer = this.#environment.setTimeout(() => {
      this.#reconnectTimer = null;
      this.#open();
    }, delayMs);
  }

  /** @param {'online' | 'offline' | 'visible'} change */
  #onPageChange(change) {
    if (change === 'offline') {
      this.#dropConnection('no_network');
      this.#setStatus({ state: 'offline', reason: 'no_network' });
    } else if (this.#connection) {
      this.#connection.probe();
    } else if (!this.#isOpening && this.#comeBackAtMs <= this.now()) {
      this.#environment.clearTimeout(this.#reconnectTimer);
      this.#reconnectTimer = null;
      if (change === 'online') this.#backoff.reset();
      this.#open();
    }
  }

  /**
   * Let go of the connection and of any attempt under way, without a verdict on what comes next.
   * @param {string} reason
   * @param {number} [code]
   */
  #dropConnection(reason, code) {
    const connection = this.#connection;
    this.#detach();
    this.#environment.clearTimeout(this.#reconnectTimer);
    this.#reconnectTimer = null;
    this.#generation += 1;
    this.#isOpening = false;
    connection?.close(reason, code);
    this.#backoff.closed(this.now());
  }

  #detach() {
    this.#connection = null;
    this.#environment.clearTimeout(this.#drainTimer);
    this.#environment.clearTimeout(this.#outboxTimer);
    for (const room of this.#rooms.values()) {
      room.detach();
      this.#clearTimers(room);
    }
    this.#scheduleOutbox();
  }

  /**
   * @param {Status} status
   * @param {number} [code]
   */
  #stop(status, code) {
    this.#isWanted = false;
    this.#stopListening();
    this.#dropConnection(status.reason ?? 'closed', code);
    const error = new RoomringError(status.reason ?? 'closed', 'the connection was closed');
    for (const entry of this.#outbox.remove(() => true)) entry.reject(error);
    for (const room of this.#rooms.values()) this.#settleWaiters(room, (waiter) => waiter.reject(error));
    this.#environment.clearTimeout(this.#outboxTimer);
    this.#setStatus(status);
  }

  // --- rooms ----------------------------------------------------------------------------------------------------

  /**
   * @param {RoomSession} room
   * @returns {Promise<Ticket>}
   */
  async #ticketFor(room) {
    const isGood = (/** @type {Ticket | null} */ ticket) => ticket !== null && ticket.expiresAt - TICKET_MARGIN_MS > this.serverNow();
    if (room.ticket && isGood(room.ticket)) return room.ticket;
    // Into the inbox every token of its owner lets; an application that mints tokens need not know of it.
    const isInbox = room.roomId.startsWith(INBOX_PREFIX) && room.refusals === 0;
    const lender = isInbox ? [...this.#rooms.values()].find((other) => other !== room && isGood(other.ticket)) : undefined;
    const ticket = lender?.ticket ?? (await this.#tickets.fetch(room.roomId));
    room.ticket = ticket;
    return ticket;
  }

  /** @param {RoomSession} room */
  async #joinRoom(room) {
    if (room.phase === 'joining') return;
    const connection = this.#connection;
    const phaseBefore = room.phase;
    room.phase = phaseBefore === 'joined' ? 'joined' : 'joining';
    let ticket;
    try {
      ticket = await this.#ticketFor(room);
    } catch (error) {
      if (connection === this.#connection && this.#isCurrent(room)) this.#onTicketProblem(room, error);
      return;
    }
    if (connection !== this.#connection || !this.#isCurrent(room)) return;
    const resume = room.position.resumeFrom();
    const payload = { roomId: room.roomId, user: this.user, token: ticket.realtimeToken };
    const joinId = this.#environment.newId();
    room.joinId = joinId;
    connection?.send('join_room', /** @type {any} */ (resume ? { ...payload, resume } : payload), joinId);
    this.#environment.clearTimeout(room.joinTimer);
    room.joinTimer = this.#environment.setTimeout(() => connection?.close('join_timeout'), JOIN_TIMEOUT_MS);
  }

  /** @param {RoomSession} room */
  #isCurrent(room) {
    return this.#rooms.get(room.roomId) === room;
  }

  /**
   * @param {RoomSession} room
   * @param {unknown} problem
   */
  #onTicketProblem(room, problem) {
    if (problem instanceof TicketRefused) {
      this.#refuse(room, problem.code, problem.message);
      return;
    }
    const unavailable = problem instanceof TicketUnavailable ? problem : new TicketUnavailable(String(problem));
    this.#emitter.emit('error', new RoomringError('ticket_unavailable', unavailable.message));
    if (!this.#connection) {
      room.ticket = null; // An address that cannot even be opened is as bad as none.
      this.#reconnectLater({ reason: 'ticket_unavailable', minimumDelayMs: unavailable.retryAfterMs });
      return;
    }
    if (room.phase === 'joining') room.phase = 'waiting';
    const delayMs = Math.max(unavailable.retryAfterMs, this.#refusalBackoff.next());
    room.refreshTimer = this.#environment.setTimeout(() => this.#joinRoom(room), delayMs);
  }

  /** @param {RoomSession} room */
  #scheduleRefresh(room) {
    this.#environment.clearTimeout(room.refreshTimer);
    if (!room.ticket) return;
    const delayMs = refreshDelayMs(room.ticket.expiresAt, this.serverNow(), this.#environment.random());
    // Timers hold 32 bits; a ticket for longer than 24 days needs no exact moment.
    room.refreshTimer = this.#environment.setTimeout(
      () => {
        room.ticket = null;
        this.#joinRoom(room);
      },
      Math.min(delayMs, 2 ** 31 - 1),
    );
  }

  /**
   * The room will not have us.
   * @param {RoomSession} room
   * @param {string} code
   * @param {string} message
   */
  #refuse(room, code, message) {
    this.#emitter.emit('authError', { code, message, roomId: room.roomId, isFinal: true });
    this.#forget(room, new RoomringError(code, message));
    if (this.#rooms.size === 0) this.#stop({ state: 'closed', reason: code });
  }

  /**
   * @param {RoomSession} room
   * @param {RoomringError} error for those who still wait for something of the room
   */
  #forget(room, error) {
    this.#rooms.delete(room.roomId);
    this.#clearTimers(room);
    this.#settleWaiters(room, (waiter) => waiter.reject(error));
    for (const entry of this.#outbox.remove((entry) => entry.roomId === room.roomId)) entry.reject(error);
  }

  /**
   * @param {RoomSession} room
   * @param {(waiter: RoomSession['waiters'][number]) => void} settle
   */
  #settleWaiters(room, settle) {
    const { waiters } = room;
    room.waiters = [];
    waiters.forEach(settle);
  }

  /** @param {RoomSession} room */
  #clearTimers(room) {
    for (const timer of [room.joinTimer, room.refreshTimer, room.transformTimer]) this.#environment.clearTimeout(timer);
    room.transformTimer = null;
  }

  // --- frames ---------------------------------------------------------------------------------------------------

  /** @param {ServerEnvelope} envelope */
  #onFrame(envelope) {
    const { t, payload } = envelope;
    const room = this.#rooms.get(payload.roomId);
    if (room && envelope.seq !== undefined && !ANSWERS.has(t)) {
      // The inbox speaks before we have joined it; what it says then comes again as replay, or is in the state.
      if (room.phase !== 'joined') return;
      // Between a resync and the new state nothing can be placed; the state will contain it.
      if (room.position.epoch === null || !room.position.observe(envelope.epoch, envelope.seq)) return;
    }
    switch (t) {
      case 'room_state':
        if (room) this.#onRoomState(room, envelope);
        break;
      case 'room_members':
        if (room) this.#onRoomMembers(room, envelope);
        break;
      case 'heartbeat_ack':
        this.#clock.observe(payload.clientTimeMs, payload.serverTimeMs, this.now());
        this.#emitter.emit('latency', { rttMs: this.#clock.rttMs ?? 0, clockOffsetMs: this.#clock.offsetMs });
        break;
      case 'ack':
        if (envelope.re) this.#settle(envelope.re)?.resolve(payload);
        break;
      case 'message_rejected':
      case 'note_conflict':
        if (envelope.re) this.#settle(envelope.re)?.reject(refusalOf(t, payload));
        break;
      case 'error':
        this.#onError(envelope);
        break;
      case 'auth_error':
        this.#onAuthError(envelope);
        break;
      case 'rate_limited':
        this.#onRateLimited(payload);
        break;
      case 'resync':
        if (room) this.#onResync(room, payload);
        break;
      case 'server_draining':
        this.#onDraining(payload);
        break;
      default: // A newer server may say more than this client knows.
        if (t in PERSONAL_EVENTS) {
          this.#emitter.emit(/** @type {'presence'} */ (PERSONAL_EVENTS[t]), payload, this.#metaOf(envelope));
        } else if (room && t in ROOM_EVENTS) {
          room.track(envelope);
          this.#emitter.emit(/** @type {'chat'} */ (ROOM_EVENTS[t]), payload, this.#metaOf(envelope));
        }
    }
  }

  /**
   * @param {ServerEnvelope} envelope
   * @returns {EventMeta}
   */
  #metaOf({ ts, seq, epoch, replay }) {
    return { ts, seq, epoch, replay: replay === true, receivedAtMs: this.now() };
  }

  /**
   * @param {RoomSession} room
   * @param {ServerEnvelope} envelope
   */
  #onRoomState(room, envelope) {
    const nowMs = this.now();
    const isFirst = room.adopt(envelope.payload);
    this.#environment.clearTimeout(room.joinTimer);
    this.#unauthenticated = 0;
    this.#refusalBackoff.reset();
    this.#scheduleRefresh(room);
    if (isFirst) {
      this.#outbox.resend(room.roomId, nowMs);
      this.#connection?.beat();
    }
    this.#emitter.emit('roomState', envelope.payload, this.#metaOf(envelope));
    if (!room.partsLeft) this.#settleWaiters(room, (waiter) => waiter.resolve(envelope.payload));
    this.#flushOutbox();
    this.#flushTransform(room);
  }

  /**
   * @param {RoomSession} room
   * @param {ServerEnvelope} envelope
   */
  #onRoomMembers(room, envelope) {
    if (!room.addPart(envelope.payload)) return;
    this.#emitter.emit('roomMembers', envelope.payload, this.#metaOf(envelope));
    const { state } = room;
    if (room.partsLeft || !state) return;
    this.#settleWaiters(room, (waiter) => waiter.resolve({ ...state, members: [...room.members.values()] }));
  }

  /** @param {ServerEnvelope} envelope */
  #onError({ payload, re }) {
    const error = Object.assign(new RoomringError(payload.code, payload.message), { roomId: payload.roomId });
    const isRetryable = RETRYABLE_ERRORS.has(payload.code);
    const joining = re === undefined ? undefined : this.#roomByJoin(re);
    if (joining) {
      this.#environment.clearTimeout(joining.joinTimer);
      joining.joinId = null;
      if (joining.phase === 'joining') joining.phase = 'waiting';
      if (isRetryable) {
        joining.refreshTimer = this.#environment.setTimeout(() => this.#joinRoom(joining), RETRYABLE_DELAY_MS + this.#refusalBackoff.next());
      } else {
        this.#forget(joining, error);
      }
    } else if (re !== undefined) {
      const event = this.#outbox.eventOf(re);
      if (event && isRetryable) {
        this.#outbox.pause(event, this.now() + RETRYABLE_DELAY_MS);
        this.#scheduleOutbox();
        return;
      }
      this.#settle(re)?.reject(error);
    }
    this.#emitter.emit('error', error);
  }

  /** @param {ServerEnvelope} envelope */
  #onAuthError({ payload, re }) {
    const { code, message } = payload;
    const room = (re !== undefined && this.#roomByJoin(re)) || this.#rooms.get(payload.roomId) || this.#roomInDoubt();
    if (!room) return;
    this.#environment.clearTimeout(room.joinTimer);
    room.joinId = null;
    if (room.phase === 'joining') room.phase = 'waiting';
    room.refusals += 1;
    const isToken = code === 'token_expired' || code === 'token_invalid';
    if (!isToken || room.refusals > REFUSALS_MAX) {
      this.#refuse(room, code, message);
      return;
    }
    this.#emitter.emit('authError', { code, message, roomId: room.roomId, isFinal: false });
    room.ticket = null;
    // The first refusal is most often a clock or a secret that has just changed: try at once, then slower.
    const delayMs = room.refusals === 1 ? 0 : this.#refusalBackoff.next();
    this.#environment.clearTimeout(room.refreshTimer);
    room.refreshTimer = this.#environment.setTimeout(() => this.#joinRoom(room), delayMs);
  }

  /** @param {string} id */
  #roomByJoin(id) {
    return [...this.#rooms.values()].find((room) => room.joinId === id);
  }

  /** The room that an auth_error without an id most likely means. */
  #roomInDoubt() {
    const rooms = [...this.#rooms.values()];
    return rooms.find((room) => room.joinId !== null) ?? rooms[0];
  }

  /** @param {ServerEvents['rate_limited']} limited */
  #onRateLimited(limited) {
    const nowMs = this.now();
    if (limited.event === 'avatar_transform') {
      for (const room of this.#rooms.values()) {
        room.pacer.backOff(nowMs, limited.retryAfterMs);
        this.#environment.clearTimeout(room.transformTimer);
        room.transformTimer = null;
        this.#flushTransform(room);
      }
    } else {
      this.#outbox.pause(/** @type {OutboxEntry['event']} */ (limited.event), nowMs + limited.retryAfterMs);
      this.#scheduleOutbox();
    }
    this.#emitter.emit('rateLimited', limited);
  }

  /**
   * @param {RoomSession} room
   * @param {ServerEvents['resync']} resync
   */
  #onResync(room, resync) {
    room.position.reset();
    this.#emitter.emit('resync', resync);
    // The server sends the state by itself. When it does not, a new connection is the way out.
    const connection = this.#connection;
    this.#environment.clearTimeout(room.joinTimer);
    room.joinTimer = this.#environment.setTimeout(() => connection?.close('resync_timeout'), JOIN_TIMEOUT_MS);
  }

  /** @param {ServerEvents['server_draining']} draining */
  #onDraining(draining) {
    this.#comeBackAtMs = this.now() + draining.reconnectAfterMs;
    this.#emitter.emit('draining', draining);
    // If the server still holds the socket when our turn comes, we move by ourselves.
    const connection = this.#connection;
    this.#environment.clearTimeout(this.#drainTimer);
    this.#drainTimer = this.#environment.setTimeout(() => connection?.close('server_draining'), draining.reconnectAfterMs);
  }

  // --- sending --------------------------------------------------------------------------------------------------

  #isReady = (/** @type {string} */ roomId) =>
    this.#connection !== null && this.#rooms.get(roomId)?.phase === 'joined';

  #flushOutbox() {
    const nowMs = this.now();
    for (const { reject } of this.#outbox.expire(nowMs)) reject(new RoomringError('expired', 'no answer for too long'));
    for (const { event, payload, id } of this.#outbox.take(nowMs, this.#isReady)) this.#connection?.send(event, payload, id);
    this.#emitter.emit('pending', this.#outbox.size);
    this.#scheduleOutbox();
  }

  /** @param {string} id @returns {OutboxEntry | undefined} the message whose answer came */
  #settle(id) {
    const entry = this.#outbox.settle(id);
    if (entry) this.#emitter.emit('pending', this.#outbox.size);
    return entry;
  }

  #scheduleOutbox() {
    this.#environment.clearTimeout(this.#outboxTimer);
    const nextMs = this.#outbox.nextAtMs(this.now(), this.#isReady);
    if (nextMs === null) return;
    this.#outboxTimer = this.#environment.setTimeout(() => this.#flushOutbox(), Math.max(1, nextMs - this.now()));
  }

  /** @param {RoomSession} room */
  #flushTransform(room) {
    if (room.phase !== 'joined' || !this.#connection || room.transformTimer !== null) return;
    const nowMs = this.now();
    const isCongested = this.#connection.bufferedBytes > BUFFERED_BYTES_MAX;
    const transform = isCongested ? null : room.pacer.take(nowMs);
    if (transform) {
      room.transformSeq += 1;
      this.#connection.send('avatar_transform', { roomId: room.roomId, seq: room.transformSeq, ...transform });
    }
    const nextMs = room.pacer.nextAtMs();
    if (nextMs === null) return;
    const delayMs = isCongested ? room.pacer.intervalMs : Math.max(1, nextMs - nowMs);
    room.transformTimer = this.#environment.setTimeout(() => {
      room.transformTimer = null;
      this.#flushTransform(room);
    }, delayMs);
  }

  /** @param {Status} status */
  #setStatus(status) {
    this.#status = status;
    this.#emitter.emit('status', status);
  }
}

/**
 * @param {string} t
 * @param {any} payload
 * @returns {RoomringError & {note?: import('./wire.js').Note}} a conflict brings the note as it is; without one it was taken off
 */
function refusalOf(t, payload) {
  if (t === 'message_rejected') return new RoomringError(payload.code, payload.message);
  return Object.assign(new RoomringError(t, 'the note was changed meanwhile'), { note: payload.note });
}
