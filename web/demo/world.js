// @ts-check
/**
 * The ground plan of the bar: what stands where, where one may walk, and the way round the furniture.
 * World units; x runs to the right from 0 to 20, z towards the viewer from 0 to 12. `rotY` 0 looks at the viewer (+z).
 *
 * @typedef {{x: number, z: number}} Point
 */

export const WIDTH = 20;
export const DEPTH = 12;

/** Half the width of a person; walls and furniture are that much larger for walking. */
const BODY_RADIUS = 0.32;

export const COUNTER = { x0: 0.7, x1: 9.3, z0: 1.5, z1: 2.5, height: 1.15 };
export const DJ_BOOTH = { x0: 13.9, x1: 17.3, z0: 0.9, z1: 1.8, height: 1.15 };
export const SPEAKERS = [
  { x0: 12.7, x1: 13.5, z0: 0.7, z1: 1.5, height: 2.1 },
  { x0: 17.7, x1: 18.5, z0: 0.7, z1: 1.5, height: 2.1 },
];
/** On the back wall; heights above the floor. */
export const NOTE_BOARD = { x0: 13.75, x1: 17.5, height0: 1.46, height1: 2.56 };
export const DANCE_FLOOR = { x0: 12.2, x1: 18.8, z0: 3.3, z1: 8.1, columns: 8, rows: 6 };
export const TABLES = [
  { x: 2.9, z: 6.1 },
  { x: 7.4, z: 6.5 },
  { x: 3.3, z: 9.8 },
  { x: 8.3, z: 10.1 },
];
export const TABLE_RADIUS = 0.68;
export const STOOLS = [1.6, 3.3, 5, 6.7, 8.4].map((x) => ({ x, z: 3.1 }));
export const STOOL_RADIUS = 0.24;
export const PLANTS = [
  { x: 19.3, z: 1.2 },
  { x: 0.7, z: 11.3 },
  { x: 10.9, z: 1.1 },
];
export const JUKEBOX = { x0: 18.7, x1: 19.7, z0: 10, z1: 10.8, height: 1.9 };

/** Where a newcomer appears. */
const SPAWN = { x0: 9.5, x1: 13, z0: 8.6, z1: 10.4 };

/** Favourite places of the bots in the offline room. @type {import('../roomring/sim_bots.js').Place[]} */
export const BOT_PLACES = [
  { x: 13.6, z: 5, anim: 'dance', rotY: 0.4 },
  { x: 16.2, z: 6.6, anim: 'dance', rotY: -0.5 },
  { x: 17.4, z: 4.4, anim: 'dance', rotY: -0.8 },
  { x: 5.9, z: 3.6, rotY: Math.PI },
  { x: 2.4, z: 3.7, rotY: 2.6 },
  { x: 4.1, z: 6.6, rotY: -1.2 },
  { x: 6.2, z: 7.1, rotY: 1.1 },
  { x: 4.5, z: 10.3, rotY: -1 },
  { x: 10.6, z: 4.6, rotY: 0.3 },
];

const BOXES = [COUNTER, DJ_BOOTH, ...SPEAKERS, JUKEBOX];
const ROUNDS = [
  ...TABLES.map((table) => ({ ...table, radius: TABLE_RADIUS })),
  ...STOOLS.map((stool) => ({ ...stool, radius: STOOL_RADIUS })),
  ...PLANTS.map((plant) => ({ ...plant, radius: 0.4 })),
];

/** @param {Point} point @returns {boolean} may a person stand here? */
export function isWalkable({ x, z }) {
  if (x < BODY_RADIUS || x > WIDTH - BODY_RADIUS || z < 0.55 || z > DEPTH - 0.15) return false;
  // The room behind the counter is for the staff.
  if (x < COUNTER.x1 + BODY_RADIUS && z < COUNTER.z1 + BODY_RADIUS) return false;
  for (const box of BOXES) {
    const dx = Math.max(box.x0 - x, 0, x - box.x1);
    const dz = Math.max(box.z0 - z, 0, z - box.z1);
    if (dx * dx + dz * dz < BODY_RADIUS * BODY_RADIUS) return false;
  }
  return ROUNDS.every((round) => Math.hypot(round.x - x, round.z - z) >= round.radius + BODY_RADIUS * 0.8);
}

/**
 * Walk as far as possible, sliding along what is in the way.
 * @param {Point} from
 * @param {number} dx
 * @param {number} dz
 * @returns {Point}
 */
export function slide(from, dx, dz) {
  for (const step of [{ x: from.x + dx, z: from.z + dz }, { x: from.x + dx, z: from.z }, { x: from.x, z: from.z + dz }]) {
    if (isWalkable(step)) return step;
  }
  return from;
}

/** @param {() => number} random @returns {Point} */
export function spawnPoint(random) {
  for (let attempt = 0; attempt < 20; attempt += 1) {
    const point = { x: SPAWN.x0 + (SPAWN.x1 - SPAWN.x0) * random(), z: SPAWN.z0 + (SPAWN.z1 - SPAWN.z0) * random() };
    if (isWalkable(point)) return point;
  }
  return { x: 11, z: 9 };
}

// --- finding the way ------------------------------------------------------------------------------------------------

const CELL = 0.25;
const COLUMNS = WIDTH / CELL;
const ROWS = DEPTH / CELL;

