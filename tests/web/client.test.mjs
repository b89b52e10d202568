import assert from 'node:assert/strict';
import { test } from 'node:test';

import { RoomringClient } from '../../web/roomring/index.js';
import { FakeWorld, member } from './fakes.mjs';

const USER = { userId: 'ada', displayName: 'Ada', avatarId: 'fox' };

/** A client, its world, and everything it said to the application. */
function start(options = {}) {
  const world = new FakeWorld();
  const client = new RoomringClient({ user: USER, environment: world.environment(), ...options });
  const log = [];
  for (const event of ['status', 'roomState', 'roomMembers', 'memberJoined', 'memberLeft', 'transform', 'chat', 'emote', 'moderation',
    'rateLimited', 'authError', 'resync', 'draining', 'error', 'latency']) {
    client.on(event, (payload, meta) => log.push({ event, payload, meta }));
  }
  const of = (event) => log.filter((entry) => entry.event === event).map((entry) => entry.payload);
  return { world, client, log, of };
}

/** A client that is in the room "bar". */
async function joined(options = {}) {
  const started = start(options);
  const { world, client } = started;
  client.connect();
  const state = client.join('bar');
  await world.advance();
  world.socket.welcome();
  await world.advance();
  world.socket.state('bar', { epoch: 1, seq: 10, members: [member('ada')] });
  await state;
  return started;
}

/** Bring a reconnecting client to its next socket. */
async function nextSocket(world) {
  const before = world.sockets.length;
  for (let round = 0; round < 60 && world.sockets.length === before; round += 1) await world.advance(500);
  assert.equal(world.sockets.length, before + 1, 'no new socket within 30 s');
  return world.socket;
}

/** Let time pass on a healthy connection: the server answers every so often. */
async function idle(world, ms) {
  for (let leftMs = ms; leftMs > 0; leftMs -= 10_000) {
    await world.advance(Math.min(10_000, leftMs));
    world.socket.deliver('heartbeat_ack', { clientTimeMs: world.nowMs, serverTimeMs: world.serverNowMs });
  }
}

const chatEvent = (text, seq) => [
  'chat_broadcast',
  { roomId: 'bar', userId: 'bob', displayName: 'Bob', text, messageId: `m${seq}` },
  { seq, epoch: 1 },
];

test('joins: ticket by HTTP, subprotocol, welcome, join_room with user and token', async () => {
  const { world, client, of } = start();
  client.connect();
  const state = client.join('bar');
  await world.advance();
  assert.deepEqual(world.joins[0].user, USER);
  assert.equal(world.joins[0].url, '/rooms/join');
  assert.equal(world.joins[0].device, 'desktop');
  assert.equal(world.socket.url, 'ws://edge.test/ws');
  assert.deepEqual(world.socket.protocols, ['roomring.v1.json']);
  assert.equal(world.socket.sent.length, 0, 'nothing goes out before the welcome');
  world.socket.welcome();
  await world.advance();
  const [join] = world.socket.of('join_room');
  assert.deepEqual(join.payload, { roomId: 'bar', user: USER, token: 'token-1' });
  world.socket.state('bar', { seq: 3, members: [member('ada'), member('bob')] });
  assert.equal((await state).seq, 3);
  assert.deepEqual(of('status').map(({ state }) => state), ['connecting', 'connected']);
  assert.deepEqual(client.members('bar').map(({ userId }) => userId), ['ada', 'bob']);
});

test('join before connect waits for connect', async () => {
  const { world, client } = start();
  client.join('bar');
  await world.advance(1_000);
  assert.equal(world.joins.length, 0);
  client.connect();
  await world.advance();
  assert.equal(world.sockets.length, 1);
});

test('several rooms share one socket, each with its own token', async () => {
  const { world, client } = await joined();
  client.join('game:1');
  await world.advance();
  assert.equal(world.sockets.length, 1);
  assert.deepEqual(world.socket.of('join_room').map(({ payload }) => [payload.roomId, payload.token]), [['bar', 'token-1'], ['game:1', 'token-2']]);
});

test('a repeated event is applied once, and unknown events are ignored', async () => {
  const { world, of } = await joined();
  world.socket.deliver(...chatEvent('one', 11));
  world.socket.deliver(...chatEvent('one', 11));
  world.socket.deliver(...chatEvent('old', 9));
  world.socket.deliver('from_the_future', { roomId: 'bar' }, { seq: 12, epoch: 1 });
  world.socket.onmessage({ data: 'not json' });
  world.socket.onmessage({ data: new ArrayBuffer(3) });
  world.socket.deliver(...chatEvent('two', 13));
  assert.deepEqual(of('chat').map(({ text }) => text), ['one', 'two']);
});

