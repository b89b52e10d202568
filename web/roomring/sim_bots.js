// @ts-check
/**
 * The regulars of the offline room: they walk from place to place, dance, say a line now and then,
 * and answer when spoken to.
 *
 * @typedef {{userId: string, displayName: string, avatarId: string}} Bot
 * @typedef {{x: number, z: number, rotY?: number, anim?: 'idle' | 'dance'}} Place
 * @typedef {import('./wire.js').Member} Member
 *
 * @typedef {{bot: Bot, transform: any, path: {x: number, z: number}[], goal: Place, busyUntilMs: number}} Walker
 *
 * @typedef {object} BotRoom What the bots may do in their room.
 * @property {(userId: string, transform: any) => void} move
 * @property {(userId: string, text: string) => unknown} chat
 * @property {(userId: string, emoteId: string) => unknown} emote
 */

const STEP_MS = 100;
const WALK_UNITS_PER_S = 1.9;

/** @type {Bot[]} */
const REGULARS = [
  { userId: 'bot-mira', displayName: 'Mira', avatarId: 'cat' },
  { userId: 'bot-otis', displayName: 'Otis', avatarId: 'bear' },
  { userId: 'bot-june', displayName: 'June', avatarId: 'bunny' },
  { userId: 'bot-rio', displayName: 'Rio', avatarId: 'frog' },
];

/** @type {Place[]} */
const OPEN_FLOOR = [
  { x: 5, z: 5 },
  { x: 9, z: 9 },
  { x: 14, z: 6, anim: 'dance' },
  { x: 16, z: 8, anim: 'dance' },
  { x: 6, z: 9 },
];

const SMALL_TALK = [
  'Who picked this song? I owe them a drink.',
  'The lamps are extra warm tonight.',
  'Save me a spot by the counter!',
  'I came for one drink. That was three songs ago.',
  'Dance floor, anyone?',
  'Best seats are under the window.',
];

const REPLIES = ['Ha, good one.', 'Hear, hear!', 'Tell me more.', 'Welcome in!', 'I was just about to say that.'];

/** @type {Record<string, string>} what a bot gives back for an emote */
const RETURNED = { cheers: 'cheers', wave: 'wave', heart: 'heart', clap: 'cheers', laugh: 'laugh', dance: 'clap' };

export class SimBots {
  /** @type {any} */
  #timer = null;
  /** @type {Walker[]} */
  #walkers;
  #talkAtMs;
  /** @type {{atMs: number, act: () => void}[]} */
  #replies = [];

  /**
   * @param {BotRoom} room
   * @param {import('./sim.js').SimOptions & {environment: import('./environment.js').Environment}} options
   */
  constructor(room, { environment, bots = REGULARS, places = OPEN_FLOOR, route }) {
    this.room = room;
    this.environment = environment;
    this.places = places;
    this.route = route ?? ((_from, to) => [to]);
    this.#walkers = bots.map((bot, index) => {
      const goal = places[index % places.length];
      const transform = { seq: 0, x: goal.x, y: 0, z: goal.z, rotY: goal.rotY ?? 0, anim: goal.anim ?? 'idle', speaking: false };
      return { bot, transform, path: [], goal, busyUntilMs: environment.now() + 1500 + 12_000 * environment.random() };
    });
    this.#talkAtMs = environment.now() + 4000;
  }

  /** @returns {Member[]} */
  members() {
    return this.#walkers.map(({ bot, transform: { seq: _seq, ...place } }) => ({ ...bot, ...place }));
  }

  start() {
    if (this.#walkers.length === 0) return;
    this.#timer ??= this.environment.setTimeout(() => this.#step(), STEP_MS);
  }

  stop() {
    this.environment.clearTimeout(this.#timer);
    this.#timer = null;
  }

  /**
   * A visitor said or showed something; now and then somebody answers.
   * @param {string} event
   * @param {any} payload
   */
  notice(event, payload) {
    if (this.#walkers.length === 0) return;
    const { bot } = this.#pick(this.#walkers);
    const atMs = this.environment.now() + 900 + 900 * this.environment.random();
    if (event === 'emote') {
      const emoteId = RETURNED[payload.emoteId] ?? 'laugh';
      this.#replies.push({ atMs, act: () => this.room.emote(bot.userId, emoteId) });
    } else {
      this.#replies.push({ atMs, act: () => this.room.chat(bot.userId, this.#pick(REPLIES)) });
    }
  }

  #step() {
    const nowMs = this.environment.now();
    this.#timer = this.environment.setTimeout(() => this.#step(), STEP_MS);
    for (const walker of this.#walkers) this.#walk(walker, nowMs);
    if (nowMs >= this.#talkAtMs) {
      const { bot } = this.#pick(this.#walkers);
      if (this.environment.random() < 0.65) this.room.chat(bot.userId, this.#pick(SMALL_TALK));
      else this.room.emote(bot.userId, this.#pick(['cheers', 'laugh', 'heart', 'clap']));
      this.#talkAtMs = nowMs + 6000 + 8000 * this.environment.random();
    }
    const due = this.#replies.filter((reply) => reply.atMs <= nowMs);
    this.#replies = this.#replies.filter((reply) => reply.atMs > nowMs);
    for (const reply of due) reply.act();
  }

  /**
   * @param {Walker} walker
   * @param {number} nowMs
   */
  #walk(walker, nowMs) {
    const { transform } = walker;
    const next = walker.path[0];
    if (next) {
      const dx = next.x - transform.x;
      const dz = next.z - transform.z;
      const left = Math.hypot(dx, dz);
      const step = (WALK_UNITS_PER_S * STEP_MS) / 1000;
      if (left <= step) walker.path.shift();
      const share = left <= step ? 1 : step / left;
      transform.x += dx * share;
      transform.z += dz * share;
      if (left > 0.01) transform.rotY = Math.atan2(dx, dz);
      transform.anim = 'walk';
    } else if (transform.anim === 'walk') {
      transform.anim = walker.goal.anim ?? 'idle';
      transform.rotY = walker.goal.rotY ?? 0;
      walker.busyUntilMs = nowMs + 4000 + 7000 * this.environment.random();
    } else if (nowMs >= walker.busyUntilMs) {
      const taken = new Set(this.#walkers.map(({ goal }) => goal));
      const free = this.places.filter((place) => !taken.has(place));
      if (free.length > 0) walker.goal = this.#pick(free);
      walker.path = this.route({ x: transform.x, z: transform.z }, walker.goal);
      walker.busyUntilMs = nowMs + 2000;
      return;
    } else {
      return;
    }
    transform.seq += 1;
    this.room.move(walker.bot.userId, transform);
  }

  /**
   * @template T
   * @param {T[]} list
   * @returns {T}
   */
  #pick(list) {
    return list[Math.floor(this.environment.random() * list.length) % list.length];
  }
}
