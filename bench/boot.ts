// Time from exec to the guest's user space, for Nephos and for plain QEMU with the same kernel, initramfs and memory.
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { chooseAccelerator } from '../src/host/system/accelerator.ts';
import { ENTRY_MARK, markEntry } from './entry-mark.ts';
import { inMs, printRow } from './table.ts';

const guest = join(
  process.env['NEPHOS_CACHE'] ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'nephos'),
  'guest',
);
const KERNEL = join(guest, 'vmlinuz');
const INITRAMFS = join(guest, 'initramfs.cpio.gz');

/** The first line of the guest's init. */
const USERSPACE = 'NEPHOS-USERSPACE';

/** Time after which a guest counts as hung, in milliseconds. Plain microvm hangs now and then. */
const PATIENCE_MS = 40_000;

interface Contender {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  /** text that ends the measurement */
  readonly mark: string;
  readonly env?: NodeJS.ProcessEnv;
}

const nephos: Contender = {
  name: 'nephos',
  command: [
    ...([
      'bin/cloud-hypervisor',
      '--memory',
      'size=512M',
      '--kernel',
      KERNEL,
      '--initramfs',
      INITRAMFS,
    ] as const),
    ...['--cmdline', 'console=ttyS0', '--serial', 'tty', '--console', 'off'],
  ],
  mark: USERSPACE,
};

function plainQemu(machine: string): Contender {
  const accelerator = chooseAccelerator().name;
  return {
    name: `qemu -M ${machine}`,
    command: [
      ...(['qemu-system-x86_64', '-M', machine, '-accel', accelerator, '-m', '512M'] as const),
      ...['-nodefaults', '-no-user-config', '-display', 'none', '-serial', 'stdio'],
      ...['-kernel', KERNEL, '-initrd', INITRAMFS, '-append', 'console=ttyS0'],
    ],
    mark: USERSPACE,
  };
}

/** `npm run bench -- boot [rounds]` */
export async function benchBoot([rounds = '7']: readonly string[]): Promise<void> {
  const cache = mkdtempSync(join(tmpdir(), 'nephos-bench-'));
  try {
    // the cached kernel of this contender writes a mark to COM1 at its entry point and halts
    const entry: Contender = {
      ...nephos,
      name: 'nephos, kernel entry',
      mark: ENTRY_MARK,
      env: { NEPHOS_CACHE: cache },
    };
    const node: Contender = {
      name: 'an empty node',
      command: [process.execPath, '-e', 'console.log("up")'],
      mark: 'up',
    };
    await timeTo({ ...entry, mark: USERSPACE });
    markEntry(largestFile(join(cache, 'boot')));
    const contenders = [nephos, plainQemu('q35'), plainQemu('microvm'), entry, node];
    const times = new Map(contenders.map(({ name }) => [name, [] as number[]]));
    // fills the cache of Nephos, and the page cache for all
    for (const contender of contenders) await timeOrHang(contender);
    for (let round = 1; round <= Number(rounds); round++) {
      process.stderr.write(`round ${round} of ${rounds}\r`);
      for (const contender of contenders) times.get(contender.name)?.push(await timeOrHang(contender));
    }
    report(times);
  } finally {
    rmSync(cache, { recursive: true, force: true });
  }
}

/** Returns the time, or Infinity if the guest hung, so that the other measurements are kept. */
function timeOrHang(contender: Contender): Promise<number> {
  return timeTo(contender).catch((error: unknown) => {
    console.error(error instanceof Error ? error.message.split('\n')[0] : String(error));
    return Infinity;
  });
}

function report(times: ReadonlyMap<string, readonly number[]>): void {
  const ours = times.get(nephos.name) ?? [];
  const shown = (values: readonly number[]): string =>
    `${inMs(median(values))}, ${inMs(Math.min(...values))}`;
  for (const [name, values] of times) {
    if (!name.startsWith('qemu')) printRow({ what: `exec to (median, best) ${name}`, ours: shown(values) });
    else {
      printRow({
        what: 'exec to user space (median, best)',
        ours: shown(ours),
        reference: [name, shown(values)],
        ratio: median(ours) / median(values),
        note: `of the bests ${(Math.min(...ours) / Math.min(...values)).toFixed(2)}`,
      });
    }
  }
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
}

function largestFile(folder: string): string {
  const files = readdirSync(folder).map((name) => join(folder, name));
  const [largest] = files.toSorted((a, b) => statSync(b).size - statSync(a).size);
  if (largest === undefined) throw new Error(`no unpacked kernel in ${folder}`);
  return largest;
}

/** Returns the milliseconds from exec until the mark is on the console, and kills the machine. */
function timeTo({ name, command, mark, env = {} }: Contender): Promise<number> {
  const [program, ...args] = command;
  return new Promise((resolve, reject) => {
    const start = performance.now();
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    let shown = '';
    let took: number | undefined;
    const timer = setTimeout(() => child.kill('SIGKILL'), PATIENCE_MS);
    const look = (bytes: Buffer): void => {
      shown += bytes.toString('latin1');
      if (took !== undefined || !shown.includes(mark)) return;
      took = performance.now() - start;
      child.kill('SIGKILL');
    };
    child.stdout.on('data', look);
    child.stderr.on('data', look);
    child.once('error', reject);
    // the next contender starts after the exit of this one
    child.once('close', () => {
      clearTimeout(timer);
      if (took === undefined) reject(new Error(`${name} never showed ${mark}:\n${shown.slice(-2000)}`));
      else resolve(took);
    });
  });
}
