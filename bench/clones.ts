// Many clones of one snapshot: the time until all answer on their consoles, and the memory of each.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { assertStatus } from '../tests/support/answers.ts';
import { guestConfig } from '../tests/support/guest.ts';
import { qemuOf } from '../tests/support/processes.ts';
import { openShell, type Shell } from '../tests/support/shell.ts';
import { ptyOf } from '../tests/support/vm-info.ts';
import { startVmm, type TestVmm } from '../tests/support/vmm.ts';
import { printRow } from './table.ts';

const GIB = 2 ** 30;

interface Clone {
  readonly vmm: TestVmm;
  readonly shell: Shell;
}

/** `npm run bench -- clones [count]` */
export async function benchClones([count = '50']: readonly string[]): Promise<void> {
  const folder = mkdtempSync(join(process.cwd(), 'build', 'bench-clones-'));
  const clones: Clone[] = [];
  try {
    const url = `file://${folder}`;
    await takeSnapshot(url);
    const start = performance.now();
    for (let i = 0; i < Number(count); i++) clones.push(await clone(url));
    printRow({ what: `${clones.length} clones of a 1 GiB VM run after`, ours: `${seconds(start)} s` });
    for (const [i, { shell }] of clones.entries()) {
      const answer = await shell.run(`echo clone-$((${i} + 1))`);
      if (answer !== `clone-${i + 1}`) throw new Error(`clone ${i + 1} answers ${answer}`);
    }
    printRow({ what: 'all have answered on their consoles after', ours: `${seconds(start)} s` });
    const qemu = mean(clones, ({ vmm }) => qemuOf(vmm.pid));
    const own = mean(clones, ({ vmm }) => vmm.pid);
    printRow({
      what: 'Pss of a clone: QEMU',
      ours: `${qemu} MiB`,
      must: '<= 60',
      note: `its VMM ${own} MiB`,
    });
  } finally {
    for (const { vmm } of clones) await vmm[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function takeSnapshot(url: string): Promise<void> {
  await using vmm = await startVmm();
  assertStatus(await vmm.put('vm.create', guestConfig({ memory: { size: GIB } })), 204);
  assertStatus(await vmm.put('vm.boot'), 204);
  using shell = openShell(await ptyOf(vmm));
  await shell.login();
  assertStatus(await vmm.put('vm.pause'), 204);
  assertStatus(await vmm.put('vm.snapshot', { destination_url: url }), 204);
}

async function clone(url: string): Promise<Clone> {
  const vmm = await startVmm();
  assertStatus(await vmm.put('vm.restore', { source_url: url, resume: true }), 204);
  return { vmm, shell: openShell(await ptyOf(vmm)) };
}

function seconds(start: number): string {
  return ((performance.now() - start) / 1000).toFixed(1);
}

/** Returns the mean proportional share of memory in MiB (proc(5), smaps_rollup). */
function mean(clones: readonly Clone[], pidOf: (clone: Clone) => number): string {
  const shares = clones.map((one) => {
    const rollup = readFileSync(`/proc/${pidOf(one)}/smaps_rollup`, 'latin1');
    return Number(/^Pss: +(\d+)/m.exec(rollup)?.[1]) / 1024;
  });
  return (shares.reduce((sum, share) => sum + share, 0) / shares.length).toFixed(1);
}
