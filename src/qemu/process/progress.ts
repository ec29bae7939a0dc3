import { readFile } from 'node:fs/promises';

/** Reads the progress of a process, as a text that changes while it makes progress. */
export type ReadProgress = () => Promise<string>;

/**
 * Returns a reader of the progress of a process: its memory, and the bytes that it has read from disks and written to them. CPU
 * time is not included: a QEMU that hangs in a loop uses it, too.
 */
export function progressOf(pid: number): ReadProgress {
  return async () => {
    const [status, io] = await Promise.all([read(pid, 'status'), read(pid, 'io')]);
    const memory = linesOf(status, /^(?:VmRSS|HugetlbPages):.*$/gm);
    return [...memory, ...linesOf(io, /^(?:read|write)_bytes:.*$/gm)].join('\n');
  };
}

/** Reads a file of the process in /proc; empty if the process has exited, or if the VMM must not read it. */
function read(pid: number, name: string): Promise<string> {
  return readFile(`/proc/${pid}/${name}`, 'utf8').catch(() => '');
}

function linesOf(text: string, pattern: RegExp): string[] {
  return text.match(pattern) ?? [];
}
