/**
 * A world for the client in a test: a clock that stands still until told, sockets that are plain objects,
 * and an HTTP endpoint that is a function. `await world.advance(ms)` runs timers in order and lets promises settle.
 */
export class FakeWorld {
  nowMs = 1_000_000;
  isOnline = true;
  randomValue = 0.5;
  /** Newest last. @type {FakeSocket[]} */
  sockets = [];
  /** Bodies of POST /rooms/join. @type {any[]} */
  joins = [];
  /** How long the tickets live, in ms of server time. */
  ticketLifeMs = 100_000;
  /** Server clock minus local clock. */
  serverOffsetMs = 0;
  /** Answers to use instead of a ticket, oldest first. @type {{status: number, body?: any, headers?: Record<string, string>}[]} */
  httpFailures = [];
  #timers = [];
  #nextTimer = 1;
  #nextId = 1;
  #pageListeners = new Set();

  get serverNowMs() {
    return this.nowMs + this.serverOffsetMs;
  }

  get socket() {
    return this.sockets.at(-1);
  }

  environment() {
    return {
      now: () => this.nowMs,
      random: () => this.randomValue,
      newId: () => `id-${this.#nextId++}`,
      setTimeout: (callback, delayMs) => {
        const timer = { handle: this.#nextTimer++, atMs: this.nowMs + Math.max(0, delayMs), callback };
        this.#timers.push(timer);
        return timer.handle;
      },
      clearTimeout: (handle) => {
        this.#timers = this.#timers.filter((timer) => timer.handle !== handle);
      },
      openSocket: (url, protocols) => {
        const socket = new FakeSocket(this, url, protocols);
        this.sockets.push(socket);
        return socket;
      },
      fetch: async (url, init) => this.#answer(url, init),
      isOnline: () => this.isOnline,
      onPageChange: (listener) => {
        this.#pageListeners.add(listener);
        return () => this.#pageListeners.delete(listener);
      },
    };
  }

  /** Number of timers that are set; a stopped client leaves none. */
  get timers() {
    return this.#timers.length;
  }

  changePage(change) {
    if (change !== 'visible') this.isOnline = change === 'online';
    for (const listener of [...this.#pageListeners]) listener(change);
  }

  async advance(ms = 0) {
    const endMs = this.nowMs + ms;
    await settle();
    for (;;) {
      const due = this.#timers.filter((timer) => timer.atMs <= endMs).sort((a, b) => a.atMs - b.atMs || a.handle - b.handle)[0];
      if (!due) break;
      this.#timers = this.#timers.filter((timer) => timer !== due);
      this.nowMs = Math.max(this.nowMs, due.atMs);
      due.callback();
      await settle();
    }
    this.nowMs = endMs;
  }

  async #answer(url, init) {
    const body = JSON.parse(init.body);
    this.joins.push({ url, ...body, headers: init.headers });
    const failure = this.httpFailures.shift();
    if (failure?.status === 0) throw new TypeError('network is down');
    const status = failure?.status ?? 200;
    const answer = failure
      ? (failure.body ?? null)
      : {
          roomId: body.roomId,
          wsUrl: 'ws://edge.test/ws',
          realtimeToken: `token-${this.joins.length}`,
          expiresAt: this.serverNowMs + this.ticketLifeMs,
        };
    return {
      ok: status >= 200 && status < 300,
      status,
      headers: { get: (name) => failure?.headers?.[name] ?? null },
      json: async () => answer,
    };
  }
}

export class FakeSocket {
  readyState = 0;
  bufferedAmount = 0;
  onopen = null;
  onmessage = null;
  onclose = null;
  onerror = null;
  /** Decoded envelopes that the client sent. @type {any[]} */
  sent = [];
  /** What the client closed with. @type {{code?: number, reason?: string} | null} */
  closedByClient = null;

  constructor(world, url, protocols) {
    this.world = world;
    this.url = url;
    this.protocols = protocols;
  }

  send(data) {
    if (this.readyState !== 1) throw new Error('send on a socket that is not open');
    this.sent.push(JSON.parse(data));
  }

  close(code, reason) {
    this.closedByClient = { code, reason };
    this.readyState = 2;
  }

  /** The server accepts and greets. */
  welcome(limits = {}) {
    this.readyState = 1;
    this.onopen?.({});
    this.deliver('welcome', {
      connectionId: 'c1',
      serverTimeMs: this.world.serverNowMs,
      heartbeatIntervalMs: 15_000,
      heartbeatTimeoutMs: 45_000,
      limits,
    });
  }

  deliver(t, payload, beside = {}) {
    this.onmessage?.({ data: JSON.stringify({ v: 1, t, ts: this.world.serverNowMs, ...beside, payload }) });
  }

  /** The server, or the network, ends it. */
  fail(code, reason = '') {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }

  /** Messages of one kind, oldest first. */
  of(t) {
    return this.sent.filter((envelope) => envelope.t === t);
  }

  /** Answer the newest join_room with a room_state. */
  state(roomId, { epoch = 1, seq = 0, recovered = false, members = [], ...others } = {}) {
    const join = this.of('join_room').at(-1);
    const payload = { roomId, serverTimeMs: this.world.serverNowMs, members, you: { userId: 'ada' }, epoch, seq, recovered, ...others };
    this.deliver('room_state', payload, join ? { re: join.id } : {});
  }
}

/** Let every promise that can go on do so. */
async function settle() {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
}

export function member(userId, place = {}) {
  return { userId, displayName: userId, avatarId: 'fox', x: 1, y: 0, z: 1, rotY: 0, anim: 'idle', speaking: false, ...place };
}

/** Numbers in [0, 1), the same for the same seed. */
export function randomFrom(seed) {
  let state = seed * 2654435761;
  return () => {
    state = (Math.imul(state ^ (state >>> 15), 2246822519) + 374761393) >>> 0;
    return state / 2 ** 32;
  };
}

export function shuffled(list, random) {
  const result = [...list];
  for (let index = result.length - 1; index > 0; index -= 1) {
    const other = Math.floor(random() * (index + 1));
    [result[index], result[other]] = [result[other], result[index]];
  }
  return result;
}
