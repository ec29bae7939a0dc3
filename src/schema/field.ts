import * as v from 'valibot';

/*
 * A field is one member of a configuration or a request: its JSON schema, its option on the command line, its line in the help and
 * its schema in the OpenAPI document. A struct is a set of fields. All readers of JSON and option strings derive from them:
 *
 * - field.ts: structs, and modifiers of fields (optional, defaulted, bounded, beyond ...)
 * - kinds.ts: the kinds of fields (`flag`, `uint`, `size`, `text`, `path`, `choice`, `nested`, `list` ...)
 * - decode.ts: JSON to values, with all problems and their places; bounds.ts: bounds of a request
 * - option-string.ts: `key=value,key=value` to JSON; option-lists.ts its lists, option-hints.ts hints for wrong keys
 * - openapi-schema.ts: structs as schemas of the OpenAPI document
 *
 * All functions are pure.
 */

/** A fragment of the OpenAPI document: a JSON Schema of OpenAPI 3.0. */
export type DocumentFragment = Readonly<Record<string, unknown>>;

/** Converts the text after `key=` on the command line to the member's JSON value; throws on other text. */
export type WordReader = (text: string) => unknown;

/** Keys and values of one option string, e.g. of `path=/x,readonly=on`. An empty value (`tap=`) counts as not given. */
export interface Words {
  /** the key is given, with or without a value */
  readonly has: (key: string) => boolean;
  readonly text: (key: string) => string | undefined;
  /** Converts the value by `read`; throws `unable to parse <value> for <key>`. */
  readonly convert: <T>(key: string, read: (text: string) => T) => T | undefined;
  readonly warn: (message: string) => void;
}

/** Form of a member on the command line other than `member=value`. */
export interface WordsForm {
  /** keys that take a value */
  readonly keys: readonly string[];
  /** keys that take none, e.g. `tty` */
  readonly flags?: readonly string[];
  readonly syntax: string;
  /** the member's JSON value; `undefined`: not given */
  readonly read: (words: Words) => unknown;
}

/** One member of a struct: its JSON, its form on the command line, its text in help and document. */
export interface Field<S extends v.GenericSchema = v.GenericSchema> {
  /** checks and completes the JSON value */
  readonly schema: S;
  /** description: one line, a noun phrase, its unit in backticks */
  readonly doc: string;
  /** fragment of the contract's document, word for word */
  readonly document: DocumentFragment;
  /** fragment of the document's view `everything`: the type with the bounds that are enforced */
  readonly everything: DocumentFragment;
  /** `null` counts as not given */
  readonly nullable: boolean;
  /** reads the form of the command line; without it (and without `form`) the member is not on the command line */
  readonly read: WordReader | undefined;
  /** shown in help for the value, e.g. `<size>`, `on|off` */
  readonly syntax: string;
  /** key on the command line, if it differs from the member's name */
  readonly word: string | undefined;
  readonly form: WordsForm | undefined;
  /** default of the command line for a member that JSON requires; receives the members read so far */
  readonly wordDefault: ((members: Readonly<Record<string, unknown>>) => unknown) | undefined;
  readonly required: boolean;
  /** requirement in the contract's document, if it differs from the real one */
  readonly documentRequired: boolean | undefined;
  /** other members can replace it in a request: the document's view `everything` does not require it */
  readonly replaceable: boolean;
  readonly defaultValue: unknown;
  /** accepted by the schema, but not implemented: refused by config/ when it is used */
  readonly later: boolean;
  /** a path on the host */
  readonly isPath: boolean;
  /** the VMM makes the file or socket: it keeps a relative path in another working directory */
  readonly isMade: boolean;
  /** reason of the refusal, for the user */
  readonly refusal: string | undefined;
  /** returns the reason why a value has no effect; the user is warned, and the request is accepted */
  readonly withoutEffect: ((value: unknown) => string | undefined) | undefined;
  /** not in the contract's document: later versions of Cloud Hypervisor have it, or Nephos alone */
  readonly beyond: boolean;
  /** the struct (of each item, for a list) that the member nests */
  readonly nested: Struct | undefined;
}

