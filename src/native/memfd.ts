import { closeSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { loadLibc } from './libc.ts';
import { checked } from './system-error.ts';

const MFD_CLOEXEC = 1;

/** A file in memory without a name. */
export interface Memfd {
  readonly fd: number;
  /** by which another process of this user opens it */
  readonly path: string;
  readonly [Symbol.dispose]: () => void;
}

/**
 * Creates one with a content, empty by default; the kernel frees it when no process has it open. Rejects with the system's error,
 * and leaves nothing open.
 */
export async function createMemfd(name: string, content?: string | Uint8Array): Promise<Memfd> {
  const { memfd_create } = await loadLibc();
  const fd = checked('memfd_create', memfd_create(name, MFD_CLOEXEC));
  const memfd = { fd, path: `/proc/${process.pid}/fd/${fd}`, [Symbol.dispose]: () => closeSync(fd) };
  try {
    if (content !== undefined) await writeFile(memfd.path, content);
    return memfd;
  } catch (error) {
    memfd[Symbol.dispose]();
    throw error;
  }
}
