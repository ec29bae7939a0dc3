// Where on the host a machine's threads and memory are, and what current configurations give a guest: seen in /proc, in files, in the guest.
import assert from 'node:assert/strict';
import {
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { boot } from './support/boot.ts';
import { connectGdb } from './support/gdb.ts';
import { guestConfig } from './support/guest.ts';
import { qemuOf } from './support/processes.ts';
import { openShell, ptyOf, type Shell } from './support/shell.ts';
import { startSwtpm } from './support/swtpm.ts';
import { until } from './support/wait.ts';
import { assertStatus, startVmm, type TestVmm } from './support/vmm.ts';

const MIB = 2 ** 20;

/** The processors that QEMU's threads may use, by the threads' names. */
function processorsOf(vmm: TestVmm): ReadonlyMap<string, string> {
  const folder = `/proc/${qemuOf(vmm.pid)}/task`;
  return new Map(
    readdirSync(folder).map((thread) => {
      const status = readFileSync(join(folder, thread, 'status'), 'utf8');
      return [lineOf(status, 'Name'), lineOf(status, 'Cpus_allowed_list')];
    }),
  );
}

function lineOf(status: string, name: string): string {
  return new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1] ?? '';
}

/** A line of /proc/<pid>/status of QEMU. */
function statusOf(vmm: TestVmm, name: string): string {
  return lineOf(readFileSync(`/proc/${qemuOf(vmm.pid)}/status`, 'utf8'), name);
}

/** Bytes of shared memory that QEMU has from the host. */
function residentBytes(vmm: TestVmm): number {
  return Number.parseInt(statusOf(vmm, 'RssShmem'), 10) * 1024;
}

function emptyFile(vmm: TestVmm, name: string, bytes: number): string {
  const path = join(vmm.folder, name);
  writeFileSync(path, '');
  truncateSync(path, bytes);
  return path;
}

interface Info {
  readonly state: string;
  readonly accelerator?: string;
  readonly config: { readonly cpus: object; readonly memory: object; readonly disks?: readonly object[] };
}

async function infoOf(vmm: TestVmm): Promise<Info> {
  return (await vmm.get('vm.info')).json as Info;
}

/** Any one processor: each host has it. */
const [FIRST = '0'] = lineOf(readFileSync('/proc/self/status', 'utf8'), 'Cpus_allowed_list').split(/[-,]/);

test('affinity, queue_affinity, prefault, thp, nested, ivshmem and fw_cfg_config have their effects', async () => {
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
      kernel: (guestConfig()['kernel'] as { path: string }).path,
      initramfs: (guestConfig()['initramfs'] as { path: string }).path,
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
      // the last is of no vCPU
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
  assert.ok(residentBytes(vmm) >= 256 * MIB, `${residentBytes(vmm) / MIB} MiB are resident`);
  assert.equal(statusOf(vmm, 'THP_enabled'), '0');
  const { accelerator, config } = await infoOf(vmm);
  assert.match(String(accelerator), /^(tcg|kvm)$/);
  assert.match(vmm.output(), /(WARN|INFO):accel .*running (under emulation \(TCG\)|with KVM)/);
  assert.deepEqual(config.memory, { ...config.memory, prefault: true, thp: false });
  const threads = processorsOf(vmm);
  const [disk] = [...threads].filter(([name]) => name.startsWith('IO ') && name.endsWith('.q0'));
  assert.equal(disk?.[1], FIRST, [...threads].join('; '));
  assert.equal(vcpuProcessors(threads, 0), FIRST);
  assert.match(vmm.output(), /cpus\.affinity: there is no vCPU 5 \(there are 2\)/);
  assert.match(vmm.output(), /queue_affinity: there is no queue 3 \(there are 1\)/);

  assertStatus(await vmm.put('vm.resize', { desired_vcpus: 2 }), 204);
  assert.equal(vcpuProcessors(processorsOf(vmm), 1), FIRST, 'a vCPU that was added');
  const path = emptyFile(vmm, 'added.raw', 8 * MIB);
  const queue_affinity = [{ queue_index: 0, host_cpus: [cpu] }];
  assertStatus(await vmm.put('vm.add-disk', { path, id: 'added', queue_affinity }), 200);
  const added = [...processorsOf(vmm)].filter(([name]) => name === 'IO nadded.q0');
  assert.deepEqual(added, [['IO nadded.q0', FIRST]]);
  assertStatus(await vmm.put('vm.remove-device', { id: 'added' }), 204);
  // its thread goes with it, and another can come
  assertStatus(await vmm.put('vm.add-disk', { path, id: 'added', queue_affinity }), 200);

  await assertInGuest(shell, shared);
});

