import assert from 'node:assert/strict';
import { test } from 'node:test';

import { cleanLine, cleanName, shorten, wrap } from '../../web/demo/text.js';

/** Ten pixels for each code point. */
const context = { measureText: (text) => ({ width: [...text].length * 10 }) };

test('names: nothing invisible, nothing endless, never empty', () => {
  assert.equal(cleanName('  Ada  '), 'Ada');
  assert.equal(cleanName(''), 'Guest');
  assert.equal(cleanName('\u200b\u202e\u0007'), 'Guest');
  assert.equal(cleanName('a\u202eb\nc'), 'abc');
  assert.equal([...cleanName('x'.repeat(500))].length, 24);
  assert.equal(cleanName('<b>{{x}}</b>'), '<b>{{x}}</b>', 'markup is text like any other');
  assert.equal(cleanName(null), 'Guest');
});

test('names: emoji of several code points are one letter; a tower of marks is cut', () => {
  const family = '\u{1F468}\u200d\u{1F469}\u200d\u{1F467}';
  assert.ok([...cleanName(family)].length >= 3);
  assert.ok(cleanName(`a${'\u0301'.repeat(300)}`).length < 20);
});

test('lines: an override of the direction becomes a blank', () => {
  assert.equal(cleanLine('a\u202eb'), 'a b');
});

test('bubbles: words are wrapped, long words broken, the rest cut off', () => {
  assert.deepEqual(wrap(context, 'one two three', 80, 4), ['one two', 'three']);
  assert.deepEqual(wrap(context, 'abcdefghijkl', 50, 4), ['abcde', 'fghij', 'kl']);
  const lines = wrap(context, 'aaa bbb ccc ddd', 40, 2);
  assert.equal(lines.length, 2);
  assert.ok(lines[1].endsWith('…') && lines[1].length <= 4);
  assert.deepEqual(wrap(context, '   ', 80, 4), []);
});

test('bubbles: no word is glued to another, none is lost', () => {
  const text = 'tattoo aa a bbbbbbbbbbbb b c';
  assert.equal(wrap(context, text, 60, 20).join('').replaceAll(' ', ''), text.replaceAll(' ', ''));
  for (const line of wrap(context, text, 60, 20)) assert.ok(line.length <= 6, line);
  assert.deepEqual(wrap(context, 'aab aba', 200, 3), ['aab aba']);
});

test('a label is shortened to its width', () => {
  assert.equal(shorten(context, 'Ada', 100), 'Ada');
  assert.equal(shorten(context, 'Adalbertina', 60), 'Adalb…');
});
