// @ts-check
/** The board on the wall, as an overlay: notes to read, put up, move with the pointer or the arrow keys, and to decide about. */
import { LONG_CHARACTERS_MAX } from '../roomring/index.js';
import { button, element, isolated, make, openSheet, spoken } from './dom.js';
import { cleanLine, cleanName } from './text.js';

/**
 * @typedef {import('../roomring/board_session.js').BoardSession} BoardSession
 * @typedef {import('../roomring/board.js').ShownNote} ShownNote
 */

/** Size of the board and of a note, in the board's unit, which is a CSS pixel. */
export const BOARD = { width: 1000, height: 560, noteWidth: 168, noteHeight: 148 };

export const NOTE_COLOURS = /** @type {Record<string, string>} */ ({ yellow: '#ffe08a', pink: '#ffb3cf', teal: '#a5ece2', violet: '#d3c1ff' });

const STEP = 16;
const STEP_WIDE = 64;
/** Arrow keys are sent together once they have come to rest. */
const REST_MS = 600;
const DRAG_PIXELS = 5;

export class BoardView {
  #dialog = element('board', HTMLDialogElement);
  #plane = element('board-notes', HTMLElement);
  #told = element('board-told', HTMLElement);
  #editor;
  /** @type {Map<string, HTMLElement>} */
  #rows = new Map();
  /** Where a note is while it is being moved. @type {Map<string, {x: number, y: number}>} */
  #moving = new Map();
  /** @type {Map<string, ReturnType<typeof setTimeout>>} */
  #resting = new Map();

