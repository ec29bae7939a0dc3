import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';

/** Limits how many more file descriptors a process can open, by prlimit(1). */
export function limitDescriptors(pid: number, more: number): void {
  const numbers = readdirSync(`/proc/${pid}/fd`).map(Number);
  // the limit counts numbers, not descriptors: the lowest free ones are taken first
  const used = new Set(numbers);
  let limit = 0;
  for (let left = more; left > 0; limit++) if (!used.has(limit)) left--;
  execFileSync('prlimit', ['--pid', String(pid), `--nofile=${Math.max(limit, 1)}:`]);
}

/** Removes such a limit. */
export function unlimitDescriptors(pid: number): void {
  execFileSync('prlimit', ['--pid', String(pid), '--nofile=4096:']);
}
