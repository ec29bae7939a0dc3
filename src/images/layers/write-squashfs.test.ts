import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { ImageError } from '../image-error.ts';
import { digestOf, tarOf, temporaryFolder, writeLayer, type TestEntry } from './test-archive.ts';
import { writeSquashfs } from './write-squashfs.ts';

const FILE: TestEntry = { name: 'a', content: 'first' };

test('a layer has the types, owners, modes and devices of its archive', async () => {
  const archive = await tarOf([
    { name: 'dir/', type: 'directory', mode: 0o1777, uid: 1, gid: 2 },
    { name: 'dir/setuid', mode: 0o4755, uid: 12, gid: 34, content: 'x' },
    { name: 'dir/link', type: 'symlink', linkname: '../dir/setuid' },
    { name: 'dir/block', type: 'block-device', mode: 0o660, devmajor: 259, devminor: 70_000 },
    { name: 'dir/char', type: 'character-device', mode: 0o666, devmajor: 1, devminor: 3 },
    { name: 'dir/fifo', type: 'fifo', mode: 0o600 },
    { name: `long/${'n'.repeat(200)}`, pax: { uid: '3000000000' }, content: 'long' },
  ]);
  await using layer = await writeLayer(archive);
  assert.deepEqual(layer.list, [
    'dir dir 01777 1 2',
    'dir long 0755 0 0',
    'file dir/setuid 04755 12 34',
    `file long/${'n'.repeat(200)} 0644 3000000000 0`,
    'nod dir/block 0660 0 0 b 259 70000',
    'nod dir/char 0666 0 0 c 1 3',
    'pipe dir/fifo 0600 0 0',
    'slink dir/link 0777 0 0 ../dir/setuid',
  ]);
});

test('whiteouts become those of overlayfs', async () => {
  await using layer = await writeLayer(
    await tarOf([
      { name: 'etc/', type: 'directory', mode: 0o750 },
      { name: 'etc/.wh.removed' },
      { name: 'etc/opaque/.wh..wh..opq' },
      { name: 'etc/opaque/', type: 'directory', mode: 0o700 },
      { name: 'etc/opaque/new', content: 'new' },
    ]),
  );
  assert.deepEqual(layer.list, [
    'dir etc 0750 0 0',
    'dir etc/opaque 0700 0 0',
    'file etc/opaque/new 0644 0 0',
    'nod etc/removed 00 0 0 c 0 0',
  ]);
  assert.deepEqual(await layer.xattrs('etc/opaque'), ['trusted.overlay.opaque=y']);
  assert.deepEqual(await layer.xattrs('etc'), []);
});

test('a whiteout hides lower layers alone, before or behind an entry of the same path', async () => {
  await using layer = await writeLayer(
    await tarOf([
      { name: '.wh.before' },
      { name: 'before/new', content: '1' },
      { name: 'behind/new', content: '2' },
      { name: '.wh.behind' },
      { name: 'file', content: '3' },
      { name: '.wh.file' },
    ]),
  );
  assert.deepEqual(layer.list, [
    'dir before 0755 0 0',
    'dir behind 0755 0 0',
    'file before/new 0644 0 0',
    'file behind/new 0644 0 0',
    'file file 0644 0 0',
  ]);
  assert.deepEqual(await layer.xattrs('before'), ['trusted.overlay.opaque=y']);
  assert.deepEqual(await layer.xattrs('behind'), ['trusted.overlay.opaque=y']);
});

