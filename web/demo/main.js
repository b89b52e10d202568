// @ts-check
/** The demo page: ties the client to the canvas, the conversations and the board. */
import { BoardSession, Messenger, RoomringClient } from '../roomring/index.js';
import { BOARD, BoardView, NOTE_COLOURS } from './board_view.js';
import { bindControls } from './controls.js';
import { element, spoken } from './dom.js';
import { EMOTES, emoteIcon } from './emote_art.js';
import { askVisitor, tabUserId } from './entry.js';
import { Letters } from './letters.js';
import { showMembers, StatusBadge, toast } from './panels.js';
import { MessageMenu, PersonCard, ReportDialog } from './people.js';
import { Scene } from './scene.js';
import { TalkView } from './talk_view.js';
import { cleanName } from './text.js';
import { BOT_PLACES, findPath } from './world.js';

const LIST_REFRESH_MS = 50;
const query = new URLSearchParams(location.search);
const roomId = query.get('room') || 'bar';
const worldRoomId = `lobby:${query.get('world') || 'world'}`;
const boardRoomId = `notes:${query.get('board') || `${roomId.replaceAll(':', '.')}-wall`}`;
const isSim = query.get('provider') === 'sim';
const canvas = element('stage', HTMLCanvasElement);
const speakButton = element('speak', HTMLButtonElement);
const panel = element('panel', HTMLElement);
const badge = new StatusBadge();

/** @type {RoomringClient | null} */
let client = null;
/** Names and avatars of people who may have left since, for their last lines. @type {Map<string, {displayName: string, avatarId: string}>} */
const faces = new Map();
let worldNews = 0;

const scene = new Scene(canvas, {
  now: () => performance.timeOrigin + performance.now(),
  onMove: (transform) => client?.sendTransform(roomId, transform),
});

element('room-name', HTMLElement).textContent = roomId;
document.title = `${roomId} · Roomring`;
buildEmoteBar();
bindPanels();
bindViewport();
enter();

async function enter() {
  const visitor = await askVisitor(query);
  const userId = tabUserId();
  const device = matchMedia('(pointer: coarse)').matches ? 'mobile' : 'desktop';
  client = new RoomringClient({
    user: { userId, ...visitor },
    device,
    provider: isSim ? 'sim' : 'ws',
    sim: { places: BOT_PLACES, route: findPath },
  });
  const messenger = new Messenger(client);
  const board = new BoardSession(client, boardRoomId);
  furnish(client, messenger, board);
  Object.assign(window, { __roomring: { client, messenger, board, scene, roomId, userId, get status() { return client?.status.state; } } });
  client.connect();
  // Refusals are told by authError, error or status.
  client.join(roomId).catch(() => {});
  client.join(worldRoomId).catch(() => {});
  board.open().catch(() => {});
  messenger.open(roomId).catch(() => {});
  canvas.focus({ preventScroll: true });
}

/**
 * Everything on the page that needs the connection.
 * @param {RoomringClient} client
 * @param {Messenger} messenger
 * @param {BoardSession} board
 */
