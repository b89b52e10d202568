// @ts-check
/**
 * The bar itself. `drawRoom` paints what never changes, once for each canvas size; `drawLights` what glows and pulses;
 * `furniture` gives the things that people can stand in front of or behind, to be drawn in order of depth.
 *
 * All coordinates are those of the stage (see camera.js).
 */
import { project, sizeAt, STAGE_HALF_WIDTH, UNIT } from './camera.js';
import {
  COUNTER, DANCE_FLOOR, DEPTH, DJ_BOOTH, JUKEBOX, NOTE_BOARD, PLANTS, SPEAKERS, STOOLS, STOOL_RADIUS, TABLES, TABLE_RADIUS, WIDTH,
} from './world.js';

/** @typedef {CanvasRenderingContext2D} Context */
/** @typedef {{z: number, draw: (context: Context, timeS: number) => void}} Item */

const WALL_HEIGHT = 4.7;
const CEILING_Y = -1500;
const GLOW = '255,176,92';

const BOTTLE_COLOURS = ['#ffb454', '#7fd8b4', '#ff6f91', '#9fc7ff', '#e8e0c0', '#c98bff', '#ff9a5c', '#6fd3e8', '#b4d66a'];

/** A small repeatable random source: the room looks the same for everyone. @param {number} seed */
function randomFrom(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** @param {Context} context */
export function drawRoom(context) {
  drawFloor(context);
  drawWalls(context);
  drawWindow(context);
  drawShelves(context);
  drawNeon(context, false);
  drawBoard(context);
  drawRugs(context);
  drawFloorLight(context);
  drawDanceFrame(context);
  drawSpeakers(context);
  drawBooth(context);
  drawCounter(context);
}

// --- shell ----------------------------------------------------------------------------------------------------------

/** @param {Context} context */
function drawFloor(context) {
  const random = randomFrom(7);
  const rows = 20;
  for (let row = 0; row < rows; row += 1) {
    const z0 = (row / rows) * DEPTH;
    const z1 = ((row + 1) / rows) * DEPTH;
    let x = -random() * 2.6;
    while (x < WIDTH) {
      const length = 2 + random() * 2.2;
      const light = 21 + random() * 5 + row * 0.3;
      quad(context, Math.max(0, x), z0, Math.min(WIDTH, x + length), z1, `hsl(${17 + random() * 9} ${36 + random() * 8}% ${light}%)`);
      x += length;
    }
    const left = project(0, z1);
    const right = project(WIDTH, z1);
    context.strokeStyle = 'rgba(18,6,14,.5)';
    context.lineWidth = 1.6 * sizeAt(z1);
    context.beginPath();
    context.moveTo(left.x, left.y);
    context.lineTo(right.x, right.y);
    context.stroke();
  }
  // The front edge of the stage, and darkness under it.
  const edge = context.createLinearGradient(0, 0, 0, 60);
  edge.addColorStop(0, '#2a1520');
  edge.addColorStop(0.3, '#170c16');
  edge.addColorStop(1, '#0d0812');
  context.fillStyle = edge;
  context.fillRect(-STAGE_HALF_WIDTH - 400, 0, STAGE_HALF_WIDTH * 2 + 800, 400);
  context.fillStyle = '#b47a3c';
  context.fillRect(-STAGE_HALF_WIDTH, 0, STAGE_HALF_WIDTH * 2, 3);
}

/** @param {Context} context */
function drawWalls(context) {
  const [backLeft, backRight] = [project(0, 0), project(WIDTH, 0)];
  const top = project(0, 0, WALL_HEIGHT).y;
  const wall = context.createLinearGradient(0, top - 160, 0, backLeft.y);
  wall.addColorStop(0, '#1a1026');
  wall.addColorStop(0.45, '#3a1c42');
  wall.addColorStop(1, '#512449');
  context.fillStyle = wall;
  context.fillRect(backLeft.x, CEILING_Y, backRight.x - backLeft.x, backLeft.y - CEILING_Y);

  // Wallpaper: a quiet pattern of diamonds.
  context.save();
  context.beginPath();
  context.rect(backLeft.x, top, backRight.x - backLeft.x, backLeft.y - top);
  context.clip();
  context.strokeStyle = 'rgba(255,190,220,.045)';
  context.lineWidth = 2;
  for (let x = backLeft.x - 500; x < backRight.x + 500; x += 44) {
    context.beginPath();
    context.moveTo(x, top);
    context.lineTo(x + 400, top + 400 * 1.5);
    context.moveTo(x + 400, top);
    context.lineTo(x, top + 400 * 1.5);
    context.stroke();
  }
  context.restore();

  // Wood panels along the foot of the wall, and the rail over them.
  const panelTop = project(0, 0, 1.25).y;
  const panel = context.createLinearGradient(0, panelTop, 0, backLeft.y);
  panel.addColorStop(0, '#4a2a2a');
  panel.addColorStop(1, '#2c171f');
  context.fillStyle = panel;
  context.fillRect(backLeft.x, panelTop, backRight.x - backLeft.x, backLeft.y - panelTop);
  context.strokeStyle = 'rgba(0,0,0,.25)';
  context.lineWidth = 2;
  for (let x = 0; x < WIDTH; x += 0.8) {
    const at = project(x, 0).x;
    context.strokeRect(at + 6, panelTop + 13, 36, backLeft.y - panelTop - 24);
  }
  context.fillStyle = '#7a4a34';
  context.fillRect(backLeft.x, panelTop - 3, backRight.x - backLeft.x, 7);
  context.fillStyle = 'rgba(0,0,0,.3)';
  context.fillRect(backLeft.x, backLeft.y - 6, backRight.x - backLeft.x, 6);

  // A beam closes the wall; above it the ceiling fades into the dark.
  const ceiling = context.createLinearGradient(0, top - 260, 0, top);
  ceiling.addColorStop(0, '#0d0914');
  ceiling.addColorStop(1, '#1b1122');
  context.fillStyle = ceiling;
  context.fillRect(-3000, CEILING_Y, 6000, top - CEILING_Y);
  context.fillStyle = '#2b1826';
  context.fillRect(backLeft.x, top - 12, backRight.x - backLeft.x, 16);
  context.fillStyle = 'rgba(255,190,120,.16)';
  context.fillRect(backLeft.x, top + 3, backRight.x - backLeft.x, 2);

  for (const side of [0, WIDTH]) {
    const out = side === 0 ? -1 : 1;
    const foot = [project(side, 0), project(side, DEPTH)];
    const head = [project(side, 0, WALL_HEIGHT), project(side, DEPTH, WALL_HEIGHT)];
    const shade = context.createLinearGradient(foot[0].x, 0, foot[1].x, 0);
    shade.addColorStop(0, '#3d1c3e');
    shade.addColorStop(1, '#1f1026');
    polygon(context, [foot[0], foot[1], head[1], head[0]], shade);
    const rail = [project(side, 0, 1.25), project(side, DEPTH, 1.25)];
    const low = context.createLinearGradient(foot[0].x, 0, foot[1].x, 0);
    low.addColorStop(0, '#3a2024');
    low.addColorStop(1, '#1d1016');
    polygon(context, [foot[0], foot[1], rail[1], rail[0]], low);
    context.strokeStyle = '#5d3829';
    context.lineWidth = 6;
    context.beginPath();
    context.moveTo(rail[0].x, rail[0].y);
    context.lineTo(rail[1].x, rail[1].y);
    context.stroke();
    polygon(context, [head[0], head[1], { x: head[1].x, y: CEILING_Y }, { x: head[0].x, y: CEILING_Y }], '#110b18');
    context.fillStyle = '#0b0711';
    const from = out < 0 ? -3000 : foot[1].x;
    context.fillRect(from, CEILING_Y, 3000 - Math.abs(foot[1].x), 3000);
    drawSconce(context, side, 5.2, out);
    drawSconce(context, side, 9.2, out);
    drawPicture(context, side, 7.2, out);
  }
}

/** @param {Context} context @param {number} x @param {number} z @param {number} out */
function drawSconce(context, x, z, out) {
  const at = project(x, z, 2.7);
  const size = sizeAt(z);
  const px = at.x - out * 12 * size;
  glow(context, px, at.y, 150 * size, GLOW, 0.5);
  context.fillStyle = '#7a5638';
  context.fillRect(px - 4, at.y + 8, 8, 22 * size);
  context.fillStyle = '#ffe0a3';
  context.beginPath();
  context.ellipse(px, at.y, 11 * size, 17 * size, 0, 0, Math.PI * 2);
  context.fill();
}

/** @param {Context} context @param {number} x @param {number} z @param {number} out */
function drawPicture(context, x, z, out) {
  const points = [[z - 0.75, 3.5], [z + 0.75, 3.5], [z + 0.75, 2.2], [z - 0.75, 2.2]].map(([at, height]) => project(x, at, height));
  polygon(context, points, '#8a5f35');
  const inner = [[z - 0.62, 3.36], [z + 0.62, 3.36], [z + 0.62, 2.34], [z - 0.62, 2.34]].map(([at, height]) => project(x, at, height));
  polygon(context, inner, out < 0 ? '#2d4a63' : '#5a2f4f');
  const sun = project(x, z - 0.2, 2.85);
  context.fillStyle = out < 0 ? '#ffcf87' : '#ff9bb4';
  context.beginPath();
  context.ellipse(sun.x, sun.y, 7, 15, 0, 0, Math.PI * 2);
  context.fill();
}

/** @param {Context} context */
function drawWindow(context) {
  const [a, b] = [project(10, 0, 3.9), project(12.35, 0, 1.55)];
  const [width, height] = [b.x - a.x, b.y - a.y];
  const sky = context.createLinearGradient(0, a.y, 0, b.y);
  sky.addColorStop(0, '#0d1b3f');
  sky.addColorStop(0.6, '#2a2f6b');
  sky.addColorStop(1, '#6a3f7d');
  context.save();
  roundRect(context, a.x, a.y, width, height, 12);
  context.clip();
  context.fillStyle = sky;
  context.fillRect(a.x, a.y, width, height);
  const random = randomFrom(21);
  context.fillStyle = 'rgba(255,255,255,.8)';
  for (let star = 0; star < 26; star += 1) context.fillRect(a.x + random() * width, a.y + random() * height * 0.6, 1.6, 1.6);
  glow(context, a.x + width * 0.76, a.y + height * 0.25, 46, '255,240,200', 0.45);
  context.fillStyle = '#fdf1cf';
  context.beginPath();
  context.arc(a.x + width * 0.76, a.y + height * 0.25, 14, 0, Math.PI * 2);
  context.fill();
  for (let x = a.x - 4; x < b.x; ) {
    const tower = 16 + random() * 16;
    const tall = height * (0.2 + random() * 0.38);
    context.fillStyle = '#131633';
    context.fillRect(x, b.y - tall, tower, tall);
    for (let wx = x + 4; wx < x + tower - 4; wx += 6) {
      for (let wy = b.y - tall + 6; wy < b.y - 4; wy += 8) {
        if (random() < 0.42) {
          context.fillStyle = random() < 0.7 ? 'rgba(255,210,130,.85)' : 'rgba(150,200,255,.7)';
          context.fillRect(wx, wy, 3, 4);
        }
      }
    }
    x += tower + 1;
  }
  context.fillStyle = 'rgba(255,255,255,.05)';
  polygon(context, [{ x: a.x + width * 0.1, y: b.y }, { x: a.x + width * 0.42, y: a.y }, { x: a.x + width * 0.6, y: a.y }, { x: a.x + width * 0.28, y: b.y }], 'rgba(255,255,255,.05)');
  context.restore();
  context.strokeStyle = '#6b412f';
  context.lineWidth = 9;
  roundRect(context, a.x, a.y, width, height, 12);
  context.stroke();
  context.lineWidth = 4.5;
  context.beginPath();
  context.moveTo(a.x + width / 2, a.y);
  context.lineTo(a.x + width / 2, b.y);
  context.moveTo(a.x, a.y + height * 0.5);
  context.lineTo(b.x, a.y + height * 0.5);
  context.stroke();
  context.fillStyle = '#7d4d38';
  context.fillRect(a.x - 12, b.y + 1, width + 24, 9);
}

/** @param {Context} context */
function drawShelves(context) {
  const random = randomFrom(3);
  const frame = [project(1, 0, 4.35), project(9, 0, 1.35)];
  const width = frame[1].x - frame[0].x;
  const height = frame[1].y - frame[0].y;
  context.fillStyle = '#241019';
  roundRect(context, frame[0].x - 9, frame[0].y - 9, width + 18, height + 14, 8);
  context.fill();
  const back = context.createLinearGradient(0, frame[0].y, 0, frame[1].y);
  back.addColorStop(0, '#5c2b25');
  back.addColorStop(1, '#82401f');
  context.fillStyle = back;
  context.fillRect(frame[0].x, frame[0].y, width, height);
  for (let shelf = 0; shelf < 3; shelf += 1) {
    const y = frame[0].y + (height / 3) * (shelf + 1) - 5;
    const light = context.createLinearGradient(0, y - 62, 0, y);
    light.addColorStop(0, 'rgba(255,190,90,0)');
    light.addColorStop(1, 'rgba(255,196,102,.75)');
    context.fillStyle = light;
    context.fillRect(frame[0].x, y - 62, width, 62);
    let x = frame[0].x + 9;
    while (x < frame[1].x - 22) {
      x += drawBottle(context, x, y, random) + 3 + random() * 6;
      if (random() < 0.1) x += 16;
    }
    context.fillStyle = '#3a1c17';
    context.fillRect(frame[0].x - 4, y, width + 8, 7);
    context.fillStyle = 'rgba(255,214,140,.6)';
    context.fillRect(frame[0].x - 4, y, width + 8, 1.6);
  }
}

/**
 * @param {Context} context
 * @param {number} x
 * @param {number} y
 * @param {() => number} random
 * @returns {number} its width
 */
function drawBottle(context, x, y, random) {
  const width = 10 + random() * 8;
  const tall = 34 + random() * 20;
  const neck = width * (0.28 + random() * 0.14);
  const shoulder = tall * (0.5 + random() * 0.2);
  const colour = BOTTLE_COLOURS[Math.floor(random() * BOTTLE_COLOURS.length)];
  const middle = x + width / 2;
  context.globalAlpha = 0.88;
  context.fillStyle = colour;
  context.beginPath();
  context.moveTo(x, y);
  context.lineTo(x, y - shoulder);
  context.quadraticCurveTo(x, y - shoulder - 8, middle - neck / 2, y - shoulder - 11);
  context.lineTo(middle - neck / 2, y - tall);
  context.lineTo(middle + neck / 2, y - tall);
  context.lineTo(middle + neck / 2, y - shoulder - 11);
  context.quadraticCurveTo(x + width, y - shoulder - 8, x + width, y - shoulder);
  context.lineTo(x + width, y);
  context.fill();
  context.globalAlpha = 1;
  context.fillStyle = 'rgba(255,255,255,.42)';
  context.fillRect(x + 2, y - shoulder + 2, 2, shoulder - 6);
  context.fillStyle = 'rgba(255,248,228,.85)';
  if (random() < 0.7) context.fillRect(x + 1.5, y - shoulder * 0.66, width - 3, shoulder * 0.34);
  context.fillStyle = 'rgba(40,16,20,.8)';
  context.fillRect(middle - neck / 2 - 0.8, y - tall - 3, neck + 1.6, 5);
  return width;
}

/**
 * The sign. Unlit tubes belong to the wall; the light is drawn over them at every frame.
 * @param {Context} context
 * @param {boolean} isLit
 */
function drawNeon(context, isLit) {
  const left = project(13.05, 0, 3.42);
  const right = project(19.3, 0, 3.42);
  const width = right.x - left.x;
  context.save();
  context.translate((left.x + right.x) / 2, left.y);
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  context.lineJoin = 'round';
  context.lineCap = 'round';
  context.font = '800 66px "Avenir Next Rounded", "Arial Rounded MT Bold", Nunito, "Trebuchet MS", "Liberation Sans", sans-serif';
  const measured = context.measureText('ROOMRING').width;
  context.scale((width * 0.94) / measured, (width * 0.94) / measured);
  for (const pass of isLit ? ['glow', 'tube', 'core'] : ['off']) {
    context.shadowColor = pass === 'glow' || pass === 'tube' ? '#ff3d8b' : 'transparent';
    context.shadowBlur = pass === 'glow' ? 46 : pass === 'tube' ? 14 : 0;
    context.strokeStyle = pass === 'off' ? 'rgba(0,0,0,.4)' : pass === 'core' ? '#ffe3ee' : '#ff5fa2';
    context.lineWidth = pass === 'core' ? 1.5 : 4;
    context.strokeText('ROOMRING', 0, pass === 'off' ? 3 : 0);
  }
  for (const pass of isLit ? ['glow', 'core'] : ['off']) {
    context.shadowColor = pass === 'glow' ? '#33e0e6' : 'transparent';
    context.shadowBlur = pass === 'glow' ? 26 : 0;
    context.strokeStyle = pass === 'off' ? 'rgba(0,0,0,.4)' : pass === 'core' ? '#e6ffff' : '#4fe3e8';
    context.lineWidth = pass === 'core' ? 1.2 : 3.6;
    context.beginPath();
    context.moveTo(-measured * 0.44, 46);
    context.lineTo(-26, 46);
    context.moveTo(26, 46);
    context.lineTo(measured * 0.44, 46);
    context.stroke();
    context.beginPath();
    context.arc(0, 46, 13, 0, Math.PI * 2);
    context.stroke();
  }
  context.restore();
}

/** The cork board between sign and booth, without its notes. @param {Context} context */
function drawBoard(context) {
  const { a, width, height } = boardBox();
  glow(context, a.x + width / 2, a.y - 6, 170, GLOW, 0.28, 0.5);
  context.fillStyle = 'rgba(0,0,0,.4)';
  roundRect(context, a.x - 7, a.y - 3, width + 16, height + 14, 6);
  context.fill();
  context.fillStyle = '#7d4d38';
  roundRect(context, a.x - 7, a.y - 7, width + 14, height + 14, 6);
  context.fill();
  context.fillStyle = '#b98a5a';
  context.fillRect(a.x, a.y, width, height);
  const random = randomFrom(11);
  for (let speck = 0; speck < 240; speck += 1) {
    context.fillStyle = random() < 0.5 ? 'rgba(80,45,20,.35)' : 'rgba(255,225,170,.3)';
    context.fillRect(a.x + random() * width, a.y + random() * height, 2, 1.5);
  }
}

/** Where the board hangs, on the stage. */
function boardBox() {
  const [a, b] = [project(NOTE_BOARD.x0, 0, NOTE_BOARD.height1), project(NOTE_BOARD.x1, 0, NOTE_BOARD.height0)];
  return { a, width: b.x - a.x, height: b.y - a.y };
}

/**
 * The notes, small as they look from the floor.
 * @param {Context} context
 * @param {{x: number, y: number, paper: string}[]} notes places as shares of the board, 0 to 1
 */
export function drawBoardNotes(context, notes) {
  const { a, width, height } = boardBox();
  const [noteWidth, noteHeight] = [width * 0.15, height * 0.27];
  notes.forEach(({ x, y, paper }, index) => {
    const left = a.x + 3 + x * (width - noteWidth - 6);
    const top = a.y + 3 + y * (height - noteHeight - 6);
    context.save();
    context.translate(left + noteWidth / 2, top);
    context.rotate((((index * 5) % 7) - 3) * 0.025);
    context.fillStyle = 'rgba(40,20,10,.35)';
    context.fillRect(-noteWidth / 2 + 1.5, 2, noteWidth, noteHeight);
    context.fillStyle = paper;
    context.fillRect(-noteWidth / 2, 0, noteWidth, noteHeight);
    context.fillStyle = 'rgba(60,30,40,.45)';
    for (let line = 1; line <= 3; line += 1) context.fillRect(-noteWidth * 0.36, (noteHeight * line) / 4.4, noteWidth * (line === 3 ? 0.4 : 0.72), 1.6);
    context.fillStyle = '#ff5f7e';
    context.beginPath();
    context.arc(0, 2, 2.2, 0, Math.PI * 2);
    context.fill();
    context.restore();
  });
}

/** @param {{x: number, y: number}} point on the stage @returns {boolean} whether the board hangs there */
export function isOnBoard({ x, y }) {
  const { a, width, height } = boardBox();
  return x > a.x - 12 && x < a.x + width + 12 && y > a.y - 12 && y < a.y + height + 12;
}

// --- floor ----------------------------------------------------------------------------------------------------------

/** @param {Context} context */
function drawRugs(context) {
  for (const [x, z, rx, rz, colour] of /** @type {[number, number, number, number, string][]} */ ([
    [5.2, 6.4, 4.1, 1.75, '#5e2140'],
    [5.7, 10, 4.3, 1.6, '#28405c'],
  ])) {
    for (const [grow, fill] of /** @type {[number, string][]} */ ([[1, '#c99a5b'], [0.975, colour], [0.87, 'rgba(255,220,170,.28)'], [0.85, colour], [0.5, 'rgba(255,220,170,.16)'], [0.47, colour]])) {
      floorEllipse(context, x, z, rx * grow, rz * grow, fill);
    }
  }
}

/** @param {Context} context */
function drawFloorLight(context) {
  context.save();
  context.globalCompositeOperation = 'lighter';
  for (const { x, z } of TABLES) {
    const at = project(x, z);
    glow(context, at.x, at.y, 270 * sizeAt(z), GLOW, 0.34, 0.46);
  }
  const counter = project(5, 3.1);
  glow(context, counter.x, counter.y, 480, GLOW, 0.3, 0.24);
  const neon = project(16, 1.6);
  glow(context, neon.x, neon.y, 480, '255,70,150', 0.3, 0.3);
  const moon = project(11.2, 2.2);
  glow(context, moon.x, moon.y, 200, '120,150,255', 0.2, 0.4);
  context.restore();
}

/** @param {Context} context */
function drawDanceFrame(context) {
  const { x0, x1, z0, z1 } = DANCE_FLOOR;
  quad(context, x0 - 0.22, z0 - 0.22, x1 + 0.22, z1 + 0.22, '#0c0814');
  quad(context, x0 - 0.16, z0 - 0.16, x1 + 0.16, z1 + 0.16, '#8d7a92');
  quad(context, x0 - 0.09, z0 - 0.09, x1 + 0.09, z1 + 0.09, '#140d1e');
}

const TILE_HUES = [328, 268, 186, 38];

/**
 * @param {Context} context
 * @param {number} timeS
 * @param {boolean} isStill
 */
export function drawDanceTiles(context, timeS, isStill) {
  const { x0, x1, z0, z1, columns, rows } = DANCE_FLOOR;
  const width = (x1 - x0) / columns;
  const depth = (z1 - z0) / rows;
  const time = isStill ? 2 : timeS;
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      // Each tile breathes in its own time and takes its next colour while it is dark.
      const breath = time / 3.4 + ((column * 7 + row * 13) % 10) / 10 + column * 0.13;
      const hue = TILE_HUES[(column + row * 3 + Math.floor(breath)) % TILE_HUES.length];
      const wave = Math.sin(Math.PI * (breath % 1));
      const x = x0 + column * width;
      const z = z0 + row * depth;
      quad(context, x + 0.035, z + 0.035, x + width - 0.035, z + depth - 0.035, `hsl(${hue} 72% ${17 + wave * 33}%)`);
      if (wave > 0.55) {
        quad(context, x + 0.13, z + 0.13, x + width - 0.13, z + depth - 0.13, `hsl(${hue} 90% 78% / ${(wave - 0.55) * 0.55})`);
      }
    }
  }
}

