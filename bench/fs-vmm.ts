// Costs of a mount for the VMM: memory, an idle mount, and answers on the API socket while the guest reads and writes.
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { statusField } from '../tests/support/processes.ts';
import type { Shell } from '../tests/support/shell.ts';
import type { TestVmm } from '../tests/support/vmm.ts';
import { makeTree } from './fs-tree.ts';
import { idleShare } from './idle.ts';
import { quantile } from './io-guests.ts';
import { printRow } from './table.ts';

const INODES = 100_000;
const PINGS = 200;

/** Limit of a `find` over all inodes, on a busy machine. */
const TIMEOUT_MS = 240_000;

/** A guest with a shared directory, the first one of the comparison. */
export interface Mounts {
  readonly vmm: TestVmm;
  readonly shell: Shell;
  /** folder of the host */
  readonly folder: string;
}

/** Prints the rows of one mount, which has served the comparison before. */
export async function measureVmm(mounts: Mounts): Promise<void> {
  await measurePings(mounts);
  await measureMemory(mounts);
  await measureIdle(mounts);
}

/** The guest looks up all files of a tree and keeps the inodes in its cache. */
async function measureMemory({ vmm, shell, folder }: Mounts): Promise<void> {
  makeTree(join(folder, 'ours/many'), INODES, false);
  const found = await shell.run('find /mnt/ours/many -type f | wc -l', TIMEOUT_MS);
  if (Number(found) !== INODES) throw new Error(`find: ${found}`);
  const resident = Number.parseInt(statusField(vmm.pid, 'VmRSS'), 10) / 1024;
  printRow({
    what: `fs: RSS of the VMM, ${INODES} inodes looked up`,
    ours: `${resident.toFixed(0)} MiB`,
    must: '<= 150',
  });
}

async function measureIdle({ vmm }: Mounts): Promise<void> {
  const share = `${(await idleShare(vmm.pid)).toFixed(2)} %`;
  printRow({ what: 'fs: of a core in the VMM, idle mount', ours: share, must: '< 0.5 %' });
}

/** Sends vmm.ping every 25 ms while the guest writes and reads its file again and again. */
async function measurePings({ vmm, shell }: Mounts): Promise<void> {
  const file = '/mnt/ours/file';
  const write = `dd if=/dev/zero of=${file} bs=1M count=128 conv=notrunc 2>/dev/null`;
  const read = `dd if=${file} of=/dev/null bs=1M 2>/dev/null`;
  await shell.run(
    `touch /tmp/on; (while [ -e /tmp/on ]; do ${write}; ${read}; done; touch /tmp/off) >/dev/null & true`,
  );
  const times: number[] = [];
  for (let i = 0; i < PINGS; i++) {
    await delay(25);
    const start = performance.now();
    await vmm.get('vmm.ping');
    times.push(performance.now() - start);
  }
  await shell.run('rm /tmp/on; until [ -e /tmp/off ]; do sleep 0.1; done', TIMEOUT_MS);
  const shown = (part: number): string => quantile(times, part).toFixed(1);
  printRow({
    what: 'fs: vmm.ping while the guest streams',
    ours: `${shown(0.5)} ms`,
    must: '< 20 ms',
    note: `99 % within ${shown(0.99)} ms, all within ${shown(1)} ms`,
  });
}
