import type { GuestBus, Registers } from './guest-bus.ts';

/*
 * Configuration space of a PCI function, by the two I/O ports of the host bridge (PCI Local Bus Specification 3.0, 3.2.2.3.2).
 */

const ADDRESS_PORT = 0xcf8;
const DATA_PORT = 0xcfc;
const ENABLE = 0x8000_0000;

/** Offsets of registers that every function has (6.1). */
export const PCI = {
  command: 0x04,
  bar: (index: number) => 0x10 + 4 * index,
  /** offset of the first capability (6.7) */
  capabilities: 0x34,
} as const;

/** Bits of the command register. */
export const PCI_COMMAND = { memory: 0x2, master: 0x4, noInterrupt: 0x400 } as const;

/** Offsets of the other words of the header that a guest writes: cache line and latency, BARs, interrupt line. */
const HEADER_WORDS = [0x0c, 0x10, 0x14, 0x18, 0x1c, 0x20, 0x24, 0x3c];

/** Runs `act` with the configuration space of the function in a slot of bus 0. The address port has the guest's value again afterwards. */
export async function onConfigSpace<T>(
  { ports }: GuestBus,
  slot: number,
  act: (space: Registers) => Promise<T>,
): Promise<T> {
  const before = await ports.read(ADDRESS_PORT, 4);
  const select = (offset: number): Promise<void> =>
    ports.write(ADDRESS_PORT, 4, ENABLE + slot * 0x800 + (offset & 0xfc));
  try {
    // both are sent at once, because each answer costs a switch between the processes; QEMU keeps the order
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

/** Reads the BARs and the interrupt line that a guest has set. */
export function readHeader(space: Registers): Promise<number[]> {
  return Promise.all(HEADER_WORDS.map((offset) => space.read(offset, 4)));
}

/** Writes BARs and interrupt line. */
export async function writeHeader(space: Registers, words: readonly number[]): Promise<void> {
  await Promise.all(HEADER_WORDS.map((offset, i) => space.write(offset, 4, words[i] ?? 0)));
}

/** Bits of a BAR (6.2.5.1): it maps I/O ports; it and the next one are an address of 64 bits. */
const BAR = { ports: 0x1, wide: 0x4, flags: 0xf } as const;

/**
 * Returns the guest-physical address of memory that a BAR maps, by the words of the header ({@link readHeader}); undefined if the guest has
 * not placed it.
 */
export function memoryOfBar(words: readonly number[], index: number): number | undefined {
  const wordAt = (bar: number): number => words[HEADER_WORDS.indexOf(PCI.bar(bar))] ?? 0;
  const low = wordAt(index);
  if ((low & BAR.ports) !== 0) return undefined;
  const high = (low & BAR.wide) === 0 ? 0 : wordAt(index + 1);
  const address = high * 2 ** 32 + (low - (low & BAR.flags));
  return address === 0 ? undefined : address;
}

/** A capability of a function: its kind and its offset in the configuration space. */
export interface Capability {
  readonly kind: number;
  readonly at: number;
}

/** Size of the configuration space that ports reach, in bytes. */
const SPACE_BYTES = 256;

/** The part that has the capabilities of QEMU's virtio devices. */
const USUAL = { start: 0x40, end: 0xb0 } as const;

/** Size of the largest capability of those, in bytes. */
const CAPABILITY_BYTES = 20;

/**
 * Reads the capabilities of a function at once: each further answer would cost a switch between the processes.
 * @returns the configuration space; bytes that were not read are zeros
 */
export async function readCapabilities(space: Registers): Promise<Buffer> {
  const bytes = Buffer.alloc(SPACE_BYTES);
  const read = async (start: number, end: number): Promise<void> => {
    const offsets = Array.from({ length: (end - start) / 4 }, (_, i) => start + 4 * i);
    const words = await Promise.all(offsets.map((offset) => space.read(offset, 4)));
    for (const [i, offset] of offsets.entries()) bytes.writeUInt32LE(words[i] ?? 0, offset);
  };
  await Promise.all([read(PCI.capabilities, PCI.capabilities + 4), read(USUAL.start, USUAL.end)]);
  // the list goes on there
  if (capabilitiesOf(bytes).some(({ at }) => at + CAPABILITY_BYTES > USUAL.end))
    await read(USUAL.end, SPACE_BYTES);
  return bytes;
}

/** Returns the list of capabilities (6.7) in what {@link readCapabilities} has read. */
export function capabilitiesOf(bytes: Buffer): Capability[] {
  const found: Capability[] = [];
  // a capability has four bytes at least, so a list without an end is noticed
  for (let at = bytes.readUInt8(PCI.capabilities); at !== 0 && found.length < SPACE_BYTES / 4;) {
    found.push({ kind: bytes.readUInt8(at), at });
    // the offset of the next one
    at = bytes.readUInt8(at + 1) & 0xfc;
  }
  return found;
}
