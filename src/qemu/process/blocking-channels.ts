import { closeSync, fstatSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { reasonOf } from '../../util/errno.ts';
import { libc, loadLibc } from '../../native/libc.ts';
import { enlargeSendBuffer, openSocketPair } from '../../native/unix-socket.ts';
import type { Descriptor } from './descriptors.ts';
import { QemuError } from './qemu-error.ts';

/*
 * QEMU drops the output of a virtio console while its socket is full, because hvc drivers write under a spin lock. Under load that
 * loses output. QEMU makes its sockets non-blocking once, when it opens them. The mode belongs to the open file description, which
 * the VMM shares and sets back to blocking. QEMU's write then waits until the VMM has read, and the VMM reads at once.
 */

/** Socket pairs between QEMU and the VMM on which QEMU's writes block until the VMM has read. */
export interface BlockingChannels extends Disposable {
  /** QEMU's ends; `makeBlocking` or the disposal closes the VMM's copies */
  readonly ends: ReadonlyMap<Descriptor, number>;
  /** the VMM's ends, by id of the chardev */
  readonly streams: ReadonlyMap<string, Duplex>;
  /** inodes of QEMU's ends of the pairs that a running QEMU got, by id of the chardev */
  readonly inodes: ReadonlyMap<string, number>;
  /** Makes QEMU's ends blocking. Must be called after QEMU has opened them. */
  readonly makeBlocking: () => void;
  /** Opens a pair for a running QEMU. Rejects with the system's error. */
  readonly open: (id: string) => Promise<NewChannel>;
  /** After the exit of QEMU: settles when all of its output is read, after a second at the latest. */
  readonly drained: () => Promise<void>;
}

/** A pair for a running QEMU. Disposal closes QEMU's socket, and that of the VMM unless it is used. */
export interface NewChannel extends Disposable {
  /** socket of QEMU, which gets a copy */
  readonly end: number;
  /** Returns the socket of the VMM. Must be called after QEMU has opened its own, which blocks with `waits`. */
  readonly use: (waits: boolean) => Duplex;
}

/** Opens a pair for each channel with `waits`. Without such a channel the C library is not loaded. Rejects with QemuError. */
export async function openBlockingChannels(descriptors: readonly Descriptor[]): Promise<BlockingChannels> {
  const waiting = descriptors.flatMap((one) => (one.use === 'channel' && one.waits ? [one] : []));
  const ends = new Map<Descriptor, number>();
  const streams = new Map<string, Duplex>();
  const inodes = new Map<string, number>();
  if (waiting.length > 0) await loadLibc();
  let isOpen = false;
  const dispose = (): void => {
    if (isOpen) return;
    for (const fd of ends.values()) closeSync(fd);
    for (const stream of streams.values()) stream.destroy();
  };
  try {
    for (const one of waiting) {
      const [own, end] = openSocketPair();
      ends.set(one, end);
      streams.set(one.id, new Socket({ fd: own }));
    }
  } catch (error) {
    dispose();
    throw new QemuError(`QEMU could not be started: ${reasonOf(error)}`, undefined, { cause: error });
  }
  return {
    ends,
    streams,
    inodes,
    makeBlocking: () => {
      isOpen = true;
      for (const fd of ends.values()) {
        makeBlocking(fd);
        closeSync(fd);
      }
    },
    open: (id) => openChannel(id, { streams, inodes }),
    drained: async () => {
      const closed = [...streams.values()].filter((stream) => isOpen && !stream.closed).map(untilClosed);
      await Promise.race([Promise.all(closed), delay(OUTPUT_MS, undefined, { ref: false })]);
    },
    [Symbol.dispose]: dispose,
  };
}

interface OpenChannels {
  readonly streams: Map<string, Duplex>;
  readonly inodes: Map<string, number>;
}

async function openChannel(id: string, { streams, inodes }: OpenChannels): Promise<NewChannel> {
  await loadLibc();
  const [own, end] = openSocketPair();
  let isUsed = false;
  return {
    end,
    use: (waits) => {
      if (waits) makeBlocking(end);
      else enlargeSendBuffer(end);
      isUsed = true;
      const stream = new Socket({ fd: own });
      streams.set(id, stream);
      inodes.set(id, fstatSync(end).ino);
      return stream;
    },
    [Symbol.dispose]: () => {
      closeSync(end);
      if (!isUsed) closeSync(own);
    },
  };
}

/** Time limit for the rest of the output after the exit of QEMU, in milliseconds. */
const OUTPUT_MS = 1000;

/** Settles when a stream is closed. */
export function untilClosed(stream: Duplex): Promise<void> {
  return new Promise((resolve) => void stream.once('close', resolve));
}

/** fcntl.h */
const F_SETFL = 4;

/** Clears O_NONBLOCK of a socket. A socket has no other flag that F_SETFL changes. */
function makeBlocking(fd: number): void {
  libc().fcntl(fd, F_SETFL, 'int', 0);
}
