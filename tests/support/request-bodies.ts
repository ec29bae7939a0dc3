import * as fc from 'fast-check';
import type { Arbitrary } from 'fast-check';
import type { Field, Struct } from '../../src/schema/field.ts';

/** Texts of requests: few names and paths, so that requests refer to each other's devices. */
export interface Pool {
  readonly names: readonly string[];
  readonly paths: readonly string[];
}

/** A request body and its kind. */
export interface Body {
  readonly kind: 'valid' | 'nearly valid' | 'hostile';
  readonly text: string;
}

const SIZES = [0, 1, 4096, 2 ** 20, 128 * 2 ** 20, 2 ** 30, 2 ** 31, 2 ** 32, 2 ** 40, 2 ** 53 - 1];

/** Values that no member accepts. */
const anything = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    '',
    -1,
    0.5,
    1e308,
    2 ** 53,
    true,
    [],
    {},
    '\u{1f4a5}',
    '../..',
    '${x}',
    'a,b=c',
  ),
  fc.jsonValue({ maxDepth: 3 }),
);

/** Bodies for a struct: a third right by its schema, a third with an invalid member, a third any JSON. */
export function bodiesFor(struct: Struct, pool: Pool): Arbitrary<Body> {
  const valid = valuesOf(struct, pool);
  const broken = fc
    .tuple(valid, fc.constantFrom(...Object.keys(struct.fields)), anything)
    .map(([body, member, value]) => ({ ...body, [member]: value }));
  const bytes = fc.oneof(
    anything.map((value) => JSON.stringify(value)),
    fc.string({ unit: 'binary', maxLength: 200 }),
    valid.map((body) => JSON.stringify(body).slice(0, -1)),
    fc.constant('['.repeat(10_000)),
  );
  return fc.oneof(
    valid.map((body): Body => ({ kind: 'valid', text: JSON.stringify(body) })),
    broken.map((body): Body => ({ kind: 'nearly valid', text: JSON.stringify(body) })),
    bytes.map((text): Body => ({ kind: 'hostile', text })),
  );
}

type Json = Readonly<Record<string, unknown>>;

/** Leaves out most optional members: with all of them every request would be refused. */
function valuesOf(struct: Struct, pool: Pool): Arbitrary<Json> {
  const members = Object.entries(struct.fields).map(([name, field]): [string, Arbitrary<unknown>] => {
    const value = valueOf(name, field, pool);
    if (field.required) return [name, value];
    const absent = { weight: 6, arbitrary: fc.constant(undefined) };
    return [name, fc.oneof(absent, { weight: 1, arbitrary: value })];
  });
  return fc.record(Object.fromEntries(members));
}

function valueOf(name: string, field: Field, pool: Pool): Arbitrary<unknown> {
  const { nested, document } = field;
  const one = nested === undefined ? scalarOf(name, document, pool) : valuesOf(nested, pool);
  return document['type'] === 'array' ? fc.array(one, { maxLength: 3 }) : one;
}

function scalarOf(name: string, document: Json, pool: Pool): Arbitrary<unknown> {
  const { type, enum: words, items } = document;
  if (Array.isArray(words)) return fc.constantFrom<unknown>(...words);
  if (type === 'array' && isJson(items)) return scalarOf(name, items, pool);
  if (type === 'boolean') return fc.boolean();
  if (type === 'integer') return fc.oneof(fc.nat({ max: 64 }), fc.constantFrom(...SIZES));
  if (type === 'object') return fc.dictionary(fc.constantFrom(...pool.names), fc.nat());
  return textOf(name, pool);
}

function textOf(name: string, { names, paths }: Pool): Arbitrary<unknown> {
  // the VMM waits a minute for a back-end: other tests have its path
  if (name === 'vhost_socket' || name === 'socket') return fc.constantFrom(...paths).map((path) => [path]);
  if (name.endsWith('mac'))
    return fc.constantFrom('52:54:00:12:34:56', '01:00:5e:00:00:01', 'ff:ff:ff:ff:ff:ff', 'x');
  if (/^(ip|mask)$/.test(name)) return fc.constantFrom('192.168.77.1', '255.255.255.0', '0.0.0.0', '1.2.3');
  if (name.endsWith('url')) return fc.constantFrom(...paths).map((path) => `file://${path}`);
  if (/^(id|tap|tag)$/.test(name)) return fc.oneof(fc.constantFrom(...names), fc.string({ maxLength: 40 }));
  return fc.oneof(fc.constantFrom(...paths), fc.string({ unit: 'grapheme', maxLength: 120 }));
}

function isJson(value: unknown): value is Json {
  return typeof value === 'object' && value !== null;
}
