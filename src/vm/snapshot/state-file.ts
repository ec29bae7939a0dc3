import { closeSync, openSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { createMemfd, type Memfd } from '../../native/memfd.ts';

/** File in memory with the state of a snapshot's devices, which QEMU inherits when it starts. */
export interface StateFile extends Disposable {
  /** open for reading only */
  readonly fd: number;
  /** Writes the state, given in base64, while `start` starts QEMU: so it costs a restore no time. Settles when both have ended. */
  readonly writeWhile: <T>(base64: string, start: () => Promise<T>) => Promise<T>;
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
    writeWhile: async (base64, start) => {
      const writing = write(memfd, base64);
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

async function write({ path }: Memfd, base64: string): Promise<void> {
  // QEMU's process is started first
  await setImmediate();
  await writeFile(path, Buffer.from(base64, 'base64'));
}
