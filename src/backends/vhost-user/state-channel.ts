import type { EventLoop } from '../event-loop.ts';
import { EPOLLIN, EPOLLOUT } from '../../native/epoll.ts';
import { libc } from '../../native/libc.ts';
import { allocate, putVector, VECTOR_BYTES } from '../../native/memory.ts';
import { callError, checked, EAGAIN, EINTR, errno } from '../../native/system-error.ts';

/** Largest state of a device, in `bytes`: 10 million inodes of a file system. */
export const MAX_STATE_BYTES = 256 * 2 ** 20;

/** Most bytes of one read. */
const CHUNK_BYTES = 2 ** 20;

/** Most reads or writes of one event, so that other events are handled in between. */
const STEPS = 16;

const F_GETFL = 3;
const F_SETFL = 4;
const O_NONBLOCK = 0o4_000;

/** A channel through which a state moves while the loop runs. */
export interface StateChannel {
  /** Moves what can be moved without waiting; to be called where the event of it may not have been handled yet. */
  readonly move: () => void;
  /** Ends the transfer: nothing is called any more. */
  readonly close: () => void;
}

/** Writes a state to a channel and closes it. @throws where the channel cannot be watched; the caller closes it then */
export function writeState(
  loop: EventLoop,
  fd: number,
  { state, onEnd }: { state: Uint8Array; onEnd: (failure?: unknown) => void },
): StateChannel {
  if (state.length > MAX_STATE_BYTES)
    throw new Error(`a state of ${state.length} bytes is larger than ${MAX_STATE_BYTES}`);
  const vector = allocate(VECTOR_BYTES);
  let written = 0;
  const step = (): Step => {
    if (written === state.length) return 'end';
    putVector(vector.view, 0, libc().addressOf(state) + written, state.length - written);
    const count = libc().writev(fd, vector.address, 1);
    if (count < 0) return retry('write');
    written += count;
    return 'more';
  };
  return open({ loop, fd, events: EPOLLOUT, step, onEnd, free: vector.free });
}

interface Receiver {
  /** Takes the whole state. @throws where it is invalid: the transfer has failed */
  readonly onState: (state: Uint8Array) => void;
  readonly onEnd: (failure?: unknown) => void;
  /** most bytes of the state; default: {@link MAX_STATE_BYTES} */
  readonly most?: number;
}

/** Reads a state from a channel until its end. @throws where the channel cannot be watched; the caller closes it then */
export function readState(
  loop: EventLoop,
  fd: number,
  { onState, onEnd, most = MAX_STATE_BYTES }: Receiver,
): StateChannel {
  const block = allocate(CHUNK_BYTES);
  let state = new Uint8Array(0);
  let length = 0;
  const step = (): Step => {
    const count = libc().read(fd, block.address, CHUNK_BYTES);
    if (count < 0) return retry('read');
    if (count === 0) {
      onState(state.subarray(0, length));
      return 'end';
    }
    if (length + count > most) throw new Error(`a state larger than ${most} bytes`);
    if (length + count > state.length) state = grown(state, Math.min((length + count) * 2, most));
    state.set(new Uint8Array(block.view.buffer, block.view.byteOffset, count), length);
    length += count;
    return 'more';
  };
  return open({ loop, fd, events: EPOLLIN, step, onEnd, free: block.free });
}

/** Result of a read or write: there may be more to do, the channel is not ready, or all is done. */
type Step = 'more' | 'wait' | 'end';

interface Transfer {
  readonly loop: EventLoop;
  readonly fd: number;
  readonly events: number;
  /** Reads or writes once. @throws where the transfer has failed */
  readonly step: () => Step;
  /** called once, after the channel is closed */
  readonly onEnd: (failure?: unknown) => void;
  readonly free: () => void;
}

function open({ loop, fd, events, step, onEnd, free }: Transfer): StateChannel {
  let isOpen = true;
  const close = (): void => {
    if (!isOpen) return;
    isOpen = false;
    watch.stop();
    free();
    libc().close(fd);
  };
  const move = (): void => {
    if (!isOpen) return;
    try {
      let last: Step = 'more';
      for (let i = 0; last === 'more' && i < STEPS; i++) last = step();
      if (last !== 'end') return;
    } catch (error) {
      close();
      return onEnd(error);
    }
    close();
    onEnd();
  };
  setNonBlocking(fd);
  const watch = loop.watch(fd, events, move);
  return { move, close };
}

/** The front-end's end of the channel has a description of its own, and stays as it is. */
function setNonBlocking(fd: number): void {
  const flags = checked('fcntl', libc().fcntl(fd, F_GETFL, 'int', 0));
  checked('fcntl', libc().fcntl(fd, F_SETFL, 'int', flags | O_NONBLOCK));
}

function retry(call: string): Step {
  const reason = errno();
  if (reason === EINTR) return 'more';
  if (reason === EAGAIN) return 'wait';
  throw callError(call, reason);
}

function grown(bytes: Uint8Array<ArrayBuffer>, length: number): Uint8Array<ArrayBuffer> {
  const next = new Uint8Array(length);
  next.set(bytes);
  return next;
}