// --- fixed furniture at the wall ------------------------------------------------------------------------------------

/** @param {Context} context */
function drawCounter(context) {
  const { x0, x1, z0, z1, height } = COUNTER;
  shadowUnder(context, x0, z1, x1, z1 + 0.55);
  const [footLeft, footRight] = [project(x0, z1), project(x1, z1)];
  const [topLeft, topRight] = [project(x0, z1, height), project(x1, z1, height)];
  const [backLeft, backRight] = [project(x0, z0, height), project(x1, z0, height)];
  const face = context.createLinearGradient(0, topLeft.y, 0, footLeft.y);
  face.addColorStop(0, '#7a4429');
  face.addColorStop(1, '#43221a');
  polygon(context, [topLeft, topRight, footRight, footLeft], face);
  const end = [project(x1, z0), project(x1, z0, height)];
  polygon(context, [topRight, end[1], end[0], footRight], '#3a1d18');
  const panels = 9;
  for (let panel = 0; panel < panels; panel += 1) {
    const a = project(x0 + ((x1 - x0) / panels) * (panel + 0.1), z1, height * 0.82);
    const b = project(x0 + ((x1 - x0) / panels) * (panel + 0.9), z1, height * 0.16);
    context.fillStyle = 'rgba(30,10,10,.3)';
    roundRect(context, a.x, a.y, b.x - a.x, b.y - a.y, 5);
    context.fill();
    context.strokeStyle = 'rgba(255,190,120,.2)';
    context.lineWidth = 1.6;
    context.stroke();
  }
  const strip = context.createLinearGradient(0, topLeft.y, 0, topLeft.y + 46);
  strip.addColorStop(0, 'rgba(255,190,96,.75)');
  strip.addColorStop(1, 'rgba(255,190,96,0)');
  context.fillStyle = strip;
  context.fillRect(topLeft.x, topLeft.y, topRight.x - topLeft.x, 46);
  const rail = project(x0, z1, 0.18).y;
  context.fillStyle = '#d9a557';
  context.fillRect(footLeft.x, rail, footRight.x - footLeft.x, 4.5);
  const board = context.createLinearGradient(0, backLeft.y, 0, topLeft.y);
  board.addColorStop(0, '#8e5433');
  board.addColorStop(1, '#c07c48');
  polygon(context, [{ x: backLeft.x - 8, y: backLeft.y }, { x: backRight.x + 8, y: backRight.y }, { x: topRight.x + 9, y: topRight.y + 3 }, { x: topLeft.x - 9, y: topLeft.y + 3 }], board);
  context.fillStyle = '#e2a468';
  context.fillRect(topLeft.x - 9, topLeft.y + 2, topRight.x - topLeft.x + 18, 3);
  context.fillStyle = '#5a3020';
  context.fillRect(topLeft.x - 9, topLeft.y + 5, topRight.x - topLeft.x + 18, 6);
  context.fillStyle = 'rgba(255,235,200,.13)';
  for (const x of [2, 4.6, 7.4]) {
    const at = project(x, (z0 + z1) / 2, height);
    context.beginPath();
    context.ellipse(at.x, at.y, 92, 12, 0, 0, Math.PI * 2);
    context.fill();
  }
  drawTaps(context, 4.2);
  for (const x of [1.9, 5, 8.1]) drawPendant(context, x);
  for (const [x, kind] of /** @type {[number, string][]} */ ([[1.5, 'beer'], [2.4, 'wine'], [3.2, 'beer'], [6, 'wine'], [6.5, 'wine'], [7.7, 'beer'], [8.6, 'coupe']])) {
    const at = project(x, 2.15, height);
    drawGlass(context, at.x, at.y, kind);
  }
}

