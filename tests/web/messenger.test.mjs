/** Two clients and the offline server in one process: conversations, boards and blocks over connections that break. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { BoardSession, Messenger, RoomringClient } from '../../web/roomring/index.js';
import { SimServer } from '../../web/roomring/sim.js';
import { FakeWorld, randomFrom } from './fakes.mjs';

const LOBBY = 'lobby:world';
const WALL = 'notes:wall';

/** Persons by name, who are friends of each other, in one world. */
async function meeting(...names) {
  const world = new FakeWorld();
  const server = new SimServer({ environment: world.environment(), bots: [] });
  const people = {};
  for (const userId of names) {
    let isOnline = true;
    let onChange = () => {};
    const environment = {
      ...world.environment(),
      openSocket: server.provider().openSocket,
      fetch: async (...request) => {
        if (!isOnline) throw new TypeError('no network');
        return server.provider().fetch(...request);
      },
      isOnline: () => isOnline,
      onPageChange: (listener) => {
        onChange = listener;
        return () => {};
      },
    };
    const client = new RoomringClient({ user: { userId, displayName: userId, avatarId: 'fox' }, environment, getToken: server.provider().getToken });
    const messenger = new Messenger(client);
    const wall = new BoardSession(client, WALL);
    client.connect();
    client.join('bar');
    client.join(LOBBY);
    wall.open();
    messenger.open('bar');
    const online = (value) => {
      isOnline = value;
      onChange(value ? 'online' : 'offline');
    };
    people[userId] = { client, messenger, wall, online, world: messenger.room(LOBBY, { isKept: true }) };
  }
  await world.advance(500);
  for (const { messenger } of Object.values(people)) for (const other of names) if (other !== messenger.selfId) messenger.addFriend(other);
  await world.advance(500);
  return { world, server, ...people };
}
const texts = ({ messenger }, talk) => messenger.items(talk).map(({ text }) => text);
const states = ({ messenger }, talk) => new Set(messenger.items(talk).map(({ state }) => state));

test('two write to each other, one goes offline, both go on writing, it comes back: one order, nothing twice, unread right', async () => {
  const { world, ada, bob } = await meeting('ada', 'bob');
  const [toBob, toAda] = [ada.messenger.direct('bob'), bob.messenger.direct('ada')];
  ada.messenger.send(toBob, 'hello');
  await world.advance(200);
  bob.messenger.markRead(toAda);
  bob.messenger.send(toAda, 'hi', ada.messenger.items(toBob)[0].messageId);
  await world.advance(200);
  assert.equal(ada.messenger.isSeen(ada.messenger.items(toBob)[0], toBob), true);
  assert.equal(ada.messenger.inbox.unreadTotal, 1);
  ada.online(false);
  for (let index = 0; index < 4; index += 1) {
    ada.messenger.send(toBob, `a${index}`);
    bob.messenger.send(toAda, `b${index}`);
    await world.advance(60_000);
  }
  assert.deepEqual(texts(ada, toBob), ['hello', 'hi', 'a0', 'a1', 'a2', 'a3']);
  assert.equal(ada.client.pendingMessages, 4);
  ada.online(true);
  await world.advance(5_000);
  assert.deepEqual(texts(ada, toBob), texts(bob, toAda));
  assert.deepEqual(texts(bob, toAda), ['hello', 'hi', 'b0', 'b1', 'b2', 'b3', 'a0', 'a1', 'a2', 'a3']);
  assert.equal(bob.messenger.items(toAda)[1].replyTo, bob.messenger.items(toAda)[0].messageId);
  assert.equal(ada.messenger.inbox.unreadTotal, 5);
  assert.equal(bob.messenger.inbox.unreadTotal, 4);
  assert.equal(ada.client.pendingMessages, 0);
  ada.messenger.markRead(toBob);
  await world.advance(200);
  assert.equal(ada.messenger.inbox.unreadTotal, 0);
});

