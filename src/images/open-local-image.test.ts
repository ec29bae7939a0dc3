import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { ImageError } from './image-error.ts';
import { tarOf, temporaryFolder } from './layers/test-archive.ts';
import { openLocalImage } from './open-local-image.ts';

const MIB = 2 ** 20;

test('formats of disk images are detected', async () => {
  await using folder = await temporaryFolder();
  const formats = { qcow2: 'Qcow2', vhdx: 'Vhdx', raw: 'Raw' } as const;
  for (const [driver, format] of Object.entries(formats)) {
    const path = join(folder.path, `an image, ${driver}`);
    execFileSync('qemu-img', ['create', '-q', '-f', driver, path, '8M']);
    assert.deepEqual(await openLocalImage(path, driver), { kind: 'disk', name: driver, path, format });
  }
  const fixed = join(folder.path, 'fixed');
  execFileSync('qemu-img', ['create', '-q', '-f', 'vpc', '-o', 'subformat=fixed', fixed, '8M']);
  assert.equal((await openLocalImage(fixed, 'fixed')).kind, 'disk');
});

test('a directory with files is a root file system', async () => {
  await using folder = await temporaryFolder();
  await mkdir(join(folder.path, 'bin'));
  const image = await openLocalImage(folder.path, './root');
  assert.deepEqual(image, { kind: 'directory', name: './root', path: folder.path });
});

test('other paths are explained', async () => {
  await using folder = await temporaryFolder();
  const at = (name: string): string => join(folder.path, name);
  await mkdir(at('empty'));
  await mkdir(at('layout'));
  await writeFile(at('layout/oci-layout'), '{}');
  await writeFile(at('saved.tar'), await tarOf([{ name: 'manifest.json', content: '[]' }]));
  await writeFile(at('disk.img.gz'), gzipSync(Buffer.alloc(MIB)));
  await writeFile(at('initrd'), '070701'.padEnd(MIB));
  await writeFile(at('vmlinux'), '\x7fELF'.padEnd(MIB));
  await writeFile(at('script'), '#!/bin/sh\n');
  execFileSync('qemu-img', ['create', '-q', '-f', 'vpc', at('dynamic'), '8M']);
  execFileSync('qemu-img', ['create', '-q', '-f', 'raw', at('base'), '8M']);
  execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', at('base'), '-F', 'raw', at('overlay')]);
  await writeFile(at('torn'), 'QFI\xfb', 'latin1');
  await truncate(at('torn'), MIB);
  const cases: [name: string, shown: string, RegExp][] = [
    ['alpine', './alpine', /no such file or directory; write alpine for the image of a registry/],
    ['empty', './empty', /the directory is empty/],
    ['layout', './layout', /is an OCI layout; write oci:\.\/layout/],
    ['saved.tar', 'saved.tar', /write docker-archive:saved\.tar/],
    ['disk.img.gz', 'disk.img.gz', /compressed with gzip/],
    ['initrd', 'initrd', /--initramfs/],
    ['vmlinux', 'vmlinux', /write --kernel vmlinux/],
    ['script', 'script', /no disk image: it has 10 bytes/],
    ['dynamic', 'dynamic', /convert it with qemu-img/],
    ['overlay', 'overlay', /it has the backing file .*\/base; merge them/],
    ['torn', 'torn', /^image torn: (?!\/)/],
  ];
  for (const [name, shown, message] of cases) {
    await assert.rejects(
      () => openLocalImage(at(name), shown),
      (error) => error instanceof ImageError && error.image === shown && message.test(error.message),
      name,
    );
  }
});