/** The members of a struct in the order of the contract. */
export type Fields = Readonly<Record<string, Field>>;

type Entries<F extends Fields> = { readonly [K in keyof F]: F[K]['schema'] };

interface StructTraits {
  /** unknown members are refused (else ignored with a warning) */
  readonly strict: boolean;
  /** other names that clients send for a member, e.g. `fds` for `fd` */
  readonly aliases: Readonly<Record<string, string>>;
  /** members that the command line checks before the others: determines which error is reported */
  readonly wordsFirst: readonly string[];
  /** keys that the command line accepts and ignores, with a warning */
  readonly wordsIgnored: readonly string[];
  /** keys of other programs, with the key that a hint suggests, e.g. `file` for a disk's `path` */
  readonly keyHints: Readonly<Record<string, string>>;
  /** further members of the struct's fragment, e.g. `nullable` */
  readonly document: DocumentFragment;
}

/** A named object of the contract: its members, and the schema that derives from them. */
export interface Struct<F extends Fields = Fields> extends StructTraits {
  /** name in the document, e.g. `DiskConfig` */
  readonly name: string;
  readonly doc: string;
  readonly fields: F;
  readonly schema: v.GenericSchema<
    v.InferInput<v.ObjectSchema<Entries<F>, string>>,
    v.InferOutput<v.ObjectSchema<Entries<F>, string>>
  >;
}

/** JSON that a client may send for a struct: members with a default may be left out. */
export type InputOf<S extends Struct> = v.InferInput<S['schema']>;
/** A checked struct: every default filled in, `undefined` for an optional member that was not given. */
export type ValueOf<S extends Struct> = v.InferOutput<S['schema']>;

interface StructOptions<F extends Fields> extends Partial<StructTraits> {
  readonly name: string;
  readonly doc: string;
  readonly fields: F;
}

/** Declares a struct from its members. */
export function struct<F extends Fields>(options: StructOptions<F>): Struct<F> {
  const { fields, strict = false, aliases = {} } = options;
  const entries = Object.fromEntries(Object.entries(fields).map(([key, field]) => [key, field.schema]));
  const schema = v.pipe(
    v.custom<Readonly<Record<string, unknown>>>(isObject, 'expected an object'),
    v.transform((json) => renamed(json, aliases)),
    strict ? v.strictObject(entries) : v.object(entries),
  );
  return {
    name: options.name,
    doc: options.doc,
    fields,
    schema: schema as unknown as Struct<F>['schema'],
    strict,
    aliases,
    wordsFirst: options.wordsFirst ?? [],
    wordsIgnored: options.wordsIgnored ?? [],
    keyHints: options.keyHints ?? {},
    document: options.document ?? {},
  };
}

/** Declares a required member; see {@link optional} and {@link defaulted}. */
export function field<S extends v.GenericSchema>(
  options: Pick<Field<S>, 'schema' | 'doc' | 'document'> &
    Partial<Pick<Field<S>, 'everything' | 'read' | 'syntax' | 'nested'>>,
): Field<S> {
  return {
    schema: options.schema,
    doc: options.doc,
    document: options.document,
    everything: options.everything ?? options.document,
    nullable: false,
    read: options.read,
    syntax: options.syntax ?? '',
    word: undefined,
    form: undefined,
    wordDefault: undefined,
    required: true,
    documentRequired: undefined,
    replaceable: false,
    defaultValue: undefined,
    later: false,
    isPath: false,
    isMade: false,
    refusal: undefined,
    withoutEffect: undefined,
    beyond: false,
    nested: options.nested,
  };
}

/** Returns a member that may be absent or `null`; its value is `undefined` then. */
export function optional<S extends v.GenericSchema>(
  inner: Field<S>,
): Field<v.NullishSchema<S, () => undefined>> {
  return { ...inner, schema: v.nullish(inner.schema, () => undefined), nullable: true, required: false };
}

