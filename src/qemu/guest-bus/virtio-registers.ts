import type { Registers, Width } from './guest-bus.ts';
import { capabilitiesOf, readCapabilities } from './pci-config.ts';

/*
 * Registers of a virtio device on PCI (virtio 1.2, 4.1.4), by the window in its configuration space (4.1.4.9). The window works
 * before the guest has placed the BARs of the device.
 */

/** Registers of the common structure (4.1.4.3). */
export const COMMON = {
  featureSelect: 8,
  feature: 12,
  configVector: 16,
  queueCount: 18,
  status: 20,
  queueSelect: 22,
  queueSize: 24,
  queueVector: 26,
  queueEnable: 28,
  /** each of the queue's areas has 64 bits */
  queueAreas: [32, 40, 48],
} as const;

/** Bits of the status (2.1). */
export const STATUS = { driver: 3, featuresOk: 8 } as const;

/** Kinds of structures (4.1.4). */
const KIND = { common: 1, notify: 2, isr: 3, window: 5 } as const;

const VENDOR_SPECIFIC = 9;

export interface VirtioRegisters {
  readonly common: Registers;
  /** the BAR that has the common structure, and its offset there */
  readonly commonPlace: { readonly bar: number; readonly offset: number };
  /** Reads the interrupt status, which clears it. */
  readonly takeInterrupt: () => Promise<void>;
  /** Notifies the device of requests in its first queue, `times` times. */
  readonly kick: (times: number) => Promise<void>;
}

/** Finds the registers by the capabilities of a device. */
export async function virtioRegisters(space: Registers): Promise<VirtioRegisters> {
  return registersAt(space, await readCapabilities(space));
}

/** Finds the registers by capabilities that were read. @throws Error if the device lacks some */
export function registersAt(space: Registers, capabilities: Buffer): VirtioRegisters {
  const places = structures(capabilities);
  const placeOf = (kind: number): Structure => {
    const place = places.get(kind);
    if (place === undefined) throw new Error('the device has no such registers');
    return place;
  };
  const window = placeOf(KIND.window).at;
  const aim = async (kind: number, offset: number, width: Width): Promise<void> => {
    const { offset: start } = placeOf(kind);
    await Promise.all([space.write(window + 8, 4, start + offset), space.write(window + 12, 4, width)]);
  };
  return {
    commonPlace: placeOf(KIND.common),
    common: {
      read: async (offset, width) => {
        const [, value] = await Promise.all([
          aim(KIND.common, offset, width),
          space.read(window + 16, width),
        ]);
        return value;
      },
      write: async (offset, width, value) => {
        await Promise.all([aim(KIND.common, offset, width), space.write(window + 16, width, value)]);
      },
    },
    takeInterrupt: async () => {
      await aim(KIND.isr, 0, 1);
      await space.read(window + 16, 1);
    },
    kick: async (times) => {
      await aim(KIND.notify, 0, 2);
      // all are sent at once: QEMU keeps the order
      await Promise.all(Array.from({ length: times }, () => space.write(window + 16, 2, 0)));
    },
  };
}

/** A structure: offset of its capability in the configuration space, number of its BAR, and offset of the structure in the BAR. */
interface Structure {
  readonly at: number;
  readonly bar: number;
  readonly offset: number;
}

function structures(bytes: Buffer): ReadonlyMap<number, Structure> {
  const own = capabilitiesOf(bytes).filter(({ kind }) => kind === VENDOR_SPECIFIC);
  return new Map(
    own.map(({ at }) => [
      bytes.readUInt8(at + 3),
      { at, bar: bytes.readUInt8(at + 4), offset: bytes.readUInt32LE(at + 8) },
    ]),
  );
}

/** Reads the features that the driver has accepted, lower and upper 32 bits. */
export function readFeatures(common: Registers): Promise<number[]> {
  const features = [0, 1].map(async (half) => {
    const [, bits] = await Promise.all([
      common.write(COMMON.featureSelect, 4, half),
      common.read(COMMON.feature, 4),
    ]);
    return bits;
  });
  return Promise.all(features);
}

/** Accepts features as a driver does. */
export async function writeFeatures(common: Registers, halves: readonly number[]): Promise<void> {
  const writes = [...halves].flatMap((bits, half) => [
    common.write(COMMON.featureSelect, 4, half),
    common.write(COMMON.feature, 4, bits),
  ]);
  await Promise.all(writes);
}

/** Reads the addresses of the selected queue's areas, each as lower and upper 32 bits. */
export function readAreas(common: Registers): Promise<number[]> {
  return Promise.all(COMMON.queueAreas.flatMap((at) => [common.read(at, 4), common.read(at + 4, 4)]));
}

/** Writes the addresses of the selected queue's areas. */
export async function writeAreas(common: Registers, areas: readonly number[]): Promise<void> {
  await Promise.all(areas.map((half, i) => common.write(COMMON.queueAreas[0] + 4 * i, 4, half)));
}
