// vm.restore on a started VMM until the guest runs, beside a script that starts QEMU with the same arguments and loads the same state.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { Agent } from 'node:http';
import { join } from 'node:path';
import { parseSnapshotState } from '../src/vm/snapshot/snapshot-state.ts';
import { assertStatus } from '../tests/support/answers.ts';
import { guestConfig } from '../tests/support/guest.ts';
import { qemuOf } from '../tests/support/processes.ts';
import { openShell } from '../tests/support/shell.ts';
import { ptyOf } from '../tests/support/vm-info.ts';
import { call, startVmm, type TestVmm } from '../tests/support/vmm.ts';
import { startByHand, wordsOf } from './by-hand.ts';
import { medianOf, medianRatio } from './pairs.ts';
import { inMs, printRow } from './table.ts';

/** Time in which the memory of an ended QEMU is returned to the host, in milliseconds. */
const QUIET_MS = 100;

/** Each round measures one pair: both load the snapshot of a guest of 512 MiB that has booted. */
export async function benchRestoreByHand(rounds: number): Promise<void> {
  // not in a tmpfs: the snapshot is mapped from a disk, as for users
  const folder = mkdtempSync(join(process.cwd(), 'build', 'bench-restore-'));
  const [ours, byHand]: [number[], number[]] = [[], []];
  // the script has a connection as well
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  try {
    await using vmm = await startVmm();
    const snapshot = await takeSnapshot(vmm, folder);
    const state = join(folder, 'device-state');
    for (let round = -1; round < rounds; round++) {
      const body = { source_url: `file://${snapshot}`, resume: true };
      assertStatus(await call(vmm.socket, 'GET', { path: 'vmm.ping', agent }), 200);
      const start = performance.now();
      assertStatus(await call(vmm.socket, 'PUT', { path: 'vm.restore', body, agent }), 204);
      const restored = performance.now() - start;
      const words = wordsOf(qemuOf(vmm.pid));
      assertStatus(await vmm.put('vm.delete'), 204);
      await quiet();
      if (round < 0) writeFileSync(state, deviceStateOf(snapshot));
      const loaded = await timeByHand(words, state);
      await quiet();
      // the first pair fills the page cache
      if (round < 0) continue;
      ours.push(restored);
      byHand.push(loaded);
    }
  } finally {
    agent.destroy();
    rmSync(folder, { recursive: true });
  }
  printRow({
    what: 'restore of a VM until it runs',
    ours: inMs(medianOf(ours)),
    reference: ['by hand with QEMU', inMs(medianOf(byHand))],
    ratio: medianRatio(ours, byHand),
    must: '<= 1.25',
  });
}

function quiet(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, QUIET_MS));
}

async function takeSnapshot(vmm: TestVmm, folder: string): Promise<string> {
  assertStatus(await vmm.put('vm.create', guestConfig({ memory: { size: 512 * 2 ** 20 } })), 204);
  assertStatus(await vmm.put('vm.boot'), 204);
  using shell = openShell(await ptyOf(vmm));
  await shell.login();
  assertStatus(await vmm.put('vm.pause'), 204);
  const snapshot = join(folder, 'snapshot');
  mkdirSync(snapshot);
  assertStatus(await vmm.put('vm.snapshot', { destination_url: `file://${snapshot}` }), 204);
  assertStatus(await vmm.put('vm.delete'), 204);
  return snapshot;
}

function deviceStateOf(snapshot: string): Buffer {
  const { size } = statSync(join(snapshot, 'memory-ranges'));
  const { deviceState } = parseSnapshotState(readFileSync(join(snapshot, 'state.json')), size);
  return deviceState();
}

async function timeByHand(words: readonly string[], state: string): Promise<number> {
  const start = performance.now();
  await using qemu = await startByHand(words);
  await qemu.load(`file:${state}`);
  await qemu.qmp.execute('cont');
  return performance.now() - start;
}
