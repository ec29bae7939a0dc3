import { libc, loadLibc } from './libc.ts';
import { checked } from './system-error.ts';

/** fcntl.h */
const O_CLOEXEC = 0x80000;
const F_SETPIPE_SZ = 1031;

/** Capacity of a pipe, in `bytes`: the largest that a process without privileges gets. */
const CAPACITY_BYTES = 1 << 20;

/** Both ends of a pipe, which the caller closes. */
export interface Pipe {
  readonly reader: number;
  readonly writer: number;
}

/** Opens a blocking pipe, close-on-exec, with a large buffer if the user's limit of pipe buffers allows that. @throws the system's error */
export async function openPipe(): Promise<Pipe> {
  await loadLibc();
  const ends = new Int32Array(2);
  checked('pipe2', libc().pipe2(ends, O_CLOEXEC));
  const [reader = -1, writer = -1] = ends;
  libc().fcntl(reader, F_SETPIPE_SZ, 'int', CAPACITY_BYTES);
  return { reader, writer };
}