test('later entries replace earlier ones, and hard links keep the replaced file', async () => {
  await using layer = await writeLayer(
    await tarOf([
      FILE,
      { name: 'b', type: 'link', linkname: 'a' },
      { name: 'c', type: 'link', linkname: './b' },
      { name: 'a', content: 'second' },
      { name: 'tree/deep/file', content: 'x' },
      { name: 'tree', content: 'a file now' },
      { name: 'dir', type: 'symlink', linkname: 'a' },
      { name: 'dir/', type: 'directory', mode: 0o711 },
    ]),
  );
  assert.deepEqual(layer.list, [
    'dir dir 0711 0 0',
    'file a 0644 0 0',
    'file b 0644 0 0',
    'file c 0644 0 0',
    'file tree 0644 0 0',
  ]);
  assert.equal(await layer.content('a'), 'second');
  assert.equal(await layer.content('b'), 'first');
  assert.equal(await layer.inode('b'), await layer.inode('c'));
  assert.equal(await layer.content('tree'), 'a file now');
});

test('paths are cleaned, and follow symbolic links of the same layer', async () => {
  await using layer = await writeLayer(
    await tarOf([
      { name: './', type: 'directory', mode: 0o700 },
      { name: '/absolute', content: '1' },
      { name: 'x/../cleaned', content: '2' },
      { name: 'lib', type: 'symlink', linkname: '/usr/../usr/lib' },
      { name: 'lib/./libc', content: '3' },
      { name: 'libc', type: 'link', linkname: '/lib/libc' },
      { name: 'up', type: 'symlink', linkname: '../../../etc' },
      { name: 'up/file', content: '4' },
    ]),
  );
  assert.deepEqual(layer.list, [
    'dir etc 0755 0 0',
    'dir usr 0755 0 0',
    'dir usr/lib 0755 0 0',
    'file absolute 0644 0 0',
    'file cleaned 0644 0 0',
    'file etc/file 0644 0 0',
    'file libc 0644 0 0',
    'file usr/lib/libc 0644 0 0',
    'slink lib 0777 0 0 /usr/../usr/lib',
    'slink up 0777 0 0 ../../../etc',
  ]);
  assert.equal(await layer.inode('libc'), await layer.inode('usr/lib/libc'));
});

test('files of AUFS are left out, and hard links to them are files', async () => {
  await using layer = await writeLayer(
    await tarOf([
      { name: '.wh..wh.plnk/', type: 'directory' },
      { name: '.wh..wh.plnk/1.2', content: 'linked' },
      { name: 'file', type: 'link', linkname: '.wh..wh.plnk/1.2' },
      { name: '.wh.gone', type: 'link', linkname: '.wh..wh.plnk/1.2' },
    ]),
  );
  assert.deepEqual(layer.list, ['file file 0644 0 0', 'nod gone 00 0 0 c 0 0']);
  assert.equal(await layer.content('file'), 'linked');
});

test('attributes of overlayfs in an archive are dropped', async () => {
  const pax = {
    'SCHILY.xattr.trusted.overlay.redirect': '/etc',
    'SCHILY.xattr.user.overlay.opaque': 'y',
    'SCHILY.xattr.system.posix_acl_access': 'acl',
    'SCHILY.xattr.user.kept': 'value',
  };
  await using layer = await writeLayer(await tarOf([{ ...FILE, pax }]));
  assert.deepEqual(await layer.xattrs('a'), ['user.kept=value']);
});

test('compressions are detected by content', async () => {
  const archive = await tarOf([FILE]);
  const pipe = (program: string): Buffer => spawnSync(program, ['-c'], { input: archive }).stdout;
  for (const packed of [gzipSync(archive), pipe('zstd'), pipe('xz'), pipe('bzip2'), archive]) {
    await using layer = await writeLayer(archive, { packed });
    assert.equal(await layer.content('a'), 'first');
  }
});

test('an empty layer is a squashfs', async () => {
  await using layer = await writeLayer(Buffer.alloc(1024));
  assert.deepEqual(layer.list, []);
});

