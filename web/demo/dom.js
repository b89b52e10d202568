// @ts-check
/** Small helpers to build the page. Text of strangers is only ever set as text. */
import { drawPortrait, lookOf } from './avatar_art.js';

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
export function make(tag, className, ...children) {
  const node = document.createElement(tag);
  node.className = className;
  node.append(...children);
  return node;
}

/**
 * @param {string} label
 * @param {string} className
 * @param {() => void} onClick
 * @returns {HTMLButtonElement}
 */
export function button(label, className, onClick) {
  const node = /** @type {HTMLButtonElement} */ (make('button', className, label));
  node.type = 'button';
  node.addEventListener('click', onClick);
  return node;
}

/** @param {string} text @param {string} className */
export function isolated(text, className) {
  // The text decides its own direction and cannot turn what stands around it.
  const node = make('bdi', className, text);
  node.dir = 'auto';
  return node;
}

/** @param {string} avatarId @param {number} size CSS pixels */
export function portrait(avatarId, size) {
  const canvas = document.createElement('canvas');
  drawPortrait(canvas, avatarId, size, true);
  canvas.setAttribute('aria-hidden', 'true');
  const frame = make('span', 'face', canvas);
  frame.style.setProperty('--colour', lookOf(avatarId).hood);
  return frame;
}

/** Hoods are chosen for the canvas; as text on the panel the dark ones need more light. @param {string} avatarId */
export function nameColour(avatarId) {
  return `color-mix(in oklab, ${lookOf(avatarId).hood} 68%, white)`;
}

/** @param {number} atMs @returns {string} the time of a day that is today, else the date too */
export function clockTime(atMs) {
  const date = new Date(atMs);
  const time = date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  return date.toDateString() === new Date().toDateString() ? time : `${date.toLocaleDateString([], { day: 'numeric', month: 'short' })}, ${time}`;
}

/** @param {string} code such as "not_authenticated" */
export function spoken(code) {
  return code.replaceAll('_', ' ');
}

/**
 * A modal sheet: Escape and a click beside it close it, and the focus goes back to where it was.
 * @param {HTMLDialogElement} dialog
 */
export function openSheet(dialog) {
  if (dialog.open) return;
  dialog.onpointerdown = (event) => {
    if (event.target !== dialog) return;
    const box = dialog.getBoundingClientRect();
    const isInside = event.clientX >= box.left && event.clientX <= box.right && event.clientY >= box.top && event.clientY <= box.bottom;
    if (!isInside) dialog.close();
  };
  dialog.showModal();
}