test('a reconnect resumes from the last seq, and the replay is handed on once', async () => {
  const { world, log, of } = await joined();
  world.socket.deliver(...chatEvent('before', 11));
  world.socket.fail(1006);
  assert.equal(of('status').at(-1).state, 'reconnecting');
  const socket = await nextSocket(world);
  socket.welcome();
  await world.advance();
  assert.deepEqual(socket.of('join_room')[0].payload.resume, { epoch: 1, lastSeq: 11 });
  assert.equal(world.joins.length, 1, 'a ticket that is still good is used again');
  socket.state('bar', { epoch: 1, seq: 13, recovered: true });
  for (const seq of [11, 12, 13]) {
    const [t, payload, beside] = chatEvent(`line ${seq}`, seq);
    socket.deliver(t, payload, { ...beside, replay: true });
  }
  assert.deepEqual(of('chat').map(({ text }) => text), ['before', 'line 12', 'line 13']);
  assert.equal(log.findLast(({ event }) => event === 'chat').meta.replay, true);
});

test('a replayed join or leave does not disturb the newer member list', async () => {
  const { world, client, of } = await joined();
  world.socket.fail(1006);
  const socket = await nextSocket(world);
  socket.welcome();
  await world.advance();
  socket.state('bar', { epoch: 1, seq: 12, recovered: true, members: [member('ada'), member('bob', { x: 7 })] });
  socket.deliver('member_joined', { roomId: 'bar', member: member('bob', { x: 0 }) }, { seq: 11, epoch: 1, replay: true });
  socket.deliver('member_left', { roomId: 'bar', userId: 'cy' }, { seq: 12, epoch: 1, replay: true });
  assert.equal(client.members('bar').find(({ userId }) => userId === 'bob').x, 7);
  assert.equal(of('memberJoined').length, 1, 'the application hears of it all the same');
  socket.deliver('member_left', { roomId: 'bar', userId: 'bob' }, { seq: 13, epoch: 1 });
  assert.deepEqual(client.members('bar').map(({ userId }) => userId), ['ada']);
});

/** Begin to join "bar", and get the first of three parts of its state. */
async function partlyJoined() {
  const started = start();
  const { world, client } = started;
  client.connect();
  let state = null;
  void client.join('bar').then((whole) => (state = whole));
  await world.advance();
  world.socket.welcome();
  await world.advance();
  world.socket.state('bar', { seq: 10, members: [member('ada'), member('bob')], memberCount: 5, parts: 3 });
  await world.advance();
  const part = (number, members, place = { epoch: 1, seq: 10 }) =>
    world.socket.deliver('room_members', { roomId: 'bar', ...place, part: number, parts: 3, members });
  const ids = () => client.members('bar').map(({ userId }) => userId);
  return { ...started, part, ids, state: () => state };
}

test('a large room: the parts are put together, and join waits for the last', async () => {
  const { world, of, part, ids, state } = await partlyJoined();
  assert.equal(of('roomState').length, 1);
  part(2, [member('cy'), member('dee')]);
  await world.advance();
  assert.equal(state(), null);
  part(3, [member('eve'), member('ada', { x: 9 })]);
  await world.advance();
  assert.deepEqual(ids(), ['ada', 'bob', 'cy', 'dee', 'eve']);
  assert.deepEqual(state().members.map(({ userId }) => userId), ids());
  assert.equal(state().members[0].x, 1, 'oneself is in the first part');
  assert.deepEqual(of('roomMembers').map((event) => event.part), [2, 3]);
});

test('a part of another state is passed over', async () => {
  const { world, part, ids, of } = await partlyJoined();
  part(2, [member('ghost')], { epoch: 1, seq: 9 });
  part(2, [member('ghost')], { epoch: 2, seq: 10 });
  assert.deepEqual(ids(), ['ada', 'bob']);
  world.socket.deliver('resync', { roomId: 'bar', reason: 'slow_reader' });
  world.socket.state('bar', { seq: 11, members: [member('ada')] });
  part(3, [member('ghost')], { epoch: 1, seq: 11 });
  assert.deepEqual(ids(), ['ada']);
  assert.equal(of('roomMembers').length, 0);
});

