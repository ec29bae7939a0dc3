import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parsePax, renderPax } from './pax.ts';
import { renderEntry } from './render-entry.ts';
import { BLOCK_BYTES, parseHeader, renderHeader, TarError } from './tar-header.ts';
import { readTar, type TarEntry } from './tar-reader.ts';

const ENTRY: TarEntry = {
  kind: 'file',
  name: 'a',
  target: '',
  mode: 0o644,
  uid: 0,
  gid: 0,
  size: 0,
  mtime: 1,
  major: 0,
  minor: 0,
  xattrs: new Map(),
};

/** Reads the first entry of an archive that has only headers. */
async function readFirst(...blocks: readonly Buffer[]): Promise<TarEntry> {
  async function* stream(): AsyncGenerator<Buffer> {
    // one byte at a time: no reading depends on the parts
    for (const byte of Buffer.concat(blocks)) yield Buffer.of(byte);
  }
  for await (const { entry } of readTar(stream())) return entry;
  throw new Error('no entry');
}

test('entries are read as they were rendered', async () => {
  const entries: Partial<TarEntry>[] = [
    { name: 'n'.repeat(255), mode: 0o6755 },
    { name: '\xff\n=', uid: 2 ** 32 - 1, gid: 2 ** 21 },
    { kind: 'link', target: 't'.repeat(300) },
    { kind: 'symlink', target: '\xe4' },
    { kind: 'block', major: 4095, minor: 2 ** 20 - 1 },
    {
      kind: 'directory',
      xattrs: new Map([['security.capability', Buffer.from([0, 0x0a, 0x80, 0xff, 0x3d])]]),
    },
    { size: 2 ** 33 + 5 },
  ];
  for (const fields of entries) {
    const entry = { ...ENTRY, ...fields };
    assert.deepEqual(await readFirst(renderEntry(entry)), entry);
  }
});

test('times are within those of squashfs', async () => {
  for (const [mtime, kept] of [
    [-5, 0],
    [2 ** 40, 2 ** 32 - 1],
  ] as const) {
    assert.equal((await readFirst(renderEntry({ ...ENTRY, mtime }))).mtime, kept);
  }
});

test('values beyond those of squashfs are refused', () => {
  const wrong: Partial<TarEntry>[] = [
    { uid: 2 ** 32 },
    { gid: -1 },
    { kind: 'character', major: 4096 },
    { kind: 'block', minor: 2 ** 20 },
    { xattrs: new Map([['user.x', Buffer.alloc(65_536)]]) },
  ];
  for (const fields of wrong) assert.throws(() => renderEntry({ ...ENTRY, ...fields }), TarError);
});

/** A header with an extended header before it. */
function extended(records: Readonly<Record<string, string>>, type = 'x'): Buffer[] {
  const content = renderPax(
    Object.entries(records).map(([key, value]) => ({ key, value: Buffer.from(value, 'latin1') })),
  );
  const padding = Buffer.alloc((BLOCK_BYTES - (content.length % BLOCK_BYTES)) % BLOCK_BYTES);
  const header = renderHeader({ ...ENTRY, type, size: content.length });
  return [header, content, padding, renderHeader({ ...ENTRY, type: '0' })];
}

test('extended headers replace fields, and global ones do not', async () => {
  const records = { path: 'p', uid: '7', mtime: '12.9', 'SCHILY.xattr.user.a': 'b', size: '' };
  const entry = await readFirst(...extended(records));
  assert.deepEqual(
    [entry.name, entry.uid, entry.mtime, entry.xattrs],
    ['p', 7, 12, new Map([['user.a', Buffer.from('b')]])],
  );
  assert.equal((await readFirst(...extended({ path: 'p' }, 'g'))).name, 'a');
});

test('broken extended headers are refused', async () => {
  for (const text of [
    '5 a=b\n',
    '99 a=b\n',
    'x a=b\n',
    '6 a=b\n ',
    '6 ab\n',
    '5 =b\n',
    '6 a=bc',
    '-1 a=b\n',
  ]) {
    assert.throws(() => parsePax(Buffer.from(text)), TarError, text);
  }
  for (const records of [{ uid: '-1' }, { size: '1e3' }, { mtime: 'x' }, { path: 'a\0b' }]) {
    await assert.rejects(() => readFirst(...extended(records)), TarError);
  }
});

test('headers of GNU and of version 7 are read', async () => {
  const header = renderHeader({ ...ENTRY, type: '0', name: 'dir/' });
  header.fill(0, 257, 265);
  const sum = [...header].reduce((total, byte, i) => total + (i >= 148 && i < 156 ? 0x20 : byte), 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  assert.equal((await readFirst(header)).kind, 'directory');
  const long = 'l'.repeat(600);
  const name = renderHeader({ ...ENTRY, type: 'L', size: long.length + 1 });
  const content = Buffer.alloc(1024);
  content.write(long);
  assert.equal((await readFirst(name, content, renderHeader({ ...ENTRY, type: '0' }))).name, long);
});

test('numbers in base 256 are read, and those beyond 2^53 refused', () => {
  const header = renderHeader({ ...ENTRY, type: '0' });
  const withUid = (...bytes: readonly number[]): Buffer => {
    const copy = Buffer.from(header);
    Buffer.from(bytes).copy(copy, 108);
    const sum = [...copy].reduce((total, byte, i) => total + (i >= 148 && i < 156 ? 0x20 : byte), 0);
    copy.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
    return copy;
  };
  assert.equal(parseHeader(withUid(0x80, 0, 0, 0, 0xb2, 0xd0, 0x5e, 0)).uid, 3_000_000_000);
  assert.equal(parseHeader(withUid(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe)).uid, -2);
  assert.throws(() => parseHeader(withUid(0x80, 0x7f, 0, 0, 0, 0, 0, 0)), TarError);
});