function furnish(client, messenger, board) {
  const selfId = client.user.userId;
  const avatarOf = (/** @type {string} */ userId) => (userId === selfId ? client.user.avatarId : (faces.get(userId)?.avatarId ?? userId));
  const nameOf = (/** @type {string} */ userId) => faces.get(userId)?.displayName ?? messenger.inbox.threadWith(userId)?.displayName ?? 'Somebody';
  const reportDialog = new ReportDialog(messenger);
  const onReport = (/** @type {import('./people.js').Reportable} */ target) => reportDialog.show(target);
  const onPerson = (/** @type {string} */ userId, /** @type {string} */ displayName) => card.show(userId, displayName);
  const menu = new MessageMenu({ onPerson, onReport, onAnswer: (item, talk) => [bar, world, letters.view].find((view) => view.talk === talk)?.answer(item) });
  const onMore = (/** @type {any} */ item, /** @type {any} */ talk) => menu.show(item, talk);
  const views = { messenger, avatarOf, onMore, onPerson };
  const bar = new TalkView({ id: 'chat', label: 'Chat of the bar', placeholder: 'Say something nice…', ...views });
  const world = new TalkView({ id: 'world', label: 'World chat', placeholder: 'Write to the world…', onSeen: () => countWorldNews(0), ...views });
  const letters = new Letters(messenger, { avatarOf, nameOf, onPerson, onMore });
  const talks = [messenger.room(roomId, { isKept: false }), messenger.room(worldRoomId, { isKept: true })];
  bar.show(talks[0]);
  world.show(talks[1]);
  const card = new PersonCard(messenger, {
    avatarOf,
    onReport,
    onWrite: (userId, displayName) => letters.write(userId, displayName),
    lastWordsOf: (userId) => {
      for (const talk of [messenger.direct(userId), ...talks]) {
        const item = messenger.items(talk).findLast((each) => each.userId === userId);
        if (item?.seq !== undefined) return { roomId: talk.roomId, epoch: item.epoch, seq: item.seq, text: item.text, displayName: item.displayName };
      }
      return undefined;
    },
  });
  const boardView = new BoardView(board, {
    isHidden: messenger.inbox.isBlocked,
    onChange: () => {
      const across = (/** @type {number} */ value, /** @type {number} */ whole) => Math.min(1, Math.max(0, value / whole));
      scene.setNotes(boardView.notes().map(({ x, y, colour }) => ({
        x: across(x, BOARD.width - BOARD.noteWidth), y: across(y, BOARD.height - BOARD.noteHeight), paper: NOTE_COLOURS[colour] ?? NOTE_COLOURS.yellow,
      })));
      showStatus();
    },
  });

  bindControls(canvas, {
    steer: (x, z) => {
      learnt();
      scene.steer(x, z);
    },
    walkToPixel: (x, y) => {
      learnt();
      scene.walkToPixel(x, y);
    },
    touch: (x, y, isMeant) => {
      const found = scene.at(x, y);
      if (found === 'board' && isMeant) boardView.open();
      else if (found && found !== 'board' && isMeant) onPerson(found.userId, nameOf(found.userId));
      return found !== null;
    },
    halt: () => scene.halt(),
    emote: sendEmote,
    toggleSpeaking: () => speakButton.click(),
    focusChat: () => {
      const view = panel.dataset.tab === 'world' ? world : bar;
      showTab(view.id);
      view.input.focus();
    },
    openLetters: () => letters.open(),
    openBoard: () => boardView.open(),
  });
  for (const view of [bar, world]) {
    view.input.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') canvas.focus({ preventScroll: true });
    });
  }
  panel.addEventListener('tab', () => {
    if (panel.dataset.tab === 'chat') bar.appear();
    if (panel.dataset.tab === 'world') world.appear();
  });

  const showStatus = () => badge.show(client.status, client.rttMs, isSim, client.pendingMessages);
  client.on('pending', (() => {
    let before = -1;
    return (/** @type {number} */ count) => {
      if (count !== before) showStatus();
      before = count;
    };
  })());
  messenger.on('arrived', ({ userId, displayName, text }) => {
    if (letters.isShowing(userId)) return;
    toast(`${cleanName(displayName)}: ${text.slice(0, 80)}`, { ms: 6_000, action: { label: 'Answer', run: () => letters.write(userId, displayName) } });
  });
  messenger.on('failed', ({ talk, code }) => {
    if (code === 'left' || code === 'closed' || code === 'disconnect') return;
    toast(`A message ${talk.userId ? `to ${cleanName(nameOf(talk.userId))} ` : ''}was not sent: ${spoken(code)}.`, { kind: 'error', ms: 6_000 });
  });
  listen(client, { selfId, bar, world, nameOf, onPerson, showStatus });
}

/**
 * @param {RoomringClient} client
 * @param {object} page
 * @param {string} page.selfId
 * @param {TalkView} page.bar
 * @param {TalkView} page.world
 * @param {(userId: string) => string} page.nameOf
 * @param {(userId: string, displayName: string) => void} page.onPerson
 * @param {() => void} page.showStatus
 */
