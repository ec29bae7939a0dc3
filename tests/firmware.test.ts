// Kernels that are no Linux, firmware images, and files that are neither.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { assertStatus, messagesOf } from './support/answers.ts';
import { bootSector, echoSector } from './support/boot-sector.ts';
import { createAndBoot } from './support/boot.ts';
import { KERNEL } from './support/guest.ts';
import { BARS_ASSIGNED, BARS_MISSING, pvhKernel } from './support/pvh-kernel.ts';
import { openShell } from './support/shell.ts';
import { takeSnapshot } from './support/snapshots.ts';
import { ptyOf } from './support/vm-info.ts';
import { makeFolder, startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const SEABIOS = '/usr/share/seabios/bios-256k.bin';
const readText = (path: string): string => (existsSync(path) ? readFileSync(path, 'latin1') : '');
const CONSOLES = { serial: { mode: 'Pty' }, console: { mode: 'Off' } };

/** The guest's serial port: counts a text in what it has shown, and can be typed at. */
async function serialOf(vmm: TestVmm): Promise<{
  times: (text: string) => number;
  type: (text: string) => void;
  [Symbol.dispose]: () => void;
}> {
  const shell = openShell(await ptyOf(vmm));
  return {
    times: (text) => shell.shown().split(text).length - 1,
    type: (text) => shell.type(text),
    [Symbol.dispose]: () => shell[Symbol.dispose](),
  };
}

async function bootPayload(vmm: TestVmm, config: Readonly<Record<string, unknown>>): Promise<void> {
  await createAndBoot(vmm, { ...CONSOLES, ...config });
}

async function snapshotTo(vmm: TestVmm, name: string): Promise<string> {
  const folder = join(vmm.folder, name);
  await takeSnapshot(vmm, folder);
  return `file://${folder}`;
}

test('a PVH kernel that is no Linux finds its devices at addresses: at boot, after a reboot, in a restored VM', async () => {
  let snapshot: string;
  await using vmm = await startVmm();
  const kernel = join(vmm.folder, 'hypervisor, "fw"');
  writeFileSync(kernel, pvhKernel());
  await bootPayload(vmm, { payload: { firmware: kernel } });
  {
    using serial = await serialOf(vmm);
    const shows = (times: number): Promise<void> =>
      until(`${BARS_ASSIGNED} is there ${times} times`, () => {
        assert.equal(serial.times(BARS_MISSING), 0);
        return serial.times(BARS_ASSIGNED) === times;
      });
    await shows(1);
    assertStatus(await vmm.put('vm.reboot'), 204);
    await shows(2);
    snapshot = await snapshotTo(vmm, 'snapshot');
  }
  await using other = await startVmm();
  assertStatus(await other.put('vm.restore', { source_url: snapshot, resume: true }), 204);
  using serial = await serialOf(other);
  serial.type('x');
  await until('the restored guest answers', () => serial.times(BARS_ASSIGNED) === 1);
  assertStatus(await other.put('vm.reboot'), 204);
  await until('the restored guest boots again', () => serial.times(BARS_ASSIGNED) === 2);
});

for (const [name, words, options] of [
  ['--kernel', '--kernel', { bits: 32 }],
  // as EDK2's CLOUDHV.fd is: 4 MiB, 64-bit, and says that it is for the 80386
  ['--firmware', '--firmware', { machine: 3, size: 4 * 2 ** 20 }],
] as const) {
  test(`${name} starts a PVH kernel that is no Linux, also ${JSON.stringify(options)}`, async () => {
    const folder = makeFolder();
    const [kernel, serial] = [join(folder, 'kernel'), join(folder, 'serial')];
    writeFileSync(kernel, pvhKernel(options));
    await using vmm = await startVmm({
      args: [words, kernel, '--serial', `file=${serial}`, '--console', 'off'],
    });
    await until('the kernel has looked', () => readText(serial).includes('>'), vmm.output);
    assert.equal(readText(serial), BARS_ASSIGNED);
    rmSync(folder, { recursive: true });
  });
}

/** SeaBIOS behind a page of nothing: a size that no ROM of QEMU's may have, as that of OVMF_CODE_4M.fd. */
const inFlash = (): Buffer => Buffer.concat([Buffer.alloc(4096, 0xff), readFileSync(SEABIOS)]);

for (const [form, image] of [
  ['a ROM', () => readFileSync(SEABIOS)],
  ['flash', inFlash],
] as const) {
  test(`firmware in ${form} boots a disk, boots again, and goes on in a restored VM`, async () => {
    await using vmm = await startVmm();
    const [firmware, disk] = [join(vmm.folder, 'firm, "ware"_CODE'), join(vmm.folder, 'disk')];
    writeFileSync(firmware, image());
    writeFileSync(join(vmm.folder, 'firm, "ware"_VARS'), 'variables');
    writeFileSync(disk, echoSector('BOOTED'));
    const payload = { firmware, cmdline: 'x' };
    await bootPayload(vmm, { payload, disks: [{ path: disk, readonly: true }] });
    assert.ok(vmm.output().includes(`${firmware}: cmdline: has no effect with firmware`));
    assert.match(vmm.output(), /firm, "ware"_VARS is not used: EFI variables are kept in RAM/);
    let snapshot: string;
    {
      using serial = await serialOf(vmm);
      await until('the disk is booted', () => serial.times('BOOTED') === 1);
      assertStatus(await vmm.put('vm.reboot'), 204);
      await until('the disk is booted again', () => serial.times('BOOTED') === 2);
      snapshot = await snapshotTo(vmm, 'snapshot');
    }
    await using other = await startVmm();
    assertStatus(await other.put('vm.restore', { source_url: snapshot, resume: true }), 204);
    using serial = await serialOf(other);
    serial.type('x');
    await until('the restored guest answers', () => serial.times('BOOTED') === 1);
    assertStatus(await other.put('vm.reboot'), 204);
    await until('the restored guest boots again', () => serial.times('BOOTED') === 2);
  });
}

test('a file that is neither a kernel nor firmware is refused by what it is, in each form', async () => {
  await using vmm = await startVmm();
  const path = join(vmm.folder, 'a file, "x"');
  const arm = Buffer.alloc(4096);
  arm.write('MZ', 0, 'latin1');
  arm.write('ARM\x64', 56, 'latin1');
  const wrong: readonly (readonly [Buffer, RegExp])[] = [
    [Buffer.alloc(0), /is empty/],
    [Buffer.from('#!/bin/sh\necho hello\n'), /is a script/],
    [Buffer.from('nothing to boot, é\n'), /is a text file/],
    [gzipSync(readFileSync(KERNEL).subarray(0, 100_000)), /is compressed with gzip: decompress it first/],
    [arm, /is an arm64 kernel: the VM's processor is x86-64/],
    [pvhKernel({ machine: 183 }), /is an ELF for AArch64: the VM's processor is x86-64/],
    [pvhKernel({ note: false }), /is an ELF without a PVH note and cannot be entered/],
    [pvhKernel({ note: false, bits: 32 }), /is a 32-bit ELF without a PVH note/],
    [pvhKernel().subarray(0, 40), /is a truncated ELF file/],
    [bootSector('x').subarray(0, 2 ** 20), /is a disk image/],
    [Buffer.alloc(2 ** 20, 0xff), /its last 16 bytes, the reset vector, are blank/],
    [Buffer.alloc(16 * 2 ** 20, 0x90), /which has at most 8 MiB/],
    [Buffer.alloc(5000, 0x90), /whose size is a multiple of 4 KiB/],
  ];
  for (const [bytes, message] of wrong) {
    writeFileSync(path, bytes);
    for (const [member, config] of [
      ['kernel', { kernel: { path } }],
      ['kernel', { payload: { kernel: path } }],
      ['firmware', { payload: { firmware: path } }],
    ] as const) {
      assertStatus(await vmm.put('vm.create', { ...CONSOLES, ...config }), 204);
      const answer = await vmm.put('vm.boot');
      assertStatus(answer, 500);
      const text = messagesOf(answer).join(': ');
      assert.ok(text.includes(`${member} ${path}: `), text);
      assert.match(text, message);
      assertStatus(await vmm.put('vm.delete'), 204);
    }
  }
});
