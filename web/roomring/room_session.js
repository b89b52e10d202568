// @ts-check
import { TransformPacer } from './rate.js';
import { RoomPosition } from './resume.js';

/**
 * What the client knows of one room that it wants to be in: members, position, ticket, outgoing movement.
 * Plain state; the client does the sending and the waiting.
 *
 * @typedef {import('./wire.js').Member} Member
 * @typedef {import('./wire.js').RoomState} RoomState
 * @typedef {import('./wire.js').ServerEnvelope} ServerEnvelope
 * @typedef {import('./wire.js').ServerEvents} ServerEvents
 * @typedef {import('./ticket.js').Ticket} Ticket
 */
export class RoomSession {
  position = new RoomPosition();
  /** @type {Map<string, Member>} */
  members = new Map();
  /** @type {Ticket | null} */
  ticket = null;
  /** @type {'waiting' | 'joining' | 'joined'} as seen from the present connection */
  phase = /** @type {'waiting' | 'joining' | 'joined'} */ ('waiting');
  /** Id of the join_room without an answer yet. @type {string | null} */
  joinId = null;
  /** Counts within the present connection; a refresh of the token on the same socket goes on counting. */
  transformSeq = 0;
  /** Refusals of the token in a row. */
  refusals = 0;
  /** Parts of the last state that are still to come. */
  partsLeft = 0;
  /** The last state, whose members are not complete while `partsLeft`. @type {RoomState | null} */
  state = null;
  /** @type {{resolve: (state: RoomState) => void, reject: (error: Error) => void}[]} */
  waiters = [];
  /** @type {any} */
  joinTimer = null;
  /** @type {any} */
  refreshTimer = null;
  /** @type {any} */
  transformTimer = null;

  /**
   * @param {string} roomId
   * @param {{transformsPerSecondMax: number}} options
   */
  constructor(roomId, { transformsPerSecondMax }) {
    this.roomId = roomId;
    this.pacer = new TransformPacer({ perSecondMax: transformsPerSecondMax });
  }

  /**
   * @param {RoomState} state
   * @returns {boolean} true when this is the first state on the present connection
   */
  adopt(state) {
    const isFirst = this.phase !== 'joined';
    this.position.adopt(state);
    this.members = new Map(state.members.map((member) => [member.userId, { ...member }]));
    this.state = state;
    this.partsLeft = (state.parts ?? 1) - 1;
    this.phase = 'joined';
    this.joinId = null;
    this.refusals = 0;
    if (isFirst) this.pacer.repeat();
    return isFirst;
  }

  /**
   * Take a further part of the members of a large room.
   * @param {ServerEvents['room_members']} part
   * @returns {boolean} false when it is of another state
   */
  addPart({ epoch, seq, members }) {
    if (!this.partsLeft || epoch !== this.state?.epoch || seq !== this.state.seq) return false;
    for (const member of members) if (!this.members.has(member.userId)) this.members.set(member.userId, { ...member });
    this.partsLeft -= 1;
    return true;
  }

  /** The connection is gone; position, ticket and unsent movement stay for the next one. */
  detach() {
    this.partsLeft = 0;
    this.phase = 'waiting';
    this.joinId = null;
    this.transformSeq = 0;
  }

  /**
   * Keep the member list in step with an event that has passed `position.observe`.
   * A replayed event is older than the list that came with `room_state`, so it does not change it.
   * @param {ServerEnvelope} envelope
   */
  track({ t, payload, seq, replay }) {
    if (replay && seq !== undefined && this.position.isInState(seq)) return;
    if (t === 'member_joined') {
      this.members.set(payload.member.userId, { ...payload.member });
    } else if (t === 'member_left') {
      this.members.delete(payload.userId);
    } else if (t === 'avatar_transform_broadcast') {
      const member = this.members.get(payload.userId);
      if (!member) return;
      const { x, y, z, rotY, anim, speaking } = payload;
      Object.assign(member, { x, y, z, rotY, anim, speaking });
    }
  }
}
