// @ts-check
/**
 * People, drawn as vectors: a hooded figure whose hood, ears and colours come from the avatar id.
 * The origin is between the feet; the figure is about 150 stage pixels tall.
 *
 * @typedef {object} Look
 * @property {string} hood
 * @property {string} shade darker side of the hood
 * @property {string} inner inside of the ears, and the belly
 * @property {string} skin
 * @property {string} hair
 * @property {string} trousers
 * @property {'fox' | 'cat' | 'bear' | 'bunny' | 'panda' | 'frog' | 'owl' | 'robot'} ears
 *
 * @typedef {object} Pose
 * @property {number} rotY
 * @property {'idle' | 'walk' | 'dance' | 'wave'} anim
 * @property {boolean} speaking
 * @property {number} timeS seconds, any origin
 * @property {number} phase of this person in [0, 1), so that not everyone blinks at once
 * @property {boolean} [isStill] reduced motion: no bobbing
 */

/** @type {Record<string, Look & {label: string}>} */
export const LOOKS = {
  fox: { label: 'Fox', hood: '#f08a3c', shade: '#c4612a', inner: '#fff0dc', skin: '#f4c9a4', hair: '#7a3b1d', trousers: '#3a3350', ears: 'fox' },
  cat: { label: 'Cat', hood: '#8d7bd6', shade: '#6555ad', inner: '#ffd0e4', skin: '#e8b08a', hair: '#2b2238', trousers: '#2c2a45', ears: 'cat' },
  bear: { label: 'Bear', hood: '#a87148', shade: '#7d4f30', inner: '#f0d3ab', skin: '#c98d62', hair: '#3d2415', trousers: '#2e3a4d', ears: 'bear' },
  bunny: { label: 'Bunny', hood: '#ffb3cf', shade: '#df86aa', inner: '#fff3f7', skin: '#fbd7bd', hair: '#d99a4e', trousers: '#5a4a78', ears: 'bunny' },
  panda: { label: 'Panda', hood: '#f1eef6', shade: '#c6bfd4', inner: '#fdfcff', skin: '#f0c29b', hair: '#1f1a26', trousers: '#26222f', ears: 'panda' },
  frog: { label: 'Frog', hood: '#6fbf5f', shade: '#468f42', inner: '#e8f7c8', skin: '#8a5a3c', hair: '#1d1512', trousers: '#3b4a35', ears: 'frog' },
  owl: { label: 'Owl', hood: '#3f9aa8', shade: '#2a6f7e', inner: '#d9f3ee', skin: '#fbd2b5', hair: '#b5462f', trousers: '#33304a', ears: 'owl' },
  robot: { label: 'Robot', hood: '#5f86e8', shade: '#3d5cb5', inner: '#d6e4ff', skin: '#a86f4a', hair: '#120f1a', trousers: '#262c47', ears: 'robot' },
};

/**
 * @param {string} avatarId any string; an unknown one gets one of the looks, always the same
 * @returns {Look}
 */
export function lookOf(avatarId) {
  const known = Object.hasOwn(LOOKS, avatarId) ? LOOKS[avatarId] : undefined;
  const looks = Object.values(LOOKS);
  return known ?? looks[hash(avatarId) % looks.length];
}

/** @param {string} text @returns {number} */
export function hash(text) {
  let value = 2166136261;
  for (const character of text) value = Math.imul(value ^ (character.codePointAt(0) ?? 0), 16777619);
  return value >>> 0;
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Look} look
 * @param {Pose} pose
 */
