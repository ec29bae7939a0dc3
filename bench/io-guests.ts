import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { Duplex } from 'node:stream';
import { chooseAccelerator } from '../src/host/system/accelerator.ts';
import { openQmp, type Qmp } from '../src/qemu/qmp/connection.ts';
import { guestConfig, INITRAMFS_WITH_TOOLS, KERNEL } from '../tests/support/guest.ts';
import { openShell, type Shell, shellOn } from '../tests/support/shell.ts';
import { ptyOf } from '../tests/support/vm-info.ts';
import { startVmm } from '../tests/support/vmm.ts';
import { CPU } from './by-hand.ts';
import { printRow } from './table.ts';

const RAM_MIB = 512;

/** Minimum duration of a measurement, in seconds. */
export const SECONDS = 0.5;

/** Start of a program in the guest: the guest's clock, in seconds. */
export const CLOCK =
  'sub now { my $t = "\\0" x 16; syscall(228, 1, $t); my ($s, $n) = unpack("qq", $t); $s + $n / 1e9 }\n';

/** A guest with the tools of the tests, at its prompt. */
export interface Guest extends AsyncDisposable {
  readonly shell: Shell;
  /** Stops the vCPUs, so that they take no CPU time from the other guest. */
  readonly pause: () => Promise<void>;
  readonly resume: () => Promise<void>;
}

/** Starts a guest with Nephos, with members of its configuration. */
export async function startNephos(more: Readonly<Record<string, unknown>>): Promise<Guest> {
  const vmm = await startVmm();
  const put = async (route: string, body?: unknown): Promise<void> => {
    const { status, json } = await vmm.put(route, body);
    if (status !== 204) throw new Error(`${route}: ${JSON.stringify(json)}`);
  };
  const config = guestConfig({ memory: { size: RAM_MIB * 2 ** 20 }, ...more }, { tools: true });
  await put('vm.create', config);
  await put('vm.boot');
  const shell = openShell(await ptyOf(vmm));
  await shell.login();
  return {
    shell,
    pause: () => put('vm.pause'),
    resume: () => put('vm.resume'),
    [Symbol.asyncDispose]: () => vmm[Symbol.asyncDispose](),
  };
}

/** Starts a guest with plain QEMU, of the same machine type. */
export async function startQemu(words: readonly string[]): Promise<Guest> {
  const child = spawn(
    'qemu-system-x86_64',
    [
      ...['-M', 'pc', '-accel', chooseAccelerator().name, '-cpu', CPU, '-m', `${RAM_MIB}M`],
      ...['-nodefaults', '-display', 'none', '-serial', 'stdio', '-kernel', KERNEL],
      ...['-initrd', INITRAMFS_WITH_TOOLS, '-append', 'console=ttyS0', ...words],
      ...['-chardev', 'socket,id=qmp,fd=3', '-mon', 'chardev=qmp,mode=control'],
    ],
    { stdio: ['pipe', 'pipe', 'inherit', 'pipe'] },
  );
  const shell = shellOn({
    write: (text) => void child.stdin?.write(text),
    onData: (take) => void child.stdout?.on('data', take),
    close: () => undefined,
  });
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  };
  try {
    const qmp = await openQmpOf(child);
    await shell.login();
    return {
      shell,
      pause: async () => await qmp.execute('stop'),
      resume: async () => await qmp.execute('cont'),
      [Symbol.asyncDispose]: stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function openQmpOf(child: ChildProcess): Promise<Qmp> {
  const stream = child.stdio[3];
  if (!(stream instanceof Duplex)) throw new Error('QEMU has no QMP');
  return openQmp(stream, () => undefined);
}

/** The two guests of a comparison. */
export type Sides<T extends { readonly guest: Guest }> = readonly [ours: T, theirs: T];

/** Number of pairs of guests: the placement of memory and images changes the speed. */
export const PAIRS = 6;

/** Results of both guests by measurement, one for each round; larger is better. */
export type Figures = Map<string, readonly [ours: number[], theirs: number[]]>;

/** Measures both guests in turns, with the other paused. The first one changes with each round. */
export async function compare<T extends { readonly guest: Guest }>(
  sides: Sides<T>,
  measure: (side: T) => Promise<number>,
  { figures, name, rounds }: { readonly figures: Figures; readonly name: string; readonly rounds: number },
): Promise<void> {
  const row = figures.get(name) ?? [[], []];
  figures.set(name, row);
  for (const { guest } of sides) await guest.pause();
  for (let round = 0; round < rounds; round++) {
    for (const side of round % 2 === 0 ? ([0, 1] as const) : ([1, 0] as const)) {
      await sides[side].guest.resume();
      row[side].push(await measure(sides[side]));
      await sides[side].guest.pause();
    }
  }
  for (const { guest } of sides) await guest.resume();
}

/** Prints a row for each measurement: both medians, the median of the ratios, and the range of their middle half. */
export function report(figures: Figures): void {
  for (const [name, row] of figures) {
    const ratios = row[0].map((one, i) => one / (row[1][i] ?? Number.NaN));
    const [ours = '', theirs = ''] = row.map((side) => quantile(side, 0.5).toFixed(0));
    const [low, high] = [0.25, 0.75].map((part) => quantile(ratios, part).toFixed(2));
    printRow({
      what: name,
      ours,
      reference: ['QEMU', theirs],
      ratio: quantile(ratios, 0.5),
      must: '>= 0.95',
      note: `half of the rounds ${low} to ${high}`,
    });
  }
}

/** Returns a quantile of values, e.g. the median for `part` 0.5. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.round((sorted.length - 1) * part)] ?? Number.NaN;
}
