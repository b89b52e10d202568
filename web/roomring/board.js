// @ts-check
/**
 * The notes of one board: as the server has them, and over them what we changed and the server does not have yet.
 * Plain state; `board_session.js` does the sending.
 *
 * A change of ours names the fields that it touches. When somebody else has changed the note meanwhile, the two are merged
 * field by field against the note on which ours was made: a field that only one side touched takes that side's value, tags
 * that either side added or took off are added or taken off, and of two places or colours ours, the later, holds. Two texts,
 * or a text and a taking-off, do not merge: then the note is in `conflict` and waits for a choice; nothing of ours is lost.
 *
 * @typedef {import('./wire.js').Note} Note
 * @typedef {Pick<Note, 'x' | 'y' | 'text' | 'colour' | 'tags'>} Fields
 * @typedef {{noteId: string} & Fields} NewNote
 *
 * @typedef {object} Draft
 * @property {'put' | 'change' | 'delete'} kind
 * @property {Partial<Fields>} mine the fields that we touched; of a `put` all
 * @property {Note | null} base the note on which it was made; null for a `put`
 * @property {{kind: 'put' | 'change' | 'delete', mine: Partial<Fields>} | null} sending what is under way
 * @property {'text' | 'gone' | 'changed' | null} conflict `gone`: taken off by somebody; `changed`: we wanted it off
 * @property {{code: string, message: string} | null} error
 *
 * @typedef {'stored' | 'waiting' | 'conflict' | 'failed'} NoteState
 * @typedef {Note & {state: NoteState, conflict: Draft['conflict'], theirs: Note | null, error: Draft['error']}} ShownNote
 *
 * @typedef {{noteId: string, event: 'note_put' | 'note_change' | 'note_delete', payload: any}} Order What is to be sent.
 */

/** @type {(keyof Fields)[]} */
const FIELDS = ['x', 'y', 'text', 'colour', 'tags'];

export class Board {
  /** As the server has them. @type {Map<string, Note>} */
  #notes = new Map();
  /** Revision with which a note went. @type {Map<string, number>} */
  #gone = new Map();
  /** @type {Map<string, Draft>} */
  #drafts = new Map();

  /** @param {{roomId: string, selfId: string, selfName: string}} options */
  constructor({ roomId, selfId, selfName }) {
    this.roomId = roomId;
    this.selfId = selfId;
    this.selfName = selfName;
  }

  // --- what the server tells ----------------------------------------------------------------------------------------

