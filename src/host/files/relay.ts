import { closeSync, read } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { promisify } from 'node:util';
import { openPipe } from '../../native/pipe.ts';

/** Size of a read and a write, in `bytes`. */
const CHUNK_BYTES = 1 << 20;

const readSome = promisify(read);

/** Copies the bytes that another process writes to a pipe into a file. The process notices when the relay is cut. */
export interface Relay extends AsyncDisposable {
  /** end for the other process; blocking, and closed by `closeSource` */
  readonly fd: number;
  /** Closes the VMM's copy of `fd`: the bytes end when the process has closed its own. */
  readonly closeSource: () => void;
  /** Closes the pipe at the next write of the process: further ones fail with EPIPE. */
  readonly cut: () => void;
  /** Settles when all bytes are in the file, or the relay is cut. Rejects with the error of a write to the file, which cuts it. */
  readonly copied: Promise<void>;
}

/** Opens a relay into a file; `onBytes` is called with the number of bytes of each write. */
export async function openRelay(file: FileHandle, onBytes: (bytes: number) => void): Promise<Relay> {
  const { reader, writer } = await openPipe();
  let isSourceOpen = true;
  const closeSource = (): void => {
    if (isSourceOpen) closeSync(writer);
    isSourceOpen = false;
  };
  const cutting = new AbortController();
  // not while a read waits: its descriptor could be another file's by then
  const copied = copy(reader, { file, onBytes, cut: cutting.signal }).finally(() => closeSync(reader));
  // the caller may fail before it waits
  copied.catch(() => undefined);
  return {
    fd: writer,
    closeSource,
    cut: () => cutting.abort(),
    copied,
    [Symbol.asyncDispose]: async () => {
      cutting.abort();
      closeSource();
      await copied.catch(() => undefined);
    },
  };
}

interface Target {
  readonly file: FileHandle;
  readonly onBytes: (bytes: number) => void;
  readonly cut: AbortSignal;
}

/** Copies with reads of the thread pool, which wait for the process. */
async function copy(reader: number, { file, onBytes, cut }: Target): Promise<void> {
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  for (;;) {
    const { bytesRead } = await readSome(reader, buffer, 0, buffer.length, null);
    if (bytesRead === 0 || cut.aborted) return;
    for (let done = 0; done < bytesRead;) {
      done += (await file.write(buffer, done, bytesRead - done)).bytesWritten;
    }
    onBytes(bytesRead);
  }
}