/** @param {Context} context @param {number} x */
function drawTaps(context, x) {
  const at = project(x, 1.9, COUNTER.height);
  context.fillStyle = '#caa35c';
  roundRect(context, at.x - 46, at.y - 40, 92, 14, 7);
  context.fill();
  for (const offset of [-36, 30]) context.fillRect(at.x + offset, at.y - 30, 7, 30);
  [['#ff6f91', -28], ['#5fd0c5', -3], ['#ffd166', 22]].forEach(([colour, offset]) => {
    context.fillStyle = String(colour);
    roundRect(context, at.x + Number(offset), at.y - 66, 9, 27, 4);
    context.fill();
    context.fillStyle = '#8c6c36';
    context.fillRect(at.x + Number(offset) + 2.5, at.y - 28, 4, 9);
  });
}

/** A small lamp over the counter. @param {Context} context @param {number} x */
function drawPendant(context, x) {
  const at = project(x, 2, 2.55);
  context.strokeStyle = '#160c1c';
  context.lineWidth = 2.4;
  context.beginPath();
  context.moveTo(at.x, CEILING_Y);
  context.lineTo(at.x, at.y - 12);
  context.stroke();
  glow(context, at.x, at.y, 95, GLOW, 0.55);
  context.fillStyle = '#ffefc4';
  context.beginPath();
  context.arc(at.x, at.y, 9, 0, Math.PI * 2);
  context.fill();
  context.fillStyle = '#c99a4e';
  context.beginPath();
  context.moveTo(at.x - 17, at.y - 1);
  context.quadraticCurveTo(at.x - 13, at.y - 17, at.x, at.y - 18);
  context.quadraticCurveTo(at.x + 13, at.y - 17, at.x + 17, at.y - 1);
  context.closePath();
  context.fill();
}