  /**
   * @param {BoardSession} session
   * @param {object} options
   * @param {() => void} options.onChange the notes are others now
   * @param {(userId: string) => boolean} options.isHidden
   */
  constructor(session, { onChange, isHidden }) {
    this.session = session;
    this.isHidden = isHidden;
    this.#editor = new NoteEditor(session);
    session.on(() => {
      this.#render();
      onChange();
    });
    element('open-board', HTMLButtonElement).addEventListener('click', () => this.open());
    element('board-close', HTMLButtonElement).addEventListener('click', () => this.#dialog.close());
    element('board-new', HTMLButtonElement).addEventListener('click', () => this.#editor.create(this.#freePlace()));
    this.#plane.style.width = `${BOARD.width}px`;
    this.#plane.style.height = `${BOARD.height}px`;
    this.#dialog.addEventListener('close', () => [...this.#resting.keys()].forEach((noteId) => this.#settle(noteId)));
  }

  open() {
    openSheet(this.#dialog);
    this.#render();
  }

  /** @returns {ShownNote[]} */
  notes() {
    return this.session.board.notes().filter(({ userId }) => !this.isHidden(userId));
  }

  #render() {
    if (!this.#dialog.open) return;
    const notes = this.notes();
    element('board-empty', HTMLElement).hidden = notes.length > 0;
    const present = new Set(notes.map(({ noteId }) => noteId));
    for (const [noteId, row] of this.#rows) {
      if (present.has(noteId)) continue;
      const hadFocus = row.contains(document.activeElement);
      row.remove();
      this.#rows.delete(noteId);
      if (hadFocus) element('board-new', HTMLButtonElement).focus();
    }
    for (const note of notes) {
      let row = this.#rows.get(note.noteId);
      if (!row) {
        row = this.#newRow(note.noteId);
        this.#rows.set(note.noteId, row);
        this.#plane.append(row);
      }
      this.#fill(row, note);
    }
  }

  /** @param {string} noteId */
  #newRow(noteId) {
    const card = button('', 'note', () => {});
    card.dataset.testid = 'note';
    this.#makeMovable(card, noteId);
    return make('li', '', card);
  }

  /** @param {HTMLElement} row @param {ShownNote} note */
  #fill(row, note) {
    const card = /** @type {HTMLElement} */ (row.firstElementChild);
    this.#place(row, this.#moving.get(note.noteId) ?? note);
    const state = { stored: '', waiting: 'on its way', conflict: 'decide, please', failed: 'not saved' }[note.state];
    const signature = [note.text, note.colour, note.tags.join(), note.state, note.displayName].join('\n');
    if (row.dataset.signature === signature) return;
    row.dataset.signature = signature;
    card.dataset.state = note.state;
    card.style.setProperty('--paper', NOTE_COLOURS[note.colour] ?? (/^#[0-9a-f]{6}$/.test(note.colour) ? note.colour : NOTE_COLOURS.yellow));
    card.style.setProperty('--turn', `${((note.noteId.charCodeAt(note.noteId.length - 1) % 7) - 3) * 0.5}deg`);
    const who = note.displayName || 'Somebody';
    const text = note.text.split('\n').map(cleanLine).join('\n');
    const children = [isolated(text, 'note-text')];
    if (note.tags.length > 0) children.push(make('span', 'note-tags', note.tags.map((tag) => `#${cleanLine(tag)}`).join(' ')));
    children.push(make('span', 'note-foot', isolated(cleanName(who, 16), ''), state ? make('em', '', state) : ''));
    card.replaceChildren(...children);
    card.setAttribute('aria-label', `Note of ${cleanName(who)}: ${text}. ${state ? `${state}. ` : ''}Enter opens it, the arrow keys move it.`);
  }

  /** @param {HTMLElement} row @param {{x: number, y: number}} place */
  #place(row, place) {
    const { x, y } = inside(place);
    row.style.transform = `translate(${x}px, ${y}px)`;
  }

  // --- moving -------------------------------------------------------------------------------------------------------

  /** @param {HTMLElement} card @param {string} noteId */
  #makeMovable(card, noteId) {
    /** @type {{x: number, y: number, left: number, top: number, isMoving: boolean} | null} */
    let grip = null;
    card.addEventListener('pointerdown', (event) => {
      const note = this.session.board.note(noteId);
      if (!note || event.button !== 0 || !event.isPrimary) return;
      const at = inside(this.#moving.get(noteId) ?? note);
      grip = { x: event.clientX, y: event.clientY, left: at.x, top: at.y, isMoving: false };
      card.setPointerCapture(event.pointerId);
    });
    card.addEventListener('pointermove', (event) => {
      if (!grip) return;
      const [dx, dy] = [event.clientX - grip.x, event.clientY - grip.y];
      if (!grip.isMoving && Math.hypot(dx, dy) < DRAG_PIXELS) return;
      grip.isMoving = true;
      card.classList.add('moving');
      this.#moving.set(noteId, inside({ x: grip.left + dx, y: grip.top + dy }));
      this.#render();
    });
    const end = (/** @type {boolean} */ isDone) => {
      if (grip?.isMoving) {
        card.classList.remove('moving');
        if (isDone) this.#settle(noteId);
        else this.#moving.delete(noteId);
        this.#render();
      }
    };
    card.addEventListener('pointerup', () => end(true));
    card.addEventListener('pointercancel', () => {
      end(false);
      grip = null;
    });
    card.addEventListener('click', () => {
      // The click after a drag is the end of the drag; one by the keyboard has no grip.
      const wasMoved = grip?.isMoving ?? false;
      grip = null;
      if (!wasMoved) this.#editor.edit(noteId);
    });
    card.addEventListener('keydown', (event) => {
      const direction = DIRECTIONS[event.key];
      if (event.key === 'Delete') {
        this.session.remove(noteId);
        this.#told.textContent = 'Taken off.';
      }
      if (!direction) return;
      event.preventDefault();
      const note = this.session.board.note(noteId);
      if (!note) return;
      const from = inside(this.#moving.get(noteId) ?? note);
      const step = event.shiftKey ? STEP_WIDE : STEP;
      const to = inside({ x: from.x + direction[0] * step, y: from.y + direction[1] * step });
      this.#moving.set(noteId, to);
      this.#render();
      card.scrollIntoView({ block: 'nearest', inline: 'nearest' });
      clearTimeout(this.#resting.get(noteId));
      this.#resting.set(noteId, setTimeout(() => {
        this.#settle(noteId);
        this.#told.textContent = `Moved to ${Math.round((to.x / (BOARD.width - BOARD.noteWidth)) * 100)} percent from the left, ${Math.round((to.y / (BOARD.height - BOARD.noteHeight)) * 100)} from the top.`;
      }, REST_MS));
    });
  }

  /** It stays where it was moved to. @param {string} noteId */
  #settle(noteId) {
    clearTimeout(this.#resting.get(noteId));
    this.#resting.delete(noteId);
    const place = this.#moving.get(noteId);
    this.#moving.delete(noteId);
    if (place) this.session.change(noteId, { x: Math.round(place.x), y: Math.round(place.y) });
  }

  #freePlace() {
    const frame = /** @type {HTMLElement} */ (this.#plane.parentElement);
    const notes = this.notes();
    const isFree = (/** @type {{x: number, y: number}} */ at) => notes.every(({ x, y }) => Math.abs(x - at.x) > BOARD.noteWidth * 0.8 || Math.abs(y - at.y) > BOARD.noteHeight * 0.8);
    for (let y = frame.scrollTop + 24; y < BOARD.height - BOARD.noteHeight; y += 44) {
      for (let x = frame.scrollLeft + 24; x < BOARD.width - BOARD.noteWidth; x += 60) if (isFree({ x, y })) return { x: Math.round(x), y: Math.round(y) };
    }
    return inside({ x: Math.round(Math.random() * BOARD.width), y: Math.round(Math.random() * BOARD.height) });
  }
}

/** @type {Record<string, [number, number]>} */
const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Others may have a larger board; what hangs beyond ours is shown at its edge. @param {{x: number, y: number}} place */
function inside({ x, y }) {
  return {
    x: Math.min(BOARD.width - BOARD.noteWidth, Math.max(0, x)),
    y: Math.min(BOARD.height - BOARD.noteHeight, Math.max(0, y)),
  };
}

/** The sheet in which a note is written, and in which two versions of it are shown side by side. */
class NoteEditor {
  #dialog = element('note-sheet', HTMLDialogElement);
  #form = element('note-form', HTMLFormElement);
  #text = element('note-text', HTMLTextAreaElement);
  #tags = element('note-tags', HTMLInputElement);
  #colours = element('note-colours', HTMLElement);
  #remove = element('note-remove', HTMLButtonElement);
  #about = element('note-about', HTMLElement);
  #choice = element('note-choice', HTMLElement);
  #noteId = '';
  #place = { x: 0, y: 0 };