const REFUSED: readonly [string, readonly TestEntry[], RegExp][] = [
  [
    'a path above the root',
    [{ name: 'a/../../b' }],
    /layer sha256:\w+ "a\/\.\.\/\.\.\/b": the path leaves the root/,
  ],
  ['a link above the root', [{ name: 'a', type: 'link', linkname: '../b' }], /"\.\.\/b": the path leaves/],
  [
    'a link to nothing',
    [{ name: 'a', type: 'link', linkname: 'b' }],
    /"a": links to "b", which is no earlier entry/,
  ],
  [
    'a link to a directory',
    [{ name: 'd/f' }, { name: 'a', type: 'link', linkname: 'd' }],
    /links to a directory/,
  ],
  ['a file as a directory', [FILE, { name: 'a/b' }], /"a": cannot be a directory/],
  [
    'a loop of links',
    [
      { name: 'a', type: 'symlink', linkname: 'b' },
      { name: 'b', type: 'symlink', linkname: 'a' },
      { name: 'a/x' },
    ],
    /"a": cannot be a directory/,
  ],
  ['a long name', [{ name: 'n'.repeat(256) }], /a name has more than 255 bytes/],
  ['a long path', [{ name: 'n/'.repeat(2050) }], /the path has more than 4095 bytes/],
  ['a whiteout of the parent', [{ name: 'd/.wh...' }], /is a whiteout of no file/],
  [
    'a device number',
    [{ name: 'd', type: 'block-device', devmajor: 5000, devminor: 0 }],
    /device number 5000:0/,
  ],
];

for (const [title, entries, message] of REFUSED) {
  test(`refused: ${title}`, async () => {
    const archive = await tarOf(entries);
    await assert.rejects(
      () => writeLayer(archive),
      (error) => error instanceof ImageError && error.fault === 'invalid' && message.test(error.message),
    );
  });
}

test('a wrong digest, damaged data and a truncated archive are refused', async () => {
  const archive = await tarOf([FILE]);
  const other = await tarOf([{ ...FILE, content: 'other' }]);
  const packed = gzipSync(archive);
  const cases: [Buffer, RegExp][] = [
    [other, /has the uncompressed digest sha256:\w+, not sha256:/],
    [packed.subarray(0, -12), /is damaged: unexpected end of file/],
    [archive.subarray(0, 700), /ends within an entry: it is truncated/],
    [Buffer.alloc(512, 'a'), /is no tar archive, or damaged/],
  ];
  for (const [wrong, message] of cases) {
    await assert.rejects(() => writeLayer(archive, { packed: wrong }), { fault: 'invalid', message });
  }
});

test('an abort ends tar2sqfs', async () => {
  const archive = await tarOf([FILE, { name: 'b', content: 'x'.repeat(2 ** 20) }]);
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'layer');
  await writeFile(path, archive);
  const controller = new AbortController();
  const layer = { image: 'test', diffId: digestOf(archive), path, mediaType: '' };
  const target = join(folder.path, 'out');
  await assert.rejects(
    () =>
      writeSquashfs(layer, target, {
        signal: controller.signal,
        onProgress: () => controller.abort(),
      }),
    { fault: 'aborted' },
  );
  assert.deepEqual(await processesWith(target), []);
});

test('a missing tar2sqfs is an error that names its package', async () => {
  const { PATH } = process.env;
  process.env['PATH'] = '/nonexistent';
  try {
    await assert.rejects(async () => writeLayer(await tarOf([FILE])), {
      fault: 'store',
      message: /tar2sqfs was not found: install the package squashfs-tools-ng/,
    });
  } finally {
    process.env['PATH'] = PATH;
  }
});

/** Returns the ids of processes that have a word in their command line. */
async function processesWith(word: string): Promise<string[]> {
  const ids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(ids.map((id) => readFile(`/proc/${id}/cmdline`, 'utf8').catch(() => '')));
  return ids.filter((_, index) => lines[index]?.includes(word) === true);
}

test('an archive that ends behind the content of its last entry is read, as docker reads it', async () => {
  const archive = await tarOf([FILE]);
  await using layer = await writeLayer(archive.subarray(0, 512 + 'first'.length));
  assert.equal(await layer.content('a'), 'first');
});
