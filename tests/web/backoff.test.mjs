import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Backoff } from '../../web/roomring/backoff.js';

test('the ceiling doubles up to the cap, and the delay is anywhere below it', () => {
  const top = new Backoff({ random: () => 0.9999999 });
  assert.deepEqual(Array.from({ length: 9 }, () => top.next()), [249, 499, 999, 1999, 3999, 7999, 14999, 14999, 14999]);
  const bottom = new Backoff({ random: () => 0 });
  assert.deepEqual([bottom.next(), bottom.next()], [0, 0]);
});

test('only a connection that stood for 10 s resets it', () => {
  const backoff = new Backoff({ random: () => 0.5 });
  backoff.next();
  backoff.next();
  backoff.opened(0);
  backoff.closed(9_999);
  assert.equal(backoff.attempts, 2);
  backoff.opened(20_000);
  backoff.closed(30_000);
  assert.equal(backoff.attempts, 0);
});

test('a crowd that is refused again and again spreads out', () => {
  const crowd = Array.from({ length: 1_000 }, () => ({ backoff: new Backoff({ random: Math.random }), atMs: 0 }));
  for (let attempt = 0; attempt < 6; attempt += 1) {
    for (const one of crowd) one.atMs += one.backoff.next();
  }
  // All left at the same moment; six refusals later no second has a third of them.
  const seconds = new Map();
  for (const { atMs } of crowd) seconds.set(Math.floor(atMs / 1_000), (seconds.get(Math.floor(atMs / 1_000)) ?? 0) + 1);
  assert.ok(Math.max(...seconds.values()) < 333);
  assert.ok(seconds.size >= 8);
});

test('a close without an open changes nothing', () => {
  const backoff = new Backoff({ random: () => 0.5 });
  backoff.next();
  backoff.closed(1_000_000);
  assert.equal(backoff.attempts, 1);
});

test('days of attempts do not reach infinity', () => {
  const backoff = new Backoff({ random: () => 0.5 });
  for (let count = 0; count < 5_000; count += 1) assert.ok(backoff.next() <= 15_000);
});
