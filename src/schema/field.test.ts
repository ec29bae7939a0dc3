import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode, DecodeError, unknownMembers } from './decode.ts';
import { defaulted, optional, struct, type InputOf, type ValueOf } from './field.ts';
import { choice, flag, list, nested, path, size, uint } from './kinds.ts';

const Wheel = struct({
  name: 'Wheel',
  doc: 'A wheel',
  fields: { spokes: uint('Number', { bits: 8, min: 1 }) },
});
const Cart = struct({
  name: 'Cart',
  doc: 'A cart',
  fields: {
    path: path('Where it is'),
    load: defaulted(size('Load in `bytes`'), 512),
    open: defaulted(flag('Whether it is open'), false),
    spare: optional(nested(Wheel)),
    wheels: optional(list(nested(Wheel))),
    pull: defaulted(
      choice('Pulled by', ['Ox', 'WaterBuffalo'], { aliases: { 'water-buffalo': 'WaterBuffalo' } }),
      'Ox',
    ),
  },
});

const minimal: InputOf<typeof Cart> = { path: '/x' };
const problems = (json: unknown): readonly string[] => {
  try {
    decode(Cart, json);
  } catch (error) {
    assert.ok(error instanceof DecodeError);
    return error.problems;
  }
  throw new Error('was accepted');
};

test('defaults are filled in and an absent or null optional member reads undefined', () => {
  const value: ValueOf<typeof Cart> = decode(Cart, { ...minimal, spare: null });
  assert.equal(value.load, 512);
  assert.equal(value.open, false);
  assert.equal(value.pull, 'Ox');
  assert.equal(value.spare, undefined);
  assert.equal(value.wheels, undefined);
  assert.equal(JSON.stringify(value), '{"path":"/x","load":512,"open":false,"pull":"Ox"}');
});

test('a member is read under its alias, also beside null; its own name takes precedence', () => {
  const Boat = struct({
    name: 'Boat',
    doc: 'A boat',
    aliases: { paddles: 'oars' },
    fields: { oars: optional(uint('Number', { bits: 8 })) },
  });
  const cases: [object, number | undefined][] = [
    [{ paddles: 2 }, 2],
    [{ oars: null, paddles: 2 }, 2],
    [{ oars: 4, paddles: null }, 4],
    [{ oars: 4, paddles: 2 }, 4],
    [{ oars: null, paddles: null }, undefined],
  ];
  for (const [json, oars] of cases) assert.equal(decode(Boat, json).oars, oars, JSON.stringify(json));
});

test('choices are read in any case and by their aliases, and answered in one spelling', () => {
  assert.equal(decode(Cart, { path: '/x', pull: 'WATERBUFFALO' }).pull, 'WaterBuffalo');
  assert.equal(decode(Cart, { path: '/x', pull: 'water-buffalo' }).pull, 'WaterBuffalo');
});

test('an invalid value is reported with its place, the reason and the value', () => {
  assert.deepEqual(problems({}), ['missing field "path"']);
  assert.deepEqual(problems([]), ['expected an object, got []']);
  assert.deepEqual(problems('x'), ['expected an object, got "x"']);
  assert.deepEqual(problems({ path: '/x', open: null }), ['open: expected true or false, got null']);
  assert.deepEqual(problems({ path: 'a\0b' }), [
    'path: expected a string without NUL characters, got "a\\u0000b"',
  ]);
  assert.deepEqual(problems({ path: '/x', wheels: [{ spokes: 3 }, { spokes: 256 }] }), [
    'wheels[1].spokes: expected a whole number from 1 to 255, got 256',
  ]);
  assert.deepEqual(problems({ path: '/x', wheels: [{}] }), ['missing field "wheels[0].spokes"']);
  assert.deepEqual(problems({ path: '/x', load: 1.5 }), [
    'load: expected a whole number from 0 to 9007199254740991, got 1.5',
  ]);
});

test('unknown members are listed, never an error', () => {
  const json = { path: '/x', colour: 1, wheels: [{ spokes: 3, rim: 2 }] };
  decode(Cart, json);
  assert.deepEqual(unknownMembers(Cart, json), ['colour', 'wheels[0].rim']);
});
