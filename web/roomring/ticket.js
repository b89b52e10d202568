// @ts-check
/**
 * Tickets: the answer of `POST /rooms/join`, which admits one user to one room for a while.
 *
 * @typedef {import('./environment.js').Environment} Environment
 * @typedef {{userId: string, displayName: string, avatarId: string}} User
 * @typedef {{roomId: string, wsUrl: string, realtimeToken: string, expiresAt: number}} Ticket `expiresAt` is server time, ms
 */

/** Without an answer within this time the server counts as unreachable. */
const FETCH_TIMEOUT_MS = 10_000;

/** The server said no, and would say it again. */
export class TicketRefused extends Error {
  /**
   * @param {string} code
   * @param {string} message
   */
  constructor(code, message) {
    super(message);
    this.name = 'TicketRefused';
    this.code = code;
  }
}

/** No usable answer; later may be better. */
export class TicketUnavailable extends Error {
  /**
   * @param {string} message
   * @param {number} [retryAfterMs] as told by the server
   */
  constructor(message, retryAfterMs = 0) {
    super(message);
    this.name = 'TicketUnavailable';
    this.retryAfterMs = retryAfterMs;
  }
}

/** Fetches tickets over HTTP, or through the application's own `getToken`. */
export class TicketSource {
  #turn = 0;

  /**
   * @param {object} options
   * @param {string | string[]} options.joinUrl several are tried in turn
   * @param {User} options.user
   * @param {'desktop' | 'mobile'} options.device
   * @param {Environment} options.environment
   * @param {(roomId: string) => Promise<Ticket>} [options.getToken]
   * @param {() => string | Promise<string>} [options.getSession] bearer token of the application's session
   */
  constructor({ joinUrl, user, device, environment, getToken, getSession }) {
    this.joinUrls = [joinUrl].flat();
    this.user = user;
    this.device = device;
    this.environment = environment;
    this.getToken = getToken;
    this.getSession = getSession;
  }

  /**
   * @param {string} roomId
   * @returns {Promise<Ticket>}
   * @throws {TicketRefused | TicketUnavailable}
   */
  async fetch(roomId) {
    if (!this.getToken) return this.#post(roomId);
    try {
      return await this.getToken(roomId);
    } catch (error) {
      if (error instanceof TicketRefused || error instanceof TicketUnavailable) throw error;
      throw new TicketUnavailable(error instanceof Error ? error.message : String(error));
    }
  }

  /** @param {string} roomId */
  async #post(roomId) {
    const { environment } = this;
    const url = this.joinUrls[this.#turn % this.joinUrls.length];
    const aborter = new AbortController();
    const timer = environment.setTimeout(() => aborter.abort(), FETCH_TIMEOUT_MS);
    /** @type {Record<string, string>} */
    const headers = { 'Content-Type': 'application/json' };
    try {
      if (this.getSession) headers.Authorization = `Bearer ${await this.getSession()}`;
      const response = await environment.fetch(url, {
        method: 'POST',
        headers,
        body: JSON.stringify({ roomId, user: this.user, device: this.device }),
        signal: aborter.signal,
      });
      const body = await response.json().catch(() => null);
      if (response.ok && typeof body?.realtimeToken === 'string') return /** @type {Ticket} */ (body);
      throw refusal(response, body);
    } catch (error) {
      if (error instanceof TicketRefused) throw error;
      this.#turn += 1;
      if (error instanceof TicketUnavailable) throw error;
      throw new TicketUnavailable(error instanceof Error ? error.message : String(error));
    } finally {
      environment.clearTimeout(timer);
    }
  }
}

/**
 * When to fetch the next ticket: at 80 % of the life that is left, with 5 % to either side so that
 * a crowd which joined together does not refresh together. Never below one second.
 *
 * @param {number} expiresAt server time, ms
 * @param {number} serverNowMs
 * @param {number} random in [0, 1)
 * @returns {number} ms from now
 */
export function refreshDelayMs(expiresAt, serverNowMs, random) {
  const share = 0.75 + 0.1 * random;
  return Math.max(1_000, (expiresAt - serverNowMs) * share);
}

/**
 * @param {{status: number, headers: {get(name: string): string | null}}} response
 * @param {any} body
 */
function refusal(response, body) {
  const detail = body?.error ?? body;
  const message = typeof detail?.message === 'string' ? detail.message : `HTTP ${response.status}`;
  // 501: this cluster hands out no tickets at all, and will not in a minute.
  const isRetryable = (response.status >= 500 && response.status !== 501) || response.status === 429 || response.status === 408 || response.status < 300;
  if (isRetryable) return new TicketUnavailable(message, Number(response.headers.get('Retry-After') ?? 0) * 1000 || 0);
  return new TicketRefused(typeof detail?.code === 'string' ? detail.code : 'refused', message);
}
