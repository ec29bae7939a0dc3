import { pmem } from '../../../devices/pmem/index.ts';
import { qemuId, type Placement } from '../../../plan/placement.ts';
import { guestBus, type Registers } from '../../../qemu/guest-bus/bus.ts';
import {
  onConfigSpace,
  PCI,
  PCI_COMMAND,
  readPlaces,
  writePlaces,
} from '../../../qemu/guest-bus/pci-config.ts';
import {
  COMMON,
  readAreas,
  readFeatures,
  STATUS,
  virtioRegisters,
  writeFeatures,
} from '../../../qemu/guest-bus/virtio-registers.ts';
import { interruptOf } from '../../../qemu/guest-bus/virtio-status.ts';
import type { Machine } from '../../launch/machine.ts';
import type { SavedPmem, SavedQueue } from '../../machine-state/machine-description.ts';
import { kickWaiting, replayQueue, untilAnswered } from './queue.ts';

/*
 * QEMU saves nothing of a virtio-pmem device. What its guest has set in it is read from its registers and set again, as the guest's
 * driver did.
 */

/** VIRTIO_F_VERSION_1 alone: with it a queue lies where it is said to. */
const PLAIN = [0, 1];

type OnSpace<T> = (space: Registers, id: string) => Promise<T>;

/** Reads what a paused machine's pmem devices were set to. */
export async function savePmems(machine: Machine): Promise<SavedPmem[]> {
  return onEach(machine, (space, id) => saveOne(machine, space, id));
}

async function saveOne({ qemu }: Machine, space: Registers, id: string): Promise<SavedPmem> {
  const registers = await virtioRegisters(space);
  const taken = await untilAnswered({ qemu, qemuId: id });
  const { common } = registers;
  return {
    id,
    command: await space.read(PCI.command, 2),
    places: await readPlaces(space),
    features: await readFeatures(common),
    status: await common.read(COMMON.status, 1),
    hasNews: (await interruptOf(qemu.qmp, id)) !== 0,
    queue: await queueOf(common, taken),
  };
}

async function queueOf(common: Registers, taken: number): Promise<SavedQueue | undefined> {
  await common.write(COMMON.queueSelect, 2, 0);
  if ((await common.read(COMMON.queueEnable, 2)) === 0) return undefined;
  return { size: await common.read(COMMON.queueSize, 2), areas: await readAreas(common), taken };
}

/** Sets the pmem devices of a machine that has its RAM and has not run as others were. */
export async function restorePmems(machine: Machine, saved: readonly SavedPmem[]): Promise<void> {
  await onEach(machine, async (space, id) => {
    const one = saved.find((other) => other.id === id);
    if (one !== undefined) await restoreOne(machine, space, one);
  });
}

async function restoreOne({ qemu }: Machine, space: Registers, saved: SavedPmem): Promise<void> {
  const { command, places, features, status, hasNews, queue } = saved;
  await writePlaces(space, places);
  await space.write(PCI.command, 2, command | PCI_COMMAND.noInterrupt);
  const registers = await virtioRegisters(space);
  const { common } = registers;
  const of = { qemu, qemuId: saved.id };
  await common.write(COMMON.status, 1, status & STATUS.driver);
  if (queue !== undefined) {
    await writeFeatures(common, PLAIN);
    await replayQueue(of, registers, queue);
  }
  await writeFeatures(common, features);
  if (!hasNews) await registers.takeInterrupt();
  if (queue !== undefined) await kickWaiting(of, registers, queue);
  await common.write(COMMON.status, 1, status);
  await space.write(PCI.command, 2, command);
}

/**
 * Does something while no pmem device raises an interrupt: who counts the devices that do would count one that the new machine's
 * device never takes back.
 */
export async function withoutInterrupts<T>(machine: Machine, act: () => Promise<T>): Promise<T> {
  const silenced = new Map<string, number>();
  await onEach(machine, async (space, id) => {
    if ((await interruptOf(machine.qemu.qmp, id)) === 0) return;
    const command = await space.read(PCI.command, 2);
    await space.write(PCI.command, 2, command | PCI_COMMAND.noInterrupt);
    silenced.set(id, command);
  });
  try {
    return await act();
  } finally {
    await onEach(machine, async (space, id) => {
      const command = silenced.get(id);
      if (command !== undefined) await space.write(PCI.command, 2, command);
    });
  }
}

/** The pmem devices of a machine. */
export function pmemsOf({ layout }: Machine): Placement[] {
  return layout.placements.filter(({ device }) => device.member === pmem.member);
}

async function onEach<T>(machine: Machine, act: OnSpace<T>): Promise<T[]> {
  const all: T[] = [];
  for (const { id, slot = 0 } of pmemsOf(machine)) {
    all.push(await onConfigSpace(await guestBus(machine.qemu.qmp), slot, (space) => act(space, qemuId(id))));
  }
  return all;
}
