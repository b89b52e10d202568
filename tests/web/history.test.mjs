import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Conversation, History } from '../../web/roomring/index.js';

const said = (seq) => ({ epoch: 1, seq, ts: seq, userId: 'bob', displayName: 'Bob', text: `t${seq}`, messageId: `m${seq}` });

/** A server with the messages 1 to `count`, of which those up to `stored` are in the database. */
function start(count, { stored = count, limit = 10 } = {}) {
  const server = { stored, asked: [] };
  const conversation = new Conversation({ selfId: 'ada' });
  const fetchPage = async ({ before, after }) => {
    server.asked.push({ before, after });
    const from = after === undefined ? 0 : Number(after);
    const to = Math.min(server.stored, before === undefined ? Infinity : Number(before) - 1);
    const all = Array.from({ length: Math.max(0, to - from) }, (_unused, index) => said(from + index + 1));
    const messages = after === undefined ? all.slice(-limit) : all.slice(0, limit);
    const first = messages[0]?.seq;
    const last = messages.at(-1)?.seq ?? (after === undefined ? undefined : from);
    return {
      roomId: 'r', messages,
      before: first !== undefined && first > 1 ? String(first) : undefined,
      after: last === undefined ? undefined : String(last),
      moreAfter: last !== undefined && last < to,
      settled: server.stored >= (before === undefined ? count : Math.min(count, Number(before) - 1)),
    };
  };
  const wait = async () => void (server.stored = Math.min(count, server.stored + 3));
  return { server, conversation, history: new History({ conversation, fetchPage, wait }) };
}
const seqs = (conversation) => conversation.items().map(({ seq }) => seq);
const range = (from, to) => Array.from({ length: to - from + 1 }, (_unused, index) => from + index);

test('goes back page by page to the beginning', async () => {
  const { conversation, history } = start(25);
  assert.equal(await history.loadOlder(), 10);
  assert.equal(await history.loadOlder(), 10);
  assert.equal(history.hasOlder, true);
  assert.equal(await history.loadOlder(), 5);
  assert.equal(history.hasOlder, false);
  assert.deepEqual(seqs(conversation), range(1, 25));
  assert.equal(await history.loadOlder(), 0);
});

test('passes over pages that live events have brought already', async () => {
  const { conversation, history } = start(25);
  range(6, 25).forEach((seq) => conversation.receive(said(seq)));
  assert.equal(await history.loadOlder(), 5);
  assert.deepEqual(seqs(conversation), range(1, 25));
});

test('two calls at once load one page', async () => {
  const { server, history } = start(25);
  assert.deepEqual(await Promise.all([history.loadOlder(), history.loadOlder()]), [10, 10]);
  assert.equal(server.asked.length, 1);
});

test('catches up after an absence, and waits for what is still on its way to the database', async () => {
  const { server, conversation, history } = start(40, { stored: 10 });
  await history.loadOlder();
  server.stored = 30;
  assert.equal(await history.catchUp(), 30);
  assert.deepEqual(seqs(conversation), range(1, 40));
});

test('fills the gap between an old position and a new state', async () => {
  const { conversation, history } = start(60);
  range(1, 5).forEach((seq) => conversation.receive(said(seq)));
  range(51, 60).forEach((seq) => conversation.receive(said(seq)));
  assert.equal(await history.fillGap({ cursor: '5', until: '51' }), 45);
  assert.deepEqual(seqs(conversation), range(1, 60));
});

test('a failed page can be asked for again', async () => {
  const { conversation, history } = start(5);
  const { fetchPage } = history;
  history.fetchPage = async () => { throw new Error('no network'); };
  await assert.rejects(history.loadOlder());
  assert.equal(history.isLoading, false);
  history.fetchPage = fetchPage;
  await history.loadOlder();
  assert.deepEqual(seqs(conversation), range(1, 5));
});
