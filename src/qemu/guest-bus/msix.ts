import type { GuestBus, Registers } from './guest-bus.ts';
import { capabilitiesOf, PCI, PCI_COMMAND } from './pci-config.ts';

/*
 * MSI-X of a PCI function (PCI Local Bus Specification 3.0, 6.8.2): a table in the memory of the function. Each entry is a message,
 * which the function writes to an address to interrupt a processor.
 */

const CAPABILITY = 0x11;
/** Offsets in the capability. */
const CONTROL = 2;
const TABLE = 4;
const ENTRY_WORDS = 4;
const MASKED = 1;

/** MSI-X state that a guest has set. */
export interface MsixState {
  control: number;
  /** the table, in words of 32 bits: address (lower and upper half), data, control of each entry */
  table: number[];
}

/** Reads the state; undefined for a function without MSI-X, or if the guest has not placed its table. */
export async function readMsix(bus: GuestBus, space: Registers): Promise<MsixState | undefined> {
  const found = await findTable(space);
  if (found === undefined) return undefined;
  const words = Array.from({ length: found.words }, (_, i) => found.address + 4 * i);
  const table = await withMemory(space, () =>
    Promise.all(words.map((address) => bus.memory.read(address, 4))),
  );
  return { control: await space.read(found.at + CONTROL, 2), table };
}

/** Writes the state to a function. Its BARs must be written before. */
export async function writeMsix(
  bus: GuestBus,
  space: Registers,
  { control, table }: MsixState,
): Promise<void> {
  const found = await findTable(space);
  if (found === undefined) return;
  await withMemory(space, () =>
    Promise.all(
      table.slice(0, found.words).map((word, i) => bus.memory.write(found.address + 4 * i, 4, word)),
    ),
  );
  await space.write(found.at + CONTROL, 2, control);
}

/** Sends the message of an entry, as the function does; none for a masked entry. */
export async function sendMessage({ memory }: GuestBus, { table }: MsixState, vector: number): Promise<void> {
  const [low, high, data, control] = table.slice(vector * ENTRY_WORDS, (vector + 1) * ENTRY_WORDS);
  if (low === undefined || high === undefined || data === undefined || control === undefined) return;
  if ((control & MASKED) === 0) await memory.write(high * 2 ** 32 + low, 4, data);
}

interface Table {
  /** offset of the capability in the configuration space */
  readonly at: number;
  /** guest-physical address of the table */
  readonly address: number;
  readonly words: number;
}

async function findTable(space: Registers): Promise<Table | undefined> {
  const capability = (await capabilitiesOf(space)).find(({ kind }) => kind === CAPABILITY);
  if (capability === undefined) return undefined;
  const { at } = capability;
  const [control, table] = await Promise.all([space.read(at + CONTROL, 2), space.read(at + TABLE, 4)]);
  const index = table & 7;
  const low = await space.read(PCI.bar(index), 4);
  // bits 2 and 1 of a BAR (6.2.5.1): the next BAR has the upper half of the address
  const high = (low & 6) === 4 ? await space.read(PCI.bar(index + 1), 4) : 0;
  const base = high * 2 ** 32 + (low - (low & 0xf));
  if (base === 0) return undefined;
  return { at, address: base + (table - index), words: ((control & 0x7ff) + 1) * ENTRY_WORDS };
}

/** Runs `act` with the function's memory enabled. Disables it afterwards if the guest had disabled it. */
async function withMemory<T>(space: Registers, act: () => Promise<T>): Promise<T> {
  const command = await space.read(PCI.command, 2);
  if ((command & PCI_COMMAND.memory) !== 0) return act();
  await space.write(PCI.command, 2, command | PCI_COMMAND.memory);
  try {
    return await act();
  } finally {
    await space.write(PCI.command, 2, command);
  }
}
