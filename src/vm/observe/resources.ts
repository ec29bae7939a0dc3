import type { DeviceNode } from '../../api/replies.ts';
import type { MemoryDevice } from '../../qemu/qmp/commands/memory.ts';
import type { PciFunction } from '../../qemu/qmp/commands/pci.ts';
import type { Qmp } from '../../qemu/qmp/connection.ts';
import { reasonOf } from '../../util/errno.ts';
import { createLog } from '../../util/log.ts';
import { INFO_PATIENCE_MS } from './latest.ts';

const log = createLog('vm');

/** What one device takes of the machine's address spaces, as the device tree says it. */
export type Resources = DeviceNode['resources'];

/** An address range that a PCI function decodes. */
export interface PciRegion {
  /** number of the base address register */
  readonly bar: number;
  readonly type: 'Io' | 'Mmio32' | 'Mmio64';
  readonly base: number;
  readonly size: number;
  readonly prefetchable: boolean;
}

/** What the devices of one machine take, as far as is known. */
export interface KnownResources {
  /** of PCI functions, by slot: as the guest has placed them */
  readonly bySlot: ReadonlyMap<number, readonly PciRegion[]>;
  /** of pmem devices, by the engine's id: where their memory is */
  readonly memory: ReadonlyMap<string, Resources>;
}

export const NOTHING_KNOWN: KnownResources = { bySlot: new Map(), memory: new Map() };

/** How long an answer of the engine counts, in milliseconds: who asks thousands of times a second is not worth more. */
const FRESH_MS = 20;

/** Follows what a machine's devices take. The engine is asked again and again, as guests move their devices. */
export function followResources(qmp: Qmp): () => Promise<KnownResources> {
  let known = NOTHING_KNOWN;
  let asked: Promise<void> | undefined;
  let askedAt = -Infinity;
  const update = async (): Promise<void> => {
    askedAt = performance.now();
    try {
      known = await ask(qmp);
    } catch (error) {
      log.debug(`what the devices take is not known anew: ${reasonOf(error)}`);
    } finally {
      asked = undefined;
    }
  };
  return async () => {
    if (asked === undefined && performance.now() - askedAt < FRESH_MS) return known;
    // an engine that is busy is not asked twice
    await within((asked ??= update()), INFO_PATIENCE_MS);
    return known;
  };
}

async function ask(qmp: Qmp): Promise<KnownResources> {
  const [pci, memory] = await Promise.all([qmp.execute('query-pci'), qmp.execute('query-memory-devices')]);
  const functions = pci.flatMap(({ devices }) => devices);
  return {
    bySlot: new Map(functions.map((one) => [one.slot, regionsOf(one)])),
    memory: new Map(memory.flatMap(pmemRange)),
  };
}

/** A region that the guest has not placed has no address. */
function regionsOf({ regions }: PciFunction): PciRegion[] {
  return regions
    .filter(({ address }) => address > 0)
    .map(({ bar, type, address, size, prefetch, mem_type_64: is64 }) => ({
      bar,
      type: type === 'io' ? 'Io' : is64 === true ? 'Mmio64' : 'Mmio32',
      base: address,
      size,
      prefetchable: prefetch === true,
    }));
}

function pmemRange({ type, id, address, size }: MemoryDevice): [string, Resources][] {
  if (type !== 'virtio-pmem' || id === undefined) return [];
  return [[id, [{ MmioAddressRange: { base: address, size } }]]];
}

async function within(work: Promise<void>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