test('a connection that is lost between the parts joins again', async () => {
  const { world, ids, state } = await partlyJoined();
  world.socket.fail(1006);
  const socket = await nextSocket(world);
  socket.welcome();
  await world.advance();
  socket.state('bar', { seq: 12, recovered: true, members: [member('ada'), member('cy')] });
  await world.advance();
  assert.deepEqual(ids(), ['ada', 'cy']);
  assert.deepEqual(state().members.map(({ userId }) => userId), ['ada', 'cy']);
});

test('not recovered: the position starts anew at the state', async () => {
  const { world, of } = await joined();
  world.socket.fail(1006);
  const socket = await nextSocket(world);
  socket.welcome();
  await world.advance();
  socket.state('bar', { epoch: 2, seq: 4, recovered: false });
  const [t, payload] = chatEvent('new epoch', 5);
  socket.deliver(t, payload, { seq: 5, epoch: 2 });
  assert.deepEqual(of('chat').map(({ text }) => text), ['new epoch']);
});

test('resync: the position is dropped until the new state', async () => {
  const { world, of } = await joined();
  world.socket.deliver('resync', { roomId: 'bar', reason: 'history_lost' });
  world.socket.deliver(...chatEvent('between', 11));
  world.socket.state('bar', { epoch: 2, seq: 2 });
  const [t, payload] = chatEvent('after', 3);
  world.socket.deliver(t, payload, { seq: 3, epoch: 2 });
  assert.equal(of('resync')[0].reason, 'history_lost');
  assert.deepEqual(of('chat').map(({ text }) => text), ['after']);
  assert.equal(of('roomState').length, 2);
});

test('a resync without a state leads to a new connection', async () => {
  const { world, of } = await joined();
  world.socket.deliver('resync', { roomId: 'bar', reason: 'history_lost' });
  await world.advance(10_000);
  assert.equal(of('status').find(({ state }) => state === 'reconnecting').reason, 'resync_timeout');
});

test('the token is refreshed at 80 % of its life, on the same socket, with resume', async () => {
  const { world } = await joined();
  world.socket.deliver(...chatEvent('x', 11));
  await idle(world, 79_000);
  assert.equal(world.joins.length, 1);
  await world.advance(1_500);
  assert.equal(world.joins.length, 2);
  assert.equal(world.sockets.length, 1);
  const join = world.socket.of('join_room').at(-1);
  assert.equal(join.payload.token, 'token-2');
  assert.deepEqual(join.payload.resume, { epoch: 1, lastSeq: 11 });
});

test('the refresh goes by the server clock: a local clock an hour ahead changes nothing', async () => {
  const started = start();
  const { world, client } = started;
  world.serverOffsetMs = -3_600_000;
  client.connect();
  client.join('bar');
  await world.advance();
  world.socket.welcome();
  await world.advance();
  world.socket.state('bar');
  const ticketsBefore = world.joins.length;
  await idle(world, 75_000);
  assert.equal(world.joins.length, ticketsBefore);
  await world.advance(6_000);
  assert.equal(world.joins.length, ticketsBefore + 1);
});

test('movement goes on counting over a refresh, and starts anew on a new socket', async () => {
  const { world, client } = await joined();
  const move = (x) => client.sendTransform('bar', { x, y: 0, z: 0, rotY: 0, anim: 'walk', speaking: false });
  move(1);
  await world.advance(100);
  await idle(world, 82_000);
  world.socket.state('bar', { seq: 10, recovered: true });
  move(2);
  assert.deepEqual(world.socket.of('avatar_transform').map(({ payload }) => payload.seq), [1, 2]);
  world.socket.fail(1006);
  const socket = await nextSocket(world);
  socket.welcome();
  await world.advance();
  socket.state('bar', { seq: 10, recovered: true });
  assert.deepEqual(socket.of('avatar_transform').map(({ payload }) => [payload.seq, payload.x]), [[1, 2]], 'the last place is told again');
});

test('auth_error token_expired: one new ticket, at once, on the same socket', async () => {
  const { world, client, of } = start();
  client.connect();
  const state = client.join('bar');
  await world.advance();
  world.socket.welcome();
  await world.advance();
  const [join] = world.socket.of('join_room');
  world.socket.deliver('auth_error', { code: 'token_expired', message: 'too late' }, { re: join.id });
  await world.advance(1);
  assert.equal(world.socket.of('join_room')[1].payload.token, 'token-2');
  assert.notEqual(world.socket.of('join_room')[1].id, join.id, 'a new request, not a repeated one');
  assert.equal(of('authError')[0].isFinal, false);
  world.socket.state('bar');
  await state;
});

