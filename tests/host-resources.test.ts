// Threads and memory of QEMU on the host, and members of current configurations, observed in /proc, in files and in the guest.
import assert from 'node:assert/strict';
import { closeSync, rmSync, openSync, readdirSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertRefused, assertStatus } from './support/answers.ts';
import { boot, createAndBoot, deleteVm, login } from './support/boot.ts';
import { connectGdb } from './support/gdb.ts';
import { guestConfig, INITRAMFS, KERNEL } from './support/guest.ts';
import { makeImage } from './support/images.ts';
import { qemuOf, statusField } from './support/processes.ts';
import { openShell, type Shell } from './support/shell.ts';
import { startSwtpm } from './support/swtpm.ts';
import { infoOf, ptyOf } from './support/vm-info.ts';
import { makeFolder, startVmm, type TestVmm } from './support/vmm.ts';
import { until } from './support/wait.ts';

const MIB = 2 ** 20;

/** The processors that QEMU's threads may use, by the threads' names. */
function processorsOf(vmm: TestVmm): ReadonlyMap<string, string> {
  const folder = `/proc/${qemuOf(vmm.pid)}/task`;
  return new Map(
    readdirSync(folder).map((thread) => {
      return [statusField(Number(thread), 'Name'), statusField(Number(thread), 'Cpus_allowed_list')];
    }),
  );
}

/** Bytes of shared memory that QEMU has from the host. */
function residentBytes(vmm: TestVmm): number {
  return Number.parseInt(statusField(qemuOf(vmm.pid), 'RssShmem'), 10) * 1024;
}

function emptyFile(vmm: TestVmm, name: string, bytes: number): string {
  const path = join(vmm.folder, name);
  makeImage(path, bytes);
  return path;
}

/** Any one processor: each host has it. */
const [FIRST = '0'] = statusField(process.pid, 'Cpus_allowed_list').split(/[-,]/);

test('affinity, memory and fw_cfg members of a configuration', async (t) => {
  await using vmm = await startVmm();
  const cpu = Number(FIRST);
  const shared = emptyFile(vmm, 'shared, memory=Ω', 4 * MIB);
  const item = join(vmm.folder, 'item, with=words');
  writeFileSync(item, 'from a file');
  const shell = await boot(vmm, {
    kernel: undefined,
    initramfs: undefined,
    cmdline: undefined,
    payload: {
      kernel: KERNEL,
      initramfs: INITRAMFS,
      cmdline: 'console=ttyS0',
      fw_cfg_config: {
        items: {
          item_list: [
            { name: 'opt/test/file', file: item },
            { name: 'opt/test/text', string: 'a,b=c' },
          ],
        },
      },
    },
    cpus: {
      boot_vcpus: 1,
      max_vcpus: 2,
      nested: false,
      // the last vCPU does not exist
      affinity: [0, 1, 5].map((vcpu) => ({ vcpu, host_cpus: [cpu] })),
    },
    memory: { size: 256 * MIB, prefault: true, thp: false },
    disks: [
      {
        path: emptyFile(vmm, 'disk.raw', 8 * MIB),
        queue_affinity: [0, 3].map((queue_index) => ({ queue_index, host_cpus: [cpu] })),
        disable_aio: true,
        lock_granularity: 'Full',
      },
    ],
    ivshmem: { path: shared, size: 4 * MIB },
  });
  using _shell = shell;
  await t.test('memory.prefault: all RAM is resident', () => {
    assert.ok(residentBytes(vmm) >= 256 * MIB, `${residentBytes(vmm) / MIB} MiB are resident`);
  });
  await t.test('memory.thp false: QEMU has no transparent huge pages', () => {
    assert.equal(statusField(qemuOf(vmm.pid), 'THP_enabled'), '0');
  });
  await t.test('vm.info and the log name the accelerator', async () => {
    const { accelerator } = await infoOf(vmm);
    assert.match(String(accelerator), /^(tcg|kvm)$/);
    assert.match(vmm.output(), /(WARN|INFO):accel .*running (under emulation \(TCG\)|with KVM)/);
  });
  await t.test('vm.info shows prefault and thp', async () => {
    const { memory } = (await infoOf(vmm)).config;
    assert.deepEqual(memory, { ...memory, prefault: true, thp: false });
  });
  const threads = processorsOf(vmm);
  await t.test('queue_affinity binds the thread of a queue', () => {
    const [disk] = [...threads].filter(([name]) => name.startsWith('IO ') && name.endsWith('.q0'));
    assert.equal(disk?.[1], FIRST, [...threads].join('; '));
  });
  await t.test('affinity binds the thread of a vCPU', () => {
    assert.equal(vcpuProcessors(threads, 0), FIRST);
  });
  await t.test('affinity of vCPUs and queues that are not there is reported', () => {
    assert.match(vmm.output(), /cpus\.affinity: there is no vCPU 5 \(there are 2\)/);
    assert.match(vmm.output(), /queue_affinity: there is no queue 3 \(there are 1\)/);
  });

  await t.test('affinity binds the thread of a hot-plugged vCPU', async () => {
    assertStatus(await vmm.put('vm.resize', { desired_vcpus: 2 }), 204);
    assert.equal(vcpuProcessors(processorsOf(vmm), 1), FIRST, 'a vCPU that was added');
  });
  const path = emptyFile(vmm, 'added.raw', 8 * MIB);
  const queue_affinity = [{ queue_index: 0, host_cpus: [cpu] }];
  await t.test('queue_affinity binds the thread of a hot-plugged disk', async () => {
    assertStatus(await vmm.put('vm.add-disk', { path, id: 'added', queue_affinity }), 200);
    const added = [...processorsOf(vmm)].filter(([name]) => name === 'IO nadded.q0');
    assert.deepEqual(added, [['IO nadded.q0', FIRST]]);
  });
  await t.test('the thread exits with its disk, whose id is free again', async () => {
    assertStatus(await vmm.put('vm.remove-device', { id: 'added' }), 204);
    assertStatus(await vmm.put('vm.add-disk', { path, id: 'added', queue_affinity }), 200);
  });

  await t.test('nested false: the guest has no virtualization', async () => {
    assert.equal(await shell.run("grep -cwE 'vmx|svm' /proc/cpuinfo"), '0');
  });
  await t.test('fw_cfg items are in the guest', () => assertFwCfg(shell));
  await t.test('ivshmem is a PCI device whose BAR 2 is the file', () => assertIvshmem(shell, shared));
});