test('connections that break at any moment change nothing of that', async () => {
  for (let seed = 1; seed <= 12; seed += 1) {
    const random = randomFrom(seed);
    const { world, ada, bob } = await meeting('ada', 'bob');
    const sides = [[ada, ada.messenger.direct('bob')], [bob, bob.messenger.direct('ada')]];
    const written = [];
    for (let round = 0; round < 60; round += 1) {
      const [side, talk] = sides[random() < 0.5 ? 0 : 1];
      if (random() < 0.5) {
        // Few different texts: only ids tell the lines apart.
        const text = random() < 0.5 ? 'ok' : `line ${round}`;
        written.push(text);
        side.messenger.send(talk, text);
      } else {
        side.online(random() < 0.6);
      }
      await world.advance(Math.floor(random() * 700));
    }
    for (const [side] of sides) side.online(true);
    await world.advance(60_000);
    const [[, toBob], [, toAda]] = sides;
    assert.deepEqual(texts(ada, toBob), texts(bob, toAda), `seed ${seed}`);
    assert.deepEqual([...texts(ada, toBob)].sort(), [...written].sort(), `seed ${seed}`);
    assert.ok([ada, bob].every((side, index) => !states(side, sides[index][1]).has('sending') && !states(side, sides[index][1]).has('failed')));
    const fromBob = ada.messenger.items(toBob).filter(({ isSelf }) => !isSelf).length;
    assert.ok(ada.messenger.inbox.unreadTotal <= fromBob);
  }
});

test('an absence longer than the server remembers is made up for from the pages', async () => {
  const { world, ada, bob } = await meeting('ada', 'bob');
  const [toBob, toAda] = [ada.messenger.direct('bob'), bob.messenger.direct('ada')];
  bob.messenger.send(toAda, 'first');
  await world.advance(500);
  ada.messenger.look(toBob);
  await world.advance(500);
  ada.online(false);
  for (let index = 0; index < 260; index += 1) {
    bob.messenger.send(toAda, `line ${index}`);
    await world.advance(250);
  }
  ada.online(true);
  await world.advance(10_000);
  assert.equal(texts(bob, toAda).length, 261);
  assert.deepEqual(texts(ada, toBob), texts(bob, toAda));
  assert.equal(ada.messenger.inbox.unreadTotal, 261);
});

test('a letter to a stranger is refused and says so; it can be given up', async () => {
  const { world, ada, eve } = await meeting('ada', 'eve');
  ada.messenger.removeFriend('eve');
  await world.advance(300);
  assert.equal(eve.messenger.inbox.friendship('ada'), 'none');
  const talk = ada.messenger.direct('eve');
  ada.messenger.send(talk, 'psst');
  await world.advance(300);
  const [item] = ada.messenger.items(talk);
  assert.deepEqual([item.state, item.error.code], ['failed', 'not_friends']);
  assert.equal(ada.messenger.discard(talk, item.id), 'psst');
  assert.deepEqual(ada.messenger.items(talk), []);
});

test('a block hides lines in every list, letters, typing and unread; lifting it shows the room again', async () => {
  const { world, ada, eve } = await meeting('ada', 'eve');
  eve.messenger.send(eve.world, 'first');
  eve.messenger.send(eve.messenger.direct('ada'), 'psst');
  await world.advance(300);
  assert.deepEqual([texts(ada, ada.world), ada.messenger.inbox.unreadTotal], [['first'], 1]);
  ada.messenger.block('eve');
  await world.advance(300);
  eve.messenger.key(eve.world, false);
  eve.messenger.send(eve.world, 'second');
  await world.advance(300);
  assert.deepEqual([texts(ada, ada.world), ada.messenger.inbox.unreadTotal, ada.messenger.typists(ada.world)], [[], 0, []]);
  assert.deepEqual(ada.client.members('bar').map(({ userId }) => userId), ['ada']);
  ada.messenger.unblock('eve');
  await world.advance(300);
  assert.deepEqual(texts(ada, ada.world), ['first', 'second']);
});

test('typing shows at the other side until the message comes or the time is over', async () => {
  const { world, ada, bob } = await meeting('ada', 'bob');
  const [toBob, toAda] = [ada.messenger.direct('bob'), bob.messenger.direct('ada')];
  bob.messenger.key(toAda, false);
  await world.advance(100);
  assert.deepEqual(ada.messenger.typists(toBob).map(({ userId }) => userId), ['bob']);
  await world.advance(7_000);
  assert.deepEqual(ada.messenger.typists(toBob), []);
  bob.messenger.key(toAda, false);
  bob.messenger.send(toAda, 'done');
  await world.advance(100);
  assert.deepEqual(ada.messenger.typists(toBob), []);
  assert.deepEqual(bob.messenger.typists(toAda), [], 'nobody sees the own writing');
});

