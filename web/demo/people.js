// @ts-check
/** A person's card, what can be done about a message, and the report. */
import { button, element, isolated, make, openSheet, portrait, spoken } from './dom.js';
import { toast } from './panels.js';
import { cleanLine, cleanName } from './text.js';

/**
 * @typedef {import('../roomring/messenger.js').Messenger} Messenger
 * @typedef {import('../roomring/messenger.js').Talk} Talk
 * @typedef {import('../roomring/conversation.js').Item} Item
 * @typedef {{roomId: string, epoch?: number, seq: number, text: string, displayName: string}} Reportable
 */

const REASON_CHARACTERS_MAX = 500;

export class PersonCard {
  #dialog = element('card', HTMLDialogElement);
  #body = element('card-body', HTMLElement);
  /** @type {{userId: string, displayName: string} | null} */
  #person = null;
  #stopWatching = () => {};

  /**
   * @param {Messenger} messenger
   * @param {object} options
   * @param {(userId: string) => string} options.avatarOf
   * @param {(userId: string, displayName: string) => void} options.onWrite
   * @param {(userId: string) => Reportable | undefined} options.lastWordsOf
   * @param {(target: Reportable) => void} options.onReport
   */
  constructor(messenger, options) {
    this.messenger = messenger;
    this.options = options;
    messenger.on('inbox', () => this.#render());
    messenger.on('presence', () => this.#render());
    this.#dialog.addEventListener('close', () => {
      this.#stopWatching();
      this.#person = null;
    });
    element('card-close', HTMLButtonElement).addEventListener('click', () => this.#dialog.close());
  }

  /** @param {string} userId @param {string} displayName */
  show(userId, displayName) {
    if (userId === this.messenger.selfId) return;
    this.#person = { userId, displayName };
    this.#stopWatching();
    this.#stopWatching = this.messenger.watch(userId);
    this.#render();
    openSheet(this.#dialog);
  }

  #render() {
    if (!this.#person) return;
    const { userId, displayName } = this.#person;
    const { inbox } = this.messenger;
    const name = cleanName(displayName, 40);
    const isBlocked = inbox.isBlocked(userId);
    const friendship = inbox.friendship(userId);
    const focused = document.activeElement instanceof HTMLElement && this.#body.contains(document.activeElement) ? document.activeElement.dataset.testid : null;
    const title = isolated(name, '');
    title.id = 'card-title';
    const actions = make('div', 'actions');
    const act = (/** @type {string} */ id, /** @type {string} */ label, /** @type {string} */ kind, /** @type {() => void} */ run) => {
      const node = button(label, kind, run);
      node.dataset.testid = `card-${id}`;
      actions.append(node);
      return node;
    };
    const ask = (/** @type {Promise<unknown>} */ asked) => void asked.catch((error) => toast(`That did not work: ${error.message || spoken(error.code)}`, { kind: 'error', ms: 6_000 }));
    if (!isBlocked) {
      const write = act('message', 'Message', 'primary', () => {
        this.#dialog.close();
        this.options.onWrite(userId, displayName);
      });
      write.disabled = friendship !== 'friends';
      if (friendship === 'none') act('friend', 'Add as friend', '', () => ask(this.messenger.addFriend(userId)));
      if (friendship === 'asks') act('friend', 'Accept as friend', 'primary', () => ask(this.messenger.addFriend(userId)));
      if (friendship === 'asked') act('unfriend', 'Take back the asking', '', () => ask(this.messenger.removeFriend(userId)));
      if (friendship === 'asks') act('unfriend', 'Not now', '', () => ask(this.messenger.removeFriend(userId)));
      if (friendship === 'friends') act('unfriend', 'End the friendship', '', () => ask(this.messenger.removeFriend(userId)));
    }
    if (isBlocked) act('unblock', 'Unblock', 'primary', () => ask(this.messenger.unblock(userId)));
    else act('block', 'Block', 'danger', () => ask(this.messenger.block(userId).then(() => toast(`You no longer see ${name}.`, { ms: 4_000 }))));
    const words = this.options.lastWordsOf(userId);
    const report = act('report', 'Report the last message', 'danger', () => words && this.options.onReport(words));
    report.disabled = words === undefined;
    const heading = make('h2', '', title);
    this.#body.replaceChildren(
      portrait(this.options.avatarOf(userId), 92),
      heading,
      make('p', 'presence', ...this.#presence(userId, isBlocked)),
      make('p', 'relation', isBlocked ? 'You have blocked this person.' : RELATIONS[friendship]),
      actions,
    );
    if (focused) {
      const again = actions.querySelector(`[data-testid="${focused}"]`) ?? actions.querySelector('button:enabled');
      if (again instanceof HTMLElement) again.focus();
    }
  }

  /** @param {string} userId @param {boolean} isBlocked */
  #presence(userId, isBlocked) {
    const presence = isBlocked ? undefined : this.messenger.presence(userId);
    if (!presence) return [''];
    const dot = make('i', `dot ${presence.status}`);
    const seen = presence.lastSeenMs ? `, last seen ${new Date(presence.lastSeenMs).toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' })}` : '';
    return [dot, { online: 'Online', away: 'Away', offline: `Offline${seen}` }[presence.status]];
  }
}

const RELATIONS = {
  none: 'You are not friends yet. Friends can write to each other.',
  asked: 'You have asked to be friends.',
  asks: 'Wants to be your friend.',
  friends: 'You are friends.',
};

/** What can be done about a message. */
export class MessageMenu {
  #dialog = element('actions', HTMLDialogElement);
  #body = element('actions-body', HTMLElement);

