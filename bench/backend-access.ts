// Speed of the VMM's back-ends by both ways to the guest's memory: mapped, and copied from QEMU's process. Two clones of one snapshot.
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { assertStatus } from '../tests/support/answers.ts';
import { openShell, type Shell } from '../tests/support/shell.ts';
import { editConfig } from '../tests/support/snapshots.ts';
import { ptyOf } from '../tests/support/vm-info.ts';
import type { TestVmm } from '../tests/support/vmm.ts';
import { WORKS } from './fs-works.ts';
import { quantile } from './io-guests.ts';
import { printRow } from './table.ts';
import { BULK, measure, type Run } from './vsock-traffic.ts';

/** Rounds before the measurement: QEMU translates the guest's code, and V8 that of the VMM, on first use. */
const WARM_UP = 1;

/** Limit of one measurement, on a busy machine. */
const TIMEOUT_MS = 240_000;

const TRAFFIC: readonly (readonly [string, Run['mode']])[] = [
  ['host to guest, default buffer, MB/s', 'receive'],
  ['guest to host, MB/s', 'send'],
  ['64-byte round trips, /s', 'echo'],
];

/** Works on the directory; those with a tree need more files than the clones have. */
const FILES = WORKS.filter(({ run }) => !/^(find|create|stat \d+ small|unlink)/.test(run));

interface Clones {
  readonly vmms: readonly [mapped: TestVmm, copied: TestVmm];
  /** snapshot of a guest with both devices and the programs */
  readonly folder: string;
  /** folder with a directory for each clone */
  readonly shared: string;
}

interface Clone {
  readonly shell: Shell;
  readonly path: string;
}

/** Measures each work in both clones, in turns. */
export async function compareAccess({ vmms, folder, shared }: Clones, rounds: number): Promise<void> {
  const mappable = `${folder}-shared`;
  cpSync(folder, mappable, { recursive: true });
  editConfig(mappable, (config) => ({ ...config, memory: { ...config.memory, shared: true } }));
  const mapped = await cloneOf(vmms[0], mappable, join(shared, 'ours'));
  const copied = await cloneOf(vmms[1], folder, join(shared, 'theirs'));
  try {
    for (const [name, mode] of TRAFFIC) {
      await compare(`vsock: ${name}`, rounds, (clone) => traffic(clone, mode), { mapped, copied });
    }
    for (const { name, run, digits } of FILES) {
      await compare(`fs: ${name}`, rounds, (clone) => work(clone, run), { mapped, copied, digits });
    }
  } finally {
    for (const { shell } of [mapped, copied]) shell[Symbol.dispose]();
  }
}

async function cloneOf(vmm: TestVmm, folder: string, directory: string): Promise<Clone> {
  const path = join(vmm.folder, 'clone');
  const overrides = { vsock: { socket: path }, fs: [{ id: 'ours', directory }] };
  assertStatus(await vmm.put('vm.restore', { source_url: `file://${folder}`, overrides, resume: true }), 204);
  return { shell: openShell(await ptyOf(vmm)), path };
}

function traffic({ shell, path }: Clone, mode: Run['mode']): Promise<number> {
  return measure(
    { shell, path, program: '/tmp/traffic.pl' },
    { kind: 'vsock', mode, bytes: BULK, buffer: 0 },
  );
}

async function work({ shell }: Clone, run: string): Promise<number> {
  const shown = await shell.run(`perl /tmp/fs.pl /mnt/ours ${run} 2>&1`, TIMEOUT_MS);
  if (!/^[\d.]+$/.test(shown)) throw new Error(`${run}: ${shown.slice(0, 400)}`);
  return Number(shown);
}

interface Sides {
  readonly mapped: Clone;
  readonly copied: Clone;
  readonly digits?: number | undefined;
}

async function compare(
  what: string,
  rounds: number,
  run: (clone: Clone) => Promise<number>,
  { mapped, copied, digits = 0 }: Sides,
): Promise<void> {
  const [ours, reference]: [number[], number[]] = [[], []];
  for (let round = -WARM_UP; round < rounds; round++) {
    const sides = [
      { clone: copied, into: ours },
      { clone: mapped, into: reference },
    ];
    for (const { clone, into } of round % 2 === 0 ? sides : sides.toReversed()) {
      const figure = await run(clone);
      if (round >= 0) into.push(figure);
    }
  }
  const ratios = ours.map((one, i) => one / (reference[i] ?? Number.NaN));
  printRow({
    what,
    ours: quantile(ours, 0.5).toFixed(digits),
    reference: ['mapped', quantile(reference, 0.5).toFixed(digits)],
    ratio: quantile(ratios, 0.5),
    note: `half of the rounds ${[0.25, 0.75].map((part) => quantile(ratios, part).toFixed(2)).join(' to ')}`,
  });
}