function listen(client, { selfId, bar, world, nameOf, onPerson, showStatus }) {
  let wasHere = false;
  let wasConnected = false;
  let endTrouble = () => {};
  let isListStale = false;
  // In a large room many come and go within one frame.
  const refreshMembers = () => {
    if (isListStale) return;
    isListStale = true;
    setTimeout(() => {
      isListStale = false;
      showMembers(client.members(roomId), selfId, onPerson);
    }, LIST_REFRESH_MS);
  };
  const remember = (/** @type {{userId: string, displayName: string, avatarId: string}} */ member) => faces.set(member.userId, member);
  const isHere = (/** @type {{roomId: string}} */ event) => event.roomId === roomId;

  client.on('status', (status) => {
    showStatus();
    if (status.state === 'connected') {
      endTrouble();
      if (wasConnected) toast('Connected again', { ms: 2_000 });
      wasConnected = true;
    } else if (status.state === 'reconnecting' && wasConnected && status.attempt === 1) {
      endTrouble = toast('The connection was lost. Trying again…', { kind: 'warning', ms: 4_000 });
    } else if (status.state === 'offline') {
      endTrouble = toast('No network. What you write waits, and goes as soon as it is back.', { kind: 'warning', ms: 6_000 });
    } else if (status.state === 'closed' && status.reason !== 'disconnect') {
      toast(`Disconnected: ${spoken(status.reason ?? 'closed')}`, { kind: 'error', action: { label: 'Try again', run: () => location.reload() } });
    }
  });
  client.on('latency', showStatus);
  client.on('roomState', (state) => {
    if (state.roomId === worldRoomId) showWorldCount(state.memberCount ?? 0);
    if (!isHere(state)) return;
    state.members.forEach(remember);
    scene.setMembers(state.members, selfId, { isAll: !state.parts });
    refreshMembers();
    if (!wasHere) bar.remark('', `Welcome to ${cleanName(roomId, 40)}. ${isSim ? 'This is the offline demo: the regulars are bots.' : 'Say hello!'}`);
    wasHere = true;
  });
  client.on('roomMembers', (event) => {
    if (!isHere(event)) return;
    event.members.forEach(remember);
    if (event.part === event.parts) scene.setMembers(client.members(roomId), selfId);
    refreshMembers();
  });
  client.on('memberCount', (event) => {
    if (event.roomId === worldRoomId) showWorldCount(event.count);
  });
  client.on('memberJoined', (event, { replay }) => {
    if (!isHere(event)) return;
    const { member } = event;
    remember(member);
    if (!replay) scene.add(member);
    refreshMembers();
    if (member.userId !== selfId) bar.remark(member.displayName, 'came in');
  });
  client.on('memberLeft', (event, { replay }) => {
    if (!isHere(event)) return;
    if (!replay) scene.remove(event.userId);
    refreshMembers();
    if (event.userId !== selfId) bar.remark(nameOf(event.userId), 'left');
  });
  client.on('transform', (payload, meta) => isHere(payload) && scene.move(payload.userId, payload, meta));
  client.on('chat', (event, { replay }) => {
    if (isHere(event) && !replay) scene.say(event.userId, event.text);
    if (event.roomId === worldRoomId && event.userId !== selfId && !world.isVisible) countWorldNews(worldNews + 1);
  });
  client.on('emote', (event, { replay }) => {
    if (isHere(event) && !replay) scene.emote(event.userId, event.emoteId);
  });
  client.on('moderation', ({ type, reason }) => toast(`${MODERATION[type] ?? 'A moderator acted'}${reason ? `: ${reason}` : ''}`, { kind: 'error', ms: type === 'mutedByMod' ? 8_000 : undefined }));
  client.on('rateLimited', ({ event }) => {
    if (event !== 'avatar_transform' && event !== 'typing') toast('A little slower, please. Your message goes out in a moment.', { kind: 'warning', ms: 3_000 });
  });
  client.on('authError', ({ code, message, roomId: where, isFinal }) => {
    if (where !== roomId) return;
    if (isFinal) toast(`You cannot enter: ${message || spoken(code)}`, { kind: 'error' });
    else toast('Your pass has run out. Fetching a new one…', { ms: 2_500 });
  });
  client.on('error', ({ code, message, roomId: where }) => {
    // A refused join; what happened to a message of ours is told where it was sent.
    if (where === roomId && client.members(roomId).length === 0) toast(message || spoken(code), { kind: 'error' });
  });
  client.on('draining', () => toast('The server restarts. We will be right back.', { ms: 4_000 }));
  client.on('resync', refreshMembers);
}

