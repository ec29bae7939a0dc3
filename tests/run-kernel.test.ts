// nephos run --kernel: a kernel of the user, with and without modules, in the current directory and with an initramfs.
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { INITRAMFS, KERNEL } from './support/guest.ts';
import { makeHome } from './support/nephos.ts';
import { makeFolder } from './support/vmm.ts';

/** Offset of the place of the release in a bzImage, and of what it counts from (Documentation/arch/x86/boot.rst of Linux). */
const [RELEASE_PLACE, SETUP] = [0x20e, 0x200];

const folder = makeFolder();

/** Returns a kernel that no modules belong to: its file has another release. */
function makeForeignKernel(): string {
  const image = readFileSync(KERNEL);
  image.write('9', SETUP + image.readUInt16LE(RELEASE_PLACE));
  const path = join(folder, 'foreign bzImage');
  writeFileSync(path, image);
  return path;
}

test('a kernel alone runs a program of the current directory, which is shared', async () => {
  await using home = makeHome();
  const project = join(folder, 'a "project", ü');
  mkdirSync(project);
  const script = '#!/bin/sh\nuname -r >release; pwd; echo "$1"; exit 3\n';
  writeFileSync(join(project, 'test.sh'), script);
  chmodSync(join(project, 'test.sh'), 0o755);
  const result = await home.nephosIn(project, 'run', '--rm', '--kernel', KERNEL, '--', './test.sh', 'a b');
  assert.deepEqual(result, { code: 3, stdout: `${project}\na b\n`, stderr: '' });
  assert.match(readFileSync(join(project, 'release'), 'utf8'), /^\d+\.\d+\.\d+/);
});

test('a kernel without drivers ends the run with 126, and names the step that failed', async () => {
  await using home = makeHome();
  const { code, stderr } = await home.nephos('run', '--rm', '--kernel', makeForeignKernel(), '--', 'true');
  assert.equal(code, 126, stderr);
  assert.match(stderr, /^nephos: the guest cannot boot: .*; the kernel may lack the driver/);
});

test('a kernel without modules runs the files of an initramfs, without a network', async () => {
  await using home = makeHome();
  const flags = ['--kernel', makeForeignKernel(), '--initramfs', INITRAMFS, '--network', 'none', '-w', '/'];
  const script = 'test -x /init && ls /sys/class/net; cat /proc/cmdline; exit 4';
  const { code, stdout, stderr } = await home.nephos(
    ...['run', '--rm', ...flags, '--append', 'word=1', '--', 'sh', '-c', script],
  );
  assert.equal(code, 4, stderr);
  assert.match(stdout, /^lo\n.* word=1\b.*\n$/);
});

test('a kernel or an initramfs that cannot be used is named, and nothing is left', async () => {
  await using home = makeHome();
  const text = join(folder, 'text');
  writeFileSync(text, 'no kernel\n');
  for (const [flags, reason] of [
    [['--kernel', join(folder, 'absent')], /kernel .*absent: no such file or directory/],
    [['--kernel', text], /kernel .*text: is a text file/],
    [
      ['--kernel', KERNEL, '--initramfs', join(folder, 'absent')],
      /initramfs .*absent: no such file or directory/,
    ],
  ] as const) {
    const { code, stderr } = await home.nephos('run', '-w', '/', ...flags, '--', 'true');
    assert.equal(code, 125, stderr);
    assert.match(stderr, reason);
  }
  assert.equal((await home.nephos('ps', '-aq')).stdout, '');
});
