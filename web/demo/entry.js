// @ts-check
/** Who are you? The dialog at the door, and what is remembered of its answer. */
import { drawPortrait, LOOKS } from './avatar_art.js';
import { element } from './dom.js';
import { cleanName } from './text.js';

const REMEMBERED = 'roomring.visitor';
const USER_ID = 'roomring.userId';

/** A tab is a person: two windows meet each other. @returns {string} */
export function tabUserId() {
  const known = read(() => sessionStorage.getItem(USER_ID));
  // A duplicated tab inherits the storage of the first; the name of the window tells them apart.
  if (known && window.name === known) return known;
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  const userId = `guest-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
  window.name = userId;
  read(() => sessionStorage.setItem(USER_ID, userId));
  return userId;
}

/**
 * @param {URLSearchParams} query `?name=Ada&avatar=fox` answers in advance
 * @returns {Promise<{displayName: string, avatarId: string}>}
 */
export async function askVisitor(query) {
  const remembered = recall();
  const named = query.get('name');
  if (named) return { displayName: cleanName(named), avatarId: query.get('avatar') ?? remembered?.avatarId ?? 'fox' };

  const dialog = element('entry', HTMLDialogElement);
  const form = element('entry-form', HTMLFormElement);
  const input = element('name-input', HTMLInputElement);
  const choices = element('avatar-choices', HTMLElement);
  const names = Object.keys(LOOKS);
  const chosen = query.get('avatar') ?? remembered?.avatarId ?? names[Math.floor(Math.random() * names.length)];
  for (const avatarId of names) {
    const radio = document.createElement('input');
    Object.assign(radio, { type: 'radio', name: 'avatar', value: avatarId, checked: avatarId === chosen });
    const portrait = document.createElement('canvas');
    drawPortrait(portrait, avatarId, 76);
    const label = document.createElement('label');
    label.className = 'choice';
    label.dataset.testid = `avatar-${avatarId}`;
    label.style.setProperty('--colour', LOOKS[avatarId].hood);
    const caption = document.createElement('span');
    caption.textContent = LOOKS[avatarId].label;
    label.append(radio, portrait, caption);
    choices.append(label);
  }
  if (!names.includes(chosen)) choices.querySelector('input')?.setAttribute('checked', '');
  input.value = remembered?.displayName ?? '';
  dialog.addEventListener('cancel', (event) => event.preventDefault());
  dialog.showModal();
  input.select();
  await new Promise((resolve) => {
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      resolve(undefined);
    });
  });
  dialog.close();
  const visitor = { displayName: cleanName(input.value), avatarId: String(new FormData(form).get('avatar') ?? 'fox') };
  read(() => localStorage.setItem(REMEMBERED, JSON.stringify(visitor)));
  return visitor;
}

/** @returns {{displayName: string, avatarId: string} | null} */
function recall() {
  const value = read(() => JSON.parse(localStorage.getItem(REMEMBERED) ?? 'null'));
  return typeof value?.displayName === 'string' && typeof value?.avatarId === 'string' ? value : null;
}

/**
 * Storage may be forbidden, full, or hold something else's text; the page works without it.
 * @template T
 * @param {() => T} access
 * @returns {T | null}
 */
function read(access) {
  try {
    return access();
  } catch {
    return null;
  }
}
