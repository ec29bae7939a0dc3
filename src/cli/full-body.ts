import type { Field, Struct } from '../schema/field.ts';

/** Members that Cloud Hypervisor's structs have, but the contract's document has not. */
const UNDOCUMENTED: ReadonlySet<string> = new Set(['host_mac', 'disable_io_uring']);

/** Names in Cloud Hypervisor's JSON of members of the document. */
const SENT_AS: Readonly<Record<string, string>> = { fd: 'fds' };

/**
 * Returns the JSON of a struct as Cloud Hypervisor's client sends it: all members in order, `null` for those not given.
 * Members that only Nephos has are included if they differ from their default.
 */
export function fullBody(struct: Struct, value: unknown): Readonly<Record<string, unknown>> {
  const given = new Map<string, unknown>(Object.entries(value ?? {}));
  return Object.fromEntries(
    Object.entries(struct.fields).flatMap(([name, field]): [string, unknown][] => {
      const member = given.get(name);
      const isOurs = field.beyond && !UNDOCUMENTED.has(name);
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
