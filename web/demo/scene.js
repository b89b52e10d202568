// @ts-check
/**
 * What is seen on the canvas: who is where, what they say and show, and the loop that draws it.
 * It knows nothing of the network. Positions of others come through the interpolator; our own person is moved here and
 * handed to `onMove`.
 */
import { AvatarInterpolator } from '../roomring/index.js';
import { drawAvatar, drawSpeakingRing, hash, lookOf } from './avatar_art.js';
import { Camera, project, sizeAt } from './camera.js';
import { drawEmote } from './emote_art.js';
import { drawBeams, drawBoardNotes, drawDanceTiles, drawRoom, furniture, isOnBoard, LightLayers, roundRect } from './room_art.js';
import { cleanName, shorten, wrap } from './text.js';
import { findPath, isWalkable, slide, spawnPoint } from './world.js';

/**
 * @typedef {import('../roomring/wire.js').Member} Member
 * @typedef {import('../roomring/wire.js').Transform} Transform
 *
 * @typedef {object} Person
 * @property {string} userId
 * @property {string} name
 * @property {import('./avatar_art.js').Look} look
 * @property {number} phase
 * @property {Transform} shown
 * @property {number} enteredAtMs
 * @property {{lines: string[] | null, text: string, untilMs: number, fromMs: number}[]} bubbles
 * @property {{emoteId: string, fromMs: number, drift: number}[]} emotes
 * @property {number} bubblesTop canvas y above which emotes rise, so that they do not cover the words
 */

const WALK_UNITS_PER_S = 3.1;
const WAVE_MS = 1_800;
const EMOTE_MS = 2_400;
const BUBBLES_MAX = 2;
const EMOTES_MAX = 6;
const FONT = 'ui-rounded, "SF Pro Rounded", "Segoe UI", Inter, system-ui, "Liberation Sans", sans-serif';

