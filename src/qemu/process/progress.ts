import { readFile } from 'node:fs/promises';

/** Reads how far a process is, as a text that changes while it makes progress. */
export type ReadProgress = () => Promise<string>;

/**
 * Follows a process by what it has in memory and by what it has read from disks and written to them. Time on a processor is no
 * progress: a QEMU that hangs in a loop has that, too.
 */
export function progressOf(pid: number): ReadProgress {
  return async () => {
    const [status, io] = await Promise.all([read(pid, 'status'), read(pid, 'io')]);
    const memory = linesOf(status, /^(?:VmRSS|HugetlbPages):.*$/gm);
    return [...memory, ...linesOf(io, /^(?:read|write)_bytes:.*$/gm)].join('\n');
  };
}

/** Empty where the process has ended, or is another user's and does not show it. */
function read(pid: number, name: string): Promise<string> {
  return readFile(`/proc/${pid}/${name}`, 'utf8').catch(() => '');
}

function linesOf(text: string, pattern: RegExp): string[] {
  return text.match(pattern) ?? [];
}
