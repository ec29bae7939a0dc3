import type { ApiDocument, Schema } from './document.ts';
import type { Json, JsonRecord } from './json.ts';

/** A field of a form, made from a member of a schema. */
export interface FormField {
  readonly name: string;
  /** control that enters it; `json`: a text area for lists, and for objects without members */
  readonly kind: 'flag' | 'choice' | 'number' | 'text' | 'group' | 'json';
  readonly schema: Schema;
  readonly isRequired: boolean;
  /** fields of a group */
  readonly fields: readonly FormField[];
}

/** Deepest nesting of groups; anything below is entered as JSON. */
const DEPTH_MAX = 6;

/** Returns the fields of an object's schema, the required ones first. */
export function fieldsOf(document: ApiDocument, schema: Json, depth = 0): FormField[] {
  const { properties, required } = document.read(schema);
  const fields = Object.entries(properties).map(([name, member]): FormField => {
    const read = document.read(member);
    const kind = kindOf(read, depth);
    const nested = kind === 'group' ? fieldsOf(document, member, depth + 1) : [];
    return { name, kind, schema: read, isRequired: required.includes(name), fields: nested };
  });
  return [
    ...fields.filter(({ isRequired }) => isRequired),
    ...fields.filter(({ isRequired }) => !isRequired),
  ];
}

function kindOf({ type, enum: words, properties }: Schema, depth: number): FormField['kind'] {
  if (words.length > 0) return 'choice';
  if (type === 'boolean') return 'flag';
  if (type === 'integer' || type === 'number') return 'number';
  if (type === 'string') return 'text';
  const isGroup = type === 'object' && Object.keys(properties).length > 0 && depth < DEPTH_MAX;
  return isGroup ? 'group' : 'json';
}

/** Entered texts by the path of their field, e.g. `rate_limiter_config.ops.size`. */
export type Entered = ReadonlyMap<string, string>;

/** Path of a field in {@link Entered}. */
export function pathOf(parent: string, name: string): string {
  return parent === '' ? name : `${parent}.${name}`;
}

/** Returns true if a field of the group at a path has a text. A group without one is left out, with its required fields. */
export function isEntered(entered: Entered, group: string): boolean {
  return [...entered].some(([path, text]) => text !== '' && path.startsWith(`${group}.`));
}

/**
 * Returns the body of a request. Empty fields are left out, and groups without a filled field.
 * @throws Error that names the field, for a number or JSON that cannot be read
 */
export function bodyOf(fields: readonly FormField[], entered: Entered, parent = ''): JsonRecord {
  const members = fields.flatMap((field): [string, Json][] => {
    const path = pathOf(parent, field.name);
    if (field.kind === 'group') {
      const group = bodyOf(field.fields, entered, path);
      return Object.keys(group).length > 0 ? [[field.name, group]] : [];
    }
    const text = entered.get(path) ?? '';
    return text === '' ? [] : [[field.name, valueOf(field, text, path)]];
  });
  return Object.fromEntries(members);
}

function valueOf({ kind }: FormField, text: string, path: string): Json {
  if (kind === 'flag') return text === 'true';
  if (kind === 'number') return numberOf(text, path);
  if (kind !== 'json') return text;
  try {
    const value: Json = JSON.parse(text);
    return value;
  } catch (error) {
    throw new Error(`${path}: expected JSON`, { cause: error });
  }
}

const FACTORS: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };

/** Reads a whole number, with a suffix K, M or G as on the command line. */
function numberOf(text: string, path: string): number {
  const [, digits, suffix = ''] = /^\s*(\d+)\s*([KMG]?)\s*$/i.exec(text) ?? [];
  const value = Number(digits) * (FACTORS[suffix.toUpperCase()] ?? 1);
  if (digits !== undefined && Number.isSafeInteger(value)) return value;
  throw new Error(`${path}: expected a whole number, with K, M or G for sizes`);
}
