// Hostile requests for tests: mostly of valid form, so that they reach the file system, with values at the limits.
import { array, constant, constantFrom, nat, oneof, record, tuple, type Arbitrary } from 'fast-check';
import { Opcode } from './opcodes.ts';
import { HIGH_PRIORITY, nameBytes, REQUESTS, u32s, u64s, type TestRequest } from './test-driver.ts';

/**
 * Form of a request: the fields of its structure in order (`n` inode, `h` handle, `o` offset or size, each of 64 bits; `w` 32 bits),
 * strings behind it, and whether data follows, whose size is the field `s`.
 */
type Form = readonly [opcode: number, fields: string, strings?: number, hasData?: 'data'];

const FORMS: readonly Form[] = [
  [Opcode.Lookup, '', 1],
  [Opcode.Lookup, '', 1],
  [Opcode.Forget, 'o'],
  [Opcode.Getattr, 'wwh'],
  [Opcode.Setattr, 'wwhooooowwwwwwww'],
  [Opcode.Readlink, ''],
  [Opcode.Symlink, '', 2],
  [Opcode.Mknod, 'wwww', 1],
  [Opcode.Mkdir, 'ww', 1],
  [Opcode.Unlink, '', 1],
  [Opcode.Rmdir, '', 1],
  [Opcode.Rename, 'n', 2],
  [Opcode.Link, 'n', 1],
  [Opcode.Open, 'ww'],
  [Opcode.Open, 'ww'],
  [Opcode.Read, 'howwoww'],
  [Opcode.Write, 'hoswoww', 0, 'data'],
  [Opcode.Statfs, ''],
  [Opcode.Release, 'hwwo'],
  [Opcode.Fsync, 'hww'],
  [Opcode.Setxattr, 'swww', 1, 'data'],
  [Opcode.Getxattr, 'ww', 1],
  [Opcode.Listxattr, 'ww'],
  [Opcode.Removexattr, '', 1],
  [Opcode.Opendir, 'ww'],
  [Opcode.Opendir, 'ww'],
  [Opcode.Readdir, 'howwoww'],
  [Opcode.Readdirplus, 'howwoww'],
  [Opcode.Releasedir, 'hwwo'],
  [Opcode.Fsyncdir, 'hww'],
  [Opcode.Access, 'ww'],
  [Opcode.Create, 'wwww', 1],
  [Opcode.Interrupt, 'o'],
  [Opcode.BatchForget, 'wwnono'],
  [Opcode.Fallocate, 'hooww'],
  [Opcode.Rename2, 'nww', 2],
  [Opcode.Lseek, 'howw'],
  [Opcode.CopyFileRange, 'honhooo'],
  [Opcode.Syncfs, 'o'],
  [Opcode.Flush, 'hwwo'],
];

const FIELD_BYTES: Readonly<Record<string, number>> = { w: 4, s: 4 };

/** Returns the offsets of the inodes, or of the handles, in the structure of a request. */
export function fieldsOf(opcode: number, kind: 'n' | 'h'): readonly number[] {
  const [, fields = ''] = FORMS.find(([one]) => one === opcode) ?? [];
  let at = 0;
  return fields.split('').flatMap((field) => {
    const start = at;
    at += FIELD_BYTES[field] ?? 8;
    return field === kind ? [start] : [];
  });
}

/** Longest structure, in fields. */
const MOST_FIELDS = 16;

const word = oneof(
  { weight: 10, arbitrary: constantFrom(0, 0, 0, 1, 2, 3, 4, 8) },
  { weight: 4, arbitrary: constantFrom(0o644, 0o755, 0o100_644, 0o4755, 0o100, 0o2000, 4096, 65_536) },
  { weight: 1, arbitrary: constantFrom(0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x20_0000) },
  { weight: 1, arbitrary: nat(0xffff_ffff) },
);

const wide = constantFrom(2n ** 32n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n);

/** Inodes and handles are numbered from 1 on. */
const number = oneof({ weight: 20, arbitrary: nat(9) }, { weight: 1, arbitrary: wide });

const offset = oneof(
  { weight: 12, arbitrary: constantFrom(0, 0, 1, 5, 4095, 4096, 1_000_000) },
  { weight: 1, arbitrary: wide },
);

const goodName = constantFrom('a', 'b', 'c', 'd', 'e', 'file', 'folder', 'link', 'user.x', 'é', '\n', ' ');

const badName = constantFrom(
  ...['', '.', '..', '/', '//', 'a/b', '../out', '/etc', './a', 'folder/..', 'x'.repeat(255)],
  ...['x'.repeat(256), 'x'.repeat(4095), 'x'.repeat(4096), 'security.capability', 'system.posix_acl_access'],
);

const string = oneof({ weight: 12, arbitrary: goodName }, { weight: 1, arbitrary: badName });

const target = oneof(
  { weight: 2, arbitrary: string },
  {
    weight: 1,
    arbitrary: constantFrom('..', '../..', '/', '/etc/passwd', '../secret', 'link', '/proc/self/root'),
  },
);

const node = oneof({ weight: 3, arbitrary: constant(1) }, { weight: 5, arbitrary: number });

const data = constantFrom(0, 0, 1, 3, 8, 4096, 65_536, 70_000);

/** Changes of a request that break its form. */
const defects = record(
  {
    length: constantFrom(0, 1, 39, 40, 41, 48, 0x7fff_ffff, 0xffff_ffff),
    opcode: oneof(nat(64), constantFrom(4096, 436_207_616, 0xffff_ffff)),
    space: constantFrom(0, 1, 7, 8, 15, 16, 80, 127, 128, 200_000),
    headerSpace: constantFrom(0, 1, 15),
    split: array(nat(60), { maxLength: 3 }),
    cut: nat(200),
    more: nat(64),
    queue: constant(HIGH_PRIORITY),
  },
  { requiredKeys: [] },
);

const defectsOfSome = oneof({ weight: 6, arbitrary: constant({}) }, { weight: 1, arbitrary: defects });

/** Values of the fields of a structure, each for its kinds. */
const values = array(record({ word, number, offset }), { minLength: MOST_FIELDS, maxLength: MOST_FIELDS });

/** A request of any form, mostly a valid one. */
export const hostileRequest: Arbitrary<TestRequest> = tuple(
  constantFrom(...FORMS),
  values,
  tuple(node, data, string, target, nat(3)),
  defectsOfSome,
).map(([[opcode, fields, strings = 0, hasData], given, [inode, bytes, first, second, uid], broken]) => {
  const size = hasData === undefined ? 0 : bytes;
  const structure = fields.split('').map((kind, i) => {
    const { word = 0, number = 0, offset = 0 } = given[i] ?? {};
    if (kind === 'w' || kind === 's') return u32s(kind === 's' ? size : word);
    return u64s(kind === 'o' ? offset : number);
  });
  const { cut = 0, more = 0, ...members }: Partial<TestRequest> & { cut?: number; more?: number } = broken;
  const names = [first, second].slice(0, strings).map(nameBytes);
  const body = Buffer.concat([...structure, ...names, new Uint8Array(size + more)]);
  return {
    ...{ opcode, node: inode, body: [body.subarray(0, Math.max(0, body.length - cut))] },
    ...{ queue: REQUESTS, uid, gid: uid, space: 70_000 },
    ...members,
  };
});