  /**
   * @param {object} options
   * @param {(item: Item, talk: Talk) => void} options.onAnswer
   * @param {(userId: string, displayName: string) => void} options.onPerson
   * @param {(target: Reportable) => void} options.onReport
   */
  constructor(options) {
    this.options = options;
    element('actions-close', HTMLButtonElement).addEventListener('click', () => this.#dialog.close());
  }

  /** @param {Item} item @param {Talk} talk */
  show(item, talk) {
    const { messageId, seq, epoch, userId, text, isSelf } = item;
    const displayName = item.displayName || 'You';
    const act = (/** @type {string} */ id, /** @type {string} */ label, /** @type {() => void} */ run) => {
      const node = button(label, 'row', () => {
        this.#dialog.close();
        run();
      });
      node.dataset.testid = `action-${id}`;
      return node;
    };
    const choices = [];
    if (messageId && talk.event !== 'local_chat') choices.push(act('answer', 'Answer', () => this.options.onAnswer(item, talk)));
    if (navigator.clipboard) choices.push(act('copy', 'Copy the text', () => void navigator.clipboard.writeText(text).catch(() => {})));
    if (!isSelf) {
      choices.push(act('person', `About ${cleanName(displayName)}`, () => this.options.onPerson(userId, displayName)));
      if (seq !== undefined) choices.push(act('report', 'Report…', () => this.options.onReport({ roomId: talk.roomId, epoch, seq, text, displayName })));
    }
    this.#body.replaceChildren(make('blockquote', '', isolated(cleanName(displayName), 'author'), ' ', isolated(cleanLine(text).slice(0, 200), '')), ...choices);
    openSheet(this.#dialog);
  }
}

/** Tells the moderators of a message. */
export class ReportDialog {
  #dialog = element('report', HTMLDialogElement);
  #form = element('report-form', HTMLFormElement);
  #reason = element('report-reason', HTMLTextAreaElement);
  /** @type {Reportable | null} */
  #target = null;

  /** @param {Messenger} messenger */
  constructor(messenger) {
    this.#reason.maxLength = REASON_CHARACTERS_MAX;
    element('report-cancel', HTMLButtonElement).addEventListener('click', () => this.#dialog.close());
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      const reason = this.#reason.value.trim();
      if (!this.#target || reason === '') return;
      this.#dialog.close();
      messenger.report(this.#target, reason).then(
        () => toast('Thank you. The moderators will look at it.', { ms: 5_000 }),
        (error) => toast(`The report did not go: ${error.message || spoken(error.code)}`, { kind: 'error', ms: 8_000 }),
      );
    });
  }

  /** @param {Reportable} target */
  show(target) {
    this.#target = target;
    this.#reason.value = '';
    element('report-quote', HTMLElement).replaceChildren(isolated(cleanName(target.displayName), 'author'), ' ', isolated(cleanLine(target.text).slice(0, 300), ''));
    openSheet(this.#dialog);
    this.#reason.focus();
  }
}