/** @param {Context} context @param {number} x @param {number} y foot @param {string} kind */
function drawGlass(context, x, y, kind) {
  context.lineCap = 'round';
  if (kind === 'beer') {
    context.fillStyle = 'rgba(255,190,60,.9)';
    roundRect(context, x - 7, y - 22, 14, 22, 3);
    context.fill();
    context.fillStyle = '#fff6df';
    roundRect(context, x - 8, y - 27, 16, 8, 4);
    context.fill();
    context.strokeStyle = 'rgba(255,255,255,.55)';
    context.lineWidth = 2.4;
    context.beginPath();
    context.arc(x + 9, y - 12, 5, -1.4, 1.4);
    context.stroke();
    return;
  }
  context.strokeStyle = 'rgba(235,245,255,.75)';
  context.lineWidth = 1.8;
  context.beginPath();
  context.moveTo(x, y - 12);
  context.lineTo(x, y - 1);
  context.moveTo(x - 6, y);
  context.lineTo(x + 6, y);
  context.stroke();
  context.fillStyle = kind === 'wine' ? 'rgba(168,28,70,.92)' : 'rgba(126,232,200,.9)';
  context.beginPath();
  context.moveTo(x - 7.5, y - 24);
  context.quadraticCurveTo(x - 7, y - 12, x, y - 12);
  context.quadraticCurveTo(x + 7, y - 12, x + 7.5, y - 24);
  context.closePath();
  context.fill();
  context.strokeStyle = 'rgba(255,255,255,.5)';
  context.beginPath();
  context.moveTo(x - 7.5, y - 28);
  context.lineTo(x - 7.5, y - 24);
  context.moveTo(x + 7.5, y - 28);
  context.lineTo(x + 7.5, y - 24);
  context.stroke();
}

