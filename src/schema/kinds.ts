import * as v from 'valibot';
import {
  field,
  optional,
  type DocumentFragment,
  type Field,
  type InputOf,
  type Struct,
  type ValueOf,
} from './field.ts';
import { expected, nearest } from '../util/nearest.ts';
import { ITEMS_MAX, OBJECTS_MAX, PATH_MAX, TEXT_MAX } from './bounds.ts';
import { parseSize } from './size.ts';

/** Returns a boolean member; on the command line `on`, `off`, `true` or `false`, in any case. */
export function flag(doc: string): Field<v.BooleanSchema<string>> {
  return field({
    schema: v.boolean('expected true or false'),
    doc,
    document: { type: 'boolean' },
    read: readToggle,
    syntax: 'on|off',
  });
}

interface UintOptions {
  /** width in bits: the largest value is 2^bits - 1 (at most 2^53 - 1) */
  readonly bits: 8 | 16 | 31 | 32 | 64;
  readonly min?: number;
  readonly format?: 'int32' | 'int64';
  /** extra members of the fragment, e.g. `minimum` */
  readonly document?: DocumentFragment;
}

/** Returns a member with a whole number; on the command line decimal without a suffix. */
export function uint(doc: string, options: UintOptions): Field<v.GenericSchema<number>> {
  const max = options.bits === 64 ? Number.MAX_SAFE_INTEGER : 2 ** options.bits - 1;
  const min = options.min ?? 0;
  return field({
    schema: wholeNumber(min, max),
    doc,
    everything: { ...options.document, ...integer(min, max) },
    document: {
      type: 'integer',
      ...(options.format === undefined ? {} : { format: options.format }),
      ...options.document,
    },
    // as in Cloud Hypervisor, which reads a number of that width and checks the minimum later or never
    read: (text) => readDecimal(text, max),
    syntax: '<number>',
  });
}

/** Returns a member with a number of bytes; on the command line with an optional suffix K, M or G. */
export function size(doc: string, document: DocumentFragment = {}): Field<v.GenericSchema<number>> {
  return field({
    schema: wholeNumber(0, Number.MAX_SAFE_INTEGER),
    doc,
    document: { type: 'integer', format: 'int64', ...document },
    everything: integer(0, Number.MAX_SAFE_INTEGER),
    read: parseSize,
    syntax: '<size>',
  });
}

/** Returns a member with any text without NUL, which no path, id or argument of the host can contain. */
export function text(doc: string, syntax = '<text>', maxLength = TEXT_MAX): Field<v.GenericSchema<string>> {
  return field({
    schema: plainText(maxLength),
    doc,
    document: { type: 'string' },
    everything: { type: 'string', pattern: WITHOUT_NUL, maxLength },
    read: (word) => word,
    syntax,
  });
}

interface NotationOptions {
  /** shown in help for the value, e.g. `<number>-<number>` */
  readonly syntax: string;
  /** the form of the text, as a regular expression of JSON Schema */
  readonly pattern: string;
  /** Throws an error with the reason, which begins with `expected`, for a text that does not have the form. */
  readonly parse: (text: string) => unknown;
}

