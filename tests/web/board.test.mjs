import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Board } from '../../web/roomring/index.js';
import { randomFrom } from './fakes.mjs';

const note = (fields = {}) => ({
  noteId: 'n1', x: 1, y: 1, text: 'one', colour: 'yellow', tags: [], revision: 1, userId: 'bob', displayName: 'Bob', editedBy: 'bob',
  createdAtMs: 10, updatedAtMs: 10, ...fields,
});
const board = (...notes) => {
  const made = new Board({ roomId: 'notes:wall', selfId: 'ada', selfName: 'Ada' });
  made.adopt(notes, { isComplete: true });
  return made;
};
const seen = (it, ...fields) => it.notes().map((each) => fields.map((field) => each[field]));

test('a new note shows at once and is settled by its ack, before or after its event', () => {
  for (const eventFirst of [true, false]) {
    const it = board();
    it.put({ noteId: 'n1', x: 2, y: 3, text: 'hi', colour: 'teal', tags: ['a'] });
    assert.deepEqual(seen(it, 'text', 'state', 'displayName'), [['hi', 'waiting', 'Ada']]);
    const [order] = it.take();
    assert.deepEqual(order, { noteId: 'n1', event: 'note_put', payload: { roomId: 'notes:wall', noteId: 'n1', x: 2, y: 3, text: 'hi', colour: 'teal', tags: ['a'] } });
    assert.deepEqual(it.take(), [], 'one message at a time');
    const event = note({ x: 2, y: 3, text: 'hi', colour: 'teal', tags: ['a'], userId: 'ada', displayName: 'Ada' });
    if (eventFirst) it.hear(event);
    it.done('n1', { revision: 1 }, 50);
    if (!eventFirst) it.hear(event);
    assert.deepEqual(seen(it, 'text', 'state', 'revision'), [['hi', 'stored', 1]]);
    assert.equal(it.waiting, 0);
  }
});

test('changes made offline become one message; what is touched under way follows', () => {
  const it = board(note());
  it.change('n1', { x: 5 });
  it.change('n1', { x: 6, text: 'two' });
  assert.deepEqual(it.take()[0].payload, { roomId: 'notes:wall', noteId: 'n1', revision: 1, x: 6, text: 'two' });
  it.change('n1', { x: 7 });
  it.done('n1', { revision: 2 }, 50);
  assert.deepEqual(it.take()[0].payload, { roomId: 'notes:wall', noteId: 'n1', revision: 2, x: 7 });
  it.done('n1', { revision: 3 }, 60);
  assert.deepEqual(seen(it, 'x', 'text', 'revision', 'state'), [[7, 'two', 3, 'stored']]);
});

test('a change back to what stands there is no change', () => {
  const it = board(note());
  it.change('n1', { text: 'two' });
  it.change('n1', { text: 'one' });
  assert.deepEqual(it.take(), []);
  assert.equal(it.waiting, 0);
});

test('fields that only one side touched merge without a question', () => {
  const it = board(note({ tags: ['a', 'b'] }));
  it.change('n1', { text: 'mine', tags: ['a', 'c'] });
  it.hear(note({ revision: 2, x: 9, colour: 'pink', tags: ['a', 'b', 'd'] }));
  assert.deepEqual(seen(it, 'text', 'x', 'colour', 'tags', 'conflict'), [['mine', 9, 'pink', ['a', 'd', 'c'], null]]);
  assert.deepEqual(it.take()[0].payload, { roomId: 'notes:wall', noteId: 'n1', revision: 2, text: 'mine', tags: ['a', 'd', 'c'] });
});

test('a conflict answer brings the note; what merges goes again by itself', () => {
  const it = board(note());
  it.change('n1', { x: 4 });
  it.take();
  it.refused('n1', note({ revision: 5, text: 'theirs', x: 2 }));
  assert.deepEqual(seen(it, 'text', 'x'), [['theirs', 4]]);
  assert.deepEqual(it.take()[0].payload, { roomId: 'notes:wall', noteId: 'n1', revision: 5, x: 4 });
});

test('two texts are a choice; either one can be had', () => {
  for (const choice of ['mine', 'theirs']) {
    const it = board(note());
    it.change('n1', { text: 'mine' });
    it.take();
    it.refused('n1', note({ revision: 2, text: 'theirs' }));
    assert.deepEqual(seen(it, 'text', 'state', 'conflict'), [['mine', 'conflict', 'text']]);
    assert.equal(it.note('n1').theirs.text, 'theirs');
    assert.deepEqual(it.take(), [], 'nothing goes before the choice');
    it.resolve('n1', choice, () => 'n2');
    const orders = it.take();
    if (choice === 'mine') assert.deepEqual(orders[0].payload, { roomId: 'notes:wall', noteId: 'n1', revision: 2, text: 'mine' });
    else assert.deepEqual([orders, seen(it, 'text', 'state')], [[], [['theirs', 'stored']]]);
  }
});

