import { join } from 'node:path';
import { ApiError } from '../../api/errors.ts';
import { SNAPSHOT_FILES } from '../../snapshot-files/snapshot-folder.ts';
import { loadInheritedState } from '../../qemu/qmp/device-state.ts';
import type { RunningOperation } from '../../util/operation-tracker.ts';
import { beginStates, restoreStates } from '../devices/states.ts';
import type { Machine } from '../machine.ts';
import { continueHotplug } from '../machine-state/continue-machine.ts';
import { activateImages } from '../machine-state/images.ts';
import type { Snapshot } from './read-snapshot.ts';
import { fillMemory, touchMemory, type MemorySource } from './restore-memory.ts';

/** A load of a snapshot. */
export interface SnapshotLoad {
  readonly snapshot: Snapshot;
  readonly memory: MemorySource;
  /** mapped RAM is loaded at once, not at its first use */
  readonly prefault: boolean;
  readonly running: RunningOperation;
}

/** Loads RAM, QEMU's state and the states of all devices into a machine that waits for them. Its vCPUs stay stopped. */
export async function loadSnapshot(
  machine: Machine,
  { snapshot, memory, prefault, running }: SnapshotLoad,
): Promise<void> {
  const { description } = snapshot.state;
  const { kill: signal, tracker } = running;
  const amount = { done: 0, total: 0 };
  tracker.enter('loading memory', amount);
  await continueHotplug(machine, description);
  await fillMemory(machine, memory, { amount, signal });
  tracker.enter('loading the state of the devices');
  const begun = beginStates(machine, description);
  // an error of the load is reported first
  begun.catch(() => undefined);
  await loadDeviceState(machine, snapshot);
  await begun;
  await activateImages(machine);
  await restoreStates(machine, description);
  if (!prefault) return;
  const touched = { done: 0, total: 0 };
  tracker.enter('loading memory in advance', touched);
  await touchMemory(machine, memory, { amount: touched, signal });
}

async function loadDeviceState({ qemu }: Machine, { folder }: Snapshot): Promise<void> {
  await loadInheritedState(qemu).catch((error: unknown) => {
    const path = join(folder, SNAPSHOT_FILES.state);
    throw new ApiError('failed', `${path}: the state of the devices could not be loaded`, { cause: error });
  });
}
