import { closeSync, openSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { createMemfd, type Memfd } from '../../native/memfd.ts';

/** File in memory with the state of a snapshot's devices, which QEMU inherits when it starts. */
export interface StateFile extends Disposable {
  /** open for reading only */
  readonly fd: number;
  /** Writes the state while `start` starts QEMU: so it costs a restore no time. Settles when both have ended. */
  readonly writeWhile: <T>(state: () => Buffer, start: () => Promise<T>) => Promise<T>;
}

/** Opens an empty file. */
export async function openStateFile(): Promise<StateFile> {
  const memfd = await createMemfd('device-state');
  let fd: number;
  try {
    fd = openSync(memfd.path, 'r');
  } catch (error) {
    memfd[Symbol.dispose]();
    throw error;
  }
  return {
    fd,
    writeWhile: async (state, start) => {
      const writing = write(memfd, state);
      // reported below
      writing.catch(() => undefined);
      try {
        return await start();
      } finally {
        await writing;
      }
    },
    [Symbol.dispose]: () => {
      closeSync(fd);
      memfd[Symbol.dispose]();
    },
  };
}

async function write({ path }: Memfd, state: () => Buffer): Promise<void> {
  // QEMU's process is started first
  await setImmediate();
  await writeFile(path, state());
}
