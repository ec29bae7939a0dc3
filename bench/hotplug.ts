// Time from a request until the guest sees the change, for Nephos and for the same change over QMP.
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { comingProcessorsArchive } from './acpi-archive.ts';
import { INITRAMFS } from '../tests/support/guest.ts';
import {
  MORE_VCPUS,
  startByHand,
  startNephos,
  type BootFiles,
  type Contender,
} from './hotplug-contenders.ts';
import { inMs, printRow } from './table.ts';

const MIB = 2 ** 20;

/** A hot-plug change, and the condition by which the guest detects it. */
interface Operation {
  readonly name: string;
  readonly act: (contender: Contender, round: number) => Promise<void>;
  /** shell condition in the guest that holds after the change; builtins only, because a process costs time */
  readonly seen: (round: number) => string;
  readonly undo?: (contender: Contender) => Promise<void>;
  /** number of repetitions in a round: short times vary most */
  readonly times?: number;
}

const VCPUS_A_ROUND = 2;

const OPERATIONS: readonly Operation[] = [
  {
    name: 'a disk',
    act: (contender) => contender.addDisk(),
    seen: () => '[ -b /dev/vda ]',
    undo: (contender) => contender.removeDisk(),
    times: 3,
  },
  {
    name: 'a vCPU',
    act: (contender, round) => contender.setVcpus(3 + round),
    seen: (round) => `[ -e /sys/devices/system/cpu/cpu${2 + round} ]`,
    times: VCPUS_A_ROUND,
  },
  {
    name: '512 MiB of virtio-mem',
    act: (contender) => contender.setExtraRam(512 * MIB),
    seen: () => 'read _ kib _ </proc/meminfo; [ $kib -gt 700000 ]',
    undo: (contender) => contender.setExtraRam(0),
  },
];

/** Checks every 2 ms: a guest that spins would take the CPU from the measured process. */
const LOOK_MS = 2;
const PAUSE = `do read -t ${LOOK_MS / 1000} _; done`;

/**
 * Pause of half a second for the guest: after a vCPU is visible, the guest is busy with it for 0.15 s, and
 * would detect the next change later.
 */
const SETTLE = 'read -t 0.5 _';

/** `npm run bench -- hotplug [rounds]`: added vCPUs stay, so the number of rounds is bounded. */
export async function benchHotplug([rounds = '20']: readonly string[]): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'nephos-bench-'));
  try {
    const files: BootFiles = { folder, disk: diskImage(folder, 'first'), initramfs: INITRAMFS };
    const initramfs = await withComingProcessors(files);
    await using ours = await startNephos(files);
    // each machine has an image of its own
    await using byHand = await startByHand({ folder, disk: diskImage(folder, 'second'), initramfs });
    await compare([ours, byHand], Math.min(Number(rounds), MORE_VCPUS / VCPUS_A_ROUND));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function diskImage(folder: string, name: string): string {
  const path = join(folder, `${name}.raw`);
  writeFileSync(path, '');
  truncateSync(path, 16 * MIB);
  return path;
}

/** Adds ACPI tables: newer kernels accept a vCPU under emulation only with tables newer than QEMU's. */
async function withComingProcessors(files: BootFiles): Promise<string> {
  await using machine = await startByHand(files);
  const table = async (name: string): Promise<Buffer> => {
    const dump = await machine.shell.run(`od -An -v -tx1 /sys/firmware/acpi/tables/${name}`);
    return Buffer.from(dump.replace(/\s/g, ''), 'hex');
  };
  const archive = comingProcessorsArchive({ apic: await table('APIC'), fadt: await table('FACP') });
  const path = join(files.folder, 'initramfs');
  writeFileSync(path, Buffer.concat([archive, readFileSync(files.initramfs)]));
  return path;
}

async function compare(contenders: readonly [Contender, Contender], rounds: number): Promise<void> {
  for (const contender of contenders) await contender.pause();
  for (const operation of OPERATIONS) {
    const times = contenders.map((): number[] => []);
    for (let round = 0; round < rounds * (operation.times ?? 1); round++) {
      // in turns, with the other guest paused, because a busy guest takes the CPU from the other
      const turns = [...contenders.entries()];
      for (const [i, contender] of round % 2 === 0 ? turns : turns.toReversed()) {
        await contender.resume();
        times[i]?.push(await timeTo(operation, contender, round));
        await contender.shell.run(SETTLE);
        await contender.pause();
      }
    }
    const [ours = NaN, theirs = NaN] = times.map(median);
    printRow({
      what: `request to the guest’s sight: ${operation.name}`,
      ours: inMs(ours),
      reference: ['by hand', inMs(theirs)],
      ratio: ours / theirs,
      must: '<= 1.15',
    });
  }
}

/**
 * Returns the milliseconds. The guest watches before the request is sent, and reports on its serial port, whose output
 * QEMU writes to a file: a terminal would add the time of its readers.
 */
async function timeTo(operation: Operation, contender: Contender, round: number): Promise<number> {
  const { shell, marker } = contender;
  const mark = `mark${Math.random().toString(36).slice(2)}`;
  const watching = `echo ${mark}-watching >${marker}`;
  shell.type(`${watching}; until ${operation.seen(round)}; ${PAUSE}; echo ${mark}-done >${marker}\r`);
  await marked(contender, `${mark}-watching`);
  // not in step with the guest's checks: the same rounding would apply to all requests otherwise
  await setTimeout(Math.random() * 5 * LOOK_MS);
  const start = performance.now();
  const [done] = await Promise.all([marked(contender, `${mark}-done`), operation.act(contender, round)]);
  if (operation.undo !== undefined) {
    await operation.undo(contender);
    await shell.run(`while ${operation.seen(round)}; ${PAUSE}`);
  }
  return done - start;
}

/** Returns the time at which the guest's mark was in the file, checked every millisecond. */
async function marked({ name, marks }: Contender, mark: string): Promise<number> {
  const deadline = performance.now() + 60_000;
  while (!readFileSync(marks, 'latin1').includes(mark)) {
    if (performance.now() > deadline) throw new Error(`${name}: the guest did not write ${mark}`);
    await setTimeout(1);
  }
  return performance.now();
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
}
