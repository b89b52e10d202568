import assert from 'node:assert/strict';
import { test } from 'node:test';

import { RoomringClient } from '../../web/roomring/index.js';
import { FakeWorld } from './fakes.mjs';

const USER = { userId: 'ada', displayName: 'Ada', avatarId: 'fox' };

async function inSim(options = {}) {
  const world = new FakeWorld();
  let step = 0;
  const environment = { ...world.environment(), random: () => ((step += 0.37) % 1), fetch: () => assert.fail('the sim uses no network') };
  const client = new RoomringClient({ user: USER, provider: 'sim', environment, ...options });
  const log = [];
  for (const event of ['chat', 'emote', 'transform', 'memberLeft', 'roomState', 'latency']) {
    client.on(event, (payload, meta) => log.push({ event, payload, meta }));
  }
  client.connect();
  const joined = client.join('bar');
  await world.advance(200);
  return { world, client, log, state: await joined };
}

test('a room with bots, without a network', async () => {
  const { world, client, state } = await inSim();
  assert.equal(world.sockets.length, 0);
  assert.equal(client.status.state, 'connected');
  assert.ok(state.members.length >= 4);
  assert.equal(state.you.userId, 'ada');
  assert.equal(state.recovered, false);
});

test('bots walk at walking speed, talk and show emotes, in one order', async () => {
  const { world, log } = await inSim();
  await world.advance(120_000);
  const moves = log.filter(({ event }) => event === 'transform');
  assert.ok(moves.length > 100);
  const last = new Map();
  for (const { payload } of moves) {
    const before = last.get(payload.userId);
    if (before) assert.ok(Math.hypot(payload.x - before.x, payload.z - before.z) < 0.3);
    last.set(payload.userId, payload);
  }
  assert.ok(log.some(({ event }) => event === 'chat') && log.some(({ event }) => event === 'emote'));
  const seqs = log.filter(({ meta }) => meta?.seq !== undefined).map(({ meta }) => meta.seq);
  assert.deepEqual(seqs, seqs.map((_seq, index) => seqs[0] + index));
});

test('our own chat, emote and movement come back as from a server, and somebody answers', async () => {
  const { world, client, log } = await inSim();
  const ack = client.sendChat('bar', 'good evening');
  client.sendEmote('bar', 'cheers');
  client.sendTransform('bar', { x: 3, y: 0, z: 4, rotY: 1, anim: 'walk', speaking: false });
  await world.advance(3_000);
  const { messageId } = await ack;
  const own = log.find(({ event, payload }) => event === 'chat' && payload.userId === 'ada');
  assert.deepEqual(own.payload, { roomId: 'bar', userId: 'ada', displayName: 'Ada', text: 'good evening', messageId });
  assert.ok(log.some(({ event, payload }) => event === 'emote' && payload.userId === 'ada' && payload.emoteId === 'cheers'));
  const move = log.find(({ event, payload }) => event === 'transform' && payload.userId === 'ada').payload;
  assert.deepEqual([move.seq, move.x, move.z], [1, 3, 4]);
  assert.ok(log.some(({ event, payload }) => event === 'chat' && payload.userId.startsWith('bot-')));
});

test('leaving and coming back: others stay, the token is refreshed, and a stopped sim is quiet', async () => {
  const { world, client, log } = await inSim();
  await world.advance(400_000);
  assert.ok(log.filter(({ event }) => event === 'roomState').length >= 2, 'the refresh has joined again');
  assert.ok(log.filter(({ event }) => event === 'roomState').slice(1).every(({ payload }) => payload.recovered));
  client.disconnect();
  await world.advance(1_000);
  assert.equal(world.timers, 0);
  const again = client.join('bar');
  client.connect();
  await world.advance(1_000);
  assert.ok((await again).members.some(({ userId }) => userId.startsWith('bot-')));
});
