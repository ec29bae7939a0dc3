import { pmem } from '../../../devices/pmem/index.ts';
import { qemuId } from '../../../plan/placement.ts';
import { guestBus, type Registers } from '../../../qemu/guest-bus/guest-bus.ts';
import {
  onConfigSpace,
  PCI,
  PCI_COMMAND,
  readHeader,
  writeHeader,
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
import type { Machine } from '../../machine.ts';
import type { StateActions } from '../state-actions.ts';
import { checkPmemsMigrate, flushPmems, pmemMemory } from './memory.ts';
import { pmemsOf } from './placements.ts';
import { kickWaiting, replayQueue, untilAnswered } from './queue.ts';
import type { SavedPmem, SavedQueue } from './saved.ts';

/*
 * QEMU saves no state of a virtio-pmem device. The driver's settings are read from the device's registers, and on restore they
 * are written again in the driver's order.
 */

export const pmemState: StateActions<SavedPmem> = {
  member: pmem.member,
  states: 'pmems',
  save: (machine) => onEach(machine, (space, id) => saveOne(machine, space, id)),
  restore: restorePmems,
  hide: (machine, _saved, act) => withoutInterrupts(machine, act),
  memory: pmemMemory,
  flush: flushPmems,
  checkMigration: checkPmemsMigrate,
};

/** Feature bits with VIRTIO_F_VERSION_1 alone: the queue's areas are then at the addresses that were written. */
const PLAIN = [0, 1];

type OnSpace<T> = (space: Registers, id: string) => Promise<T>;

async function saveOne({ qemu }: Machine, space: Registers, id: string): Promise<SavedPmem> {
  const registers = await virtioRegisters(space);
  const taken = await untilAnswered({ qemu, qemuId: id });
  const { common } = registers;
  return {
    id,
    command: await space.read(PCI.command, 2),
    places: await readHeader(space),
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

async function restorePmems(machine: Machine, saved: readonly SavedPmem[]): Promise<void> {
  await onEach(machine, async (space, id) => {
    const one = saved.find((other) => other.id === id);
    if (one !== undefined) await restoreOne(machine, space, one);
  });
}

async function restoreOne({ qemu }: Machine, space: Registers, saved: SavedPmem): Promise<void> {
  const { command, places, features, status, hasNews, queue } = saved;
  await writeHeader(space, places);
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
 * Runs `act` while no pmem device raises an interrupt. QEMU saves the count of devices that raise a shared line, and the restored
 * device would never lower it.
 */
async function withoutInterrupts<T>(machine: Machine, act: () => Promise<T>): Promise<T> {
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

async function onEach<T>(machine: Machine, act: OnSpace<T>): Promise<T[]> {
  const all: T[] = [];
  for (const { id, slot = 0 } of pmemsOf(machine)) {
    all.push(await onConfigSpace(await guestBus(machine.qemu.qmp), slot, (space) => act(space, qemuId(id))));
  }
  return all;
}