export class Scene {
  #canvas;
  #context;
  #camera = new Camera();
  #interpolator = new AvatarInterpolator();
  #lights = new LightLayers();
  #furniture = furniture();
  /** @type {HTMLCanvasElement} */
  #backdrop = document.createElement('canvas');
  /** @type {CanvasGradient | null} */
  #vignette = null;
  /** @type {Map<string, Person>} */
  #people = new Map();
  /** @type {string | null} */
  #selfId = null;
  /** @type {import('./world.js').Point[]} */
  #path = [];
  #steering = { x: 0, z: 0 };
  /** @type {{x: number, z: number, fromMs: number} | null} */
  #marker = null;
  /** @type {{x: number, y: number, paper: string}[]} */
  #notes = [];
  #isDancing = false;
  #isSpeaking = false;
  #waveUntilMs = 0;
  #lastFrameMs = 0;
  #isStill = matchMedia('(prefers-reduced-motion: reduce)');

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {{now: () => number, onMove: (transform: Transform) => void}} options `now` is the client's clock
   */
  constructor(canvas, { now, onMove }) {
    this.#canvas = canvas;
    this.#context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d', { alpha: false }));
    this.now = now;
    this.onMove = onMove;
    new ResizeObserver(() => this.#resize()).observe(canvas);
    this.#resize();
    requestAnimationFrame(() => this.#frame());
  }

  // --- who is here --------------------------------------------------------------------------------------------------

  /**
   * Everybody, as of a `room_state`; or not all yet, where the rest is to come.
   * @param {Member[]} members
   * @param {string} selfId
   * @param {{isAll?: boolean}} [options]
   */
  setMembers(members, selfId, { isAll = true } = {}) {
    this.#selfId = selfId;
    const present = new Set(members.map(({ userId }) => userId));
    if (isAll) for (const userId of [...this.#people.keys()]) if (!present.has(userId)) this.remove(userId);
    for (const member of members) this.add(member);
  }

  /** @param {Member} member somebody new, or somebody known whose place is told anew */
  add(member) {
    const nowMs = this.now();
    const { userId, displayName, avatarId } = member;
    const known = this.#people.get(userId);
    const { x, y, z, rotY, anim, speaking } = member;
    let place = { x, y, z, rotY, anim, speaking };
    if (userId === this.#selfId) {
      // After a reconnect we stay where we see ourselves; the server learns it from us. At first the server may know better.
      if (known) place = known.shown;
      else if (!isWalkable(place)) place = { ...place, ...spawnPoint(Math.random) };
    }
    this.#people.set(userId, {
      userId,
      name: cleanName(displayName),
      look: lookOf(avatarId),
      phase: (hash(userId) % 1000) / 1000,
      shown: place,
      enteredAtMs: known?.enteredAtMs ?? nowMs,
      bubbles: known?.bubbles ?? [],
      emotes: known?.emotes ?? [],
      bubblesTop: 0,
    });
    this.#interpolator.place(userId, place, nowMs);
    if (userId === this.#selfId) this.onMove(place);
  }

  /** @param {string} userId */
  remove(userId) {
    this.#people.delete(userId);
    this.#interpolator.remove(userId);
  }

  /**
   * @param {string} userId
   * @param {Transform} transform
   * @param {{ts: number, receivedAtMs: number}} meta
   */
  move(userId, transform, { ts, receivedAtMs }) {
    if (userId === this.#selfId || !this.#people.has(userId)) return;
    const { x, y, z, rotY, anim, speaking } = transform;
    this.#interpolator.push(userId, { x, y, z, rotY, anim, speaking }, ts, receivedAtMs);
  }

  /** @param {string} userId @param {string} text */
  say(userId, text) {
    const person = this.#people.get(userId);
    if (!person) return;
    const fromMs = this.now();
    person.bubbles.push({ lines: null, text, fromMs, untilMs: fromMs + Math.min(9_000, 3_500 + text.length * 55) });
    if (person.bubbles.length > BUBBLES_MAX) person.bubbles.shift();
  }

  /** @param {string} userId @param {string} emoteId */
  emote(userId, emoteId) {
    const person = this.#people.get(userId);
    if (!person) return;
    person.emotes.push({ emoteId, fromMs: this.now(), drift: Math.random() * 2 - 1 });
    if (person.emotes.length > EMOTES_MAX) person.emotes.shift();
  }

  /** Readable state, for tests. @returns {{userId: string, name: string, x: number, z: number, anim: string, self: boolean}[]} */
  avatars() {
    return [...this.#people.values()].map(({ userId, name, shown }) => ({
      userId, name, x: shown.x, z: shown.z, anim: shown.anim, self: userId === this.#selfId,
    }));
  }

  /** The notes on the wall. @param {{x: number, y: number, paper: string}[]} notes places as shares of the board, 0 to 1 */
  setNotes(notes) {
    this.#notes = notes;
  }

  /**
   * What stands or hangs at a point of the canvas, nearest first.
   * @param {number} x CSS pixels
   * @param {number} y
   * @returns {{userId: string, name: string} | 'board' | null} never ourselves, who are walked through
   */
  at(x, y) {
    const people = [...this.#people.values()].filter(({ userId }) => userId !== this.#selfId).sort((a, b) => b.shown.z - a.shown.z);
    for (const person of people) {
      const head = this.#headOf(person);
      const half = Math.max(20, 34 * sizeAt(person.shown.z) * this.#camera.scale);
      if (Math.abs(x - head.x) < half && y > head.y && y < head.foot + 28) return { userId: person.userId, name: person.name };
    }
    return isOnBoard(this.#camera.toStage(x, y)) ? 'board' : null;
  }

  // --- our own person -----------------------------------------------------------------------------------------------

  /** @param {number} x -1 to 1, right @param {number} z -1 to 1, towards the viewer */
  steer(x, z) {
    this.#steering = { x, z };
    if (x !== 0 || z !== 0) this.#path = [];
  }

  /** Walk to a point of the canvas. @param {number} x CSS pixels @param {number} y */
  walkToPixel(x, y) {
    const self = this.#self();
    if (!self) return;
    this.#path = findPath(self.shown, this.#camera.toFloor(x, y));
    const goal = this.#path.at(-1);
    this.#marker = goal ? { ...goal, fromMs: this.now() } : null;
  }

  halt() {
    this.#path = [];
    this.#steering = { x: 0, z: 0 };
    const self = this.#self();
    if (self?.shown.anim === 'walk') this.#place(self, { ...self.shown, anim: 'idle' });
  }

  /** The gesture that goes with our own emote. @param {string} emoteId */
  gesture(emoteId) {
    if (emoteId === 'dance') this.#isDancing = !this.#isDancing;
    if (emoteId === 'wave') this.#waveUntilMs = this.now() + WAVE_MS;
  }

  /** @param {boolean} isSpeaking */
  setSpeaking(isSpeaking) {
    this.#isSpeaking = isSpeaking;
  }

  #self() {
    return this.#selfId === null ? undefined : this.#people.get(this.#selfId);
  }

  /** @param {Person} self @param {number} seconds @param {number} nowMs */
  #moveSelf(self, seconds, nowMs) {
    const { shown } = self;
    let { x: dx, z: dz } = this.#steering;
    let step = WALK_UNITS_PER_S * seconds;
    const next = this.#path[0];
    if (next) {
      dx = next.x - shown.x;
      dz = next.z - shown.z;
      const left = Math.hypot(dx, dz);
      if (left <= step) this.#path.shift();
      step = Math.min(step, left);
    }
    const length = Math.hypot(dx, dz);
    const resting = nowMs < this.#waveUntilMs ? 'wave' : this.#isDancing ? 'dance' : 'idle';
    if (length < 1e-6) {
      this.#place(self, { ...shown, anim: resting, speaking: this.#isSpeaking });
      return;
    }
    this.#isDancing = false;
    this.#waveUntilMs = 0;
    const to = slide(shown, (dx / length) * step, (dz / length) * step);
    if (to === shown) this.#path = [];
    this.#place(self, { x: to.x, y: 0, z: to.z, rotY: Math.atan2(dx, dz), anim: 'walk', speaking: this.#isSpeaking });
  }

  /** @param {Person} self @param {Transform} transform */
  #place(self, transform) {
    self.shown = transform;
    this.onMove(transform);
  }

  // --- drawing ------------------------------------------------------------------------------------------------------

  #resize() {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    if (width === 0 || height === 0) return;
    // Beyond twice the density nobody sees a difference, and a phone would have to fill four times the pixels.
    const sharp = Math.min(2, window.devicePixelRatio || 1);
    this.#canvas.width = Math.round(width * sharp);
    this.#canvas.height = Math.round(height * sharp);
    this.#camera.resize(width, height);
    this.#paintBackdrop(sharp);
    const { width: w, height: h } = this.#canvas;
    this.#vignette = this.#context.createRadialGradient(w / 2, h * 0.56, Math.min(w, h) * 0.38, w / 2, h * 0.56, Math.hypot(w, h) * 0.62);
    this.#vignette.addColorStop(0, 'rgba(10,4,18,0)');
    this.#vignette.addColorStop(1, 'rgba(10,4,18,.72)');
  }

  /** The room is painted once, at its full width, and then only copied. @param {number} sharp */
  #paintBackdrop(sharp) {
    const scale = this.#camera.scale * sharp;
    this.#backdrop.width = Math.ceil(BACKDROP.width * scale);
    this.#backdrop.height = Math.ceil(BACKDROP.height * scale);
    const context = this.#backdrop.getContext('2d', { alpha: false });
    if (!context) return;
    context.scale(scale, scale);
    context.translate(-BACKDROP.x, -BACKDROP.y);
    drawRoom(context);
    this.#lights.resize(scale);
  }

