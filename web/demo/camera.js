// @ts-check
/**
 * From the floor of the bar to the screen and back.
 *
 * Two steps. `project` is a fixed perspective onto a "stage" with its origin at the middle of the front edge, y upwards
 * negative; straight lines of the world stay straight on it. The camera then scales and shifts the stage into the canvas,
 * and follows one person where not all of it fits.
 */
import { DEPTH, WIDTH } from './world.js';

/** Stage pixels for one world unit at the front edge. */
export const UNIT = 84;
/** Distance of the eye from the front edge, in world units: people at the back wall are 0.75 of the size. */
const EYE = 36;
const RISE = 2700;
/** Upright things are seen slightly from above. */
const UPRIGHT = 0.92;

export const STAGE_HALF_WIDTH = (WIDTH / 2) * UNIT;

/** Stage height that is worth seeing: floor, back wall, a little ceiling. */
const STAGE_HEIGHT = 1130;
/** CSS pixels at the foot of the canvas that the emote bar covers; nobody may stand behind it. */
const COVERED_BELOW = 84;

/** On a phone people must not become ants; the camera shows less of the room instead. */
const SCALE_MIN = 0.52;

/** @param {number} z @returns {number} */
export function sizeAt(z) {
  return EYE / (EYE + DEPTH - z);
}

/**
 * @param {number} x
 * @param {number} z
 * @param {number} [height] above the floor, world units
 * @returns {{x: number, y: number}} on the stage
 */
export function project(x, z, height = 0) {
  const size = sizeAt(z);
  return { x: (x - WIDTH / 2) * UNIT * size, y: -RISE * (1 - size) - height * UNIT * UPRIGHT * size };
}

/**
 * @param {number} stageX
 * @param {number} stageY
 * @returns {{x: number, z: number}} the point of the floor
 */
export function unproject(stageX, stageY) {
  const size = Math.min(1.02, Math.max(0.7, 1 + stageY / RISE));
  return { x: WIDTH / 2 + stageX / (UNIT * size), z: EYE + DEPTH - EYE / size };
}

export class Camera {
  width = 1;
  height = 1;
  scale = 1;
  /** Stage point in the middle of the canvas. */
  x = 0;
  y = -500;
  #isPlaced = false;

  /** @param {number} width CSS pixels @param {number} height */
  resize(width, height) {
    this.width = width;
    this.height = height;
    this.scale = Math.max(SCALE_MIN, width / (STAGE_HALF_WIDTH * 2), height / STAGE_HEIGHT);
    this.#isPlaced = false;
  }

  /**
   * @param {{x: number, y: number}} target stage point to keep in sight
   * @param {number} share of the way to go now; 1 jumps
   */
  follow(target, share) {
    const halfWidth = this.width / 2 / this.scale;
    const halfHeight = this.height / 2 / this.scale;
    const limitX = Math.max(0, STAGE_HALF_WIDTH - halfWidth);
    const x = Math.min(limitX, Math.max(-limitX, target.x));
    const lowest = COVERED_BELOW / this.scale - halfHeight;
    const highest = Math.min(lowest, halfHeight - STAGE_HEIGHT);
    const y = Math.min(lowest, Math.max(highest, target.y - 90));
    const step = this.#isPlaced ? share : 1;
    this.#isPlaced = true;
    this.x += (x - this.x) * step;
    this.y += (y - this.y) * step;
  }

  /** @param {{x: number, y: number}} point on the stage @returns {{x: number, y: number}} CSS pixels in the canvas */
  toCanvas({ x, y }) {
    return { x: (x - this.x) * this.scale + this.width / 2, y: (y - this.y) * this.scale + this.height / 2 };
  }

  /** @param {number} x CSS pixels in the canvas @param {number} y @returns {{x: number, z: number}} point of the floor */
  toFloor(x, y) {
    const stage = this.toStage(x, y);
    return unproject(stage.x, stage.y);
  }

  /** @param {number} x CSS pixels in the canvas @param {number} y @returns {{x: number, y: number}} point of the stage */
  toStage(x, y) {
    return { x: (x - this.width / 2) / this.scale + this.x, y: (y - this.height / 2) / this.scale + this.y };
  }
}
