// @ts-check
/** The drawer with direct messages: who wrote, who asks to be friends, and one conversation at a time. */
import { button, clockTime, element, isolated, make, portrait } from './dom.js';
import { TalkView } from './talk_view.js';
import { cleanLine, cleanName } from './text.js';

/** @typedef {import('../roomring/messenger.js').Messenger} Messenger */

export class Letters {
  #drawer = element('letters', HTMLDialogElement);
  #list = element('letters-list', HTMLElement);
  #title = element('letters-title', HTMLElement);
  #back = element('letters-back', HTMLButtonElement);
  #opener = element('open-letters', HTMLButtonElement);
  #badge = element('unread-badge', HTMLElement);
  /** @type {{userId: string, displayName: string} | null} */
  #person = null;
  /** @type {Map<string, () => void>} */
  #watching = new Map();

  /**
   * @param {Messenger} messenger
   * @param {object} options
   * @param {(userId: string) => string} options.avatarOf
   * @param {(userId: string) => string} options.nameOf
   * @param {(userId: string, displayName: string) => void} options.onPerson
   * @param {import('./talk_view.js').TalkView['options']['onMore']} options.onMore
   */
  constructor(messenger, { avatarOf, nameOf, onPerson, onMore }) {
    this.messenger = messenger;
    this.options = { avatarOf, nameOf, onPerson };
    this.view = new TalkView({
      id: 'direct', messenger, label: 'Messages', placeholder: 'Write a message…', avatarOf, onMore, onPerson,
      onSeen: () => this.view.talk && this.#drawer.open && messenger.markRead(this.view.talk),
    });
    messenger.on('inbox', () => this.#render());
    messenger.on('presence', () => this.#render());
    messenger.on('typing', () => this.#render());
    this.#opener.addEventListener('click', () => (this.#drawer.open ? this.close() : this.open()));
    this.#back.addEventListener('click', () => this.#showList());
    element('letters-close', HTMLButtonElement).addEventListener('click', () => this.close());
    this.#drawer.addEventListener('keydown', (event) => {
      // A drawer that lets the bar go on beside it is no modal dialog, so the browser leaves Escape to us.
      if (event.key !== 'Escape' || this.#drawer.matches(':modal')) return;
      event.stopPropagation();
      if (this.#person) this.#showList();
      else this.close();
    });
    this.#drawer.addEventListener('cancel', (event) => {
      if (!this.#person) return;
      event.preventDefault();
      this.#showList();
    });
    this.#drawer.addEventListener('close', () => {
      this.#opener.setAttribute('aria-expanded', 'false');
      this.view.show(null);
      this.#person = null;
      this.#watchFriends();
    });
    document.addEventListener('visibilitychange', () => this.view.isVisible && this.view.talk && this.#drawer.open && messenger.markRead(this.view.talk));
    this.#render();
  }

  open() {
    if (this.#drawer.open) return;
    // On a phone it covers everything, so it has to hold the focus; beside the bar it need not.
    if (matchMedia('(max-width: 820px)').matches) this.#drawer.showModal();
    else this.#drawer.show();
    this.#opener.setAttribute('aria-expanded', 'true');
    this.#showList();
  }

  close() {
    this.#drawer.close();
    this.#opener.focus();
  }

  /** Is the conversation with this person in sight? @param {string} userId */
  isShowing(userId) {
    return this.#drawer.open && this.#person?.userId === userId && document.visibilityState === 'visible';
  }

  /** @param {string} userId @param {string} displayName */
  write(userId, displayName) {
    this.open();
    this.#person = { userId, displayName };
    this.#drawer.dataset.view = 'talk';
    this.view.show(this.messenger.direct(userId));
    this.#render();
    this.view.appear();
    this.view.input.focus();
  }

  #showList() {
    this.#person = null;
    this.#drawer.dataset.view = 'list';
    this.view.show(null);
    this.#watchFriends();
    this.#render();
    const first = this.#list.querySelector('button');
    (first ?? element('letters-close', HTMLButtonElement)).focus();
  }

  /** While the drawer is open, it shows who is there. */
  #watchFriends() {
    const wanted = new Set(this.#drawer.open ? this.messenger.inbox.friends().filter(({ status }) => status === 'friends').map(({ userId }) => userId) : []);
    for (const [userId, stop] of this.#watching) {
      if (wanted.has(userId)) continue;
      stop();
      this.#watching.delete(userId);
    }
    for (const userId of wanted) if (!this.#watching.has(userId)) this.#watching.set(userId, this.messenger.watch(userId));
  }

  #render() {
    const { inbox } = this.messenger;
    const unread = inbox.unreadTotal;
    const asking = inbox.friends().filter(({ userId, status }) => status === 'asks' && !inbox.isBlocked(userId));
    const news = unread + asking.length;
    this.#badge.textContent = news > 99 ? '99+' : String(news);
    this.#badge.hidden = news === 0;
    const told = [unread > 0 ? `${unread} unread` : '', asking.length > 0 ? `${asking.length} asking to be friends` : ''].filter(Boolean).join(', ');
    this.#opener.setAttribute('aria-label', told ? `Messages, ${told}` : 'Messages');
    if (!this.#drawer.open) return;
    this.#watchFriends();
    this.#back.hidden = this.#person === null;
    if (this.#person) {
      const { userId, displayName } = this.#person;
      const name = button('', 'author', () => this.options.onPerson(userId, displayName));
      name.append(isolated(cleanName(displayName), ''));
      this.#title.replaceChildren(this.#dot(userId), name);
      return;
    }
    this.#title.replaceChildren('Messages');
    const threads = inbox.threads();
    const written = new Set(threads.map(({ userId }) => userId));
    const friends = inbox.friends().filter(({ userId, status }) => status === 'friends' && !written.has(userId) && !inbox.isBlocked(userId));
    const blocked = inbox.blocked();
    const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset.row : undefined;
    const parts = [];
    if (asking.length > 0) parts.push(make('h3', '', 'Would like to be friends'), make('ul', '', ...asking.map((friend) => this.#asking(friend))));
    if (threads.length > 0) parts.push(make('h3', '', 'Conversations'), make('ul', '', ...threads.map((thread) => this.#thread(thread))));
    if (friends.length > 0) parts.push(make('h3', '', 'Friends'), make('ul', '', ...friends.map((friend) => this.#friend(friend))));
    if (blocked.length > 0) parts.push(make('h3', '', 'Blocked'), make('ul', '', ...blocked.map((userId) => this.#blockedRow(userId))));
    if (parts.length === 0) parts.push(make('p', 'empty', 'Nobody here yet. Click on a person in the bar, and add them as a friend: then you can write to each other.'));
    this.#list.replaceChildren(...parts);
    if (focused) /** @type {HTMLElement | null} */ (this.#list.querySelector(`[data-row="${CSS.escape(focused)}"]`))?.focus();
  }

  /** @param {import('../roomring/inbox.js').Thread} thread */
  #thread({ threadId, userId, displayName, last, activeAtMs }) {
    const name = displayName || this.options.nameOf(userId);
    const unread = this.messenger.inbox.unreadOf(threadId);
    const typing = this.messenger.typists(this.messenger.direct(userId)).length > 0;
    const snippet = typing ? 'is writing…' : last ? `${last.userId === this.messenger.selfId ? 'You: ' : ''}${cleanLine(last.text).slice(0, 80)}` : '';
    const row = this.#row(userId, name, isolated(snippet, `snippet${typing ? ' typing' : ''}`), make('time', 'time', activeAtMs ? clockTime(activeAtMs) : ''));
    if (unread > 0) {
      const badge = make('b', 'badge', String(unread));
      badge.dataset.testid = 'thread-unread';
      badge.append(make('span', 'sr', ' unread'));
      row.append(badge);
    }
    row.dataset.testid = 'thread';
    return make('li', '', row);
  }

  /** @param {{userId: string, displayName: string}} friend */
  #friend({ userId, displayName }) {
    return make('li', '', this.#row(userId, displayName || this.options.nameOf(userId)));
  }

  /** @param {{userId: string, displayName: string}} friend */
  #asking({ userId, displayName }) {
    const name = displayName || this.options.nameOf(userId);
    const accept = button('Accept', 'primary', () => void this.messenger.addFriend(userId).catch(() => {}));
    accept.dataset.testid = 'accept-friend';
    accept.dataset.row = `accept ${userId}`;
    accept.setAttribute('aria-label', `Accept ${cleanName(name)} as a friend`);
    const refuse = button('No', '', () => void this.messenger.removeFriend(userId).catch(() => {}));
    refuse.dataset.row = `refuse ${userId}`;
    refuse.setAttribute('aria-label', `Do not accept ${cleanName(name)}`);
    return make('li', 'asking', portrait(this.options.avatarOf(userId), 30), isolated(cleanName(name), 'name'), accept, refuse);
  }

  /** @param {string} userId */
  #blockedRow(userId) {
    const name = this.options.nameOf(userId);
    const unblock = button('Unblock', '', () => void this.messenger.unblock(userId).catch(() => {}));
    unblock.dataset.row = `unblock ${userId}`;
    unblock.setAttribute('aria-label', `Unblock ${cleanName(name)}`);
    return make('li', 'asking', portrait(this.options.avatarOf(userId), 30), isolated(cleanName(name), 'name'), unblock);
  }

  /** @param {string} userId @param {string} displayName @param {...HTMLElement} rest */
  #row(userId, displayName, ...rest) {
    const row = button('', 'thread', () => this.write(userId, displayName));
    const face = portrait(this.options.avatarOf(userId), 38);
    row.append(make('span', 'face-frame', face, this.#dot(userId)), isolated(cleanName(displayName), 'name'), ...rest);
    row.dataset.row = userId;
    return row;
  }

  /** @param {string} userId */
  #dot(userId) {
    const status = this.messenger.presence(userId)?.status ?? 'unknown';
    if (status === 'unknown') return make('span', '');
    const dot = make('i', `dot ${status}`);
    dot.setAttribute('role', 'img');
    dot.setAttribute('aria-label', status);
    return dot;
  }
}
