// @ts-check
import { decode, encode, SUBPROTOCOL } from './wire.js';

/**
 * One WebSocket, from the handshake to its end: the `welcome`, heartbeats, and the verdict that it is dead.
 * It knows no room beyond its heartbeat and never reconnects; its owner makes a new one.
 *
 * Invariant: `onClose` is called exactly once, also when the browser's socket never reports its own end.
 *
 * @typedef {import('./environment.js').Environment} Environment
 * @typedef {import('./wire.js').ServerEnvelope} ServerEnvelope
 * @typedef {{roomId: string, lastSeq: number}} HeardSoFar
 */

/** A handshake that takes longer than this will not get better. */
const WELCOME_TIMEOUT_MS = 10_000;

/** After a wake-up the socket may have died unnoticed: one heartbeat must be answered within this time. */
const PROBE_TIMEOUT_MS = 5_000;

/** Until `welcome` says otherwise. */
const HEARTBEAT_INTERVAL_MS = 15_000;
const HEARTBEAT_TIMEOUT_MS = 45_000;

/** WebSocket.OPEN, spelled out because tests and the sim bring sockets of their own. */
const OPEN = 1;

/** A close code of our own (the range 4000 to 4999 is free for applications) that is never sent by the server. */
export const CLOSED_BY_CLIENT = 4000;

export class Connection {
  #socket;
  #environment;
  #handlers;
  #intervalMs = HEARTBEAT_INTERVAL_MS;
  #timeoutMs = HEARTBEAT_TIMEOUT_MS;
  #lastFrameAtMs;
  #isClosed = false;
  /** @type {any} */
  #heartbeatTimer = null;
  /** @type {any} */
  #watchdogTimer = null;
  isWelcome = false;

  /**
   * @param {object} options
   * @param {string} options.url
   * @param {Environment} options.environment
   * @param {(welcome: any) => void} options.onWelcome
   * @param {(envelope: ServerEnvelope) => void} options.onFrame every frame after the welcome, in order
   * @param {(end: {code: number, reason: string}) => void} options.onClose
   * @param {() => HeardSoFar[]} options.heardSoFar the joined rooms, asked at each heartbeat
   */
  constructor({ url, environment, onWelcome, onFrame, onClose, heardSoFar }) {
    this.#environment = environment;
    this.#handlers = { onWelcome, onFrame, onClose, heardSoFar };
    this.#lastFrameAtMs = environment.now();
    this.#socket = environment.openSocket(url, [SUBPROTOCOL]);
    this.#socket.onmessage = (event) => this.#receive(event.data);
    this.#socket.onclose = (event) => this.#end(event.code, event.reason);
    this.#watchdogTimer = environment.setTimeout(() => this.close('welcome_timeout'), WELCOME_TIMEOUT_MS);
  }

  /** Bytes that the browser has not yet handed to the network. */
  get bufferedBytes() {
    return this.#socket.bufferedAmount;
  }

  /**
   * @template {string & keyof import('./wire.js').ClientEvents} T
   * @param {T} t
   * @param {import('./wire.js').ClientEvents[T]} payload
   * @param {string} [id]
   * @returns {boolean} false when the socket is not open any more; its `onClose` follows or has been
   */
  send(t, payload, id) {
    if (this.#isClosed || this.#socket.readyState !== OPEN) return false;
    this.#socket.send(encode(t, payload, this.#environment.now(), id));
    return true;
  }

  /** Send heartbeats now, one for each joined room, and start the interval anew. */
  beat() {
    if (this.#isClosed || !this.isWelcome) return;
    const clientTimeMs = Math.round(this.#environment.now());
    const rooms = this.#handlers.heardSoFar();
    for (const { roomId, lastSeq } of rooms) this.send('heartbeat', { roomId, clientTimeMs, lastSeq });
    if (rooms.length === 0) this.send('heartbeat', { clientTimeMs });
    this.#environment.clearTimeout(this.#heartbeatTimer);
    this.#heartbeatTimer = this.#environment.setTimeout(() => this.beat(), this.#intervalMs);
  }

  /** The page woke up or the network changed: find out soon whether the socket still lives. */
  probe() {
    if (this.#isClosed || !this.isWelcome) return;
    const askedAtMs = this.#environment.now();
    this.beat();
    this.#environment.clearTimeout(this.#watchdogTimer);
    this.#watchdogTimer = this.#environment.setTimeout(() => {
      if (this.#lastFrameAtMs < askedAtMs) this.close('no_answer');
      else this.#watch();
    }, PROBE_TIMEOUT_MS);
  }

  /**
   * End it from our side.
   * @param {string} reason
   * @param {number} [code]
   */
  close(reason, code = CLOSED_BY_CLIENT) {
    if (this.#isClosed) return;
    // A closing handshake over a dead network takes a minute, in which the browser says nothing. We do not wait for it.
    this.#socket.onmessage = null;
    this.#socket.onclose = null;
    this.#socket.close(code, reason);
    this.#end(code, reason);
  }

  /** @param {unknown} data */
  #receive(data) {
    if (this.#isClosed) return;
    this.#lastFrameAtMs = this.#environment.now();
    const envelope = decode(data);
    if (!envelope) return;
    if (this.isWelcome) {
      this.#handlers.onFrame(envelope);
    } else if (envelope.t === 'welcome') {
      this.isWelcome = true;
      const { heartbeatIntervalMs, heartbeatTimeoutMs } = envelope.payload;
      if (heartbeatIntervalMs > 0) this.#intervalMs = heartbeatIntervalMs;
      if (heartbeatTimeoutMs > 0) this.#timeoutMs = heartbeatTimeoutMs;
      this.#watch();
      this.#heartbeatTimer = this.#environment.setTimeout(() => this.beat(), this.#intervalMs);
      this.#handlers.onWelcome(envelope.payload);
    }
  }

  /** Look again when the silence would be too long. */
  #watch() {
    this.#environment.clearTimeout(this.#watchdogTimer);
    const leftMs = this.#lastFrameAtMs + this.#timeoutMs - this.#environment.now();
    if (leftMs <= 0) this.close('heartbeat_timeout');
    else this.#watchdogTimer = this.#environment.setTimeout(() => this.#watch(), leftMs);
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #end(code, reason) {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#environment.clearTimeout(this.#heartbeatTimer);
    this.#environment.clearTimeout(this.#watchdogTimer);
    this.#handlers.onClose({ code, reason });
  }
}