test('notes written on both sides of a broken connection merge; two texts become a choice', async () => {
  const { world, ada, bob } = await meeting('ada', 'bob');
  const noteId = ada.wall.put({ x: 1, y: 1, text: 'plan', colour: 'yellow', tags: [] });
  await world.advance(300);
  ada.online(false);
  ada.wall.change(noteId, { text: 'plan of ada' });
  const offlineId = ada.wall.put({ x: 5, y: 5, text: 'from afar', colour: 'pink', tags: [] });
  bob.wall.change(noteId, { x: 9, text: 'plan of bob' });
  await world.advance(300);
  assert.equal(ada.wall.board.waiting, 2);
  ada.online(true);
  await world.advance(5_000);
  assert.equal(bob.wall.board.note(offlineId).text, 'from afar');
  const torn = ada.wall.board.note(noteId);
  assert.deepEqual([torn.text, torn.theirs.text, torn.x, torn.conflict], ['plan of ada', 'plan of bob', 9, 'text']);
  ada.wall.resolve(noteId, 'mine');
  await world.advance(300);
  assert.deepEqual([bob.wall.board.note(noteId).text, bob.wall.board.note(noteId).x], ['plan of ada', 9]);
});

test('presence is asked again after each new connection', async () => {
  const { world, ada } = await meeting('ada', 'bob');
  const stop = ada.messenger.watch('bob');
  await world.advance(100);
  assert.equal(ada.messenger.presence('bob').status, 'online');
  ada.online(false);
  await world.advance(100);
  ada.online(true);
  await world.advance(2_000);
  assert.equal(ada.messenger.presence('bob').status, 'online');
  stop();
  assert.equal(ada.messenger.presence('bob'), undefined);
});

// --- against a server that is played by hand --------------------------------------------------------------------

/** A client on fake sockets whose pages are answered by `answer`. */
async function played(userId, answer) {
  const world = new FakeWorld();
  const asked = [];
  const environment = world.environment();
  const fetch = async (url, init) => {
    if (init.method === 'POST') return environment.fetch(url, init);
    asked.push({ url, token: init.headers.Authorization });
    return { ok: true, status: 200, headers: { get: () => null }, json: async () => answer(new URL(url, 'http://edge.test')) };
  };
  const client = new RoomringClient({ user: { userId, displayName: userId, avatarId: 'fox' }, environment: { ...environment, fetch } });
  const messenger = new Messenger(client);
  client.connect();
  client.join(LOBBY);
  await world.advance();
  world.socket.welcome();
  await world.advance();
  return { world, client, messenger, asked };
}
const line = (seq) => ({ epoch: 1, seq, ts: seq, userId: 'bob', displayName: 'Bob', text: `t${seq}`, messageId: `m${seq}` });
const lobbyState = (seqs, beside = {}) => ({
  roomId: LOBBY, serverTimeMs: 0, members: [], memberCount: 2, you: { userId: 'ada' }, epoch: 1, seq: seqs.at(-1), recovered: false, messages: seqs.map(line), ...beside,
});

