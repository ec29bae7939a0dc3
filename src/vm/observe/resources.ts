import type { DeviceNode } from '../../api/replies.ts';
import type { MemoryDevice } from '../../qemu/qmp/commands/memory.ts';
import type { PciFunction } from '../../qemu/qmp/commands/pci.ts';
import type { Qmp } from '../../qemu/qmp/connection.ts';
import { reasonOf } from '../../util/errno.ts';
import { createLog } from '../../util/log.ts';
import { INFO_LIMIT_MS } from './latest.ts';

const log = createLog('vm');

/** Address ranges of one device, as in the device tree. */
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

/** Address ranges of a machine's devices at the last answer of QEMU. */
export interface KnownResources {
  /** address ranges of PCI functions, by slot; the guest assigns them */
  readonly bySlot: ReadonlyMap<number, readonly PciRegion[]>;
  /** guest addresses of pmem devices, by QEMU's id */
  readonly memory: ReadonlyMap<string, Resources>;
}

export const NOTHING_KNOWN: KnownResources = { bySlot: new Map(), memory: new Map() };

/** Time for which an answer of QEMU is cached, in milliseconds, because clients poll. */
const FRESH_MS = 20;

/** Returns a function that reads the address ranges of a machine's devices, which the guest may change. It queries QEMU at most every 20 ms. */
export function followResources(qmp: Qmp): () => Promise<KnownResources> {
  let known = NOTHING_KNOWN;
  let asked: Promise<void> | undefined;
  let askedAt = -Infinity;
  const update = async (): Promise<void> => {
    askedAt = performance.now();
    try {
      known = await ask(qmp);
    } catch (error) {
      log.debug(`address ranges of devices are not read: ${reasonOf(error)}`);
    } finally {
      asked = undefined;
    }
  };
  return async () => {
    if (asked === undefined && performance.now() - askedAt < FRESH_MS) return known;
    // one query at a time
    await within((asked ??= update()), INFO_LIMIT_MS);
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

/** Returns the regions of a PCI function that have an address: the guest has placed them. */
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
