import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { detectDiskImage, inspectDiskImage, type Image, type ImageRequest } from './disk-image.ts';

const MIB = 2 ** 20;
const folder = mkdtempSync(join(tmpdir(), 'nephos "image", '));
after(() => rmSync(folder, { recursive: true }));

const place = (name: string): string => join(folder, name);

function make(name: string, ...options: readonly string[]): string {
  execFileSync('qemu-img', ['create', '-q', ...options, place(name), '16M']);
  return place(name);
}

/** A copy of an image with bytes written over it. */
function damaged(
  path: string,
  name: string,
  ...patches: readonly (readonly [number, Buffer | string])[]
): string {
  const contents = readFileSync(path);
  for (const [at, bytes] of patches) Buffer.from(bytes).copy(contents, at);
  writeFileSync(place(name), contents);
  return place(name);
}

function inspect(path: string, more: Partial<ImageRequest> = {}): Promise<Image> {
  return inspectDiskImage({
    path,
    readonly: false,
    direct: false,
    format: undefined,
    anyBackingFile: false,
    ioUring: true,
    rawImages: new Set(),
    ...more,
  });
}

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};
const u64 = (value: bigint): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
};

test('the size of the disk is that of the format', async () => {
  const sizes = [
    make('a.raw', '-f', 'raw'),
    make('a.qcow2', '-f', 'qcow2'),
    make('a.vhdx', '-f', 'vhdx'),
    make('a-fixed.vhd', '-f', 'vpc', '-o', 'subformat=fixed,force_size=on'),
    make('a-dynamic.vhd', '-f', 'vpc', '-o', 'force_size=on'),
  ];
  for (const path of sizes) assert.equal((await inspect(path)).bytes, 16 * MIB, path);
  appendFileSync(place('a.raw'), 'less than a sector');
  const odd = await inspect(place('a.raw'));
  assert.equal(odd.bytes, 16 * MIB);
  assert.equal(odd.layers[0]?.visible, 16 * MIB);
});

test('a qcow2 header whose tables are not within the file is refused', async () => {
  const path = make('b.qcow2', '-f', 'qcow2');
  const refused: [string, readonly (readonly [number, Buffer | string])[], RegExp][] = [
    [
      'refcount table',
      [[59, '\x7f']],
      /refcount table \(8323072 bytes at 65536\) is beyond the end of the file/,
    ],
    ['refcount table of 16 MiB', [[56, u32(256)]], /its refcount table has 16777216 bytes/],
    ['refcounts elsewhere', [[48, u64(1n << 62n)]], /refcount table .* is beyond the end/],
    ['L1 table', [[36, u32(512)]], /L1 table \(4096 bytes at 196608\) is beyond the end/],
    ['L1 table of 2 GiB', [[36, u32(2 ** 28)]], /its L1 table has 2147483648 bytes/],
    ['L1 elsewhere', [[40, u64(1n << 63n)]], /L1 table .* is beyond the end/],
    ['L1 within a cluster', [[40, u64(0x1_0200n)]], /L1 table is not at a cluster/],
    [
      'snapshots',
      [
        [60, u32(3)],
        [64, u64(0x9_0000n)],
      ],
      /snapshot table .* is beyond the end/,
    ],
    ['many snapshots', [[60, u32(70_000)]], /it has 70000 snapshots/],
    ['clusters', [[20, u32(31)]], /clusters of 2\^31 bytes/],
    ['header', [[100, u32(1 << 20)]], /its header has 1048576 bytes/],
    ['refcount bits', [[96, u32(7)]], /reference counts have 2\^7 bits/],
    ['an extension', [[116, u32(0xffff_fff0)]], /an extension of its header is too long/],
    [
      'bitmaps',
      [
        [112, u32(0x2385_2875)],
        [116, u32(24)],
        [128, u64(1n << 20n)],
        [136, u64(0n)],
      ],
      /bitmap directory/,
    ],
    [
      'the name of a backing file',
      [
        [8, u64(0xffffn)],
        [16, u32(900)],
      ],
      /name of its backing file is out of place/,
    ],
    ['the disk', [[24, u64(1n << 60n)]], /it is a disk of/],
  ];
  for (const [what, patches, reason] of refused) {
    await assert.rejects(inspect(damaged(path, 'damaged.qcow2', ...patches)), reason, what);
  }
  // an internal snapshot is not a truncation
  execFileSync('qemu-img', ['snapshot', '-c', 'one', path]);
  assert.equal((await inspect(path)).bytes, 16 * MIB);
});