/** One byte for each cell: may a person stand in its middle, and can they get there from the open floor? */
const GRID = reachable();

/**
 * A way on foot, as corner points after `from`. A target inside furniture is replaced by the nearest place beside it.
 * @param {Point} from
 * @param {Point} to
 * @returns {Point[]} empty when there is no way
 */
export function findPath(from, to) {
  const goal = isWalkable(to) && GRID[cellOf(to)] ? to : nearestFree(to);
  if (isClear(from, goal)) return [goal];
  const start = cellOf(isWalkable(from) ? from : nearestFree(from));
  const end = cellOf(nearestFree(goal));
  const cost = new Float32Array(COLUMNS * ROWS).fill(Infinity);
  const cameFrom = new Int32Array(COLUMNS * ROWS).fill(-1);
  const open = [{ index: start, estimate: 0 }];
  cost[start] = 0;
  while (open.length > 0) {
    let best = 0;
    for (let index = 1; index < open.length; index += 1) if (open[index].estimate < open[best].estimate) best = index;
    const { index: current } = open.splice(best, 1)[0];
    if (current === end) return straighten(from, [...trace(cameFrom, current), goal]);
    for (const [next, length] of neighbours(current)) {
      const total = cost[current] + length;
      if (total >= cost[next]) continue;
      cost[next] = total;
      cameFrom[next] = current;
      const a = middleOf(next);
      const b = middleOf(end);
      open.push({ index: next, estimate: total + Math.hypot(a.x - b.x, a.z - b.z) / CELL });
    }
  }
  return [];
}

/** A nook closed in by furniture counts as furniture. */
function reachable() {
  const free = Uint8Array.from({ length: COLUMNS * ROWS }, (_unused, index) => (isWalkable(middleOf(index)) ? 1 : 0));
  const grid = new Uint8Array(free.length);
  const open = [cellOf({ x: 11, z: 9 })];
  for (let index = open.pop(); index !== undefined; index = open.pop()) {
    if (grid[index]) continue;
    grid[index] = 1;
    const column = index % COLUMNS;
    for (const next of [column > 0 ? index - 1 : -1, column < COLUMNS - 1 ? index + 1 : -1, index - COLUMNS, index + COLUMNS]) {
      if (free[next] && !grid[next]) open.push(next);
    }
  }
  return grid;
}

/** @param {number} index @returns {Point} */
function middleOf(index) {
  return { x: ((index % COLUMNS) + 0.5) * CELL, z: (Math.floor(index / COLUMNS) + 0.5) * CELL };
}

/** @param {Point} point */
function cellOf({ x, z }) {
  const column = Math.min(COLUMNS - 1, Math.max(0, Math.floor(x / CELL)));
  const row = Math.min(ROWS - 1, Math.max(0, Math.floor(z / CELL)));
  return row * COLUMNS + column;
}

/** @param {Point} point @returns {Point} */
function nearestFree(point) {
  let best = { x: 11, z: 9 };
  let bestDistance = Infinity;
  for (let index = 0; index < GRID.length; index += 1) {
    if (!GRID[index]) continue;
    const middle = middleOf(index);
    const distance = Math.hypot(middle.x - point.x, middle.z - point.z);
    if (distance < bestDistance) [best, bestDistance] = [middle, distance];
  }
  return best;
}

/** @param {number} index @returns {[number, number][]} walkable neighbours with their distance in cells */
function neighbours(index) {
  const column = index % COLUMNS;
  const row = Math.floor(index / COLUMNS);
  /** @type {[number, number][]} */
  const result = [];
  for (let dr = -1; dr <= 1; dr += 1) {
    for (let dc = -1; dc <= 1; dc += 1) {
      const [r, c] = [row + dr, column + dc];
      if ((dr === 0 && dc === 0) || r < 0 || r >= ROWS || c < 0 || c >= COLUMNS) continue;
      // Diagonally only where both sides are free, or people would cut through corners.
      if (!GRID[r * COLUMNS + c] || !GRID[row * COLUMNS + c] || !GRID[r * COLUMNS + column]) continue;
      result.push([r * COLUMNS + c, dr !== 0 && dc !== 0 ? Math.SQRT2 : 1]);
    }
  }
  return result;
}

/** @param {Int32Array} cameFrom @param {number} index @returns {Point[]} */
function trace(cameFrom, index) {
  const points = [];
  for (let at = index; at !== -1; at = cameFrom[at]) points.push(middleOf(at));
  return points.reverse();
}

/** Leave out corners that can be walked past. @param {Point} from @param {Point[]} points @returns {Point[]} */
function straighten(from, points) {
  const result = [];
  let at = from;
  for (let index = 0; index < points.length; index += 1) {
    const next = points[index + 1];
    if (next && isClear(at, next)) continue;
    result.push(points[index]);
    at = points[index];
  }
  return result;
}

/** @param {Point} a @param {Point} b */
function isClear(a, b) {
  const steps = Math.ceil(Math.hypot(b.x - a.x, b.z - a.z) / 0.1);
  for (let step = 1; step <= steps; step += 1) {
    const share = step / steps;
    if (!isWalkable({ x: a.x + (b.x - a.x) * share, z: a.z + (b.z - a.z) * share })) return false;
  }
  return true;
}
