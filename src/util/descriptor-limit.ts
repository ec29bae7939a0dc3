import { readFileSync } from 'node:fs';

/** Where the limit cannot be read: what most systems have at least. */
const USUAL = 1024;

let known: number | undefined;

/** Returns how many descriptors this process may have open (RLIMIT_NOFILE). It does not change after the start. */
export function descriptorLimit(): number {
  return (known ??= readLimit());
}

function readLimit(): number {
  try {
    const [, soft] = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
    return Number(soft ?? USUAL);
  } catch {
    return USUAL;
  }
}
