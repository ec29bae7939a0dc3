import { closeSync } from 'node:fs';
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

/** Creates an empty one; the kernel frees it when no process has it open. */
export async function createMemfd(name: string): Promise<Memfd> {
  const { memfd_create } = await loadLibc();
  const fd = checked('memfd_create', memfd_create(name, MFD_CLOEXEC));
  return { fd, path: `/proc/${process.pid}/fd/${fd}`, [Symbol.dispose]: () => closeSync(fd) };
}