test('an image that was cut within a sector is not read through io_uring', async () => {
  const path = make('c.qcow2', '-f', 'qcow2');
  const whole = (await inspect(path)).aio;
  execFileSync('qemu-io', ['-c', 'write -q 0 1M', path]);
  truncateSync(path, 400_001);
  assert.equal((await inspect(path)).aio, 'threads');
  truncateSync(path, 400_384);
  assert.equal((await inspect(path)).aio, whole);
});

test('VHD and VHDX images with a parent, or tables outside the file, are refused', async () => {
  const dynamic = make('d.vhd', '-f', 'vpc', '-o', 'force_size=on');
  const vhdx = make('d.vhdx', '-f', 'vhdx');
  const region = 192 * 1024 + 16;
  const huge = Buffer.from('ffffffff', 'hex');
  const refused: [string, readonly (readonly [number, Buffer | string])[], RegExp][] = [
    [dynamic, [[16, u64(1n << 40n)]], /header \(1024 bytes at 1099511627776\) is beyond/],
    [dynamic, [[512 + 28, u32(0x7fff_ffff)]], /block table has 8589934588 bytes/],
    [dynamic, [[512 + 28, u32(2 ** 20)]], /block table .* is beyond the end/],
    [dynamic, [[512 + 32, u32(513)]], /blocks of 513 bytes/],
    [dynamic, [[60, u32(4)]], /differencing VHD image, which needs its parent/],
    [vhdx, [[region + 24, huge]], /region .* is beyond the end/],
    [vhdx, [[64 * 1024 + 68, huge]], /log .* is beyond the end/],
    [vhdx, [[192 * 1024 + 8, huge]], /no region table/],
    [vhdx, [[192 * 1024, 'none']], /no region table/],
    [vhdx, [[3 * MIB + 65_536 + 4, Buffer.from([2])]], /differencing Vhdx image, which needs its parent/],
  ];
  for (const [path, patches, reason] of refused) {
    await assert.rejects(inspect(damaged(path, 'damaged', ...patches)), reason);
  }
});

test('formats that are not supported are refused by name, with the command that converts them', async () => {
  const made = [
    [make('e.vmdk', '-f', 'vmdk'), 'VMDK', 'vmdk'],
    [make('e.vdi', '-f', 'vdi'), 'VDI', 'vdi'],
    [make('e.qed', '-f', 'qed'), 'QED', 'qed'],
    [make('e.hdd', '-f', 'parallels'), 'Parallels', 'parallels'],
    [make('e.qcow', '-f', 'qcow'), 'qcow (version 1)', 'qcow'],
    [make('split.vmdk', '-f', 'vmdk', '-o', 'subformat=monolithicFlat'), 'VMDK', 'vmdk'],
  ] as const;
  const magics = [
    ['LUKS', 'luks', 'LUKS\xba\xbe'],
    ['Bochs', 'bochs', 'Bochs Virtual HD Image\0'],
    ['cloop', 'cloop', '#!/bin/sh\n#V2.0 Format\nmodprobe cloop'],
  ].map(([name = '', driver = '', magic = '']) => {
    const path = place(`e.${driver}`);
    writeFileSync(path, magic, 'latin1');
    truncateSync(path, MIB);
    return [path, name, driver] as const;
  });
  const dmg = place('e.dmg');
  writeFileSync(dmg, Buffer.concat([Buffer.alloc(512), Buffer.from('koly'), Buffer.alloc(508)]));
  for (const [path, name, driver] of [...made, ...magics, [dmg, 'DMG', 'dmg'] as const]) {
    await assert.rejects(inspect(path), (error: Error) => {
      assert.ok(
        error.message.startsWith(`${path}: is a ${name} image, which is not supported`),
        error.message,
      );
      assert.ok(error.message.includes(`qemu-img convert -f ${driver} -O qcow2 '${path}' '`), error.message);
      return true;
    });
    assert.equal(await detectDiskImage(path), name);
  }
  const [declared] = (await inspect(place('e.luks'), { format: 'Raw' })).layers;
  assert.equal(declared?.driver, 'raw');
});