/** @param {Context} context */
function drawBooth(context) {
  const { x0, x1, z0, z1, height } = DJ_BOOTH;
  shadowUnder(context, x0, z1, x1, z1 + 0.5);
  box(context, DJ_BOOTH, '#2b2140', '#1c1530', '#3d3058');
  for (const x of [x0 + 0.75, x1 - 0.75]) {
    const at = project(x, (z0 + z1) / 2, height);
    for (const [radius, fill] of /** @type {[number, string][]} */ ([[31, '#0d0a14'], [24, '#1d1828'], [17, '#0d0a14'], [7, '#ff5fa2']])) {
      context.fillStyle = fill;
      context.beginPath();
      context.ellipse(at.x, at.y, radius, radius * 0.36, 0, 0, Math.PI * 2);
      context.fill();
    }
  }
  const mixer = project((x0 + x1) / 2, (z0 + z1) / 2, height);
  context.fillStyle = '#12101c';
  roundRect(context, mixer.x - 24, mixer.y - 13, 48, 26, 4);
  context.fill();
  ['#4fe3e8', '#ffb454', '#ff5fa2', '#9be37a'].forEach((colour, index) => {
    context.fillStyle = colour;
    context.fillRect(mixer.x - 17 + index * 10, mixer.y - 7 + (index % 2) * 5, 4, 9);
  });
}

