// @ts-check
/**
 * The six emotes as small drawings, used on the buttons (SVG) and over the heads (canvas).
 * Drawn rather than typed as emoji, so that they look the same on every system, also without an emoji font.
 *
 * @typedef {{d: string, fill?: string, stroke?: string, width?: number}} Shape a path in a box of 24 by 24
 */

/** @type {{id: string, label: string, shapes: Shape[]}[]} in the order of the keys 1 to 6 */
export const EMOTES = [
  {
    id: 'cheers',
    label: 'Cheers',
    shapes: [
      { d: 'M12 14.5V21M8 21.4h8', stroke: '#cfe9ff', width: 1.7 },
      { d: 'M3.6 5h16.8L12 15.4z', fill: 'rgba(214,238,255,.35)', stroke: '#e6f4ff', width: 1.4 },
      { d: 'M6.1 8h11.8L12 15z', fill: '#ff6fae' },
      { d: 'M15.5 9.5 20 2.4', stroke: '#ffd98a', width: 1.3 },
      { d: 'M9.4 6.4a2 2 0 1 1 4 0 2 2 0 0 1-4 0z', fill: '#9bd36a' },
    ],
  },
  {
    id: 'laugh',
    label: 'Laugh',
    shapes: [
      { d: 'M2 12a10 10 0 1 1 20 0 10 10 0 0 1-20 0z', fill: '#ffcf4d' },
      { d: 'M6.3 13.2h11.4c0 3.6-2.5 6-5.7 6s-5.7-2.4-5.7-6z', fill: '#7a2b2b' },
      { d: 'M8.2 17.4c1-1 2.3-1.4 3.8-1.4s2.8.4 3.8 1.4c-1 1.1-2.3 1.8-3.8 1.8s-2.8-.7-3.8-1.8z', fill: '#ff7d8d' },
      { d: 'M5.8 10.4c.6-1.7 2.9-1.7 3.5 0M14.7 10.4c.6-1.7 2.9-1.7 3.5 0', stroke: '#5b2a12', width: 1.6 },
      { d: 'M3.7 13.2c-1 1.3-1.5 2-.7 2.7.9.7 1.9-.6.7-2.7zM20.3 13.2c1 1.3 1.5 2 .7 2.7-.9.7-1.9-.6-.7-2.7z', fill: '#6fd0ff' },
    ],
  },
  {
    id: 'heart',
    label: 'Heart',
    shapes: [
      { d: 'M12 21S2.6 15.4 2.6 8.9C2.6 5.7 5 3.6 7.6 3.6c1.9 0 3.5 1 4.4 2.7.9-1.7 2.5-2.7 4.4-2.7 2.6 0 5 2.1 5 5.3C21.4 15.4 12 21 12 21z', fill: '#ff4f7b' },
      { d: 'M5.3 8.9c0-1.5 1-2.7 2.4-2.7', stroke: '#ffc1d1', width: 1.7 },
    ],
  },
  {
    id: 'clap',
    label: 'Clap',
    shapes: [
      { d: 'M9 2.2v2.6M13 1.6l-.6 2.6M5.2 3.6l1.4 2.2', stroke: '#ffe08a', width: 1.5 },
      { d: 'M7.2 20.3 3.5 13.7c-.8-1.5 1.3-2.7 2.2-1.2l1 1.7L4.4 9.7c-.9-1.6 1.4-2.9 2.3-1.3l2.5 4.2-2-3.7c-.9-1.6 1.4-2.9 2.3-1.3l3.7 6.3c1.8 3.1 1.6 5.8-.4 7-2 1.2-4.4 1.2-5.6-.6z', fill: '#f2b277', stroke: '#a8683a', width: .7 },
      { d: 'M11.4 21.4c-.5-.4-.8-1-1-1.7l2-9.2c.4-1.8 2.9-1.2 2.6.5l-.6 2.6 1.6-6.5c.4-1.8 3-1.2 2.6.6l-1.3 5.7 1-3.3c.5-1.6 2.8-1 2.4.7l-1.6 6.7c-.9 3.7-2.7 5.6-5 5.4-1-.1-2-.7-2.7-1.5z', fill: '#ffc894', stroke: '#a8683a', width: .7 },
    ],
  },
  {
    id: 'wave',
    label: 'Wave',
    shapes: [
      { d: 'M3 9.2c0-2.7 1.4-4.8 3.6-6M21 15.5c0 2.7-1.4 4.8-3.6 6', stroke: '#8fe3ff', width: 1.6 },
      { d: 'M8.3 20.4 5 13.5c-.8-1.6 1.4-2.7 2.2-1.1l1.2 2.3L6.3 8.3C5.7 6.5 8.1 5.7 8.7 7.5l1.5 4-1.2-6.3c-.3-1.9 2.2-2.4 2.6-.5l1.3 6.3.1-5.5c0-1.9 2.5-1.9 2.5 0l.2 6.7 1.3-3.6c.6-1.7 3-1 2.4.8l-2.1 7.7c-.9 3.3-2.8 5-5.2 5-1.7 0-3-.6-3.8-1.7z', fill: '#ffc894', stroke: '#a8683a', width: .7 },
    ],
  },
  {
    id: 'dance',
    label: 'Dance',
    shapes: [
      { d: 'M9.5 18V5.2l10-2.4v12.7', stroke: '#c79bff', width: 2 },
      { d: 'M9.5 8.6l10-2.4', stroke: '#c79bff', width: 2.6 },
      { d: 'M3.8 18.4a2.9 2.5 0 1 1 5.8 0 2.9 2.5 0 0 1-5.8 0zM13.8 15.9a2.9 2.5 0 1 1 5.8 0 2.9 2.5 0 0 1-5.8 0z', fill: '#a86bff' },
    ],
  },
];

