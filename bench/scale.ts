// Idle clones of one snapshot: use of the host by 1, 10, 30 and more of them. docs/scale.md has the figures, bench/scale-model.ts those of more.
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { VirtualMachine } from 'nephos';
import { INITRAMFS, KERNEL } from '../tests/support/guest.ts';
import { qemuOf } from '../tests/support/processes.ts';
import { render, TABLES } from './scale-model.ts';
import { printRow } from './table.ts';

const MIB = 2 ** 20;
/** Time until a VMM has returned the memory of its start, in milliseconds (src/native/idle-memory.ts: 10 s, and V8 ten seconds later). */
const SETTLE_MS = 30_000;
/** Memory of the host that must stay available, in MiB. */
const RESERVE_MIB = 2048;
const IDLE_MS = 10_000;

/** `npm run bench -- scale [counts...]`; 1, 10 and 30 clones by default. `-- scale model` prints the tables of the model. */
export async function benchScale(words: readonly string[]): Promise<void> {
  if (words[0] === 'model')
    return console.log(
      Object.values(TABLES)
        .map((table) => render(table()))
        .join('\n\n'),
    );
  const counts = words.length === 0 ? [1, 10, 30] : words.map(Number);
  const folder = mkdtempSync(join(process.cwd(), 'build', 'bench-scale-'));
  const clones: VirtualMachine[] = [];
  try {
    const snapshot = join(folder, 'snapshot');
    await takeSnapshot(snapshot);
    const before = hostUse();
    for (const count of counts) {
      const start = await startClones(clones, snapshot, count);
      await delay(SETTLE_MS);
      const use = await measure(clones, before);
      print(use, start);
      await printShare(use);
    }
  } finally {
    await Promise.all(clones.map((clone) => clone[Symbol.asyncDispose]()));
    rmSync(folder, { recursive: true, force: true });
  }
}

async function takeSnapshot(directory: string): Promise<void> {
  await using vm = await VirtualMachine.launch({
    cpus: { boot_vcpus: 1, max_vcpus: 1 },
    memory: { size: 256 * MIB },
    kernel: { path: KERNEL },
    initramfs: { path: INITRAMFS },
    cmdline: { args: 'console=ttyS0' },
  });
  await vm.serial.waitFor('login:', { timeoutMs: 120_000 });
  await vm.snapshot(directory, { resume: false });
}

interface Starts {
  readonly clones: number;
  /** of one clone, in `milliseconds` */
  readonly wall: number;
  /** processor time of VMM and QEMU until it runs, in `milliseconds` */
  readonly cpu: number;
}

/** Starts clones up to a number of them, one after another. */
async function startClones(clones: VirtualMachine[], snapshot: string, count: number): Promise<Starts> {
  const first = clones.length;
  const start = performance.now();
  let cpu = 0;
  while (clones.length < count) {
    if (availableMib() < RESERVE_MIB) throw new Error(`${clones.length} clones: the host has no more memory`);
    const clone = await VirtualMachine.restore(snapshot);
    clones.push(clone);
    cpu += cpuMs(clone.pid) + cpuMs(qemuOf(clone.pid));
  }
  const started = clones.length - first;
  return { clones: started, wall: (performance.now() - start) / started, cpu: cpu / started };
}

/** Use of the host; other programs change it, too. */
interface HostUse {
  readonly slabMib: number;
  readonly pageTablesMib: number;
  readonly stacksMib: number;
  readonly keys: number;
}

function hostUse(): HostUse {
  return {
    slabMib: memInfo('SUnreclaim'),
    pageTablesMib: memInfo('PageTables'),
    stacksMib: memInfo('KernelStack'),
    keys: readFileSync('/proc/keys', 'latin1').split('\n').length,
  };
}

interface Use {
  readonly count: number;
  readonly processes: Readonly<Record<'vmm' | 'qemu', ProcessUse>>;
  readonly host: HostUse;
  readonly ownerDescriptors: number;
  readonly pingMs: number;
  /** processor time of the VMM for a vm.info, in `milliseconds` */
  readonly infoMs: number;
}

/** Mean use of one process of each VM. */
interface ProcessUse {
  readonly pssMib: number;
  /** pages of this process alone */
  readonly privateMib: number;
  readonly threads: number;
  readonly descriptors: number;
  readonly inotify: number;
  /** of a core, in percent */
  readonly idle: number;
}

async function measure(clones: readonly VirtualMachine[], before: HostUse): Promise<Use> {
  const vmms = clones.map(({ pid }) => pid);
  const qemus = vmms.map(qemuOf);
  const cpu = [vmms, qemus].map((pids) => mean(pids, cpuMs));
  await delay(IDLE_MS);
  const [vmm, qemu] = [vmms, qemus].map((pids, i) => useOf(pids, cpu[i] ?? 0));
  if (vmm === undefined || qemu === undefined) throw new Error('there are no clones');
  const now = hostUse();
  const start = performance.now();
  for (const { client } of clones) await client.call('vmm.ping');
  const pingMs = (performance.now() - start) / clones.length;
  const infoMs = await infoCost(clones);
  const count = clones.length;
  const of = (key: keyof HostUse): number => (now[key] - before[key]) / count;
  return {
    count,
    processes: { vmm, qemu },
    host: {
      slabMib: of('slabMib'),
      pageTablesMib: of('pageTablesMib'),
      stacksMib: of('stacksMib'),
      keys: of('keys'),
    },
    ownerDescriptors: readdirSync('/proc/self/fd').length / count,
    pingMs,
    infoMs,
  };
}