/** @param {Context} context */
function drawSpeakers(context) {
  for (const speaker of SPEAKERS) {
    shadowUnder(context, speaker.x0, speaker.z1, speaker.x1, speaker.z1 + 0.4);
    box(context, speaker, '#1d1828', '#15111e', '#2c2540');
    const middle = (speaker.x0 + speaker.x1) / 2;
    for (const [height, radius] of [[0.62, 21], [1.45, 14]]) {
      const at = project(middle, speaker.z1, height);
      context.fillStyle = '#0b0812';
      context.beginPath();
      context.arc(at.x, at.y, radius, 0, Math.PI * 2);
      context.fill();
      context.strokeStyle = '#4b3f66';
      context.lineWidth = 2.6;
      context.stroke();
      context.fillStyle = '#30284a';
      context.beginPath();
      context.arc(at.x, at.y, radius * 0.4, 0, Math.PI * 2);
      context.fill();
    }
  }
}

// --- light that moves -----------------------------------------------------------------------------------------------

/** Layers that cost too much to paint at every frame, painted once. */
export class LightLayers {
  /** @type {HTMLCanvasElement | null} */
  #neon = null;
  #neonBox = { x: 0, y: 0, width: 0, height: 0 };

  /** @param {number} scale device pixels for one stage pixel */
  resize(scale) {
    const a = project(12.4, 0, 4.5);
    const b = project(20, 0, 2.1);
    this.#neonBox = { x: a.x, y: a.y, width: b.x - a.x, height: b.y - a.y };
    this.#neon = document.createElement('canvas');
    this.#neon.width = Math.ceil(this.#neonBox.width * scale);
    this.#neon.height = Math.ceil(this.#neonBox.height * scale);
    const context = this.#neon.getContext('2d');
    if (!context) return;
    context.scale(scale, scale);
    context.translate(-a.x, -a.y);
    drawNeon(context, true);
  }

