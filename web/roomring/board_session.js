// @ts-check
import { Board } from './board.js';
import { Emitter } from './emitter.js';

/** Pages of notes that are loaded at most. */
const PAGES_MAX = 40;

/**
 * A board, kept in step with its room: the notes of the state and of the pages, events, and our changes on their way,
 * which wait here while there is no connection.
 *
 * @typedef {import('./client.js').RoomringClient} RoomringClient
 */
export class BoardSession {
  /** @type {Emitter<{change: []}>} */
  #emitter = new Emitter();
  #client;
  #generation = 0;

  /** @param {RoomringClient} client @param {string} roomId such as `notes:bar-wall` */
  constructor(client, roomId) {
    this.#client = client;
    this.roomId = roomId;
    this.board = new Board({ roomId, selfId: client.user.userId, selfName: client.user.displayName });
    const ifHere = (/** @type {(payload: any) => void} */ handle) => (/** @type {any} */ payload) => {
      if (payload.roomId !== roomId) return;
      handle(payload);
      this.#changed();
    };
    client.on('roomState', ifHere((state) => this.#adopt(state)));
    client.on('notePlaced', ifHere(({ note }) => this.board.hear(note)));
    client.on('noteChanged', ifHere(({ note }) => this.board.hear(note)));
    client.on('noteDeleted', ifHere(({ noteId, revision }) => this.board.hearDeleted(noteId, revision)));
  }

  /** @param {() => void} handler @returns {() => void} */
  on(handler) {
    return this.#emitter.on('change', handler);
  }

  /** @returns {Promise<unknown>} settles with the first state */
  open() {
    return this.#client.join(this.roomId);
  }

  /** @param {import('./board.js').Fields} fields @returns {string} its id */
  put(fields) {
    const noteId = this.#client.environment.newId();
    this.board.put({ noteId, ...fields });
    this.#changed();
    return noteId;
  }

  /** @param {string} noteId @param {Partial<import('./board.js').Fields>} fields */
  change(noteId, fields) {
    this.board.change(noteId, fields);
    this.#changed();
  }

  /** @param {string} noteId */
  remove(noteId) {
    this.board.remove(noteId);
    this.#changed();
  }

  /** @param {string} noteId @param {'mine' | 'theirs'} choice */
  resolve(noteId, choice) {
    this.board.resolve(noteId, choice, () => this.#client.environment.newId());
    this.#changed();
  }

  /** @param {string} noteId */
  retry(noteId) {
    this.board.retry(noteId);
    this.#changed();
  }

  /** @param {import('./wire.js').RoomState} state */
  #adopt({ notes = [], noteCount = notes.length }) {
    const isComplete = noteCount <= notes.length;
    this.board.adopt(notes, { isComplete });
    if (!isComplete) this.#loadPages();
  }

  async #loadPages() {
    const generation = ++this.#generation;
    /** @type {import('./wire.js').Note[]} */
    const all = [];
    /** @type {string | undefined} */
    let after;
    for (let round = 0; round < PAGES_MAX; round += 1) {
      const path = `/rooms/${encodeURIComponent(this.roomId)}/notes`;
      const page = await this.#client.get(this.roomId, path, { after }).catch(() => null);
      if (page === null || generation !== this.#generation) return;
      all.push(...page.notes);
      after = page.next;
      for (const note of page.notes) this.board.hear(note);
      this.#changed();
      if (after === undefined) return;
    }
  }

  #changed() {
    this.#send();
    this.#emitter.emit('change');
  }

  #send() {
    for (const { noteId, event, payload } of this.board.take()) {
      this.#client.request(event, this.roomId, payload, { patient: true }).then(
        (ack) => this.board.done(noteId, ack, Math.round(this.#client.serverNow())),
        (error) => {
          if (error.code === 'note_conflict') this.board.refused(noteId, error.note);
          else this.board.fail(noteId, error);
        },
      ).finally(() => this.#changed());
    }
  }
}
