import { closeSync } from 'node:fs';
import { loadNative } from './load.ts';

const MFD_CLOEXEC = 1;

/** A file in memory without a name. */
export interface Memfd {
  readonly fd: number;
  /** by which another process of ours opens it */
  readonly path: string;
  readonly [Symbol.dispose]: () => void;
}

/** Makes an empty one; it is gone when nobody has it open any more. */
export async function createMemfd(name: string): Promise<Memfd> {
  const { libc } = await loadNative();
  const fd = Number(libc.func('int memfd_create(const char *, unsigned int)')(name, MFD_CLOEXEC));
  if (fd < 0) throw new Error('no memory for a file in memory');
  return { fd, path: `/proc/${process.pid}/fd/${fd}`, [Symbol.dispose]: () => closeSync(fd) };
}