  /**
   * @param {Context} context
   * @param {number} timeS
   * @param {boolean} isStill
   */
  draw(context, timeS, isStill) {
    if (!this.#neon) return;
    // A breath, and once in a while the stutter of an old tube.
    const stutter = timeS % 13 > 12.7 && Math.sin(timeS * 70) > 0 ? 0.55 : 1;
    context.save();
    context.globalAlpha = isStill ? 1 : (0.9 + 0.1 * Math.sin(timeS * 1.6)) * stutter;
    context.globalCompositeOperation = 'lighter';
    context.drawImage(this.#neon, this.#neonBox.x, this.#neonBox.y, this.#neonBox.width, this.#neonBox.height);
    context.restore();
    drawEqualizer(context, timeS, isStill);
  }
}

/** @param {Context} context @param {number} timeS @param {boolean} isStill */
function drawEqualizer(context, timeS, isStill) {
  const { x0, x1, z1, height } = DJ_BOOTH;
  const bars = 17;
  for (let bar = 0; bar < bars; bar += 1) {
    const level = isStill ? 0.5 : 0.25 + 0.7 * Math.abs(Math.sin(timeS * (1.7 + (bar % 4) * 0.6) + bar * 1.3));
    const a = project(x0 + 0.25 + ((x1 - x0 - 0.5) / bars) * bar, z1, 0.16);
    const b = project(x0 + 0.25 + ((x1 - x0 - 0.5) / bars) * (bar + 0.7), z1, 0.16 + (height - 0.42) * level);
    const paint = context.createLinearGradient(0, a.y, 0, a.y - 70);
    paint.addColorStop(0, '#4fe3e8');
    paint.addColorStop(1, '#ff5fa2');
    context.fillStyle = paint;
    context.fillRect(a.x, b.y, b.x - a.x, a.y - b.y);
  }
}

/** Beams over the dance floor. @param {Context} context @param {number} timeS @param {boolean} isStill */
export function drawBeams(context, timeS, isStill) {
  context.save();
  context.globalCompositeOperation = 'lighter';
  const time = isStill ? 1 : timeS;
  [['255,80,160', 13.4, 0], ['90,220,240', 17.6, 2.1], ['255,190,90', 15.5, 4]].forEach(([colour, x, offset]) => {
    const top = project(Number(x), 3, 5.6);
    const aim = project(Number(x) + Math.sin(time * 0.5 + Number(offset)) * 2, 5.8 + Math.cos(time * 0.4 + Number(offset)) * 1.2);
    const paint = context.createLinearGradient(top.x, top.y, aim.x, aim.y);
    paint.addColorStop(0, `rgba(${colour},.20)`);
    paint.addColorStop(1, `rgba(${colour},0)`);
    polygon(context, [{ x: top.x - 5, y: top.y }, { x: top.x + 5, y: top.y }, { x: aim.x + 95, y: aim.y }, { x: aim.x - 95, y: aim.y }], paint);
    glow(context, aim.x, aim.y, 120, String(colour), 0.24, 0.4);
  });
  context.restore();
}

// --- furniture among the people -------------------------------------------------------------------------------------

/** @returns {Item[]} */
export function furniture() {
  return [
    ...STOOLS.map(({ x, z }) => ({ z, draw: (/** @type {Context} */ context) => drawStool(context, x, z) })),
    ...TABLES.map(({ x, z }, index) => ({ z, draw: (/** @type {Context} */ context, /** @type {number} */ timeS) => drawTable(context, x, z, index, timeS) })),
    // Over the tables in the back only: in front they would hang before people's faces.
    ...TABLES.slice(0, 2).map(({ x, z }, index) => ({ z: z - 0.01, draw: (/** @type {Context} */ context, /** @type {number} */ timeS) => drawLamp(context, x, z, index, timeS) })),
    ...PLANTS.map(({ x, z }, index) => ({ z, draw: (/** @type {Context} */ context) => drawPlant(context, x, z, index) })),
    { z: JUKEBOX.z1, draw: drawJukebox },
  ];
}

/** @param {Context} context @param {number} x @param {number} z */
function drawStool(context, x, z) {
  const foot = project(x, z);
  const seat = project(x, z, 0.72);
  const size = sizeAt(z);
  const radius = STOOL_RADIUS * UNIT * size;
  floorEllipse(context, x, z, STOOL_RADIUS * 1.25, STOOL_RADIUS * 1.1, 'rgba(8,3,14,.4)');
  context.fillStyle = '#b98a4a';
  context.fillRect(seat.x - 3, seat.y, 6, foot.y - seat.y);
  context.strokeStyle = '#b98a4a';
  context.lineWidth = 3;
  context.beginPath();
  context.ellipse(foot.x, foot.y - 14, radius * 0.7, 5, 0, 0, Math.PI * 2);
  context.stroke();
  context.fillStyle = '#8c6534';
  context.beginPath();
  context.ellipse(foot.x, foot.y, radius * 0.75, 6, 0, 0, Math.PI * 2);
  context.fill();
  context.fillStyle = '#7a1f3d';
  roundRect(context, seat.x - radius, seat.y - 2, radius * 2, 11, 6);
  context.fill();
  context.fillStyle = '#b3345c';
  context.beginPath();
  context.ellipse(seat.x, seat.y - 2, radius, radius * 0.36, 0, 0, Math.PI * 2);
  context.fill();
  context.fillStyle = 'rgba(255,200,210,.25)';
  context.beginPath();
  context.ellipse(seat.x - 4, seat.y - 4, radius * 0.5, radius * 0.14, 0, 0, Math.PI * 2);
  context.fill();
}

/** @param {Context} context @param {number} x @param {number} z @param {number} index @param {number} timeS */
function drawTable(context, x, z, index, timeS) {
  const size = sizeAt(z);
  const foot = project(x, z);
  const top = project(x, z, 0.78);
  const rx = TABLE_RADIUS * UNIT * size;
  const ry = rx * 0.42;
  floorEllipse(context, x, z, TABLE_RADIUS * 1.12, TABLE_RADIUS * 0.9, 'rgba(8,3,14,.42)');
  context.fillStyle = '#2b1717';
  context.beginPath();
  context.ellipse(foot.x, foot.y, rx * 0.5, ry * 0.5, 0, 0, Math.PI * 2);
  context.fill();
  context.fillStyle = '#3c211b';
  context.fillRect(foot.x - 7, top.y, 14, foot.y - top.y);
  context.fillStyle = '#5a3020';
  context.beginPath();
  context.ellipse(top.x, top.y + 8, rx, ry, 0, 0, Math.PI * 2);
  context.fill();
  const wood = context.createRadialGradient(top.x, top.y - 6, 4, top.x, top.y, rx);
  wood.addColorStop(0, '#e6a468');
  wood.addColorStop(0.55, '#b06f40');
  wood.addColorStop(1, '#824b2d');
  context.fillStyle = wood;
  context.beginPath();
  context.ellipse(top.x, top.y, rx, ry, 0, 0, Math.PI * 2);
  context.fill();
  context.strokeStyle = 'rgba(255,214,160,.35)';
  context.lineWidth = 1.6;
  context.stroke();
  drawGlass(context, top.x - rx * 0.5, top.y + 5, ['wine', 'beer', 'coupe', 'beer'][index % 4]);
  drawGlass(context, top.x + rx * 0.48, top.y + 3, ['beer', 'coupe', 'beer', 'wine'][index % 4]);
  const flame = 1 + Math.sin(timeS * 7 + index * 2) * 0.08 + Math.sin(timeS * 17 + index) * 0.05;
  glow(context, top.x, top.y - 16, 52 * flame, '255,180,80', 0.55);
  context.fillStyle = 'rgba(255,140,90,.85)';
  roundRect(context, top.x - 7, top.y - 15, 14, 16, 4);
  context.fill();
  context.fillStyle = '#fff0b8';
  context.beginPath();
  context.ellipse(top.x, top.y - 19, 3, 6.5 * flame, 0, 0, Math.PI * 2);
  context.fill();
}

/** @param {Context} context @param {number} x @param {number} z @param {number} index @param {number} timeS */
function drawLamp(context, x, z, index, timeS) {
  const size = sizeAt(z);
  const at = project(x, z, 3.75);
  const sway = Math.sin(timeS * 0.6 + index) * 2;
  const px = at.x + sway;
  context.strokeStyle = '#1a1020';
  context.lineWidth = 3;
  context.beginPath();
  context.moveTo(at.x, CEILING_Y);
  context.lineTo(px, at.y - 30 * size);
  context.stroke();
  const floor = project(x, z);
  context.save();
  context.globalCompositeOperation = 'lighter';
  const cone = context.createLinearGradient(0, at.y, 0, floor.y);
  cone.addColorStop(0, `rgba(${GLOW},.19)`);
  cone.addColorStop(1, `rgba(${GLOW},0)`);
  polygon(context, [{ x: px - 26 * size, y: at.y }, { x: px + 26 * size, y: at.y }, { x: floor.x + 120 * size, y: floor.y }, { x: floor.x - 120 * size, y: floor.y }], cone);
  glow(context, px, at.y, 105 * size, GLOW, 0.5);
  context.restore();
  context.fillStyle = '#ffe9b8';
  context.beginPath();
  context.arc(px, at.y + 2, 10 * size, 0, Math.PI * 2);
  context.fill();
  const shade = context.createLinearGradient(px - 34, 0, px + 34, 0);
  shade.addColorStop(0, '#2c6a63');
  shade.addColorStop(0.4, '#4aa396');
  shade.addColorStop(1, '#1f4d49');
  context.fillStyle = shade;
  context.beginPath();
  context.moveTo(px - 36 * size, at.y);
  context.quadraticCurveTo(px - 28 * size, at.y - 32 * size, px - 6 * size, at.y - 34 * size);
  context.lineTo(px + 6 * size, at.y - 34 * size);
  context.quadraticCurveTo(px + 28 * size, at.y - 32 * size, px + 36 * size, at.y);
  context.closePath();
  context.fill();
  context.fillStyle = '#e8b35f';
  context.fillRect(px - 36 * size, at.y - 2, 72 * size, 3);
}

/** @param {Context} context @param {number} x @param {number} z @param {number} index */
function drawPlant(context, x, z, index) {
  const random = randomFrom(50 + index);
  const size = sizeAt(z);
  const at = project(x, z);
  floorEllipse(context, x, z, 0.5, 0.4, 'rgba(8,3,14,.42)');
  context.save();
  context.translate(at.x, at.y);
  context.scale(size, size);
  for (let leaf = 0; leaf < 15; leaf += 1) {
    const angle = -Math.PI / 2 + (leaf / 14 - 0.5) * 2.5 + (random() - 0.5) * 0.25;
    const length = 68 + random() * 46;
    const [lx, ly] = [Math.cos(angle) * length * 0.72, -36 + Math.sin(angle) * length];
    context.fillStyle = `hsl(${148 + random() * 24} ${34 + random() * 16}% ${20 + random() * 15}%)`;
    context.beginPath();
    context.moveTo(-3, -36);
    context.quadraticCurveTo(lx * 0.35 - ly * 0.14, -36 + (ly + 36) * 0.6, lx, ly);
    context.quadraticCurveTo(lx * 0.5 + ly * 0.12, -36 + (ly + 36) * 0.4, 4, -36);
    context.fill();
  }
  const pot = context.createLinearGradient(-24, 0, 24, 0);
  pot.addColorStop(0, '#d47a4d');
  pot.addColorStop(1, '#87432c');
  context.fillStyle = pot;
  context.beginPath();
  context.moveTo(-24, -42);
  context.lineTo(24, -42);
  context.lineTo(17, 2);
  context.quadraticCurveTo(0, 8, -17, 2);
  context.closePath();
  context.fill();
  context.fillStyle = '#e5956a';
  roundRect(context, -27, -46, 54, 10, 5);
  context.fill();
  context.restore();
}

/** @param {Context} context @param {number} timeS */
function drawJukebox(context, timeS) {
  const { x0, x1, z1, height } = JUKEBOX;
  const foot = project((x0 + x1) / 2, z1);
  const size = sizeAt(z1);
  const half = ((x1 - x0) / 2) * UNIT * size;
  const tall = height * UNIT * 0.92 * size;
  floorEllipse(context, (x0 + x1) / 2, z1 - 0.2, 0.75, 0.5, 'rgba(8,3,14,.45)');
  context.save();
  context.translate(foot.x, foot.y);
  const body = context.createLinearGradient(-half, 0, half, 0);
  body.addColorStop(0, '#a33a4e');
  body.addColorStop(0.5, '#d4566a');
  body.addColorStop(1, '#7a2438');
  context.fillStyle = body;
  arch(context, half, tall);
  context.fill();
  const hue = 30 + 20 * Math.sin(timeS * 0.8);
  context.strokeStyle = `hsl(${hue} 95% 64%)`;
  context.shadowColor = `hsl(${hue} 95% 60%)`;
  context.shadowBlur = 14;
  context.lineWidth = 5;
  arch(context, half - 7, tall - 8);
  context.stroke();
  context.shadowBlur = 0;
  context.fillStyle = '#1d1020';
  arch(context, half - 14, tall - 18);
  context.fill();
  context.fillStyle = '#ffdf9c';
  roundRect(context, -half + 20, -tall + 34, half * 2 - 40, 34, 6);
  context.fill();
  context.fillStyle = '#8a3a4a';
  for (let row = 0; row < 3; row += 1) context.fillRect(-half + 26, -tall + 41 + row * 9, half * 2 - 52, 3);
  for (let bar = 0; bar < 5; bar += 1) {
    const level = 8 + Math.abs(Math.sin(timeS * (1.4 + bar * 0.3) + bar)) * 26;
    context.fillStyle = ['#4fe3e8', '#9be37a', '#ffd166', '#ff9a5c', '#ff5fa2'][bar];
    context.fillRect(-half + 22 + bar * ((half * 2 - 44) / 5), -24 - level, (half * 2 - 44) / 5 - 3, level);
  }
  context.restore();
}

// --- pieces ---------------------------------------------------------------------------------------------------------

/** @param {Context} context @param {number} half @param {number} tall */
function arch(context, half, tall) {
  context.beginPath();
  context.moveTo(-half, 0);
  context.lineTo(-half, -tall + half);
  context.arc(0, -tall + half, half, Math.PI, 0);
  context.lineTo(half, 0);
  context.closePath();
}

/**
 * A box seen from the front: top, face, and the side that looks to the middle.
 * @param {Context} context
 * @param {{x0: number, x1: number, z0: number, z1: number, height: number}} size
 * @param {string} face @param {string} side @param {string} top
 */
function box(context, { x0, x1, z0, z1, height }, face, side, top) {
  const [a, b] = [project(x0, z1), project(x1, z1)];
  const [c, d] = [project(x0, z1, height), project(x1, z1, height)];
  const [e, f] = [project(x0, z0, height), project(x1, z0, height)];
  if (x0 > WIDTH / 2) polygon(context, [c, e, project(x0, z0), a], side);
  polygon(context, [e, f, d, c], top);
  polygon(context, [c, d, b, a], face);
  context.strokeStyle = 'rgba(255,200,255,.22)';
  context.lineWidth = 1.6;
  context.beginPath();
  context.moveTo(c.x, c.y);
  context.lineTo(d.x, d.y);
  context.stroke();
}

/** @param {Context} context @param {number} x0 @param {number} z0 @param {number} x1 @param {number} z1 */
function shadowUnder(context, x0, z0, x1, z1) {
  const top = project(x0, z0).y;
  const bottom = project(x0, z1).y;
  const shade = context.createLinearGradient(0, top, 0, bottom);
  shade.addColorStop(0, 'rgba(8,3,14,.6)');
  shade.addColorStop(1, 'rgba(8,3,14,0)');
  quad(context, x0 - 0.05, z0, x1 + 0.05, z1, shade);
}

/** @param {Context} context @param {number} x0 @param {number} z0 @param {number} x1 @param {number} z1 @param {string | CanvasGradient} fill */
function quad(context, x0, z0, x1, z1, fill) {
  polygon(context, [project(x0, z0), project(x1, z0), project(x1, z1), project(x0, z1)], fill);
}

/** @param {Context} context @param {{x: number, y: number}[]} points @param {string | CanvasGradient} fill */
function polygon(context, points, fill) {
  context.fillStyle = fill;
  context.beginPath();
  points.forEach(({ x, y }, index) => (index === 0 ? context.moveTo(x, y) : context.lineTo(x, y)));
  context.closePath();
  context.fill();
}

/** @param {Context} context @param {number} x @param {number} z @param {number} rx @param {number} rz @param {string} fill */
function floorEllipse(context, x, z, rx, rz, fill) {
  const middle = project(x, z);
  const [far, near] = [project(x, z - rz), project(x, z + rz)];
  context.fillStyle = fill;
  context.beginPath();
  context.ellipse(middle.x, (far.y + near.y) / 2, rx * UNIT * sizeAt(z), (near.y - far.y) / 2, 0, 0, Math.PI * 2);
  context.fill();
}

/**
 * @param {Context} context
 * @param {number} x @param {number} y @param {number} radius
 * @param {string} rgb @param {number} alpha
 * @param {number} [flat] height over width
 */
function glow(context, x, y, radius, rgb, alpha, flat = 1) {
  context.save();
  context.translate(x, y);
  context.scale(1, flat);
  const paint = context.createRadialGradient(0, 0, 0, 0, 0, radius);
  paint.addColorStop(0, `rgba(${rgb},${alpha})`);
  paint.addColorStop(0.45, `rgba(${rgb},${alpha * 0.32})`);
  paint.addColorStop(1, `rgba(${rgb},0)`);
  context.fillStyle = paint;
  context.beginPath();
  context.arc(0, 0, radius, 0, Math.PI * 2);
  context.fill();
  context.restore();
}

/** @param {Context} context @param {number} x @param {number} y @param {number} width @param {number} height @param {number} radius */
export function roundRect(context, x, y, width, height, radius) {
  context.beginPath();
  context.roundRect(x, y, width, height, Math.max(0, Math.min(radius, width / 2, height / 2)));
}
