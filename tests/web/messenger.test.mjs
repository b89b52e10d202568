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
