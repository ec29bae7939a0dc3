import { DESCRIPTOR_BYTES } from '../../../backends/vhost-user/descriptor-chain.ts';
import { setTimeout as delay } from 'node:timers/promises';
import { openMemory } from '../../../host/memory/process-memory.ts';
import type { Qemu } from '../../../qemu/process/qemu.ts';
import { hostAddress } from '../../../qemu/qmp/ram-blocks.ts';
import { COMMON, writeAreas, type VirtioRegisters } from '../../../qemu/guest-bus/virtio-registers.ts';
import { queueStatus } from '../../../qemu/guest-bus/virtio-status.ts';
import type { SavedQueue } from './saved.ts';

/*
 * Restore of a queue's counters. They begin at 0 and only requests advance them. So a new device receives as many flush requests
 * as the saved device had taken; a flush does not change the file. The requests are written into the guest's queue, whose
 * contents are restored afterwards.
 */

/** Layout of a split virtqueue, in `bytes` (virtio 1.2, 2.7). */
const AVAILABLE_INDEX_AT = 2;
const FLAG = { next: 1, write: 2 } as const;

/** Sizes of the three areas, in `bytes`. */
const areaSizes = (size: number): readonly [number, number, number] => [
  size * DESCRIPTOR_BYTES,
  6 + 2 * size,
  6 + 8 * size,
];

/** A device of a running QEMU, by QEMU's id. */
export interface QueueOf {
  readonly qemu: Qemu;
  readonly qemuId: string;
}

/** Sets up the queue of a new device and advances its counters to those of `queue`. The device's interrupt must be disabled. */
export async function replayQueue(of: QueueOf, registers: VirtioRegisters, queue: SavedQueue): Promise<void> {
  const { common, kick } = registers;
  await using memory = await areasOf(of.qemu, queue);
  const contents = await memory.read();
  try {
    await memory.write(flushRequests(queue));
    await common.write(COMMON.queueSelect, 2, 0);
    await common.write(COMMON.queueSize, 2, queue.size);
    await writeAreas(common, queue.areas);
    await common.write(COMMON.queueEnable, 2, 1);
    for (let done = 0; done < queue.taken;) {
      const times = Math.min(queue.size, queue.taken - done);
      done += times;
      await memory.setAvailable(done);
      await kick(times);
      await untilAnswered(of, done);
    }
  } finally {
    await memory.write(contents);
  }
}

/** Notifies the device of requests that the guest has made and the saved device had not taken. */
export async function kickWaiting(of: QueueOf, { kick }: VirtioRegisters, queue: SavedQueue): Promise<void> {
  await using memory = await areasOf(of.qemu, queue);
  const waiting = ((await memory.available()) - queue.taken + 0x10000) % 0x10000;
  await kick(waiting);
}

/** Interval of the queries, in milliseconds. */
const QUERY_MS = 1;
/** Time limit of a flush, in milliseconds: the host's disk may be slow. */
const FLUSH_LIMIT_MS = 30_000;

/**
 * Waits until all requests are answered, and until `wanted` requests were taken if that is given.
 * @returns number of requests taken, modulo 2^16
 */
export async function untilAnswered({ qemu, qemuId }: QueueOf, wanted?: number): Promise<number> {
  const end = performance.now() + FLUSH_LIMIT_MS;
  for (;;) {
    const { taken, pending } = await queueStatus(qemu.qmp, qemuId);
    if (pending === 0 && (wanted === undefined || taken === wanted)) return taken;
    if (performance.now() > end) throw new Error(`pmem ${qemuId}: a flush has not completed in time`);
    await delay(QUERY_MS);
  }
}

/**
 * Returns contents of the three areas in which each entry of the available ring is the same flush request: descriptors 0 and 1. Its
 * bytes are in the space of descriptor 2.
 */
function flushRequests({ size, areas: [low = 0, high = 0] }: SavedQueue): Buffer[] {
  const [descriptors, available, used] = areaSizes(size).map((bytes) => Buffer.alloc(bytes));
  if (descriptors === undefined || available === undefined || used === undefined) return [];
  const data = BigInt(high) * 2n ** 32n + BigInt(low) + BigInt(2 * DESCRIPTOR_BYTES);
  const describe = (i: number, address: bigint, flags: number): void => {
    const at = i * DESCRIPTOR_BYTES;
    descriptors.writeBigUInt64LE(address, at);
    descriptors.writeUInt32LE(4, at + 8);
    descriptors.writeUInt16LE(flags, at + 12);
    descriptors.writeUInt16LE(1, at + 14);
  };
  describe(0, data, FLAG.next);
  describe(1, data + 4n, FLAG.write);
  return [descriptors, available, used];
}

interface Areas extends AsyncDisposable {
  readonly read: () => Promise<Buffer[]>;
  readonly write: (contents: readonly Buffer[]) => Promise<void>;
  /** Reads the number of requests that the guest has made, modulo 2^16. */
  readonly available: () => Promise<number>;
  readonly setAvailable: (count: number) => Promise<void>;
}

/** Opens the three areas of a queue in QEMU's memory. */
async function areasOf(qemu: Qemu, { size, areas }: SavedQueue): Promise<Areas> {
  const addresses: number[] = [];
  for (let i = 0; i < areas.length; i += 2) {
    addresses.push(await hostAddress(qemu.qmp, (areas[i] ?? 0) + (areas[i + 1] ?? 0) * 2 ** 32));
  }
  const memory = await openMemory(qemu.pid, 'r+');
  const [, index = 0] = addresses;
  const read = async (address: number, bytes: number): Promise<Buffer> =>
    (await memory.read(Buffer.alloc(bytes), 0, bytes, address)).buffer;
  return {
    read: () => Promise.all(areaSizes(size).map((bytes, i) => read(addresses[i] ?? 0, bytes))),
    write: async (contents) => {
      for (const [i, bytes] of contents.entries()) {
        await memory.write(bytes, 0, bytes.length, addresses[i] ?? 0);
      }
    },
    available: async () => (await read(index + AVAILABLE_INDEX_AT, 2)).readUInt16LE(),
    setAvailable: async (count) => {
      const bytes = Buffer.alloc(2);
      bytes.writeUInt16LE(count);
      await memory.write(bytes, 0, 2, index + AVAILABLE_INDEX_AT);
    },
    [Symbol.asyncDispose]: () => memory.close(),
  };
}