export function drawAvatar(context, look, pose) {
  const { timeS, phase, anim, isStill } = pose;
  const side = Math.sin(pose.rotY);
  const front = Math.cos(pose.rotY);
  const beat = timeS * 5.2 + phase * 6;
  const stride = anim === 'walk' ? Math.sin(timeS * 10.5 + phase * 6) : 0;
  const isDancing = anim === 'dance' && !isStill;
  let bob = isStill ? 0 : Math.sin(timeS * 1.9 + phase * 6) * 0.9;
  if (anim === 'walk' && !isStill) bob = Math.abs(stride) * -4;
  if (isDancing) bob = -Math.abs(Math.sin(beat)) * 9;

  drawShadow(context, 1 + bob * 0.012);
  context.save();
  context.lineCap = 'round';
  context.lineJoin = 'round';
  drawLegs(context, look, stride, side, isDancing ? Math.sin(beat) : 0);
  context.translate(0, bob);
  if (isDancing) context.rotate(Math.sin(beat / 2) * 0.1);
  if (anim === 'walk') context.rotate(side * 0.05);
  const hands = handsOf(pose, stride, beat, isDancing);
  if (front > -0.2) drawTail(context, look, side, timeS, phase);
  drawArm(context, look, -1, hands.left);
  if (side < -0.35) drawArm(context, look, 1, hands.right);
  drawBody(context, look, side, front);
  if (side >= -0.35) drawArm(context, look, 1, hands.right);
  if (side > 0.35) drawArm(context, look, 1, hands.right);
  if (front <= -0.2) drawTail(context, look, side, timeS, phase);
  drawHead(context, look, side, front, pose);
  context.restore();
}

/** @param {CanvasRenderingContext2D} context @param {number} size */
function drawShadow(context, size) {
  context.fillStyle = 'rgba(8,3,16,.42)';
  context.beginPath();
  context.ellipse(0, 1, 33 * size, 11 * size, 0, 0, Math.PI * 2);
  context.fill();
}

/** Rings on the floor around someone who speaks. @param {CanvasRenderingContext2D} context @param {Pose} pose */
export function drawSpeakingRing(context, pose) {
  const wave = pose.isStill ? 0.5 : (pose.timeS * 1.1 + pose.phase) % 1;
  for (const share of pose.isStill ? [0.5] : [wave, (wave + 0.5) % 1]) {
    context.strokeStyle = `rgba(110,240,200,${0.85 * (1 - share)})`;
    context.lineWidth = 3.5 - share * 2;
    context.beginPath();
    context.ellipse(0, 1, 30 + share * 26, 10 + share * 9, 0, 0, Math.PI * 2);
    context.stroke();
  }
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Look} look
 * @param {number} stride
 * @param {number} side
 * @param {number} beat
 */
function drawLegs(context, look, stride, side, beat) {
  for (const leg of [-1, 1]) {
    const swing = stride * leg;
    const footX = leg * 10 + swing * 10 * side;
    const lift = Math.max(0, swing) * 8 + Math.max(0, beat * leg) * 7;
    context.strokeStyle = look.trousers;
    context.lineWidth = 15;
    line(context, leg * 10, -34, footX, -9 - lift);
    context.fillStyle = '#f3e9dc';
    context.beginPath();
    context.ellipse(footX + side * 4, -4 - lift, 10.5, 6.5, 0, 0, Math.PI * 2);
    context.fill();
    context.fillStyle = 'rgba(40,20,50,.28)';
    context.fillRect(footX + side * 4 - 9, -1.6 - lift, 18, 2.4);
  }
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Look} look
 * @param {number} side
 * @param {number} front
 */
function drawBody(context, look, side, front) {
  const gradient = context.createLinearGradient(-28, 0, 28, 0);
  gradient.addColorStop(0, look.hood);
  gradient.addColorStop(0.55, look.hood);
  gradient.addColorStop(1, look.shade);
  context.fillStyle = gradient;
  context.beginPath();
  context.moveTo(-19, -82);
  context.bezierCurveTo(-27, -66, -29, -44, -26, -30);
  context.quadraticCurveTo(-25, -22, -14, -22);
  context.lineTo(14, -22);
  context.quadraticCurveTo(25, -22, 26, -30);
  context.bezierCurveTo(29, -44, 27, -66, 19, -82);
  context.closePath();
  context.fill();
  if (front > -0.1) {
    context.save();
    context.clip();
    context.globalAlpha = Math.min(1, (front + 0.1) * 3);
    context.fillStyle = look.inner;
    context.beginPath();
    context.ellipse(side * 15, -45, 15 * (0.55 + 0.45 * Math.max(0, front)), 20, 0, 0, Math.PI * 2);
    context.fill();
    context.restore();
  }
}