/** Requests whose processor time is measured, which /proc has in steps of 10 ms. */
const INFOS = 300;

async function infoCost([clone]: readonly VirtualMachine[]): Promise<number> {
  if (clone === undefined) return 0;
  const before = cpuMs(clone.pid);
  for (let i = 0; i < INFOS; i++) await clone.info();
  return (cpuMs(clone.pid) - before) / INFOS;
}

function useOf(pids: readonly number[], cpuBefore: number): ProcessUse {
  return {
    pssMib: mean(pids, (pid) => rollup(pid, 'Pss')),
    privateMib: mean(pids, (pid) => rollup(pid, 'Private_Dirty') + rollup(pid, 'Private_Clean')),
    threads: mean(pids, (pid) => readdirSync(`/proc/${pid}/task`).length),
    descriptors: mean(pids, (pid) => descriptorsOf(pid).length),
    inotify: mean(pids, (pid) => descriptorsOf(pid).filter((one) => one.includes('inotify')).length),
    idle: (100 * (mean(pids, cpuMs) - cpuBefore)) / IDLE_MS,
  };
}

function print({ count, processes, host, ownerDescriptors, pingMs, infoMs }: Use, starts: Starts): void {
  const { vmm, qemu } = processes;
  const name = `${count} clones`;
  const row = (what: string, ours: string, note = ''): void =>
    printRow({ what: `${name}: ${what}`, ours, note });
  row(
    'memory of the kernel for each',
    mib(host.pageTablesMib + host.stacksMib + host.slabMib),
    `page tables ${mib(host.pageTablesMib)}, kernel stacks ${mib(host.stacksMib)}, slab ${mib(host.slabMib)}`,
  );
  row('Pss of a VMM', mib(vmm.pssMib), `of it private ${mib(vmm.privateMib)}`);
  row('Pss of a QEMU', mib(qemu.pssMib), `of it private ${mib(qemu.privateMib)}`);
  row('processes and threads of each', `2, ${vmm.threads + qemu.threads}`);
  row(
    'descriptors of each',
    (vmm.descriptors + qemu.descriptors).toFixed(1),
    `VMM ${vmm.descriptors.toFixed(1)}, QEMU ${qemu.descriptors.toFixed(1)}, the program that started it ${ownerDescriptors.toFixed(1)}`,
  );
  row('inotify instances and keys of each', `${vmm.inotify + qemu.inotify}, ${host.keys.toFixed(1)}`);
  row('CPU of an idle one', `${(vmm.idle + qemu.idle).toFixed(2)} %`, `VMM ${vmm.idle.toFixed(2)} %`);
  row('vmm.ping of one after another', `${pingMs.toFixed(1)} ms`);
  row('CPU of a vm.info', `${infoMs.toFixed(2)} ms`);
  row('start of one', `${starts.wall.toFixed(0)} ms`, `CPU ${starts.cpu.toFixed(0)} ms`);
}

/** Most memory of an idle clone and its VMM, in MiB. */
const PSS_MAX = 25;

/** Prints the memory of a clone beside that of an empty Node and of a QEMU without a machine: the least for any VMM of these two. */
async function printShare({ count, processes: { vmm, qemu } }: Use): Promise<void> {
  const ours = vmm.pssMib + qemu.pssMib;
  const least = await emptyPss();
  printRow({
    what: `${count} clones: Pss of an idle clone, with QEMU`,
    ours: mib(ours),
    reference: ['empty Node and QEMU', mib(least)],
    ratio: ours / least,
    must: `<= ${PSS_MAX} MiB`,
  });
}

async function emptyPss(): Promise<number> {
  const children = [
    spawn(process.execPath, ['-e', 'setInterval(() => undefined, 2 ** 30)'], { stdio: 'ignore' }),
    spawn('qemu-system-x86_64', ['-machine', 'none', '-nodefaults', '-display', 'none'], { stdio: 'ignore' }),
  ];
  try {
    await delay(EMPTY_MS);
    return children.reduce((sum, { pid = 0 }) => sum + rollup(pid, 'Pss'), 0);
  } finally {
    await Promise.all(children.map(kill));
  }
}

/** Time for empty processes to start, in milliseconds. */
const EMPTY_MS = 3000;

async function kill(child: ChildProcess): Promise<void> {
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  if (child.exitCode === null && child.signalCode === null) await gone;
}

function mib(value: number): string {
  return `${value.toFixed(2)} MiB`;
}

function mean(pids: readonly number[], of: (pid: number) => number): number {
  return pids.reduce((sum, pid) => sum + of(pid), 0) / pids.length;
}

/** Returns a value of /proc/<pid>/smaps_rollup in MiB. */
function rollup(pid: number, name: string): number {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1');
  return Number(new RegExp(`^${name}: +(\\d+)`, 'm').exec(text)?.[1] ?? 0) / 1024;
}

function descriptorsOf(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).map((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`);
    } catch {
      return '';
    }
  });
}

/** Returns the processor time of a process, all threads together, in milliseconds. */
function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1')
    .replace(/^.*\) /, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** Returns a value of /proc/meminfo in MiB. */
function memInfo(name: string): number {
  return (
    Number(new RegExp(`^${name}: +(\\d+)`, 'm').exec(readFileSync('/proc/meminfo', 'latin1'))?.[1]) / 1024
  );
}

function availableMib(): number {
  return memInfo('MemAvailable');
}
