import type { Registers, Width } from './pci-config.ts';

/*
 * The registers of a virtio device on PCI (virtio 1.2, 4.1.4), through the window that its configuration space has for
 * whoever cannot reach memory (4.1.4.9): it works before the guest has placed the device anywhere.
 */

/** Registers of the common structure (4.1.4.3). */
export const COMMON = {
  featureSelect: 8,
  feature: 12,
  status: 20,
  queueSelect: 22,
  queueSize: 24,
  queueEnable: 28,
  /** each of the queue's areas has 64 bits */
  queueAreas: [32, 40, 48],
} as const;

/** Bits of the status (2.1). */
export const STATUS = { driver: 3, featuresOk: 8 } as const;

/** Kinds of structures (4.1.4). */
const KIND = { common: 1, notify: 2, isr: 3, window: 5 } as const;

const CAPABILITIES = 0x34;
const VENDOR_SPECIFIC = 9;

export interface VirtioRegisters {
  readonly common: Registers;
  /** Reads, and by that clears, what the device has to tell; its interrupt falls. */
  readonly takeInterrupt: () => Promise<void>;
  /** Tells the device so many times that its first queue has something. */
  readonly kick: (times: number) => Promise<void>;
}

/** Finds the registers by what a device's configuration space tells. */
export async function virtioRegisters(space: Registers): Promise<VirtioRegisters> {
  const places = await structures(space);
  const placeOf = (kind: number): Structure => {
    const place = places.get(kind);
    if (place === undefined) throw new Error('the device has no such registers');
    return place;
  };
  const window = placeOf(KIND.window).at;
  const aim = async (kind: number, offset: number, width: Width): Promise<void> => {
    await space.write(window + 8, 4, placeOf(kind).offset + offset);
    await space.write(window + 12, 4, width);
  };
  return {
    common: {
      read: async (offset, width) => {
        await aim(KIND.common, offset, width);
        return space.read(window + 16, width);
      },
      write: async (offset, width, value) => {
        await aim(KIND.common, offset, width);
        await space.write(window + 16, width, value);
      },
    },
    takeInterrupt: async () => {
      await aim(KIND.isr, 0, 1);
      await space.read(window + 16, 1);
    },
    kick: async (times) => {
      await aim(KIND.notify, 0, 2);
      // QEMU takes them in order; nobody need wait for each
      await Promise.all(Array.from({ length: times }, () => space.write(window + 16, 2, 0)));
    },
  };
}

/** Where a structure is described in the configuration space, and where it is in the device's memory. */
interface Structure {
  readonly at: number;
  readonly offset: number;
}

async function structures(space: Registers): Promise<ReadonlyMap<number, Structure>> {
  const found = new Map<number, Structure>();
  for (let at = await space.read(CAPABILITIES, 1); at !== 0; at = await space.read(at + 1, 1)) {
    if ((await space.read(at, 1)) !== VENDOR_SPECIFIC) continue;
    found.set(await space.read(at + 3, 1), { at, offset: await space.read(at + 8, 4) });
  }
  return found;
}
