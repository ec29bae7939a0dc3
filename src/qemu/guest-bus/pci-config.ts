import type { GuestBus, Registers } from './guest-bus.ts';

/*
 * A PCI function's configuration space, reached as a guest does it: through two I/O ports of the host bridge (PCI Local Bus
 * Specification 3.0, 3.2.2.3.2).
 */

const ADDRESS_PORT = 0xcf8;
const DATA_PORT = 0xcfc;
const ENABLE = 0x8000_0000;

/** Registers of every function, by their offset (6.1). */
export const PCI = {
  command: 0x04,
  bar: (index: number) => 0x10 + 4 * index,
  /** where the list of capabilities begins (6.7) */
  capabilities: 0x34,
} as const;

/** Bits of the command register. */
export const PCI_COMMAND = { memory: 0x2, master: 0x4, noInterrupt: 0x400 } as const;

/** Those that a guest writes beside the command, in steps of 4 bytes. */
const PLACES = [0x0c, 0x10, 0x14, 0x18, 0x1c, 0x20, 0x24, 0x3c];

/** Lets `act` use the configuration space of the function in a slot of bus 0; the guest finds the ports as it left them. */
export async function onConfigSpace<T>(
  { ports }: GuestBus,
  slot: number,
  act: (space: Registers) => Promise<T>,
): Promise<T> {
  const before = await ports.read(ADDRESS_PORT, 4);
  const select = (offset: number): Promise<void> =>
    ports.write(ADDRESS_PORT, 4, ENABLE + slot * 0x800 + (offset & 0xfc));
  try {
    // both are asked for at once: they are done in this order, and each answer costs a turn of both processes
    return await act({
      read: async (offset, width) => {
        const [, value] = await Promise.all([select(offset), ports.read(DATA_PORT + (offset & 3), width)]);
        return value;
      },
      write: async (offset, width, value) => {
        await Promise.all([select(offset), ports.write(DATA_PORT + (offset & 3), width, value)]);
      },
    });
  } finally {
    await ports.write(ADDRESS_PORT, 4, before);
  }
}

/** Reads where a guest has put a function's registers and interrupt. */
export function readHeader(space: Registers): Promise<number[]> {
  return Promise.all(PLACES.map((offset) => space.read(offset, 4)));
}

/** Puts them where another machine's guest had them. */
export async function writeHeader(space: Registers, places: readonly number[]): Promise<void> {
  await Promise.all(PLACES.map((offset, i) => space.write(offset, 4, places[i] ?? 0)));
}

/** A capability of a function's: its kind, and where it is in the configuration space. */
export interface Capability {
  readonly kind: number;
  readonly at: number;
}

/** The list of a function's capabilities (6.7). */
export async function capabilitiesOf(space: Registers): Promise<Capability[]> {
  const found: Capability[] = [];
  for (let at = await space.read(PCI.capabilities, 1); at !== 0; at = await space.read(at + 1, 1)) {
    found.push({ kind: await space.read(at, 1), at });
  }
  return found;
}
