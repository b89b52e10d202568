// @ts-check
/** Keyboard and pointer: both end in the same few calls. */
import { EMOTES } from './emote_art.js';

/** @type {Record<string, [number, number]>} by place on the keyboard, so that AZERTY walks too */
const DIRECTIONS = {
  KeyW: [0, -1], ArrowUp: [0, -1],
  KeyS: [0, 1], ArrowDown: [0, 1],
  KeyA: [-1, 0], ArrowLeft: [-1, 0],
  KeyD: [1, 0], ArrowRight: [1, 0],
};

/** While dragging, the way is planned anew this often. */
const DRAG_INTERVAL_MS = 110;

/** A touch that moves further is no touch of what was under it. */
const TOUCH_PIXELS = 12;

/**
 * @param {HTMLCanvasElement} canvas
 * @param {object} actions
 * @param {(x: number, z: number) => void} actions.steer
 * @param {(x: number, y: number) => void} actions.walkToPixel
 * @param {(x: number, y: number, isMeant: boolean) => boolean} actions.touch somebody or something at this pixel; false where there is only floor
 * @param {() => void} actions.halt
 * @param {(emoteId: string) => void} actions.emote
 * @param {() => void} actions.toggleSpeaking
 * @param {() => void} actions.focusChat
 * @param {() => void} actions.openLetters
 * @param {() => void} actions.openBoard
 */
export function bindControls(canvas, { steer, walkToPixel, touch, halt, emote, toggleSpeaking, focusChat, openLetters, openBoard }) {
  /** @type {Set<string>} */
  const held = new Set();
  const update = () => {
    let [x, z] = [0, 0];
    for (const code of held) {
      x += DIRECTIONS[code][0];
      z += DIRECTIONS[code][1];
    }
    steer(Math.sign(x), Math.sign(z));
  };
  const release = () => {
    if (held.size === 0) return;
    held.clear();
    update();
  };

  window.addEventListener('keydown', (event) => {
    if (isTyping(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector('dialog:modal')) return;
    if (event.code in DIRECTIONS) {
      // Arrow keys on a tab or a list belong to it.
      if (event.code.startsWith('Arrow') && event.target instanceof Element && event.target.closest('[role=tablist], .scrolls, dialog')) return;
      event.preventDefault();
      held.add(event.code);
      update();
      return;
    }
    if (event.repeat) return;
    const index = Number(event.key) - 1;
    if (EMOTES[index]) emote(EMOTES[index].id);
    else if (event.code === 'KeyV') toggleSpeaking();
    else if (event.code === 'KeyM') openLetters();
    else if (event.code === 'KeyN') openBoard();
    else if (event.key === 'Enter' && !(event.target instanceof HTMLButtonElement)) {
      event.preventDefault();
      focusChat();
    }
  });
  window.addEventListener('keyup', (event) => {
    if (held.delete(event.code)) update();
  });
  window.addEventListener('focusin', (event) => {
    if (isTyping(event.target)) release();
  });
  window.addEventListener('blur', release);
  document.addEventListener('visibilitychange', () => {
    held.clear();
    if (document.visibilityState === 'hidden') halt();
  });

  let lastMs = 0;
  /** @type {{x: number, y: number} | null} */
  let touched = null;
  const walk = (/** @type {PointerEvent} */ event) => {
    const box = canvas.getBoundingClientRect();
    lastMs = event.timeStamp;
    walkToPixel(event.clientX - box.left, event.clientY - box.top);
  };
  canvas.addEventListener('pointerdown', (event) => {
    if (event.button !== 0 || !event.isPrimary) return;
    canvas.setPointerCapture(event.pointerId);
    canvas.focus({ preventScroll: true });
    const box = canvas.getBoundingClientRect();
    touched = touch(event.clientX - box.left, event.clientY - box.top, false) ? { x: event.clientX, y: event.clientY } : null;
    if (!touched) walk(event);
  });
  // What was touched answers at the end of the touch, so that a finger that slides on only walks.
  canvas.addEventListener('pointerup', (event) => {
    if (!touched || Math.hypot(event.clientX - touched.x, event.clientY - touched.y) > TOUCH_PIXELS) return;
    const box = canvas.getBoundingClientRect();
    touch(event.clientX - box.left, event.clientY - box.top, true);
  });
  canvas.addEventListener('pointermove', (event) => {
    if (canvas.hasPointerCapture(event.pointerId) && event.timeStamp - lastMs > DRAG_INTERVAL_MS) walk(event);
  });
  canvas.addEventListener('contextmenu', (event) => event.preventDefault());
}

/** @param {EventTarget | null} target */
function isTyping(target) {
  return target instanceof HTMLElement && (target.matches('input, textarea, select') || target.isContentEditable);
}
