import type { GuestBus, Registers } from './guest-bus.ts';
import { readMsix, writeMsix, type MsixState } from './msix.ts';
import { onConfigSpace, PCI, readHeader, writeHeader } from './pci-config.ts';
import {
  COMMON,
  readAreas,
  readFeatures,
  STATUS,
  virtioRegisters,
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
    const { common } = await virtioRegisters(space);
    const selected: number[] = [];
    for (const { at, width } of SELECTORS) selected.push(await common.read(at, width));
    const state = {
      command: await space.read(PCI.command, 2),
      places: await readHeader(space),
      msix: await readMsix(bus, space),
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
    await writeHeader(space, state.places);
    await space.write(PCI.command, 2, state.command);
    if (state.msix !== undefined) await writeMsix(bus, space, state.msix);
    const { common } = await virtioRegisters(space);
    await common.write(COMMON.status, 1, state.status & STATUS.driver);
    await writeFeatures(common, state.features);
    await common.write(COMMON.status, 1, state.status & (STATUS.driver | STATUS.featuresOk));
    await common.write(COMMON.configVector, 2, state.configVector);
    for (const [i, queue] of state.queues.entries()) await writeQueue(common, i, queue);
    await common.write(COMMON.status, 1, state.status);
    await select(common, state.selected);
  });
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
  for (const [i, { at, width }] of SELECTORS.entries()) await common.write(at, width, selected[i] ?? 0);
}
