import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Inbox, PresenceList, TypingList, TypingSignal } from '../../web/roomring/index.js';

const THREAD = 'dm:ada:bob';
const direct = (userId, threadSeq, unread) => ({
  roomId: 'user:ada', threadId: THREAD, threadEpoch: 1, threadSeq, userId, displayName: userId, recipientId: userId === 'ada' ? 'bob' : 'ada',
  text: `t${threadSeq}`, messageId: `m${threadSeq}`, unread,
});
const state = (seq, inbox = {}) => ({ epoch: 7, seq, inbox: { unread: {}, friends: [], blocked: [], ...inbox } });
const at = (seq) => ({ ts: seq * 10, seq, epoch: 7 });

test('a message counts; our own does not become the name of the thread; reading takes the count away', () => {
  const inbox = new Inbox({ selfId: 'ada' });
  inbox.adopt(state(0));
  inbox.hearMessage(direct('bob', 1, 1), at(1));
  inbox.hearMessage(direct('ada', 2, 1), at(2));
  assert.equal(inbox.unreadTotal, 1);
  assert.deepEqual(inbox.threads().map(({ userId, displayName, last }) => [userId, displayName, last.text]), [['bob', 'bob', 't2']]);
  assert.equal(inbox.read(THREAD, { epoch: 1, lastSeq: 2 }), true);
  assert.equal(inbox.unreadTotal, 0);
  assert.equal(inbox.read(THREAD, { epoch: 1, lastSeq: 1 }), false, 'never back');
});

test('a replay older than the state does not turn counts, friends and blocks back', () => {
  const inbox = new Inbox({ selfId: 'ada' });
  inbox.adopt(state(5, { friends: [{ userId: 'bob', status: 'friends' }], blocked: ['eve'] }));
  inbox.hearMessage(direct('bob', 1, 1), at(3));
  inbox.hearFriend({ userId: 'bob', status: 'asked' }, at(4));
  inbox.hearBlock({ userId: 'eve', blocked: false }, at(5));
  assert.deepEqual([inbox.unreadTotal, inbox.friendship('bob'), inbox.isBlocked('eve')], [0, 'friends', true]);
  assert.equal(inbox.threads().length, 1, 'the thread itself is news');
  inbox.hearMessage(direct('bob', 2, 2), at(6));
  assert.equal(inbox.unreadTotal, 2);
});

test('unread threads that are not in the list yet count too; those with blocked persons do not show', () => {
  const inbox = new Inbox({ selfId: 'ada' });
  inbox.adopt(state(0, { unread: { [THREAD]: 3 }, blocked: [] }));
  assert.equal(inbox.unreadTotal, 3);
  inbox.hearMessage(direct('bob', 4, 4), at(1));
  inbox.hearBlock({ userId: 'bob', blocked: true }, at(2));
  assert.deepEqual([inbox.unreadTotal, inbox.threads()], [0, []]);
});

test('receipts: ours clears the badge of other devices, theirs moves the read mark forward only', () => {
  const inbox = new Inbox({ selfId: 'ada' });
  inbox.adopt(state(0));
  inbox.hearMessage(direct('bob', 1, 1), at(1));
  inbox.hearReceipt({ threadId: THREAD, threadEpoch: 1, threadSeq: 1, userId: 'ada', unread: 0 }, at(2));
  assert.equal(inbox.unreadTotal, 0);
  inbox.hearReceipt({ threadId: THREAD, threadEpoch: 1, threadSeq: 4, userId: 'bob', unread: 0 }, at(3));
  inbox.addThreads([{ threadId: THREAD, userId: 'bob', displayName: 'Bob', unread: 0, activeAtMs: 1, readUpTo: { epoch: 1, lastSeq: 0 }, otherReadUpTo: { epoch: 1, lastSeq: 2 } }]);
  assert.deepEqual(inbox.threadWith('bob').otherReadUpTo, { epoch: 1, lastSeq: 4 });
  assert.deepEqual(inbox.threadWith('bob').readUpTo, { epoch: 1, lastSeq: 1 });
  inbox.remove('m1');
  assert.equal(inbox.threadWith('bob').last, undefined);
});

test('typing is told at the first key, now and then, and at the end', () => {
  const signal = new TypingSignal();
  assert.deepEqual([signal.key(0), signal.key(1_000), signal.key(3_100)], [true, false, true]);
  assert.deepEqual([signal.rest(4_000), signal.rest(8_200), signal.rest(9_000)], [false, true, false]);
  assert.deepEqual([signal.key(9_100), signal.stop(), signal.stop(), signal.key(9_200)], [true, true, false, true]);
});

test('who is writing ends by itself, by word, or with the message', () => {
  const list = new TypingList();
  const hear = (userId, typing, nowMs) => list.hear({ roomId: 'r', userId, displayName: userId, typing, expiresInMs: 5_000 }, nowMs);
  hear('bob', true, 0);
  hear('eve', true, 1_000);
  assert.deepEqual(list.at('r', 2_000).map(({ userId }) => userId), ['bob', 'eve']);
  assert.equal(list.nextEndMs(2_000), 5_000);
  list.said('r', 'eve');
  assert.deepEqual(list.at('r', 4_999).map(({ userId }) => userId), ['bob']);
  assert.equal(list.nextEndMs(5_000), null);
  hear('bob', true, 6_000);
  hear('bob', false, 6_001);
  assert.deepEqual(list.at('r', 6_002), []);
});

test('presence: asked once for each person, in groups of a hundred, and only of who is watched', () => {
  const list = new PresenceList();
  assert.deepEqual([list.watch('bob'), list.watch('bob')], [true, false]);
  list.hear({ userId: 'bob', status: 'away' });
  list.hear({ userId: 'eve', status: 'online' });
  assert.deepEqual([list.of('bob').status, list.of('eve')], ['away', undefined]);
  assert.deepEqual([list.unwatch('bob'), list.unwatch('bob')], [false, true]);
  assert.equal(list.of('bob'), undefined);
  for (let index = 0; index < 150; index += 1) list.watch(`p${index}`);
  assert.deepEqual(list.groups().map(({ length }) => length), [100, 50]);
});