/** @type {Record<string, string>} */
const MODERATION = {
  kicked: 'You were asked to leave',
  banned: 'You were banned from this room',
  mutedByMod: 'A moderator muted you',
};

/** @param {number} count */
function showWorldCount(count) {
  element('world-count', HTMLElement).textContent = count === 1 ? 'You are alone in the world right now' : `${count} people are listening`;
}

/** @param {number} count lines that nobody has looked at */
function countWorldNews(count) {
  worldNews = count;
  const node = element('world-unread', HTMLElement);
  node.textContent = count > 99 ? '99+' : String(count);
  node.hidden = count === 0;
}

// --- emotes ---------------------------------------------------------------------------------------------------------

/** @param {string} emoteId */
function sendEmote(emoteId) {
  if (!client || client.status.state === 'closed') return;
  scene.gesture(emoteId);
  client.sendEmote(roomId, emoteId).catch(() => {}); // An emote that got lost is not worth a message.
}

function buildEmoteBar() {
  const bar = element('emotes', HTMLElement);
  EMOTES.forEach(({ id, label }, index) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.dataset.testid = button.id = `emote-${id}`;
    button.title = `${label} (${index + 1})`;
    button.setAttribute('aria-label', label);
    button.setAttribute('aria-keyshortcuts', String(index + 1));
    button.append(emoteIcon(id));
    button.addEventListener('click', () => sendEmote(id));
    bar.insertBefore(button, speakButton);
  });
  speakButton.addEventListener('click', () => {
    const isSpeaking = speakButton.getAttribute('aria-pressed') !== 'true';
    speakButton.setAttribute('aria-pressed', String(isSpeaking));
    scene.setSpeaking(isSpeaking);
  });
}

// --- page -----------------------------------------------------------------------------------------------------------

/** Who has walked once needs no more telling. */
function learnt() {
  element('help', HTMLElement).classList.add('done');
}

function tabs() {
  return /** @type {HTMLElement[]} */ ([...document.querySelectorAll('[role=tab]')]).filter((tab) => tab.offsetParent !== null);
}

/** @param {string} name */
function showTab(name) {
  panel.dataset.tab = name;
  delete panel.dataset.folded;
  for (const tab of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('[role=tab]'))) {
    const isChosen = tab.dataset.tab === name;
    tab.setAttribute('aria-selected', String(isChosen));
    tab.tabIndex = isChosen ? 0 : -1;
  }
  panel.dispatchEvent(new Event('tab'));
}

function bindPanels() {
  for (const tab of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('[role=tab]'))) {
    tab.addEventListener('click', () => {
      const name = tab.dataset.tab ?? 'chat';
      // On a phone a second tap folds the sheet away.
      if (panel.dataset.tab === name && !('folded' in panel.dataset)) panel.dataset.folded = '';
      else showTab(name);
    });
    tab.addEventListener('keydown', (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const all = tabs();
      const next = all[(all.indexOf(tab) + step + all.length) % all.length];
      showTab(next.dataset.tab ?? 'chat');
      next.focus();
    });
  }
  // A wide window has no tab for people; who comes from a narrow one goes to the chat.
  matchMedia('(min-width: 821px)').addEventListener('change', ({ matches }) => matches && panel.dataset.tab === 'people' && showTab('chat'));
  window.addEventListener('beforeunload', () => scene.halt());
}

/** On iOS the on-screen keyboard covers the page instead of shrinking it; the visible height is then told to the layout. */
function bindViewport() {
  const viewport = window.visualViewport;
  if (!viewport) return;
  const update = () => {
    const isCovered = window.innerHeight - viewport.height > 80;
    document.documentElement.style.setProperty('--height', isCovered ? `${viewport.height}px` : '100dvh');
    if (isCovered) window.scrollTo(0, 0);
  };
  viewport.addEventListener('resize', update);
  update();
}
