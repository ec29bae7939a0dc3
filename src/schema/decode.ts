import * as v from 'valibot';
import { joinSome, preview } from '../util/clip.ts';
import { extentOf, VALUES_FOR_ALL_PROBLEMS } from './bounds.ts';
import type { Field, Struct, ValueOf } from './field.ts';

/** A value that does not fit its schema; `problems` name the member and the reason, e.g. `disks[0].readonly: expected true or false, got "yes"`. */
export class DecodeError extends Error {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(joinSome(problems, '; '));
    this.name = 'DecodeError';
    this.problems = problems;
  }
}

/**
 * Checks a JSON value against a struct and fills its defaults in.
 * @throws DecodeError
 */
export function decode<S extends Struct>(schema: S, json: unknown): ValueOf<S> {
  const { values, problems } = extentOf(json);
  if (problems.length > 0) throw new DecodeError(problems);
  const abortEarly = values > VALUES_FOR_ALL_PROBLEMS;
  const result = v.safeParse(schema.schema, json, { abortEarly });
  if (result.success) return result.output;
  throw new DecodeError(result.issues.map((issue) => describe(issue)));
}

/** Returns a decoded struct as plain JSON: members without a value are left out, defaults are included. It decodes to the same value. */
export function encode<S extends Struct>(_schema: S, value: ValueOf<S>): ValueOf<S> {
  return JSON.parse(JSON.stringify(value)) as ValueOf<S>;
}

/** Returns the members of a JSON value that no schema has, e.g. `disks[0].serial`: they are ignored and named in the log. */
export function unknownMembers(schema: Struct, json: unknown, at = ''): string[] {
  if (Array.isArray(json)) return json.flatMap((item, i) => unknownMembers(schema, item, `${at}[${i}]`));
  if (typeof json !== 'object' || json === null) return [];
  return Object.entries(json).flatMap(([key, value]) => {
    const place = at === '' ? key : `${at}.${key}`;
    const name = Object.hasOwn(schema.aliases, key) ? (schema.aliases[key] ?? key) : key;
    const field = Object.hasOwn(schema.fields, name) ? schema.fields[name] : undefined;
    if (field === undefined) return [place];
    return field.nested === undefined ? [] : unknownMembers(field.nested, value, place);
  });
}

/**
 * Returns the members of a decoded value that are marked `later` and in use, with the reason if it is known,
 * e.g. `payload.igvm (QEMU cannot load it)`. A member with its default, `false` or an empty list is not in use.
 */
export function laterMembers(schema: Struct, value: unknown): string[] {
  return inspect(schema, value, '', (field, member, place) => {
    if (!field.later) return undefined;
    if (!isUsed(field, member)) return [];
    return [field.refusal === undefined ? place : `${place} (${field.refusal})`];
  });
}

/** Returns the members of a decoded value whose values have no effect, e.g. `net[0].pci_segment: <reason>`. */
export function membersWithoutEffect(schema: Struct, value: unknown): string[] {
  return inspect(schema, value, '', (field, member, place) => {
    if (field.withoutEffect === undefined) return undefined;
    const reason = member === undefined ? undefined : field.withoutEffect(member);
    return reason === undefined ? [] : [`${place}: ${reason}`];
  });
}

/** Inspects each member by `inspectMember`. If that returns undefined, inspects the members of the nested struct. */
function inspect(
  schema: Struct,
  value: unknown,
  at: string,
  inspectMember: (field: Field, member: unknown, place: string) => string[] | undefined,
): string[] {
  if (Array.isArray(value))
    return value.flatMap((item, i) => inspect(schema, item, `${at}[${i}]`, inspectMember));
  if (typeof value !== 'object' || value === null) return [];
  const members = new Map<string, unknown>(Object.entries(value));
  return Object.entries(schema.fields).flatMap(([key, field]) => {
    const member = members.get(key);
    const place = at === '' ? key : `${at}.${key}`;
    const found = inspectMember(field, member, place);
    if (found !== undefined) return found;
    return field.nested === undefined ? [] : inspect(field.nested, member, place, inspectMember);
  });
}

function isUsed(field: Field, value: unknown): boolean {
  if (value === undefined || value === false || value === field.defaultValue) return false;
  return !(Array.isArray(value) && value.length === 0);
}

function describe(issue: v.BaseIssue<unknown>): string {
  const path = (issue.path ?? []).map((item) => item.key);
  const where = dotted(path);
  const last = path.at(-1);
  if (issue.received === 'undefined' && last !== undefined) return `missing field "${where}"`;
  if (issue.expected === 'never' && last !== undefined) return `unknown field "${where}"`;
  return `${where === '' ? '' : `${where}: `}${issue.message}, got ${preview(issue.input)}`;
}

/** Formats a path of members: `["disks", 0, "path"]` is `disks[0].path`. */
function dotted(path: readonly unknown[]): string {
  return path
    .map((key, i) => (typeof key === 'number' ? `[${key}]` : `${i === 0 ? '' : '.'}${String(key)}`))
    .join('');
}