/** What an emote that this page does not know is shown as. */
/** @type {{id: string, label: string, shapes: Shape[]}} */
const UNKNOWN = { id: '', label: '', shapes: [{ d: 'M12 2l2.9 6.5 7 .7-5.3 4.7 1.6 6.9L12 17.2l-6.2 3.6 1.6-6.9L2.1 9.2l7-.7z', fill: '#ffd35c' }] };

/** @param {string} emoteId */
export function emoteOf(emoteId) {
  return EMOTES.find(({ id }) => id === emoteId) ?? UNKNOWN;
}

/** @type {Map<Shape, Path2D>} */
const paths = new Map();

/**
 * @param {CanvasRenderingContext2D} context
 * @param {string} emoteId
 * @param {number} x middle
 * @param {number} y middle
 * @param {number} size
 */
export function drawEmote(context, emoteId, x, y, size) {
  context.save();
  context.translate(x - size / 2, y - size / 2);
  context.scale(size / 24, size / 24);
  context.lineCap = 'round';
  context.lineJoin = 'round';
  for (const shape of emoteOf(emoteId).shapes) {
    let path = paths.get(shape);
    if (!path) paths.set(shape, (path = new Path2D(shape.d)));
    if (shape.fill) {
      context.fillStyle = shape.fill;
      context.fill(path);
    }
    if (shape.stroke) {
      context.strokeStyle = shape.stroke;
      context.lineWidth = shape.width ?? 1;
      context.stroke(path);
    }
  }
  context.restore();
}

/**
 * @param {string} emoteId
 * @returns {SVGSVGElement}
 */
export function emoteIcon(emoteId) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('aria-hidden', 'true');
  for (const { d, fill, stroke, width } of emoteOf(emoteId).shapes) {
    const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
    path.setAttribute('d', d);
    path.setAttribute('fill', fill ?? 'none');
    if (stroke) {
      path.setAttribute('stroke', stroke);
      path.setAttribute('stroke-width', String(width ?? 1));
      path.setAttribute('stroke-linecap', 'round');
      path.setAttribute('stroke-linejoin', 'round');
    }
    svg.append(path);
  }
  return svg;
}
