// @ts-check
/** One conversation on the page: its lines, its past while scrolling back, and the line in which to write. */
import { button, clockTime, element, isolated, make, nameColour } from './dom.js';
import { cleanLine, cleanName } from './text.js';

/**
 * @typedef {import('../roomring/messenger.js').Talk} Talk
 * @typedef {import('../roomring/messenger.js').Messenger} Messenger
 * @typedef {import('../roomring/conversation.js').Item} Item
 * @typedef {{key: string, afterKey: string, row: HTMLElement}} Remark
 */

/** A line within this time of the same person's last one stands under the same head. */
const CONTINUES_MS = 60_000;

const REMARKS_MAX = 60;
/** Closer to the top than this, the page before is loaded; closer to the end, new lines scroll into sight. */
const NEAR_PIXELS = 90;
const RESTING_TICK_MS = 1_000;
/** As long as a page may take to come. */
const HUSH_MS = 2_000;

const MARKS = { sending: '○', sent: '✓', stored: '✓', seen: '✓✓', failed: '!', received: '' };
const MARK_LABELS = { sending: 'on its way', sent: 'sent', stored: 'sent and kept', seen: 'read', failed: 'not sent', received: '' };

const FAILURES = /** @type {Record<string, string>} */ ({
  not_friends: 'Only friends can write to each other.',
  blocked: 'One of you has blocked the other.',
  muted: 'A moderator has muted you.',
  filtered: 'It has words that are not allowed here.',
  expired: 'No answer came. It may or may not have arrived.',
  queue_full: 'Too many messages are waiting.',
});

export class TalkView {
  /** @type {Map<string, {row: HTMLElement, signature: string, item: Item}>} */
  #rows = new Map();
  /** @type {Remark[]} */
  #remarks = [];
  /** @type {Talk | null} */
  #talk = null;
  /** @type {Item | null} */
  #replyTo = null;
  /** Unsent text by conversation. @type {Map<string, string>} */
  #unsent = new Map();
  #isLoading = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #hushed;

