import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaulted, formed, optional, struct, unworded, wordDefaulted, worded } from './field.ts';
import { choice, flag, path, readToggle, size, text, uint } from './kinds.ts';
import { parseWords, syntaxOf, OptionStringError } from './option-string.ts';

const Boat = struct({
  name: 'Boat',
  doc: 'A boat',
  wordsFirst: ['harbour'],
  wordsIgnored: ['colour'],
  fields: {
    path: path('Way'),
    load: defaulted(size('Load in `bytes`'), 512 * 2 ** 20),
    open: defaulted(flag('Whether it is open'), false),
    seats: wordDefaulted(uint('Seats', { bits: 8 }), () => 2),
    oars: wordDefaulted(uint('Oars', { bits: 8 }), (members) => members['seats']),
    harbour: text('Home'),
    sail: worded('canvas', defaulted(choice('Sail', ['Main', 'Jib']), 'Main')),
    hidden: worded('_hidden', optional(flag('For tests'))),
    crew: unworded(optional(text('Names'))),
    motor: formed(
      {
        keys: ['hp'],
        flags: ['none'],
        syntax: 'none|hp=<number>',
        read: (words) => (words.has('none') ? 0 : words.convert('hp', Number)),
      },
      optional(uint('Power', { bits: 8 })),
    ),
  },
});

const json = (words: string): unknown => parseWords(Boat, words).json;
const fault = (words: string): string => {
  try {
    parseWords(Boat, words);
  } catch (error) {
    assert.ok(error instanceof OptionStringError);
    return error.message;
  }
  throw new Error(`was accepted: ${words}`);
};

const NEEDED = 'path=/x,harbour=h';
const LEAST = { path: '/x', harbour: 'h', seats: 2, oars: 2 };

test('keys and values make JSON; what is not given is left to the JSON defaults', () => {
  assert.deepEqual(json(NEEDED), LEAST);
  assert.deepEqual(json(`${NEEDED},load=1G,open=ON,seats=4,canvas=jib`), {
    ...LEAST,
    load: 2 ** 30,
    open: true,
    seats: 4,
    oars: 4,
    sail: 'Jib',
  });
});

test('white space around the text and around values is dropped, around keys it is not', () => {
  assert.deepEqual(json(`  path= /x ,harbour=h `), LEAST);
  assert.equal(fault(`${NEEDED}, open=on`), 'unknown option:  open');
});

test('an empty value counts as not given, and of a repeated key the last value applies', () => {
  assert.deepEqual(json(`${NEEDED},load=,open=,seats=`), LEAST);
  assert.deepEqual(json(`path=/a,path=/x,harbour=h`), LEAST);
});

test('unknown keys are named', () => {
  assert.equal(fault('foo'), 'unknown option: foo');
  assert.equal(fault('foo=1'), 'unknown option: foo');
  assert.equal(fault(`${NEEDED},`), 'unknown option: ');
  assert.equal(fault('Path=/x'), 'unknown option: Path');
  assert.equal(fault('crew=me'), 'unknown option: crew');
  assert.equal(fault('sail=jib'), 'unknown option: sail');
  assert.equal(fault('constructor=1'), 'unknown option: constructor');
});

test('a key needs one equals sign, unless it takes no value', () => {
  assert.equal(fault('path'), 'invalid syntax:path');
  assert.equal(fault('path=a=b'), 'invalid syntax:path=a=b');
  assert.deepEqual(json(`${NEEDED},none`), { ...LEAST, motor: 0 });
  assert.deepEqual(json(`${NEEDED},none=1=2`), { ...LEAST, motor: 0 });
});

test('an invalid value is reported with its key', () => {
  assert.equal(fault(`${NEEDED},load=1T`), 'unable to parse 1T for load');
  assert.equal(fault(`${NEEDED},open=yes`), 'unable to parse yes for open');
  assert.equal(fault(`${NEEDED},seats=256`), 'unable to parse 256 for seats');
  assert.equal(fault(`${NEEDED},canvas=spanker`), 'unable to parse spanker for canvas');
});

test('keys are looked at before values, values in the order of the members', () => {
  assert.equal(fault('open=1,load=1T,foo=1'), 'unknown option: foo');
  assert.equal(fault(`${NEEDED},open=1,load=1T`), 'unable to parse 1T for load');
});

test('a missing member is named; some are looked at first', () => {
  assert.equal(fault(''), 'harbour missing');
  assert.equal(fault('harbour=h'), 'path missing');
  assert.equal(fault('harbour=h,path=,load=1T'), 'path missing');
});

test('ignored keys are taken and forgotten', () => {
  assert.deepEqual(json(`${NEEDED},colour=red`), LEAST);
});

test('a value in double quotes may hold commas, equals signs and white space', () => {
  assert.deepEqual(json('path=" /a,b=c",harbour="h"'), { ...LEAST, path: ' /a,b=c' });
  assert.deepEqual(json('path="",harbour=h,path=/x'), LEAST);
  // other quotes are ordinary characters, as in Cloud Hypervisor
  assert.deepEqual(json('path=/a"b",harbour=h'), { ...LEAST, path: '/a"b"' });
  assert.deepEqual(json('path="/a"b,harbour=h'), { ...LEAST, path: '"/a"b' });
  assert.equal(fault('path="/a,b'), 'unknown option: b');
});

test('help shows keys with their values, and the defaults', () => {
  assert.equal(
    syntaxOf(Boat),
    'path=<path>,load=<size>,open=on|off,seats=<number>,oars=<number>,harbour=<text>,canvas=main|jib,' +
      'none|hp=<number> (default: load=512M,open=off,seats=2,canvas=main)',
  );
});

test('a form can look at other keys and warn', () => {
  const Lamp = struct({
    name: 'Lamp',
    doc: 'A lamp',
    fields: {
      on: defaulted(flag('Lit'), false),
      colour: formed(
        {
          keys: ['colour'],
          syntax: 'colour=<text>',
          read: (words) => {
            if (words.convert('on', readToggle) !== true) words.warn('it is dark');
            return words.text('colour');
          },
        },
        optional(text('Colour')),
      ),
    },
  });
  assert.deepEqual(parseWords(Lamp, 'colour=red'), { json: { colour: 'red' }, warnings: ['it is dark'] });
  assert.deepEqual(parseWords(Lamp, 'colour=red,on=on').warnings, []);
});
