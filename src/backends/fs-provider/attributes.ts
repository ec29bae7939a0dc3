import type { Attributes, Timestamp } from '../fuse/file-system.ts';
import type { FsAttributes, FsTime, FsType } from './provider.ts';

/** Bits 12 to 15 of `st_mode`. */
const TYPE_BITS: Readonly<Record<FsType, number>> = {
  fifo: 0o010_000,
  character: 0o020_000,
  directory: 0o040_000,
  block: 0o060_000,
  file: 0o100_000,
  symlink: 0o120_000,
  socket: 0o140_000,
};

const TYPE_MASK = 0o170_000;
const PERMISSIONS = 0o7777;

const TYPES: ReadonlyMap<number, FsType> = new Map(
  Object.entries(TYPE_BITS).map(([name, bits]) => [bits, isType(name) ? name : 'file']),
);

const DEFAULT_MODES: Partial<Record<FsType, number>> = { directory: 0o755, symlink: 0o777 };
const DEFAULT_MODE = 0o644;

/** Bytes of a block of `st_blocks`. */
const BLOCK = 512;
const BLOCK_SIZE = 4096;
const NANOSECONDS = 1_000_000_000n;

/** Returns the type in `st_mode`; undefined where Linux has no such type. */
export function typeOf(mode: number): FsType | undefined {
  return TYPES.get(mode & TYPE_MASK);
}

/** Returns the bits of a type in `st_mode`. */
export function typeBits(type: FsType): number {
  return TYPE_BITS[type];
}

/** Returns the permission bits of `st_mode`. */
export function permissionsOf(mode: number): number {
  return mode & PERMISSIONS;
}

/**
 * Returns attributes for the guest.
 * @throws TypeError where a provider returned invalid ones
 */
export function completeAttributes(attributes: FsAttributes, inode: bigint): Attributes {
  const { type, size = 0, allocated = size } = attributes;
  if (typeof inode !== 'bigint') throw new TypeError(`no valid inode number: ${String(inode)}`);
  if (!isType(type)) throw new TypeError(`no type of a node: ${String(type)}`);
  const mode = attributes.mode ?? DEFAULT_MODES[type] ?? DEFAULT_MODE;
  return {
    inode,
    mode: TYPE_BITS[type] | (mode & PERMISSIONS),
    links: count(attributes.links ?? 1),
    uid: count(attributes.uid ?? 0),
    gid: count(attributes.gid ?? 0),
    device: count(attributes.device ?? 0),
    size: count(size),
    blocks: Math.ceil(count(allocated) / BLOCK),
    blockSize: BLOCK_SIZE,
    ...timesOf(attributes),
  };
}

function timesOf({ modified = 0n, accessed = modified, changed = modified }: FsAttributes) {
  return { modified: timestamp(modified), accessed: timestamp(accessed), changed: timestamp(changed) };
}

/** Returns nanoseconds since 1970. */
export function nanosecondsOf({ seconds, nanoseconds }: Timestamp): bigint {
  return BigInt(seconds) * NANOSECONDS + BigInt(nanoseconds);
}

/** Returns the present time in nanoseconds since 1970. */
export function now(): bigint {
  return BigInt(Math.floor((performance.timeOrigin + performance.now()) * 1000)) * 1000n;
}

function timestamp(time: FsTime): Timestamp {
  const all = typeof time === 'bigint' ? time : BigInt(count(time.getTime(), true)) * 1_000_000n;
  // rounded down, also before 1970
  const nanoseconds = ((all % NANOSECONDS) + NANOSECONDS) % NANOSECONDS;
  return { seconds: Number((all - nanoseconds) / NANOSECONDS), nanoseconds: Number(nanoseconds) };
}

function count(value: number, mayBeNegative = false): number {
  if (!Number.isSafeInteger(value) || (value < 0 && !mayBeNegative))
    throw new TypeError(`no valid attribute: ${value}`);
  return value;
}

function isType(name: string): name is FsType {
  return Object.hasOwn(TYPE_BITS, name);
}
