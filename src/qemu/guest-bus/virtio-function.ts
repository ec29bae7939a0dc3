import type { GuestBus, Registers } from './guest-bus.ts';
import { readMsix, writeMsix, type MsixState } from './msix.ts';
import {
  memoryOfBar,
  onConfigSpace,
  PCI,
  PCI_COMMAND,
  readCapabilities,
  readHeader,
  writeHeader,
} from './pci-config.ts';
import {
  COMMON,
  readAreas,
  readFeatures,
  STATUS,
  registersAt,
  type VirtioRegisters,
  writeAreas,
  writeFeatures,
} from './virtio-registers.ts';

/*
 * State that a guest has set in a virtio device on PCI, for devices that QEMU does not save. It is read from the registers, and
 * written again in the order of a driver (virtio 1.2, 3.1.1).
 */

/** State of a device that a guest has set. Its members are part of the format of snapshots. */
export interface FunctionState {
  command: number;
  places: number[];
  msix?: MsixState | undefined;
  /** features that the driver has accepted, lower and upper 32 bits */
  features: number[];
  status: number;
  configVector: number;
  queues: QueueState[];
  /** values of the registers that select a word of features or a queue */
  selected: number[];
}

/** State of one queue. */
export interface QueueState {
  /** number of entries */
  size: number;
  vector: number;
  enabled: boolean;
  /** guest-physical addresses of its three areas, each as lower and upper 32 bits */
  areas: number[];
}

/** Registers that select the contents of others. */
const SELECTORS = [
  { at: 0, width: 4 },
  { at: COMMON.featureSelect, width: 4 },
  { at: COMMON.queueSelect, width: 2 },
] as const;

/** Reads the state of the device in a slot of bus 0. */
export function readFunction(bus: GuestBus, slot: number): Promise<FunctionState> {
  return onConfigSpace(bus, slot, async (space) => {
    const capabilities = await readCapabilities(space);
    const { common } = registersAt(space, capabilities);
    const selected: number[] = [];
    for (const { at, width } of SELECTORS) selected.push(await common.read(at, width));
    const [command, places] = [await space.read(PCI.command, 2), await readHeader(space)];
    const state = {
      command,
      places,
      msix: await readMsix(bus, space, { capabilities, command, places }),
      features: await readFeatures(common),
      status: await common.read(COMMON.status, 1),
      configVector: await common.read(COMMON.configVector, 2),
      queues: await readQueues(common),
      selected,
    };
    await select(common, selected);
    return state;
  });
}

/** Writes the state to a device that was reset. */
export async function writeFunction(bus: GuestBus, slot: number, state: FunctionState): Promise<void> {
  await onConfigSpace(bus, slot, async (space) => {
    const capabilities = await readCapabilities(space);
    const common = commonOf(bus, registersAt(space, capabilities), state);
    const { places, command, msix } = state;
    // writes are sent together, because each answer costs a switch between the processes; QEMU keeps the order
    await Promise.all([
      writeHeader(space, places),
      space.write(PCI.command, 2, command),
      msix === undefined ? undefined : writeMsix(bus, space, { capabilities, places, command, ...msix }),
      common.write(COMMON.status, 1, state.status & STATUS.driver),
      writeFeatures(common, state.features),
      common.write(COMMON.status, 1, state.status & (STATUS.driver | STATUS.featuresOk)),
      common.write(COMMON.configVector, 2, state.configVector),
      ...state.queues.map((queue, i) => writeQueue(common, i, queue)),
      common.write(COMMON.status, 1, state.status),
      select(common, state.selected),
    ]);
  });
}

/**
 * Returns the registers in the memory of the device, if the guest has placed that: an access by the window in the configuration space takes
 * six of QEMU's commands.
 */
function commonOf(
  { memory }: GuestBus,
  { common, commonPlace: { bar, offset } }: VirtioRegisters,
  { command, places }: FunctionState,
): Registers {
  const base = memoryOfBar(places, bar);
  if (base === undefined || (command & PCI_COMMAND.memory) === 0) return common;
  const start = base + offset;
  return {
    read: (at, width) => memory.read(start + at, width),
    write: (at, width, value) => memory.write(start + at, width, value),
  };
}

async function readQueues(common: Registers): Promise<QueueState[]> {
  const count = await common.read(COMMON.queueCount, 2);
  const queues: QueueState[] = [];
  for (let i = 0; i < count; i++) {
    const [, size, vector, enabled, areas] = await Promise.all([
      common.write(COMMON.queueSelect, 2, i),
      common.read(COMMON.queueSize, 2),
      common.read(COMMON.queueVector, 2),
      common.read(COMMON.queueEnable, 2),
      readAreas(common),
    ]);
    queues.push({ size, vector, enabled: enabled !== 0, areas });
  }
  return queues;
}

async function writeQueue(common: Registers, index: number, queue: QueueState): Promise<void> {
  await Promise.all([
    common.write(COMMON.queueSelect, 2, index),
    common.write(COMMON.queueSize, 2, queue.size),
    common.write(COMMON.queueVector, 2, queue.vector),
    writeAreas(common, queue.areas),
    ...(queue.enabled ? [common.write(COMMON.queueEnable, 2, 1)] : []),
  ]);
}

async function select(common: Registers, selected: readonly number[]): Promise<void> {
  await Promise.all(SELECTORS.map(({ at, width }, i) => common.write(at, width, selected[i] ?? 0)));
}