/**
 * Where the hands are, relative to the shoulders.
 * @param {Pose} pose
 * @param {number} stride
 * @param {number} beat
 * @param {boolean} isDancing
 */
function handsOf(pose, stride, beat, isDancing) {
  const rest = { x: 9, y: 30 };
  if (isDancing) {
    const up = Math.sin(beat);
    return { left: { x: -16, y: 4 - up * 30 }, right: { x: 16, y: 4 + up * 30 } };
  }
  if (pose.anim === 'wave') {
    const sway = pose.isStill ? 0 : Math.sin(pose.timeS * 11) * 9;
    return { left: { x: -rest.x, y: rest.y }, right: { x: 16 + sway, y: -36 } };
  }
  const swing = stride * 13 * Math.sin(pose.rotY);
  return { left: { x: -rest.x - swing, y: rest.y }, right: { x: rest.x + swing, y: rest.y } };
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Look} look
 * @param {-1 | 1} which left or right on the screen
 * @param {{x: number, y: number}} hand
 */
function drawArm(context, look, which, hand) {
  const shoulderX = which * 20;
  context.strokeStyle = which < 0 ? look.hood : look.shade;
  context.lineWidth = 14;
  line(context, shoulderX, -72, shoulderX + hand.x, -72 + hand.y);
  context.fillStyle = look.skin;
  context.beginPath();
  context.arc(shoulderX + hand.x * 1.12, -72 + hand.y * 1.12, 6.8, 0, Math.PI * 2);
  context.fill();
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Look} look
 * @param {number} side
 * @param {number} timeS
 * @param {number} phase
 */
function drawTail(context, look, side, timeS, phase) {
  const sway = Math.sin(timeS * 2.2 + phase * 9) * 5;
  const way = side > 0 ? -1 : 1;
  if (look.ears === 'fox') {
    context.fillStyle = look.shade;
    context.beginPath();
    context.moveTo(way * 10, -36);
    context.bezierCurveTo(way * 40, -26, way * 54 + sway, -48, way * 44 + sway, -72);
    context.bezierCurveTo(way * 36 + sway, -56, way * 26, -54, way * 14, -50);
    context.fill();
    context.fillStyle = look.inner;
    context.beginPath();
    context.moveTo(way * 44 + sway, -72);
    context.quadraticCurveTo(way * 53 + sway, -62, way * 49 + sway, -52);
    context.quadraticCurveTo(way * 42 + sway, -54, way * 38 + sway, -60);
    context.fill();
  } else if (look.ears === 'cat') {
    context.strokeStyle = look.shade;
    context.lineWidth = 7;
    context.beginPath();
    context.moveTo(way * 16, -34);
    context.bezierCurveTo(way * 40, -28, way * 34, -56, way * 44 + sway, -66);
    context.stroke();
  } else if (look.ears === 'bunny' || look.ears === 'panda' || look.ears === 'bear') {
    context.fillStyle = look.ears === 'bunny' ? look.inner : look.ears === 'panda' ? '#51466b' : look.shade;
    context.beginPath();
    context.arc(side === 0 ? 0 : way * 24, -34, 8, 0, Math.PI * 2);
    context.fill();
  }
}

const HEAD_Y = -106;

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Look} look
 * @param {number} side
 * @param {number} front
 * @param {Pose} pose
 */
function drawHead(context, look, side, front, pose) {
  context.save();
  context.translate(0, HEAD_Y);
  drawEars(context, look, side, front);
  const gradient = context.createRadialGradient(-11, -14, 6, 0, 0, 37);
  gradient.addColorStop(0, lighten(look.hood));
  gradient.addColorStop(0.6, look.hood);
  gradient.addColorStop(1, look.shade);
  context.fillStyle = gradient;
  context.beginPath();
  context.ellipse(0, 0, 34, 32, 0, 0, Math.PI * 2);
  context.fill();
  if (front > -0.4) drawFace(context, look, side, front, pose);
  context.restore();
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Look} look
 * @param {number} side
 * @param {number} front
 * @param {Pose} pose
 */