  #frame() {
    requestAnimationFrame(() => this.#frame());
    const nowMs = this.now();
    // After a pause (another tab) nobody leaps.
    const seconds = Math.min(0.1, Math.max(0, (nowMs - this.#lastFrameMs) / 1000));
    this.#lastFrameMs = nowMs;
    const self = this.#self();
    if (self) this.#moveSelf(self, seconds, nowMs);
    for (const person of this.#people.values()) {
      if (person !== self) person.shown = this.#interpolator.at(person.userId, nowMs) ?? person.shown;
    }
    const target = self ? project(self.shown.x, self.shown.z) : project(10, 6);
    this.#camera.follow(target, this.#isStill.matches ? 1 : 1 - Math.exp(-seconds * 5));
    this.#draw(nowMs);
  }

  /** @param {number} nowMs */
  #draw(nowMs) {
    const context = this.#context;
    const isStill = this.#isStill.matches;
    const timeS = (nowMs / 1000) % 100_000;
    const sharp = this.#canvas.width / this.#camera.width;
    const scale = this.#camera.scale * sharp;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = '#0b0711';
    context.fillRect(0, 0, this.#canvas.width, this.#canvas.height);
    context.setTransform(scale, 0, 0, scale, this.#canvas.width / 2 - this.#camera.x * scale, this.#canvas.height / 2 - this.#camera.y * scale);
    context.drawImage(this.#backdrop, BACKDROP.x, BACKDROP.y, this.#backdrop.width / scale, this.#backdrop.height / scale);
    drawBoardNotes(context, this.#notes);
    drawDanceTiles(context, timeS, isStill);
    this.#lights.draw(context, timeS, isStill);
    this.#drawMarker(nowMs);

    const people = [...this.#people.values()];
    const items = [
      ...this.#furniture,
      ...people.map((person) => ({ z: person.shown.z, draw: () => this.#drawPerson(person, timeS, isStill, nowMs) })),
    ].sort((a, b) => a.z - b.z);
    for (const item of items) item.draw(context, isStill ? 0 : timeS);
    drawBeams(context, timeS, isStill);

    context.setTransform(1, 0, 0, 1, 0, 0);
    if (this.#vignette) {
      context.fillStyle = this.#vignette;
      context.fillRect(0, 0, this.#canvas.width, this.#canvas.height);
    }
    context.setTransform(sharp, 0, 0, sharp, 0, 0);
    people.sort((a, b) => a.shown.z - b.shown.z);
    for (const person of people) this.#drawLabel(person);
    for (const person of people) this.#drawBubbles(person, nowMs);
    for (const person of people) this.#drawEmotes(person, nowMs, isStill);
  }

  /** @param {Person} person @param {number} timeS @param {boolean} isStill @param {number} nowMs */
  #drawPerson(person, timeS, isStill, nowMs) {
    const context = this.#context;
    const { shown, look, phase } = person;
    const at = project(shown.x, shown.z);
    const size = sizeAt(shown.z);
    const entering = isStill ? 1 : Math.min(1, (nowMs - person.enteredAtMs) / 280);
    context.save();
    context.globalAlpha = entering;
    context.translate(at.x, at.y);
    const grown = 0.7 + 0.3 * entering;
    context.scale(size * grown, size * grown);
    const pose = { rotY: shown.rotY, anim: shown.anim, speaking: shown.speaking, timeS, phase, isStill };
    if (person.userId === this.#selfId) drawSelfRing(context);
    if (shown.speaking) drawSpeakingRing(context, pose);
    drawAvatar(context, look, pose);
    context.restore();
  }

  /** @param {number} nowMs */
  #drawMarker(nowMs) {
    if (!this.#marker || this.#path.length === 0) return;
    const context = this.#context;
    const at = project(this.#marker.x, this.#marker.z);
    const age = ((nowMs - this.#marker.fromMs) / 900) % 1;
    for (const share of [age, 0.35]) {
      context.strokeStyle = `rgba(255,222,150,${0.9 * (1 - share)})`;
      context.lineWidth = 3;
      context.beginPath();
      context.ellipse(at.x, at.y, 9 + 20 * share, 4 + 8 * share, 0, 0, Math.PI * 2);
      context.stroke();
    }
  }

  /** Top of the head on the canvas. @param {Person} person */
  #headOf({ shown }) {
    const at = this.#camera.toCanvas(project(shown.x, shown.z));
    return { x: at.x, foot: at.y, y: at.y - 158 * sizeAt(shown.z) * this.#camera.scale };
  }

  /** @param {Person} person */
  #drawLabel(person) {
    const context = this.#context;
    const { x, foot } = this.#headOf(person);
    const isSelf = person.userId === this.#selfId;
    context.font = `600 12.5px ${FONT}`;
    context.textAlign = 'center';
    context.textBaseline = 'middle';
    const name = shorten(context, person.name, 130);
    const width = context.measureText(name).width + 18;
    const y = foot + 17;
    roundRect(context, x - width / 2, y - 10, width, 20, 10);
    context.fillStyle = isSelf ? 'rgba(255,186,96,.95)' : 'rgba(20,11,30,.74)';
    context.fill();
    context.fillStyle = isSelf ? '#2a1420' : '#f6edff';
    context.fillText(name, x, y + 0.5);
  }

  /** @param {Person} person @param {number} nowMs @param {boolean} isStill */
  #drawEmotes(person, nowMs, isStill) {
    const context = this.#context;
    const head = this.#headOf(person);
    person.emotes = person.emotes.filter(({ fromMs }) => nowMs - fromMs < EMOTE_MS);
    for (const { emoteId, fromMs, drift } of person.emotes) {
      const age = (nowMs - fromMs) / EMOTE_MS;
      const pop = isStill ? 1 : Math.min(1, age * 9) * (1 + 0.35 * Math.max(0, 1 - age * 6));
      const rise = isStill ? 20 : 12 + 74 * (1 - (1 - age) ** 2);
      const sway = isStill ? 0 : Math.sin(age * 7 + drift * 3) * 10 + drift * 14 * age;
      context.save();
      context.globalAlpha = Math.min(1, (1 - age) * 3);
      context.translate(head.x + sway, Math.min(head.y, person.bubblesTop) - rise);
      context.rotate(isStill ? 0 : Math.sin(age * 9 + drift) * 0.16);
      context.shadowColor = 'rgba(10,2,20,.5)';
      context.shadowBlur = 8;
      drawEmote(context, emoteId, 0, 0, 40 * pop);
      context.restore();
    }
  }

  /** @param {Person} person @param {number} nowMs */
  #drawBubbles(person, nowMs) {
    const context = this.#context;
    const head = this.#headOf(person);
    person.bubbles = person.bubbles.filter(({ untilMs }) => untilMs > nowMs);
    let bottom = head.y - 8;
    person.bubblesTop = head.y;
    for (const bubble of [...person.bubbles].reverse()) {
      context.font = `500 14px ${FONT}`;
      bubble.lines ??= wrap(context, bubble.text, Math.min(210, this.#camera.width - 60), 4);
      const width = Math.max(34, ...bubble.lines.map((line) => context.measureText(line).width)) + 24;
      const height = bubble.lines.length * 18 + 14;
      const x = Math.min(this.#camera.width - width - 8, Math.max(8, head.x - width / 2));
      const y = Math.max(8, bottom - height - 9);
      const isNewest = bubble === person.bubbles.at(-1);
      context.save();
      context.globalAlpha = Math.min(1, (bubble.untilMs - nowMs) / 350, (nowMs - bubble.fromMs) / 130 + 0.05) * (isNewest ? 1 : 0.82);
      context.shadowColor = 'rgba(10,2,20,.45)';
      context.shadowBlur = 14;
      context.shadowOffsetY = 4;
      context.fillStyle = '#fff8ee';
      roundRect(context, x, y, width, height, 15);
      if (isNewest) {
        const tail = Math.min(x + width - 18, Math.max(x + 18, head.x));
        context.moveTo(tail - 7, y + height - 1);
        context.lineTo(tail + 7, y + height - 1);
        context.lineTo(Math.min(x + width - 6, Math.max(x + 6, head.x)), y + height + 8);
        context.closePath();
      }
      context.fill();
      context.shadowColor = 'transparent';
      context.fillStyle = '#2b1828';
      context.textAlign = 'center';
      context.textBaseline = 'middle';
      bubble.lines.forEach((line, index) => context.fillText(line, x + width / 2, y + 16.5 + index * 18));
      context.restore();
      bottom = y;
      person.bubblesTop = y;
    }
  }
}

/** What of the stage the painted room covers. */
const BACKDROP = { x: -1100, y: -1400, width: 2200, height: 1700 };

/** @param {CanvasRenderingContext2D} context */
function drawSelfRing(context) {
  context.strokeStyle = 'rgba(255,196,110,.8)';
  context.lineWidth = 3;
  context.setLineDash([10, 7]);
  context.beginPath();
  context.ellipse(0, 1, 38, 13, 0, 0, Math.PI * 2);
  context.stroke();
  context.setLineDash([]);
}
