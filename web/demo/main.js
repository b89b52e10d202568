// @ts-check
/** The demo page: ties the client to the canvas and the panels. */
import { CHAT_CHARACTERS_MAX, RoomringClient } from '../roomring/index.js';
import { bindControls } from './controls.js';
import { EMOTES, emoteIcon } from './emote_art.js';
import { askVisitor, tabUserId } from './entry.js';
import { ChatLog, element, showMembers, StatusBadge, toast } from './panels.js';
import { Scene } from './scene.js';
import { cleanName } from './text.js';
import { BOT_PLACES, findPath } from './world.js';

const query = new URLSearchParams(location.search);
const roomId = query.get('room') || 'bar';
const isSim = query.get('provider') === 'sim';
const canvas = element('stage', HTMLCanvasElement);
const chatInput = element('chat-input', HTMLInputElement);
const chatForm = element('chat-form', HTMLFormElement);
const counter = element('chat-counter', HTMLElement);
const speakButton = element('speak', HTMLButtonElement);
const panel = element('panel', HTMLElement);
const log = new ChatLog();
const badge = new StatusBadge();

/** @type {RoomringClient | null} */
let client = null;
/** Names and avatars of people who may have left since, for their last lines. @type {Map<string, {displayName: string, avatarId: string}>} */
const faces = new Map();

const scene = new Scene(canvas, {
  now: () => performance.timeOrigin + performance.now(),
  onMove: (transform) => client?.sendTransform(roomId, transform),
});

element('room-name', HTMLElement).textContent = roomId;
document.title = `${roomId} · Roomring`;
buildEmoteBar();
bindPanels();
bindViewport();
bindControls(canvas, {
  steer: (x, z) => {
    learnt();
    scene.steer(x, z);
  },
  walkToPixel: (x, y) => {
    learnt();
    scene.walkToPixel(x, y);
  },
  halt: () => scene.halt(),
  emote: sendEmote,
  toggleSpeaking: () => speakButton.click(),
  focusChat: () => {
    showTab('chat');
    chatInput.focus();
  },
});
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
  listen(client, userId);
  Object.assign(window, { __roomring: { client, scene, roomId, userId, get status() { return client?.status.state; } } });
  client.connect();
  client.join(roomId).catch(() => {}); // Told by authError, error or status.
  canvas.focus({ preventScroll: true });
}

/** @param {RoomringClient} client @param {string} selfId */
function listen(client, selfId) {
  let wasHere = false;
  let wasConnected = false;
  const refreshMembers = () => showMembers(client.members(roomId), selfId);
  const remember = (/** @type {{userId: string, displayName: string, avatarId: string}} */ member) => faces.set(member.userId, member);
  const nameOf = (/** @type {string} */ userId) => faces.get(userId)?.displayName ?? 'Somebody';

  client.on('status', (status) => {
    badge.show(status, client.rttMs, isSim);
    if (status.state === 'connected') {
      if (wasConnected) toast('Connected again', { ms: 2_000 });
      wasConnected = true;
    } else if (status.state === 'reconnecting' && wasConnected && status.attempt === 1) {
      toast('The connection was lost. Trying again…', { kind: 'warning', ms: 4_000 });
    } else if (status.state === 'offline') {
      toast('No network. We go on as soon as it is back.', { kind: 'warning', ms: 6_000 });
    } else if (status.state === 'closed' && status.reason !== 'disconnect') {
      toast(`Disconnected: ${spoken(status.reason ?? 'closed')}`, { kind: 'error', action: { label: 'Try again', run: () => location.reload() } });
    }
  });
  client.on('latency', ({ rttMs }) => badge.show(client.status, rttMs, isSim));
  client.on('roomState', (state) => {
    state.members.forEach(remember);
    scene.setMembers(state.members, selfId);
    refreshMembers();
    if (!wasHere) log.system('', `Welcome to ${cleanName(roomId, 40)}. ${isSim ? 'This is the offline demo: the regulars are bots.' : 'Say hello!'}`);
    wasHere = true;
  });
  client.on('memberJoined', ({ member }, { replay }) => {
    remember(member);
    if (!replay) scene.add(member);
    refreshMembers();
    if (member.userId !== selfId) log.system(member.displayName, 'came in');
  });
  client.on('memberLeft', ({ userId }, { replay }) => {
    if (!replay) scene.remove(userId);
    refreshMembers();
    if (userId !== selfId) log.system(nameOf(userId), 'left');
  });
  client.on('transform', (payload, meta) => scene.move(payload.userId, payload, meta));
  client.on('chat', ({ userId, displayName, text }, { replay, ts }) => {
    const avatarId = faces.get(userId)?.avatarId ?? '';
    log.add({ userId, displayName, text, isSelf: userId === selfId, avatarId, atMs: ts });
    if (!replay) scene.say(userId, text);
  });
  client.on('emote', ({ userId, emoteId }, { replay }) => {
    if (!replay) scene.emote(userId, emoteId);
  });
  client.on('moderation', ({ type, reason }) => toast(`${MODERATION[type] ?? 'A moderator acted'}${reason ? `: ${reason}` : ''}`, { kind: 'error', ms: type === 'mutedByMod' ? 8_000 : undefined }));
  client.on('rateLimited', ({ event }) => {
    if (event !== 'avatar_transform') toast('A little slower, please. Your message goes out in a moment.', { kind: 'warning', ms: 3_000 });
  });
  client.on('authError', ({ code, message, isFinal }) => {
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

/** @param {string} code such as "not_authenticated" */
function spoken(code) {
  return code.replaceAll('_', ' ');
}

// --- chat and emotes ------------------------------------------------------------------------------------------------

chatForm.addEventListener('submit', (event) => {
  event.preventDefault();
  const text = chatInput.value.trim();
  if (!client || text === '') return;
  if ([...text].length > CHAT_CHARACTERS_MAX) return;
  chatInput.value = '';
  showCount();
  client.sendChat(roomId, text).catch((error) => {
    if (error.code === 'left' || error.code === 'closed' || error.code === 'disconnect') return;
    toast(`Not sent: ${error.message || spoken(error.code)}`, { kind: 'error', ms: 6_000 });
    if (chatInput.value === '') chatInput.value = text;
    showCount();
  });
});
chatInput.addEventListener('input', showCount);
chatInput.addEventListener('keydown', (event) => {
  if (event.key === 'Escape') canvas.focus({ preventScroll: true });
});
showCount();

function showCount() {
  const count = [...chatInput.value.trim()].length;
  counter.textContent = `${count}/${CHAT_CHARACTERS_MAX}`;
  counter.classList.toggle('close', count > CHAT_CHARACTERS_MAX - 40);
  counter.classList.toggle('over', count > CHAT_CHARACTERS_MAX);
  chatInput.setAttribute('aria-invalid', String(count > CHAT_CHARACTERS_MAX));
  element('chat-send', HTMLButtonElement).disabled = count === 0 || count > CHAT_CHARACTERS_MAX;
}

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

/** @param {'chat' | 'people'} name */
function showTab(name) {
  panel.dataset.tab = name;
  delete panel.dataset.folded;
  for (const tab of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('[role=tab]'))) {
    tab.setAttribute('aria-selected', String(tab.dataset.tab === name));
  }
}

function bindPanels() {
  for (const tab of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('[role=tab]'))) {
    tab.addEventListener('click', () => {
      const name = tab.dataset.tab === 'people' ? 'people' : 'chat';
      // On a phone a second tap folds the sheet away.
      if (panel.dataset.tab === name && !('folded' in panel.dataset)) panel.dataset.folded = '';
      else showTab(name);
    });
  }
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