function drawFace(context, look, side, front, pose) {
  // The opening of the hood slides round the head and is cut off by its outline.
  context.save();
  context.clip();
  const turnedAway = Math.min(1, Math.max(0, 0.35 - front));
  const x = side * (11 + 20 * turnedAway);
  const width = 25 * (0.7 + 0.3 * Math.max(0, front));
  context.translate(x, 4);
  context.fillStyle = 'rgba(30,10,40,.22)';
  context.beginPath();
  context.ellipse(0, 0.5, width + 3, 24.5, 0, 0, Math.PI * 2);
  context.fill();
  context.fillStyle = look.skin;
  context.beginPath();
  context.ellipse(0, 1, width, 22.5, 0, 0, Math.PI * 2);
  context.fill();
  context.clip();

  context.fillStyle = look.hair;
  context.beginPath();
  context.moveTo(-width, -24);
  context.lineTo(width, -24);
  context.lineTo(width, -5);
  context.quadraticCurveTo(width * 0.6, -14, width * 0.34, -8);
  context.quadraticCurveTo(width * 0.05, -16, -width * 0.25, -7);
  context.quadraticCurveTo(-width * 0.6, -13, -width, -3);
  context.closePath();
  context.fill();

  const isBlinking = !pose.isStill && (pose.timeS + pose.phase * 4.3) % 4.3 < 0.13;
  const isHappy = pose.anim === 'dance';
  const spread = width * 0.44;
  const shift = side * 3;
  for (const eye of [-1, 1]) {
    const ex = eye * spread + shift;
    if (isBlinking || isHappy) {
      context.strokeStyle = '#2a1626';
      context.lineWidth = 2.4;
      context.beginPath();
      context.arc(ex, isHappy ? 4.5 : 1, 3.8, isHappy ? Math.PI * 1.1 : 0.15 * Math.PI, isHappy ? Math.PI * 1.9 : 0.85 * Math.PI);
      context.stroke();
    } else {
      context.fillStyle = '#2a1626';
      context.beginPath();
      context.ellipse(ex, 3, 3.3, 4.5, 0, 0, Math.PI * 2);
      context.fill();
      context.fillStyle = '#fff';
      context.beginPath();
      context.arc(ex + 1.1, 1.2, 1.4, 0, Math.PI * 2);
      context.fill();
    }
    context.fillStyle = 'rgba(255,96,110,.3)';
    context.beginPath();
    context.ellipse(eye * (spread + 5) + shift, 10, 4.4, 2.8, 0, 0, Math.PI * 2);
    context.fill();
  }
  const open = pose.speaking && !pose.isStill ? 2 + Math.abs(Math.sin(pose.timeS * 9 + pose.phase)) * 4 : pose.speaking ? 4 : 0;
  if (open > 0 || isHappy) {
    context.fillStyle = '#7b2a3a';
    context.beginPath();
    context.ellipse(shift, 13, 4.6, Math.max(open, 3.4), 0, 0, Math.PI * 2);
    context.fill();
  } else {
    context.strokeStyle = '#8a3d3d';
    context.lineWidth = 2;
    context.beginPath();
    context.arc(shift, 9.5, 4.6, 0.18 * Math.PI, 0.82 * Math.PI);
    context.stroke();
  }
  context.restore();
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {Look} look
 * @param {number} side
 * @param {number} front
 */
function drawEars(context, look, side, front) {
  const showsInner = front > -0.3;
  for (const ear of [-1, 1]) {
    context.save();
    context.translate(ear * 21 - side * 5, -20);
    context.rotate(ear * 0.42);
    context.fillStyle = ear < 0 ? look.hood : look.shade;
    if (look.ears === 'fox' || look.ears === 'cat') {
      const tall = look.ears === 'fox' ? 26 : 22;
      triangle(context, 14, tall, 6);
      context.fillStyle = look.ears === 'fox' ? '#5a2a1c' : look.inner;
      if (showsInner) triangle(context, 7.5, tall * 0.62, 4);
      if (look.ears === 'fox' && !showsInner) triangle(context, 5, 6, -16);
    } else if (look.ears === 'bear' || look.ears === 'panda') {
      if (look.ears === 'panda') context.fillStyle = '#51466b';
      disc(context, 0, -2, 13);
      context.fillStyle = look.ears === 'panda' ? '#2a2433' : look.inner;
      if (showsInner) disc(context, 0, -1, 7.5);
    } else if (look.ears === 'bunny') {
      context.rotate(ear * -0.2);
      oval(context, 0, -20, 9.5, 27);
      context.fillStyle = '#ff86b4';
      if (showsInner) oval(context, 0, -18, 4.6, 19);
    } else if (look.ears === 'frog') {
      disc(context, -ear * 2, 0, 13);
      if (showsInner) {
        context.fillStyle = '#fffdf2';
        disc(context, -ear * 2 + side * 3, 0, 9);
        context.fillStyle = '#22301c';
        disc(context, -ear * 2 + side * 5, 0, 4.6);
      }
    } else if (look.ears === 'owl') {
      context.rotate(ear * 0.25);
      triangle(context, 11, 18, 8);
      context.fillStyle = '#ffc861';
      if (showsInner) triangle(context, 4.5, 9, 3);
    } else {
      context.rotate(ear * -0.42);
      context.fillStyle = '#c9d3ee';
      context.fillRect(ear > 0 ? 5 : -13, 10, 8, 20);
      if (ear > 0) {
        context.strokeStyle = '#c9d3ee';
        context.lineWidth = 3.5;
        line(context, -21 + side * 5, -8, -21 + side * 5, -24);
        context.fillStyle = '#ff6f7d';
        disc(context, -21 + side * 5, -27, 6);
      }
    }
    context.restore();
  }
}

/** @param {CanvasRenderingContext2D} context @param {number} x0 @param {number} y0 @param {number} x1 @param {number} y1 */
function line(context, x0, y0, x1, y1) {
  context.beginPath();
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
  context.stroke();
}

/** @param {CanvasRenderingContext2D} context @param {number} half @param {number} tall @param {number} base */
function triangle(context, half, tall, base) {
  context.beginPath();
  context.moveTo(-half, base);
  context.quadraticCurveTo(-half * 0.6, -tall * 0.5, -1.5, -tall);
  context.quadraticCurveTo(0, -tall - 2, 1.5, -tall);
  context.quadraticCurveTo(half * 0.6, -tall * 0.5, half, base);
  context.closePath();
  context.fill();
}

/** @param {CanvasRenderingContext2D} context @param {number} x @param {number} y @param {number} radius */
function disc(context, x, y, radius) {
  oval(context, x, y, radius, radius);
}

/** @param {CanvasRenderingContext2D} context @param {number} x @param {number} y @param {number} rx @param {number} ry */
function oval(context, x, y, rx, ry) {
  context.beginPath();
  context.ellipse(x, y, rx, ry, 0, 0, Math.PI * 2);
  context.fill();
}

/** @param {string} colour `#rrggbb` */
function lighten(colour) {
  const value = Number.parseInt(colour.slice(1), 16);
  const channel = (/** @type {number} */ shift) => Math.min(255, ((value >> shift) & 255) + 34);
  return `rgb(${channel(16)},${channel(8)},${channel(0)})`;
}

/**
 * A portrait for lists and the entry dialog.
 * @param {HTMLCanvasElement} canvas
 * @param {string} avatarId
 * @param {number} size CSS pixels
 * @param {boolean} [isHeadOnly]
 */
export function drawPortrait(canvas, avatarId, size, isHeadOnly = false) {
  const sharp = Math.max(2, window.devicePixelRatio || 1);
  canvas.width = canvas.height = size * sharp;
  canvas.style.width = canvas.style.height = `${size}px`;
  const context = canvas.getContext('2d');
  if (!context) return;
  const scale = (size * sharp) / (isHeadOnly ? 100 : 186);
  context.setTransform(scale, 0, 0, scale, canvas.width / 2, (isHeadOnly ? 158 : 174) * scale);
  drawAvatar(context, lookOf(avatarId), { rotY: 0.18, anim: 'idle', speaking: false, timeS: 0, phase: 0.5, isStill: true });
}