function vcpuProcessors(threads: ReadonlyMap<string, string>, vcpu: number): string | undefined {
  return [...threads].find(([name]) => name.startsWith(`CPU ${vcpu}/`))?.[1];
}

async function assertInGuest(shell: Shell, shared: string): Promise<void> {
  assert.equal(await shell.run("grep -cwE 'vmx|svm' /proc/cpuinfo"), '0', 'no virtualization in the guest');
  await shell.run('modprobe qemu_fw_cfg');
  const items = '/sys/firmware/qemu_fw_cfg/by_name/opt/test';
  assert.equal(await shell.run(`cat ${items}/file/raw; echo; cat ${items}/text/raw`), 'from a file\na,b=c');
  // Red Hat's inter-VM shared memory; BAR 2 is the file
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
  // the first four bytes, the last of them first
  const word = Buffer.from('morf').toString('hex').toUpperCase();
  assert.equal(await shell.run(`devmem ${from} 32`), `0x${word}`);
}

test('a debugged guest waits, and has a TPM; its free pages and discarded blocks go back to the host', async () => {
  const gdb = `/tmp/gdb Ω,${process.pid}.sock`;
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
  assertStatus(await vmm.put('vm.create', config), 204);
  assertStatus(await vmm.put('vm.boot'), 204);
  const shell = openShell(await ptyOf(vmm));
  using _shell = shell;
  {
    using debug = await connectGdb(gdb);
    assert.match(await debug.ask('?'), /^T05/);
    assert.match(await debug.ask('m0,4'), /^[\da-f]{8}$/, 'memory of the guest');
    assert.equal((await infoOf(vmm)).state, 'Paused');
    assert.equal(shell.shown(), '', 'the guest has not run');
    assert.equal(await debug.ask('D'), 'OK');
  }
  await until('the VM runs', async () => (await infoOf(vmm)).state === 'Running');
  await shell.login();
  assert.equal(await shell.run('cat /sys/class/tpm/tpm0/tpm_version_major'), '2');
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

  await shell.run('dd if=/dev/zero of=/tmp/used bs=1M count=200 2>/dev/null; sync');
  const used = residentBytes(vmm);
  assert.ok(used > 200 * MIB, `${used / MIB} MiB are resident`);
  await shell.run('rm /tmp/used');
  await until(
    'the host has the free pages back',
    () => residentBytes(vmm) < used - 100 * MIB,
    () => `${residentBytes(vmm) / MIB} MiB of ${used / MIB}`,
  );

  await shell.run('blkdiscard /dev/vda; blkdiscard /dev/vdb');
  assert.ok(statSync(sparse ?? '').blocks * 512 < MIB, 'discarded blocks are holes');
  assert.ok(statSync(thick ?? '').blocks * 512 >= 16 * MIB, 'and are not without sparse=on');
});

test('a TPM is there after vm.reboot, a reset by the guest, and vm.shutdown with a further boot', async () => {
  await using vmm = await startVmm();
  await using tpm = await startSwtpm(vmm.folder);
  using shell = await boot(vmm, { tpm: { socket: tpm.socket } });
  const seesTpm = async (): Promise<void> => {
    assert.equal(await shell.run('cat /sys/class/tpm/tpm0/tpm_version_major'), '2');
  };
  await seesTpm();
  assertStatus(await vmm.put('vm.reboot'), 204);
  await shell.login();
  await seesTpm();
  shell.type('reboot -f\n');
  await shell.login();
  await seesTpm();
  assertStatus(await vmm.put('vm.shutdown'), 204);
  assertStatus(await vmm.put('vm.boot'), 204);
  using again = openShell(await ptyOf(vmm));
  await again.login();
  assert.equal(await again.run('cat /sys/class/tpm/tpm0/tpm_version_major'), '2');
});

/** A file whose blocks are all there. */
function filledFile(vmm: TestVmm, name: string, bytes: number): string {
  const path = join(vmm.folder, name);
  writeFileSync(path, Buffer.alloc(bytes, 1));
  return path;
}

test('what the host does not have is refused by name, and nothing is left', async () => {
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
    assertStatus(await vmm.put('vm.create', guestConfig(more)), 204);
    const answer = await vmm.put('vm.boot');
    assertStatus(answer, 500);
    assert.match((answer.json as string[]).join(': '), reason);
    assertStatus(await vmm.put('vm.delete'), 204);
  }
});
