import assert from 'node:assert/strict';
import { test } from 'node:test';

import { AvatarInterpolator, mixAngle } from '../../web/roomring/interpolation.js';

const at = (x, more = {}) => ({ x, y: 0, z: 0, rotY: 0, anim: 'walk', speaking: false, ...more });

/** An avatar that walks 1 unit in 100 ms, told every 50 ms. The server's clock is far from ours. */
function walking({ jitterMs = () => 0 } = {}) {
  const avatars = new AvatarInterpolator();
  for (let step = 0; step <= 10; step += 1) {
    avatars.push('bob', at(step * 0.5), 5_000_000 + step * 50, 1_000 + step * 50 + jitterMs(step));
  }
  return avatars;
}

test('shows the place of 120 ms ago, in between two updates', () => {
  const avatars = walking();
  assert.equal(avatars.at('bob', 1_500 + 45).x.toFixed(3), '4.250');
  assert.equal(avatars.at('bob', 1_500 + 95).x.toFixed(3), '4.750');
});

test('the jitter of the network does not show', () => {
  const steady = walking();
  const shaken = walking({ jitterMs: (step) => (step % 3) * 30 });
  for (let nowMs = 1_450; nowMs < 1_620; nowMs += 7) {
    assert.ok(Math.abs(steady.at('bob', nowMs).x - shaken.at('bob', nowMs).x) < 0.05, `at ${nowMs}`);
  }
});

test('stops at the newest place, without overshooting', () => {
  assert.equal(walking().at('bob', 9_000).x, 5);
});

test('a first step after standing still is not stretched over the pause', () => {
  const avatars = new AvatarInterpolator();
  avatars.push('bob', at(0), 0, 1_000);
  avatars.push('bob', at(0.3), 10_000, 11_000);
  assert.equal(avatars.at('bob', 11_000).x, 0);
  const half = avatars.at('bob', 11_070).x;
  assert.ok(half > 0.05 && half < 0.25, `${half}`);
});

test('beyond the snap distance an avatar jumps', () => {
  const avatars = new AvatarInterpolator({ snapDistance: 2 });
  avatars.push('bob', at(0), 0, 1_000);
  avatars.push('bob', at(10), 50, 1_050);
  assert.equal(avatars.at('bob', 1_160).x, 0);
  assert.equal(avatars.at('bob', 1_171).x, 10);
});

test('turns the shorter way round', () => {
  assert.ok(Math.abs(mixAngle(3, -3, 0.5) - Math.PI) < 1e-9);
  assert.ok(Math.abs(mixAngle(0.1, 2 * Math.PI - 0.1, 0.5)) < 1e-9);
  assert.equal(mixAngle(1, 2, 0.5), 1.5);
});

test('a member who comes back starts at the new place, and a lower seq is nothing special', () => {
  const avatars = walking();
  avatars.remove('bob');
  assert.equal(avatars.at('bob', 1_600), null);
  avatars.place('bob', at(9), 1_600);
  assert.equal(avatars.at('bob', 1_600).x, 9);
});

test('updates of one server batch, with one timestamp, keep their order', () => {
  const avatars = new AvatarInterpolator();
  for (const x of [0, 1, 2]) avatars.push('bob', at(x), 500, 1_000);
  assert.equal(avatars.at('bob', 2_000).x, 2);
});

test('the delay is kept within 100 to 200 ms', () => {
  assert.equal(new AvatarInterpolator({ delayMs: 5 }).delayMs, 100);
  assert.equal(new AvatarInterpolator({ delayMs: 900 }).delayMs, 200);
  assert.equal(new AvatarInterpolator().delayMs, 120);
});

test('a network that becomes slower for good is followed', () => {
  const avatars = new AvatarInterpolator();
  for (let step = 0; step < 200; step += 1) {
    avatars.push('bob', at(step % 2), step * 1_000, step * 1_000 + (step < 20 ? 20 : 320));
  }
  // With the latency of the start, every update would be in the past on arrival and the avatar would jerk.
  avatars.push('bob', at(0), 200_000, 200_320);
  avatars.push('bob', at(1), 200_050, 200_370);
  const x = avatars.at('bob', 200_320 + 120 + 25).x;
  assert.ok(x > 0.2 && x < 0.8, `${x}`);
});
