// PVH kernels other than Linux, firmware images, and files that are neither.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { assertStatus, messagesOf } from './support/answers.ts';
import { bootSector, echoSector } from './support/boot-sector.ts';
import { createAndBoot, deleteVm } from './support/boot.ts';
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

/** Serial port of the guest; `times` counts a text in its output. */
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

test('a PVH kernel other than Linux finds its devices at assigned addresses', async (t) => {
  await using vmm = await startVmm();
  const kernel = join(vmm.folder, 'hypervisor, "fw"');
  writeFileSync(kernel, pvhKernel());
  await bootPayload(vmm, { payload: { firmware: kernel } });
  await t.test('at boot and after a reboot', async () => {
    using serial = await serialOf(vmm);
    const shows = (times: number): Promise<void> =>
      until(`${BARS_ASSIGNED} is there ${times} times`, () => {
        assert.equal(serial.times(BARS_MISSING), 0);
        return serial.times(BARS_ASSIGNED) === times;
      });
    await shows(1);
    assertStatus(await vmm.put('vm.reboot'), 204);
    await shows(2);
  });
  const snapshot = await snapshotTo(vmm, 'snapshot');
  await using other = await startVmm();
  assertStatus(await other.put('vm.restore', { source_url: snapshot, resume: true }), 204);
  using serial = await serialOf(other);
  await t.test('in a restored VM', async () => {
    serial.type('x');
    await until('the restored guest answers', () => serial.times(BARS_ASSIGNED) === 1);
  });
  await t.test('after a reboot of a restored VM', async () => {
    assertStatus(await other.put('vm.reboot'), 204);
    await until('the restored guest boots again', () => serial.times(BARS_ASSIGNED) === 2);
  });
});

for (const [name, words, options] of [
  ['--kernel', '--kernel', { bits: 32 }],
  // as EDK2's CLOUDHV.fd: 4 MiB, 64-bit, with the machine type of the 80386
  ['--firmware', '--firmware', { machine: 3, size: 4 * 2 ** 20 }],
] as const) {
  test(`${name} starts a PVH kernel other than Linux: ${JSON.stringify(options)}`, async () => {
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

/** SeaBIOS behind an empty page: a size that QEMU refuses for a ROM, like that of OVMF_CODE_4M.fd. */
const inFlash = (): Buffer => Buffer.concat([Buffer.alloc(4096, 0xff), readFileSync(SEABIOS)]);

for (const [form, image] of [
  ['a ROM', () => readFileSync(SEABIOS)],
  ['flash', inFlash],
] as const) {
  test(`firmware in ${form}`, async (t) => {
    await using vmm = await startVmm();
    const [firmware, disk] = [join(vmm.folder, 'firm, "ware"_CODE'), join(vmm.folder, 'disk')];
    writeFileSync(firmware, image());
    writeFileSync(join(vmm.folder, 'firm, "ware"_VARS'), 'variables');
    writeFileSync(disk, echoSector('BOOTED'));
    const payload = { firmware, cmdline: 'x' };
    await bootPayload(vmm, { payload, disks: [{ path: disk, readonly: true }] });
    await t.test('members without an effect, and a file of EFI variables, are reported', () => {
      assert.ok(vmm.output().includes(`${firmware}: cmdline: has no effect with firmware`));
      assert.match(vmm.output(), /firm, "ware"_VARS is not used: EFI variables are kept in RAM/);
    });
    await t.test('boots a disk, also after a reboot', async () => {
      using serial = await serialOf(vmm);
      await until('the disk is booted', () => serial.times('BOOTED') === 1);
      assertStatus(await vmm.put('vm.reboot'), 204);
      await until('the disk is booted again', () => serial.times('BOOTED') === 2);
    });
    const snapshot = await snapshotTo(vmm, 'snapshot');
    await using other = await startVmm();
    assertStatus(await other.put('vm.restore', { source_url: snapshot, resume: true }), 204);
    using serial = await serialOf(other);
    await t.test('runs on in a restored VM', async () => {
      serial.type('x');
      await until('the restored guest answers', () => serial.times('BOOTED') === 1);
    });
    await t.test('boots the disk after a reboot of a restored VM', async () => {
      assertStatus(await other.put('vm.reboot'), 204);
      await until('the restored guest boots again', () => serial.times('BOOTED') === 2);
    });
  });
}

test('a file that is neither a kernel nor firmware is refused', async (t) => {
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
    await t.test(message.source.slice(0, 70), async () => {
      writeFileSync(path, bytes);
      for (const [member, config] of [
        ['kernel', { kernel: { path } }],
        ['kernel', { payload: { kernel: path } }],
        ['firmware', { payload: { firmware: path } }],
      ] as const) {
        await deleteVm(vmm);
        assertStatus(await vmm.put('vm.create', { ...CONSOLES, ...config }), 204);
        const answer = await vmm.put('vm.boot');
        assertStatus(answer, 500);
        const text = messagesOf(answer).join(': ');
        assert.ok(text.includes(`${member} ${path}: `), text);
        assert.match(text, message);
        assertStatus(await vmm.put('vm.delete'), 204);
      }
    });
  }
});
