// Reboots by a guest with pmem, their events, and a guest without ACPI.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { boot } from './support/boot.ts';
import { ramOf } from './support/guest-ram.ts';
import { makeImage } from './support/images.ts';
import { mappingsOf, qemuOf } from './support/processes.ts';
import { makeFolder, startVmm, type TestVmm } from './support/vmm.ts';

const MIB = 2 ** 20;

function fileSystem({ folder }: TestVmm, name: string): string {
  const path = join(folder, name);
  makeImage(path, 16 * MIB);
  // a block is a page: the kernel complains of others on the console
  execFileSync('mkfs.ext4', ['-q', '-b', '4096', path]);
  return path;
}

/** Events in the order of the event log, e.g. `vm/booted` or `virtio-device/activated _disk0`. */
function eventsIn(path: string): string[] {
  return readFileSync(path, 'utf8')
    .split('\n\n')
    .slice(0, -1)
    .map((text) => {
      const event = JSON.parse(text) as { source: string; event: string; properties: { id?: string } | null };
      const id = event.properties?.id;
      return `${event.source}/${event.event}${id === undefined ? '' : ` ${id}`}`;
    });
}

test('pmem keeps or discards guest writes over a reboot, and events are recorded', async () => {
  const events = join(makeFolder(), 'events');
  await using vmm = await startVmm({ args: ['--event-monitor', `path=${events}`] });
  const [kept, discarded] = [fileSystem(vmm, 'kept'), fileSystem(vmm, 'discarded')];
  using shell = await boot(vmm, {
    disks: [{ path: fileSystem(vmm, 'disk') }],
    pmem: [{ file: kept }, { file: discarded, size: 16 * MIB, discard_writes: true }],
  });
  const mountAll = async (): Promise<void> => {
    await shell.run('modprobe -a nd_pmem ext4; until [ -b /dev/pmem1 ]; do :; done');
    const mounts =
      'mkdir -p /p0 /p1; mount -t ext4 /dev/pmem0 /p0 && mount -t ext4 /dev/pmem1 /p1 && echo done';
    assert.equal(await shell.run(mounts), 'done');
  };
  await mountAll();
  await shell.run('echo text >/p0/file; echo text >/p1/file; umount /p0 /p1');
  shell.type('reboot\r');
  await shell.login();
  await mountAll();
  assert.equal(await shell.run('cat /p0/file; cat /p1/file 2>/dev/null || echo none'), 'text\nnone');
  await shell.run('umount /p0 /p1');
  shell.type('poweroff\r');
  assert.equal(await vmm.exited, 0);
  const told = eventsIn(events);
  assert.deepEqual(told.slice(0, 3), ['vmm/starting', 'vm/booting', 'vm/booted']);
  assert.equal(told.filter((name) => name === 'virtio-device/activated _disk0').length, 2);
  assert.deepEqual(told.slice(-3), ['vm/shutdown', 'vm/deleted', 'vmm/shutdown']);
});

test('a guest with acpi=off boots, and prefault makes each memory zone resident', async () => {
  await using vmm = await startVmm();
  const zones = [192, 160].map((size, i) => ({ id: `mem${i}`, size: size * MIB, prefault: true }));
  using shell = await boot(vmm, {
    memory: { size: 0, zones },
    cmdline: { args: 'console=ttyS0 acpi=off' },
  });
  assert.equal(await shell.run('nproc; ls /sys/firmware/acpi 2>/dev/null | wc -l'), '1\n0');
  const ram = await ramOf(shell);
  assert.ok(ram > 270 && ram < 352, `${ram} MiB`);
  const resident = mappingsOf(qemuOf(vmm.pid))
    .filter(({ line }) => / rw-. .*memfd:/.test(line))
    .map(({ residentKib }) => residentKib);
  const total = resident.reduce((sum, kib) => sum + kib, 0);
  assert.ok(total >= 352 * 1024, `${total} KiB are there`);
});
