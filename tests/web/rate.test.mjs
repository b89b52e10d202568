import assert from 'node:assert/strict';
import { test } from 'node:test';

import { TokenBucket, TransformPacer } from '../../web/roomring/rate.js';

const at = (x) => ({ x, y: 0, z: 0, rotY: 0, anim: 'walk', speaking: false });

test('never more often than allowed; the newest wins; the last one goes', () => {
  const pacer = new TransformPacer({ perSecondMax: 20 });
  const sent = [];
  for (let nowMs = 0; nowMs < 1_000; nowMs += 5) {
    pacer.offer(at(nowMs));
    const transform = pacer.take(nowMs);
    if (transform) sent.push(transform.x);
  }
  assert.equal(sent.length, 20);
  assert.equal(pacer.nextAtMs(), 1_000);
  assert.equal(pacer.take(1_000).x, 995);
  assert.equal(pacer.nextAtMs(), null);
});

test('an unchanged place is not sent again', () => {
  const pacer = new TransformPacer({ perSecondMax: 20 });
  pacer.offer(at(1));
  pacer.take(0);
  pacer.offer(at(1));
  assert.equal(pacer.nextAtMs(), null);
});

test('there and back again within one interval sends nothing stale', () => {
  const pacer = new TransformPacer({ perSecondMax: 20 });
  pacer.offer(at(1));
  pacer.take(0);
  pacer.offer(at(2));
  pacer.offer(at(1));
  assert.equal(pacer.take(100), null);
});

test('after rate_limited the newest place goes again, after the pause', () => {
  const pacer = new TransformPacer({ perSecondMax: 20 });
  pacer.offer(at(1));
  pacer.take(0);
  pacer.backOff(10, 400);
  assert.equal(pacer.take(300), null);
  assert.equal(pacer.take(410).x, 1);
});

test('a token bucket allows the burst, then the rate', () => {
  const bucket = new TokenBucket({ perSecond: 5, burst: 3 });
  assert.deepEqual([1, 2, 3, 4].map(() => bucket.take(0)), [true, true, true, false]);
  assert.equal(bucket.waitMs(0), 200);
  assert.equal(bucket.take(199), false);
  assert.equal(bucket.take(200), true);
  assert.equal(bucket.waitMs(10_000), 0);
});