test('auth_error that repeats: backoff, then it is final', async () => {
  const { world, client, of } = start();
  world.randomValue = 0.99;
  client.connect();
  const state = client.join('bar');
  const refused = assert.rejects(state, { code: 'token_invalid' });
  await world.advance();
  world.socket.welcome();
  await world.advance();
  const gapsMs = [];
  for (let round = 0; round < 6; round += 1) {
    const count = world.socket.of('join_room').length;
    const askedAtMs = world.nowMs;
    world.socket.deliver('auth_error', { code: 'token_invalid', message: 'no' }, { re: world.socket.of('join_room').at(-1).id });
    for (let step = 0; step < 200 && world.socket.of('join_room').length === count; step += 1) await world.advance(25);
    gapsMs.push(world.nowMs - askedAtMs);
  }
  await refused;
  assert.equal(world.socket.of('join_room').length, 6);
  assert.ok(gapsMs[4] > gapsMs[1], `waits grow: ${gapsMs}`);
  assert.equal(of('authError').at(-1).isFinal, true);
  assert.equal(client.status.state, 'closed');
});

for (const code of ['user_mismatch', 'room_mismatch', 'banned']) {
  test(`auth_error ${code} is final`, async () => {
    const { world, client, of } = start();
    client.connect();
    const state = client.join('bar');
    const refused = assert.rejects(state, { code });
    await world.advance();
    world.socket.welcome();
    await world.advance();
    world.socket.deliver('auth_error', { code, message: 'no' }, { re: world.socket.of('join_room')[0].id });
    await refused;
    await world.advance(60_000);
    assert.equal(world.joins.length, 1);
    assert.equal(world.sockets.length, 1);
    assert.deepEqual(of('authError'), [{ code, message: 'no', roomId: 'bar', isFinal: true }]);
    assert.equal(client.status.state, 'closed');
    assert.equal(world.timers, 0);
  });
}

test('a ticket refused by HTTP is final, an unreachable server is not', async () => {
  const { world, client } = start();
  world.httpFailures = [{ status: 0 }, { status: 503, headers: { 'Retry-After': '2' } }];
  client.connect();
  client.join('bar');
  await world.advance();
  assert.equal(client.status.state, 'reconnecting');
  await world.advance(250);
  assert.equal(world.joins.length, 2);
  assert.ok(client.status.delayMs >= 2_000, 'Retry-After is obeyed');
  await world.advance(5_000);
  assert.equal(world.sockets.length, 1);

  const other = start();
  other.world.httpFailures = [{ status: 403, body: { error: { code: 'banned', message: 'out' } } }];
  other.client.connect();
  const refused = assert.rejects(other.client.join('bar'), { code: 'banned' });
  await other.world.advance(60_000);
  await refused;
  assert.equal(other.world.joins.length, 1);
  assert.equal(other.client.status.state, 'closed');
});

test('chat: resolves with the ack, rejects with the error code', async () => {
  const { world, client } = await joined();
  const good = client.sendChat('bar', 'hello');
  const bad = assert.rejects(client.sendChat('bar', 'rude'), { code: 'muted' });
  const [first, second] = world.socket.of('local_chat');
  assert.deepEqual(first.payload, { roomId: 'bar', text: 'hello', mode: 'local' });
  world.socket.deliver('ack', { seq: 11, messageId: 'm11' }, { re: first.id });
  world.socket.deliver('error', { code: 'muted', message: 'quiet', roomId: 'bar' }, { re: second.id });
  assert.deepEqual(await good, { seq: 11, messageId: 'm11' });
  await bad;
  assert.equal(client.pendingMessages, 0);
});

test('chat is counted in code points, as the server counts', async () => {
  const { client } = await joined();
  await assert.rejects(client.sendChat('bar', ''), { code: 'bad_text' });
  await assert.rejects(client.sendChat('bar', 'x'.repeat(241)), { code: 'bad_text' });
  client.sendChat('bar', '\u{1F37B}'.repeat(240));
  assert.equal(client.pendingMessages, 1);
  await assert.rejects(client.sendChat('elsewhere', 'x'), { code: 'not_joined' });
});

