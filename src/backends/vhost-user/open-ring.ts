import { DESCRIPTOR_BYTES } from './descriptor-chain.ts';
import type { GuestMemory } from './guest-memory.ts';
import { MappedRing } from './mapped-ring.ts';
import type { RingAddresses } from './message.ts';
import { ProcessRing } from './process-ring.ts';
import { QueueError } from './queue-error.ts';
import { availableBytes, usedBytes, type RingMemory, type RingPlace } from './ring-memory.ts';

/** Opens the memory of a ring. @throws QueueError where it is outside of guest memory: the guest chooses its place */
export function openRing(memory: GuestMemory, addresses: RingAddresses, size: number): RingMemory {
  const part = (what: string, address: number, bytes: number): number => {
    const found = memory.ofUser(address, bytes);
    if (found === undefined || found % 4 !== 0)
      throw new QueueError(`${what} of the ring is outside of memory`);
    return found;
  };
  const place: RingPlace = {
    descriptors: part('descriptor table', addresses.descriptors, size * DESCRIPTOR_BYTES),
    available: part('available part', addresses.available, availableBytes(size)),
    used: part('used part', addresses.used, usedBytes(size)),
    size,
  };
  return memory.process === undefined ? new MappedRing(place) : new ProcessRing(memory.process, place);
}
