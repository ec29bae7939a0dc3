// Differential snapshots: pause and size after a small change, and restores of chains beside that of a full snapshot.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { composeSnapshot } from '../src/sdk/compose-snapshot.ts';
import { assertStatus } from '../tests/support/answers.ts';
import { guestConfig } from '../tests/support/guest.ts';
import { openShell, type Shell } from '../tests/support/shell.ts';
import { ptyOf } from '../tests/support/vm-info.ts';
import { startVmm, type TestVmm } from '../tests/support/vmm.ts';
import { medianRatio } from './pairs.ts';
import { inMs, median, printRow } from './table.ts';

const MIB = 2 ** 20;
const CHANGED_MIB = 16;
/** Change of each snapshot of the chain that is restored: 8 MiB in three. */
const STEPS_MIB = [3, 3, 2];

/** `npm run bench -- snapshot-diff [rounds [MiB]]` */
export async function benchSnapshotDiff([rounds = '10', mib = '4096']: readonly string[]): Promise<void> {
  const home = mkdtempSync(join(process.cwd(), 'build', 'bench-snapshot-diff-'));
  await using vmm = await startVmm();
  try {
    assertStatus(await vmm.put('vm.create', guestConfig({ memory: { size: Number(mib) * MIB } })), 204);
    assertStatus(await vmm.put('vm.boot'), 204);
    const last = await makeChain(vmm, home);
    await measureRestores(vmm, { home, last, rounds: Number(rounds) });
    await measurePauses(vmm, { home, last, rounds: Number(rounds) });
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

/** Saves the paused VM. @returns the time, in milliseconds */
async function save(vmm: TestVmm, folder: string, type: 'full' | 'diff'): Promise<number> {
  mkdirSync(folder);
  const start = performance.now();
  assertStatus(
    await vmm.put('vm.snapshot', { destination_url: `file://${folder}`, snapshot_type: type }),
    204,
  );
  return performance.now() - start;
}

/** Makes a chain of four snapshots, a full one of the same state, and one composed of the chain. @returns the folder of the chain's last one */
async function makeChain(vmm: TestVmm, home: string): Promise<string> {
  using shell = openShell(await ptyOf(vmm));
  await shell.login();
  await shell.run('mkdir /m; mount -t tmpfs -o size=90% m /m');
  await write(shell, '/m/base', 64);
  assertStatus(await vmm.put('vm.pause'), 204);
  await save(vmm, join(home, 'chain0'), 'full');
  for (const [i, mib] of STEPS_MIB.entries()) {
    await change(vmm, shell, mib);
    await save(vmm, join(home, `chain${i + 1}`), 'diff');
  }
  const last = join(home, `chain${STEPS_MIB.length}`);
  await save(vmm, join(home, 'full'), 'full');
  await composeSnapshot(last, join(home, 'composed'));
  assertStatus(await vmm.put('vm.delete'), 204);
  return last;
}

/** Writes a file of random bytes in the guest. */
async function write(shell: Shell, path: string, mib: number): Promise<void> {
  await shell.run(`dd if=/dev/urandom of=${path} bs=1M count=${mib} 2>/dev/null`);
  assert.equal(await shell.run(`stat -c %s ${path}`), String(mib * MIB));
}

/** Lets the guest write so many MiB of new pages, and pauses it. */
async function change(vmm: TestVmm, shell: Shell, mib: number): Promise<void> {
  assertStatus(await vmm.put('vm.resume'), 204);
  await write(shell, '/m/changed', mib);
  assertStatus(await vmm.put('vm.pause'), 204);
}

interface Series {
  readonly home: string;
  /** the last snapshot of the chain */
  readonly last: string;
  readonly rounds: number;
}

/** Time in which the memory of an ended QEMU is returned to the host, in milliseconds: more after the chain than after the others. */
const QUIET_MS = 100;

async function measureRestores(vmm: TestVmm, { home, last, rounds }: Series): Promise<void> {
  const sources = { full: join(home, 'full'), chain: last, composed: join(home, 'composed') };
  const times: Record<keyof typeof sources, number[]> = { full: [], chain: [], composed: [] };
  for (let round = 0; round <= rounds; round++) {
    for (const name of ['full', 'chain', 'composed'] as const) {
      await delay(QUIET_MS);
      const start = performance.now();
      assertStatus(await vmm.put('vm.restore', { source_url: `file://${sources[name]}`, resume: true }), 204);
      // the first round fills caches
      if (round > 0) times[name].push(performance.now() - start);
      assertStatus(await vmm.put('vm.delete'), 204);
    }
  }
  for (const [name, must] of [
    ['chain', '<= 1.25'],
    ['composed', '<= 1.05'],
  ] as const) {
    printRow({
      what:
        name === 'chain'
          ? 'restore of a chain of 4 with 8 MiB of differences'
          : 'restore of a composed snapshot',
      ours: inMs(median(times[name])),
      reference: ['full snapshot', inMs(median(times.full))],
      ratio: medianRatio(times[name], times.full),
      must,
    });
  }
}

async function measurePauses(vmm: TestVmm, { home, last, rounds }: Series): Promise<void> {
  const pauses: number[] = [];
  const ratios: number[] = [];
  for (let round = 0; round < rounds; round++) {
    assertStatus(await vmm.put('vm.restore', { source_url: `file://${last}`, resume: true }), 204);
    using shell = openShell(await ptyOf(vmm));
    await write(shell, '/m/changed', CHANGED_MIB);
    const folder = join(home, 'diff');
    const start = performance.now();
    assertStatus(await vmm.put('vm.pause'), 204);
    await save(vmm, folder, 'diff');
    assertStatus(await vmm.put('vm.resume'), 204);
    pauses.push(performance.now() - start);
    ratios.push((statSync(join(folder, 'memory-ranges')).blocks * 512) / (CHANGED_MIB * MIB));
    rmSync(folder, { recursive: true });
    assertStatus(await vmm.put('vm.delete'), 204);
  }
  printRow({
    what: `pause of a differential snapshot after ${CHANGED_MIB} MiB of change`,
    ours: inMs(median(pauses)),
    reference: ['limit', inMs(40)],
    ratio: median(pauses) / 40,
    must: '<= 1.00',
  });
  printRow({
    what: 'bytes written beside the change',
    ours: `${(median(ratios) * CHANGED_MIB).toFixed(1)} MiB`,
    reference: ['change', `${CHANGED_MIB} MiB`],
    ratio: median(ratios),
    must: '<= 1.20',
  });
}