function vcpuProcessors(threads: ReadonlyMap<string, string>, vcpu: number): string | undefined {
  return [...threads].find(([name]) => name.startsWith(`CPU ${vcpu}/`))?.[1];
}

async function assertFwCfg(shell: Shell): Promise<void> {
  await shell.run('modprobe qemu_fw_cfg');
  const items = '/sys/firmware/qemu_fw_cfg/by_name/opt/test';
  assert.equal(await shell.run(`cat ${items}/file/raw; echo; cat ${items}/text/raw`), 'from a file\na,b=c');
}

/** Vendor Red Hat, device inter-VM shared memory. */
async function assertIvshmem(shell: Shell, shared: string): Promise<void> {
  const device = await shell.run("grep -l 0x1110 /sys/bus/pci/devices/*/device | sed 's,/device$,,'");
  assert.match(device, /^\/sys\/bus\/pci\/devices\/\S+$/);
  const file = openSync(shared, 'r+');
  try {
    writeSync(file, 'from the host', 0);
  } finally {
    closeSync(file);
  }
  await shell.run(`echo 1 >${device}/enable`);
  const size = await shell.run(`sed -n 3p ${device}/resource`);
  const [from, to] = size.split(' ').map(Number);
  assert.equal((to ?? 0) - (from ?? 0) + 1, 4 * MIB);
  // the first four bytes in little endian
  const word = Buffer.from('morf').toString('hex').toUpperCase();
  assert.equal(await shell.run(`devmem ${from} 32`), `0x${word}`);
}

test('a guest with a debugger, a TPM, network offloads, free page reporting and sparse disks', async (t) => {
  const folder = makeFolder();
  const gdb = join(folder, 'gdb Ω,.sock');
  await using vmm = await startVmm({ args: ['--gdb', `path=${gdb}`] });
  await using tpm = await startSwtpm(vmm.folder);
  const [sparse, thick] = ['sparse.raw', 'thick.raw'].map((name) => filledFile(vmm, name, 16 * MIB));
  const config = guestConfig({
    gdb: true,
    tpm: { socket: tpm.socket },
    memory: { size: 512 * MIB },
    balloon: { size: 0, free_page_reporting: true },
    disks: [
      { path: sparse, image_type: 'Raw', sparse: true },
      { path: thick, image_type: 'Raw', sparse: false },
    ],
    net: [
      { ip: '192.168.230.1' },
      { ip: '192.168.231.1', offload_tso: false, offload_ufo: false },
      { ip: '192.168.232.1', offload_csum: false },
    ],
  });
  await createAndBoot(vmm, config);
  const shell = openShell(await ptyOf(vmm));
  using _shell = shell;
  await t.test('the guest is Paused until the debugger detaches, which reads its memory', async () => {
    using debug = await connectGdb(gdb);
    assert.match(await debug.ask('?'), /^T05/);
    assert.match(await debug.ask('m0,4'), /^[\da-f]{8}$/, 'memory of the guest');
    assert.equal((await infoOf(vmm)).state, 'Paused');
    assert.equal(shell.shown(), '', 'the guest has not run');
    assert.equal(await debug.ask('D'), 'OK');
  });
  await until('the VM runs', async () => (await infoOf(vmm)).state === 'Running');
  await shell.login();
  await t.test('the guest has a TPM 2', () => hasTpm2(shell));
  await t.test('offload_tso, offload_ufo and offload_csum take features from a network', async () => {
    const offered = await shell.run('cat /sys/class/net/eth[012]/device/features');
    // virtio 1.2, 5.1.3: checksums, TSO, UFO; each for both ways
    const bits = (features: string): string[] =>
      [
        [0, 1],
        [7, 8, 11, 12],
        [10, 14],
      ].map((some) => some.map((bit) => features[bit]).join(''));
    assert.deepEqual(offered.split('\n').map(bits), [
      ['11', '1111', '11'],
      ['11', '0000', '00'],
      ['00', '0000', '00'],
    ]);
  });

  await t.test('free_page_reporting returns free pages to the host', async () => {
    await shell.run('dd if=/dev/zero of=/tmp/used bs=1M count=200 2>/dev/null; sync');
    const used = residentBytes(vmm);
    assert.ok(used > 200 * MIB, `${used / MIB} MiB are resident`);
    await shell.run('rm /tmp/used');
    await until(
      'QEMU has less memory',
      () => residentBytes(vmm) < used - 100 * MIB,
      () => `${residentBytes(vmm) / MIB} MiB of ${used / MIB}`,
    );
  });

  await t.test('discards of a disk with sparse on make holes in its image, without it none', async () => {
    await shell.run('blkdiscard /dev/vda; blkdiscard /dev/vdb');
    assert.ok(statSync(sparse ?? '').blocks * 512 < MIB, 'discarded blocks are holes');
    assert.ok(statSync(thick ?? '').blocks * 512 >= 16 * MIB, 'and are not without sparse=on');
  });
  rmSync(folder, { recursive: true });
});

