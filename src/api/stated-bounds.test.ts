// The document of everything states bounds: a request is held to each of them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeVmConfig } from '../config/decode-vm-config.ts';
import { VmConfig } from '../config/vm-config.ts';
import { decode } from '../schema/decode.ts';
import type { DocumentFragment, Field, Struct } from '../schema/field.ts';
import { openApiDocument } from './openapi.ts';
import { RestoreConfig, VmRemoveDevice, VmResize, VmResizeDisk, VmResizeZone } from './requests.ts';

const SAMPLES = [
  'a',
  'opt/a',
  'r',
  '02:00:00:00:00:01',
  '255.255.255.0',
  '01234567-89ab-cdef-0123-456789abcdef',
];
/** Each is against some pattern. */
const STRANGE = ['a\0', 'é \u{1f4a5}', 'a b', 'a/b%d', '01:00:00:00:00:01', '256.0.0.1', '12345678', 'wx'];

const isNumber = (value: unknown): value is number => typeof value === 'number';

/** A value within the bounds. */
function sampleOf({ everything, nested }: Field): unknown {
  const { type, enum: words, pattern, minimum, maxItems } = everything;
  if (nested !== undefined) return maxItems === undefined ? sampleStruct(nested) : [sampleStruct(nested)];
  // a console that is off has no other members
  if (Array.isArray(words)) return words.find((word) => word !== 'Off');
  if (type === 'string') return SAMPLES.find((text) => new RegExp(String(pattern)).test(text));
  if (type === 'integer') return isNumber(minimum) ? minimum : 0;
  if (type === 'boolean') return false;
  return type === 'array' ? [] : {};
}

function sampleStruct({ fields }: Struct): Record<string, unknown> {
  const needed = Object.entries(fields).filter(([, { required }]) => required);
  return Object.fromEntries(needed.map(([name, field]) => [name, sampleOf(field)]));
}

/** Values that are each beyond one bound of a fragment. */
function beyondBounds(fragment: DocumentFragment): unknown[] {
  const { minimum, maximum, multipleOf, minLength, maxLength, pattern, maxItems, items } = fragment;
  const item = isFragment(items) ? (items['type'] === 'integer' ? items['minimum'] : 'a') : {};
  return [
    ...(isNumber(minimum) ? [minimum - 1] : []),
    ...(isNumber(maximum) ? [maximum + 1] : []),
    ...(isNumber(multipleOf) ? [multipleOf + 1] : []),
    ...(minLength === 1 ? [''] : []),
    ...(isNumber(maxLength) ? ['a'.repeat(maxLength + 1)] : []),
    ...(typeof pattern === 'string' ? STRANGE.filter((text) => !new RegExp(pattern).test(text)) : []),
    ...(isNumber(maxItems) ? [Array.from({ length: maxItems + 1 }, () => item)] : []),
    ...(isFragment(items) ? beyondBounds(items).map((one) => [one]) : []),
  ];
}

function isFragment(value: unknown): value is DocumentFragment {
  return typeof value === 'object' && value !== null;
}

/** Builds a request around a member's value. */
type Around = (value: unknown) => unknown;

interface Probe {
  readonly place: string;
  readonly good: unknown;
  readonly bad: unknown;
}

/** A request for each bound of each member, however deep, and the same request within it. */
function probesOf(struct: Struct, around: Around, at: string): Probe[] {
  return Object.entries(struct.fields).flatMap(([name, field]): Probe[] => {
    const place = `${at}.${name}`;
    // refused whatever it says; and a serial port, which has the struct of the console, is not on the bus
    if (field.later || place === 'VmConfig.serial.pci_device_id') return [];
    const here: Around = (value) => around({ ...sampleStruct(struct), [name]: value });
    const good = here(sampleOf(field));
    const own = beyondBounds(field.everything).map((bad) => ({ place, good, bad: here(bad) }));
    if (field.nested === undefined) return own;
    const inList = field.everything['type'] === 'array';
    return [...own, ...probesOf(field.nested, (value) => here(inList ? [value] : value), place)];
  });
}

/** Returns the error of a request; undefined if it is accepted. */
function complaint(read: (json: unknown) => unknown, json: unknown): string | undefined {
  try {
    read(json);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function assertHeld(read: (json: unknown) => unknown, probes: readonly Probe[]): void {
  for (const { place, good, bad } of probes) {
    const said = complaint(read, bad);
    const shown = JSON.stringify(bad).slice(0, 300);
    assert.notEqual(said, undefined, `${place}: taken: ${shown}`);
    assert.notEqual(said, complaint(read, good), `${place}: refused for another reason: ${said}: ${shown}`);
  }
}

test('a configuration is held to each bound that the document states', () => {
  const around: Around = (value) => {
    const config = { kernel: { path: '/k' }, ...(value as Record<string, unknown>) };
    const { payload } = config as { payload?: Record<string, unknown> };
    return payload === undefined || 'firmware' in payload
      ? config
      : { ...config, payload: { kernel: '/k', ...payload } };
  };
  const probes = probesOf(VmConfig, around, 'VmConfig');
  assert.ok(probes.length > 300, `${probes.length} bounds`);
  assertHeld((json) => decodeVmConfig(json), probes);
});

for (const struct of [RestoreConfig, VmRemoveDevice, VmResize, VmResizeDisk, VmResizeZone]) {
  test(`${struct.name} is held to each bound that the document states`, () => {
    // the code that opens the URL reports an error in it
    const probes = probesOf(struct, (value) => value, struct.name).filter(
      ({ place }) => !place.endsWith('_url'),
    );
    assertHeld((json) => decode(struct, json), probes);
  });
}

/** Each fragment of a document with its place. */
function fragments(value: unknown, place: string): [string, DocumentFragment][] {
  if (!isFragment(value)) return [];
  const inner = Object.entries(value).flatMap(([key, one]) => fragments(one, `${place}.${key}`));
  return 'type' in value && typeof value['type'] === 'string' ? [[place, value], ...inner] : inner;
}

const all = fragments(openApiDocument('everything').components.schemas, '');

test('numbers have both bounds, lists a length, and texts a pattern or words', () => {
  for (const [place, { type, minimum, maximum, maxItems, pattern, enum: words, maxLength }] of all) {
    if (type === 'integer') assert.ok(isNumber(minimum) && isNumber(maximum), place);
    if (type === 'array') assert.ok(isNumber(maxItems), place);
    if (type === 'string') assert.ok(Array.isArray(words) || typeof pattern === 'string', place);
    if (type === 'string' && maxLength === undefined) {
      assert.ok(Array.isArray(words) || !/[*+]/.test(String(pattern)), `${place}: as long as one likes`);
    }
  }
});

test('a default is of the type of its member, and within its bounds', () => {
  const types = { integer: 'number', string: 'string', boolean: 'boolean' };
  let count = 0;
  for (const [place, fragment] of all) {
    const { type, enum: words, pattern = '', minimum = 0, maximum = 0 } = fragment;
    const value = fragment['default'];
    if (value === undefined) continue;
    count += 1;
    assert.equal(typeof value, new Map(Object.entries(types)).get(String(type)), place);
    if (Array.isArray(words)) assert.ok(words.includes(value), place);
    if (typeof value === 'string') assert.match(value, new RegExp(String(pattern)), place);
    if (isNumber(value)) assert.ok(value >= Number(minimum) && value <= Number(maximum), place);
  }
  assert.ok(count > 50, `${count} defaults`);
});