test('unanswered messages are sent again after a reconnect with the same id, in order', async () => {
  const { world, client } = await joined();
  const first = client.sendChat('bar', 'one');
  const ids = world.socket.of('local_chat').map(({ id }) => id);
  world.socket.fail(1006);
  const second = client.sendEmote('bar', 'cheers');
  const socket = await nextSocket(world);
  socket.welcome();
  await world.advance();
  assert.equal(socket.of('local_chat').length, 0, 'not before the room is joined');
  socket.state('bar', { seq: 10, recovered: true });
  await world.advance(5);
  assert.deepEqual(socket.of('local_chat').map(({ id }) => id), ids);
  socket.deliver('ack', { seq: 11, messageId: 'm' }, { re: ids[0] });
  socket.deliver('ack', { seq: 12 }, { re: socket.of('emote')[0].id });
  await Promise.all([first, second]);
  await world.advance(30_000);
  assert.equal(socket.of('local_chat').length, 1);
});

test('a message that gets no answer is repeated, and given up after two minutes', async () => {
  const { world, client } = await joined();
  const expired = assert.rejects(client.sendChat('bar', 'anyone?'), { code: 'expired' });
  for (let round = 0; round < 13; round += 1) {
    await world.advance(10_000);
    world.socket.deliver('heartbeat_ack', { clientTimeMs: world.nowMs, serverTimeMs: world.nowMs });
    if (world.socket.of('join_room').length > 1) world.socket.state('bar', { seq: 10, recovered: true });
  }
  await expired;
  const ids = new Set(world.socket.of('local_chat').map(({ id }) => id));
  assert.equal(ids.size, 1);
  assert.ok(world.socket.of('local_chat').length > 5);
});

test('the queue of unanswered messages is bounded', async () => {
  const { client } = await joined();
  for (let count = 0; count < 64; count += 1) client.sendEmote('bar', 'clap');
  await assert.rejects(client.sendEmote('bar', 'clap'), { code: 'queue_full' });
});

test('rate_limited: chat waits and goes again in order; movement pauses', async () => {
  const { world, client, of } = await joined();
  client.sendChat('bar', 'one');
  world.socket.deliver('rate_limited', { event: 'local_chat', limit: 5, retryAfterMs: 1_000 });
  client.sendChat('bar', 'two');
  await world.advance(990);
  assert.equal(world.socket.of('local_chat').length, 1);
  await world.advance(20);
  assert.deepEqual(world.socket.of('local_chat').map(({ payload }) => payload.text), ['one', 'one', 'two']);

  const move = (x) => client.sendTransform('bar', { x, y: 0, z: 0, rotY: 0, anim: 'walk', speaking: false });
  move(1);
  world.socket.deliver('rate_limited', { event: 'avatar_transform', limit: 20, retryAfterMs: 500 });
  for (let x = 2; x < 8; x += 1) {
    move(x);
    await world.advance(50);
  }
  assert.equal(world.socket.of('avatar_transform').length, 1);
  await world.advance(300);
  assert.equal(world.socket.of('avatar_transform').at(-1).payload.x, 7);
  assert.equal(of('rateLimited').length, 2);
});

test('a message refused for its rate keeps its place and goes again', async () => {
  const { world, client } = await joined();
  const first = client.sendChat('bar', 'one');
  client.sendChat('bar', 'two');
  const [{ id }, { id: secondId }] = world.socket.of('local_chat');
  world.socket.deliver('rate_limited', { event: 'local_chat', limit: 5, retryAfterMs: 300, roomId: 'bar' });
  world.socket.deliver('error', { code: 'rate_limited', message: 'slower', roomId: 'bar' }, { re: id });
  await world.advance(1_100);
  assert.deepEqual(world.socket.of('local_chat').slice(2).map((sent) => sent.id), [id, secondId]);
  world.socket.deliver('ack', { seq: 11, messageId: 'm', roomId: 'bar' }, { re: id });
  assert.equal((await first).seq, 11);
});

test('a cluster that allows less movement is obeyed', async () => {
  const { world, client } = start();
  client.connect();
  client.join('bar');
  await world.advance();
  world.socket.welcome({ transformsPerSecondDesktop: 5 });
  await world.advance();
  world.socket.state('bar');
  for (let frame = 0; frame < 60; frame += 1) {
    client.sendTransform('bar', { x: frame, y: 0, z: 0, rotY: 0, anim: 'walk', speaking: false });
    await world.advance(1000 / 60);
  }
  assert.equal(world.socket.of('avatar_transform').length, 5);
});

