import { ArchiveError } from './entry.ts';

/** Members of an extended header (POSIX, `pax` interchange format), by name; values are bytes. */
export type PaxMembers = ReadonlyMap<string, Uint8Array>;

/** Stands for all members by which GNU tar describes a sparse file; its value is empty. */
export const SPARSE_MEMBER = 'GNU.sparse';

const SPACE = 0x20;
const EQUALS = 0x3d;
const NEWLINE = 0x0a;

/** Members that have a meaning; others are dropped, so that headers do not add up in memory. */
const USED: ReadonlySet<string> = new Set(['path', 'linkpath', 'size', 'uid', 'gid', 'mtime']);
const SPARSE_PREFIX = 'GNU.sparse.';

/** Parses records of the form `length name=value\n`. @throws ArchiveError where one is damaged */
export function parsePax(bytes: Uint8Array): PaxMembers {
  const members = new Map<string, Uint8Array>();
  let at = 0;
  while (at < bytes.length && bytes[at] !== 0) {
    const space = bytes.indexOf(SPACE, at);
    const length = Number(Buffer.from(bytes.subarray(at, Math.max(at, space))).toString('latin1'));
    const end = at + length;
    const equals = bytes.indexOf(EQUALS, space);
    const isWhole =
      space > at && Number.isInteger(length) && equals > space && equals < end && end <= bytes.length;
    if (!isWhole || bytes[end - 1] !== NEWLINE) throw new ArchiveError('an extended header is damaged');
    const name = Buffer.from(bytes.subarray(space + 1, equals)).toString('utf8');
    if (name.startsWith(SPARSE_PREFIX)) members.set(SPARSE_MEMBER, new Uint8Array());
    else if (USED.has(name)) members.set(name, Uint8Array.from(bytes.subarray(equals + 1, end - 1)));
    at = end;
  }
  return members;
}

/** Returns a member as an integer of at least 0. @throws ArchiveError where it is none */
export function paxNumber(members: PaxMembers, name: string): number | undefined {
  const text = paxText(members, name);
  if (text === undefined) return undefined;
  const number = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(number))
    throw new ArchiveError(`${name}=${text.slice(0, 30)} of an extended header is no number`);
  return number;
}

/** Returns a time in nanoseconds since 1970; it is written as seconds with any number of decimals. @throws ArchiveError */
export function paxTime(members: PaxMembers, name: string): bigint | undefined {
  const text = paxText(members, name);
  if (text === undefined) return undefined;
  const [, sign, seconds = '', decimals = ''] = /^(-?)(\d{1,12})(?:\.(\d*))?$/.exec(text) ?? [];
  if (sign === undefined)
    throw new ArchiveError(`${name}=${text.slice(0, 30)} of an extended header is no time`);
  const nanoseconds = BigInt(seconds) * 1_000_000_000n + BigInt(decimals.padEnd(9, '0').slice(0, 9));
  return sign === '-' ? -nanoseconds : nanoseconds;
}

function paxText(members: PaxMembers, name: string): string | undefined {
  const value = members.get(name);
  return value === undefined || value.length === 0 ? undefined : Buffer.from(value).toString('utf8');
}