  /** @param {BoardSession} session */
  constructor(session) {
    this.session = session;
    this.#text.maxLength = LONG_CHARACTERS_MAX;
    for (const [colour, paper] of Object.entries(NOTE_COLOURS)) {
      const radio = document.createElement('input');
      Object.assign(radio, { type: 'radio', name: 'colour', value: colour });
      radio.setAttribute('aria-label', colour);
      const label = make('label', 'paper', radio);
      label.style.setProperty('--paper', paper);
      this.#colours.append(label);
    }
    element('note-cancel', HTMLButtonElement).addEventListener('click', () => this.#dialog.close());
    this.#remove.addEventListener('click', () => {
      this.session.remove(this.#noteId);
      this.#dialog.close();
    });
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#save();
    });
  }

  /** @param {{x: number, y: number}} place */
  create(place) {
    this.#noteId = '';
    this.#place = place;
    this.#fill('New note', { text: '', colour: 'yellow', tags: [] });
    this.#remove.hidden = true;
    this.#about.textContent = '';
    this.#open(null);
  }

  /** @param {string} noteId */
  edit(noteId) {
    const note = this.session.board.note(noteId);
    if (!note) return;
    this.#noteId = noteId;
    this.#fill('Note', note);
    this.#remove.hidden = false;
    const when = note.updatedAtMs ? new Date(note.updatedAtMs).toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' }) : 'now';
    this.#about.replaceChildren('Put up by ', isolated(cleanName(note.displayName || 'Somebody'), ''), `, last written ${when}`);
    this.#open(note);
  }

  /** @param {string} title @param {{text: string, colour: string, tags: string[]}} note */
  #fill(title, { text, colour, tags }) {
    element('note-title', HTMLElement).textContent = title;
    this.#text.value = text;
    this.#tags.value = tags.join(', ');
    for (const radio of this.#colours.querySelectorAll('input')) radio.checked = radio.value === colour;
  }

  /** @param {ShownNote | null} note */
  #open(note) {
    this.#choice.replaceChildren();
    this.#form.classList.toggle('deciding', note?.conflict != null);
    if (note && (note.conflict || note.error)) this.#ask(note);
    openSheet(this.#dialog);
    if (note?.conflict) this.#choice.querySelector('button')?.focus();
    else this.#text.focus();
  }

  /** @param {ShownNote} note */
  #ask(note) {
    const choose = (/** @type {'mine' | 'theirs'} */ which, /** @type {string} */ label) => {
      const node = button(label, which === 'mine' ? 'primary' : '', () => {
        this.session.resolve(note.noteId, which);
        this.#dialog.close();
      });
      node.dataset.testid = `keep-${which}`;
      return node;
    };
    const text = (/** @type {string} */ label, /** @type {string} */ value) => make('div', 'version', make('h3', '', label), isolated(value, ''));
    if (note.error) {
      this.#choice.append(make('p', '', `It could not be saved: ${note.error.message || spoken(note.error.code)}`), choose('theirs', 'Drop my change'));
    } else if (note.conflict === 'gone') {
      this.#choice.append(make('p', '', 'Somebody took this note off while you were writing on it.'), text('Yours', note.text), choose('mine', 'Put mine up again'), choose('theirs', 'Let it go'));
    } else if (note.conflict === 'changed') {
      this.#choice.append(make('p', '', 'You took this note off, and somebody has written on it meanwhile.'), text('Now', note.theirs?.text ?? ''), choose('mine', 'Take it off'), choose('theirs', 'Leave it'));
    } else {
      this.#choice.append(make('p', '', 'Both of you have written on this note.'), text('Yours', note.text), text('Theirs', note.theirs?.text ?? ''), choose('mine', 'Keep mine'), choose('theirs', 'Take theirs'));
    }
  }

  #save() {
    const text = this.#text.value.trim();
    if (text === '') return;
    const colour = new FormData(this.#form).get('colour');
    const tags = [...new Set(this.#tags.value.split(',').map((tag) => cleanLine(tag).trim().slice(0, 32)).filter(Boolean))].slice(0, 10);
    this.#dialog.close();
    if (!this.#noteId) {
      this.session.put({ ...this.#place, text, colour: String(colour ?? 'yellow'), tags });
      return;
    }
    const note = this.session.board.note(this.#noteId);
    if (!note) return;
    // Only what was touched, so that the rest can merge with what others do.
    /** @type {Partial<import('../roomring/board.js').Fields>} */
    const fields = {};
    if (text !== note.text) fields.text = text;
    if (colour !== null && colour !== note.colour) fields.colour = String(colour);
    if (tags.join() !== note.tags.join()) fields.tags = tags;
    if (Object.keys(fields).length > 0) this.session.change(this.#noteId, fields);
  }
}
