import type { Field, Struct, Words } from './field.ts';
import { cutPathHint, keysOf, syntaxOfKey, unknownWordHint } from './option-hints.ts';
import { endOfList, endOfQuotes } from './option-lists.ts';
import { formatSize, parseSize } from './size.ts';

interface OptionStringErrorOptions extends ErrorOptions {
  readonly key?: string;
  readonly validation?: boolean;
  readonly hint?: string;
}

/**
 * An option string that does not follow the grammar. The message is the detail alone, e.g. `unknown option: foo`; the caller that
 * knows the flag adds `Error parsing --disk: `.
 */
export class OptionStringError extends Error {
  /** the key whose value could not be read */
  readonly key: string | undefined;
  /** reported as a fault of the configuration, not of the syntax */
  readonly validation: boolean;
  /** expected or intended text, for users; not part of the message, because programs may compare that */
  readonly hint: string | undefined;

  constructor(message: string, options: OptionStringErrorOptions = {}) {
    super(message, options);
    this.name = 'OptionStringError';
    this.key = options.key;
    this.validation = options.validation ?? false;
    this.hint = options.hint;
  }
}

/** The content of an option string. */
export interface ParsedWords {
  /** the struct's JSON; not checked yet, and without defaults */
  readonly json: Readonly<Record<string, unknown>>;
  readonly warnings: readonly string[];
  /** keys of later releases, accepted and ignored */
  readonly ignored?: readonly string[];
}

/**
 * Reads `key=value,key=value` for a struct.
 *
 * As in current versions of Cloud Hypervisor, a list in brackets contains commas: `fd=[3,4]`, `net_fds=[a@[3,4],b@[5]]`. Only in Nephos,
 * a value in double quotes may contain commas and equals signs, `path="/a,b=c"`.
 * @throws OptionStringError
 */
export function parseWords(struct: Struct, text: string): ParsedWords {
  const warnings: string[] = [];
  const values = collect(struct, text);
  const ignored = struct.wordsIgnored.filter((key) => values.has(key));
  for (const key of ignored) warnings.push(`${key} is ignored`);
  const words = lookUp(values, warnings);
  const members: Record<string, unknown> = {};
  for (const [name, field] of inWordOrder(struct)) {
    const value = readMember(name, field, { words, members });
    if (value !== undefined) members[name] = value;
  }
  return { json: members, warnings, ...(ignored.length === 0 ? {} : { ignored }) };
}

/** Line in the help of a command that takes option strings. */
export const QUOTING_HELP =
  'A value that holds commas or equals signs is written in double quotes: path="/a,b=c"';

/** Returns the help text of a struct, e.g. `path=<path>,readonly=on|off (default: readonly=off)`. */
export function syntaxOf(struct: Struct): string {
  const shown = Object.entries(struct.fields).filter(([name, field]) => syntaxOfMember(name, field) !== '');
  const syntax = shown.map(([name, field]) => syntaxOfMember(name, field)).join(',');
  const defaults = shown.flatMap(([name, field]) => {
    const value = field.defaultValue ?? field.wordDefault?.({});
    return value === undefined ? [] : [`${field.word ?? name}=${shownDefault(field, value)}`];
  });
  return defaults.length === 0 ? syntax : `${syntax} (default: ${defaults.join(',')})`;
}

function syntaxOfMember(name: string, field: Field): string {
  if (field.form !== undefined) return field.form.syntax;
  const key = field.word ?? name;
  // options for tests of Cloud Hypervisor are hidden
  return field.read === undefined || key.startsWith('_') ? '' : `${key}=${field.syntax}`;
}

/** Returns a default in the notation of the command line. */
function shownDefault(field: Field, value: unknown): string {
  if (typeof value === 'boolean') return value ? 'on' : 'off';
  if (typeof value === 'number') return field.read === parseSize ? formatSize(value) : String(value);
  // choices are shown in lower case, as in the syntax
  return field.syntax.includes('|') ? String(value).toLowerCase() : String(value);
}

function inWordOrder({ fields, wordsFirst }: Struct): [string, Field][] {
  const entries = Object.entries(fields);
  const isFirst = ([name]: [string, Field]): boolean => wordsFirst.includes(name);
  return [...entries.filter(isFirst), ...entries.filter((entry) => !isFirst(entry))];
}

interface Reading {
  readonly words: Words;
  readonly members: Readonly<Record<string, unknown>>;
}

