import { DESCRIPTOR_BYTES } from '../../../backends/vhost-user/descriptor-chain.ts';
import type { GuestBus, Registers } from '../../../qemu/guest-bus/guest-bus.ts';
import { sendMessage } from '../../../qemu/guest-bus/msix.ts';
import type { FunctionState } from '../../../qemu/guest-bus/virtio-function.ts';

/*
 * Event that notifies a guest of its new address (virtio 1.2, 5.10.6.7). QEMU has the event queue but never writes to it, and QMP
 * has no command for it. So the VMM writes the event into guest memory.
 */

const EVENT_QUEUE = 2;
const TRANSPORT_RESET = 0;
const WRITABLE_ALONE = 2;

/**
 * Sends the guest's driver the event that all streams are closed and that it must read its address again.
 * @returns false if the driver offers no buffer for the event
 */
export async function resetTransport(bus: GuestBus, { msix, queues }: FunctionState): Promise<boolean> {
  const { memory } = bus;
  const queue = queues[EVENT_QUEUE];
  if (queue === undefined || !queue.enabled) return false;
  const [descriptors = 0, available = 0, used = 0] = addressesOf(queue.areas);
  const next = await memory.read(used + 2, 2);
  if ((await memory.read(available + 2, 2)) === next) return false;
  const head = await memory.read(available + 4 + 2 * (next % queue.size), 2);
  const buffer = await bufferAt(memory, descriptors + DESCRIPTOR_BYTES * (head % queue.size));
  if (buffer === undefined) return false;
  await memory.write(buffer, 4, TRANSPORT_RESET);
  const entry = used + 4 + 8 * (next % queue.size);
  await memory.write(entry, 4, head);
  await memory.write(entry + 4, 4, 4);
  await memory.write(used + 2, 2, (next + 1) % 0x10000);
  if (msix !== undefined) await sendMessage(bus, msix, queue.vector);
  return true;
}

function addressesOf(areas: readonly number[]): number[] {
  const addresses: number[] = [];
  for (let i = 0; i < areas.length; i += 2) addresses.push((areas[i] ?? 0) + (areas[i + 1] ?? 0) * 2 ** 32);
  return addresses;
}

/** Returns the guest address of the buffer in a descriptor; undefined if the buffer is too short or is not a single writable one. */
async function bufferAt(memory: Registers, at: number): Promise<number | undefined> {
  const [low, high] = [await memory.read(at, 4), await memory.read(at + 4, 4)];
  const [length, flags] = [await memory.read(at + 8, 4), await memory.read(at + 12, 2)];
  return length < 4 || flags !== WRITABLE_ALONE ? undefined : low + high * 2 ** 32;
}