  /**
   * @param {object} options
   * @param {string} options.id of the section that it fills; its parts are named after it
   * @param {Messenger} options.messenger
   * @param {string} options.label what the lines are
   * @param {string} options.placeholder
   * @param {(userId: string) => string} options.avatarOf
   * @param {(item: Item, talk: Talk) => void} options.onMore
   * @param {(userId: string, displayName: string) => void} options.onPerson
   * @param {() => void} [options.onSeen] the newest line is in sight
   */
  constructor({ id, messenger, label, placeholder, avatarOf, onMore, onPerson, onSeen = () => {} }) {
    this.id = id;
    this.messenger = messenger;
    this.options = { avatarOf, onMore, onPerson, onSeen };
    const part = (/** @type {string} */ name, /** @type {string} */ tag, /** @type {string} */ className) => {
      const node = make(tag, className);
      node.id = `${id}-${name}`;
      node.dataset.testid = node.id;
      return node;
    };
    this.log = part('log', 'div', 'log scrolls');
    this.list = make('ol', '');
    this.log.append(this.list);
    this.log.setAttribute('role', 'log');
    this.log.setAttribute('aria-live', 'polite');
    this.log.setAttribute('aria-label', label);
    this.log.tabIndex = 0;
    this.earlier = button('Earlier messages', 'earlier', () => this.#loadOlder());
    this.earlier.dataset.testid = `${id}-earlier`;
    this.earlier.hidden = true;
    this.newer = button('New messages ↓', 'newer', () => this.#toEnd());
    this.newer.hidden = true;
    this.typing = part('typing', 'p', 'typing');
    this.reply = part('reply', 'p', 'reply');
    this.reply.hidden = true;
    this.input = /** @type {HTMLTextAreaElement} */ (part('input', 'textarea', 'line-input'));
    this.input.rows = 1;
    this.input.dir = 'auto';
    this.input.placeholder = placeholder;
    this.input.enterKeyHint = 'send';
    this.input.setAttribute('aria-label', placeholder);
    this.input.autocomplete = 'off';
    this.counter = part('counter', 'span', 'counter');
    this.input.setAttribute('aria-describedby', this.counter.id);
    this.sendButton = /** @type {HTMLButtonElement} */ (part('send', 'button', 'send'));
    this.sendButton.type = 'submit';
    this.sendButton.setAttribute('aria-label', 'Send');
    this.sendButton.append(sendIcon());
    this.form = /** @type {HTMLFormElement} */ (part('form', 'form', 'composer'));
    this.form.append(this.reply, this.input, this.counter, this.sendButton);
    const scroller = make('div', 'log-frame', this.earlier, this.log, this.newer);
    element(id, HTMLElement).append(scroller, this.typing, this.form);
    this.#bind();
    this.#showCount();
    messenger.on('talk', (talk) => talk === this.#talk && this.#render());
    messenger.on('typing', () => this.#showTyping());
    messenger.on('inbox', () => this.#talk?.userId && this.#render());
    setInterval(() => this.#talk && messenger.tick(this.#talk), RESTING_TICK_MS);
  }

  get talk() {
    return this.#talk;
  }

  /** Is it in sight? */
  get isVisible() {
    return this.log.offsetParent !== null && document.visibilityState === 'visible';
  }

  /** @param {Talk | null} talk */
  show(talk) {
    if (talk === this.#talk) return;
    if (this.#talk) {
      this.messenger.rest(this.#talk);
      this.#unsent.set(this.#talk.key, this.input.value);
    }
    this.#talk = talk;
    this.#hush();
    this.#rows.clear();
    this.#remarks = [];
    this.list.replaceChildren();
    this.answer(null);
    this.input.value = talk ? (this.#unsent.get(talk.key) ?? '') : '';
    this.#showCount();
    this.#render();
    this.#showTyping();
    this.#toEnd();
    if (talk?.history) this.messenger.look(talk).catch(() => {});
  }

  /** It has come into sight again. */
  appear() {
    this.#render();
    this.#toEnd();
  }

  /** A remark of the page itself, between the lines. @param {string} name @param {string} what such as "came in" */
  remark(name, what) {
    const row = make('li', 'line system');
    if (name) row.append(isolated(cleanName(name), 'author'), ' ');
    row.append(what);
    const items = this.#talk ? this.messenger.items(this.#talk) : [];
    this.#remarks.push({ key: `remark-${Math.random()}`, afterKey: items.at(-1)?.key ?? '', row });
    if (this.#remarks.length > REMARKS_MAX) this.#remarks.shift()?.row.remove();
    this.#render();
  }

  /** Answer a line. @param {Item | null} item */
  answer(item) {
    this.#replyTo = item;
    this.reply.hidden = item === null;
    this.reply.replaceChildren();
    if (!item) return;
    const stop = button('×', 'plain', () => this.answer(null));
    stop.setAttribute('aria-label', 'Do not answer this message');
    this.reply.append(make('span', 'quote', 'Answer to ', isolated(this.#nameOf(item), 'author'), ': ', isolated(cleanLine(item.text).slice(0, 80), '')), stop);
    this.input.focus();
  }

  /** Put a text back to be written again. @param {string} text */
  restore(text) {
    if (this.input.value === '') this.input.value = text;
    this.#showCount();
    this.input.focus();
  }

  // --- lines --------------------------------------------------------------------------------------------------------

  #render() {
    const talk = this.#talk;
    if (!talk) return;
    const { log, list } = this;
    const wasAtEnd = this.#isAtEnd();
    const bottomBefore = log.scrollHeight - log.scrollTop;
    const items = this.messenger.items(talk);
    const firstBefore = list.firstElementChild;
    /** @type {Map<string, Remark[]>} */
    const remarks = new Map();
    const keys = new Set(items.map(({ key }) => key));
    for (const remark of this.#remarks) {
      const afterKey = keys.has(remark.afterKey) ? remark.afterKey : '';
      remarks.set(afterKey, [...(remarks.get(afterKey) ?? []), remark]);
    }
    /** @type {HTMLElement[]} */
    const wanted = [];
    const put = (/** @type {string} */ key) => wanted.push(...(remarks.get(key) ?? []).map(({ row }) => row));
    const byId = new Map(items.map((item) => [item.messageId, item]));
    put('');
    let before = /** @type {Item | null} */ (null);
    for (const item of items) {
      const continues = before !== null && before.userId === item.userId && item.atMs - before.atMs < CONTINUES_MS && !item.replyTo && !remarks.has(before.key);
      wanted.push(this.#row(item, continues, byId.get(item.replyTo)));
      put(item.key);
      before = item;
    }
    for (const [key, { row }] of this.#rows) {
      if (keys.has(key)) continue;
      row.remove();
      this.#rows.delete(key);
    }
    wanted.forEach((row, index) => {
      if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null);
    });
    if (wasAtEnd) log.scrollTop = log.scrollHeight;
    else if (firstBefore !== null && list.firstElementChild !== firstBefore) log.scrollTop = log.scrollHeight - bottomBefore;
    else if (this.isVisible && items.at(-1)?.state === 'received') this.newer.hidden = this.#isAtEnd();
    this.earlier.hidden = !talk.history?.hasOlder || (items.length === 0 && !talk.history.isOpen);
    if (this.#isAtEnd() && this.isVisible) this.options.onSeen();
  }

  /** @param {Item} item @param {boolean} continues @param {Item | undefined} answered @returns {HTMLElement} */
  #row(item, continues, answered) {
    const state = item.isSelf && this.#talk?.userId && this.messenger.isSeen(item, this.#talk) ? 'seen' : item.state;
    const signature = [item.text, clockTime(item.atMs), continues, answered?.text, this.#nameOf(item)].join('\n');
    const known = this.#rows.get(item.key);
    if (known) known.item = item;
    if (known?.signature === signature) {
      this.#mark(known.row, item, state);
      return known.row;
    }
    const entry = { row: make('li', 'line'), signature, item };
    const { row } = entry;
    row.classList.toggle('self', item.isSelf);
    row.classList.toggle('continues', continues);
    row.dataset.key = item.key;
    const name = cleanName(this.#nameOf(item));
    if (!continues) {
      const author = button('', 'author', () => this.options.onPerson(entry.item.userId, this.#nameOf(entry.item)));
      author.append(isolated(name, ''));
      if (!item.isSelf) author.style.color = nameColour(this.options.avatarOf(item.userId));
      const time = make('time', 'time', clockTime(item.atMs));
      time.setAttribute('datetime', new Date(item.atMs).toISOString());
      row.append(make('span', 'head', item.isSelf ? make('span', 'author', isolated(name, '')) : author, time));
    }
    if (item.replyTo) {
      const quoted = answered ? [isolated(cleanName(this.#nameOf(answered)), 'author'), ': ', isolated(cleanLine(answered.text).slice(0, 120), '')] : ['An earlier message'];
      row.append(make('span', 'quote', ...quoted));
    }
    const more = button('⋯', 'more', () => this.#talk && this.options.onMore(entry.item, this.#talk));
    more.setAttribute('aria-label', `More about the message of ${name}`);
    const body = make('span', 'body', isolated(cleanLine(item.text), 'text'), make('span', 'mark'), more);
    row.append(body, make('span', 'trouble'));
    known?.row.replaceWith(row);
    this.#rows.set(item.key, entry);
    this.#mark(row, item, state);
    return row;
  }

  /** @param {HTMLElement} row @param {Item} item @param {keyof typeof MARKS} state */
  #mark(row, item, state) {
    const mark = /** @type {HTMLElement} */ (row.querySelector('.mark'));
    if (row.dataset.state === state) return;
    row.dataset.state = state;
    mark.textContent = MARKS[state];
    mark.title = MARK_LABELS[state];
    mark.setAttribute('role', 'img');
    mark.setAttribute('aria-label', MARK_LABELS[state]);
    mark.hidden = state === 'received';
    const trouble = /** @type {HTMLElement} */ (row.querySelector('.trouble'));
    trouble.replaceChildren();
    const { id, error } = item;
    if (state !== 'failed' || !error || id === undefined) return;
    trouble.append(
      make('span', '', `Not sent. ${FAILURES[error.code] ?? error.message}`),
      button('Try again', 'plain', () => this.#talk && this.messenger.retry(this.#talk, id)),
      button('Take back', 'plain', () => this.#talk && this.restore(this.messenger.discard(this.#talk, id))),
    );
  }

  /** @param {Item} item */
  #nameOf(item) {
    return (item.isSelf ? this.messenger.selfName : item.displayName) || 'Somebody';
  }

  // --- scrolling ----------------------------------------------------------------------------------------------------

  #isAtEnd() {
    const { log } = this;
    return log.scrollHeight - log.scrollTop - log.clientHeight < NEAR_PIXELS;
  }

  #toEnd() {
    this.log.scrollTop = this.log.scrollHeight;
    this.newer.hidden = true;
    if (this.isVisible && this.#talk) this.options.onSeen();
  }

  async #loadOlder() {
    const talk = this.#talk;
    if (!talk?.history?.hasOlder || this.#isLoading) return;
    this.#isLoading = true;
    this.#hush();
    this.earlier.textContent = 'Loading…';
    try {
      await this.messenger.loadOlder(talk);
      this.earlier.textContent = 'Earlier messages';
    } catch {
      this.earlier.textContent = 'Could not load. Try again';
    } finally {
      this.#isLoading = false;
    }
  }

  /** Lines of the past are not news: nobody wants fifty of them read aloud. */
  #hush() {
    this.log.setAttribute('aria-live', 'off');
    clearTimeout(this.#hushed);
    this.#hushed = setTimeout(() => this.log.setAttribute('aria-live', 'polite'), HUSH_MS);
  }

  // --- writing ------------------------------------------------------------------------------------------------------

  #bind() {
    this.form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#send();
    });
    this.input.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#send();
    });
    this.input.addEventListener('input', () => {
      this.#showCount();
      if (this.#talk) this.messenger.key(this.#talk, this.input.value.trim() === '');
    });
    this.input.addEventListener('blur', () => this.#talk && this.messenger.rest(this.#talk));
    this.log.addEventListener('scroll', () => {
      if (this.#isAtEnd()) {
        this.newer.hidden = true;
        if (this.isVisible) this.options.onSeen();
      }
      if (this.log.scrollTop < NEAR_PIXELS && this.log.scrollHeight > this.log.clientHeight + NEAR_PIXELS) this.#loadOlder();
    });
    // A sheet that grows or shrinks, as with the on-screen keyboard, keeps its end in sight.
    let wasAtEnd = true;
    this.log.addEventListener('scroll', () => (wasAtEnd = this.#isAtEnd()));
    new ResizeObserver(() => wasAtEnd && this.#toEnd()).observe(this.log);
  }

  #send() {
    const text = this.input.value.trim();
    const talk = this.#talk;
    if (!talk || text === '' || [...text].length > talk.charactersMax) return;
    this.input.value = '';
    this.#showCount();
    this.messenger.send(talk, text, this.#replyTo?.messageId);
    this.answer(null);
    this.#toEnd();
  }

  #showCount() {
    const max = this.#talk?.charactersMax ?? 0;
    const count = [...this.input.value.trim()].length;
    this.counter.textContent = `${count}/${max}`;
    // With much room left the number is of no use to the eye.
    this.counter.classList.toggle('quiet', max > 500 && count < max - 200);
    this.counter.classList.toggle('close', count > max - 40);
    this.counter.classList.toggle('over', count > max);
    this.input.setAttribute('aria-invalid', String(count > max));
    this.sendButton.disabled = count === 0 || count > max;
  }

  #showTyping() {
    const people = this.#talk ? this.messenger.typists(this.#talk) : [];
    const names = people.slice(0, 2).map(({ displayName }) => cleanName(displayName, 16));
    const more = people.length > 2 ? ` and ${people.length - 2} more` : '';
    this.typing.textContent = people.length === 0 ? '' : `${names.join(', ')}${more} ${people.length === 1 ? 'is' : 'are'} writing…`;
  }
}

function sendIcon() {
  const space = 'http://www.w3.org/2000/svg';
  const icon = document.createElementNS(space, 'svg');
  icon.setAttribute('viewBox', '0 0 24 24');
  icon.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS(space, 'path');
  path.setAttribute('d', 'M4 12 20 4.5 15 20l-4-6.5z');
  path.setAttribute('fill', 'currentColor');
  icon.append(path);
  return icon;
}