  /**
   * The board as it is.
   * @param {Note[]} notes
   * @param {{isComplete: boolean}} options false: there are more, which `hear` brings from the pages
   */
  adopt(notes, { isComplete }) {
    if (isComplete) {
      const present = new Set(notes.map(({ noteId }) => noteId));
      for (const [noteId, { revision }] of [...this.#notes]) if (!present.has(noteId)) this.hearDeleted(noteId, revision + 1);
    }
    for (const note of notes) this.hear(note);
  }

  /** A note, from an event, a page or an answer; an older revision than the known one is passed over. @param {Note} note */
  hear(note) {
    const { noteId, revision } = note;
    if (revision <= (this.#notes.get(noteId)?.revision ?? 0) || revision <= (this.#gone.get(noteId) ?? 0)) return;
    this.#gone.delete(noteId);
    this.#notes.set(noteId, note);
    this.#rebase(noteId);
  }

  /** @param {string} noteId @param {number} revision one after the last that it had */
  hearDeleted(noteId, revision) {
    if (revision <= (this.#notes.get(noteId)?.revision ?? 0)) return;
    this.#notes.delete(noteId);
    this.#gone.set(noteId, revision);
    this.#rebase(noteId);
  }

  // --- what we do ---------------------------------------------------------------------------------------------------

  /** @param {NewNote} note */
  put({ noteId, ...mine }) {
    this.#drafts.set(noteId, { kind: 'put', mine, base: null, sending: null, conflict: null, error: null });
  }

  /** @param {string} noteId @param {Partial<Fields>} fields what changes */
  change(noteId, fields) {
    const draft = this.#drafts.get(noteId);
    const base = this.#notes.get(noteId);
    if (draft && draft.kind !== 'delete') {
      Object.assign(draft.mine, fields);
      draft.error = null;
    } else if (base) {
      this.#drafts.set(noteId, { kind: 'change', mine: fields, base, sending: draft?.sending ?? null, conflict: null, error: null });
    }
    this.#tidy(noteId);
  }

  /** @param {string} noteId */
  remove(noteId) {
    const base = this.#notes.get(noteId);
    const draft = this.#drafts.get(noteId);
    if (base) this.#drafts.set(noteId, { kind: 'delete', mine: {}, base, sending: draft?.sending ?? null, conflict: null, error: null });
    else if (draft?.sending) Object.assign(draft, { kind: 'delete', conflict: null, error: null });
    else this.#drafts.delete(noteId);
  }

  /**
   * What was in conflict or failed is decided.
   * @param {string} noteId
   * @param {'mine' | 'theirs'} choice
   * @param {() => string} newId names the note anew, where ours is to be put back for one that is gone
   */
  resolve(noteId, choice, newId) {
    const draft = this.#drafts.get(noteId);
    if (!draft) return;
    const theirs = this.#notes.get(noteId) ?? null;
    if (choice === 'theirs') {
      this.#drafts.delete(noteId);
    } else if (theirs) {
      Object.assign(draft, { base: theirs, conflict: null, error: null });
    } else if (draft.kind === 'delete') {
      this.#drafts.delete(noteId);
    } else {
      const whole = /** @type {Fields} */ (pick({ ...draft.base, ...draft.mine }));
      this.#drafts.delete(noteId);
      this.put({ noteId: newId(), ...whole });
    }
    this.#tidy(noteId);
  }

  // --- sending ------------------------------------------------------------------------------------------------------

  /** @returns {Order[]} what to send now; each note has at most one message under way */
  take() {
    /** @type {Order[]} */
    const orders = [];
    for (const [noteId, draft] of this.#drafts) {
      if (draft.sending || draft.conflict || draft.error) continue;
      const { kind } = draft;
      const mine = { ...draft.mine };
      const revision = this.#notes.get(noteId)?.revision;
      const place = { roomId: this.roomId, noteId };
      if (kind === 'put') orders.push({ noteId, event: 'note_put', payload: { ...place, ...mine } });
      else if (revision === undefined) continue;
      else if (kind === 'change') orders.push({ noteId, event: 'note_change', payload: { ...place, revision, ...mine } });
      else orders.push({ noteId, event: 'note_delete', payload: { ...place, revision } });
      draft.sending = { kind, mine };
    }
    return orders;
  }

  /** It took effect. @param {string} noteId @param {{revision?: number}} ack @param {number} nowMs */
  done(noteId, { revision }, nowMs) {
    const draft = this.#drafts.get(noteId);
    const sent = draft?.sending;
    if (!draft || !sent) return;
    draft.sending = null;
    const before = this.#notes.get(noteId);
    if (sent.kind === 'delete') {
      this.#drafts.delete(noteId);
      if (before) this.hearDeleted(noteId, before.revision + 1);
      return;
    }
    // The event says the same and more; it may come before or after the ack, or, after an absence, never.
    const whole = before ?? this.#fresh(noteId, nowMs);
    const known = this.#notes.get(noteId)?.revision ?? this.#gone.get(noteId) ?? 0;
    if (revision !== undefined && revision > known) {
      this.#notes.set(noteId, { ...whole, ...sent.mine, revision, editedBy: this.selfId, updatedAtMs: nowMs });
    }
    // What was touched again while it was under way goes in another message, on the base of this one.
    for (const field of FIELDS) if (same(draft.mine[field], sent.mine[field])) delete draft.mine[field];
    if (draft.kind === 'put') draft.kind = 'change';
    draft.base = { ...whole, ...sent.mine };
    this.#rebase(noteId);
  }

  /** The server has another revision. @param {string} noteId @param {Note | undefined} note as it is now */
  refused(noteId, note) {
    const draft = this.#drafts.get(noteId);
    if (draft) draft.sending = null;
    const known = this.#notes.get(noteId);
    if (note && note.revision >= (known?.revision ?? 0)) this.hear(note);
    else if (!note && known) this.hearDeleted(noteId, known.revision + 1);
    this.#rebase(noteId);
  }

  /** It did not go for another reason. @param {string} noteId @param {{code: string, message: string}} error */
  fail(noteId, { code, message }) {
    const draft = this.#drafts.get(noteId);
    if (draft) Object.assign(draft, { sending: null, error: { code, message } });
  }

  /** Try again what failed. @param {string} noteId */
  retry(noteId) {
    const draft = this.#drafts.get(noteId);
    if (draft) draft.error = null;
  }

  // --- what is seen -------------------------------------------------------------------------------------------------

  /** Changes that the server does not have yet. */
  get waiting() {
    return this.#drafts.size;
  }

  /** @returns {ShownNote[]} by the time at which they were put up */
  notes() {
    /** @type {ShownNote[]} */
    const shown = [];
    for (const note of this.#notes.values()) {
      const draft = this.#drafts.get(note.noteId);
      if (!draft) shown.push({ ...note, state: 'stored', conflict: null, theirs: null, error: null });
      else if (draft.kind !== 'delete' || draft.conflict || draft.error) shown.push(this.#shown(note, draft));
    }
    for (const [noteId, draft] of this.#drafts) {
      if (this.#notes.has(noteId) || draft.kind === 'delete') continue;
      shown.push(this.#shown({ .../** @type {Note} */ (draft.base ?? this.#fresh(noteId, 0)) }, draft));
    }
    return shown.sort((a, b) => (a.createdAtMs || Infinity) - (b.createdAtMs || Infinity) || (a.noteId < b.noteId ? -1 : 1));
  }

  /** @param {string} noteId @returns {ShownNote | undefined} */
  note(noteId) {
    return this.notes().find((note) => note.noteId === noteId);
  }

  /** @param {Note} note @param {Draft} draft @returns {ShownNote} */
  #shown(note, { mine, conflict, error }) {
    const state = conflict ? 'conflict' : error ? 'failed' : 'waiting';
    return { ...note, ...mine, state, conflict, theirs: this.#notes.get(note.noteId) ?? null, error };
  }

  /** @param {string} noteId @param {number} nowMs @returns {Note} */
  #fresh(noteId, nowMs) {
    const who = { userId: this.selfId, displayName: this.selfName, editedBy: this.selfId };
    return { noteId, x: 0, y: 0, text: '', colour: 'yellow', tags: [], revision: 0, ...who, createdAtMs: nowMs, updatedAtMs: nowMs };
  }

  // --- merging ------------------------------------------------------------------------------------------------------

  /** The server's note is another one now: bring our draft over to it. @param {string} noteId */
  #rebase(noteId) {
    const draft = this.#drafts.get(noteId);
    // What is under way meets the server's answer first.
    if (!draft || draft.sending) return;
    const theirs = this.#notes.get(noteId);
    if (draft.kind === 'put' && theirs) {
      // Put up already, its answer was lost; or somebody has taken our id, which then is a text of theirs.
      Object.assign(draft, { kind: 'change', base: theirs.userId === this.selfId ? theirs : { ...theirs, text: '' } });
    }
    if (draft.kind === 'put') return;
    if (!theirs) {
      const isLost = this.#gone.has(noteId);
      if (!isLost) return;
      if (draft.kind === 'delete') this.#drafts.delete(noteId);
      else if (draft.mine.text !== undefined) draft.conflict = 'gone';
      else this.#drafts.delete(noteId); // Its place or colour is of no use any more.
      return;
    }
    const base = /** @type {Note} */ (draft.base);
    if (draft.kind === 'delete') {
      if (theirs.text !== base.text) draft.conflict = 'changed';
      else draft.base = theirs;
      return;
    }
    const { mine } = draft;
    if (mine.tags) mine.tags = mergeTags(base.tags, mine.tags, theirs.tags);
    const isTextLost = mine.text !== undefined && theirs.text !== base.text && theirs.text !== mine.text;
    if (isTextLost) draft.conflict = 'text';
    else draft.base = theirs;
    this.#tidy(noteId);
  }

  /** What is the same on both sides is no change. @param {string} noteId */
  #tidy(noteId) {
    const draft = this.#drafts.get(noteId);
    const theirs = this.#notes.get(noteId);
    if (!draft || draft.kind !== 'change' || draft.sending || !theirs) return;
    for (const field of FIELDS) if (field in draft.mine && same(draft.mine[field], theirs[field])) delete draft.mine[field];
    if (draft.mine.text === undefined && draft.conflict === 'text') draft.conflict = null;
    if (Object.keys(draft.mine).length === 0) this.#drafts.delete(noteId);
  }
}

/** @param {string[]} base @param {string[]} mine @param {string[]} theirs @returns {string[]} theirs, with our additions and removals */
function mergeTags(base, mine, theirs) {
  const kept = theirs.filter((tag) => mine.includes(tag) || !base.includes(tag));
  return [...kept, ...mine.filter((tag) => !base.includes(tag) && !kept.includes(tag))].slice(0, 10);
}

/** @param {any} note @returns {Partial<Fields>} */
function pick(note) {
  return Object.fromEntries(FIELDS.map((field) => [field, note[field]]));
}

/** @param {unknown} a @param {unknown} b */
function same(a, b) {
  return Array.isArray(a) && Array.isArray(b) ? a.length === b.length && a.every((item, index) => item === b[index]) : a === b;
}
