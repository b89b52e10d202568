import assert from 'node:assert/strict';
import { test } from 'node:test';

import { RoomPosition } from '../../web/roomring/resume.js';

function at(epoch, seq) {
  const position = new RoomPosition();
  position.adopt({ epoch, seq, recovered: false });
  return position;
}

test('nothing to resume before the first state and after a resync', () => {
  const position = new RoomPosition();
  assert.equal(position.resumeFrom(), undefined);
  position.adopt({ epoch: 1, seq: 4, recovered: false });
  assert.deepEqual(position.resumeFrom(), { epoch: 1, lastSeq: 4 });
  position.reset();
  assert.equal(position.resumeFrom(), undefined);
});

test('each event is new once', () => {
  const position = at(1, 4);
  assert.deepEqual([4, 5, 5, 3, 6].map((seq) => position.observe(1, seq)), [false, true, false, false, true]);
  assert.equal(position.lastSeq, 6);
});

test('a number that never comes is no fault: events of a blocked person are left out', () => {
  const position = at(1, 4);
  assert.equal(position.observe(1, 9), true);
});

test('a recovered state does not swallow the replay that follows it', () => {
  const position = at(1, 4);
  position.adopt({ epoch: 1, seq: 6, recovered: true });
  assert.deepEqual(position.resumeFrom(), { epoch: 1, lastSeq: 4 }, 'a drop before the replay must ask for it again');
  assert.equal(position.isInState(6), true);
  assert.deepEqual([5, 6, 7].map((seq) => position.observe(1, seq)), [true, true, true]);
  assert.equal(position.isInState(7), false);
});

test('a new epoch counts anew, and an older one is over', () => {
  const position = at(2, 40);
  assert.equal(position.observe(3, 1), true);
  assert.deepEqual(position.resumeFrom(), { epoch: 3, lastSeq: 1 });
  assert.equal(position.observe(2, 41), false);
});

test('an epoch may be any mark', () => {
  const position = at('a1', 40);
  assert.equal(position.observe('b2', 1), true);
  assert.deepEqual(position.resumeFrom(), { epoch: 'b2', lastSeq: 1 });
});
