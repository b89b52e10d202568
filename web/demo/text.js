// @ts-check
/** Names and lines come from strangers: these helpers keep them within their place. They are only ever set as text. */

/** Controls, and marks that would turn the direction of text outside their own line. */
const INVISIBLE = /[\u0000-\u001f\u007f-\u009f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/gu;

const graphemes = typeof Intl.Segmenter === 'function' ? new Intl.Segmenter(undefined, { granularity: 'grapheme' }) : null;

/** @param {string} text @returns {string[]} what a reader would call characters */
export function split(text) {
  return graphemes ? Array.from(graphemes.segment(text), ({ segment }) => segment) : [...text];
}

/**
 * A name fit to show.
 * @param {unknown} name
 * @param {number} [max] graphemes
 */
export function cleanName(name, max = 24) {
  const letters = split(String(name ?? '').replace(INVISIBLE, '').trim());
  if (letters.length === 0) return 'Guest';
  // A pile of combining marks is one character to count but a tower on the screen.
  const flat = letters.map((letter) => [...letter].slice(0, 12).join(''));
  return flat.length > max ? `${flat.slice(0, max - 1).join('')}…` : flat.join('');
}

/** @param {unknown} text */
export function cleanLine(text) {
  return String(text ?? '').replace(INVISIBLE, ' ');
}

/**
 * Break a line for a bubble.
 * @param {CanvasRenderingContext2D} context with its font set
 * @param {string} text
 * @param {number} widthMax
 * @param {number} linesMax
 * @returns {string[]}
 */
export function wrap(context, text, widthMax, linesMax) {
  const lines = [];
  let line = '';
  for (const word of cleanLine(text).split(/\s+/).filter(Boolean)) {
    for (const piece of fitting(context, word, widthMax)) {
      const joined = line && piece.startsWith(word[0]) ? `${line} ${piece}` : line + piece;
      if (line && context.measureText(joined).width > widthMax) {
        lines.push(line);
        line = piece;
      } else {
        line = joined;
      }
    }
  }
  if (line) lines.push(line);
  if (lines.length <= linesMax) return lines;
  const kept = lines.slice(0, linesMax);
  kept[linesMax - 1] = shorten(context, `${kept[linesMax - 1]}…`, widthMax);
  return kept;
}

/** @param {CanvasRenderingContext2D} context @param {string} word @param {number} widthMax @returns {string[]} */
function fitting(context, word, widthMax) {
  if (context.measureText(word).width <= widthMax) return [word];
  const pieces = [''];
  for (const letter of split(word)) {
    const grown = pieces[pieces.length - 1] + letter;
    if (context.measureText(grown).width > widthMax) pieces.push(letter);
    else pieces[pieces.length - 1] = grown;
  }
  return pieces;
}

/** @param {CanvasRenderingContext2D} context @param {string} text @param {number} widthMax */
export function shorten(context, text, widthMax) {
  if (context.measureText(text).width <= widthMax) return text;
  const letters = split(text.replace(/…$/u, ''));
  while (letters.length > 1 && context.measureText(`${letters.join('')}…`).width > widthMax) letters.pop();
  return `${letters.join('').trimEnd()}…`;
}
