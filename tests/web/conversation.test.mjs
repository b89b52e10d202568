import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Conversation } from '../../web/roomring/index.js';
import { randomFrom, shuffled } from './fakes.mjs';

const said = (userId, text, seq, beside = {}) => ({
  epoch: 1, seq, ts: seq * 1_000, userId, displayName: userId, text, messageId: `m${beside.epoch ?? 1}-${seq}`, ...beside,
});
const texts = (conversation) => conversation.items().map(({ text }) => text);
const states = (conversation) => conversation.items().map(({ state }) => state);

test('a line of ours is sending, sent, stored; it keeps its key and takes its place', () => {
  const talk = new Conversation({ selfId: 'ada' });
  talk.receive(said('bob', 'hi', 1));
  talk.write({ id: 'a', text: 'hello', atMs: 5 });
  assert.deepEqual(states(talk), ['received', 'sending']);
  talk.receive(said('bob', 'between', 2));
  assert.deepEqual(texts(talk), ['hi', 'between', 'hello']);
  talk.acknowledge('a', { seq: 3, messageId: 'm1-3' });
  assert.deepEqual(states(talk), ['received', 'received', 'sent']);
  talk.receive(said('bob', 'after', 4));
  assert.deepEqual(texts(talk), ['hi', 'between', 'hello', 'after']);
  talk.receive(said('ada', 'hello', 3));
  talk.persisted('m1-3');
  assert.deepEqual(states(talk), ['received', 'received', 'stored', 'received']);
  assert.deepEqual(talk.items().map(({ key }) => key), ['m1-1', 'm1-2', 'a', 'm1-4']);
});

test('the event before the ack shows the line once, under the same key', () => {
  const talk = new Conversation({ selfId: 'ada' });
  talk.write({ id: 'a', text: 'ok', atMs: 1 });
  talk.write({ id: 'b', text: 'ok', atMs: 2 });
  talk.receive(said('ada', 'ok', 1));
  assert.deepEqual(talk.items().map(({ key, state }) => [key, state]), [['a', 'sent'], ['b', 'sending']]);
  talk.receive(said('ada', 'ok', 2));
  talk.acknowledge('b', { seq: 2, messageId: 'm1-2' });
  talk.acknowledge('a', { seq: 1, messageId: 'm1-1' });
  assert.deepEqual(talk.items().map(({ key, state }) => [key, state]), [['a', 'sent'], ['b', 'sent']]);
});

test('the ack decides: a like line from another device is another line', () => {
  const talk = new Conversation({ selfId: 'ada' });
  talk.write({ id: 'a', text: 'ok', atMs: 1 });
  talk.receive(said('ada', 'ok', 1, { messageId: 'phone' }));
  assert.equal(talk.items().length, 1);
  talk.acknowledge('a', { seq: 2, messageId: 'desk' });
  assert.deepEqual(talk.items().map(({ key }) => key), ['phone', 'a']);
});

test('a like line of the past is no echo', () => {
  const talk = new Conversation({ selfId: 'ada' });
  talk.write({ id: 'a', text: 'ok', atMs: 1 });
  talk.receivePage([said('ada', 'ok', 1)]);
  assert.deepEqual(states(talk), ['stored', 'sending']);
});

test('a failed line stays last until it is sent again or given up', () => {
  const talk = new Conversation({ selfId: 'ada' });
  talk.write({ id: 'a', text: 'rude', atMs: 1 });
  talk.fail('a', { code: 'filtered', message: 'no' });
  talk.receive(said('bob', 'well', 1));
  assert.deepEqual(talk.items().map(({ text, state, error }) => [text, state, error?.code]), [['well', 'received', undefined], ['rude', 'failed', 'filtered']]);
  talk.retry('a');
  assert.deepEqual(states(talk), ['received', 'sending']);
  talk.fail('a', { code: 'filtered', message: 'no' });
  assert.equal(talk.discard('a').text, 'rude');
  assert.deepEqual(texts(talk), ['well']);
});

test('a line whose answer was lost, and which is then heard, is not failed', () => {
  const talk = new Conversation({ selfId: 'ada' });
  talk.write({ id: 'a', text: 'there?', atMs: 1 });
  talk.fail('a', { code: 'expired', message: 'no answer' });
  assert.deepEqual(states(talk), ['failed']);
  talk.receive(said('ada', 'there?', 1));
  assert.deepEqual(states(talk), ['sent']);
});

test('what was deleted stays away, whatever comes later', () => {
  const talk = new Conversation({ selfId: 'ada' });
  talk.receive(said('bob', 'rude', 1));
  talk.remove('m1-1');
  talk.receive(said('bob', 'rude', 1));
  talk.receivePage([said('bob', 'rude', 1)]);
  assert.deepEqual(texts(talk), []);
});

test('a later epoch comes later; blocked persons are left out; the oldest are forgotten', () => {
  const talk = new Conversation({ selfId: 'ada' });
  talk.receive(said('bob', 'new', 1, { epoch: 2 }));
  talk.receive(said('eve', 'old', 9));
  assert.deepEqual(texts(talk), ['old', 'new']);
  assert.deepEqual(talk.items((userId) => userId === 'eve').map(({ text }) => text), ['new']);
  assert.equal(talk.trim(1), true);
  assert.deepEqual(texts(talk), ['new']);
});

test('any interleaving of live events, pages, acks, deletions and doubles gives the same list', () => {
  for (let seed = 1; seed <= 300; seed += 1) {
    const random = randomFrom(seed);
    const history = Array.from({ length: 12 }, (_unused, index) => {
      const epoch = index < 4 ? 1 : 2;
      // Few texts, so that lines look alike and only ids tell them apart.
      return said(random() < 0.5 ? 'ada' : 'bob', random() < 0.6 ? 'ok' : `no ${index}`, index + 1, { epoch });
    });
    const written = history.filter(({ userId }) => userId === 'ada').filter(() => random() < 0.7);
    const deleted = history.filter(() => random() < 0.15);
    const talk = new Conversation({ selfId: 'ada' });
    written.forEach(({ messageId, text }, index) => talk.write({ id: `w-${messageId}`, text, atMs: index }));
    const steps = [];
    for (const message of history) {
      steps.push(() => talk.receive(message));
      if (random() < 0.5) steps.push(() => talk.receive({ ...message }));
      if (random() < 0.5) steps.push(() => talk.persisted(message.messageId));
    }
    for (let page = 0; page < 3; page += 1) {
      const from = Math.floor(random() * history.length);
      steps.push(() => talk.receivePage(history.slice(from, from + 4)));
    }
    for (const message of deleted) steps.push(() => talk.remove(message.messageId));
    for (const { messageId, seq } of written) {
      steps.push(() => talk.acknowledge(`w-${messageId}`, { seq, messageId }));
      if (random() < 0.3) steps.push(() => talk.fail(`w-${messageId}`, { code: 'expired', message: '' }));
    }
    for (const step of shuffled(steps, random)) {
      step();
      const keys = talk.items().map(({ key }) => key);
      assert.equal(new Set(keys).size, keys.length, `seed ${seed}: a line stands there twice`);
    }
    const expected = history.filter((message) => !deleted.includes(message));
    assert.deepEqual(talk.items().map(({ messageId }) => messageId), expected.map(({ messageId }) => messageId), `seed ${seed}`);
    assert.ok(talk.items().every(({ state }) => ['received', 'sent', 'stored'].includes(state)), `seed ${seed}`);
    assert.deepEqual(
      talk.items().map(({ key }) => key),
      expected.map((message) => (written.includes(message) ? `w-${message.messageId}` : message.messageId)),
      `seed ${seed}`,
    );
  }
});
