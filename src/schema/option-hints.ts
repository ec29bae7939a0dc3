import { nearest } from '../util/nearest.ts';
import type { Field, Struct } from './field.ts';

/** Every key of a struct on the command line, and whether it takes a value. */
export function keysOf({ fields, wordsIgnored }: Struct): Map<string, boolean> {
  const keys = new Map<string, boolean>(wordsIgnored.map((key) => [key, true]));
  for (const [name, field] of Object.entries(fields)) {
    for (const key of keysOfMember(name, field)) keys.set(key, true);
    for (const key of field.form?.flags ?? []) keys.set(key, false);
  }
  return keys;
}

function keysOfMember(name: string, field: Field): readonly string[] {
  return field.form?.keys ?? (field.read === undefined ? [] : [field.word ?? name]);
}

/** Returns the hint for a key that a struct does not have: the key that was probably intended, or all keys. */
export function unknownWordHint(struct: Struct, key: string, values: readonly string[]): string {
  if (key === '') return 'there is a comma or an equals sign too many';
  const shown = shownKeys(struct);
  const value = values.length === 0 ? undefined : values.join('=');
  const intended = suggestKey(struct, key, shown);
  const word = intended === undefined ? undefined : withValue(struct, intended, value);
  const pair = value === undefined ? pairForValue(struct, key) : undefined;
  // `tap0` is more likely a name than a mistyped `tap`
  const guess = LIKE_A_VALUE.test(key) ? (pair ?? word) : (word ?? pair);
  return guess === undefined ? `expected ${shown.join(', ')}` : `did you mean ${guess}?`;
}

/**
 * Returns a hint for a path that ends at its first comma, `path=/a,b`. A word without a value is more likely the rest of the path before
 * it, unless it is similar to a key.
 */
export function cutPathHint(
  struct: Struct,
  given: ReadonlyMap<string, string>,
  [rest = '', value]: readonly string[],
): string | undefined {
  const [key, path] = [...given].at(-1) ?? ['', ''];
  if (!path.includes('/') || rest === '' || value !== undefined) return undefined;
  if (suggestKey(struct, rest, shownKeys(struct)) !== undefined) return undefined;
  return path.startsWith('"')
    ? `the value of ${key} has no closing double quote`
    : `a value with a comma is written in double quotes: ${key}="${path},${rest}"`;
}

const LIKE_A_VALUE = /[\d./:]/;

/** Returns the keys for help and hints, without those that begin with an underscore: they are for tests of Cloud Hypervisor. */
function shownKeys(struct: Struct): string[] {
  return [...keysOf({ ...struct, wordsIgnored: [] }).keys()].filter((key) => !key.startsWith('_'));
}

function suggestKey({ keyHints }: Struct, key: string, shown: readonly string[]): string | undefined {
  const word = key.trim().toLowerCase();
  return Object.hasOwn(keyHints, word) ? keyHints[word] : nearest(word, shown);
}

/** Returns a key with the user's value, e.g. `path=/x`, or with the syntax of its value. */
function withValue(struct: Struct, key: string, value: string | undefined): string {
  if (key.includes('=') || keysOf(struct).get(key) === false) return key;
  return `${key}=${value ?? syntaxOfKey(struct, key)}`;
}

/** Returns the syntax of the value of a key. */
export function syntaxOfKey({ fields }: Struct, key: string): string {
  const entry = Object.entries(fields).find(([name, field]) => (field.word ?? name) === key);
  return entry?.[1].syntax || '<value>';
}

/** Returns a key with a text as its value: `boot=2` for `2`, `path=a.raw` for `a.raw`. It is the first key that accepts the text. */
function pairForValue({ fields }: Struct, text: string): string | undefined {
  const isPath = text.includes('/');
  const entries = Object.entries(fields).toSorted(
    ([, a], [, b]) => Number(isPath && b.syntax === '<path>') - Number(isPath && a.syntax === '<path>'),
  );
  for (const [name, field] of entries) {
    const value = suggestValue(name, field, text);
    if (value !== undefined) return `${keysOfMember(name, field)[0] ?? name}=${value}`;
  }
  return undefined;
}

/** Returns a text in the form that a member accepts; undefined if there is none. */
function suggestValue(name: string, field: Field, text: string): string | undefined {
  // a console's path has a form of its own
  if (field.form !== undefined) return name === 'file' && text.includes('/') ? text : undefined;
  // a switch alone or an id alone describes no device
  if (field.read === undefined || field.syntax === 'on|off' || name === 'id') return undefined;
  try {
    field.read(text);
    return text;
  } catch (error) {
    return /did you mean (\S+)\?$/.exec(error instanceof Error ? error.message : '')?.[1];
  }
}
