// Processors, memory, disks, entropy and kernel of the configuration, observed in the guest and in the host's /proc.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { chooseAccelerator } from '../src/host/system/accelerator.ts';
import { prepareKernel } from '../src/host/kernel/kernel.ts';
import { isOlder } from '../src/qemu/process/program.ts';
import { assertStatus, messagesOf } from './support/answers.ts';
import { bootSector } from './support/boot-sector.ts';
import { boot, createAndBoot, deleteVm } from './support/boot.ts';
import { guestConfig, KERNEL } from './support/guest.ts';
import { withHugePages } from './support/huge-pages.ts';
import { makeImage } from './support/images.ts';
import { type Mapping, mappingsOf, openFlagsOf, qemuOf } from './support/processes.ts';
import { openShell, type Shell } from './support/shell.ts';
import { countersOf, infoOf, ptyOf } from './support/vm-info.ts';
import { startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

/** An id with characters that are special to QEMU, longer than QEMU's names may be. */
const SECOND = 'my disk, "1", with a name of many words';

const MIB = 2 ** 20;
const GIB = 2 ** 30;

const imageFile = (vmm: TestVmm, name: string, text: string): string =>
  makeImage(join(vmm.folder, name), 16 * MIB, text);

/** Mapping of the guest's RAM in QEMU. */
function ramMapping(vmm: TestVmm, bytes: number): Mapping {
  const found = mappingsOf(qemuOf(vmm.pid)).find((mapping) => mapping.bytes === bytes);
  assert.ok(found !== undefined, `no mapping of ${bytes} bytes in QEMU`);
  return found;
}

/** Each processor's entry in the guest's APIC table (ACPI 6, 5.2.12.2): whether it is there from the start. */
async function processorsOf(shell: Shell): Promise<boolean[]> {
  const dump = await shell.run('od -An -v -tx1 /sys/firmware/acpi/tables/APIC');
  const table = Buffer.from(dump.replace(/\s/g, ''), 'hex');
  assert.equal(table.toString('latin1', 0, 4), 'APIC');
  assert.equal(table.length, table.readUInt32LE(4));
  const entries: boolean[] = [];
  // behind the header of 44 bytes: type, length, and in a processor's entry the flags at 4
  for (let at = 44; at < table.length; at += table.readUInt8(at + 1)) {
    if (table.readUInt8(at) === 0) entries.push((table.readUInt32LE(at + 4) & 1) === 1);
  }
  return entries;
}

function isFixedQemu(): boolean {
  const program = process.env['NEPHOS_QEMU'] ?? 'qemu-system-x86_64';
  const [, major, minor, micro] =
    /(\d+)\.(\d+)\.(\d+)/.exec(execFileSync(program, ['--version'], { encoding: 'utf8' })) ?? [];
  return !isOlder([Number(major), Number(minor), Number(micro)], [10, 0, 4]);
}

test('Linux enables the devices, unless an old QEMU has them enabled for several vCPUs', async () => {
  const areOn = chooseAccelerator().name === 'tcg' && !isFixedQemu();
  for (const [vcpus, switched] of [
    [1, 2],
    [2, areOn ? 0 : 2],
  ] as const) {
    await using vmm = await startVmm();
    const disks = [{ path: imageFile(vmm, 'disk', 'first') }];
    using shell = await boot(vmm, { cpus: { boot_vcpus: vcpus, max_vcpus: vcpus }, disks });
    // the disk and the console
    assert.equal(await shell.run('dmesg | grep -c "virtio-pci .*: enabling device"'), String(switched));
    assert.equal(await shell.run('head -c 5 /dev/vda'), 'first');
  }
});

// the kernel's count is no evidence: it counts hot-pluggable processors only under hypervisors that it detects
test('a VM with vCPUs, threads and vCPUs that can be added', async (t) => {
  await using vmm = await startVmm();
  const topology = { threads_per_core: 2, cores_per_die: 2, dies_per_package: 1, packages: 1 };
  using shell = await boot(vmm, { cpus: { boot_vcpus: 2, max_vcpus: 4, topology } });
  await t.test('the guest runs on boot_vcpus', async () => {
    assert.equal(await shell.run('grep -c ^processor /proc/cpuinfo'), '2');
  });
  await t.test('the firmware lists vCPUs up to max_vcpus', async () => {
    assert.deepEqual(await processorsOf(shell), [true, true, false, false]);
    assert.equal(await shell.run('ls /sys/bus/acpi/devices | grep -c ^LNXCPU:'), '4');
  });
  await t.test('threads are those of the topology', async () => {
    assert.equal(await shell.run('cat /sys/devices/system/cpu/cpu0/topology/thread_siblings_list'), '0-1');
  });
});

test('a VM with cores in two packages, to which no vCPU can be added', async (t) => {
  await using vmm = await startVmm();
  const topology = { threads_per_core: 1, cores_per_die: 2, dies_per_package: 1, packages: 2 };
  using shell = await boot(vmm, { cpus: { boot_vcpus: 4, max_vcpus: 4, topology } });
  await t.test('the guest runs on boot_vcpus', async () => {
    assert.equal(await shell.run('grep -c ^processor /proc/cpuinfo'), '4');
  });
  await t.test('the firmware lists no further vCPU', async () => {
    assert.deepEqual(await processorsOf(shell), Array(4).fill(true));
    assert.equal(await shell.run('ls /sys/bus/acpi/devices | grep -c ^LNXCPU:'), '4');
  });
  await t.test('packages and cores are those of the topology', async () => {
    const of = (file: string): Promise<string> =>
      shell.run(`cat /sys/devices/system/cpu/cpu*/topology/${file} | tr "\\n" " "`);
    assert.equal(await of('physical_package_id'), '0 0 1 1');
    assert.equal(await of('core_id'), '0 1 0 1');
  });
});

test('the processor of a guest with max_phys_bits', async (t) => {
  await using vmm = await startVmm();
  using shell = await boot(vmm, { cpus: { boot_vcpus: 1, max_vcpus: 1, max_phys_bits: 36 } });
  await t.test('its physical addresses have max_phys_bits bits', async () => {
    assert.match(await shell.run('grep -m1 "address sizes" /proc/cpuinfo'), /36 bits physical/);
  });
  await t.test('under emulation it has no fast copies by the byte, which are slow there', async () => {
    const flags = await shell.run('grep -m1 ^flags /proc/cpuinfo');
    if (chooseAccelerator().name === 'tcg')
      assert.doesNotMatch(flags, /\b(erms|fsrm)\b/, 'copying by the byte is slow under emulation');
  });
});

test('the guest has memory.size, also above 4 GiB', async () => {
  await using vmm = await startVmm();
  using shell = await boot(vmm, { memory: { size: 5120 * MIB } });
  const kib = Number(/MemTotal:\s+(\d+)/.exec(await shell.run('cat /proc/meminfo'))?.[1]);
  assert.ok(kib > 5_000_000 && kib < 5120 * 1024, `MemTotal ${kib} kB`);
  const info = await infoOf(vmm);
  assert.equal(info.memory_actual_size, 5120 * MIB);
});

test('mappings of guest RAM in QEMU', async (t) => {
  const memory = async (config: Record<string, unknown>) => {
    await using vmm = await startVmm();
    await createAndBoot(vmm, guestConfig({ memory: { size: 256 * MIB, ...config } }));
    return ramMapping(vmm, 256 * MIB);
  };
  await t.test('shared memory is a shared mapping, not offered to KSM', async () => {
    const shared = await memory({ shared: true });
    assert.match(shared.line, /rw-s .*memfd/);
    assert.doesNotMatch(shared.flags, /\bmg\b/);
  });
  await t.test('memory without mergeable is not offered to KSM', async () => {
    const plain = await memory({ mergeable: false });
    assert.doesNotMatch(plain.flags, /\bmg\b/);
  });
  await t.test('mergeable memory is a private mapping, offered to KSM', async () => {
    const mergeable = await memory({ mergeable: true });
    assert.match(mergeable.line, /rw-p /);
    assert.match(mergeable.flags, /\bmg\b/);
  });
  await t.test('memory that is shared and mergeable is a shared mapping', async () => {
    const both = await memory({ shared: true, mergeable: true });
    assert.match(both.line, /rw-s .*memfd/);
  });
});

test('huge pages', async (t) => {
  // as many as in a page of the other size
  using _pages = withHugePages(GIB / (2 * MIB));
  await using vmm = await startVmm();
  const huge = { hugepages: true, hugepage_size: 2 * MIB };
  await t.test('back the RAM of a guest', async () => {
    using shell = await boot(vmm, { memory: { size: 256 * MIB, ...huge } });
    assert.equal(await shell.run('echo up'), 'up');
    // ht: hugetlb
    assert.match(ramMapping(vmm, 256 * MIB).flags, /\bht\b/);
  });
  await deleteVm(vmm);
  const zones = [
    { id: 'small', size: 192 * MIB },
    { id: 'huge', size: 64 * MIB, ...huge },
  ];
  await t.test('back the memory zone that asks for them', async () => {
    await createAndBoot(vmm, guestConfig({ memory: { size: 0, zones } }));
    assert.match(ramMapping(vmm, 64 * MIB).flags, /\bht\b/);
    assert.doesNotMatch(ramMapping(vmm, 192 * MIB).flags, /\bht\b/);
  });
  await deleteVm(vmm);

  const larger = { size: GIB, hugepages: true, hugepage_size: GIB };
  for (const [memory, zone] of [
    [larger, 'mem0'],
    [{ size: 0, zones: [{ id: 'my, zone', ...larger }] }, 'my, zone'],
  ] as const) {
    await deleteVm(vmm);
    await t.test(`that the host does not have are refused, naming memory zone ${zone}`, async () => {
      assertStatus(await vmm.put('vm.create', guestConfig({ memory })), 204);
      const answer = await vmm.put('vm.boot');
      assertStatus(answer, 500);
      const [, reason = ''] = messagesOf(answer);
      assert.ok(reason.startsWith(`memory zone ${zone}: `), reason);
      assert.equal((await infoOf(vmm)).state, 'Created');
      assertStatus(await vmm.put('vm.delete'), 204);
    });
  }
});

test('a VM with two disks', async (t) => {
  await using vmm = await startVmm();
  // characters that separate options, words or lines elsewhere are part of the path
  const first = imageFile(vmm, 'a disk, "readonly=on" Ω.raw', 'first disk');
  const second = imageFile(vmm, 'second,if=none.raw', 'second disk');
  using shell = await boot(vmm, {
    cpus: { boot_vcpus: 2, max_vcpus: 2 },
    console: { mode: 'Null' },
    disks: [
      { path: first, num_queues: 2, queue_size: 64 },
      { path: second, readonly: true, direct: true, id: SECOND },
    ],
  });
  await t.test('the disks are in the order of the configuration', async () => {
    assert.equal(await shell.run('head -c 10 /dev/vda'), 'first disk');
    assert.equal(await shell.run('head -c 11 /dev/vdb'), 'second disk');
    assert.equal(await shell.run('cat /sys/block/vda/size'), String((16 * MIB) / 512));
  });
  await t.test('num_queues and queue_size reach the driver', async () => {
    assert.equal(await shell.run('ls /sys/block/vda/mq | wc -l'), '2');
    assert.equal(await shell.run('ls /sys/block/vdb/mq | wc -l'), '1');
    assert.equal(await shell.run('cat /sys/block/vda/mq/0/nr_tags'), '64');
  });
  assert.equal(await shell.run('cat /sys/block/vda/ro /sys/block/vdb/ro | tr "\\n" " "'), '0 1');
  await t.test('a writable disk is written to the image', async () => {
    await shell.run('echo -n written | dd of=/dev/vda bs=512 seek=8 conv=sync 2>/dev/null; sync');
    assert.equal(readFileSync(first).toString('latin1', 8 * 512, 8 * 512 + 7), 'written');
  });
  await t.test('a readonly disk cannot be written', async () => {
    assert.match(await shell.run('echo x >/dev/vdb'), /not permitted|Read-only|error/i);
  });

  await t.test('direct opens the image with O_DIRECT', () => {
    // O_DIRECT on the host is seen in the descriptor's flags
    const directs = (path: string): boolean[] =>
      openFlagsOf(qemuOf(vmm.pid), path).map((flags) => (flags & 0o40000) !== 0);
    assert.deepEqual(
      [directs(first), directs(second)].map((all) => all.includes(true)),
      [false, true],
    );
  });

  const info = await infoOf(vmm);
  await t.test('vm.info shows the ids', () => {
    assert.deepEqual(
      info.config.disks?.map(({ id }) => id),
      ['_disk0', SECOND],
    );
  });
  await t.test('PCI devices are console, disks and rng, from slot 2 on', async () => {
    // console, disks, rng: slots 2, 3, 4, 5 behind the chip set's two
    assert.equal(
      await shell.run('ls /sys/bus/pci/devices | tr "\\n" " "'),
      '0000:00:00.0 0000:00:01.0 0000:00:01.1 0000:00:01.3 0000:00:02.0 0000:00:03.0 0000:00:04.0 0000:00:05.0',
    );
    const slots = ['_console', '_disk0', SECOND, '_rng'].map(
      (id) => info.device_tree?.[`_virtio-pci-${id}`]?.pci_bdf,
    );
    assert.deepEqual(slots, [2 << 3, 3 << 3, 4 << 3, 5 << 3]);
    for (const [slot, device] of [
      [2, '1043'],
      [3, '1042'],
      [4, '1042'],
      [5, '1044'],
    ]) {
      assert.equal(await shell.run(`cat /sys/bus/pci/devices/0000:00:0${slot}.0/device`), `0x${device}`);
    }
  });
  await t.test('vm.counters count the reads and writes of each disk', async () => {
    const counters = await countersOf(vmm);
    assert.deepEqual(Object.keys(counters), ['_disk0', SECOND]);
    assert.ok(
      (counters['_disk0']?.['write_bytes'] ?? 0) >= 512 && (counters['_disk0']?.['read_ops'] ?? 0) > 0,
    );
    assert.equal(counters[SECOND]?.['write_ops'], 0);
  });
});

test('the rng device reads from rng.src', async () => {
  await using vmm = await startVmm();
  const source = join(vmm.folder, 'entropy, of ours');
  writeFileSync(source, 'nephos-entropy!!'.repeat(4096));
  using shell = await boot(vmm, { rng: { src: source } });
  assert.match(await shell.run('cat /sys/class/misc/hw_random/rng_available'), /virtio_rng\.0/);
  assert.match(await shell.run('head -c 64 /dev/hwrng'), /nephos-entropy!!/);
});

test('the command line reaches the guest; under emulation no_timer_check is added', async () => {
  const args = 'console=ttyS0 nephos.test="a, b=c" path=/x,y';
  for (const [env, line] of [
    [{ NEPHOS_TIMER_CHECK: 'on' }, args],
    [{}, chooseAccelerator().name === 'tcg' ? `${args} no_timer_check` : args],
  ] as const) {
    await using vmm = await startVmm({ env });
    using shell = await boot(vmm, { cmdline: { args } });
    assert.equal(await shell.run('cat /proc/cmdline'), line);
    const { config } = await infoOf(vmm);
    assert.equal(config.cmdline.args, args);
  }
});

test('a kernel that is an ELF file boots', async () => {
  await using vmm = await startVmm();
  await using kernel = await prepareKernel(KERNEL, join(vmm.folder, 'kernels'));
  assert.equal(kernel.kind, 'linux');
  using shell = await boot(vmm, { kernel: { path: kernel.path } });
  assert.match(await shell.run('uname -s'), /Linux/);
});

test('a kernel that is firmware boots the first disk', async () => {
  await using vmm = await startVmm();
  const disk = join(vmm.folder, 'boot.raw');
  writeFileSync(disk, bootSector('BOOTED BY FIRMWARE'));
  const config = {
    kernel: { path: '/usr/share/seabios/bios-256k.bin' },
    disks: [{ path: disk }],
    serial: { mode: 'Pty' },
    console: { mode: 'Off' },
  };
  await createAndBoot(vmm, config);
  using shell = openShell(await ptyOf(vmm));
  await until('the boot sector speaks', () => shell.shown().includes('BOOTED BY FIRMWARE'), shell.shown);
});

test('a boot with a file that the host does not have', async (t) => {
  await using vmm = await startVmm();
  const missing = join(vmm.folder, 'no such, file');
  const tiny = join(vmm.folder, 'tiny');
  writeFileSync(tiny, 'x');
  const qcow2 = imageFile(vmm, 'disk.qcow2', 'QFI');
  writeFileSync(qcow2, Buffer.concat([Buffer.from([0x51, 0x46, 0x49, 0xfb]), Buffer.alloc(1020)]));
  const refused: readonly (readonly [Record<string, unknown>, number, string])[] = [
    [{ kernel: { path: missing } }, 500, `kernel ${missing}: no such file or directory`],
    [{ kernel: { path: vmm.folder } }, 500, `kernel ${vmm.folder}: illegal operation on a directory`],
    [{ initramfs: { path: missing } }, 500, `initramfs: ${missing}: no such file or directory`],
    [{ disks: [{ path: missing }] }, 500, `disk _disk0: ${missing}: no such file or directory`],
    [
      { disks: [{ path: vmm.folder, readonly: true }] },
      500,
      `disk _disk0: ${vmm.folder}: is neither a file nor a block device`,
    ],
    [
      { disks: [{ path: tiny, id: 'small' }] },
      500,
      `disk small: ${tiny}: is shorter than one sector (512 bytes)`,
    ],
    [{ disks: [{ path: qcow2 }] }, 500, `disk _disk0: ${qcow2}: is qcow2 of the unknown version 0`],
    [{ rng: { src: missing } }, 500, `rng _rng: ${missing}: no such file or directory`],
    [
      { serial: { mode: 'File', file: join(missing, 'log') } },
      500,
      `serial _serial: ${join(missing, 'log')}: no such file or directory`,
    ],
  ];
  for (const [more, status, message] of refused) {
    await deleteVm(vmm);
    await t.test(`is refused: ${message.replaceAll(vmm.folder, '').slice(0, 70)}`, async () => {
      assertStatus(await vmm.put('vm.create', guestConfig(more)), 204);
      const answer = await vmm.put('vm.boot');
      assertStatus(answer, status);
      assert.deepEqual(answer.json, ['vm.boot failed', message]);
      assertStatus(await vmm.put('vm.delete'), 204);
    });
  }
  await deleteVm(vmm);
  await t.test('leaves a VMM that boots the next VM', async () => {
    using shell = await boot(vmm, {});
    assert.equal(await shell.run('echo fine'), 'fine');
  });
});

test('an image that one VM writes cannot be opened by another', async () => {
  await using first = await startVmm();
  await using second = await startVmm();
  const path = imageFile(first, 'disk.raw', 'disk');
  for (const vmm of [first, second])
    assertStatus(await vmm.put('vm.create', guestConfig({ disks: [{ path }] })), 204);
  assertStatus(await first.put('vm.boot'), 204);
  const answer = await second.put('vm.boot');
  assertStatus(answer, 500);
  const text = JSON.stringify(answer.json);
  assert.ok(text.includes('disk _disk0: ') && text.includes('lock') && text.includes(path), text);
});
