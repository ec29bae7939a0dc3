import { readFileSync } from 'node:fs';

/** Assumed where the limit cannot be read: the default of most systems. */
const DEFAULT = 1024;

let cached: number | undefined;

/** Returns how many descriptors this process may have open (RLIMIT_NOFILE). It does not change after the start. */
export function descriptorLimit(): number {
  return (cached ??= readLimit());
}

function readLimit(): number {
  try {
    const [, soft] = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
    return Number(soft ?? DEFAULT);
  } catch {
    return DEFAULT;
  }
}
