// @ts-check
/** The parts of the page around the canvas: people, status, toasts. */
import { button, element, isolated, make, portrait } from './dom.js';
import { cleanLine, cleanName } from './text.js';

const TOASTS_MAX = 3;

/** Of more members the list names no more than these. */
const NAMES_MAX = 200;

/**
 * @param {{userId: string, displayName: string, avatarId: string}[]} members
 * @param {string} selfId
 * @param {(userId: string, displayName: string) => void} onPerson
 */
export function showMembers(members, selfId, onPerson) {
  const list = element('member-list', HTMLElement);
  const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset.userId : undefined;
  const sorted = [...members].sort((a, b) => Number(b.userId === selfId) - Number(a.userId === selfId) || cleanName(a.displayName).localeCompare(cleanName(b.displayName)));
  const more = sorted.length > NAMES_MAX ? [make('li', '', make('span', 'member', `and ${sorted.length - NAMES_MAX} more`))] : [];
  list.replaceChildren(
    ...sorted.slice(0, NAMES_MAX).map(({ userId, displayName, avatarId }) => {
      const parts = [portrait(avatarId, 30), isolated(cleanName(displayName), 'name')];
      if (userId === selfId) return make('li', '', make('span', 'member', ...parts, make('span', 'you', 'you')));
      const row = button('', 'member', () => onPerson(userId, displayName));
      row.append(...parts);
      row.dataset.userId = userId;
      return make('li', '', row);
    }),
    ...more,
  );
  if (focused) /** @type {HTMLElement | null} */ (list.querySelector(`[data-user-id="${CSS.escape(focused)}"]`))?.focus();
  for (const count of document.querySelectorAll('[data-count]')) count.textContent = String(members.length);
}

/** The badge in the corner, with its countdown. */
export class StatusBadge {
  #badge = element('status', HTMLElement);
  #text = element('status-text', HTMLElement);
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;

  /**
   * @param {import('../roomring/client.js').Status} status
   * @param {number | null} rttMs
   * @param {boolean} isSim
   * @param {number} waiting messages and changes that have no answer yet
   */
  show(status, rttMs, isSim, waiting) {
    clearInterval(this.#timer);
    this.#badge.dataset.state = status.state;
    const rest = waiting > 0 ? ` · ${waiting} waiting` : '';
    if (status.state === 'reconnecting') {
      const untilMs = Date.now() + (status.delayMs ?? 0);
      const tick = () => {
        const leftS = Math.max(0, Math.ceil((untilMs - Date.now()) / 1000));
        this.#text.textContent = leftS > 0 ? `Reconnecting in ${leftS} s${rest}` : `Reconnecting…${rest}`;
      };
      tick();
      this.#timer = setInterval(tick, 250);
    } else if (status.state === 'connected') {
      const ping = rttMs === null ? '' : ` · ${Math.max(1, Math.round(rttMs))} ms`;
      this.#text.textContent = isSim ? 'Offline demo' : `Connected${ping}`;
    } else {
      this.#text.textContent = { connecting: 'Connecting…', offline: 'Offline', closed: 'Disconnected' }[status.state] + rest;
    }
  }
}

/**
 * @param {string} text
 * @param {{kind?: 'info' | 'warning' | 'error', ms?: number, action?: {label: string, run: () => void}}} [options]
 *   without `ms` it stays until it is closed
 * @returns {() => void} to take it away
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
  return () => node.remove();
}