test('a busy server is asked again, with the same id', async () => {
  const { world, client } = await joined();
  client.sendChat('bar', 'hello');
  const [{ id }] = world.socket.of('local_chat');
  world.socket.deliver('error', { code: 'busy', message: 'later', roomId: 'bar' }, { re: id });
  await world.advance(1_100);
  assert.deepEqual(world.socket.of('local_chat').map((sent) => sent.id), [id, id]);
});

test('movement keeps to 20 a second on a desktop and 15 on a phone; the last one arrives', async () => {
  for (const [device, most] of [['desktop', 20], ['mobile', 15]]) {
    const { world, client } = await joined({ device });
    for (let frame = 0; frame < 60; frame += 1) {
      client.sendTransform('bar', { x: frame, y: 0, z: 0, rotY: 0, anim: 'walk', speaking: false });
      await world.advance(1000 / 60);
    }
    const count = world.socket.of('avatar_transform').length;
    assert.ok(count <= most && count >= most - 2, `${device}: ${count}`);
    await world.advance(200);
    assert.equal(world.socket.of('avatar_transform').at(-1).payload.x, 59);
    assert.throws(() => client.sendTransform('bar', { x: Number.NaN, y: 0, z: 0, rotY: 0, anim: 'idle', speaking: false }), TypeError);
  }
});

test('heartbeats carry the position of each room and measure round trip and clock', async () => {
  const { world, client, of } = await joined();
  assert.equal(world.socket.of('heartbeat')[0].payload.lastSeq, 10, 'the first follows the join');
  world.socket.deliver(...chatEvent('x', 11));
  await world.advance(15_000);
  const beat = world.socket.of('heartbeat').at(-1).payload;
  assert.deepEqual([beat.roomId, beat.lastSeq], ['bar', 11]);
  await world.advance(40);
  world.socket.deliver('heartbeat_ack', { clientTimeMs: beat.clientTimeMs, serverTimeMs: beat.clientTimeMs + 20 + 5_000, seq: 11 });
  assert.equal(client.rttMs, 40);
  assert.equal(of('latency').at(-1).clockOffsetMs, 5_000);
  assert.equal(client.serverNow(), world.nowMs + 5_000);
});

test('silence for 45 s means that the socket is dead', async () => {
  const { world, of } = await joined();
  const { socket } = world;
  await world.advance(44_000);
  assert.equal(of('status').at(-1).state, 'connected');
  await world.advance(1_500);
  assert.equal(of('status').findLast(({ state }) => state === 'reconnecting').reason, 'heartbeat_timeout');
  assert.ok(socket.closedByClient);
});

test('waking up asks the server; without an answer in 5 s the socket is dead', async () => {
  const { world, of } = await joined();
  await world.advance(1_000);
  world.changePage('visible');
  world.socket.deliver('heartbeat_ack', { clientTimeMs: world.nowMs, serverTimeMs: world.nowMs });
  await world.advance(6_000);
  assert.equal(of('status').at(-1).state, 'connected');
  world.changePage('visible');
  await world.advance(5_100);
  assert.equal(of('status').findLast(({ state }) => state === 'reconnecting').reason, 'no_answer');
});

test('offline: no attempts; online: at once', async () => {
  const { world, of } = await joined();
  world.changePage('offline');
  assert.equal(of('status').at(-1).state, 'offline');
  await world.advance(120_000);
  assert.equal(world.sockets.length, 1);
  world.changePage('online');
  await world.advance();
  assert.equal(world.sockets.length, 2);
  assert.equal(of('status').at(-1).state, 'connecting');
});

test('draining: come back when told, not sooner, also when the page wakes up', async () => {
  const { world, of } = await joined();
  world.socket.deliver('server_draining', { reconnectAfterMs: 3_000 });
  await world.advance(1_000);
  world.socket.fail(1012);
  assert.equal(of('draining').length, 1);
  assert.equal(of('status').at(-1).delayMs, 2_000);
  world.changePage('visible');
  await world.advance(1_900);
  assert.equal(world.sockets.length, 1);
  await world.advance(200);
  assert.equal(world.sockets.length, 2);
});

test('draining: a server that does not close is left when our turn comes', async () => {
  const { world } = await joined();
  world.socket.deliver('server_draining', { reconnectAfterMs: 2_000 });
  const { socket } = world;
  await world.advance(2_500);
  assert.ok(socket.closedByClient);
  assert.equal(world.sockets.length, 2);
});

