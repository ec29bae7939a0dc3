/** Processes of the host, read in /proc. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** Returns the children of a process with their command lines. */
export function childrenOf(pid: number): { readonly pid: number; readonly command: string }[] {
  return pids()
    .filter((one) => statOf(one)?.parent === pid)
    .map((one) => ({ pid: one, command: readText(`/proc/${one}/cmdline`).replaceAll('\0', ' ') }));
}

/** Returns the command lines of all processes. */
export function commands(): string[] {
  return pids().map((one) => readText(`/proc/${one}/cmdline`).replaceAll('\0', ' ').trim());
}

/** Returns the pid of a VMM's QEMU. Fails where there is none. */
export function qemuOf(vmmPid: number): number {
  const found = childrenOf(vmmPid).find(({ command }) => command.includes('qemu-system'));
  if (found === undefined) throw new Error(`process ${vmmPid} has no QEMU`);
  return found.pid;
}

/** Describes the threads of processes, for errors: names, states and seconds of processor time. */
export function threadsOf(processes: readonly { readonly pid: number }[]): string {
  return processes.map(({ pid }) => `process ${pid}: ${threadsIn(pid).join(', ')}`).join('\n');
}

function threadsIn(pid: number): string[] {
  return namesIn(`/proc/${pid}/task`).map((thread) => {
    const text = readText(`/proc/${pid}/task/${thread}/stat`);
    const name = text.slice(text.indexOf('(') + 1, text.lastIndexOf(')'));
    const [state] = fieldsOf(text);
    return `${name} ${state} ${(ticksIn(text) / TICKS_PER_SECOND).toFixed(1)} s`;
  });
}

/** Returns the processor time that a process has used, in ticks of 10 ms. */
export function cpuTicks(pid: number): number {
  return ticksIn(readText(`/proc/${pid}/stat`));
}

/** Ticks in user and kernel mode: fields 14 and 15 of a `stat` file (proc(5)). */
function ticksIn(stat: string): number {
  const fields = fieldsOf(stat);
  return Number(fields[11]) + Number(fields[12]);
}

/** Fields of a `stat` file from the third on, which is the state; the name before it may hold any character. */
function fieldsOf(stat: string): string[] {
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

/** Returns a field of /proc/<pid>/status, e.g. `Groups`; empty where there is none. */
export function statusField(pid: number, name: string): string {
  return new RegExp(`^${name}:[\\t ]*(.*)$`, 'm').exec(readText(`/proc/${pid}/status`))?.[1] ?? '';
}

/** A mapping of a process, from /proc/<pid>/smaps. */
export interface Mapping {
  /** first line: addresses, permissions, file */
  readonly line: string;
  readonly bytes: number;
  /** `VmFlags`, e.g. `mg` for mergeable and `ht` for huge pages */
  readonly flags: string;
  readonly residentKib: number;
}

/** Returns the mappings of a process. */
export function mappingsOf(pid: number): Mapping[] {
  const parts = readText(`/proc/${pid}/smaps`).split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  return parts.map((part) => {
    const [line = ''] = part.split('\n');
    const [, from = '0', to = '0'] = /^([0-9a-f]+)-([0-9a-f]+) /.exec(line) ?? [];
    return {
      line,
      bytes: Number(BigInt(`0x${to}`) - BigInt(`0x${from}`)),
      flags: /^VmFlags: (.*)$/m.exec(part)?.[1] ?? '',
      residentKib: Number(/^Rss: +(\d+) kB/m.exec(part)?.[1] ?? 0),
    };
  });
}

/** Unit of processor time in /proc (USER_HZ). */
const TICKS_PER_SECOND = 100;

/** Returns true if a process runs; a zombie does not. */
export function isAlive(pid: number): boolean {
  const state = statOf(pid)?.state;
  return state !== undefined && state !== 'Z' && state !== 'X';
}

/** Returns the targets of a process's file descriptors, sorted, with each number replaced by `N`. */
export function descriptorsOf(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`)
    .map((fd) => linkOf(`/proc/${pid}/fd/${fd}`))
    .filter((target) => target !== '')
    .map((target) => target.replace(/\d+/g, 'N'))
    .toSorted();
}

/** Returns the flags of open(2) of each file descriptor that a process has of a file. */
export function openFlagsOf(pid: number, path: string): number[] {
  return readdirSync(`/proc/${pid}/fd`)
    .filter((fd) => linkOf(`/proc/${pid}/fd/${fd}`) === path)
    .map((fd) => {
      const flags = /^flags:\s+(\d+)/m.exec(readText(`/proc/${pid}/fdinfo/${fd}`))?.[1];
      return Number.parseInt(flags ?? '0', 8);
    });
}

function pids(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** Returns undefined where the process exits meanwhile. */
function statOf(pid: number): { readonly state: string; readonly parent: number } | undefined {
  const text = readText(`/proc/${pid}/stat`);
  const [state, parent] = fieldsOf(text);
  return state === undefined || parent === undefined ? undefined : { state, parent: Number(parent) };
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function namesIn(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