/** Returns a member with a default: it may be absent, but not `null`. */
export function defaulted<S extends v.GenericSchema>(
  inner: Field<S>,
  value: v.InferInput<S>,
): Field<v.OptionalSchema<S, () => v.InferInput<S>>> {
  // the contract may spell a default differently (`acpi`), and states none for an object
  const inDocument = typeof value === 'object' ? {} : { default: value };
  return {
    ...inner,
    schema: v.optional(inner.schema, () => value),
    document: { ...inDocument, ...inner.document },
    required: false,
    defaultValue: value,
  };
}

/** Like {@link defaulted}, for a default that the contract's document does not state. */
export function silentlyDefaulted<S extends v.GenericSchema>(
  inner: Field<S>,
  value: v.InferInput<S>,
): Field<v.OptionalSchema<S, () => v.InferInput<S>>> {
  return { ...defaulted(inner, value), document: inner.document };
}

/** Returns a member that JSON requires, and for which the command line has a default. */
export function wordDefaulted<F extends Field>(inner: F, value: NonNullable<Field['wordDefault']>): F {
  return { ...inner, wordDefault: value };
}

/** Gives the member another key on the command line than its own name. */
export function worded<F extends Field>(word: string, inner: F): F {
  return { ...inner, word };
}

/** Gives the member a form of its own on the command line. */
export function formed<F extends Field>(form: WordsForm, inner: F): F {
  return { ...inner, form };
}

/** Removes the member from the command line: only JSON has it. */
export function unworded<F extends Field>(inner: F): F {
  return { ...inner, read: undefined };
}

/** Marks a member that is not implemented: its use is refused with the reason, never silently ignored. */
export function later<F extends Field>(inner: F, refusal?: string): F {
  return { ...inner, later: true, refusal };
}

/**
 * Marks a member that is accepted and has no effect. `reason` explains it for the values that ask for an effect; a value that asks
 * for the usual behaviour needs no warning.
 */
export function withoutEffect<F extends Field>(
  inner: F,
  reason: NonNullable<Field['withoutEffect']> | string,
): F {
  const asks = (value: unknown): boolean => value !== false && !(Array.isArray(value) && value.length === 0);
  const because = (value: unknown) =>
    typeof reason === 'string' ? (asks(value) ? reason : undefined) : reason(value);
  return { ...inner, withoutEffect: because };
}

/** Marks a member that the contract's document does not have. */
export function beyond<F extends Field>(inner: F): F {
  return { ...inner, beyond: true };
}

/** Marks a required member that a request may leave out if it has the members that replace it. */
export function replaceable<F extends Field>(inner: F): F {
  return { ...inner, replaceable: true };
}

/** Bounds of a value, by the keywords of JSON Schema. */
export interface Bounds {
  readonly minimum?: number;
  readonly maximum?: number;
  readonly multipleOf?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly default?: number | string;
}

/** States bounds in the document's view `everything`. Rules enforce them, with texts of their own. */
export function bounded<F extends Field>(inner: F, bounds: Bounds): F {
  return { ...inner, everything: { ...inner.everything, ...bounds } };
}

/** Sets whether the contract's document requires the member, if that differs from the real requirement. */
export function documentedAs<F extends Field>(need: 'required' | 'optional', inner: F): F {
  return { ...inner, documentRequired: need === 'required' };
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function renamed(
  json: Readonly<Record<string, unknown>>,
  aliases: StructTraits['aliases'],
): Readonly<Record<string, unknown>> {
  // generated clients send null for a member that is not set
  const used = Object.entries(aliases).filter(
    ([alias, name]) => alias in json && (json[name] === undefined || json[name] === null),
  );
  if (used.length === 0) return json;
  return { ...json, ...Object.fromEntries(used.map(([alias, name]) => [name, json[alias]])) };
}