test('a text for a note that is gone can be put up anew; a move of it is forgotten', () => {
  const it = board(note());
  it.change('n1', { text: 'mine' });
  it.hearDeleted('n1', 2);
  assert.deepEqual(seen(it, 'text', 'conflict'), [['mine', 'gone']]);
  it.resolve('n1', 'mine', () => 'n2');
  assert.deepEqual(it.take()[0], { noteId: 'n2', event: 'note_put', payload: { roomId: 'notes:wall', noteId: 'n2', x: 1, y: 1, text: 'mine', colour: 'yellow', tags: [] } });
  const moved = board(note());
  moved.change('n1', { x: 4 });
  moved.refused('n1', undefined);
  assert.deepEqual([moved.notes(), moved.waiting], [[], 0]);
});

test('taking off: gone at once; asks when the text was changed meanwhile', () => {
  const it = board(note());
  it.remove('n1');
  assert.deepEqual(it.notes(), []);
  assert.equal(it.take()[0].event, 'note_delete');
  it.refused('n1', note({ revision: 2, x: 8 }));
  assert.deepEqual(it.take()[0].payload, { roomId: 'notes:wall', noteId: 'n1', revision: 2 }, 'a move is no reason to keep it');
  it.refused('n1', note({ revision: 3, text: 'important' }));
  assert.deepEqual(seen(it, 'text', 'conflict'), [['important', 'changed']]);
  it.resolve('n1', 'mine', () => 'n2');
  it.take();
  it.done('n1', {}, 50);
  assert.deepEqual([it.notes(), it.waiting], [[], 0]);
  it.hear(note({ revision: 3, text: 'important' }));
  assert.deepEqual(it.notes(), [], 'a late page does not bring it back');
});

test('a note whose answer was lost is not put up twice', () => {
  const it = board();
  it.put({ noteId: 'n1', x: 1, y: 1, text: 'hi', colour: 'yellow', tags: [] });
  it.take();
  it.refused('n1', note({ text: 'hi', userId: 'ada' }));
  assert.deepEqual([it.take(), seen(it, 'text', 'state')], [[], [['hi', 'stored']]]);
});

test('a refused change stays as it was written, until it is tried again or given up', () => {
  const it = board(note());
  it.change('n1', { text: 'rude' });
  it.take();
  it.fail('n1', { code: 'filtered', message: 'no' });
  assert.deepEqual(seen(it, 'text', 'state'), [['rude', 'failed']]);
  assert.deepEqual(it.take(), []);
  it.change('n1', { text: 'nice' });
  assert.equal(it.take()[0].payload.text, 'nice');
});

test('two boards and a server that all write at random end with the same notes', () => {
  for (let seed = 1; seed <= 200; seed += 1) {
    const random = randomFrom(seed);
    const pick = (list) => list[Math.floor(random() * list.length)];
    const server = new Map([['n1', note()], ['n2', note({ noteId: 'n2', text: 'two' })]]);
    const boards = ['ada', 'eve'].map((selfId) => {
      const it = new Board({ roomId: 'notes:wall', selfId, selfName: selfId });
      it.adopt([...server.values()], { isComplete: true });
      return { it, heard: [], answers: [] };
    });
    const tell = (event) => boards.forEach(({ heard }) => heard.push(event));
    const serve = (who, { noteId, event, payload }) => {
      const now = server.get(noteId);
      const { roomId: _roomId, noteId: _noteId, revision, ...fields } = payload;
      const isFree = event === 'note_put' ? now === undefined : now?.revision === revision;
      if (!isFree) return () => who.it.refused(noteId, now);
      const next = (now?.revision ?? 0) + 1;
      if (event === 'note_delete') {
        server.delete(noteId);
        tell((it) => it.hearDeleted(noteId, next));
        return () => who.it.done(noteId, {}, 1);
      }
      const written = { ...(now ?? note({ noteId, userId: who.it.selfId })), ...fields, revision: next };
      server.set(noteId, written);
      tell((it) => it.hear(written));
      return () => who.it.done(noteId, { revision: next }, 1);
    };
    let made = 0;
    const step = (who, writes) => {
      const noteId = pick(['n1', 'n2', `${who.it.selfId}-${made}`]);
      const kind = random();
      if (kind < 0.25 && writes) who.it.change(noteId, { text: pick(['one', 'two', `t${made}`]) });
      else if (kind < 0.4 && writes) who.it.change(noteId, { x: Math.floor(random() * 5) });
      else if (kind < 0.45 && writes) who.it.remove(noteId);
      else if (kind < 0.5 && writes) who.it.put({ noteId: `${who.it.selfId}-${++made}`, x: 0, y: 0, text: 'new', colour: 'pink', tags: [] });
      else if (kind < 0.65) who.answers.push(...who.it.take().map((order) => serve(who, order)));
      else if (kind < 0.8) who.answers.shift()?.();
      else who.heard.shift()?.(who.it);
      for (const { noteId: id, conflict } of who.it.notes()) if (conflict && !writes) who.it.resolve(id, pick(['mine', 'theirs']), () => `again-${++made}`);
    };
    for (let round = 0; round < 150; round += 1) step(pick(boards), true);
    for (let round = 0; round < 600; round += 1) step(pick(boards), false);
    for (const { it } of boards) {
      assert.equal(it.waiting, 0, `seed ${seed}: something waits for ever`);
      const plain = (list) => list.map(({ noteId, text, x, revision }) => ({ noteId, text, x, revision })).sort((a, b) => (a.noteId < b.noteId ? -1 : 1));
      assert.deepEqual(plain(it.notes()), plain([...server.values()]), `seed ${seed}`);
    }
  }
});
