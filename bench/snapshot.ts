// Snapshots beside their references: cp of the same pages, the same state loaded by hand, and QEMU's own `-incoming file:`.
import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { isMessage } from '../src/qemu/qmp-stream.ts';
import { parseSavedMachine } from '../src/vm/snapshot/saved-machine.ts';
import { guestConfig } from '../tests/support/guest.ts';
import { qemuOf } from '../tests/support/host.ts';
import { openShell, ptyOf } from '../tests/support/shell.ts';
import { assertStatus, startVmm, type TestVmm } from '../tests/support/vmm.ts';
import { startByHand, wordsOf } from './by-hand.ts';

const MIB = 2 ** 20;
const SIZES_MIB = [512, 2048, 8192];
const TOUCHED_MIB = 256;

/** Milliseconds of each round, by what was done. */
type Times = Map<string, number[]>;

/** `npm run bench -- snapshot [rounds [MiB...]]` */
export async function benchSnapshot([rounds = '5', ...words]: readonly string[]): Promise<void> {
  // not in memory: cp and we are to write to the same disk
  const folder = mkdtempSync(join(process.cwd(), 'build', 'bench-snapshot-'));
  try {
    const restores = new Map<number, number>();
    const sizes = words.length === 0 ? SIZES_MIB : words.map(Number);
    for (const mib of sizes) {
      const times = await measure(join(folder, `${mib}`), mib, Number(rounds));
      report(mib, times);
      restores.set(mib, median(times.get('restore') ?? []));
    }
    const [small = 0, large = 0] = [restores.get(512), restores.get(8192)];
    if (small > 0 && large > 0)
      console.log(`restore at 8192 MiB takes ${(large / small).toFixed(2)} of 512 MiB (must: 1.20)`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measure(folder: string, mib: number, rounds: number): Promise<Times> {
  mkdirSync(folder);
  const times: Times = new Map();
  const time = async (name: string, act: () => Promise<unknown>): Promise<void> => {
    const start = performance.now();
    await act();
    times.set(name, [...(times.get(name) ?? []), performance.now() - start]);
  };
  const last = join(folder, 'last');
  {
    await using vmm = await bootTouched(mib);
    for (let round = 0; round <= rounds; round++) {
      if (round > 0) await writeBoth(vmm, folder, time);
    }
    mkdirSync(last);
    assertStatus(await vmm.put('vm.snapshot', { destination_url: `file://${last}` }), 204);
  }
  await loadAll({ folder, last, rounds, time });
  rmSync(folder, { recursive: true, force: true });
  return times;
}

type Time = (name: string, act: () => Promise<unknown>) => Promise<void>;

/** A paused VM that has touched as much as is said. */
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

async function writeBoth(vmm: TestVmm, folder: string, time: Time): Promise<void> {
  const pid = qemuOf(vmm.pid);
  const fd = readdirSync(`/proc/${pid}/fd`).find((one) =>
    linkOf(pid, one).startsWith('/memfd:memory-backend'),
  );
  const [copy, target] = [join(folder, 'copy'), join(folder, 'target')];
  await time('cp', async () => execFileSync('cp', ['--sparse=always', `/proc/${pid}/fd/${fd}`, copy]));
  rmSync(copy);
  mkdirSync(target);
  await time('snapshot', async () =>
    assertStatus(await vmm.put('vm.snapshot', { destination_url: `file://${target}` }), 204),
  );
  rmSync(target, { recursive: true });
}

function linkOf(pid: number, fd: string): string {
  try {
    return readlinkSync(`/proc/${pid}/fd/${fd}`);
  } catch {
    return '';
  }
}

interface Loading {
  readonly folder: string;
  readonly last: string;
  readonly rounds: number;
  readonly time: Time;
}

async function loadAll({ folder, last, rounds, time }: Loading): Promise<void> {
  const [state, full] = [join(folder, 'state'), join(folder, 'full')];
  const { deviceState } = parseSavedMachine(readFileSync(join(last, 'state.json'), 'utf8'));
  writeFileSync(state, Buffer.from(deviceState, 'base64'));
  let words: string[] = [];
  const body = { source_url: `file://${last}`, resume: true };
  await using vmm = await startVmm();
  for (let round = 0; round <= rounds; round++) {
    const act = async (): Promise<void> => assertStatus(await vmm.put('vm.restore', body), 204);
    // the first fills the page cache
    await (round === 0 ? act() : time('restore', act));
    words = wordsOf(qemuOf(vmm.pid));
    assertStatus(await vmm.put('vm.delete'), 204);
    const byHand = (uri: string, argv: readonly string[]) => async (): Promise<void> => {
      await using qemu = await startByHand(argv);
      await qemu.load(uri);
      await qemu.qmp.execute('cont');
    };
    await time('by hand', byHand(`file:${state}`, words));
    if (round === 0) {
      await using qemu = await startByHand(words);
      await qemu.load(`file:${state}`);
      await qemu.save(`file:${full}`);
    }
    // QEMU's own way, with the RAM that the VM was booted with
    await time("QEMU's own", byHand(`file:${full}`, words.map(unmapped)));
  }
}

/** The RAM's object as at boot. */
function unmapped(word: string): string {
  if (!word.includes('"memory-backend-file"')) return word;
  const props: unknown = JSON.parse(word);
  const { id, size } = isMessage(props) ? props : {};
  return JSON.stringify({ 'qom-type': 'memory-backend-memfd', id, size, share: true });
}

function report(mib: number, times: Times): void {
  const of = (name: string): number => median(times.get(name) ?? []);
  const line = (name: string, reference: string, bound: string): void => {
    const [ours, theirs] = [of(name), of(reference)];
    console.log(
      `${String(mib).padStart(5)} MiB  ${name} ${ours.toFixed(0)} ms, ${reference} ${theirs.toFixed(0)} ms: ${(ours / theirs).toFixed(2)} (${bound})`,
    );
  };
  line('snapshot', 'cp', 'must: 1.50');
  line('restore', 'by hand', 'must: 1.80');
  line('restore', "QEMU's own", 'must at 8192: 0.10');
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}