/** Returns a member with a text in a notation of its own; its value is the text. */
export function notation(
  doc: string,
  { syntax, pattern, parse }: NotationOptions,
): Field<v.GenericSchema<string>> {
  const faultOf = (word: string): string | undefined => {
    try {
      parse(word);
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
    return undefined;
  };
  const schema = v.pipe(
    v.string('expected a string'),
    v.check(
      (word) => faultOf(word) === undefined,
      ({ input }) => faultOf(input) ?? '',
    ),
  );
  const read = (word: string): string => {
    parse(word);
    return word;
  };
  return field({
    schema,
    doc,
    document: { type: 'string' },
    everything: { type: 'string', pattern, maxLength: TEXT_MAX },
    read,
    syntax,
  });
}

/** Returns an optional name whose documented default is the empty text, which means none. */
export function nameOrNone(
  doc: string,
  syntax: string,
): Field<v.NullishSchema<v.GenericSchema<string>, () => undefined>> {
  const inner = optional(text(doc, syntax));
  const schema = v.pipe(
    inner.schema,
    v.transform((value) => (value === '' ? undefined : value)),
  );
  return {
    ...inner,
    schema,
    document: { type: 'string', default: '' },
    everything: { ...inner.everything, default: '' },
  };
}

/** Returns a member with a path on the host. */
export function path(doc: string): Field<v.GenericSchema<string>> {
  return { ...text(doc, '<path>', PATH_MAX), isPath: true };
}

/** Returns a member with the path of a socket that the VMM makes. */
export function socketPath(doc: string): Field<v.GenericSchema<string>> {
  return { ...path(doc), isMade: true };
}

/** Returns a member with a MAC address; lower case in answers. */
export function mac(doc: string): Field<v.GenericSchema<string>> {
  return spelled(doc, '<mac>', {
    pattern: /^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$/,
    expected: 'expected a MAC address such as 12:34:56:78:90:ab',
  });
}

/** Returns a member with an IPv4 address in dotted decimal. */
export function ipv4(doc: string): Field<v.GenericSchema<string>> {
  const part = '(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])';
  return spelled(doc, '<ipv4>', {
    pattern: new RegExp(`^${part}(\\.${part}){3}$`),
    expected: 'expected an IPv4 address such as 192.168.249.1',
  });
}

interface ChoiceOptions {
  readonly document?: DocumentFragment;
  /** words that the contract's document does not know */
  readonly beyond?: readonly string[];
  /** other spellings on the command line and in JSON, e.g. `virtio-mem` for `VirtioMem` */
  readonly aliases?: Readonly<Record<string, string>>;
}

/** Returns a member with one of several words, in any case; answers have the spelling of `choices`. */
export function choice<const C extends string>(
  doc: string,
  choices: readonly C[],
  options: ChoiceOptions = {},
): Field<v.GenericSchema<C>> {
  const spellings = new Map<string, C>(choices.map((one) => [one.toLowerCase(), one]));
  for (const [alias, one] of Object.entries(options.aliases ?? {})) {
    const target = spellings.get(one.toLowerCase());
    if (target !== undefined) spellings.set(alias.toLowerCase(), target);
  }
  const message = `expected one of ${choices.join(', ')}`;
  const shown = [...spellings.keys()].filter((word) => !isAliased(word, options.aliases));
  const read = (word: string): C => {
    const found = spellings.get(word.toLowerCase());
    if (found === undefined) throw new Error(expected(`one of ${shown.join(', ')}`, nearest(word, shown)));
    return found;
  };
  const schema = v.pipe(
    v.string(message),
    v.check((word) => spellings.has(word.toLowerCase()), message),
    v.transform(read),
  );
  return field({
    schema: schema as unknown as v.GenericSchema<C>,
    doc,
    document: options.document ?? {
      type: 'string',
      enum: choices.filter((one) => options.beyond?.includes(one) !== true),
    },
    everything: { type: 'string', enum: choices },
    read,
    syntax: shown.join('|'),
  });
}

/** Returns a member that nests a struct. */
export function nested<S extends Struct>(inner: S): Field<v.GenericSchema<InputOf<S>, ValueOf<S>>> {
  return field({
    schema: inner.schema,
    doc: inner.doc,
    document: { $ref: `#/components/schemas/${inner.name}` },
    nested: inner,
  });
}

/** Returns a member with a list of structs, numbers or texts. */
export function list<S extends v.GenericSchema>(
  item: Field<S>,
  read?: (text: string) => unknown,
  syntax = '',
): Field<v.ArraySchema<S, string>> {
  return field({
    schema: v.array(item.schema, 'expected a list'),
    doc: item.doc,
    document: { type: 'array', items: item.document },
    everything: { type: 'array', maxItems: isObject(item) ? OBJECTS_MAX : ITEMS_MAX, items: item.everything },
    ...(read === undefined ? {} : { read }),
    syntax,
    ...(item.nested === undefined ? {} : { nested: item.nested }),
  });
}

/** Reads `on`, `off`, `true` and `false`, in any case. */
export function readToggle(text: string): boolean {
  const word = text.toLowerCase();
  if (word === 'on' || word === 'true') return true;
  if (word === 'off' || word === 'false') return false;
  const intended = /^(1|yes|y|enabled?)$/.test(word)
    ? 'on'
    : /^(0|no|n|disabled?)$/.test(word)
      ? 'off'
      : undefined;
  throw new Error(expected('on or off', intended ?? nearest(word, ['on', 'off', 'true', 'false'])));
}

/** Reads a decimal number without a suffix, up to `max`. */
export function readDecimal(text: string, max = Number.MAX_SAFE_INTEGER): number {
  if (/^\+?\d+$/.test(text) && Number(text) <= max) return Number(text);
  throw new Error(expected(`a number up to ${max}`, withoutSuffix(text, max)));
}

/** Returns the plain number of a text with a suffix: `10M` is 10485760. */
function withoutSuffix(text: string, max: number): string | undefined {
  try {
    const bytes = parseSize(text);
    return bytes > max ? undefined : String(bytes);
  } catch {
    return undefined;
  }
}

function wholeNumber(min: number, max: number): v.GenericSchema<number> {
  return v.custom<number>(
    (value) => typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max,
    `expected a whole number from ${min} to ${max}`,
  );
}

/** Returns the fragment of a whole number: the format determines the width of a client's type. */
function integer(minimum: number, maximum: number): DocumentFragment {
  return { type: 'integer', format: maximum < 2 ** 31 ? 'int32' : 'int64', minimum, maximum };
}

/** Half of a surrogate pair of UTF-16: no path and no answer can contain it. */
const LONE_SURROGATE = /\p{Surrogate}/u;

const WITHOUT_NUL = '^[^\\x00]*$';

function plainText(maxLength: number): v.GenericSchema<string> {
  return v.pipe(
    v.string('expected a string'),
    v.check((value) => !value.includes('\0'), 'expected a string without NUL characters'),
    v.check(
      (value) => !LONE_SURROGATE.test(value),
      'expected a string of whole characters (it has half a pair)',
    ),
    v.check((value) => value.length <= maxLength, `expected a string of at most ${maxLength} characters`),
  );
}

function isObject({ nested: inner, document }: Field): boolean {
  return inner !== undefined || document['type'] === 'object';
}

interface Spelling {
  readonly pattern: RegExp;
  readonly expected: string;
}

/** Returns a member with a text of a fixed form; its letters are lower case in answers. */
function spelled(
  doc: string,
  syntax: string,
  { pattern, expected }: Spelling,
): Field<v.GenericSchema<string>> {
  const schema = v.pipe(
    v.string(expected),
    v.check((value) => pattern.test(value), expected),
    v.transform((value) => value.toLowerCase()),
  );
  const read = (word: string): string => {
    if (!pattern.test(word)) throw new Error(expected);
    return word.toLowerCase();
  };
  const everything = { type: 'string', pattern: pattern.source };
  return field({ schema, doc, document: { type: 'string' }, everything, read, syntax });
}

/** Returns true if a choice has an alias (`virtio-mem`), which help shows. */
function isAliased(word: string, aliases: ChoiceOptions['aliases'] = {}): boolean {
  return Object.values(aliases).some((one) => one.toLowerCase() === word);
}

/** Returns a member with an object that maps any name to a value. */
export function map<S extends v.GenericSchema>(
  doc: string,
  value: Field<S>,
): Field<v.RecordSchema<v.StringSchema<undefined>, S, string>> {
  return field({
    schema: v.record(v.string(), value.schema, 'expected an object'),
    doc,
    document: { type: 'object', additionalProperties: value.document },
    everything: { type: 'object', additionalProperties: value.everything },
  });
}

/** Returns a member with an object of any members. */
export function anyObject(doc: string): Field<v.GenericSchema<Readonly<Record<string, unknown>>>> {
  const schema = v.record(v.string(), v.unknown(), 'expected an object');
  const everything = { type: 'object', additionalProperties: true };
  return field({ schema, doc, document: { type: 'object' }, everything });
}
