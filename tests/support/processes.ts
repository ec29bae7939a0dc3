import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** The processes below one, and what they were started as. */
export function childrenOf(pid: number): { readonly pid: number; readonly command: string }[] {
  return pids()
    .filter((one) => statOf(one)?.parent === pid)
    .map((one) => ({ pid: one, command: readText(`/proc/${one}/cmdline`).replaceAll('\0', ' ') }));
}

/** What all processes were started as. */
export function commands(): string[] {
  return pids().map((one) => readText(`/proc/${one}/cmdline`).replaceAll('\0', ' ').trim());
}

/** The pid of a VMM's QEMU. */
export function qemuOf(vmmPid: number): number {
  const found = childrenOf(vmmPid).find(({ command }) => command.includes('qemu-system'));
  if (found === undefined) throw new Error(`process ${vmmPid} has no QEMU`);
  return found.pid;
}

/** What the threads of processes do, for a test whose guest says nothing: names, states and seconds of processor time. */
export function threadsOf(processes: readonly { readonly pid: number }[]): string {
  return processes.map(({ pid }) => `process ${pid}: ${threadsIn(pid).join(', ')}`).join('\n');
}

function threadsIn(pid: number): string[] {
  return namesIn(`/proc/${pid}/task`).map((thread) => {
    const text = readText(`/proc/${pid}/task/${thread}/stat`);
    const name = text.slice(text.indexOf('(') + 1, text.lastIndexOf(')'));
    // proc(5): the state is field 3, ticks in user and kernel mode are fields 14 and 15
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    const ticks = Number(fields[11]) + Number(fields[12]);
    return `${name} ${fields[0]} ${(ticks / TICKS_PER_SECOND).toFixed(1)} s`;
  });
}

/** What /proc counts in, on every Linux of today. */
const TICKS_PER_SECOND = 100;

/** Whether a process runs: a zombie does not. */
export function isAlive(pid: number): boolean {
  const state = statOf(pid)?.state;
  return state !== undefined && state !== 'Z' && state !== 'X';
}

/** What a process has open, each descriptor's target; those that come and go with libuv's own work are left out. */
export function descriptorsOf(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`)
    .map((fd) => linkOf(`/proc/${pid}/fd/${fd}`))
    .filter((target) => target !== '')
    .map((target) => target.replace(/\d+/g, 'N'))
    .toSorted();
}

/** The flags with which a process has a file open, one for each of its descriptors (open(2)). */
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

/** A process may end while it is looked at: then there is nothing to see. */
function statOf(pid: number): { readonly state: string; readonly parent: number } | undefined {
  const text = readText(`/proc/${pid}/stat`);
  // the name in brackets may hold anything
  const [state, parent] = text.slice(text.lastIndexOf(')') + 2).split(' ');
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