test('a resume that the lobby could not fill is filled from the pages between cursor and until', async () => {
  const { world, messenger, asked } = await played('ada', (url) => {
    const from = Number(url.searchParams.get('after'));
    const messages = [from + 1, from + 2].filter((seq) => seq < 9).map(line);
    return { roomId: LOBBY, messages, after: String(messages.at(-1)?.seq ?? from), moreAfter: messages.length === 2, settled: true };
  });
  const talk = messenger.room(LOBBY, { isKept: true });
  world.socket.deliver('room_state', lobbyState([1, 2, 3]), { re: world.socket.of('join_room')[0].id });
  world.socket.fail(1006);
  await world.advance(5_000);
  world.socket.welcome();
  await world.advance();
  world.socket.deliver('room_state', lobbyState([9, 10], { cursor: '3', until: '9' }), { re: world.socket.of('join_room')[0].id });
  await world.advance();
  assert.deepEqual(messenger.items(talk).map(({ seq }) => seq), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  assert.ok(asked.every(({ url }) => url.includes('before=9')));
  assert.equal(asked[0].url, `/rooms/${encodeURIComponent(LOBBY)}/messages?after=3&before=9`);
});

test('what the inbox says before it was joined again comes once, with the replay', async () => {
  const { world, messenger } = await played('ada', () => ({ inboxId: 'user:ada', unread: 0, threads: [] }));
  messenger.open(LOBBY);
  await world.advance();
  const joinOf = (roomId) => world.socket.of('join_room').find(({ payload }) => payload.roomId === roomId);
  assert.equal(joinOf('user:ada').payload.token, joinOf(LOBBY).payload.token, 'the inbox needs no token of its own');
  const inboxState = (seq, recovered) => ({
    roomId: 'user:ada', serverTimeMs: 0, members: [], you: { userId: 'ada' }, epoch: 5, seq, recovered, inbox: { unread: {}, friends: [], blocked: [] },
  });
  const letter = (seq, beside = {}) => world.socket.deliver('direct_message', {
    roomId: 'user:ada', threadId: 'dm:ada:bob', threadEpoch: 1, threadSeq: seq, userId: 'bob', displayName: 'Bob', recipientId: 'ada',
    text: `t${seq}`, messageId: `m${seq}`, unread: seq,
  }, { seq, epoch: 5, ...beside });
  world.socket.deliver('room_state', inboxState(0, false), { re: joinOf('user:ada').id });
  letter(1);
  world.socket.fail(1006);
  await world.advance(5_000);
  world.socket.welcome();
  await world.advance();
  letter(3);
  assert.deepEqual(joinOf('user:ada').payload.resume, { epoch: 5, lastSeq: 1 });
  world.socket.deliver('room_state', { ...inboxState(3, true), inbox: { unread: { 'dm:ada:bob': 3 }, friends: [], blocked: [] } }, { re: joinOf('user:ada').id });
  for (const seq of [2, 3]) letter(seq, { replay: true });
  letter(4);
  assert.deepEqual(messenger.items(messenger.direct('bob')).map(({ text }) => text), ['t1', 't2', 't3', 't4']);
  assert.equal(messenger.inbox.unreadTotal, 4);
});

test('a person whose id has to be coded asks for the name of the inbox', async () => {
  const { world, messenger, asked } = await played('ada@example.org', () => ({ inboxId: 'user:~abc', unread: 0, threads: [] }));
  messenger.open(LOBBY);
  await world.advance();
  assert.equal(asked[0].url, '/threads?limit=1');
  assert.match(asked[0].token, /^Bearer token-/);
  assert.ok(world.socket.of('join_room').some(({ payload }) => payload.roomId === 'user:~abc'));
});

test('a letter that nobody answered for four minutes is given up rather than sent twice; one that never went waits on', async () => {
  const { world, client, messenger } = await played('ada', () => ({ inboxId: 'user:ada', unread: 0, threads: [] }));
  messenger.open(LOBBY);
  await world.advance();
  const talk = messenger.direct('bob');
  messenger.send(talk, 'early');
  await world.advance(600_000);
  assert.deepEqual(messenger.items(talk).map(({ state }) => state), ['sending'], 'the inbox was not joined yet');
  const join = world.socket.of('join_room').findLast(({ payload }) => payload.roomId === 'user:ada');
  if (!join) world.socket.welcome();
  await world.advance();
  const again = world.socket.of('join_room').findLast(({ payload }) => payload.roomId === 'user:ada');
  world.socket.deliver('room_state', {
    roomId: 'user:ada', serverTimeMs: 0, members: [], you: { userId: 'ada' }, epoch: 5, seq: 0, recovered: false, inbox: { unread: {}, friends: [], blocked: [] },
  }, { re: again.id });
  await world.advance();
  const sent = world.socket.of('direct_send');
  assert.equal(sent.length, 1);
  for (let second = 0; second < 250; second += 10) {
    await world.advance(10_000);
    world.socket.deliver('heartbeat_ack', { clientTimeMs: world.nowMs, serverTimeMs: world.serverNowMs });
  }
  const resent = world.sockets.flatMap((socket) => socket.of('direct_send'));
  assert.equal(new Set(resent.map(({ id }) => id)).size, 1);
  assert.deepEqual(messenger.items(talk).map(({ state, error }) => [state, error?.code]), [['failed', 'expired']]);
  assert.equal(client.pendingMessages, 0);
});
