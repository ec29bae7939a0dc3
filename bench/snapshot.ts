// Snapshots beside their references: cp of the same pages, the same state loaded over QMP, and QEMU's `-incoming file:`.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseSnapshotState } from '../src/vm/snapshot/snapshot-state.ts';
import { assertStatus } from '../tests/support/answers.ts';
import { guestConfig } from '../tests/support/guest.ts';
import { qemuOf } from '../tests/support/processes.ts';
import { openShell } from '../tests/support/shell.ts';
import { ptyOf } from '../tests/support/vm-info.ts';
import { startVmm, type TestVmm } from '../tests/support/vmm.ts';
import { startByHand, wordsOf } from './by-hand.ts';
import { measurePairs, reportPairs, type Pair, type PausedVm } from './snapshot-full.ts';
import { inMs, median, printRow } from './table.ts';

const MIB = 2 ** 20;
const SIZES_MIB = [512, 2048, 8192];
const TOUCHED_MIB = 256;

/** Milliseconds of each round, by operation. */
type Times = Map<string, number[]>;

/** A measured VM of one size. */
interface Candidate extends PausedVm {
  readonly times: Times;
}

/** `npm run bench -- snapshot [rounds [MiB...]]`: each round measures all sizes; copies have nine rounds or more. */
export async function benchSnapshot([rounds = '5', ...words]: readonly string[]): Promise<void> {
  // not in a tmpfs: cp and Nephos must write to the same disk
  const home = mkdtempSync(join(process.cwd(), 'build', 'bench-snapshot-'));
  const candidates: Candidate[] = [];
  try {
    for (const mib of words.length === 0 ? SIZES_MIB : words.map(Number)) {
      const folder = join(home, `${mib}`);
      mkdirSync(folder);
      candidates.push({ mib, folder, times: new Map(), vmm: await bootTouched(mib) });
    }
    const pairs = await measurePairs(candidates, Number(rounds));
    for (const { vmm, folder } of candidates) {
      mkdirSync(join(folder, 'last'));
      assertStatus(await vmm.put('vm.snapshot', { destination_url: `file://${join(folder, 'last')}` }), 204);
      assertStatus(await vmm.put('vm.delete'), 204);
    }
    for (const one of candidates) await prepareLoads(one);
    for (let round = 0; round < Number(rounds); round++) {
      for (const one of candidates) await loadAll(one);
    }
    reportAll(candidates, pairs);
  } finally {
    for (const { vmm } of candidates) await vmm[Symbol.asyncDispose]();
    rmSync(home, { recursive: true, force: true });
  }
}

function reportAll(candidates: readonly Candidate[], pairs: ReadonlyMap<Candidate, readonly Pair[]>): void {
  for (const one of candidates) {
    reportPairs(one, pairs.get(one) ?? []);
    report(one.mib, one.times);
  }
  const restores = new Map(candidates.map(({ mib, times }) => [mib, median(times.get('restore') ?? [])]));
  const [small = 0, large = 0] = [restores.get(512), restores.get(8192)];
  if (small === 0 || large === 0) return;
  printRow({
    what: 'restore of 8192 MiB beside 512 MiB',
    ours: inMs(large),
    reference: ['512 MiB', inMs(small)],
    ratio: large / small,
    must: '<= 1.20',
  });
}

async function time({ times }: Candidate, name: string, act: () => Promise<unknown>): Promise<void> {
  const start = performance.now();
  await act();
  times.set(name, [...(times.get(name) ?? []), performance.now() - start]);
}

/** Returns a paused VM that has touched the given amount of RAM. */
async function bootTouched(mib: number): Promise<TestVmm> {
  const vmm = await startVmm();
  assertStatus(await vmm.put('vm.create', guestConfig({ memory: { size: mib * MIB } })), 204);
  assertStatus(await vmm.put('vm.boot'), 204);
  using shell = openShell(await ptyOf(vmm));
  await shell.login();
  const bytes = (TOUCHED_MIB * MIB) / 4;
  await shell.run(`mkdir /m; mount -t tmpfs -o size=90% m /m; head -c ${bytes} /dev/urandom > /m/1`);
  await shell.run('for i in 2 3 4; do cat /m/1 > /m/$i; done');
  assertStatus(await vmm.put('vm.pause'), 204);
  return vmm;
}

const BODY = ({ folder }: Candidate): object => ({
  source_url: `file://${join(folder, 'last')}`,
  resume: true,
});

/** Writes the files of the references, and fills the page cache. */
async function prepareLoads(one: Candidate): Promise<void> {
  const { vmm, folder } = one;
  const { size } = statSync(join(folder, 'last', 'memory-ranges'));
  const { deviceState } = parseSnapshotState(readFileSync(join(folder, 'last', 'state.json')), size);
  writeFileSync(join(folder, 'state'), deviceState());
  assertStatus(await vmm.put('vm.restore', BODY(one)), 204);
  const words = wordsOf(qemuOf(vmm.pid));
  assertStatus(await vmm.put('vm.delete'), 204);
  await using qemu = await startByHand(words);
  await qemu.load(`file:${join(folder, 'state')}`);
  await qemu.save(`file:${join(folder, 'full')}`);
}

async function loadAll(one: Candidate): Promise<void> {
  const { vmm, folder } = one;
  await time(one, 'restore', async () => assertStatus(await vmm.put('vm.restore', BODY(one)), 204));
  const words = wordsOf(qemuOf(vmm.pid));
  assertStatus(await vmm.put('vm.delete'), 204);
  const byHand = (name: string, argv: readonly string[]) => async (): Promise<void> => {
    await using qemu = await startByHand(argv);
    await qemu.load(`file:${join(folder, name)}`);
    await qemu.qmp.execute('cont');
  };
  await time(one, 'by hand', byHand('state', words));
  // QEMU's `-incoming file:`, with the RAM of the boot
  await time(one, "QEMU's own", byHand('full', words.map(unmapped)));
}

/** Returns the memory object of the boot. */
function unmapped(word: string): string {
  if (!word.includes('"memory-backend-file"')) return word;
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const { id, size } = JSON.parse(word) as { id: string; size: number };
  return JSON.stringify({ 'qom-type': 'memory-backend-memfd', id, size, share: true });
}

function report(mib: number, times: Times): void {
  const of = (name: string): number => median(times.get(name) ?? []);
  const row = (name: string, reference: string, must = ''): void =>
    printRow({
      what: `${name} of ${mib} MiB`,
      ours: inMs(of(name)),
      reference: [reference, inMs(of(reference))],
      ratio: of(name) / of(reference),
      must,
    });
  row('restore', 'by hand', '<= 1.80');
  row('restore', "QEMU's own", mib === 8192 ? '<= 0.10' : '');
}
