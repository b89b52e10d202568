import assert from 'node:assert/strict';
import { test } from 'node:test';

import { project, unproject } from '../../web/demo/camera.js';
import { BOT_PLACES, COUNTER, DEPTH, findPath, isWalkable, slide, spawnPoint, TABLES, WIDTH } from '../../web/demo/world.js';

function everyStep(from, path, check) {
  let at = from;
  for (const to of path) {
    const steps = Math.ceil(Math.hypot(to.x - at.x, to.z - at.z) / 0.05);
    for (let step = 1; step <= steps; step += 1) {
      check({ x: at.x + ((to.x - at.x) * step) / steps, z: at.z + ((to.z - at.z) * step) / steps });
    }
    at = to;
  }
}

test('walls, counter and tables keep people out', () => {
  for (const point of [{ x: 0, z: 6 }, { x: WIDTH, z: 6 }, { x: 10, z: 0 }, { x: 10, z: DEPTH }, { x: 4, z: 1 }, { x: 4, z: COUNTER.z1 }, TABLES[0]]) {
    assert.equal(isWalkable(point), false, JSON.stringify(point));
  }
  assert.equal(isWalkable({ x: 15, z: 6 }), true);
});

test('a way round the furniture never goes through it', () => {
  const from = { x: 1, z: 8 };
  for (const to of [{ x: 19, z: 2.4 }, { x: 5, z: 3.6 }, { x: 8.3, z: 11.4 }, { x: 11, z: 9 }]) {
    const path = findPath(from, to);
    assert.ok(path.length > 0);
    everyStep(from, path, (point) => assert.ok(isWalkable(point), `${JSON.stringify(to)} through ${JSON.stringify(point)}`));
  }
});

test('a click on furniture leads beside it, a click outside stays inside', () => {
  for (const to of [TABLES[1], { x: 4, z: 1 }, { x: -5, z: 30 }, { x: 25, z: -3 }]) {
    const end = findPath({ x: 11, z: 9 }, to).at(-1);
    assert.ok(isWalkable(end));
  }
});

test('walking against something slides along it', () => {
  const stopped = slide({ x: 5, z: 11.8 }, 0.05, 0.2);
  assert.ok(stopped.x > 5 && stopped.z === 11.8);
  assert.ok(isWalkable(slide({ x: 5.85, z: 3.6 }, 0, -5)));
});

test('newcomers and bots stand where one may stand', () => {
  for (let share = 0; share < 1; share += 0.05) assert.ok(isWalkable(spawnPoint(() => share)));
  for (const place of BOT_PLACES) assert.ok(isWalkable(place), JSON.stringify(place));
});

test('a point of the floor is found again on the screen', () => {
  for (const [x, z] of [[0, 0], [20, 12], [10, 6], [3.3, 9.8]]) {
    const at = project(x, z);
    const back = unproject(at.x, at.y);
    assert.ok(Math.abs(back.x - x) < 1e-9 && Math.abs(back.z - z) < 1e-9);
  }
});