function readMember(name: string, field: Field, { words, members }: Reading): unknown {
  const key = field.word ?? name;
  if (field.form !== undefined) return asOptionStringError(() => field.form?.read(words));
  const { read } = field;
  if (read === undefined) return undefined;
  const value = words.convert(key, read) ?? field.wordDefault?.(members);
  if (value === undefined && field.required) {
    throw new OptionStringError(`${key} missing`, { hint: `expected ${key}=${field.syntax}` });
  }
  return value;
}

function asOptionStringError<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof OptionStringError) throw error;
    throw new OptionStringError(error instanceof Error ? error.message : String(error), { cause: error });
  }
}

function lookUp(values: ReadonlyMap<string, string>, warnings: string[]): Words {
  const text = (key: string): string | undefined => values.get(key) || undefined;
  return {
    has: (key) => values.has(key),
    text,
    convert: (key, read) => {
      const value = text(key);
      if (value === undefined) return undefined;
      try {
        return read(value);
      } catch (error) {
        const hint = error instanceof Error ? error.message : String(error);
        throw new OptionStringError(`unable to parse ${value} for ${key}`, { key, hint, cause: error });
      }
    },
    warn: (message) => void warnings.push(message),
  };
}

/** Returns the keys of an option string with their values; of a repeated key the last value applies. */
function collect(struct: Struct, text: string): Map<string, string> {
  const takesValue = keysOf(struct);
  const values = new Map<string, string>();
  const trimmed = text.trim();
  if (trimmed === '') return values;
  for (const { piece, parts } of split(trimmed)) {
    const [key = '', value, ...rest] = parts;
    const needsValue = takesValue.get(key);
    if (needsValue === undefined) {
      const hint = hintForUnknown(struct, values, parts);
      throw new OptionStringError(`unknown option: ${key}`, { hint });
    }
    if (needsValue && value === undefined) {
      throw new OptionStringError(`invalid syntax:${piece}`, {
        hint: `expected ${key}=${syntaxOfKey(struct, key)}`,
      });
    }
    if (needsValue && rest.length > 0) {
      const quoted = `${key}="${[value, ...rest].join('=')}"`;
      const hint = `a value with an equals sign is written in double quotes: ${quoted}`;
      throw new OptionStringError(`invalid syntax:${piece}`, { hint });
    }
    values.set(key, needsValue ? (value ?? '') : '');
  }
  return values;
}

/** Returns a hint for a key that the struct does not have, after the keys that were given before it. */
function hintForUnknown(
  struct: Struct,
  given: ReadonlyMap<string, string>,
  parts: readonly string[],
): string {
  const [key = '', ...values] = parts;
  return openListHint(given) ?? cutPathHint(struct, given, parts) ?? unknownWordHint(struct, key, values);
}

/** Returns a hint for a list without its closing bracket, which ends at its first comma. */
function openListHint(values: ReadonlyMap<string, string>): string | undefined {
  const open = [...values].find(([, value]) => value.startsWith('[') && endOfList(value, 0) === undefined);
  return open === undefined ? undefined : `the list ${open[0]}=${open[1]} has no closing bracket`;
}

interface Piece {
  /** the original text */
  readonly piece: string;
  /** texts between its equals signs: key and value; values are trimmed and without quotes */
  readonly parts: readonly string[];
}

/** Splits at commas and equals signs that are not in quotes or brackets. */
function split(text: string): Piece[] {
  const pieces: Piece[] = [];
  let at = 0;
  while (at <= text.length) {
    const start = at;
    at = endOfPlain(text, at);
    const parts = [text.slice(start, at)];
    while (text[at] === '=') {
      const { value, end } = valueAt(text, at + 1);
      parts.push(value);
      at = end;
    }
    pieces.push({ piece: text.slice(start, at), parts });
    at += 1;
  }
  return pieces;
}

/** Returns the value that begins at `start`: in quotes, in brackets, or up to the next comma or equals sign. */
function valueAt(text: string, start: number): { readonly value: string; readonly end: number } {
  const at = skipBlanks(text, start);
  const closed = endOfQuotes(text, at) ?? endOfList(text, at);
  if (closed !== undefined) {
    const end = skipBlanks(text, closed);
    // a quote or bracket inside a piece is an ordinary character
    if (end === text.length || text[end] === ',')
      return { value: text[at] === '"' ? text.slice(at + 1, closed - 1) : text.slice(at, closed), end };
  }
  const end = endOfPlain(text, start);
  return { value: text.slice(start, end).trim(), end };
}

function endOfPlain(text: string, at: number): number {
  const end = text.slice(at).search(/[,=]/);
  return end < 0 ? text.length : at + end;
}

function skipBlanks(text: string, at: number): number {
  return text.length - text.slice(at).trimStart().length;
}
