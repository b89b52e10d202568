// @ts-check
/** The parts of the page around the canvas: chat, people, status, toasts. User text is only ever set as text. */
import { drawPortrait, lookOf } from './avatar_art.js';
import { cleanLine, cleanName } from './text.js';

const LINES_MAX = 200;
const TOASTS_MAX = 3;

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} kind
 * @returns {T}
 */
export function element(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`no ${kind.name} with id ${id}`);
  return found;
}

/**
 * @param {string} tag
 * @param {string} className
 * @param {...(Node | string)} children
 */
function make(tag, className, ...children) {
  const node = document.createElement(tag);
  node.className = className;
  node.append(...children);
  return node;
}

/** @param {string} text @param {string} className */
function isolated(text, className) {
  // The text decides its own direction and cannot turn what stands around it.
  const node = make('bdi', className, text);
  node.dir = 'auto';
  return node;
}

/** The lines of the chat. */
export class ChatLog {
  #log = element('chat-log', HTMLElement);
  #lastAuthor = '';
  #lastAtMs = 0;

  /**
   * @param {{userId: string, displayName: string, text: string, isSelf: boolean, avatarId: string, atMs: number}} line
   */
  add({ userId, displayName, text, isSelf, avatarId, atMs }) {
    const body = isolated(cleanLine(text), 'text');
    const continues = this.#lastAuthor === userId && atMs - this.#lastAtMs < 60_000;
    const row = make('li', `line${isSelf ? ' self' : ''}${continues ? ' continues' : ''}`);
    if (!continues) {
      const name = isolated(cleanName(displayName), 'author');
      name.style.color = isSelf ? '' : readable(lookOf(avatarId).hood);
      const time = make('time', 'time', new Date(atMs).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }));
      row.append(make('span', 'head', name, time));
    }
    row.append(body);
    this.#append(row);
    this.#lastAuthor = userId;
    this.#lastAtMs = atMs;
  }

  /** @param {string} name @param {string} what such as "came in" */
  system(name, what) {
    const row = make('li', 'line system');
    if (name) row.append(isolated(cleanName(name), 'author'), ' ');
    row.append(what);
    this.#append(row);
    this.#lastAuthor = '';
  }

  /** @param {HTMLElement} row */
  #append(row) {
    const log = this.#log;
    const wasAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
    log.append(row);
    while (log.children.length > LINES_MAX) log.firstElementChild?.remove();
    if (wasAtEnd) log.scrollTop = log.scrollHeight;
  }
}

/** Hoods are chosen for the canvas; as text on the panel the dark ones need more light. @param {string} colour */
function readable(colour) {
  return `color-mix(in oklab, ${colour} 68%, white)`;
}

/**
 * @param {{userId: string, displayName: string, avatarId: string}[]} members
 * @param {string} selfId
 */
export function showMembers(members, selfId) {
  const list = element('member-list', HTMLElement);
  const sorted = [...members].sort((a, b) => Number(b.userId === selfId) - Number(a.userId === selfId) || cleanName(a.displayName).localeCompare(cleanName(b.displayName)));
  list.replaceChildren(
    ...sorted.map(({ userId, displayName, avatarId }) => {
      const face = document.createElement('canvas');
      drawPortrait(face, avatarId, 30, true);
      face.setAttribute('aria-hidden', 'true');
      const frame = make('span', 'face', face);
      frame.style.setProperty('--colour', lookOf(avatarId).hood);
      const row = make('li', 'member', frame, isolated(cleanName(displayName), 'name'));
      row.dataset.userId = userId;
      if (userId === selfId) row.append(make('span', 'you', 'you'));
      return row;
    }),
  );
  for (const count of document.querySelectorAll('[data-count]')) count.textContent = String(members.length);
}

/** The badge in the corner, with its countdown. */
export class StatusBadge {
  #badge = element('status', HTMLElement);
  #text = element('status-text', HTMLElement);
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;

  /** @param {import('../roomring/client.js').Status} status @param {number | null} rttMs @param {boolean} isSim */
  show(status, rttMs, isSim) {
    clearInterval(this.#timer);
    this.#badge.dataset.state = status.state;
    if (status.state === 'reconnecting') {
      const untilMs = Date.now() + (status.delayMs ?? 0);
      const tick = () => {
        const leftS = Math.max(0, Math.ceil((untilMs - Date.now()) / 1000));
        this.#text.textContent = leftS > 0 ? `Reconnecting in ${leftS} s` : 'Reconnecting…';
      };
      tick();
      this.#timer = setInterval(tick, 250);
    } else if (status.state === 'connected') {
      const ping = rttMs === null ? '' : ` · ${Math.max(1, Math.round(rttMs))} ms`;
      this.#text.textContent = isSim ? 'Offline demo' : `Connected${ping}`;
    } else {
      this.#text.textContent = { connecting: 'Connecting…', offline: 'Offline', closed: 'Disconnected' }[status.state];
    }
  }
}

/**
 * @param {string} text
 * @param {{kind?: 'info' | 'warning' | 'error', ms?: number, action?: {label: string, run: () => void}}} [options]
 *   without `ms` it stays until it is closed
 */
export function toast(text, { kind = 'info', ms, action } = {}) {
  const holder = element('toasts', HTMLElement);
  for (const other of [...holder.children]) if (other.querySelector('.message')?.textContent === text) other.remove();
  const close = /** @type {HTMLButtonElement} */ (make('button', 'close', '×'));
  close.setAttribute('aria-label', 'Close this message');
  const node = make('div', `toast ${kind}`, make('span', 'message', cleanLine(text)));
  if (action) {
    const button = make('button', 'action', action.label);
    button.addEventListener('click', () => {
      node.remove();
      action.run();
    });
    node.append(button);
  }
  node.append(close);
  close.addEventListener('click', () => node.remove());
  holder.append(node);
  while (holder.children.length > TOASTS_MAX) holder.firstElementChild?.remove();
  if (ms) setTimeout(() => node.remove(), ms);
}
