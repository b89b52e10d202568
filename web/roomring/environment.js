// @ts-check
/**
 * The seam to the world outside: time, randomness, network and the page. The library takes nothing
 * from globals except here, so that a test passes in a fake clock, a fake socket and a fixed seed.
 *
 * @typedef {object} SocketLike The part of the browser's WebSocket that the client uses.
 * @property {number} readyState
 * @property {number} bufferedAmount
 * @property {((event: any) => void) | null} onopen
 * @property {((event: {data: unknown}) => void) | null} onmessage
 * @property {((event: {code: number, reason: string}) => void) | null} onclose
 * @property {((event: any) => void) | null} onerror
 * @property {(data: string) => void} send
 * @property {(code?: number, reason?: string) => void} close
 *
 * @typedef {object} Environment
 * @property {() => number} now ms; counts evenly (a change of the wall clock does not show) and starts near Unix time
 * @property {() => number} random in [0, 1)
 * @property {() => string} newId unique, at most 40 characters
 * @property {(callback: () => void, delayMs: number) => any} setTimeout
 * @property {(handle: any) => void} clearTimeout
 * @property {(url: string, protocols: string[]) => SocketLike} openSocket
 * @property {(url: string, init: any) => Promise<{ok: boolean, status: number, headers: {get(name: string): string | null}, json(): Promise<any>}>} fetch
 * @property {() => boolean} isOnline false only when the browser is sure that there is no network
 * @property {(listener: (change: 'online' | 'offline' | 'visible') => void) => () => void} onPageChange
 */

/** @returns {Environment} */
export function browserEnvironment() {
  return {
    now: () => performance.timeOrigin + performance.now(),
    random: Math.random,
    newId: randomId,
    setTimeout: (callback, delayMs) => setTimeout(callback, delayMs),
    clearTimeout: (handle) => clearTimeout(handle),
    openSocket: (url, protocols) => /** @type {any} */ (new WebSocket(url, protocols)),
    fetch: (url, init) => fetch(url, init),
    isOnline: () => typeof navigator === 'undefined' || navigator.onLine !== false,
    onPageChange,
  };
}

/** `crypto.randomUUID` exists only on secure origins; a phone that opens the page by LAN address has none. */
function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** @type {Environment['onPageChange']} */
function onPageChange(listener) {
  if (typeof window === 'undefined') return () => {};
  const online = () => listener('online');
  const offline = () => listener('offline');
  const visibility = () => {
    if (document.visibilityState === 'visible') listener('visible');
  };
  window.addEventListener('online', online);
  window.addEventListener('offline', offline);
  document.addEventListener('visibilitychange', visibility);
  return () => {
    window.removeEventListener('online', online);
    window.removeEventListener('offline', offline);
    document.removeEventListener('visibilitychange', visibility);
  };
}
