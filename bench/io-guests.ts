import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chooseAccelerator } from '../src/host/accelerator.ts';
import { guestConfig, INITRAMFS_WITH_TOOLS, KERNEL } from '../tests/support/guest.ts';
import { openShell, ptyOf, shellOn, type Shell } from '../tests/support/shell.ts';
import { startVmm } from '../tests/support/vmm.ts';
import { CPU } from './by-hand.ts';

const RAM_MIB = 512;

/** How long one measurement takes at least, in seconds. */
export const SECONDS = 1;

/** The start of a guest's program: its own clock, in seconds. */
export const CLOCK =
  'sub now { my $t = "\\0" x 16; syscall(228, 1, $t); my ($s, $n) = unpack("qq", $t); $s + $n / 1e9 }\n';

/** A guest with the tests' tools, at its prompt. */
export interface Guest extends AsyncDisposable {
  readonly shell: Shell;
}

/** Ours, with members of the configuration. */
export async function startNephos(more: Readonly<Record<string, unknown>>): Promise<Guest> {
  const vmm = await startVmm();
  const config = guestConfig({ memory: { size: RAM_MIB * 2 ** 20 }, ...more }, { tools: true });
  for (const [route, body] of [['vm.create', config], ['vm.boot']] as const) {
    const { status, json } = await vmm.put(route, body);
    if (status !== 204) throw new Error(`${route}: ${JSON.stringify(json)}`);
  }
  const shell = openShell(await ptyOf(vmm));
  await shell.login();
  return { shell, [Symbol.asyncDispose]: () => vmm[Symbol.asyncDispose]() };
}

/** QEMU as its users start it, of the same machine type. */
export async function startQemu(words: readonly string[]): Promise<Guest> {
  const child = spawn(
    'qemu-system-x86_64',
    [
      ...['-M', 'pc', '-accel', chooseAccelerator().name, '-cpu', CPU, '-m', `${RAM_MIB}M`],
      ...['-nodefaults', '-display', 'none', '-serial', 'stdio', '-kernel', KERNEL],
      ...['-initrd', INITRAMFS_WITH_TOOLS, '-append', 'console=ttyS0', ...words],
    ],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  const shell = shellOn({
    write: (text) => void child.stdin.write(text),
    onData: (take) => void child.stdout.on('data', take),
    close: () => undefined,
  });
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  };
  await shell.login().catch(async (error: unknown) => {
    await stop();
    throw error;
  });
  return { shell, [Symbol.asyncDispose]: stop };
}

/** Both measure in turns, and who is first changes with each round. Prints one row; larger is better. */
export async function compare<T>(
  name: string,
  {
    rounds,
    sides,
    measure,
  }: {
    readonly rounds: number;
    readonly sides: readonly [ours: T, theirs: T];
    readonly measure: (side: T) => Promise<number>;
  },
): Promise<void> {
  const figures: [ours: number[], theirs: number[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    for (const side of round % 2 === 0 ? ([0, 1] as const) : ([1, 0] as const)) {
      figures[side].push(await measure(sides[side]));
    }
  }
  const [ours, theirs] = [median(figures[0]), median(figures[1])];
  const each = figures[0].map((one, i) => (one / (figures[1][i] ?? Number.NaN)).toFixed(2));
  console.log(
    `${name.padEnd(30)}${ours.toFixed(0).padStart(9)}${theirs.toFixed(0).padStart(9)}   ` +
      `${(ours / theirs).toFixed(2)}   ${each.join(' ')}`,
  );
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