for (const code of [4400, 4402, 4403]) {
  test(`close ${code} is final`, async () => {
    const { world, client, of } = await joined();
    const pending = assert.rejects(client.sendChat('bar', 'x'), { code: 'because' });
    world.socket.fail(code, 'because');
    await pending;
    await world.advance(120_000);
    assert.equal(world.sockets.length, 1);
    assert.deepEqual(of('status').at(-1), { state: 'closed', reason: 'because', code });
    assert.equal(world.timers, 0);
  });
}

test('close 4401 takes a new token, three times at most', async () => {
  const { world, client } = start();
  client.connect();
  client.join('bar').catch(() => {});
  await world.advance();
  for (let round = 1; round <= 3; round += 1) {
    world.socket.welcome();
    world.socket.fail(4401);
    await nextSocket(world);
    assert.equal(world.joins.length, round + 1);
  }
  world.socket.welcome();
  world.socket.fail(4401);
  await world.advance(60_000);
  assert.equal(client.status.state, 'closed');
  assert.equal(world.sockets.length, 4);
});

for (const code of [1001, 1006, 1008, 1012, 1013, 4408, 4429]) {
  test(`close ${code} comes back`, async () => {
    const { world, client } = await joined();
    world.socket.fail(code);
    assert.equal(client.status.state, 'reconnecting');
    if (code === 1013) assert.ok(client.status.delayMs >= 2_000);
    await nextSocket(world);
  });
}

test('delays grow while connections do not last, and a dead address gets a new ticket', async () => {
  const { world, client } = await joined();
  world.randomValue = 0.999;
  world.socket.fail(1006);
  const delays = [];
  for (let round = 0; round < 9; round += 1) {
    delays.push(client.status.delayMs);
    const socket = await nextSocket(world);
    socket.fail(1006);
  }
  assert.deepEqual(delays.map((ms) => Math.round(ms / 250)), [1, 2, 4, 8, 16, 32, 60, 60, 60]);
  assert.ok(world.joins.length > 5);
});

test('leave: told to the server, its messages rejected, no rejoin', async () => {
  const { world, client } = await joined();
  const pending = assert.rejects(client.sendChat('bar', 'x'), { code: 'left' });
  client.leave('bar');
  await pending;
  assert.equal(world.socket.of('leave_room').length, 1);
  world.socket.fail(1006);
  await world.advance(60_000);
  assert.equal(world.sockets.length, 1);
});

test('without a connection that anybody wants, a message is refused and movement is without effect', async () => {
  const { world, client } = await joined();
  client.disconnect();
  await assert.rejects(client.sendChat('bar', 'x'), { code: 'closed' });
  client.sendTransform('elsewhere', { x: 1, y: 0, z: 0, rotY: 0, anim: 'idle', speaking: false });
  assert.equal(world.timers, 0);
});

test('disconnect: leaves, closes with 1000, leaves no timer; connect comes back to the same rooms', async () => {
  const { world, client } = await joined();
  const { socket } = world;
  client.disconnect();
  assert.equal(socket.of('leave_room').length, 1);
  assert.equal(socket.closedByClient.code, 1000);
  await world.advance(60_000);
  assert.equal(world.timers, 0);
  client.connect();
  await world.advance();
  world.socket.welcome();
  await world.advance();
  assert.deepEqual(world.socket.of('join_room')[0].payload.resume, { epoch: 1, lastSeq: 10 });
});

test('a socket without a welcome is given up after 10 s', async () => {
  const { world, client, of } = start();
  client.connect();
  client.join('bar').catch(() => {});
  await world.advance(10_500);
  assert.equal(of('status').find(({ state }) => state === 'reconnecting').reason, 'welcome_timeout');
});

test('a handler that throws does not stop the others', async (context) => {
  const { world, client } = await joined();
  const uncaught = new Promise((resolve) => {
    context.mock.method(globalThis, 'queueMicrotask', (callback) => {
      try {
        callback();
      } catch (error) {
        resolve(error);
      }
    });
  });
  const seen = [];
  client.on('chat', () => {
    throw new Error('oops');
  });
  client.on('chat', ({ text }) => seen.push(text));
  world.socket.deliver(...chatEvent('x', 11));
  assert.deepEqual(seen, ['x']);
  assert.equal((await uncaught).message, 'oops');
});