test('the converting command is one that a shell runs', async () => {
  const path = make("it's a disk.vmdk", '-f', 'vmdk');
  const error: unknown = await inspect(path).catch((one: unknown) => one);
  const [, command = ''] = /convert it \((.*?\.qcow2'?)\)/.exec(String(error)) ?? [];
  execFileSync('sh', ['-c', command]);
  assert.equal((await inspect(place("it's a disk.converted.qcow2"))).bytes, 16 * MIB);
});

test('a backing file that a guest may have named is not opened unless any is allowed', async () => {
  make('neighbour.raw', '-f', 'raw');
  const written = make('guest.raw', '-f', 'qcow2', '-b', 'neighbour.raw', '-F', 'raw');
  await assert.rejects(
    inspect(written),
    /guest\.raw: was not declared but detected as Qcow2, with the backing file "neighbour\.raw": declare image_type=qcow2 .*backing_files=on/,
  );
  assert.equal((await inspect(written, { format: 'Raw' })).layers.length, 1);
  assert.equal((await inspect(written, { format: 'Qcow2' })).layers.length, 2);
  const { identity } = await inspect(written, { format: 'Raw' });
  assert.equal((await inspect(written, { rawImages: new Set([identity]) })).format, 'Raw');
  const allowed = await inspect(written, { anyBackingFile: true });
  assert.deepEqual(allowed.guessed, [{ path: written, format: 'Qcow2' }]);

  // the same for a lower layer, where an image does not record the format of its backing file
  const chain = damaged(make('chain.qcow2', '-f', 'qcow2', '-b', 'guest.raw', '-F', 'qcow2'), 'chain.qcow2', [
    112,
    u32(0x6803_f857),
  ]);
  await assert.rejects(
    inspect(chain, { format: 'Qcow2' }),
    /guest\.raw: was not declared but detected as Qcow2/,
  );
  assert.equal(
    (await inspect(make('told.qcow2', '-f', 'qcow2', '-b', 'guest.raw', '-F', 'qcow2'), { format: 'Qcow2' }))
      .layers.length,
    3,
  );

  const split = make(
    'split.qcow2',
    '-f',
    'qcow2',
    '-o',
    `data_file=${place('neighbour.data').replaceAll(',', ',,')}`,
  );
  await assert.rejects(inspect(split, { anyBackingFile: true }), /keeps its data in another file/);
});

test('a file of another format than declared is refused, as are a FIFO and a folder', async () => {
  await assert.rejects(inspect(place('a.raw'), { format: 'Qcow2' }), /a\.raw: is no Qcow2 image/);
  await assert.rejects(inspect(place('a.qcow2'), { format: 'Vhdx' }), /is no Vhdx image/);
  execFileSync('mkfifo', ['--', place('fifo')]);
  await assert.rejects(inspect(place('fifo')), /fifo: is neither a file nor a block device/);
  mkdirSync(place('folder'));
  await assert.rejects(
    inspect(place('folder'), { readonly: true }),
    /folder: is neither a file nor a block device/,
  );
});
