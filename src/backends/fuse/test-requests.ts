// Hostile requests for tests: mostly of valid form, so that they reach the file system, with values at the limits.
import { array, constant, constantFrom, nat, oneof, option, record, tuple, type Arbitrary } from 'fast-check';
import { Opcode } from './opcodes.ts';
import { HIGH_PRIORITY, nameBytes, REQUESTS, u32s, type TestRequest } from './test-driver.ts';

/** Form of a request: words of its structure, strings behind it, and whether data follows. */
interface Form {
  readonly opcode: number;
  readonly words: number;
  readonly strings: number;
  readonly hasData?: boolean;
}

const FORMS: readonly Form[] = [
  { opcode: Opcode.Lookup, words: 0, strings: 1 },
  { opcode: Opcode.Lookup, words: 0, strings: 1 },
  { opcode: Opcode.Forget, words: 2, strings: 0 },
  { opcode: Opcode.Getattr, words: 4, strings: 0 },
  { opcode: Opcode.Setattr, words: 22, strings: 0 },
  { opcode: Opcode.Readlink, words: 0, strings: 0 },
  { opcode: Opcode.Symlink, words: 0, strings: 2 },
  { opcode: Opcode.Mknod, words: 4, strings: 1 },
  { opcode: Opcode.Mkdir, words: 2, strings: 1 },
  { opcode: Opcode.Unlink, words: 0, strings: 1 },
  { opcode: Opcode.Rmdir, words: 0, strings: 1 },
  { opcode: Opcode.Rename, words: 2, strings: 2 },
  { opcode: Opcode.Link, words: 2, strings: 1 },
  { opcode: Opcode.Open, words: 2, strings: 0 },
  { opcode: Opcode.Read, words: 10, strings: 0 },
  { opcode: Opcode.Write, words: 10, strings: 0, hasData: true },
  { opcode: Opcode.Statfs, words: 0, strings: 0 },
  { opcode: Opcode.Release, words: 6, strings: 0 },
  { opcode: Opcode.Fsync, words: 4, strings: 0 },
  { opcode: Opcode.Setxattr, words: 4, strings: 1, hasData: true },
  { opcode: Opcode.Getxattr, words: 2, strings: 1 },
  { opcode: Opcode.Listxattr, words: 2, strings: 0 },
  { opcode: Opcode.Removexattr, words: 0, strings: 1 },
  { opcode: Opcode.Opendir, words: 2, strings: 0 },
  { opcode: Opcode.Readdir, words: 10, strings: 0 },
  { opcode: Opcode.Readdirplus, words: 10, strings: 0 },
  { opcode: Opcode.Releasedir, words: 6, strings: 0 },
  { opcode: Opcode.Fsyncdir, words: 4, strings: 0 },
  { opcode: Opcode.Access, words: 2, strings: 0 },
  { opcode: Opcode.Create, words: 4, strings: 1 },
  { opcode: Opcode.Interrupt, words: 2, strings: 0 },
  { opcode: Opcode.BatchForget, words: 10, strings: 0 },
  { opcode: Opcode.Fallocate, words: 8, strings: 0 },
  { opcode: Opcode.Rename2, words: 4, strings: 2 },
  { opcode: Opcode.Lseek, words: 6, strings: 0 },
  { opcode: Opcode.CopyFileRange, words: 14, strings: 0 },
  { opcode: Opcode.Syncfs, words: 2, strings: 0 },
  { opcode: Opcode.Flush, words: 6, strings: 0 },
];

/** Words of structures: handles, offsets, sizes, flags and modes are all small numbers, or at a limit. */
const word = oneof(
  { weight: 12, arbitrary: nat(8) },
  { weight: 4, arbitrary: constantFrom(0o644, 0o755, 0o100_644, 0o4755, 0o100, 0o2000, 4096, 65_536) },
  { weight: 2, arbitrary: constantFrom(0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x20_0000) },
  { weight: 1, arbitrary: nat(0xffff_ffff) },
);

const goodName = constantFrom('a', 'b', 'c', 'd', 'e', 'file', 'folder', 'link', 'user.x', 'é', '\n', ' ');

const badName = constantFrom(
  ...['', '.', '..', '/', '//', 'a/b', '../out', '/etc', './a', 'folder/..', 'x'.repeat(255)],
  ...['x'.repeat(256), 'x'.repeat(4095), 'x'.repeat(4096), 'security.capability', 'system.posix_acl_access'],
);

const string = oneof({ weight: 6, arbitrary: goodName }, { weight: 1, arbitrary: badName });

const target = oneof(
  string,
  constantFrom('..', '../..', '/', '/etc/passwd', '../secret', 'link', '/proc/self/root'),
);

const node = oneof(
  { weight: 8, arbitrary: constant(1) },
  { weight: 8, arbitrary: nat(12) },
  { weight: 1, arbitrary: constantFrom(2n ** 32n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n) },
);

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

/** A request of any form, mostly a valid one. */
export const hostileRequest: Arbitrary<TestRequest> = tuple(
  constantFrom(...FORMS),
  array(word, { minLength: 22, maxLength: 22 }),
  tuple(node, data, string, target),
  option(defects, { freq: 3 }),
).map(([form, words, [node, bytes, first, second], broken]) => {
  const size = form.hasData === true ? bytes : 0;
  const values = words.slice(0, form.words);
  // the size of the data, so that most requests are consistent
  if (form.opcode === Opcode.Write) values[4] = size;
  if (form.opcode === Opcode.Setxattr) values[0] = size;
  const { cut = 0, more = 0, ...members } = broken ?? {};
  const strings = [first, second].slice(0, form.strings).map(nameBytes);
  const body = Buffer.concat([u32s(...values), ...strings, new Uint8Array(size + more)]);
  return {
    ...{ opcode: form.opcode, node, body: [body.subarray(0, Math.max(0, body.length - cut))] },
    ...{ queue: REQUESTS, uid: words[0] ?? 0, gid: words[1] ?? 0, space: 70_000 },
    ...members,
  };
});
