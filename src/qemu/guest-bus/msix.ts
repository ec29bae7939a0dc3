import type { GuestBus, Registers } from './guest-bus.ts';
import { capabilitiesOf, memoryOfBar, PCI, PCI_COMMAND } from './pci-config.ts';

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

/** A function with MSI-X, as its guest has set it up. */
export interface MsixFunction {
  /** result of `readCapabilities` */
  readonly capabilities: Buffer;
  /** words of the header (`readHeader`), which the function has */
  readonly places: readonly number[];
  /** its command register */
  readonly command: number;
}

/** Reads the state; undefined for a function without MSI-X, or if the guest has not placed its table. */
export async function readMsix(
  bus: GuestBus,
  space: Registers,
  one: MsixFunction,
): Promise<MsixState | undefined> {
  const found = findTable(one);
  if (found === undefined) return undefined;
  const words = Array.from({ length: found.words }, (_, i) => found.address + 4 * i);
  const [table, control] = await Promise.all([
    withMemory(space, one, () => Promise.all(words.map((address) => bus.memory.read(address, 4)))),
    space.read(found.at + CONTROL, 2),
  ]);
  return { control, table };
}

/** Writes the state to a function. All is sent at once: QEMU keeps the order. */
export async function writeMsix(
  bus: GuestBus,
  space: Registers,
  { control, table, ...one }: MsixFunction & MsixState,
): Promise<void> {
  const found = findTable(one);
  if (found === undefined) return;
  const words = table.slice(0, found.words);
  await Promise.all([
    withMemory(space, one, () =>
      Promise.all(words.map((word, i) => bus.memory.write(found.address + 4 * i, 4, word))),
    ),
    space.write(found.at + CONTROL, 2, control),
  ]);
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

function findTable({ capabilities, places }: MsixFunction): Table | undefined {
  const capability = capabilitiesOf(capabilities).find(({ kind }) => kind === CAPABILITY);
  if (capability === undefined) return undefined;
  const { at } = capability;
  const [control, table] = [capabilities.readUInt16LE(at + CONTROL), capabilities.readUInt32LE(at + TABLE)];
  const index = table & 7;
  const base = memoryOfBar(places, index);
  if (base === undefined) return undefined;
  return { at, address: base + (table - index), words: ((control & 0x7ff) + 1) * ENTRY_WORDS };
}

/** Runs `act` with the function's memory enabled. Disables it afterwards if the guest had disabled it. Nothing is awaited in between. */
async function withMemory<T>(space: Registers, { command }: MsixFunction, act: () => Promise<T>): Promise<T> {
  if ((command & PCI_COMMAND.memory) !== 0) return act();
  const [, result] = await Promise.all([
    space.write(PCI.command, 2, command | PCI_COMMAND.memory),
    act(),
    space.write(PCI.command, 2, command),
  ]);
  return result;
}