const TPM_VERSION = 'cat /sys/class/tpm/tpm*/tpm_version_major 2>/dev/null';
const BIND_TPM = 'echo MSFT0101:00 >/sys/bus/acpi/drivers/tpm_crb/bind; dmesg | grep -i tpm';

/**
 * Waits until the guest has a TPM 2. Linux gives up where the TPM answers late, as on a busy host: its driver is bound again then.
 * If that does not help, the error has the kernel's messages about the TPM.
 */
async function hasTpm2(shell: Shell): Promise<void> {
  let shown = '';
  await until(
    'the guest has a TPM 2',
    async () => (shown = await shell.run(`${TPM_VERSION} || { ${BIND_TPM}; }`)) === '2',
    () => shown,
  );
}

test('a TPM', async (t) => {
  await using vmm = await startVmm();
  await using tpm = await startSwtpm(vmm.folder);
  using shell = await boot(vmm, { tpm: { socket: tpm.socket } });
  const seesTpm = (): Promise<void> => hasTpm2(shell);
  await t.test('is there at boot', seesTpm);
  assertStatus(await vmm.put('vm.reboot'), 204);
  await shell.login();
  await t.test('is there after vm.reboot', seesTpm);
  shell.type('reboot -f\n');
  await shell.login();
  await t.test('is there after a reset by the guest', seesTpm);
  assertStatus(await vmm.put('vm.shutdown'), 204);
  assertStatus(await vmm.put('vm.boot'), 204);
  using again = await login(vmm);
  await t.test('is there after vm.shutdown and vm.boot', () => hasTpm2(again));
});

/** A file whose blocks are all there. */
function filledFile(vmm: TestVmm, name: string, bytes: number): string {
  const path = join(vmm.folder, name);
  writeFileSync(path, Buffer.alloc(bytes, 1));
  return path;
}

test('a boot that needs what the host does not have is refused by name', async (t) => {
  await using vmm = await startVmm();
  const refused: readonly (readonly [Record<string, unknown>, RegExp])[] = [
    [
      { cpus: { boot_vcpus: 1, max_vcpus: 1, affinity: [{ vcpu: 0, host_cpus: [4000] }] } },
      /cpus\.affinity: vCPU 0: .*4000/,
    ],
    [{ gdb: true }, /gdb: .*--gdb path=/],
    [{ tpm: { socket: '/nowhere/tpm' } }, /tpm _tpm: \/nowhere\/tpm: No such file/],
    [{ ivshmem: { path: '/nowhere/shm', size: 4096 } }, /ivshmem _ivshmem: \/nowhere\/shm: no such file/],
    [{ cpus: { boot_vcpus: 1, max_vcpus: 1, features: { amx: true } } }, /cpus\.features\.amx: needs KVM/],
    [{ memory: { size: 2 ** 46, prefault: true } }, /memory: prefault needs/],
    [{ memory: { size: MIB } }, /memory: 1M of RAM is too small: the kernel \d+M and the initramfs \d+M/],
    [{ memory: { size: 2 ** 40 } }, /the RAM, .* does not fit into the 40 bits/],
  ];
  for (const [more, reason] of refused) {
    await deleteVm(vmm);
    await t.test(reason.source.slice(0, 60), async () => {
      assertStatus(await vmm.put('vm.create', guestConfig(more)), 204);
      const answer = await vmm.put('vm.boot');
      assertRefused(answer, 500, reason);
      assertStatus(await vmm.put('vm.delete'), 204);
    });
  }
});
