import type { Field, Struct } from '../schema/field.ts';

/** Members that the contract's document lacks, but the original's structs have. */
const OF_THE_ORIGINAL: ReadonlySet<string> = new Set(['host_mac', 'disable_io_uring']);

/** Names that the original's JSON has for members of the document. */
const SENT_AS: Readonly<Record<string, string>> = { fd: 'fds' };

/**
 * A checked struct as the original's client sends it: each of its members, in order, `null` where nothing was given.
 * Members of ours go with it only where they ask for something.
 */
export function fullBody(struct: Struct, value: unknown): Readonly<Record<string, unknown>> {
  const given = new Map<string, unknown>(Object.entries(value ?? {}));
  return Object.fromEntries(
    Object.entries(struct.fields).flatMap(([name, field]): [string, unknown][] => {
      const member = given.get(name);
      const isOurs = field.beyond && !OF_THE_ORIGINAL.has(name);
      if (isOurs) return member === undefined || member === field.defaultValue ? [] : [[name, member]];
      return [[SENT_AS[name] ?? name, fullMember(field, member)]];
    }),
  );
}

function fullMember({ nested }: Field, member: unknown): unknown {
  if (member === undefined || member === null) return null;
  if (nested === undefined) return member;
  return Array.isArray(member) ? member.map((item) => fullBody(nested, item)) : fullBody(nested, member);
}
